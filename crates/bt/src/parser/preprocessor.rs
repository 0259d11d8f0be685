//! Lines that start with `#`: constants that are substituted as tokens, and conditional parts.

use super::{Failed, Parsed, Parser};
use crate::ast::{CDefinition, Span};
use crate::lexer::{Lexer, Token, TokenKind, is_word};

/// Names that count as defined: scripts ask for them.
const PREDEFINED: &[&str] = &["BPFTRACE_HAVE_BTF"];
/// Tokens and names that one expansion may go through.
const MAX_EXPANSION: usize = 1 << 10;
/// The same for all expansions of a script together.
const MAX_EXPANDED: usize = 1 << 16;
/// How deep `#define`s may refer to each other.
const MAX_EXPANSION_DEPTH: usize = 32;

/// An open `#if`.
pub(super) struct Conditional {
    span: Span,
    /// One of its parts was taken, so the others are not.
    taken: bool,
}

impl<'a> Parser<'a> {
    /// The next token, `#define`d names replaced by what they stand for.
    pub(super) fn next_token(&mut self) -> Token<'a> {
        if let Some(token) = self.pending.pop() {
            return token;
        }
        loop {
            let token = self.lexer.token();
            let TokenKind::Ident(name) = token.kind else { return token };
            if !self.defines.contains_key(name) {
                return token;
            }
            let mut out = Vec::new();
            let mut budget = MAX_EXPANSION.min(MAX_EXPANDED.saturating_sub(self.expanded));
            let before = budget;
            let expansion = self.expand(name, token.span, &mut Vec::new(), &mut budget, &mut out);
            self.expanded += before - budget;
            if expansion.is_err() {
                self.error_at(token.span, format!("the expansion of '{name}' is too large"));
                return token;
            }
            out.reverse();
            self.pending = out;
            if let Some(token) = self.pending.pop() {
                return token;
            }
        }
    }

    /// Appends what `name` stands for; its tokens get the place of use.
    fn expand(
        &self,
        name: &'a str,
        place: Span,
        open: &mut Vec<&'a str>,
        budget: &mut usize,
        out: &mut Vec<Token<'a>>,
    ) -> Parsed<()> {
        let Some(body) = self.defines.get(name) else { return Ok(()) };
        if open.len() >= MAX_EXPANSION_DEPTH {
            return Err(Failed);
        }
        open.push(name);
        for token in body {
            *budget = budget.checked_sub(1).ok_or(Failed)?;
            match token.kind {
                TokenKind::Ident(inner) if self.defines.contains_key(inner) && !open.contains(&inner) => {
                    self.expand(inner, place, open, budget, out)?;
                }
                _ => out.push(Token { kind: token.kind.clone(), span: place }),
            }
        }
        open.pop();
        Ok(())
    }

    /// Carries out the directive that is the current token. `#include` and `#define` go
    /// to `definitions` too, for the C definitions of the script.
    pub(super) fn directive(&mut self, line: &'a str, definitions: &mut Vec<CDefinition>) {
        let span = self.token.span;
        let rest = line[1..].trim_start();
        let (keyword, argument) = rest.split_at(rest.find(|c: char| !is_word(c)).unwrap_or(rest.len()));
        let argument = argument.trim();
        match keyword {
            "include" => definitions.push(CDefinition { text: line.to_owned(), span }),
            "define" => {
                self.define(argument);
                definitions.push(CDefinition { text: line.to_owned(), span });
            }
            "undef" => {
                self.defines.remove(argument);
                definitions.push(CDefinition { text: line.to_owned(), span });
            }
            "ifdef" => self.open(self.is_defined(argument), span),
            "ifndef" => self.open(!self.is_defined(argument), span),
            "if" => self.open(self.condition(argument), span),
            // The part before was taken, else we would be in `skip`.
            "elif" | "else" if !self.conditionals.is_empty() => self.skip(),
            "endif" if self.conditionals.pop().is_some() => {}
            "elif" | "else" | "endif" => self.error_at(span, format!("#{keyword} without #if")),
            "error" => self.error_at(span, argument),
            "warning" | "pragma" | "line" | "" => {}
            _ => self.error_at(span, format!("unknown preprocessor directive '#{keyword}'")),
        }
        self.advance();
    }

    /// Reports `#if`s that were not closed.
    pub(super) fn check_conditionals_closed(&mut self) {
        while let Some(open) = self.conditionals.pop() {
            self.error_at(open.span, "#if without #endif");
        }
    }

    fn define(&mut self, argument: &'a str) {
        let (name, body) = argument.split_at(argument.find(|c: char| !is_word(c)).unwrap_or(argument.len()));
        // A macro with parameters means nothing to the language.
        if name.is_empty() || body.starts_with('(') {
            return;
        }
        let mut tokens = Vec::new();
        let mut lexer = Lexer::new(body);
        loop {
            let token = lexer.token();
            match token.kind {
                TokenKind::End => break,
                // The `\` that continues a line.
                TokenKind::Bad(_) if body[token.span.start as usize..].starts_with('\\') => {}
                _ => tokens.push(token),
            }
        }
        self.defines.insert(name, tokens);
    }

    fn is_defined(&self, name: &str) -> bool {
        let name = name.split(|c: char| !is_word(c)).next().unwrap_or("");
        PREDEFINED.contains(&name) || self.defines.contains_key(name)
    }

    /// `0`, `1`, `NAME`, `defined(NAME)`, each with `!`, joined by `&&` or `||`. Anything
    /// else counts as true: kernel headers, which such lines are about, are not read.
    fn condition(&self, text: &str) -> bool {
        text.split("||").any(|part| {
            part.split("&&").all(|term| {
                let term = term.trim();
                let (negated, term) = match term.strip_prefix('!') {
                    Some(rest) => (true, rest.trim()),
                    None => (false, term),
                };
                let value = match term.strip_prefix("defined") {
                    Some(name) => self.is_defined(name.trim_matches(|c: char| !is_word(c))),
                    None => match self.defines.get(term).map(|tokens| tokens.as_slice()) {
                        Some([Token { kind: TokenKind::Int { value, .. }, .. }]) => *value != 0,
                        _ => term != "0",
                    },
                };
                value != negated
            })
        })
    }

    fn open(&mut self, taken: bool, span: Span) {
        self.conditionals.push(Conditional { span, taken });
        if !taken {
            self.skip();
        }
    }

    /// Skips lines up to the part of the innermost `#if` that is to be taken, or to its end.
    fn skip(&mut self) {
        let mut depth = 0;
        let mut pos = self.token.span.end as usize;
        while pos < self.text.len() {
            let Some(line_start) = self.text[pos..].find('\n').map(|at| pos + at + 1) else { break };
            let line = self.text[line_start..].lines().next().unwrap_or("");
            pos = line_start;
            let Some(directive) = line.trim_start().strip_prefix('#') else { continue };
            let directive = directive.trim_start();
            let taken = self.conditionals.last().is_some_and(|open| open.taken);
            let take = if directive.starts_with("if") {
                depth += 1;
                false
            } else if directive.starts_with("endif") {
                if depth == 0 {
                    self.conditionals.pop();
                    self.lexer.seek(line_start + line.len());
                    return;
                }
                depth -= 1;
                false
            } else if depth > 0 || taken {
                false
            } else if let Some(condition) = directive.strip_prefix("elif") {
                self.condition(condition)
            } else {
                directive.starts_with("else")
            };
            if take {
                if let Some(open) = self.conditionals.last_mut() {
                    open.taken = true;
                }
                self.lexer.seek(line_start + line.len());
                return;
            }
        }
        self.lexer.seek(self.text.len());
    }
}
