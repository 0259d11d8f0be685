//! Why a session could not run.

use object::SourceSpan;

/// What went wrong. `Display` says what was asked and what the kernel said; [`Error::hint`] what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel's verifier refused a program.
    #[error("{probe}: {reason}")]
    Refused {
        /// The probe whose program it was, as the user wrote it.
        probe: String,
        /// The reason in plain words.
        reason: String,
        /// Where in the script, if the log tells.
        span: Option<SourceSpan>,
        hint: Option<String>,
        /// What the verifier wrote.
        log: String,
    },
    /// A probe could not be attached.
    #[error("{probe}: {error}")]
    Attach { probe: String, span: SourceSpan, error: kernel::Error },
    /// Anything else between us and the kernel.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// The plan contradicts itself; a mistake of ours.
    #[error("the compiled program is damaged: {0}")]
    Plan(String),
    /// The output could not be written.
    #[error("write the output: {0}")]
    Output(std::io::Error),
}

impl Error {
    /// What the user can do about it, in one sentence.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Error::Refused { hint, .. } => hint.as_deref(),
            Error::Attach { error, .. } | Error::Kernel(error) => error.hint(),
            Error::Plan(_) | Error::Output(_) => None,
        }
    }

    /// Where in the script it stands, if anywhere.
    pub fn span(&self) -> Option<SourceSpan> {
        match self {
            Error::Refused { span, .. } => *span,
            Error::Attach { span, .. } => Some(*span),
            Error::Kernel(_) | Error::Plan(_) | Error::Output(_) => None,
        }
    }

    /// The probe that could not be attached because the kernel has no such place, as the user knows it.
    pub fn missing_probe(&self) -> Option<&str> {
        match self {
            Error::Attach { probe, error, .. } if error.errno().is_some_and(|errno| errno.0 == libc::ENOENT) => {
                Some(probe)
            }
            _ => None,
        }
    }

    /// What the verifier wrote, for `-v`.
    pub fn log(&self) -> Option<&str> {
        match self {
            Error::Refused { log, .. } => Some(log),
            _ => None,
        }
    }
}
