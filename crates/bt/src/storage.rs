//! How values lie in maps, keys, events and variables: integers widened to 8
//! bytes, everything at multiples of 8, gaps zero (see `object::plan`).

use object::plan::{Field, Layout};

use crate::catalog::Catalog;
use crate::types::*;

/// Nested tuples and structs are laid out this deep.
const DEPTH: u32 = 16;

/// Bytes that a stored value takes: a multiple of 8.
pub fn size_of(ty: &Type, catalog: &Catalog<'_>) -> u32 {
    match ty {
        Type::Void => 0,
        Type::Str { size } => size.next_multiple_of(8).max(8),
        Type::Buf { size } => (size + 4).next_multiple_of(8),
        Type::Array { .. } | Type::Struct(_) => catalog.size_of(ty).unwrap_or(0).next_multiple_of(8),
        Type::Tuple(fields) => fields.iter().map(|f| size_of(f, catalog)).sum(),
        Type::Record(fields) => fields.iter().map(|(_, f)| size_of(f, catalog)).sum(),
        Type::UStack(_) | Type::USym => 16,
        Type::Inet => 24,
        Type::Aggregate(a) => aggregate_size(*a),
        _ => 8,
    }
}

/// Bytes of an aggregate on each CPU.
pub fn aggregate_size(a: Aggregate) -> u32 {
    match a {
        Aggregate::Count | Aggregate::Sum { .. } | Aggregate::Hist { .. } | Aggregate::Lhist { .. } => 8,
        Aggregate::Min { .. } | Aggregate::Max { .. } | Aggregate::Avg { .. } | Aggregate::Stats { .. } => 16,
    }
}

/// Offset of a tuple's or record's field.
pub fn field_offset(ty: &Type, index: usize, catalog: &Catalog<'_>) -> u32 {
    match ty {
        Type::Tuple(fields) => fields.iter().take(index).map(|f| size_of(f, catalog)).sum(),
        Type::Record(fields) => fields.iter().take(index).map(|(_, f)| size_of(f, catalog)).sum(),
        _ => 0,
    }
}

/// What the stored bytes of a type mean.
pub fn layout(ty: &Type, catalog: &Catalog<'_>) -> Layout {
    match ty {
        Type::Void => Layout::Int { size: 8, signed: false },
        Type::Bool => Layout::Bool { size: 8 },
        Type::Int(i) => Layout::Int { size: 8, signed: i.signed },
        Type::Enum(e) => Layout::Enum { size: 8, signed: e.signed, names: e.values.clone() },
        Type::Str { size } => Layout::Str { size: *size },
        Type::Buf { .. } => Layout::Buf { size: size_of(ty, catalog) },
        Type::Pointer { .. } => Layout::Pointer,
        Type::Array { .. } | Type::Struct(_) => memory_layout(ty, catalog, DEPTH),
        Type::Tuple(fields) => {
            let mut offset = 0;
            let fields = fields
                .iter()
                .map(|f| {
                    let at = offset;
                    offset += size_of(f, catalog);
                    Field { name: String::new(), offset: at, bits: None, layout: layout(f, catalog) }
                })
                .collect();
            Layout::Tuple { fields, size: offset }
        }
        Type::Record(fields) => {
            let mut offset = 0;
            let fields = fields
                .iter()
                .map(|(name, f)| {
                    let at = offset;
                    offset += size_of(f, catalog);
                    Field { name: name.clone(), offset: at, bits: None, layout: layout(f, catalog) }
                })
                .collect();
            Layout::Struct { fields, size: offset }
        }
        Type::KStack(stack) => Layout::KStack(*stack),
        Type::UStack(stack) => Layout::UStack(*stack),
        Type::KSym => Layout::KSym,
        Type::USym => Layout::USym,
        Type::Username => Layout::Username,
        Type::Inet => Layout::Inet,
        Type::Mac => Layout::Mac,
        Type::CgroupPath => Layout::CgroupPath,
        Type::Errno => Layout::Errno,
        Type::Timestamp { format, clock } => Layout::Timestamp { format: format.to_string(), clock: *clock },
        Type::Aggregate(a) => match *a {
            Aggregate::Count => Layout::Count,
            Aggregate::Sum { signed } => Layout::Sum { signed },
            Aggregate::Min { signed } => Layout::Min { signed },
            Aggregate::Max { signed } => Layout::Max { signed },
            Aggregate::Avg { signed } => Layout::Avg { signed },
            Aggregate::Stats { signed } => Layout::Stats { signed },
            Aggregate::Hist { k } => Layout::Hist { k },
            Aggregate::Lhist { min, max, step } => Layout::Lhist { min, max, step },
        },
    }
}

/// What bytes mean that are a copy of the traced program's memory.
fn memory_layout(ty: &Type, catalog: &Catalog<'_>, depth: u32) -> Layout {
    let size = catalog.size_of(ty).unwrap_or(0);
    let Some(depth) = depth.checked_sub(1) else { return Layout::Tuple { fields: Vec::new(), size } };
    match ty {
        Type::Bool => Layout::Bool { size: 1 },
        Type::Int(i) => Layout::Int { size: i.bytes, signed: i.signed },
        Type::Enum(e) => Layout::Enum { size: e.bytes, signed: e.signed, names: e.values.clone() },
        Type::Array { elem, len } => match **elem {
            // An array of characters is shown as text.
            Type::Int(IntType { bytes: 1, signed: true }) => Layout::Str { size: *len },
            _ => Layout::Array { elem: Box::new(memory_layout(elem, catalog, depth)), len: *len },
        },
        Type::Struct(id) => {
            let mut fields = Vec::new();
            for f in catalog.members(*id) {
                let inner = match f.place {
                    FieldPlace::Direct => memory_layout(&f.ty, catalog, depth),
                    // Only where the data is and how long it is stands here.
                    FieldPlace::DataLoc | FieldPlace::RelLoc => Layout::Int { size: 4, signed: false },
                };
                let bits = f.bits.map(|b| (b.shift, b.width));
                match inner {
                    // Members of anonymous members are shown as the parent's.
                    Layout::Struct { fields: inner, .. } if f.name.is_empty() => {
                        fields.extend(inner.into_iter().map(|i| Field { offset: i.offset + f.offset, ..i }));
                    }
                    layout => fields.push(Field { name: f.name, offset: f.offset, bits, layout }),
                }
            }
            Layout::Struct { fields, size }
        }
        Type::Void => Layout::Tuple { fields: Vec::new(), size: 0 },
        other => layout(other, catalog),
    }
}
