//! Statements.

use ir::MemType;
use object::plan::Action;

use super::place::VarPlace;
use super::{FRAME_FLAG, LoopTarget, Lowering};
use crate::hir::{Block, Expr, Stmt, StmtKind, VarId};
use crate::storage;
use crate::types::*;

impl Lowering<'_, '_, '_> {
    pub(super) fn statements(&mut self, block: &Block) {
        for stmt in &block.stmts {
            if self.b.is_terminated() {
                return;
            }
            self.set_span(stmt.span);
            // What a statement needed for a while, the next may have.
            let mark = self.scratch.as_ref().map_or(0, |s| s.used);
            self.statement(stmt);
            if let Some(scratch) = &mut self.scratch {
                scratch.used = mark;
            }
        }
    }

    fn statement(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Expr(e) => self.effect(e),
            StmtKind::Let(var) => {
                let ty = self.program.variables[var.0 as usize].ty.clone();
                let bytes = storage::size_of(&ty, self.session.catalog).max(8);
                let (ptr, offset) = self.variable_memory(*var);
                self.zero(ptr, offset, bytes);
            }
            StmtKind::SetVar { var, value } => self.set_variable(*var, value),
            StmtKind::SetMap { map, key, value } => self.map_set(*map, key.as_ref(), value, stmt.span),
            StmtKind::Aggregate { map, key, value } => {
                self.aggregate(*map, key.as_ref(), value.as_ref(), stmt.span);
            }
            StmtKind::If { cond, then, otherwise } => self.if_else(cond, then, otherwise),
            StmtKind::While { cond, body, called: true } => self.while_called(cond, body, stmt.span),
            StmtKind::While { cond, body, called: false } => self.while_loop(cond, body),
            StmtKind::Unroll { count, body } => self.unroll(*count, body),
            StmtKind::ForRange { var, start, end, body } => self.for_range(*var, start, end, body, stmt.span),
            StmtKind::ForMap { var, map, body } => self.for_map(*var, *map, body, stmt.span),
            StmtKind::Block(block) => self.statements(block),
            StmtKind::Break => self.leave_loop(true),
            StmtKind::Continue => self.leave_loop(false),
            StmtKind::Return => self.leave(),
            StmtKind::Event(event) => self.event(&event.action, &event.args, stmt.span),
            StmtKind::Exit(code) => {
                let args: Vec<Expr> = code.iter().cloned().collect();
                self.event(&Action::Exit, &args, stmt.span);
                self.leave();
            }
            StmtKind::Clear(map) => self.whole_map_event(*map, |map| Action::ClearMap { map }),
            StmtKind::Zero(map) => self.whole_map_event(*map, |map| Action::ZeroMap { map }),
            StmtKind::Join { array, delimiter } => self.join(array, delimiter, stmt.span),
        }
    }

    /// Evaluates for the effect.
    fn effect(&mut self, e: &Expr) {
        if e.ty.is_scalar() || e.ty == Type::Void {
            self.scalar(e);
        } else {
            self.place(e);
        }
    }

    /// Ends the program; from a loop's body by way of the program that runs the loop.
    fn leave(&mut self) {
        if self.in_callback {
            let frame = self.frame_pointer();
            let one = self.b.iconst(1);
            self.b.store(MemType::U64, frame, FRAME_FLAG, one);
            self.b.ret(one);
        } else {
            self.b.jump(self.exit, &[]);
        }
    }

    fn leave_loop(&mut self, stop: bool) {
        match self.loops.last().copied() {
            Some(LoopTarget::Blocks { after, next }) => self.b.jump(if stop { after } else { next }, &[]),
            Some(LoopTarget::Callback) => {
                let result = self.b.iconst(i64::from(stop));
                self.b.ret(result);
            }
            // Sema lets neither stand outside of a loop.
            None => self.leave(),
        }
    }

    fn if_else(&mut self, cond: &Expr, then: &Block, otherwise: &Block) {
        let yes = self.b.create_block();
        let no = self.b.create_block();
        let after = self.b.create_block();
        self.condition(cond, yes, no);
        for (block, stmts) in [(yes, then), (no, otherwise)] {
            self.b.switch_to(block);
            self.statements(stmts);
            if !self.b.is_terminated() {
                self.b.jump(after, &[]);
            }
        }
        self.b.switch_to(after);
    }

    /// Where a variable's bytes are; makes its slot at the first use.
    pub(super) fn variable_memory(&mut self, var: VarId) -> (ir::Value, i32) {
        let index = var.0 as usize;
        match self.variables[index] {
            VarPlace::Slot(slot) => (self.b.slot_addr(slot, 0), 0),
            VarPlace::Frame { offset } => (self.frame_pointer(), offset),
            VarPlace::Memory(ptr) => (ptr, 0),
            VarPlace::None | VarPlace::Value(_) => {
                let ty = &self.program.variables[index].ty;
                let bytes = storage::size_of(ty, self.session.catalog).max(8);
                let slot = self.b.create_slot(bytes, 8);
                self.variables[index] = VarPlace::Slot(slot);
                (self.b.slot_addr(slot, 0), 0)
            }
        }
    }

    fn set_variable(&mut self, var: VarId, value: &Expr) {
        let variable = &self.program.variables[var.0 as usize];
        let ty = variable.ty.clone();
        let once = variable.writes == 1 && !variable.hoisted;
        if once && ty.is_scalar() && !matches!(self.variables[var.0 as usize], VarPlace::Frame { .. }) {
            let operand = self.operand(value);
            self.variables[var.0 as usize] = VarPlace::Value(operand);
            return;
        }
        if ty.is_scalar() {
            let v = self.scalar(value);
            let (ptr, offset) = self.variable_memory(var);
            self.b.store(MemType::U64, ptr, offset, v);
            return;
        }
        if variable.writes == 1 {
            let (ptr, offset) = self.variable_memory(var);
            self.write(value, &ty, ptr, offset);
            return;
        }
        // Built aside: the value may be made of the old one.
        let built = self.temporary(value, &ty);
        let bytes = storage::size_of(&ty, self.session.catalog);
        let (ptr, offset) = self.variable_memory(var);
        self.b.mem_copy(ptr, offset, built, 0, bytes);
    }
}
