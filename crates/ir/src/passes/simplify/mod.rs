//! Instructions made simpler one by one: constants folded, identities, strength
//! reduced, facts about ranges used, addresses folded into accesses.
//!
//! What the kernel's verifier leans on stays: `clamp` and `nonnull` are kept; a
//! value that a bounds check compares is not computed around; a mask goes only if
//! the verifier knows itself that it changes nothing.

mod arithmetic;
mod compare;
mod range;

use cranelift_entity::{PrimaryMap, SecondaryMap};
use object::SourceSpan;

use self::range::Range;
use super::rewrite::Replacements;
use crate::*;

pub(super) fn run(func: &mut Function, cfg: &Cfg, maps: &PrimaryMap<Map, object::Map>) {
    let mut simplifier = Simplifier {
        ranges: SecondaryMap::with_default(Range::ALL),
        hidden: SecondaryMap::new(),
        checked: checked_values(func, cfg),
        uses: use_counts(func, cfg),
        func,
        maps,
        replaced: Replacements::default(),
        out: Vec::new(),
        span: SourceSpan::default(),
    };
    simplifier.ranges.resize(simplifier.func.values.len());
    for &block in &cfg.reverse_postorder {
        simplifier.params(cfg, block);
        let insts = std::mem::take(&mut simplifier.func.blocks[block].insts);
        simplifier.out = Vec::with_capacity(insts.len() + 4);
        for inst in insts {
            simplifier.instruction(inst);
        }
        simplifier.func.blocks[block].insts = std::mem::take(&mut simplifier.out);
    }
    simplifier.replaced.apply(func);
}

/// What becomes of an instruction.
enum Simpler {
    /// Its result is this value.
    Value(Value),
    /// Its result is this number.
    Constant(u64),
    /// It is this instruction, which may become simpler still.
    Inst(InstData),
}

struct Simplifier<'a> {
    func: &'a mut Function,
    maps: &'a PrimaryMap<Map, object::Map>,
    ranges: SecondaryMap<Value, Range>,
    /// Values of which the range follows from operations that the kernel's verifier
    /// does not follow.
    hidden: SecondaryMap<Value, bool>,
    /// Values that a bounds check compares: on the way it lets pass, the kernel
    /// knows the range of this value, not of what it is computed from.
    checked: SecondaryMap<Value, bool>,
    /// As it was at the start.
    uses: SecondaryMap<Value, u32>,
    replaced: Replacements,
    /// The block that is being rebuilt.
    out: Vec<Inst>,
    /// Of the instruction that is being simplified.
    span: SourceSpan,
}

impl Simplifier<'_> {
    /// A parameter is anything that its arguments are; arguments that come around
    /// a loop are not known yet.
    fn params(&mut self, cfg: &Cfg, block: Block) {
        let order = cfg.order_of(block);
        let preds = cfg.preds(block);
        let is_loop_or_entry = preds.is_empty() || preds.iter().any(|pred| cfg.order_of(*pred) >= order);
        for index in 0..self.func.blocks[block].params.len() {
            let param = self.func.blocks[block].params[index];
            let mut range = full_range(self.func.ty(param));
            let mut hidden = false;
            if !is_loop_or_entry {
                let mut union: Option<Range> = None;
                for &pred in preds {
                    for edge in self.func.terminator(pred).edges().filter(|edge| edge.block == block) {
                        let arg = edge.args[index];
                        hidden |= self.hidden[arg];
                        union = Some(union.map_or(self.ranges[arg], |known| known.union(self.ranges[arg])));
                    }
                }
                range = union.unwrap_or(range);
            }
            self.ranges[param] = range;
            self.hidden[param] = hidden;
        }
    }

    fn instruction(&mut self, inst: Inst) {
        self.replaced.resolve_uses(self.func, inst);
        self.span = self.func.spans[inst];
        let result = self.func.results[inst];
        let ty = result.map_or(Type::I64, |v| self.func.ty(v));
        // Each step is simpler than the one before; the bound is for safety.
        for _ in 0..16 {
            match self.simpler(inst, ty) {
                None => break,
                Some(Simpler::Inst(data)) => self.func.insts[inst] = data,
                Some(Simpler::Constant(n)) => {
                    self.func.insts[inst] = InstData::Const(signed_as(ty, n));
                    break;
                }
                Some(Simpler::Value(v)) => {
                    if let Some(result) = result {
                        self.checked[v] |= self.checked[result];
                        self.replaced.set(result, v);
                    }
                    return;
                }
            }
        }
        if let Some(result) = result {
            let data = &self.func.insts[inst];
            self.ranges[result] = self.range_of(data, ty);
            self.hidden[result] = self.hides_range(data);
        }
        self.out.push(inst);
    }

    /// A new instruction before the current one.
    fn emit(&mut self, data: InstData, ty: Type) -> Value {
        let (range, hidden) = (self.range_of(&data, ty), self.hides_range(&data));
        let v = self.func.emit(&mut self.out, data, ty, self.span);
        self.ranges[v] = range;
        self.hidden[v] = hidden;
        v
    }

    fn constant(&mut self, n: u64, ty: Type) -> Value {
        self.emit(InstData::Const(signed_as(ty, n)), ty)
    }

    /// The number that `v` is, in a register of its type.
    fn number(&self, v: Value) -> Option<u64> {
        let n = self.func.constant(v)? as u64;
        Some(if self.func.ty(v) == Type::I32 { n & 0xffff_ffff } else { n })
    }

    fn range_of(&self, data: &InstData, ty: Type) -> Range {
        let bits = width(ty);
        match data {
            InstData::Const(n) if ty == Type::I32 => Range::constant(*n as u64 & 0xffff_ffff),
            InstData::Const(n) => Range::constant(*n as u64),
            InstData::Binary { op, args: [a, b] } if !matches!(ty, Type::Ptr(_)) => {
                if matches!(self.func.ty(*a), Type::Ptr(_)) {
                    return Range::ALL;
                }
                Range::binary(*op, self.ranges[*a], self.ranges[*b], bits)
            }
            InstData::Unary { op, arg } => Range::unary(*op, self.ranges[*arg], bits),
            InstData::Compare { .. } => Range::up_to(1),
            InstData::Select { args: [a, b], .. } => self.ranges[*a].union(self.ranges[*b]),
            InstData::Load { mem, .. } if ty == Type::I64 => Range::loaded(*mem),
            InstData::Clamp { value, mask } => {
                Range::binary(BinaryOp::And, self.ranges[*value], Range::constant(*mask), bits)
            }
            _ => full_range(ty),
        }
    }

    /// Whether we may know more about a result than the kernel's verifier does
    /// (`adjust_scalar_min_max_vals` in `kernel/bpf/verifier.c`).
    fn hides_range(&self, data: &InstData) -> bool {
        let not_followed = match data {
            InstData::Binary { op, .. } => {
                matches!(op, BinaryOp::Udiv | BinaryOp::Urem | BinaryOp::Sdiv | BinaryOp::Srem)
            }
            InstData::Unary { op, .. } => {
                matches!(op, UnaryOp::Bswap16 | UnaryOp::Bswap32 | UnaryOp::Bswap64 | UnaryOp::Neg)
            }
            InstData::Select { .. } | InstData::Clamp { .. } => false,
            _ => return false,
        };
        let mut hidden = not_followed;
        data.for_each_use(|v| hidden |= self.hidden[v]);
        hidden
    }

    /// The instruction behind `v`, for rules that compute from its operands instead.
    fn inner(&self, v: Value) -> Option<&InstData> {
        if self.checked[v] { None } else { self.func.def(v) }
    }

    fn simpler(&mut self, inst: Inst, ty: Type) -> Option<Simpler> {
        match self.func.insts[inst] {
            InstData::Binary { op, args } => self.simpler_binary(op, args, ty),
            InstData::Unary { op, arg } => self.simpler_unary(op, arg, ty),
            InstData::Compare { cond, args } => self.simpler_compare(cond, args),
            InstData::Select { cond, args } => self.simpler_select(cond, args, ty),
            InstData::Clamp { value, mask } => self.simpler_clamp(value, mask, ty),
            InstData::Store { mem, ptr, offset, value } => {
                if let Some(value) = self.stored_bits(value, mem) {
                    return Some(Simpler::Inst(InstData::Store { mem, ptr, offset, value }));
                }
                let (ptr, offset) = self.simpler_address(ptr, offset)?;
                Some(Simpler::Inst(InstData::Store { mem, ptr, offset, value }))
            }
            InstData::Load { mem, ptr, offset } => {
                let (ptr, offset) = self.simpler_address(ptr, offset)?;
                Some(Simpler::Inst(InstData::Load { mem, ptr, offset }))
            }
            InstData::LoadPtr { ptr, offset } => {
                let (ptr, offset) = self.simpler_address(ptr, offset)?;
                Some(Simpler::Inst(InstData::LoadPtr { ptr, offset }))
            }
            InstData::Atomic { op, mem, ptr, offset, value, fetch } => {
                let (ptr, offset) = self.simpler_address(ptr, offset)?;
                Some(Simpler::Inst(InstData::Atomic { op, mem, ptr, offset, value, fetch }))
            }
            InstData::MemSet { dst, offset, byte, len } => {
                let (dst, offset) = self.simpler_address(dst, offset)?;
                Some(Simpler::Inst(InstData::MemSet { dst, offset, byte, len }))
            }
            InstData::MemCopy { dst, dst_offset, src, src_offset, len } => {
                let to = self.simpler_address(dst, dst_offset);
                let from = self.simpler_address(src, src_offset);
                if to.is_none() && from.is_none() {
                    return None;
                }
                let (dst, dst_offset) = to.unwrap_or((dst, dst_offset));
                let (src, src_offset) = from.unwrap_or((src, src_offset));
                Some(Simpler::Inst(InstData::MemCopy { dst, dst_offset, src, src_offset, len }))
            }
            _ => None,
        }
    }

    /// An address with less arithmetic for an access that has an offset of its own.
    fn simpler_address(&mut self, ptr: Value, offset: i32) -> Option<(Value, i32)> {
        // What an access can hold.
        let fits = |n: i64| i16::try_from(n).is_ok().then_some(n as i32);
        match *self.func.def(ptr)? {
            InstData::Binary { op: BinaryOp::Add, args: [base, n] } => {
                let n = self.func.constant(n)?;
                Some((base, fits(n.checked_add(i64::from(offset))?)?))
            }
            InstData::Binary { op: BinaryOp::Sub, args: [base, n] } => {
                let n = self.func.constant(n)?.checked_neg()?;
                Some((base, fits(n.checked_add(i64::from(offset))?)?))
            }
            // One address of each map for all accesses to it.
            InstData::MapValueAddr { map, offset: start } if start > 0 => {
                let offset = fits(i64::from(start) + i64::from(offset))?;
                let base = self.emit(InstData::MapValueAddr { map, offset: 0 }, Type::Ptr(Space::Value));
                Some((base, offset))
            }
            _ => None,
        }
    }

    /// What can be stored instead of `value` when only the low bytes count.
    fn stored_bits(&self, value: Value, mem: MemType) -> Option<Value> {
        let bytes = mem.bytes();
        if bytes == 8 {
            return None;
        }
        let all = u64::MAX >> (64 - bytes * 8);
        let narrower = match *self.func.def(value)? {
            InstData::Unary { op, arg } => {
                let keeps = match op {
                    UnaryOp::Zext8 | UnaryOp::Sext8 => bytes == 1,
                    UnaryOp::Zext16 | UnaryOp::Sext16 => bytes <= 2,
                    UnaryOp::Zext32 | UnaryOp::Sext32 | UnaryOp::Trunc => bytes <= 4,
                    _ => false,
                };
                keeps.then_some(arg)
            }
            InstData::Binary { op: BinaryOp::And, args: [a, b] } => {
                self.number(b).filter(|mask| mask & all == all).map(|_| a)
            }
            _ => None,
        };
        narrower.filter(|v| !matches!(self.func.ty(*v), Type::Ptr(_)))
    }
}

fn use_counts(func: &Function, cfg: &Cfg) -> SecondaryMap<Value, u32> {
    let mut uses = SecondaryMap::new();
    uses.resize(func.values.len());
    for &block in &cfg.reverse_postorder {
        for &inst in &func.blocks[block].insts {
            func.insts[inst].for_each_use(|v| uses[v] += 1);
        }
    }
    uses
}

/// Operands of comparisons that bound a number.
fn checked_values(func: &Function, cfg: &Cfg) -> SecondaryMap<Value, bool> {
    let mut checked = SecondaryMap::new();
    checked.resize(func.values.len());
    for &block in &cfg.reverse_postorder {
        for &inst in &func.blocks[block].insts {
            if let InstData::Compare { cond, args } = func.insts[inst]
                && !matches!(cond, Cond::Eq | Cond::Ne)
            {
                args.iter().for_each(|v| checked[*v] = true);
            }
        }
    }
    checked
}

/// Bits of an integer type; pointers are as wide as `I64`.
fn width(ty: Type) -> u32 {
    if ty == Type::I32 { 32 } else { 64 }
}

fn full_range(ty: Type) -> Range {
    if ty == Type::I32 { Range::up_to(0xffff_ffff) } else { Range::ALL }
}

/// A constant as the text form shows it.
fn signed_as(ty: Type, n: u64) -> i64 {
    if ty == Type::I32 { i64::from(n as i32) } else { n as i64 }
}
