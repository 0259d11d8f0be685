//! The kinds of BTF types and how long each kind's encoding is.

/// What a type is. The numbers are `BTF_KIND_*` of `include/uapi/linux/btf.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    Void = 0,
    Int = 1,
    Ptr = 2,
    Array = 3,
    Struct = 4,
    Union = 5,
    Enum = 6,
    Fwd = 7,
    Typedef = 8,
    Volatile = 9,
    Const = 10,
    Restrict = 11,
    Func = 12,
    FuncProto = 13,
    Var = 14,
    Datasec = 15,
    Float = 16,
    DeclTag = 17,
    TypeTag = 18,
    Enum64 = 19,
}

impl Kind {
    /// The kind of a number, if it is one that this reader knows.
    pub fn from_number(number: u8) -> Option<Kind> {
        use Kind::*;
        const KINDS: [Kind; 20] = [
            Void, Int, Ptr, Array, Struct, Union, Enum, Fwd, Typedef, Volatile, Const, Restrict, Func, FuncProto, Var,
            Datasec, Float, DeclTag, TypeTag, Enum64,
        ];
        KINDS.get(usize::from(number)).copied()
    }

    /// The C keyword that introduces a type of this kind, where there is one.
    pub fn keyword(self) -> Option<&'static str> {
        match self {
            Kind::Struct => Some("struct"),
            Kind::Union => Some("union"),
            Kind::Enum | Kind::Enum64 => Some("enum"),
            _ => None,
        }
    }
}

/// Bytes of the fixed `struct btf_type`: name offset, info, size or type.
pub(crate) const TYPE_HEADER: usize = 12;

/// Bytes that follow the fixed part: a fixed number and a number for each of
/// the `vlen` elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub fixed: u8,
    pub each: u8,
    pub known: bool,
}

/// Trailer of each kind, indexed by the 7-bit kind number.
pub(crate) type Trailers = [Trailer; 128];

/// The trailers that Linux defines up to `BTF_KIND_ENUM64`. Newer kernels
/// describe later kinds in the header's layout section (`struct btf_layout`).
pub(crate) const TRAILERS: Trailers = {
    let mut table = [Trailer { fixed: 0, each: 0, known: false }; 128];
    let known = [
        (Kind::Int, 4, 0),
        (Kind::Ptr, 0, 0),
        (Kind::Array, 12, 0),
        (Kind::Struct, 0, 12),
        (Kind::Union, 0, 12),
        (Kind::Enum, 0, 8),
        (Kind::Fwd, 0, 0),
        (Kind::Typedef, 0, 0),
        (Kind::Volatile, 0, 0),
        (Kind::Const, 0, 0),
        (Kind::Restrict, 0, 0),
        (Kind::Func, 0, 0),
        (Kind::FuncProto, 0, 8),
        (Kind::Var, 4, 0),
        (Kind::Datasec, 0, 12),
        (Kind::Float, 0, 0),
        (Kind::DeclTag, 4, 0),
        (Kind::TypeTag, 0, 0),
        (Kind::Enum64, 0, 12),
    ];
    let mut at = 0;
    while at < known.len() {
        let (kind, fixed, each) = known[at];
        table[kind as usize] = Trailer { fixed, each, known: true };
        at += 1;
    }
    table
};
