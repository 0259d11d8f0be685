//! Machine IR with its allocations → BPF instructions.

use isa::{AluOp, AtomicOp, Cond, Endian, Insn, R10, Reg, Size, Width};
use object::{Code, FunctionIndex, Line, MapIndex, Relocation, RelocationKind, SourceSpan};
use regalloc2::{Allocation, Block as MachineBlock, Edit, Function as _, InstOrEdit, Output};

use super::Error;
use super::frame::Frame;
use super::machine::{Address, Choice, Instruction, MachineFunction, Op, Right, Test};
use super::peephole::Draft;
use crate::{Func, MemType};

/// What emission needs besides the code.
pub struct Context<'a> {
    pub name: &'a str,
    pub isa: u8,
    pub frame: &'a Frame,
    /// Index in the object of a function that is no program.
    pub function_index: &'a dyn Fn(Func) -> Option<u32>,
}

/// The instructions of `func`, blocks in order. `params` is left for the caller.
pub fn emit(func: &MachineFunction, output: &Output, context: &Context<'_>) -> Result<Code, Error> {
    let mut emitter = Emitter::new(func, output, context);
    let order = emitter.order();
    emitter.blocks(&order)?;
    emitter.clean();
    match emitter.link() {
        Err(Error::FunctionTooLong { .. }) if context.isa >= 4 => {
            emitter.restart();
            emitter.long = true;
            emitter.blocks(&order)?;
            emitter.clean();
            emitter.link()?;
        }
        result => result?,
    }
    Ok(emitter.code)
}

/// Where a jump goes.
#[derive(Clone, Copy)]
enum Target {
    Block(MachineBlock),
    Slot(usize),
}

struct Emitter<'a> {
    func: &'a MachineFunction,
    output: &'a Output,
    context: &'a Context<'a>,
    /// Jumps between blocks take 32-bit distances.
    long: bool,
    code: Code,
    span: SourceSpan,
    /// The slots of jumps, and where they should go.
    jumps: Vec<(usize, Target)>,
    /// The slots of calls, and how many arguments each has.
    calls: Vec<(usize, u8)>,
    /// First slot of each block.
    starts: Vec<usize>,
}

impl<'a> Emitter<'a> {
    fn new(func: &'a MachineFunction, output: &'a Output, context: &'a Context<'a>) -> Self {
        let mut code = Code { name: context.name.to_string(), ..Code::default() };
        code.insns.reserve(func.insts.len() + output.edits.len());
        let blocks = func.blocks.len();
        Emitter {
            func,
            output,
            context,
            long: false,
            code,
            span: SourceSpan::default(),
            jumps: Vec::new(),
            calls: Vec::new(),
            starts: vec![0; blocks],
        }
    }

    /// Forgets all code.
    fn restart(&mut self) {
        self.code.insns.clear();
        self.code.relocations.clear();
        self.code.lines.clear();
        self.jumps.clear();
        self.calls.clear();
        self.span = SourceSpan::default();
    }

    fn blocks(&mut self, order: &[MachineBlock]) -> Result<(), Error> {
        for (i, &block) in order.iter().enumerate() {
            self.starts[block.index()] = self.code.insns.len();
            self.block(block, order.get(i + 1).copied())?;
        }
        Ok(())
    }

    /// Drops needless copies.
    fn clean(&mut self) {
        let target = |to: Target| match to {
            Target::Block(block) => self.starts[block.index()],
            Target::Slot(slot) => slot,
        };
        let mut draft = Draft {
            jumps: self.jumps.iter().map(|(at, to)| (*at, target(*to))).collect(),
            calls: std::mem::take(&mut self.calls),
            insns: std::mem::take(&mut self.code.insns),
        };
        let mut spans = Vec::with_capacity(draft.insns.len());
        for (i, line) in self.code.lines.iter().enumerate() {
            spans.resize(line.insn as usize, spans.last().copied().unwrap_or_default());
            let end = self.code.lines.get(i + 1).map_or(draft.insns.len(), |next| next.insn as usize);
            spans.resize(end, line.at);
        }
        let origins = draft.clean();
        self.code.lines.clear();
        self.span = SourceSpan::default();
        let mut relocations = Vec::with_capacity(self.code.relocations.len());
        let old = std::mem::take(&mut self.code.relocations);
        for (insn, &origin) in origins.iter().enumerate() {
            if let Some(&at) = spans.get(origin).filter(|at| **at != self.span && **at != SourceSpan::default()) {
                self.span = at;
                self.code.lines.push(Line { insn: insn as u32, at });
            }
            if let Ok(found) = old.binary_search_by_key(&(origin as u32), |relocation| relocation.insn) {
                relocations.push(Relocation { insn: insn as u32, ..old[found] });
            }
        }
        self.code.relocations = relocations;
        self.code.insns = draft.insns;
        self.jumps = draft.jumps.into_iter().map(|(at, to)| (at, Target::Slot(to))).collect();
    }

    /// Gives jumps their distances.
    fn link(&mut self) -> Result<(), Error> {
        for &(at, to) in &self.jumps {
            let to = match to {
                Target::Block(block) => self.starts[block.index()],
                Target::Slot(slot) => slot,
            };
            let distance = to as i64 - (at as i64 + 1);
            let insn = &mut self.code.insns[at];
            if insn.code == isa::JA32 {
                insn.imm = distance as i32;
            } else {
                insn.off = i16::try_from(distance)
                    .map_err(|_| Error::FunctionTooLong { function: self.context.name.to_string() })?;
            }
        }
        Ok(())
    }

    /// What is emitted of a block: instructions with code, and moves.
    fn items(&self, block: MachineBlock) -> impl Iterator<Item = InstOrEdit<'a>> + use<'a> {
        let func = self.func;
        self.output.block_insts_and_edits(func, block).filter(move |item| match item {
            InstOrEdit::Inst(inst) => !matches!(func.insts[inst.index()].op, Op::Params),
            InstOrEdit::Edit(Edit::Move { from, to }) => from != to,
        })
    }

    /// The only thing that a block does.
    fn only_item(&self, block: MachineBlock) -> Option<&'a Instruction> {
        let mut items = self.items(block);
        match (items.next(), items.next()) {
            (Some(InstOrEdit::Inst(inst)), None) => Some(&self.func.insts[inst.index()]),
            _ => None,
        }
    }

    /// The block where code that jumps to `block` ends up.
    fn destination(&self, mut block: MachineBlock) -> MachineBlock {
        // Blocks that jump in a circle are followed once around.
        for _ in 0..self.func.blocks.len() {
            match self.only_item(block) {
                Some(Instruction { op: Op::Jump, .. }) => block = self.func.block_succs(block)[0],
                _ => break,
            }
        }
        block
    }

    fn only_returns(&self, block: MachineBlock) -> bool {
        matches!(self.only_item(block), Some(Instruction { op: Op::Return, .. }))
    }

    /// The blocks to emit: those that are reached, but for blocks that only
    /// return and that no branch goes to. Jumps to such a block return
    /// themselves, and the kernel refuses code that nothing reaches.
    fn order(&self) -> Vec<MachineBlock> {
        let mut reached = vec![false; self.func.blocks.len()];
        let mut kept = vec![false; self.func.blocks.len()];
        let first = self.destination(MachineBlock::new(0));
        let mut work = vec![first];
        while let Some(block) = work.pop() {
            if std::mem::replace(&mut reached[block.index()], true) {
                continue;
            }
            let succs = self.func.block_succs(block);
            for to in succs.iter().map(|to| self.destination(*to)) {
                kept[to.index()] |= succs.len() > 1 || !self.only_returns(to);
                work.push(to);
            }
        }
        kept[first.index()] = false;
        let rest = (0..kept.len()).filter(|i| kept[*i]).map(MachineBlock::new);
        std::iter::once(first).chain(rest).collect()
    }

    fn block(&mut self, block: MachineBlock, next: Option<MachineBlock>) -> Result<(), Error> {
        for item in self.items(block) {
            match item {
                InstOrEdit::Inst(inst) => {
                    let allocs = self.output.inst_allocs(inst);
                    let inst = &self.func.insts[inst.index()];
                    self.line(inst.span);
                    match inst.op {
                        Op::Jump => {
                            let to = self.destination(self.func.block_succs(block)[0]);
                            if Some(to) != next && self.only_returns(to) {
                                self.put(Insn::exit());
                            } else {
                                self.go(to, next);
                            }
                        }
                        Op::Branch(test) => {
                            let succs = self.func.block_succs(block);
                            let (then, otherwise) = (self.destination(succs[0]), self.destination(succs[1]));
                            self.branch(test, allocs, then, otherwise, next)?;
                        }
                        _ => self.inst(inst, allocs)?,
                    }
                }
                InstOrEdit::Edit(Edit::Move { from, to }) => self.edit(*from, *to)?,
            }
        }
        Ok(())
    }

    fn put(&mut self, insn: Insn) {
        self.code.insns.push(insn);
    }

    fn line(&mut self, span: SourceSpan) {
        if span == SourceSpan::default() || span == self.span {
            return;
        }
        self.span = span;
        let insn = self.code.insns.len() as u32;
        match self.code.lines.last_mut() {
            Some(last) if last.insn == insn => last.at = span,
            _ => self.code.lines.push(Line { insn, at: span }),
        }
    }

    /// Loads something whose value the loader fills in.
    fn relocated(&mut self, pseudo: u8, dst: Reg, kind: RelocationKind) {
        self.code.relocations.push(Relocation { insn: self.code.insns.len() as u32, kind });
        self.put(Insn::new(isa::LD_IMM64, dst, Reg(pseudo), 0, 0));
        self.put(Insn::default());
    }

    /// Goes on at `to`, which may be what comes next anyway.
    fn go(&mut self, to: MachineBlock, next: Option<MachineBlock>) {
        if Some(to) != next {
            self.jump(to);
        }
    }

    fn jump(&mut self, to: MachineBlock) {
        self.jump_from_here(to);
        self.put(if self.long { Insn::jump_long(0) } else { Insn::jump(0) });
    }

    /// The next instruction is a jump to `to`.
    fn jump_from_here(&mut self, to: MachineBlock) {
        self.jumps.push((self.code.insns.len(), Target::Block(to)));
    }

    /// The next instruction is a jump over the `count` slots after it.
    fn skip_from_here(&mut self, count: usize) {
        let here = self.code.insns.len();
        self.jumps.push((here, Target::Slot(here + 1 + count)));
    }

    fn branch(
        &mut self,
        test: Test,
        allocs: &[Allocation],
        then: MachineBlock,
        otherwise: MachineBlock,
        next: Option<MachineBlock>,
    ) -> Result<(), Error> {
        if then == otherwise {
            self.go(then, next);
            return Ok(());
        }
        let (test, then, otherwise) = match self.inverse(test) {
            Some(inverse) if Some(then) == next => (inverse, otherwise, then),
            _ => (test, then, otherwise),
        };
        if self.long {
            self.skip_from_here(1);
            self.test(test, allocs)?;
            self.skip_from_here(1);
            self.put(Insn::jump(0));
            self.jump(then);
        } else if Some(then) == next {
            // A test that has no inverse skips the jump instead.
            self.skip_from_here(1);
            self.test(test, allocs)?;
        } else {
            self.jump_from_here(then);
            self.test(test, allocs)?;
        }
        self.go(otherwise, next);
        Ok(())
    }

    fn inverse(&self, test: Test) -> Option<Test> {
        let cond = test.cond.negated()?;
        let less = matches!(cond, Cond::Lt | Cond::Le | Cond::Slt | Cond::Sle);
        (self.context.isa >= 2 || !less).then_some(Test { cond, ..test })
    }

    /// A conditional jump; where to is set later.
    fn test(&mut self, test: Test, allocs: &[Allocation]) -> Result<(), Error> {
        let off = 0;
        let left = register(allocs, 0)?;
        let insn = match (test.width, test.right) {
            (Width::W64, Right::Imm(imm)) => Insn::jump64_imm(test.cond, left, imm, off),
            (Width::W32, Right::Imm(imm)) => Insn::jump32_imm(test.cond, left, imm, off),
            (Width::W64, Right::Register) => Insn::jump64_reg(test.cond, left, register(allocs, 1)?, off),
            (Width::W32, Right::Register) => Insn::jump32_reg(test.cond, left, register(allocs, 1)?, off),
        };
        self.put(insn);
        Ok(())
    }

    /// Jumps over the next instruction unless the test comes out as `holds`.
    fn skip_unless(&mut self, test: Test, holds: bool, allocs: &[Allocation]) -> Result<(), Error> {
        let skip = if holds { self.inverse(test) } else { Some(test) };
        self.skip_from_here(1);
        match skip {
            Some(test) => self.test(test, allocs),
            None => {
                self.test(test, allocs)?;
                self.skip_from_here(1);
                self.put(Insn::jump(0));
                Ok(())
            }
        }
    }

    fn edit(&mut self, from: Allocation, to: Allocation) -> Result<(), Error> {
        let spill = |index| self.frame_offset(self.context.frame.spill(index));
        let insn = match (from.as_reg(), to.as_reg()) {
            (Some(from), Some(to)) => Insn::mov64_reg(Reg(to.hw_enc() as u8), Reg(from.hw_enc() as u8)),
            (Some(from), None) => {
                let slot = to.as_stack().ok_or(Error::Allocation)?;
                Insn::store_reg(Size::Dw, R10, spill(slot.index())?, Reg(from.hw_enc() as u8))
            }
            (None, Some(to)) => {
                let slot = from.as_stack().ok_or(Error::Allocation)?;
                Insn::load(Size::Dw, Reg(to.hw_enc() as u8), R10, spill(slot.index())?)
            }
            (None, None) => return Err(Error::Allocation),
        };
        self.put(insn);
        Ok(())
    }

    fn frame_offset(&self, offset: i32) -> Result<i16, Error> {
        i16::try_from(offset)
            .map_err(|_| Error::SlotOffset { function: self.context.name.to_string(), span: self.span })
    }

    /// Base register and offset of an address whose base, if it has one, is the last operand.
    fn address(&self, address: Address, allocs: &[Allocation]) -> Result<(Reg, i16), Error> {
        match address {
            Address::Register(offset) => Ok((register(allocs, allocs.len().wrapping_sub(1))?, offset)),
            Address::Frame(slot, offset) => {
                let at = self.context.frame.slot(slot).saturating_add(offset);
                Ok((R10, self.frame_offset(at)?))
            }
        }
    }

    fn choice(&mut self, dst: Reg, choice: Choice, from: Option<Reg>) {
        match (choice, from) {
            (Choice::Imm(imm, width), _) => self.put(mov_imm(width, dst, imm)),
            (Choice::Register, Some(from)) if from != dst => self.put(Insn::mov64_reg(dst, from)),
            _ => {}
        }
    }

    fn inst(&mut self, inst: &Instruction, allocs: &[Allocation]) -> Result<(), Error> {
        let reg = |i| register(allocs, i);
        match inst.op {
            // Without code, or emitted with their block.
            Op::Params | Op::Jump | Op::Branch(_) => {}
            Op::Const(n, width) => match (width, i32::try_from(n)) {
                (Width::W64, Ok(imm)) => self.put(Insn::mov64_imm(reg(0)?, imm)),
                (Width::W32, _) => self.put(Insn::mov32_imm(reg(0)?, n as i32)),
                (Width::W64, Err(_)) => self.code.insns.extend(Insn::load_imm64(reg(0)?, n as u64)),
            },
            Op::MapAddr(map) => {
                self.relocated(isa::pseudo::MAP_FD, reg(0)?, RelocationKind::Map(MapIndex(map.as_u32())));
            }
            Op::MapValueAddr { map, offset } => {
                let kind = RelocationKind::MapValue { map: MapIndex(map.as_u32()), offset };
                self.relocated(isa::pseudo::MAP_VALUE, reg(0)?, kind);
            }
            Op::FuncAddr(func) => {
                let kind = RelocationKind::Address(self.function(func)?);
                self.relocated(isa::pseudo::FUNC, reg(0)?, kind);
            }
            Op::FrameAddr { slot, offset } => {
                let at = self.context.frame.slot(slot).saturating_add(offset);
                self.put(Insn::mov64_reg(reg(0)?, R10));
                self.put(Insn::alu64_imm(AluOp::Add, reg(0)?, at));
            }
            Op::Move(Width::W64) => {
                if reg(0)? != reg(1)? {
                    self.put(Insn::mov64_reg(reg(0)?, reg(1)?));
                }
            }
            Op::Move(Width::W32) => self.put(Insn::mov32_reg(reg(0)?, reg(1)?)),
            Op::SignExtend { bits, width: Width::W64 } => self.put(Insn::movsx64(reg(0)?, reg(1)?, bits)),
            Op::SignExtend { bits, width: Width::W32 } => self.put(Insn::movsx32(reg(0)?, reg(1)?, bits)),
            Op::Alu { op, width: Width::W64 } => self.put(Insn::alu64_reg(op, reg(0)?, reg(2)?)),
            Op::Alu { op, width: Width::W32 } => self.put(Insn::alu32_reg(op, reg(0)?, reg(2)?)),
            Op::AluImm { op, width: Width::W64, imm } => self.put(Insn::alu64_imm(op, reg(0)?, imm)),
            Op::AluImm { op, width: Width::W32, imm } => self.put(Insn::alu32_imm(op, reg(0)?, imm)),
            Op::Neg(Width::W64) => self.put(Insn::neg64(reg(0)?)),
            Op::Neg(Width::W32) => self.put(Insn::neg32(reg(0)?)),
            Op::ByteSwap { bits } => {
                // A conversion to the other byte order is a swap, on any instruction set.
                let other = if cfg!(target_endian = "little") { Endian::Be } else { Endian::Le };
                self.put(Insn::endian(other, reg(0)?, bits));
            }
            Op::Load { mem, address } => {
                let (base, off) = self.address(address, allocs)?;
                let size = match mem {
                    MemType::U8 | MemType::S8 => Size::B,
                    MemType::U16 | MemType::S16 => Size::H,
                    MemType::U32 | MemType::S32 => Size::W,
                    MemType::U64 => Size::Dw,
                };
                let dst = reg(0)?;
                self.put(if mem.is_signed() {
                    Insn::load_signed(size, dst, base, off)
                } else {
                    Insn::load(size, dst, base, off)
                });
            }
            Op::Store { size, address } => {
                let (base, off) = self.address(address, allocs)?;
                self.put(Insn::store_reg(size, base, off, reg(0)?));
            }
            Op::StoreImm { size, address, imm } => {
                let (base, off) = self.address(address, allocs)?;
                self.put(Insn::store_imm(size, base, off, imm));
            }
            Op::Atomic { op, size, fetch, address } => {
                let (base, off) = self.address(address, allocs)?;
                let value = if fetch { reg(1)? } else { reg(0)? };
                self.put(Insn::atomic(op, size, base, off, value));
            }
            Op::CompareExchange { size, address } => {
                let (base, off) = self.address(address, allocs)?;
                self.put(Insn::atomic(AtomicOp::Cmpxchg, size, base, off, reg(2)?));
            }
            Op::CallHelper(helper) => {
                self.calls.push((self.code.insns.len(), allocs.len() as u8 - 1));
                self.put(Insn::call_helper(helper));
            }
            Op::Call(func) => {
                self.calls.push((self.code.insns.len(), allocs.len() as u8 - 1));
                let kind = RelocationKind::Call(self.function(func)?);
                self.code.relocations.push(Relocation { insn: self.code.insns.len() as u32, kind });
                self.put(Insn::call_local(-1));
            }
            Op::SetIf(test) => {
                self.put(Insn::mov64_imm(reg(0)?, 1));
                self.skip_from_here(1);
                self.test(test, &allocs[1..])?;
                self.put(Insn::mov64_imm(reg(0)?, 0));
            }
            Op::Select { test, first, second } => {
                let dst = reg(0)?;
                let test_at = 1 + usize::from(first == Choice::Register);
                let second_at = test_at + 1 + usize::from(test.right == Right::Register);
                let second_reg = if second == Choice::Register { Some(reg(second_at)?) } else { None };
                self.choice(dst, first, if first == Choice::Register { Some(reg(1)?) } else { None });
                self.skip_from_here(1);
                self.test(test, &allocs[test_at..])?;
                match second_reg {
                    Some(from) => self.put(Insn::mov64_reg(dst, from)),
                    None => self.choice(dst, second, None),
                }
            }
            Op::AluIf { test, holds, op, width, imm } => {
                let dst = reg(0)?;
                self.skip_unless(test, holds, &allocs[2..])?;
                self.put(match width {
                    Width::W64 => Insn::alu64_imm(op, dst, imm),
                    Width::W32 => Insn::alu32_imm(op, dst, imm),
                });
            }
            Op::SignedDivide { remainder } => {
                let (dividend, divisor, sign) = (reg(0)?, reg(1)?, reg(4)?);
                self.put(Insn::mov64_reg(sign, dividend));
                if !remainder {
                    self.put(Insn::alu64_reg(AluOp::Xor, sign, divisor));
                }
                for magnitude in [dividend, divisor] {
                    self.skip_from_here(1);
                    self.put(Insn::jump64_imm(Cond::Sge, magnitude, 0, 0));
                    self.put(Insn::neg64(magnitude));
                }
                let op = if remainder { AluOp::Mod } else { AluOp::Div };
                self.put(Insn::alu64_reg(op, dividend, divisor));
                self.skip_from_here(1);
                self.put(Insn::jump64_imm(Cond::Sge, sign, 0, 0));
                self.put(Insn::neg64(dividend));
            }
            Op::Fill { rounds, value } => {
                let (counter, pointer) = (reg(0)?, reg(1)?);
                self.put(Insn::mov64_imm(counter, rounds as i32));
                let again = self.code.insns.len();
                for word in 0..8 {
                    self.put(match value {
                        Choice::Imm(imm, _) => Insn::store_imm(Size::Dw, pointer, 8 * word, imm),
                        Choice::Register => Insn::store_reg(Size::Dw, pointer, 8 * word, reg(3)?),
                    });
                }
                self.put(Insn::alu64_imm(AluOp::Add, pointer, 64));
                self.put(Insn::alu64_imm(AluOp::Add, counter, -1));
                self.jumps.push((self.code.insns.len(), Target::Slot(again)));
                self.put(Insn::jump64_imm(Cond::Ne, counter, 0, 0));
            }
            Op::Return => self.put(Insn::exit()),
        }
        Ok(())
    }

    fn function(&self, func: Func) -> Result<FunctionIndex, Error> {
        let index = (self.context.function_index)(func);
        index.map(FunctionIndex).ok_or(Error::CallOfProgram { function: self.context.name.to_string() })
    }
}

fn mov_imm(width: Width, dst: Reg, imm: i32) -> Insn {
    match width {
        Width::W32 => Insn::mov32_imm(dst, imm),
        Width::W64 => Insn::mov64_imm(dst, imm),
    }
}

/// The register of operand `i`: all operands are constrained to registers.
fn register(allocs: &[Allocation], i: usize) -> Result<Reg, Error> {
    let preg = allocs.get(i).and_then(|a| a.as_reg()).ok_or(Error::Allocation)?;
    Ok(Reg(preg.hw_enc() as u8))
}
