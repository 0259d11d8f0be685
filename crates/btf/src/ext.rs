//! `.BTF.ext`: which function and which source line an instruction belongs to,
//! and CO-RE relocations.
//!
//! Records are grouped by the ELF section of the instructions, whose offsets
//! are in bytes there. `BPF_PROG_LOAD` takes the same records for one program,
//! with offsets in instruction slots.
//!
//! Source: Linux `Documentation/bpf/btf.rst`, libbpf `libbpf_internal.h`.

use crate::types::u32_at;
use crate::{Error, TypeId};

const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
/// Bytes of the header with CO-RE relocations, and of the one before them.
const HEADER: u32 = 32;
const SHORT_HEADER: usize = 24;

/// A record of fixed size (`struct bpf_func_info` and the like).
pub trait Record: Copy {
    /// Bytes.
    const SIZE: usize;
    fn write(&self, out: &mut Vec<u8>);
    /// `bytes` has at least [`Record::SIZE`] bytes; a newer writer's are longer.
    fn read(bytes: &[u8]) -> Self;
}

/// The function that starts at an instruction (`struct bpf_func_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FuncInfo {
    pub insn_off: u32,
    pub func: TypeId,
}

/// The source line of an instruction (`struct bpf_line_info`). File and text
/// are offsets into BTF's strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineInfo {
    pub insn_off: u32,
    pub file_name_off: u32,
    pub line_off: u32,
    /// From 1; at most 2^22 - 1.
    pub line: u32,
    /// From 1, in bytes; at most 1023.
    pub column: u32,
}

/// What a loader has to put into an instruction (`enum bpf_core_relo_kind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CoreRelocationKind {
    FieldByteOffset = 0,
    FieldByteSize = 1,
    FieldExists = 2,
    FieldSigned = 3,
    FieldLshiftU64 = 4,
    FieldRshiftU64 = 5,
    TypeIdLocal = 6,
    TypeIdTarget = 7,
    TypeExists = 8,
    TypeSize = 9,
    EnumvalExists = 10,
    EnumvalValue = 11,
    TypeMatches = 12,
}

/// A CO-RE relocation (`struct bpf_core_relo`): the type in the program's own
/// BTF and the path in it (`0:1:2`, an offset into BTF's strings).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreRelocation {
    pub insn_off: u32,
    pub root: TypeId,
    pub access_off: u32,
    /// A [`CoreRelocationKind`], or a number that this version does not know.
    pub kind: u32,
}

impl Record for FuncInfo {
    const SIZE: usize = 8;

    fn write(&self, out: &mut Vec<u8>) {
        words(out, &[self.insn_off, self.func.0]);
    }

    fn read(bytes: &[u8]) -> Self {
        FuncInfo { insn_off: u32_at(bytes, 0), func: TypeId(u32_at(bytes, 4)) }
    }
}

impl Record for LineInfo {
    const SIZE: usize = 16;

    fn write(&self, out: &mut Vec<u8>) {
        let place = self.line.min(0x3f_ffff) << 10 | self.column.min(0x3ff);
        words(out, &[self.insn_off, self.file_name_off, self.line_off, place]);
    }

    fn read(bytes: &[u8]) -> Self {
        let place = u32_at(bytes, 12);
        LineInfo {
            insn_off: u32_at(bytes, 0),
            file_name_off: u32_at(bytes, 4),
            line_off: u32_at(bytes, 8),
            line: place >> 10,
            column: place & 0x3ff,
        }
    }
}

impl Record for CoreRelocation {
    const SIZE: usize = 16;

    fn write(&self, out: &mut Vec<u8>) {
        words(out, &[self.insn_off, self.root.0, self.access_off, self.kind]);
    }

    fn read(bytes: &[u8]) -> Self {
        CoreRelocation {
            insn_off: u32_at(bytes, 0),
            root: TypeId(u32_at(bytes, 4)),
            access_off: u32_at(bytes, 8),
            kind: u32_at(bytes, 12),
        }
    }
}

fn words(out: &mut Vec<u8>, words: &[u32]) {
    for word in words {
        out.extend_from_slice(&word.to_ne_bytes());
    }
}

/// The records' bytes one after the other, as `BPF_PROG_LOAD` takes them.
pub fn records<R: Record>(records: &[R]) -> Vec<u8> {
    let mut out = Vec::with_capacity(records.len() * R::SIZE);
    for record in records {
        record.write(&mut out);
    }
    out
}

/// The records of one ELF section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionRecords<R> {
    /// The section's name, as an offset into BTF's strings.
    pub name_off: u32,
    /// By ascending instruction offset.
    pub records: Vec<R>,
}

/// The contents of `.BTF.ext`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ext {
    pub functions: Vec<SectionRecords<FuncInfo>>,
    pub lines: Vec<SectionRecords<LineInfo>>,
    pub core_relocations: Vec<SectionRecords<CoreRelocation>>,
}

impl Ext {
    /// The `.BTF.ext` bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let parts = [group(&self.functions), group(&self.lines), group(&self.core_relocations)];
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC.to_ne_bytes());
        out.extend_from_slice(&[VERSION, 0]);
        words(&mut out, &[HEADER]);
        let mut offset = 0;
        for part in &parts {
            words(&mut out, &[offset, part.len() as u32]);
            offset += part.len() as u32;
        }
        out.extend(parts.concat());
        out
    }

    /// Reads `.BTF.ext` bytes.
    pub fn parse(data: &[u8]) -> Result<Ext, Error> {
        if data.len() < SHORT_HEADER {
            return Err(Error::ShortHeader(data.len()));
        }
        let magic = u16::from_ne_bytes([data[0], data[1]]);
        if magic == MAGIC.swap_bytes() {
            return Err(Error::ByteOrder);
        }
        if magic != MAGIC {
            return Err(Error::Magic(magic));
        }
        if data[2] != VERSION {
            return Err(Error::Version(data[2]));
        }
        let header = u32_at(data, 4) as usize;
        let part = |section: &'static str, at: usize| -> Result<&[u8], Error> {
            // A writer that knows no CO-RE relocations has a shorter header.
            if at + 8 > header {
                return Ok(&[]);
            }
            let (start, len) = (u64::from(u32_at(data, at)) + header as u64, u64::from(u32_at(data, at + 4)));
            usize::try_from(start)
                .ok()
                .zip(usize::try_from(start + len).ok())
                .and_then(|(start, end)| data.get(start..end))
                .ok_or(Error::Section { section, start, len, available: data.len() as u64 })
        };
        Ok(Ext {
            functions: ungroup("func_info", part("func_info", 8)?)?,
            lines: ungroup("line_info", part("line_info", 16)?)?,
            core_relocations: ungroup("core_relo", part("core_relo", 24)?)?,
        })
    }
}

fn group<R: Record>(sections: &[SectionRecords<R>]) -> Vec<u8> {
    let mut out = Vec::new();
    if sections.is_empty() {
        return out;
    }
    words(&mut out, &[R::SIZE as u32]);
    for section in sections {
        words(&mut out, &[section.name_off, section.records.len() as u32]);
        for record in &section.records {
            record.write(&mut out);
        }
    }
    out
}

fn ungroup<R: Record>(section: &'static str, data: &[u8]) -> Result<Vec<SectionRecords<R>>, Error> {
    let damaged =
        |start: usize, len: u64| Error::Section { section, start: start as u64, len, available: data.len() as u64 };
    let mut sections = Vec::new();
    if data.is_empty() {
        return Ok(sections);
    }
    let size = u32_at(data, 0) as usize;
    if data.len() < 4 || size < R::SIZE || !size.is_multiple_of(4) {
        return Err(damaged(0, size as u64));
    }
    let mut at = 4;
    while at < data.len() {
        let header = data.get(at..at + 8).ok_or(damaged(at, 8))?;
        let bytes = u64::from(u32_at(header, 4)) * size as u64;
        at += 8;
        let end = usize::try_from(bytes).ok().and_then(|bytes| at.checked_add(bytes));
        let records = end.and_then(|end| data.get(at..end)).ok_or(damaged(at, bytes))?;
        sections.push(SectionRecords {
            name_off: u32_at(header, 0),
            records: records.chunks_exact(size).map(R::read).collect(),
        });
        at += records.len();
    }
    Ok(sections)
}
