//! The one model of a compiled thing: programs, maps, BTF, and for a tracing
//! session where each program attaches and what it sends.
//!
//! In: what a front end and the code generator produced, or an ELF file. Out: the
//! same as values, as an ELF file by the conventions of clang and libbpf, or
//! linked instructions ready for the kernel. Never makes a system call, never
//! knows a source language.

mod code;
mod debug_info;
mod elf_lines;
mod elf_maps;
mod elf_read;
mod elf_write;
mod error;
mod link;
mod listing;
mod load;
mod map;
pub mod plan;
mod program;
mod section_name;

pub use code::*;
pub use elf_read::read_elf;
pub use elf_write::write_elf;
pub use error::Error;
pub use link::{Linked, LinkedFunction, MapReference, link};
pub use listing::listing;
pub use load::{LoadInfo, ProgramInfo, load_info};
pub use map::*;
pub use program::*;
pub use section_name::{SectionKind, section_kind};

/// Everything that one source text compiles to.
#[derive(Clone, Debug, Default)]
pub struct Object {
    /// The licence that programs declare to the kernel.
    pub license: String,
    pub maps: Vec<Map>,
    pub programs: Vec<Program>,
    /// Functions that programs call or pass as callbacks; linked into each
    /// program that reaches them.
    pub functions: Vec<Code>,
    /// Source texts that line information refers to.
    pub sources: Vec<Source>,
}

/// A source text by name.
#[derive(Clone, Debug)]
pub struct Source {
    pub name: String,
    pub text: String,
}
