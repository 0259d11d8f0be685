//! The compiler's middle and back: typed SSA → optimised BPF instructions.
//!
//! In: a [`Module`] that a front end built with [`Builder`], or its text form.
//! Out: an [`object::Object`], or any stage of the way as text. No I/O, no
//! system calls, no source language.

mod backend;
mod builder;
mod cfg;
mod effects;
mod entities;
pub mod eval;
mod function;
mod inst;
mod passes;
mod semantics;
mod text;
mod types;
mod verify;

pub use backend::{Error, Options, compile, generate};
pub use builder::Builder;
pub use cfg::Cfg;
pub use entities::*;
pub use function::*;
pub use inst::*;
pub use passes::{Pass, SlotLayout, optimize, run_pass, slot_layout};
pub use text::{ParseError, parse_module};
pub use types::*;
pub use verify::{VerifyError, verify_function, verify_module, verify_optimized};
