//! What a user wants of a session besides the script itself.

use std::fs::File;
use std::io::Write;

use view::Encoding;

use crate::Timings;

/// How to run a session. [`Options::default`] is what `skep run` does without flags.
pub struct Options {
    pub encoding: Encoding,
    pub output: Sink,
    /// Where warnings, `Attached N probes` and `Lost N events` go.
    pub diagnostics: Box<dyn Write>,
    /// Do not say how many probes are attached.
    pub quiet: bool,
    /// Say more: with the places in the script in what the verifier logs.
    pub verbose: bool,
    /// Say what went wrong or may go wrong.
    pub warnings: bool,
    /// End when this process ends.
    pub pid: Option<u32>,
    /// A command that is held until all probes are attached; the session ends when it ends.
    pub child: Option<kernel::Child>,
    /// Load and attach, then end: nothing of the script runs by our doing, nothing is shown.
    pub dry_run: bool,
    /// Show all maps that are not empty at the end.
    pub print_maps_on_exit: bool,
    /// `cat()` writes no more of a file than this.
    pub max_cat_bytes: usize,
    /// What becomes of a session whose probes cannot all be attached.
    pub refused_probes: RefusedProbes,
    /// Phases that came before, so that `Outcome` has all.
    pub timings: Timings,
}

/// What becomes of a session when the kernel refuses to attach a probe. If it refuses all of them, it is
/// said in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedProbes {
    /// It fails.
    Fail,
    /// It goes on with the others and says so.
    Warn,
    /// It goes on with the others.
    Ignore,
}

/// Where output goes.
pub enum Sink {
    /// Standard output, which may be a pipe that nobody reads for a while.
    Stdout,
    File(File),
    /// Anything else; it must not block.
    Writer(Box<dyn Write>),
}

impl Default for Options {
    fn default() -> Options {
        Options {
            encoding: Encoding::Text,
            output: Sink::Stdout,
            diagnostics: Box::new(std::io::stderr()),
            quiet: false,
            verbose: false,
            warnings: true,
            pid: None,
            child: None,
            dry_run: false,
            print_maps_on_exit: true,
            max_cat_bytes: 10_240,
            refused_probes: RefusedProbes::Fail,
            timings: Timings::default(),
        }
    }
}
