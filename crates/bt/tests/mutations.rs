//! Any text gives a tree and messages: never a panic, a stack overflow or a hang. Deterministic mutations of
//! the scripts in `tests`, and texts made to be deep, long or repetitive.

use std::path::Path;

use bt::arch::{AARCH64, X86_64};
use bt::parser::{ParseOptions, parse, parse_attach_point};
use bt::usdt::parse_args;
use bt::{parse_format, print_script};

/// Mutants of each file.
const MUTANTS: u64 = 300;

/// xorshift64*: the same sequence everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        if limit == 0 { 0 } else { (self.next() % limit as u64) as usize }
    }
}

/// Pieces that mean something to the lexer or the parser.
const PIECES: &[&str] = &[
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "/",
    "//",
    "/*",
    "*/",
    "\"",
    "\\",
    "#",
    "#if 0\n",
    "#else\n",
    "#endif\n",
    "#define A A A\n",
    "$",
    "$1",
    "@",
    "@x",
    ":",
    ";",
    ",",
    "..",
    ".",
    "->",
    "?",
    "=",
    "==",
    "+=",
    "++",
    "-",
    "~",
    "!",
    "*",
    "&",
    "0x",
    "1e9",
    "99999999999999999999",
    "1_",
    "5ms",
    "if",
    "else",
    "for",
    "while",
    "unroll",
    "let",
    "macro",
    "fn",
    "struct x {",
    "typedef",
    "sizeof(",
    "typeof(",
    "(uint8)",
    "comptime",
    "import",
    "config = {",
    "é",
    "\u{0}",
    "\n",
    "\t",
    "kprobe:",
    "/pred/",
];

fn mutate(text: &str, random: &mut Random) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(5) {
            0 => {
                let piece = PIECES[random.below(PIECES.len())].as_bytes();
                bytes.splice(at..at, piece.iter().copied());
            }
            1 => {
                let end = (at + random.below(20)).min(bytes.len());
                bytes.drain(at..end);
            }
            2 => bytes.truncate(at),
            3 => {
                let end = (at + random.below(40)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.next() as u8;
                }
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn try_script(text: &str) {
    let (script, diagnostics) = parse(text, &ParseOptions::default());
    print_script(&script);
    for diagnostic in diagnostics {
        diagnostic.render("fuzz", text, false);
    }
    let _ = parse_attach_point(text, &ParseOptions::default());
}

fn corpus(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().filter(|path| path.is_file()).map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn scripts() {
    let mut random = Random(0x5eed);
    for text in corpus("parse").into_iter().chain(corpus("errors/syntax")) {
        for _ in 0..MUTANTS {
            try_script(&mutate(&text, &mut random));
        }
    }
}

#[test]
fn formats_and_operands() {
    let mut random = Random(0xf00d);
    for text in corpus("data/formats") {
        for _ in 0..MUTANTS {
            parse_format(&mutate(&text, &mut random));
        }
    }
    let operands = "-4@%edi 8@-16(%rbp) 8@$5 8@sym+8(%rip) 4@(%rax,%rbx,4) 8@[sp, 16] 4@w0 8f@%xmm0";
    for _ in 0..MUTANTS * 10 {
        let text = mutate(operands, &mut random);
        parse_args(&text, &X86_64);
        parse_args(&text, &AARCH64);
    }
}

/// Each way to nest, far deeper than anyone needs.
#[test]
fn deep() {
    for (open, middle, close) in [
        ("(", "1", ")"),
        ("(1, ", "1", ")"),
        ("(a = ", "1", ")"),
        ("(uint8)", "1", ""),
        ("(typeof(", "1", "))1"),
        ("sizeof(", "1", ")"),
        ("typeof((", "1", "))"),
        ("-", "1", ""),
        ("!", "1", ""),
        ("*", "$x", ""),
        ("++", "$x", ""),
        ("f(", "1", ")"),
        ("@x[", "1", "]"),
        ("1 ? ", "1", " : 2"),
        ("1 ? 2 : ", "1", ""),
        ("1 + (", "1", ")"),
        ("1 || 2 && 3 | 4 ^ 5 & 6 == 7 < 8 << 9 + 10 * ", "1", ""),
        ("{ ", "1", " }"),
        ("if 1 { ", "1", " } else { 2 }"),
        ("if 1 { 2 } else ", "{ 3 }", ""),
        ("while 1 { ", "1;", " }"),
        ("for ($i : 0..1) { ", "1;", " }"),
        ("comptime ", "1", ""),
        ("a.", "b", ""),
        ("a->", "b", ""),
        ("", "1", " + 1"),
        ("", "$t", ".0"),
        ("", "$t", "[0]"),
        ("", "$t", "++"),
    ] {
        for count in [50, 200, 20_000] {
            let text = format!("begin {{ {}{middle}{}; }}", open.repeat(count), close.repeat(count));
            try_script(&text);
            try_script(&text[..text.len() / 2]);
        }
    }
    for text in ["let $x: ((((int8))))", "let $x: int8 ****", "let $x: int8[1][1]"] {
        try_script(&format!("begin {{ {text}; }}"));
    }
    try_script(&format!("begin {{ let $x: {}int8; }}", "(".repeat(20_000)));
    try_script(&format!("struct a {{ {} }};", "struct { ".repeat(20_000)));
    try_script(&"begin { if 1 { ".repeat(10_000));
}

/// Macros that blow up, conditionals that never end.
#[test]
fn preprocessor() {
    let mut doubling = String::new();
    for i in 0..60 {
        doubling.push_str(&format!("#define A{i} A{} A{}\n", i + 1, i + 1));
    }
    try_script(&format!("{doubling}#define A60\nbegin {{ A0; A0; A0 }}"));
    try_script(&format!("{doubling}#define A60 1 +\nbegin {{ A0; A0; A0 }}"));
    try_script(&format!("#define A {}\nbegin {{ {} }}", "(1)+".repeat(5000), "A A A;".repeat(100)));
    try_script("#define A B\n#define B A\nbegin { A; B; }");
    try_script(&"#if 0\n".repeat(10_000));
    try_script(&"#if 1\n#else\n".repeat(10_000));
    try_script(&"#ifdef X\n#elif 0\n#endif\n".repeat(10_000));
    try_script("#define A \\\n");
    try_script("#");
}
