//! Objects to test with, from assembly text.

use isa::uapi::{map_type, prog_type};
use isa::{Callee, Imm64, Insn, Op, Reg};
use object::{
    Code, FunctionIndex, Line, Map, MapIndex, Object, Program, Relocation, RelocationKind, Source, SourceSpan,
};

/// Code from assembly, in which `map[fd:N]`, `map[fd:N][0]+OFFSET`, `subprog[+N]`
/// and `call pc+N` stand for map N, its value, the address of function N and a
/// call of it.
pub fn code(name: &str, params: u8, text: &str) -> Code {
    let insns = isa::assemble(text).expect("assembles");
    let mut code = Code { name: name.to_owned(), params, ..Code::default() };
    let mut slot = 0;
    while slot < insns.len() {
        let op = Op::decode(&insns[slot..]).expect("was assembled");
        let kind = match op {
            Op::LoadImm64 { imm: Imm64::MapFd(map), .. } => Some(RelocationKind::Map(MapIndex(map as u32))),
            Op::LoadImm64 { imm: Imm64::MapValue { fd, offset }, .. } => {
                Some(RelocationKind::MapValue { map: MapIndex(fd as u32), offset })
            }
            Op::LoadImm64 { imm: Imm64::Func(function), .. } => {
                Some(RelocationKind::Address(FunctionIndex(function as u32)))
            }
            Op::Call(Callee::Local(function)) => Some(RelocationKind::Call(FunctionIndex(function as u32))),
            _ => None,
        };
        let first = code.insns.len();
        code.insns.extend_from_slice(&insns[slot..slot + op.slots()]);
        if let Some(kind) = kind {
            let insn = insns[slot];
            let is_call = matches!(kind, RelocationKind::Call(_));
            code.insns[first] = Insn::new(insn.code, insn.dst(), Reg(u8::from(is_call)), 0, 0);
            if !is_call {
                code.insns[first + 1].imm = 0;
            }
            code.relocations.push(Relocation { insn: slot as u32, kind });
        }
        slot += op.slots();
    }
    code
}

const SOURCE: &str = "\
tracepoint:raw_syscalls:sys_enter {
    @reads[tid] = count();
    for ($kv : @reads) { $n += twice($kv.1) }
}
";

/// The span of a piece of [`SOURCE`].
fn span(piece: &str) -> SourceSpan {
    let start = SOURCE.find(piece).expect("is in the source") as u32;
    SourceSpan { source: 0, start, end: start + piece.len() as u32 }
}

/// A tracepoint program with a hash map, a global with contents, a function
/// and a callback that calls it.
pub fn tracepoint() -> Object {
    let mut main = code(
        "sys_enter",
        1,
        "
        call bpf_get_current_pid_tgid
        *(u64 *)(r10 - 8) = r0
        *(u64 *)(r10 - 16) = 1
        r1 = map[fd:0]
        r2 = r10
        r2 += -8
        r3 = r10
        r3 += -16
        r4 = 0
        call bpf_map_update_elem
        r1 = map[fd:0]
        r2 = subprog[+1]
        r3 = r10
        r3 += -16
        r4 = 0
        call bpf_for_each_map_elem
        r1 = map[fd:1][0]+8
        r2 = *(u64 *)(r1 + 0)
        r2 += 1
        *(u64 *)(r1 + 0) = r2
        r1 = r2
        call pc+0
        r0 = 0
        exit",
    );
    main.lines = vec![
        Line { insn: 0, at: span("@reads[tid]") },
        Line { insn: 3, at: span("count()") },
        Line { insn: 11, at: span("for ($kv") },
    ];
    let twice = code("twice", 1, "r0 = r1\nr0 += r1\nexit");
    let mut callback = code(
        "each_read",
        4,
        "
        r6 = r4
        r1 = *(u64 *)(r3 + 0)
        call pc+0
        r1 = *(u64 *)(r6 + 0)
        r1 += r0
        *(u64 *)(r6 + 0) = r1
        r0 = 0
        exit",
    );
    callback.lines = vec![Line { insn: 1, at: span("$n += twice") }];
    Object {
        license: "GPL".to_owned(),
        maps: vec![
            Map {
                name: "@reads".to_owned(),
                map_type: map_type::HASH,
                key_size: 8,
                value_size: 8,
                max_entries: 1024,
                ..Map::default()
            },
            Map {
                name: "counters".to_owned(),
                map_type: map_type::ARRAY,
                key_size: 4,
                value_size: 16,
                max_entries: 1,
                flags: 1 << 10,
                initial: vec![1, 2, 3],
                read_only: false,
            },
        ],
        programs: vec![Program {
            section: "tracepoint/raw_syscalls/sys_enter".to_owned(),
            prog_type: prog_type::TRACEPOINT,
            code: main,
            ..Program::default()
        }],
        functions: vec![twice, callback],
        sources: vec![Source { name: "reads.bt".to_owned(), text: SOURCE.to_owned() }],
    }
}
