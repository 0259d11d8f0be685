//! Runs case files against the real binary on the running kernel.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use regex_lite::Regex;

use crate::case::{self, Case};
use crate::{build_skep, root, setup};

/// The line that skep prints once all probes are attached, when asked to.
const ATTACHED: &str = "__BPFTRACE_NOTIFY_PROBES_ATTACHED";

enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

/// `cargo xtask cases`: true if none failed.
pub fn run(args: &[String]) -> Result<bool> {
    let (mut skep, mut kernel, mut verbose, mut patterns) = (None, None, false, Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--skep" => skep = args.next().map(PathBuf::from),
            "--kernel" => kernel = args.next().cloned(),
            "--verbose" => verbose = true,
            pattern => patterns.push(pattern.to_string()),
        }
    }
    let skep = match skep {
        Some(path) => std::fs::canonicalize(&path).with_context(|| format!("{}", path.display()))?,
        None => build_skep()?,
    };
    let tests = root().join("tests");
    let place = kernel.clone().unwrap_or_else(|| "here".into());
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for case in case::read_all(&tests.join("cases"))? {
        let full_name = format!("{}: {}", case.file, case.name);
        if !patterns.iter().all(|p| full_name.contains(p.as_str())) {
            continue;
        }
        match run_case(&case, &skep, kernel.as_deref()) {
            Outcome::Passed => {
                passed += 1;
                if verbose {
                    println!("ok       {place}  {full_name}");
                }
            }
            Outcome::Failed(why) => {
                failed += 1;
                println!("FAILED   {place}  {full_name}\n{why}");
            }
            Outcome::Skipped(why) => {
                skipped += 1;
                println!("skipped  {place}  {full_name}: {why}");
            }
        }
    }
    println!("cases on {place}: {passed} passed, {failed} failed, {skipped} skipped");
    Ok(failed == 0)
}

/// What the kernels of the matrix have (tried by hand once, so that a broken
/// feature probe of ours cannot turn a failure into a skip).
fn matrix_has(kernel: &str, need: &str) -> bool {
    match need {
        "kprobe" | "fentry" => true,
        "kprobe.multi" | "uprobe.multi" | "kprobe.session" => ["6.12", "7.2"].contains(&kernel),
        "bpf_loop" | "cookies" | "percpu-lookup" | "for_each_map" | "module-btf" | "iter-task-vma" => kernel != "5.10",
        "no-kprobe" => false,
        _ => true,
    }
}

/// Why the case cannot run here, if it cannot.
fn lacks(case: &Case, kernel: Option<&str>) -> Option<String> {
    for need in &case.needs {
        let there = if let Some(program) = need.strip_prefix("program:") {
            setup::on_path(program)
        } else if need == "host" || need == "matrix" {
            kernel.is_none() == (need == "host")
        } else if let Some(kernel) = kernel {
            matrix_has(kernel, need)
        } else {
            match need.as_str() {
                "kprobe" | "kprobe.multi" | "kprobe.session" => {
                    Path::new("/sys/bus/event_source/devices/kprobe").exists()
                }
                "no-kprobe" => !Path::new("/sys/bus/event_source/devices/kprobe").exists(),
                // Lockdown hardening refuses trampolines although the kernel has them.
                "fentry" => {
                    Path::new("/sys/bus/event_source/devices/kprobe").exists()
                        && Path::new("/sys/kernel/btf/vmlinux").exists()
                }
                _ => true,
            }
        };
        if !there {
            return Some(match need.strip_prefix("program:") {
                Some(program) => format!("no {program} on this machine"),
                None => format!("this kernel has no {need}"),
            });
        }
    }
    // SAFETY: no arguments, no failure.
    if unsafe { libc::geteuid() } != 0 {
        return Some("needs root".into());
    }
    None
}

fn run_case(case: &Case, skep: &Path, kernel: Option<&str>) -> Outcome {
    if let Some(why) = lacks(case, kernel) {
        return Outcome::Skipped(why);
    }
    match try_case(case, skep) {
        Ok(None) => Outcome::Passed,
        Ok(Some(why)) => Outcome::Failed(why),
        Err(error) => Outcome::Failed(format!("    {error:#}\n")),
    }
}

/// A directory that goes with the case.
struct TempDir(PathBuf);

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Reads a stream to its end; a message per line.
fn lines_of(stream: impl Read + Send + 'static, send: mpsc::Sender<Line>, wrap: fn(String) -> Line) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            if send.send(wrap(String::from_utf8_lossy(&bytes).into_owned())).is_err() {
                return;
            }
            bytes.clear();
        }
    });
}

enum Line {
    Out(String),
    Err(String),
}

/// `Ok(None)`: as expected; `Ok(Some(_))`: what was not.
fn try_case(case: &Case, skep: &Path) -> Result<Option<String>> {
    let dir = TempDir(std::env::temp_dir().join(format!("skep-case-{}", std::process::id())));
    let _ = std::fs::remove_dir_all(&dir.0);
    std::fs::create_dir_all(&dir.0)?;
    let dir_text = dir.0.to_string_lossy().into_owned();
    let fill = |text: &str| text.replace("DIR", &dir_text).replace("SKEP", &skep.to_string_lossy());
    for (name, text) in &case.files {
        std::fs::write(dir.0.join(name), fill(text))?;
    }
    for command in &case.before {
        let out = Command::new("sh").arg("-c").arg(fill(command)).current_dir(&dir.0).output()?;
        anyhow::ensure!(out.status.success(), "before: {command}: {}", String::from_utf8_lossy(&out.stderr));
    }
    let script_file = dir.0.join("script.bt");
    if let Some(script) = &case.script {
        std::fs::write(&script_file, fill(script))?;
    }
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(fill(&case.command.replace("SCRIPT", "script.bt")))
        .current_dir(&dir.0)
        .env(ATTACHED, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (send, lines) = mpsc::channel();
    lines_of(child.stdout.take().context("stdout")?, send.clone(), Line::Out);
    lines_of(child.stderr.take().context("stderr")?, send, Line::Err);

    let deadline = Instant::now() + Duration::from_secs(case.timeout_s * slow_factor());
    let (mut out, mut err) = (String::new(), String::new());
    let mut waiting = case.during.as_ref();
    let mut timed_out = false;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Line::Out(line)) if line.trim_end() == ATTACHED => {
                if let Some(command) = waiting.take() {
                    Command::new("sh")
                        .arg("-c")
                        .arg(fill(command))
                        .current_dir(&dir.0)
                        .stdin(Stdio::null())
                        .stdout(Stdio::null())
                        .stderr(Stdio::null())
                        .status()?;
                    signal(&child, libc::SIGINT);
                }
            }
            Ok(Line::Out(line)) => out.push_str(&line),
            Ok(Line::Err(line)) => err.push_str(&line),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                timed_out = true;
                signal(&child, libc::SIGKILL);
                break;
            }
        }
    }
    let status = child.wait()?;

    let mut wrong = Vec::new();
    if timed_out {
        wrong.push(format!("did not end within {} s", case.timeout_s * slow_factor()));
    } else if status.code() != Some(case.exit) {
        wrong.push(format!("exit: {status}, expected {}", case.exit));
    }
    if let Some(text) = &case.exactly {
        let expected = fill(text);
        if out.trim_end() != expected.trim_end() {
            wrong.push(format!("expected exactly:\n{expected}"));
        }
    }
    let matches = |pattern: &str, text: &str| -> Result<bool> {
        let regex = Regex::new(&fill(pattern)).with_context(|| format!("bad pattern {pattern}"))?;
        Ok(text.lines().any(|line| regex.is_match(line)))
    };
    for pattern in &case.expect {
        if !matches(pattern, &out)? {
            wrong.push(format!("no line of the output matches: {pattern}"));
        }
    }
    for pattern in &case.stderr {
        if !matches(pattern, &err)? {
            wrong.push(format!("no line of standard error matches: {pattern}"));
        }
    }
    for pattern in &case.reject {
        if matches(pattern, &out)? || matches(pattern, &err)? {
            wrong.push(format!("a line matches: {pattern}"));
        }
    }
    if wrong.is_empty() {
        return Ok(None);
    }
    let shown = |text: &str| text.lines().take(40).map(|l| format!("    | {l}\n")).collect::<String>();
    Ok(Some(format!(
        "{}    output:\n{}    standard error:\n{}",
        wrong.iter().map(|w| format!("    {w}\n")).collect::<String>(),
        shown(&out),
        shown(&err)
    )))
}

/// Emulated kernels are some ten times slower.
fn slow_factor() -> u64 {
    if std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|t| t.contains("QEMU TCG")) { 4 } else { 1 }
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: the child has not been waited for, so the pid is its own.
    unsafe { libc::kill(child.id() as i32, signal) };
}
