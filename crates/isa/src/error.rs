//! What can be wrong with instructions and their text.

/// Why bytes are no instruction, or a text no program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("no instruction has the opcode {0:#04x}")]
    UnknownOpcode(u8),
    #[error("opcode {code:#04x}: {field} must not be {value:#x}")]
    Field { code: u8, field: &'static str, value: i64 },
    #[error("the second half of a 64-bit immediate load is missing")]
    Truncated,
    #[error("line {line}: {message}")]
    Syntax { line: u32, message: String },
    #[error("line {line}: no label `{name}`")]
    UnknownLabel { line: u32, name: String },
    #[error("line {line}: label `{name}` stands twice")]
    DuplicateLabel { line: u32, name: String },
    #[error("line {line}: the distance {distance} to the target does not fit the instruction; use `gotol` (Linux 6.6)")]
    TooFar { line: u32, distance: i64 },
}
