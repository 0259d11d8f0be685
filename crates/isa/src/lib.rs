//! The BPF instruction set: instruction ↔ bytes ↔ text.
//!
//! In: instructions as values, as the kernel's 8-byte encoding, or as text.
//! Out: the other two. No I/O, no knowledge of programs, maps or compilers.
//!
//! Source: RFC 9669 and Linux `Documentation/bpf/standardization/instruction-set.rst`.

mod insn;
pub mod uapi;

pub use insn::*;
