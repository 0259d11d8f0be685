//! Any bytes as BTF: types or an error; every type can be read.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(btf) = btf::Btf::parse(bytes) {
        for ty in btf.types().take(10_000) {
            let _ = ty.name();
        }
        let _ = btf.find("task_struct", btf::Kind::Struct);
    }
});
