//! Slots become SSA values: a slot whose address goes nowhere is split into the
//! pieces that loads and stores use, and each piece becomes a variable whose
//! values meet in block parameters. Parameters are made on demand as in Braun et
//! al., "Simple and Efficient Construction of Static Single Assignment Form".

use cranelift_entity::SecondaryMap;

use super::alias::{Address, Addresses, Base};
use super::branches;
use super::rewrite::Replacements;
use crate::*;

/// Above this, a copy is better as a copy than piece by piece.
const MAX_COPIED_BYTES: u32 = 128;
/// Bounds the table of values by block and variable.
const MAX_TABLE: usize = 1 << 22;

pub(super) fn run(func: &mut Function, cfg: &Cfg) {
    if func.slots.values().all(|slot| slot.bytes == 0) {
        return;
    }
    let addresses = Addresses::new(func, cfg);
    let Some(variables) = Variables::find(func, cfg, &addresses) else { return };
    let mut promotion = Promotion {
        exits: vec![None; cfg.reverse_postorder.len() * variables.types.len()],
        entries: vec![None; cfg.reverse_postorder.len() * variables.types.len()],
        func,
        cfg,
        addresses: &addresses,
        variables: &variables,
        replaced: Replacements::default(),
        unfilled: Vec::new(),
        undefined: Vec::new(),
    };
    for &block in &cfg.reverse_postorder {
        promotion.block(block);
    }
    promotion.finish();
    branches::remove_redundant_params(func, cfg);
}

/// A stretch of a slot that is only accessed as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Piece {
    start: u32,
    bytes: u32,
    /// Index into [`Variables::types`].
    variable: usize,
}

impl Piece {
    fn end(&self) -> u32 {
        self.start + self.bytes
    }

    fn mem(&self) -> MemType {
        // Pieces come from accesses, which have these sizes only.
        MemType::new(self.bytes, false).unwrap_or(MemType::U64)
    }
}

/// The slots to promote, in pieces.
struct Variables {
    /// Sorted by start; `None` for slots that stay in memory.
    pieces: SecondaryMap<Slot, Option<Vec<Piece>>>,
    /// Slots that were candidates before types were known.
    paired: SecondaryMap<Slot, bool>,
    /// `I64`, or the pointer type that is kept in a variable.
    types: Vec<Type>,
}

/// A copy that touches a candidate slot.
struct Copy {
    dst: Option<Address>,
    src: Option<Address>,
    len: u32,
}

impl Variables {
    /// `None` if there is nothing to promote.
    fn find(func: &Function, cfg: &Cfg, addresses: &Addresses) -> Option<Variables> {
        let mut pieces: SecondaryMap<Slot, Option<Vec<Piece>>> = SecondaryMap::new();
        for (slot, data) in &func.slots {
            if data.bytes > 0 && !addresses.is_captured(slot) {
                pieces[slot] = Some(Vec::new());
            }
        }
        let mut sets = Vec::new();
        let mut copies = Vec::new();
        for &block in &cfg.reverse_postorder {
            for &inst in &func.blocks[block].insts {
                collect(func, addresses, inst, &mut pieces, &mut sets, &mut copies);
            }
        }
        // Without duplicates before the first measure, so that it only grows.
        settle(&mut pieces);
        loop {
            let before = measure(&pieces);
            for copy in &copies {
                exchange_pieces(func, &mut pieces, copy);
            }
            settle(&mut pieces);
            for &(slot, start, len) in &sets {
                if splits_a_piece(&pieces, slot, start, len) {
                    pieces[slot] = None;
                }
            }
            if measure(&pieces) == before {
                break;
            }
        }
        let mut types = Vec::new();
        for list in pieces.values_mut().flatten() {
            for piece in list {
                piece.variable = types.len();
                types.push(Type::I64);
            }
        }
        let mut paired = SecondaryMap::new();
        for slot in func.slots.keys() {
            paired[slot] = pieces[slot].is_some();
        }
        let mut variables = Variables { pieces, paired, types };
        variables.find_types(func, cfg, addresses);
        variables.drop_partners(&copies);
        let any = func.slots.keys().any(|slot| variables.pieces[slot].is_some());
        let table = variables.types.len() * cfg.reverse_postorder.len();
        (any && table <= MAX_TABLE).then_some(variables)
    }

    /// Pieces that hold pointers; a slot where pointers and integers meet in one
    /// piece stays in memory.
    fn find_types(&mut self, func: &Function, cfg: &Cfg, addresses: &Addresses) {
        let mut pointer: Vec<Option<Type>> = vec![None; self.types.len()];
        let mut is_integer = vec![false; self.types.len()];
        let mut mixed = vec![false; self.types.len()];
        for &block in &cfg.reverse_postorder {
            for &inst in &func.blocks[block].insts {
                let (ptr, offset, bytes, ty) = match func.insts[inst] {
                    InstData::Store { mem, ptr, offset, value } => (ptr, offset, mem.bytes(), func.ty(value)),
                    InstData::LoadPtr { ptr, offset } => {
                        (ptr, offset, 8, func.results[inst].map_or(Type::I64, |v| func.ty(v)))
                    }
                    // What is written there is no pointer, except null.
                    InstData::MemSet { dst, offset, byte, len } if byte != 0 => {
                        if let Some((slot, start)) = self.slot_at(addresses, dst, offset) {
                            for piece in self.within(slot, start, len) {
                                is_integer[piece.variable] = true;
                            }
                        }
                        continue;
                    }
                    InstData::MemCopy { dst, dst_offset, src, src_offset, len } => {
                        for (ptr, offset) in [(dst, dst_offset), (src, src_offset)] {
                            if let Some((slot, start)) = self.slot_at(addresses, ptr, offset) {
                                for piece in self.within(slot, start, len) {
                                    is_integer[piece.variable] = true;
                                }
                            }
                        }
                        continue;
                    }
                    _ => continue,
                };
                let Some(variable) = self.variable(addresses, ptr, offset, bytes) else { continue };
                match ty {
                    Type::Ptr(_) if pointer[variable].is_some_and(|known| known != ty) => mixed[variable] = true,
                    Type::Ptr(_) => pointer[variable] = Some(ty),
                    _ => is_integer[variable] = true,
                }
            }
        }
        for list in self.pieces.values_mut() {
            let Some(some) = list else { continue };
            let bad = |p: &Piece| mixed[p.variable] || (pointer[p.variable].is_some() && is_integer[p.variable]);
            if some.iter().any(bad) {
                *list = None;
            }
        }
        for (ty, pointer) in self.types.iter_mut().zip(pointer) {
            *ty = pointer.unwrap_or(Type::I64);
        }
    }

    /// A slot that is copied from or to one that stays in memory after all stays
    /// too: its pieces were chosen for a copy between values.
    fn drop_partners(&mut self, copies: &[Copy]) {
        let slot = |side: Option<Address>| match side {
            Some(Address { base: Base::Slot(slot), .. }) => Some(slot),
            _ => None,
        };
        let mut changed = true;
        while changed {
            changed = false;
            for copy in copies {
                let (Some(dst), Some(src)) = (slot(copy.dst), slot(copy.src)) else { continue };
                for (one, other) in [(dst, src), (src, dst)] {
                    let was_paired = self.paired[one] && self.paired[other];
                    if was_paired && self.pieces[one].is_none() && self.pieces[other].is_some() {
                        self.pieces[other] = None;
                        changed = true;
                    }
                }
            }
        }
    }

    /// The promoted slot that `ptr + offset` points into, and where.
    fn slot_at(&self, addresses: &Addresses, ptr: Value, offset: i32) -> Option<(Slot, u32)> {
        let address = addresses.of(ptr)?;
        let Base::Slot(slot) = address.base else { return None };
        self.pieces[slot].as_ref()?;
        let start = address.offset?.checked_add(i64::from(offset))?;
        Some((slot, u32::try_from(start).ok()?))
    }

    fn variable(&self, addresses: &Addresses, ptr: Value, offset: i32, bytes: u32) -> Option<usize> {
        let (slot, start) = self.slot_at(addresses, ptr, offset)?;
        let piece = self.within(slot, start, bytes).next()?;
        Some(piece.variable)
    }

    /// The pieces of a promoted slot that lie in a range.
    fn within(&self, slot: Slot, start: u32, len: u32) -> impl Iterator<Item = Piece> {
        let list = self.pieces[slot].as_deref().unwrap_or_default();
        list.iter().copied().filter(move |p| p.start >= start && p.end() <= start + len)
    }
}

type Pieces = SecondaryMap<Slot, Option<Vec<Piece>>>;

/// Sorts pieces; a slot of which pieces overlap stays in memory.
fn settle(pieces: &mut Pieces) {
    for list in pieces.values_mut() {
        if let Some(some) = list {
            some.sort();
            some.dedup();
            if some.windows(2).any(|w| w[0].end() > w[1].start) {
                *list = None;
            }
        }
    }
}

/// Grows with every change that [`Variables::find`] makes.
fn measure(pieces: &Pieces) -> (usize, usize) {
    let gone = pieces.values().filter(|list| list.is_none()).count();
    (gone, pieces.values().flatten().map(Vec::len).sum())
}

fn splits_a_piece(pieces: &Pieces, slot: Slot, start: u32, len: u32) -> bool {
    pieces[slot].iter().flatten().any(|p| {
        let overlaps = p.start < start + len && start < p.end();
        let inside = p.start >= start && p.end() <= start + len;
        overlaps && !inside
    })
}

/// Notes what one instruction does to candidate slots.
fn collect(
    func: &Function,
    addresses: &Addresses,
    inst: Inst,
    pieces: &mut Pieces,
    sets: &mut Vec<(Slot, u32, u32)>,
    copies: &mut Vec<Copy>,
) {
    use InstData::*;
    // The slot that a pointer points into, if it is still a candidate.
    let slot_of = |v: Value| match addresses.of(v) {
        Some(Address { base: Base::Slot(slot), .. }) => Some(slot),
        _ => None,
    };
    match &func.insts[inst] {
        Load { mem, ptr, offset } | Store { mem, ptr, offset, .. } => {
            if let Some(slot) = slot_of(*ptr) {
                piece_access(func, addresses, pieces, slot, (*ptr, *offset), mem.bytes());
            }
        }
        LoadPtr { ptr, offset } => {
            if let Some(slot) = slot_of(*ptr) {
                piece_access(func, addresses, pieces, slot, (*ptr, *offset), 8);
            }
        }
        MemSet { dst, offset, len, .. } => {
            if let Some(slot) = slot_of(*dst) {
                match inside_slot(func, addresses, slot, (*dst, *offset), *len) {
                    Some(start) => sets.push((slot, start, *len)),
                    None => pieces[slot] = None,
                }
            }
        }
        MemCopy { dst, dst_offset, src, src_offset, len } => {
            let mut side = |ptr: Value, offset: i32| {
                let Some(slot) = slot_of(ptr) else { return };
                if *len > MAX_COPIED_BYTES || inside_slot(func, addresses, slot, (ptr, offset), *len).is_none() {
                    pieces[slot] = None;
                }
            };
            side(*dst, *dst_offset);
            side(*src, *src_offset);
            let moved = |ptr, offset: i32| {
                let address: Address = addresses.of(ptr)?;
                let offset = address.offset?.checked_add(i64::from(offset))?;
                Some(Address { offset: Some(offset), ..address })
            };
            copies.push(Copy { dst: moved(*dst, *dst_offset), src: moved(*src, *src_offset), len: *len });
        }
        // Arithmetic only makes other addresses.
        Binary { op: BinaryOp::Add | BinaryOp::Sub, args: [_, b] } if slot_of(*b).is_none() => {}
        SlotAddr { .. } => {}
        other => other.for_each_use(|v| {
            if let Some(slot) = slot_of(v) {
                pieces[slot] = None;
            }
        }),
    }
}

fn inside_slot(func: &Function, addresses: &Addresses, slot: Slot, at: (Value, i32), bytes: u32) -> Option<u32> {
    let start = addresses.of(at.0)?.offset?.checked_add(i64::from(at.1))?;
    let start = u32::try_from(start).ok()?;
    (start.checked_add(bytes)? <= func.slots[slot].bytes).then_some(start)
}

fn piece_access(func: &Function, addresses: &Addresses, pieces: &mut Pieces, slot: Slot, at: (Value, i32), bytes: u32) {
    match inside_slot(func, addresses, slot, at, bytes) {
        Some(start) => {
            if let Some(list) = &mut pieces[slot] {
                list.push(Piece { start, bytes, variable: 0 });
            }
        }
        None => pieces[slot] = None,
    }
}

/// Both sides of a copy have the same pieces; a copy out of a candidate covers
/// all of its bytes with pieces, so that each has a value to store.
fn exchange_pieces(func: &Function, pieces: &mut Pieces, copy: &Copy) {
    let candidate = |pieces: &Pieces, side: Option<Address>| match side {
        Some(Address { base: Base::Slot(slot), offset: Some(start) }) if pieces[slot].is_some() => {
            Some((slot, start as u32))
        }
        _ => None,
    };
    let (dst, src) = (candidate(pieces, copy.dst), candidate(pieces, copy.src));
    for (slot, start) in dst.into_iter().chain(src) {
        if splits_a_piece(pieces, slot, start, copy.len) {
            pieces[slot] = None;
        }
    }
    let shifted = |pieces: &Pieces, slot: Slot, start: u32, to: u32| -> Vec<Piece> {
        let list = pieces[slot].iter().flatten();
        list.filter(|p| p.start >= start && p.end() <= start + copy.len)
            .map(|p| Piece { start: p.start - start + to, ..*p })
            .collect()
    };
    match (dst, src) {
        (Some((d, d_start)), Some((s, s_start))) => {
            if d == s {
                pieces[d] = None;
                return;
            }
            let from_dst = shifted(pieces, d, d_start, s_start);
            let from_src = shifted(pieces, s, s_start, d_start);
            if let Some(list) = &mut pieces[s] {
                list.extend(from_dst);
            }
            if let Some(list) = &mut pieces[d] {
                list.extend(from_src);
            }
        }
        (None, Some((slot, start))) => {
            if let Some(list) = &mut pieces[slot] {
                list.sort();
                list.dedup();
                let gaps = gaps(list, start, copy.len);
                list.extend(gaps);
                if !aligned_alike(func, list, start, copy.len, copy.dst) {
                    pieces[slot] = None;
                }
            }
        }
        (Some((slot, start)), None) => {
            if let Some(list) = &pieces[slot]
                && !aligned_alike(func, list, start, copy.len, copy.src)
            {
                pieces[slot] = None;
            }
        }
        (None, None) => {}
    }
}

/// Pieces for the bytes of a range that have none.
fn gaps(list: &[Piece], start: u32, len: u32) -> Vec<Piece> {
    let mut gaps = Vec::new();
    let mut at = start;
    while at < start + len {
        if let Some(piece) = list.iter().find(|p| p.start <= at && at < p.end()) {
            at = piece.end();
            continue;
        }
        let next = list.iter().map(|p| p.start).filter(|s| *s > at).min().unwrap_or(u32::MAX).min(start + len);
        let mut bytes = 8;
        while !at.is_multiple_of(bytes) || at + bytes > next {
            bytes /= 2;
        }
        gaps.push(Piece { start: at, bytes, variable: 0 });
        at += bytes;
    }
    gaps
}

/// Whether accessing the other side of a copy piece by piece is aligned as well
/// as the pieces are, since the kernel's verifier asks for that on its stack.
fn aligned_alike(func: &Function, list: &[Piece], start: u32, len: u32, other: Option<Address>) -> bool {
    let Some(Address { base, offset: Some(offset) }) = other else { return false };
    let base_align = match base {
        Base::Slot(slot) => func.slots[slot].align,
        // Allocated objects are aligned to 8 bytes.
        Base::Map(_) | Base::Pointer(_) => 8,
    };
    list.iter().filter(|p| p.start >= start && p.end() <= start + len).all(|p| {
        let place = offset + i64::from(p.start - start);
        p.bytes <= base_align && place % i64::from(p.bytes) == 0
    })
}

struct Promotion<'a> {
    func: &'a mut Function,
    cfg: &'a Cfg,
    addresses: &'a Addresses,
    variables: &'a Variables,
    /// By position of the block in the reverse postorder, then by variable: the
    /// value that a block leaves in a variable, if it sets or asked for it.
    exits: Vec<Option<Value>>,
    /// The value at the start of a block, once somebody asked.
    entries: Vec<Option<Value>>,
    replaced: Replacements,
    /// New parameters whose arguments are still missing, in order of creation.
    unfilled: Vec<(Block, usize)>,
    /// Values of variables that nothing wrote, by type.
    undefined: Vec<(Type, Value, Inst)>,
}

impl Promotion<'_> {
    fn index(&self, block: Block, variable: usize) -> usize {
        (self.cfg.order_of(block) as usize - 1) * self.variables.types.len() + variable
    }

    fn block(&mut self, block: Block) {
        let insts = std::mem::take(&mut self.func.blocks[block].insts);
        let mut out = Vec::with_capacity(insts.len());
        for inst in insts {
            self.replaced.resolve_uses(self.func, inst);
            if !self.instruction(block, inst, &mut out) {
                out.push(inst);
            }
        }
        self.func.blocks[block].insts = out;
    }

    /// Whether the instruction goes; what takes its place is in `out`.
    fn instruction(&mut self, block: Block, inst: Inst, out: &mut Vec<Inst>) -> bool {
        let span = self.func.spans[inst];
        match self.func.insts[inst] {
            InstData::Load { mem, ptr, offset } => {
                let Some(variable) = self.variables.variable(self.addresses, ptr, offset, mem.bytes()) else {
                    return false;
                };
                let mut v = self.read(block, variable);
                if matches!(self.variables.types[variable], Type::Ptr(_)) {
                    v = self.func.emit(out, InstData::Unary { op: UnaryOp::Addr, arg: v }, Type::I64, span);
                }
                v = self.extend(mem, v, out, span);
                if let Some(result) = self.func.results[inst] {
                    if self.func.ty(result) == Type::I32 {
                        v = self.func.emit(out, InstData::Unary { op: UnaryOp::Trunc, arg: v }, Type::I32, span);
                    }
                    self.replaced.set(result, v);
                }
                true
            }
            InstData::LoadPtr { ptr, offset } => {
                let Some(variable) = self.variables.variable(self.addresses, ptr, offset, 8) else { return false };
                let v = self.read(block, variable);
                if let Some(result) = self.func.results[inst] {
                    self.replaced.set(result, v);
                }
                true
            }
            InstData::Store { mem, ptr, offset, value } => {
                let Some(variable) = self.variables.variable(self.addresses, ptr, offset, mem.bytes()) else {
                    return false;
                };
                let value = self.widened(value, out, span);
                self.write(block, variable, value);
                true
            }
            InstData::MemSet { dst, offset, byte, len } => {
                let Some((slot, start)) = self.variables.slot_at(self.addresses, dst, offset) else { return false };
                let variables = self.variables;
                for piece in variables.within(slot, start, len) {
                    let fill = i64::from_le_bytes([byte; 8]);
                    let n = if piece.bytes == 8 { fill } else { fill & ((1 << (piece.bytes * 8)) - 1) };
                    let ty = self.variables.types[piece.variable];
                    let v = self.func.emit(out, InstData::Const(n), ty, span);
                    self.write(block, piece.variable, v);
                }
                true
            }
            InstData::MemCopy { dst, dst_offset, src, src_offset, len } => {
                let to = self.variables.slot_at(self.addresses, dst, dst_offset);
                let from = self.variables.slot_at(self.addresses, src, src_offset);
                let variables = self.variables;
                match (to, from) {
                    (Some((to, to_start)), Some((from, from_start))) => {
                        let sources = variables.within(from, from_start, len);
                        for (target, source) in variables.within(to, to_start, len).zip(sources) {
                            let v = self.read(block, source.variable);
                            self.write(block, target.variable, v);
                        }
                    }
                    (Some((slot, start)), None) => {
                        for piece in variables.within(slot, start, len) {
                            let offset = src_offset.wrapping_add((piece.start - start) as i32);
                            let load = InstData::Load { mem: piece.mem(), ptr: src, offset };
                            let v = self.func.emit(out, load, Type::I64, span);
                            self.write(block, piece.variable, v);
                        }
                    }
                    (None, Some((slot, start))) => {
                        for piece in variables.within(slot, start, len) {
                            let value = self.read(block, piece.variable);
                            let offset = dst_offset.wrapping_add((piece.start - start) as i32);
                            let store = InstData::Store { mem: piece.mem(), ptr: dst, offset, value };
                            let (inst, _) = self.func.make_inst(store, Type::I64, span);
                            out.push(inst);
                        }
                    }
                    (None, None) => return false,
                }
                true
            }
            _ => false,
        }
    }

    /// What a load of this width gives for a variable's value, whose upper bits
    /// are whatever was stored.
    fn extend(&mut self, mem: MemType, v: Value, out: &mut Vec<Inst>, span: object::SourceSpan) -> Value {
        let op = match mem {
            MemType::U8 => UnaryOp::Zext8,
            MemType::U16 => UnaryOp::Zext16,
            MemType::U32 => UnaryOp::Zext32,
            MemType::S8 => UnaryOp::Sext8,
            MemType::S16 => UnaryOp::Sext16,
            MemType::S32 => UnaryOp::Sext32,
            MemType::U64 => return v,
        };
        self.func.emit(out, InstData::Unary { op, arg: v }, Type::I64, span)
    }

    fn widened(&mut self, v: Value, out: &mut Vec<Inst>, span: object::SourceSpan) -> Value {
        match self.func.ty(v) {
            Type::I32 => self.func.emit(out, InstData::Unary { op: UnaryOp::Zext32, arg: v }, Type::I64, span),
            _ => v,
        }
    }

    fn write(&mut self, block: Block, variable: usize, value: Value) {
        let index = self.index(block, variable);
        self.exits[index] = Some(value);
    }

    /// The variable's value at the current end of `block`.
    fn read(&mut self, block: Block, variable: usize) -> Value {
        let index = self.index(block, variable);
        let found = match self.exits[index] {
            Some(v) => v,
            None => self.read_entry(block, variable),
        };
        self.exits[index] = Some(found);
        self.replaced.resolve(found)
    }

    /// The variable's value at the start of `block`. Walks up while there is one
    /// way in; where ways meet, makes a parameter.
    fn read_entry(&mut self, block: Block, variable: usize) -> Value {
        let cfg = self.cfg;
        let mut passed = Vec::new();
        let mut at = block;
        let found = loop {
            let index = self.index(at, variable);
            if let Some(v) = self.entries[index] {
                break v;
            }
            passed.push(index);
            match *cfg.preds(at) {
                [] => break self.undefined(self.variables.types[variable]),
                [pred] => {
                    if let Some(v) = self.exits[self.index(pred, variable)] {
                        break v;
                    }
                    at = pred;
                }
                _ => {
                    let param_index = self.func.blocks[at].params.len() as u32;
                    let def = ValueDef::Param(at, param_index);
                    let param = self.func.values.push(ValueData { ty: self.variables.types[variable], def });
                    self.func.blocks[at].params.push(param);
                    self.unfilled.push((at, variable));
                    break param;
                }
            }
        };
        for index in passed {
            self.entries[index] = Some(found);
        }
        found
    }

    /// A value for memory that nothing wrote.
    fn undefined(&mut self, ty: Type) -> Value {
        if let Some((_, v, _)) = self.undefined.iter().find(|(known, ..)| *known == ty) {
            return *v;
        }
        let mut placed = Vec::new();
        let v = self.func.emit(&mut placed, InstData::Const(0), ty, object::SourceSpan::default());
        self.undefined.push((ty, v, placed[0]));
        v
    }

    /// Gives the new parameters their arguments, which may ask for more.
    fn finish(mut self) {
        let mut next = 0;
        while next < self.unfilled.len() {
            let (block, variable) = self.unfilled[next];
            next += 1;
            let cfg = self.cfg;
            let preds = cfg.preds(block);
            for (i, &pred) in preds.iter().enumerate() {
                if preds[..i].contains(&pred) {
                    continue;
                }
                let arg = self.read(pred, variable);
                let terminator = self.func.terminator_inst(pred);
                for edge in self.func.insts[terminator].edges_mut().filter(|edge| edge.block == block) {
                    edge.args.push(arg);
                }
            }
        }
        let entry = self.func.entry();
        self.func.blocks[entry].insts.splice(0..0, self.undefined.iter().map(|(.., inst)| *inst));
        self.replaced.apply(self.func);
    }
}
