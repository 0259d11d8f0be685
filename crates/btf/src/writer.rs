//! Types → `.BTF` bytes, in the machine's byte order.
//!
//! Types are numbered from 1 in the order in which they are added. A type may
//! refer to one that is not there yet: [`Builder::next_id`] tells the number
//! that the next one gets.

use std::collections::HashMap;

use crate::kind::Kind;
use crate::{Error, TypeId};

const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
/// Bytes of `struct btf_header`.
const HEADER: u32 = 24;

/// Linux's bound on members, enumerators and parameters (`BTF_MAX_VLEN`).
const MAX_ELEMENTS: usize = 0xffff;

/// How an integer is to be read (`BTF_INT_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntEncoding {
    Unsigned,
    Signed,
    Char,
    Bool,
}

/// Who sees a function (`BTF_FUNC_*`). The verifier checks a global function
/// by itself, a static one in its callers; callbacks must be static.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FuncLinkage {
    Static = 0,
    Global = 1,
    Extern = 2,
}

/// Where a variable lives (`BTF_VAR_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VarLinkage {
    Static = 0,
    Global = 1,
    Extern = 2,
}

/// A member of a struct or union to write.
#[derive(Clone, Copy, Debug)]
pub struct NewMember<'n> {
    /// Empty for an anonymous struct or union.
    pub name: &'n str,
    pub ty: TypeId,
    /// Bits from the start of the struct.
    pub bit_offset: u32,
    /// Bits of a bit field; 0: not a bit field.
    pub bit_size: u8,
}

/// Collects types and strings and writes them as BTF.
#[derive(Debug)]
pub struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
    offsets: HashMap<Box<str>, u32>,
    count: u32,
    error: Option<Error>,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder { types: Vec::new(), strings: vec![0], offsets: HashMap::new(), count: 0, error: None }
    }
}

impl Builder {
    pub fn new() -> Builder {
        Builder::default()
    }

    /// The number that the next type gets.
    pub fn next_id(&self) -> TypeId {
        TypeId(self.count + 1)
    }

    /// The offset of a string in the string section; equal strings share one.
    /// A string ends at its first NUL, which BTF cannot hold.
    pub fn string(&mut self, text: &str) -> u32 {
        let text = text.split('\0').next().unwrap_or("");
        if text.is_empty() {
            return 0;
        }
        if let Some(&offset) = self.offsets.get(text) {
            return offset;
        }
        let Ok(offset) = u32::try_from(self.strings.len()) else {
            self.error = Some(Error::TooMany("string bytes"));
            return 0;
        };
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        self.offsets.insert(text.into(), offset);
        offset
    }

    fn words(&mut self, words: &[u32]) {
        for word in words {
            self.types.extend_from_slice(&word.to_ne_bytes());
        }
    }

    /// Writes a type's fixed part.
    fn add(&mut self, kind: Kind, name: &str, flag: bool, elements: usize, size_or_type: u32) -> TypeId {
        if elements > MAX_ELEMENTS {
            self.error = Some(Error::TooMany("members, enumerators or parameters"));
        }
        let name = self.string(name);
        let info = u32::from(flag) << 31 | (kind as u32) << 24 | (elements.min(MAX_ELEMENTS) as u32);
        self.words(&[name, info, size_or_type]);
        self.count += 1;
        TypeId(self.count)
    }

    /// An integer of `size` bytes (1, 2, 4, 8 or 16).
    pub fn int(&mut self, name: &str, size: u8, encoding: IntEncoding) -> TypeId {
        let bits = match encoding {
            IntEncoding::Unsigned => 0,
            IntEncoding::Signed => 1,
            IntEncoding::Char => 2,
            IntEncoding::Bool => 4,
        };
        let id = self.add(Kind::Int, name, false, 0, size.into());
        self.words(&[(bits << 24) | (u32::from(size) * 8)]);
        id
    }

    /// A floating-point number of `size` bytes (Linux 5.13).
    pub fn float(&mut self, name: &str, size: u8) -> TypeId {
        self.add(Kind::Float, name, false, 0, size.into())
    }

    /// A pointer; [`TypeId::VOID`] makes a `void *`.
    pub fn ptr(&mut self, to: TypeId) -> TypeId {
        self.add(Kind::Ptr, "", false, 0, to.0)
    }

    pub fn array(&mut self, elem: TypeId, index: TypeId, len: u32) -> TypeId {
        let id = self.add(Kind::Array, "", false, 0, 0);
        self.words(&[elem.0, index.0, len]);
        id
    }

    /// A struct of `size` bytes; anonymous if `name` is empty.
    pub fn structure(&mut self, name: &str, size: u32, members: &[NewMember<'_>]) -> TypeId {
        self.composite(Kind::Struct, name, size, members)
    }

    /// A union of `size` bytes; anonymous if `name` is empty.
    pub fn union(&mut self, name: &str, size: u32, members: &[NewMember<'_>]) -> TypeId {
        self.composite(Kind::Union, name, size, members)
    }

    fn composite(&mut self, kind: Kind, name: &str, size: u32, members: &[NewMember<'_>]) -> TypeId {
        // With the flag, an offset has the bit field's size in its high byte.
        let bit_fields = members.iter().any(|m| m.bit_size != 0);
        let id = self.add(kind, name, bit_fields, members.len(), size);
        for member in members.iter().take(MAX_ELEMENTS) {
            let mut offset = member.bit_offset;
            if bit_fields {
                if offset > 0xff_ffff {
                    self.error = Some(Error::TooLarge(id));
                }
                offset = (offset & 0xff_ffff) | u32::from(member.bit_size) << 24;
            }
            let name = self.string(member.name);
            self.words(&[name, member.ty.0, offset]);
        }
        id
    }

    /// An enumeration of `size` bytes (1, 2 or 4) with 32-bit values.
    pub fn enumeration(&mut self, name: &str, size: u8, signed: bool, enumerators: &[(&str, i32)]) -> TypeId {
        let id = self.add(Kind::Enum, name, signed, enumerators.len(), size.into());
        for (name, value) in enumerators.iter().take(MAX_ELEMENTS) {
            let name = self.string(name);
            self.words(&[name, value.cast_unsigned()]);
        }
        id
    }

    /// An enumeration of 8 bytes (Linux 6.0); values of an unsigned one are
    /// the same bits.
    pub fn enumeration64(&mut self, name: &str, signed: bool, enumerators: &[(&str, i64)]) -> TypeId {
        let id = self.add(Kind::Enum64, name, signed, enumerators.len(), 8);
        for (name, value) in enumerators.iter().take(MAX_ELEMENTS) {
            let name = self.string(name);
            self.words(&[name, *value as u32, (*value >> 32) as u32]);
        }
        id
    }

    /// A forward declaration of a struct or union.
    pub fn forward(&mut self, name: &str, is_union: bool) -> TypeId {
        self.add(Kind::Fwd, name, is_union, 0, 0)
    }

    pub fn typedef(&mut self, name: &str, of: TypeId) -> TypeId {
        self.add(Kind::Typedef, name, false, 0, of.0)
    }

    pub fn constant(&mut self, of: TypeId) -> TypeId {
        self.add(Kind::Const, "", false, 0, of.0)
    }

    pub fn volatile(&mut self, of: TypeId) -> TypeId {
        self.add(Kind::Volatile, "", false, 0, of.0)
    }

    pub fn restrict(&mut self, of: TypeId) -> TypeId {
        self.add(Kind::Restrict, "", false, 0, of.0)
    }

    /// A prototype; parameters are name and type.
    pub fn func_proto(&mut self, returns: TypeId, params: &[(&str, TypeId)]) -> TypeId {
        let id = self.add(Kind::FuncProto, "", false, params.len(), returns.0);
        for (name, ty) in params.iter().take(MAX_ELEMENTS) {
            let name = self.string(name);
            self.words(&[name, ty.0]);
        }
        id
    }

    /// A function. Linkage needs Linux 5.6.
    pub fn func(&mut self, name: &str, proto: TypeId, linkage: FuncLinkage) -> TypeId {
        self.add(Kind::Func, name, false, linkage as usize, proto.0)
    }

    pub fn var(&mut self, name: &str, ty: TypeId, linkage: VarLinkage) -> TypeId {
        let id = self.add(Kind::Var, name, false, 0, ty.0);
        self.words(&[linkage as u32]);
        id
    }

    /// A data section of `size` bytes; variables are variable, offset in bytes
    /// and size in bytes, by ascending offset.
    pub fn datasec(&mut self, name: &str, size: u32, variables: &[(TypeId, u32, u32)]) -> TypeId {
        let id = self.add(Kind::Datasec, name, false, variables.len(), size);
        for (var, offset, size) in variables.iter().take(MAX_ELEMENTS) {
            self.words(&[var.0, *offset, *size]);
        }
        id
    }

    /// A declaration tag on a type, or on a member or parameter of it (Linux 5.16).
    pub fn decl_tag(&mut self, tag: &str, of: TypeId, component: Option<u32>) -> TypeId {
        let id = self.add(Kind::DeclTag, tag, false, 0, of.0);
        self.words(&[component.unwrap_or(u32::MAX)]);
        id
    }

    /// A type tag such as `user` or `rcu` (Linux 5.17).
    pub fn type_tag(&mut self, tag: &str, of: TypeId) -> TypeId {
        self.add(Kind::TypeTag, tag, false, 0, of.0)
    }

    /// The `.BTF` bytes. Fails if something did not fit the format's fields.
    pub fn finish(self) -> Result<Vec<u8>, Error> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| Error::TooMany("type bytes"));
        let (types, strings) = (length(&self.types)?, length(&self.strings)?);
        let mut out = Vec::with_capacity(HEADER as usize + self.types.len() + self.strings.len());
        out.extend_from_slice(&MAGIC.to_ne_bytes());
        out.extend_from_slice(&[VERSION, 0]);
        for word in [HEADER, 0, types, types, strings] {
            out.extend_from_slice(&word.to_ne_bytes());
        }
        out.extend_from_slice(&self.types);
        out.extend_from_slice(&self.strings);
        Ok(out)
    }
}
