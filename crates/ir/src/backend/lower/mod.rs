//! Instruction selection: SSA → machine IR.
//!
//! Blocks are visited in postorder and each from its end to its start, so that
//! a value is known to be needed (or folded into its user) before the
//! instruction that defines it is reached; what nothing needs is not selected.
//! Constants and addresses of slots, maps and functions never live in a
//! register across other code: each user makes its own.

mod arithmetic;
mod control;
mod liveness;
mod memory;
mod shape;
mod values;

use cranelift_entity::SecondaryMap;
use object::SourceSpan;
use regalloc2::{Block as MachineBlock, RegClass, VReg};

use super::Error;
use super::frame::Scratch;
use super::machine::{Address, BlockInfo, Instruction, MachineFunction, Op, Right, Test};
use crate::{Block, BlockCall, Function, Inst, InstData, Space, Type, UnaryOp, Value, ValueDef};
use isa::{Cond, Size, Width};
use liveness::Liveness;
use shape::{Node, Shape};
use values::Remat;

/// The machine form of `func` for instruction set `isa`. Slots of `scratch` are
/// addressed in the scratch map.
pub fn lower(func: &Function, isa: u8, scratch: Option<&Scratch>) -> Result<MachineFunction, Error> {
    let mut lowering = Lowering::new(func, isa, scratch);
    for block in lowering.shape.cfg.reverse_postorder.clone().into_iter().rev() {
        lowering.block(block)?;
    }
    lowering.prologue()?;
    Ok(lowering.finish())
}

/// The one or two targets of a terminator.
fn targets(terminator: &InstData) -> [Option<&BlockCall>; 2] {
    match terminator {
        InstData::Jump(to) => [Some(to), None],
        InstData::Branch { then, otherwise, .. } => [Some(then), Some(otherwise)],
        _ => [None, None],
    }
}

/// A rematerialised value that users in one block share between calls.
struct Shared {
    remat: Remat,
    vreg: VReg,
    /// The place of its definition: how much of the block (from its end) was
    /// selected when it was last used. `None`: the instruction at hand uses it.
    at: Option<usize>,
    span: SourceSpan,
}

struct Lowering<'a> {
    func: &'a Function,
    isa: u8,
    scratch: Option<&'a Scratch>,
    shape: Shape,
    /// The value that stands for another one in the same register.
    alias: SecondaryMap<Value, Option<Value>>,
    uses: SecondaryMap<Value, u32>,
    liveness: Liveness,
    /// The block at hand, and the last block in which each value was seen used,
    /// which is the block at hand if an instruction after this one uses it.
    at: Option<Block>,
    seen_in: SecondaryMap<Value, Option<Block>>,
    vregs: SecondaryMap<Value, Option<VReg>>,
    next_vreg: usize,
    /// The address of the scratch memory.
    scratch_base: Option<VReg>,
    /// What the IR instruction at hand has been selected to, in order.
    current: Vec<Instruction>,
    span: SourceSpan,
    /// The block at hand from its end.
    reversed: Vec<Instruction>,
    shared: Vec<Shared>,
    /// Definitions to put in at these places of `reversed`.
    inserts: Vec<(usize, Instruction)>,
    bodies: Vec<Vec<Instruction>>,
    infos: Vec<BlockInfo>,
}

impl<'a> Lowering<'a> {
    fn new(func: &'a Function, isa: u8, scratch: Option<&'a Scratch>) -> Self {
        let shape = Shape::new(func);
        let single_args = shape.single_args(func);
        let mut lowering = Lowering {
            func,
            isa,
            scratch,
            shape,
            alias: SecondaryMap::with_capacity(func.values.len()),
            uses: SecondaryMap::with_capacity(func.values.len()),
            liveness: Liveness::default(),
            at: None,
            seen_in: SecondaryMap::with_capacity(func.values.len()),
            vregs: SecondaryMap::with_capacity(func.values.len()),
            next_vreg: 0,
            scratch_base: None,
            current: Vec::new(),
            span: SourceSpan::default(),
            reversed: Vec::new(),
            shared: Vec::new(),
            inserts: Vec::new(),
            bodies: Vec::new(),
            infos: Vec::new(),
        };
        for (param, arg) in single_args {
            lowering.alias[param] = Some(arg);
        }
        lowering.find_aliases();
        lowering.count_uses();
        lowering.liveness = lowering.find_liveness();
        let place = lowering.place_of_scratch();
        if place.is_some() {
            lowering.scratch_base = Some(lowering.fresh());
        }
        lowering.shape.number(func, place);
        lowering.bodies = vec![Vec::new(); lowering.shape.nodes.len()];
        lowering.infos = vec![BlockInfo::default(); lowering.shape.nodes.len()];
        lowering
    }

    /// The block before which scratch memory is looked up: late, so that a
    /// program that leaves early does without.
    fn place_of_scratch(&self) -> Option<Block> {
        self.scratch?;
        let mut users = Vec::new();
        let mut holds_reference = false;
        for &block in &self.shape.cfg.reverse_postorder {
            let mut uses = false;
            for &inst in &self.func.blocks[block].insts {
                let result = self.func.results[inst];
                if result.is_some_and(|v| self.alias[v].is_some() || self.is_in_scratch(v)) {
                    continue; // made by its users
                }
                let data = &self.func.insts[inst];
                self.for_each_use(data, |v| uses |= self.is_in_scratch(v));
                let reserves = result.is_some_and(|v| self.func.ty(v) == Type::Ptr(Space::RecordOrNull));
                let locks = matches!(data, InstData::CallHelper { helper: isa::uapi::helper::spin_lock, .. });
                holds_reference |= reserves || locks;
            }
            if uses {
                users.push(block);
            }
        }
        // A program must not return while it holds a record or a lock.
        if holds_reference && !users.is_empty() {
            return Some(self.func.entry());
        }
        self.shape.place_before(self.func, &users)
    }

    /// Finds the instructions that leave their operand as it is.
    fn find_aliases(&mut self) {
        for &block in &self.shape.cfg.reverse_postorder {
            for &inst in &self.func.blocks[block].insts {
                let Some(result) = self.func.results[inst] else { continue };
                self.alias[result] = match self.func.insts[inst] {
                    InstData::NonNull(v) => Some(v),
                    InstData::Unary { op: UnaryOp::Zext32 | UnaryOp::Trunc, arg } if self.upper_half_is_zero(arg) => {
                        Some(arg)
                    }
                    _ => None,
                };
            }
        }
    }

    /// Counts uses, those of an alias as uses of what it stands for.
    fn count_uses(&mut self) {
        for &block in &self.shape.cfg.reverse_postorder {
            for &inst in &self.func.blocks[block].insts {
                if self.func.results[inst].is_some_and(|v| self.alias[v].is_some()) {
                    continue;
                }
                let mut uses = std::mem::take(&mut self.uses);
                self.for_each_use(&self.func.insts[inst], |v| uses[v] += 1);
                self.uses = uses;
            }
        }
    }

    fn fresh(&mut self) -> VReg {
        let v = VReg::new(self.next_vreg, RegClass::Int);
        self.next_vreg += 1;
        v
    }

    fn inst(&self, op: Op) -> Instruction {
        Instruction::new(op, self.span)
    }

    fn push(&mut self, inst: Instruction) {
        self.current.push(inst);
    }

    /// Ends the selection of one IR instruction.
    fn commit(&mut self) {
        self.reversed.extend(self.current.drain(..).rev());
        for s in &mut self.shared {
            s.at.get_or_insert(self.reversed.len());
        }
    }

    /// Gives shared values their definitions: at the start of a block, and after calls.
    fn define_shared(&mut self) {
        for s in std::mem::take(&mut self.shared) {
            let inst = Instruction::new(s.remat.op(), s.span).def(s.vreg);
            self.inserts.push((s.at.unwrap_or(self.reversed.len()), inst));
        }
    }

    /// Moves the selected block out, in order.
    fn take_body(&mut self) -> Vec<Instruction> {
        self.define_shared();
        // Stable: what was inserted first at a place comes later in the block.
        self.inserts.sort_by_key(|(at, _)| *at);
        let mut body = Vec::with_capacity(self.reversed.len() + self.inserts.len());
        let mut inserts = self.inserts.drain(..).rev().peekable();
        for (i, inst) in self.reversed.iter().enumerate().rev() {
            while let Some((_, def)) = inserts.next_if(|(at, _)| *at > i) {
                body.push(def);
            }
            body.push(*inst);
        }
        drop(inserts);
        self.reversed.clear();
        body
    }

    fn block(&mut self, block: Block) -> Result<(), Error> {
        let node = self.shape.body(block);
        let insts = &self.func.blocks[block].insts;
        self.at = Some(block);
        for &inst in insts.iter().rev() {
            self.span = self.func.spans[inst];
            if matches!(self.func.insts[inst], InstData::CallHelper { .. } | InstData::Call { .. }) {
                self.define_shared();
            }
            if self.func.insts[inst].is_terminator() {
                self.terminator(block, inst)?;
            } else {
                self.instruction(inst)?;
            }
            self.commit();
            let mut seen_in = std::mem::take(&mut self.seen_in);
            self.for_each_use(&self.func.insts[inst], |v| seen_in[v] = Some(block));
            self.seen_in = seen_in;
        }
        self.bodies[node] = self.take_body();
        Ok(())
    }

    fn instruction(&mut self, inst: Inst) -> Result<(), Error> {
        let data = &self.func.insts[inst];
        let result = self.func.results[inst];
        let dst = match result {
            Some(v) if self.alias[v].is_some() || self.remat(v).is_some() || self.is_in_scratch(v) => return Ok(()),
            Some(v) => self.vregs[v],
            None => None,
        };
        if dst.is_none() && !data.has_effect() {
            return Ok(());
        }
        let dst = match (dst, result) {
            (Some(dst), _) => dst,
            // The result of an instruction with an effect, not used.
            (None, _) => self.fresh(),
        };
        match data {
            InstData::Binary { op, args: [a, b] } => {
                let ty = self.func.ty(*a);
                self.binary(dst, *op, *a, *b, ty)
            }
            InstData::Unary { op, arg } => self.unary(dst, *op, *arg),
            InstData::Compare { .. } => {
                // The result exists: only effects are selected without one.
                if let Some(v) = result {
                    self.set_if(dst, v)
                }
            }
            InstData::Select { cond, args: [a, b] } => self.select(dst, *cond, *a, *b),
            InstData::Clamp { value, mask } => self.clamp(dst, *value, *mask),
            InstData::Load { mem, ptr, offset } => self.load(dst, *mem, *ptr, *offset)?,
            InstData::LoadPtr { ptr, offset } => {
                let ty = result.map(|v| self.func.ty(v));
                self.load_ptr(dst, ty, *ptr, *offset)?
            }
            InstData::Store { mem, ptr, offset, value } => self.store(*mem, *ptr, *offset, *value)?,
            InstData::Atomic { op, mem, ptr, offset, value, fetch } => {
                self.atomic(dst, *op, *mem, *ptr, *offset, *value, *fetch)?
            }
            InstData::CompareExchange { mem, ptr, offset, expected, value } => {
                self.compare_exchange(dst, *mem, *ptr, *offset, *expected, *value)?
            }
            InstData::CallHelper { helper, args } => self.call(dst, result, Op::CallHelper(*helper), args)?,
            InstData::Call { func, args } => self.call(dst, result, Op::Call(*func), args)?,
            InstData::MemCopy { dst, dst_offset, src, src_offset, len } => {
                self.mem_copy(*dst, *dst_offset, *src, *src_offset, *len)?
            }
            InstData::MemSet { dst, offset, byte, len } => self.mem_set(*dst, *offset, *byte, *len)?,
            // Made by their users, or aliases; terminators are selected elsewhere.
            InstData::Const(_)
            | InstData::SlotAddr { .. }
            | InstData::MapAddr(_)
            | InstData::MapValueAddr { .. }
            | InstData::FuncAddr(_)
            | InstData::NonNull(_)
            | InstData::Jump(_)
            | InstData::Branch { .. }
            | InstData::Return(_) => {}
        }
        Ok(())
    }

    /// What is not selected from instructions: the function's and the blocks'
    /// parameters, and the lookup of the scratch memory.
    fn prologue(&mut self) -> Result<(), Error> {
        let entry = self.func.entry();
        let params = &self.func.blocks[entry].params;
        if params.len() > 5 {
            return Err(Error::TooManyArguments { function: self.func.name.clone() });
        }
        self.span = SourceSpan::default();
        let mut inst = self.inst(Op::Params);
        let mut copies = Vec::new();
        for (i, p) in params.iter().enumerate() {
            if let Some(v) = self.vregs[*p] {
                let kept = self.liveness.crosses_calls(*p);
                let passed = if kept { self.fresh() } else { v };
                if kept {
                    copies.push(self.inst(Op::Move(Width::W64)).def(v).uses(passed));
                }
                inst = inst.fixed_def(passed, i as u8 + 1);
            }
        }
        for i in 0..self.shape.nodes.len() {
            let block = match self.shape.nodes[i] {
                Node::FindScratch(block) => {
                    self.bodies[i] = self.find_scratch(block);
                    let last = self.shape.nodes.len() - 1;
                    self.infos[i].succs = vec![MachineBlock::new(i + 1), MachineBlock::new(last)];
                    block
                }
                Node::Ir(block) => block,
                Node::Edge => continue,
                Node::NoScratch => {
                    let zero = self.fresh();
                    self.bodies[i] =
                        vec![self.inst(Op::Const(0, Width::W64)).def(zero), self.inst(Op::Return).fixed_use(zero, 0)];
                    continue;
                }
            };
            if self.shape.way_in(block) == i && self.shape.cfg.preds(block).len() > 1 {
                let params = self.func.blocks[block].params.clone();
                self.infos[i].params = params.into_iter().map(|p| self.vreg(p)).collect();
            }
        }
        if !inst.operands().is_empty() {
            copies.insert(0, inst);
            self.bodies[0].splice(0..0, copies);
        }
        Ok(())
    }

    /// The lookup of the scratch memory before `before`.
    fn find_scratch(&mut self, before: Block) -> Vec<Instruction> {
        let (Some(scratch), Some(base)) = (self.scratch, self.scratch_base) else { return Vec::new() };
        // As with other calls: what outlives calls is copied.
        let found = if self.has_calls_below(before) { self.fresh() } else { base };
        let (map, key) = (self.fresh(), self.fresh());
        let address = Address::Frame(scratch.key_slot, 0);
        let is_there = Test { cond: Cond::Ne, width: Width::W64, right: Right::Imm(0) };
        let mut insts = vec![
            self.inst(Op::StoreImm { size: Size::W, address, imm: scratch.element as i32 }),
            self.inst(Op::MapAddr(scratch.map)).def(map),
            self.inst(Op::FrameAddr { slot: scratch.key_slot, offset: 0 }).def(key),
            self.inst(Op::CallHelper(isa::uapi::helper::map_lookup_elem))
                .fixed_def(found, 0)
                .fixed_use(map, 1)
                .fixed_use(key, 2),
        ];
        if found != base {
            insts.push(self.inst(Op::Move(Width::W64)).def(base).uses(found));
        }
        insts.push(self.inst(Op::Branch(is_there)).uses(found));
        insts
    }

    /// Whether anything is called in `block` or in a block that it dominates.
    fn has_calls_below(&self, block: Block) -> bool {
        let calls = |inst: &Inst| matches!(self.func.insts[*inst], InstData::CallHelper { .. } | InstData::Call { .. });
        let below = self.shape.cfg.reverse_postorder.iter().filter(|b| self.shape.cfg.dominates(block, **b));
        below.flat_map(|b| &self.func.blocks[*b].insts).any(calls)
    }

    fn finish(mut self) -> MachineFunction {
        let mut insts = Vec::with_capacity(self.bodies.iter().map(Vec::len).sum());
        for (info, body) in self.infos.iter_mut().zip(&self.bodies) {
            info.start = insts.len();
            insts.extend_from_slice(body);
            info.end = insts.len();
        }
        for i in 0..self.infos.len() {
            for to in self.infos[i].succs.clone() {
                self.infos[to.index()].preds.push(MachineBlock::new(i));
            }
        }
        MachineFunction { insts, blocks: self.infos, num_vregs: self.next_vreg }
    }

    /// Whether anything after the instruction at hand needs `v`.
    fn is_live_after(&self, v: Value) -> bool {
        self.seen_in[v] == self.at || self.at.is_some_and(|block| self.liveness.is_live_out(block, v))
    }

    /// The instruction that defines `v`, if it is no block parameter.
    fn def(&self, v: Value) -> Option<&'a InstData> {
        match self.func.values[v].def {
            ValueDef::Result(inst) => Some(&self.func.insts[inst]),
            ValueDef::Param(..) => None,
        }
    }

    fn is_i32(&self, v: Value) -> bool {
        self.func.ty(v) == Type::I32
    }
}
