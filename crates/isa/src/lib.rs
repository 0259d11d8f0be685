//! The BPF instruction set: instruction ↔ bytes ↔ text.
//!
//! In: instructions as values, as the kernel's 8-byte encoding, or as text.
//! Out: the other two. No I/O, no knowledge of programs, maps or compilers.
//!
//! Source: RFC 9669 and Linux `Documentation/bpf/standardization/instruction-set.rst`.

mod asm;
mod build;
pub mod cbpf;
mod disasm;
mod error;
mod insn;
mod op;
mod opcode;
pub mod uapi;

pub use asm::assemble;
pub use disasm::{Note, disassemble, listing};
pub use error::Error;
pub use insn::*;
pub use op::{Callee, Imm64, Op, Operand};
pub use opcode::*;
