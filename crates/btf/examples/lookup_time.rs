//! How long opening the running kernel's BTF and looking names up takes.

use std::time::Instant;

use btf::{Btf, Kind};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bytes = std::fs::read("/sys/kernel/btf/vmlinux")?;
    for _ in 0..5 {
        let start = Instant::now();
        let btf = Btf::parse(&bytes)?;
        let opened = start.elapsed();
        let start = Instant::now();
        let found = btf.find("task_struct", Kind::Struct).is_some();
        let struct_found = start.elapsed();
        let start = Instant::now();
        let function = btf.find("vfs_read", Kind::Func).is_some();
        let function_found = start.elapsed();
        let start = Instant::now();
        let functions = btf.functions().count();
        println!(
            "open {opened:?}, {} types; task_struct {struct_found:?} {found}; vfs_read {function_found:?} {function}; \
             {functions} functions {:?}",
            btf.end_id(),
            start.elapsed()
        );
    }
    Ok(())
}
