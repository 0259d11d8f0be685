//! `printf` formats: parsed once, rendered for each event.
//!
//! The grammar is C's, `%[-+ #0][width][.precision][hh|h|l|ll|j|z|t|L]conversion`, with the
//! conversions `d i u o x X c s p`, `r rx rh` for buffers and `%%`. Width and precision may be `*`.
//! Two things differ from C, on purpose: a number is never cut to 32 bits because
//! the format lacks an `l` (negative numbers that fit 32 bits do show as
//! 32 bits in `%u` and `%x`), and any value may be shown with `%s`.

use crate::{Value, text};

/// Widths and precisions are bounded by this many bytes, whatever the format says.
const MAX_WIDTH: usize = 4096;

/// A parsed format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    pieces: Vec<Piece>,
}

/// Literal text, or a place for an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Literal(Vec<u8>),
    Spec(Spec),
}

/// One conversion: how an argument is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    left: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    zero: bool,
    width: Count,
    precision: Count,
    length: Length,
    conversion: Conversion,
}

/// A width or precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    None,
    Fixed(u16),
    /// `*`: the argument before tells it.
    Argument,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    None,
    Byte,
    Short,
    Long,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conversion {
    Signed,
    Unsigned,
    Octal,
    Hex,
    UpperHex,
    Char,
    String,
    Pointer,
    /// Printable bytes as they are, others as `\xNN`.
    Buffer,
    /// Every byte as `\xNN`.
    BufferEscaped,
    /// Two hexadecimal digits a byte, blanks between.
    BufferHex,
}

/// Why a format is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("format ends inside the conversion that starts at byte {at}")]
    Unfinished { at: usize },
    #[error("unknown conversion '%{conversion}' at byte {at}; expected one of d i u o x X c s p r rx rh or %%")]
    UnknownConversion { conversion: char, at: usize },
}

/// An argument to render. The borrowed forms save a [`Value`] for what is most
/// of what events carry.
#[derive(Clone, Copy, Debug)]
pub enum Arg<'a> {
    Int(i64),
    Uint(u64),
    Str { bytes: &'a [u8], truncated: bool },
    Value(&'a Value),
}

impl Format {
    /// Parses a format; escapes are already resolved.
    pub fn parse(format: &str) -> Result<Format, FormatError> {
        let bytes = format.as_bytes();
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            if bytes[at] != b'%' {
                literal.push(bytes[at]);
                at += 1;
                continue;
            }
            let (spec, next) = parse_spec(format, at)?;
            at = next;
            match spec {
                None => literal.push(b'%'),
                Some(spec) => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    }
                    pieces.push(Piece::Spec(spec));
                }
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Format { pieces })
    }

    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// How many arguments the format takes.
    pub fn arguments(&self) -> usize {
        self.pieces.iter().map(|p| if let Piece::Spec(s) = p { s.arguments() } else { 0 }).sum()
    }

    /// Renders with these arguments. A missing argument prints nothing, surplus ones are ignored.
    pub fn render(&self, out: &mut Vec<u8>, args: &[Arg<'_>]) {
        let mut args = args.iter().copied();
        self.render_with(out, || args.next());
    }

    /// Renders with arguments from `next`, asked for in order.
    pub fn render_with<'a>(&self, out: &mut Vec<u8>, mut next: impl FnMut() -> Option<Arg<'a>>) {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(bytes) => out.extend_from_slice(bytes),
                Piece::Spec(spec) => {
                    let mut counts = [None; 2];
                    for (count, slot) in [spec.width, spec.precision].into_iter().zip(&mut counts) {
                        if count == Count::Argument {
                            *slot = next().map(|arg| integer(arg).0);
                        }
                    }
                    if let Some(arg) = next() {
                        spec.with_counts(counts).render(out, arg);
                    }
                }
            }
        }
    }
}

/// Parses the conversion at `start`; `None` is `%%`. Also the offset after it.
fn parse_spec(format: &str, start: usize) -> Result<(Option<Spec>, usize), FormatError> {
    let bytes = format.as_bytes();
    let unfinished = FormatError::Unfinished { at: start };
    let mut at = start + 1;
    let mut spec = Spec {
        left: false,
        plus: false,
        space: false,
        alternate: false,
        zero: false,
        width: Count::None,
        precision: Count::None,
        length: Length::None,
        conversion: Conversion::Signed,
    };
    loop {
        match bytes.get(at) {
            Some(b'-') => spec.left = true,
            Some(b'+') => spec.plus = true,
            Some(b' ') => spec.space = true,
            Some(b'#') => spec.alternate = true,
            Some(b'0') => spec.zero = true,
            Some(_) => break,
            None => return Err(unfinished),
        }
        at += 1;
    }
    (spec.width, at) = parse_count(bytes, at);
    if bytes.get(at) == Some(&b'.') {
        (spec.precision, at) = parse_count(bytes, at + 1);
        if spec.precision == Count::None {
            spec.precision = Count::Fixed(0);
        }
    }
    loop {
        spec.length = match bytes.get(at) {
            Some(b'h') if spec.length == Length::Short => Length::Byte,
            Some(b'h') => Length::Short,
            Some(b'l' | b'j' | b'z' | b't' | b'L') => Length::Long,
            Some(_) => break,
            None => return Err(unfinished),
        };
        at += 1;
    }
    spec.conversion = match bytes.get(at) {
        Some(b'd' | b'i') => Conversion::Signed,
        Some(b'u') => Conversion::Unsigned,
        Some(b'o') => Conversion::Octal,
        Some(b'x') => Conversion::Hex,
        Some(b'X') => Conversion::UpperHex,
        Some(b'c') => Conversion::Char,
        Some(b's') => Conversion::String,
        Some(b'p') => Conversion::Pointer,
        Some(b'r') => match bytes.get(at + 1) {
            Some(b'x') => {
                at += 1;
                Conversion::BufferEscaped
            }
            Some(b'h') => {
                at += 1;
                Conversion::BufferHex
            }
            _ => Conversion::Buffer,
        },
        Some(b'%') => return Ok((None, at + 1)),
        Some(_) => {
            let conversion = format.get(at..).and_then(|rest| rest.chars().next()).unwrap_or('?');
            return Err(FormatError::UnknownConversion { conversion, at });
        }
        None => return Err(unfinished),
    };
    Ok((Some(spec), at + 1))
}

fn parse_count(bytes: &[u8], mut at: usize) -> (Count, usize) {
    if bytes.get(at) == Some(&b'*') {
        return (Count::Argument, at + 1);
    }
    let mut count = None;
    while let Some(digit) = bytes.get(at).filter(|b| b.is_ascii_digit()) {
        count = Some((count.unwrap_or(0) * 10 + usize::from(digit - b'0')).min(MAX_WIDTH));
        at += 1;
    }
    (count.map_or(Count::None, |n| Count::Fixed(n as u16)), at)
}

/// The number that an argument stands for, and whether it is one.
fn integer(arg: Arg<'_>) -> (i128, bool) {
    match arg {
        Arg::Int(v) | Arg::Value(&(Value::Int(v) | Value::Enum(_, v))) => (i128::from(v), true),
        Arg::Uint(v) | Arg::Value(&(Value::Uint(v) | Value::Pointer(v))) => (i128::from(v), true),
        Arg::Value(Value::Bool(v)) => (i128::from(*v), true),
        Arg::Value(Value::Avg { average, .. }) => (*average, true),
        _ => (0, false),
    }
}

impl Spec {
    /// How many arguments this conversion takes: one, and one for each `*`.
    pub fn arguments(&self) -> usize {
        1 + usize::from(self.width == Count::Argument) + usize::from(self.precision == Count::Argument)
    }

    /// With the arguments of `*` in place: a negative width turns to the left, a
    /// negative precision is none, as in C.
    fn with_counts(mut self, [width, precision]: [Option<i128>; 2]) -> Spec {
        let bounded = |n: i128| Count::Fixed(n.unsigned_abs().min(MAX_WIDTH as u128) as u16);
        if self.width == Count::Argument {
            self.left |= width.is_some_and(|n| n < 0);
            self.width = width.map_or(Count::None, bounded);
        }
        if self.precision == Count::Argument {
            self.precision = precision.filter(|n| *n >= 0).map_or(Count::None, bounded);
        }
        self
    }

    /// Renders one argument.
    pub fn render(&self, out: &mut Vec<u8>, arg: Arg<'_>) {
        if self.is_plain() {
            match (self.conversion, arg) {
                (Conversion::Signed, Arg::Int(v)) => return text::write_int(out, v),
                (Conversion::Signed, Arg::Uint(v)) => return text::write_int(out, v as i64),
                (Conversion::Unsigned, Arg::Uint(v)) => return text::write_uint(out, v),
                (Conversion::String, Arg::Str { bytes, truncated }) => {
                    out.extend_from_slice(bytes);
                    if truncated {
                        out.extend_from_slice(text::CUT);
                    }
                    return;
                }
                _ => {}
            }
        }
        match self.conversion {
            Conversion::Signed
            | Conversion::Unsigned
            | Conversion::Octal
            | Conversion::Hex
            | Conversion::UpperHex
            | Conversion::Pointer => match integer(arg) {
                (value, true) => self.write_number(out, value),
                (_, false) => self.write_text(out, arg, None),
            },
            Conversion::Char => match integer(arg) {
                (value, true) => self.pad(out, 0, |out| out.push(value as u8)),
                (_, false) => self.write_text(out, arg, None),
            },
            Conversion::String => self.write_text(out, arg, self.precision()),
            Conversion::Buffer | Conversion::BufferEscaped | Conversion::BufferHex => {
                let bytes = match arg {
                    Arg::Str { bytes, .. } => bytes,
                    Arg::Value(Value::Buf(bytes) | Value::Str { bytes, .. }) => bytes.as_slice(),
                    _ => return self.write_text(out, arg, None),
                };
                self.pad(out, 0, |out| self.write_bytes(out, bytes));
            }
        }
    }

    /// Whether nothing but the conversion matters.
    fn is_plain(&self) -> bool {
        self.width == Count::None
            && self.precision == Count::None
            && matches!(self.length, Length::None | Length::Long)
            && !(self.plus || self.space || self.alternate)
    }

    fn width(&self) -> usize {
        match self.width {
            Count::Fixed(n) => usize::from(n),
            Count::None | Count::Argument => 0,
        }
    }

    fn precision(&self) -> Option<usize> {
        match self.precision {
            Count::Fixed(n) => Some(usize::from(n)),
            Count::None | Count::Argument => None,
        }
    }

    /// Writes what `write` writes, padded to the width with blanks, or with zeros
    /// where the flag asks for them: these go after the first `zeros_after` bytes (a sign or `0x`).
    fn pad(&self, out: &mut Vec<u8>, zeros_after: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let start = out.len();
        write(out);
        let missing = self.width().saturating_sub(out.len() - start);
        if missing == 0 {
            return;
        }
        if self.left {
            out.resize(out.len() + missing, b' ');
            return;
        }
        let (at, fill) = if self.pads_with_zeros() { (start + zeros_after, b'0') } else { (start, b' ') };
        out.splice(at..at, std::iter::repeat_n(fill, missing));
    }

    /// Zeros fill only numbers, and only where no precision says how many digits.
    fn pads_with_zeros(&self) -> bool {
        let number = !matches!(
            self.conversion,
            Conversion::Char
                | Conversion::String
                | Conversion::Buffer
                | Conversion::BufferEscaped
                | Conversion::BufferHex
        );
        self.zero && number && self.precision == Count::None
    }

    fn write_number(&self, out: &mut Vec<u8>, value: i128) {
        let (prefix, digits) = match self.conversion {
            Conversion::Signed => {
                let value = self.as_signed(value);
                let sign = match () {
                    () if value < 0 => "-",
                    () if self.plus => "+",
                    () if self.space => " ",
                    () => "",
                };
                (sign, value.unsigned_abs().to_string())
            }
            Conversion::Octal => {
                let value = self.as_unsigned(value);
                (if self.alternate && value != 0 { "0" } else { "" }, format!("{value:o}"))
            }
            Conversion::Hex => {
                let value = self.as_unsigned(value);
                (if self.alternate && value != 0 { "0x" } else { "" }, format!("{value:x}"))
            }
            Conversion::UpperHex => {
                let value = self.as_unsigned(value);
                (if self.alternate && value != 0 { "0X" } else { "" }, format!("{value:X}"))
            }
            Conversion::Pointer => ("0x", format!("{:x}", value as u64)),
            _ => ("", self.as_unsigned(value).to_string()),
        };
        self.pad(out, prefix.len(), |out| {
            out.extend_from_slice(prefix.as_bytes());
            let zeros = self.precision().unwrap_or(0).saturating_sub(digits.len());
            out.resize(out.len() + zeros, b'0');
            out.extend_from_slice(digits.as_bytes());
        });
    }

    fn as_signed(&self, value: i128) -> i64 {
        match self.length {
            Length::Byte => i64::from(value as i8),
            Length::Short => i64::from(value as i16),
            Length::None | Length::Long => value as i64,
        }
    }

    fn as_unsigned(&self, value: i128) -> u64 {
        match self.length {
            Length::Byte => u64::from(value as u8),
            Length::Short => u64::from(value as u16),
            Length::None if value < 0 && i32::try_from(value).is_ok() => u64::from(value as u32),
            Length::None | Length::Long => value as u64,
        }
    }

    fn write_text(&self, out: &mut Vec<u8>, arg: Arg<'_>, longest: Option<usize>) {
        self.pad(out, 0, |out| {
            let start = out.len();
            match arg {
                Arg::Int(v) => text::write_int(out, v),
                Arg::Uint(v) => text::write_uint(out, v),
                Arg::Str { bytes, truncated } => {
                    out.extend_from_slice(bytes);
                    if truncated {
                        out.extend_from_slice(text::CUT);
                    }
                }
                Arg::Value(value) => text::write_value(out, value),
            }
            if let Some(longest) = longest {
                out.truncate(start + longest);
            }
        });
    }

    fn write_bytes(&self, out: &mut Vec<u8>, bytes: &[u8]) {
        use std::io::Write;
        // Writing to a vector cannot fail.
        match self.conversion {
            Conversion::BufferEscaped => bytes.iter().for_each(|b| drop(write!(out, "\\x{b:02x}"))),
            Conversion::BufferHex => {
                for (i, byte) in bytes.iter().enumerate() {
                    let _ = write!(out, "{}{byte:02x}", if i > 0 { " " } else { "" });
                }
            }
            _ => text::write_buf(out, bytes),
        }
    }
}
