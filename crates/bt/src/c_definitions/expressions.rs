//! Integer constant expressions: array lengths, bit widths, enumerators, `#define`s.

use super::{Parsed, Parser, layout};
use crate::diagnostic::Diagnostic;
use crate::lexer::TokenKind;

/// Binary operators with their precedence in C.
const OPERATORS: &[(&str, u8)] = &[
    ("|", 1),
    ("^", 2),
    ("&", 3),
    ("==", 4),
    ("!=", 4),
    ("<", 5),
    ("<=", 5),
    (">", 5),
    (">=", 5),
    ("<<", 6),
    (">>", 6),
    ("+", 7),
    ("-", 7),
    ("*", 8),
    ("/", 8),
    ("%", 8),
];

impl Parser<'_, '_, '_> {
    /// A constant that is all of the text.
    pub(super) fn whole_constant(&mut self) -> Parsed<i64> {
        let value = self.constant()?;
        if self.token.kind == TokenKind::End { Ok(value) } else { Err(self.error("expected the end")) }
    }

    /// A constant expression; computed in 64 bits, wrapping.
    pub(super) fn constant(&mut self) -> Parsed<i64> {
        self.binary(0)
    }

    fn binary(&mut self, loosest: u8) -> Parsed<i64> {
        let mut left = self.deeper(Self::unary)?;
        loop {
            let TokenKind::Punct(op) = self.token.kind else { return Ok(left) };
            let Some(&(_, precedence)) = OPERATORS.iter().find(|(text, _)| *text == op) else { return Ok(left) };
            if precedence <= loosest {
                return Ok(left);
            }
            self.advance();
            let span = self.span();
            let right = self.deeper(|parser| parser.binary(precedence))?;
            left = compute(op, left, right).ok_or_else(|| Diagnostic::error(span, "division by zero"))?;
        }
    }

    fn unary(&mut self) -> Parsed<i64> {
        let value = match self.token.kind {
            TokenKind::Int { value, .. } => value.cast_signed(),
            TokenKind::Punct(op @ ("-" | "+" | "~" | "!")) => {
                self.advance();
                let value = self.deeper(Self::unary)?;
                return Ok(match op {
                    "-" => value.wrapping_neg(),
                    "~" => !value,
                    "!" => i64::from(value == 0),
                    _ => value,
                });
            }
            TokenKind::Punct("(") => {
                self.advance();
                let value = self.deeper(Self::constant)?;
                self.expect(")")?;
                return Ok(value);
            }
            TokenKind::Ident("sizeof") => return self.sizeof(),
            TokenKind::Ident(name) => match self.known_constant(name) {
                Some(value) => value,
                None => return Err(self.error(format!("'{name}' is not a constant"))),
            },
            _ => return Err(self.error("expected a constant")),
        };
        self.advance();
        Ok(value)
    }

    fn known_constant(&self, name: &str) -> Option<i64> {
        if self.asks_btf {
            return self.catalog.find_constant(name).map(|(value, _)| value);
        }
        let in_enums = || {
            let values = self.catalog.enums.iter().rev().flat_map(|e| e.values.iter());
            values.into_iter().find(|(_, known)| known == name).map(|&(value, _)| value)
        };
        self.catalog.constants.get(name).copied().or_else(in_enums)
    }

    fn sizeof(&mut self) -> Parsed<i64> {
        self.advance();
        self.expect("(")?;
        let span = self.span();
        let mut base = self.specifiers()?;
        while self.eat("*") {
            base.ty = crate::types::Type::pointer(base.ty, crate::types::AddressSpace::Unknown);
        }
        self.expect(")")?;
        let size = layout::size_of(&base.ty, self.catalog);
        size.map(i64::from).ok_or_else(|| Diagnostic::error(span, "the type has no size"))
    }
}

fn compute(op: &str, left: i64, right: i64) -> Option<i64> {
    Some(match op {
        "|" => left | right,
        "^" => left ^ right,
        "&" => left & right,
        "==" => i64::from(left == right),
        "!=" => i64::from(left != right),
        "<" => i64::from(left < right),
        "<=" => i64::from(left <= right),
        ">" => i64::from(left > right),
        ">=" => i64::from(left >= right),
        // Shifts by more than the width wrap, as the processor does.
        "<<" => left.wrapping_shl(right as u32),
        ">>" => left.wrapping_shr(right as u32),
        "+" => left.wrapping_add(right),
        "-" => left.wrapping_sub(right),
        "*" => left.wrapping_mul(right),
        "/" => left.checked_div(right)?,
        "%" => left.checked_rem(right)?,
        _ => return None,
    })
}
