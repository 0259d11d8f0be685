//! Loops: plain ones where the verifier can follow, bodies that the kernel calls elsewhere.

use std::collections::HashMap;

use ir::{BinaryOp, Builder, Cond, Function, MemType, Space, Type as IrType, Value};
use isa::uapi::helper;

use super::place::{Place, VarPlace};
use super::{Element, FRAME_FLAG, Frame, LoopTarget, Lowering};
use crate::Feature;
use crate::ast::Span;
use crate::hir::{Block, Expr, MapId, Stmt, StmtKind, VarId};
use crate::storage;

/// A range of so many numbers is a plain loop: the verifier walks through it.
const PLAIN_ITERATIONS: i64 = 64;

/// More rounds than these `bpf_loop` refuses (`BPF_MAX_LOOPS` of `include/linux/bpf.h`).
const MAX_ROUNDS: i64 = 8 << 20;

impl Lowering<'_, '_, '_> {
    pub(super) fn while_loop(&mut self, cond: &Expr, body: &Block) {
        let head = self.b.create_block();
        let inside = self.b.create_block();
        let after = self.b.create_block();
        self.b.jump(head, &[]);
        self.b.switch_to(head);
        self.condition(cond, inside, after);
        self.b.switch_to(inside);
        self.loops.push(LoopTarget::Blocks { after, next: head });
        self.statements(body);
        self.loops.pop();
        if !self.b.is_terminated() {
            self.b.jump(head, &[]);
        }
        self.b.switch_to(after);
    }

    /// `bpf_loop(most, round, frame, 0)`; a round ends the loop once the condition does not hold.
    pub(super) fn while_called(&mut self, cond: &Expr, body: &Block, span: Span) {
        let function = self.callback("round", span, &[IrType::I64, IrType::Ptr(Space::Stack)], body, |l, params| {
            l.frame = Some(Frame { slot: None, pointer: Some(params[1]) });
            let (go, stop) = (l.b.create_block(), l.b.create_block());
            l.condition(cond, go, stop);
            l.b.switch_to(stop);
            let one = l.b.iconst(1);
            l.b.ret(one);
            l.b.switch_to(go);
        });
        self.forget_constants();
        let rounds = self.b.iconst(MAX_ROUNDS);
        let address = self.b.func_addr(function);
        let frame = self.frame_pointer();
        let flags = self.b.iconst(0);
        self.helper(helper::r#loop, &[rounds, address, frame, flags]);
        self.leave_if_flagged(body);
    }

    /// Adds 0 to the numbers that a loop's body shares with the program, in a way that makes them any
    /// number to the verifier. Of a number that it knows it would follow every value through every round, and
    /// give up (`find_prev_entry` and `widen_imprecise_scalars` in `kernel/bpf/verifier.c`: what decides a branch is
    /// not widened).
    fn forget_constants(&mut self) {
        let shared: Vec<i32> = self
            .variables
            .iter()
            .zip(&self.program.variables)
            .filter_map(|(place, variable)| match place {
                VarPlace::Frame { offset } if variable.ty.is_scalar() => Some(*offset),
                _ => None,
            })
            .collect();
        if shared.is_empty() {
            return;
        }
        // The clock is far from 2^63: its sign is 0, and so is the product.
        let now = self.helper(helper::ktime_get_ns, &[]);
        let sign = self.b.binary_imm(BinaryOp::Lshr, now, 63);
        let zero = self.b.binary(BinaryOp::Mul, sign, now);
        for offset in shared {
            let frame = self.frame_pointer();
            let value = self.b.load(MemType::U64, frame, offset);
            let value = self.b.binary(BinaryOp::Add, value, zero);
            self.b.store(MemType::U64, frame, offset, value);
        }
    }

    pub(super) fn unroll(&mut self, count: u32, body: &Block) {
        let after = self.b.create_block();
        for _ in 0..count {
            let next = self.b.create_block();
            self.loops.push(LoopTarget::Blocks { after, next });
            self.statements(body);
            self.loops.pop();
            if !self.b.is_terminated() {
                self.b.jump(next, &[]);
            }
            self.b.switch_to(next);
        }
        self.b.jump(after, &[]);
        self.b.switch_to(after);
    }

    /// Whether a block has loops whose bodies become functions.
    pub(super) fn has_callbacks(&self, block: &Block) -> bool {
        block.stmts.iter().any(|s| self.is_callback(s))
    }

    fn is_callback(&self, stmt: &Stmt) -> bool {
        match &stmt.kind {
            StmtKind::ForMap { .. } => true,
            StmtKind::ForRange { start, end, body, .. } => !self.is_plain(start, end) || self.has_callbacks(body),
            StmtKind::If { then, otherwise, .. } => self.has_callbacks(then) || self.has_callbacks(otherwise),
            StmtKind::While { called: true, .. } => true,
            StmtKind::While { body, .. } | StmtKind::Unroll { body, .. } | StmtKind::Block(body) => {
                self.has_callbacks(body)
            }
            _ => false,
        }
    }

    /// Whether a range is a plain loop: few numbers, or a kernel without `bpf_loop`.
    fn is_plain(&self, start: &Expr, end: &Expr) -> bool {
        let few = match (start.constant(), end.constant()) {
            (Some(start), Some(end)) => end.saturating_sub(start) <= PLAIN_ITERATIONS,
            _ => false,
        };
        few || !self.session.catalog.host.has(Feature::Helper(helper::r#loop))
    }

    pub(super) fn for_range(&mut self, var: VarId, start: &Expr, end: &Expr, body: &Block, span: Span) {
        if !self.is_plain(start, end) {
            return self.for_range_called(var, start, end, body, span);
        }
        let first = self.scalar(start);
        let last = self.scalar(end);
        // The body may change its variable, and goes around as often all the same.
        let counter = self.b.create_slot(8, 8);
        let ptr = self.b.slot_addr(counter, 0);
        self.b.store(MemType::U64, ptr, 0, first);
        let head = self.b.create_block();
        let inside = self.b.create_block();
        let next = self.b.create_block();
        let after = self.b.create_block();
        self.b.jump(head, &[]);
        self.b.switch_to(head);
        let ptr = self.b.slot_addr(counter, 0);
        let i = self.b.load(MemType::U64, ptr, 0);
        let more = self.b.compare(Cond::Slt, i, last);
        self.b.branch(more, inside, after);
        self.b.switch_to(inside);
        let (ptr, offset) = self.variable_memory(var);
        self.b.store(MemType::U64, ptr, offset, i);
        self.loops.push(LoopTarget::Blocks { after, next });
        self.statements(body);
        self.loops.pop();
        if !self.b.is_terminated() {
            self.b.jump(next, &[]);
        }
        self.b.switch_to(next);
        let ptr = self.b.slot_addr(counter, 0);
        let i = self.b.load(MemType::U64, ptr, 0);
        let i = self.b.binary_imm(BinaryOp::Add, i, 1);
        self.b.store(MemType::U64, ptr, 0, i);
        self.b.jump(head, &[]);
        self.b.switch_to(after);
    }

    /// `bpf_loop(n, body, frame, 0)`; the body gets the number of the iteration.
    fn for_range_called(&mut self, var: VarId, start: &Expr, end: &Expr, body: &Block, span: Span) {
        let first = self.scalar(start);
        let last = self.scalar(end);
        let some = self.b.compare(Cond::Slt, first, last);
        // The kernel counts from 0: the body adds the start, which it finds after the variable.
        let (ptr, offset) = self.variable_memory(var);
        self.b.store(MemType::U64, ptr, offset + 8, first);
        self.when(some, |l| {
            let count = l.b.binary(BinaryOp::Sub, last, first);
            let function = l.callback("range", span, &[IrType::I64, IrType::Ptr(Space::Stack)], body, |l, params| {
                l.frame = Some(Frame { slot: None, pointer: Some(params[1]) });
                let VarPlace::Frame { offset } = l.variables[var.0 as usize] else { return };
                let start = l.b.load(MemType::U64, params[1], offset + 8);
                let index = l.b.binary(BinaryOp::Add, start, params[0]);
                l.b.store(MemType::U64, params[1], offset, index);
            });
            l.forget_constants();
            let address = l.b.func_addr(function);
            let frame = l.frame_pointer();
            let flags = l.b.iconst(0);
            l.helper(helper::r#loop, &[count, address, frame, flags]);
            l.leave_if_flagged(body);
        });
    }

    /// `bpf_for_each_map_elem(map, body, frame, 0)`.
    pub(super) fn for_map(&mut self, var: VarId, map: MapId, body: &Block, span: Span) {
        let params =
            [IrType::Ptr(Space::Map), IrType::Ptr(Space::Value), IrType::Ptr(Space::Value), IrType::Ptr(Space::Stack)];
        let function = self.callback("element", span, &params, body, |l, params| {
            l.frame = Some(Frame { slot: None, pointer: Some(params[3]) });
            l.elements.insert(var, Element { map, pointers: Some((params[1], params[2])) });
            l.share_element(var, map, params);
        });
        self.forget_constants();
        let map = self.b.map_addr(self.ir_map(map));
        let address = self.b.func_addr(function);
        let frame = self.frame_pointer();
        let flags = self.b.iconst(0);
        self.helper(helper::for_each_map_elem, &[map, address, frame, flags]);
        self.leave_if_flagged(body);
    }

    /// Copies an element to the frame if the body of a loop inside uses it.
    fn share_element(&mut self, var: VarId, map: MapId, params: &[Value]) {
        let VarPlace::Frame { offset } = self.variables[var.0 as usize] else { return };
        let info = &self.session.script.maps[map.0 as usize];
        let key = info.key.as_ref().map_or(0, |k| storage::size_of(k, self.session.catalog));
        let value = storage::size_of(&info.value, self.session.catalog);
        self.b.mem_copy(params[3], offset, params[1], 0, key);
        self.b.mem_copy(params[3], offset + key as i32, params[2], 0, value);
    }

    /// Where the key and the value of a loop's element are.
    pub(super) fn element_places(&mut self, var: VarId) -> Option<(MapId, Place, Place)> {
        let element = *self.elements.get(&var)?;
        if let Some((key, value)) = element.pointers {
            let at = |ptr| Place::Direct { ptr, offset: 0 };
            return Some((element.map, at(key), at(value)));
        }
        let VarPlace::Frame { offset } = self.variables[var.0 as usize] else { return None };
        let ptr = self.frame_pointer();
        let key = self.session.script.maps[element.map.0 as usize].key.as_ref();
        let bytes = key.map_or(0, |k| storage::size_of(k, self.session.catalog));
        Some((element.map, Place::Direct { ptr, offset }, Place::Direct { ptr, offset: offset + bytes as i32 }))
    }

    /// Number of elements: those that an empty body is called for.
    pub(super) fn map_len(&mut self, map: MapId) -> Value {
        let params =
            [IrType::Ptr(Space::Map), IrType::Ptr(Space::Value), IrType::Ptr(Space::Value), IrType::Ptr(Space::Stack)];
        let function = self.callback("count", Span::default(), &params, &Block::default(), |_, _| {});
        let map = self.b.map_addr(self.ir_map(map));
        let address = self.b.func_addr(function);
        let slot = self.b.create_slot(8, 8);
        let nothing = self.b.slot_addr(slot, 0);
        self.zero(nothing, 0, 8);
        let flags = self.b.iconst(0);
        self.helper(helper::for_each_map_elem, &[map, address, nothing, flags])
    }

    /// A function of a loop's body.
    fn callback(
        &mut self,
        what: &str,
        span: Span,
        params: &[IrType],
        body: &Block,
        enter: impl FnOnce(&mut Lowering<'_, '_, '_>, &[Value]),
    ) -> ir::Func {
        let number = self.session.module.funcs.len();
        let mut function = Function { name: format!("{what}_{number}"), ..Function::default() };
        let mut builder = Builder::new(&mut function);
        let entry = builder.create_block();
        let exit = builder.create_block();
        let values: Vec<Value> = params.iter().map(|ty| builder.block_param(entry, *ty)).collect();
        builder.switch_to(entry);
        // What only this function's caller can see is not there.
        let variables = self
            .variables
            .iter()
            .map(|v| match v {
                VarPlace::Frame { offset } => VarPlace::Frame { offset: *offset },
                _ => VarPlace::None,
            })
            .collect();
        let elements: HashMap<VarId, Element> =
            self.elements.iter().map(|(var, e)| (*var, Element { map: e.map, pointers: None })).collect();
        let mut inner = Lowering {
            session: self.session,
            b: builder,
            program: self.program,
            context: self.context,
            ctx: None,
            exit,
            variables,
            frame: None,
            loops: vec![LoopTarget::Callback],
            elements,
            in_callback: true,
            at: span,
            scratch: None,
            known_syscall: None,
            dispatch: self.dispatch.clone(),
        };
        inner.set_span(span);
        enter(&mut inner, &values);
        inner.statements(body);
        if !inner.b.is_terminated() {
            inner.b.jump(exit, &[]);
        }
        inner.b.switch_to(exit);
        let zero = inner.b.iconst(0);
        inner.b.ret(zero);
        self.session.module.funcs.push(function)
    }

    /// After a loop whose body may have left the program: leaves it too.
    fn leave_if_flagged(&mut self, body: &Block) {
        if !leaves(body) {
            return;
        }
        let frame = self.frame_pointer();
        let flag = self.b.load(MemType::U64, frame, FRAME_FLAG);
        let go = self.b.create_block();
        let after = self.b.create_block();
        self.b.branch(flag, go, after);
        self.b.switch_to(go);
        if self.in_callback {
            let one = self.b.iconst(1);
            self.b.ret(one);
        } else {
            self.b.jump(self.exit, &[]);
        }
        self.b.switch_to(after);
    }
}

/// Whether a block has a statement that ends the program.
fn leaves(block: &Block) -> bool {
    block.stmts.iter().any(|s| match &s.kind {
        StmtKind::Return | StmtKind::Exit(_) => true,
        StmtKind::If { then, otherwise, .. } => leaves(then) || leaves(otherwise),
        StmtKind::While { body, .. }
        | StmtKind::Unroll { body, .. }
        | StmtKind::ForRange { body, .. }
        | StmtKind::ForMap { body, .. }
        | StmtKind::Block(body) => leaves(body),
        _ => false,
    })
}
