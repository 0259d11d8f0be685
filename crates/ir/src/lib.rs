//! The compiler's middle and back: typed SSA → optimised BPF instructions.
//!
//! In: a [`Module`] that a front end built with [`Builder`], or its text form.
//! Out: an [`object::Object`], or any stage of the way as text. No I/O, no
//! system calls, no source language.

mod builder;
mod entities;
mod function;
mod inst;
mod types;

pub use builder::Builder;
pub use entities::*;
pub use function::*;
pub use inst::*;
pub use types::*;
