//! Rules for arithmetic, extensions and `clamp`.

use super::{Simpler, Simplifier, width};
use crate::*;

impl Simplifier<'_> {
    pub(super) fn simpler_binary(&mut self, op: BinaryOp, [a, b]: [Value; 2], ty: Type) -> Option<Simpler> {
        use BinaryOp::*;
        if matches!(self.func.ty(a), Type::Ptr(_)) {
            return self.simpler_pointer(op, [a, b], ty);
        }
        let bits = width(ty);
        let all = u64::MAX >> (64 - bits);
        if let (Some(x), Some(y)) = (self.number(a), self.number(b)) {
            let n = if ty == Type::I32 { u64::from(op.evaluate32(x as u32, y as u32)) } else { op.evaluate64(x, y) };
            return Some(Simpler::Constant(n));
        }
        let commutes = matches!(op, Add | Mul | And | Or | Xor);
        if commutes && self.number(a).is_some() {
            return Some(Simpler::Inst(InstData::Binary { op, args: [b, a] }));
        }
        if let Some(n) = self.number(b) {
            return self.simpler_with_constant(op, a, b, n, ty);
        }
        if a == b {
            return match op {
                And | Or => Some(Simpler::Value(a)),
                Sub | Xor => Some(Simpler::Constant(0)),
                _ => None,
            };
        }
        let (x, y) = (self.ranges[a], self.ranges[b]);
        if self.number(a) == Some(0) && matches!(op, Shl | Lshr | Ashr | Udiv | Sdiv | Urem | Srem) {
            return Some(Simpler::Constant(0));
        }
        match op {
            Sub if self.number(a) == Some(0) => Some(Simpler::Inst(InstData::Unary { op: UnaryOp::Neg, arg: b })),
            // a + -b, a - -b
            Add | Sub => match self.inner(b) {
                Some(&InstData::Unary { op: UnaryOp::Neg, arg }) => {
                    let op = if op == Add { Sub } else { Add };
                    Some(Simpler::Inst(InstData::Binary { op, args: [a, arg] }))
                }
                _ => None,
            },
            And if x.possible() & y.possible() & all == 0 => Some(Simpler::Constant(0)),
            Sdiv if x.is_non_negative(bits) && y.is_non_negative(bits) => {
                Some(Simpler::Inst(InstData::Binary { op: Udiv, args: [a, b] }))
            }
            Srem if x.is_non_negative(bits) && y.is_non_negative(bits) => {
                Some(Simpler::Inst(InstData::Binary { op: Urem, args: [a, b] }))
            }
            _ => None,
        }
    }

    /// `op a, n`, where `b` is the constant `n`.
    fn simpler_with_constant(&mut self, op: BinaryOp, a: Value, b: Value, n: u64, ty: Type) -> Option<Simpler> {
        use BinaryOp::*;
        let bits = width(ty);
        let all = u64::MAX >> (64 - bits);
        let range = self.ranges[a];
        let inner = match self.inner(a) {
            Some(&InstData::Binary { op, args: [x, c] }) => self.number(c).map(|c| (op, x, c)),
            _ => None,
        };
        let with = |this: &mut Self, op: BinaryOp, x: Value, n: u64| {
            let n = this.constant(n, ty);
            Some(Simpler::Inst(InstData::Binary { op, args: [x, n] }))
        };
        match op {
            Add | Sub | Or | Xor if n == 0 => return Some(Simpler::Value(a)),
            Sub => return with(self, Add, a, n.wrapping_neg() & all),
            Add => {
                if let Some((Add, x, c)) = inner {
                    return with(self, Add, x, c.wrapping_add(n) & all);
                }
            }
            Mul => match n {
                0 => return Some(Simpler::Constant(0)),
                1 => return Some(Simpler::Value(a)),
                _ if n == all => return Some(Simpler::Inst(InstData::Unary { op: UnaryOp::Neg, arg: a })),
                _ if n.is_power_of_two() => return with(self, Shl, a, u64::from(n.trailing_zeros())),
                _ => {
                    if let Some((Mul, x, c)) = inner {
                        return with(self, Mul, x, c.wrapping_mul(n) & all);
                    }
                }
            },
            Udiv => match n {
                0 => return Some(Simpler::Constant(0)),
                1 => return Some(Simpler::Value(a)),
                _ if range.high < n => return Some(Simpler::Constant(0)),
                _ if n.is_power_of_two() => return with(self, Lshr, a, u64::from(n.trailing_zeros())),
                _ => {}
            },
            Urem => match n {
                0 => return Some(Simpler::Value(a)),
                1 => return Some(Simpler::Constant(0)),
                _ if range.high < n => return Some(Simpler::Value(a)),
                _ if n.is_power_of_two() => return with(self, And, a, n - 1),
                _ => {}
            },
            Sdiv => match n {
                0 => return Some(Simpler::Constant(0)),
                1 => return Some(Simpler::Value(a)),
                _ if n == all => return Some(Simpler::Inst(InstData::Unary { op: UnaryOp::Neg, arg: a })),
                _ if range.is_non_negative(bits) && n < 1 << (bits - 1) => return with(self, Udiv, a, n),
                _ => {}
            },
            Srem => match n {
                0 => return Some(Simpler::Value(a)),
                1 => return Some(Simpler::Constant(0)),
                _ if n == all => return Some(Simpler::Constant(0)),
                _ if range.is_non_negative(bits) && n < 1 << (bits - 1) => return with(self, Urem, a, n),
                _ => {}
            },
            And => {
                if n & range.possible() == 0 {
                    return Some(Simpler::Constant(0));
                }
                if !n & range.possible() & all == 0 && !self.hidden[a] {
                    return Some(Simpler::Value(a));
                }
                if let Some((And, x, c)) = inner {
                    return with(self, And, x, c & n);
                }
                if n == 0xffff_ffff && ty == Type::I64 {
                    return Some(Simpler::Inst(InstData::Unary { op: UnaryOp::Zext32, arg: a }));
                }
                // An extension that the mask cuts off again.
                if let Some(&InstData::Unary { op, arg }) = self.inner(a)
                    && op.is_extension()
                    && self.func.ty(arg) == ty
                    && n <= kept_bits(op)
                    && i32::try_from(n).is_ok()
                {
                    return Some(Simpler::Inst(InstData::Binary { op: And, args: [arg, b] }));
                }
            }
            Or => {
                if n == all {
                    return Some(Simpler::Constant(all));
                }
                if let Some((Or, x, c)) = inner {
                    return with(self, Or, x, c | n);
                }
            }
            Xor => {
                if let Some((Xor, x, c)) = inner {
                    return with(self, Xor, x, c ^ n);
                }
            }
            Shl | Lshr | Ashr => return self.simpler_shift(op, a, n, ty, inner),
        }
        None
    }

    fn simpler_shift(
        &mut self,
        op: BinaryOp,
        a: Value,
        n: u64,
        ty: Type,
        inner: Option<(BinaryOp, Value, u64)>,
    ) -> Option<Simpler> {
        use BinaryOp::*;
        let bits = u64::from(width(ty));
        let all = u64::MAX >> (64 - bits);
        let range = self.ranges[a];
        let with = |this: &mut Self, op: BinaryOp, x: Value, n: u64| {
            let n = this.constant(n, ty);
            Some(Simpler::Inst(InstData::Binary { op, args: [x, n] }))
        };
        if n == 0 {
            return Some(Simpler::Value(a));
        }
        if n >= bits {
            return with(self, op, a, n & (bits - 1));
        }
        match op {
            Lshr if range.high >> n == 0 => return Some(Simpler::Constant(0)),
            Ashr if range.is_non_negative(bits as u32) => return with(self, Lshr, a, n),
            _ => {}
        }
        let (inner_op, x, c) = inner?;
        let c = c & (bits - 1);
        if inner_op == op {
            return match op {
                Ashr => with(self, Ashr, x, (c + n).min(bits - 1)),
                _ if c + n >= bits => Some(Simpler::Constant(0)),
                _ => with(self, op, x, c + n),
            };
        }
        if c != n || inner_op != Shl {
            return None;
        }
        let extension = |op: UnaryOp| Some(Simpler::Inst(InstData::Unary { op, arg: x }));
        match (op, bits - n) {
            (Lshr, 32) if bits == 64 => extension(UnaryOp::Zext32),
            // A mask that fits an immediate.
            (Lshr, left) if left < 32 => with(self, And, x, all >> n),
            (Ashr, 32) if bits == 64 => extension(UnaryOp::Sext32),
            (Ashr, 16) => extension(UnaryOp::Sext16),
            (Ashr, 8) => extension(UnaryOp::Sext8),
            _ => None,
        }
    }

    /// Sums of a pointer and numbers.
    fn simpler_pointer(&mut self, op: BinaryOp, [a, b]: [Value; 2], ty: Type) -> Option<Simpler> {
        if matches!(self.func.ty(b), Type::Ptr(_)) {
            return (a == b && op == BinaryOp::Sub).then_some(Simpler::Constant(0));
        }
        let n = self.func.constant(b)?;
        if n == 0 {
            return Some(Simpler::Value(a));
        }
        if op == BinaryOp::Sub {
            let n = self.constant(n.wrapping_neg() as u64, Type::I64);
            return Some(Simpler::Inst(InstData::Binary { op: BinaryOp::Add, args: [a, n] }));
        }
        match *self.func.def(a)? {
            InstData::Binary { op: BinaryOp::Add, args: [base, c] } => {
                let sum = self.func.constant(c)?.checked_add(n)?;
                let sum = self.constant(sum as u64, Type::I64);
                Some(Simpler::Inst(InstData::Binary { op: BinaryOp::Add, args: [base, sum] }))
            }
            InstData::SlotAddr { slot, offset } => {
                let offset = i64::from(offset).checked_add(n)?;
                let inside = (0..=i64::from(self.func.slots[slot].bytes)).contains(&offset);
                inside.then_some(Simpler::Inst(InstData::SlotAddr { slot, offset: offset as i32 }))
            }
            InstData::MapValueAddr { map, offset } => {
                let offset = i64::from(offset).checked_add(n)?;
                let inside = (0..i64::from(self.maps.get(map)?.value_size)).contains(&offset);
                let addr = InstData::MapValueAddr { map, offset: offset as u32 };
                (inside && matches!(ty, Type::Ptr(_))).then_some(Simpler::Inst(addr))
            }
            _ => None,
        }
    }

    pub(super) fn simpler_unary(&mut self, op: UnaryOp, arg: Value, ty: Type) -> Option<Simpler> {
        use UnaryOp::*;
        if op == Addr {
            return None;
        }
        if let Some(n) = self.number(arg) {
            let n = op.evaluate(n);
            return Some(Simpler::Constant(if ty == Type::I32 { n & 0xffff_ffff } else { n }));
        }
        let from = self.func.ty(arg);
        let range = self.ranges[arg];
        let same_type = from == ty;
        let again = |op: UnaryOp, arg: Value| Some(Simpler::Inst(InstData::Unary { op, arg }));
        // Extensions that change nothing.
        let unchanged = match op {
            Zext8 => range.high <= 0xff,
            Zext16 => range.high <= 0xffff,
            Zext32 => range.high <= 0xffff_ffff,
            Sext8 => range.high <= 0x7f,
            Sext16 => range.high <= 0x7fff,
            Sext32 => range.high <= 0x7fff_ffff,
            _ => false,
        };
        if unchanged && same_type && !self.hidden[arg] {
            return Some(Simpler::Value(arg));
        }
        // An `I32` is zero-extended in its register already.
        if unchanged && op == Sext32 {
            return again(Zext32, arg);
        }
        if matches!(op, Zext8 | Zext16) {
            let mask = self.constant(if op == Zext8 { 0xff } else { 0xffff }, ty);
            return Some(Simpler::Inst(InstData::Binary { op: BinaryOp::And, args: [arg, mask] }));
        }
        let inner = self.inner(arg)?.clone();
        match (op, inner) {
            (Neg, InstData::Unary { op: Neg, arg: x })
            | (Not, InstData::Unary { op: Not, arg: x })
            | (Bswap64, InstData::Unary { op: Bswap64, arg: x }) => Some(Simpler::Value(x)),
            (Bswap32, InstData::Unary { op: Bswap32, arg: x }) if ty == Type::I64 => again(Zext32, x),
            (Bswap32, InstData::Unary { op: Bswap32, arg: x }) => Some(Simpler::Value(x)),
            (Bswap16, InstData::Unary { op: Bswap16, arg: x }) => again(Zext16, x),
            (Neg, InstData::Binary { op: BinaryOp::Sub, args: [x, y] }) if self.func.ty(x) == ty => {
                Some(Simpler::Inst(InstData::Binary { op: BinaryOp::Sub, args: [y, x] }))
            }
            // The low half of an extension is what was extended.
            (Trunc, InstData::Unary { op: Zext32 | Sext32, arg: x }) => match self.func.ty(x) {
                Type::I32 => Some(Simpler::Value(x)),
                _ => again(Trunc, x),
            },
            (Zext32 | Sext32, InstData::Unary { op: Trunc, arg: x }) => again(op, x),
            (Zext32 | Sext32, InstData::Unary { op: Zext32 | Sext32, arg: x }) if self.func.ty(x) == ty => again(op, x),
            // The inner extension has filled the sign already.
            (Sext8 | Sext16 | Sext32, InstData::Unary { op: inner, .. })
                if sign_bits(inner).is_some_and(|bits| Some(bits) <= sign_bits(op)) && same_type =>
            {
                Some(Simpler::Value(arg))
            }
            (Sext8 | Sext16 | Sext32, InstData::Unary { op: inner, arg: x })
                if sign_bits(inner).is_some_and(|bits| Some(bits) > sign_bits(op)) && self.func.ty(x) == ty =>
            {
                again(op, x)
            }
            (_, InstData::Binary { op: BinaryOp::And, args: [x, mask] }) if self.func.ty(x) == ty => {
                let mask = self.number(mask)?;
                let kept = kept_bits(op);
                let only_low_bits_count = matches!(op, Sext8 | Sext16 | Sext32 | Bswap16 | Bswap32);
                (only_low_bits_count && mask & kept == kept).then_some(Simpler::Inst(InstData::Unary { op, arg: x }))
            }
            _ => None,
        }
    }

    pub(super) fn simpler_clamp(&mut self, value: Value, mask: u64, ty: Type) -> Option<Simpler> {
        if let Some(n) = self.number(value) {
            let n = n & mask;
            return Some(Simpler::Constant(if ty == Type::I32 { n & 0xffff_ffff } else { n }));
        }
        match *self.inner(value)? {
            InstData::Clamp { mask: inner, .. } if inner & mask == inner => Some(Simpler::Value(value)),
            // A mask before the same or a stricter one.
            InstData::Binary { op: BinaryOp::And, args: [x, n] }
                if self.number(n).is_some_and(|n| n & mask == mask) =>
            {
                Some(Simpler::Inst(InstData::Clamp { value: x, mask }))
            }
            _ => None,
        }
    }
}

/// Bits of its operand that an operation looks at.
fn kept_bits(op: UnaryOp) -> u64 {
    match op {
        UnaryOp::Zext8 | UnaryOp::Sext8 => 0xff,
        UnaryOp::Zext16 | UnaryOp::Sext16 | UnaryOp::Bswap16 => 0xffff,
        UnaryOp::Zext32 | UnaryOp::Sext32 | UnaryOp::Bswap32 | UnaryOp::Trunc => 0xffff_ffff,
        UnaryOp::Neg | UnaryOp::Not | UnaryOp::Bswap64 | UnaryOp::Addr => u64::MAX,
    }
}

/// The width that a sign extension extends from.
fn sign_bits(op: UnaryOp) -> Option<u32> {
    match op {
        UnaryOp::Sext8 => Some(8),
        UnaryOp::Sext16 => Some(16),
        UnaryOp::Sext32 => Some(32),
        _ => None,
    }
}
