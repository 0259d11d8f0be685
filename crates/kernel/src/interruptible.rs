//! Writing to a reader that may stand still without becoming deaf to signals.

use std::cell::Cell;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

/// How long a reader that takes nothing holds us up once we were interrupted, in milliseconds.
const GRACE_MS: libc::c_int = 500;

/// What a pipe is sure to take once it polls writable (`PIPE_BUF`, `pipe(7)`).
const PIPE_BYTES: usize = 4096;

/// A writer on a descriptor that may block, like a pipe or a terminal. It waits for the
/// reader, but once the session was interrupted no longer than half a second a piece; then it
/// fails with [`io::ErrorKind::TimedOut`], so that a session whose reader stands still can be ended.
///
/// The descriptor is not made non-blocking, because that would change it
/// for all who share it (a shell's terminal).
#[derive(Debug)]
pub struct InterruptibleWriter {
    fd: OwnedFd,
    interrupt: OwnedFd,
    interrupted: Rc<Cell<bool>>,
    /// Regular files never block for long; they are written in large pieces.
    may_block: bool,
}

impl InterruptibleWriter {
    /// A writer on `fd`. Interrupted is it once `interrupted` says so, or `interrupt` (a
    /// signalfd, which it does not read from) polls readable.
    pub fn new(fd: OwnedFd, interrupt: OwnedFd, interrupted: Rc<Cell<bool>>) -> InterruptibleWriter {
        // SAFETY: all zeros is a valid `stat`.
        let mut status: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: `status` is live and writable.
        let known = unsafe { libc::fstat(fd.as_raw_fd(), &mut status) } == 0;
        let may_block = !(known && status.st_mode & libc::S_IFMT == libc::S_IFREG);
        InterruptibleWriter { fd, interrupt, interrupted, may_block }
    }

    /// Waits until the descriptor takes something.
    fn wait(&self) -> io::Result<()> {
        let mut fds = [
            libc::pollfd { fd: self.fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 },
            libc::pollfd { fd: self.interrupt.as_raw_fd(), events: libc::POLLIN, revents: 0 },
        ];
        let poll = |fds: &mut [libc::pollfd], timeout| {
            // SAFETY: the array is live, writable and as long as said.
            let count = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) };
            if count < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
        };
        if !self.interrupted.get() {
            poll(&mut fds, -1)?;
        }
        if fds[0].revents == 0 {
            poll(&mut fds[..1], GRACE_MS)?;
        }
        if fds[0].revents == 0 { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl Write for InterruptibleWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut piece = bytes;
        if self.may_block {
            self.wait()?;
            piece = &bytes[..bytes.len().min(PIPE_BYTES)];
        }
        // SAFETY: the bytes are live and as many as said.
        let count = unsafe { libc::write(self.fd.as_raw_fd(), piece.as_ptr().cast(), piece.len()) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_reader_that_stands_still_does_not_hold_an_interrupted_writer() {
        let (_reader, writer) = io::pipe().unwrap();
        let (interrupt, mut interrupting) = io::pipe().unwrap();
        interrupting.write_all(b"x").unwrap();
        let mut writer = InterruptibleWriter::new(writer.into(), interrupt.into(), Rc::default());
        let error = writer.write_all(&vec![0; 1 << 20]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_session_known_to_be_interrupted_does_not_wait_either() {
        let (_reader, writer) = io::pipe().unwrap();
        let (interrupt, _interrupting) = io::pipe().unwrap();
        let interrupted = Rc::new(Cell::new(true));
        let mut writer = InterruptibleWriter::new(writer.into(), interrupt.into(), interrupted);
        let error = writer.write_all(&vec![0; 1 << 20]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_reader_that_reads_gets_all() {
        let (mut reader, writer) = io::pipe().unwrap();
        let (interrupt, _interrupting) = io::pipe().unwrap();
        let writing = std::thread::spawn(move || {
            InterruptibleWriter::new(writer.into(), interrupt.into(), Rc::default()).write_all(&vec![7; 1 << 20])
        });
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        writing.join().unwrap().unwrap();
        assert_eq!(bytes, vec![7; 1 << 20]);
    }

    #[test]
    fn a_closed_pipe_is_an_error() {
        let (reader, writer) = io::pipe().unwrap();
        let (interrupt, _interrupting) = io::pipe().unwrap();
        drop(reader);
        let mut writer = InterruptibleWriter::new(writer.into(), interrupt.into(), Rc::default());
        assert_eq!(writer.write_all(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
