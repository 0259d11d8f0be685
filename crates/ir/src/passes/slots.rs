//! Where slots stand in the frame: slots of which the contents are never needed
//! at the same time share their place.

use cranelift_entity::{PrimaryMap, SecondaryMap};

use super::slot_liveness::{Bytes, SlotLiveness};
use crate::*;

/// A place for each slot.
#[derive(Clone, Debug, Default)]
pub struct SlotLayout {
    /// From the lowest address of the area; `None` for slots that are not in it.
    pub offsets: SecondaryMap<Slot, Option<u32>>,
    /// Size of the area in bytes, a multiple of 8.
    pub bytes: u32,
}

/// Lays out the slots for which `wanted` holds, in few bytes.
pub fn slot_layout(func: &Function, maps: &PrimaryMap<Map, object::Map>, wanted: impl Fn(Slot) -> bool) -> SlotLayout {
    let mut slots: Vec<Slot> =
        func.slots.iter().filter(|(slot, data)| data.bytes > 0 && wanted(*slot)).map(|(slot, _)| slot).collect();
    if slots.is_empty() {
        return SlotLayout::default();
    }
    let conflicts = Conflicts::find(func, maps);
    // Large ones first; the small ones fill the gaps.
    slots.sort_by_key(|slot| (std::cmp::Reverse(func.slots[*slot].bytes), *slot));
    let mut layout = SlotLayout::default();
    let mut placed: Vec<(Slot, u32, u32)> = Vec::new();
    for slot in slots {
        let (bytes, align) = (func.slots[slot].bytes, func.slots[slot].placed_align());
        let mut taken: Vec<(u32, u32)> = placed
            .iter()
            .filter(|(other, ..)| conflicts.conflict(slot, *other))
            .map(|&(_, start, end)| (start, end))
            .collect();
        taken.sort_unstable();
        let mut at = 0;
        for (start, end) in taken {
            if at + bytes <= start {
                break;
            }
            at = at.max(end.next_multiple_of(align));
        }
        placed.push((slot, at, at + bytes));
        layout.offsets[slot] = Some(at);
        layout.bytes = layout.bytes.max((at + bytes).next_multiple_of(8));
    }
    layout
}

/// Pairs of slots that are needed at the same time.
struct Conflicts {
    /// One bit a pair, by the smaller index, then the larger.
    with: SecondaryMap<Slot, Vec<u64>>,
    /// Slots of which this is known; all others conflict with everything.
    followed: SecondaryMap<Slot, bool>,
}

impl Conflicts {
    fn find(func: &Function, maps: &PrimaryMap<Map, object::Map>) -> Conflicts {
        let mut this = Conflicts { with: SecondaryMap::new(), followed: SecondaryMap::new() };
        let cfg = Cfg::new(func);
        let Some(liveness) = SlotLiveness::new(func, &cfg, maps) else { return this };
        for slot in func.slots.keys() {
            this.followed[slot] = liveness.first(slot).is_some();
            this.with[slot] = vec![0; func.slots.len().div_ceil(64)];
        }
        for &block in &cfg.reverse_postorder {
            let mut live = liveness.live_out(func, block);
            for &inst in func.blocks[block].insts.iter().rev() {
                let mut touched = Vec::new();
                liveness.for_each_touch(func, inst, |place, _| {
                    if let super::alias::Base::Slot(slot) = place.base {
                        touched.push(slot);
                    }
                });
                if !touched.is_empty() {
                    this.add(func, &liveness, &touched, &live);
                    liveness.step_back(func, inst, &mut live);
                    this.add(func, &liveness, &touched, &live);
                }
            }
        }
        this
    }

    /// Slots that an instruction touches conflict with each other and with those
    /// that are live around it.
    fn add(&mut self, func: &Function, liveness: &SlotLiveness<'_>, touched: &[Slot], live: &Bytes) {
        for (other, data) in &func.slots {
            let Some(first) = liveness.first(other) else { continue };
            if !touched.contains(&other) && !live.any(first, data.bytes) {
                continue;
            }
            for &slot in touched {
                self.set(slot, other);
                self.set(other, slot);
            }
        }
    }

    fn set(&mut self, a: Slot, b: Slot) {
        let b = b.as_u32() as usize;
        self.with[a][b / 64] |= 1 << (b % 64);
    }

    fn conflict(&self, a: Slot, b: Slot) -> bool {
        if !self.followed[a] || !self.followed[b] {
            return true;
        }
        let b = b.as_u32() as usize;
        self.with[a][b / 64] >> (b % 64) & 1 != 0
    }
}
