//! Rules for comparisons and `select`.

use super::{Simpler, Simplifier, width};
use crate::*;

impl Simplifier<'_> {
    pub(super) fn simpler_compare(&mut self, cond: Cond, [a, b]: [Value; 2]) -> Option<Simpler> {
        let compare = |cond: Cond, args: [Value; 2]| Some(Simpler::Inst(InstData::Compare { cond, args }));
        if a == b {
            return Some(Simpler::Constant(u64::from(cond.holds64(0, 0))));
        }
        if matches!(self.func.ty(a), Type::Ptr(_)) {
            // Only the null check that the kernel's verifier knows.
            let is_zero = !matches!(self.func.ty(b), Type::Ptr(_));
            return match cond {
                Cond::Ugt if is_zero => compare(Cond::Ne, [a, b]),
                Cond::Ule if is_zero => compare(Cond::Eq, [a, b]),
                _ => None,
            };
        }
        let ty = self.func.ty(a);
        let (x, y) = (self.number(a), self.number(b));
        if let (Some(x), Some(y)) = (x, y) {
            let holds = if ty == Type::I32 { cond.holds32(x as u32, y as u32) } else { cond.holds64(x, y) };
            return Some(Simpler::Constant(u64::from(holds)));
        }
        if x.is_some() {
            return compare(cond.swapped(), [b, a]);
        }
        if let Some(holds) = self.decided_by_range(cond, a, b, width(ty)) {
            return Some(Simpler::Constant(u64::from(holds)));
        }
        if let Some(n) = y {
            return self.compare_with_constant(cond, a, b, n, ty);
        }
        None
    }

    fn decided_by_range(&self, cond: Cond, a: Value, b: Value, bits: u32) -> Option<bool> {
        let (x, y) = (self.ranges[a], self.ranges[b]);
        let signs_known = x.is_non_negative(bits) && y.is_non_negative(bits);
        let cond = match cond {
            Cond::Slt if signs_known => Cond::Ult,
            Cond::Sle if signs_known => Cond::Ule,
            Cond::Sgt if signs_known => Cond::Ugt,
            Cond::Sge if signs_known => Cond::Uge,
            other => other,
        };
        let below = x.high < y.low;
        let not_above = x.high <= y.low;
        let above = x.low > y.high;
        let not_below = x.low >= y.high;
        // A bit that one has and the other has not.
        let differs = y.as_constant().is_some_and(|n| n & x.zeros != 0);
        match cond {
            Cond::Eq if below || above || differs => Some(false),
            Cond::Ne if below || above || differs => Some(true),
            Cond::Ult if below => Some(true),
            Cond::Ult if not_below => Some(false),
            Cond::Ule if not_above => Some(true),
            Cond::Ule if above => Some(false),
            Cond::Ugt if above => Some(true),
            Cond::Ugt if not_above => Some(false),
            Cond::Uge if not_below => Some(true),
            Cond::Uge if below => Some(false),
            _ => None,
        }
    }

    /// `cond a, n`, where `b` is the constant `n`.
    fn compare_with_constant(&mut self, cond: Cond, a: Value, b: Value, n: u64, ty: Type) -> Option<Simpler> {
        let all = u64::MAX >> (64 - width(ty));
        let inner = self.func.def(a).cloned();
        // Comparisons of comparisons.
        if let Some(InstData::Compare { cond: inner_cond, args }) = inner {
            let keeps = match (cond, n) {
                (Cond::Ne | Cond::Ugt | Cond::Sgt, 0) | (Cond::Eq, 1) | (Cond::Uge | Cond::Sge, 1) => Some(true),
                (Cond::Eq, 0) | (Cond::Ne, 1) | (Cond::Ult | Cond::Slt, 1) => Some(false),
                (Cond::Ule | Cond::Sle, 0) => Some(false),
                _ => None,
            };
            return match keeps? {
                true => Some(Simpler::Value(a)),
                false => Some(Simpler::Inst(InstData::Compare { cond: inner_cond.inverse(), args })),
            };
        }
        // Bounds at the ends are equalities.
        let with = |this: &mut Self, cond: Cond, n: u64| {
            let n = this.constant(n, ty);
            Some(Simpler::Inst(InstData::Compare { cond, args: [a, n] }))
        };
        match (cond, n) {
            (Cond::Ult, 1) => return with(self, Cond::Eq, 0),
            (Cond::Uge, 1) => return with(self, Cond::Ne, 0),
            (Cond::Ugt, 0) => return with(self, Cond::Ne, 0),
            (Cond::Ule, 0) => return with(self, Cond::Eq, 0),
            _ => {}
        }
        if let Some(simpler) = self.compare_upper_bits(cond, a, n, ty) {
            return Some(simpler);
        }
        // What is used besides is cheaper to compare itself than what it came from,
        // which would have to be kept.
        if !matches!(cond, Cond::Eq | Cond::Ne) || self.uses[a] > 1 {
            return None;
        }
        match inner? {
            // a - b == 0, a ^ b == 0; pointers subtract too, but are not compared so.
            InstData::Binary { op: BinaryOp::Sub | BinaryOp::Xor, args: [x, y] } if n == 0 => {
                let integers = self.func.ty(x) == ty && self.func.ty(y) == ty;
                integers.then_some(Simpler::Inst(InstData::Compare { cond, args: [x, y] }))
            }
            InstData::Binary { op: BinaryOp::Add, args: [x, c] } if self.func.ty(x) == ty => {
                let c = self.number(c)?;
                let n = self.constant(n.wrapping_sub(c) & all, ty);
                Some(Simpler::Inst(InstData::Compare { cond, args: [x, n] }))
            }
            InstData::Binary { op: BinaryOp::Xor, args: [x, c] } => {
                let c = self.number(c)?;
                let n = self.constant(n ^ c, ty);
                Some(Simpler::Inst(InstData::Compare { cond, args: [x, n] }))
            }
            InstData::Unary { op: UnaryOp::Neg, arg } if n == 0 => {
                Some(Simpler::Inst(InstData::Compare { cond, args: [arg, b] }))
            }
            // Extended from `I32`: compared there.
            InstData::Unary { op: UnaryOp::Zext32, arg } if self.func.ty(arg) == Type::I32 && n <= 0xffff_ffff => {
                let n = self.constant(n, Type::I32);
                Some(Simpler::Inst(InstData::Compare { cond, args: [arg, n] }))
            }
            // A number is 0 after byte reversal if it is 0 before.
            InstData::Unary { op: UnaryOp::Bswap64, arg } if n == 0 => {
                Some(Simpler::Inst(InstData::Compare { cond, args: [arg, b] }))
            }
            _ => None,
        }
    }

    /// A bound that is a power of two too large for an immediate: whether there are
    /// bits above it. (No object is so large that this would be a bounds check.)
    fn compare_upper_bits(&mut self, cond: Cond, a: Value, n: u64, ty: Type) -> Option<Simpler> {
        let (has_bits, bound) = match cond {
            Cond::Uge => (true, n),
            Cond::Ugt => (true, n.checked_add(1)?),
            Cond::Ult => (false, n),
            Cond::Ule => (false, n.checked_add(1)?),
            _ => return None,
        };
        if ty != Type::I64 || bound < 1 << 32 || !bound.is_power_of_two() {
            return None;
        }
        let shift = self.constant(u64::from(bound.trailing_zeros()), ty);
        let upper = self.emit(InstData::Binary { op: BinaryOp::Lshr, args: [a, shift] }, ty);
        let zero = self.constant(0, ty);
        let cond = if has_bits { Cond::Ne } else { Cond::Eq };
        Some(Simpler::Inst(InstData::Compare { cond, args: [upper, zero] }))
    }

    pub(super) fn simpler_select(&mut self, cond: Value, [a, b]: [Value; 2], ty: Type) -> Option<Simpler> {
        if a == b {
            return Some(Simpler::Value(a));
        }
        if let Some(n) = self.number(cond) {
            return Some(Simpler::Value(if n != 0 { a } else { b }));
        }
        let (x, y) = (self.number(a), self.number(b));
        if x.is_some() && x == y {
            return Some(Simpler::Value(a));
        }
        match *self.func.def(cond)? {
            InstData::Compare { cond: test, args } => match (x, y) {
                (Some(1), Some(0)) if ty == Type::I64 => Some(Simpler::Value(cond)),
                (Some(0), Some(1)) if ty == Type::I64 => {
                    Some(Simpler::Inst(InstData::Compare { cond: test.inverse(), args }))
                }
                // `x != 0` says the same as `x`.
                _ if self.number(args[1]) == Some(0)
                    && !matches!(self.func.ty(args[0]), Type::Ptr(_))
                    && matches!(self.func.def(args[0]), Some(InstData::Compare { .. })) =>
                {
                    match test {
                        Cond::Ne => Some(Simpler::Inst(InstData::Select { cond: args[0], args: [a, b] })),
                        Cond::Eq => Some(Simpler::Inst(InstData::Select { cond: args[0], args: [b, a] })),
                        _ => None,
                    }
                }
                _ => None,
            },
            _ => None,
        }
    }
}
