//! Types of statements.

use super::{Analyzer, Binding, Scope};
use isa::uapi::helper;

use crate::ast::{self, ForRange, Span, StmtKind as Ast};
use crate::hir::{self, Block, Expr, ExprKind, Stmt, StmtKind};
use crate::types::*;

/// Most repetitions of `unroll`.
const MAX_UNROLL: i64 = 100;
/// Most repetitions of a body that several `unroll`s stand around.
const MAX_UNROLLED: i64 = 1024;
/// A `while` loop up to a number no greater than this is a plain loop, which the verifier walks through.
const SHORT_LOOP: u64 = 128;

impl Analyzer<'_> {
    pub(super) fn block(&mut self, block: &ast::Block) -> Block {
        self.probe.scopes.push(Scope::default());
        let mut stmts = self.statements(&block.stmts);
        if let Some(value) = &block.value {
            let stmt = ast::Stmt { kind: Ast::Expr((**value).clone()), span: value.span };
            stmts.stmts.extend(self.statement(&stmt));
        }
        self.close_scope();
        stmts
    }

    pub(super) fn close_scope(&mut self) {
        if let Some(scope) = self.probe.scopes.pop() {
            let names = scope.names.into_iter().filter(|(_, b)| matches!(b, Binding::Variable(..)));
            self.probe.closed.extend(names.map(|(name, _)| name));
        }
    }

    pub(super) fn statements(&mut self, stmts: &[ast::Stmt]) -> Block {
        let mut block = Block::default();
        let mut ended = false;
        for stmt in stmts {
            if std::mem::replace(&mut ended, false) {
                self.warn(stmt.span, "Unreachable statement.");
            }
            block.stmts.extend(self.statement(stmt));
            ended = matches!(
                block.stmts.last().map(|s| &s.kind),
                Some(StmtKind::Return | StmtKind::Exit(_) | StmtKind::Break | StmtKind::Continue)
            );
        }
        block
    }

    fn statement(&mut self, stmt: &ast::Stmt) -> Option<Stmt> {
        let span = stmt.span;
        let kind = self.deeper(span, |a| a.statement_kind(&stmt.kind, span))?;
        Some(Stmt { kind, span })
    }

    fn statement_kind(&mut self, kind: &Ast, span: Span) -> Option<StmtKind> {
        match kind {
            Ast::Expr(e) => self.expression_statement(e, span),
            Ast::Assign { target, op, value } => self.assign(target, *op, value, span),
            Ast::Let { var, ty, value } => self.let_statement(var, ty.as_ref(), value.as_ref(), span),
            Ast::If { cond, then, otherwise, .. } => {
                let cond = self.expression(cond).and_then(|c| self.condition(c));
                let then = self.block(then);
                let otherwise = otherwise.as_ref().map(|b| self.block(b)).unwrap_or_default();
                Some(StmtKind::If { cond: cond?, then, otherwise })
            }
            Ast::While { cond, body } => {
                let called = !is_short(cond) && self.catalog.host.has(crate::Feature::Helper(helper::r#loop));
                self.probe.loop_depth += u32::from(called);
                let cond = self.expression(cond).and_then(|c| self.condition(c));
                self.probe.in_loop += 1;
                let body = self.block(body);
                self.probe.in_loop -= 1;
                self.probe.loop_depth -= u32::from(called);
                Some(StmtKind::While { cond: cond?, body, called })
            }
            Ast::For { var, over, body } => self.for_loop(var, over, body, span),
            Ast::Unroll { count, body } => {
                let count = self.expression(count)?;
                let outer = self.probe.unrolled;
                self.probe.unrolled = outer.saturating_mul(count.constant().unwrap_or(1).max(1));
                if self.probe.unrolled > MAX_UNROLLED {
                    let message = format!(
                        "these loops unroll to {} repetitions of the innermost body, more than {MAX_UNROLLED}",
                        self.probe.unrolled
                    );
                    self.probe.unrolled = outer;
                    return self.error_hint(span, message, "Use `for ($i : 0..N) { ... }`, which is not unrolled");
                }
                self.probe.in_loop += 1;
                let body = self.block(body);
                self.probe.in_loop -= 1;
                self.probe.unrolled = outer;
                match count.constant() {
                    None => self.error(span, "unroll: invalid value: must be a literal"),
                    Some(n) if n < 1 => self.error(span, "unroll minimum value is 1"),
                    Some(n) if n > MAX_UNROLL => self.error(span, format!("unroll maximum value is {MAX_UNROLL}")),
                    Some(n) => Some(StmtKind::Unroll { count: n as u32, body }),
                }
            }
            Ast::Block(block) => Some(StmtKind::Block(self.block(block))),
            Ast::Break | Ast::Continue if self.probe.in_loop == 0 => {
                let word = if matches!(kind, Ast::Break) { "break" } else { "continue" };
                self.error(span, format!("'{word}' statement is not allowed in a probe"))
            }
            Ast::Break => Some(StmtKind::Break),
            Ast::Continue => Some(StmtKind::Continue),
            Ast::Return(value) => {
                if let Some(value) = value {
                    self.expression(value)?;
                }
                Some(StmtKind::Return)
            }
        }
    }

    fn expression_statement(&mut self, e: &ast::Expr, span: Span) -> Option<StmtKind> {
        match &e.kind {
            // Its arms need not have values.
            ast::ExprKind::Ternary { cond, then: Some(then), otherwise } => {
                let cond = self.expression(cond).and_then(|c| self.condition(c));
                let then = self.arm(then);
                let otherwise = self.arm(otherwise);
                return Some(StmtKind::If { cond: cond?, then, otherwise });
            }
            ast::ExprKind::If { cond, then, otherwise } => {
                let cond = self.expression(cond).and_then(|c| self.condition(c));
                let then = self.block(then);
                let otherwise = self.block(otherwise);
                return Some(StmtKind::If { cond: cond?, then, otherwise });
            }
            ast::ExprKind::Block(block) => return Some(StmtKind::Block(self.block(block))),
            _ => {}
        }
        if let ast::ExprKind::Call { name, args } = &e.kind
            && let Some(stmt) = self.call_statement(name, args, e.span)
        {
            return stmt;
        }
        // `exit` and the like may stand without parentheses.
        if let ast::ExprKind::Ident(name) = &e.kind {
            let name = ast::Name { text: name.clone(), span: e.span };
            if let Some(stmt) = self.call_statement(&name, &[], e.span) {
                return stmt;
            }
        }
        let value = self.expression(e)?;
        if is_pure(&value) {
            self.warn(span, "Return value discarded.");
        }
        Some(StmtKind::Expr(value))
    }

    /// An arm of a condition that stands as a statement.
    fn arm(&mut self, e: &ast::Expr) -> Block {
        let stmt = ast::Stmt { kind: Ast::Expr(e.clone()), span: e.span };
        self.statements(std::slice::from_ref(&stmt))
    }

    fn assign(
        &mut self,
        target: &ast::Expr,
        op: Option<ast::BinaryOp>,
        value: &ast::Expr,
        span: Span,
    ) -> Option<StmtKind> {
        match &target.kind {
            ast::ExprKind::Ident(name) if name == "_" && op.is_none() => {
                let value = self.expression(value)?;
                Some(StmtKind::Expr(value))
            }
            ast::ExprKind::Var(name) => self.assign_variable(name, target, op, value, span),
            ast::ExprKind::Map { name, key } => self.assign_to_map(name, key, target, op, value, span),
            _ => self.error(target.span, "Only variables and maps can be assigned to"),
        }
    }

    fn assign_variable(
        &mut self,
        name: &str,
        target: &ast::Expr,
        op: Option<ast::BinaryOp>,
        value: &ast::Expr,
        span: Span,
    ) -> Option<StmtKind> {
        let value = match op {
            None => self.expression(value)?,
            Some(op) => {
                let left = self.expression(target)?;
                let right = self.expression(value)?;
                self.binary_typed(op, left, right, span)?
            }
        };
        let value = self.assignable(value)?;
        let var = match self.lookup(name) {
            Some(Binding::Variable(var, _)) => var,
            Some(Binding::Element { .. }) => {
                return self.error(target.span, format!("{name} can not be changed"));
            }
            None => {
                let var = self.new_variable(name);
                self.bind(name, Binding::Variable(var, span));
                var
            }
        };
        self.set_variable(var, value, span)
    }

    fn set_variable(&mut self, var: hir::VarId, value: Expr, span: Span) -> Option<StmtKind> {
        self.variable(var).writes += 1;
        let old = self.variable(var).ty.clone();
        let declared = self.variable(var).declared;
        let value = match (&old, &value.ty) {
            (Type::Int(_), Type::Int(_)) if declared && old != value.ty => self.cast(value, old.clone(), span)?,
            _ => value,
        };
        match super::unify::unify(&old, &value.ty) {
            // What is declared stays, but for the kind of memory that a pointer leads to.
            Some(ty) if declared && !ty.is_pointer() => drop(ty),
            Some(ty) => {
                if ty != old {
                    self.variable(var).ty = ty;
                    self.changed = true;
                }
            }
            None => {
                let name = self.variable(var).name.clone();
                let (new, old) = (self.name_of(&value.ty), self.name_of(&old));
                return self.error(
                    span,
                    format!("Type mismatch for {name}: trying to assign value of type '{new}' when variable already has a type '{old}'"),
                );
            }
        }
        Some(StmtKind::SetVar { var, value })
    }

    /// A value that a variable or map can keep.
    fn assignable(&mut self, value: Expr) -> Option<Expr> {
        let value = self.value(value)?;
        match &value.ty {
            Type::Aggregate(a) => {
                let message = format!(
                    "Map value '{}_t' cannot be assigned from one map to another. The function that returns this type must be called directly e.g. `{}();`.",
                    a.name(),
                    a.name()
                );
                self.error(value.span, message)
            }
            _ => Some(value),
        }
    }

    fn assign_to_map(
        &mut self,
        name: &str,
        key: &[ast::Expr],
        target: &ast::Expr,
        op: Option<ast::BinaryOp>,
        value: &ast::Expr,
        span: Span,
    ) -> Option<StmtKind> {
        if op.is_none()
            && let ast::ExprKind::Call { name: function, args } = &value.kind
            && let Some((aggregate, arg)) = self.aggregate(function, args, value.span)?
        {
            let (map, key) = self.map_access(name, key, target.span)?;
            self.assign_map(map, &Type::Aggregate(aggregate), value.span)?;
            return Some(StmtKind::Aggregate { map, key, value: arg });
        }
        // `@m = { …; avg($x) }`.
        if op.is_none()
            && let ast::ExprKind::Block(block) = &value.kind
            && let Some(last) = &block.value
            && let ast::ExprKind::Call { name: function, .. } = &last.kind
            && super::calls::is_aggregate(&function.text)
        {
            self.probe.scopes.push(Scope::default());
            let mut stmts = self.statements(&block.stmts);
            let kind = self.assign_to_map(name, key, target, None, last, span);
            self.close_scope();
            stmts.stmts.push(Stmt { kind: kind?, span });
            return Some(StmtKind::Block(stmts));
        }
        // `count` without parentheses is `count()`.
        if op.is_none()
            && let ast::ExprKind::Ident(ident) = &value.kind
            && ident == "count"
        {
            let (map, key) = self.map_access(name, key, target.span)?;
            self.assign_map(map, &Type::Aggregate(Aggregate::Count), value.span)?;
            return Some(StmtKind::Aggregate { map, key, value: None });
        }
        let value = match op {
            None => self.expression(value)?,
            Some(op) => {
                let left = self.expression(target)?;
                let right = self.expression(value)?;
                self.binary_typed(op, left, right, span)?
            }
        };
        let value = self.assignable(value)?;
        let (map, key) = self.map_access(name, key, target.span)?;
        self.assign_map(map, &value.ty, span)?;
        Some(StmtKind::SetMap { map, key, value })
    }

    fn let_statement(
        &mut self,
        var: &ast::Name,
        ty: Option<&ast::TypeName>,
        value: Option<&ast::Expr>,
        span: Span,
    ) -> Option<StmtKind> {
        if let Some(Binding::Variable(_, first)) = self.lookup(&var.text) {
            let message = format!("Variable {} was already declared. Variable shadowing is not allowed.", var.text);
            self.error::<()>(span, message);
            return self.error(first, "This is the initial assignment.");
        }
        let declared = match ty {
            Some(ty) => Some(self.type_name(ty)?),
            None => None,
        };
        let value = match value {
            Some(value) => {
                let value = self.expression(value)?;
                Some(self.assignable(value)?)
            }
            None => None,
        };
        let id = self.new_variable(&var.text);
        self.bind(&var.text, Binding::Variable(id, span));
        if let Some(declared) = declared {
            let found = &mut self.probe.variables[id.0 as usize];
            // An earlier round may have found out where a pointer leads.
            if !matches!((&found.ty, &declared), (Type::Pointer { to: a, .. }, Type::Pointer { to: b, .. }) if a == b) {
                found.ty = declared.clone();
            }
            self.variable(id).declared = true;
            return match value {
                Some(value) => {
                    let value = if value.ty.is_scalar() && declared.is_scalar() && value.ty != declared {
                        self.cast(value, declared, span)?
                    } else {
                        value
                    };
                    self.set_variable(id, value, span)
                }
                None => {
                    self.variable(id).writes += 1;
                    Some(StmtKind::Let(id))
                }
            };
        }
        match value {
            Some(value) => self.set_variable(id, value, span),
            None => {
                self.variable(id).writes += 1;
                Some(StmtKind::Let(id))
            }
        }
    }

    fn for_loop(&mut self, var: &ast::Name, over: &ForRange, body: &ast::Block, span: Span) -> Option<StmtKind> {
        if let Some(Binding::Variable(_, first)) = self.lookup(&var.text) {
            let message = format!("Loop declaration shadows existing variable: {}", var.text);
            self.error::<()>(var.span, message);
            return self.error(first, "This is the initial assignment.");
        }
        match over {
            ForRange::Map(map) => {
                let ast::ExprKind::Map { name, key } = &map.kind else {
                    return self.error(map.span, "Loop expression requires a map");
                };
                if !key.is_empty() {
                    let message = format!("syntax: {name} is not a map");
                    return self.error(map.span, message);
                }
                let id = self.map_argument(name, map.span)?;
                self.require_helper(helper::for_each_map_elem, map.span, "loops over maps", "5.13")?;
                if self.map(id).keyed == Some(false) {
                    let message = format!("{name} has no explicit keys (scalar map), and cannot be used for iteration");
                    return self.error(map.span, message);
                }
                if let ty
                @ Type::Aggregate(Aggregate::Hist { .. } | Aggregate::Lhist { .. } | Aggregate::Stats { .. }) =
                    self.map(id).value.clone()
                {
                    return self.error(map.span, format!("Loop expression does not support type: {ty}"));
                }
                if matches!(self.map(id).value, Type::Aggregate(_)) {
                    self.require_aggregate_reads(map.span)?;
                }
                self.probe.loop_depth += 1;
                self.probe.in_loop += 1;
                self.probe.scopes.push(Scope::default());
                let element = self.new_variable(&var.text);
                let info = self.map(id);
                let ty = Type::Tuple(std::rc::Rc::new(vec![info.key.clone(), info.value.clone()]));
                self.variable(element).ty = ty;
                self.bind(&var.text, Binding::Element { var: element, map: id });
                let body = self.block(body);
                self.close_scope();
                self.probe.in_loop -= 1;
                self.probe.loop_depth -= 1;
                Some(StmtKind::ForMap { var: element, map: id, body })
            }
            ForRange::Range { start, end } => {
                let start = self.expression(start)?;
                let start = self.number(start, "Loop range requires an integer for the start value")?;
                let end = self.expression(end)?;
                let end = self.number(end, "Loop range requires an integer for the end value")?;
                self.probe.loop_depth += 1;
                self.probe.in_loop += 1;
                self.probe.scopes.push(Scope::default());
                let index = self.new_variable(&var.text);
                self.variable(index).ty = Type::I64;
                self.variable(index).writes += 1;
                // Loops inside of this one, and its own body, find it in shared memory.
                self.variable(index).captured = true;
                self.bind(&var.text, Binding::Variable(index, span));
                let body = self.block(body);
                self.close_scope();
                self.probe.in_loop -= 1;
                self.probe.loop_depth -= 1;
                Some(StmtKind::ForRange { var: index, start, end, body })
            }
        }
    }
}

/// Whether a `while` loop's condition compares with a small number.
fn is_short(cond: &ast::Expr) -> bool {
    let ast::ExprKind::Binary { op, args } = &cond.kind else { return false };
    match op {
        ast::BinaryOp::LogicalAnd => args.iter().any(is_short),
        ast::BinaryOp::Lt | ast::BinaryOp::Le => is_short_bound(&args[1]),
        ast::BinaryOp::Gt | ast::BinaryOp::Ge => is_short_bound(&args[0]),
        _ => false,
    }
}

fn is_short_bound(e: &ast::Expr) -> bool {
    matches!(e.kind, ast::ExprKind::Int { value: ..=SHORT_LOOP, .. })
}

/// Whether an expression has no effect: as a statement it does nothing.
fn is_pure(e: &Expr) -> bool {
    !matches!(
        e.kind,
        ExprKind::Step { .. }
            | ExprKind::Delete { .. }
            | ExprKind::Signal { .. }
            | ExprKind::Block { .. }
            | ExprKind::Ternary { .. }
    )
}
