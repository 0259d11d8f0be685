//! The bytes of the kernel's BTF, and of its modules'.

use std::fs::File;
use std::io::Read;

use crate::error::Error;
use crate::file_map::FileMap;

const DIRECTORY: &str = "/sys/kernel/btf";

/// BTF of the running kernel, for the rest of the process's life. Mapped where the kernel can
/// (Linux 6.16: no copy, 30 µs), else read (1 ms).
pub fn vmlinux() -> Result<&'static [u8], Error> {
    bytes("vmlinux").map_err(|error| match error {
        Error::System { asked, errno, .. } if errno.0 == libc::ENOENT => Error::system_hint(
            asked,
            errno,
            "this kernel was built without CONFIG_DEBUG_INFO_BTF; tracepoints and untyped probes still work",
        ),
        other => other,
    })
}

/// BTF of a loaded module, which continues vmlinux's.
pub fn module(name: &str) -> Result<&'static [u8], Error> {
    if name.is_empty() || name == "vmlinux" || name.contains('/') || name.starts_with('.') {
        return Err(Error::refused(format!("read the types of module {name:?}"), "not a module's name"));
    }
    bytes(name)
}

/// Names of the loaded modules that have BTF, sorted.
pub fn modules() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(DIRECTORY) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name != "vmlinux")
        .collect();
    names.sort();
    names
}

fn bytes(name: &str) -> Result<&'static [u8], Error> {
    let path = format!("{DIRECTORY}/{name}");
    let asked = || format!("read the kernel's types from {path}");
    let mut file = File::open(&path).map_err(|error| Error::io(asked(), &error))?;
    let len = file.metadata().map_err(|error| Error::io(asked(), &error))?.len();
    let len = usize::try_from(len).map_err(|_| Error::malformed(asked(), "larger than memory"))?;
    if let Ok(map) = FileMap::map(&file, len) {
        return Ok(map.leak());
    }
    let mut bytes = Vec::with_capacity(len + 1);
    file.read_to_end(&mut bytes).map_err(|error| Error::io(asked(), &error))?;
    Ok(bytes.leak())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_types_are_btf() {
        match vmlinux() {
            Ok(bytes) => assert_eq!(bytes, std::fs::read("/sys/kernel/btf/vmlinux").expect("readable")),
            Err(error) => println!("skipped: {error}"),
        }
        assert!(module("../btf/vmlinux").is_err());
        assert!(module("no_such_module").is_err());
        assert!(modules().iter().all(|name| module(name).is_ok()));
    }
}
