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
mod values;

use cranelift_entity::SecondaryMap;
use object::SourceSpan;
use regalloc2::{Block as MachineBlock, RegClass, VReg};

use super::Error;
use super::frame::Scratch;
use super::machine::{Address, BlockInfo, Instruction, MachineFunction, Op, Right, Test};
use crate::{Block, BlockCall, Function, Inst, InstData, Type, UnaryOp, Value, ValueDef};
use isa::{Cond, Size, Width};
use liveness::Liveness;
use values::Remat;

/// The machine form of `func` for instruction set `isa`. Slots of `scratch` are
/// addressed in the scratch map.
pub fn lower(func: &Function, isa: u8, scratch: Option<&Scratch>) -> Result<MachineFunction, Error> {
    let shape = Shape::new(func, scratch.is_some());
    let mut lowering = Lowering::new(func, isa, scratch, &shape);
    for &block in &shape.postorder {
        lowering.block(block)?;
    }
    lowering.prologue()?;
    Ok(lowering.finish())
}

/// What a machine block is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    /// Finds the scratch memory; leaves if there is none.
    FindScratch,
    /// Jumps to the entry block where that cannot be the function's start.
    Enter,
    Ir(Block),
    /// On the edge from a branch to its first or second target.
    Edge(Block, usize),
    /// Returns 0 for want of scratch memory.
    NoScratch,
}

/// Control flow of a function: reachable blocks, edges, and the machine blocks
/// that they become.
struct Shape {
    postorder: Vec<Block>,
    /// Number of edges that come in; 0 for unreachable blocks and for an entry
    /// that nothing jumps back to.
    edges_in: SecondaryMap<Block, u32>,
    nodes: Vec<Node>,
    /// The machine block of each IR block.
    of_block: SecondaryMap<Block, u32>,
    /// The machine blocks on a block's edges, 0 where the edge needs none.
    on_edge: SecondaryMap<Block, [u32; 2]>,
    /// For each block parameter with one incoming edge: its argument.
    single_args: Vec<(Value, Value)>,
}

impl Shape {
    fn new(func: &Function, scratch: bool) -> Shape {
        let mut edges_in: SecondaryMap<Block, u32> = SecondaryMap::new();
        let mut seen: SecondaryMap<Block, bool> = SecondaryMap::new();
        let mut postorder = Vec::with_capacity(func.layout.len());
        let mut stack = vec![(func.entry(), 0)];
        seen[func.entry()] = true;
        while let Some((block, next)) = stack.last_mut() {
            let Some(target) = targets(func.terminator(*block)).get(*next).copied() else {
                postorder.push(*block);
                stack.pop();
                continue;
            };
            *next += 1;
            if let Some(to) = target {
                edges_in[to.block] += 1;
                if !seen[to.block] {
                    seen[to.block] = true;
                    stack.push((to.block, 0));
                }
            }
        }

        let mut shape = Shape {
            postorder,
            edges_in,
            nodes: Vec::with_capacity(func.layout.len() + 2),
            of_block: SecondaryMap::new(),
            on_edge: SecondaryMap::new(),
            single_args: Vec::new(),
        };
        if scratch {
            shape.nodes.push(Node::FindScratch);
        }
        if scratch || shape.edges_in[func.entry()] > 0 {
            shape.nodes.push(Node::Enter);
        }
        let entry = func.entry();
        for &block in std::iter::once(&entry).chain(func.layout.iter().filter(|b| **b != entry)) {
            if !seen[block] {
                continue;
            }
            shape.of_block[block] = shape.nodes.len() as u32;
            shape.nodes.push(Node::Ir(block));
            let to = targets(func.terminator(block));
            for (i, call) in to.iter().enumerate() {
                let Some(call) = call else { continue };
                if shape.has_one_way_in(func, call.block) {
                    let params = &func.blocks[call.block].params;
                    shape.single_args.extend(params.iter().copied().zip(call.args.iter().copied()));
                } else if to[1].is_some() {
                    shape.on_edge[block][i] = shape.nodes.len() as u32;
                    shape.nodes.push(Node::Edge(block, i));
                }
            }
        }
        if scratch {
            shape.nodes.push(Node::NoScratch);
        }
        shape
    }

    /// Whether a block's parameters always have the same arguments.
    fn has_one_way_in(&self, func: &Function, block: Block) -> bool {
        self.edges_in[block] == 1 && block != func.entry()
    }
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
    shape: &'a Shape,
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
    fn new(func: &'a Function, isa: u8, scratch: Option<&'a Scratch>, shape: &'a Shape) -> Self {
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
            bodies: vec![Vec::new(); shape.nodes.len()],
            infos: vec![BlockInfo::default(); shape.nodes.len()],
        };
        if scratch.is_some() {
            lowering.scratch_base = Some(lowering.fresh());
        }
        for &(param, arg) in &shape.single_args {
            lowering.alias[param] = Some(arg);
        }
        lowering.find_aliases();
        lowering.count_uses();
        lowering.liveness = lowering.find_liveness();
        lowering
    }

    /// Finds the instructions that leave their operand as it is.
    fn find_aliases(&mut self) {
        for &block in &self.shape.postorder {
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
        for &block in &self.shape.postorder {
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
        let node = self.shape.of_block[block] as usize;
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
            Some(v) if self.alias[v].is_some() || self.remat(v).is_some() => return Ok(()),
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
            InstData::CallHelper { helper, args } => self.call(dst, Op::CallHelper(*helper), args)?,
            InstData::Call { func, args } => self.call(dst, Op::Call(*func), args)?,
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

    /// The parameters, the lookup of the scratch memory, and the way into the
    /// entry block.
    fn prologue(&mut self) -> Result<(), Error> {
        let entry = self.func.entry();
        let params = &self.func.blocks[entry].params;
        if params.len() > 5 {
            return Err(Error::TooManyArguments { function: self.func.name.clone() });
        }
        self.span = SourceSpan::default();
        let looped = self.shape.edges_in[entry] > 0;
        let mut args = Vec::new();
        let mut inst = self.inst(Op::Params);
        for (i, &p) in params.iter().enumerate() {
            let register = i as u8 + 1;
            if looped {
                let incoming = self.fresh();
                inst = inst.fixed_def(incoming, register);
                args.push(incoming);
            } else if let Some(v) = self.vregs[p] {
                inst = inst.fixed_def(v, register);
            }
        }
        let mut start = if inst.operands().is_empty() { Vec::new() } else { vec![inst] };
        for (i, node) in self.shape.nodes.iter().enumerate() {
            match node {
                Node::FindScratch => {
                    let mut body = std::mem::take(&mut start);
                    body.extend(self.find_scratch());
                    self.bodies[i] = body;
                    self.infos[i].succs = vec![MachineBlock::new(1), MachineBlock::new(self.shape.nodes.len() - 1)];
                }
                Node::Enter => {
                    let mut body = std::mem::take(&mut start);
                    body.push(self.inst(Op::Jump));
                    self.bodies[i] = body;
                    self.infos[i].args = std::mem::take(&mut args);
                    self.infos[i].succs = vec![MachineBlock::new(self.shape.of_block[entry] as usize)];
                }
                Node::NoScratch => {
                    let zero = self.fresh();
                    self.bodies[i] =
                        vec![self.inst(Op::Const(0, Width::W64)).def(zero), self.inst(Op::Return).fixed_use(zero, 0)];
                }
                Node::Ir(block) => {
                    if !start.is_empty() {
                        self.bodies[i].splice(0..0, start.drain(..));
                    }
                    if *block == entry && looped || self.shape.edges_in[*block] > 1 {
                        let params = self.func.blocks[*block].params.clone();
                        self.infos[i].params = params.into_iter().map(|p| self.vreg(p)).collect();
                    }
                }
                Node::Edge(..) => {}
            }
        }
        Ok(())
    }

    fn find_scratch(&mut self) -> Vec<Instruction> {
        let (Some(scratch), Some(base)) = (self.scratch, self.scratch_base) else { return Vec::new() };
        let (map, key) = (self.fresh(), self.fresh());
        let address = Address::Frame(scratch.key_slot, 0);
        let found = Test { cond: Cond::Ne, width: Width::W64, right: Right::Imm(0) };
        vec![
            self.inst(Op::StoreImm { size: Size::W, address, imm: scratch.element as i32 }),
            self.inst(Op::MapAddr(scratch.map)).def(map),
            self.inst(Op::FrameAddr { slot: scratch.key_slot, offset: 0 }).def(key),
            self.inst(Op::CallHelper(isa::uapi::helper::map_lookup_elem))
                .fixed_def(base, 0)
                .fixed_use(map, 1)
                .fixed_use(key, 2),
            self.inst(Op::Branch(found)).uses(base),
        ]
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
