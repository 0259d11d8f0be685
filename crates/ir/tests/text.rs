//! The text form as data: `tests/text/*.ir` print as they are written, and the
//! texts of `tests/errors/*.ir` are refused with the error of their first line.

use std::path::{Path, PathBuf};

fn cases(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn text_survives_parsing_and_printing() {
    for path in cases("text") {
        let text = std::fs::read_to_string(&path).unwrap();
        let module = ir::parse_module(&text).unwrap_or_else(|e| panic!("{}:{e}", path.display()));
        ir::verify_module(&module).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(module.to_string(), text, "{}", path.display());
    }
}

#[test]
fn wrong_modules_are_refused_with_the_reason() {
    let mut wrong = Vec::new();
    for path in cases("errors") {
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = text.lines().next().and_then(|line| line.strip_prefix("; error: "));
        let expected = expected.unwrap_or_else(|| panic!("{}: the first line says `; error: …`", path.display()));
        let error = match ir::parse_module(&text) {
            Err(error) => error.to_string(),
            Ok(module) => match ir::verify_module(&module) {
                Err(error) => error.to_string(),
                Ok(()) => panic!("{}: accepted", path.display()),
            },
        };
        if error != expected {
            wrong.push(format!("{}\n  expected {expected}\n  found    {error}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
