//! Passes as data. Each file of `tests/cases/PASS/` names passes in its first line
//! (`; run: promote, dce`, or `; run: all` for the whole pipeline), then holds a
//! module, a line `; ===`, and what the passes make of it. `UPDATE_EXPECT=1`
//! writes what they make now.

use std::path::{Path, PathBuf};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files = Vec::new();
    for pass in std::fs::read_dir(folder).unwrap() {
        let entries = std::fs::read_dir(pass.unwrap().path()).unwrap();
        files.extend(
            entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "ir")),
        );
    }
    files.sort();
    files
}

/// What the passes of the first line make of a module; debug builds verify it after each.
fn run(passes: &str, input: &str) -> Result<String, String> {
    let mut module = ir::parse_module(input).map_err(|e| e.to_string())?;
    ir::verify_module(&module).map_err(|e| format!("before the passes: {e}"))?;
    if passes.trim() == "all" {
        ir::optimize(&mut module);
        return Ok(module.to_string());
    }
    for name in passes.split(',') {
        let pass = ir::Pass::by_name(name.trim()).ok_or_else(|| format!("no pass is called `{}`", name.trim()))?;
        ir::run_pass(&mut module, pass);
    }
    Ok(module.to_string())
}

#[test]
fn passes_make_what_the_files_say() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut wrong = Vec::new();
    let files = cases();
    assert!(files.len() >= 40);
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let (input, expected) = text.split_once("; ===\n").unwrap_or((&text, ""));
        let passes = input.lines().find_map(|line| line.strip_prefix("; run:"));
        let passes = passes.unwrap_or_else(|| panic!("{}: no line `; run: …`", path.display()));
        match run(passes, input) {
            Ok(output) if output == expected => {}
            Ok(output) if update => std::fs::write(&path, format!("{input}; ===\n{output}")).unwrap(),
            Ok(output) => wrong.push(format!("{}\n--- expected\n{expected}\n--- found\n{output}", path.display())),
            Err(error) => wrong.push(format!("{}: {error}", path.display())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
