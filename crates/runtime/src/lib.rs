//! One session: plan + live kernel → output.
//!
//! In: a [`object::plan::Plan`] (programs, maps, where each program attaches, what
//! its events and maps mean). Out: what the script has to say, on a `view::Output`. Loads, attaches, decodes
//! events, reads maps, turns addresses into symbols, tears down. Knows no
//! source language and compiles nothing.
//!
//! Start-up is what users wait for, so everything that a script may not need (symbols, users,
//! time zones, cgroups) is looked up when it is first shown, and no thread is started.

mod actions;
mod aggregate;
mod decode;
mod detach;
mod error;
mod events;
mod mappings;
mod maps;
mod names;
mod options;
mod report;
mod session;
mod symbols;
mod timings;

pub use aggregate::{add_up, histogram};
pub use decode::{Resolve, decode};
pub use error::Error;
pub use events::{Events, Fields};
pub use maps::Selection;
pub use options::{Options, RefusedProbes, Sink};
pub use session::{Outcome, run};
pub use timings::Timings;
