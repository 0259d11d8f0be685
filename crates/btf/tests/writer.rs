//! What the writer writes, the reader and bpftool read.

use std::process::Command;

use btf::ext::{CoreRelocation, CoreRelocationKind, Ext, FuncInfo, LineInfo, SectionRecords};
use btf::{Btf, Builder, FuncLinkage, IntEncoding, Kind, NewMember, TypeId, VarLinkage};

/// One type of each kind. The pointer in the struct refers forward.
fn all_kinds() -> Vec<u8> {
    let mut b = Builder::new();
    let int = b.int("int", 4, IntEncoding::Signed);
    let byte = b.int("unsigned char", 1, IntEncoding::Unsigned);
    b.int("bool", 1, IntEncoding::Bool);
    b.float("double", 8);
    let node = TypeId(b.next_id().0 + 1);
    let next = b.ptr(node);
    let member = |name, ty, bit_offset, bit_size| NewMember { name, ty, bit_offset, bit_size };
    b.structure(
        "node",
        16,
        &[member("next", next, 0, 0), member("low", int, 64, 3), member("high", int, 67, 29), member("c", byte, 96, 0)],
    );
    b.union("either", 8, &[member("i", int, 0, 0), member("n", next, 0, 0)]);
    let buffer = b.array(byte, int, 16);
    b.enumeration("color", 4, true, &[("RED", -1), ("GREEN", 1)]);
    b.enumeration64("wide", false, &[("BIG", i64::MIN), ("SMALL", 1)]);
    b.forward("later", true);
    let qualified = b.constant(buffer);
    let qualified = b.volatile(qualified);
    b.restrict(next);
    b.typedef("buffer_t", qualified);
    let proto = b.func_proto(int, &[("ctx", next), ("", TypeId::VOID)]);
    let func = b.func("run", proto, FuncLinkage::Global);
    let var = b.var("counter", int, VarLinkage::Global);
    b.datasec(".data", 4, &[(var, 0, 4)]);
    b.decl_tag("hot", func, Some(0));
    b.type_tag("rcu", node);
    b.finish().expect("fits the format")
}

#[test]
fn reader_reads_every_kind() {
    let bytes = all_kinds();
    let btf = Btf::parse(&bytes).expect("parses");
    let kinds: Vec<Kind> = btf.own_types().map(|t| t.kind).collect();
    use Kind::*;
    assert_eq!(
        kinds,
        [
            Int, Int, Int, Float, Ptr, Struct, Union, Array, Enum, Enum64, Fwd, Const, Volatile, Restrict, Typedef,
            FuncProto, Func, Var, Datasec, DeclTag, TypeTag
        ]
    );
    let node = btf.find("node", Struct).expect("is there");
    let members: Vec<_> = node.members().map(|m| (m.name, m.bit_offset, m.bit_size)).collect();
    assert_eq!(members, [("next", 0, 0), ("low", 64, 3), ("high", 67, 29), ("c", 96, 0)]);
    assert_eq!(btf.get(TypeId(5)).expect("the pointer").target(), Some(node.id));
    let wide: Vec<_> = btf.find("wide", Enum64).expect("is there").enumerators().map(|e| e.value).collect();
    assert_eq!(wide, [1 << 63, 1]);
    assert_eq!(btf.size_of(btf.find("buffer_t", Typedef).expect("is there").id), Ok(16));
    assert_eq!(btf.find("run", Func).expect("is there").linkage(), Some(1));
}

#[test]
fn bpftool_reads_it() {
    let path = std::env::temp_dir().join(format!("skep-btf-writer-{}.btf", std::process::id()));
    std::fs::write(&path, all_kinds()).expect("temporary directory is writable");
    let output = Command::new("bpftool").args(["btf", "dump", "file"]).arg(&path).output();
    let _ = std::fs::remove_file(&path);
    let Ok(output) = output else {
        println!("skipped: bpftool is not installed");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for line in [
        "[1] INT 'int' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED",
        "'low' type_id=1 bits_offset=64 bitfield_size=3",
        "[17] FUNC 'run' type_id=16 linkage=global",
        "[18] VAR 'counter' type_id=1, linkage=global",
        "type_id=18 offset=0 size=4",
    ] {
        assert!(text.contains(line), "no `{line}` in:\n{text}");
    }
}

#[test]
fn equal_strings_share_an_offset() {
    let mut b = Builder::new();
    let first = b.string("line");
    assert_eq!((b.string("other") != first, b.string("line"), b.string("")), (true, first, 0));
    assert_eq!(b.string("line\0cut"), first);
}

#[test]
fn too_many_members_are_an_error() {
    let mut b = Builder::new();
    let member = NewMember { name: "m", ty: TypeId::VOID, bit_offset: 0, bit_size: 0 };
    b.structure("huge", 0, &vec![member; 70_000]);
    assert!(b.finish().is_err());
}

fn ext() -> Ext {
    let line = |insn_off, line| LineInfo { insn_off, file_name_off: 3, line_off: 9, line, column: 7 };
    Ext {
        functions: vec![SectionRecords { name_off: 1, records: vec![FuncInfo { insn_off: 0, func: TypeId(4) }] }],
        lines: vec![
            SectionRecords { name_off: 1, records: vec![line(0, 1), line(16, 4_000_000)] },
            SectionRecords { name_off: 2, records: vec![line(8, 3)] },
        ],
        core_relocations: vec![SectionRecords {
            name_off: 1,
            records: vec![CoreRelocation {
                insn_off: 8,
                root: TypeId(2),
                access_off: 5,
                kind: CoreRelocationKind::FieldByteOffset as u32,
            }],
        }],
    }
}

#[test]
fn ext_both_ways() {
    assert_eq!(Ext::parse(&ext().to_bytes()), Ok(ext()));
    assert_eq!(Ext::parse(&Ext::default().to_bytes()), Ok(Ext::default()));
}

#[test]
fn damaged_ext_is_an_error_or_something_else() {
    let bytes = ext().to_bytes();
    for length in 0..bytes.len() {
        assert!(Ext::parse(&bytes[..length]).is_err(), "{length} bytes");
    }
    for at in 0..bytes.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            let _ = Ext::parse(&damaged);
        }
    }
}
