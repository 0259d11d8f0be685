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

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/asm");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
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
    paths.into_iter().map(case).collect()
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
