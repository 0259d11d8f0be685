//! What is known of memory at one place of a function: contents that were stored
//! or loaded, and map elements that were looked up.

use cranelift_entity::PrimaryMap;
use isa::uapi::helper;

use super::super::alias::{Address, Addresses, Base, Place, map_behind};
use crate::effects::{self, ArgumentEffect, Outside};
use crate::*;

/// Places of which the contents are remembered at one time.
const MAX_KNOWN: usize = 48;
/// Lookups that are remembered.
const MAX_LOOKUPS: usize = 8;
/// Bytes of a key, or of what a helper reads, that are compared.
const MAX_COMPARED: u32 = 64;

/// What memory holds at a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub address: Address,
    pub bytes: u32,
    pub content: Content,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    /// The low bytes of this value. `load`: loading like this gives exactly it.
    Value {
        value: Value,
        load: Option<MemType>,
    },
    /// A pointer.
    Pointer(Value),
    Fill(u8),
    /// What the slot at this address holds now, as long as neither changes.
    Copy(Slot, i64),
    /// The name of the current task, which stays the same during a run.
    Comm,
}

/// `TASK_COMM_LEN`.
pub(super) const COMM_BYTES: u32 = 16;
/// Copies of copies that are followed.
const MAX_COPIES: u32 = 4;

/// Where a byte of memory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Byte {
    Number(u8),
    /// A byte of a value, from the lowest.
    Of(Value, u32),
    Comm(u32),
    /// What stands there now, whatever it is.
    At(Slot, i64),
}

/// A call of `map_lookup_elem` that still holds.
#[derive(Clone, Debug)]
struct Lookup {
    map: Map,
    key: Vec<Byte>,
    found: Value,
}

/// What `Memory` needs to know of the function around it.
pub(super) struct Context<'a> {
    pub func: &'a Function,
    pub addresses: &'a Addresses,
    pub maps: &'a PrimaryMap<Map, object::Map>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    pub known: Vec<Known>,
    lookups: Vec<Lookup>,
}

impl Known {
    fn start(&self) -> i64 {
        // Only known offsets are remembered.
        self.address.offset.unwrap_or(0)
    }

    fn end(&self) -> i64 {
        self.start() + i64::from(self.bytes)
    }

    fn place(&self) -> Place {
        Place::new(self.address, Some(self.bytes))
    }

    /// Whether `bytes` at `address` are all in this place.
    pub fn contains(&self, address: Address, bytes: u32) -> bool {
        let Some(start) = address.offset else { return false };
        self.address.base == address.base && start >= self.start() && start + i64::from(bytes) <= self.end()
    }

    fn part(&self, start: i64, end: i64) -> Option<Known> {
        let bytes = u32::try_from(end - start).ok().filter(|n| *n > 0)?;
        Some(Known { address: Address { offset: Some(start), ..self.address }, bytes, ..*self })
    }
}

impl Memory {
    pub fn is_empty(&self) -> bool {
        self.known.is_empty() && self.lookups.is_empty()
    }

    pub fn remember(&mut self, known: Known) {
        if self.known.len() == MAX_KNOWN {
            self.known.remove(0);
        }
        self.known.push(known);
    }

    /// Forgets what an instruction may change.
    pub fn clobber(&mut self, context: &Context<'_>, inst: Inst) {
        let Context { func, addresses, maps } = *context;
        let data = &func.insts[inst];
        let outside = match data {
            InstData::Call { .. } => Outside::Everything,
            InstData::CallHelper { helper, .. } => effects::of_helper(*helper).outside,
            InstData::Store { .. }
            | InstData::Atomic { .. }
            | InstData::CompareExchange { .. }
            | InstData::MemCopy { .. }
            | InstData::MemSet { .. } => Outside::Nothing,
            _ => return,
        };
        match outside {
            Outside::Everything => {
                self.lookups.clear();
                self.known.retain(|known| match (known.address.base, known.content) {
                    (Base::Slot(slot), Content::Copy(of, _)) => {
                        !addresses.is_captured(slot) && !addresses.is_captured(of)
                    }
                    (Base::Slot(slot), _) => !addresses.is_captured(slot),
                    _ => false,
                });
            }
            Outside::MapValues => {
                let map = match data {
                    InstData::CallHelper { args, .. } => args.first().and_then(|v| map_of(func, *v)),
                    _ => None,
                };
                let is_other = |other: Option<Map>| map.is_some() && other.is_some() && map != other;
                self.lookups.retain(|lookup| is_other(Some(lookup.map)));
                self.known.retain(|known| match known.address.base {
                    Base::Slot(_) => true,
                    Base::Map(other) => is_other(Some(other)),
                    Base::Pointer(p) => is_other(map_behind(func, p)),
                });
            }
            Outside::Nothing | Outside::NothingAndSameResult | Outside::World => {}
        }
        addresses.for_each_touch(func, maps, inst, |place, touch| {
            if touch.writes() {
                self.overwrite(context, place);
            }
        });
    }

    /// Takes in what an instruction other than a store leaves in memory.
    pub fn learn(&mut self, context: &Context<'_>, inst: Inst) {
        let Context { func, addresses, .. } = *context;
        let at = |ptr: Value, offset: i32| {
            let address = addresses.of(ptr)?;
            let offset = address.offset?.checked_add(i64::from(offset))?;
            Some(Address { offset: Some(offset), ..address })
        };
        let known = match &func.insts[inst] {
            InstData::MemCopy { dst, dst_offset, src, src_offset, len } => {
                let (Some(to), Some(from)) = (at(*dst, *dst_offset), at(*src, *src_offset)) else { return };
                match (from.base, from.offset) {
                    (Base::Slot(slot), Some(start)) if to.base != from.base => {
                        Known { address: to, bytes: *len, content: Content::Copy(slot, start) }
                    }
                    _ => return,
                }
            }
            InstData::CallHelper { helper: helper::get_current_comm, args } => {
                let &[to, len] = args.as_slice() else { return };
                match at(to, 0) {
                    Some(address) if func.constant(len) == Some(i64::from(COMM_BYTES)) => {
                        Known { address, bytes: COMM_BYTES, content: Content::Comm }
                    }
                    _ => return,
                }
            }
            _ => return,
        };
        self.remember(known);
    }

    /// Forgets a place; of a fill, what lies around it stays known.
    fn overwrite(&mut self, context: &Context<'_>, place: Place) {
        let mut rest = Vec::new();
        let hits = |slot: Slot, start: i64, bytes: i64| {
            let read = Place { base: Base::Slot(slot), range: Some((start, bytes)) };
            context.addresses.may_alias(context.func, read, place)
        };
        self.lookups
            .retain(|lookup| !lookup.key.iter().any(|byte| matches!(*byte, Byte::At(slot, at) if hits(slot, at, 1))));
        self.known.retain(|known| {
            if let Content::Copy(slot, start) = known.content
                && hits(slot, start, i64::from(known.bytes))
            {
                return false;
            }
            if !context.addresses.may_alias(context.func, known.place(), place) {
                return true;
            }
            if let (Content::Fill(_), Some((start, len))) = (known.content, place.range)
                && known.address.base == place.base
            {
                rest.extend(known.part(known.start(), start));
                rest.extend(known.part(start + len, known.end()));
            }
            false
        });
        rest.into_iter().for_each(|known| self.remember(known));
    }

    /// Where each byte of a place comes from, if that can be said.
    fn bytes(&self, func: &Function, base: Base, start: i64, len: u32) -> Option<Vec<Byte>> {
        if len > MAX_COMPARED {
            return None;
        }
        let mut bytes = Vec::with_capacity(len as usize);
        self.append_bytes(func, base, start, len, MAX_COPIES, &mut bytes).then_some(bytes)
    }

    fn append_bytes(
        &self,
        func: &Function,
        base: Base,
        start: i64,
        len: u32,
        copies: u32,
        bytes: &mut Vec<Byte>,
    ) -> bool {
        let end = start + i64::from(len);
        let mut at = start;
        while at < end {
            let known = self.known.iter().find(|known| {
                let is_there = known.address.base == base && known.start() <= at && at < known.end();
                is_there && (copies > 0 || !matches!(known.content, Content::Copy(..)))
            });
            let Some(known) = known else {
                let Base::Slot(slot) = base else { return false };
                bytes.push(Byte::At(slot, at));
                at += 1;
                continue;
            };
            let next = known.end().min(end);
            let (first, count) = ((at - known.start()) as u32, (next - at) as u32);
            match known.content {
                Content::Fill(byte) => bytes.extend((0..count).map(|_| Byte::Number(byte))),
                Content::Comm => bytes.extend((first..first + count).map(Byte::Comm)),
                Content::Copy(slot, from) => {
                    let from = from + i64::from(first);
                    if !self.append_bytes(func, Base::Slot(slot), from, count, copies - 1, bytes) {
                        return false;
                    }
                }
                Content::Value { value, .. } | Content::Pointer(value) => match func.constant(value) {
                    Some(n) => {
                        let n = if func.ty(value) == Type::I32 { i64::from(n as u32) } else { n };
                        let number = n.to_le_bytes();
                        bytes.extend((first..first + count).map(|i| Byte::Number(number[i as usize & 7])));
                    }
                    None => bytes.extend((first..first + count).map(|i| Byte::Of(value, i))),
                },
            }
            at = next;
        }
        true
    }

    /// The address that holds the same as `bytes` at `address`, if that is a copy.
    pub fn original(&self, address: Address, bytes: u32) -> Option<Address> {
        let known = self.known.iter().find(|known| known.contains(address, bytes))?;
        let Content::Copy(slot, start) = known.content else { return None };
        let offset = start + (address.offset? - known.start());
        Some(Address { base: Base::Slot(slot), offset: Some(offset) })
    }

    /// The result of an earlier lookup of the same key in the same map. Else this
    /// one is remembered.
    pub fn lookup(&mut self, context: &Context<'_>, inst: Inst) -> Option<Value> {
        let Context { func, addresses, maps } = *context;
        let InstData::CallHelper { helper: helper::map_lookup_elem, args } = &func.insts[inst] else { return None };
        let &[map, key] = args.as_slice() else { return None };
        let map = map_of(func, map)?;
        let address = addresses.of(key)?;
        let key = self.bytes(func, address.base, address.offset?, maps.get(map)?.key_size)?;
        let result = func.results[inst]?;
        let same =
            |lookup: &&Lookup| lookup.map == map && lookup.key == key && func.ty(lookup.found) == func.ty(result);
        if let Some(lookup) = self.lookups.iter().find(same) {
            return Some(lookup.found);
        }
        if self.lookups.len() == MAX_LOOKUPS {
            self.lookups.remove(0);
        }
        self.lookups.push(Lookup { map, key, found: result });
        None
    }

    /// For each argument that a helper only reads: another slot that holds the same
    /// bytes at the same offset, so that one key serves several calls.
    pub fn same_contents(&self, context: &Context<'_>, inst: Inst) -> Vec<(usize, Slot, i32)> {
        let Context { func, addresses, maps } = *context;
        let InstData::CallHelper { helper, args } = &func.insts[inst] else { return Vec::new() };
        let mut found = Vec::new();
        for &(index, effect) in effects::of_helper(*helper).arguments {
            let (ArgumentEffect::Read(extent), Some(&arg)) = (effect, args.get(index)) else { continue };
            let Some(Address { base: Base::Slot(slot), offset: Some(start) }) = addresses.of(arg) else { continue };
            let Some(len) = extent.bytes(func, maps, args) else { continue };
            let mut others: Vec<Slot> = self
                .known
                .iter()
                .flat_map(|known| {
                    let holder = match known.address.base {
                        Base::Slot(other) => Some(other),
                        _ => None,
                    };
                    let original = match known.content {
                        Content::Copy(other, _) => Some(other),
                        _ => None,
                    };
                    holder.into_iter().chain(original)
                })
                .filter(|other| *other < slot)
                .collect();
            if others.is_empty() {
                continue;
            }
            others.sort_unstable();
            others.dedup();
            let Some(bytes) = self.bytes(func, Base::Slot(slot), start, len) else { continue };
            let holds_same = |other: Slot| {
                let (mine, its) = (func.slots[slot], func.slots[other]);
                let fits = its.align >= mine.align && start + i64::from(len) <= i64::from(its.bytes);
                fits && self.bytes(func, Base::Slot(other), start, len).as_ref() == Some(&bytes)
            };
            if let Some(other) = others.into_iter().find(|other| holds_same(*other)) {
                found.push((index, other, start as i32));
            }
        }
        found
    }
}

fn map_of(func: &Function, v: Value) -> Option<Map> {
    match func.def(v)? {
        InstData::MapAddr(map) => Some(*map),
        _ => None,
    }
}
