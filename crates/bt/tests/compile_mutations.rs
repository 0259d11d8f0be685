//! Scripts made of pieces of good ones: the compiler says what is wrong or makes a program that the back
//! end takes; it never panics.

mod machine;

use std::path::Path;

use bt::{Options, compile};
use machine::Machine;

/// Mutants of each script.
const MUTANTS: u64 = 60;

/// xorshift64*: the same sequence everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit.max(1) as u64) as usize
    }
}

fn scripts() -> Vec<String> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut paths: Vec<_> = ["lower", "errors/semantic"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(tests.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "bt"))
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

/// Words, and single characters that are no part of one.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '@' | '$');
        let len =
            if is_word(first) { rest.find(|c: char| !is_word(c)).unwrap_or(rest.len()) } else { first.len_utf8() };
        let (token, after) = rest.split_at(len);
        tokens.push(token);
        rest = after;
    }
    tokens
}

#[test]
fn pieces_of_good_scripts() {
    let scripts = scripts();
    let pool: Vec<&str> = scripts.iter().flat_map(|s| tokens(s)).filter(|t| !t.trim().is_empty()).collect();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut good = 0;
    for script in &scripts {
        let machine = Machine::described_by(script);
        for _ in 0..MUTANTS {
            let mut mutant = tokens(script);
            for _ in 0..=random.below(3) {
                let at = random.below(mutant.len());
                match random.below(4) {
                    0 => mutant.insert(at, pool[random.below(pool.len())]),
                    1 => drop(mutant.remove(at)),
                    2 => {
                        let other = random.below(mutant.len());
                        mutant.swap(at, other);
                    }
                    _ => mutant[at] = pool[random.below(pool.len())],
                }
                if mutant.is_empty() {
                    break;
                }
            }
            let text = mutant.concat();
            let options = Options { unsafe_allowed: true, ..Options::default() };
            let Ok(mut compiled) = compile("mutant", &text, &machine, &options) else { continue };
            if let Err(errors) = ir::verify_module(&compiled.module) {
                panic!("{text}\n{errors:?}");
            }
            ir::optimize(&mut compiled.module);
            // Too much memory or too long a function is an error like others.
            let _ = ir::generate(&compiled.module, &ir::Options::default());
            good += 1;
        }
    }
    assert!(good > 100, "only {good} of the mutants were good scripts");
}
