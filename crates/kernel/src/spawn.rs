//! A command of the user's, started but held until its probes are attached.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Errno, Error};
use crate::sys;

/// A child process that waits before its `exec` until [`Child::release`]. Killed
/// (`SIGTERM`) when dropped, if it still runs.
#[derive(Debug)]
pub struct Child {
    command: String,
    pid: u32,
    /// Polls readable when the child has ended.
    pidfd: OwnedFd,
    /// Writing to it lets the child go on.
    gate: Option<OwnedFd>,
    /// The error number of a failed `exec` comes out of it.
    failure: OwnedFd,
    status: Option<ExitStatus>,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    Code(i32),
    Signal(i32),
}

impl Child {
    /// Starts a command line, split into words as a shell does, up to its `exec`.
    /// The program is looked up through `PATH`.
    ///
    /// # Errors
    /// The line is empty or a quote is not closed, the program is not found, or
    /// there can be no more processes.
    pub fn start(command: &str) -> Result<Child, Error> {
        let asked = || format!("run '{command}'");
        let words = split_words(command).ok_or_else(|| Error::refused(asked(), "a quote is not closed"))?;
        let Some(first) = words.first() else {
            return Err(Error::refused(asked(), "the command is empty"));
        };
        let program = find_program(first).ok_or_else(|| Error::Refused {
            asked: asked(),
            reason: format!("there is no program '{first}'"),
            hint: Some("give its path, or a name that PATH leads to".into()),
        })?;
        let c_string =
            |bytes: &[u8]| CString::new(bytes).map_err(|_| Error::refused(asked(), "a word has a NUL byte in it"));
        let path = c_string(program.as_os_str().as_bytes())?;
        let arguments = words.iter().map(|word| c_string(word.as_bytes())).collect::<Result<Vec<_>, _>>()?;
        let failed = |errno| Error::system(asked(), errno);
        let (gate_read, gate_write) = sys::pipe().map_err(failed)?;
        let (failure_read, failure_write) = sys::pipe().map_err(failed)?;
        let child = sys::fork_held(&path, &arguments, (gate_read.as_fd(), gate_write.as_fd()), failure_write.as_fd());
        let pid = child.map_err(failed)?;
        let pidfd = match sys::pidfd_open(pid) {
            Ok(pidfd) => pidfd,
            Err(errno) => {
                // Not held by anything of ours then: the closed gate ends it.
                drop(gate_write);
                let _ = sys::wait(pid);
                return Err(failed(errno));
            }
        };
        Ok(Child {
            command: command.to_owned(),
            pid,
            pidfd,
            gate: Some(gate_write),
            failure: failure_read,
            status: None,
        })
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets the child run its program. Returns once the `exec` is done or has failed.
    pub fn release(&mut self) -> Result<(), Error> {
        let asked = || format!("run '{}'", self.command);
        let Some(gate) = self.gate.take() else { return Ok(()) };
        sys::write(gate.as_fd(), &[1]).map_err(|errno| Error::system(asked(), errno))?;
        let mut number = [0u8; 4];
        match sys::read(self.failure.as_fd(), &mut number) {
            // The pipe closed by the exec.
            Ok(0) => Ok(()),
            Ok(_) => Err(Error::system_hint(
                asked(),
                Errno(i32::from_ne_bytes(number)),
                "the program can't be run by this user or on this machine",
            )),
            Err(errno) => Err(Error::system(asked(), errno)),
        }
    }

    /// How the child ended, without waiting; `None` if it still runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = sys::try_wait(self.pid).map(decode_status);
        }
        self.status
    }

    /// Waits for the child's end.
    pub fn wait(&mut self) -> ExitStatus {
        if let Some(status) = self.status {
            return status;
        }
        // A child that someone else has waited for can only be said to be gone.
        let status = sys::wait(self.pid).map_or(ExitStatus::Code(0), decode_status);
        self.status = Some(status);
        status
    }
}

/// Polls readable when the child has ended.
impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended().is_some() {
            return;
        }
        if self.gate.take().is_none() {
            // Running: ask it to end, and don't wait for one that does not.
            let _ = sys::kill(self.pid, libc::SIGTERM);
            return;
        }
        // Held: the closed gate ends it.
        self.wait();
    }
}

fn decode_status(status: i32) -> ExitStatus {
    if libc::WIFSIGNALED(status) {
        ExitStatus::Signal(libc::WTERMSIG(status))
    } else {
        ExitStatus::Code(libc::WEXITSTATUS(status))
    }
}

/// The file that a program's name means: a path as it stands, a plain name through `PATH`.
fn find_program(name: &str) -> Option<PathBuf> {
    if name.is_empty() {
        return None;
    }
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.exists());
    }
    let executable =
        |path: &Path| path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| executable(path))
}

/// Splits a command line at blanks. Single quotes keep everything, double quotes and
/// a bare backslash keep the next character; `None` if a quote is not closed.
fn split_words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next()?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn words_as_a_shell_splits_them() {
        let words = |line| split_words(line).map(|words| words.join("|"));
        assert_eq!(words("ls -l  /tmp").as_deref(), Some("ls|-l|/tmp"));
        assert_eq!(words("sh -c 'echo \"a b\"'").as_deref(), Some("sh|-c|echo \"a b\""));
        assert_eq!(words(r#"a\ b "c\"d\n" e'f'g ''"#).as_deref(), Some(r#"a b|c"d\n|efg|"#));
        assert_eq!(words("  ").as_deref(), Some(""));
        assert_eq!(words("'open"), None);
        assert_eq!(words("\"open\\"), None);
        assert_eq!(words("end\\"), None);
    }

    #[test]
    fn a_child_waits_for_its_release() {
        let file = std::env::temp_dir().join(format!("skep-spawn-{}", std::process::id()));
        let mut child = Child::start(&format!("sh -c 'echo hi > {}; exit 3'", file.display())).expect("starts");
        assert_eq!(child.ended(), None);
        assert!(!file.exists());
        child.release().expect("released");
        assert_eq!(child.wait(), ExitStatus::Code(3));
        assert_eq!(std::fs::read_to_string(&file).expect("written"), "hi\n");
        std::fs::remove_file(&file).expect("removed");
    }

    #[test]
    fn a_child_that_is_dropped_is_gone() {
        let mut running = Child::start("sleep 1000").expect("starts");
        running.release().expect("released");
        let pidfd = running.as_fd().try_clone_to_owned().expect("a copy");
        drop(running);
        let held = Child::start("sleep 1000").expect("starts");
        let held_fd = held.as_fd().try_clone_to_owned().expect("a copy");
        drop(held);
        let poll = sys::Poll::new().expect("epoll");
        let mut ready = Vec::new();
        for fd in [pidfd, held_fd] {
            poll.add(fd.as_fd(), fd.as_raw_fd() as u64).expect("added");
            poll.wait(Some(std::time::Duration::from_secs(60)), &mut ready).expect("waits");
            assert_eq!(ready, [fd.as_raw_fd() as u64]);
            poll.remove(fd.as_fd()).expect("removed");
        }
    }

    #[test]
    fn what_cannot_run_says_so() {
        assert!(Child::start("").is_err());
        assert!(Child::start("no-such-program-anywhere").is_err());
        let mut child = Child::start("/etc/passwd x").expect("starts");
        let error = child.release().expect_err("can't be run");
        assert!(error.to_string().contains("/etc/passwd"), "{error}");
    }
}
