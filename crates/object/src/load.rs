//! What the kernel wants to know about linked programs beside their
//! instructions: BTF with a function type for each function, and for each
//! program which function and which source line its instructions belong to.

use btf::Builder;
use btf::ext::{self, FuncInfo, LineInfo, Record};

use crate::debug_info::{FunctionTypes, LineTable};
use crate::{Error, Line, Linked, Object};

/// Arguments of `BPF_BTF_LOAD` and of each `BPF_PROG_LOAD`.
#[derive(Clone, Debug, Default)]
pub struct LoadInfo {
    /// `.BTF` bytes, for all programs together.
    pub btf: Vec<u8>,
    /// In the order of the programs given.
    pub programs: Vec<ProgramInfo>,
}

/// `func_info` and `line_info` of one program, with offsets in slots.
#[derive(Clone, Debug, Default)]
pub struct ProgramInfo {
    /// Records of [`ProgramInfo::FUNC_INFO_SIZE`] bytes, one a function.
    pub func_info: Vec<u8>,
    /// Records of [`ProgramInfo::LINE_INFO_SIZE`] bytes; empty if nothing is
    /// known about lines.
    pub line_info: Vec<u8>,
}

impl ProgramInfo {
    /// `func_info_rec_size`.
    pub const FUNC_INFO_SIZE: u32 = FuncInfo::SIZE as u32;
    /// `line_info_rec_size`.
    pub const LINE_INFO_SIZE: u32 = LineInfo::SIZE as u32;
}

/// Describes linked programs of an object for the kernel.
pub fn load_info(object: &Object, programs: &[Linked]) -> Result<LoadInfo, Error> {
    let mut builder = Builder::new();
    let mut types = FunctionTypes::new(&mut builder);
    let mut lines = LineTable::new(object);
    // Functions that several programs share have one type.
    let mut shared = vec![None; object.functions.len()];
    let mut infos = Vec::with_capacity(programs.len());
    for program in programs {
        let func_info = program.functions.iter().map(|function| {
            let known = function.function.and_then(|index| shared.get_mut(index.0 as usize));
            let func = match known {
                Some(known) => {
                    *known.get_or_insert_with(|| types.function(&mut builder, &function.name, function.params))
                }
                None => types.program(&mut builder, &function.name),
            };
            FuncInfo { insn_off: function.start, func }
        });
        let func_info: Vec<FuncInfo> = func_info.collect();
        let line_info = line_records(program, &mut lines, &mut builder);
        infos.push(ProgramInfo { func_info: ext::records(&func_info), line_info: ext::records(&line_info) });
    }
    Ok(LoadInfo { btf: builder.finish()?, programs: infos })
}

/// The line records of a program; none if no line is known.
fn line_records(program: &Linked, table: &mut LineTable<'_>, builder: &mut Builder) -> Vec<LineInfo> {
    if program.lines.is_empty() {
        return Vec::new();
    }
    let mut out = Vec::with_capacity(program.lines.len() + program.functions.len());
    for function in &program.functions {
        let (start, end) = (function.start, function.start + function.len);
        let from = program.lines.partition_point(|line| line.insn < start);
        let to = program.lines.partition_point(|line| line.insn < end);
        let lines = program.lines.get(from..to).unwrap_or(&[]);
        let lines = lines.iter().map(|line| Line { insn: line.insn.saturating_sub(start), ..*line });
        let insns = program.insns.get(start as usize..end as usize).unwrap_or(&[]);
        out.extend(table.function(builder, &function.name, insns, lines, |insn| start + insn));
    }
    if out.iter().all(|record| record.line == 0) {
        out.clear();
    }
    out
}
