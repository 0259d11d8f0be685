//! Script text → tokens, one at a time.
//!
//! Attach points, C definitions and preprocessor lines are not made of tokens:
//! the parser reads them from the text and moves the lexer past them.

use crate::ast::Span;

#[derive(Clone, Debug, PartialEq)]
pub enum TokenKind<'a> {
    End,
    Ident(&'a str),
    /// `$name`, with the `$`.
    Var(&'a str),
    /// `@name` or `@`, with the `@`.
    Map(&'a str),
    /// `$1`.
    Positional(u32),
    /// `$#`.
    PositionalCount,
    Int {
        value: u64,
        unsigned: bool,
    },
    Str(String),
    /// Operators and brackets.
    Punct(&'static str),
    /// `#` at the start of a line: the line, with what `\` continues, without the line end.
    Directive(&'a str),
    /// What is no token; the message says why.
    Bad(String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Token<'a> {
    pub kind: TokenKind<'a>,
    pub span: Span,
}

/// Longest first, so that the first match is the longest.
const PUNCTUATION: &[&str] = &[
    "<<=", ">>=", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "++", "--", "+=", "-=", "*=", "/=", "%=", "&=", "|=",
    "^=", "->", "..", "(", ")", "{", "}", "[", "]", ",", ";", ":", "?", ".", "=", "<", ">", "+", "-", "*", "/", "%",
    "&", "|", "^", "!", "~",
];

#[derive(Clone, Debug)]
pub struct Lexer<'a> {
    text: &'a str,
    pos: usize,
}

impl<'a> Lexer<'a> {
    /// A lexer over `text`. Positions are `u32`: the caller has checked that the
    /// text is smaller than 4 GiB.
    pub fn new(text: &'a str) -> Lexer<'a> {
        Lexer { text, pos: 0 }
    }

    /// Continues at a byte offset.
    pub fn seek(&mut self, pos: usize) {
        self.pos = pos.min(self.text.len());
    }

    /// The next token. At the end, [`TokenKind::End`] again and again.
    pub fn token(&mut self) -> Token<'a> {
        let gap = skip_blank(self.text, self.pos);
        let Gap::At(start) = gap else {
            let start = self.text.len();
            let opened = self.pos + self.text[self.pos..].rfind("/*").unwrap_or(0);
            self.pos = start;
            return Token { kind: TokenKind::Bad("unterminated comment".into()), span: span(opened, start) };
        };
        self.pos = start;
        let Some(first) = self.text[start..].chars().next() else {
            return Token { kind: TokenKind::End, span: span(start, start) };
        };
        let kind = match first {
            'a'..='z' | 'A'..='Z' | '_' => TokenKind::Ident(self.take_word(0)),
            '0'..='9' => return self.number(),
            '"' => return self.string(),
            '@' => TokenKind::Map(self.take_word(1)),
            '$' => self.dollar(),
            '#' if at_line_start(self.text, start) => {
                let end = directive_end(self.text, start);
                self.pos = end;
                TokenKind::Directive(self.text[start..end].trim_end())
            }
            _ => match PUNCTUATION.iter().find(|p| self.text[start..].starts_with(**p)) {
                Some(punctuation) => {
                    self.pos += punctuation.len();
                    TokenKind::Punct(punctuation)
                }
                None => {
                    self.pos += first.len_utf8();
                    TokenKind::Bad(format!("unexpected character '{}'", first.escape_debug()))
                }
            },
        };
        Token { kind, span: span(start, self.pos) }
    }

    /// Takes `sigil` bytes and the word after them.
    fn take_word(&mut self, sigil: usize) -> &'a str {
        let start = self.pos;
        let word = &self.text[start + sigil..];
        let starts_word = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let length = if starts_word { word.find(|c: char| !is_word(c)).unwrap_or(word.len()) } else { 0 };
        self.pos = start + sigil + length;
        &self.text[start..self.pos]
    }

    fn dollar(&mut self) -> TokenKind<'a> {
        let rest = &self.text[self.pos + 1..];
        if rest.starts_with('#') {
            self.pos += 2;
            return TokenKind::PositionalCount;
        }
        if rest.starts_with(|c: char| c.is_ascii_digit()) {
            let digits = &rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())];
            self.pos += 1 + digits.len();
            return match digits.parse() {
                Ok(number @ 1..) => TokenKind::Positional(number),
                _ => TokenKind::Bad(format!("param ${digits} is out of integer range [1, {}]", u32::MAX)),
            };
        }
        match self.take_word(1) {
            "$" => TokenKind::Bad("expected identifier after '$'".into()),
            name => TokenKind::Var(name),
        }
    }

    fn number(&mut self) -> Token<'a> {
        let start = self.pos;
        let rest = &self.text[start..];
        let literal = &rest[..rest.find(|c: char| !is_word(c)).unwrap_or(rest.len())];
        self.pos += literal.len();
        let (kind, start) = match parse_integer(literal) {
            Ok((value, unsigned)) => (TokenKind::Int { value, unsigned }, start),
            Err(wrong) => {
                // Only the suffix is to blame when it is what is wrong.
                let suffix = if let IntegerError::Suffix(suffix) = &wrong { suffix.len() } else { literal.len() };
                (TokenKind::Bad(wrong.to_string()), self.pos - suffix)
            }
        };
        Token { kind, span: span(start, self.pos) }
    }

    fn string(&mut self) -> Token<'a> {
        let start = self.pos;
        let (kind, place) = match unquote(self.text, start) {
            Ok((bytes, end)) => {
                self.pos = end;
                let text =
                    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
                (TokenKind::Str(text), span(start, end))
            }
            Err(error) => {
                self.pos = error.resume;
                (TokenKind::Bad(error.message), error.span)
            }
        };
        Token { kind, span: place }
    }
}

fn span(start: usize, end: usize) -> Span {
    let clamp = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    Span { start: clamp(start), end: clamp(end) }
}

pub fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn at_line_start(text: &str, pos: usize) -> bool {
    text[..pos].bytes().rev().take_while(|&b| b != b'\n').all(|b| b == b' ' || b == b'\t' || b == b'\r')
}

/// End of the preprocessor line that starts at `start`, `\`-continued lines included.
fn directive_end(text: &str, start: usize) -> usize {
    let mut end = start;
    loop {
        let line_end = text[end..].find('\n').map_or(text.len(), |at| end + at);
        if line_end == text.len() || !text[end..line_end].trim_end_matches('\r').ends_with('\\') {
            return line_end;
        }
        end = line_end + 1;
    }
}

/// Where white space and comments end.
pub enum Gap {
    At(usize),
    /// A `/*` without its `*/`.
    OpenComment,
}

/// Skips white space and comments from `pos` on.
pub fn skip_blank(text: &str, mut pos: usize) -> Gap {
    loop {
        let rest = &text[pos..];
        let trimmed = rest.trim_start();
        pos += rest.len() - trimmed.len();
        if trimmed.starts_with("//") {
            pos += trimmed.find('\n').unwrap_or(trimmed.len());
        } else if let Some(comment) = trimmed.strip_prefix("/*") {
            match comment.find("*/") {
                Some(length) => pos += length + 4,
                None => return Gap::OpenComment,
            }
        } else {
            return Gap::At(pos);
        }
    }
}

/// What is wrong with a string literal.
pub struct StringError {
    pub message: String,
    /// The escape sequence, or all of an unterminated string.
    pub span: Span,
    /// Where to go on.
    pub resume: usize,
}

/// Reads the string literal whose opening quote stands at `start`: its bytes and
/// the offset after the closing quote.
pub fn unquote(text: &str, start: usize) -> Result<(Vec<u8>, usize), StringError> {
    let source = text.as_bytes();
    let mut bytes = Vec::new();
    let mut wrong: Option<(String, Span)> = None;
    let mut pos = start + 1;
    loop {
        match source.get(pos) {
            None => {
                // It may go over lines; one that never ends is wrong from its first line on.
                let end = text[start..].find('\n').map_or(pos, |length| start + length);
                let message = "unterminated string".to_owned();
                return Err(StringError { message, span: span(start, end), resume: end });
            }
            Some(b'"') => break,
            Some(b'\\') => {
                let length = match escape(&source[pos + 1..]) {
                    Ok((byte, length)) => {
                        bytes.push(byte);
                        length
                    }
                    Err((message, length)) => {
                        // Not past a newline, and over the whole of a character.
                        let next = text[pos + 1..].chars().next().filter(|&c| c != '\n').map_or(0, char::len_utf8);
                        let length = next.max(length);
                        wrong = wrong.or(Some((message, span(pos, pos + 1 + length))));
                        length
                    }
                };
                pos += 1 + length;
            }
            Some(&byte) => {
                bytes.push(byte);
                pos += 1;
            }
        }
    }
    match wrong {
        Some((message, span)) => Err(StringError { message, span, resume: pos + 1 }),
        None => Ok((bytes, pos + 1)),
    }
}

/// The byte that an escape sequence (without its `\`) means, and its length; or what is wrong, and the
/// length of what is.
fn escape(source: &[u8]) -> Result<(u8, usize), (String, usize)> {
    let digits = |source: &[u8], radix: u32, most: usize| {
        source.iter().take(most).take_while(|b| char::from(**b).is_digit(radix)).count()
    };
    // At most three digits of one base: always a number.
    let value = |digits: &[u8], radix: u32| {
        digits.iter().fold(0, |sum, &b| sum * radix + char::from(b).to_digit(radix).unwrap_or(0))
    };
    match source.first() {
        Some(b'n') => Ok((b'\n', 1)),
        Some(b't') => Ok((b'\t', 1)),
        Some(b'r') => Ok((b'\r', 1)),
        Some(b'"') => Ok((b'"', 1)),
        Some(b'\\') => Ok((b'\\', 1)),
        Some(b'0'..=b'7') => {
            let length = digits(source, 8, 3);
            u8::try_from(value(&source[..length], 8)).map(|byte| (byte, length)).map_err(|_| {
                let digits = String::from_utf8_lossy(&source[..length]);
                (format!("octal escape sequence out of range '\\{digits}'"), length)
            })
        }
        Some(b'x' | b'X') => match digits(&source[1..], 16, 2) {
            0 => Err(("invalid hex escape sequence".to_owned(), 1)),
            // Two hexadecimal digits fit a byte.
            length => Ok((value(&source[1..=length], 16) as u8, 1 + length)),
        },
        Some(&other) if other.is_ascii() => {
            Err((format!("invalid escape character '\\{}'", char::from(other).escape_debug()), 0))
        }
        _ => Err(("invalid escape character".to_owned(), 0)),
    }
}

/// Why a number is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntegerError {
    #[error("overflow error, maximum value is {max}: {0}", max = u64::MAX)]
    Overflow(String),
    #[error("invalid integer: {0}")]
    Digits(String),
    #[error("trailing underscore in integer literal")]
    TrailingUnderscore,
    #[error("coefficient part of scientific literal must be 1-9: {0}")]
    Coefficient(String),
    #[error("invalid exponent: {0}")]
    Exponent(String),
    #[error("invalid integer suffix '{0}'")]
    Suffix(String),
}

/// The value of an integer literal and whether it is unsigned. Decimal,
/// `0x`, `0b`, octal, `1e6`, `1_000`; suffixes of C (`u`, `l`, `ul`, …) and of durations
/// (`ns`, `us`, `ms`, `s`, `m`, `h`, `d`: the value in nanoseconds).
pub fn parse_integer(literal: &str) -> Result<(u64, bool), IntegerError> {
    let overflow = || IntegerError::Overflow(literal.to_owned());
    let (radix, digits) = match literal.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &literal[2..]),
        [b'0', b'b' | b'B', ..] => (2, &literal[2..]),
        [b'0', b'0'..=b'9', ..] => (8, &literal[1..]),
        _ => (10, literal),
    };
    let end = digits.find(|c: char| !c.is_digit(radix.max(10)) && c != '_').unwrap_or(digits.len());
    let (number, mut suffix) = digits.split_at(end);
    if number.ends_with('_') {
        return Err(IntegerError::TrailingUnderscore);
    }
    if !number.chars().all(|c| c == '_' || c.is_digit(radix)) || number.is_empty() {
        return Err(IntegerError::Digits(literal.to_owned()));
    }
    let mut value = digits_value(number, radix).ok_or_else(overflow)?;
    if radix == 10
        && let Some(exponent) = suffix.strip_prefix(['e', 'E'])
    {
        let end = exponent.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(exponent.len());
        let (exponent, rest) = exponent.split_at(end);
        if exponent.ends_with('_') {
            return Err(IntegerError::TrailingUnderscore);
        }
        if !(1..10).contains(&value) {
            return Err(IntegerError::Coefficient(literal.to_owned()));
        }
        if exponent.is_empty() {
            return Err(IntegerError::Exponent(literal.to_owned()));
        }
        let power = digits_value(exponent, 10).and_then(|e| u32::try_from(e).ok()).and_then(|e| 10_u64.checked_pow(e));
        value = power.and_then(|power| value.checked_mul(power)).ok_or_else(overflow)?;
        suffix = rest;
    }
    let lower = suffix.to_ascii_lowercase();
    let (unit, unsigned) = match (suffix, lower.as_str()) {
        ("", _) | (_, "l" | "ll") => (1, false),
        (_, "u" | "ul" | "ull") => (1, true),
        ("ns", _) => (1, false),
        ("us", _) => (1_000, false),
        ("ms", _) => (1_000_000, false),
        ("s", _) => (1_000_000_000, false),
        ("m", _) => (60_000_000_000, false),
        ("h", _) => (3_600_000_000_000, false),
        ("d", _) => (86_400_000_000_000, false),
        _ => {
            let good = ["ns", "us", "ms", "ull", "ul", "ll", "u", "l", "s", "m", "h", "d"];
            let good = good.iter().find(|good| lower.starts_with(**good)).map_or(0, |good| good.len());
            return Err(IntegerError::Suffix(suffix[good..].to_owned()));
        }
    };
    let value = value.checked_mul(unit).ok_or_else(overflow)?;
    Ok((value, unsigned || i64::try_from(value).is_err()))
}

/// The value of digits and underscores, unless it is too large.
fn digits_value(digits: &str, radix: u32) -> Option<u64> {
    digits
        .chars()
        .filter_map(|c| c.to_digit(radix))
        .try_fold(0_u64, |value, digit| value.checked_mul(radix.into())?.checked_add(digit.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind<'_>> {
        let mut lexer = Lexer::new(text);
        let mut kinds = Vec::new();
        loop {
            match lexer.token().kind {
                TokenKind::End => return kinds,
                kind => kinds.push(kind),
            }
        }
    }

    #[test]
    fn integers() {
        for (literal, value) in [
            ("0", 0),
            ("0755", 0o755),
            ("0x1F", 31),
            ("0b101", 5),
            ("1e6", 1_000_000),
            ("1_000", 1000),
            ("10UL", 10),
            ("5ms", 5_000_000),
            ("1d", 86_400_000_000_000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_integer(literal).map(|(value, _)| value), Ok(value), "{literal}");
        }
        for literal in ["18446744073709551616", "1e20", "12e3", "1_", "08", "0x", "5q", "1e", "0b2", "300000d"] {
            assert!(parse_integer(literal).is_err(), "{literal}");
        }
        assert_eq!(parse_integer("0xffffffffffffffff"), Ok((u64::MAX, true)));
        assert_eq!(parse_integer("1u"), Ok((1, true)));
    }

    #[test]
    fn strings() {
        assert_eq!(kinds(r#""a\n\t\\\"\r\x41\101""#), [TokenKind::Str("a\n\t\\\"\rAA".into())]);
        assert_eq!(kinds("\"\\xc3\\xa9\""), [TokenKind::Str("é".into())]);
        for bad in ["\"abc", "\"a\\", "\"\\q\"", "\"\\400\"", "\"\\xzz\"", "\"\\é\"", "\"a\nb"] {
            assert!(matches!(kinds(bad)[0], TokenKind::Bad(_)), "{bad}");
        }
    }

    #[test]
    fn names_and_operators() {
        assert_eq!(
            kinds("$x@y @ $1 $# t.0..5 a->b // c\n/* d */ <<="),
            [
                TokenKind::Var("$x"),
                TokenKind::Map("@y"),
                TokenKind::Map("@"),
                TokenKind::Positional(1),
                TokenKind::PositionalCount,
                TokenKind::Ident("t"),
                TokenKind::Punct("."),
                TokenKind::Int { value: 0, unsigned: false },
                TokenKind::Punct(".."),
                TokenKind::Int { value: 5, unsigned: false },
                TokenKind::Ident("a"),
                TokenKind::Punct("->"),
                TokenKind::Ident("b"),
                TokenKind::Punct("<<="),
            ]
        );
        assert!(matches!(kinds("$")[0], TokenKind::Bad(_)));
        assert!(matches!(kinds("/* x")[0], TokenKind::Bad(_)));
        assert_eq!(kinds("#define A \\\n 1\n"), [TokenKind::Directive("#define A \\\n 1")]);
    }
}
