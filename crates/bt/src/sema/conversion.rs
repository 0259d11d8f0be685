//! Casts.

use super::Analyzer;
use crate::ast::Span;
use crate::hir::{Expr, ExprKind, truncate};
use crate::types::*;

impl Analyzer<'_> {
    pub(super) fn cast(&mut self, of: Expr, to: Type, span: Span) -> Option<Expr> {
        let of = self.value(of)?;
        let of_type = of.ty.clone();
        let boxed = |of: Expr| Box::new(of);
        match (&of_type, &to) {
            (Type::Void, _) => Some(Expr { kind: ExprKind::Cast(boxed(of)), ty: to, span }),
            (from, Type::Int(int)) if from.is_scalar() => {
                if let ExprKind::Int(n) = of.kind {
                    return Some(Expr::int(truncate(n, *int), to, span));
                }
                Some(Expr { kind: ExprKind::Cast(boxed(of)), ty: to, span })
            }
            (from, Type::Bool | Type::Enum(_) | Type::KSym | Type::Username) if from.is_scalar() => {
                Some(Expr { kind: ExprKind::Cast(boxed(of)), ty: to, span })
            }
            (from, Type::Pointer { to: pointee, .. }) if from.is_scalar() => {
                let space = match from {
                    Type::Pointer { space, .. } => *space,
                    _ => self.space_of(&of),
                };
                let ty = Type::Pointer { to: pointee.clone(), space };
                Some(Expr { kind: ExprKind::Cast(boxed(of)), ty, span })
            }
            // The old way to say a pointer: `(struct x)p`.
            (from, Type::Struct(_)) if from.is_scalar() => {
                let ty = Type::pointer(to, self.space_of(&of));
                Some(Expr { kind: ExprKind::Cast(boxed(of)), ty, span })
            }
            (Type::Array { .. }, Type::Int(int)) => {
                let size = self.catalog.size_of(&of_type).unwrap_or(0);
                if size > u32::from(int.bytes) || !matches!(size, 1 | 2 | 4 | 8) {
                    let message =
                        format!("Cannot cast from \"{}\" to \"{}\"", self.name_of(&of_type), self.name_of(&to));
                    return self.error(span, message);
                }
                Some(Expr { kind: ExprKind::Reinterpret(boxed(of)), ty: to, span })
            }
            (from, Type::Array { elem, len }) if from.is_integral() => {
                let Some(each) = self.catalog.size_of(elem) else {
                    return self.error(span, "The elements have no size");
                };
                let size = self.catalog.size_of(from).unwrap_or(8);
                let len = if *len == 0 { size / each.max(1) } else { *len };
                let ty = Type::Array { elem: elem.clone(), len };
                if len == 0 || len.checked_mul(each).is_none_or(|bytes| bytes > 8) {
                    let message =
                        format!("Cannot cast from \"{}\" to \"{}\"", self.name_of(&of_type), self.name_of(&ty));
                    return self.error(span, message);
                }
                Some(Expr { kind: ExprKind::Reinterpret(boxed(of)), ty, span })
            }
            (Type::Str { size }, Type::Array { elem, len }) if self.catalog.size_of(elem) == Some(1) => {
                let whole = if *len == 0 { *size } else { *len };
                let (ExprKind::Str(text), true) = (of.kind, whole >= *size) else {
                    let message =
                        format!("Cannot cast from \"{}\" to \"{}\"", self.name_of(&of_type), self.name_of(&to));
                    return self.error(span, message);
                };
                Some(Expr { kind: ExprKind::Str(text), ty: Type::Array { elem: elem.clone(), len: whole }, span })
            }
            (Type::Str { .. }, Type::Str { size }) if *size > 0 => Some(Expr { ty: to.clone(), ..of }),
            (a, b) if a == b => Some(of),
            _ => {
                let message = format!("Cannot cast from \"{}\" to \"{}\"", self.name_of(&of_type), self.name_of(&to));
                self.error(span, message)
            }
        }
    }

    /// The space that a number belongs to when it is taken for an address.
    pub(super) fn space_of(&self, e: &Expr) -> AddressSpace {
        match (&e.ty, &e.kind) {
            (Type::Pointer { space, .. }, _) if *space != AddressSpace::Unknown => *space,
            (_, ExprKind::Cast(inner)) => self.space_of(inner),
            (_, ExprKind::Binary { args, .. }) => self.space_of(&args[0]),
            _ => self.probe.context.default_space(),
        }
    }
}
