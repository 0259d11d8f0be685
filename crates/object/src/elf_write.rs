//! Object → ELF file, by the conventions of clang and libbpf.
//!
//! Every program is in the section of its name, functions in `.text`, maps as
//! [`crate::elf_maps`] says, types in `.BTF`, functions' and lines' places in
//! `.BTF.ext`. libbpf finds a map by its symbol and a function by `.text`'s
//! section symbol and the offset in the instruction.

use btf::ext::{Ext, FuncInfo, LineInfo, SectionRecords};
use btf::{Builder, TypeId};
use elf::elf::{
    R_BPF_64_32, R_BPF_64_64, RelocationType, SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHT_PROGBITS,
    SectionFlags as ShFlags,
};
use elf::write::{self, Relocation, SectionId, Symbol, SymbolId, SymbolSection};
use elf::{
    Architecture, BinaryFormat, Endianness, RelocationFlags, SectionFlags, SymbolFlags, SymbolKind, SymbolScope,
};
use isa::{Insn, Reg, pseudo};

use crate::debug_info::{FunctionTypes, LineTable};
use crate::elf_maps::{self, MAPS_SECTION, MapTypes, Names, Place};
use crate::{Code, Error, Object, RelocationKind};

const INSN_BYTES: u32 = 8;
/// What bpftool and libbpf call the section of functions.
const TEXT_SECTION: &str = ".text";

/// Writes an object as a relocatable ELF file.
pub fn write_elf(object: &Object) -> Result<Vec<u8>, Error> {
    let mut names = Names::default();
    let map_names: Vec<String> = object.maps.iter().map(|map| names.unique(&map.name)).collect();
    let places = elf_maps::places(object, &map_names)?;
    let mut builder = Builder::new();
    let mut writer = Writer {
        object,
        file: write::Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little),
        function_types: FunctionTypes::new(&mut builder),
        map_types: MapTypes::new(&mut builder),
        lines: LineTable::new(object),
        builder,
        ext: Ext::default(),
        names,
        map_symbols: Vec::new(),
        text_symbol: None,
        function_offsets: Vec::new(),
    };
    writer.licence();
    writer.maps(&map_names, &places);
    writer.functions()?;
    writer.programs()?;
    writer.finish()
}

struct Writer<'o> {
    object: &'o Object,
    file: write::Object<'static>,
    builder: Builder,
    function_types: FunctionTypes,
    map_types: MapTypes,
    lines: LineTable<'o>,
    ext: Ext,
    names: Names,
    /// By [`crate::MapIndex`].
    map_symbols: Vec<SymbolId>,
    text_symbol: Option<SymbolId>,
    /// Byte offset in `.text` by [`crate::FunctionIndex`].
    function_offsets: Vec<u32>,
}

/// A section of code as it grows.
struct CodeSection {
    id: SectionId,
    functions: SectionRecords<FuncInfo>,
    lines: SectionRecords<LineInfo>,
}

impl Writer<'_> {
    fn section(&mut self, name: &str, flags: ShFlags, kind: elf::SectionKind) -> SectionId {
        let id = self.file.add_section(Vec::new(), name.as_bytes().to_vec(), kind);
        self.file.section_mut(id).flags = SectionFlags::Elf { sh_type: SHT_PROGBITS, sh_flags: flags };
        id
    }

    fn data_section(&mut self, name: &str, flags: ShFlags, data: &[u8]) -> SectionId {
        let id = self.section(name, flags, elf::SectionKind::Data);
        self.file.append_section_data(id, data, 8);
        id
    }

    fn symbol(
        &mut self,
        name: &str,
        kind: SymbolKind,
        scope: SymbolScope,
        at: SectionId,
        range: (u32, u32),
    ) -> SymbolId {
        self.file.add_symbol(Symbol {
            name: name.as_bytes().to_vec(),
            value: range.0.into(),
            size: range.1.into(),
            kind,
            scope,
            weak: false,
            section: SymbolSection::Section(at),
            flags: SymbolFlags::None,
        })
    }

    fn licence(&mut self) {
        let mut text = self.object.license.clone().into_bytes();
        text.push(0);
        let size = text.len() as u32;
        let id = self.data_section("license", SHF_ALLOC | SHF_WRITE, &text);
        self.names.unique("_license");
        self.symbol("_license", SymbolKind::Data, SymbolScope::Dynamic, id, (0, size));
    }

    fn maps(&mut self, names: &[String], places: &[Place]) {
        let mut attributes = Vec::new();
        let mut attributes_section = None;
        let mut size = 0;
        for ((map, name), place) in self.object.maps.iter().zip(names).zip(places) {
            let (section, range) = match place {
                Place::Attributes => {
                    let (var, bytes) = self.map_types.attributes(&mut self.builder, name, map);
                    let section = *attributes_section.get_or_insert_with(|| {
                        Self::section(self, MAPS_SECTION, SHF_ALLOC | SHF_WRITE, elf::SectionKind::Data)
                    });
                    attributes.push((var, size, bytes));
                    let range = (size, bytes);
                    size += bytes;
                    (section, range)
                }
                Place::Data(section) => {
                    let flags = if map.read_only { SHF_ALLOC } else { SHF_ALLOC | SHF_WRITE };
                    let mut data = map.initial.clone();
                    data.resize(map.value_size as usize, 0);
                    let id = self.data_section(section, flags, &data);
                    let var = self.map_types.data(&mut self.builder, name, map);
                    self.builder.datasec(section, map.value_size, &[(var, 0, map.value_size)]);
                    (id, (0, map.value_size))
                }
            };
            let symbol = self.symbol(name, SymbolKind::Data, SymbolScope::Dynamic, section, range);
            self.map_symbols.push(symbol);
        }
        if let Some(section) = attributes_section {
            self.file.append_section_data(section, &vec![0; size as usize], 8);
            self.builder.datasec(MAPS_SECTION, size, &attributes);
        }
    }

    fn functions(&mut self) -> Result<(), Error> {
        let object = self.object;
        if object.functions.is_empty() {
            return Ok(());
        }
        let mut section = self.code_section(TEXT_SECTION);
        self.text_symbol = Some(self.file.section_symbol(section.id));
        // Functions call each other: all places are known before the first is written.
        let mut offset = 0;
        for function in &object.functions {
            self.function_offsets.push(offset);
            offset += function.insns.len() as u32 * INSN_BYTES;
        }
        for function in &object.functions {
            let name = self.names.unique(&function.name);
            let func = self.function_types.function(&mut self.builder, &name, function.params);
            self.code(&mut section, &name, SymbolScope::Compilation, function, func)?;
        }
        self.close(section);
        Ok(())
    }

    fn programs(&mut self) -> Result<(), Error> {
        let object = self.object;
        // Programs of one section name share a section.
        let mut sections: Vec<(&str, CodeSection)> = Vec::new();
        for program in &object.programs {
            let name = self.names.unique(&program.code.name);
            if program.section.is_empty() {
                return Err(Error::Unsupported { section: name, what: "a program without a section name".to_owned() });
            }
            let at = match sections.iter().position(|(section, _)| *section == program.section) {
                Some(at) => at,
                None => {
                    sections.push((&program.section, self.code_section(&program.section)));
                    sections.len() - 1
                }
            };
            let func = self.function_types.program(&mut self.builder, &name);
            self.code(&mut sections[at].1, &name, SymbolScope::Dynamic, &program.code, func)?;
        }
        for (_, section) in sections {
            self.close(section);
        }
        Ok(())
    }

    fn code_section(&mut self, name: &str) -> CodeSection {
        let id = self.section(name, SHF_ALLOC | SHF_EXECINSTR, elf::SectionKind::Text);
        let name_off = self.builder.string(name);
        CodeSection {
            id,
            functions: SectionRecords { name_off, records: Vec::new() },
            lines: SectionRecords { name_off, records: Vec::new() },
        }
    }

    fn close(&mut self, section: CodeSection) {
        self.ext.functions.push(section.functions);
        self.ext.lines.push(section.lines);
    }

    /// Appends a function to a section: instructions, symbol, relocations, lines.
    fn code(
        &mut self,
        section: &mut CodeSection,
        name: &str,
        scope: SymbolScope,
        code: &Code,
        func: TypeId,
    ) -> Result<(), Error> {
        let mut insns = code.insns.clone();
        let mut relocations = Vec::with_capacity(code.relocations.len());
        for relocation in &code.relocations {
            let problem = |problem| Error::Relocation { function: code.name.clone(), insn: relocation.insn, problem };
            let insn = insns.get_mut(relocation.insn as usize).ok_or(problem("is outside the function"))?;
            let (symbol, r_type) = self.relocate(insn, relocation.kind).map_err(problem)?;
            relocations.push((relocation.insn, symbol, r_type));
        }
        let bytes: Vec<u8> = insns.iter().flat_map(Insn::to_bytes).collect();
        let base = self.file.append_section_data(section.id, &bytes, INSN_BYTES.into()) as u32;
        self.symbol(name, SymbolKind::Text, scope, section.id, (base, bytes.len() as u32));
        for (insn, symbol, r_type) in relocations {
            let relocation = Relocation {
                offset: u64::from(base + insn * INSN_BYTES),
                symbol,
                addend: 0,
                flags: RelocationFlags::Elf { r_type },
            };
            self.file.add_relocation(section.id, relocation).map_err(|e| Error::Elf(e.to_string()))?;
        }
        section.functions.records.push(FuncInfo { insn_off: base, func });
        let offset = |insn| base + insn * INSN_BYTES;
        let lines = self.lines.function(&mut self.builder, name, &insns, code.lines.iter().copied(), offset);
        section.lines.records.extend(lines);
        Ok(())
    }

    /// Prepares an instruction for its relocation.
    fn relocate(&self, insn: &mut Insn, kind: RelocationKind) -> Result<(SymbolId, RelocationType), &'static str> {
        let is_call = matches!(kind, RelocationKind::Call(_));
        if is_call && insn.code != isa::CALL {
            return Err("is not at a call");
        }
        if !is_call && !insn.is_wide() {
            return Err("is not at a 64-bit immediate load");
        }
        let (src, imm, symbol, r_type) = match kind {
            RelocationKind::Map(map) => (0, 0, self.map_symbols.get(map.0 as usize), R_BPF_64_64),
            RelocationKind::MapValue { map, offset } => {
                (0, offset as i32, self.map_symbols.get(map.0 as usize), R_BPF_64_64)
            }
            RelocationKind::Call(function) => {
                let offset = self.function_offset(function)?;
                (pseudo::CALL, (offset / INSN_BYTES) as i32 - 1, self.text_symbol.as_ref(), R_BPF_64_32)
            }
            RelocationKind::Address(function) => {
                (0, self.function_offset(function)? as i32, self.text_symbol.as_ref(), R_BPF_64_64)
            }
        };
        let symbol = *symbol.ok_or("names a map that is not there")?;
        *insn = Insn::new(insn.code, insn.dst(), Reg(src), insn.off, imm);
        Ok((symbol, r_type))
    }

    fn function_offset(&self, function: crate::FunctionIndex) -> Result<u32, &'static str> {
        self.function_offsets.get(function.0 as usize).copied().ok_or("names a function that is not there")
    }

    fn finish(mut self) -> Result<Vec<u8>, Error> {
        let btf = std::mem::take(&mut self.builder).finish()?;
        self.data_section(".BTF", ShFlags(0), &btf);
        if self.ext.lines.iter().flat_map(|section| &section.records).all(|record| record.line == 0) {
            self.ext.lines.clear();
        }
        let ext = self.ext.to_bytes();
        self.data_section(".BTF.ext", ShFlags(0), &ext);
        self.file.write().map_err(|e| Error::Elf(e.to_string()))
    }
}
