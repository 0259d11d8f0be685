//! Maps: look up, update, delete.

use ir::{BinaryOp, Cond, MemType, Space, Type as IrType, Value};
use isa::uapi::{helper, map_type};
use object::MapIndex;
use object::plan::Counter;

use super::Lowering;
use crate::ast::Span;
use crate::hir::{Expr, MapId};
use crate::storage;
use crate::types::*;

impl Lowering<'_, '_, '_> {
    pub(super) fn map_type(&self, map: MapId) -> Type {
        self.session.script.maps[map.0 as usize].value.clone()
    }

    pub(super) fn is_aggregate(&self, map: MapId) -> bool {
        matches!(self.session.script.maps[map.0 as usize].value, Type::Aggregate(_))
    }

    fn key_type(&self, map: MapId) -> Type {
        self.session.script.maps[map.0 as usize].key.clone().unwrap_or(Type::Void)
    }

    pub(super) fn ir_map(&self, map: MapId) -> ir::Map {
        self.session.maps[map.0 as usize].map
    }

    /// A pointer to the key, as the map keeps it, with `extra` bytes of room after it.
    pub(super) fn key(&mut self, map: MapId, key: &Expr, extra: u32) -> Value {
        let ty = self.key_type(map);
        let bytes = storage::size_of(&ty, self.session.catalog);
        let ptr = self.memory(bytes + extra);
        self.write(key, &ty, ptr, 0);
        ptr
    }

    /// The key of the single value of a per-CPU array, or of a bucket.
    pub(super) fn index_key(&mut self, index: Value) -> Value {
        let slot = self.b.create_slot(8, 8);
        let ptr = self.b.slot_addr(slot, 0);
        self.b.store(MemType::U32, ptr, 0, index);
        ptr
    }

    pub(super) fn lookup(&mut self, map: ir::Map, key: Value) -> Value {
        let map = self.b.map_addr(map);
        self.b.call_helper(helper::map_lookup_elem, &[map, key], IrType::Ptr(Space::ValueOrNull))
    }

    /// `f` of the value's pointer if there is one, else `g`.
    pub(super) fn found_or(
        &mut self,
        value: Value,
        f: impl FnOnce(&mut Self, Value) -> Value,
        g: impl FnOnce(&mut Self) -> Value,
    ) -> Value {
        let there = self.b.compare_imm(Cond::Ne, value, 0);
        self.either(
            there,
            |l| {
                let ptr = l.b.non_null(value);
                f(l, ptr)
            },
            g,
        )
    }

    /// The address of a single value that is no aggregate.
    fn single(&mut self, map: MapId) -> Value {
        let map = self.ir_map(map);
        self.b.map_value_addr(map, 0)
    }

    /// Notes that a single value is set (or is not any more).
    pub(super) fn set_flag(&mut self, map: MapId, set: bool) {
        let Some(slot) = self.session.maps[map.0 as usize].flag else { return };
        let counters = self.session.counters_map();
        let address = self.b.map_value_addr(counters, slot * 8);
        let value = self.b.iconst(i64::from(set));
        self.b.store(MemType::U64, address, 0, value);
    }

    /// The scalar value of a plain map's element; 0 if there is none.
    pub(super) fn map_get(&mut self, map: MapId, key: Option<&Expr>) -> Value {
        let Some(key) = key else {
            let address = self.single(map);
            return self.b.load(MemType::U64, address, 0);
        };
        let key = self.key(map, key, 0);
        let value = self.lookup(self.ir_map(map), key);
        self.found_or(
            value,
            |l, ptr| l.b.load(MemType::U64, ptr, 0),
            |l| {
                l.report_missing("map_lookup_elem");
                l.b.iconst(0)
            },
        )
    }

    /// An element's value copied to `dst + offset`; zeros if there is none.
    pub(super) fn copy_map_value(&mut self, map: MapId, key: Option<&Expr>, dst: Value, offset: i32, size: u32) {
        let have = storage::size_of(&self.map_type(map), self.session.catalog).min(size);
        let Some(key) = key else {
            let address = self.single(map);
            self.b.mem_copy(dst, offset, address, 0, have);
            self.zero(dst, offset + have as i32, size - have);
            return;
        };
        let key = self.key(map, key, 0);
        let value = self.lookup(self.ir_map(map), key);
        let there = self.b.compare_imm(Cond::Ne, value, 0);
        let yes = self.b.create_block();
        let no = self.b.create_block();
        let after = self.b.create_block();
        self.b.branch(there, yes, no);
        self.b.switch_to(yes);
        let ptr = self.b.non_null(value);
        self.b.mem_copy(dst, offset, ptr, 0, have);
        self.zero(dst, offset + have as i32, size - have);
        self.b.jump(after, &[]);
        self.b.switch_to(no);
        self.report_missing("map_lookup_elem");
        self.zero(dst, offset, size);
        self.b.jump(after, &[]);
        self.b.switch_to(after);
    }

    pub(super) fn map_set(&mut self, map: MapId, key: Option<&Expr>, value: &Expr, span: Span) {
        let ty = self.map_type(map);
        let Some(key) = key else {
            if ty.is_scalar() {
                let v = self.scalar(value);
                let address = self.single(map);
                self.b.store(MemType::U64, address, 0, v);
            } else {
                // Built aside: the value may be made of the old one.
                let built = self.temporary(value, &ty);
                let address = self.single(map);
                let bytes = storage::size_of(&ty, self.session.catalog);
                self.b.mem_copy(address, 0, built, 0, bytes);
            }
            return self.set_flag(map, true);
        };
        let value = self.temporary(value, &ty);
        let key = self.key(map, key, 0);
        self.update(map, key, value, span);
    }

    /// Sets an element; a full map is counted.
    pub(super) fn update(&mut self, map: MapId, key: Value, value: Value, span: Span) {
        let ir_map = self.ir_map(map);
        let address = self.b.map_addr(ir_map);
        let flags = self.b.iconst(0);
        let result = self.helper(helper::map_update_elem, &[address, key, value, flags]);
        let counter = Counter::MapFull {
            map: MapIndex(ir_map.as_u32()),
            helper: "map_update_elem",
            span: self.source_span(span),
        };
        // An error is -E2BIG in 32 bits before 6.4: calls of maps' operations are made straight to
        // functions that returned `int` then.
        self.when(result, |l| l.count(counter));
    }

    /// 1 if there was such an element.
    pub(super) fn map_delete(&mut self, map: MapId, key: Option<&Expr>) -> Value {
        let Some(key) = key else {
            return self.delete_single(map);
        };
        if let Type::Aggregate(Aggregate::Hist { .. } | Aggregate::Lhist { .. }) = self.map_type(map) {
            return self.delete_buckets(map, key);
        }
        let key = self.key(map, key, 0);
        let address = self.b.map_addr(self.ir_map(map));
        let result = self.helper(helper::map_delete_elem, &[address, key]);
        let signed = self.b.unary(ir::UnaryOp::Sext32, result);
        self.report_failure(signed, "map_delete_elem");
        self.b.compare_imm(Cond::Eq, result, 0)
    }

    fn delete_single(&mut self, map: MapId) -> Value {
        if let Type::Aggregate(Aggregate::Hist { .. } | Aggregate::Lhist { .. }) = self.map_type(map) {
            // Too many buckets to clear here: the session does it.
            self.whole_map_event(map, |map| object::plan::Action::ClearMap { map });
            return self.b.iconst(1);
        }
        let Some(slot) = self.session.maps[map.0 as usize].flag else { return self.b.iconst(0) };
        let counters = self.session.counters_map();
        let flag = self.b.map_value_addr(counters, slot * 8);
        let was_set = self.b.load(MemType::U64, flag, 0);
        let zero = self.b.iconst(0);
        self.b.store(MemType::U64, flag, 0, zero);
        let bytes = storage::size_of(&self.map_type(map), self.session.catalog);
        let ir_map = self.ir_map(map);
        if self.session.module.maps[ir_map].map_type == map_type::ARRAY {
            let address = self.single(map);
            self.zero(address, 0, bytes);
        } else {
            self.clear_cpus(map, bytes);
        }
        self.b.compare_imm(Cond::Ne, was_set, 0)
    }

    pub(super) fn has_key(&mut self, map: MapId, key: &Expr) -> Value {
        let key = self.key(map, key, 0);
        let value = self.lookup(self.ir_map(map), key);
        self.b.compare_imm(Cond::Ne, value, 0)
    }

    /// `++` and `--` of an element: the new value, or the old one.
    pub(super) fn map_step(&mut self, map: MapId, key: Option<&Expr>, step: i64, prefix: bool) -> Value {
        let change = |l: &mut Self, ptr: Value| {
            let old = l.b.load(MemType::U64, ptr, 0);
            let new = l.b.binary_imm(BinaryOp::Add, old, step);
            l.b.store(MemType::U64, ptr, 0, new);
            if prefix { new } else { old }
        };
        let Some(key) = key else {
            let address = self.single(map);
            let result = change(self, address);
            self.set_flag(map, true);
            return result;
        };
        let span = key.span;
        let key = self.key(map, key, 0);
        let value = self.lookup(self.ir_map(map), key);
        self.found_or(value, change, |l| {
            let slot = l.b.create_slot(8, 8);
            let ptr = l.b.slot_addr(slot, 0);
            let first = l.b.iconst(step);
            l.b.store(MemType::U64, ptr, 0, first);
            l.update(map, key, ptr, span);
            l.b.iconst(if prefix { step } else { 0 })
        })
    }
}
