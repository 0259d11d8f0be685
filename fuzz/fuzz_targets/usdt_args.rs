//! Any text as the argument description of a USDT note.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = bt::usdt::parse_args(text, bt::arch::Arch::native());
});
