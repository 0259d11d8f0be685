//! Where the fields of a struct stand: the System V ABI of x86-64, with which AAPCS64 agrees here
//! (but for unnamed bit fields, which align their struct there).

use super::Declarator;
use crate::catalog::Catalog;
use crate::types::*;

/// Largest alignment that is accepted, a page.
pub(super) const MAX_ALIGN: u32 = 4096;
/// Largest struct that is accepted, in bytes.
const MAX_BYTES: u64 = 1 << 24;
/// Structs in structs are followed this deep.
const MAX_DEPTH: u32 = 16;

/// A struct or union that is being laid out.
pub(super) struct Layout {
    is_union: bool,
    packed: bool,
    /// End of what is placed, in bits.
    end: u64,
    /// Size so far in bytes: for a union, of its largest member.
    bytes: u64,
    align: u32,
    fields: Vec<StructField>,
}

impl Layout {
    pub(super) fn new(is_union: bool, packed: bool) -> Layout {
        Layout { is_union, packed, end: 0, bytes: 0, align: 1, fields: Vec::new() }
    }

    /// Puts a member after those before it.
    pub(super) fn place(&mut self, member: Declarator, catalog: &Catalog<'_>) -> Result<(), String> {
        let Some(size) = size_of(&member.ty, catalog) else {
            return Err(format!("field '{}' has an incomplete type", member.name));
        };
        let align = if self.packed { 1 } else { member.align.max(1) };
        if self.is_union {
            self.end = 0;
        }
        if let Some(width) = member.bits {
            self.place_bits(member, size, align, width)?;
        } else {
            self.align = self.align.max(align);
            let offset = self.end.div_ceil(8).next_multiple_of(u64::from(align));
            self.end = (offset + u64::from(size)) * 8;
            self.push(member, offset, None)?;
        }
        self.bytes = self.bytes.max(self.end.div_ceil(8));
        if self.bytes > MAX_BYTES { Err("the struct is too large".to_owned()) } else { Ok(()) }
    }

    fn place_bits(&mut self, member: Declarator, size: u32, align: u32, width: u32) -> Result<(), String> {
        if !member.ty.is_integral() || !matches!(size, 1 | 2 | 4 | 8) {
            return Err(format!("bit field '{}' is not an integer", member.name));
        }
        let unit = u64::from(size) * 8;
        if u64::from(width) > unit {
            return Err(format!("bit field '{}' is wider than its type", member.name));
        }
        if width == 0 {
            // Ends the unit that the fields before it share.
            self.end = self.end.next_multiple_of(unit);
            return Ok(());
        }
        // A bit field does not straddle a unit of its type, unless the struct is packed.
        if !self.packed && self.end % unit + u64::from(width) > unit {
            self.end = self.end.next_multiple_of(unit);
        }
        if !member.name.is_empty() {
            self.align = self.align.max(align);
        }
        // The aligned unit if the bits lie in it; else (packed) from the first byte on.
        let aligned = self.end / unit * unit;
        let start = if self.end + u64::from(width) <= aligned + unit { aligned } else { self.end / 8 * 8 };
        let shift = self.end - start;
        if shift + u64::from(width) > unit {
            return Err(format!("bit field '{}' crosses its type's width", member.name));
        }
        self.end += u64::from(width);
        if member.name.is_empty() {
            return Ok(());
        }
        // Both are at most 64.
        let bits = BitField { shift: shift as u8, width: width as u8 };
        self.push(member, start / 8, Some(bits))
    }

    fn push(&mut self, member: Declarator, offset: u64, bits: Option<BitField>) -> Result<(), String> {
        let offset = u32::try_from(offset).map_err(|_| "the struct is too large".to_owned())?;
        self.fields.push(StructField { name: member.name, ty: member.ty, offset, bits, place: FieldPlace::Direct });
        Ok(())
    }

    /// The struct with its fields, padded to its alignment (`aligned` at least).
    pub(super) fn finish(self, declaration: StructType, aligned: Option<u32>) -> Result<StructType, String> {
        let align = self.align.max(aligned.unwrap_or(1));
        let bytes = self.bytes.next_multiple_of(u64::from(align));
        let bytes = u32::try_from(bytes).map_err(|_| "the struct is too large".to_owned())?;
        Ok(StructType { bytes, align, fields: self.fields, ..declaration })
    }
}

/// Bytes that a member of this type takes; `None` for what cannot be a member.
pub(super) fn size_of(ty: &Type, catalog: &Catalog<'_>) -> Option<u32> {
    match ty {
        Type::Void => None,
        // Named, but never defined.
        Type::Struct(id) if catalog.structs.borrow().get(*id).is_some_and(|s| s.align == 0) => None,
        Type::Array { elem, len } => size_of(elem, catalog)?.checked_mul(*len),
        _ => catalog.size_of(ty),
    }
}

/// Alignment of a type in bytes.
pub(super) fn align_of(ty: &Type, catalog: &Catalog<'_>) -> u32 {
    align_within(ty, catalog, MAX_DEPTH)
}

fn align_within(ty: &Type, catalog: &Catalog<'_>, depth: u32) -> u32 {
    let Some(deeper) = depth.checked_sub(1) else { return 1 };
    match ty {
        Type::Void | Type::Bool | Type::Str { .. } => 1,
        Type::Int(int) => u32::from(int.bytes),
        Type::Enum(e) => u32::from(e.bytes),
        Type::Array { elem, .. } => align_within(elem, catalog, deeper),
        Type::Struct(id) => {
            if let Some(defined) = catalog.structs.borrow().get(*id) {
                return defined.align.max(1);
            }
            // BTF does not say: it is what its members need, but for packed structs, whose size betrays them.
            let members = catalog.members(*id).into_iter();
            let align = members.map(|member| align_within(&member.ty, catalog, deeper)).max().unwrap_or(1);
            let fits = catalog.size_of(ty).is_none_or(|size| size % align == 0);
            if fits { align } else { 1 }
        }
        _ => 8,
    }
}
