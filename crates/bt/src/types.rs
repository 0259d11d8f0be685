//! The types of the language: what sema gives every expression, what C
//! definitions and tracepoint formats translate to.

use std::fmt;
use std::rc::Rc;

use object::plan::{Clock, Stack};

/// A type. Cheap to copy: what is big is shared or named by an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// No value; what a `void *` points to.
    Void,
    Bool,
    Int(IntType),
    Enum(Rc<EnumType>),
    /// Bytes up to a NUL; `size` is the capacity in bytes, NUL included.
    Str {
        size: u32,
    },
    /// A length and up to `size` bytes (`buf()`).
    Buf {
        size: u32,
    },
    Pointer {
        to: Rc<Type>,
        space: AddressSpace,
    },
    /// `len` is 0 for a flexible array.
    Array {
        elem: Rc<Type>,
        len: u32,
    },
    /// A struct or union; the definition is looked up by id.
    Struct(StructId),
    Tuple(Rc<Vec<Type>>),
    /// `(a = 1, b = 2)`.
    Record(Rc<Vec<(String, Type)>>),
    KStack(Stack),
    UStack(Stack),
    KSym,
    USym,
    Username,
    Inet,
    Mac,
    CgroupPath,
    Errno,
    Timestamp {
        format: Rc<str>,
        clock: Clock,
    },
    /// The value of a map that programs add to.
    Aggregate(Aggregate),
}

/// An integer's width in bytes (1, 2, 4 or 8) and signedness. It computes in 64
/// bits; the width matters in memory and in casts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IntType {
    pub bytes: u8,
    pub signed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnumType {
    /// Empty if anonymous.
    pub name: String,
    pub bytes: u8,
    pub signed: bool,
    pub values: Rc<Vec<(i64, String)>>,
}

/// Where a pointer points: decides which helper reads through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum AddressSpace {
    /// Not known: treated as kernel memory, and accepted wherever either is.
    #[default]
    Unknown,
    Kernel,
    User,
}

/// Which definition a struct type has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StructId {
    /// Index into a [`StructTable`]: defined by the script or by a tracepoint's format.
    Defined(u32),
    /// Type id in BTF; `module` 0 is the kernel itself, others as the catalog numbers them.
    Btf { module: u16, id: u32 },
}

/// A struct or union with its layout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StructType {
    /// Without `struct` or `union`; empty if anonymous.
    pub name: String,
    pub is_union: bool,
    pub bytes: u32,
    pub align: u32,
    pub fields: Vec<StructField>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructField {
    /// Empty for an anonymous struct or union, whose members count as the parent's.
    pub name: String,
    pub ty: Type,
    /// Bytes from the start of the struct.
    pub offset: u32,
    pub bits: Option<BitField>,
    pub place: FieldPlace,
}

/// Bits of the integer of the field's type that stands at the field's offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitField {
    /// First bit, counted from the least significant (little endian).
    pub shift: u8,
    pub width: u8,
}

/// How a field is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FieldPlace {
    /// At its offset.
    #[default]
    Direct,
    /// `__data_loc`: at the offset stands a `u32` whose low 16 bits are the
    /// offset of the data from the start of the record, the high 16 its length.
    /// The field's type is that of the data (an array).
    DataLoc,
    /// `__rel_loc`: as `DataLoc`, but counted from the end of this `u32`.
    RelLoc,
}

/// What a map accumulates on each CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aggregate {
    Count,
    Sum { signed: bool },
    Min { signed: bool },
    Max { signed: bool },
    Avg { signed: bool },
    Stats { signed: bool },
    Hist { k: u8 },
    Lhist { min: i64, max: i64, step: i64 },
}

/// Struct definitions that do not come from BTF.
#[derive(Clone, Debug, Default)]
pub struct StructTable {
    structs: Vec<StructType>,
}

impl StructTable {
    /// Adds a definition (or, with no fields yet, a declaration to be set later).
    pub fn add(&mut self, definition: StructType) -> StructId {
        self.structs.push(definition);
        StructId::Defined(self.structs.len() as u32 - 1)
    }

    /// Completes a declaration.
    pub fn set(&mut self, id: StructId, definition: StructType) {
        if let StructId::Defined(index) = id
            && let Some(slot) = self.structs.get_mut(index as usize)
        {
            *slot = definition;
        }
    }

    pub fn get(&self, id: StructId) -> Option<&StructType> {
        match id {
            StructId::Defined(index) => self.structs.get(index as usize),
            StructId::Btf { .. } => None,
        }
    }

    /// The last definition of this name wins.
    pub fn find(&self, name: &str, is_union: bool) -> Option<StructId> {
        let index = self.structs.iter().rposition(|s| s.name == name && s.is_union == is_union)?;
        Some(StructId::Defined(index as u32))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.structs.iter().map(|s| s.name.as_str()).filter(|n| !n.is_empty())
    }
}

impl Type {
    pub const U8: Type = Type::int(1, false);
    pub const U16: Type = Type::int(2, false);
    pub const U32: Type = Type::int(4, false);
    pub const U64: Type = Type::int(8, false);
    pub const I8: Type = Type::int(1, true);
    pub const I16: Type = Type::int(2, true);
    pub const I32: Type = Type::int(4, true);
    pub const I64: Type = Type::int(8, true);

    pub const fn int(bytes: u8, signed: bool) -> Type {
        Type::Int(IntType { bytes, signed })
    }

    pub fn pointer(to: Type, space: AddressSpace) -> Type {
        Type::Pointer { to: Rc::new(to), space }
    }

    pub fn array(elem: Type, len: u32) -> Type {
        Type::Array { elem: Rc::new(elem), len }
    }

    /// A built-in type by its name: `int32`, `u64`, `unsigned long`, `size_t`,
    /// `bool`, `void`, `string` (whose size is then 0), and C's spellings in any
    /// common order. `None` for anything else.
    pub fn builtin(name: &str) -> Option<Type> {
        Some(match name {
            "void" => Type::Void,
            "bool" | "_Bool" => Type::Bool,
            "int8" | "int8_t" | "s8" | "__s8" | "char" | "signed char" => Type::I8,
            "uint8" | "uint8_t" | "u8" | "__u8" | "unsigned char" | "u_char" | "uchar" => Type::U8,
            "int16" | "int16_t" | "s16" | "__s16" | "short" | "short int" | "signed short" => Type::I16,
            "uint16" | "uint16_t" | "u16" | "__u16" | "__be16" | "__le16" | "__sum16" | "unsigned short"
            | "short unsigned int" | "unsigned short int" | "umode_t" | "u_short" | "ushort" => Type::U16,
            "int32" | "int32_t" | "s32" | "__s32" | "int" | "signed" | "signed int" | "pid_t" => Type::I32,
            "uint32" | "uint32_t" | "u32" | "__u32" | "__be32" | "__le32" | "__wsum" | "unsigned int" | "unsigned"
            | "uint" | "u_int" | "gfp_t" | "fmode_t" | "uid_t" | "gid_t" | "qid_t" | "projid_t" | "dev_t"
            | "mode_t" => Type::U32,
            "int64" | "int64_t" | "s64" | "__s64" | "long" | "long int" | "signed long" | "long long"
            | "long long int" | "signed long long" | "loff_t" | "off_t" | "ssize_t" | "time_t" | "intptr_t"
            | "ptrdiff_t" => Type::I64,
            "uint64"
            | "uint64_t"
            | "u64"
            | "__u64"
            | "__be64"
            | "__le64"
            | "unsigned long"
            | "long unsigned int"
            | "unsigned long int"
            | "unsigned long long"
            | "long long unsigned int"
            | "unsigned long long int"
            | "size_t"
            | "uintptr_t"
            | "sector_t"
            | "blkcnt_t"
            | "ino_t"
            | "dma_addr_t"
            | "phys_addr_t"
            | "u_long"
            | "ulong" => Type::U64,
            "string" => Type::Str { size: 0 },
            "inet" => Type::Inet,
            "username" => Type::Username,
            "macaddr" | "mac_address" => Type::Mac,
            "cgroup_path" => Type::CgroupPath,
            "ksym_t" | "ksym" => Type::KSym,
            "usym_t" | "usym" => Type::USym,
            _ => return None,
        })
    }

    /// Whether values are one 64-bit number: integers, booleans, enums, pointers
    /// and what is shown in a special way but stored as a number.
    pub fn is_scalar(&self) -> bool {
        matches!(
            self,
            Type::Bool
                | Type::Int(_)
                | Type::Enum(_)
                | Type::Pointer { .. }
                | Type::KSym
                | Type::Username
                | Type::CgroupPath
                | Type::Errno
                | Type::Timestamp { .. }
                | Type::KStack(_)
        )
    }

    /// Integers, booleans and enums.
    pub fn is_integral(&self) -> bool {
        matches!(self, Type::Bool | Type::Int(_) | Type::Enum(_))
    }

    pub fn is_pointer(&self) -> bool {
        matches!(self, Type::Pointer { .. })
    }

    pub fn is_signed(&self) -> bool {
        match self {
            Type::Int(int) => int.signed,
            Type::Enum(e) => e.signed,
            _ => false,
        }
    }
}

impl Aggregate {
    /// What the language calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Aggregate::Count => "count",
            Aggregate::Sum { .. } => "sum",
            Aggregate::Min { .. } => "min",
            Aggregate::Max { .. } => "max",
            Aggregate::Avg { .. } => "avg",
            Aggregate::Stats { .. } => "stats",
            Aggregate::Hist { .. } => "hist",
            Aggregate::Lhist { .. } => "lhist",
        }
    }
}

/// The type as messages name it (`uint64`, `string[16]`, `(int64,string[6])`).
/// Structs show as `struct`: their names are in the table.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Void => f.write_str("void"),
            Type::Bool => f.write_str("bool"),
            Type::Int(i) => write!(f, "{}int{}", if i.signed { "" } else { "u" }, u32::from(i.bytes) * 8),
            Type::Enum(e) if e.name.is_empty() => f.write_str("enum"),
            Type::Enum(e) => write!(f, "enum {}", e.name),
            Type::Str { size: 0 } => f.write_str("string"),
            Type::Str { size } => write!(f, "string[{size}]"),
            Type::Buf { size } => write!(f, "buffer[{size}]"),
            Type::Pointer { to, .. } => write!(f, "{to} *"),
            Type::Array { elem, len } => write!(f, "{elem}[{len}]"),
            Type::Struct(_) => f.write_str("struct"),
            Type::Tuple(fields) => {
                f.write_str("(")?;
                for (i, field) in fields.iter().enumerate() {
                    write!(f, "{}{field}", if i > 0 { "," } else { "" })?;
                }
                f.write_str(")")
            }
            Type::Record(fields) => {
                f.write_str("(")?;
                for (i, (name, field)) in fields.iter().enumerate() {
                    write!(f, "{}{name}={field}", if i > 0 { "," } else { "" })?;
                }
                f.write_str(")")
            }
            Type::KStack(_) => f.write_str("kstack"),
            Type::UStack(_) => f.write_str("ustack"),
            Type::KSym => f.write_str("ksym_t"),
            Type::USym => f.write_str("usym_t"),
            Type::Username => f.write_str("username"),
            Type::Inet => f.write_str("inet"),
            Type::Mac => f.write_str("mac_address"),
            Type::CgroupPath => f.write_str("cgroup_path"),
            Type::Errno => f.write_str("strerror"),
            Type::Timestamp { .. } => f.write_str("timestamp"),
            Type::Aggregate(a) => write!(f, "{}_t", a.name()),
        }
    }
}
