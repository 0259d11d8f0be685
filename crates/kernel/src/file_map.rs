//! Whole files as bytes.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr::NonNull;

use crate::error::{Errno, Error};

/// A file's bytes, mapped for reading; pages are read when they are touched.
///
/// As for every program that maps binaries (the dynamic loader among them), a file that
/// another process cuts short while it is mapped ends us with SIGBUS.
/// Package managers replace files instead, which is harmless.
#[derive(Debug)]
pub(crate) struct FileMap {
    /// `None`: an empty file, which can't be mapped.
    start: Option<NonNull<u8>>,
    len: usize,
}

// SAFETY: the mapping is private, read-only and owned.
unsafe impl Send for FileMap {}
// SAFETY: as above; reading needs no exclusive access.
unsafe impl Sync for FileMap {}

impl FileMap {
    /// Maps a regular file.
    pub fn open(path: &Path) -> Result<FileMap, Error> {
        let asked = || format!("read {}", path.display());
        let file = File::open(path).map_err(|error| Error::io(asked(), &error))?;
        let status = file.metadata().map_err(|error| Error::io(asked(), &error))?;
        if !status.is_file() {
            return Err(Error::refused(asked(), "not a regular file"));
        }
        let len = usize::try_from(status.len()).map_err(|_| Error::refused(asked(), "larger than memory"))?;
        FileMap::map(&file, len).map_err(|errno| Error::system(asked(), errno))
    }

    /// Maps the first `len` bytes of a file.
    pub fn map(file: &File, len: usize) -> Result<FileMap, Errno> {
        if len == 0 {
            return Ok(FileMap { start: None, len });
        }
        let null = std::ptr::null_mut();
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing of ours.
        let start = unsafe { libc::mmap(null, len, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0) };
        match NonNull::new(start.cast()) {
            Some(start) if start.as_ptr() != libc::MAP_FAILED.cast() => Ok(FileMap { start: Some(start), len }),
            _ => Err(Errno::last()),
        }
    }

    pub fn bytes(&self) -> &[u8] {
        match self.start {
            // SAFETY: `len` readable bytes from `start` on, mapped as long as `self` lives;
            // nobody writes through this private mapping.
            Some(start) => unsafe { std::slice::from_raw_parts(start.as_ptr(), self.len) },
            None => &[],
        }
    }

    /// The bytes for the rest of the process's life.
    pub fn leak(self) -> &'static [u8] {
        let bytes: *const [u8] = self.bytes();
        std::mem::forget(self);
        // SAFETY: the mapping is never taken away now that `self` is forgotten.
        unsafe { &*bytes }
    }
}

impl Drop for FileMap {
    fn drop(&mut self) {
        if let Some(start) = self.start {
            // SAFETY: exactly what mmap(2) gave us; slices of it borrow `self`.
            unsafe { libc::munmap(start.as_ptr().cast(), self.len) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_is_as_read() {
        let path = Path::new("/proc/self/exe");
        assert_eq!(FileMap::open(path).expect("readable").bytes(), std::fs::read(path).expect("readable"));
        assert!(FileMap::open(Path::new("/")).is_err());
        assert!(FileMap::open(Path::new("/dev/null")).is_err());
        assert!(FileMap::open(Path::new("/no/such/file")).is_err());
    }
}
