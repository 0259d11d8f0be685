//! Aggregates: each CPU adds to its own value; readers add the CPUs up.

use ir::{BinaryOp, Cond, MemType, Space, Type as IrType, Value};
use isa::uapi::helper;

use super::Lowering;
use super::place::Place;
use crate::ast::Span;
use crate::hir::{Expr, MapId};
use crate::storage;
use crate::types::*;

/// Number of buckets, for the kinds that have them.
pub(super) fn bucket_count(aggregate: Aggregate) -> Option<u32> {
    match aggregate {
        Aggregate::Hist { k } => {
            let k = u32::from(k);
            // The last bucket is that of exponent 63 (see `object::plan`).
            Some(1 + ((64 - k + 1) << k))
        }
        Aggregate::Lhist { min, max, step } => Some((max.wrapping_sub(min) / step.max(1)) as u32 + 2),
        _ => None,
    }
}

impl Lowering<'_, '_, '_> {
    /// `@m[key] = count()` and its kind.
    pub(super) fn aggregate(&mut self, map: MapId, key: Option<&Expr>, value: Option<&Expr>, span: Span) {
        let Type::Aggregate(aggregate) = self.map_type(map) else { return };
        let value = match value {
            Some(value) => self.scalar(value),
            None => self.b.iconst(1),
        };
        let ir_map = self.ir_map(map);
        if bucket_count(aggregate).is_some() {
            return self.add_to_bucket(map, aggregate, key, value, span);
        }
        match key {
            Some(key) => {
                let key = self.key(map, key, 0);
                self.add_or_insert(map, key, aggregate, value, span);
            }
            None => {
                let zero = self.b.iconst(0);
                let key = self.index_key(zero);
                let found = self.lookup(ir_map, key);
                let there = self.b.compare_imm(Cond::Ne, found, 0);
                self.when(there, |l| {
                    let ptr = l.b.non_null(found);
                    l.add(aggregate, ptr, value, Some(map));
                });
            }
        }
    }

    /// Adds a value to what is there. `flagged`: a single value, which is marked as
    /// set when it may be for the first time.
    fn add(&mut self, aggregate: Aggregate, ptr: Value, value: Value, flagged: Option<MapId>) {
        let mark = |l: &mut Self, word: Value| {
            if let Some(map) = flagged {
                let first = l.b.compare_imm(Cond::Eq, word, 0);
                l.when(first, |l| l.set_flag(map, true));
            }
        };
        match aggregate {
            Aggregate::Count | Aggregate::Sum { .. } | Aggregate::Hist { .. } | Aggregate::Lhist { .. } => {
                let old = self.b.load(MemType::U64, ptr, 0);
                mark(self, old);
                let new = self.b.binary(BinaryOp::Add, old, value);
                self.b.store(MemType::U64, ptr, 0, new);
            }
            Aggregate::Min { signed } | Aggregate::Max { signed } => {
                let is_min = matches!(aggregate, Aggregate::Min { .. });
                let set = self.b.load(MemType::U64, ptr, 8);
                mark(self, set);
                let store = self.b.create_block();
                let compare = self.b.create_block();
                let after = self.b.create_block();
                self.b.branch(set, compare, store);
                self.b.switch_to(compare);
                let old = self.b.load(MemType::U64, ptr, 0);
                let cond = match (is_min, signed) {
                    (true, true) => Cond::Slt,
                    (true, false) => Cond::Ult,
                    (false, true) => Cond::Sgt,
                    (false, false) => Cond::Ugt,
                };
                let better = self.b.compare(cond, value, old);
                self.b.branch(better, store, after);
                self.b.switch_to(store);
                self.b.store(MemType::U64, ptr, 0, value);
                let one = self.b.iconst(1);
                self.b.store(MemType::U64, ptr, 8, one);
                self.b.jump(after, &[]);
                self.b.switch_to(after);
            }
            Aggregate::Avg { .. } | Aggregate::Stats { .. } => {
                let count = self.b.load(MemType::U64, ptr, 8);
                mark(self, count);
                let total = self.b.load(MemType::U64, ptr, 0);
                let total = self.b.binary(BinaryOp::Add, total, value);
                self.b.store(MemType::U64, ptr, 0, total);
                let count = self.b.binary_imm(BinaryOp::Add, count, 1);
                self.b.store(MemType::U64, ptr, 8, count);
            }
        }
    }

    /// The bytes of an aggregate that has seen one value.
    fn first(&mut self, aggregate: Aggregate, value: Value) -> Value {
        let bytes = storage::aggregate_size(aggregate);
        let slot = self.b.create_slot(bytes, 8);
        let ptr = self.b.slot_addr(slot, 0);
        self.b.store(MemType::U64, ptr, 0, value);
        if bytes > 8 {
            let one = self.b.iconst(1);
            self.b.store(MemType::U64, ptr, 8, one);
        }
        ptr
    }

    /// Adds to the element of `key`, or makes it with `value` as its first.
    fn add_or_insert(&mut self, map: MapId, key: Value, aggregate: Aggregate, value: Value, span: Span) {
        let ir_map = self.ir_map(map);
        let found = self.lookup(ir_map, key);
        let there = self.b.compare_imm(Cond::Ne, found, 0);
        let yes = self.b.create_block();
        let no = self.b.create_block();
        let after = self.b.create_block();
        self.b.branch(there, yes, no);
        self.b.switch_to(yes);
        let ptr = self.b.non_null(found);
        self.add(aggregate, ptr, value, None);
        self.b.jump(after, &[]);
        self.b.switch_to(no);
        let first = self.first(aggregate, value);
        self.update(map, key, first, span);
        self.b.jump(after, &[]);
        self.b.switch_to(after);
    }

    fn add_to_bucket(&mut self, map: MapId, aggregate: Aggregate, key: Option<&Expr>, value: Value, span: Span) {
        let one = self.b.iconst(1);
        let ir_map = self.ir_map(map);
        match key {
            Some(key) => {
                let bytes = self.session.module.maps[ir_map].key_size - 8;
                let key = self.key(map, key, 8);
                let bucket = self.bucket(aggregate, value);
                self.b.store(MemType::U64, key, bytes as i32, bucket);
                self.add_or_insert(map, key, aggregate, one, span);
            }
            None => {
                let bucket = self.bucket(aggregate, value);
                let key = self.index_key(bucket);
                let found = self.lookup(ir_map, key);
                let there = self.b.compare_imm(Cond::Ne, found, 0);
                self.when(there, |l| {
                    let ptr = l.b.non_null(found);
                    l.add(aggregate, ptr, one, Some(map));
                });
            }
        }
    }

    /// The bucket number of a value (`object::plan` has the formulas).
    fn bucket(&mut self, aggregate: Aggregate, value: Value) -> Value {
        match aggregate {
            Aggregate::Hist { k } => self.log2_bucket(value, k),
            Aggregate::Lhist { min, max, step } => self.linear_bucket(value, min, max, step),
            _ => self.b.iconst(0),
        }
    }

    /// Values are taken as signed: what is below zero has a bucket.
    fn log2_bucket(&mut self, value: Value, k: u8) -> Value {
        let after = self.b.create_block();
        let result = self.b.block_param(after, IrType::I64);
        let negative = self.b.compare_imm(Cond::Slt, value, 0);
        let rest = self.b.create_block();
        let zero = self.b.iconst(0);
        self.b.branch_args(negative, after, &[zero], rest, &[]);
        self.b.switch_to(rest);
        let small = self.b.compare_imm(Cond::Ult, value, 1 << k);
        let low = self.b.create_block();
        let high = self.b.create_block();
        self.b.branch(small, low, high);
        self.b.switch_to(low);
        let b = self.b.binary_imm(BinaryOp::Add, value, 1);
        self.b.jump(after, &[b]);
        self.b.switch_to(high);
        let e = self.log2(value);
        let k = i64::from(k);
        let e_less = self.b.binary_imm(BinaryOp::Sub, e, k);
        let group = self.b.binary_imm(BinaryOp::Add, e_less, 1);
        let mut b = self.b.binary_imm(BinaryOp::Shl, group, k);
        if k > 0 {
            let part = self.b.binary(BinaryOp::Lshr, value, e_less);
            let part = self.b.binary_imm(BinaryOp::And, part, (1 << k) - 1);
            b = self.b.binary(BinaryOp::Add, b, part);
        }
        let b = self.b.binary_imm(BinaryOp::Add, b, 1);
        self.b.jump(after, &[b]);
        self.b.switch_to(after);
        result
    }

    /// floor(log2(v)) of a value that is not 0: halves the range six times.
    fn log2(&mut self, value: Value) -> Value {
        let mut rest = value;
        let mut e = self.b.iconst(0);
        for shift in [32, 16, 8, 4, 2, 1] {
            let big = self.b.create_block();
            let after = self.b.create_block();
            let rest_after = self.b.block_param(after, IrType::I64);
            let e_after = self.b.block_param(after, IrType::I64);
            let is_big = self.b.compare_imm(Cond::Uge, rest, 1 << shift);
            self.b.branch_args(is_big, big, &[], after, &[rest, e]);
            self.b.switch_to(big);
            let shifted = self.b.binary_imm(BinaryOp::Lshr, rest, shift);
            let added = self.b.binary_imm(BinaryOp::Add, e, shift);
            self.b.jump(after, &[shifted, added]);
            self.b.switch_to(after);
            (rest, e) = (rest_after, e_after);
        }
        e
    }

    fn linear_bucket(&mut self, value: Value, min: i64, max: i64, step: i64) -> Value {
        let below = self.b.create_block();
        let above = self.b.create_block();
        let inside = self.b.create_block();
        let check = self.b.create_block();
        let after = self.b.create_block();
        let result = self.b.block_param(after, IrType::I64);
        let too_low = self.b.compare_imm(Cond::Slt, value, min);
        self.b.branch(too_low, below, check);
        self.b.switch_to(below);
        let zero = self.b.iconst(0);
        self.b.jump(after, &[zero]);
        self.b.switch_to(check);
        let too_high = self.b.compare_imm(Cond::Sge, value, max);
        self.b.branch(too_high, above, inside);
        self.b.switch_to(above);
        let last = self.b.iconst(max.wrapping_sub(min) / step.max(1) + 1);
        self.b.jump(after, &[last]);
        self.b.switch_to(inside);
        let from_min = self.b.binary_imm(BinaryOp::Sub, value, min);
        let steps = self.b.binary_imm(BinaryOp::Udiv, from_min, step);
        let bucket = self.b.binary_imm(BinaryOp::Add, steps, 1);
        self.b.jump(after, &[bucket]);
        self.b.switch_to(after);
        result
    }

    /// An aggregate's value over all CPUs, as an integer; 0 if there is none.
    pub(super) fn aggregate_get(&mut self, map: MapId, key: Option<&Expr>) -> Value {
        let key = self.aggregate_key(map, key);
        self.total(map, key)
    }

    /// Writes the 16 bytes of a `stats()` over all CPUs: total and count; zeros if there is none.
    pub(super) fn write_stats(&mut self, map: MapId, key: Option<&Expr>, dst: Value, offset: i32) {
        let key = self.aggregate_key(map, key);
        let Some((total, count)) = self.value_and_count(map, key) else { return self.zero(dst, offset, 16) };
        self.b.store(MemType::U64, dst, offset, total);
        self.b.store(MemType::U64, dst, offset + 8, count);
    }

    fn aggregate_key(&mut self, map: MapId, key: Option<&Expr>) -> Value {
        match key {
            Some(key) => self.key(map, key, 0),
            None => {
                let zero = self.b.iconst(0);
                self.index_key(zero)
            }
        }
    }

    /// The value of a loop's element over all CPUs.
    pub(super) fn element_total(&mut self, map: MapId, key: Place) -> Value {
        match key {
            Place::Direct { ptr, offset } => {
                let key = self.offset_pointer(ptr, offset);
                self.total(map, key)
            }
            Place::Remote { .. } => self.b.iconst(0),
        }
    }

    /// The value at a key as an integer.
    fn total(&mut self, map: MapId, key: Value) -> Value {
        let Some((value, count)) = self.value_and_count(map, key) else { return self.b.iconst(0) };
        match self.map_type(map) {
            Type::Aggregate(Aggregate::Avg { signed } | Aggregate::Stats { signed }) => {
                let op = if signed { BinaryOp::Sdiv } else { BinaryOp::Udiv };
                self.b.binary(op, value, count)
            }
            _ => value,
        }
    }

    /// The value at a key (total, best), added up over the CPUs by a loop, and how many values it is of
    /// (for the least and the greatest: whether there is one). `None`: not a map of aggregates.
    fn value_and_count(&mut self, map: MapId, key: Value) -> Option<(Value, Value)> {
        let Type::Aggregate(aggregate) = self.map_type(map) else { return None };
        let cpus = i64::from(self.session.catalog.host.possible_cpus().max(1));
        let head = self.b.create_block();
        let body = self.b.create_block();
        let there = self.b.create_block();
        let next = self.b.create_block();
        let done = self.b.create_block();
        // CPU, value (total, best), count (or whether one is set).
        let cpu = self.b.block_param(head, IrType::I64);
        let value = self.b.block_param(head, IrType::I64);
        let count = self.b.block_param(head, IrType::I64);
        let new_value = self.b.block_param(next, IrType::I64);
        let new_count = self.b.block_param(next, IrType::I64);
        let zero = self.b.iconst(0);
        self.b.jump(head, &[zero, zero, zero]);
        self.b.switch_to(head);
        let more = self.b.compare_imm(Cond::Ult, cpu, cpus);
        self.b.branch(more, body, done);
        self.b.switch_to(body);
        let address = self.b.map_addr(self.ir_map(map));
        let found =
            self.b.call_helper(helper::map_lookup_percpu_elem, &[address, key, cpu], IrType::Ptr(Space::ValueOrNull));
        let is_there = self.b.compare_imm(Cond::Ne, found, 0);
        self.b.branch_args(is_there, there, &[], next, &[value, count]);
        self.b.switch_to(there);
        let ptr = self.b.non_null(found);
        let word = self.b.load(MemType::U64, ptr, 0);
        match aggregate {
            Aggregate::Min { signed } | Aggregate::Max { signed } => {
                let cond = match (matches!(aggregate, Aggregate::Min { .. }), signed) {
                    (true, true) => Cond::Slt,
                    (true, false) => Cond::Ult,
                    (false, true) => Cond::Sgt,
                    (false, false) => Cond::Ugt,
                };
                let set = self.b.load(MemType::U64, ptr, 8);
                let compare = self.b.create_block();
                let take = self.b.create_block();
                self.b.branch_args(set, compare, &[], next, &[value, count]);
                self.b.switch_to(compare);
                let better = self.b.compare(cond, word, value);
                let first = self.b.compare_imm(Cond::Eq, count, 0);
                let either = self.b.binary(BinaryOp::Or, better, first);
                self.b.branch_args(either, take, &[], next, &[value, count]);
                self.b.switch_to(take);
                let one = self.b.iconst(1);
                self.b.jump(next, &[word, one]);
            }
            Aggregate::Avg { .. } | Aggregate::Stats { .. } => {
                let n = self.b.load(MemType::U64, ptr, 8);
                let sum = self.b.binary(BinaryOp::Add, value, word);
                let n = self.b.binary(BinaryOp::Add, count, n);
                self.b.jump(next, &[sum, n]);
            }
            _ => {
                let sum = self.b.binary(BinaryOp::Add, value, word);
                self.b.jump(next, &[sum, count]);
            }
        }
        self.b.switch_to(next);
        let following = self.b.binary_imm(BinaryOp::Add, cpu, 1);
        self.b.jump(head, &[following, new_value, new_count]);
        self.b.switch_to(done);
        Some((value, count))
    }

    /// Sets a single value to zero on all CPUs.
    pub(super) fn clear_cpus(&mut self, map: MapId, bytes: u32) {
        let cpus = self.session.catalog.host.possible_cpus().max(1);
        let zero = self.b.iconst(0);
        let key = self.index_key(zero);
        for cpu in 0..cpus {
            let address = self.b.map_addr(self.ir_map(map));
            let cpu = self.b.iconst(i64::from(cpu));
            let found = self.b.call_helper(
                helper::map_lookup_percpu_elem,
                &[address, key, cpu],
                IrType::Ptr(Space::ValueOrNull),
            );
            let there = self.b.compare_imm(Cond::Ne, found, 0);
            self.when(there, |l| {
                let ptr = l.b.non_null(found);
                l.zero(ptr, 0, bytes);
            });
        }
    }

    /// Deletes every bucket of a key's histogram; 1 if there was one.
    pub(super) fn delete_buckets(&mut self, map: MapId, key: &Expr) -> Value {
        let Type::Aggregate(aggregate) = self.map_type(map) else { return self.b.iconst(0) };
        let buckets = bucket_count(aggregate).unwrap_or(1);
        let ir_map = self.ir_map(map);
        let bytes = self.session.module.maps[ir_map].key_size - 8;
        let key = self.key(map, key, 8);
        let head = self.b.create_block();
        let body = self.b.create_block();
        let done = self.b.create_block();
        let bucket = self.b.block_param(head, IrType::I64);
        let any = self.b.block_param(head, IrType::I64);
        let zero = self.b.iconst(0);
        self.b.jump(head, &[zero, zero]);
        self.b.switch_to(head);
        let more = self.b.compare_imm(Cond::Ult, bucket, i64::from(buckets));
        self.b.branch(more, body, done);
        self.b.switch_to(body);
        self.b.store(MemType::U64, key, bytes as i32, bucket);
        let address = self.b.map_addr(ir_map);
        let result = self.helper(helper::map_delete_elem, &[address, key]);
        let deleted = self.b.compare_imm(Cond::Eq, result, 0);
        let any_now = self.b.binary(BinaryOp::Or, any, deleted);
        let following = self.b.binary_imm(BinaryOp::Add, bucket, 1);
        self.b.jump(head, &[following, any_now]);
        self.b.switch_to(done);
        any
    }
}
