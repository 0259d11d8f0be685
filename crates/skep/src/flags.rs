//! The flags of `skep run`, `skep build` and `skep list`: each is one value
//! that knows its names, its help and what it sets, so help and parsing cannot
//! drift apart. Called as `bpftrace`, the same flags apply.

use std::ffi::OsString;

use anyhow::{Result, anyhow, bail};
use lexopt::{Arg, Parser, ValueExt};

/// What was typed.
#[derive(Clone, Debug, Default)]
pub struct Args {
    /// `-e`: the script itself.
    pub expression: Option<String>,
    /// The script's file (`-` for standard input), unless `-e` gives it.
    pub file: Option<String>,
    /// The script's own parameters: `$1`, `$2`, …
    pub positional: Vec<String>,
    /// The script's named parameters: `--name=value` after `--`.
    pub named: Vec<(String, Option<String>)>,
    pub pid: Option<u32>,
    pub command: Option<String>,
    pub output: Option<String>,
    pub json: bool,
    pub quiet: bool,
    pub verbose: bool,
    pub dry_run: bool,
    pub allow_unsafe: bool,
    pub list: bool,
    pub buffering: Buffering,
    pub report_helper_errors: bool,
    pub no_warnings: bool,
    pub timings: bool,
    pub emit: Option<Stage>,
    pub info: bool,
    pub help: bool,
    pub version: bool,
}

/// When output is written out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Buffering {
    /// After each line on a terminal, else when there is nothing more to write.
    #[default]
    Auto,
    Line,
    Full,
    None,
}

/// A stage of compilation that can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Ast,
    Ir,
    IrOpt,
    Asm,
    Object,
}

/// A flag: `value` names its argument, if it takes one.
struct Flag {
    short: Option<char>,
    long: &'static str,
    value: Option<&'static str>,
    /// Empty: accepted and ignored, for scripts that pass it.
    help: &'static str,
    set: fn(&mut Args, OsString) -> Result<()>,
}

const FLAGS: &[Flag] = &[
    Flag {
        short: Some('e'),
        long: "execute",
        value: Some("PROGRAM"),
        help: "run this program text",
        set: |a, v| {
            a.expression = Some(text(v)?);
            Ok(())
        },
    },
    Flag {
        short: Some('p'),
        long: "pid",
        value: Some("PID"),
        help: "trace this process with uprobes and USDT probes; end when it ends",
        set: |a, v| {
            a.pid = Some(pid(&text(v)?)?);
            Ok(())
        },
    },
    Flag {
        short: Some('c'),
        long: "cmd",
        value: Some("COMMAND"),
        help: "start this command once probes are attached; end when it ends",
        set: |a, v| {
            a.command = Some(text(v)?);
            Ok(())
        },
    },
    Flag {
        short: Some('o'),
        long: "output",
        value: Some("FILE"),
        help: "write to this file instead of standard output",
        set: |a, v| {
            a.output = Some(text(v)?);
            Ok(())
        },
    },
    Flag {
        short: Some('f'),
        long: "format",
        value: Some("FORMAT"),
        help: "text (default) or json, one object a line",
        set: |a, v| {
            a.json = match text(v)?.as_str() {
                "json" => true,
                "text" => false,
                other => bail!("Invalid output format \"{other}\""),
            };
            Ok(())
        },
    },
    Flag {
        short: Some('q'),
        long: "quiet",
        value: None,
        help: "no messages beside the script's output",
        set: |a, _| {
            a.quiet = true;
            Ok(())
        },
    },
    Flag {
        short: Some('v'),
        long: "verbose",
        value: None,
        help: "say more: each probe, the kernel verifier's log when it refuses",
        set: |a, _| {
            a.verbose = true;
            Ok(())
        },
    },
    Flag {
        short: None,
        long: "dry-run",
        value: None,
        help: "compile, load and attach, then end",
        set: |a, _| {
            a.dry_run = true;
            Ok(())
        },
    },
    Flag {
        short: Some('l'),
        long: "list",
        value: None,
        help: "list the probes that match a pattern, or those of a script; with -v their arguments",
        set: |a, _| {
            a.list = true;
            Ok(())
        },
    },
    Flag {
        short: None,
        long: "unsafe",
        value: None,
        help: "allow system(), signal() and other functions that change things",
        set: |a, _| {
            a.allow_unsafe = true;
            Ok(())
        },
    },
    Flag {
        short: Some('B'),
        long: "buffer",
        value: Some("MODE"),
        help: "output buffering: line, full or none",
        set: |a, v| {
            a.buffering = match text(v)?.as_str() {
                "line" => Buffering::Line,
                "full" => Buffering::Full,
                "none" => Buffering::None,
                other => bail!("-B takes line, full or none, not '{other}'"),
            };
            Ok(())
        },
    },
    Flag {
        short: Some('k'),
        long: "helper-errors",
        value: None,
        help: "say where in the script the kernel's helpers fail (reads of memory, missing elements)",
        set: |a, _| {
            a.report_helper_errors = true;
            Ok(())
        },
    },
    Flag {
        short: None,
        long: "no-warnings",
        value: None,
        help: "no warnings",
        set: |a, _| {
            a.no_warnings = true;
            Ok(())
        },
    },
    Flag {
        short: None,
        long: "timings",
        value: None,
        help: "print how long each phase took",
        set: |a, _| {
            a.timings = true;
            Ok(())
        },
    },
    Flag {
        short: None,
        long: "emit",
        value: Some("STAGE"),
        help: "show ast, ir, ir-opt or asm, or write an object (with -o)",
        set: |a, v| {
            a.emit = Some(match text(v)?.as_str() {
                "ast" => Stage::Ast,
                "ir" => Stage::Ir,
                "ir-opt" => Stage::IrOpt,
                "asm" => Stage::Asm,
                "object" => Stage::Object,
                other => bail!("--emit takes ast, ir, ir-opt, asm or object, not '{other}'"),
            });
            Ok(())
        },
    },
    Flag {
        short: Some('d'),
        long: "debug",
        value: Some("STAGE"),
        help: "",
        set: |a, v| {
            a.emit = Some(match text(v)?.as_str() {
                "ast" | "parse" => Stage::Ast,
                "codegen" | "ir" => Stage::Ir,
                "codegen-opt" => Stage::IrOpt,
                "disassemble" | "asm" => Stage::Asm,
                other => bail!("-d takes ast, codegen, codegen-opt or disassemble, not '{other}'"),
            });
            Ok(())
        },
    },
    Flag {
        short: None,
        long: "info",
        value: None,
        help: "what this kernel can do, in short (skep doctor says more)",
        set: |a, _| {
            a.info = true;
            Ok(())
        },
    },
    Flag {
        short: Some('h'),
        long: "help",
        value: None,
        help: "this text",
        set: |a, _| {
            a.help = true;
            Ok(())
        },
    },
    Flag {
        short: Some('V'),
        long: "version",
        value: None,
        help: "the version",
        set: |a, _| {
            a.version = true;
            Ok(())
        },
    },
    Flag { short: Some('I'), long: "include-dir", value: Some("DIR"), help: "", set: ignore },
    Flag { short: None, long: "include", value: Some("FILE"), help: "", set: ignore },
    Flag { short: Some('b'), long: "btf", value: None, help: "", set: ignore },
    Flag { short: None, long: "usdt-file-activation", value: None, help: "", set: ignore },
    Flag { short: None, long: "verify-llvm-ir", value: None, help: "", set: ignore },
    Flag { short: None, long: "no-feature", value: Some("FEATURES"), help: "", set: ignore },
];

/// The largest process id that Linux gives out (`PID_MAX_LIMIT`, `include/linux/threads.h`).
const PID_MAX: u32 = 4 << 20;

fn pid(typed: &str) -> Result<u32> {
    let digits = typed.chars().take_while(char::is_ascii_digit).count();
    match typed.parse() {
        Ok(pid) if (1..=PID_MAX).contains(&pid) => Ok(pid),
        Ok(_) => bail!("Pid out of range: {typed} (-p takes 1 to {PID_MAX})"),
        Err(_) if digits == 0 => bail!("Failed to parse pid: invalid integer: {typed}"),
        Err(_) if digits < typed.len() => bail!("Failed to parse pid: invalid trailing bytes: {typed}"),
        Err(_) => bail!("Pid out of range: {typed} (-p takes 1 to {PID_MAX})"),
    }
}

fn ignore(_: &mut Args, _: OsString) -> Result<()> {
    Ok(())
}

fn text(value: OsString) -> Result<String> {
    value.into_string().map_err(|v| anyhow!("'{}' is not UTF-8", v.to_string_lossy()))
}

impl Args {
    /// Parses what follows the command's name.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Args> {
        let mut parsed = Args::default();
        let mut parser = Parser::from_args(args);
        let mut names = Vec::new();
        loop {
            if let Some(raw) = parser.try_raw_args()
                && raw.peek().is_some_and(|next| next == "--")
            {
                let rest: Vec<OsString> = parser.raw_args()?.skip(1).collect();
                for arg in rest {
                    parsed.script_parameter(text(arg)?, &mut names);
                }
                break;
            }
            let Some(arg) = parser.next()? else { break };
            let flag = match arg {
                Arg::Value(value) => {
                    names.push(value.string()?);
                    continue;
                }
                Arg::Short(c) => FLAGS.iter().find(|f| f.short == Some(c)),
                Arg::Long(name) => FLAGS.iter().find(|f| f.long == name),
            };
            let Some(flag) = flag else {
                let typed = match arg {
                    Arg::Short(c) => format!("-{c}"),
                    Arg::Long(name) => format!("--{name}"),
                    Arg::Value(_) => unreachable!("values were taken above"),
                };
                bail!("no flag {typed}; -h lists them");
            };
            let value = match flag.value {
                Some(_) => parser.value()?,
                None => OsString::new(),
            };
            (flag.set)(&mut parsed, value)?;
        }
        let mut names = names.into_iter();
        if parsed.expression.is_none() {
            parsed.file = names.next();
        }
        parsed.positional.extend(names);
        Ok(parsed)
    }

    /// A parameter after `--`: `--name=value`, `--name`, or a positional one.
    fn script_parameter(&mut self, arg: String, names: &mut Vec<String>) {
        match arg.strip_prefix("--") {
            Some(named) if !named.is_empty() => self.named.push(match named.split_once('=') {
                Some((name, value)) => (name.into(), Some(value.into())),
                None => (named.into(), None),
            }),
            _ => names.push(arg),
        }
    }
}

/// The flags as help text, a line each.
pub fn help() -> String {
    let mut out = String::new();
    for flag in FLAGS.iter().filter(|f| !f.help.is_empty()) {
        let short = flag.short.map_or("    ".into(), |c| format!("-{c}, "));
        let value = flag.value.map_or(String::new(), |v| format!(" {v}"));
        out.push_str(&format!("  {short}--{:<22}{}\n", format!("{}{value}", flag.long), flag.help));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Args> {
        Args::parse(words.iter().map(OsString::from))
    }

    #[test]
    fn a_script_and_its_parameters() {
        let args = parse(&["-q", "x.bt", "1", "two", "--", "--name=v", "--on", "3"]).unwrap();
        assert_eq!(args.file.as_deref(), Some("x.bt"));
        assert_eq!(args.positional, ["1", "two", "3"]);
        assert_eq!(args.named, [("name".to_string(), Some("v".to_string())), ("on".to_string(), None)]);
        assert!(args.quiet);
    }

    #[test]
    fn an_expression_leaves_no_file() {
        let args = parse(&["-e", "BEGIN { exit(); }", "arg", "-f", "json"]).unwrap();
        assert_eq!(args.file, None);
        assert_eq!(args.positional, ["arg"]);
        assert!(args.json);
    }

    #[test]
    fn standard_input() {
        assert_eq!(parse(&["-"]).unwrap().file.as_deref(), Some("-"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (words, part) in [
            (&["--colour"][..], "--colour"),
            (&["-p", "x"], "invalid integer: x"),
            (&["-p", "1x"], "trailing bytes: 1x"),
            (&["-p", "5000000"], "out of range"),
            (&["-f", "xml"], "xml"),
            (&["-e"], "-e"),
            (&["--emit", "llvm", "x.bt"], "llvm"),
        ] {
            let message = parse(words).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
