//! The command line: argv → the other crates. Thin; what it knows is names, flags and exit codes.

mod build;
mod compile;
mod doctor;
mod flags;
mod host;
mod list;
mod run;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

/// Usage, parse and semantic errors.
const USAGE: u8 = 1;

fn main() -> ExitCode {
    kernel::ignore_sigpipe();
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    let result = if Path::new(&name).file_name() == Some(OsStr::new("bpftrace")) {
        run::as_bpftrace(args)
    } else {
        command(args)
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say(&format!("ERROR: {error:#}\n"));
            ExitCode::from(USAGE)
        }
    }
}

fn command(mut args: impl Iterator<Item = OsString>) -> Result<u8> {
    let Some(command) = args.next() else {
        say(&help());
        return Ok(USAGE);
    };
    match command.to_str() {
        Some("run") => run::command(args),
        Some("list") => list::command(args),
        Some("build") => build::command(args),
        Some("doctor") => doctor::command(args),
        Some("help" | "--help" | "-h") => {
            print(&help());
            Ok(0)
        }
        Some("version" | "--version" | "-V") => {
            print(&version());
            Ok(0)
        }
        _ => {
            let typed = command.to_string_lossy();
            let hint = if typed.ends_with(".bt") || typed.starts_with('-') {
                format!("\nHINT: to run a script: skep run {typed} …")
            } else {
                "\nHINT: `skep help` lists the commands".into()
            };
            anyhow::bail!("skep has no command '{typed}'{hint}")
        }
    }
}

/// Writes to standard output; a reader that has gone away is not an error.
fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Writes to standard error, where there may be nobody to read either.
fn say(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

fn version() -> String {
    format!("skep {}\n", env!("CARGO_PKG_VERSION"))
}

fn help() -> String {
    format!(
        "\
skep {}: see what Linux is doing

  skep run -e 'PROGRAM'        run a tracing program
  skep run FILE.bt [PARAMS]    run one from a file; - is standard input
  skep list [PATTERN]          list probes: 'tracepoint:sched:*', 'uprobe:/bin/bash:read*'
  skep build FILE -o X.o       compile to a BPF object; --emit ast|ir|ir-opt|asm|object
  skep doctor [-f json]        what this kernel and this user can do, and what each lack costs
  skep help | version

flags of run (build and list take those that apply):
{}
examples:
  skep run -e 'tracepoint:raw_syscalls:sys_enter {{ @[comm] = count(); }}'
  skep run -e 'profile:hz:99 {{ @[kstack] = count(); }}'
  skep run -e 'tracepoint:syscalls:sys_enter_openat {{ printf(\"%s %s\\n\", comm, str(args.filename)); }}'
  skep list 'tracepoint:syscalls:sys_enter_open*' -v

Linked to the name bpftrace, skep takes bpftrace's command line.
",
        env!("CARGO_PKG_VERSION"),
        flags::help()
    )
}
