//! Integer instructions.

use isa::{AluOp, Cond, Width};
use regalloc2::VReg;

use super::Lowering;
use crate::backend::machine::Op;
use crate::{BinaryOp, Type, UnaryOp, Value};

impl Lowering<'_> {
    pub(super) fn alu_imm(&mut self, dst: VReg, op: AluOp, width: Width, a: VReg, imm: i32) {
        let inst = self.inst(Op::AluImm { op, width, imm }).reuse_def(dst, 1).uses(a);
        self.push(inst);
    }

    pub(super) fn alu(&mut self, dst: VReg, op: AluOp, width: Width, a: VReg, b: VReg) {
        let inst = self.inst(Op::Alu { op, width }).reuse_def(dst, 1).uses(a).uses(b);
        self.push(inst);
    }

    pub(super) fn copy(&mut self, dst: VReg, width: Width, a: VReg) {
        let inst = self.inst(Op::Move(width)).def(dst).uses(a);
        self.push(inst);
    }

    pub(super) fn binary(&mut self, dst: VReg, op: BinaryOp, a: Value, b: Value, ty: Type) {
        let width = if ty == Type::I32 { Width::W32 } else { Width::W64 };
        if !matches!(ty, Type::Ptr(_)) && self.binary_if(dst, op, width, a, b) {
            return;
        }
        let (mut a, mut b) = (self.resolve(a), self.resolve(b));
        if is_commutative(op) && !matches!(ty, Type::Ptr(_)) {
            // The first operand's register is overwritten: take one that is not
            // needed later.
            let prefer_b = self.constant(b).is_none() && self.is_live_after(a) && !self.is_live_after(b);
            if self.constant(a).is_some() || prefer_b {
                std::mem::swap(&mut a, &mut b);
            }
        }
        if let Some(n) = self.constant(b)
            && self.binary_imm(dst, op, width, a, n)
        {
            return;
        }
        if width == Width::W32 {
            (a, b) = (self.low_half(a), self.low_half(b));
        }
        if matches!(op, BinaryOp::Sdiv | BinaryOp::Srem) && self.isa < 4 {
            return self.signed_divide(dst, op == BinaryOp::Srem, width, a, b);
        }
        let (a, b) = (self.need_own(a), self.need(b));
        self.alu(dst, alu_op(op), width, a, b);
    }

    /// Selects `a op n` if an instruction with an immediate does it.
    fn binary_imm(&mut self, dst: VReg, op: BinaryOp, width: Width, a: Value, n: i64) -> bool {
        let imm = match width {
            Width::W32 => Some(n as i32),
            Width::W64 => i32::try_from(n).ok(),
        };
        let source = if width == Width::W32 { self.low_half(a) } else { a };
        match op {
            // The verifier refuses division by an immediate 0.
            BinaryOp::Udiv | BinaryOp::Sdiv if n == 0 => {
                let inst = self.inst(Op::Const(0, Width::W64)).def(dst);
                self.push(inst);
            }
            BinaryOp::Urem | BinaryOp::Srem if n == 0 => {
                let a = self.need(source);
                self.copy(dst, width, a);
            }
            BinaryOp::Shl if self.shifted_flag(dst, width, a, n) => {}
            BinaryOp::Shl | BinaryOp::Lshr | BinaryOp::Ashr => {
                let count = n as i32 & (i32::from(width.bits()) - 1);
                let a = self.need_own(source);
                match count {
                    0 => self.copy(dst, width, a),
                    _ => self.alu_imm(dst, alu_op(op), width, a, count),
                }
            }
            BinaryOp::And if width == Width::W64 && n == i64::from(u32::MAX) => {
                let a = self.need(source);
                self.copy(dst, Width::W32, a);
            }
            BinaryOp::Sub => {
                let Some(negated) = imm.and_then(i32::checked_neg) else { return false };
                let a = self.need_own(source);
                self.alu_imm(dst, AluOp::Add, width, a, negated);
            }
            BinaryOp::Sdiv | BinaryOp::Srem if self.isa < 4 => return false,
            // Whether a negative divisor is sign-extended was not always agreed on.
            BinaryOp::Udiv | BinaryOp::Urem if width == Width::W64 && n < 0 => return false,
            _ => {
                let Some(imm) = imm else { return false };
                let a = self.need_own(source);
                self.alu_imm(dst, alu_op(op), width, a, imm);
            }
        }
        true
    }

    /// `v op n` (of the type of `v`) as one instruction, where that is all there
    /// is to it.
    pub(super) fn plain_imm(&self, op: BinaryOp, v: Value, n: i64) -> Option<(AluOp, Width, i32)> {
        let width = match self.func.ty(v) {
            Type::I32 => Width::W32,
            Type::I64 => Width::W64,
            Type::Ptr(_) => return None,
        };
        let imm = if width == Width::W32 { n as i32 } else { i32::try_from(n).ok()? };
        let shift = matches!(op, BinaryOp::Shl | BinaryOp::Lshr | BinaryOp::Ashr);
        let divides = matches!(op, BinaryOp::Udiv | BinaryOp::Sdiv | BinaryOp::Urem | BinaryOp::Srem);
        let fits = !shift || (0..i32::from(width.bits())).contains(&imm);
        (fits && !divides).then_some((alu_op(op), width, imm))
    }

    /// Signed division where the instruction set has none: 64-bit unsigned
    /// division of the magnitudes, with the sign put back.
    fn signed_divide(&mut self, dst: VReg, remainder: bool, width: Width, a: Value, b: Value) {
        let (a, b) = (self.need_own(a), self.need_own(b));
        let (dividend, divisor) = match width {
            Width::W64 => (a, b),
            Width::W32 => {
                let wide = [self.fresh(), self.fresh()];
                self.sign_extend(wide[0], 32, Width::W64, a);
                self.sign_extend(wide[1], 32, Width::W64, b);
                (wide[0], wide[1])
            }
        };
        let quotient = if width == Width::W64 { dst } else { self.fresh() };
        let (divisor_after, sign) = (self.fresh(), self.fresh());
        let inst = self
            .inst(Op::SignedDivide { remainder })
            .reuse_def(quotient, 2)
            .reuse_def(divisor_after, 3)
            .uses(dividend)
            .uses(divisor)
            .early_def(sign);
        self.push(inst);
        if width == Width::W32 {
            self.copy(dst, Width::W32, quotient);
        }
    }

    /// `dst` = the low `bits` of `a` sign-extended to `width`.
    pub(super) fn sign_extend(&mut self, dst: VReg, bits: u8, width: Width, a: VReg) {
        if self.isa >= 4 {
            let inst = self.inst(Op::SignExtend { bits, width }).def(dst).uses(a);
            self.push(inst);
            return;
        }
        let count = i32::from(width.bits() - bits);
        let shifted = self.fresh();
        self.alu_imm(shifted, AluOp::Lsh, width, a, count);
        self.alu_imm(dst, AluOp::Arsh, width, shifted, count);
    }

    pub(super) fn unary(&mut self, dst: VReg, op: UnaryOp, arg: Value) {
        let is_i32 = self.is_i32(arg);
        let width = if is_i32 { Width::W32 } else { Width::W64 };
        let source = if is_i32 { self.low_half(arg) } else { arg };
        match op {
            UnaryOp::Neg => {
                let a = self.need_own(source);
                let inst = self.inst(Op::Neg(width)).reuse_def(dst, 1).uses(a);
                self.push(inst);
            }
            UnaryOp::Not => {
                let a = self.need_own(source);
                self.alu_imm(dst, AluOp::Xor, width, a, -1);
            }
            UnaryOp::Bswap16 | UnaryOp::Bswap32 | UnaryOp::Bswap64 => {
                let bits = match op {
                    UnaryOp::Bswap16 => 16,
                    UnaryOp::Bswap32 => 32,
                    _ => 64,
                };
                // All 64 bits of an I32 count here.
                let a = self.need_own(if bits == 64 { arg } else { source });
                let swapped = if is_i32 && bits == 64 { self.fresh() } else { dst };
                let inst = self.inst(Op::ByteSwap { bits }).reuse_def(swapped, 1).uses(a);
                self.push(inst);
                if swapped != dst {
                    self.copy(dst, Width::W32, swapped);
                }
            }
            UnaryOp::Sext8 | UnaryOp::Sext16 => {
                let bits = if op == UnaryOp::Sext8 { 8 } else { 16 };
                let a = self.need_own(source);
                self.sign_extend(dst, bits, width, a);
            }
            UnaryOp::Sext32 => {
                let a = self.need_own(self.low_half(arg));
                self.sign_extend(dst, 32, Width::W64, a);
            }
            UnaryOp::Zext8 | UnaryOp::Zext16 => {
                let a = self.need_own(source);
                self.alu_imm(dst, AluOp::And, width, a, if op == UnaryOp::Zext8 { 0xff } else { 0xffff });
            }
            UnaryOp::Zext32 | UnaryOp::Trunc => {
                let a = self.need_or_pointer(arg);
                self.copy(dst, Width::W32, a);
            }
            UnaryOp::Addr => {
                // For the verifier a negated pointer is a number (and so is
                // that number negated): arithmetic on pointers is not allowed.
                let (pointer, negated) = (self.need_own(arg), self.fresh());
                let inst = self.inst(Op::Neg(Width::W64)).reuse_def(negated, 1).uses(pointer);
                self.push(inst);
                let inst = self.inst(Op::Neg(Width::W64)).reuse_def(dst, 1).uses(negated);
                self.push(inst);
            }
        }
    }

    pub(super) fn clamp(&mut self, dst: VReg, value: Value, mask: u64) {
        let width = if self.is_i32(value) { Width::W32 } else { Width::W64 };
        let a = self.need_own(value);
        match (width, i32::try_from(mask)) {
            (Width::W32, _) => self.alu_imm(dst, AluOp::And, width, a, mask as i32),
            (_, Ok(imm)) => self.alu_imm(dst, AluOp::And, width, a, imm),
            (_, Err(_)) if mask == u64::from(u32::MAX) => self.copy(dst, Width::W32, a),
            (_, Err(_)) => {
                let n = self.fresh();
                let inst = self.inst(Op::Const(mask as i64, Width::W64)).def(n);
                self.push(inst);
                self.alu(dst, AluOp::And, width, a, n);
            }
        }
    }
}

fn is_commutative(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Add | BinaryOp::Mul | BinaryOp::And | BinaryOp::Or | BinaryOp::Xor)
}

fn alu_op(op: BinaryOp) -> AluOp {
    match op {
        BinaryOp::Add => AluOp::Add,
        BinaryOp::Sub => AluOp::Sub,
        BinaryOp::Mul => AluOp::Mul,
        BinaryOp::Udiv => AluOp::Div,
        BinaryOp::Sdiv => AluOp::SDiv,
        BinaryOp::Urem => AluOp::Mod,
        BinaryOp::Srem => AluOp::SMod,
        BinaryOp::And => AluOp::And,
        BinaryOp::Or => AluOp::Or,
        BinaryOp::Xor => AluOp::Xor,
        BinaryOp::Shl => AluOp::Lsh,
        BinaryOp::Lshr => AluOp::Rsh,
        BinaryOp::Ashr => AluOp::Arsh,
    }
}

/// The jump condition of a comparison.
pub(super) fn jump_cond(cond: crate::Cond) -> Cond {
    match cond {
        crate::Cond::Eq => Cond::Eq,
        crate::Cond::Ne => Cond::Ne,
        crate::Cond::Ult => Cond::Lt,
        crate::Cond::Ule => Cond::Le,
        crate::Cond::Ugt => Cond::Gt,
        crate::Cond::Uge => Cond::Ge,
        crate::Cond::Slt => Cond::Slt,
        crate::Cond::Sle => Cond::Sle,
        crate::Cond::Sgt => Cond::Sgt,
        crate::Cond::Sge => Cond::Sge,
    }
}
