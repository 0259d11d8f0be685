//! A decoded value: what a map holds or an event carries, with addresses
//! already symbolised and times already resolved.

/// A value to show. Integers keep their sign; nothing here refers to the kernel.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Int(i64),
    Uint(u64),
    Bool(bool),
    /// An enumerator's name if one matches, and the number.
    Enum(Option<String>, i64),
    /// Bytes that are usually UTF-8. `truncated`: the program cut it.
    Str {
        bytes: Vec<u8>,
        truncated: bool,
    },
    Buf(Vec<u8>),
    Pointer(u64),
    Array(Vec<Value>),
    Tuple(Vec<Value>),
    Struct(Vec<(String, Value)>),
    /// Already text: a symbol, an address family's address, a user's name, a path, a time.
    Text(String),
    /// Frames from the innermost out.
    Stack(StackTrace),
    Stats {
        count: u64,
        total: i128,
        average: i128,
        signed: bool,
    },
    Avg {
        average: i128,
        count: u64,
        total: i128,
    },
    /// Buckets from the lowest to the highest, without those outside the first and last non-zero.
    /// `k`: each power of two has 2^k buckets, which decides how the bounds are labelled.
    Hist {
        buckets: Vec<Bucket>,
        k: u8,
    },
    Lhist {
        buckets: Vec<Bucket>,
        step: i64,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct StackTrace {
    pub style: StackStyle,
    pub frames: Vec<Frame>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackStyle {
    /// `symbol+offset`.
    Bpftrace,
    /// `address symbol+offset (module)`.
    Perf,
    /// The address in hexadecimal.
    Raw,
    /// `build-id offset`.
    BuildId,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    pub address: u64,
    /// Several where inlined functions stand at one address; none if unknown.
    pub symbol: Option<String>,
    /// Bytes from the symbol's start; in build-id style from the file's start.
    pub offset: u64,
    /// The file, or in build-id style the build id in hexadecimal.
    pub module: Option<String>,
}

/// A histogram's bucket: `low` inclusive, `high` exclusive; `None` is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub low: Option<i128>,
    pub high: Option<i128>,
    pub count: u64,
}

/// One entry of a map.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// `None`: the map is a single value. A tuple at the top is a key of several parts.
    pub key: Option<Value>,
    pub value: Value,
}

impl Value {
    /// A string that was not cut.
    pub fn string(text: &str) -> Value {
        Value::Str { bytes: text.as_bytes().to_vec(), truncated: false }
    }
}
