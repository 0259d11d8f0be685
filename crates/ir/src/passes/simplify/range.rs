//! What is known of an integer's bits and size.

use crate::{BinaryOp, MemType, UnaryOp};

/// A set that contains a value: its bounds as an unsigned number, and bits that
/// are zero. An `I32` is the number in its zero-extended register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub low: u64,
    pub high: u64,
    pub zeros: u64,
}

impl Default for Range {
    fn default() -> Self {
        Range::ALL
    }
}

/// All bits up to the highest that `n` has.
fn bits_up_to(n: u64) -> u64 {
    u64::MAX.checked_shr(n.leading_zeros()).unwrap_or(0)
}

impl Range {
    pub const ALL: Range = Range { low: 0, high: u64::MAX, zeros: 0 };

    pub fn constant(n: u64) -> Range {
        Range { low: n, high: n, zeros: !n }
    }

    pub fn up_to(high: u64) -> Range {
        Range::between(0, high)
    }

    fn between(low: u64, high: u64) -> Range {
        Range { low, high, zeros: 0 }.sharpened()
    }

    /// Each of bounds and bits says something about the other.
    fn sharpened(self) -> Range {
        let high = self.high.min(!self.zeros);
        let zeros = self.zeros | !bits_up_to(high);
        if self.low > high { Range { low: 0, high, zeros } } else { Range { low: self.low, high, zeros } }
    }

    /// Bits that may be one.
    pub fn possible(&self) -> u64 {
        !self.zeros
    }

    pub fn as_constant(&self) -> Option<u64> {
        (self.low == self.high).then_some(self.low)
    }

    pub fn union(self, other: Range) -> Range {
        Range { low: self.low.min(other.low), high: self.high.max(other.high), zeros: self.zeros & other.zeros }
    }

    fn within(self, mask: u64) -> Range {
        let zeros = self.zeros | !mask;
        if self.high <= mask {
            Range { zeros, ..self }.sharpened()
        } else {
            Range { low: 0, high: mask, zeros }.sharpened()
        }
    }

    /// Whether no value has the sign bit of `bits` (32 or 64) set.
    pub fn is_non_negative(&self, bits: u32) -> bool {
        self.high < 1 << (bits - 1)
    }

    pub fn loaded(mem: MemType) -> Range {
        match mem {
            MemType::U8 => Range::up_to(0xff),
            MemType::U16 => Range::up_to(0xffff),
            MemType::U32 => Range::up_to(0xffff_ffff),
            _ => Range::ALL,
        }
    }

    /// Of `op a, b` on `bits` (32 or 64) bits.
    pub fn binary(op: BinaryOp, a: Range, b: Range, bits: u32) -> Range {
        let all = u64::MAX >> (64 - bits);
        let full = Range::up_to(all);
        let shift = b.as_constant().map(|n| (n & u64::from(bits - 1)) as u32);
        let range = match op {
            BinaryOp::Add => match (a.low.checked_add(b.low), a.high.checked_add(b.high)) {
                (Some(low), Some(high)) if high <= all => Range::between(low, high),
                _ => full,
            },
            BinaryOp::Sub if a.low >= b.high => Range::between(a.low - b.high, a.high - b.low),
            BinaryOp::Sub => full,
            BinaryOp::Mul => match (a.low.checked_mul(b.low), a.high.checked_mul(b.high)) {
                (Some(low), Some(high)) if high <= all => Range::between(low, high),
                _ => full,
            },
            BinaryOp::Udiv => match b.as_constant() {
                Some(n) if n > 0 => Range::between(a.low / n, a.high / n),
                _ => Range::up_to(a.high),
            },
            BinaryOp::Urem => match b.as_constant() {
                Some(n) if n > 0 => Range::up_to(a.high.min(n - 1)),
                _ => Range::up_to(a.high),
            },
            BinaryOp::And => {
                let zeros = a.zeros | b.zeros;
                Range { low: 0, high: a.high.min(b.high), zeros }.sharpened()
            }
            BinaryOp::Or | BinaryOp::Xor => {
                let zeros = a.zeros & b.zeros;
                let low = if op == BinaryOp::Or { a.low.max(b.low) } else { 0 };
                Range { low, high: !zeros, zeros }.sharpened()
            }
            BinaryOp::Shl => match shift {
                Some(n) if a.high <= all >> n => {
                    Range { low: a.low << n, high: a.high << n, zeros: a.zeros << n | !(u64::MAX << n) }.sharpened()
                }
                Some(n) => Range { low: 0, high: all, zeros: !(u64::MAX << n) }.sharpened(),
                None => full,
            },
            BinaryOp::Lshr => match shift {
                Some(n) => Range::between(a.low >> n, a.high >> n),
                None => Range::up_to(a.high),
            },
            BinaryOp::Ashr if a.is_non_negative(bits) => Range::binary(BinaryOp::Lshr, a, b, bits),
            BinaryOp::Sdiv if a.is_non_negative(bits) && b.is_non_negative(bits) => {
                Range::binary(BinaryOp::Udiv, a, b, bits)
            }
            BinaryOp::Srem if a.is_non_negative(bits) && b.is_non_negative(bits) => {
                Range::binary(BinaryOp::Urem, a, b, bits)
            }
            BinaryOp::Ashr | BinaryOp::Sdiv | BinaryOp::Srem => full,
        };
        range.within(all)
    }

    /// Of `op a` for a result of `bits` (32 or 64) bits.
    pub fn unary(op: UnaryOp, a: Range, bits: u32) -> Range {
        let sign_extended = |from: u32| {
            if a.high < 1 << (from - 1) { a } else { Range::ALL }
        };
        let range = match op {
            UnaryOp::Zext8 => a.within(0xff),
            UnaryOp::Zext16 => a.within(0xffff),
            UnaryOp::Zext32 | UnaryOp::Trunc => a.within(0xffff_ffff),
            UnaryOp::Sext8 => sign_extended(8),
            UnaryOp::Sext16 => sign_extended(16),
            UnaryOp::Sext32 => sign_extended(32),
            UnaryOp::Bswap16 => Range::up_to(0xffff),
            UnaryOp::Bswap32 => Range::up_to(0xffff_ffff),
            UnaryOp::Neg | UnaryOp::Not | UnaryOp::Bswap64 | UnaryOp::Addr => Range::ALL,
        };
        range.within(u64::MAX >> (64 - bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Type;

    /// Every operation on every pair of small ranges contains the results of all
    /// pairs of members.
    #[test]
    fn ranges_contain_what_they_stand_for() {
        let ranges: Vec<Range> = (0..8u64)
            .flat_map(|low| (low..8).map(move |high| Range { low, high, zeros: !7 }))
            .chain([Range { low: 0, high: 6, zeros: !6 }, Range::constant(u64::MAX), Range::constant(1 << 31)])
            .collect();
        let members = |r: Range| {
            let candidates = (0..8).chain([1 << 31, u64::MAX]);
            candidates.filter(move |n| r.low <= *n && *n <= r.high && n & r.zeros == 0)
        };
        use BinaryOp::*;
        for op in [Add, Sub, Mul, Udiv, Sdiv, Urem, Srem, And, Or, Xor, Shl, Lshr, Ashr] {
            for &a in &ranges {
                for &b in &ranges {
                    for ty in [Type::I32, Type::I64] {
                        let bits = if ty == Type::I32 { 32 } else { 64 };
                        if bits == 32 && (a.high > u64::from(u32::MAX) || b.high > u64::from(u32::MAX)) {
                            continue;
                        }
                        let range = Range::binary(op, a, b, bits);
                        for x in members(a) {
                            for y in members(b) {
                                let n = match ty {
                                    Type::I32 => u64::from(op.evaluate32(x as u32, y as u32)),
                                    _ => op.evaluate64(x, y),
                                };
                                let inside = range.low <= n && n <= range.high && n & range.zeros == 0;
                                assert!(inside, "{op} {x}, {y} = {n:#x} is not in {range:x?} ({a:x?}, {b:x?})");
                            }
                        }
                    }
                }
            }
        }
    }
}
