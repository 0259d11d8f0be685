//! The parser against files.
//!
//! - `tests/parse/NAME.bt` parses without a message to the tree in `NAME.ast`.
//! - `tests/errors/syntax/NAME.bt` gives the messages in `NAME.txt`.
//! - `tests/data/formats/NAME.format`, captured from tracefs, has the fields in `NAME.fields`.
//!
//! `BLESS=1 cargo test -p skep-bt --test syntax` writes what comes out as what is expected: read the difference.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bt::parser::{ParseOptions, parse};
use bt::{parse_format, print_script};

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{}: no .{extension} files", folder.display());
    files
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Compares with the file of the same name and another extension.
fn check(path: &Path, extension: &str, found: &str, wrong: &mut Vec<String>) {
    let expected_path = path.with_extension(extension);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&expected_path, found).unwrap();
        return;
    }
    let expected = read(&expected_path);
    if expected != found {
        wrong.push(format!("{}: expected\n{expected}\nfound\n{found}", path.display()));
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// Parses with the parameters `p1` and `99`.
fn parsed(path: &Path) -> (String, String) {
    let text = read(path);
    let positional = ["p1".to_owned(), "99".to_owned()];
    let (script, diagnostics) = parse(&text, &ParseOptions { positional: &positional });
    let messages = diagnostics.iter().map(|diagnostic| diagnostic.render(&name(path), &text, false)).collect();
    (print_script(&script), messages)
}

#[test]
fn trees() {
    let mut wrong = Vec::new();
    for path in files("parse", "bt") {
        let (tree, messages) = parsed(&path);
        assert_eq!(messages, "", "{}", path.display());
        check(&path, "ast", &tree, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn messages() {
    let mut wrong = Vec::new();
    for path in files("errors/syntax", "bt") {
        let (_, messages) = parsed(&path);
        check(&path, "txt", &messages, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn formats() {
    let mut wrong = Vec::new();
    for path in files("data/formats", "format") {
        let mut found = String::new();
        for field in parse_format(&read(&path)) {
            let array = field.array.map(|len| format!("[{len}]")).unwrap_or_default();
            let signed = if field.signed { "signed" } else { "unsigned" };
            let (c_type, place) = (&field.c_type, field.place);
            writeln!(found, "{} @{} +{}: {c_type}{array} {signed} {place:?}", field.name, field.offset, field.size)
                .unwrap();
        }
        check(&path, "fields", &found, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
