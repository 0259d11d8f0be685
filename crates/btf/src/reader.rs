//! BTF bytes → types by id and by name, lazily.
//!
//! A kernel's BTF has some 130,000 types in 3 to 6 MB. Opening it walks over
//! the types once (see `walk.rs`) and keeps the place of every eighth: 64 kB, no index of names. A name is looked up by scanning: first the strings for the name, then the types for
//! the offset of that string. Both scans run at memory speed (50 µs each).

use memchr::memmem;

use crate::kind::{EXTENTS, Extent, Extents, Kind, kind_number};
use crate::types::u32_at;
use crate::walk::{Places, len_at};
use crate::{Error, Type, TypeId};

const MAGIC: u16 = 0xeb9f;
/// Bytes of the header up to and with `str_len`.
const HEADER: usize = 24;
/// Bytes of the header with the layout section's place (Linux 7.1).
const HEADER_WITH_LAYOUT: usize = 32;
/// Types over borrowed bytes: those of `/sys/kernel/btf/*`, or of an ELF's `.BTF`.
pub struct Btf<'d> {
    base: Option<&'d Btf<'d>>,
    /// The type section.
    types: &'d [u8],
    /// The string section.
    strings: &'d [u8],
    extents: Box<Extents>,
    /// Id of the first type of this BTF: 1, or one past the base's last.
    first_id: u32,
    /// Offset at which this BTF's strings start in the numbering of strings.
    first_string: u32,
    /// Where own types start in `types`.
    places: Places,
}

impl std::fmt::Debug for Btf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Btf {{ {} types from [{}], {} bytes of strings }}",
            self.places.count(),
            self.first_id,
            self.strings.len()
        )
    }
}

impl<'d> Btf<'d> {
    /// Opens self-contained BTF: vmlinux, or that of a BPF object.
    pub fn parse(data: &'d [u8]) -> Result<Btf<'d>, Error> {
        Btf::open(data, None)
    }

    /// Opens split BTF, whose types and strings continue those of `base`: a kernel module's.
    pub fn parse_split(data: &'d [u8], base: &'d Btf<'d>) -> Result<Btf<'d>, Error> {
        Btf::open(data, Some(base))
    }

    fn open(data: &'d [u8], base: Option<&'d Btf<'d>>) -> Result<Btf<'d>, Error> {
        if data.len() < HEADER {
            return Err(Error::ShortHeader(data.len()));
        }
        let magic = u16::from_ne_bytes([data[0], data[1]]);
        if magic == MAGIC.swap_bytes() {
            return Err(Error::ByteOrder);
        }
        if magic != MAGIC {
            return Err(Error::Magic(magic));
        }
        if data[2] != 1 {
            return Err(Error::Version(data[2]));
        }
        let header_len = u32_at(data, 4);
        let section = |section: &'static str, at: usize| -> Result<&'d [u8], Error> {
            let start = u64::from(header_len) + u64::from(u32_at(data, at));
            let len = u64::from(u32_at(data, at + 4));
            let outside = Error::Section { section, start, len, available: data.len() as u64 };
            match (usize::try_from(start), usize::try_from(start + len)) {
                (Ok(from), Ok(to)) if from >= HEADER => data.get(from..to).ok_or(outside),
                _ => Err(outside),
            }
        };
        let types = section("type", 8)?;
        let strings = section("string", 16)?;
        let mut extents = Box::new(EXTENTS);
        if header_len as usize >= HEADER_WITH_LAYOUT && data.len() >= HEADER_WITH_LAYOUT {
            let layouts = section("layout", 24)?.chunks_exact(4);
            // Kind 0 is void, which is never written.
            for (extent, layout) in extents.iter_mut().zip(layouts).skip(1).filter(|(extent, _)| !extent.is_known()) {
                *extent = Extent::described(layout[0], layout[1]);
            }
        }
        let (first_id, first_string) = match base {
            Some(base) => (base.end_id(), base.end_string()),
            None => (1, 0),
        };
        let end_string = first_string.saturating_add(strings.len() as u32);
        let places = Places::find(types, &extents, end_string, first_id)?;
        Ok(Btf { base, types, strings, extents, first_id, first_string, places })
    }

    /// The id after the last; ids below it (and 0, `void`) are types.
    pub fn end_id(&self) -> u32 {
        self.first_id.saturating_add(self.places.count() as u32)
    }

    /// The first id that is not the base's.
    pub fn first_own_id(&self) -> TypeId {
        TypeId(self.first_id)
    }

    /// The BTF that this one continues.
    pub fn base(&self) -> Option<&'d Btf<'d>> {
        self.base
    }

    fn end_string(&self) -> u32 {
        self.first_string.saturating_add(u32::try_from(self.strings.len()).unwrap_or(u32::MAX))
    }

    /// The text at an offset of the strings (the base's included).
    pub fn string(&self, offset: u32) -> Result<&str, Error> {
        if offset < self.first_string
            && let Some(base) = self.base
        {
            return base.string(offset);
        }
        let rest = self.strings.get((offset - self.first_string) as usize..).ok_or(Error::BadString(offset))?;
        let end = memchr::memchr(0, rest).ok_or(Error::BadString(offset))?;
        std::str::from_utf8(&rest[..end]).map_err(|_| Error::BadString(offset))
    }

    /// The type of an id; [`TypeId::VOID`] is `void`.
    pub fn get<'b>(&'b self, id: TypeId) -> Result<Type<'b>, Error> {
        if id == TypeId::VOID {
            return Ok(Type::void(self));
        }
        if id.0 < self.first_id {
            return match self.base {
                // Names of base types are base strings, so the base can answer for itself.
                Some(base) => base.get(id),
                None => Err(Error::NoType(id)),
            };
        }
        let index = (id.0 - self.first_id) as usize;
        let offset = self.places.offset(self.types, &self.extents, index).ok_or(Error::NoType(id))?;
        self.at(id, offset)
    }

    /// The type at an offset where one starts.
    fn at<'b>(&'b self, id: TypeId, offset: usize) -> Result<Type<'b>, Error> {
        let info = u32_at(self.types, offset + 4);
        let number = kind_number(info);
        let kind = Kind::from_number(number).ok_or(Error::UnknownKind { id: id.0, offset, kind: number })?;
        let bytes = self
            .types
            .get(offset..offset + len_at(self.types, &self.extents, offset))
            .ok_or(Error::Truncated { id: id.0, offset })?;
        Ok(Type::new(self, id, kind, bytes))
    }

    /// This BTF's own types (not the base's) in order of their ids, without
    /// those of kinds that this reader does not know.
    pub fn own_types<'b>(&'b self) -> impl Iterator<Item = Type<'b>> + use<'b, 'd> {
        let mut offset = 0;
        let mut id = self.first_id;
        std::iter::from_fn(move || {
            while offset < self.types.len() {
                let this = self.at(TypeId(id), offset);
                offset += len_at(self.types, &self.extents, offset);
                id += 1;
                if let Ok(ty) = this {
                    return Some(ty);
                }
            }
            None
        })
    }

    /// All types, the base's first.
    pub fn types<'b>(&'b self) -> Box<dyn Iterator<Item = Type<'b>> + 'b> {
        match self.base {
            Some(base) => Box::new(base.types().chain(self.own_types())),
            None => Box::new(self.own_types()),
        }
    }

    /// Own functions in order of their ids.
    pub fn functions<'b>(&'b self) -> impl Iterator<Item = Type<'b>> + use<'b, 'd> {
        self.own_types().filter(|ty| ty.kind == Kind::Func)
    }

    /// The first type of this name and kind, the base's types before own ones.
    pub fn find<'b>(&'b self, name: &str, kind: Kind) -> Option<Type<'b>> {
        if let Some(found) = self.base.and_then(|base| base.find(name, kind)) {
            return Some(found);
        }
        self.find_own(name, kind)
    }

    /// The first of this BTF's own types of this name and kind.
    pub fn find_own<'b>(&'b self, name: &str, kind: Kind) -> Option<Type<'b>> {
        if name.is_empty() || name.bytes().any(|byte| byte == 0) {
            return None;
        }
        let mut candidates = self.string_offsets(name);
        // Writers put each name in the section once: this finds it at once.
        candidates.sort_by_key(|candidate| (!candidate.whole, candidate.offset));
        let whole = candidates.iter().take_while(|candidate| candidate.whole).count();
        for candidate in &candidates[..whole] {
            if let Some(found) = self.own_named_by(candidate.offset).find(|ty| ty.kind == kind) {
                return Some(found);
            }
        }
        if candidates.len() > whole {
            return self.own_types().find(|ty| ty.kind == kind && ty.name() == name);
        }
        None
    }

    /// All types of this name, of any kind, the base's before own ones.
    pub fn find_all<'b>(&'b self, name: &str) -> Vec<Type<'b>> {
        let mut found = self.base.map(|base| base.find_all(name)).unwrap_or_default();
        if name.is_empty() || name.bytes().any(|byte| byte == 0) {
            return found;
        }
        match self.string_offsets(name).as_slice() {
            [] => {}
            [only] => found.extend(self.own_named_by(only.offset)),
            _ => found.extend(self.own_types().filter(|ty| ty.name() == name)),
        }
        found
    }

    /// Every place in the strings, the base's included, that reads `name`.
    fn string_offsets(&self, name: &str) -> Vec<StringOffset> {
        let mut offsets = self.base.map(|base| base.string_offsets(name)).unwrap_or_default();
        let mut needle = Vec::with_capacity(name.len() + 1);
        needle.extend_from_slice(name.as_bytes());
        needle.push(0);
        offsets.extend(memmem::find_iter(self.strings, &needle).map(|at| StringOffset {
            offset: self.first_string.saturating_add(at as u32),
            whole: at == 0 || self.strings[at - 1] == 0,
        }));
        offsets
    }

    /// Own types whose name stands at this string offset.
    fn own_named_by<'b>(&'b self, name_off: u32) -> impl Iterator<Item = Type<'b>> + use<'b, 'd> {
        self.words(name_off).filter_map(|offset| self.at(self.id_at(offset)?, offset).ok())
    }

    /// Offsets in the type section of the words that are this number, whatever they mean there.
    fn words<'b>(&'b self, number: u32) -> impl Iterator<Item = usize> + use<'b> {
        /// Bytes that are compared without a branch, so that the compiler vectorises it.
        const BLOCK: usize = 1024;
        let has_number =
            move |block: &&[u8]| block.chunks_exact(4).fold(false, |found, word| found | (u32_at(word, 0) == number));
        let blocks = self.types.chunks(BLOCK).enumerate().filter(move |(_, block)| has_number(block));
        blocks.flat_map(move |(index, block)| {
            let words = block.chunks_exact(4).enumerate().filter(move |(_, word)| u32_at(word, 0) == number);
            words.map(move |(word, _)| index * BLOCK + word * 4)
        })
    }

    /// The enum that has an enumerator of this name, and its value; the first
    /// if several have, the base's before own ones.
    pub fn find_enumerator<'b>(&'b self, name: &str) -> Option<(Type<'b>, i128)> {
        if let Some(found) = self.base.and_then(|base| base.find_enumerator(name)) {
            return Some(found);
        }
        if name.is_empty() || name.bytes().any(|byte| byte == 0) {
            return None;
        }
        self.string_offsets(name).iter().find_map(|candidate| {
            self.words(candidate.offset).find_map(|offset| {
                let (index, start) = self.places.around(self.types, &self.extents, offset)?;
                let ty = self.at(TypeId(self.first_id.saturating_add(index as u32)), start).ok()?;
                let enumerator = ty.enumerators().find(|enumerator| enumerator.name == name)?;
                Some((ty, enumerator.value))
            })
        })
    }

    /// The id of the type that starts at this offset, if one does.
    fn id_at(&self, offset: usize) -> Option<TypeId> {
        let index = self.places.index(self.types, &self.extents, offset)?;
        Some(TypeId(self.first_id.saturating_add(index as u32)))
    }
}

/// A place in the strings that reads as a name.
struct StringOffset {
    offset: u32,
    /// A string of its own, not the tail of a longer one.
    whole: bool,
}
