//! Maps in an ELF object, by libbpf's conventions.
//!
//! A map is a variable in the section `.maps` whose BTF type is a struct: its
//! members are the map's attributes, each a pointer to an array whose length is
//! the value (the macro `__uint` in libbpf's `bpf_helpers.h`). A one-element
//! array whose contents programs address directly is a section of its own,
//! `.data.NAME` or `.rodata.NAME`.

use std::collections::HashSet;

use btf::{Btf, Builder, IntEncoding, Kind, NewMember, Type, TypeId, VarLinkage};
use isa::uapi::map_type;

use crate::debug_info::identifier;
use crate::{Error, Map, Object, RelocationKind};

pub(crate) const MAPS_SECTION: &str = ".maps";

/// `BPF_F_RDONLY_PROG`: programs may not write.
pub(crate) const RDONLY_PROG: u32 = 1 << 7;
/// `BPF_F_MMAPABLE`.
pub(crate) const MMAPABLE: u32 = 1 << 10;

/// Names that no two symbols share.
#[derive(Default)]
pub(crate) struct Names(HashSet<String>);

impl Names {
    /// A C identifier for a name, with a number behind it if it is taken.
    pub(crate) fn unique(&mut self, name: &str) -> String {
        let base = identifier(name);
        let mut candidate = base.clone();
        let mut number = 2;
        while !self.0.insert(candidate.clone()) {
            candidate = format!("{base}_{number}");
            number += 1;
        }
        candidate
    }
}

/// Where a map stands in the ELF file.
pub(crate) enum Place {
    /// A variable in `.maps`.
    Attributes,
    /// A data section of this name.
    Data(String),
}

/// How each map is written: as attributes, or as data if programs address its
/// value or it starts with contents.
pub(crate) fn places(object: &Object, names: &[String]) -> Result<Vec<Place>, Error> {
    let (mut by_value, mut by_fd) = (vec![false; object.maps.len()], vec![false; object.maps.len()]);
    let code = object.programs.iter().map(|program| &program.code).chain(&object.functions);
    for relocation in code.flat_map(|code| &code.relocations) {
        let (uses, map) = match relocation.kind {
            RelocationKind::Map(map) => (&mut by_fd, map),
            RelocationKind::MapValue { map, .. } => (&mut by_value, map),
            _ => continue,
        };
        if let Some(used) = uses.get_mut(map.0 as usize) {
            *used = true;
        }
    }
    let place = |(at, map): (usize, &Map)| {
        if !by_value[at] && map.initial.is_empty() {
            return Ok(Place::Attributes);
        }
        let problem = |problem| Err(Error::Map { map: map.name.clone(), problem });
        if map.map_type != map_type::ARRAY || map.max_entries != 1 {
            return problem("only an array of one element has contents or an address");
        }
        if by_fd[at] {
            return problem("an object file cannot refer both to a map and to the address of its value");
        }
        let section = if map.read_only { ".rodata" } else { ".data" };
        Ok(Place::Data(format!("{section}.{}", names[at])))
    };
    object.maps.iter().enumerate().map(place).collect()
}

/// The BTF of map definitions and of the variables of data sections.
pub(crate) struct MapTypes {
    int: TypeId,
    byte: TypeId,
    index: TypeId,
}

impl MapTypes {
    pub(crate) fn new(builder: &mut Builder) -> MapTypes {
        MapTypes {
            int: builder.int("int", 4, IntEncoding::Signed),
            byte: builder.int("unsigned char", 1, IntEncoding::Unsigned),
            index: builder.int("__ARRAY_SIZE_TYPE__", 4, IntEncoding::Unsigned),
        }
    }

    /// The variable of a map in `.maps` and its size in bytes.
    pub(crate) fn attributes(&self, builder: &mut Builder, name: &str, map: &Map) -> (TypeId, u32) {
        let attributes = [
            ("type", map.map_type),
            ("key_size", map.key_size),
            ("value_size", map.value_size),
            ("max_entries", map.max_entries),
            ("map_flags", map.flags),
        ];
        // Ring buffers and the like have no keys; libbpf refuses a size of 0 there.
        let present = attributes.into_iter().filter(|(name, value)| *name == "type" || *value != 0);
        let mut members = Vec::new();
        for (at, (name, value)) in present.enumerate() {
            let array = builder.array(self.int, self.index, value);
            let ty = builder.ptr(array);
            members.push(NewMember { name, ty, bit_offset: at as u32 * 64, bit_size: 0 });
        }
        let size = members.len() as u32 * 8;
        let ty = builder.structure("", size, &members);
        (builder.var(name, ty, VarLinkage::Global), size)
    }

    /// The variable of a data section.
    pub(crate) fn data(&self, builder: &mut Builder, name: &str, map: &Map) -> TypeId {
        let ty = builder.array(self.byte, self.index, map.value_size);
        builder.var(name, ty, VarLinkage::Global)
    }
}

/// A map read from `.maps`: its definition and where its variable starts.
pub(crate) struct FoundMap {
    pub(crate) offset: u32,
    pub(crate) map: Map,
}

/// The maps that BTF describes in the section `.maps`.
pub(crate) fn read_maps(btf: &Btf<'_>) -> Result<Vec<FoundMap>, Error> {
    let Some(section) = btf.find(MAPS_SECTION, Kind::Datasec) else {
        return Ok(Vec::new());
    };
    section
        .variables()
        .map(|variable| {
            let var = btf.get(variable.var)?;
            let map = read_map(btf, var.name(), var.target().unwrap_or(TypeId::VOID))?;
            Ok(FoundMap { offset: variable.offset, map })
        })
        .collect()
}

fn read_map(btf: &Btf<'_>, name: &str, ty: TypeId) -> Result<Map, Error> {
    let problem = |problem| Error::Map { map: name.to_owned(), problem };
    let mut map = Map { name: name.to_owned(), ..Map::default() };
    let definition = btf.resolve(ty)?;
    if definition.kind != Kind::Struct {
        return Err(problem("its definition is not a struct"));
    }
    for member in definition.members() {
        let pointer = btf.resolve(member.ty)?;
        let target = pointer.target().filter(|_| pointer.kind == Kind::Ptr);
        // `__type(key, T)` is a pointer to T, whose size counts.
        let size = || -> Result<u32, Error> {
            let bytes = btf.size_of(target.ok_or(problem("an attribute is not a pointer"))?)?;
            u32::try_from(bytes).map_err(|_| problem("a key or value is larger than memory"))
        };
        let number = || -> Result<u32, Error> {
            let array = target.map(|target| btf.resolve(target)).transpose()?.as_ref().and_then(Type::array);
            Ok(array.ok_or(problem("an attribute is not a pointer to an array"))?.len)
        };
        match member.name {
            "type" => map.map_type = number()?,
            "key_size" => map.key_size = number()?,
            "value_size" => map.value_size = number()?,
            "max_entries" => map.max_entries = number()?,
            "map_flags" => map.flags = number()?,
            "key" => map.key_size = size()?,
            "value" => map.value_size = size()?,
            "pinning" | "numa_node" | "map_extra" | "values" => {
                return Err(problem(
                    "it uses `pinning`, `numa_node`, `map_extra` or `values`, which are not supported",
                ));
            }
            _ => return Err(problem("its definition has an unknown attribute")),
        }
    }
    Ok(map)
}
