//! Blocks and statements.

use super::{Failed, Parsed, Parser};
use crate::ast::{BinaryOp, Block, Expr, ExprKind, ForRange, Span, Stmt, StmtKind, UnaryOp};
use crate::lexer::TokenKind;

/// `op=` for each operator that has it.
const COMPOUND_ASSIGNMENTS: &[(&str, BinaryOp)] = &[
    ("+=", BinaryOp::Add),
    ("-=", BinaryOp::Sub),
    ("*=", BinaryOp::Mul),
    ("/=", BinaryOp::Div),
    ("%=", BinaryOp::Mod),
    ("&=", BinaryOp::And),
    ("|=", BinaryOp::Or),
    ("^=", BinaryOp::Xor),
    ("<<=", BinaryOp::Shl),
    (">>=", BinaryOp::Shr),
];

/// A statement, or the last expression of a block.
enum Piece {
    Stmt(Stmt),
    Value(Expr),
    Nothing,
}

/// `if` before it is known whether its value is wanted.
pub(super) struct IfParts {
    pub cond: Expr,
    pub then: Block,
    pub otherwise: Option<Block>,
    pub span: Span,
}

impl<'a> Parser<'a> {
    /// `{ … }` whose value, if it has one, is kept.
    pub(super) fn block_with_value(&mut self) -> Parsed<Block> {
        self.nested(Self::block)
    }

    /// `{ … }` where no value is wanted: a last expression becomes a statement.
    pub(super) fn block_of_statements(&mut self) -> Parsed<Block> {
        let mut block = self.block_with_value()?;
        settle(&mut block);
        Ok(block)
    }

    fn block(&mut self) -> Parsed<Block> {
        let start = self.token.span.start;
        self.expect("{")?;
        // What stands in a block belongs to no predicate, not even a block in one.
        let in_predicate = std::mem::replace(&mut self.in_predicate, false);
        let mut block = Block::default();
        let mut height = 0;
        while !self.at("}") && !self.at_end() {
            let before = self.token.span.start;
            self.height = 0;
            match self.statement() {
                Ok(Piece::Stmt(stmt)) => block.stmts.push(stmt),
                Ok(Piece::Value(value)) => block.value = Some(Box::new(value)),
                Ok(Piece::Nothing) => {}
                Err(Failed) => self.recover_in_block(before),
            }
            height = height.max(self.height);
        }
        self.in_predicate = in_predicate;
        self.expect("}")?;
        block.span = self.since(start);
        self.grow(height)?;
        Ok(block)
    }

    /// Skips the rest of a statement that went wrong: past its `;`, or up to the `}` of its block.
    fn recover_in_block(&mut self, before: u32) {
        if self.token.span.start == before && !self.at("}") && !self.at("{") && !self.at_end() {
            self.advance();
        }
        let mut depth = 0_u32;
        while !self.at_end() {
            match self.token.kind {
                TokenKind::Punct("{") => depth += 1,
                TokenKind::Punct("}") if depth == 0 => return,
                TokenKind::Punct("}") => depth -= 1,
                TokenKind::Punct(";") if depth == 0 => {
                    self.advance();
                    return;
                }
                _ => {}
            }
            self.advance();
        }
    }

    fn statement(&mut self) -> Parsed<Piece> {
        let start = self.token.span.start;
        let kind = match self.token.kind {
            TokenKind::Punct(";") => {
                self.advance();
                return Ok(Piece::Nothing);
            }
            TokenKind::Punct("{") => {
                let block = self.block_with_value()?;
                return Ok(self.finish_block(block));
            }
            TokenKind::Ident("if") => {
                let parts = self.if_parts()?;
                return Ok(self.finish_if(parts, false));
            }
            TokenKind::Ident("comptime") if self.second() == TokenKind::Ident("if") => {
                self.advance();
                let mut parts = self.if_parts()?;
                parts.span.start = start;
                return Ok(self.finish_if(parts, true));
            }
            TokenKind::Ident("let") => self.let_statement()?,
            TokenKind::Ident("while") => {
                self.advance();
                let cond = self.expression()?;
                let height = self.height;
                let body = self.block_of_statements()?;
                self.grow(height.max(self.height))?;
                StmtKind::While { cond, body }
            }
            TokenKind::Ident("unroll") => {
                self.advance();
                let count = self.expression()?;
                let height = self.height;
                let body = self.block_of_statements()?;
                self.grow(height.max(self.height))?;
                StmtKind::Unroll { count, body }
            }
            TokenKind::Ident("for") => self.for_statement()?,
            TokenKind::Ident("break") => self.jump_statement(StmtKind::Break)?,
            TokenKind::Ident("continue") => self.jump_statement(StmtKind::Continue)?,
            TokenKind::Ident("return") => {
                self.advance();
                let value = if self.at(";") || self.at("}") { None } else { Some(self.expression()?) };
                self.end_of_statement()?;
                StmtKind::Return(value)
            }
            TokenKind::Directive(_) => {
                self.error_here("C definitions must appear outside of probes and functions");
                self.advance();
                return Ok(Piece::Nothing);
            }
            TokenKind::Ident("import") if matches!(self.second(), TokenKind::Str(_)) => {
                let import = self.import()?;
                self.imports.push(import);
                return Ok(Piece::Nothing);
            }
            _ => return self.expression_statement(),
        };
        Ok(Piece::Stmt(Stmt { kind, span: self.since(start) }))
    }

    fn jump_statement(&mut self, kind: StmtKind) -> Parsed<StmtKind> {
        self.advance();
        self.end_of_statement()?;
        Ok(kind)
    }

    /// Takes the `;`; before a `}` it may be left out.
    fn end_of_statement(&mut self) -> Parsed<()> {
        if self.at("}") { Ok(()) } else { self.expect(";") }
    }

    fn expression_statement(&mut self) -> Parsed<Piece> {
        let start = self.token.span.start;
        let expr = self.expression()?;
        let height = self.height;
        if is_place(&expr)
            && let Some(op) = self.assignment_operator()
        {
            self.check_assignable(&expr)?;
            self.advance();
            let value = self.expression()?;
            self.grow(height.max(self.height))?;
            let span = self.since(start);
            self.end_of_statement()?;
            return Ok(Piece::Stmt(Stmt { kind: StmtKind::Assign { target: expr, op, value }, span }));
        }
        let span = self.since(start);
        if self.at("}") {
            return Ok(Piece::Value(expr));
        }
        self.expect(";")?;
        Ok(Piece::Stmt(Stmt { kind: StmtKind::Expr(expr), span }))
    }

    fn check_assignable(&mut self, target: &Expr) -> Parsed<()> {
        let message = match target.kind {
            ExprKind::Var(_) | ExprKind::Map { .. } | ExprKind::Ident(_) => return Ok(()),
            ExprKind::Field { .. } | ExprKind::TupleField { .. } => {
                "Tuples and records are immutable once created. \
                 Consider creating a new value and assigning it instead."
            }
            _ => "invalid assignment target",
        };
        // The mark is under the whole assignment.
        self.advance();
        let value = self.expression()?;
        self.error_at(target.span.to(value.span), message);
        Err(Failed)
    }

    /// `=` (no operator) or `op=`, if that is the current token.
    fn assignment_operator(&self) -> Option<Option<BinaryOp>> {
        let TokenKind::Punct(punct) = self.token.kind else { return None };
        if punct == "=" {
            return Some(None);
        }
        COMPOUND_ASSIGNMENTS.iter().find(|(text, _)| *text == punct).map(|&(_, op)| Some(op))
    }

    fn let_statement(&mut self) -> Parsed<StmtKind> {
        self.advance();
        let var = self.variable("expected variable after 'let'")?;
        let ty = if self.eat(":") { Some(self.type_name()?) } else { None };
        let value = if self.eat("=") { Some(self.expression()?) } else { None };
        self.end_of_statement()?;
        Ok(StmtKind::Let { var, ty, value })
    }

    fn for_statement(&mut self) -> Parsed<StmtKind> {
        self.advance();
        let parenthesized = self.eat("(");
        let var = self.variable("expected variable in for loop")?;
        self.expect(":")?;
        let first = self.expression()?;
        let mut height = self.height;
        let over = if self.eat("..") {
            let end = self.expression()?;
            height = height.max(self.height);
            ForRange::Range { start: first, end }
        } else if matches!(first.kind, ExprKind::Map { .. } | ExprKind::Ident(_)) {
            ForRange::Map(first)
        } else {
            return self.fail("expected map or range in for loop");
        };
        if parenthesized {
            self.expect(")")?;
        }
        let body = self.block_of_statements()?;
        self.grow(height.max(self.height))?;
        Ok(StmtKind::For { var, over, body })
    }

    /// `if cond { … } else …`, at the `if`.
    pub(super) fn if_parts(&mut self) -> Parsed<IfParts> {
        self.nested(|parser| {
            let start = parser.token.span.start;
            parser.advance();
            let cond = parser.expression()?;
            let mut height = parser.height;
            let then = parser.block_with_value()?;
            height = height.max(parser.height);
            let otherwise = if !parser.eat_word("else") {
                None
            } else if parser.at_word("if") {
                Some(parser.if_parts()?.into_block())
            } else if parser.at("{") {
                Some(parser.block_with_value()?)
            } else {
                return parser.fail("expected '{' or 'if' after 'else'");
            };
            if otherwise.is_some() {
                height = height.max(parser.height);
            }
            parser.grow(height)?;
            Ok(IfParts { cond, then, otherwise, span: parser.since(start) })
        })
    }

    fn finish_if(&mut self, parts: IfParts, comptime: bool) -> Piece {
        if !self.at("}") || !parts.has_value() {
            self.eat(";");
            return Piece::Stmt(parts.into_stmt(comptime));
        }
        let span = parts.span;
        let value = parts.into_expr();
        Piece::Value(if comptime { Expr { kind: ExprKind::Comptime(Box::new(value)), span } } else { value })
    }

    fn finish_block(&mut self, mut block: Block) -> Piece {
        let span = block.span;
        if self.at("}") && block.value.is_some() {
            return Piece::Value(Expr { kind: ExprKind::Block(Box::new(block)), span });
        }
        settle(&mut block);
        Piece::Stmt(Stmt { kind: StmtKind::Block(block), span })
    }
}

impl IfParts {
    fn has_value(&self) -> bool {
        self.then.value.is_some() && self.otherwise.as_ref().is_some_and(|block| block.value.is_some())
    }

    pub(super) fn into_expr(self) -> Expr {
        let kind = ExprKind::If {
            cond: Box::new(self.cond),
            then: Box::new(self.then),
            otherwise: Box::new(self.otherwise.unwrap_or_default()),
        };
        Expr { kind, span: self.span }
    }

    fn into_stmt(mut self, comptime: bool) -> Stmt {
        settle(&mut self.then);
        if let Some(otherwise) = &mut self.otherwise {
            settle(otherwise);
        }
        let kind = StmtKind::If { cond: self.cond, then: self.then, otherwise: self.otherwise, comptime };
        Stmt { kind, span: self.span }
    }

    /// The block that `else if` stands for.
    fn into_block(self) -> Block {
        let span = self.span;
        if self.has_value() {
            Block { stmts: Vec::new(), value: Some(Box::new(self.into_expr())), span }
        } else {
            Block { stmts: vec![self.into_stmt(false)], value: None, span }
        }
    }
}

/// Whether an expression names something that `=` may follow, be it allowed or not.
fn is_place(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Var(_) | ExprKind::Map { .. } => true,
        ExprKind::Ident(name) => name == "_",
        ExprKind::Field { of, .. } | ExprKind::TupleField { of, .. } | ExprKind::Index { of, .. } => is_place(of),
        ExprKind::Unary { op: UnaryOp::Deref, .. } => true,
        _ => false,
    }
}

/// Turns the value of a block into its last statement.
fn settle(block: &mut Block) {
    if let Some(value) = block.value.take() {
        block.stmts.push(into_statement(*value));
    }
}

/// The statement that an expression is when nobody wants its value.
fn into_statement(expr: Expr) -> Stmt {
    let span = expr.span;
    let kind = match expr.kind {
        ExprKind::Block(mut block) => {
            settle(&mut block);
            StmtKind::Block(*block)
        }
        ExprKind::If { cond, then, otherwise } => {
            let parts = IfParts { cond: *cond, then: *then, otherwise: Some(*otherwise), span };
            return parts.into_stmt(false);
        }
        ExprKind::Comptime(inner) if matches!(inner.kind, ExprKind::If { .. }) => match into_statement(*inner).kind {
            StmtKind::If { cond, then, otherwise, .. } => StmtKind::If { cond, then, otherwise, comptime: true },
            other => other,
        },
        kind => StmtKind::Expr(Expr { kind, span }),
    };
    Stmt { kind, span }
}
