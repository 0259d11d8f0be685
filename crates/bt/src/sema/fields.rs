//! Members of structs and tuples, elements of arrays, what pointers point to.

use super::Analyzer;
use crate::Diagnostic;
use crate::ast::{self, Span};
use crate::catalog::Member;
use crate::context::ContextKind;
use crate::hir::{Expr, ExprKind};
use crate::options::Setting;
use crate::types::*;

impl Analyzer<'_> {
    pub(super) fn field(&mut self, of: &ast::Expr, name: &ast::Name, span: Span) -> Option<Expr> {
        if let ast::ExprKind::Ident(ident) = &of.kind
            && ident == "args"
        {
            return self.argument(name, of.span, span);
        }
        if let ast::ExprKind::Call { name: function, args } = &of.kind
            && function.text == "config"
            && args.is_empty()
        {
            return self.setting(name, span);
        }
        let of = self.expression(of)?;
        match &of.ty {
            Type::Struct(id) => self.member(of.clone(), *id, name, span),
            Type::Pointer { to, .. } => match **to {
                Type::Struct(id) => {
                    let object = self.deref(of, span)?;
                    self.member(object, id, name, span)
                }
                _ => self.no_fields(&of, name, span),
            },
            Type::Record(fields) => match fields.iter().position(|(n, _)| *n == name.text) {
                Some(index) => self.tuple_field(of.clone(), index as u32, span),
                None => {
                    let message = format!("Record does not contain a field named '{}'", name.text);
                    self.error(span, message)
                }
            },
            Type::Void => Some(Expr { ty: Type::Void, span, ..of }),
            _ => self.no_fields(&of, name, span),
        }
    }

    /// `config().name`.
    fn setting(&mut self, name: &ast::Name, span: Span) -> Option<Expr> {
        match self.options.config.get(&name.text) {
            Some(Setting::Number(n)) => Some(Expr::int(n, Type::U64, span)),
            Some(Setting::Bool(b)) => Some(Expr::int(i64::from(b), Type::Bool, span)),
            Some(Setting::Text(text)) => Some(super::expressions::string(text.as_bytes(), span)),
            None => self.error(name.span, format!("{}: not a known configuration option", name.text)),
        }
    }

    fn no_fields<T>(&mut self, of: &Expr, name: &ast::Name, span: Span) -> Option<T> {
        let message = format!("Can not access field '{}' on expression of type '{}'", name.text, self.name_of(&of.ty));
        let without = if of.ty == Type::U64 { self.without_types() } else { None };
        self.diagnostics.push(Diagnostic::error(span, message).with_hints(without));
        None
    }

    /// A hint where the kernel does not tell its types: then what has fields elsewhere is a number.
    pub(super) fn without_types(&self) -> Option<String> {
        self.catalog.host.btf().err().map(|error| format!("The kernel's types are not available: {error}"))
    }

    fn member(&mut self, of: Expr, id: StructId, name: &ast::Name, span: Span) -> Option<Expr> {
        let Some(member) = self.catalog.member(id, &name.text) else {
            let message = format!(
                "Struct/union of type '{}' does not contain a field named '{}'",
                self.catalog.struct_name(id),
                name.text
            );
            let hint = self.suggest_member(id, &name.text);
            self.diagnostics.push(Diagnostic::error(span, message).with_hints(hint));
            return None;
        };
        Some(field_of(of, member, span))
    }

    pub(super) fn suggest_member(&self, id: StructId, name: &str) -> Option<String> {
        let names = self.catalog.member_names(id);
        super::did_you_mean(name, names.iter().map(String::as_str))
    }

    /// `args.name`.
    fn argument(&mut self, name: &ast::Name, args_span: Span, span: Span) -> Option<Expr> {
        self.check_args(args_span)?;
        let context = self.probe.context;
        if let Some(index) = context.fields.iter().position(|f| f.name == name.text) {
            let field = &context.fields[index];
            let (ty, kind) = (field.ty.clone(), ExprKind::Arg(index as u32));
            return Some(as_text(Expr { kind, ty, span }));
        }
        if context.kind == ContextKind::Tracepoint && name.text.starts_with("common_") {
            let message = "BPF does not support accessing common tracepoint fields";
            return self.error_hint(span, message, "pid, cpu and probe tell as much");
        }
        let message =
            format!("Struct/union of type '{}' does not contain a field named '{}'", context.args_name, name.text);
        let hint = super::did_you_mean(&name.text, context.fields.iter().map(|f| f.name.as_str()));
        self.diagnostics.push(Diagnostic::error(span, message).with_hints(hint));
        None
    }

    /// Reports where a probe has no named arguments.
    pub(super) fn check_args(&mut self, span: Span) -> Option<()> {
        let context = self.probe.context;
        if !context.fields.is_empty() || !context.args_name.is_empty() {
            return Some(());
        }
        if context.kind == ContextKind::RawTracepoint {
            let without = self.without_types().into_iter();
            let untyped = "arg0, arg1 and so on are the arguments without their types".to_owned();
            let message = "The arguments of this rawtracepoint have no names here";
            let diagnostic = Diagnostic::error(span, message).with_hints(without).with_hint(untyped);
            self.diagnostics.push(diagnostic);
            return None;
        }
        let message = format!(
            "The args builtin can only be used with tracepoint, rawtracepoint, fentry/fexit, and uprobe probes ({} used here)",
            context.kind.name()
        );
        self.error(span, message)
    }

    pub(super) fn tuple_field(&mut self, of: Expr, index: u32, span: Span) -> Option<Expr> {
        // The key or value of a loop's element stays where it is.
        if let ExprKind::Tuple(mut parts) = of.kind.clone()
            && matches!(parts.first().map(|p| &p.kind), Some(ExprKind::LoopKey(_)))
            && (index as usize) < parts.len()
        {
            return Some(Expr { span, ..parts.swap_remove(index as usize) });
        }
        let (len, ty) = match &of.ty {
            Type::Tuple(fields) => (fields.len(), fields.get(index as usize).cloned()),
            Type::Record(fields) => (fields.len(), fields.get(index as usize).map(|(_, t)| t.clone())),
            Type::Void => return Some(Expr { ty: Type::Void, span, ..of }),
            other => {
                let message = format!("Can not access index '{index}' on expression of type '{}'", self.name_of(other));
                return self.error(span, message);
            }
        };
        match ty {
            Some(ty) => Some(Expr { kind: ExprKind::TupleField { of: Box::new(of), index }, ty, span }),
            None => self.error(span, format!("Invalid tuple index: {index}. Found {len} elements in tuple.")),
        }
    }

    pub(super) fn index(&mut self, of: &ast::Expr, index: &ast::Expr, span: Span) -> Option<Expr> {
        let of = self.expression(of)?;
        let of = self.value(of)?;
        let index = self.expression(index)?;
        let index = self.number(index, "The array index operator [] only accepts integer indices")?;
        match &of.ty {
            Type::Array { elem, len } => {
                if let Some(n) = index.constant()
                    && *len > 0
                    && !(0..i64::from(*len)).contains(&n)
                {
                    let message = format!("the index {n} is out of bounds for array of size {len}");
                    return self.error(span, message);
                }
                let Some(stride) = self.catalog.size_of(elem) else {
                    return self.error(span, "The elements have no size");
                };
                let ty = (**elem).clone();
                let kind = ExprKind::Index { of: Box::new(of), index: Box::new(index), stride };
                Some(as_text(Expr { kind, ty, span }))
            }
            Type::Pointer { to, .. } if **to != Type::Void => {
                let pointer = self.pointer_add(of, index, false, span)?;
                self.deref(pointer, span)
            }
            Type::Tuple(_) => match index.constant().and_then(|n| u32::try_from(n).ok()) {
                Some(n) => self.tuple_field(of, n, span),
                None => self.error(span, "The index of a tuple must be a literal"),
            },
            Type::Str { size } => {
                if let Some(n) = index.constant().filter(|n| !(0..i64::from(*size)).contains(n)) {
                    let message = format!("the index {n} is out of bounds for array of size {size}");
                    return self.error(span, message);
                }
                let kind = ExprKind::Index { of: Box::new(of), index: Box::new(index), stride: 1 };
                Some(Expr { kind, ty: Type::I8, span })
            }
            Type::Void => Some(Expr { ty: Type::Void, span, ..of }),
            other => {
                let message = format!(
                    "The array index operator [] can only be used on arrays and pointers, found {}.",
                    self.name_of(other)
                );
                self.error(span, message)
            }
        }
    }

    /// What a pointer points to.
    pub(super) fn deref(&mut self, of: Expr, span: Span) -> Option<Expr> {
        let ty = match &of.ty {
            Type::Pointer { to, .. } if **to != Type::Void => (**to).clone(),
            // `*$x` of a plain number reads 8 bytes there, as old scripts do.
            Type::Int(_) => Type::U64,
            Type::Void => Type::Void,
            other => {
                let message = format!("Can not dereference pointer of type '{}'", self.name_of(other));
                return self.error(span, message);
            }
        };
        Some(as_text(Expr { kind: ExprKind::Deref(Box::new(of)), ty, span }))
    }
}

/// The member of an object in place.
fn field_of(of: Expr, member: Member, span: Span) -> Expr {
    let ty = match member.place {
        FieldPlace::Direct => member.ty.clone(),
        // The data is elsewhere: the field is its address.
        FieldPlace::DataLoc | FieldPlace::RelLoc => Type::pointer(Type::I8, AddressSpace::Kernel),
    };
    as_text(Expr { kind: ExprKind::Field { of: Box::new(of), member }, ty, span })
}

/// An array of characters in place is a string. It need not have a NUL: there is room for one
/// where that costs nothing, values being rounded up to multiples of 8.
fn as_text(e: Expr) -> Expr {
    match &e.ty {
        Type::Array { elem, len } if **elem == Type::I8 && *len > 0 => {
            let size = if len.is_multiple_of(8) { *len } else { *len + 1 };
            Expr { ty: Type::Str { size }, ..e }
        }
        _ => e,
    }
}
