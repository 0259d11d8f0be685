//! Tokens of the text form.

use super::ParseError;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// Keywords, entity names and opcodes.
    Word(String),
    /// Wide enough for every `i64` and `u64`.
    Number(i128),
    Str(Vec<u8>),
    /// One of `( ) { } < > : , = ? +`.
    Punct(char),
    /// From a comment `; @SOURCE:START..END`.
    Span(object::SourceSpan),
    Newline,
    End,
}

impl Token {
    /// As an error message names it.
    pub fn describe(&self) -> String {
        match self {
            Token::Word(w) => format!("`{w}`"),
            Token::Number(n) => format!("`{n}`"),
            Token::Str(_) => "a string".to_owned(),
            Token::Punct(c) => format!("`{c}`"),
            Token::Span(_) => "a source span".to_owned(),
            Token::Newline => "the end of the line".to_owned(),
            Token::End => "the end of the text".to_owned(),
        }
    }
}

/// A token with where it starts (both from 1).
#[derive(Clone, Debug)]
pub(super) struct Spanned {
    pub token: Token,
    pub line: u32,
    pub col: u32,
}

pub(super) fn tokenize(text: &str) -> Result<Vec<Spanned>, ParseError> {
    let mut tokens = Vec::new();
    let mut line = 0;
    for row in text.lines() {
        line += 1;
        let mut lexer = Lexer { bytes: row.as_bytes(), at: 0, line };
        while let Some(token) = lexer.next()? {
            tokens.push(token);
        }
        tokens.push(Spanned { token: Token::Newline, line, col: row.len() as u32 + 1 });
    }
    tokens.push(Spanned { token: Token::End, line: line + 1, col: 1 });
    Ok(tokens)
}

/// One line.
struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u32,
}

impl Lexer<'_> {
    fn next(&mut self) -> Result<Option<Spanned>, ParseError> {
        while self.peek().is_some_and(|c| c.is_ascii_whitespace()) {
            self.at += 1;
        }
        let start = self.at;
        let Some(first) = self.peek() else { return Ok(None) };
        let token = match first {
            b';' => {
                let comment = &self.bytes[self.at + 1..];
                self.at = self.bytes.len();
                match parse_span(comment) {
                    Some(span) => Token::Span(span),
                    None => return Ok(None),
                }
            }
            b'"' => Token::Str(self.string(start)?),
            b'0'..=b'9' | b'-' => Token::Number(self.number(start)?),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => Token::Word(self.word()),
            b'(' | b')' | b'{' | b'}' | b'<' | b'>' | b':' | b',' | b'=' | b'?' | b'+' => {
                self.at += 1;
                Token::Punct(first as char)
            }
            other => {
                return Err(self.error(start, format!("unexpected character `{}`", (other as char).escape_default())));
            }
        };
        Ok(Some(Spanned { token, line: self.line, col: start as u32 + 1 }))
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn word(&mut self) -> String {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == b'_') {
            self.at += 1;
        }
        String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned()
    }

    fn number(&mut self, start: usize) -> Result<i128, ParseError> {
        let negative = self.peek() == Some(b'-');
        if negative {
            self.at += 1;
        }
        let digits = self.word();
        let value = match digits.strip_prefix("0x") {
            Some(hex) => i128::from_str_radix(hex, 16),
            None => digits.parse::<i128>(),
        };
        match value {
            Ok(n) if n <= i128::from(u64::MAX) => Ok(if negative { -n } else { n }),
            _ => Err(self.error(start, format!("`{digits}` is not a 64-bit number"))),
        }
    }

    fn string(&mut self, start: usize) -> Result<Vec<u8>, ParseError> {
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let Some(byte) = self.peek() else {
                return Err(self.error(start, "the string has no closing quote".to_owned()));
            };
            self.at += 1;
            match byte {
                b'"' => return Ok(out),
                b'\\' => out.push(self.escape()?),
                other => out.push(other),
            }
        }
    }

    fn escape(&mut self) -> Result<u8, ParseError> {
        let start = self.at;
        let kind = self.peek();
        self.at += 1;
        match kind {
            Some(b'n') => Ok(b'\n'),
            Some(b't') => Ok(b'\t'),
            Some(b'"') => Ok(b'"'),
            Some(b'\\') => Ok(b'\\'),
            Some(b'x') => {
                let digits = self.bytes.get(self.at..self.at + 2).and_then(|d| std::str::from_utf8(d).ok());
                let byte = digits.and_then(|d| u8::from_str_radix(d, 16).ok());
                self.at += 2;
                byte.ok_or_else(|| self.error(start, "`\\x` takes two hexadecimal digits".to_owned()))
            }
            _ => Err(self.error(start, "unknown escape in a string".to_owned())),
        }
    }

    fn error(&self, at: usize, message: String) -> ParseError {
        ParseError { line: self.line, col: at as u32 + 1, message }
    }
}

/// ` @SOURCE:START..END` or ` @START..END`; other comments mean nothing.
fn parse_span(comment: &[u8]) -> Option<object::SourceSpan> {
    let text = std::str::from_utf8(comment).ok()?.trim().strip_prefix('@')?;
    let (source, range) = text.split_once(':').unwrap_or(("0", text));
    let (start, end) = range.split_once("..")?;
    Some(object::SourceSpan { source: source.parse().ok()?, start: start.parse().ok()?, end: end.parse().ok()? })
}
