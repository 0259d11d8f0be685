//! The file that a name in a probe means: a path, a program, a library.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::process;

/// glibc's list of libraries, written by ldconfig(8).
const LD_CACHE: &str = "/etc/ld.so.cache";

/// Where libraries are when the cache does not know them.
const LIBRARY_DIRECTORIES: [&str; 8] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

/// Where programs are when `PATH` is not set.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The file that a name means: with a slash a path; else a program in `PATH`, a
/// library (`libc`, `c`, `libc.so.6`), or a file here, in this order. With a pid, as
/// that process sees its files, in a form that we can open.
pub fn binary(name: &str, pid: Option<u32>) -> Result<PathBuf, Error> {
    let asked = || format!("find the binary {name:?}");
    if name.is_empty() {
        return Err(Error::refused(asked(), "it has no name"));
    }
    let here = |path: &Path| pid.map_or_else(|| path.to_owned(), |pid| process::seen_from_here(pid, path));
    if name.contains('/') {
        let path = here(Path::new(name));
        return match std::fs::metadata(&path) {
            Ok(status) if status.is_file() => Ok(path),
            Ok(_) => Err(Error::refused(asked(), "not a regular file")),
            Err(error) => Err(Error::io(asked(), &error)),
        };
    }
    let search = std::env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.to_owned());
    let programs = search.split(':').filter(|directory| directory.starts_with('/'));
    let program = programs.map(|directory| here(&Path::new(directory).join(name))).find(|path| is_executable(path));
    let found = program.or_else(|| library(name, &here)).or_else(|| {
        let file = PathBuf::from(name);
        file.is_file().then_some(file)
    });
    found.ok_or_else(|| Error::Refused {
        asked: asked(),
        reason: "no program in PATH and no library has this name".into(),
        hint: Some("give the file's path, with a slash".into()),
    })
}

fn library(name: &str, here: &dyn Fn(&Path) -> PathBuf) -> Option<PathBuf> {
    let cache = std::fs::read(here(Path::new(LD_CACHE))).unwrap_or_default();
    let entries = cache_entries(&cache);
    let ours = |entry: &&CacheEntry<'_>| entry.flags == native_flags() && is_library(entry.name, name);
    if let Some(entry) = entries.iter().find(ours) {
        return Some(here(Path::new(entry.path)));
    }
    LIBRARY_DIRECTORIES.iter().find_map(|directory| {
        let directory = here(Path::new(directory));
        let mut matching: Vec<PathBuf> = std::fs::read_dir(&directory)
            .ok()?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|file| is_library(file, name))
            .map(|file| directory.join(file))
            .filter(|path| path.is_file())
            .collect();
        matching.sort();
        // An unversioned `libx.so` may be a linker script: the versioned name says more.
        matching.pop()
    })
}

/// Whether a library's file name is meant by a name: `libc.so.6` by itself, `libc.so`, `libc` and `c`.
fn is_library(file: &str, name: &str) -> bool {
    if file == name {
        return true;
    }
    let stem = file.strip_prefix(name).or_else(|| file.strip_prefix("lib")?.strip_prefix(name));
    stem.is_some_and(|rest| {
        rest == ".so" || rest.starts_with(".so.") || (rest.starts_with('.') && name.ends_with(".so"))
    })
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|status| status.is_file() && status.permissions().mode() & 0o111 != 0)
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct CacheEntry<'c> {
    /// `libc.so.6`
    name: &'c str,
    path: &'c str,
    flags: u32,
}

/// `FLAG_ELF_LIBC6` and the architecture's flag (`sysdeps/generic/ldconfig.h` of glibc).
const fn native_flags() -> u32 {
    if cfg!(target_arch = "aarch64") { 0x0a03 } else { 0x0303 }
}

/// Entries of a cache in glibc's format 1.1 (since 2.2, alone since 2.32; before that after the
/// old format). Of a damaged cache, the entries that make sense.
///
/// Header, 48 bytes: `glibc-ld.so.cache1.1`, `u32` number of entries, `u32` bytes of
/// strings, flags and extensions. Entry, 24 bytes: `i32` flags, `u32` name, `u32` path (both from the
/// header's start), `u32` OS version, `u64` hardware capabilities. Source: `elf/cache.c`, `sysdeps/generic/dl-cache.h`.
fn cache_entries(file: &[u8]) -> Vec<CacheEntry<'_>> {
    const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
    const HEADER: usize = 48;
    const ENTRY: usize = 24;
    let Some(start) = memchr::memmem::find(file, MAGIC) else { return Vec::new() };
    let cache = &file[start..];
    let word = |at: usize| cache.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes);
    let string = |at: u32| {
        let rest = cache.get(at as usize..)?;
        std::str::from_utf8(&rest[..memchr::memchr(0, rest)?]).ok()
    };
    let count = (word(MAGIC.len()) as usize).min(cache.len() / ENTRY);
    (0..count)
        .map(|index| HEADER + index * ENTRY)
        .filter_map(|at| Some(CacheEntry { flags: word(at), name: string(word(at + 4))?, path: string(word(at + 8))? }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache with two libraries.
    fn cache() -> Vec<u8> {
        let mut bytes = b"glibc-ld.so.cache1.1".to_vec();
        let strings = b"libc.so.6\0/lib/libc.so.6\0libz.so.1\0/lib/libz.so.1\0";
        let first = 48 + 2 * 24;
        for word in [2, strings.len() as u32, 2, 0, 0, 0, 0] {
            bytes.extend_from_slice(&u32::to_ne_bytes(word));
        }
        for (name, path) in [(0, 10), (25, 35)] {
            for word in [native_flags(), first + name, first + path, 0, 0, 0] {
                bytes.extend_from_slice(&u32::to_ne_bytes(word));
            }
        }
        bytes.extend_from_slice(strings);
        bytes
    }

    #[test]
    fn a_cache_gives_names_and_paths() {
        let bytes = cache();
        let entries = cache_entries(&bytes);
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[1], CacheEntry { name: "libz.so.1", path: "/lib/libz.so.1", flags: native_flags() });
        let mut after_old_format = b"ld.so-1.7.0\0\0\0\0\0\0\0\0\0".to_vec();
        after_old_format.extend_from_slice(&bytes);
        assert_eq!(cache_entries(&after_old_format).len(), 2);
    }

    #[test]
    fn a_damaged_cache_gives_fewer_entries() {
        let bytes = cache();
        for len in 0..bytes.len() {
            assert!(cache_entries(&bytes[..len]).len() <= 2);
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] = 0xff;
            let _ = cache_entries(&damaged);
        }
    }

    #[test]
    fn what_a_library_may_be_called() {
        for name in ["libc.so.6", "libc.so", "libc", "c"] {
            assert!(is_library("libc.so.6", name), "{name}");
        }
        for name in ["lib", "libcc", "cs", "", "so", "libc.so.7"] {
            assert!(!is_library("libc.so.6", name), "{name}");
        }
        assert!(is_library("libstdc++.so.6", "stdc++"));
        assert!(is_library("libfoo.so", "foo"));
        assert!(!is_library("libcap.so.2", "c"));
    }

    #[test]
    fn names_on_this_machine() {
        assert_eq!(binary("/proc/self/exe", None).expect("a path"), Path::new("/proc/self/exe"));
        assert!(binary("sh", None).expect("a program").ends_with("sh"));
        for missing in ["", "/", "/no/such/file", "no_such_program_at_all", "a\0b", "\0/"] {
            assert!(binary(missing, None).is_err(), "{missing:?}");
        }
        match binary("libc", None) {
            Ok(path) => assert!(path.to_string_lossy().contains("libc.so"), "{path:?}"),
            Err(error) => println!("skipped: {error}"),
        }
    }
}
