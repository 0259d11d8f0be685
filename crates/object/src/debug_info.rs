//! Types of functions and places of source lines, as BTF: shared by the loader's
//! tables and the ELF writer's.

use btf::ext::LineInfo;
use btf::{Builder, FuncLinkage, IntEncoding, TypeId};

use isa::Insn;

use crate::{Line, Object, Source, SourceSpan};

/// The BPF calling convention passes at most five arguments.
const MAX_PARAMS: u8 = 5;
const PARAM_NAMES: [&str; MAX_PARAMS as usize] = ["a1", "a2", "a3", "a4", "a5"];

/// Writes the types of functions into a [`Builder`].
pub(crate) struct FunctionTypes {
    program: TypeId,
    u64: TypeId,
    /// Prototype by number of parameters, once used.
    protos: [Option<TypeId>; MAX_PARAMS as usize + 1],
}

impl FunctionTypes {
    pub(crate) fn new(builder: &mut Builder) -> FunctionTypes {
        let int = builder.int("int", 4, IntEncoding::Signed);
        let u64 = builder.int("unsigned long long", 8, IntEncoding::Unsigned);
        let context = builder.ptr(TypeId::VOID);
        let program = builder.func_proto(int, &[("ctx", context)]);
        FunctionTypes { program, u64, protos: [None; MAX_PARAMS as usize + 1] }
    }

    /// A program: `int name(void *ctx)`, global.
    pub(crate) fn program(&self, builder: &mut Builder, name: &str) -> TypeId {
        builder.func(&identifier(name), self.program, FuncLinkage::Global)
    }

    /// A function of a program: static, so that the verifier checks it with
    /// what its callers pass, and takes it as a callback.
    pub(crate) fn function(&mut self, builder: &mut Builder, name: &str, params: u8) -> TypeId {
        let count = usize::from(params.min(MAX_PARAMS));
        let proto = *self.protos[count].get_or_insert_with(|| {
            let params = PARAM_NAMES.map(|name| (name, self.u64));
            builder.func_proto(self.u64, &params[..count])
        });
        builder.func(&identifier(name), proto, FuncLinkage::Static)
    }
}

/// A C identifier from any name: what C does not allow becomes `_`, `@` becomes
/// `AT_`. (The kernel refuses BTF with other names.)
pub(crate) fn identifier(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        match c {
            '@' => out.push_str("AT_"),
            c if c.is_ascii_alphanumeric() || c == '_' => out.push(c),
            _ => out.push('_'),
        }
    }
    if out.is_empty() || out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, '_');
    }
    // The kernel's bound on names is KSYM_NAME_LEN, 128 before Linux 6.1.
    out.truncate(127);
    out
}

/// Turns spans into line and column and their text into BTF strings.
pub(crate) struct LineTable<'o> {
    sources: Vec<SourceLines<'o>>,
}

struct SourceLines<'o> {
    source: &'o Source,
    /// Offset of each line's first byte; found when first asked for.
    starts: Vec<u32>,
    name_off: u32,
}

impl<'o> LineTable<'o> {
    pub(crate) fn new(object: &'o Object) -> LineTable<'o> {
        let lines = |source| SourceLines { source, starts: Vec::new(), name_off: 0 };
        LineTable { sources: object.sources.iter().map(lines).collect() }
    }

    /// The record for an instruction at `insn_off`; `None` if the span is not in a source.
    fn record(&mut self, builder: &mut Builder, at: SourceSpan, insn_off: u32) -> Option<LineInfo> {
        let lines = self.sources.get_mut(usize::from(at.source))?;
        let text = lines.source.text.as_str();
        if at.start as usize > text.len() {
            return None;
        }
        if lines.starts.is_empty() {
            let after_newline = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i as u32 + 1);
            lines.starts = std::iter::once(0).chain(after_newline).collect();
            lines.name_off = builder.string(&lines.source.name);
        }
        // The first start is 0, so that at least one is not above the span.
        let line = lines.starts.partition_point(|start| *start <= at.start).max(1);
        let start = lines.starts[line - 1];
        let end = lines.starts.get(line).map_or(text.len(), |next| *next as usize - 1);
        let line_text = text.get(start as usize..end).unwrap_or("").trim_end();
        Some(LineInfo {
            insn_off,
            file_name_off: lines.name_off,
            line_off: builder.string(line_text),
            line: line as u32,
            column: at.start - start + 1,
        })
    }

    /// The records of a function, as the kernel checks them (`check_btf_line` in
    /// `kernel/bpf/verifier.c`): ascending, none at the second half of a wide
    /// instruction, and one at the function's start. `lines` count from the
    /// function's start; `offset` turns that into what the record holds.
    ///
    /// A function of which no line is known gets its name as the text of line 0.
    pub(crate) fn function(
        &mut self,
        builder: &mut Builder,
        name: &str,
        insns: &[Insn],
        lines: impl Iterator<Item = Line>,
        offset: impl Fn(u32) -> u32,
    ) -> Vec<LineInfo> {
        let mut out: Vec<LineInfo> = Vec::with_capacity(lines.size_hint().0.max(1));
        for line in lines {
            // The second half of a wide instruction has the opcode 0.
            if insns.get(line.insn as usize).is_none_or(|insn| insn.code == 0) {
                continue;
            }
            let Some(record) = self.record(builder, line.at, offset(line.insn)) else { continue };
            match out.last_mut() {
                Some(last) if last.insn_off == record.insn_off => *last = record,
                Some(last) if last.insn_off > record.insn_off || same_place(last, &record) => {}
                _ => out.push(record),
            }
        }
        match out.first_mut() {
            // The first line known also covers the instructions before it.
            Some(record) => record.insn_off = offset(0),
            None => {
                let line_off = builder.string(name);
                out.push(LineInfo { insn_off: offset(0), file_name_off: 0, line_off, line: 0, column: 0 });
            }
        }
        out
    }
}

fn same_place(a: &LineInfo, b: &LineInfo) -> bool {
    (a.file_name_off, a.line_off, a.line, a.column) == (b.file_name_off, b.line_off, b.line, b.column)
}
