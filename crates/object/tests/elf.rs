//! Objects as ELF files: what we write, we and the field's tools read.

mod objects;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use isa::uapi::map_type;
use object::{Error, Map, Object, RelocationKind, link, read_elf, write_elf};

/// A file in the temporary directory that goes away.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn new(name: &str, data: &[u8]) -> TemporaryFile {
        let path = std::env::temp_dir().join(format!("skep-object-{}-{name}", std::process::id()));
        std::fs::write(&path, data).expect("temporary directory is writable");
        TemporaryFile(path)
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Runs a tool; `None` if it is not installed.
fn tool(command: &mut Command) -> Option<String> {
    let Ok(Output { status, stdout, stderr }) = command.output() else {
        println!("skipped: {} is not installed", command.get_program().display());
        return None;
    };
    let (out, err) = (String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {out}{err}");
    Some(out)
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:\t0\t"))
}

/// Everything but what an ELF file does not keep: names of maps as they were,
/// flags of data sections, the empty lines of sources.
fn comparable(mut object: Object) -> Object {
    for map in &mut object.maps {
        map.name = map.name.replace('@', "AT_");
        map.initial.resize(if map.initial.is_empty() { 0 } else { map.value_size as usize }, 0);
    }
    object.sources.clear();
    for code in object.programs.iter_mut().map(|p| &mut p.code).chain(&mut object.functions) {
        code.lines.clear();
        // A program's context does not count as a parameter of the language.
        code.relocations.sort_by_key(|relocation| relocation.insn);
        code.insns.iter_mut().filter(|insn| insn.code == isa::CALL && insn.src().0 == 1).for_each(|insn| insn.imm = 0);
    }
    object
}

#[test]
fn we_read_what_we_write() {
    let object = objects::tracepoint();
    let bytes = write_elf(&object).expect("writes");
    let read = read_elf(&bytes).expect("reads");
    let (expected, found) = (comparable(object.clone()), comparable(read.clone()));
    assert_eq!(format!("{found:#?}"), format!("{expected:#?}"));
    // Lines say the same, though the text between them is gone.
    let shown = |object: &Object| {
        let linked = link(object, &object.programs[0]).expect("links");
        object::load_info(object, &[linked]).expect("fits BTF").programs[0].line_info.len()
    };
    assert_eq!(shown(&read), shown(&object));
    assert_eq!(read.sources[0].text, "\n    @reads[tid] = count();\n    for ($kv : @reads) { $n += twice($kv.1) }\n");
    assert_eq!(read.programs[0].code.lines[1].at.start, 19);
    // The same object gives the same bytes.
    assert_eq!(write_elf(&object), Ok(bytes.clone()));
    let again = read_elf(&write_elf(&read).expect("writes again")).expect("reads again");
    assert_eq!(format!("{again:?}"), format!("{read:?}"));
}

#[test]
fn bpftool_loads_it_and_the_kernel_knows_its_lines() {
    let file = TemporaryFile::new("load.o", &write_elf(&objects::tracepoint()).expect("writes"));
    load(&file.0, &["twice", "each_read", "reads[tid] = count();"], &["name AT_reads", "name .data.counters"]);
}

/// Loads an object with bpftool, in a mount namespace of its own, and looks for
/// texts in what the kernel then has of the program and its maps.
fn load(object: &Path, in_program: &[&str], in_maps: &[&str]) {
    if !is_root() {
        println!("skipped: loading programs needs root");
        return;
    }
    let script = "\
        mount -t tmpfs none /sys/fs/bpf 2>/dev/null || mount -t tmpfs none /mnt || exit 77
        D=/sys/fs/bpf; mountpoint -q $D || D=/mnt
        mount -t bpf none $D || exit 77
        bpftool prog load \"$1\" $D/program pinmaps $D/maps || exit 1
        bpftool prog dump xlated pinned $D/program linum && echo ==== && for M in $D/maps/*; do bpftool map show pinned $M; done";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(object);
    let Ok(output) = command.output() else {
        println!("skipped: unshare is not installed");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) || errors.contains("bpftool: not found") {
        println!("skipped: no private bpf file system or no bpftool: {errors}");
        return;
    }
    assert!(output.status.success(), "{text}{errors}");
    let (program, maps) = text.split_once("====").expect("both parts are printed");
    for piece in in_program {
        assert!(program.contains(piece), "no `{piece}` in:\n{program}");
    }
    for piece in in_maps {
        assert!(maps.contains(piece), "no `{piece}` in:\n{maps}");
    }
}

#[test]
fn several_programs_share_a_section_and_a_name() {
    let mut object = objects::tracepoint();
    object.programs.push(object.programs[0].clone());
    let read = read_elf(&write_elf(&object).expect("writes")).expect("reads");
    let programs: Vec<_> = read.programs.iter().map(|p| (p.code.name.as_str(), p.section.as_str())).collect();
    let section = "tracepoint/raw_syscalls/sys_enter";
    assert_eq!(programs, [("sys_enter", section), ("sys_enter_2", section)]);
    assert_eq!(read.programs[0].code.relocations, read.programs[1].code.relocations);
}

#[test]
fn map_names_are_unique_identifiers() {
    let mut object = objects::tracepoint();
    for name in ["@", "@reads", "AT_reads", "2 x"] {
        object.maps.push(Map { name: name.to_owned(), ..object.maps[0].clone() });
    }
    let read = read_elf(&write_elf(&object).expect("writes")).expect("reads");
    let mut names: Vec<_> = read.maps.iter().map(|map| map.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["AT_", "AT_reads", "AT_reads_2", "AT_reads_3", "_2_x", "counters"]);
}

#[test]
fn what_an_object_file_cannot_say_is_an_error() {
    let mut object = objects::tracepoint();
    object.maps[0].initial = vec![1];
    assert!(matches!(write_elf(&object), Err(Error::Map { .. })));
    let mut object = objects::tracepoint();
    let relocations = &mut object.programs[0].code.relocations;
    let RelocationKind::MapValue { map, .. } = relocations.iter().map(|r| r.kind).nth(3).expect("is there") else {
        panic!("{relocations:?}")
    };
    relocations[0].kind = RelocationKind::Map(map);
    assert!(matches!(write_elf(&object), Err(Error::Map { .. })));
    let mut object = objects::tracepoint();
    object.programs[0].section.clear();
    assert!(matches!(write_elf(&object), Err(Error::Unsupported { .. })));
}

#[test]
fn objdump_shows_the_instructions() {
    let object = objects::tracepoint();
    let file = TemporaryFile::new("objdump.o", &write_elf(&object).expect("writes"));
    let Some(text) = tool(Command::new("llvm-objdump").args(["-d", "-r", "--no-show-raw-insn"]).arg(&file.0)) else {
        return;
    };
    for piece in [
        "file format elf64-bpf",
        "R_BPF_64_64\tAT_reads",
        "R_BPF_64_64\t.text",
        "R_BPF_64_32\t.text",
        "<each_read>:",
        "<sys_enter>:",
    ] {
        assert!(text.contains(piece), "no `{piece}` in:\n{text}");
    }
    // The assembler reads LLVM's text: the same instructions come back. LLVM 14
    // does not know stores of immediates.
    let theirs: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.ends_with("<sys_enter>:"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(":\t").filter(|(slot, _)| slot.trim().parse::<u32>().is_ok()))
        .map(|(_, insn)| if insn.starts_with('<') { ".quad 0" } else { insn })
        .collect();
    let theirs = isa::assemble(&theirs.join("\n")).unwrap_or_else(|e| panic!("{e}\n{theirs:#?}"));
    let ours = &object.programs[0].code;
    assert_eq!(theirs.len(), ours.insns.len(), "{text}");
    for (slot, (their, our)) in theirs.iter().zip(&ours.insns).enumerate() {
        let relocated = ours.relocations.iter().any(|relocation| relocation.insn as usize == slot);
        assert!(relocated || their == our || *their == isa::Insn::default(), "slot {slot}: {their:?} {our:?}\n{text}");
    }
}

#[test]
fn bpftool_shows_the_types() {
    let file = TemporaryFile::new("types.o", &write_elf(&objects::tracepoint()).expect("writes"));
    let Some(text) = tool(Command::new("bpftool").args(["btf", "dump", "file"]).arg(&file.0)) else { return };
    for piece in [
        "FUNC 'sys_enter' type_id=",
        "linkage=global",
        "FUNC 'each_read' type_id=",
        "linkage=static",
        "VAR 'AT_reads'",
        "DATASEC '.maps' size=32 vlen=1",
        "DATASEC '.data.counters' size=16 vlen=1",
        "'max_entries' type_id=",
    ] {
        assert!(text.contains(piece), "no `{piece}` in:\n{text}");
    }
}

#[test]
fn clang_objects() {
    for source in ["count.c", "callbacks.c", "maps.c"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(source);
        let output = TemporaryFile::new(&format!("{source}.o"), &[]);
        let mut clang = Command::new("clang");
        clang.args(["-target", "bpf", "-O2", "-g", "-c"]).arg(&path).arg("-o").arg(&output.0);
        if tool(&mut clang).is_none() {
            return;
        }
        let bytes = std::fs::read(&output.0).expect("clang wrote it");
        let object = read_elf(&bytes).unwrap_or_else(|e| panic!("{source}: {e}"));
        for program in &object.programs {
            let linked = link(&object, program).unwrap_or_else(|e| panic!("{source}: {e}"));
            object::load_info(&object, &[linked]).unwrap_or_else(|e| panic!("{source}: {e}"));
        }
        let expected = std::fs::read_to_string(path.with_extension("txt")).expect("has its expectation");
        let mut found = String::new();
        for map in &object.maps {
            let Map { name, map_type, key_size, value_size, max_entries, initial, .. } = map;
            found += &format!("map {name} {map_type} {key_size} {value_size} {max_entries} {initial:?}\n");
        }
        for program in &object.programs {
            let lines = &program.code.lines;
            found += &format!("program {} {} lines {}\n", program.section, program.code.name, !lines.is_empty());
            for relocation in &program.code.relocations {
                found += &format!("  {:?}\n", relocation.kind);
            }
        }
        for function in &object.functions {
            found += &format!("function {} {}\n", function.name, function.params);
            for relocation in &function.relocations {
                found += &format!("  {:?}\n", relocation.kind);
            }
        }
        assert_eq!(found, expected, "{source}");
        // What we make of clang's object, libbpf loads as well.
        let rewritten = TemporaryFile::new(&format!("{source}.again.o"), &write_elf(&object).expect("writes"));
        load(&rewritten.0, &[], &[]);
    }
}

#[test]
fn damaged_files_are_errors() {
    let bytes = write_elf(&objects::tracepoint()).expect("writes");
    for length in (0..bytes.len()).step_by(7) {
        let _ = read_elf(&bytes[..length]);
    }
    assert!(read_elf(&[]).is_err());
    assert!(read_elf(&bytes[..bytes.len() / 2]).is_err());
    for at in 0..bytes.len() {
        for value in [0, 0x7f, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            if let Ok(object) = read_elf(&damaged) {
                for program in &object.programs {
                    if let Ok(linked) = link(&object, program) {
                        let _ = object::load_info(&object, &[linked]);
                    }
                }
                let _ = object::listing(&object);
                let _ = write_elf(&object);
            }
        }
    }
}

#[test]
fn listing_names_what_is_referred_to() {
    let text = object::listing(&objects::tracepoint());
    for piece in [
        "map @reads: type 1, key 8 bytes, value 8 bytes, 1024 entries, flags 0x0\n",
        "program sys_enter (section tracepoint/raw_syscalls/sys_enter):\n; reads.bt:2: @reads[tid] = count();\n",
        "; map @reads\n",
        "; value of counters + 8\n",
        "; address of each_read\n",
        "; function twice\n",
        "\nfunction each_read (4 parameters):\n",
    ] {
        assert!(text.contains(piece), "no `{piece}` in:\n{text}");
    }
}

#[test]
fn libbpf_takes_every_kind_of_map_that_tracing_uses() {
    let mut object = objects::tracepoint();
    let kinds = [
        ("percpu_hash", map_type::PERCPU_HASH, 16, 8, 4096),
        ("percpu_array", map_type::PERCPU_ARRAY, 4, 24, 8),
        ("lru", map_type::LRU_HASH, 8, 8, 64),
        ("stacks", map_type::STACK_TRACE, 4, 127 * 8, 1024),
        ("ring", map_type::RINGBUF, 0, 0, 65_536),
        ("perf", map_type::PERF_EVENT_ARRAY, 4, 4, 0),
    ];
    for (name, map_type, key_size, value_size, max_entries) in kinds {
        let name = name.to_owned();
        object.maps.push(Map { name, map_type, key_size, value_size, max_entries, ..Map::default() });
    }
    let file = TemporaryFile::new("maps.o", &write_elf(&object).expect("writes"));
    load(
        &file.0,
        &[],
        &[
            "percpu_hash  name percpu_hash",
            "percpu_array  name percpu_array",
            "lru_hash  name lru",
            "stack_trace  name stacks",
            "ringbuf  name ring",
            "perf_event_array  name perf",
        ],
    );
}
