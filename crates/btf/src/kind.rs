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

/// How long a type of some kind is: a fixed number of bytes, the header
/// included, and a number for each of the `vlen` elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// 0 for kinds that nothing is known about.
    pub fixed: u8,
    pub each: u8,
}

impl Extent {
    pub fn is_known(self) -> bool {
        self.fixed != 0
    }

    /// Bytes of a type with this `info` word.
    #[inline(always)]
    pub fn bytes(self, info: u32) -> usize {
        usize::from(self.fixed) + usize::from(self.each) * (info & 0xff_ffff) as usize
    }

    /// What a layout record says (`struct btf_layout`: bytes once, bytes an element).
    /// Types stand at multiples of four bytes, in the kernel's reader too: others are not believed.
    pub fn described(once: u8, each: u8) -> Extent {
        match once.checked_add(TYPE_HEADER as u8) {
            Some(fixed) if once.is_multiple_of(4) && each.is_multiple_of(4) => Extent { fixed, each },
            _ => Extent::default(),
        }
    }
}

/// The kind number in a type's `info` word.
#[inline(always)]
pub(crate) fn kind_number(info: u32) -> u8 {
    (info >> 24 & 0x7f) as u8
}

/// Extent of each kind, indexed by the 7-bit kind number.
pub(crate) type Extents = [Extent; 128];

/// What Linux defines up to `BTF_KIND_ENUM64`. Newer kernels describe later
/// kinds in the header's layout section.
pub(crate) const EXTENTS: Extents = {
    let mut table = [Extent { fixed: 0, each: 0 }; 128];
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
        let (kind, once, each) = known[at];
        table[kind as usize] = Extent { fixed: TYPE_HEADER as u8 + once, each };
        at += 1;
    }
    table
};
