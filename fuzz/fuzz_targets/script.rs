//! Any text as a script: a tree or diagnostics, and each diagnostic can be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (tree, diagnostics) = bt::parser::parse(text, &bt::parser::ParseOptions { positional: &[] });
    let _ = bt::print_script(&tree);
    for diagnostic in diagnostics {
        let _ = diagnostic.render("fuzz", text, false);
    }
});
