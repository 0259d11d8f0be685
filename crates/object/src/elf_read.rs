//! ELF file → object: what [`crate::write_elf`] writes, and what clang makes of
//! simple programs. Nothing in a file is trusted: damage is an error.

use std::collections::HashMap;

use btf::Btf;
use btf::ext::Ext;
use elf::elf::{EM_BPF, SHF_EXECINSTR};
use elf::read::elf::{ElfFile64, ElfSymbol64};
use elf::read::{Object as _, ObjectSection, ObjectSymbol, RelocationTarget, SectionIndex};
use elf::{Architecture, Endianness, RelocationFlags, SectionFlags, SymbolKind};
use isa::uapi::map_type;
use isa::{Insn, Reg, pseudo};

use crate::elf_lines::Sources;
use crate::elf_maps::{self, MAPS_SECTION, MMAPABLE, RDONLY_PROG};
use crate::section_name::section_kind;
use crate::{Code, Error, FunctionIndex, Map, MapIndex, Object, Program, Relocation, RelocationKind, Target};

const INSN_BYTES: u64 = 8;
const TEXT_SECTION: &str = ".text";

type File<'d> = ElfFile64<'d, Endianness>;

/// Reads a BPF ELF object.
///
/// Type ids of targets are 0: they are found in the running kernel's BTF.
/// Sources hold the lines that line information names, the others are empty.
/// CO-RE relocations, kernel functions and external variables are refused.
pub fn read_elf(data: &[u8]) -> Result<Object, Error> {
    let file = File::parse(data).map_err(damaged)?;
    if file.architecture() != Architecture::Bpf || file.endianness() != Endianness::Little {
        return Err(Error::Elf(format!("its machine is not little-endian BPF (EM_BPF, {})", EM_BPF.0)));
    }
    let btf = file.section_by_name(".BTF").map(|section| section.data().map_err(damaged)).transpose()?;
    let btf = btf.map(Btf::parse).transpose()?;
    let mut reader = Reader {
        file: &file,
        btf: btf.as_ref(),
        object: Object::default(),
        maps: Vec::new(),
        params: btf.iter().flat_map(Btf::functions).map(|func| (func.name(), param_count(&func))).collect(),
        text: file.section_by_name(TEXT_SECTION).map(|section| section.index()),
        unread: data.len(),
    };
    reader.licence()?;
    reader.maps()?;
    let mut sections = reader.code_sections()?;
    let text = sections.iter().position(|section| section.name == TEXT_SECTION).map(|at| sections[at].starts());
    for section in &mut sections {
        reader.relocations(section, text.as_deref().unwrap_or(&[]))?;
    }
    reader.lines(&mut sections)?;
    for section in sections {
        reader.place(section)?;
    }
    Ok(reader.object)
}

fn param_count(func: &btf::Type<'_>) -> u8 {
    u8::try_from(func.params().len()).unwrap_or(u8::MAX)
}

fn damaged(error: elf::read::Error) -> Error {
    Error::Elf(error.to_string())
}

struct Reader<'f, 'd> {
    file: &'f File<'d>,
    btf: Option<&'f Btf<'d>>,
    object: Object,
    maps: Vec<MapAt>,
    /// Number of parameters by name of function.
    params: HashMap<&'f str, u8>,
    text: Option<SectionIndex>,
    /// Bytes of the file that may still be copied.
    unread: usize,
}

/// Where a map's variable or data is.
struct MapAt {
    section: SectionIndex,
    /// Bytes from the section's start, for a map of `.maps`; a data section is
    /// one map as a whole.
    variable: Option<u64>,
    map: MapIndex,
}

/// A section of instructions with its functions by ascending start.
struct CodeSection {
    index: SectionIndex,
    name: String,
    functions: Vec<Function>,
}

struct Function {
    /// Bytes from the section's start.
    start: u64,
    code: Code,
}

impl CodeSection {
    fn starts(&self) -> Vec<u64> {
        self.functions.iter().map(|function| function.start).collect()
    }

    /// The function that holds the instruction at a byte offset, and the slot in it.
    fn find(&mut self, offset: u64) -> Option<(&mut Function, u32)> {
        let after = self.functions.partition_point(|function| function.start <= offset);
        let function = self.functions.get_mut(after.checked_sub(1)?)?;
        let within = offset - function.start;
        let slot = within / INSN_BYTES;
        let inside = within.is_multiple_of(INSN_BYTES) && slot < function.code.insns.len() as u64;
        inside.then_some((function, slot as u32))
    }
}

impl Reader<'_, '_> {
    fn licence(&mut self) -> Result<(), Error> {
        if let Some(section) = self.file.section_by_name("license") {
            let data = section.data().map_err(damaged)?;
            let text = data.split(|b| *b == 0).next().unwrap_or(&[]);
            self.object.license = String::from_utf8_lossy(text).into_owned();
        }
        Ok(())
    }

    fn add_map(&mut self, section: SectionIndex, variable: Option<u64>, map: Map) {
        let index = MapIndex(self.object.maps.len() as u32);
        self.object.maps.push(map);
        self.maps.push(MapAt { section, variable, map: index });
    }

    /// Where a section's variable starts, in bytes.
    fn variable_address(&self, section: SectionIndex, name: &str) -> Option<u64> {
        let mut symbols = self.file.symbols();
        let found = symbols.find(|symbol| symbol.section_index() == Some(section) && symbol.name() == Ok(name))?;
        Some(found.address())
    }

    fn maps(&mut self) -> Result<(), Error> {
        for section in self.file.sections() {
            let name = section.name().map_err(damaged)?;
            if name == MAPS_SECTION {
                let found = self.btf.map(elf_maps::read_maps).transpose()?.unwrap_or_default();
                for map in found {
                    // clang leaves the offsets of its BTF at 0: only the symbol knows.
                    let at = self.variable_address(section.index(), &map.map.name);
                    self.add_map(section.index(), Some(at.unwrap_or(map.offset.into())), map.map);
                }
                continue;
            }
            if name == "maps" {
                let what = "a map definition without BTF".to_owned();
                return Err(Error::Unsupported { section: name.to_owned(), what });
            }
            let Some((kind, own_name)) = data_section(name) else { continue };
            if section.size() == 0 {
                continue;
            }
            let value_size = u32::try_from(section.size()).map_err(|_| Error::Elf(format!("{name} is too large")))?;
            let initial = match kind {
                "bss" => Vec::new(),
                _ => {
                    let data = section.data().map_err(damaged)?;
                    self.take(data.len())?;
                    data.to_vec()
                }
            };
            let read_only = kind == "rodata";
            // What libbpf creates for such a section.
            let flags = MMAPABLE | if read_only { RDONLY_PROG } else { 0 };
            let map = Map {
                name: own_name.to_owned(),
                map_type: map_type::ARRAY,
                key_size: 4,
                value_size,
                max_entries: 1,
                flags,
                initial,
                read_only,
            };
            self.add_map(section.index(), None, map);
        }
        Ok(())
    }

    fn code_sections(&mut self) -> Result<Vec<CodeSection>, Error> {
        let mut sections = Vec::new();
        for section in self.file.sections() {
            let SectionFlags::Elf { sh_flags, .. } = section.flags() else { continue };
            if sh_flags.0 & SHF_EXECINSTR.0 == 0 || section.size() == 0 {
                continue;
            }
            let name = section.name().map_err(damaged)?.to_owned();
            let data = section.data().map_err(damaged)?;
            self.take(data.len())?;
            let functions = self.functions(section.index(), &name, data)?;
            sections.push(CodeSection { index: section.index(), name, functions });
        }
        Ok(sections)
    }

    /// Counts bytes that are copied out of the file: more than it has means that
    /// sections overlap.
    fn take(&mut self, bytes: usize) -> Result<(), Error> {
        self.unread = self.unread.checked_sub(bytes).ok_or_else(|| Error::Elf("its sections overlap".to_owned()))?;
        Ok(())
    }

    /// The functions of a section, as its symbols have them, by ascending start.
    fn functions(&self, section: SectionIndex, section_name: &str, data: &[u8]) -> Result<Vec<Function>, Error> {
        let in_section =
            |symbol: &ElfSymbol64<'_, '_>| symbol.kind() == SymbolKind::Text && symbol.section_index() == Some(section);
        let mut symbols: Vec<_> = self.file.symbols().filter(in_section).collect();
        symbols.sort_by_key(|symbol| symbol.address());
        symbols.dedup_by_key(|symbol| symbol.address());
        let mut functions = Vec::with_capacity(symbols.len());
        let mut free_from = 0;
        for symbol in symbols {
            let name = symbol.name().map_err(damaged)?;
            let (start, size) = (symbol.address(), symbol.size());
            let end = start.checked_add(size).filter(|_| start >= free_from && size > 0);
            let bytes = usize::try_from(start)
                .ok()
                .zip(end.and_then(|end| usize::try_from(end).ok()))
                .and_then(|(start, end)| data.get(start..end))
                .filter(|_| start.is_multiple_of(INSN_BYTES) && size.is_multiple_of(INSN_BYTES))
                .ok_or_else(|| Error::Elf(format!("function {name} has no place of its own in {section_name}")))?;
            free_from = start + size;
            let insns = bytes.as_chunks().0.iter().map(|bytes| Insn::from_bytes(*bytes)).collect();
            let params = self.params.get(name).copied().unwrap_or(0);
            let code = Code { name: name.to_owned(), insns, params, ..Code::default() };
            functions.push(Function { start, code });
        }
        Ok(functions)
    }

    /// Turns a section's ELF relocations, and calls within `.text`, into ours.
    fn relocations(&self, section: &mut CodeSection, text: &[u64]) -> Result<(), Error> {
        let elf_section = self.file.section_by_index(section.index).map_err(damaged)?;
        for (offset, relocation) in elf_section.relocations() {
            let unsupported = |what: String| Error::Unsupported { section: section.name.clone(), what };
            let RelocationTarget::Symbol(symbol) = relocation.target() else {
                return Err(unsupported("a relocation without a symbol".to_owned()));
            };
            let symbol = self.file.symbol_by_index(symbol).map_err(damaged)?;
            let symbol_name = symbol.name().unwrap_or("").to_owned();
            let Some(target) = symbol.section_index() else {
                return Err(unsupported(format!("the external symbol `{symbol_name}`")));
            };
            let outside = unsupported(format!("a relocation outside its functions (byte {offset})"));
            let misplaced = unsupported(format!("the relocation against `{symbol_name}` at byte {offset}"));
            let (function, slot) = section.find(offset).ok_or(outside)?;
            let insn = function.code.insns[slot as usize];
            let RelocationFlags::Elf { .. } = relocation.flags() else { return Err(misplaced) };
            let kind = self.relocation_kind(insn, target, symbol.address(), text).ok_or(misplaced)?;
            // The reference is in the relocation alone.
            let src = if matches!(kind, RelocationKind::Call(_)) { pseudo::CALL } else { 0 };
            function.code.insns[slot as usize] = Insn::new(insn.code, insn.dst(), Reg(src), insn.off, 0);
            function.code.relocations.push(Relocation { insn: slot, kind });
        }
        for function in &mut section.functions {
            let code = &mut function.code;
            code.relocations.sort_by_key(|relocation| relocation.insn);
            let mut local = Vec::new();
            for (slot, insn) in code.insns.iter_mut().enumerate() {
                let slot = slot as u32;
                let relocated = code.relocations.binary_search_by_key(&slot, |relocation| relocation.insn).is_ok();
                if relocated || insn.code != isa::CALL || insn.src().0 != pseudo::CALL {
                    continue;
                }
                // clang resolves calls within a section itself.
                let to = i64::try_from(function.start / INSN_BYTES).ok().map(|start| start + i64::from(slot) + 1);
                let to = to.and_then(|next| u64::try_from(next + i64::from(insn.imm)).ok());
                let callee =
                    to.filter(|_| section.name == TEXT_SECTION).and_then(|to| function_at(text, to * INSN_BYTES));
                let Some(callee) = callee else {
                    let what = format!("the call at instruction {slot} of {}", code.name);
                    return Err(Error::Unsupported { section: section.name.clone(), what });
                };
                insn.imm = 0;
                local.push(Relocation { insn: slot, kind: RelocationKind::Call(callee) });
            }
            code.relocations.extend(local);
            code.relocations.sort_by_key(|relocation| relocation.insn);
        }
        Ok(())
    }

    /// What an instruction that refers to `address` in a section refers to.
    fn relocation_kind(&self, insn: Insn, target: SectionIndex, address: u64, text: &[u64]) -> Option<RelocationKind> {
        let in_text = self.text == Some(target);
        let imm = i64::from(insn.imm);
        let offset = i64::try_from(address).ok()?;
        if insn.code == isa::CALL {
            let to = (offset / INSN_BYTES as i64).checked_add(imm + 1)?.checked_mul(INSN_BYTES as i64)?;
            let callee = in_text.then(|| function_at(text, u64::try_from(to).ok()?)).flatten();
            return callee.map(RelocationKind::Call);
        }
        if !insn.is_wide() {
            return None;
        }
        if in_text {
            let to = u64::try_from(offset.checked_add(imm)?).ok()?;
            return function_at(text, to).map(RelocationKind::Address);
        }
        let found = self
            .maps
            .iter()
            .find(|map| map.section == target && map.variable.is_none_or(|variable| variable == address))?;
        Some(match found.variable {
            Some(_) => RelocationKind::Map(found.map),
            None => RelocationKind::MapValue { map: found.map, offset: u32::try_from(offset.checked_add(imm)?).ok()? },
        })
    }

    /// Reads line information and the source lines that it names.
    fn lines(&mut self, sections: &mut [CodeSection]) -> Result<(), Error> {
        let (Some(btf), Some(ext)) = (self.btf, self.file.section_by_name(".BTF.ext")) else { return Ok(()) };
        let ext = Ext::parse(ext.data().map_err(damaged)?)?;
        if let Some(core) = ext.core_relocations.iter().find(|section| !section.records.is_empty()) {
            let section = btf.string(core.name_off)?.to_owned();
            return Err(Error::Unsupported { section, what: "a CO-RE relocation".to_owned() });
        }
        let mut sources = Sources::default();
        let mut found = Vec::new();
        for group in &ext.lines {
            let name = btf.string(group.name_off)?;
            let Some(section) = sections.iter().position(|section| section.name == name) else { continue };
            for record in &group.records {
                // Line 0 is no line of a source.
                if record.line == 0 {
                    continue;
                }
                let (file, text) = (btf.string(record.file_name_off)?, btf.string(record.line_off)?);
                if let Some(at) = sources.add(file, record.line, record.column, text) {
                    found.push((section, record.insn_off, at));
                }
            }
        }
        let sources = sources.finish();
        for (section, offset, at) in found {
            if let Some((function, slot)) = sections[section].find(offset.into()) {
                let line = crate::Line { insn: slot, at: sources.span(at) };
                let lines = &mut function.code.lines;
                if lines.last().is_none_or(|last| last.insn < slot) {
                    lines.push(line);
                }
            }
        }
        self.object.sources = sources.into_sources();
        Ok(())
    }

    /// Puts a section's functions where they belong in the object.
    fn place(&mut self, section: CodeSection) -> Result<(), Error> {
        if section.name == TEXT_SECTION {
            self.object.functions = section.functions.into_iter().map(|function| function.code).collect();
            return Ok(());
        }
        let Some(kind) = section_kind(&section.name) else {
            let what = "a program section of this name".to_owned();
            return Err(Error::Unsupported { section: section.name, what });
        };
        for function in section.functions {
            self.object.programs.push(Program {
                section: section.name.clone(),
                prog_type: kind.prog_type,
                expected_attach_type: kind.attach_type,
                target: kind.target.clone().map(|name| Target { module: None, name, btf_id: 0 }),
                sleepable: kind.sleepable,
                code: function.code,
            });
        }
        Ok(())
    }
}

/// The function of `.text` that starts at a byte offset; its index among all
/// functions is its place in the section.
fn function_at(text: &[u64], offset: u64) -> Option<FunctionIndex> {
    text.binary_search(&offset).ok().map(|at| FunctionIndex(at as u32))
}

/// `data`, `rodata` or `bss` and the map's name, for the name of a data section.
fn data_section(name: &str) -> Option<(&str, &str)> {
    let kind = ["data", "rodata", "bss"].into_iter().find_map(|kind| {
        let rest = name.strip_prefix('.')?.strip_prefix(kind)?;
        (rest.is_empty() || rest.starts_with('.')).then_some((kind, rest))
    })?;
    match kind {
        (kind, "") => Some((kind, kind)),
        (kind, rest) => Some((kind, &rest[1..])),
    }
}
