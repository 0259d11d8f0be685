//! The evaluator as data: each line `; fn0(ARGS) = RESULT` of `tests/eval/*.ir` is a
//! call and what comes of it, a number or `error: …`. No helper is known.

use std::path::Path;

use ir::Func;
use ir::eval::Evaluator;

/// Enough for every case that ends.
const STEPS: u64 = 10_000;

fn number(text: &str) -> u64 {
    let text = text.trim();
    let parsed = match (text.strip_prefix("0x"), text.starts_with('-')) {
        (Some(hex), _) => u64::from_str_radix(hex, 16).ok(),
        (None, true) => text.parse::<i64>().ok().map(|n| n as u64),
        (None, false) => text.parse().ok(),
    };
    parsed.unwrap_or_else(|| panic!("`{text}` is not a number"))
}

#[test]
fn functions_give_what_the_files_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/eval");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let module = ir::parse_module(&text).unwrap_or_else(|e| panic!("{}:{e}", path.display()));
        let mut calls = 0;
        for line in text.lines() {
            let Some((args, expected)) = line.strip_prefix("; fn0(").and_then(|rest| rest.split_once(") = ")) else {
                continue;
            };
            let args: Vec<u64> = args.split(',').filter(|arg| !arg.trim().is_empty()).map(number).collect();
            let result = Evaluator::new(&module, STEPS).call(Func::from_u32(0), &args, &mut ());
            match expected.strip_prefix("error: ") {
                Some(message) => assert_eq!(result.unwrap_err().to_string(), message, "{}: {line}", path.display()),
                None => assert_eq!(result, Ok(number(expected)), "{}: {line}", path.display()),
            }
            calls += 1;
        }
        assert!(calls > 0, "{}: no call", path.display());
    }
}
