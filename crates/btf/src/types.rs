//! A type as it stands in the bytes: borrowed, nothing copied, nothing
//! allocated.

use crate::kind::{Kind, TYPE_HEADER};
use crate::{Btf, Error};

/// A type's number within its BTF; 0 is `void`. Types of a split BTF continue
/// the numbering of its base.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub u32);

impl TypeId {
    pub const VOID: TypeId = TypeId(0);
}

impl std::fmt::Display for TypeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The `u32` at a byte offset; the caller has checked the bounds, and a wrong
/// check gives 0, never a panic.
#[inline(always)]
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    match bytes.get(offset..offset + 4) {
        Some(&[a, b, c, d]) => u32::from_ne_bytes([a, b, c, d]),
        _ => 0,
    }
}

/// A type: its kind, its name and, by kind, what follows.
#[derive(Clone, Copy)]
pub struct Type<'b> {
    pub(crate) btf: &'b Btf<'b>,
    pub id: TypeId,
    pub kind: Kind,
    name_off: u32,
    info: u32,
    size_or_type: u32,
    /// The bytes after the fixed part.
    trailer: &'b [u8],
}

impl std::fmt::Debug for Type<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}] {:?} {:?}", self.id, self.kind, self.name())
    }
}

impl<'b> Type<'b> {
    /// `bytes` holds the whole type: header and trailer.
    pub(crate) fn new(btf: &'b Btf<'b>, id: TypeId, kind: Kind, bytes: &'b [u8]) -> Type<'b> {
        Type {
            btf,
            id,
            kind,
            name_off: u32_at(bytes, 0),
            info: u32_at(bytes, 4),
            size_or_type: u32_at(bytes, 8),
            trailer: bytes.get(TYPE_HEADER..).unwrap_or(&[]),
        }
    }

    pub(crate) fn void(btf: &'b Btf<'b>) -> Type<'b> {
        Type { btf, id: TypeId::VOID, kind: Kind::Void, name_off: 0, info: 0, size_or_type: 0, trailer: &[] }
    }

    /// The type's name; empty for an anonymous type, and for one whose name is
    /// damaged (use [`Btf::string`] with [`Type::name_offset`] to tell).
    pub fn name(&self) -> &'b str {
        self.btf.string(self.name_off).unwrap_or("")
    }

    /// Where the name stands in the string section.
    pub fn name_offset(&self) -> u32 {
        self.name_off
    }

    /// `kind_flag`: members carry bit field sizes; an enum is signed; a forward
    /// declaration is of a union.
    pub fn kind_flag(&self) -> bool {
        self.info >> 31 == 1
    }

    /// How many members, enumerators, parameters or variables follow.
    pub fn len(&self) -> usize {
        (self.info & 0xff_ffff) as usize
    }

    /// Whether nothing follows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes, for the kinds that store a size themselves (integers, floats,
    /// structs, unions, enums, data sections). [`Btf::size_of`] answers for all.
    pub fn stored_size(&self) -> Option<u32> {
        use Kind::*;
        matches!(self.kind, Int | Struct | Union | Enum | Enum64 | Float | Datasec).then_some(self.size_or_type)
    }

    /// The type referred to, for the kinds that refer to one: pointee of a
    /// pointer, target of a typedef or qualifier, element of an array, prototype
    /// of a function, return type of a prototype, type of a variable.
    pub fn target(&self) -> Option<TypeId> {
        use Kind::*;
        match self.kind {
            Ptr | Typedef | Volatile | Const | Restrict | Func | FuncProto | Var | DeclTag | TypeTag => {
                Some(TypeId(self.size_or_type))
            }
            Array => Some(TypeId(u32_at(self.trailer, 0))),
            _ => None,
        }
    }

    /// Whether this is `const`, `volatile`, `restrict` or a type tag.
    pub fn is_qualifier(&self) -> bool {
        matches!(self.kind, Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag)
    }

    /// Whether this is a struct or a union.
    pub fn is_composite(&self) -> bool {
        matches!(self.kind, Kind::Struct | Kind::Union)
    }

    /// How an integer is to be read.
    pub fn int(&self) -> Option<Int> {
        (self.kind == Kind::Int).then(|| {
            let word = u32_at(self.trailer, 0);
            let encoding = (word >> 24) & 0xf;
            Int {
                size: self.size_or_type,
                bits: (word & 0xff) as u8,
                bit_offset: ((word >> 16) & 0xff) as u8,
                signed: encoding & 1 != 0,
                char: encoding & 2 != 0,
                bool: encoding & 4 != 0,
            }
        })
    }

    /// Element type, index type and length of an array.
    pub fn array(&self) -> Option<Array> {
        (self.kind == Kind::Array).then(|| Array {
            elem: TypeId(u32_at(self.trailer, 0)),
            index: TypeId(u32_at(self.trailer, 4)),
            len: u32_at(self.trailer, 8),
        })
    }

    /// Members of a struct or union in order; none for other kinds.
    pub fn members(&self) -> impl ExactSizeIterator<Item = Member<'b>> + use<'b> {
        let (btf, kind_flag) = (self.btf, self.kind_flag());
        self.elements(self.is_composite(), 12).map(move |bytes| {
            let offset = u32_at(bytes, 8);
            Member {
                name: btf.string(u32_at(bytes, 0)).unwrap_or(""),
                ty: TypeId(u32_at(bytes, 4)),
                bit_offset: if kind_flag { offset & 0xff_ffff } else { offset },
                bit_size: if kind_flag { (offset >> 24) as u8 } else { 0 },
            }
        })
    }

    /// Enumerators in order; none for other kinds.
    pub fn enumerators(&self) -> impl ExactSizeIterator<Item = Enumerator<'b>> + use<'b> {
        let (btf, signed, wide) = (self.btf, self.kind_flag(), self.kind == Kind::Enum64);
        let is_enum = matches!(self.kind, Kind::Enum | Kind::Enum64);
        self.elements(is_enum, if wide { 12 } else { 8 }).map(move |bytes| {
            let low = u32_at(bytes, 4);
            let value = if wide {
                i128::from(u64::from(low) | u64::from(u32_at(bytes, 8)) << 32)
            } else if signed {
                i128::from(low.cast_signed())
            } else {
                i128::from(low)
            };
            let value = if wide && signed { i128::from((value as u64).cast_signed()) } else { value };
            Enumerator { name: btf.string(u32_at(bytes, 0)).unwrap_or(""), value }
        })
    }

    /// Parameters of a function prototype, or of a function's prototype; none
    /// for other kinds. A last parameter without name and type is `...`.
    pub fn params(&self) -> impl ExactSizeIterator<Item = Param<'b>> + use<'b> {
        let proto = self.prototype().unwrap_or(*self);
        let btf = self.btf;
        proto
            .elements(proto.kind == Kind::FuncProto, 8)
            .map(move |bytes| Param { name: btf.string(u32_at(bytes, 0)).unwrap_or(""), ty: TypeId(u32_at(bytes, 4)) })
    }

    /// What a function, or a function prototype, returns.
    pub fn return_type(&self) -> Option<TypeId> {
        self.prototype()?.target()
    }

    /// The prototype of a function; a prototype is its own.
    pub fn prototype(&self) -> Option<Type<'b>> {
        match self.kind {
            Kind::FuncProto => Some(*self),
            Kind::Func => self.btf.get(TypeId(self.size_or_type)).ok().filter(|t| t.kind == Kind::FuncProto),
            _ => None,
        }
    }

    /// Variables of a data section in order; none for other kinds.
    pub fn variables(&self) -> impl ExactSizeIterator<Item = SectionVariable> + use<'b> {
        self.elements(self.kind == Kind::Datasec, 12).map(|bytes| SectionVariable {
            var: TypeId(u32_at(bytes, 0)),
            offset: u32_at(bytes, 4),
            size: u32_at(bytes, 8),
        })
    }

    /// Linkage of a function (`BTF_FUNC_STATIC` 0, `GLOBAL` 1, `EXTERN` 2) or
    /// of a variable (`BTF_VAR_STATIC` 0, `GLOBAL_ALLOCATED` 1, `GLOBAL_EXTERN` 2).
    pub fn linkage(&self) -> Option<u32> {
        match self.kind {
            Kind::Func => Some(self.info & 0xff_ffff),
            Kind::Var => Some(u32_at(self.trailer, 0)),
            _ => None,
        }
    }

    /// Which member or parameter a declaration tag is about; `None`: all of it.
    pub fn tag_component(&self) -> Option<u32> {
        (self.kind == Kind::DeclTag).then(|| u32_at(self.trailer, 0)).filter(|&index| index != u32::MAX)
    }

    /// Whether a forward declaration is of a union.
    pub fn is_forward_union(&self) -> bool {
        self.kind == Kind::Fwd && self.kind_flag()
    }

    fn elements(&self, applies: bool, size: usize) -> std::slice::ChunksExact<'b, u8> {
        let bytes = if applies { self.trailer } else { &[] };
        bytes.chunks_exact(size)
    }
}

/// How an integer is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Int {
    /// Bytes.
    pub size: u32,
    /// Bits that count, from `bit_offset` on; less than the size only in old bit fields.
    pub bits: u8,
    pub bit_offset: u8,
    pub signed: bool,
    /// Meant as a character. (Linux's BTF does not set it on `char`.)
    pub char: bool,
    pub bool: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Array {
    pub elem: TypeId,
    pub index: TypeId,
    pub len: u32,
}

/// A member of a struct or union.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'b> {
    /// Empty for an anonymous struct or union.
    pub name: &'b str,
    pub ty: TypeId,
    /// Bits from the start of the struct.
    pub bit_offset: u32,
    /// Bits of a bit field; 0: not a bit field.
    pub bit_size: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enumerator<'b> {
    pub name: &'b str,
    /// Wide enough for every `i64` and every `u64`.
    pub value: i128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'b> {
    pub name: &'b str,
    pub ty: TypeId,
}

/// Where a variable stands in its section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionVariable {
    pub var: TypeId,
    /// Bytes from the section's start.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
}

impl<'b> Type<'b> {
    /// Fails if the name is damaged, where [`Type::name`] would give none.
    pub fn checked_name(&self) -> Result<&'b str, Error> {
        self.btf.string(self.name_off)
    }
}
