//! The back end as data: `tests/asm/*.ir` hold a module and the instructions
//! that become of it, which must also load on the kernel at hand.
//!
//! The first line is `; isa N`, and a line `; needs 5.13: REASON` may follow; the
//! listing stands after a line `; ===`. `UPDATE_EXPECT=1` rewrites listings.

#[allow(dead_code)] // only whether programs load
mod kernel_run;

use std::path::{Path, PathBuf};

const DIVIDER: &str = "; ===\n";

struct Case {
    path: PathBuf,
    /// All before the divider.
    input: String,
    expected: String,
    isa: u8,
    /// Version of the oldest kernel that loads it.
    kernel: (u32, u32),
}

impl Case {
    fn object(&self) -> object::Object {
        let name = self.path.display();
        let module = ir::parse_module(&self.input).unwrap_or_else(|e| panic!("{name}:{e}"));
        ir::verify_module(&module).unwrap_or_else(|e| panic!("{name}: {e}"));
        ir::generate(&module, &ir::Options { isa: self.isa, optimize: false }).unwrap_or_else(|e| panic!("{name}: {e}"))
    }
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

fn cases() -> Vec<Case> {
    let case = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let (input, expected) = text.split_once(DIVIDER).unwrap_or((&text, ""));
        let isa = input.lines().next().and_then(|line| line.strip_prefix("; isa ")?.parse().ok());
        Case {
            isa: isa.unwrap_or_else(|| panic!("{}: the first line says `; isa N`", path.display())),
            kernel: input.lines().find_map(|line| version(line.strip_prefix("; needs ")?)).unwrap_or((0, 0)),
            input: input.to_owned(),
            expected: expected.to_owned(),
            path,
        }
    };
    files("asm").into_iter().map(case).collect()
}

/// `5.13: …`
fn version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split(':').next()?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[test]
fn modules_become_these_instructions() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let found = object::listing(&case.object());
        if found == case.expected {
            continue;
        }
        if update {
            std::fs::write(&case.path, format!("{}{DIVIDER}{found}", case.input)).unwrap();
        } else {
            wrong.push(format!("{}:\n{found}", case.path.display()));
        }
    }
    assert!(wrong.is_empty(), "UPDATE_EXPECT=1 accepts these listings:\n{}", wrong.join("\n"));
}

#[test]
fn modules_load() {
    if let Some(reason) = kernel_run::missing() {
        return eprintln!("skipped: {reason}");
    }
    let (major, minor, _) = kernel::kernel_version();
    let mut refused = Vec::new();
    for case in cases().into_iter().filter(|case| case.kernel <= (major, minor)) {
        match kernel::Loaded::new(&case.object(), kernel::LoadOptions { line_info: true }) {
            Ok(_) => {}
            Err(kernel::Error::Load(e)) => refused.push(format!("{}: {e}\n{}", case.path.display(), e.log)),
            Err(e) => refused.push(format!("{}: {e}", case.path.display())),
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

/// `tests/asm_errors/*.ir` name the error in the first line, the instruction set
/// in the second.
#[test]
fn impossible_modules_are_refused_with_the_reason() {
    let mut wrong = Vec::new();
    for path in files("asm_errors") {
        let text = std::fs::read_to_string(&path).unwrap();
        let line = |prefix| text.lines().find_map(|line| line.strip_prefix(prefix)).unwrap_or_default();
        let module = ir::parse_module(&text).unwrap_or_else(|e| panic!("{}:{e}", path.display()));
        let options = ir::Options { isa: line("; isa ").parse().unwrap(), optimize: false };
        let found = ir::generate(&module, &options).map_or_else(|e| e.to_string(), |_| "no error".to_owned());
        if found != line("; error: ") {
            wrong.push(format!("{}\n  found {found}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Jumps over more than 32767 instructions need instruction set v4.
#[test]
fn long_functions_need_long_jumps() {
    let mut module = ir::parse_module(
        "map0 = map \"state\" type array key 4 value 8 entries 1\n\
         function fn0 \"long\" program \"socket\" type socket_filter {\n\
         block0(v0: ptr<ctx>):\n    v1 = load u32 v0+0\n    branch v1, block1, block2\n\
         block1:\n    jump block2\nblock2:\n    return v1\n}\n",
    )
    .unwrap();
    let func = &mut module.funcs[ir::Func::from_u32(0)];
    let (then, end) = (func.layout[1], func.layout[2]);
    func.blocks[then].insts.clear();
    let mut b = ir::Builder::new(func);
    b.switch_to(then);
    let state = b.map_value_addr(ir::Map::from_u32(0), 0);
    for _ in 0..12_000 {
        let old = b.load(ir::MemType::U64, state, 0);
        let new = b.binary_imm(ir::BinaryOp::Mul, old, 3);
        b.store(ir::MemType::U64, state, 0, new);
    }
    b.jump(end, &[]);
    let generate = |isa| ir::generate(&module, &ir::Options { isa, optimize: false });
    assert!(matches!(generate(3), Err(ir::Error::FunctionTooLong { .. })));
    let object = generate(4).unwrap();
    if kernel_run::missing().is_none() && kernel_run::newest_isa() >= 4 {
        kernel::Loaded::new(&object, kernel::LoadOptions::default()).unwrap();
    }
}
