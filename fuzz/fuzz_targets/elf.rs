//! Any bytes as a binary whose symbols and USDT notes are looked up.
#![no_main]

use std::io::Write;

use kernel::glob::Glob;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("skep-fuzz-elf-{}", std::process::id()));
    let Ok(mut file) = std::fs::File::create(&path) else { return };
    if file.write_all(bytes).is_err() {
        return;
    }
    let all = Glob::new("*");
    if let Ok(binary) = kernel::elf_symbols::Binary::open(&path) {
        let _ = binary.functions(&all);
        let _ = binary.file_offset(0x1000);
        let _ = binary.build_id();
    }
    let _ = kernel::usdt::sites(&path, &all, &all);
});
