use super::*;
use crate::parser::{ParseOptions, parse};
use crate::probes::fake::Machine;

/// Parses definitions; the sizes of the structs and the errors.
fn defined(text: &str) -> (Catalog<'static>, Vec<String>) {
    let (script, wrong) = parse(text, &ParseOptions::default());
    assert_eq!(wrong, [], "{text}");
    let mut catalog = Catalog::new(&Machine);
    let diagnostics = define(&script.c_definitions, &mut catalog);
    let errors = diagnostics.into_iter().filter(Diagnostic::is_error).map(|d| d.message).collect();
    (catalog, errors)
}

/// `name@offset` (bit fields with `:shift+width`) of each field, and the size of the struct.
fn layout(text: &str, name: &str) -> String {
    let (catalog, errors) = defined(text);
    assert_eq!(errors, Vec::<String>::new(), "{text}");
    let id = catalog.structs.borrow().find(name, false).or_else(|| catalog.structs.borrow().find(name, true));
    let structs = catalog.structs.borrow();
    let definition = structs.get(id.unwrap()).unwrap();
    let fields: Vec<String> = definition
        .fields
        .iter()
        .map(|field| match field.bits {
            Some(bits) => format!("{}@{}:{}+{}", field.name, field.offset, bits.shift, bits.width),
            None => format!("{}@{}", field.name, field.offset),
        })
        .collect();
    format!("{} = {}", fields.join(" "), definition.bytes)
}

/// Each expected layout is clang's for x86-64.
#[test]
fn layouts() {
    for (text, expected) in [
        ("struct s { char a; int b; char c; };", "a@0 b@4 c@8 = 12"),
        ("struct s { char a; long b; short c; } ", "a@0 b@8 c@16 = 24"),
        ("struct s { char a; int b; } __attribute__((packed));", "a@0 b@1 = 5"),
        ("struct __attribute__((packed)) s { char a; long b; };", "a@0 b@1 = 9"),
        ("struct s { char a; } __attribute__((aligned(16)));", "a@0 = 16"),
        ("struct s { char a; int b __attribute__((aligned(16))); };", "a@0 b@16 = 32"),
        ("struct s { char a; int b __attribute__((packed)); };", "a@0 b@1 = 5"),
        ("union s { char a[5]; int b; };", "a@0 b@0 = 8"),
        ("struct s { int a[3], *b, c; };", "a@0 b@16 c@24 = 32"),
        ("struct s { unsigned a:3, b:5; unsigned c:30; };", "a@0:0+3 b@0:3+5 c@4:0+30 = 8"),
        ("struct s { char a; int b:4; };", "a@0 b@0:8+4 = 4"),
        ("struct s { int a:4; int :0; int b:4; };", "a@0:0+4 b@4:0+4 = 8"),
        ("struct s { long a:40; long b:40; };", "a@0:0+40 b@8:0+40 = 16"),
        ("struct s { char a:4; int :3; char b; };", "a@0:0+4 b@1 = 2"),
        ("struct s { char a; struct { int b; char c; }; union { long d; int e; } u; };", "a@0 @4 u@16 = 24"),
        ("struct s { int (*f)(int, char *); char c; };", "f@0 c@8 = 16"),
        ("struct s { struct s *next; void *p; const char *n; };", "next@0 p@8 n@16 = 24"),
        ("struct s { short a; double d; float f; };", "a@0 d@8 f@16 = 24"),
        ("struct s { int n; char data[]; };", "n@0 data@4 = 4"),
        ("struct s { };", " = 0"),
        ("struct s { struct { int m[1] } y; int a:3, b:5 }", "y@0 a@4:0+3 b@4:3+5 = 8"),
        ("#define N 4\nstruct s { char a[N * 2 + 1]; short b; };", "a@0 b@10 = 12"),
        ("enum e { A = 3, B }; struct s { char a[B]; enum e x; };", "a@0 x@4 = 8"),
        ("typedef unsigned int u; typedef struct { u a; char b; } t; struct s { char c; t d[2]; };", "c@0 d@4 = 20"),
        ("struct in { long x; }; struct s { char a; struct in b; char c[sizeof(struct in)]; };", "a@0 b@8 c@16 = 24"),
        ("struct s { char a; long unsigned int long b; };", "a@0 b@8 = 16"),
    ] {
        assert_eq!(layout(text, "s"), expected, "{text}");
    }
}

#[test]
fn enumerations_and_constants() {
    let (catalog, errors) =
        defined("#define A 0x10\n#define B (A << 2 | 1)\n#define S \"x\"\nenum e { X = -1, Y, Z = B };");
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(catalog.constants.get("B"), Some(&65));
    assert_eq!(catalog.constants.get("S"), None);
    let e = catalog.find_enum("e").unwrap();
    assert_eq!(*e.values, [(-1, "X".to_owned()), (0, "Y".to_owned()), (65, "Z".to_owned())]);
    assert!(e.signed);
    assert_eq!(catalog.find_constant("Z").unwrap().0, 65);
}

#[test]
fn includes_bring_constants() {
    let (catalog, _) = defined("#include <linux/socket.h>\n#define AF_INET6 77\n");
    assert_eq!(catalog.constants.get("AF_INET"), Some(&2));
    assert_eq!(catalog.constants.get("AF_INET6"), Some(&77));
}

#[test]
fn errors() {
    for (text, expected) in [
        ("struct s { foo a; };", "unknown type name 'foo'"),
        ("struct s { struct unknown a; };", "field 'a' has an incomplete type"),
        ("struct s { int a:40; };", "bit field 'a' is wider than its type"),
        ("struct s { char a[0x7fffffff]; };", "the struct is too large"),
        ("struct s { long a[0x7fffffff]; };", "field 'a' has an incomplete type"),
        ("struct s { char a[-1]; };", "invalid array length"),
        ("struct s { char a[1/0]; };", "division by zero"),
        ("struct s { char a[N]; };", "'N' is not a constant"),
        ("struct s { struct s a; };", "field 'a' has an incomplete type"),
        ("struct s { int a int b; };", "expected ';'"),
        ("struct s { int a; } __attribute__((aligned(3)));", "an alignment must be a small power of two"),
        ("enum e { 3 };", "expected a name"),
    ] {
        assert_eq!(defined(text).1.first().map(String::as_str), Some(expected), "{text}");
    }
}
