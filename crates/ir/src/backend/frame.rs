//! The stack frame of a function: slots and spilled registers below `r10`, and
//! what of it lives in the scratch map instead.

use cranelift_entity::SecondaryMap;

use crate::{Function, Map, Slot, SlotData, SlotLayout};

/// The stack that a program and the functions it calls share, in bytes
/// (`MAX_BPF_STACK`).
pub const MAX_STACK_BYTES: u32 = 512;

/// What a function needs of the kernel's verifier as its depth: frames are
/// rounded up to 32 bytes (`check_max_stack_depth`, kernel/bpf/verifier.c).
pub fn charged_bytes(frame_bytes: u32) -> u32 {
    frame_bytes.max(1).next_multiple_of(32)
}

/// Slots of one function that live in its element of the scratch map.
#[derive(Clone, Debug)]
pub struct Scratch {
    pub map: Map,
    /// The map's element, one a function: a program never runs inside itself
    /// on the same CPU.
    pub element: u32,
    /// Holds the key of the lookup: one past the function's own slots.
    pub key_slot: Slot,
    /// Where each moved slot stands in the element.
    pub offsets: SecondaryMap<Slot, Option<u32>>,
    pub bytes: u32,
}

impl Scratch {
    pub fn new(func: &Function, map: Map, element: u32) -> Scratch {
        let key_slot = Slot::from_u32(func.slots.len() as u32);
        Scratch { map, element, key_slot, offsets: SecondaryMap::new(), bytes: 0 }
    }

    /// Gives `slot` a place.
    pub fn add(&mut self, slot: Slot, data: &SlotData) {
        let at = self.bytes.next_multiple_of(data.placed_align());
        self.offsets[slot] = Some(at);
        self.bytes = (at + data.bytes).next_multiple_of(8);
    }
}

/// Where slots and spills stand, as negative offsets from `r10`.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    slots: SecondaryMap<Slot, i32>,
    /// Bytes above the spilled registers.
    slots_bytes: u32,
    pub bytes: u32,
}

impl Frame {
    /// Lays out the slots that `used` marks, and `spills` registers below them.
    /// With `shared` places for slots, those are taken.
    pub fn new(
        func: &Function,
        scratch: Option<&Scratch>,
        used: &SecondaryMap<Slot, bool>,
        shared: Option<&SlotLayout>,
        spills: usize,
    ) -> Frame {
        let mut frame = Frame::default();
        if let Some(layout) = shared {
            frame.slots_bytes = layout.bytes.next_multiple_of(8);
            for (slot, place) in layout.offsets.iter() {
                frame.slots[slot] = place.map_or(0, |at| at as i32 - frame.slots_bytes as i32);
            }
        }
        let key = scratch.map(|s| (s.key_slot, SlotData { bytes: 4, align: 4 }));
        let own = func.slots.iter().filter(|_| shared.is_none()).map(|(slot, data)| (slot, *data));
        let mut places: Vec<(Slot, SlotData)> = own.chain(key).filter(|(slot, _)| used[*slot]).collect();
        // Large alignments first: no gaps between slots of the usual sizes.
        places.sort_by_key(|(_, data)| std::cmp::Reverse(data.placed_align()));
        for (slot, data) in places {
            frame.slots_bytes = (frame.slots_bytes + data.bytes).next_multiple_of(data.placed_align());
            frame.slots[slot] = -(frame.slots_bytes as i32);
        }
        frame.bytes = frame.slots_bytes;
        if spills > 0 {
            frame.slots_bytes = frame.slots_bytes.next_multiple_of(8);
            frame.bytes = frame.slots_bytes + 8 * spills as u32;
        }
        frame
    }

    /// Offset of a slot from `r10`.
    pub fn slot(&self, slot: Slot) -> i32 {
        self.slots[slot]
    }

    /// Offset of a spilled register from `r10`.
    pub fn spill(&self, index: usize) -> i32 {
        -(self.slots_bytes as i32 + 8 * (index as i32 + 1))
    }
}
