//! Values → what people see: text, JSON lines, histograms, tables.
//!
//! In: decoded [`Value`]s and format strings. Out: bytes on a writer. Knows nothing
//! of maps, programs or the kernel.
//!
//! Text and JSON follow what bpftrace 0.27 prints, so that scripts that read the
//! output of one tool can read the other's.

mod format;
mod histogram;
mod json;
mod output;
mod sort;
mod text;
mod value;

pub use format::{Arg, Format, FormatError, Piece, Spec};
pub use json::write_string as write_json_string;
pub use output::{Encoding, Output, Source, TextKind};
pub use sort::{Order, sort_entries, top};
pub use text::{write_buf, write_value};
pub use value::*;
