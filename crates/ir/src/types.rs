//! Types of values.

use std::fmt;

/// The type of an SSA value: a register's contents and, for a pointer, what it
/// points into, since that decides what the kernel's verifier lets it do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Type {
    I32,
    I64,
    Ptr(Space),
}

/// What a pointer points into.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Space {
    /// The program's context (`r1` at entry).
    Ctx,
    /// The function's stack, or the scratch map that stands in for it.
    Stack,
    /// A map itself, as helpers take it.
    Map,
    /// The inside of a map's value, not null.
    Value,
    /// A map's value, or null.
    ValueOrNull,
    /// Packet data; `PacketEnd` bounds it.
    Packet,
    PacketEnd,
    /// A reserved ring-buffer record, not null.
    Record,
    /// A reserved ring-buffer record, or null.
    RecordOrNull,
    /// Kernel memory with a BTF type: can be loaded from directly (a fault reads
    /// as zero), never stored to.
    Btf,
    /// A function, as helpers take callbacks.
    Func,
}

impl Space {
    /// Whether loads through the pointer are allowed.
    pub fn is_readable(self) -> bool {
        use Space::*;
        matches!(self, Ctx | Stack | Value | Packet | Record | Btf)
    }

    /// Whether stores through the pointer are allowed.
    pub fn is_writable(self) -> bool {
        use Space::*;
        matches!(self, Ctx | Stack | Value | Packet | Record)
    }

    /// What the pointer becomes once it is known not to be null.
    pub fn non_null(self) -> Option<Space> {
        match self {
            Space::ValueOrNull => Some(Space::Value),
            Space::RecordOrNull => Some(Space::Record),
            _ => None,
        }
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Space::Ctx => "ctx",
            Space::Stack => "stack",
            Space::Map => "map",
            Space::Value => "value",
            Space::ValueOrNull => "value?",
            Space::Packet => "packet",
            Space::PacketEnd => "packet_end",
            Space::Record => "record",
            Space::RecordOrNull => "record?",
            Space::Btf => "btf",
            Space::Func => "func",
        })
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::I32 => f.write_str("i32"),
            Type::I64 => f.write_str("i64"),
            Type::Ptr(space) => write!(f, "ptr<{space}>"),
        }
    }
}

/// The width and extension of a memory access. The value side is `I64`, or
/// `I32` where an instruction says so.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MemType {
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
}

impl MemType {
    pub fn bytes(self) -> u32 {
        match self {
            MemType::U8 | MemType::S8 => 1,
            MemType::U16 | MemType::S16 => 2,
            MemType::U32 | MemType::S32 => 4,
            MemType::U64 => 8,
        }
    }

    pub fn is_signed(self) -> bool {
        matches!(self, MemType::S8 | MemType::S16 | MemType::S32)
    }

    /// The type of an integer of `bytes` (1, 2, 4 or 8).
    pub fn new(bytes: u32, signed: bool) -> Option<MemType> {
        Some(match (bytes, signed) {
            (1, false) => MemType::U8,
            (2, false) => MemType::U16,
            (4, false) => MemType::U32,
            (8, _) => MemType::U64,
            (1, true) => MemType::S8,
            (2, true) => MemType::S16,
            (4, true) => MemType::S32,
            _ => return None,
        })
    }
}
