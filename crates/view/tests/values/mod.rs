//! Values as the test files write them.
//!
//! `5` `-5` Int, `5u` Uint, `0x10p` Pointer, `true`, `"text"` Str, `"text"..` a cut Str, `b"bytes"` Buf,
//! `text"vfs_read"` Text, `B=2` Enum, `?=7` an enum without a name, `(…)` Tuple, `[…]` Array, `{a: 1, b: 2}` Struct,
//! `stats(count, total, average)`, `avg(count, total, average)`, `hist(k; low:high=count, …)`, `lhist(step; low:high=count, …)`
//! where `*` is an open bound, `stack perf (0xADDRESS symbol+offset module, …)` with `-` for what is unknown.

use view::{Bucket, Frame, StackStyle, StackTrace, Value};

pub struct Reader<'a> {
    rest: &'a str,
}

/// All values of a comma-separated list.
pub fn list(text: &str) -> Vec<Value> {
    let mut reader = Reader { rest: text };
    let values = reader.until("");
    assert!(reader.rest.trim().is_empty(), "left over: {:?}", reader.rest);
    values
}

/// The one value that the text is.
#[allow(dead_code, reason = "not every test that shares this module needs it")]
pub fn one(text: &str) -> Value {
    let mut values = list(text);
    assert_eq!(values.len(), 1, "one value in {text:?}");
    values.remove(0)
}

impl Reader<'_> {
    fn eat(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) {
        assert!(self.eat(token), "expected {token:?} at {:?}", self.rest);
    }

    fn word(&mut self) -> String {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || "_-*?./".contains(c))).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.to_string()
    }

    fn number<T: std::str::FromStr>(&mut self) -> T {
        let word = self.word();
        word.parse().unwrap_or_else(|_| panic!("number {word:?} before {:?}", self.rest))
    }

    fn until(&mut self, close: &str) -> Vec<Value> {
        let mut values = Vec::new();
        loop {
            if (close.is_empty() && self.rest.trim().is_empty()) || (!close.is_empty() && self.eat(close)) {
                return values;
            }
            values.push(self.value());
            self.eat(",");
        }
    }

    fn quoted(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return bytes;
                }
                '\\' => match chars.next().expect("an escape").1 {
                    'n' => bytes.push(b'\n'),
                    't' => bytes.push(b'\t'),
                    'x' => {
                        let hex: String = [chars.next().unwrap().1, chars.next().unwrap().1].iter().collect();
                        bytes.push(u8::from_str_radix(&hex, 16).unwrap());
                    }
                    other => bytes.push(other as u8),
                },
                c => bytes.extend(c.to_string().as_bytes()),
            }
        }
        panic!("unfinished string");
    }

    fn bound(&mut self) -> Option<i128> {
        let word = self.word();
        (word != "*").then(|| word.parse().unwrap())
    }

    fn buckets(&mut self) -> Vec<Bucket> {
        let mut buckets = Vec::new();
        self.expect(";");
        while !self.eat(")") {
            let low = self.bound();
            self.expect(":");
            let high = self.bound();
            self.expect("=");
            buckets.push(Bucket { low, high, count: self.number() });
            self.eat(",");
        }
        buckets
    }

    fn stack(&mut self) -> Value {
        let style = match self.word().as_str() {
            "perf" => StackStyle::Perf,
            "raw" => StackStyle::Raw,
            "build_id" => StackStyle::BuildId,
            _ => StackStyle::Bpftrace,
        };
        self.expect("(");
        let mut frames = Vec::new();
        while !self.eat(")") {
            let address = u64::from_str_radix(self.word().trim_start_matches("0x"), 16).unwrap();
            let symbol = Some(self.word()).filter(|s| s != "-");
            self.expect("+");
            let offset = self.number();
            let module = Some(self.word()).filter(|s| s != "-");
            frames.push(Frame { address, symbol, offset, module });
            self.eat(",");
        }
        Value::Stack(StackTrace { style, frames })
    }

    fn value(&mut self) -> Value {
        if self.eat("(") {
            return Value::Tuple(self.until(")"));
        }
        if self.eat("[") {
            return Value::Array(self.until("]"));
        }
        if self.eat("b\"") {
            return Value::Buf(self.quoted());
        }
        if self.eat("text\"") {
            return Value::Text(String::from_utf8(self.quoted()).unwrap());
        }
        if self.eat("\"") {
            let bytes = self.quoted();
            return Value::Str { bytes, truncated: self.eat("..") };
        }
        if self.eat("{") {
            let mut fields = Vec::new();
            while !self.eat("}") {
                let name = self.word();
                self.expect(":");
                fields.push((name, self.value()));
                self.eat(",");
            }
            return Value::Struct(fields);
        }
        let word = self.word();
        if self.eat("=") {
            return Value::Enum(Some(word).filter(|w| w != "?"), self.number());
        }
        match word.as_str() {
            "true" => return Value::Bool(true),
            "false" => return Value::Bool(false),
            "stack" => return self.stack(),
            "stats" | "avg" => {
                self.expect("(");
                let count = self.number();
                self.expect(",");
                let total = self.number();
                self.expect(",");
                let average = self.number();
                self.expect(")");
                return match word.as_str() {
                    "stats" => Value::Stats { count, total, average, signed: true },
                    _ => Value::Avg { count, total, average },
                };
            }
            "hist" => {
                self.expect("(");
                let k = self.number();
                return Value::Hist { buckets: self.buckets(), k };
            }
            "lhist" => {
                self.expect("(");
                let step = self.number();
                return Value::Lhist { buckets: self.buckets(), step };
            }
            _ => {}
        }
        if let Some(number) = word.strip_suffix('u') {
            return Value::Uint(number.parse().unwrap());
        }
        if let Some(number) = word.strip_prefix("0x").and_then(|w| w.strip_suffix('p')) {
            return Value::Pointer(u64::from_str_radix(number, 16).unwrap());
        }
        Value::Int(word.parse().unwrap_or_else(|_| panic!("value {word:?} before {:?}", self.rest)))
    }
}
