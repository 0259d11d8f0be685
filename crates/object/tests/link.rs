//! Linking, and the tables that the kernel wants with a linked program.

mod objects;

use btf::ext::{FuncInfo, LineInfo, Record};
use btf::{Btf, Kind};
use object::{Error, FunctionIndex, MapIndex, RelocationKind, link, load_info};

#[test]
fn functions_are_appended_in_the_order_in_which_they_are_reached() {
    let object = objects::tracepoint();
    let mut linked = link(&object, &object.programs[0]).expect("links");
    let functions: Vec<_> = linked.functions.iter().map(|f| (f.name.as_str(), f.start, f.len, f.function)).collect();
    let length = object.programs[0].code.insns.len() as u32;
    assert_eq!(
        functions,
        [
            ("sys_enter", 0, length, None),
            ("each_read", length, 8, Some(FunctionIndex(1))),
            ("twice", length + 8, 3, Some(FunctionIndex(0))),
        ]
    );
    let maps: Vec<u32> = linked.maps.iter().map(|reference| reference.map.0).collect();
    assert_eq!(maps, [0, 0, 1]);
    linked.set_map_fds(|MapIndex(map)| 100 + map as i32);
    let text = isa::disassemble(&linked.insns);
    assert!(text.contains("r1 = map[fd:100]\n    r2 = subprog[L28]"), "{text}");
    assert!(text.contains("r1 = map[fd:101][0]+8"), "{text}");
    assert!(text.contains("call L36\n    r0 = 0x0\n    exit\nL28:\n"), "{text}");
    assert!(text.ends_with("L36:\n    r0 = r1\n    r0 += r1\n    exit\n"), "{text}");
    assert_eq!(linked.lines.iter().map(|line| line.insn).collect::<Vec<_>>(), [0, 3, 11, 29]);
}

#[test]
fn a_function_that_nothing_reaches_is_left_out() {
    let mut object = objects::tracepoint();
    object.functions.push(objects::code("alone", 0, "r0 = 0\nexit"));
    let linked = link(&object, &object.programs[0]).expect("links");
    assert!(linked.functions.iter().all(|function| function.name != "alone"));
}

#[test]
fn functions_may_call_each_other() {
    let mut object = objects::tracepoint();
    object.functions = vec![objects::code("even", 1, "call pc+1\nexit"), objects::code("odd", 1, "call pc+0\nexit")];
    object.programs[0].code = objects::code("main", 1, "call pc+0\nexit");
    let linked = link(&object, &object.programs[0]).expect("links");
    assert_eq!(
        isa::disassemble(&linked.insns),
        "    call L2\n    exit\nL2:\n    call L4\n    exit\nL4:\n    call L2\n    exit\n"
    );
}

#[test]
fn relocations_that_do_not_fit_are_errors() {
    let problem = |change: &dyn Fn(&mut object::Object)| {
        let mut object = objects::tracepoint();
        change(&mut object);
        match link(&object, &object.programs[0]) {
            Err(Error::Relocation { problem, .. }) => problem,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(problem(&|o| o.programs[0].code.relocations[0].insn = 99), "is outside the function");
    assert_eq!(problem(&|o| o.programs[0].code.relocations[0].insn = 0), "is not at a 64-bit immediate load");
    assert_eq!(problem(&|o| o.maps.clear()), "names a map that is not there");
    assert_eq!(problem(&|o| o.functions.clear()), "names a function that is not there");
    let to_call =
        |o: &mut object::Object| o.programs[0].code.relocations[0].kind = RelocationKind::Call(FunctionIndex(0));
    assert_eq!(problem(&to_call), "is not at a call");
}

#[test]
fn load_tables() {
    let object = objects::tracepoint();
    let linked = [link(&object, &object.programs[0]).expect("links")];
    let info = load_info(&object, &linked).expect("fits BTF");
    let btf = Btf::parse(&info.btf).expect("is BTF");
    let name = |id| btf.get(id).map(|ty| (ty.kind, ty.name().to_owned(), ty.linkage())).expect("is there");
    let functions: Vec<_> = info.programs[0].func_info.chunks_exact(8).map(FuncInfo::read).collect();
    assert_eq!(functions.iter().map(|f| f.insn_off).collect::<Vec<_>>(), [0, 28, 36]);
    assert_eq!(name(functions[0].func), (Kind::Func, "sys_enter".to_owned(), Some(1)));
    assert_eq!(name(functions[1].func), (Kind::Func, "each_read".to_owned(), Some(0)));
    assert_eq!(btf.get(functions[1].func).expect("is there").params().len(), 4);
    let lines: Vec<_> = info.programs[0].line_info.chunks_exact(16).map(LineInfo::read).collect();
    let shown: Vec<_> = lines
        .iter()
        .map(|l| (l.insn_off, l.line, l.column, btf.string(l.file_name_off).unwrap(), btf.string(l.line_off).unwrap()))
        .collect();
    assert_eq!(
        shown,
        [
            (0, 2, 5, "reads.bt", "    @reads[tid] = count();"),
            (3, 2, 19, "reads.bt", "    @reads[tid] = count();"),
            (11, 3, 5, "reads.bt", "    for ($kv : @reads) { $n += twice($kv.1) }"),
            // A function's first line stands at its start, a function without lines under its name.
            (28, 3, 26, "reads.bt", "    for ($kv : @reads) { $n += twice($kv.1) }"),
            (36, 0, 0, "", "twice"),
        ]
    );
}

#[test]
fn lines_that_the_kernel_would_refuse_are_left_out() {
    let mut object = objects::tracepoint();
    let lines = &mut object.programs[0].code.lines;
    // In the second half of a wide instruction, out of order, outside, in no source.
    let at = lines[0].at;
    let nowhere = object::SourceSpan { source: 7, ..at };
    *lines = [(4, at), (5, at), (0, at), (900, at), (1, nowhere)].map(|(insn, at)| object::Line { insn, at }).to_vec();
    object.functions.iter_mut().for_each(|function| function.lines.clear());
    let linked = [link(&object, &object.programs[0]).expect("links")];
    let info = load_info(&object, &linked).expect("fits BTF");
    let offsets: Vec<_> =
        info.programs[0].line_info.chunks_exact(16).map(|bytes| LineInfo::read(bytes).insn_off).collect();
    assert_eq!(offsets, [0, 28, 36]);
}

#[test]
fn no_lines_no_line_info() {
    let mut object = objects::tracepoint();
    object.programs[0].code.lines.clear();
    object.functions.iter_mut().for_each(|function| function.lines.clear());
    let linked = [link(&object, &object.programs[0]).expect("links")];
    assert!(load_info(&object, &linked).expect("fits BTF").programs[0].line_info.is_empty());
}
