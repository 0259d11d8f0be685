//! `cargo xtask test`: everything that CI checks, in order, each with its count.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::{build_skep, root, setup, vm};

pub fn run(args: &[String]) -> Result<bool> {
    let quick = args.iter().any(|a| a == "--quick");
    setup::packages()?;
    let mut total = Tally::default();
    let mut step = |name: &str, result: Result<Tally>| {
        let tally = result.unwrap_or_else(|error| {
            eprintln!("{error:#}");
            Tally { failed: 1, ..Tally::default() }
        });
        println!("== {name}: {} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
        total.passed += tally.passed;
        total.failed += tally.failed;
        total.skipped += tally.skipped;
    };
    let started = Instant::now();
    step("format", cargo(&["fmt", "--all", "--check"]));
    step("clippy", cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]));
    step("cargo test", cargo_test());
    let skep = build_skep()?;
    let me = std::env::current_exe()?;
    step("cases here", counted(Command::new(me).arg("cases").arg("--skep").arg(&skep), Show::All));
    for kernel in vm::KERNELS {
        if quick {
            println!("skipped  the cases on {kernel}: --quick");
            step(&format!("cases on {kernel}"), Ok(Tally { skipped: 1, ..Tally::default() }));
            continue;
        }
        step(&format!("cases on {kernel}"), counted(&mut vm::cases_command(kernel, &skep, &[])?, Show::All));
    }
    println!("took {} s", started.elapsed().as_secs());
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    Ok(total.failed == 0)
}

#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
    skipped: u32,
}

fn cargo(args: &[&str]) -> Result<Tally> {
    counted(Command::new(env!("CARGO")).args(args).current_dir(root()), Show::All)
}

/// All tests of the workspace. Tests that cannot run here say `skipped: reason`
/// and count as skipped, not as passed; what tests print besides is shown only if one fails.
fn cargo_test() -> Result<Tally> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--workspace", "--no-fail-fast", "--", "--show-output"]).current_dir(root());
    let mut tally = counted(&mut command, Show::SkippedUnlessFailed)?;
    tally.passed = tally.passed.saturating_sub(tally.skipped);
    Ok(tally)
}

/// What to show of a command's output.
#[derive(PartialEq)]
enum Show {
    All,
    SkippedUnlessFailed,
}

/// Runs a command and adds up the counts in what it prints: lines with `N passed` and
/// `N failed`, and lines that start with `skipped`. A command that prints no
/// counts counts as one.
fn counted(command: &mut Command, show: Show) -> Result<Tally> {
    let (output, writer) = std::io::pipe()?;
    command.stdin(Stdio::null()).stderr(writer.try_clone()?).stdout(writer);
    let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
    // Our own ends of the pipe go, so that it ends with the child.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut tally = Tally::default();
    let mut text = String::new();
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        tally.passed += number_before(&line, " passed");
        tally.failed += number_before(&line, " failed");
        let skipped = line.starts_with("skipped");
        tally.skipped += u32::from(skipped);
        if show == Show::All || skipped {
            println!("{line}");
        } else {
            text.push_str(&line);
            text.push('\n');
        }
    }
    let succeeded = child.wait()?.success();
    if !succeeded {
        print!("{text}");
    }
    if tally.passed + tally.failed == 0 {
        tally.passed = u32::from(succeeded);
    }
    if !succeeded {
        tally.failed = tally.failed.max(1);
    }
    Ok(tally)
}

fn number_before(line: &str, word: &str) -> u32 {
    let Some((before, _)) = line.split_once(word) else { return 0 };
    let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or("");
    digits.parse().unwrap_or(0)
}
