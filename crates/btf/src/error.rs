//! Why BTF bytes or a question about them make no sense.

use crate::TypeId;

/// What is wrong with BTF bytes, or with what was asked of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("BTF: the header is cut short ({0} bytes)")]
    ShortHeader(usize),
    #[error("BTF: not BTF (magic {0:#06x} instead of 0xeb9f)")]
    Magic(u16),
    #[error("BTF: written for a machine of the other byte order")]
    ByteOrder,
    #[error("BTF: version {0} is not known (1 is)")]
    Version(u8),
    #[error("BTF: the {section} section ({start}+{len}) lies outside the {available} bytes of data")]
    Section { section: &'static str, start: u64, len: u64, available: u64 },
    #[error("BTF: type [{id}] at byte {offset} of the types has unknown kind {kind}")]
    UnknownKind { id: u32, offset: usize, kind: u8 },
    #[error("BTF: type [{id}] at byte {offset} runs past the end of the types")]
    Truncated { id: u32, offset: usize },
    #[error("BTF: there is no type [{0}]")]
    NoType(TypeId),
    #[error("BTF: string offset {0} is outside the string section or not text")]
    BadString(u32),
    #[error("BTF: type [{0}] refers to itself, or is nested too deeply")]
    Cycle(TypeId),
    #[error("BTF: type [{id}] ({name}) has no size")]
    NoSize { id: TypeId, name: String },
    #[error("BTF: type [{0}] is larger than memory")]
    TooLarge(TypeId),
    #[error("{of} has no member {member:?}")]
    NoMember { of: String, member: String },
    #[error("{0} is neither a struct nor a union")]
    NotComposite(String),
    #[error("index {index} is outside {of}")]
    BadIndex { of: String, index: u64 },
    #[error("member path {0:?} is not of the form a.b[1].c")]
    BadPath(String),
    #[error("BTF: more {0} than the format has room for")]
    TooMany(&'static str),
}
