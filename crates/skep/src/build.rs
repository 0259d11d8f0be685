//! `skep build`: a script as a BPF object, or any stage on the way.

use std::ffi::OsString;

use anyhow::{Context, Result, bail};
use runtime::Timings;

use crate::compile::{self, Outcome};
use crate::flags::{Args, Stage};
use crate::host::LiveHost;
use crate::{USAGE, print, say};

pub fn command(args: impl Iterator<Item = OsString>) -> Result<u8> {
    let args = Args::parse(args)?;
    if args.help {
        print(&crate::help());
        return Ok(0);
    }
    if args.emit.is_none_or(|stage| stage == Stage::Object) && args.output.is_none() {
        bail!("where to? -o FILE.o names the object; --emit ast|ir|ir-opt|asm shows a stage instead");
    }
    let script = compile::read_script(&args)?;
    let host = LiveHost::for_objects();
    let mut timings = Timings::default();
    let options = compile::options(&args, None)?;
    let plan = match compile::compile(&script, &args, &host, &options, &mut timings)? {
        Outcome::Plan(plan, _) => plan,
        Outcome::Shown => return Ok(0),
        Outcome::Wrong => return Ok(USAGE),
    };
    let bytes = timings.time("object", || object::write_elf(&plan.object))?;
    if let Some(path) = &args.output {
        std::fs::write(path, bytes).with_context(|| format!("cannot write {path}"))?;
    }
    if args.timings {
        say(&timings.to_string());
    }
    Ok(0)
}
