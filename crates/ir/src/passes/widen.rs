//! Neighbouring stores of constants become one wider store. A store of an
//! immediate holds 32 bits, sign-extended to 64.

use cranelift_entity::PrimaryMap;

use super::alias::{Addresses, Base, Place};
use crate::*;

/// Fills up to this size are taken apart, to be joined with their neighbours.
const MAX_FILL: u32 = 32;

pub(super) fn run(func: &mut Function, cfg: &Cfg, maps: &PrimaryMap<Map, object::Map>) {
    let addresses = Addresses::new(func, cfg);
    for &block in &cfg.reverse_postorder {
        let insts = std::mem::take(&mut func.blocks[block].insts);
        let mut line =
            Line { func, maps, addresses: &addresses, out: Vec::with_capacity(insts.len()), pending: Vec::new() };
        for inst in insts {
            line.instruction(inst);
        }
        let out = line.out.into_iter().flatten().collect();
        func.blocks[block].insts = out;
    }
}

/// A store of a constant that the next ones may take over.
#[derive(Clone, Copy)]
struct Pending {
    /// In `Line::out`.
    index: usize,
    base: Base,
    offset: i64,
    bytes: u32,
    number: u64,
}

/// One block.
struct Line<'a> {
    func: &'a mut Function,
    maps: &'a PrimaryMap<Map, object::Map>,
    addresses: &'a Addresses,
    /// `None` where a store went into a later one.
    out: Vec<Option<Inst>>,
    pending: Vec<Pending>,
}

impl Line<'_> {
    fn instruction(&mut self, inst: Inst) {
        match self.func.insts[inst] {
            InstData::Store { mem, ptr, offset, value } => {
                if let (Some(n), Some((base, start))) =
                    (self.func.constant(value), self.aligned(ptr, offset, mem.bytes()))
                {
                    self.touch(inst);
                    let store =
                        Pending { index: 0, base, offset: start, bytes: mem.bytes(), number: low(n, mem.bytes()) };
                    self.store(store, ptr, offset, inst);
                    return;
                }
            }
            InstData::MemSet { dst, offset, byte, len } if len <= MAX_FILL => {
                if let Some((base, start)) = self.aligned(dst, offset, 1) {
                    self.touch(inst);
                    self.fill(base, start, byte, len, (dst, offset), inst);
                    return;
                }
            }
            _ => {}
        }
        self.touch(inst);
        self.out.push(Some(inst));
    }

    /// The address of an access that is aligned to its size.
    fn aligned(&self, ptr: Value, offset: i32, bytes: u32) -> Option<(Base, i64)> {
        let address = self.addresses.of(ptr)?;
        let start = address.offset?.checked_add(i64::from(offset))?;
        (self.alignment(address.base)? >= bytes && start >= 0 && start % i64::from(bytes) == 0)
            .then_some((address.base, start))
    }

    /// Of an object's start, where it can be stored to.
    fn alignment(&self, base: Base) -> Option<u32> {
        match base {
            Base::Slot(slot) => Some(self.func.slots[slot].align),
            Base::Map(_) => Some(8),
            Base::Pointer(p) => match self.func.ty(p) {
                Type::Ptr(Space::Value | Space::ValueOrNull | Space::Record | Space::RecordOrNull) => Some(8),
                _ => None,
            },
        }
    }

    /// Stores that `inst` may read, overwrite or make visible stay as they are.
    fn touch(&mut self, inst: Inst) {
        if self.pending.is_empty() {
            return;
        }
        let data = &self.func.insts[inst];
        let others_may_look = matches!(
            data,
            InstData::Call { .. }
                | InstData::CallHelper { .. }
                | InstData::Atomic { .. }
                | InstData::CompareExchange { .. }
        );
        if others_may_look {
            let addresses = self.addresses;
            self.pending.retain(|store| matches!(store.base, Base::Slot(slot) if !addresses.is_captured(slot)));
        }
        let (func, addresses, pending) = (&*self.func, self.addresses, &mut self.pending);
        addresses.for_each_touch(func, self.maps, inst, |place, _| {
            pending.retain(|store| {
                let range = Some((store.offset, i64::from(store.bytes)));
                !addresses.may_alias(func, Place { base: store.base, range }, place)
            });
        });
    }

    /// Adds a store, taking over its neighbours as far as they go. `ptr + at` is
    /// where `store` starts; `original` is the instruction if there is one.
    fn store(&mut self, mut store: Pending, ptr: Value, at: i32, original: Inst) {
        let start = store.offset;
        let align = self.alignment(store.base).unwrap_or(1);
        let mut is_original = true;
        while store.bytes * 2 <= align.min(8) {
            let double = i64::from(store.bytes) * 2;
            let merged_offset = store.offset / double * double;
            let buddy_offset = if store.offset == merged_offset { store.offset + double / 2 } else { merged_offset };
            let buddy = self
                .pending
                .iter()
                .position(|p| p.base == store.base && p.bytes == store.bytes && p.offset == buddy_offset);
            let Some(buddy) = buddy else { break };
            let other = self.pending[buddy];
            let shift = store.bytes * 8;
            let number = if other.offset < store.offset {
                other.number | store.number << shift
            } else {
                store.number | other.number << shift
            };
            if double == 8 && i32::try_from(number as i64).is_err() {
                break;
            }
            self.pending.swap_remove(buddy);
            self.out[other.index] = None;
            store = Pending { offset: merged_offset, bytes: double as u32, number, ..store };
            is_original = false;
        }
        if is_original && matches!(self.func.insts[original], InstData::Store { .. }) {
            self.out.push(Some(original));
        } else {
            let span = self.func.spans[original];
            let mut made = Vec::with_capacity(2);
            let value = self.func.emit(&mut made, InstData::Const(signed(store.number, store.bytes)), Type::I64, span);
            let offset = at + (store.offset - start) as i32;
            let mem = MemType::new(store.bytes, false).unwrap_or(MemType::U8);
            let (inst, _) = self.func.make_inst(InstData::Store { mem, ptr, offset, value }, Type::I64, span);
            made.push(inst);
            self.out.extend(made.into_iter().map(Some));
        }
        store.index = self.out.len() - 1;
        self.pending.push(store);
    }

    /// A fill as the largest stores of immediates that are aligned.
    fn fill(&mut self, base: Base, start: i64, byte: u8, len: u32, (dst, at): (Value, i32), original: Inst) {
        let align = self.alignment(base).unwrap_or(1);
        // Eight equal bytes fit an immediate if they are all zeros or all ones.
        let widest = if matches!(byte, 0 | 0xff) { 8 } else { 4 };
        let end = start + i64::from(len);
        let mut offset = start;
        while offset < end {
            let mut bytes = align.min(widest);
            while offset % i64::from(bytes) != 0 || offset + i64::from(bytes) > end {
                bytes /= 2;
            }
            let number = low(i64::from_le_bytes([byte; 8]), bytes);
            let store = Pending { index: 0, base, offset, bytes, number };
            self.store(store, dst, at + (offset - start) as i32, original);
            offset += i64::from(bytes);
        }
    }
}

/// The low `bytes` of a number.
fn low(n: i64, bytes: u32) -> u64 {
    n as u64 & u64::MAX >> (64 - bytes * 8)
}

/// As the text form shows it: what an immediate holds.
fn signed(n: u64, bytes: u32) -> i64 {
    let unused = 64 - bytes * 8;
    (n << unused) as i64 >> unused
}
