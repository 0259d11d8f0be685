//! Functions of binaries: where they are, as addresses and as file offsets,
//! which is what uprobes take. Nothing is indexed; a look-up scans the
//! dynamic symbols first and reads no more than it needs.

use std::path::{Path, PathBuf};

use elf::Endianness;
use elf::elf::{self as abi, FileHeader32, FileHeader64};
use elf::read::FileKind;
use elf::read::elf::{FileHeader, ProgramHeader, SectionHeader, SectionTable, Sym};

use crate::error::Error;
use crate::file_map::FileMap;
use crate::glob::Glob;

/// Where distributions put the symbols that they stripped off.
const DEBUG_DIRECTORY: &str = "/usr/lib/debug/.build-id";

/// A function of a binary.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FunctionSymbol {
    /// Without a symbol version (`malloc`, not `malloc@@GLIBC_2.2.5`).
    pub name: String,
    /// Virtual address in the ELF file.
    pub address: u64,
    /// The same place as a file offset; 0 for data that is not in the file (`.bss`).
    pub offset: u64,
    /// Bytes; 0 if the symbol does not say.
    pub size: u64,
}

/// An ELF executable or shared library.
#[derive(Debug)]
pub struct Binary {
    path: PathBuf,
    file: FileMap,
}

/// Runs a function that is generic over the ELF class on a binary's bytes.
macro_rules! for_class {
    ($binary:expr, $function:ident $(, $argument:expr)*) => {{
        let binary: &Binary = $binary;
        let bytes = binary.bytes();
        match FileKind::parse(bytes) {
            Ok(FileKind::Elf64) => $function::<FileHeader64<Endianness>>(bytes $(, $argument)*),
            Ok(FileKind::Elf32) => $function::<FileHeader32<Endianness>>(bytes $(, $argument)*),
            _ => return Err(binary.malformed("not an ELF file")),
        }
        .map_err(|why| binary.malformed(why))
    }};
}
pub(crate) use for_class;

impl Binary {
    /// Opens (maps) a binary; whether it is ELF shows when it is asked something.
    pub fn open(path: &Path) -> Result<Binary, Error> {
        Ok(Binary { path: path.to_owned(), file: FileMap::open(path)? })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.file.bytes()
    }

    pub(crate) fn malformed(&self, why: impl Into<String>) -> Error {
        Error::malformed(format!("read symbols of {}", self.path.display()), why)
    }

    /// Functions whose names match, sorted by name and address.
    ///
    /// A plain name is looked for in the dynamic symbols, then in the full
    /// table, then in a separate debug file; if no function has it, a label or a data
    /// object may. A wildcard takes the functions of all tables.
    pub fn functions(&self, pattern: &Glob<'_>) -> Result<Vec<FunctionSymbol>, Error> {
        let segments = self.segments()?;
        let literal = pattern.is_literal();
        let mut found = Found::default();
        for table in [abi::SHT_DYNSYM, abi::SHT_SYMTAB] {
            for_class!(self, scan_table, table, pattern, &mut found)?;
            if literal && !found.functions.is_empty() {
                break;
            }
        }
        if (!literal || found.functions.is_empty())
            && !found.full_table
            && let Some(debug) = self.debug_file()
        {
            for_class!(&debug, scan_table, abi::SHT_SYMTAB, pattern, &mut found)?;
        }
        let mut symbols = found.functions;
        if literal && symbols.is_empty() {
            symbols = found.others;
        }
        for symbol in &mut symbols {
            symbol.offset = file_offset(&segments, symbol.address).unwrap_or(0);
        }
        symbols.sort();
        symbols.dedup_by(|a, b| a.name == b.name && a.address == b.address);
        Ok(symbols)
    }

    /// The file offset of a virtual address; an error if the file has nothing there.
    pub fn file_offset(&self, address: u64) -> Result<u64, Error> {
        let segments = self.segments()?;
        file_offset(&segments, address).ok_or_else(|| {
            Error::refused(
                format!("find address {address:#x} in {}", self.path.display()),
                "no loaded part of the file has it",
            )
        })
    }

    /// The GNU build id, which names the binary's debug file.
    pub fn build_id(&self) -> Result<Option<Vec<u8>>, Error> {
        for_class!(self, build_id)
    }

    /// Whether the file is loaded at an address that is chosen when it runs (`ET_DYN`), so that its
    /// symbols' addresses are only offsets from there.
    pub fn is_position_independent(&self) -> bool {
        const ET_DYN: u16 = 3;
        // `e_type` stands at the same place in files of both classes.
        self.bytes().get(16..18).is_some_and(|kind| kind == ET_DYN.to_ne_bytes())
    }

    /// What of the file is loaded where.
    pub(crate) fn segments(&self) -> Result<Vec<Segment>, Error> {
        for_class!(self, segments)
    }

    fn debug_file(&self) -> Option<Binary> {
        let id = self.build_id().ok()??;
        let (first, rest) = id.split_first()?;
        let hex: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
        Binary::open(Path::new(&format!("{DEBUG_DIRECTORY}/{first:02x}/{hex}.debug"))).ok()
    }
}

/// A part of the file that is loaded (`PT_LOAD`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub address: u64,
    pub offset: u64,
    /// Bytes in the file.
    pub size: u64,
    pub executable: bool,
}

/// The file offset of an address, preferring executable segments.
pub(crate) fn file_offset(segments: &[Segment], address: u64) -> Option<u64> {
    let holds = |segment: &&Segment| address.checked_sub(segment.address).is_some_and(|into| into < segment.size);
    let segment = segments.iter().filter(|s| s.executable).find(holds).or_else(|| segments.iter().find(holds))?;
    segment.offset.checked_add(address - segment.address)
}

fn segments<E: FileHeader<Endian = Endianness>>(data: &[u8]) -> Result<Vec<Segment>, String> {
    let header = E::parse(data).map_err(|error| error.to_string())?;
    let endian = header.endian().map_err(|error| error.to_string())?;
    let headers = header.program_headers(endian, data).map_err(|error| error.to_string())?;
    Ok(headers
        .iter()
        .filter(|segment| segment.p_type(endian) == abi::PT_LOAD)
        .map(|segment| Segment {
            address: segment.p_vaddr(endian).into(),
            offset: segment.p_offset(endian).into(),
            size: segment.p_filesz(endian).into(),
            executable: segment.p_flags(endian).contains(abi::PF_X),
        })
        .collect())
}

/// A file's sections, with what is needed to read them.
pub(crate) fn sections<E: FileHeader<Endian = Endianness>>(
    data: &[u8],
) -> Result<(Endianness, SectionTable<'_, E>), String> {
    let header = E::parse(data).map_err(|error| error.to_string())?;
    let endian = header.endian().map_err(|error| error.to_string())?;
    let sections = header.sections(endian, data).map_err(|error| error.to_string())?;
    Ok((endian, sections))
}

#[derive(Default)]
struct Found {
    functions: Vec<FunctionSymbol>,
    /// Labels and data objects of this name; for plain names only.
    others: Vec<FunctionSymbol>,
    /// The file has a full symbol table.
    full_table: bool,
}

fn scan_table<E: FileHeader<Endian = Endianness>>(
    data: &[u8],
    kind: abi::SectionType,
    pattern: &Glob<'_>,
    found: &mut Found,
) -> Result<(), String> {
    let (endian, sections) = sections::<E>(data)?;
    let table = sections.symbols(endian, data, kind).map_err(|error| error.to_string())?;
    found.full_table |= kind == abi::SHT_SYMTAB && !table.is_empty();
    for symbol in table.iter() {
        let ty = symbol.st_type();
        let function = ty == abi::STT_FUNC || ty == abi::STT_GNU_IFUNC;
        let other = pattern.is_literal() && (ty == abi::STT_NOTYPE || ty == abi::STT_OBJECT);
        let address: u64 = symbol.st_value(endian).into();
        if !(function || other) || symbol.is_undefined(endian) || address == 0 {
            continue;
        }
        // A name outside the string table: a damaged symbol, not a damaged table.
        let Ok(name) = symbol.name(endian, table.strings()) else { continue };
        let Ok(name) = std::str::from_utf8(name) else { continue };
        let name = name.split_once('@').map_or(name, |(plain, _version)| plain);
        if name.is_empty() || !pattern.matches(name) {
            continue;
        }
        let list = if function { &mut found.functions } else { &mut found.others };
        list.push(FunctionSymbol { name: name.to_owned(), address, offset: 0, size: symbol.st_size(endian).into() });
    }
    Ok(())
}

fn build_id<E: FileHeader<Endian = Endianness>>(data: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let (endian, sections) = sections::<E>(data)?;
    for section in sections.iter() {
        let Ok(Some(notes)) = section.notes(endian, data) else { continue };
        for note in notes.map_while(Result::ok) {
            if note.name() == abi::ELF_NOTE_GNU && note.n_type(endian) == abi::NT_GNU_BUILD_ID {
                return Ok(Some(note.desc().to_vec()));
            }
        }
    }
    Ok(None)
}
