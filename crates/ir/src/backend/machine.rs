//! The machine IR: BPF instructions over virtual registers, as the register
//! allocator sees them.
//!
//! An instruction is an [`Op`] and its register operands. Operand order is
//! fixed per operation and documented there; emission reads the allocations in
//! the same order. A few operations stand for short sequences with jumps inside
//! (a materialised comparison, a select, a signed division on old
//! instruction sets), so that selection never has to split a block.

use isa::{AluOp, AtomicOp, Cond, Size, Width};
use object::SourceSpan;
use regalloc2::{
    Block as MachineBlock, Inst as MachineInst, InstRange, Operand, OperandConstraint, OperandKind, OperandPos, PReg,
    PRegSet, RegClass, VReg,
};

use crate::{Func, Map, MemType, Slot};

/// The most register operands that one instruction has: a call's five
/// arguments and its result.
const MAX_OPERANDS: usize = 6;

/// The physical register `r{number}`.
pub const fn physical(number: u8) -> PReg {
    PReg::new(number as usize, RegClass::Int)
}

/// Where a memory access goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// The last register operand plus an offset.
    Register(i16),
    /// A slot of the frame plus an offset; becomes `r10` plus an offset.
    Frame(Slot, i32),
}

/// The right side of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    Imm(i32),
    /// The operand after the left side.
    Register,
}

/// A comparison as a conditional jump has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test {
    pub cond: Cond,
    pub width: Width,
    pub right: Right,
}

/// The first value of a select, in place before its test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Width 32 leaves the upper half zero.
    Imm(i32, Width),
    Register,
}

/// A machine operation. In the comments: `d` a definition, `u` a use, in
/// operand order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// The function's parameters: `d` each, in `r1` and up.
    Params,
    /// `d`
    Const(i64, Width),
    /// `d`
    MapAddr(Map),
    /// `d`
    MapValueAddr {
        map: Map,
        offset: u32,
    },
    /// `d`
    FuncAddr(Func),
    /// `d`: the address of a slot of the frame.
    FrameAddr {
        slot: Slot,
        offset: i32,
    },
    /// `d u`
    Move(Width),
    /// `d u`: ISA v4.
    SignExtend {
        bits: u8,
        width: Width,
    },
    /// `d u u`: `d` is the first `u`.
    Alu {
        op: AluOp,
        width: Width,
    },
    /// `d u`: `d` is `u`.
    AluImm {
        op: AluOp,
        width: Width,
        imm: i32,
    },
    /// `d u`: `d` is `u`.
    Neg(Width),
    /// `d u`: `d` is `u`. Reverses the low bytes, clears the rest.
    ByteSwap {
        bits: u8,
    },
    /// `d [base]`; the signed ones are ISA v4.
    Load {
        mem: MemType,
        address: Address,
    },
    /// `value [base]`
    Store {
        size: Size,
        address: Address,
    },
    /// `[base]`
    StoreImm {
        size: Size,
        address: Address,
        imm: i32,
    },
    /// `value [base]`, or `d value [base]` with `d` the value where the
    /// operation fetches.
    Atomic {
        op: AtomicOp,
        size: Size,
        fetch: bool,
        address: Address,
    },
    /// `d expected value [base]`: `d` and `expected` in `r0`.
    CompareExchange {
        size: Size,
        address: Address,
    },
    /// `d argument…`
    CallHelper(u32),
    /// `d argument…`
    Call(Func),
    /// `d left [right]`: 1 if the test holds, else 0.
    SetIf(Test),
    /// `d [first] left [right] [second]`: the first value if the test holds,
    /// else the second.
    Select {
        test: Test,
        first: Choice,
        second: Choice,
    },
    /// `d u left [right]`: `d` is `u`; the operation if the test comes out as `holds`.
    AluIf {
        test: Test,
        holds: bool,
        op: AluOp,
        width: Width,
        imm: i32,
    },
    /// `d t u v sign`: 64-bit signed division by unsigned division; `d` is the
    /// dividend `u`, `t` the divisor `v`, and `sign` is scratch.
    SignedDivide {
        remainder: bool,
    },
    /// `counter pointer u [value]`: stores `rounds` times eight words from `u` on.
    Fill {
        rounds: u32,
        value: Choice,
    },
    Jump,
    /// `left [right]`: to the first successor if the test holds.
    Branch(Test),
    /// `u` in `r0`.
    Return,
}

/// An operation with its register operands.
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    pub op: Op,
    operands: [Operand; MAX_OPERANDS],
    len: u8,
    pub span: SourceSpan,
}

impl Instruction {
    pub fn new(op: Op, span: SourceSpan) -> Self {
        let unused = Operand::any_use(VReg::new(0, RegClass::Int));
        Instruction { op, operands: [unused; MAX_OPERANDS], len: 0, span }
    }

    fn operand(mut self, operand: Operand) -> Self {
        debug_assert!((self.len as usize) < MAX_OPERANDS);
        self.operands[self.len as usize] = operand;
        self.len += 1;
        self
    }

    /// A result, in any register, written after all uses are read.
    pub fn def(self, v: VReg) -> Self {
        self.operand(Operand::reg_def(v))
    }

    /// A result or scratch that shares no register with any use.
    pub fn early_def(self, v: VReg) -> Self {
        self.operand(Operand::reg_def_at_start(v))
    }

    pub fn fixed_def(self, v: VReg, register: u8) -> Self {
        self.operand(Operand::reg_fixed_def(v, physical(register)))
    }

    /// A result in the register of operand `of`.
    pub fn reuse_def(self, v: VReg, of: usize) -> Self {
        self.operand(Operand::new(v, OperandConstraint::Reuse(of), OperandKind::Def, OperandPos::Late))
    }

    pub fn uses(self, v: VReg) -> Self {
        self.operand(Operand::reg_use(v))
    }

    /// A use that is read after results are first written.
    pub fn late_use(self, v: VReg) -> Self {
        self.operand(Operand::reg_use_at_end(v))
    }

    pub fn fixed_use(self, v: VReg, register: u8) -> Self {
        self.operand(Operand::reg_fixed_use(v, physical(register)))
    }

    pub fn operands(&self) -> &[Operand] {
        &self.operands[..self.len as usize]
    }
}

/// A basic block of the machine function.
#[derive(Clone, Debug, Default)]
pub struct BlockInfo {
    /// Range in [`MachineFunction::insts`].
    pub start: usize,
    pub end: usize,
    pub succs: Vec<MachineBlock>,
    pub preds: Vec<MachineBlock>,
    pub params: Vec<VReg>,
    /// Arguments for the parameters of the only successor.
    pub args: Vec<VReg>,
}

/// A function in machine IR, blocks in order of emission; block 0 is the entry.
#[derive(Clone, Debug, Default)]
pub struct MachineFunction {
    pub insts: Vec<Instruction>,
    pub blocks: Vec<BlockInfo>,
    pub num_vregs: usize,
}

impl regalloc2::Function for MachineFunction {
    fn num_insts(&self) -> usize {
        self.insts.len()
    }

    fn num_blocks(&self) -> usize {
        self.blocks.len()
    }

    fn entry_block(&self) -> MachineBlock {
        MachineBlock::new(0)
    }

    fn block_insns(&self, block: MachineBlock) -> InstRange {
        let b = &self.blocks[block.index()];
        InstRange::new(MachineInst::new(b.start), MachineInst::new(b.end))
    }

    fn block_succs(&self, block: MachineBlock) -> &[MachineBlock] {
        &self.blocks[block.index()].succs
    }

    fn block_preds(&self, block: MachineBlock) -> &[MachineBlock] {
        &self.blocks[block.index()].preds
    }

    fn block_params(&self, block: MachineBlock) -> &[VReg] {
        &self.blocks[block.index()].params
    }

    fn is_ret(&self, inst: MachineInst) -> bool {
        matches!(self.insts[inst.index()].op, Op::Return)
    }

    fn is_branch(&self, inst: MachineInst) -> bool {
        matches!(self.insts[inst.index()].op, Op::Jump | Op::Branch(_))
    }

    fn branch_blockparams(&self, block: MachineBlock, _inst: MachineInst, _succ: usize) -> &[VReg] {
        &self.blocks[block.index()].args
    }

    fn inst_operands(&self, inst: MachineInst) -> &[Operand] {
        self.insts[inst.index()].operands()
    }

    fn inst_clobbers(&self, inst: MachineInst) -> PRegSet {
        match self.insts[inst.index()].op {
            // r0 is the call's result.
            Op::CallHelper(_) | Op::Call(_) => (1..=5).fold(PRegSet::empty(), |set, n| set.with(physical(n))),
            _ => PRegSet::empty(),
        }
    }

    fn num_vregs(&self) -> usize {
        self.num_vregs
    }

    fn spillslot_size(&self, _class: RegClass) -> usize {
        1
    }
}
