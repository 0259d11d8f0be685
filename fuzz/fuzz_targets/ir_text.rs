//! Any text as a module of the IR: what parses and verifies, compiles.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(mut module) = ir::parse_module(text)
        && ir::verify_module(&module).is_ok()
    {
        ir::optimize(&mut module);
        let _ = ir::generate(&module, &ir::Options::default());
    }
});
