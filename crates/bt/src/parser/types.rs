//! Types as written, and telling `(type)e` from `(e)`.

use super::{Parsed, Parser};
use crate::ast::{BaseType, TypeName, TypeOrExpr};
use crate::lexer::TokenKind;
use crate::types::Type;

/// Words that C's integer types are made of; several of them make one name.
const C_TYPE_WORDS: &[&str] = &["unsigned", "signed", "long", "short", "int", "char"];
const QUALIFIERS: &[&str] = &["const", "volatile", "restrict", "__user", "__kernel", "__rcu", "__percpu"];

impl<'a> Parser<'a> {
    /// A type where nothing else may stand.
    pub(super) fn type_name(&mut self) -> Parsed<TypeName> {
        self.nested(|parser| {
            let start = parser.token.span.start;
            let base = parser.base_type()?;
            parser.type_after(base, start)
        })
    }

    /// The pointers and array dimensions after a base type.
    pub(super) fn type_after(&mut self, base: BaseType, start: u32) -> Parsed<TypeName> {
        let mut ty = TypeName { base, pointers: 0, dims: Vec::new(), outer_pointers: 0, span: self.since(start) };
        loop {
            self.skip_qualifiers();
            if self.eat("*") {
                if ty.dims.is_empty() {
                    ty.pointers += 1;
                } else {
                    ty.outer_pointers += 1;
                }
            } else if ty.outer_pointers > 0 && self.at("[") {
                return self.fail("arrays of pointers to arrays are not supported");
            } else if self.eat("[") {
                let dim = match self.token.kind {
                    TokenKind::Int { value, .. } => {
                        self.advance();
                        Some(value)
                    }
                    _ => None,
                };
                self.expect("]")?;
                ty.dims.push(dim);
            } else {
                ty.span = self.since(start);
                return Ok(ty);
            }
        }
    }

    fn skip_qualifiers(&mut self) {
        while matches!(self.token.kind, TokenKind::Ident(word) if QUALIFIERS.contains(&word)) {
            self.advance();
        }
    }

    fn base_type(&mut self) -> Parsed<BaseType> {
        self.skip_qualifiers();
        if self.at("(") {
            return self.tuple_type();
        }
        let TokenKind::Ident(word) = self.token.kind else { return self.fail("expected type name") };
        if word == "typeof" {
            self.advance();
            return self.typeof_base();
        }
        self.advance();
        Ok(match word {
            "struct" => BaseType::Struct(self.name("expected identifier")?.text),
            "union" => BaseType::Union(self.name("expected identifier")?.text),
            "enum" => BaseType::Enum(self.name("expected identifier")?.text),
            _ if C_TYPE_WORDS.contains(&word) => {
                let mut name = word.to_owned();
                while let TokenKind::Ident(next) = self.token.kind {
                    if C_TYPE_WORDS.contains(&next) {
                        name.push(' ');
                        name.push_str(next);
                    } else if !QUALIFIERS.contains(&next) {
                        break;
                    }
                    self.advance();
                }
                BaseType::Named(name)
            }
            _ => BaseType::Named(word.to_owned()),
        })
    }

    fn tuple_type(&mut self) -> Parsed<BaseType> {
        self.expect("(")?;
        let mut elems = Vec::new();
        while !self.at(")") {
            elems.push(self.type_name()?);
            if !self.eat(",") {
                break;
            }
        }
        self.expect(")")?;
        Ok(BaseType::Tuple(elems))
    }

    /// `(x)` after `typeof`.
    pub(super) fn typeof_base(&mut self) -> Parsed<BaseType> {
        self.expect("(")?;
        let of = self.type_or_expr()?;
        self.expect(")")?;
        Ok(BaseType::Typeof(Box::new(of)))
    }

    /// The argument of `sizeof`, `typeof`, `typeinfo` and `offsetof`.
    pub(super) fn type_or_expr(&mut self) -> Parsed<TypeOrExpr> {
        self.height = 1;
        let TokenKind::Ident(word) = self.token.kind else {
            return Ok(TypeOrExpr::Expr(Box::new(self.expression()?)));
        };
        // A function of the same name as a type (`ksym`) is called.
        if word == "typeof" || (self.starts_type(word) && self.second() != TokenKind::Punct("(")) {
            return Ok(TypeOrExpr::Type(self.type_name()?));
        }
        // `name *` before the end can only be a pointer type.
        let here = self.checkpoint();
        if let Ok(ty) = self.type_name()
            && ty.pointers > 0
            && (self.at(")") || self.at(","))
        {
            return Ok(TypeOrExpr::Type(ty));
        }
        self.back_to(here);
        Ok(TypeOrExpr::Expr(Box::new(self.expression()?)))
    }

    /// After `(`: the type of a cast, with its `)` taken; `None` (and nothing taken) if this
    /// is no cast.
    ///
    /// A name that is not known to be a type makes a cast if a `*` follows it, or if
    /// what follows the `)` could not continue an expression.
    pub(super) fn cast(&mut self) -> Parsed<Option<TypeName>> {
        let TokenKind::Ident(word) = self.token.kind else { return Ok(None) };
        if word == "typeof" {
            // Nothing but a cast starts so: no way back, which keeps nested ones linear.
            let ty = self.type_name()?;
            self.expect(")")?;
            return Ok(Some(ty));
        }
        let known = self.starts_type(word);
        let here = self.checkpoint();
        if let Ok(ty) = self.type_name()
            && self.eat(")")
            && self.starts_operand(known || ty.pointers + ty.outer_pointers > 0)
            && (known || ty.dims.is_empty() || ty.outer_pointers > 0)
        {
            return Ok(Some(ty));
        }
        self.back_to(here);
        Ok(None)
    }

    /// Whether the current token starts what a cast applies to. Without `any`, only what
    /// cannot continue an expression counts.
    fn starts_operand(&self, any: bool) -> bool {
        match &self.token.kind {
            TokenKind::Ident(_)
            | TokenKind::Var(_)
            | TokenKind::Map(_)
            | TokenKind::Positional(_)
            | TokenKind::PositionalCount
            | TokenKind::Int { .. }
            | TokenKind::Str(_)
            | TokenKind::Punct("(" | "!" | "~") => true,
            TokenKind::Punct("-" | "*" | "&" | "++" | "--") => any,
            _ => false,
        }
    }

    /// Whether a name is known to start a type.
    fn starts_type(&self, word: &str) -> bool {
        matches!(word, "struct" | "union" | "enum" | "buffer" | "timestamp")
            || QUALIFIERS.contains(&word)
            || C_TYPE_WORDS.contains(&word)
            || word.ends_with("_t")
            || self.typedefs.contains(word)
            || Type::builtin(word).is_some()
    }
}
