//! Strings: read, written, compared, searched.

use ir::{BinaryOp, Block, Cond, MemType, Type as IrType, Value};
use isa::uapi::helper;
use object::plan::Counter;

use super::Lowering;
use super::place::Place;
use crate::hir::{Builtin, Expr, ExprKind};
use crate::storage;
use crate::types::*;

/// Strings up to this size are compared without a loop.
const UNROLLED_BYTES: u32 = 512;

impl Lowering<'_, '_, '_> {
    /// A string at `dst + offset`, zeros after it up to `size` bytes.
    pub(super) fn write_string(&mut self, e: &Expr, dst: Value, offset: i32, size: u32) {
        match &e.kind {
            ExprKind::Str(text) => self.write_literal(&text.clone(), dst, offset, size),
            ExprKind::Builtin(Builtin::Comm) => self.write_comm(dst, offset, size),
            ExprKind::Builtin(builtin) => self.write_place_name(*builtin, dst, offset, size),
            ExprKind::ReadString { pointer, max } => {
                let capacity = capacity(&e.ty);
                self.zero(dst, offset, size);
                let to = self.offset_pointer(dst, offset);
                let len = self.read_string(pointer, max.as_deref(), capacity, size, to);
                if self.is_limited(capacity) && capacity < size {
                    let cut = self.b.compare_imm(Cond::Sgt, len, i64::from(capacity));
                    self.when(cut, |l| l.count(Counter::TruncatedStrings));
                }
            }
            ExprKind::Ternary { cond, then: Some(then), otherwise } => {
                self.write_either(cond, then, otherwise, &Type::Str { size }, dst, offset);
            }
            ExprKind::MapGet { map, key } => self.copy_map_value(*map, key.as_deref(), dst, offset, size),
            ExprKind::Field { .. } | ExprKind::Deref(_) | ExprKind::Index { .. } | ExprKind::Arg(_) => {
                let bytes = capacity(&e.ty).min(size);
                let place = self.place(e);
                match place {
                    // A task's name is padded with zeros.
                    Place::Direct { .. } if bytes == 16 && size >= 16 && is_comm(self, e) => {
                        self.copy_in(dst, offset, bytes, place);
                        self.zero(dst, offset + 16, size - 16);
                    }
                    _ => {
                        self.zero(dst, offset, size);
                        let to = self.offset_pointer(dst, offset);
                        self.read_string_at(place, bytes, to);
                    }
                }
            }
            _ => {
                let have = storage::size_of(&e.ty, self.session.catalog).min(size);
                let place = self.place(e);
                self.copy_in(dst, offset, have, place);
                self.zero(dst, offset + have as i32, size - have);
            }
        }
    }

    pub(super) fn write_literal(&mut self, text: &[u8], dst: Value, offset: i32, size: u32) {
        let text = &text[..text.len().min(size as usize)];
        let mut at = 0u32;
        for chunk in text.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let v = self.b.iconst(i64::from_le_bytes(word));
            self.b.store(MemType::U64, dst, offset + at as i32, v);
            at += 8;
        }
        self.zero(dst, offset + at as i32, size.saturating_sub(at));
    }

    /// Reads a NUL-terminated string into `room` bytes; the helper's result: bytes with the NUL, or negative.
    /// A string that may be as long as strings get is read with a byte more than it keeps: if it takes that, it
    /// was cut.
    pub(super) fn read_string(
        &mut self,
        pointer: &Expr,
        max: Option<&Expr>,
        capacity: u32,
        room: u32,
        to: Value,
    ) -> Value {
        let place = self.address_argument(pointer);
        let (address, user) = self.address(place);
        let most = if self.is_limited(capacity) { capacity + 1 } else { capacity }.min(room);
        let size = match max {
            None => self.b.iconst(i64::from(most)),
            Some(len) => {
                let longest = self.session.options.config.max_strlen.min(most);
                let len = self.scalar(len);
                let fits = self.b.compare_imm(Cond::Ule, len, i64::from(longest));
                let most = self.b.iconst(i64::from(most));
                self.b.select(fits, len, most)
            }
        };
        self.string_helper(to, size, address, user)
    }

    /// Whether a string of so many bytes is cut by the limit for all strings, not by what the script asks for.
    fn is_limited(&self, capacity: u32) -> bool {
        capacity == self.session.options.config.string_room()
    }

    fn string_helper(&mut self, to: Value, size: Value, address: Value, user: bool) -> Value {
        let (helper, name) = match user {
            true => (helper::probe_read_user_str, "probe_read_user_str"),
            false => (helper::probe_read_kernel_str, "probe_read_kernel_str"),
        };
        let result = self.helper(helper, &[to, size, address]);
        self.report_failure(result, name);
        result
    }

    fn read_string_at(&mut self, place: Place, bytes: u32, to: Value) -> Value {
        let (address, user) = self.address(place);
        let size = self.b.iconst(i64::from(bytes));
        self.string_helper(to, size, address, user)
    }

    /// Appends a string to a record: its length in bytes, NUL included unless it was cut.
    pub(super) fn append_string(&mut self, e: &Expr, to: Value) -> Value {
        let capacity = capacity(&e.ty);
        let len = match &e.kind {
            ExprKind::Str(text) => {
                let size = (text.len() as u32 + 1).next_multiple_of(8);
                self.write_literal(&text.clone(), to, 0, size);
                return self.b.iconst(text.len() as i64 + 1);
            }
            ExprKind::ReadString { pointer, max } => {
                self.read_string(pointer, max.as_deref(), capacity, tail_bytes(&e.ty), to)
            }
            ExprKind::Ternary { cond, then: Some(then), otherwise } => {
                let yes = self.b.create_block();
                let no = self.b.create_block();
                let after = self.b.create_block();
                let result = self.b.block_param(after, IrType::I64);
                self.condition(cond, yes, no);
                for (block, e) in [(yes, then), (no, otherwise)] {
                    self.b.switch_to(block);
                    let len = self.append_string(e, to);
                    self.b.jump(after, &[len]);
                }
                self.b.switch_to(after);
                return result;
            }
            _ => {
                let place = self.place(e);
                self.read_string_at(place, capacity, to)
            }
        };
        let failed = self.b.compare_imm(Cond::Slt, len, 0);
        let zero = self.b.iconst(0);
        let len = self.b.select(failed, zero, len);
        if !(matches!(&e.kind, ExprKind::ReadString { .. }) && self.is_limited(capacity)) {
            return len;
        }
        // A string that was cut goes without its NUL.
        let cut = self.b.compare_imm(Cond::Sgt, len, i64::from(capacity));
        self.either(
            cut,
            |l| {
                l.count(Counter::TruncatedStrings);
                l.b.iconst(i64::from(capacity) - 1)
            },
            |_| len,
        )
    }

    /// Goes to `same` if two strings are equal.
    pub(super) fn branch_strings(&mut self, a: &Expr, b: &Expr, same: Block, different: Block) {
        match (&a.kind, &b.kind) {
            (ExprKind::Str(x), ExprKind::Str(y)) => {
                let to = if x == y { same } else { different };
                self.b.jump(to, &[]);
            }
            (ExprKind::Str(text), _) => self.branch_literal(b, &text.clone(), true, same, different),
            (_, ExprKind::Str(text)) => self.branch_literal(a, &text.clone(), true, same, different),
            _ => {
                let (left, left_size) = self.padded(a);
                let (right, right_size) = self.padded(b);
                let common = left_size.min(right_size);
                self.branch_words(left, right, common, different);
                // The longer one must end where the shorter one's room does.
                let longer = if left_size > right_size { left } else { right };
                if left_size == right_size {
                    self.b.jump(same, &[]);
                } else {
                    let next = self.b.load(MemType::U8, longer, common as i32);
                    let ends = self.b.compare_imm(Cond::Eq, next, 0);
                    self.b.branch(ends, same, different);
                }
            }
        }
    }

    /// A string in memory, zeros after it.
    fn padded(&mut self, e: &Expr) -> (Value, u32) {
        let size = storage::size_of(&e.ty, self.session.catalog);
        (self.temporary(e, &e.ty), size)
    }

    /// Goes on in a new block if all 8-byte words are equal, else to `different`.
    fn branch_words(&mut self, left: Value, right: Value, bytes: u32, different: Block) {
        if bytes <= UNROLLED_BYTES {
            for offset in (0..bytes as i32).step_by(8) {
                let x = self.b.load(MemType::U64, left, offset);
                let y = self.b.load(MemType::U64, right, offset);
                let equal = self.b.compare(Cond::Eq, x, y);
                let next = self.b.create_block();
                self.b.branch(equal, next, different);
                self.b.switch_to(next);
            }
            return;
        }
        let head = self.b.create_block();
        let body = self.b.create_block();
        let next = self.b.create_block();
        let after = self.b.create_block();
        let at = self.b.block_param(head, IrType::I64);
        let zero = self.b.iconst(0);
        self.b.jump(head, &[zero]);
        self.b.switch_to(head);
        let more = self.b.compare_imm(Cond::Ult, at, i64::from(bytes));
        self.b.branch(more, body, after);
        self.b.switch_to(body);
        let (l, r) = (self.b.binary(BinaryOp::Add, left, at), self.b.binary(BinaryOp::Add, right, at));
        let (x, y) = (self.b.load(MemType::U64, l, 0), self.b.load(MemType::U64, r, 0));
        let equal = self.b.compare(Cond::Eq, x, y);
        self.b.branch(equal, next, different);
        self.b.switch_to(next);
        let step = self.b.binary_imm(BinaryOp::Add, at, 8);
        self.b.jump(head, &[step]);
        self.b.switch_to(after);
    }

    /// Compares with a literal: all of it and the NUL (`whole`), or only its bytes.
    fn branch_literal(&mut self, e: &Expr, text: &[u8], whole: bool, same: Block, different: Block) {
        let mut bytes = text.to_vec();
        if whole {
            bytes.push(0);
        }
        let capacity = capacity(&e.ty) as usize;
        if text.len() > capacity {
            return self.b.jump(different, &[]);
        }
        bytes.truncate(capacity);
        let ptr = match &e.kind {
            // Only as much as decides is read: one byte more tells that the string goes on.
            ExprKind::ReadString { pointer, max: None } => {
                let room = (bytes.len() as u32 + 1).min(capacity as u32);
                let size = room.next_multiple_of(8);
                let slot = self.b.create_slot(size, 8);
                let ptr = self.b.slot_addr(slot, 0);
                self.zero(ptr, 0, size);
                self.read_string(pointer, None, room, size, ptr);
                ptr
            }
            _ => match self.place_of_string(e) {
                Some(ptr) => ptr,
                None => self.padded(e).0,
            },
        };
        let mut at = 0;
        while at < bytes.len() {
            let rest = bytes.len() - at;
            let width = [8, 4, 2, 1].into_iter().find(|w| *w <= rest).unwrap_or(1);
            let mut word = [0; 8];
            word[..width].copy_from_slice(&bytes[at..at + width]);
            let Some(mem) = MemType::new(width as u32, false) else { break };
            let v = self.b.load(mem, ptr, at as i32);
            let equal = self.b.compare_imm(Cond::Eq, v, i64::from_le_bytes(word));
            let next = self.b.create_block();
            self.b.branch(equal, next, different);
            self.b.switch_to(next);
            at += width;
        }
        self.b.jump(same, &[]);
    }

    /// A stored string that can be loaded from where it is.
    fn place_of_string(&mut self, e: &Expr) -> Option<Value> {
        if !matches!(
            e.kind,
            ExprKind::Var(_) | ExprKind::LoopKey(_) | ExprKind::LoopValue(_) | ExprKind::TupleField { .. }
        ) {
            return None;
        }
        match self.place(e) {
            Place::Direct { ptr, offset } => Some(self.offset_pointer(ptr, offset)),
            Place::Remote { .. } => None,
        }
    }

    /// `strncmp`: 0 if the first `len` bytes are equal, else 1.
    pub(super) fn compare_strings(&mut self, len: u32, a: &Expr, b: &Expr) -> Value {
        let same = self.b.create_block();
        let different = self.b.create_block();
        let after = self.b.create_block();
        let result = self.b.block_param(after, IrType::I64);
        let n = len as usize;
        match (&a.kind, &b.kind) {
            (ExprKind::Str(x), ExprKind::Str(y)) => {
                let cut = |s: &[u8]| s[..s.len().min(n)].to_vec();
                let to = if cut(x) == cut(y) { same } else { different };
                self.b.jump(to, &[]);
            }
            (ExprKind::Str(text), other) | (other, ExprKind::Str(text)) => {
                let e = if std::ptr::eq(other, &a.kind) { a } else { b };
                let whole = text.len() < n;
                let text = text[..text.len().min(n)].to_vec();
                self.branch_literal(e, &text, whole, same, different);
            }
            _ => {
                let (left, left_size) = self.padded(a);
                let (right, right_size) = self.padded(b);
                let common = left_size.min(right_size).min(len);
                self.branch_words(left, right, common / 8 * 8, different);
                for at in common / 8 * 8..common {
                    let x = self.b.load(MemType::U8, left, at as i32);
                    let y = self.b.load(MemType::U8, right, at as i32);
                    let equal = self.b.compare(Cond::Eq, x, y);
                    let next = self.b.create_block();
                    self.b.branch(equal, next, different);
                    self.b.switch_to(next);
                }
                let longer = if left_size > right_size { left } else { right };
                if len > common && left_size != right_size {
                    let next = self.b.load(MemType::U8, longer, common as i32);
                    let ends = self.b.compare_imm(Cond::Eq, next, 0);
                    self.b.branch(ends, same, different);
                } else {
                    self.b.jump(same, &[]);
                }
            }
        }
        self.b.switch_to(same);
        let zero = self.b.iconst(0);
        self.b.jump(after, &[zero]);
        self.b.switch_to(different);
        let one = self.b.iconst(1);
        self.b.jump(after, &[one]);
        self.b.switch_to(after);
        result
    }

    /// 1 if a string occurs in another.
    pub(super) fn contains(&mut self, haystack: &Expr, needle: &Expr) -> Value {
        let text = match &needle.kind {
            ExprKind::Str(text) => Some(text.split(|&b| b == 0).next().unwrap_or_default().to_vec()),
            _ => None,
        };
        if text.as_ref().is_some_and(Vec::is_empty) {
            return self.b.iconst(1);
        }
        let size = storage::size_of(&haystack.ty, self.session.catalog);
        let longest =
            text.as_ref().map_or_else(|| storage::size_of(&needle.ty, self.session.catalog), |t| t.len() as u32);
        // Comparisons that start near the end run into the zeros after it.
        let base = self.scratch(size + longest.next_multiple_of(8));
        self.write(haystack, &haystack.ty, base, 0);
        self.zero(base, size as i32, longest.next_multiple_of(8));
        let sought = match text {
            Some(_) => None,
            None => {
                let to = self.scratch(longest);
                self.write(needle, &needle.ty, to, 0);
                Some(to)
            }
        };
        let head = self.b.create_block();
        let body = self.b.create_block();
        let next = self.b.create_block();
        let found = self.b.create_block();
        let after = self.b.create_block();
        let at = self.b.block_param(head, IrType::I64);
        let result = self.b.block_param(after, IrType::I64);
        let zero = self.b.iconst(0);
        self.b.jump(head, &[zero]);
        self.b.switch_to(head);
        let more = self.b.compare_imm(Cond::Ult, at, i64::from(size));
        self.b.branch_args(more, body, &[], after, &[zero]);
        self.b.switch_to(body);
        let ptr = self.b.binary(BinaryOp::Add, base, at);
        match (text, sought) {
            (Some(text), _) => self.branch_bytes(ptr, &text, found, next),
            (None, Some(sought)) => self.branch_prefix(ptr, sought, longest, found, next),
            (None, None) => self.b.jump(next, &[]),
        }
        self.b.switch_to(found);
        let one = self.b.iconst(1);
        self.b.jump(after, &[one]);
        self.b.switch_to(next);
        let first = self.b.load(MemType::U8, ptr, 0);
        let step = self.b.binary_imm(BinaryOp::Add, at, 1);
        self.b.branch_args(first, head, &[step], after, &[zero]);
        self.b.switch_to(after);
        result
    }

    /// Goes to `same` if these bytes stand there.
    fn branch_bytes(&mut self, ptr: Value, text: &[u8], same: Block, different: Block) {
        for (i, byte) in text.iter().enumerate() {
            let v = self.b.load(MemType::U8, ptr, i as i32);
            let equal = self.b.compare_imm(Cond::Eq, v, i64::from(*byte));
            let matched = self.b.create_block();
            self.b.branch(equal, matched, different);
            self.b.switch_to(matched);
        }
        self.b.jump(same, &[]);
    }

    /// Goes to `same` if the string at `prefix`, in so many bytes, stands there without its NUL.
    fn branch_prefix(&mut self, ptr: Value, prefix: Value, bytes: u32, same: Block, different: Block) {
        let head = self.b.create_block();
        let body = self.b.create_block();
        let compare = self.b.create_block();
        let i = self.b.block_param(head, IrType::I64);
        let zero = self.b.iconst(0);
        self.b.jump(head, &[zero]);
        self.b.switch_to(head);
        let more = self.b.compare_imm(Cond::Ult, i, i64::from(bytes));
        self.b.branch(more, body, same);
        self.b.switch_to(body);
        let (left, right) = (self.b.binary(BinaryOp::Add, ptr, i), self.b.binary(BinaryOp::Add, prefix, i));
        let wanted = self.b.load(MemType::U8, right, 0);
        self.b.branch(wanted, compare, same);
        self.b.switch_to(compare);
        let there = self.b.load(MemType::U8, left, 0);
        let equal = self.b.compare(Cond::Eq, there, wanted);
        let step = self.b.binary_imm(BinaryOp::Add, i, 1);
        self.b.branch_args(equal, head, &[step], different, &[]);
    }
}

/// Room for a string in the tail of a record: literals are written in whole words.
pub(super) fn tail_bytes(ty: &Type) -> u32 {
    capacity(ty).next_multiple_of(8)
}

/// Bytes of a string type, NUL included.
pub(super) fn capacity(ty: &Type) -> u32 {
    match ty {
        Type::Str { size } => *size,
        _ => 0,
    }
}

/// Whether a field is a task's name, which the kernel pads.
fn is_comm(l: &Lowering<'_, '_, '_>, e: &Expr) -> bool {
    match &e.kind {
        ExprKind::Arg(index) => l.context.fields[*index as usize].name.ends_with("comm"),
        ExprKind::Field { member, .. } => member.name == "comm",
        _ => false,
    }
}
