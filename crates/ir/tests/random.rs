//! Random programs keep their meaning through the text form and through passes.

mod generate;

use generate::{Shape, run};

#[test]
fn generated_programs_are_valid_and_end() {
    for seed in 0..300 {
        let module = generate::module(seed, Shape::of(seed));
        ir::verify_module(&module).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{module}"));
        run(&module).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{module}"));
    }
}

#[test]
fn generated_programs_survive_the_text_form() {
    for seed in 0..300 {
        let module = generate::module(seed, Shape::of(seed));
        let text = module.to_string();
        let parsed = ir::parse_module(&text).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{text}"));
        assert_eq!(parsed.to_string(), text, "seed {seed}");
        assert_eq!(run(&parsed), run(&module), "seed {seed}");
    }
}

/// Programs to try: `SKEP_RANDOM_PROGRAMS`, or enough to see most mistakes.
fn programs() -> u64 {
    std::env::var("SKEP_RANDOM_PROGRAMS").ok().and_then(|n| n.parse().ok()).unwrap_or(1000)
}

#[test]
fn each_pass_keeps_the_meaning_of_programs() {
    for seed in 0..programs() {
        let original = generate::module(seed, Shape::of(seed));
        let expected = run(&original);
        for pass in ir::Pass::ALL {
            let mut module = original.clone();
            ir::run_pass(&mut module, pass);
            let name = pass.name();
            ir::verify_module(&module).unwrap_or_else(|e| panic!("seed {seed}, {name}: {e}\n{original}\n{module}"));
            assert_eq!(run(&module), expected, "seed {seed}, {name}\n{original}\n{module}");
        }
    }
}

#[test]
fn the_pipeline_keeps_the_meaning_of_programs() {
    for seed in 0..programs() {
        let original = generate::module(seed, Shape::of(seed));
        let mut module = original.clone();
        ir::optimize(&mut module);
        ir::verify_module(&module).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{original}\n{module}"));
        assert_eq!(run(&module), run(&original), "seed {seed}\n{original}\n{module}");
        // Nothing is left to chance.
        let mut again = original.clone();
        ir::optimize(&mut again);
        assert_eq!(again.to_string(), module.to_string(), "seed {seed}");
    }
}

/// A text with a few digits, lines or bytes changed.
fn damaged(text: &str, random: &mut generate::Random) -> String {
    let mut lines: Vec<Vec<u8>> = text.lines().map(|line| line.as_bytes().to_vec()).collect();
    for _ in 0..1 + random.below(3) {
        let at = random.below(lines.len());
        match random.below(6) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[random.below(lines.len())].clone()),
            2 => {
                let other = random.below(lines.len());
                lines.swap(at, other);
            }
            3 if !lines[at].is_empty() => {
                let byte = random.below(lines[at].len());
                lines[at][byte] = random.next() as u8;
            }
            _ => {
                let digits: Vec<usize> = (0..lines[at].len()).filter(|i| lines[at][*i].is_ascii_digit()).collect();
                if !digits.is_empty() {
                    let digit = digits[random.below(digits.len())];
                    lines[at][digit] = b'0' + random.below(10) as u8;
                }
            }
        }
        if lines.is_empty() {
            break;
        }
    }
    String::from_utf8_lossy(&lines.join(&b'\n')).into_owned()
}

/// Wrong programs are refused by the parser or the verifier; what they let through
/// can be optimised and run like any other.
#[test]
fn damaged_programs_are_refused_or_work() {
    let (mut refused, mut accepted) = (0, 0);
    for seed in 0..4 * programs() {
        let shape = Shape { size: 20, helpers: seed % 2 == 0, calls: seed % 3 == 0 };
        let text = generate::module(seed / 4, shape).to_string();
        let text = damaged(&text, &mut generate::Random(seed));
        let module = match ir::parse_module(&text) {
            Ok(module) if ir::verify_module(&module).is_ok() => module,
            _ => {
                refused += 1;
                continue;
            }
        };
        accepted += 1;
        let mut optimised = module.clone();
        ir::optimize(&mut optimised);
        for func in optimised.funcs.values() {
            ir::verify_optimized(&optimised, func).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{module}"));
        }
        // A program that goes wrong may do so in what passes remove.
        let expected = if module.funcs.is_empty() || module.maps.is_empty() { continue } else { run(&module) };
        if expected.is_ok() {
            assert_eq!(run(&optimised), expected, "seed {seed}\n{module}\n{optimised}");
        }
    }
    assert!(refused > accepted / 4 && accepted > refused / 100, "{refused} refused, {accepted} accepted");
}
