//! USDT probes: places in binaries that their authors marked, written down as
//! ELF notes of SystemTap's format (`.note.stapsdt`).
//!
//! A note's description is three addresses (the probe's instruction; where
//! `.stapsdt.base` was when the note was written; the semaphore, or 0) and three strings
//! (provider, name, arguments), each ended by a NUL. If prelink moved the binary
//! since, `.stapsdt.base` shows by how much.
//! Source: <https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation>.

use std::path::Path;

use elf::Endianness;
use elf::elf::{FileHeader32, FileHeader64, SHT_NOTE};
use elf::read::FileKind;
use elf::read::elf::{FileHeader, SectionHeader};

use crate::elf_symbols::{Binary, file_offset, for_class, sections};
use crate::error::Error;
use crate::glob::Glob;

/// `NT_STAPSDT`
const NOTE_TYPE: u32 = 3;

/// One site of a USDT probe; a probe that was inlined has several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsdtSite {
    pub provider: String,
    pub name: String,
    /// File offset of the probe's instruction.
    pub offset: u64,
    /// File offset of the semaphore, a 16-bit counter of listeners; 0 for none.
    pub semaphore: u64,
    /// The argument descriptions as in the note: `-4@%edi 8@-16(%rbp)`.
    pub args: String,
}

/// USDT sites of a binary whose provider and name match, in the order of provider,
/// name and place. A binary without any gives none; one that is not ELF is an error.
pub fn sites(path: &Path, provider: &Glob<'_>, name: &Glob<'_>) -> Result<Vec<UsdtSite>, Error> {
    let binary = Binary::open(path)?;
    let segments = binary.segments()?;
    let notes = for_class!(&binary, notes)?;
    let mut sites: Vec<UsdtSite> = notes
        .into_iter()
        .filter(|note| provider.matches(note.provider) && name.matches(note.name))
        .filter_map(|note| {
            let semaphore = if note.semaphore == 0 { 0 } else { file_offset(&segments, note.semaphore)? };
            Some(UsdtSite {
                provider: note.provider.to_owned(),
                name: note.name.to_owned(),
                offset: file_offset(&segments, note.location)?,
                semaphore,
                args: note.args.to_owned(),
            })
        })
        .collect();
    sites.sort();
    sites.dedup();
    Ok(sites)
}

/// A note with its addresses as the binary has them now.
struct Note<'d> {
    location: u64,
    semaphore: u64,
    provider: &'d str,
    name: &'d str,
    args: &'d str,
}

fn notes<E: FileHeader<Endian = Endianness>>(data: &[u8]) -> Result<Vec<Note<'_>>, String> {
    let (endian, sections) = sections::<E>(data)?;
    let base = sections.section_by_name(endian, b".stapsdt.base").map(|(_, section)| section.sh_addr(endian).into());
    let width = if E::is_type_64_sized() { 8 } else { 4 };
    let mut found = Vec::new();
    for section in sections.iter() {
        if section.sh_type(endian) != SHT_NOTE || sections.section_name(endian, section) != Ok(b".note.stapsdt") {
            continue;
        }
        let notes = section.notes(endian, data).map_err(|error| error.to_string())?;
        for note in notes.into_iter().flatten() {
            let note = note.map_err(|error| error.to_string())?;
            if note.name() == b"stapsdt" && note.n_type(endian).0 == NOTE_TYPE {
                found.extend(description(note.desc(), width, endian, base));
            }
        }
    }
    Ok(found)
}

fn description(desc: &[u8], width: usize, endian: Endianness, base_now: Option<u64>) -> Option<Note<'_>> {
    let (addresses, strings) = desc.split_at_checked(3 * width)?;
    let mut addresses = addresses.chunks_exact(width).map(|bytes| address(bytes, endian));
    let (location, base_then, semaphore) = (addresses.next()?, addresses.next()?, addresses.next()?);
    let moved = base_now.filter(|_| base_then != 0).map_or(0, |now| now.wrapping_sub(base_then));
    let mut strings = strings.split(|byte| *byte == 0).map(std::str::from_utf8);
    let mut string = || strings.next()?.ok();
    Some(Note {
        location: location.wrapping_add(moved),
        semaphore: if semaphore == 0 { 0 } else { semaphore.wrapping_add(moved) },
        provider: string()?,
        name: string()?,
        args: string()?,
    })
}

fn address(bytes: &[u8], endian: Endianness) -> u64 {
    let join = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    match endian {
        Endianness::Little => bytes.iter().rev().fold(0, join),
        Endianness::Big => bytes.iter().fold(0, join),
    }
}
