//! Files below a directory that we hold open, mounted or not.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::error::Errno;

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub name: String,
    pub is_directory: bool,
}

/// Opens a directory by its path, for reading what is in it.
pub(crate) fn open(path: &str) -> Result<OwnedFd, Errno> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    open_with(libc::AT_FDCWD, path, flags)
}

/// Opens `path` below `directory` for reading.
pub(crate) fn open_at(directory: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    open_with(directory.as_raw_fd(), path, libc::O_RDONLY | libc::O_CLOEXEC)
}

fn open_with(directory: i32, path: &str, flags: i32) -> Result<OwnedFd, Errno> {
    let path = CString::new(path).map_err(|_| Errno(libc::EINVAL))?;
    // SAFETY: `path` is a live C string.
    let fd = unsafe { libc::openat(directory, path.as_ptr(), flags) };
    if fd < 0 {
        return Err(Errno::last());
    }
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The text of a file below `directory`; bytes that are not UTF-8 are replaced.
pub(crate) fn read_at(directory: BorrowedFd<'_>, path: &str) -> Result<String, Errno> {
    let mut bytes = Vec::new();
    File::from(open_at(directory, path)?)
        .read_to_end(&mut bytes)
        .map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EIO)))?;
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// What is in an open directory, without `.` and `..`, in the kernel's order.
pub(crate) fn entries(directory: BorrowedFd<'_>) -> Result<Vec<Entry>, Errno> {
    let mut found = Vec::new();
    let mut buffer = vec![0_u8; 32 * 1024];
    loop {
        // SAFETY: the buffer is live, writable and as large as said.
        let count =
            unsafe { libc::syscall(libc::SYS_getdents64, directory.as_raw_fd(), buffer.as_mut_ptr(), buffer.len()) };
        match usize::try_from(count) {
            Err(_) => return Err(Errno::last()),
            Ok(0) => return Ok(found),
            Ok(count) => parse_entries(buffer.get(..count).unwrap_or(&[]), &mut found),
        }
    }
}

/// `struct linux_dirent64`: u64 inode, u64 offset, u16 length, u8 type, name.
fn parse_entries(mut bytes: &[u8], found: &mut Vec<Entry>) {
    const NAME: usize = 19;
    while let Some(header) = bytes.get(..NAME) {
        let length = usize::from(u16::from_ne_bytes([header[16], header[17]]));
        let Some(name) = bytes.get(NAME..length) else { return };
        let name = name.split(|byte| *byte == 0).next().unwrap_or(name);
        if name != b"." && name != b".." {
            found.push(Entry {
                name: String::from_utf8_lossy(name).into_owned(),
                is_directory: header[18] == libc::DT_DIR,
            });
        }
        bytes = &bytes[length..];
    }
}

/// The file system type (`statfs` magic) of an open file.
pub(crate) fn file_system(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    // SAFETY: all zeros is a valid `statfs`.
    let mut status: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: `status` is live and writable.
    if unsafe { libc::fstatfs(fd.as_raw_fd(), &mut status) } < 0 {
        return Err(Errno::last());
    }
    Ok(status.f_type as u64)
}

/// The root of a pseudo file system, mounted nowhere: it goes away with the
/// descriptor, whatever becomes of us (`fsopen`, `fsmount`: Linux 5.2).
pub(crate) fn mount_detached(kind: &str) -> Result<OwnedFd, Errno> {
    const FSOPEN_CLOEXEC: u32 = 1;
    const FSMOUNT_CLOEXEC: u32 = 1;
    const FSCONFIG_CMD_CREATE: u32 = 6;
    let kind = CString::new(kind).map_err(|_| Errno(libc::EINVAL))?;
    // SAFETY: `kind` is a live C string.
    let context = owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })?;
    let null = std::ptr::null::<libc::c_char>();
    // SAFETY: this command takes neither key nor value.
    let created = unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), FSCONFIG_CMD_CREATE, null, null, 0) };
    if created < 0 {
        return Err(Errno::last());
    }
    // SAFETY: integers only.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, 0) })
}

fn owned(fd: libc::c_long) -> Result<OwnedFd, Errno> {
    match i32::try_from(fd) {
        // SAFETY: the kernel just made this descriptor for us.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(Errno::last()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_directory_lists_as_std_lists_it() {
        let directory = open("/proc/self").expect("there is /proc");
        let mut ours: Vec<String> = entries(directory.as_fd()).expect("readable").into_iter().map(|e| e.name).collect();
        let mut theirs: Vec<String> = std::fs::read_dir("/proc/self")
            .expect("readable")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs);
        assert!(read_at(directory.as_fd(), "comm").is_ok());
        assert!(read_at(directory.as_fd(), "no/such").is_err());
    }

    #[test]
    fn damaged_entries_end_the_list() {
        let mut bytes = [0_u8; 40];
        bytes[16] = 24;
        bytes[19] = b'a';
        for length in 0..40 {
            let mut found = Vec::new();
            parse_entries(&bytes[..length], &mut found);
            assert_eq!(found.len(), usize::from(length >= 24), "{length}");
        }
    }
}
