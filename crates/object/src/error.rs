//! What can be wrong with an object.

/// Why an object cannot be linked, written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A relocation that does not fit what it points at.
    #[error("function {function}: the relocation at instruction {insn} {problem}")]
    Relocation { function: String, insn: u32, problem: &'static str },
    #[error("function {function}: the distance to {callee} does not fit an instruction")]
    TooFar { function: String, callee: String },
    #[error("map {map}: {problem}")]
    Map { map: String, problem: &'static str },
    #[error(transparent)]
    Btf(#[from] btf::Error),
    /// An ELF file that is damaged or not BPF.
    #[error("not a BPF object: {0}")]
    Elf(String),
    /// An ELF file that needs what this reader does not do.
    #[error("section {section}: {what} is not supported")]
    Unsupported { section: String, what: String },
}
