//! Any text as a printf format.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = view::Format::parse(text);
});
