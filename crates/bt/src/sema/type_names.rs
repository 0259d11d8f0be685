//! Types as the script writes them.

use super::Analyzer;
use crate::ast::{BaseType, TypeName, TypeOrExpr};
use crate::types::*;

impl Analyzer<'_> {
    pub(super) fn type_name(&mut self, name: &TypeName) -> Option<Type> {
        self.deeper(name.span, |a| a.type_name_inner(name))
    }

    fn type_name_inner(&mut self, name: &TypeName) -> Option<Type> {
        let mut ty = match &name.base {
            BaseType::Named(n) => match Type::builtin(n) {
                // `string[16]`: the dimension is the capacity.
                Some(Type::Str { .. }) if name.pointers == 0 => {
                    let size = match name.dims.as_slice() {
                        [Some(size)] => u32::try_from(*size).unwrap_or(u32::MAX).min(1 << 16),
                        _ => self.options.config.max_strlen,
                    };
                    return Some(Type::Str { size });
                }
                Some(ty) => ty,
                None => match self.catalog.find_typedef(n) {
                    Some(ty) => ty,
                    None => match self.catalog.find_struct(n, false).map(Type::Struct) {
                        Some(ty) => ty,
                        None => return self.unknown_type(n, name),
                    },
                },
            },
            BaseType::Struct(n) => match self.catalog.find_struct(n, false) {
                Some(id) => Type::Struct(id),
                None => return self.unknown_type(&format!("struct {n}"), name),
            },
            BaseType::Union(n) => match self.catalog.find_struct(n, true) {
                Some(id) => Type::Struct(id),
                None => return self.unknown_type(&format!("union {n}"), name),
            },
            BaseType::Enum(n) => match self.catalog.find_enum(n) {
                Some(e) => Type::Enum(e),
                None => return self.unknown_type(&format!("enum {n}"), name),
            },
            BaseType::Typeof(of) => self.type_or_expression(of)?,
            BaseType::Tuple(parts) => {
                let parts = parts.iter().map(|p| self.type_name(p)).collect::<Option<Vec<_>>>()?;
                Type::Tuple(std::rc::Rc::new(parts))
            }
        };
        for _ in 0..name.pointers {
            ty = Type::pointer(ty, AddressSpace::Unknown);
        }
        for dim in name.dims.iter().rev() {
            let len = u32::try_from(dim.unwrap_or(0)).unwrap_or(u32::MAX);
            ty = Type::array(ty, len);
        }
        for _ in 0..name.outer_pointers {
            ty = Type::pointer(ty, AddressSpace::Unknown);
        }
        Some(ty)
    }

    fn unknown_type<T>(&mut self, what: &str, name: &TypeName) -> Option<T> {
        let message = format!("Cannot resolve unknown type \"{what}\"");
        let without = self.without_types();
        self.diagnostics.push(crate::Diagnostic::error(name.span, message).with_hints(without));
        None
    }

    pub(super) fn type_or_expression(&mut self, of: &TypeOrExpr) -> Option<Type> {
        match of {
            TypeOrExpr::Type(name) => self.type_name(name),
            TypeOrExpr::Expr(e) => {
                let e = self.expression(e)?;
                Some(e.ty)
            }
        }
    }
}
