//! Comparisons, selects, calls, and what ends blocks.

use isa::{AluOp, Cond, Width};
use regalloc2::{Block as MachineBlock, VReg};

use super::arithmetic::jump_cond;
use super::{Lowering, targets};
use crate::backend::Error;
use crate::backend::machine::{Choice, Instruction, Op, Right, Test};
use crate::{BinaryOp, Block, BlockCall, Inst, InstData, Value, ValueDef};

/// A test with its operands.
#[derive(Clone, Copy)]
struct Condition {
    test: Test,
    left: VReg,
    right: Option<VReg>,
    /// The condition holds when the test does not.
    inverted: bool,
}

impl Condition {
    fn on(self, inst: Instruction) -> Instruction {
        let inst = inst.uses(self.left);
        match self.right {
            Some(right) => inst.uses(right),
            None => inst,
        }
    }

    /// As operands that are read after the result is first written.
    fn on_late(self, inst: Instruction) -> Instruction {
        let inst = inst.late_use(self.left);
        match self.right {
            Some(right) => inst.late_use(right),
            None => inst,
        }
    }
}

/// A number that is there if a condition holds, else 0.
pub(super) struct Flag {
    cond: Value,
    number: i32,
}

impl Lowering<'_> {
    /// The test that `cond` being non-zero comes down to.
    fn condition(&mut self, cond: Value) -> Condition {
        let cond = self.resolve(cond);
        match self.def(cond) {
            Some(InstData::Compare { cond, args: [a, b] }) => self.comparison(*cond, *a, *b),
            _ => self.comparison_imm(crate::Cond::Ne, cond, 0, false),
        }
    }

    fn comparison(&mut self, mut cond: crate::Cond, a: Value, b: Value) -> Condition {
        // An alias of `a` may be of another type.
        let narrow = self.is_i32(a);
        let (mut a, mut b) = (self.resolve(a), self.resolve(b));
        if self.constant(a).is_some() && self.constant(b).is_none() {
            std::mem::swap(&mut a, &mut b);
            cond = swapped(cond);
        }
        if let Some(n) = self.constant(b) {
            return self.comparison_imm(cond, a, n, narrow);
        }
        let signed = is_signed(cond);
        let (width, left, right) = match narrow {
            false => (Width::W64, self.need_or_pointer(a), self.need_or_pointer(b)),
            // The upper halves are zero, so all 64 bits may be compared.
            true if !signed => (Width::W64, self.need(a), self.need(b)),
            true if self.isa >= 3 => (Width::W32, self.need(a), self.need(b)),
            true => (Width::W64, self.widened(a), self.widened(b)),
        };
        self.by_register(jump_cond(cond), width, left, right)
    }

    /// `n`: the constant as it stands in a register, an `I32` zero-extended.
    /// `narrow`: `a` counts as an `I32`.
    fn comparison_imm(&mut self, cond: crate::Cond, a: Value, n: i64, narrow: bool) -> Condition {
        if n == 0
            && matches!(cond, crate::Cond::Eq | crate::Cond::Ne)
            && let Some(c) = self.bit_test(a, cond == crate::Cond::Eq)
        {
            return c;
        }
        if !narrow {
            let left = self.need_or_pointer(a);
            return self.by_number(cond, Width::W64, left, n);
        }
        let signed = is_signed(cond);
        if signed && self.isa < 3 {
            let left = self.widened(a);
            return self.by_number(cond, Width::W64, left, i64::from(n as i32));
        }
        // The value before a truncation that nothing else needs will do for a
        // comparison of low halves; but a value that is used again must be the
        // one that is tested, or the verifier learns nothing about it.
        let only_here = self.uses[a] == 1 && self.low_half(a) != a;
        let fits = i32::try_from(n).is_ok();
        if self.isa >= 3 && (signed || only_here || !fits) {
            let left = self.need(if only_here { self.low_half(a) } else { a });
            return self.by_number(cond, Width::W32, left, i64::from(n as i32));
        }
        let left = self.need(a);
        self.by_number(cond, Width::W64, left, n)
    }

    fn by_number(&mut self, cond: crate::Cond, width: Width, left: VReg, n: i64) -> Condition {
        let Ok(imm) = i32::try_from(n) else {
            let right = self.fresh();
            let inst = self.inst(Op::Const(n, Width::W64)).def(right);
            self.push(inst);
            return self.by_register(jump_cond(cond), width, left, right);
        };
        let (cond, inverted) = match jump_cond(cond) {
            less @ (Cond::Lt | Cond::Le | Cond::Slt | Cond::Sle) if self.isa < 2 => {
                (less.negated().unwrap_or(less), true)
            }
            cond => (cond, false),
        };
        Condition { test: Test { cond, width, right: Right::Imm(imm) }, left, right: None, inverted }
    }

    fn by_register(&mut self, cond: Cond, width: Width, left: VReg, right: VReg) -> Condition {
        let (cond, left, right) = match cond {
            Cond::Lt | Cond::Le | Cond::Slt | Cond::Sle if self.isa < 2 => (cond.swapped(), right, left),
            _ => (cond, left, right),
        };
        Condition { test: Test { cond, width, right: Right::Register }, left, right: Some(right), inverted: false }
    }

    /// `(x & y) != 0` (inverted: `== 0`) in one instruction, where nothing else
    /// needs `a`, which is `x & y`.
    fn bit_test(&mut self, a: Value, inverted: bool) -> Option<Condition> {
        let a = self.resolve(a);
        let Some(InstData::Binary { op: BinaryOp::And, args }) = self.def(a) else { return None };
        if self.uses[a] > 1 {
            return None;
        }
        let [mut x, mut y] = args.map(|v| self.resolve(v));
        if self.constant(x).is_some() {
            std::mem::swap(&mut x, &mut y);
        }
        // The upper half of an I32 is zero, so 64 bits will do for it too.
        let imm = self.constant(y).map(i32::try_from);
        let (left, right) = match imm {
            Some(Ok(_)) => (self.need(x), None),
            _ => (self.need(x), Some(self.need(y))),
        };
        let operand = match imm {
            Some(Ok(imm)) => Right::Imm(imm),
            _ => Right::Register,
        };
        Some(Condition { test: Test { cond: Cond::Set, width: Width::W64, right: operand }, left, right, inverted })
    }

    /// An `I32` sign-extended, for instruction sets without 32-bit jumps.
    fn widened(&mut self, v: Value) -> VReg {
        let (narrow, wide) = (self.need(self.low_half(v)), self.fresh());
        self.sign_extend(wide, 32, Width::W64, narrow);
        wide
    }

    /// A comparison as a value.
    pub(super) fn set_if(&mut self, dst: VReg, compare: Value) {
        let c = self.condition(compare);
        let set = if c.inverted { self.fresh() } else { dst };
        let inst = c.on(self.inst(Op::SetIf(c.test)).early_def(set));
        self.push(inst);
        if c.inverted {
            self.alu_imm(dst, AluOp::Xor, Width::W64, set, 1);
        }
    }

    /// `dst = x op (cond ? imm : 0)` or, which is the same for the operations it is
    /// used with, `cond ? x op imm : x`.
    fn alu_if(&mut self, dst: VReg, cond: Value, holds: bool, (op, width, imm): (AluOp, Width, i32), x: Value) {
        let c = self.condition(cond);
        let x = self.need_own(x);
        let inst = self.inst(Op::AluIf { test: c.test, holds: holds != c.inverted, op, width, imm });
        let inst = c.on_late(inst.reuse_def(dst, 1).uses(x));
        self.push(inst);
    }

    /// Selects `a op b` where `b` is a number or 0 by some condition.
    pub(super) fn binary_if(&mut self, dst: VReg, op: BinaryOp, width: Width, a: Value, b: Value) -> bool {
        // Operations that 0 on the right leaves without effect.
        let alu = match op {
            BinaryOp::Add => AluOp::Add,
            BinaryOp::Sub => AluOp::Sub,
            BinaryOp::Or => AluOp::Or,
            BinaryOp::Xor => AluOp::Xor,
            _ => return false,
        };
        let (a, b) = (self.resolve(a), self.resolve(b));
        let (flag, x) = match (self.flag(b), self.flag(a)) {
            (Some(flag), _) => (flag, a),
            (None, Some(flag)) if op != BinaryOp::Sub => (flag, b),
            _ => return false,
        };
        self.alu_if(dst, flag.cond, true, (alu, width, flag.number), x);
        true
    }

    /// `v` as a number that is there or not by a condition, if nothing else
    /// needs `v`.
    pub(super) fn flag(&self, v: Value) -> Option<Flag> {
        if self.uses[v] > 1 {
            return None;
        }
        match self.def(v)? {
            InstData::Compare { .. } => Some(Flag { cond: v, number: 1 }),
            InstData::Binary { op: BinaryOp::Shl, args: [a, n] } if !self.is_i32(v) => {
                let a = self.resolve(*a);
                let shift = self.constant(*n).filter(|n| (0..31).contains(n))?;
                let single = self.uses[a] == 1 && matches!(self.def(a), Some(InstData::Compare { .. }));
                single.then_some(Flag { cond: a, number: 1 << shift })
            }
            InstData::Select { cond, args: [n, zero] } if self.constant(*zero) == Some(0) => {
                let number = i32::try_from(self.constant(*n)?).ok()?;
                Some(Flag { cond: *cond, number })
            }
            _ => None,
        }
    }

    /// Selects `flag << n` as `flag ? 1 << n : 0`.
    pub(super) fn shifted_flag(&mut self, dst: VReg, width: Width, flag: Value, n: i64) -> bool {
        let flag = self.resolve(flag);
        let compares = matches!(self.def(flag), Some(InstData::Compare { .. }));
        if !compares || self.uses[flag] > 1 || width == Width::W32 || !(0..31).contains(&n) {
            return false;
        }
        let c = self.condition(flag);
        let (set, clear) = (Choice::Imm(1 << n, Width::W64), Choice::Imm(0, Width::W64));
        let (first, second) = if c.inverted { (clear, set) } else { (set, clear) };
        let inst = c.on(self.inst(Op::Select { test: c.test, first, second }).early_def(dst));
        self.push(inst);
        true
    }

    /// Selects `cond ? x op n : x`, or the other way round.
    fn select_if(&mut self, dst: VReg, cond: Value, a: Value, b: Value) -> bool {
        for (changed, x, holds) in [(a, b, true), (b, a, false)] {
            let (changed, x) = (self.resolve(changed), self.resolve(x));
            if self.uses[changed] == 1
                && let Some(InstData::Binary { op, args: [from, n] }) = self.def(changed)
                && self.resolve(*from) == x
                && self.constant(x).is_none()
                && let Some(n) = self.constant(*n)
                && let Some(alu) = self.plain_imm(*op, changed, n)
            {
                self.alu_if(dst, cond, holds, alu, x);
                return true;
            }
        }
        false
    }

    pub(super) fn select(&mut self, dst: VReg, cond: Value, a: Value, b: Value) {
        if self.select_if(dst, cond, a, b) {
            return;
        }
        let c = self.condition(cond);
        let (first, second) = if c.inverted { (b, a) } else { (a, b) };
        let (first, first_reg) = self.choice(first);
        let (second, second_reg) = self.choice(second);
        let inst = self.inst(Op::Select { test: c.test, first, second });
        let inst = match first_reg {
            None => {
                let inst = c.on(inst.early_def(dst));
                match second_reg {
                    Some(v) => inst.uses(v),
                    None => inst,
                }
            }
            Some(v) => {
                let inst = c.on_late(inst.reuse_def(dst, 1).uses(v));
                match second_reg {
                    Some(v) => inst.late_use(v),
                    None => inst,
                }
            }
        };
        self.push(inst);
    }

    /// `v` as an immediate, or in a register.
    fn choice(&mut self, v: Value) -> (Choice, Option<VReg>) {
        match self.constant(v) {
            Some(n) if i32::try_from(n).is_ok() => (Choice::Imm(n as i32, Width::W64), None),
            Some(n) if u32::try_from(n).is_ok() => (Choice::Imm(n as i32, Width::W32), None),
            _ => (Choice::Register, Some(self.need_own(v))),
        }
    }

    /// `result`: the value that `dst` holds.
    pub(super) fn call(&mut self, dst: VReg, result: Option<Value>, op: Op, args: &[Value]) -> Result<(), Error> {
        if args.len() > 5 {
            return Err(Error::TooManyArguments { function: self.func.name.clone() });
        }
        // What outlives a call is best kept in one register from start to end:
        // copies at calls leave the allocator free to choose it.
        let kept = result.is_some_and(|v| self.liveness.crosses_calls(v));
        let returned = if kept { self.fresh() } else { dst };
        let mut inst = self.inst(op).fixed_def(returned, 0);
        for (i, &arg) in args.iter().enumerate() {
            let mut v = self.need_or_pointer(arg);
            if self.liveness.crosses_calls(self.resolve(arg)) && self.remat(self.resolve(arg)).is_none() {
                let passed = self.fresh();
                self.copy(passed, Width::W64, v);
                v = passed;
            }
            inst = inst.fixed_use(v, i as u8 + 1);
        }
        self.push(inst);
        if kept {
            self.copy(dst, Width::W64, returned);
        }
        Ok(())
    }

    pub(super) fn terminator(&mut self, block: Block, inst: Inst) -> Result<(), Error> {
        let node = self.shape.body(block);
        match &self.func.insts[inst] {
            InstData::Return(v) => {
                let mut result = self.need_own(*v);
                if !self.is_defined_in(block, *v) {
                    // With a copy the allocator is free to keep a value that
                    // comes from a loop, say, where it is best for the loop.
                    let copy = self.fresh();
                    self.copy(copy, Width::W64, result);
                    result = copy;
                }
                let inst = self.inst(Op::Return).fixed_use(result, 0);
                self.push(inst);
            }
            InstData::Jump(to) => {
                let next = MachineBlock::new(self.shape.way_in(to.block));
                self.infos[node].succs = vec![next];
                self.infos[node].args = self.arguments(to);
                let inst = self.inst(Op::Jump);
                self.push(inst);
            }
            terminator @ InstData::Branch { cond, .. } => {
                let mut succs = Vec::with_capacity(2);
                for (i, to) in targets(terminator).into_iter().flatten().enumerate() {
                    let target = self.shape.way_in(to.block);
                    let Some(edge) = self.shape.on_edge(block, i) else {
                        succs.push(MachineBlock::new(target));
                        continue;
                    };
                    succs.push(MachineBlock::new(edge));
                    let args = self.arguments(to);
                    let mut body: Vec<_> = self.current.drain(..).collect();
                    body.push(self.inst(Op::Jump));
                    self.bodies[edge] = body;
                    self.infos[edge].args = args;
                    self.infos[edge].succs = vec![MachineBlock::new(target)];
                }
                let c = self.condition(*cond);
                if c.inverted {
                    succs.swap(0, 1);
                }
                self.infos[node].succs = succs;
                let inst = c.on(self.inst(Op::Branch(c.test)));
                self.push(inst);
            }
            // A block always ends in a terminator.
            _ => {}
        }
        Ok(())
    }

    /// Whether `v` is computed or comes in at `block`, or where it is used.
    fn is_defined_in(&self, block: Block, v: Value) -> bool {
        let v = self.resolve(v);
        match self.func.values[v].def {
            ValueDef::Result(inst) => self.remat(v).is_some() || self.func.blocks[block].insts.contains(&inst),
            ValueDef::Param(of, _) => of == block,
        }
    }

    /// The registers of a jump's arguments.
    fn arguments(&mut self, to: &BlockCall) -> Vec<VReg> {
        if self.shape.has_one_way_in(to.block) {
            return Vec::new();
        }
        to.args.iter().map(|&v| self.need_own(v)).collect()
    }
}

fn is_signed(cond: crate::Cond) -> bool {
    matches!(cond, crate::Cond::Slt | crate::Cond::Sle | crate::Cond::Sgt | crate::Cond::Sge)
}

fn swapped(cond: crate::Cond) -> crate::Cond {
    use crate::Cond::*;
    match cond {
        Eq => Eq,
        Ne => Ne,
        Ult => Ugt,
        Ule => Uge,
        Ugt => Ult,
        Uge => Ule,
        Slt => Sgt,
        Sle => Sge,
        Sgt => Slt,
        Sge => Sle,
    }
}
