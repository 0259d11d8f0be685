//! Any bytes as a BPF object file.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(object) = object::read_elf(bytes) {
        let _ = object::listing(&object);
        for program in &object.programs {
            let _ = object::link(&object, program);
        }
    }
});
