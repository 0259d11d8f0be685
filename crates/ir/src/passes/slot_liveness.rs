//! Which bytes of slots are still to be read, at every place of a function.

use cranelift_entity::{PrimaryMap, SecondaryMap};

use super::alias::{Addresses, Base, Place, Touch};
use crate::*;

/// Bounds the size of a set; slots beyond it are not followed.
const MAX_BYTES: u32 = 16 << 10;

/// A set of bytes of slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bytes(Vec<u64>);

impl Bytes {
    pub fn contains(&self, byte: u32) -> bool {
        self.0[byte as usize / 64] >> (byte % 64) & 1 != 0
    }

    pub fn any(&self, start: u32, len: u32) -> bool {
        (start..start + len).any(|byte| self.contains(byte))
    }

    fn add(&mut self, start: u32, len: u32) {
        (start..start + len).for_each(|byte| self.0[byte as usize / 64] |= 1 << (byte % 64));
    }

    fn remove(&mut self, start: u32, len: u32) {
        (start..start + len).for_each(|byte| self.0[byte as usize / 64] &= !(1 << (byte % 64)));
    }
}

/// Liveness of the bytes of slots that nothing captures.
pub(super) struct SlotLiveness<'a> {
    maps: &'a PrimaryMap<Map, object::Map>,
    pub addresses: Addresses,
    /// The number of each followed slot's first byte.
    first: SecondaryMap<Slot, Option<u32>>,
    words: usize,
    /// At the start of each block.
    live_in: SecondaryMap<Block, Option<Bytes>>,
}

impl<'a> SlotLiveness<'a> {
    /// `None` if there is no slot to follow.
    pub fn new(func: &Function, cfg: &Cfg, maps: &'a PrimaryMap<Map, object::Map>) -> Option<Self> {
        let addresses = Addresses::new(func, cfg);
        let mut first = SecondaryMap::new();
        let mut bytes = 0;
        for (slot, data) in &func.slots {
            let fits = data.bytes <= MAX_BYTES && bytes + data.bytes <= MAX_BYTES;
            if data.bytes > 0 && fits && !addresses.is_captured(slot) {
                first[slot] = Some(bytes);
                bytes += data.bytes;
            }
        }
        if bytes == 0 {
            return None;
        }
        let words = bytes.div_ceil(64) as usize;
        let mut this = SlotLiveness { maps, addresses, first, words, live_in: SecondaryMap::new() };
        let mut changed = true;
        while changed {
            changed = false;
            for &block in cfg.reverse_postorder.iter().rev() {
                let mut live = this.live_out(func, block);
                for &inst in func.blocks[block].insts.iter().rev() {
                    this.step_back(func, inst, &mut live);
                }
                if this.live_in[block].as_ref() != Some(&live) {
                    this.live_in[block] = Some(live);
                    changed = true;
                }
            }
        }
        Some(this)
    }

    /// At the end of a block.
    pub fn live_out(&self, func: &Function, block: Block) -> Bytes {
        let mut live = Bytes(vec![0; self.words]);
        for edge in func.terminator(block).edges() {
            if let Some(next) = &self.live_in[edge.block] {
                live.0.iter_mut().zip(&next.0).for_each(|(a, b)| *a |= b);
            }
        }
        live
    }

    /// From after an instruction to before it.
    pub fn step_back(&self, func: &Function, inst: Inst, live: &mut Bytes) {
        // What it overwrites it may have read first.
        self.addresses.for_each_touch(func, self.maps, inst, |place, touch| {
            if touch == Touch::Overwrite
                && place.range.is_some()
                && let Some((start, len)) = self.bytes_of(func, place)
            {
                live.remove(start, len);
            }
        });
        self.addresses.for_each_touch(func, self.maps, inst, |place, touch| {
            if touch.reads()
                && let Some((start, len)) = self.bytes_of(func, place)
            {
                live.add(start, len);
            }
        });
    }

    /// The first byte of a followed slot.
    pub fn first(&self, slot: Slot) -> Option<u32> {
        self.first[slot]
    }

    /// The followed bytes of a place: all of its slot if the range is not known.
    pub fn bytes_of(&self, func: &Function, place: Place) -> Option<(u32, u32)> {
        let Base::Slot(slot) = place.base else { return None };
        let first = self.first[slot]?;
        let size = func.slots[slot].bytes;
        let (start, len) = match place.range {
            Some((start, len)) => {
                let start = start.clamp(0, i64::from(size));
                (start as u32, len.clamp(0, i64::from(size) - start) as u32)
            }
            None => (0, size),
        };
        Some((first + start, len))
    }

    pub fn for_each_touch(&self, func: &Function, inst: Inst, f: impl FnMut(Place, Touch)) {
        self.addresses.for_each_touch(func, self.maps, inst, f);
    }
}
