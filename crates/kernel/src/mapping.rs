//! Memory of the kernel mapped into ours.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::error::Errno;

/// A shared mapping of a descriptor's memory; unmapped on drop.
///
/// The kernel and BPF programs may write to it at any time, so it is
/// reached through atomics and raw copies only, never as a plain reference.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
    writable: bool,
}

// SAFETY: the mapping is owned, and every access is atomic or a volatile copy.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps `len` bytes from `offset` of the memory behind `fd`.
    pub fn new(fd: BorrowedFd<'_>, offset: usize, len: usize, writable: bool) -> Result<Mapping, Errno> {
        let protection = if writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        let Ok(offset) = libc::off_t::try_from(offset) else { return Err(Errno(libc::EINVAL)) };
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing of ours.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_SHARED, fd.as_raw_fd(), offset) };
        match NonNull::new(start.cast()) {
            Some(start) if start.as_ptr() != libc::MAP_FAILED.cast() => Ok(Mapping { start, len, writable }),
            _ => Err(Errno::last()),
        }
    }

    /// The address of `size` bytes at `offset`; `None` if they are not all inside.
    pub fn address(&self, offset: usize, size: usize) -> Option<NonNull<u8>> {
        let end = offset.checked_add(size)?;
        if end > self.len {
            return None;
        }
        // SAFETY: inside the mapping, as just checked.
        Some(unsafe { self.start.add(offset) })
    }

    /// The 8-byte word at `offset`, if it is inside and aligned.
    pub fn u64_at(&self, offset: usize) -> Option<&AtomicU64> {
        let address = self.address(offset, 8)?.cast::<AtomicU64>();
        if !address.is_aligned() {
            return None;
        }
        // SAFETY: inside the mapping, aligned as checked, and lives as long as `self`.
        Some(unsafe { address.as_ref() })
    }

    /// The 4-byte word at `offset`, if it is inside and aligned.
    pub fn u32_at(&self, offset: usize) -> Option<&AtomicU32> {
        let address = self.address(offset, 4)?.cast::<AtomicU32>();
        if !address.is_aligned() {
            return None;
        }
        // SAFETY: inside the mapping, aligned as checked, and lives as long as `self`.
        Some(unsafe { address.as_ref() })
    }

    /// Copies `bytes` to `offset`; false if they don't fit or it is mapped for reading only.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> bool {
        let Some(address) = self.address(offset, bytes.len()) else { return false };
        if !self.writable {
            return false;
        }
        // SAFETY: the target is inside a writable mapping, which no slice of ours overlaps.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), address.as_ptr(), bytes.len()) };
        true
    }

    /// Copies from `offset` into `bytes`; false if not all of it is inside.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> bool {
        let Some(address) = self.address(offset, bytes.len()) else { return false };
        // SAFETY: the source is inside the mapping, which no slice of ours overlaps.
        unsafe { std::ptr::copy_nonoverlapping(address.as_ptr(), bytes.as_mut_ptr(), bytes.len()) };
        true
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what mmap(2) gave us, and no reference to it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
