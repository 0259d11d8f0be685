//! What a process has mapped, and where its files are seen from here.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// A range of a process's memory (a line of `/proc/PID/maps`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    pub start: u64,
    pub end: u64,
    pub executable: bool,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// As the kernel prints it: a path in the process's mount namespace,
    /// `[stack]` and the like, or empty.
    pub path: String,
    /// The file has been deleted.
    pub deleted: bool,
}

impl Mapped {
    /// Whether a file is mapped here.
    pub fn is_file(&self) -> bool {
        self.path.starts_with('/')
    }
}

/// The memory ranges of a process in address order.
pub fn maps(pid: u32) -> Result<Vec<Mapped>, Error> {
    let path = format!("/proc/{pid}/maps");
    let text = std::fs::read(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::refused(format!("look at process {pid}"), "there is no such process"),
        _ => Error::io(format!("read {path}"), &error),
    })?;
    Ok(String::from_utf8_lossy(&text).lines().filter_map(parse_line).collect())
}

/// `55d0c0a00000-55d0c0a2b000 r-xp 0002b000 fe:00 1835 /usr/bin/bash`
fn parse_line(line: &str) -> Option<Mapped> {
    let mut words = line.splitn(5, ' ');
    let (start, end) = words.next()?.split_once('-')?;
    let permissions = words.next()?;
    let offset = words.next()?;
    let _device = words.next()?;
    // The inode, then spaces up to a column, then the path, which may have spaces.
    let (_inode, path) = words.next()?.split_once(' ').unwrap_or_default();
    let path = path.trim_start().replace("\\012", "\n");
    let (path, deleted) = match path.strip_suffix(" (deleted)") {
        Some(path) => (path.to_owned(), true),
        None => (path, false),
    };
    Some(Mapped {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        executable: permissions.contains('x'),
        offset: u64::from_str_radix(offset, 16).ok()?,
        path,
        deleted,
    })
}

/// Files that a process has mapped executable, each once, in address order, as
/// paths that we can open: through `/proc/PID/root` where it lives in another mount namespace,
/// through `/proc/PID/map_files` where the file has no path from here.
pub fn binaries(pid: u32) -> Result<Vec<PathBuf>, Error> {
    let elsewhere = in_other_mount_namespace(pid);
    let mut seen: Vec<String> = Vec::new();
    let mut found = Vec::new();
    for map in maps(pid)?.into_iter().filter(|map| map.executable && map.is_file()) {
        if seen.contains(&map.path) {
            continue;
        }
        // The kernel prints paths from our root directory, whatever the process's own,
        // and those of other mount namespaces from the root there.
        let path = if elsewhere { below_root(pid, Path::new(&map.path)) } else { PathBuf::from(&map.path) };
        found.push(match !map.deleted && path.exists() {
            true => path,
            false => PathBuf::from(format!("/proc/{pid}/map_files/{:x}-{:x}", map.start, map.end)),
        });
        seen.push(map.path);
    }
    Ok(found)
}

/// An absolute path as a process means it, as a path that we can open: it may see
/// other mounts than we do, or have another root directory.
pub fn seen_from_here(pid: u32, path: &Path) -> PathBuf {
    let apart = path.is_absolute() && (in_other_mount_namespace(pid) || differs(pid, "root"));
    if apart { below_root(pid, path) } else { path.to_owned() }
}

/// Whether a process sees other mounts than we do.
pub fn in_other_mount_namespace(pid: u32) -> bool {
    differs(pid, "ns/mnt")
}

fn below_root(pid: u32, path: &Path) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/root")).join(path.strip_prefix("/").unwrap_or(path))
}

/// Whether a link below `/proc/PID` leads elsewhere than our own.
fn differs(pid: u32, link: &str) -> bool {
    let identity = |path: String| std::fs::metadata(path).map(|status| (status.dev(), status.ino())).ok();
    let theirs = identity(format!("/proc/{pid}/{link}"));
    theirs.is_some() && theirs != identity(format!("/proc/self/{link}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps() {
        let line =
            parse_line("55d0c0a00000-55d0c0a2b000 r-xp 0002b000 fe:00 1835      /opt/a b/x (deleted)").expect("a line");
        assert_eq!((line.start, line.end, line.offset), (0x55d0_c0a0_0000, 0x55d0_c0a2_b000, 0x2b000));
        assert_eq!((line.path.as_str(), line.deleted, line.executable), ("/opt/a b/x", true, true));
        let anonymous = parse_line("7ffc6d000000-7ffc6d021000 rw-p 00000000 00:00 0 ").expect("a line");
        assert_eq!((anonymous.path.as_str(), anonymous.is_file(), anonymous.executable), ("", false, false));
        let vdso = parse_line("7ffc6d1f0000-7ffc6d1f2000 r-xp 00000000 00:00 0                          [vdso]")
            .expect("a line");
        assert_eq!((vdso.path.as_str(), vdso.is_file()), ("[vdso]", false));
        for damaged in ["", "x", "1-2", "1-2 r", "1-2 r-xp", "1-2 r-xp 0", "z-2 r-xp 0 0:0 0 /a"] {
            assert_eq!(parse_line(damaged), None, "{damaged}");
        }
    }

    #[test]
    fn a_process_with_other_mounts_is_seen_through_its_root() {
        // A shell in a mount namespace of its own, which ends when its input does.
        let mut command = std::process::Command::new("unshare");
        command.args(["-m", "sh", "-c", "echo; read line"]).stdin(std::process::Stdio::piped());
        let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) => return println!("skipped: unshare: {error}"),
        };
        let mut ready = [0];
        let output = child.stdout.as_mut().expect("piped");
        if std::io::Read::read_exact(output, &mut ready).is_err() {
            return println!("skipped: no new mount namespace here");
        }
        let pid = child.id();
        assert!(in_other_mount_namespace(pid));
        let root = PathBuf::from(format!("/proc/{pid}/root"));
        let files = binaries(pid).expect("readable");
        assert!(!files.is_empty() && files.iter().all(|file| file.starts_with(&root) && file.exists()), "{files:?}");
        assert_eq!(seen_from_here(pid, Path::new("/bin/sh")), root.join("bin/sh"));
        assert_eq!(seen_from_here(pid, Path::new("sh")), Path::new("sh"));
        drop(child.stdin.take());
        child.wait().expect("it ends");
    }

    #[test]
    fn we_have_our_own_binary_mapped() {
        let own = std::env::current_exe().expect("known");
        assert!(binaries(std::process::id()).expect("readable").contains(&own));
        assert!(!in_other_mount_namespace(std::process::id()));
        let error = binaries(u32::MAX).expect_err("no such process");
        assert!(error.to_string().contains("no such process"), "{error}");
    }
}
