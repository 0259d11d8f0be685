//! Which names a probe's text uses, so that probes can share programs where no
//! difference between them shows.

use std::collections::HashSet;

use crate::ast::*;

/// Identifiers and called functions in a probe's predicate and body.
pub(super) fn names(probe: &Probe) -> HashSet<&str> {
    let mut found = Names::default();
    if let Some(predicate) = &probe.predicate {
        found.expr(predicate);
    }
    found.block(&probe.body);
    found.names
}

#[derive(Default)]
struct Names<'a> {
    names: HashSet<&'a str>,
}

impl<'a> Names<'a> {
    fn block(&mut self, block: &'a Block) {
        block.stmts.iter().for_each(|s| self.stmt(s));
        if let Some(value) = &block.value {
            self.expr(value);
        }
    }

    fn stmt(&mut self, stmt: &'a Stmt) {
        match &stmt.kind {
            StmtKind::Expr(e) => self.expr(e),
            StmtKind::Assign { target, value, .. } => {
                self.expr(target);
                self.expr(value);
            }
            StmtKind::Let { value, .. } => value.iter().for_each(|v| self.expr(v)),
            StmtKind::If { cond, then, otherwise, .. } => {
                self.expr(cond);
                self.block(then);
                otherwise.iter().for_each(|b| self.block(b));
            }
            StmtKind::While { cond, body } => {
                self.expr(cond);
                self.block(body);
            }
            StmtKind::For { over, body, .. } => {
                match over {
                    ForRange::Map(map) => self.expr(map),
                    ForRange::Range { start, end } => {
                        self.expr(start);
                        self.expr(end);
                    }
                }
                self.block(body);
            }
            StmtKind::Unroll { count, body } => {
                self.expr(count);
                self.block(body);
            }
            StmtKind::Block(block) => self.block(block),
            StmtKind::Return(value) => value.iter().for_each(|v| self.expr(v)),
            StmtKind::Break | StmtKind::Continue => {}
        }
    }

    fn type_or_expr(&mut self, of: &'a TypeOrExpr) {
        if let TypeOrExpr::Expr(e) = of {
            self.expr(e);
        }
    }

    fn expr(&mut self, e: &'a Expr) {
        match &e.kind {
            ExprKind::Int { .. }
            | ExprKind::Bool(_)
            | ExprKind::Str(_)
            | ExprKind::Var(_)
            | ExprKind::Positional(_)
            | ExprKind::PositionalCount
            | ExprKind::Type(_) => {}
            ExprKind::Map { key, .. } => key.iter().for_each(|k| self.expr(k)),
            ExprKind::Ident(name) => {
                self.names.insert(name);
            }
            ExprKind::Call { name, args } => {
                self.names.insert(&name.text);
                args.iter().for_each(|a| self.expr(a));
            }
            ExprKind::Unary { arg, .. } | ExprKind::Cast { arg, .. } | ExprKind::Comptime(arg) => self.expr(arg),
            ExprKind::Step { target, .. } => self.expr(target),
            ExprKind::Binary { args, .. } => args.iter().for_each(|a| self.expr(a)),
            ExprKind::Ternary { cond, then, otherwise } => {
                self.expr(cond);
                then.iter().for_each(|e| self.expr(e));
                self.expr(otherwise);
            }
            ExprKind::Field { of, .. } | ExprKind::TupleField { of, .. } => self.expr(of),
            ExprKind::Index { of, index } => {
                self.expr(of);
                self.expr(index);
            }
            ExprKind::Tuple(parts) => parts.iter().for_each(|p| self.expr(p)),
            ExprKind::Record(fields) => fields.iter().for_each(|(_, v)| self.expr(v)),
            ExprKind::Sizeof(of) | ExprKind::Offsetof { of, .. } | ExprKind::Typeinfo(of) => self.type_or_expr(of),
            ExprKind::Block(block) => self.block(block),
            ExprKind::If { cond, then, otherwise } => {
                self.expr(cond);
                self.block(then);
                self.block(otherwise);
            }
        }
    }
}
