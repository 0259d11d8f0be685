//! Tokens → syntax tree, by recursive descent: a function for each rule of the grammar.
//!
//! The parser never gives up at the first mistake: a statement that fails is
//! recorded and skipped to its `;` or `}`. Nesting is bounded, so that no text
//! overflows the stack here or in whoever walks the tree later.

mod attach_points;
mod expressions;
mod preprocessor;
mod statements;
mod top_level;
mod types;

use std::collections::{HashMap, HashSet};

use crate::ast::{AttachPoint, Import, Name, Script, Span};
use crate::diagnostic::Diagnostic;
use crate::lexer::{Lexer, Token, TokenKind};
use preprocessor::Conditional;

/// How deep rules may call each other. Each level costs up to some 10 kB of
/// stack in an unoptimised build, and a test's thread has 2 MB.
const MAX_NESTING: u32 = 120;
/// How high an expression's or statement's tree may be; chains like `a + b + c` and `a.b.c`
/// grow the tree without nesting.
const MAX_HEIGHT: u32 = 250;
/// After so many errors the rest is noise.
const MAX_ERRORS: usize = 20;
/// Bytes of script that are accepted; spans are 32-bit and nobody writes this much.
const MAX_TEXT: usize = 16 << 20;

/// What a parse depends on beside the text.
#[derive(Clone, Copy, Debug, Default)]
pub struct ParseOptions<'a> {
    /// Positional parameters, expanded in attach points; the first is `$1`. Missing
    /// ones expand to nothing.
    pub positional: &'a [String],
}

/// Parses a script. The tree holds what could be understood; it is whole if none
/// of the diagnostics is an error.
pub fn parse(text: &str, options: &ParseOptions<'_>) -> (Script, Vec<Diagnostic>) {
    if text.len() > MAX_TEXT {
        return (
            Script::default(),
            vec![Diagnostic::global(format!("the script is larger than {} MiB", MAX_TEXT >> 20))],
        );
    }
    let mut parser = Parser::new(text, options);
    let script = parser.script();
    (script, parser.diagnostics)
}

/// Parses a single attach point, as in `-l PATTERN`.
pub fn parse_attach_point(text: &str, options: &ParseOptions<'_>) -> Result<AttachPoint, Diagnostic> {
    let (points, diagnostics) = {
        let mut parser = Parser::new(text, options);
        let point = parser.attach_point();
        if point.is_ok() && parser.token.kind != TokenKind::End {
            parser.error_here("expected the end of the pattern");
        }
        (point, parser.diagnostics)
    };
    match (points, diagnostics.into_iter().next()) {
        (Ok(point), None) => Ok(point),
        (_, Some(diagnostic)) => Err(diagnostic),
        (Err(Failed), None) => Err(Diagnostic::global("expected attach point")),
    }
}

/// A rule failed; the diagnostic is already recorded.
#[derive(Debug)]
struct Failed;

type Parsed<T> = Result<T, Failed>;

struct Parser<'a> {
    text: &'a str,
    options: &'a ParseOptions<'a>,
    lexer: Lexer<'a>,
    /// Tokens of expanded `#define`s that come before what the lexer gives next; reversed.
    pending: Vec<Token<'a>>,
    token: Token<'a>,
    /// End of the token before the current one.
    last_end: u32,
    /// `#define NAME VALUE`.
    defines: HashMap<&'a str, Vec<Token<'a>>>,
    /// Tokens made by expansion so far.
    expanded: usize,
    conditionals: Vec<Conditional>,
    /// Names of typedefs in the script: they make `(name)` a cast.
    typedefs: HashSet<&'a str>,
    /// Imports that stand in blocks.
    imports: Vec<Import>,
    nesting: u32,
    /// Height of the tree that the last rule made.
    height: u32,
    /// Inside a predicate `/` before `{` ends it.
    in_predicate: bool,
    diagnostics: Vec<Diagnostic>,
}

/// Where to come back to.
struct Checkpoint<'a> {
    lexer: Lexer<'a>,
    pending: Vec<Token<'a>>,
    token: Token<'a>,
    last_end: u32,
    expanded: usize,
    diagnostics: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, options: &'a ParseOptions<'a>) -> Parser<'a> {
        let mut lexer = Lexer::new(text);
        if text.starts_with("#!") {
            lexer.seek(text.find('\n').unwrap_or(text.len()));
        }
        let token = lexer.token();
        Parser {
            text,
            options,
            lexer,
            pending: Vec::new(),
            token,
            last_end: 0,
            defines: HashMap::new(),
            expanded: 0,
            conditionals: Vec::new(),
            typedefs: HashSet::new(),
            imports: Vec::new(),
            nesting: 0,
            height: 0,
            in_predicate: false,
            diagnostics: Vec::new(),
        }
    }

    /// Goes to the next token.
    fn advance(&mut self) {
        self.last_end = self.token.span.end;
        self.token = self.next_token();
    }

    /// Goes to the next token, which means itself even if a `#define` has its name: a field's name.
    fn advance_unexpanded(&mut self) {
        self.last_end = self.token.span.end;
        self.token = match self.pending.pop() {
            Some(token) => token,
            None => self.lexer.token(),
        };
    }

    /// Continues at a byte offset of the text.
    fn jump(&mut self, pos: usize) {
        self.pending.clear();
        self.lexer.seek(pos);
        self.last_end = u32::try_from(pos).unwrap_or(u32::MAX);
        self.token = self.next_token();
    }

    fn at(&self, punct: &str) -> bool {
        matches!(self.token.kind, TokenKind::Punct(p) if p == punct)
    }

    fn at_word(&self, word: &str) -> bool {
        matches!(self.token.kind, TokenKind::Ident(w) if w == word)
    }

    fn at_end(&self) -> bool {
        self.token.kind == TokenKind::End
    }

    /// Takes this punctuation if it is there.
    fn eat(&mut self, punct: &str) -> bool {
        let there = self.at(punct);
        if there {
            self.advance();
        }
        there
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let there = self.at_word(word);
        if there {
            self.advance();
        }
        there
    }

    fn expect(&mut self, punct: &str) -> Parsed<()> {
        if self.eat(punct) { Ok(()) } else { self.fail(format!("expected '{punct}'")) }
    }

    fn name(&mut self, expected: &str) -> Parsed<Name> {
        let TokenKind::Ident(text) = self.token.kind else { return self.fail(expected) };
        let span = self.token.span;
        self.advance();
        Ok(Name { text: text.to_owned(), span })
    }

    fn variable(&mut self, expected: &str) -> Parsed<Name> {
        let TokenKind::Var(text) = self.token.kind else { return self.fail(expected) };
        let span = self.token.span;
        self.advance();
        Ok(Name { text: text.to_owned(), span })
    }

    fn string(&mut self, expected: &str) -> Parsed<(String, Span)> {
        let TokenKind::Str(text) = &mut self.token.kind else { return self.fail(expected) };
        let text = std::mem::take(text);
        let span = self.token.span;
        self.advance();
        Ok((text, span))
    }

    /// From `start` to the end of the last token taken.
    fn since(&self, start: u32) -> Span {
        Span { start, end: self.last_end.max(start) }
    }

    /// Records an error at the current token.
    fn error_here(&mut self, message: impl Into<String>) {
        let message = match &self.token.kind {
            TokenKind::Bad(reason) => reason.clone(),
            _ => message.into(),
        };
        self.error_at(self.token.span, message);
    }

    fn error_at(&mut self, span: Span, message: impl Into<String>) {
        if self.diagnostics.len() < MAX_ERRORS {
            self.diagnostics.push(Diagnostic::error(span, format!("syntax: {}", message.into())));
        }
    }

    fn fail<T>(&mut self, message: impl Into<String>) -> Parsed<T> {
        self.error_here(message);
        Err(Failed)
    }

    /// Fails at a limit of the parser's own, which is said once: it is met again on the way out.
    fn too_much<T>(&mut self, message: &str) -> Parsed<T> {
        if !self.diagnostics.iter().any(|known| known.message.ends_with(message)) {
            self.error_here(message);
        }
        Err(Failed)
    }

    /// Runs a rule one level deeper.
    fn nested<T>(&mut self, rule: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.nesting >= MAX_NESTING {
            return self.too_much("nested too deeply");
        }
        self.nesting += 1;
        let result = rule(self);
        self.nesting -= 1;
        result
    }

    /// The tree that is being made stands on trees of this height.
    fn grow(&mut self, below: u32) -> Parsed<()> {
        self.height = below + 1;
        if self.height > MAX_HEIGHT { self.too_much("expression too long: split it") } else { Ok(()) }
    }

    fn checkpoint(&self) -> Checkpoint<'a> {
        Checkpoint {
            lexer: self.lexer.clone(),
            pending: self.pending.clone(),
            token: self.token.clone(),
            last_end: self.last_end,
            expanded: self.expanded,
            diagnostics: self.diagnostics.len(),
        }
    }

    fn back_to(&mut self, point: Checkpoint<'a>) {
        self.lexer = point.lexer;
        self.pending = point.pending;
        self.token = point.token;
        self.last_end = point.last_end;
        self.expanded = point.expanded;
        self.diagnostics.truncate(point.diagnostics);
    }

    /// The kind of the token after the current one, `#define`s not expanded.
    fn second(&self) -> TokenKind<'a> {
        match self.pending.last() {
            Some(token) => token.kind.clone(),
            None => self.lexer.clone().token().kind,
        }
    }
}
