//! `skep run`: a script, compiled, attached and shown until it ends.

use std::ffi::OsString;
use std::fs::File;

use anyhow::{Context, Result, bail};
use bt::{Diagnostic, MissingProbes, ast};
use runtime::{RefusedProbes, Sink, Timings};
use view::Encoding;

use crate::compile::{self, Outcome, Script};
use crate::flags::Args;
use crate::host::LiveHost;
use crate::{USAGE, list, print, say, version};

/// The version of bpftrace whose language and command line are followed; scripts look at it.
const BPFTRACE: &str = "0.27.1";

/// Exit code when the kernel refuses to load or attach.
const REFUSED: u8 = 255;

pub fn command(args: impl Iterator<Item = OsString>) -> Result<u8> {
    let args = Args::parse(args)?;
    if args.help {
        print(&crate::help());
        return Ok(0);
    }
    start(args)
}

/// The command line of bpftrace, which has no subcommands.
pub fn as_bpftrace(args: impl Iterator<Item = OsString>) -> Result<u8> {
    let args = match Args::parse(args) {
        Ok(args) => args,
        Err(error) => {
            say(&format!("ERROR: {error:#}\n{}", usage_as_bpftrace()));
            return Ok(USAGE);
        }
    };
    if args.help {
        print(&usage_as_bpftrace());
        return Ok(0);
    }
    if args.version {
        print(&format!("bpftrace v{BPFTRACE} (skep {})\n", env!("CARGO_PKG_VERSION")));
        return Ok(0);
    }
    start(args)
}

fn usage_as_bpftrace() -> String {
    format!(
        "\
USAGE:
  bpftrace [flags] FILE [PARAMS]
  bpftrace [flags] -e 'PROGRAM' [PARAMS]
  bpftrace -l [PATTERN]

This is skep {}, which speaks the language of bpftrace {BPFTRACE}.

FLAGS:
{}",
        env!("CARGO_PKG_VERSION"),
        crate::flags::help()
    )
}

fn start(args: Args) -> Result<u8> {
    if args.version {
        print(&version());
        return Ok(0);
    }
    if args.info {
        return crate::doctor::info();
    }
    if args.list {
        return list::run(&args);
    }
    let script = compile::read_script(&args)?;
    run(&script, args)
}

fn run(script: &Script, args: Args) -> Result<u8> {
    let mut timings = Timings::default();
    if let Some(pid) = args.pid
        && !std::path::Path::new(&format!("/proc/{pid}")).exists()
    {
        bail!("there is no process {pid} (-p)");
    }
    let child = match &args.command {
        Some(command) => Some(kernel::Child::start(command).with_context(|| format!("cannot start '{command}' (-c)"))?),
        None => None,
    };
    let host = LiveHost::of_process(args.pid);
    let options = compile::options(&args, child.as_ref().map(kernel::Child::pid))?;
    let (plan, config) = match compile::compile(script, &args, &host, &options, &mut timings)? {
        Outcome::Plan(plan, config) => (plan, config),
        Outcome::Shown => return Ok(0),
        Outcome::Wrong => return Ok(USAGE),
    };
    let output = match &args.output {
        Some(file) => Sink::File(File::create(file).with_context(|| format!("cannot write to {file} (-o)"))?),
        None => Sink::Stdout,
    };
    let options = runtime::Options {
        encoding: if args.json { Encoding::Json } else { Encoding::Text },
        output,
        quiet: args.quiet,
        verbose: args.verbose,
        warnings: !args.no_warnings,
        pid: args.pid,
        child,
        dry_run: args.dry_run,
        print_maps_on_exit: config.print_maps_on_exit,
        max_cat_bytes: config.max_cat_bytes as usize,
        refused_probes: match config.missing_probes {
            MissingProbes::Error => RefusedProbes::Fail,
            MissingProbes::Warn => RefusedProbes::Warn,
            MissingProbes::Ignore => RefusedProbes::Ignore,
        },
        timings,
        ..runtime::Options::default()
    };
    match runtime::run(*plan, options) {
        Ok(outcome) => {
            if args.timings {
                say(&outcome.timings.to_string());
            }
            Ok(outcome.exit_code)
        }
        Err(error) => {
            show_refusal(script, &args, &host, &error);
            Ok(REFUSED)
        }
    }
}

/// Shows why the kernel did not do what the script asks, at the place in the
/// script that it is about.
fn show_refusal(script: &Script, args: &Args, host: &LiveHost, error: &runtime::Error) {
    let mut diagnostic = match error.span() {
        Some(span) => Diagnostic::error(ast::Span { start: span.start, end: span.end }, error.to_string()),
        None => Diagnostic::global(error.to_string()),
    };
    diagnostic.hints.extend(error.hint().map(String::from));
    // Functions are not looked up before: only now is the list of all worth its time.
    let function = error.missing_probe().and_then(|probe| match probe.split_once(':')? {
        ("kprobe" | "kretprobe", place) => place.split('+').next()?.rsplit(':').next(),
        _ => None,
    });
    if let Some(near) = function.and_then(|function| bt::probes::suggest_function(host, function)) {
        diagnostic.hints.push(format!("Did you mean {near}?"));
    }
    if let Some(log) = error.log().filter(|log| !log.is_empty()) {
        if args.verbose {
            say(&format!("{log}\n"));
        } else {
            diagnostic.hints.push("-v shows the log of the kernel's verifier".into());
        }
    }
    compile::show(script, &[diagnostic], args);
}
