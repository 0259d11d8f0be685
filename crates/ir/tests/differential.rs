//! What the back end makes of random programs does on the kernel what the
//! evaluator says: same result, same memory.
//!
//! Runs 2,000 programs; `SKEP_DIFFERENTIAL_PROGRAMS` sets another number and
//! `SKEP_DIFFERENTIAL_SEED` the first of them. Needs the right to load programs.

mod generate;
mod kernel_run;

use generate::Shape;
use ir::{Error, Map, Module, Options};
use kernel_run::{Loaded, Refusal};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// How a program fared on the kernel.
enum Outcome {
    Same,
    /// It needs a newer instruction set than the kernel has.
    Unsupported,
    TooComplex,
}

/// Compiles, loads and runs `module`, and compares with `expected`.
fn check(module: &Module, options: Options, newest: u8, expected: &(u32, Vec<u8>), what: &str) -> Outcome {
    let object = match ir::compile(module.clone(), &options) {
        // Older instruction sets have no atomics that fetch.
        Err(Error::Isa { isa, .. }) if isa > newest => return Outcome::Unsupported,
        Err(Error::Isa { isa, .. }) => ir::compile(module.clone(), &Options { isa, ..options }),
        result => result,
    };
    let object = object.unwrap_or_else(|e| panic!("{what}: {e}\n{module}"));
    let loaded = match Loaded::new(&object) {
        Ok(loaded) => loaded,
        Err(Refusal::TooComplex) => return Outcome::TooComplex,
        Err(Refusal::Other(e)) => panic!("{what}: {e}\n{module}\n{}", object::listing(&object)),
    };
    let result = loaded.run(&module.maps[Map::from_u32(0)].initial);
    assert_eq!(&result, expected, "{what}\n{module}\n{}", object::listing(&object));
    Outcome::Same
}

#[test]
fn compiled_programs_do_what_the_evaluator_does() {
    if let Some(reason) = kernel_run::missing() {
        eprintln!("skipped: {reason}");
        return;
    }
    let (first, programs) = (number("SKEP_DIFFERENTIAL_SEED", 0), number("SKEP_DIFFERENTIAL_PROGRAMS", 2_000));
    let newest = kernel_run::newest_isa();
    let (mut unsupported, mut too_complex) = (0, 0);
    for seed in first..first + programs {
        let module = generate::module(seed, Shape::of(seed));
        let (result, state) = generate::run(&module).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{module}"));
        // A socket filter's result has 32 bits.
        let expected = (result as u32, state);
        let isa = 1 + (seed % u64::from(newest)) as u8;
        for optimize in [false, true] {
            let options = Options { isa, optimize };
            match check(&module, options, newest, &expected, &format!("seed {seed}, {options:?}")) {
                Outcome::Same => {}
                Outcome::Unsupported => unsupported += 1,
                Outcome::TooComplex => too_complex += 1,
            }
        }
    }
    println!(
        "{programs} programs on isa v1 to v{newest}, as they are and optimised: {unsupported} need a newer one, \
         {too_complex} are too complex for the verifier, the others agree"
    );
    assert!(too_complex <= programs / 100, "{too_complex} of {programs} programs were not compared");
}
