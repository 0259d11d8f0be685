//! Signals as something to read, instead of as interruptions.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::error::Error;
use crate::sys;

/// Signals that come to this process while it is held. They no longer interrupt it; other
/// signals do as before. Blocked in the calling thread and those it starts.
#[derive(Debug)]
pub struct Signals {
    fd: OwnedFd,
}

impl Signals {
    /// Catches these signals (`libc::SIGINT`…).
    pub fn catch(signals: &[i32]) -> Result<Signals, Error> {
        let fd = sys::signalfd(signals).map_err(|errno| Error::system("catch signals", errno))?;
        Ok(Signals { fd })
    }

    /// The next signal that has come, `None` if there is none: (number, pid of the sender).
    pub fn next(&self) -> Option<(i32, u32)> {
        let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
        if sys::read(self.fd.as_fd(), &mut info) != Ok(info.len()) {
            return None;
        }
        // `ssi_signo` is the first word, `ssi_pid` the fourth (`struct signalfd_siginfo`).
        let word = |at: usize| u32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]]);
        Some((word(0) as i32, word(12)))
    }
}

/// Polls readable when a signal has come.
impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Writing to a closed pipe fails with `EPIPE` instead of ending the process. Rust's own
/// start-up does the same for ordinary programs; this says it for those that don't.
pub fn ignore_sigpipe() {
    sys::ignore_signal(libc::SIGPIPE);
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_signal_is_read() {
        let signals = Signals::catch(&[libc::SIGUSR2]).expect("caught");
        assert_eq!(signals.next(), None);
        // To this thread: other threads of the test program don't block it.
        sys::raise(libc::SIGUSR2);
        assert_eq!(signals.next().map(|(number, _)| number), Some(libc::SIGUSR2));
        assert_eq!(signals.next(), None);
        assert!(signals.as_fd().as_raw_fd() >= 0);
    }
}
