//! The tracing language: script text → IR and a session plan.
//!
//! In: script text and a [`Host`] that answers questions about the machine.
//! Out: an [`ir::Module`] with a plan of where its programs attach and what they
//! send, or diagnostics that point at the text. Makes no system calls.

pub mod arch;
pub mod ast;
mod c_definitions;
mod catalog;
mod compile;
mod context;
mod diagnostic;
mod hir;
mod host;
mod lexer;
mod lower;
mod options;
pub mod parser;
mod print;
pub mod probes;
mod sema;
mod sites;
mod storage;
mod syscalls;
mod tracepoint_format;
pub mod types;
pub mod usdt;

pub use compile::{Compiled, compile};
pub use diagnostic::{Diagnostic, Severity, suggest};
pub use host::*;
pub use options::{Config, ConfigError, MissingProbes, Options, Setting};
pub use print::print_script;
pub use syscalls::{syscall_name, syscall_number};
pub use tracepoint_format::{FormatField, parse_format};
