//! What pointers point to, and which accesses may touch the same bytes.

use cranelift_entity::{PrimaryMap, SecondaryMap};
use isa::uapi::helper;

use crate::effects::{self, ArgumentEffect, Extent};
use crate::*;

/// The object that an address is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Base {
    Slot(Slot),
    /// The value of a one-element array map.
    Map(Map),
    /// What this pointer points to.
    Pointer(Value),
}

/// An address as an object and a byte offset into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub base: Base,
    /// `None`: not known.
    pub offset: Option<i64>,
}

impl Address {
    fn plus(self, offset: Option<i64>) -> Address {
        let offset = match (self.offset, offset) {
            (Some(a), Some(b)) => a.checked_add(b),
            _ => None,
        };
        Address { base: self.base, offset }
    }
}

/// The bytes of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub base: Base,
    /// Start and length; `None`: somewhere in the object.
    pub range: Option<(i64, i64)>,
}

impl Place {
    pub fn new(address: Address, bytes: Option<u32>) -> Place {
        let range = address.offset.zip(bytes).map(|(start, bytes)| (start, i64::from(bytes)));
        Place { base: address.base, range }
    }
}

/// How an instruction touches a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Touch {
    Read,
    /// Every byte of the place gets a new value.
    Overwrite,
    /// Some bytes may change.
    Write,
    ReadWrite,
}

impl Touch {
    pub fn reads(self) -> bool {
        matches!(self, Touch::Read | Touch::ReadWrite)
    }

    pub fn writes(self) -> bool {
        !matches!(self, Touch::Read)
    }
}

/// Where each pointer of a function points, and which slots have their address
/// in places that this does not follow.
pub(crate) struct Addresses {
    of: SecondaryMap<Value, Option<Address>>,
    captured: SecondaryMap<Slot, bool>,
}

impl Addresses {
    pub fn new(func: &Function, cfg: &Cfg) -> Addresses {
        let mut this = Addresses { of: SecondaryMap::new(), captured: SecondaryMap::new() };
        this.of.resize(func.values.len());
        for &block in &cfg.reverse_postorder {
            for &param in &func.blocks[block].params {
                this.root(func, param);
            }
            for &inst in &func.blocks[block].insts {
                this.instruction(func, inst);
            }
        }
        this
    }

    fn root(&mut self, func: &Function, v: Value) {
        if matches!(func.ty(v), Type::Ptr(_)) {
            self.of[v] = Some(Address { base: Base::Pointer(v), offset: Some(0) });
        }
    }

    fn instruction(&mut self, func: &Function, inst: Inst) {
        use InstData::*;
        let data = &func.insts[inst];
        match data {
            // Addresses may be used here without leaving our sight.
            Binary { .. } | Compare { .. } | Load { .. } | LoadPtr { .. } | MemCopy { .. } | MemSet { .. } => {}
            NonNull(_) => {}
            Store { value, .. } => self.capture(*value),
            Atomic { value, .. } => self.capture(*value),
            CompareExchange { expected, value, .. } => {
                self.capture(*expected);
                self.capture(*value);
            }
            CallHelper { helper, args } => {
                if effects::of_helper(*helper).retains {
                    args.iter().for_each(|arg| self.capture(*arg));
                }
            }
            other => other.for_each_use(|v| self.capture(v)),
        }
        let Some(result) = func.results[inst] else { return };
        if !matches!(func.ty(result), Type::Ptr(_)) {
            return;
        }
        self.of[result] = match data {
            SlotAddr { slot, offset } => Some(Address { base: Base::Slot(*slot), offset: Some(i64::from(*offset)) }),
            MapValueAddr { map, offset } => Some(Address { base: Base::Map(*map), offset: Some(i64::from(*offset)) }),
            Binary { op: BinaryOp::Add, args: [ptr, n] } => self.of[*ptr].map(|a| a.plus(func.constant(*n))),
            Binary { op: BinaryOp::Sub, args: [ptr, n] } => {
                self.of[*ptr].map(|a| a.plus(func.constant(*n).and_then(i64::checked_neg)))
            }
            NonNull(ptr) => self.of[*ptr],
            _ => Some(Address { base: Base::Pointer(result), offset: Some(0) }),
        };
    }

    fn capture(&mut self, v: Value) {
        if let Some(Address { base: Base::Slot(slot), .. }) = self.of[v] {
            self.captured[slot] = true;
        }
    }

    /// Takes in a pointer that was made since.
    pub fn add(&mut self, func: &Function, v: Value) {
        if let ValueDef::Result(inst) = func.values[v].def {
            self.instruction(func, inst);
        }
    }

    /// Of a pointer that was there when this was built, or was added.
    pub fn of(&self, v: Value) -> Option<Address> {
        self.of[v]
    }

    /// Whether the slot may be reached by pointers that are not known to point to it.
    pub fn is_captured(&self, slot: Slot) -> bool {
        self.captured[slot]
    }

    /// The bytes at `ptr + offset`.
    pub fn place(&self, ptr: Value, offset: i32, bytes: Option<u32>) -> Option<Place> {
        let address = self.of(ptr)?.plus(Some(i64::from(offset)));
        Some(Place::new(address, bytes))
    }

    /// Whether both may be the same bytes.
    pub fn may_alias(&self, func: &Function, a: Place, b: Place) -> bool {
        if a.base == b.base {
            return match (a.range, b.range) {
                (Some((x, x_len)), Some((y, y_len))) => x < y + y_len && y < x + x_len,
                _ => true,
            };
        }
        match (a.base, b.base) {
            (Base::Slot(_), Base::Slot(_)) | (Base::Map(_), Base::Map(_)) => false,
            (Base::Slot(_), Base::Map(_)) | (Base::Map(_), Base::Slot(_)) => false,
            (Base::Slot(slot), Base::Pointer(p)) | (Base::Pointer(p), Base::Slot(slot)) => {
                self.captured[slot] && func.ty(p) == Type::Ptr(Space::Stack)
            }
            (Base::Map(map), Base::Pointer(p)) | (Base::Pointer(p), Base::Map(map)) => {
                is_map_value(func, p) && map_behind(func, p).is_none_or(|other| other == map)
            }
            (Base::Pointer(p), Base::Pointer(q)) => {
                if is_map_value(func, p) && is_map_value(func, q) {
                    return match (map_behind(func, p), map_behind(func, q)) {
                        (Some(x), Some(y)) => x == y,
                        _ => true,
                    };
                }
                func.ty(p) == func.ty(q)
            }
        }
    }

    /// Calls `f` on each place that `inst` touches by way of its pointers. What
    /// callees and helpers touch besides is for the caller to know.
    pub fn for_each_touch(
        &self,
        func: &Function,
        maps: &PrimaryMap<Map, object::Map>,
        inst: Inst,
        mut f: impl FnMut(Place, Touch),
    ) {
        use InstData::*;
        let mut touch = |place: Option<Place>, touch: Touch| {
            if let Some(place) = place {
                f(place, touch);
            }
        };
        match &func.insts[inst] {
            Load { mem, ptr, offset } => touch(self.place(*ptr, *offset, Some(mem.bytes())), Touch::Read),
            LoadPtr { ptr, offset } => touch(self.place(*ptr, *offset, Some(8)), Touch::Read),
            Store { mem, ptr, offset, .. } => touch(self.place(*ptr, *offset, Some(mem.bytes())), Touch::Overwrite),
            Atomic { mem, ptr, offset, .. } | CompareExchange { mem, ptr, offset, .. } => {
                touch(self.place(*ptr, *offset, Some(mem.bytes())), Touch::ReadWrite);
            }
            MemCopy { dst, dst_offset, src, src_offset, len } => {
                touch(self.place(*src, *src_offset, Some(*len)), Touch::Read);
                touch(self.place(*dst, *dst_offset, Some(*len)), Touch::Overwrite);
            }
            MemSet { dst, offset, len, .. } => touch(self.place(*dst, *offset, Some(*len)), Touch::Overwrite),
            Call { args, .. } => {
                for arg in args {
                    touch(self.place(*arg, 0, None).map(whole), Touch::ReadWrite);
                }
            }
            CallHelper { helper, args } => {
                for &(index, effect) in effects::of_helper(*helper).arguments {
                    let Some(&arg) = args.get(index) else { continue };
                    let (extent, kind) = match effect {
                        ArgumentEffect::Read(extent) => (extent, Touch::Read),
                        ArgumentEffect::Fill(extent) => (extent, Touch::Overwrite),
                        ArgumentEffect::Write(extent) => (extent, Touch::Write),
                        ArgumentEffect::ReadWrite(extent) => (extent, Touch::ReadWrite),
                    };
                    let bytes = extent.bytes(func, maps, args);
                    // A size that is not known may be 0.
                    let kind = if bytes.is_none() && kind == Touch::Overwrite { Touch::Write } else { kind };
                    let place = self.place(arg, 0, bytes);
                    touch(if bytes.is_none() { place.map(whole) } else { place }, kind);
                }
            }
            _ => {}
        }
    }
}

/// Somewhere in the same object.
fn whole(place: Place) -> Place {
    Place { range: None, ..place }
}

impl Extent {
    /// The size in a call with these arguments, if it is a constant.
    pub fn bytes(self, func: &Function, maps: &PrimaryMap<Map, object::Map>, args: &[Value]) -> Option<u32> {
        let map = || match args.first().and_then(|v| func.def(*v)) {
            Some(InstData::MapAddr(map)) => maps.get(*map),
            _ => None,
        };
        match self {
            Extent::Bytes(n) => Some(n),
            Extent::Argument(i) => args.get(i).and_then(|v| func.constant(*v)).and_then(|n| u32::try_from(n).ok()),
            Extent::MapKey => map().map(|m| m.key_size),
            Extent::MapValue => map().map(|m| m.value_size),
            Extent::Unknown => None,
        }
    }
}

fn is_map_value(func: &Function, v: Value) -> bool {
    matches!(func.ty(v), Type::Ptr(Space::Value | Space::ValueOrNull))
}

/// The map that a pointer from `map_lookup_elem` points into.
pub(crate) fn map_behind(func: &Function, pointer: Value) -> Option<Map> {
    let InstData::CallHelper { helper, args } = func.def(pointer)? else { return None };
    if !matches!(*helper, helper::map_lookup_elem | helper::map_lookup_percpu_elem) {
        return None;
    }
    match func.def(*args.first()?)? {
        InstData::MapAddr(map) => Some(*map),
        _ => None,
    }
}
