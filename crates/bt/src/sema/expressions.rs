//! Types of expressions.

use std::rc::Rc;

use isa::uapi::helper;

use super::{Analyzer, Binding};
use crate::ast::{self, ExprKind as Ast, Span};
use crate::hir::{self, Expr, ExprKind};
use crate::types::*;

impl Analyzer<'_> {
    /// An expression with its type; `None` once an error is reported. A map
    /// whose type is not known yet gives `Void`.
    pub(super) fn expression(&mut self, e: &ast::Expr) -> Option<Expr> {
        self.deeper(e.span, |a| a.expression_inner(e))
    }

    fn expression_inner(&mut self, e: &ast::Expr) -> Option<Expr> {
        let span = e.span;
        match &e.kind {
            Ast::Int { value, unsigned } => Some(integer(*value, *unsigned, span)),
            Ast::Bool(b) => Some(Expr::int(i64::from(*b), Type::Bool, span)),
            Ast::Str(text) => Some(string(text.as_bytes(), span)),
            Ast::Var(name) => self.variable_use(name, span),
            Ast::Positional(n) => Some(self.positional(*n, span)),
            Ast::PositionalCount => Some(integer(self.options.params.len() as u64, false, span)),
            Ast::Map { name, key } => self.map_use(name, key, span),
            Ast::Ident(name) => self.identifier(name, span),
            Ast::Call { name, args } => self.call(name, args, span),
            Ast::Unary { op, arg } => self.unary(*op, arg, span),
            Ast::Step { target, increment, prefix } => self.step(target, *increment, *prefix, span),
            Ast::Binary { op, args } => self.binary(*op, &args[0], &args[1], span),
            Ast::Ternary { cond, then, otherwise } => self.ternary(cond, then.as_deref(), otherwise, span),
            Ast::Field { of, name, .. } => self.field(of, name, span),
            Ast::TupleField { of, index } => {
                let of = self.expression(of)?;
                self.tuple_field(of, *index, span)
            }
            Ast::Index { of, index } => self.index(of, index, span),
            Ast::Cast { ty, arg } => {
                let to = self.type_name(ty)?;
                let arg = self.expression(arg)?;
                self.cast(arg, to, span)
            }
            Ast::Tuple(parts) => {
                let parts = parts
                    .iter()
                    .map(|p| {
                        let part = self.expression(p)?;
                        self.key_part(part)
                    })
                    .collect::<Option<Vec<_>>>()?;
                let ty = Type::Tuple(Rc::new(parts.iter().map(|p| p.ty.clone()).collect()));
                Some(Expr { kind: ExprKind::Tuple(parts), ty, span })
            }
            Ast::Record(fields) => {
                let mut parts = Vec::with_capacity(fields.len());
                let mut types = Vec::with_capacity(fields.len());
                for (name, value) in fields {
                    let part = self.expression(value)?;
                    let part = self.key_part(part)?;
                    types.push((name.text.clone(), part.ty.clone()));
                    parts.push(part);
                }
                Some(Expr { kind: ExprKind::Tuple(parts), ty: Type::Record(Rc::new(types)), span })
            }
            Ast::Sizeof(of) => {
                let ty = self.measured_type(of)?;
                let size = match &ty {
                    Type::Void => return self.error(span, "sizeof() of a type without a size"),
                    ty => self.catalog.size_of(ty),
                };
                match size {
                    Some(size) => Some(Expr::int(i64::from(size), Type::U64, span)),
                    None => self.error(span, "sizeof() of a type without a size"),
                }
            }
            Ast::Offsetof { of, path } => self.offset_of(of, path, span),
            Ast::Typeinfo(_) => self.error(span, "typeinfo() is not supported yet"),
            Ast::Type(_) => self.error(span, "a type is not a value"),
            Ast::Block(block) => self.block_expression(block, span),
            Ast::If { cond, then, otherwise } => {
                let cond = self.expression(cond)?;
                let cond = self.condition(cond)?;
                let then = self.block_expression(then, span)?;
                let otherwise = self.block_expression(otherwise, span)?;
                self.choose(cond, Some(then), otherwise, span)
            }
            Ast::Comptime(inner) => self.expression(inner),
        }
    }

    /// The type whose size `sizeof` tells: of text in place its array's, of a string read from memory what is
    /// kept of it.
    fn measured_type(&mut self, of: &ast::TypeOrExpr) -> Option<Type> {
        let ast::TypeOrExpr::Expr(e) = of else { return self.type_or_expression(of) };
        let e = self.expression(e)?;
        Some(self.type_in_place(&e))
    }

    fn type_in_place(&self, e: &Expr) -> Type {
        match (&e.kind, &e.ty) {
            (ExprKind::Field { member, .. }, _) if member.place == FieldPlace::Direct => member.ty.clone(),
            (ExprKind::Arg(index), _) => self.probe.context.fields[*index as usize].ty.clone(),
            (ExprKind::ReadString { .. }, Type::Str { size }) => {
                Type::Str { size: (*size).min(self.options.config.max_strlen) }
            }
            (_, ty) => ty.clone(),
        }
    }

    /// Bytes of an object where it is.
    pub(super) fn bytes_in_place(&self, e: &Expr) -> Option<u32> {
        self.catalog.size_of(&self.type_in_place(e))
    }

    fn block_expression(&mut self, block: &ast::Block, span: Span) -> Option<Expr> {
        self.probe.scopes.push(super::Scope::default());
        let stmts = self.statements(&block.stmts);
        let value = block.value.as_ref().map(|v| self.expression(v));
        self.close_scope();
        match value {
            Some(value) => {
                let value = Box::new(value?);
                let ty = value.ty.clone();
                Some(Expr { kind: ExprKind::Block { stmts, value }, ty, span })
            }
            None => self.error(span, "the block has no value: its last expression must stand without ';'"),
        }
    }

    /// An expression as a value: an aggregate that can be read as a number is.
    pub(super) fn value(&mut self, e: Expr) -> Option<Expr> {
        let Type::Aggregate(aggregate) = &e.ty else { return Some(e) };
        let signed = match aggregate {
            Aggregate::Count => true,
            Aggregate::Sum { signed } | Aggregate::Min { signed } | Aggregate::Max { signed } => *signed,
            Aggregate::Avg { signed } => *signed,
            Aggregate::Stats { .. } | Aggregate::Hist { .. } | Aggregate::Lhist { .. } => return Some(e),
        };
        let span = e.span;
        self.require_aggregate_reads(span)?;
        match e.kind {
            ExprKind::MapGet { map, key } => {
                let kind = ExprKind::AggregateGet { map, key };
                Some(Expr { kind, ty: Type::int(8, signed), span })
            }
            kind => Some(Expr { kind, ..e }),
        }
    }

    /// Reading an aggregate takes the values of other CPUs.
    pub(super) fn require_aggregate_reads(&mut self, span: Span) -> Option<()> {
        let what = "reading count(), sum() and the like in a program";
        self.require_helper(helper::map_lookup_percpu_elem, span, what, "5.19")
    }

    /// An expression as a condition: any number, non-zero is true.
    pub(super) fn condition(&mut self, e: Expr) -> Option<Expr> {
        let e = self.value(e)?;
        if e.ty.is_scalar() || matches!(e.ty, Type::Void) {
            return Some(e);
        }
        if let Type::Str { .. } = e.ty {
            // A string is true unless it is empty.
            let span = e.span;
            let empty = string(b"", span);
            let kind = ExprKind::CompareBytes { equal: false, args: Box::new([e, empty]) };
            return Some(Expr { kind, ty: Type::Bool, span });
        }
        let message = format!("Invalid condition: {}", self.name_of(&e.ty));
        self.error(e.span, message)
    }

    /// An expression that must be a number.
    pub(super) fn number(&mut self, e: Expr, what: &str) -> Option<Expr> {
        let e = self.value(e)?;
        if e.ty.is_scalar() || e.ty == Type::Void {
            return Some(e);
        }
        let message = format!("{what} (got '{}')", self.name_of(&e.ty));
        self.error(e.span, message)
    }

    fn variable_use(&mut self, name: &str, span: Span) -> Option<Expr> {
        match self.lookup(name) {
            Some(Binding::Variable(var, _)) => {
                let ty = self.variable(var).ty.clone();
                Some(Expr { kind: ExprKind::Var(var), ty, span })
            }
            Some(Binding::Element { var, map }) => {
                let (key, value) = self.element(var, map, span)?;
                let ty = Type::Tuple(Rc::new(vec![key.ty.clone(), value.ty.clone()]));
                Some(Expr { kind: ExprKind::Tuple(vec![key, value]), ty, span })
            }
            None => self.undefined_variable(name, span),
        }
    }

    /// Key and value of the element that a `for` loop over a map is at.
    pub(super) fn element(&mut self, var: hir::VarId, map: hir::MapId, span: Span) -> Option<(Expr, Expr)> {
        let info = self.map(map);
        let (key, value) = (info.key.clone(), info.value.clone());
        let value = match value {
            Type::Aggregate(Aggregate::Count) => Type::I64,
            Type::Aggregate(
                Aggregate::Sum { signed }
                | Aggregate::Min { signed }
                | Aggregate::Max { signed }
                | Aggregate::Avg { signed },
            ) => Type::int(8, signed),
            other => other,
        };
        Some((
            Expr { kind: ExprKind::LoopKey(var), ty: key, span },
            Expr { kind: ExprKind::LoopValue(var), ty: value, span },
        ))
    }

    fn positional(&mut self, n: u32, span: Span) -> Expr {
        match self.parameter(n) {
            Some(text) => match parse_number(&text) {
                Some(value) => Expr { ty: smallest(value), kind: ExprKind::Int(value), span },
                None => string(text.as_bytes(), span),
            },
            None => {
                self.warn(span, format!("Positional parameter ${n} is empty or not provided."));
                Expr::int(0, Type::I8, span)
            }
        }
    }

    pub(super) fn parameter(&self, n: u32) -> Option<String> {
        let index = (n as usize).checked_sub(1)?;
        self.options.params.get(index).cloned()
    }

    fn map_use(&mut self, name: &str, key: &[ast::Expr], span: Span) -> Option<Expr> {
        let (map, key) = self.map_access(name, key, span)?;
        let ty = self.map(map).value.clone();
        if let Type::Aggregate(Aggregate::Hist { .. } | Aggregate::Lhist { .. }) = ty {
            let message =
                format!("Map value '{ty}' cannot be read: histograms can only be printed, cleared and zeroed");
            return self.error(span, message);
        }
        Some(Expr { kind: ExprKind::MapGet { map, key: key.map(Box::new) }, ty, span })
    }

    fn ternary(
        &mut self,
        cond: &ast::Expr,
        then: Option<&ast::Expr>,
        otherwise: &ast::Expr,
        span: Span,
    ) -> Option<Expr> {
        let cond = self.expression(cond)?;
        let cond = self.condition(cond)?;
        let then = match then {
            Some(then) => Some(self.expression(then)?),
            None => None,
        };
        let otherwise = self.expression(otherwise)?;
        self.choose(cond, then, otherwise, span)
    }

    fn choose(&mut self, cond: Expr, then: Option<Expr>, otherwise: Expr, span: Span) -> Option<Expr> {
        let then = match then {
            Some(then) => Some(self.value(then)?),
            None => None,
        };
        let otherwise = self.value(otherwise)?;
        let a = then.as_ref().unwrap_or(&cond).ty.clone();
        let Some(ty) = super::unify::unify(&a, &otherwise.ty) else {
            let (a, b) = (self.name_of(&a), self.name_of(&otherwise.ty));
            return self
                .error(span, format!("Branches must return the same type or compatible types: have '{a}' and '{b}'"));
        };
        let kind = ExprKind::Ternary { cond: Box::new(cond), then: then.map(Box::new), otherwise: Box::new(otherwise) };
        Some(Expr { kind, ty, span })
    }

    fn offset_of(&mut self, of: &ast::TypeOrExpr, path: &[ast::Name], span: Span) -> Option<Expr> {
        let mut ty = self.type_or_expression(of)?;
        let mut offset = 0i64;
        for name in path {
            let Type::Struct(id) = ty else {
                let message = format!("'{}' is not a struct", self.name_of(&ty));
                return self.error(name.span, message);
            };
            let Some(member) = self.catalog.member(id, &name.text) else {
                let message = format!("'{}' has no field named '{}'", self.catalog.struct_name(id), name.text);
                let hint = self.suggest_member(id, &name.text);
                self.diagnostics.push(crate::Diagnostic::error(span, message).with_hints(hint));
                return None;
            };
            if member.bits.is_some() {
                return self.error(name.span, "offsetof() of a bit field");
            }
            offset += i64::from(member.offset);
            ty = member.ty;
        }
        Some(Expr::int(offset, Type::U64, span))
    }
}

/// A literal: the smallest signed type that holds it, or unsigned if none does.
pub(super) fn integer(value: u64, unsigned: bool, span: Span) -> Expr {
    let ty = match i64::try_from(value) {
        Ok(_) if unsigned => Type::U64,
        Ok(value) => smallest(value),
        Err(_) => Type::U64,
    };
    Expr { kind: ExprKind::Int(value as i64), ty, span }
}

/// The smallest signed integer type that holds a value.
pub(super) fn smallest(value: i64) -> Type {
    if i8::try_from(value).is_ok() {
        Type::I8
    } else if i16::try_from(value).is_ok() {
        Type::I16
    } else if i32::try_from(value).is_ok() {
        Type::I32
    } else {
        Type::I64
    }
}

/// A literal string, as long as its bytes and a NUL.
pub(super) fn string(bytes: &[u8], span: Span) -> Expr {
    let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX - 1).saturating_add(1);
    Expr { kind: ExprKind::Str(bytes.into()), ty: Type::Str { size }, span }
}

/// A positional parameter as a number: decimal, hexadecimal or octal, signed.
fn parse_number(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if !digits.as_bytes().first().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let value = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        u64::from_str_radix(hex, 16).ok()?
    } else if digits.len() > 1 && digits.starts_with('0') {
        u64::from_str_radix(digits, 8).ok()?
    } else {
        digits.parse().ok()?
    };
    Some(if negative { (value as i64).wrapping_neg() } else { value as i64 })
}
