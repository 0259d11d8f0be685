//! Writes to slots that nothing reads go: whole stores, parts of fills, and calls
//! of helpers that only fill memory.

use cranelift_entity::{PrimaryMap, SecondaryMap};

use super::alias::{Base, Touch};
use super::slot_liveness::{Bytes, SlotLiveness};
use crate::effects;
use crate::*;

pub(super) fn run(func: &mut Function, cfg: &Cfg, maps: &PrimaryMap<Map, object::Map>) {
    let Some(liveness) = SlotLiveness::new(func, cfg, maps) else { return };
    let mut used: SecondaryMap<Value, bool> = SecondaryMap::new();
    used.resize(func.values.len());
    for &block in &cfg.reverse_postorder {
        for &inst in &func.blocks[block].insts {
            func.insts[inst].for_each_use(|v| used[v] = true);
        }
    }
    for &block in &cfg.reverse_postorder {
        let mut live = liveness.live_out(func, block);
        let insts = std::mem::take(&mut func.blocks[block].insts);
        // From the last to the first; turned around at the end.
        let mut kept = Vec::with_capacity(insts.len());
        for inst in insts.into_iter().rev() {
            if is_dead(func, &liveness, &used, inst, &live) {
                continue;
            }
            match trimmed_fill(func, &liveness, inst, &live) {
                Some(parts) => {
                    liveness.step_back(func, inst, &mut live);
                    kept.extend(parts);
                }
                None => {
                    liveness.step_back(func, inst, &mut live);
                    kept.push(inst);
                }
            }
        }
        kept.reverse();
        func.blocks[block].insts = kept;
    }
}

/// Whether all that an instruction does is to write bytes that nobody reads.
fn is_dead(
    func: &Function,
    liveness: &SlotLiveness<'_>,
    used: &SecondaryMap<Value, bool>,
    inst: Inst,
    live: &Bytes,
) -> bool {
    let only_writes = match &func.insts[inst] {
        InstData::Store { .. } | InstData::MemSet { .. } | InstData::MemCopy { .. } => true,
        InstData::CallHelper { helper, .. } => {
            effects::of_helper(*helper).is_removable() && func.results[inst].is_none_or(|v| !used[v])
        }
        _ => false,
    };
    if !only_writes {
        return false;
    }
    let mut dead = true;
    liveness.for_each_touch(func, inst, |place, touch| {
        if touch == Touch::Read {
            return;
        }
        dead &= match liveness.bytes_of(func, place) {
            Some((start, len)) => !live.any(start, len),
            None => false,
        };
    });
    dead
}

/// The parts of a fill that are needed, if not all of it is. Each part is what one
/// aligned store writes, or a run of 8-byte stores.
fn trimmed_fill(func: &mut Function, liveness: &SlotLiveness<'_>, inst: Inst, live: &Bytes) -> Option<Vec<Inst>> {
    let InstData::MemSet { dst, offset, byte, len } = func.insts[inst] else { return None };
    let address = liveness.addresses.of(dst)?;
    let Base::Slot(slot) = address.base else { return None };
    let first = liveness.first(slot)?;
    let start = u32::try_from(address.offset?.checked_add(i64::from(offset))?).ok()?;
    let end = start.checked_add(len)?;
    if end > func.slots[slot].bytes {
        return None;
    }
    let mut parts: Vec<(u32, u32)> = Vec::new();
    let mut at = start;
    while at < end {
        // Up to the next multiple of 8.
        let stop = (at / 8 * 8 + 8).min(end);
        let needed = |byte: &u32| live.contains(first + *byte);
        let (low, high) = ((at..stop).find(needed), (at..stop).rfind(needed));
        if let (Some(low), Some(high)) = (low, high) {
            // The smallest aligned store that covers what is needed.
            let mut bytes = 1;
            while bytes < 8 && low / bytes != high / bytes {
                bytes *= 2;
            }
            let from = (low / bytes * bytes).max(at);
            let to = (low / bytes * bytes + bytes).min(stop);
            match parts.last_mut() {
                Some((_, last)) if *last == from => *last = to,
                _ => parts.push((from, to)),
            }
        }
        at = stop;
    }
    if parts == [(start, end)] {
        return None;
    }
    let span = func.spans[inst];
    let parts = parts.iter().rev().map(|(from, to)| {
        let offset = offset + (from - start) as i32;
        let fill = InstData::MemSet { dst, offset, byte, len: to - from };
        func.make_inst(fill, Type::I64, span).0
    });
    Some(parts.collect())
}
