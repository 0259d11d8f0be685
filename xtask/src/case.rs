//! A test case as a text file: what to run, what to do meanwhile, what must come out.
//!
//! ```text
//! test counts by comm                  starts a case; its name
//! needs kprobe                         what the kernel must have, else it is skipped
//!                                      (`program:NAME`: a program; `host`, `matrix`: only outside, only inside of the VMs)
//! run run -q SCRIPT                    arguments for skep; SCRIPT is the script's file
//! shell SKEP list | head -1            instead of run: a shell command; SKEP is the binary
//! script                               the script, indented
//!     kprobe:vfs_read { @[comm] = count(); }
//! file hello.c                         a file to make first, indented
//!     int main() {}
//! before cc hello.c -o hello           a shell command to run first
//! while cat /etc/passwd                a shell command to run once probes are attached;
//!                                      then skep gets SIGINT
//! expect @\[cat\]: \d+                 a regular expression that some line of the output matches
//! exactly                              the whole standard output, indented
//!     @x: 1
//! reject Lost                          a regular expression that no line matches
//! stderr ERROR: .*                     as expect, on standard error
//! exit 1                               the exit code (0 if not given)
//! timeout 20                           seconds (15 if not given)
//! ```
//!
//! `DIR` in any text stands for the case's own temporary directory, which is the working directory too.

use std::path::Path;

use anyhow::{Context, Result, bail};

#[derive(Default, Debug)]
pub struct Case {
    pub name: String,
    pub file: String,
    pub needs: Vec<String>,
    pub command: String,
    pub script: Option<String>,
    pub files: Vec<(String, String)>,
    pub before: Vec<String>,
    pub during: Option<String>,
    pub expect: Vec<String>,
    pub exactly: Option<String>,
    pub reject: Vec<String>,
    pub stderr: Vec<String>,
    pub exit: i32,
    pub timeout_s: u64,
}

/// Reads all `*.case` files of a directory, in name order.
pub fn read_all(dir: &Path) -> Result<Vec<Case>> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .with_context(|| format!("reading {}", dir.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "case"))
        .collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        cases.extend(parse(&text, &stem).with_context(|| format!("in {}", file.display()))?);
    }
    Ok(cases)
}

/// Parses the cases of one file; `stem` is its name without the ending.
fn parse(text: &str, stem: &str) -> Result<Vec<Case>> {
    let mut cases: Vec<Case> = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        at += 1;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim().to_string();
        if word == "test" {
            cases.push(Case { name: rest, file: stem.to_string(), timeout_s: 15, ..Case::default() });
            continue;
        }
        let Some(case) = cases.last_mut() else { bail!("line {at}: 'test' comes first") };
        let mut block = || {
            let mut text = String::new();
            while at < lines.len() && (lines[at].starts_with("    ") || lines[at].trim().is_empty()) {
                let next_is_text =
                    lines[at..].iter().find(|l| !l.trim().is_empty()).is_some_and(|l| l.starts_with("    "));
                if !next_is_text {
                    break;
                }
                text.push_str(lines[at].get(4..).unwrap_or(""));
                text.push('\n');
                at += 1;
            }
            text
        };
        match word {
            "needs" => case.needs.extend(rest.split_whitespace().map(String::from)),
            "run" => case.command = format!("exec SKEP {rest}"),
            "shell" => case.command = rest,
            "script" => case.script = Some(block()),
            "file" => {
                let text = block();
                case.files.push((rest, text));
            }
            "before" => case.before.push(rest),
            "while" => case.during = Some(rest),
            "expect" => case.expect.push(rest),
            "exactly" => case.exactly = Some(block()),
            "reject" => case.reject.push(rest),
            "stderr" => case.stderr.push(rest),
            "exit" => case.exit = rest.parse().with_context(|| format!("line {at}: exit takes a number"))?,
            "timeout" => case.timeout_s = rest.parse().with_context(|| format!("line {at}: timeout takes seconds"))?,
            other => bail!("line {at}: no such word '{other}'"),
        }
    }
    Ok(cases)
}
