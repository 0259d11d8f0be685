//! `kprobe:vfs_read`, `uprobe:"/a b/c":main`, `name=profile:hz:99`: read from the text, since
//! what stands between the colons (paths, wildcards) is not made of tokens.

use super::{Failed, Parsed, Parser};
use crate::ast::{AttachPoint, Expr, Name, Probe, Span};
use crate::lexer::{Gap, is_word, skip_blank, unquote};

/// Providers whose parts may contain `/`; for all others a `/` begins the predicate.
const WITH_PATHS: &[&str] = &["uprobe", "u", "uretprobe", "ur", "usdt", "iter", "it"];

impl<'a> Parser<'a> {
    pub(super) fn probe(&mut self) -> Parsed<Probe> {
        let start = self.token.span.start;
        let mut attach_points = vec![self.attach_point()?];
        while self.eat(",") {
            // A trailing comma is allowed.
            if self.at("/") || self.at("{") {
                break;
            }
            attach_points.push(self.attach_point()?);
        }
        let span = Span { start, end: attach_points.last().map_or(start, |last| last.span.end) };
        let predicate = if self.at("/") { Some(self.predicate()?) } else { None };
        let body = self.block_of_statements()?;
        Ok(Probe { attach_points, predicate, body, span })
    }

    fn predicate(&mut self) -> Parsed<Expr> {
        self.expect("/")?;
        self.in_predicate = true;
        let expr = self.expression();
        self.in_predicate = false;
        let expr = expr?;
        if !self.eat("/") {
            return self.fail("expected '/' to close predicate");
        }
        Ok(expr)
    }

    /// At the `/` that closes a predicate: nothing but blank space before `{` follows.
    pub(super) fn at_end_of_predicate(&self) -> bool {
        let after = self.token.span.end as usize;
        self.in_predicate
            && self.at("/")
            && matches!(skip_blank(self.text, after), Gap::At(pos) if self.text[pos..].starts_with('{'))
    }

    /// Reads an attach point that starts where the current token starts.
    pub(super) fn attach_point(&mut self) -> Parsed<AttachPoint> {
        let start = self.token.span.start as usize;
        let mut scan = Scan { parser: self, pos: start, name: None, parts: vec![String::new()] };
        let read = scan.run();
        let Scan { pos, name, parts, .. } = scan;
        let text = self.text[start..pos].to_owned();
        // The positions are those of tokens, and tokens fit 32 bits.
        let span = Span { start: start as u32, end: pos as u32 };
        if let Err(message) = read {
            self.error_at(Span { start: span.end, end: span.end + 1 }, message);
            self.jump(pos);
            return Err(Failed);
        }
        let mut parts = parts.into_iter();
        let provider = parts.next().unwrap_or_default();
        if provider.is_empty() || !provider.chars().all(|c| is_word(c) || "*?[]-!.".contains(c)) {
            return self.fail("expected attach point");
        }
        self.jump(pos);
        Ok(AttachPoint { name, provider, parts: parts.collect(), text, span })
    }
}

/// An attach point as far as it is read.
struct Scan<'p, 'a> {
    parser: &'p Parser<'a>,
    pos: usize,
    name: Option<Name>,
    parts: Vec<String>,
}

impl Scan<'_, '_> {
    fn run(&mut self) -> Result<(), String> {
        let text = self.parser.text;
        let start = self.pos;
        while let Some(c) = text[self.pos..].chars().next() {
            let after = self.pos + c.len_utf8();
            match c {
                '{' | '}' | ',' | ';' => break,
                _ if c.is_whitespace() => break,
                '/' if !self.may_contain_slash() => break,
                ':' => self.parts.push(String::new()),
                '=' if self.name.is_none() && self.parts.len() == 1 && !self.part().is_empty() => {
                    let span = Span { start: start as u32, end: self.pos as u32 };
                    self.name = Some(Name { text: std::mem::take(self.part()), span });
                }
                '"' => {
                    let (bytes, end) = unquote(text, self.pos).map_err(|error| error.message)?;
                    self.part().push_str(&String::from_utf8_lossy(&bytes));
                    self.pos = end;
                    continue;
                }
                '$' if text[after..].starts_with(|c: char| c.is_ascii_digit()) => {
                    let digits = &text[after..];
                    let digits = &digits[..digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len())];
                    let index = digits.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
                    let Some(index) = index else { return Err(format!("invalid positional parameter ${digits}")) };
                    if let Some(value) = self.parser.options.positional.get(index) {
                        // At the start it may be the whole attach point.
                        if self.parts.len() == 1 && self.part().is_empty() {
                            self.parts = value.split(':').map(str::to_owned).collect();
                        } else {
                            self.part().push_str(value);
                        }
                    }
                    self.pos = after + digits.len();
                    continue;
                }
                '\\' => match text[after..].chars().next() {
                    Some(escaped) if !escaped.is_whitespace() => {
                        self.part().push(escaped);
                        self.pos = after + escaped.len_utf8();
                        continue;
                    }
                    _ => return Err("expected a character after '\\'".into()),
                },
                _ => self.part().push(c),
            }
            self.pos = after;
        }
        Ok(())
    }

    fn part(&mut self) -> &mut String {
        if self.parts.is_empty() {
            self.parts.push(String::new());
        }
        let last = self.parts.len() - 1;
        &mut self.parts[last]
    }

    fn may_contain_slash(&self) -> bool {
        self.parts.len() > 1
            && (self.parts[0].contains('*')
                || WITH_PATHS.iter().any(|provider| provider.eq_ignore_ascii_case(&self.parts[0])))
    }
}
