//! Values → what people see: text, JSON lines, histograms, tables.
//!
//! In: decoded [`Value`]s and format strings. Out: bytes on a writer. Knows nothing
//! of maps, programs or the kernel.

mod value;

pub use value::*;
