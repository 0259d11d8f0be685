//! The compiler against files, on the machine of `tests/machine`.
//!
//! - `tests/lower/NAME.bt` compiles to the plan and the IR in `NAME.ir`.
//! - `tests/errors/semantic/NAME.bt` gives the messages in `NAME.txt`.
//!
//! `BLESS=1 cargo test -p skep-bt --test compile` writes what comes out as what is expected: read the difference.

mod machine;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bt::{Compiled, Options, compile};
use machine::Machine;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == "bt"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{}: no scripts", folder.display());
    files
}

fn options() -> Options {
    Options { params: vec!["p1".to_owned(), "99".to_owned()], ..Options::default() }
}

fn check(path: &Path, extension: &str, found: &str, wrong: &mut Vec<String>) {
    let expected_path = path.with_extension(extension);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&expected_path, found).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&expected_path).unwrap_or_default();
    if expected != found {
        wrong.push(format!("{}: expected\n{expected}\nfound\n{found}", path.display()));
    }
}

/// The plan in a line for each thing, then the module's text.
fn summary(compiled: &Compiled) -> String {
    let plan = &compiled.plan;
    let mut text = String::new();
    for p in &plan.probes {
        writeln!(text, "; probe {} x{}: program {}, {:?}", p.name, p.stands_for, p.program, p.attach).unwrap();
    }
    for (i, e) in plan.events.iter().enumerate() {
        writeln!(text, "; event {i}: {:?}, {} bytes", e.action, e.fixed_size).unwrap();
        for a in &e.args {
            let tail = if a.tail { " in the tail" } else { "" };
            writeln!(text, ";   at {}{tail}: {:?}", a.offset, a.layout).unwrap();
        }
    }
    for m in &plan.maps {
        writeln!(text, "; map {} is {:?}: {:?} -> {:?}, flag {:?}", m.name, m.map, m.key, m.value, m.set_flag).unwrap();
    }
    for (i, c) in plan.counter_meanings.iter().enumerate() {
        writeln!(text, "; counter {i}: {c:?}").unwrap();
    }
    // The module carries the script itself, which stands in the file beside.
    let mut module = compiled.module.clone();
    module.sources.clear();
    for func in module.funcs.values_mut() {
        func.spans.clear();
    }
    write!(text, "{module}").unwrap();
    text
}

#[test]
fn programs() {
    let mut wrong = Vec::new();
    for path in files("lower") {
        let text = std::fs::read_to_string(&path).unwrap();
        let machine = Machine::described_by(&text);
        let name = path.file_name().unwrap().to_string_lossy();
        match compile(&name, &text, &machine, &options()) {
            Ok(compiled) => {
                ir::verify_module(&compiled.module).unwrap_or_else(|e| panic!("{}: {e:?}", path.display()));
                check(&path, "ir", &summary(&compiled), &mut wrong);
            }
            Err(errors) => {
                let messages: String = errors.iter().map(|e| e.render(&name, &text, false)).collect();
                wrong.push(messages);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The back end takes every program that the front end makes, and gives the same bytes each time.
#[test]
fn objects() {
    for path in files("lower") {
        let text = std::fs::read_to_string(&path).unwrap();
        let machine = Machine::described_by(&text);
        let objects: Vec<String> = (0..2)
            .map(|_| {
                let mut compiled = compile("x", &text, &machine, &options()).unwrap_or_else(|e| panic!("{e:?}"));
                ir::optimize(&mut compiled.module);
                let object = ir::generate(&compiled.module, &ir::Options::default());
                format!("{:?}", object.unwrap_or_else(|e| panic!("{}: {e}", path.display())))
            })
            .collect();
        assert_eq!(objects[0], objects[1], "{}", path.display());
    }
}

#[test]
fn messages() {
    let mut wrong = Vec::new();
    for path in files("errors/semantic") {
        let text = std::fs::read_to_string(&path).unwrap();
        let machine = Machine::described_by(&text);
        let name = path.file_name().unwrap().to_string_lossy();
        let diagnostics = match compile(&name, &text, &machine, &options()) {
            Ok(compiled) => compiled.warnings,
            Err(errors) => errors,
        };
        let messages: String = diagnostics.iter().map(|d| d.render(&name, &text, false)).collect();
        check(&path, "txt", &messages, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
