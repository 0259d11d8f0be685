//! The types that a script can name: its own definitions, then the kernel's BTF.
//!
//! BTF is asked one name and one member at a time; nothing is converted ahead.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use btf::{Btf, Kind, TypeId};

use crate::types::*;
use crate::{Host, HostError};

/// Typedef chains and nested anonymous members are followed this deep.
const DEPTH: u32 = 32;

/// Answers about types. One per compilation.
pub struct Catalog<'h> {
    pub host: &'h dyn Host,
    /// Structs of the script and of tracepoint formats.
    pub structs: RefCell<StructTable>,
    /// Typedefs of the script.
    pub typedefs: HashMap<String, Type>,
    /// Enums of the script.
    pub enums: Vec<Rc<EnumType>>,
    /// `#define`d and well-known constants.
    pub constants: HashMap<String, i64>,
    /// Modules whose BTF was used; `StructId::Btf`'s `module` 1 is the first.
    modules: RefCell<Vec<String>>,
}

/// A member found by name, anonymous members looked through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub ty: Type,
    /// Bytes from the start of the outermost struct.
    pub offset: u32,
    pub bits: Option<BitField>,
    pub place: FieldPlace,
    /// It stands in a union, or its struct is one.
    pub in_union: bool,
    /// The kernel marks the pointer (`__user`, `__percpu`, `__rcu`): the
    /// verifier does not take it for a plain pointer to a kernel object.
    pub tagged: bool,
}

impl<'h> Catalog<'h> {
    pub fn new(host: &'h dyn Host) -> Self {
        Catalog {
            host,
            structs: RefCell::default(),
            typedefs: HashMap::new(),
            enums: Vec::new(),
            constants: HashMap::new(),
            modules: RefCell::default(),
        }
    }

    /// The BTF that `StructId::Btf` numbers as `module`.
    pub fn btf(&self, module: u16) -> Result<&'h Btf<'h>, HostError> {
        match module.checked_sub(1) {
            None => self.host.btf(),
            Some(index) => match self.modules.borrow().get(usize::from(index)) {
                Some(name) => self.host.module_btf(name),
                None => Err(HostError { what: "no such module".into(), hint: None }),
            },
        }
    }

    /// The number that stands for a module's BTF from now on.
    pub fn module_number(&self, module: Option<&str>) -> u16 {
        let Some(module) = module.filter(|m| *m != "vmlinux") else { return 0 };
        let mut modules = self.modules.borrow_mut();
        let index = modules.iter().position(|m| m == module).unwrap_or_else(|| {
            modules.push(module.to_owned());
            modules.len() - 1
        });
        index as u16 + 1
    }

    /// A struct or union by name: the script's first, then the kernel's.
    pub fn find_struct(&self, name: &str, is_union: bool) -> Option<StructId> {
        if let Some(id) = self.structs.borrow().find(name, is_union) {
            return Some(id);
        }
        let kind = if is_union { Kind::Union } else { Kind::Struct };
        let found = self.host.btf().ok()?.find(name, kind)?;
        Some(StructId::Btf { module: 0, id: found.id.0 })
    }

    pub fn find_enum(&self, name: &str) -> Option<Rc<EnumType>> {
        if let Some(found) = self.enums.iter().rev().find(|e| e.name == name) {
            return Some(found.clone());
        }
        let btf = self.host.btf().ok()?;
        let found = btf.find(name, Kind::Enum).or_else(|| btf.find(name, Kind::Enum64))?;
        Some(Rc::new(enum_from_btf(&found)))
    }

    pub fn find_typedef(&self, name: &str) -> Option<Type> {
        if let Some(found) = self.typedefs.get(name) {
            return Some(found.clone());
        }
        let found = self.host.btf().ok()?.find(name, Kind::Typedef)?;
        Some(self.type_from_btf(0, found.id))
    }

    /// A constant of the script, or an enumerator of the script or the kernel.
    pub fn find_constant(&self, name: &str) -> Option<(i64, Option<Rc<EnumType>>)> {
        if let Some(value) = self.constants.get(name) {
            return Some((*value, None));
        }
        for e in self.enums.iter().rev() {
            if let Some((value, _)) = e.values.iter().find(|(_, n)| n == name) {
                return Some((*value, Some(e.clone())));
            }
        }
        let btf = self.host.btf().ok()?;
        btf.types().filter(|t| matches!(t.kind, Kind::Enum | Kind::Enum64)).find_map(|t| {
            let found = t.enumerators().find(|e| e.name == name)?;
            Some((found.value as i64, Some(Rc::new(enum_from_btf(&t)))))
        })
    }

    /// The name of a struct as a message says it: `struct task_struct`.
    pub fn struct_name(&self, id: StructId) -> String {
        let (keyword, name) = match id {
            StructId::Defined(_) => {
                let structs = self.structs.borrow();
                let Some(def) = structs.get(id) else { return "struct".into() };
                (if def.is_union { "union" } else { "struct" }, def.name.clone())
            }
            StructId::Btf { module, id } => match self.btf(module).ok().and_then(|b| b.get(TypeId(id)).ok()) {
                Some(t) => (t.kind.keyword().unwrap_or("struct"), t.name().to_owned()),
                None => ("struct", String::new()),
            },
        };
        format!("{keyword} {}", if name.is_empty() { "(anonymous)" } else { &name })
    }

    /// A type as messages name it, structs by name.
    pub fn type_name(&self, ty: &Type) -> String {
        match ty {
            Type::Struct(id) => self.struct_name(*id),
            Type::Pointer { to, .. } => format!("{} *", self.type_name(to)),
            Type::Array { elem, len } => format!("{}[{len}]", self.type_name(elem)),
            Type::Tuple(fields) => {
                format!("({})", fields.iter().map(|f| self.type_name(f)).collect::<Vec<_>>().join(","))
            }
            other => other.to_string(),
        }
    }

    /// Bytes that a value of the type takes in the memory of the traced program
    /// (C's `sizeof`); `None` where it has no such form.
    pub fn size_of(&self, ty: &Type) -> Option<u32> {
        Some(match ty {
            Type::Void => 1,
            Type::Bool => 1,
            Type::Int(i) => u32::from(i.bytes),
            Type::Enum(e) => u32::from(e.bytes),
            Type::Str { size } | Type::Buf { size } => *size,
            Type::Pointer { .. } => 8,
            Type::Array { elem, len } => self.size_of(elem)?.checked_mul(*len)?,
            Type::Struct(id) => match id {
                StructId::Defined(_) => self.structs.borrow().get(*id)?.bytes,
                StructId::Btf { module, id } => self.btf(*module).ok()?.get(TypeId(*id)).ok()?.stored_size()?,
            },
            Type::Tuple(fields) => self.size_in_order(fields.iter())?,
            Type::Record(fields) => self.size_in_order(fields.iter().map(|(_, field)| field))?,
            Type::KSym | Type::Username | Type::CgroupPath | Type::Errno | Type::Timestamp { .. } => 8,
            Type::KStack(_) => 8,
            Type::UStack(_) | Type::USym => 16,
            Type::Inet => 24,
            Type::Mac => 8,
            Type::Aggregate(_) => 8,
        })
    }

    /// Bytes of fields that follow each other as C lays them out.
    fn size_in_order<'t>(&self, fields: impl Iterator<Item = &'t Type>) -> Option<u32> {
        let (mut end, mut align) = (0u32, 1);
        for field in fields {
            let each = self.align_of(field, DEPTH);
            end = end.checked_next_multiple_of(each)?.checked_add(self.size_of(field)?)?;
            align = align.max(each);
        }
        end.checked_next_multiple_of(align)
    }

    /// What a type's place in memory is a multiple of, in bytes.
    fn align_of(&self, ty: &Type, depth: u32) -> u32 {
        let Some(depth) = depth.checked_sub(1) else { return 1 };
        let of_all =
            |fields: &mut dyn Iterator<Item = Type>| fields.map(|f| self.align_of(&f, depth)).max().unwrap_or(1);
        match ty {
            Type::Void | Type::Str { .. } => 1,
            Type::Buf { .. } => 4,
            Type::Array { elem, .. } => self.align_of(elem, depth),
            Type::Tuple(fields) => of_all(&mut fields.iter().cloned()),
            Type::Record(fields) => of_all(&mut fields.iter().map(|(_, f)| f.clone())),
            Type::Struct(id) => of_all(&mut self.members(*id).into_iter().map(|f| f.ty)),
            Type::Bool | Type::Int(_) | Type::Enum(_) => self.size_of(ty).unwrap_or(1).max(1),
            _ => 8,
        }
    }

    /// A member by name, looking through anonymous structs and unions.
    pub fn member(&self, id: StructId, name: &str) -> Option<Member> {
        match id {
            StructId::Defined(_) => self.defined_member(id, name, DEPTH),
            StructId::Btf { module, id } => {
                let btf = self.btf(module).ok()?;
                self.btf_member(btf, module, TypeId(id), name, DEPTH)
            }
        }
    }

    fn defined_member(&self, id: StructId, name: &str, depth: u32) -> Option<Member> {
        let def = self.structs.borrow().get(id)?.clone();
        if let Some(f) = def.fields.iter().find(|f| f.name == name) {
            return Some(Member {
                name: name.to_owned(),
                ty: f.ty.clone(),
                offset: f.offset,
                bits: f.bits,
                place: f.place,
                in_union: def.is_union,
                tagged: false,
            });
        }
        let depth = depth.checked_sub(1)?;
        def.fields.iter().filter(|f| f.name.is_empty()).find_map(|f| {
            let Type::Struct(inner) = f.ty else { return None };
            let mut found = match inner {
                StructId::Defined(_) => self.defined_member(inner, name, depth)?,
                StructId::Btf { .. } => self.member(inner, name)?,
            };
            found.offset += f.offset;
            found.in_union |= def.is_union;
            Some(found)
        })
    }

    fn btf_member(&self, btf: &'h Btf<'h>, module: u16, id: TypeId, name: &str, depth: u32) -> Option<Member> {
        let def = btf.get(id).ok()?;
        let in_union = def.kind == Kind::Union;
        if let Some(m) = def.members().find(|m| m.name == name) {
            let (ty, tagged) = self.type_and_tag(btf, module, m.ty);
            let (offset, bits) = self.member_place(&ty, m.bit_offset, m.bit_size);
            return Some(Member {
                name: name.to_owned(),
                ty,
                offset,
                bits,
                place: FieldPlace::Direct,
                in_union,
                tagged,
            });
        }
        let depth = depth.checked_sub(1)?;
        def.members().filter(|m| m.name.is_empty()).find_map(|m| {
            let inner = resolve(btf, m.ty)?;
            let mut found = self.btf_member(btf, module, inner, name, depth)?;
            found.offset += m.bit_offset / 8;
            found.in_union |= in_union;
            Some(found)
        })
    }

    /// Byte offset of a member, and for a bit field its bits within the integer there.
    fn member_place(&self, ty: &Type, bit_offset: u32, bit_size: u8) -> (u32, Option<BitField>) {
        if bit_size == 0 {
            return (bit_offset / 8, None);
        }
        let bytes = self.size_of(ty).filter(|b| matches!(b, 1 | 2 | 4 | 8)).unwrap_or(8);
        let unit = bytes * 8;
        let start = bit_offset / unit * unit;
        let shift = bit_offset - start;
        (start / 8, Some(BitField { shift: shift as u8, width: bit_size }))
    }

    /// All members of a struct, in order, anonymous ones by an empty name.
    pub fn members(&self, id: StructId) -> Vec<StructField> {
        match id {
            StructId::Defined(_) => self.structs.borrow().get(id).map(|d| d.fields.clone()).unwrap_or_default(),
            StructId::Btf { module, id } => {
                let Ok(btf) = self.btf(module) else { return Vec::new() };
                let Ok(def) = btf.get(TypeId(id)) else { return Vec::new() };
                def.members()
                    .map(|m| {
                        let ty = self.type_from_btf(module, m.ty);
                        let (offset, bits) = self.member_place(&ty, m.bit_offset, m.bit_size);
                        StructField { name: m.name.to_owned(), ty, offset, bits, place: FieldPlace::Direct }
                    })
                    .collect()
            }
        }
    }

    /// Names of members, those of anonymous ones included, for suggestions.
    pub fn member_names(&self, id: StructId) -> Vec<String> {
        let mut names = Vec::new();
        self.collect_names(id, DEPTH, &mut names);
        names
    }

    fn collect_names(&self, id: StructId, depth: u32, names: &mut Vec<String>) {
        let Some(depth) = depth.checked_sub(1) else { return };
        for f in self.members(id) {
            match f.ty {
                Type::Struct(inner) if f.name.is_empty() => self.collect_names(inner, depth, names),
                _ => names.push(f.name),
            }
        }
    }

    /// Whether it is a union.
    pub fn is_union(&self, id: StructId) -> bool {
        match id {
            StructId::Defined(_) => self.structs.borrow().get(id).is_some_and(|d| d.is_union),
            StructId::Btf { module, id } => {
                self.btf(module).ok().and_then(|b| b.get(TypeId(id)).ok()).is_some_and(|t| t.kind == Kind::Union)
            }
        }
    }

    /// The type that a BTF id says, as the language has it. What it has no
    /// form for (floats, functions) is `void`.
    pub fn type_from_btf(&self, module: u16, id: TypeId) -> Type {
        match self.btf(module) {
            Ok(btf) => self.type_and_tag(btf, module, id).0,
            Err(_) => Type::Void,
        }
    }

    /// The type, and whether a tag on a pointer's target sets it apart.
    fn type_and_tag(&self, btf: &'h Btf<'h>, module: u16, id: TypeId) -> (Type, bool) {
        let mut id = id;
        for _ in 0..DEPTH {
            let Ok(t) = btf.get(id) else { return (Type::Void, false) };
            let ty = match t.kind {
                Kind::Typedef | Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag => {
                    id = t.target().unwrap_or(TypeId::VOID);
                    continue;
                }
                Kind::Int => match t.int() {
                    Some(int) if int.bool => Type::Bool,
                    // Text, whatever the kernel was built to take `char` for.
                    Some(int) if int.size == 1 && t.name() == "char" => Type::I8,
                    Some(int) => match int.size {
                        bytes @ (1 | 2 | 4 | 8) => Type::int(bytes as u8, int.signed),
                        16 => Type::array(Type::U64, 2),
                        _ => Type::Void,
                    },
                    None => Type::Void,
                },
                Kind::Enum | Kind::Enum64 => Type::Enum(Rc::new(enum_from_btf(&t))),
                Kind::Struct | Kind::Union => Type::Struct(StructId::Btf { module, id: t.id.0 }),
                Kind::Ptr => {
                    let target = t.target().unwrap_or(TypeId::VOID);
                    let (space, tagged) = pointer_tags(btf, target);
                    // Pointees are converted one level: lists and trees point back to their own type.
                    let to = self.pointee(btf, module, target);
                    return (Type::Pointer { to: Rc::new(to), space }, tagged);
                }
                Kind::Array => match t.array() {
                    Some(array) => {
                        let elem = self.type_and_tag(btf, module, array.elem).0;
                        Type::array(elem, array.len)
                    }
                    None => Type::Void,
                },
                _ => Type::Void,
            };
            return (ty, false);
        }
        (Type::Void, false)
    }

    /// What a pointer points to.
    fn pointee(&self, btf: &'h Btf<'h>, module: u16, id: TypeId) -> Type {
        match resolve(btf, id).and_then(|id| btf.get(id).ok()) {
            Some(t) if t.kind == Kind::Fwd => {
                // A module may know only the name of what the kernel defines.
                let kind = if t.is_forward_union() { Kind::Union } else { Kind::Struct };
                match btf.find(t.name(), kind) {
                    Some(found) => Type::Struct(StructId::Btf { module, id: found.id.0 }),
                    None => Type::Void,
                }
            }
            Some(t) => self.type_and_tag(btf, module, t.id).0,
            None => Type::Void,
        }
    }
}

/// Strips typedefs and qualifiers.
fn resolve(btf: &Btf<'_>, id: TypeId) -> Option<TypeId> {
    let mut id = id;
    for _ in 0..DEPTH {
        let t = btf.get(id).ok()?;
        if t.kind != Kind::Typedef && !t.is_qualifier() {
            return Some(id);
        }
        id = t.target()?;
    }
    None
}

/// The address space that type tags on a pointer's target name, and whether there is a tag.
fn pointer_tags(btf: &Btf<'_>, target: TypeId) -> (AddressSpace, bool) {
    let mut id = target;
    let (mut space, mut tagged) = (AddressSpace::Kernel, false);
    for _ in 0..DEPTH {
        let Ok(t) = btf.get(id) else { break };
        if t.kind == Kind::TypeTag {
            tagged = true;
            if t.name() == "user" {
                space = AddressSpace::User;
            }
        } else if t.kind != Kind::Typedef && !t.is_qualifier() {
            break;
        }
        let Some(next) = t.target() else { break };
        id = next;
    }
    (space, tagged)
}

fn enum_from_btf(t: &btf::Type<'_>) -> EnumType {
    EnumType {
        name: t.name().to_owned(),
        bytes: t.stored_size().filter(|s| matches!(s, 1 | 2 | 4 | 8)).unwrap_or(4) as u8,
        signed: t.kind_flag(),
        values: Rc::new(t.enumerators().map(|e| (e.value as i64, e.name.to_owned())).collect()),
    }
}
