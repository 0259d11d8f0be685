//! Questions about types that need more than one of them: what is behind a
//! typedef, how large, where a member is.

use crate::kind::Kind;
use crate::{Btf, Error, Type, TypeId};

/// How many types a chain of references may have, and how deeply structs may
/// be nested, before the BTF counts as cyclic. Linux's own bound is 32
/// (`MAX_RESOLVE_DEPTH` in `kernel/bpf/btf.c`).
pub(crate) const MAX_DEPTH: usize = 64;

/// Bytes of a pointer on every machine that BPF tracing runs on.
pub const POINTER_SIZE: u64 = 8;

/// How many members [`Btf::struct_layout`] lists at most; damaged BTF can nest
/// anonymous structs so that their number grows exponentially.
const MAX_FIELDS: usize = 65_536;

/// A member reached from a struct, through anonymous structs and unions or a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The member's name; of a path, the last component.
    pub name: String,
    pub ty: TypeId,
    /// Bits from the start of the outermost struct.
    pub bit_offset: u64,
    /// Bits of a bit field; `None`: not a bit field.
    pub bit_size: Option<u8>,
}

impl Field {
    /// Bytes from the start of the outermost struct, rounded down for a bit field.
    pub fn offset(&self) -> u64 {
        self.bit_offset / 8
    }
}

impl<'d> Btf<'d> {
    /// The type behind typedefs, qualifiers and type tags.
    pub fn resolve<'b>(&'b self, id: TypeId) -> Result<Type<'b>, Error> {
        self.follow(id, |ty| ty.is_qualifier() || ty.kind == Kind::Typedef)
    }

    /// The type behind qualifiers and type tags; typedefs stay.
    pub fn unqualified<'b>(&'b self, id: TypeId) -> Result<Type<'b>, Error> {
        self.follow(id, Type::is_qualifier)
    }

    fn follow<'b>(&'b self, id: TypeId, through: impl Fn(&Type<'b>) -> bool) -> Result<Type<'b>, Error> {
        let mut ty = self.get(id)?;
        for _ in 0..MAX_DEPTH {
            match ty.target() {
                Some(next) if through(&ty) => ty = self.get(next)?,
                _ => return Ok(ty),
            }
        }
        Err(Error::Cycle(id))
    }

    /// Whether a type tag (`__user`, `__percpu`, `__rcu` appear as `user`,
    /// `percpu`, `rcu`) stands between here and the type itself. Of a pointer, ask about its target.
    pub fn has_type_tag(&self, id: TypeId, tag: &str) -> Result<bool, Error> {
        let tagged = self.follow(id, |ty| {
            (ty.is_qualifier() || ty.kind == Kind::Typedef) && !(ty.kind == Kind::TypeTag && ty.name() == tag)
        })?;
        Ok(tagged.kind == Kind::TypeTag)
    }

    /// Bytes of a value of this type. `void`, functions and forward
    /// declarations have none: an error.
    pub fn size_of(&self, id: TypeId) -> Result<u64, Error> {
        let mut count: u64 = 1;
        let mut at = id;
        for _ in 0..MAX_DEPTH {
            let ty = self.resolve(at)?;
            let one = match (ty.kind, ty.stored_size()) {
                (_, Some(size)) => u64::from(size),
                (Kind::Ptr, _) => POINTER_SIZE,
                (Kind::Array, _) => {
                    let array = ty.array().ok_or(Error::Cycle(id))?;
                    count = count.checked_mul(u64::from(array.len)).ok_or(Error::TooLarge(id))?;
                    at = array.elem;
                    continue;
                }
                (Kind::Var, _) => {
                    at = ty.target().ok_or(Error::Cycle(id))?;
                    continue;
                }
                _ => return Err(Error::NoSize { id, name: self.type_name(id) }),
            };
            return count.checked_mul(one).ok_or(Error::TooLarge(id));
        }
        Err(Error::Cycle(id))
    }

    /// The member of this name, also inside anonymous structs and unions.
    /// `id` may be a typedef or qualified.
    pub fn member(&self, id: TypeId, name: &str) -> Result<Field, Error> {
        let ty = self.resolve(id)?;
        if !ty.is_composite() {
            return Err(Error::NotComposite(self.type_name(id)));
        }
        let mut budget = MAX_FIELDS;
        let found = if name.is_empty() { None } else { self.search(&ty, name, 0, 0, &mut budget)? };
        found.ok_or_else(|| Error::NoMember { of: self.type_name(id), member: name.to_owned() })
    }

    fn search(
        &self,
        ty: &Type<'_>,
        name: &str,
        base: u64,
        depth: usize,
        budget: &mut usize,
    ) -> Result<Option<Field>, Error> {
        if depth > MAX_DEPTH {
            return Err(Error::Cycle(ty.id));
        }
        for member in ty.members() {
            *budget = budget.checked_sub(1).ok_or(Error::Cycle(ty.id))?;
            let bit_offset = base + u64::from(member.bit_offset);
            if member.name == name {
                return Ok(Some(self.field(member, bit_offset)?));
            }
            if member.name.is_empty() {
                let inner = self.resolve(member.ty)?;
                if inner.is_composite()
                    && let Some(found) = self.search(&inner, name, bit_offset, depth + 1, budget)?
                {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    fn field(&self, member: crate::Member<'_>, mut bit_offset: u64) -> Result<Field, Error> {
        let mut bit_size = (member.bit_size != 0).then_some(member.bit_size);
        // Before kind_flag (Linux 5.0), a bit field was a narrow integer type.
        if bit_size.is_none()
            && let Some(int) = self.resolve(member.ty)?.int()
            && (u64::from(int.bits) != u64::from(int.size) * 8 || int.bit_offset != 0)
            && int.bits != 0
            && int.size <= 16
        {
            bit_size = Some(int.bits);
            bit_offset += u64::from(int.bit_offset);
        }
        Ok(Field { name: member.name.to_owned(), ty: member.ty, bit_offset, bit_size })
    }

    /// The member at the end of a path such as `f_path.dentry` or `comm[3]`,
    /// through anonymous structs and unions; pointers are not followed.
    pub fn member_path(&self, id: TypeId, path: &str) -> Result<Field, Error> {
        let bad = || Error::BadPath(path.to_owned());
        let mut field = Field { name: String::new(), ty: id, bit_offset: 0, bit_size: None };
        for component in path.split('.') {
            let name_end = component.find('[').unwrap_or(component.len());
            let (name, mut indices) = component.split_at(name_end);
            if name.is_empty() {
                return Err(bad());
            }
            let step = self.member(field.ty, name)?;
            field = Field { bit_offset: field.bit_offset.saturating_add(step.bit_offset), ..step };
            while let Some(rest) = indices.strip_prefix('[') {
                let (number, after) = rest.split_once(']').ok_or_else(bad)?;
                let index: u64 = number.parse().map_err(|_| bad())?;
                let array = self.resolve(field.ty)?.array().ok_or_else(bad)?;
                // A flexible array has length 0 and any index.
                if array.len != 0 && index >= u64::from(array.len) {
                    return Err(Error::BadIndex { of: self.type_name(field.ty), index });
                }
                let bits = self.size_of(array.elem)?.saturating_mul(8).saturating_mul(index);
                field.bit_offset = field.bit_offset.saturating_add(bits);
                field.ty = array.elem;
                indices = after;
            }
            if !indices.is_empty() {
                return Err(bad());
            }
        }
        Ok(field)
    }

    /// All named members, those of anonymous structs and unions among them, at
    /// their offsets from the outermost struct, in declaration order.
    pub fn struct_layout(&self, id: TypeId) -> Result<Vec<Field>, Error> {
        let ty = self.resolve(id)?;
        if !ty.is_composite() {
            return Err(Error::NotComposite(self.type_name(id)));
        }
        let mut fields = Vec::with_capacity(ty.len());
        self.flatten(&ty, 0, 0, &mut MAX_FIELDS.clone(), &mut fields)?;
        Ok(fields)
    }

    fn flatten(
        &self,
        ty: &Type<'_>,
        base: u64,
        depth: usize,
        budget: &mut usize,
        fields: &mut Vec<Field>,
    ) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(Error::Cycle(ty.id));
        }
        for member in ty.members() {
            *budget = budget.checked_sub(1).ok_or(Error::Cycle(ty.id))?;
            let bit_offset = base + u64::from(member.bit_offset);
            if !member.name.is_empty() {
                fields.push(self.field(member, bit_offset)?);
                continue;
            }
            let inner = self.resolve(member.ty)?;
            if inner.is_composite() {
                self.flatten(&inner, bit_offset, depth + 1, budget, fields)?;
            }
        }
        Ok(())
    }
}
