//! Values that were computed before are used again: value numbering of pure
//! instructions over the dominator tree, together with what memory is known to
//! hold (loads after loads and stores of the same place) and what branches have
//! decided.

mod memory;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use cranelift_entity::{PrimaryMap, SecondaryMap};
use object::SourceSpan;

use self::memory::{Content, Context, Known, Memory};
use super::alias::{Address, Addresses};
use super::rewrite::Replacements;
use crate::effects;
use crate::*;

/// Blocks looked at between a join and its dominator.
const MAX_BETWEEN: usize = 64;

pub(super) fn run(func: &mut Function, cfg: &Cfg, maps: &PrimaryMap<Map, object::Map>) {
    let addresses = Addresses::new(func, cfg);
    let mut children: SecondaryMap<Block, Vec<Block>> = SecondaryMap::new();
    for &block in cfg.reverse_postorder.iter().rev() {
        if let Some(idom) = cfg.idom(block) {
            children[idom].push(block);
        }
    }
    let mut gvn = Gvn {
        func,
        cfg,
        maps,
        addresses,
        table: HashMap::default(),
        inserted: Vec::new(),
        decided: SecondaryMap::new(),
        decisions: Vec::new(),
        replaced: Replacements::default(),
        memory: SecondaryMap::new(),
    };
    let mut stack = vec![Step::Enter(gvn.func.entry())];
    while let Some(step) = stack.pop() {
        match step {
            Step::Enter(block) => {
                stack.push(Step::Leave { inserted: gvn.inserted.len(), decisions: gvn.decisions.len() });
                gvn.block(block);
                stack.extend(children[block].iter().map(|child| Step::Enter(*child)));
            }
            Step::Leave { inserted, decisions } => gvn.forget(inserted, decisions),
        }
    }
    // Arguments on back edges were seen before what they stand for.
    gvn.replaced.apply(func);
}

/// The walk over the dominator tree, on its own stack.
enum Step {
    Enter(Block),
    Leave { inserted: usize, decisions: usize },
}

/// The key of an expression: its operands are resolved and in canonical order.
type Expression = (InstData, Type);

struct Gvn<'a> {
    func: &'a mut Function,
    cfg: &'a Cfg,
    maps: &'a PrimaryMap<Map, object::Map>,
    addresses: Addresses,
    table: HashMap<Expression, Value, BuildHasherDefault<Mixer>>,
    /// Keys of `table` in order of insertion, to take scopes back.
    inserted: Vec<Expression>,
    /// Numbers that the branches on the way here have decided: they are this constant.
    decided: SecondaryMap<Value, Option<Value>>,
    decisions: Vec<Value>,
    replaced: Replacements,
    /// What is known at the end of each block.
    memory: SecondaryMap<Block, Memory>,
}

impl Gvn<'_> {
    fn forget(&mut self, inserted: usize, decisions: usize) {
        for key in self.inserted.drain(inserted..) {
            self.table.remove(&key);
        }
        for cond in self.decisions.drain(decisions..) {
            self.decided[cond] = None;
        }
    }

    fn block(&mut self, block: Block) {
        // A loop of one block changes what it finds itself: asked before its
        // instructions are taken out.
        let mut memory = self.memory_at(block);
        let insts = std::mem::take(&mut self.func.blocks[block].insts);
        let mut out = Vec::with_capacity(insts.len() + 2);
        self.learn_from_branch(block, &mut out);
        for inst in insts {
            self.replaced.resolve_uses(self.func, inst);
            self.instruction(inst, &mut memory, &mut out);
        }
        self.func.blocks[block].insts = out;
        self.memory[block] = memory;
    }

    /// With one way in, the branch there has decided its condition.
    fn learn_from_branch(&mut self, block: Block, out: &mut Vec<Inst>) {
        let [pred] = *self.cfg.preds(block) else { return };
        let InstData::Branch { cond, then, otherwise } = self.func.terminator(pred) else { return };
        let (cond, holds) = (*cond, then.block == block);
        if then.block == otherwise.block {
            return;
        }
        let Some(InstData::Compare { cond: test, args }) = self.func.def(cond).cloned() else {
            // A number that is not 0 may be any other.
            if !holds {
                self.decide(cond, 0, out);
            }
            return;
        };
        self.decide(cond, i64::from(holds), out);
        if (test == Cond::Eq && holds) || (test == Cond::Ne && !holds) {
            let [value, number] = args;
            if let Some(n) = self.func.constant(number) {
                self.decide(value, n, out);
            }
        }
        let opposite = InstData::Compare { cond: test.inverse(), args };
        let key = (opposite, Type::I64);
        if !self.table.contains_key(&key) {
            let value = self.func.emit(out, InstData::Const(i64::from(!holds)), Type::I64, SourceSpan::default());
            self.insert(key, value);
        }
    }

    /// In this block and those it dominates, `value` is this number.
    fn decide(&mut self, value: Value, number: i64, out: &mut Vec<Inst>) {
        let ty = self.func.ty(value);
        let is_open = self.decided[value].is_none() && self.func.constant(value).is_none();
        if is_open && !matches!(ty, Type::Ptr(_)) {
            let constant = self.func.emit(out, InstData::Const(number), ty, SourceSpan::default());
            self.decided[value] = Some(constant);
            self.decisions.push(value);
        }
    }

    fn insert(&mut self, key: Expression, value: Value) {
        self.table.insert(key.clone(), value);
        self.inserted.push(key);
    }

    fn instruction(&mut self, inst: Inst, memory: &mut Memory, out: &mut Vec<Inst>) {
        use InstData::*;
        if !self.decisions.is_empty() {
            let decided = &self.decided;
            self.func.insts[inst].map_uses(|v| decided[v].unwrap_or(v));
        }
        let data = &self.func.insts[inst];
        let reusable = match data {
            Const(_) | Binary { .. } | Unary { .. } | Compare { .. } | Select { .. } | SlotAddr { .. } => true,
            MapAddr(_) | MapValueAddr { .. } | FuncAddr(_) | NonNull(_) | Clamp { .. } => true,
            CallHelper { helper, .. } => effects::of_helper(*helper).repeats(),
            _ => false,
        };
        if let (true, Some(result)) = (reusable, self.func.results[inst]) {
            let key = (canonical(data.clone()), self.func.ty(result));
            match self.table.get(&key) {
                Some(&earlier) => {
                    self.replaced.set(result, earlier);
                    return;
                }
                None => self.insert(key, result),
            }
        } else if self.touch_memory(inst, memory, out) {
            return;
        }
        out.push(inst);
    }

    /// Follows what an instruction does to memory; true if it is not needed.
    fn touch_memory(&mut self, inst: Inst, memory: &mut Memory, out: &mut Vec<Inst>) -> bool {
        match self.func.insts[inst] {
            InstData::Load { mem, ptr, offset } => {
                let Some(address) = self.address(ptr, offset) else { return false };
                let Some(result) = self.func.results[inst] else { return false };
                let ty = self.func.ty(result);
                let mut value = self.loaded(memory, address, mem, ty, inst, out);
                if let (None, Some(original)) = (value, memory.original(address, mem.bytes())) {
                    value = self.loaded(memory, original, mem, ty, inst, out);
                }
                if let Some(value) = value {
                    self.replaced.set(result, value);
                    return true;
                }
                let content = Content::Value { value: result, load: Some(mem) };
                memory.remember(Known { address, bytes: mem.bytes(), content });
                false
            }
            InstData::LoadPtr { ptr, offset } => {
                let Some(address) = self.address(ptr, offset) else { return false };
                let Some(result) = self.func.results[inst] else { return false };
                let known = memory.known.iter().find_map(|known| match known.content {
                    Content::Pointer(p) if known.address == address && self.func.ty(p) == self.func.ty(result) => {
                        Some(p)
                    }
                    _ => None,
                });
                if let Some(pointer) = known {
                    self.replaced.set(result, pointer);
                    return true;
                }
                memory.remember(Known { address, bytes: 8, content: Content::Pointer(result) });
                false
            }
            InstData::Store { mem, ptr, offset, value } => {
                let address = self.address(ptr, offset);
                let is_there = |known: &Known| match known.content {
                    Content::Value { value: v, .. } | Content::Pointer(v) => {
                        v == value && Some(known.address) == address && known.bytes == mem.bytes()
                    }
                    Content::Copy(..) | Content::Comm => false,
                    Content::Fill(byte) => {
                        address.is_some_and(|a| known.contains(a, mem.bytes()))
                            && self
                                .func
                                .constant(value)
                                .is_some_and(|n| n.to_le_bytes()[..mem.bytes() as usize].iter().all(|b| *b == byte))
                    }
                };
                if memory.known.iter().any(is_there) {
                    return true;
                }
                memory.clobber(&self.context(), inst);
                let content = match self.func.ty(value) {
                    Type::Ptr(_) => Content::Pointer(value),
                    // An `I32` is itself when loaded back zero-extended.
                    Type::I32 => Content::Value { value, load: None },
                    Type::I64 => Content::Value { value, load: (mem.bytes() == 8).then_some(MemType::U64) },
                };
                if let Some(address) = address {
                    memory.remember(Known { address, bytes: mem.bytes(), content });
                }
                false
            }
            InstData::MemSet { dst, offset, byte, len } => {
                memory.clobber(&self.context(), inst);
                if let Some(address) = self.address(dst, offset) {
                    memory.remember(Known { address, bytes: len, content: Content::Fill(byte) });
                }
                false
            }
            InstData::CallHelper { .. } => {
                self.share_arguments(inst, memory, out);
                if let (Some(found), Some(result)) = (memory.lookup(&self.context(), inst), self.func.results[inst]) {
                    self.replaced.set(result, found);
                    return true;
                }
                memory.clobber(&self.context(), inst);
                memory.learn(&self.context(), inst);
                false
            }
            _ => {
                memory.clobber(&self.context(), inst);
                memory.learn(&self.context(), inst);
                false
            }
        }
    }

    /// Lets a helper read from a slot that was written before, where two hold the
    /// same; the other is then written for nothing.
    fn share_arguments(&mut self, inst: Inst, memory: &Memory, out: &mut Vec<Inst>) {
        let span = self.func.spans[inst];
        for (index, slot, offset) in memory.same_contents(&self.context(), inst) {
            let key = (InstData::SlotAddr { slot, offset }, Type::Ptr(Space::Stack));
            let address = match self.table.get(&key) {
                Some(v) => *v,
                None => {
                    let v = self.func.emit(out, key.0.clone(), key.1, span);
                    self.addresses.add(self.func, v);
                    self.insert(key, v);
                    v
                }
            };
            if let InstData::CallHelper { args, .. } = &mut self.func.insts[inst] {
                args[index] = address;
            }
        }
    }

    /// With a known offset only.
    fn address(&self, ptr: Value, offset: i32) -> Option<Address> {
        let address = self.addresses.of(ptr)?;
        let offset = address.offset?.checked_add(i64::from(offset))?;
        Some(Address { offset: Some(offset), ..address })
    }

    /// The value that a load gives, from what is known.
    fn loaded(
        &mut self,
        memory: &Memory,
        address: Address,
        mem: MemType,
        ty: Type,
        inst: Inst,
        out: &mut Vec<Inst>,
    ) -> Option<Value> {
        let span = self.func.spans[inst];
        for known in &memory.known {
            match known.content {
                Content::Value { value, load } if known.address == address && known.bytes == mem.bytes() => {
                    if load == Some(mem) && self.func.ty(value) == ty {
                        return Some(value);
                    }
                    if ty != Type::I64 {
                        continue;
                    }
                    let op = match mem {
                        MemType::U8 => UnaryOp::Zext8,
                        MemType::U16 => UnaryOp::Zext16,
                        MemType::U32 | MemType::U64 => UnaryOp::Zext32,
                        MemType::S8 => UnaryOp::Sext8,
                        MemType::S16 => UnaryOp::Sext16,
                        MemType::S32 => UnaryOp::Sext32,
                    };
                    // Narrower extensions keep the operand's type.
                    let widens = matches!(op, UnaryOp::Zext32 | UnaryOp::Sext32);
                    let from_i32 = self.func.ty(value) == Type::I32;
                    if (mem == MemType::U64 && !from_i32) || (from_i32 && !widens) {
                        continue;
                    }
                    return Some(self.func.emit(out, InstData::Unary { op, arg: value }, Type::I64, span));
                }
                Content::Fill(byte) if known.contains(address, mem.bytes()) => {
                    let all = i64::from_le_bytes([byte; 8]);
                    let unused = 64 - mem.bytes() * 8;
                    let n = if mem.is_signed() { all << unused >> unused } else { (all as u64 >> unused) as i64 };
                    return Some(self.func.emit(out, InstData::Const(n), ty, span));
                }
                _ => {}
            }
        }
        None
    }

    fn context(&self) -> Context<'_> {
        Context { func: self.func, addresses: &self.addresses, maps: self.maps }
    }

    /// What is known at the start of a block: all that its dominator knows, less
    /// what any block on the way from there may change.
    fn memory_at(&self, block: Block) -> Memory {
        let Some(idom) = self.cfg.idom(block) else { return Memory::default() };
        let mut memory = self.memory[idom].clone();
        if memory.is_empty() || *self.cfg.preds(block) == [idom] {
            return memory;
        }
        let mut between: Vec<Block> = Vec::new();
        let mut stack: Vec<Block> = self.cfg.preds(block).to_vec();
        while let Some(b) = stack.pop() {
            if b == idom || between.contains(&b) {
                continue;
            }
            if between.len() == MAX_BETWEEN {
                return Memory::default();
            }
            between.push(b);
            stack.extend(self.cfg.preds(b));
        }
        for b in between {
            for &inst in &self.func.blocks[b].insts {
                memory.clobber(&self.context(), inst);
            }
        }
        memory
    }
}

/// One order for operands that can change places.
fn canonical(data: InstData) -> InstData {
    match data {
        InstData::Binary { op, args: [a, b] } => {
            let commutes = matches!(op, BinaryOp::Add | BinaryOp::Mul | BinaryOp::And | BinaryOp::Or | BinaryOp::Xor);
            let args = if commutes && b < a { [b, a] } else { [a, b] };
            InstData::Binary { op, args }
        }
        InstData::Compare { cond, args: [a, b] } if b < a => InstData::Compare { cond: cond.swapped(), args: [b, a] },
        other => other,
    }
}

/// A fast hash for small keys of our own making, after FxHash.
#[derive(Default)]
struct Mixer(u64);

impl Mixer {
    fn mix(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(5) ^ n).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.mix(u64::from(n));
    }

    fn write_u32(&mut self, n: u32) {
        self.mix(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.mix(n);
    }

    fn write_usize(&mut self, n: usize) {
        self.mix(n as u64);
    }

    fn finish(&self) -> u64 {
        // hashbrown takes its tag from the top bits and the bucket from the low.
        self.0 ^ (self.0 >> 32)
    }
}
