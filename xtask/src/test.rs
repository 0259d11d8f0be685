//! `cargo xtask test`: everything that CI checks, in order, each with its count.

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
    step("cargo test", cargo(&["test", "--workspace", "--quiet"]));
    let skep = build_skep()?;
    let me = std::env::current_exe()?;
    step("cases here", counted(Command::new(me).arg("cases").arg("--skep").arg(&skep)));
    for kernel in vm::KERNELS {
        if quick {
            println!("skipped  the cases on {kernel}: --quick");
            step(&format!("cases on {kernel}"), Ok(Tally { skipped: 1, ..Tally::default() }));
            continue;
        }
        step(&format!("cases on {kernel}"), counted(&mut vm::cases_command(kernel, &skep, &[])?));
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
    counted(Command::new(env!("CARGO")).args(args).current_dir(root()))
}

/// Runs a command, shows what it prints, and adds up the counts in it: lines with
/// `N passed` and `N failed`, and lines that start with `skipped`. A command
/// that prints no counts counts as one.
fn counted(command: &mut Command) -> Result<Tally> {
    let out = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().with_context(|| format!("{command:?}"))?;
    let text = String::from_utf8_lossy(&out.stdout);
    print!("{text}");
    let mut tally = Tally::default();
    for line in text.lines() {
        tally.passed += number_before(line, " passed");
        tally.failed += number_before(line, " failed");
        tally.skipped += u32::from(line.starts_with("skipped"));
    }
    if tally.passed + tally.failed == 0 {
        tally.passed = u32::from(out.status.success());
    }
    if !out.status.success() {
        tally.failed = tally.failed.max(1);
    }
    Ok(tally)
}

fn number_before(line: &str, word: &str) -> u32 {
    let Some((before, _)) = line.split_once(word) else { return 0 };
    let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or("");
    digits.parse().unwrap_or(0)
}
