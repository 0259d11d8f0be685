//! The reader on captured BTF, on BTF put together here, and on damaged BTF.

use btf::{Btf, Error, Kind, TypeId};

/// Built from `shapes.c`; how stands there.
const SHAPES: &[u8] = include_bytes!("data/shapes.btf");

fn shapes() -> Btf<'static> {
    Btf::parse(SHAPES).expect("clang writes sound BTF")
}

/// BTF of types and strings as they are given.
fn assemble(types: &[u32], strings: &[u8]) -> Vec<u8> {
    let words = [24, 0, types.len() as u32 * 4, types.len() as u32 * 4, strings.len() as u32];
    let mut bytes = vec![0x9f, 0xeb, 1, 0];
    bytes.extend(words.iter().chain(types).flat_map(|word| word.to_ne_bytes()));
    bytes.extend_from_slice(strings);
    bytes
}

fn info(kind: Kind, vlen: u32) -> u32 {
    (kind as u32) << 24 | vlen
}

#[test]
fn types_as_c_text() {
    let btf = shapes();
    let shape = btf.find_c("struct shape").expect("it is there");
    let declarations: Vec<String> = btf
        .struct_layout(shape.id)
        .expect("sound")
        .iter()
        .map(|field| {
            let bits = field.bit_size.map(|bits| format!(":{bits}")).unwrap_or_default();
            format!("{} {}{bits}", field.bit_offset, btf.declaration(field.ty, &field.name))
        })
        .collect();
    assert_eq!(
        declarations,
        [
            "0 u32 id",
            "64 struct point corner",
            "128 long area",
            "128 double exact",
            "192 unsigned int visible:1",
            "193 unsigned int layer:5",
            "224 enum color color",
            "256 enum wide wide",
            "320 const char *const name",
            "384 volatile int *restrict counter",
            "448 char label[16]",
            "576 struct point corners[4][2]",
            "1088 callback_t call",
            "1152 int (*table[3])(struct point, struct hidden *)",
            "1344 char *buffer",
            "1408 struct shape *next",
        ]
    );
    let callback = btf.find_c("callback_t").expect("it is there");
    assert_eq!(btf.type_name(callback.target().expect("typedefs have one")), "int (*)(void *, const char *, ...)");
    let measure = btf.find("measure", Kind::Func).expect("it is there");
    assert_eq!(btf.declaration(measure.id, "measure"), "int measure(struct shape *, u32)");
    let params: Vec<_> = measure.params().map(|param| btf.declaration(param.ty, param.name)).collect();
    assert_eq!(params, ["struct shape *shape", "u32 scale"]);
    assert_eq!(btf.type_name(TypeId::VOID), "void");
    assert_eq!(btf.type_name(TypeId(9999)), "...");
}

#[test]
fn members_and_sizes() {
    let btf = shapes();
    let shape = btf.find("shape", Kind::Struct).expect("it is there").id;
    let at = |path| btf.member_path(shape, path).map(|field| (field.bit_offset, btf.type_name(field.ty)));
    assert_eq!(at("corner.y"), Ok((96, "int".into())));
    assert_eq!(at("exact"), Ok((128, "double".into())));
    assert_eq!(at("corners[1][1].x"), Ok((576 + 3 * 64, "int".into())));
    assert_eq!(at("label[15]"), Ok((448 + 120, "char".into())));
    assert!(matches!(at("label[16]"), Err(Error::BadIndex { index: 16, .. })));
    assert!(matches!(at("nothing"), Err(Error::NoMember { .. })));
    assert!(matches!(at("next.id"), Err(Error::NotComposite(_))), "pointers are not followed");
    for path in ["", ".", "id.", "label[", "label[x]", "label[1", "label[1]x", "id[0]", "[0]", "label[-1]"] {
        assert!(at(path).is_err(), "{path:?}");
    }
    assert_eq!(btf.size_of(shape), Ok(184));
    let size = |name: &str| btf.member(shape, name).and_then(|field| btf.size_of(field.ty));
    assert_eq!((size("corners"), size("call"), size("label"), size("name")), (Ok(64), Ok(8), Ok(16), Ok(8)));
    assert!(btf.size_of(TypeId::VOID).is_err());
    let buffer = btf.member(shape, "buffer").expect("it is there");
    let pointee = btf.get(buffer.ty).map(|pointer| pointer.target().expect("pointers have one")).expect("sound");
    assert_eq!(btf.has_type_tag(pointee, "user"), Ok(true));
    assert_eq!(btf.has_type_tag(pointee, "percpu"), Ok(false));
    assert_eq!(btf.resolve(pointee).map(|ty| ty.name()), Ok("char"));
}

#[test]
fn the_other_kinds() {
    let btf = shapes();
    let data = btf.find(".data", Kind::Datasec).expect("it is there");
    let variables: Vec<_> =
        data.variables().map(|v| (btf.get(v.var).expect("sound").name(), v.offset, v.size)).collect();
    assert_eq!(variables, [("first_shape", 0, 184)]);
    assert_eq!(btf.find("first_shape", Kind::Var).and_then(|var| var.linkage()), Some(1));
    assert_eq!(btf.find("touched", Kind::Var).and_then(|var| var.linkage()), Some(0));
    let mark = btf.find("mark", Kind::DeclTag).expect("it is there");
    assert_eq!(mark.tag_component(), Some(13));
    let color = btf.find_c("enum color").expect("it is there");
    let values: Vec<_> = color.enumerators().map(|e| (e.name, e.value)).collect();
    assert_eq!(values, [("RED", 0), ("GREEN", 5), ("BLUE", 0xffff_ffff)]);
    assert_eq!(btf.find_enumerator("GREEN").map(|(ty, value)| (ty.id, value)), Some((color.id, 5)));
    assert!(["REEN", "color", "GREE", "", "shape"].iter().all(|name| btf.find_enumerator(name).is_none()));
    assert_eq!(
        btf.find("int", Kind::Int).and_then(|int| int.int()).map(|int| (int.signed, int.bits)),
        Some((true, 32))
    );
    assert_eq!(btf.find_all("shape").iter().map(|ty| ty.kind).collect::<Vec<_>>(), [Kind::Struct]);
}

#[test]
fn names_that_are_tails_and_names_that_occur_twice() {
    // One string, "barfoo": typedef 1 is called by all of it, 2 by its tail; 3 has a second "foo".
    let types = [
        [1, info(Kind::Typedef, 0), 0],
        [4, info(Kind::Typedef, 0), 0],
        [8, info(Kind::Struct, 0), 4],
        [8, info(Kind::Struct, 0), 8],
        [4, info(Kind::Union, 0), 4],
    ];
    let bytes = assemble(types.as_flattened(), b"\0barfoo\0foo\0");
    let btf = Btf::parse(&bytes).expect("sound");
    let find = |name, kind| btf.find(name, kind).map(|ty| ty.id.0);
    assert_eq!(find("barfoo", Kind::Typedef), Some(1));
    assert_eq!(find("foo", Kind::Typedef), Some(2), "a tail");
    assert_eq!(find("foo", Kind::Struct), Some(3), "the first of two");
    assert_eq!(find("foo", Kind::Union), Some(5), "a tail, though the name stands by itself too");
    assert_eq!(find("oo", Kind::Struct), None);
    assert_eq!(find("arfoo", Kind::Typedef), None);
    assert_eq!(btf.find_all("foo").iter().map(|ty| ty.id.0).collect::<Vec<_>>(), [2, 3, 4, 5]);
}

#[test]
fn split_btf_continues_its_base() {
    let base_bytes = assemble(&[1, info(Kind::Int, 0), 4, 32, 5, info(Kind::Struct, 0), 4], b"\0u32\0item\0");
    let base = Btf::parse(&base_bytes).expect("sound");
    // Strings from 10 on and types from 3 on are the module's: another `item`, and `thing { u32 count }`.
    let types = [5, info(Kind::Struct, 0), 16, 11, info(Kind::Struct, 1), 4, 17, 1, 0];
    let bytes = assemble(&types, b"\0thing\0count\0");
    let module = Btf::parse_split(&bytes, &base).expect("sound");
    assert_eq!((module.first_own_id(), module.end_id()), (TypeId(3), 5));
    let thing = module.find_c("struct thing").expect("it is there");
    assert_eq!(thing.id, TypeId(4));
    assert_eq!(module.member(thing.id, "count").map(|field| module.type_name(field.ty)), Ok("u32".into()));
    assert_eq!(module.find("item", Kind::Struct).map(|ty| ty.id.0), Some(2), "the base's comes first");
    assert_eq!(module.find_own("item", Kind::Struct).map(|ty| ty.id.0), Some(3));
    assert_eq!(module.find_all("item").len(), 2);
    assert!(base.find("thing", Kind::Struct).is_none());
    assert_eq!(module.types().count(), 4);
    assert_eq!(module.own_types().count(), 2);
    assert!(module.get(TypeId(5)).is_err());
}

#[test]
fn kinds_of_newer_kernels_are_passed_over() {
    // A header with a layout section that describes kinds up to 21: 8 bytes and 4 an element.
    let types: Vec<u32> =
        [[1, info(Kind::Int, 0), 4, 32].as_slice(), &[0, 21 << 24 | 1, 0, 7, 7, 7], &[5, info(Kind::Struct, 0), 4]]
            .concat();
    let layouts: Vec<[u8; 4]> = (0..22).map(|kind| if kind == 21 { [8, 4, 0, 0] } else { [99, 99, 0, 0] }).collect();
    let strings = b"\0u32\0item\0";
    let types_len = types.len() as u32 * 4;
    let layout_len = layouts.len() as u32 * 4;
    let header = [32, 0, types_len, types_len + layout_len, strings.len() as u32, types_len, layout_len];
    let mut bytes = vec![0x9f, 0xeb, 1, 0];
    bytes.extend(header.iter().chain(&types).flat_map(|word| word.to_ne_bytes()));
    bytes.extend_from_slice(layouts.as_flattened());
    bytes.extend_from_slice(strings);
    let btf = Btf::parse(&bytes).expect("the layout section tells its length");
    assert!(matches!(btf.get(TypeId(2)), Err(Error::UnknownKind { kind: 21, .. })));
    assert_eq!(btf.find("item", Kind::Struct).map(|ty| ty.id.0), Some(3));
    assert_eq!(btf.own_types().count(), 2);
    bytes[4] = 24;
    assert!(Btf::parse(&bytes).is_err(), "without it the kind is unknown");
}

#[test]
fn cycles_end() {
    // const 1 → 1; typedef 2 ↔ 3; array 4 of itself; struct 5 with an anonymous member of type 5; proto 6 taking itself.
    let types = [
        [0, info(Kind::Const, 0), 1].as_slice(),
        &[1, info(Kind::Typedef, 0), 3],
        &[1, info(Kind::Typedef, 0), 2],
        &[0, info(Kind::Array, 0), 0, 4, 4, 2],
        &[0, info(Kind::Struct, 2), 8, 0, 5, 0, 0, 5, 0],
        &[0, info(Kind::FuncProto, 2), 6, 0, 6, 0, 6],
        &[0, info(Kind::Ptr, 0), 7],
    ]
    .concat();
    let bytes = assemble(&types, b"\0t\0");
    let btf = Btf::parse(&bytes).expect("sound as far as a walk sees");
    for id in 1..=7 {
        let id = TypeId(id);
        let _ = (btf.resolve(id), btf.has_type_tag(id, "user"), btf.struct_layout(id), btf.member_path(id, "a.b[1]"));
        assert!(btf.type_name(id).len() < 100_000, "[{id}]");
    }
    assert_eq!(btf.resolve(TypeId(1)).map(|ty| ty.id), Err(Error::Cycle(TypeId(1))));
    assert!(btf.size_of(TypeId(4)).is_err());
    assert!(btf.member(TypeId(5), "x").is_err());
}

/// Asks everything of whatever opens.
fn ask(bytes: &[u8]) {
    let Ok(btf) = Btf::parse(bytes) else { return };
    for ty in btf.types() {
        let _ = (ty.name(), ty.checked_name(), btf.size_of(ty.id), btf.resolve(ty.id), btf.type_name(ty.id));
        let _ = (btf.struct_layout(ty.id), btf.member_path(ty.id, "corners[1].x"), ty.int(), ty.array(), ty.linkage());
        let _ = (ty.members().count(), ty.enumerators().count(), ty.params().count(), ty.variables().count());
        let _ = (ty.return_type(), ty.tag_component());
    }
    for name in ["shape", "int", "x", "measure", ""] {
        let _ = (btf.find_all(name), btf.find_c(name), btf.find(name, Kind::Func), btf.raw_tracepoint(name));
        let _ = (btf.find_enumerator(name), btf.raw_tracepoints_in_full(|found| found != name).len());
    }
    if let Ok(split) = Btf::parse_split(SHAPES, &btf) {
        let _ = (split.find_all("shape"), split.types().count());
    }
}

#[test]
fn damaged_bytes_give_errors() {
    for len in 0..SHAPES.len() {
        ask(&SHAPES[..len]);
    }
    for at in 0..SHAPES.len() {
        for value in [0, 0xff, SHAPES[at] ^ 1, SHAPES[at] ^ 0x80] {
            let mut bytes = SHAPES.to_vec();
            bytes[at] = value;
            ask(&bytes);
        }
    }
    let cut = Btf::parse(&SHAPES[..10]);
    assert_eq!(cut.err(), Some(Error::ShortHeader(10)));
    assert_eq!(Btf::parse(&[0; 100]).err(), Some(Error::Magic(0)));
    let mut swapped = SHAPES.to_vec();
    swapped.swap(0, 1);
    assert_eq!(Btf::parse(&swapped).err(), Some(Error::ByteOrder));
    let mut version = SHAPES.to_vec();
    version[2] = 2;
    assert_eq!(Btf::parse(&version).err(), Some(Error::Version(2)));
}
