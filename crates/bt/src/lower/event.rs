//! Records to user space.

use ir::{BinaryOp, Cond, MemType, Space, Type as IrType, Value};
use isa::uapi::helper;
use object::plan::{Action, Arg, Counter, Event};

use super::Lowering;
use crate::ast::Span;
use crate::hir::{Expr, ExprKind, MapId};
use crate::storage;
use crate::types::*;

/// Strings and buffers above this size travel in the tail, only as long as they are.
const FIXED_BYTES: u32 = 64;
/// Event number and 4 bytes of zero.
const HEADER_BYTES: u32 = 8;
/// Pointers of an array that `join` follows.
const JOIN_ARGUMENTS: u32 = 16;

impl Lowering<'_, '_, '_> {
    pub(super) fn event(&mut self, action: &Action, args: &[Expr], span: Span) {
        let action = match action {
            Action::PrintMap { map } => Action::PrintMap { map: self.session.views[*map as usize] },
            other => other.clone(),
        };
        let mut layout = Vec::with_capacity(args.len());
        let mut fixed = 0;
        for arg in args {
            let tail = goes_in_tail(&arg.ty);
            layout.push(Arg { layout: storage::layout(&arg.ty, self.session.catalog), offset: fixed, tail });
            fixed += if tail { 8 } else { storage::size_of(&arg.ty, self.session.catalog) };
        }
        let has_tail = layout.iter().any(|a| a.tail);
        let places: Vec<(u32, bool)> = layout.iter().map(|a| (a.offset, a.tail)).collect();
        let number = self.new_event(action, fixed, layout, span);
        if has_tail {
            self.send_with_tail(number, fixed, args, &places);
        } else {
            self.send_fixed(number, fixed, args, &places);
        }
    }

    fn new_event(&mut self, action: Action, fixed_size: u32, args: Vec<Arg>, span: Span) -> u32 {
        let span = self.source_span(span);
        let event = Event { action, fixed_size, args, span };
        self.session.events.push(event);
        self.session.events.len() as u32 - 1
    }

    /// Clears or zeroes a whole map: the session does it.
    pub(super) fn whole_map_event(&mut self, map: MapId, action: impl FnOnce(u32) -> Action) {
        let view = self.session.views[map.0 as usize];
        let number = self.new_event(action(view), 0, Vec::new(), Span::default());
        self.send_fixed(number, 0, &[], &[]);
    }

    /// Writes into the ring buffer itself.
    fn send_fixed(&mut self, number: u32, fixed: u32, args: &[Expr], places: &[(u32, bool)]) {
        // Computed before room is reserved: nothing that can branch away stands between.
        let values: Vec<Option<Value>> = args
            .iter()
            .map(|a| if a.ty.is_scalar() || is_stack(&a.ty) { Some(self.scalar_argument(a)) } else { None })
            .collect();
        // What takes branches or several helpers is built aside.
        let built: Vec<Option<Value>> = args
            .iter()
            .zip(&values)
            .map(|(a, v)| (v.is_none() && !writes_straight(a)).then(|| self.temporary(a, &a.ty)))
            .collect();
        let ring = self.session.ring();
        let map = self.b.map_addr(ring);
        let size = self.b.iconst(i64::from(HEADER_BYTES + fixed));
        let flags = self.b.iconst(0);
        let record = self.b.call_helper(helper::ringbuf_reserve, &[map, size, flags], IrType::Ptr(Space::RecordOrNull));
        let there = self.b.compare_imm(Cond::Ne, record, 0);
        let fill = self.b.create_block();
        let lost = self.b.create_block();
        let after = self.b.create_block();
        self.b.branch(there, fill, lost);
        self.b.switch_to(lost);
        self.count(Counter::LostEvents);
        self.b.jump(after, &[]);
        self.b.switch_to(fill);
        let record = self.b.non_null(record);
        let number = self.b.iconst(i64::from(number));
        self.b.store(MemType::U64, record, 0, number);
        for (((arg, value), built), (offset, _)) in args.iter().zip(values).zip(built).zip(places) {
            let at = (HEADER_BYTES + offset) as i32;
            match (value, built) {
                (Some(value), _) => {
                    self.b.store(MemType::U64, record, at, value);
                    if is_stack(&arg.ty) && storage::size_of(&arg.ty, self.session.catalog) == 16 {
                        let pid = self.builtin(crate::hir::Builtin::Pid, &Type::U32);
                        self.b.store(MemType::U64, record, at + 8, pid);
                    }
                }
                (None, Some(from)) => {
                    let bytes = storage::size_of(&arg.ty, self.session.catalog);
                    self.b.mem_copy(record, at, from, 0, bytes);
                }
                (None, None) => self.write(arg, &arg.ty, record, at),
            }
        }
        let flags = self.b.iconst(0);
        self.helper(helper::ringbuf_submit, &[record, flags]);
        self.b.jump(after, &[]);
        self.b.switch_to(after);
    }

    /// With `-k`: an event if a helper's result is an error.
    pub(super) fn report_failure(&mut self, result: Value, helper: &'static str) {
        if self.session.options.helper_errors {
            let failed = self.b.compare_imm(Cond::Slt, result, 0);
            self.when(failed, |l| l.send_failure(result, helper));
        }
    }

    /// With `-k`: an event because there is no such element.
    pub(super) fn report_missing(&mut self, helper: &'static str) {
        if self.session.options.helper_errors {
            let nothing = self.b.iconst(0);
            self.send_failure(nothing, helper);
        }
    }

    fn send_failure(&mut self, result: Value, helper: &'static str) {
        let layout = object::plan::Layout::Int { size: 8, signed: true };
        let arg = Arg { layout, offset: 0, tail: false };
        let number = self.new_event(Action::HelperError { helper }, 8, vec![arg], self.at);
        let slot = self.b.create_slot(HEADER_BYTES + 8, 8);
        let record = self.b.slot_addr(slot, 0);
        let number = self.b.iconst(i64::from(number));
        self.b.store(MemType::U64, record, 0, number);
        self.b.store(MemType::U64, record, HEADER_BYTES as i32, result);
        let ring = self.session.ring();
        let map = self.b.map_addr(ring);
        let (size, flags) = (self.b.iconst(i64::from(HEADER_BYTES + 8)), self.b.iconst(0));
        let sent = self.helper(helper::ringbuf_output, &[map, record, size, flags]);
        let lost = self.b.compare_imm(Cond::Slt, sent, 0);
        self.when(lost, |l| l.count(Counter::LostEvents));
    }

    fn scalar_argument(&mut self, e: &Expr) -> Value {
        match &e.kind {
            ExprKind::UStack => self.stack_id(true),
            ExprKind::KStack => self.stack_id(false),
            _ => self.scalar(e),
        }
    }

    /// Builds the record in scratch memory, strings one after the other, and copies what there is of it.
    fn send_with_tail(&mut self, number: u32, fixed: u32, args: &[Expr], places: &[(u32, bool)]) {
        let most: u32 = args.iter().filter(|a| goes_in_tail(&a.ty)).map(tail_bytes).sum();
        let base = self.scratch(HEADER_BYTES + fixed + most);
        let number = self.b.iconst(i64::from(number));
        self.b.store(MemType::U64, base, 0, number);
        for (arg, (offset, tail)) in args.iter().zip(places) {
            if !tail {
                self.write(arg, &arg.ty, base, (HEADER_BYTES + offset) as i32);
            }
        }
        let start = HEADER_BYTES + fixed;
        let mut used: Option<Value> = None;
        for (arg, (offset, tail)) in args.iter().zip(places) {
            if !tail {
                continue;
            }
            let to = self.offset_pointer(base, start as i32);
            let to = match used {
                Some(used) => self.b.binary(BinaryOp::Add, to, used),
                None => to,
            };
            let len = match &arg.ty {
                Type::Buf { .. } => self.append_buffer(arg, to),
                _ => self.append_string(arg, to),
            };
            self.b.store(MemType::U64, base, (HEADER_BYTES + offset) as i32, len);
            used = Some(match used {
                Some(used) => self.b.binary(BinaryOp::Add, used, len),
                None => len,
            });
        }
        let size = match used {
            Some(used) => self.b.binary_imm(BinaryOp::Add, used, i64::from(start)),
            None => self.b.iconst(i64::from(start)),
        };
        let ring = self.session.ring();
        let map = self.b.map_addr(ring);
        let flags = self.b.iconst(0);
        let result = self.helper(helper::ringbuf_output, &[map, base, size, flags]);
        let failed = self.b.compare_imm(Cond::Slt, result, 0);
        self.when(failed, |l| l.count(Counter::LostEvents));
    }

    /// Appends the bytes of a buffer: how many.
    fn append_buffer(&mut self, e: &Expr, to: Value) -> Value {
        let Type::Buf { size } = e.ty else { return self.b.iconst(0) };
        match &e.kind {
            ExprKind::ReadBuffer { pointer, len } => {
                let len = self.bounded(len, size);
                self.read_buffer(pointer, len, to);
                len
            }
            _ => {
                let from = self.temporary(e, &e.ty);
                let len = self.b.load(MemType::U32, from, 0);
                let fits = self.b.compare_imm(Cond::Ule, len, i64::from(size));
                let most = self.b.iconst(i64::from(size));
                let len = self.b.select(fits, len, most);
                let address = self.offset_pointer(from, 4);
                self.read_bytes(to, len, address, false);
                len
            }
        }
    }

    /// `join`: the strings that an array of pointers leads to.
    pub(super) fn join(&mut self, array: &Expr, delimiter: &str, span: Span) {
        let size = self.session.options.config.max_strlen;
        let args: Vec<Arg> = (0..JOIN_ARGUMENTS)
            .map(|i| Arg {
                layout: object::plan::Layout::Str { size: size.next_multiple_of(8) },
                offset: i * 8,
                tail: true,
            })
            .collect();
        let fixed = JOIN_ARGUMENTS * 8;
        let number = self.new_event(Action::Join { delimiter: delimiter.to_owned() }, fixed, args, span);
        let start = HEADER_BYTES + fixed;
        let base = self.scratch(start + JOIN_ARGUMENTS * size);
        self.zero(base, 0, start);
        let number = self.b.iconst(i64::from(number));
        self.b.store(MemType::U64, base, 0, number);
        let place = self.address_argument(array);
        let send = self.b.create_block();
        let used = self.b.block_param(send, IrType::I64);
        let mut so_far = self.b.iconst(0);
        for i in 0..JOIN_ARGUMENTS {
            let (at, user) = self.address(place.plus(i64::from(i) * 8));
            let pointer = self.load(super::place::Place::Remote { address: at, offset: 0, user }, 8, false);
            let next = self.b.create_block();
            self.b.branch_args(pointer, next, &[], send, &[so_far]);
            self.b.switch_to(next);
            let to = self.offset_pointer(base, start as i32);
            let to = self.b.binary(BinaryOp::Add, to, so_far);
            let most = self.b.iconst(i64::from(size));
            let helper = if user { helper::probe_read_user_str } else { helper::probe_read_kernel_str };
            let len = self.helper(helper, &[to, most, pointer]);
            let failed = self.b.compare_imm(Cond::Slt, len, 0);
            let zero = self.b.iconst(0);
            let len = self.b.select(failed, zero, len);
            self.b.store(MemType::U64, base, (HEADER_BYTES + i * 8) as i32, len);
            so_far = self.b.binary(BinaryOp::Add, so_far, len);
        }
        self.b.jump(send, &[so_far]);
        self.b.switch_to(send);
        let size = self.b.binary_imm(BinaryOp::Add, used, i64::from(start));
        let ring = self.session.ring();
        let map = self.b.map_addr(ring);
        let flags = self.b.iconst(0);
        let result = self.helper(helper::ringbuf_output, &[map, base, size, flags]);
        let failed = self.b.compare_imm(Cond::Slt, result, 0);
        self.when(failed, |l| l.count(Counter::LostEvents));
    }
}

fn goes_in_tail(ty: &Type) -> bool {
    matches!(ty, Type::Str { size } | Type::Buf { size } if *size > FIXED_BYTES)
}

/// Room that an argument may need in the tail.
fn tail_bytes(e: &Expr) -> u32 {
    match &e.ty {
        Type::Buf { size } => *size,
        ty => super::string::tail_bytes(ty),
    }
}

fn is_stack(ty: &Type) -> bool {
    matches!(ty, Type::KStack(_))
}

/// Whether writing the value takes no branch and cannot leave: it can go straight into the record.
fn writes_straight(e: &Expr) -> bool {
    match &e.kind {
        ExprKind::Str(_) | ExprKind::Builtin(crate::hir::Builtin::Comm) | ExprKind::Var(_) => true,
        ExprKind::ReadString { pointer, max: None } => {
            matches!(pointer.kind, ExprKind::Arg(_) | ExprKind::ArgN(_) | ExprKind::Var(_))
        }
        ExprKind::Arg(_) => true,
        ExprKind::Tuple(parts) => parts.iter().all(writes_straight),
        _ => e.ty.is_scalar() && matches!(e.kind, ExprKind::Int(_)),
    }
}
