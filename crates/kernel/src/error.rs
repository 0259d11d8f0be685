//! Why something could not be done: what was asked, what the kernel said, what
//! to do about it.

use std::fmt;

use crate::program::LoadError;

/// Everything that can go wrong between us and the kernel. `Display` gives what was
/// asked and what was said in one line; [`Error::hint`] what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("{asked}: {errno}")]
    System { asked: String, errno: Errno, hint: Option<String> },
    /// We know before asking, or from the answer, that it can't be done.
    #[error("{asked}: {reason}")]
    Refused { asked: String, reason: String, hint: Option<String> },
    /// A file or an answer does not have the form it should have.
    #[error("{asked}: {reason}")]
    Malformed { asked: String, reason: String },
    /// The kernel did not accept a program.
    #[error(transparent)]
    Load(Box<LoadError>),
}

impl Error {
    /// A failed system call, with the hint that its error number suggests.
    pub fn system(asked: impl Into<String>, errno: Errno) -> Error {
        Error::System { asked: asked.into(), errno, hint: general_hint(errno) }
    }

    /// A failed system call of whose cause we know more than its number says.
    pub fn system_hint(asked: impl Into<String>, errno: Errno, hint: impl Into<String>) -> Error {
        Error::System { asked: asked.into(), errno, hint: Some(hint.into()) }
    }

    /// A failure from `std`, for instance of reading a file.
    pub fn io(asked: impl Into<String>, error: &std::io::Error) -> Error {
        match error.raw_os_error() {
            Some(errno) => Error::system(asked, Errno(errno)),
            None => Error::Malformed { asked: asked.into(), reason: error.to_string() },
        }
    }

    /// Refused without a system call's error number.
    pub fn refused(asked: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::Refused { asked: asked.into(), reason: reason.into(), hint: None }
    }

    /// Not of the form it should have.
    pub fn malformed(asked: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::Malformed { asked: asked.into(), reason: reason.into() }
    }

    /// What the user can do, in one sentence.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Error::System { hint, .. } | Error::Refused { hint, .. } => hint.as_deref(),
            Error::Malformed { .. } => None,
            Error::Load(error) => error.hint.as_deref(),
        }
    }

    /// The kernel's error number, where there was one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::System { errno, .. } => Some(*errno),
            Error::Load(error) => Some(error.errno),
            Error::Refused { .. } | Error::Malformed { .. } => None,
        }
    }
}

/// What an error number means whatever was asked.
pub(crate) fn general_hint(errno: Errno) -> Option<String> {
    match errno.0 {
        libc::EPERM | libc::EACCES => Some(permission_hint()),
        libc::EMFILE => Some("raise the limit of open files (ulimit -n)".into()),
        libc::ENFILE => Some("the machine's limit of open files is reached (fs.file-max)".into()),
        libc::ENOSYS => Some("this kernel was built without it".into()),
        _ => None,
    }
}

/// Why a call that needs privilege was refused.
fn permission_hint() -> String {
    if !crate::sys::is_root() {
        return "run as root, or with CAP_BPF and CAP_PERFMON".into();
    }
    match crate::security::lockdown() {
        Some(mode) if mode != "none" => {
            format!("kernel lockdown is '{mode}', which may forbid it; `skep doctor` shows what is allowed")
        }
        _ => "the kernel, its configuration or a security module forbids it even to root; `skep doctor` shows what is allowed".into(),
    }
}

/// An error number of the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

/// `ENOTSUPP`: known inside the kernel only, yet bpf(2) returns it (`include/linux/errno.h`).
pub const ENOTSUPP: i32 = 524;

impl Errno {
    /// The error of the last failed call of this thread.
    pub(crate) fn last() -> Errno {
        Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
    }

    /// `EPERM`, `ENOENT`…; `None` for one that has no name here.
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|(number, _)| *number == self.0).map(|(_, name)| *name)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == ENOTSUPP {
            return f.write_str("not supported (ENOTSUPP)");
        }
        let text = std::io::Error::from_raw_os_error(self.0).to_string();
        // std appends " (os error N)"; the name says the same better.
        let text = text.split(" (os error").next().unwrap_or(&text);
        match self.name() {
            Some(name) => write!(f, "{text} ({name})"),
            None => write!(f, "{text} (errno {})", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const NAMES: &[(i32, &str)] = &[
    (libc::EPERM, "EPERM"),
    (libc::ENOENT, "ENOENT"),
    (libc::ESRCH, "ESRCH"),
    (libc::EINTR, "EINTR"),
    (libc::EIO, "EIO"),
    (libc::ENXIO, "ENXIO"),
    (libc::E2BIG, "E2BIG"),
    (libc::EBADF, "EBADF"),
    (libc::ECHILD, "ECHILD"),
    (libc::EAGAIN, "EAGAIN"),
    (libc::ENOMEM, "ENOMEM"),
    (libc::EACCES, "EACCES"),
    (libc::EFAULT, "EFAULT"),
    (libc::EBUSY, "EBUSY"),
    (libc::EEXIST, "EEXIST"),
    (libc::ENODEV, "ENODEV"),
    (libc::ENOTDIR, "ENOTDIR"),
    (libc::EISDIR, "EISDIR"),
    (libc::EINVAL, "EINVAL"),
    (libc::ENFILE, "ENFILE"),
    (libc::EMFILE, "EMFILE"),
    (libc::ENOSPC, "ENOSPC"),
    (libc::ESPIPE, "ESPIPE"),
    (libc::EROFS, "EROFS"),
    (libc::EPIPE, "EPIPE"),
    (libc::EDOM, "EDOM"),
    (libc::ERANGE, "ERANGE"),
    (libc::EDEADLK, "EDEADLK"),
    (libc::ENAMETOOLONG, "ENAMETOOLONG"),
    (libc::ENOSYS, "ENOSYS"),
    (libc::ENOTEMPTY, "ENOTEMPTY"),
    (libc::ELOOP, "ELOOP"),
    (libc::ENODATA, "ENODATA"),
    (libc::EBADFD, "EBADFD"),
    (libc::EILSEQ, "EILSEQ"),
    (libc::EOPNOTSUPP, "EOPNOTSUPP"),
    (libc::EADDRNOTAVAIL, "EADDRNOTAVAIL"),
    (libc::ETIMEDOUT, "ETIMEDOUT"),
    (libc::ESTALE, "ESTALE"),
    (libc::EOVERFLOW, "EOVERFLOW"),
    (libc::EKEYREJECTED, "EKEYREJECTED"),
    (ENOTSUPP, "ENOTSUPP"),
];
