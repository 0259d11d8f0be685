//! Types of functions on network addresses.

use super::Analyzer;
use crate::ast::{self, Span};
use crate::hir::{Expr, ExprKind};
use crate::types::*;

impl Analyzer<'_> {
    pub(super) fn ntop(&mut self, args: &[ast::Expr], span: Span) -> Option<Expr> {
        self.arity("ntop", args, 1, 2, span)?;
        let (family, address) = match args {
            [family, address] => (Some(Box::new(self.integer_argument("ntop", family, span)?)), address),
            [address, ..] => (None, address),
            [] => return None,
        };
        let address = self.expression(address)?;
        let address = self.value(address)?;
        let size = self.bytes_in_place(&address);
        let fits = match &address.ty {
            Type::Int(_) | Type::Void => true,
            Type::Pointer { .. } => family.is_some(),
            Type::Array { .. } | Type::Str { .. } | Type::Struct(_) => matches!(size, Some(4 | 16)),
            _ => false,
        };
        if !fits {
            let message = format!(
                "ntop() expects an integer or a 4 or 16 byte array as argument ({} provided)",
                self.name_of(&address.ty)
            );
            return self.error(span, message);
        }
        let kind = ExprKind::Ntop { family, address: Box::new(address) };
        Some(Expr { kind, ty: Type::Inet, span })
    }

    pub(super) fn macaddr(&mut self, args: &[ast::Expr], span: Span) -> Option<Expr> {
        self.arity("macaddr", args, 1, 1, span)?;
        let e = self.expression(&args[0])?;
        let fits = match &e.ty {
            Type::Array { .. } | Type::Str { .. } => self.bytes_in_place(&e) == Some(6),
            ty => ty.is_pointer() || ty.is_integral() || *ty == Type::Void,
        };
        if !fits || matches!(e.kind, ExprKind::Str(_)) {
            let message = format!("macaddr() argument must be 6 bytes in size ('{}' provided)", self.name_of(&e.ty));
            return self.error(span, message);
        }
        Some(Expr { kind: ExprKind::Macaddr(Box::new(e)), ty: Type::Mac, span })
    }

    /// The bytes of a literal address, in network order.
    pub(super) fn pton(&mut self, args: &[ast::Expr], span: Span) -> Option<Expr> {
        self.arity("pton", args, 1, 1, span)?;
        let text = self.literal("pton", &args[0], span)?;
        let bytes = match text.parse() {
            Ok(std::net::IpAddr::V4(address)) => address.octets().to_vec(),
            Ok(std::net::IpAddr::V6(address)) => address.octets().to_vec(),
            Err(_) => {
                return self.error(span, format!("pton() expects the text of an IPv4 or IPv6 address, got '{text}'"));
            }
        };
        let ty = Type::array(Type::U8, bytes.len() as u32);
        Some(Expr { kind: ExprKind::Str(bytes.into()), ty, span })
    }
}
