//! Expressions, from the loosest binding to the tightest.

use super::{Failed, Parsed, Parser};
use crate::ast::{BinaryOp, Expr, ExprKind, Name, TypeOrExpr, UnaryOp};
use crate::lexer::TokenKind;

/// Binary operators with their precedence: a higher one binds tighter. As in C.
const BINARY_OPERATORS: &[(&str, u8, BinaryOp)] = &[
    ("||", 1, BinaryOp::LogicalOr),
    ("&&", 2, BinaryOp::LogicalAnd),
    ("|", 3, BinaryOp::Or),
    ("^", 4, BinaryOp::Xor),
    ("&", 5, BinaryOp::And),
    ("==", 6, BinaryOp::Eq),
    ("!=", 6, BinaryOp::Ne),
    ("<", 7, BinaryOp::Lt),
    ("<=", 7, BinaryOp::Le),
    (">", 7, BinaryOp::Gt),
    (">=", 7, BinaryOp::Ge),
    ("<<", 8, BinaryOp::Shl),
    (">>", 8, BinaryOp::Shr),
    ("+", 9, BinaryOp::Add),
    ("-", 9, BinaryOp::Sub),
    ("*", 10, BinaryOp::Mul),
    ("/", 10, BinaryOp::Div),
    ("%", 10, BinaryOp::Mod),
];

impl<'a> Parser<'a> {
    pub(super) fn expression(&mut self) -> Parsed<Expr> {
        self.nested(Self::ternary)
    }

    fn ternary(&mut self) -> Parsed<Expr> {
        let start = self.token.span.start;
        let cond = self.binary(0)?;
        if !self.eat("?") {
            return Ok(cond);
        }
        let mut height = self.height;
        let then = if self.at(":") {
            None
        } else {
            let then = self.expression()?;
            height = height.max(self.height);
            Some(Box::new(then))
        };
        self.expect(":")?;
        let otherwise = self.expression()?;
        self.grow(height.max(self.height))?;
        let kind = ExprKind::Ternary { cond: Box::new(cond), then, otherwise: Box::new(otherwise) };
        Ok(Expr { kind, span: self.since(start) })
    }

    /// Operators that bind tighter than `loosest`, from left to right.
    fn binary(&mut self, loosest: u8) -> Parsed<Expr> {
        let mut left = self.unary()?;
        loop {
            let TokenKind::Punct(punct) = self.token.kind else { return Ok(left) };
            let Some(&(_, precedence, op)) = BINARY_OPERATORS.iter().find(|(text, ..)| *text == punct) else {
                return Ok(left);
            };
            if precedence <= loosest || self.at_end_of_predicate() {
                return Ok(left);
            }
            let height = self.height;
            self.advance();
            let right = self.nested(|parser| parser.binary(precedence))?;
            self.grow(height.max(self.height))?;
            let span = left.span.to(right.span);
            left = Expr { kind: ExprKind::Binary { op, args: Box::new([left, right]) }, span };
        }
    }

    pub(super) fn unary(&mut self) -> Parsed<Expr> {
        let start = self.token.span.start;
        let op = match self.token.kind {
            TokenKind::Punct("-") => UnaryOp::Neg,
            TokenKind::Punct("!") => UnaryOp::Not,
            TokenKind::Punct("~") => UnaryOp::Complement,
            TokenKind::Punct("*") => UnaryOp::Deref,
            TokenKind::Punct("&") => UnaryOp::AddressOf,
            TokenKind::Punct("+") => {
                self.advance();
                return self.nested(Self::unary);
            }
            TokenKind::Punct(step @ ("++" | "--")) => {
                self.advance();
                let target = self.nested(Self::unary)?;
                self.check_steppable(&target)?;
                self.grow(self.height)?;
                let kind = ExprKind::Step { target: Box::new(target), increment: step == "++", prefix: true };
                return Ok(Expr { kind, span: self.since(start) });
            }
            _ => return self.postfix(),
        };
        self.advance();
        if op == UnaryOp::AddressOf && !matches!(self.token.kind, TokenKind::Var(_) | TokenKind::Map(_)) {
            return self.fail("address-of operator (&) can only be used on a map or variable");
        }
        let arg = self.nested(Self::unary)?;
        self.grow(self.height)?;
        Ok(Expr { kind: ExprKind::Unary { op, arg: Box::new(arg) }, span: self.since(start) })
    }

    fn check_steppable(&mut self, target: &Expr) -> Parsed<()> {
        if matches!(target.kind, ExprKind::Var(_) | ExprKind::Map { .. } | ExprKind::Ident(_)) {
            return Ok(());
        }
        self.error_at(target.span, "increment/decrement requires a variable or map");
        Err(Failed)
    }

    fn postfix(&mut self) -> Parsed<Expr> {
        let mut expr = self.primary()?;
        loop {
            let height = self.height;
            let start = expr.span.start;
            let kind = match self.token.kind {
                TokenKind::Punct(access @ ("." | "->")) => {
                    self.advance_unexpanded();
                    self.member(expr, access == "->")?
                }
                TokenKind::Punct("[") => {
                    self.advance();
                    let index = self.expression()?;
                    self.expect("]")?;
                    let height = height.max(self.height);
                    self.height = height;
                    ExprKind::Index { of: Box::new(expr), index: Box::new(index) }
                }
                TokenKind::Punct(step @ ("++" | "--")) => {
                    self.check_steppable(&expr)?;
                    self.advance();
                    ExprKind::Step { target: Box::new(expr), increment: step == "++", prefix: false }
                }
                _ => return Ok(expr),
            };
            self.grow(height.max(self.height))?;
            expr = Expr { kind, span: self.since(start) };
        }
    }

    /// After `.` or `->`: a field's name or a tuple's index.
    fn member(&mut self, of: Expr, arrow: bool) -> Parsed<ExprKind> {
        let of = Box::new(of);
        let span = self.token.span;
        let kind = match self.token.kind {
            TokenKind::Ident(text) => ExprKind::Field { of, name: Name { text: text.to_owned(), span }, arrow },
            TokenKind::Int { value, .. } => match u32::try_from(value) {
                Ok(index) => ExprKind::TupleField { of, index },
                Err(_) => return self.fail("tuple index out of range"),
            },
            _ => return self.fail(format!("expected field name after '{}'", if arrow { "->" } else { "." })),
        };
        self.advance();
        Ok(kind)
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let start = self.token.span.start;
        self.height = 1;
        let kind = match &self.token.kind {
            TokenKind::Int { value, unsigned } => ExprKind::Int { value: *value, unsigned: *unsigned },
            TokenKind::Str(text) => ExprKind::Str(text.clone()),
            TokenKind::Var(name) => ExprKind::Var((*name).to_owned()),
            TokenKind::Positional(number) => ExprKind::Positional(*number),
            TokenKind::PositionalCount => ExprKind::PositionalCount,
            TokenKind::Map(_) => return self.map(),
            TokenKind::Ident(word) => return self.word(word),
            TokenKind::Punct("(") => return self.parenthesized(),
            TokenKind::Punct("{") => {
                let block = self.block_with_value()?;
                let span = block.span;
                return Ok(Expr { kind: ExprKind::Block(Box::new(block)), span });
            }
            _ => return self.fail("expected expression"),
        };
        self.advance();
        Ok(Expr { kind, span: self.since(start) })
    }

    /// `@x` or `@x[key, …]`.
    fn map(&mut self) -> Parsed<Expr> {
        let start = self.token.span.start;
        let TokenKind::Map(name) = self.token.kind else { return self.fail("expected a map") };
        self.advance();
        let mut key = Vec::new();
        if self.eat("[") {
            if self.at("]") {
                return self.fail("expected expression");
            }
            key = self.arguments("]")?;
            self.grow(self.height)?;
        }
        Ok(Expr { kind: ExprKind::Map { name: name.to_owned(), key }, span: self.since(start) })
    }

    /// Comma-separated expressions up to `close`, which is taken. A trailing comma is allowed.
    pub(super) fn arguments(&mut self, close: &str) -> Parsed<Vec<Expr>> {
        let mut args = Vec::new();
        let mut height = 0;
        while !self.at(close) {
            args.push(self.expression()?);
            height = height.max(self.height);
            if !self.eat(",") {
                break;
            }
        }
        self.expect(close)?;
        self.height = height;
        Ok(args)
    }

    /// What starts with a name: keywords that are values, calls, plain names.
    fn word(&mut self, word: &'a str) -> Parsed<Expr> {
        let start = self.token.span.start;
        let name = Name { text: word.to_owned(), span: self.token.span };
        if word == "if" {
            let parts = self.if_parts()?;
            if parts.otherwise.is_none() {
                self.error_at(parts.span, "an 'if' that is used as a value needs an 'else'");
                return Err(Failed);
            }
            return Ok(parts.into_expr());
        }
        self.advance();
        let kind = match word {
            "true" => ExprKind::Bool(true),
            "false" => ExprKind::Bool(false),
            "comptime" => {
                let arg = self.nested(Self::unary)?;
                self.grow(self.height)?;
                ExprKind::Comptime(Box::new(arg))
            }
            "sizeof" if self.at("(") => ExprKind::Sizeof(self.parenthesized_type_or_expr()?),
            "typeinfo" if self.at("(") => ExprKind::Typeinfo(self.parenthesized_type_or_expr()?),
            "typeof" if self.at("(") => {
                let base = self.typeof_base()?;
                ExprKind::Type(self.type_after(base, start)?)
            }
            "offsetof" if self.at("(") => self.offsetof()?,
            "struct" | "union" | "enum" | "else" => {
                self.error_at(name.span, "expected expression");
                return Err(Failed);
            }
            _ if self.eat("(") => {
                let args = self.arguments(")")?;
                self.grow(self.height)?;
                ExprKind::Call { name, args }
            }
            _ => ExprKind::Ident(name.text),
        };
        Ok(Expr { kind, span: self.since(start) })
    }

    fn offsetof(&mut self) -> Parsed<ExprKind> {
        self.expect("(")?;
        let of = self.type_or_expr()?;
        self.grow(self.height)?;
        self.expect(",")?;
        let mut path = vec![self.name("expected field name")?];
        while self.eat(".") {
            path.push(self.name("expected field name")?);
        }
        self.expect(")")?;
        Ok(ExprKind::Offsetof { of, path })
    }

    fn parenthesized_type_or_expr(&mut self) -> Parsed<TypeOrExpr> {
        self.expect("(")?;
        let of = self.type_or_expr()?;
        self.grow(self.height)?;
        self.expect(")")?;
        Ok(of)
    }

    /// `(e)`, `(type)e`, `(a, b)`, `(a = 1)`, `()`.
    fn parenthesized(&mut self) -> Parsed<Expr> {
        let start = self.token.span.start;
        self.advance();
        if let Some(ty) = self.cast()? {
            let arg = self.nested(Self::unary)?;
            self.grow(self.height)?;
            return Ok(Expr { kind: ExprKind::Cast { ty, arg: Box::new(arg) }, span: self.since(start) });
        }
        if matches!(self.token.kind, TokenKind::Ident(_)) && self.second() == TokenKind::Punct("=") {
            return self.record(start);
        }
        if self.eat(")") {
            return Ok(Expr { kind: ExprKind::Tuple(Vec::new()), span: self.since(start) });
        }
        let first = self.expression()?;
        if self.eat(")") {
            return Ok(first);
        }
        let height = self.height;
        if !self.eat(",") {
            return self.fail("expected ')'");
        }
        let mut elems = vec![first];
        elems.extend(self.arguments(")")?);
        self.grow(height.max(self.height))?;
        Ok(Expr { kind: ExprKind::Tuple(elems), span: self.since(start) })
    }

    fn record(&mut self, start: u32) -> Parsed<Expr> {
        let mut fields: Vec<(Name, Expr)> = Vec::new();
        let mut height = 0;
        while !self.at(")") {
            let name = self.name("expected identifier")?;
            self.expect("=")?;
            let value = self.expression()?;
            height = height.max(self.height);
            if fields.iter().any(|(other, _)| other.text == name.text) {
                let message = format!("Named argument list already contains name: {}", name.text);
                self.error_at(name.span.to(value.span), message);
            }
            fields.push((name, value));
            if !self.eat(",") {
                break;
            }
        }
        self.expect(")")?;
        self.grow(height)?;
        Ok(Expr { kind: ExprKind::Record(fields), span: self.since(start) })
    }
}
