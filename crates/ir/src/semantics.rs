//! What operators compute, on numbers: shared by the evaluator, constant folding
//! and instruction selection.

use crate::{BinaryOp, Cond, UnaryOp};

impl BinaryOp {
    /// On 64 bits, as the kernel defines BPF arithmetic (`Documentation/bpf/standardization/instruction-set.rst`).
    pub fn evaluate64(self, a: u64, b: u64) -> u64 {
        match self {
            BinaryOp::Add => a.wrapping_add(b),
            BinaryOp::Sub => a.wrapping_sub(b),
            BinaryOp::Mul => a.wrapping_mul(b),
            BinaryOp::Udiv => a.checked_div(b).unwrap_or(0),
            BinaryOp::Urem => a.checked_rem(b).unwrap_or(a),
            BinaryOp::Sdiv if b == 0 => 0,
            BinaryOp::Sdiv => (a as i64).wrapping_div(b as i64) as u64,
            BinaryOp::Srem if b == 0 => a,
            BinaryOp::Srem => (a as i64).wrapping_rem(b as i64) as u64,
            BinaryOp::And => a & b,
            BinaryOp::Or => a | b,
            BinaryOp::Xor => a ^ b,
            BinaryOp::Shl => a.wrapping_shl(b as u32),
            BinaryOp::Lshr => a.wrapping_shr(b as u32),
            BinaryOp::Ashr => (a as i64).wrapping_shr(b as u32) as u64,
        }
    }

    /// [`BinaryOp::evaluate64`] on 32 bits.
    pub fn evaluate32(self, a: u32, b: u32) -> u32 {
        match self {
            BinaryOp::Sdiv if b == 0 => 0,
            BinaryOp::Sdiv => (a as i32).wrapping_div(b as i32) as u32,
            BinaryOp::Srem if b == 0 => a,
            BinaryOp::Srem => (a as i32).wrapping_rem(b as i32) as u32,
            BinaryOp::Shl => a.wrapping_shl(b),
            BinaryOp::Lshr => a.wrapping_shr(b),
            BinaryOp::Ashr => (a as i32).wrapping_shr(b) as u32,
            // The low half of the others depends on the low halves alone.
            _ => self.evaluate64(u64::from(a), u64::from(b)) as u32,
        }
    }
}

impl UnaryOp {
    /// Whether it keeps the low bits and fills the others.
    pub fn is_extension(self) -> bool {
        use UnaryOp::*;
        matches!(self, Sext8 | Sext16 | Sext32 | Zext8 | Zext16 | Zext32)
    }

    /// On the 64 bits of a register. For an `I32` result the low half counts.
    pub fn evaluate(self, a: u64) -> u64 {
        match self {
            UnaryOp::Neg => a.wrapping_neg(),
            UnaryOp::Not => !a,
            UnaryOp::Bswap16 => u64::from((a as u16).swap_bytes()),
            UnaryOp::Bswap32 => u64::from((a as u32).swap_bytes()),
            UnaryOp::Bswap64 => a.swap_bytes(),
            UnaryOp::Sext8 => a as i8 as u64,
            UnaryOp::Sext16 => a as i16 as u64,
            UnaryOp::Sext32 => a as i32 as u64,
            UnaryOp::Zext8 => u64::from(a as u8),
            UnaryOp::Zext16 => u64::from(a as u16),
            UnaryOp::Zext32 | UnaryOp::Trunc => u64::from(a as u32),
            UnaryOp::Addr => a,
        }
    }
}

impl Cond {
    pub fn holds64(self, a: u64, b: u64) -> bool {
        let (sa, sb) = (a as i64, b as i64);
        match self {
            Cond::Eq => a == b,
            Cond::Ne => a != b,
            Cond::Ult => a < b,
            Cond::Ule => a <= b,
            Cond::Ugt => a > b,
            Cond::Uge => a >= b,
            Cond::Slt => sa < sb,
            Cond::Sle => sa <= sb,
            Cond::Sgt => sa > sb,
            Cond::Sge => sa >= sb,
        }
    }

    pub fn holds32(self, a: u32, b: u32) -> bool {
        self.holds64(a as i32 as u64, b as i32 as u64)
    }

    /// True where this is false.
    pub fn inverse(self) -> Cond {
        match self {
            Cond::Eq => Cond::Ne,
            Cond::Ne => Cond::Eq,
            Cond::Ult => Cond::Uge,
            Cond::Ule => Cond::Ugt,
            Cond::Ugt => Cond::Ule,
            Cond::Uge => Cond::Ult,
            Cond::Slt => Cond::Sge,
            Cond::Sle => Cond::Sgt,
            Cond::Sgt => Cond::Sle,
            Cond::Sge => Cond::Slt,
        }
    }

    /// The same question with the operands exchanged.
    pub fn swapped(self) -> Cond {
        match self {
            Cond::Eq => Cond::Eq,
            Cond::Ne => Cond::Ne,
            Cond::Ult => Cond::Ugt,
            Cond::Ule => Cond::Uge,
            Cond::Ugt => Cond::Ult,
            Cond::Uge => Cond::Ule,
            Cond::Slt => Cond::Sgt,
            Cond::Sle => Cond::Sge,
            Cond::Sgt => Cond::Slt,
            Cond::Sge => Cond::Sle,
        }
    }
}
