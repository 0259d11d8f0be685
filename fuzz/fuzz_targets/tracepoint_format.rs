//! Any text as the format file of a tracepoint.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = bt::parse_format(text);
});
