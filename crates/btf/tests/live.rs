//! The running kernel's BTF, read by us and by bpftool.

use std::collections::HashMap;
use std::process::Command;

use btf::{Btf, Kind, TypeId};

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

fn vmlinux() -> Option<Vec<u8>> {
    std::fs::read(VMLINUX).map_err(|why| println!("skipped: {VMLINUX}: {why}")).ok()
}

#[test]
fn every_type_is_as_bpftool_prints_it() {
    let Some(bytes) = vmlinux() else { return };
    let output = match Command::new("bpftool").args(["btf", "dump", "file", VMLINUX]).output() {
        Ok(output) if output.status.success() => output.stdout,
        _ => return println!("skipped: no bpftool"),
    };
    let text = String::from_utf8(output).expect("bpftool prints UTF-8");
    let btf = Btf::parse(&bytes).expect("the kernel's BTF is sound");
    let mut seen = 0;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((id, rest)) = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) else { continue };
        let id = TypeId(id.parse().expect("a number"));
        let ty = btf.get(id).expect("bpftool has this type");
        seen += 1;
        let (kind, rest) = rest.split_once(' ').expect("a kind");
        assert_eq!(kind.replace('_', "").to_lowercase(), format!("{:?}", ty.kind).to_lowercase(), "{line}");
        let name = rest.split('\'').nth(1).expect("a name in quotes");
        assert_eq!(if name == "(anon)" { "" } else { name }, ty.name(), "{line}");
        let attributes: HashMap<&str, &str> = rest.split(' ').filter_map(|word| word.split_once('=')).collect();
        if ty.is_composite() {
            assert_eq!(attributes["size"], ty.stored_size().expect("composites have one").to_string(), "{line}");
            for member in ty.members() {
                let line = lines.next().expect("a line a member");
                let mut want = format!(
                    "\t'{}' type_id={} bits_offset={}",
                    if member.name.is_empty() { "(anon)" } else { member.name },
                    member.ty,
                    member.bit_offset
                );
                if member.bit_size != 0 {
                    want += &format!(" bitfield_size={}", member.bit_size);
                }
                assert_eq!(line, want);
            }
        }
        if matches!(ty.kind, Kind::Enum | Kind::Enum64) {
            for enumerator in ty.enumerators() {
                let line = lines.next().expect("a line an enumerator").trim_end_matches("ULL").trim_end_matches("LL");
                assert_eq!(line, format!("\t'{}' val={}", enumerator.name, enumerator.value));
            }
        }
        if ty.kind == Kind::FuncProto {
            for param in ty.params() {
                let line = lines.next().expect("a line a parameter");
                assert_eq!(
                    line,
                    format!("\t'{}' type_id={}", if param.name.is_empty() { "(anon)" } else { param.name }, param.ty)
                );
            }
        }
    }
    assert_eq!(seen + 1, btf.end_id(), "types that bpftool printed");
}

#[test]
fn names_that_everyone_needs_are_found() {
    let Some(bytes) = vmlinux() else { return };
    let btf = Btf::parse(&bytes).expect("the kernel's BTF is sound");
    let task = btf.find_c("struct task_struct").expect("every kernel has it");
    assert_eq!(task.kind, Kind::Struct);
    assert_eq!(btf.find("task_struct", Kind::Struct).map(|ty| ty.id), Some(task.id));
    let comm = btf.member(task.id, "comm").expect("a task has a name");
    assert_eq!(btf.declaration(comm.ty, "comm"), "char comm[16]");
    assert_eq!(btf.size_of(comm.ty), Ok(16));
    let third = btf.member_path(task.id, "comm[3]").expect("an element");
    assert_eq!(third.offset(), comm.offset() + 3);
    assert!(btf.member_path(task.id, "comm[16]").is_err());
    let file = btf.find_c("file").expect("struct file");
    btf.member_path(file.id, "f_path.dentry").expect("a path within");
    for (text, size) in
        [("unsigned long", 8), ("int", 4), ("long long unsigned", 8), ("size_t", 8), ("u32", 4), ("char", 1)]
    {
        let ty = btf.find_c(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(btf.size_of(ty.id), Ok(size), "{text}");
    }
    assert_eq!(btf.find_enumerator("PIDTYPE_TGID").map(|(ty, value)| (ty.name(), value)), Some(("pid_type", 1)));
    let read = btf.find("vfs_read", Kind::Func).expect("a function");
    assert_eq!(
        btf.type_name(read.target().expect("its prototype")),
        "ssize_t (struct file *, char *, size_t, loff_t *)"
    );
    assert!(btf.find("vfs_read", Kind::Struct).is_none());
    assert!(btf.find("no_such_name_at_all", Kind::Struct).is_none());
    assert!(btf.find("", Kind::Struct).is_none());
}

#[test]
fn names_are_found_as_a_scan_of_all_types_finds_them() {
    let Some(bytes) = vmlinux() else { return };
    let btf = Btf::parse(&bytes).expect("the kernel's BTF is sound");
    let mut first: HashMap<(&str, Kind), TypeId> = HashMap::new();
    for ty in btf.own_types().filter(|ty| !ty.name().is_empty()) {
        first.entry((ty.name(), ty.kind)).or_insert(ty.id);
    }
    for (&(name, kind), &id) in first.iter().step_by(997) {
        assert_eq!(btf.find(name, kind).map(|ty| ty.id), Some(id), "{kind:?} {name}");
    }
}

#[test]
fn raw_tracepoints_of_one_walk_are_those_found_by_name() {
    let Some(bytes) = vmlinux() else { return };
    let btf = Btf::parse(&bytes).expect("the kernel's BTF is sound");
    let found = btf.raw_tracepoints_in_full(|name| name.starts_with("sched_"));
    assert!(found.len() > 10);
    for (name, tracepoint) in found {
        let named = btf.raw_tracepoint(name).expect("it is there");
        assert_eq!(named.typedef.id, tracepoint.typedef.id);
        let names = |params: &[btf::Param<'_>]| params.iter().map(|p| p.name.to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&named.params), names(&tracepoint.params), "{name}");
    }
}
