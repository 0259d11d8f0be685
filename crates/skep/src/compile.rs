//! Script text → a plan with its compiled object, and what went wrong on the way.

use std::fs::File;
use std::io::{IsTerminal, Read};

use anyhow::{Context, Result, anyhow, bail};
use bt::{Compiled, Diagnostic, Host};
use object::plan::Plan;
use runtime::Timings;

use crate::flags::{Args, Stage};
use crate::host::LiveHost;
use crate::{print, say};

/// A script by the name that messages call it.
pub struct Script {
    pub name: String,
    pub text: String,
}

/// The script that the command line names.
pub fn read_script(args: &Args) -> Result<Script> {
    if let Some(text) = &args.expression {
        return Ok(Script { name: "stdin".into(), text: text.clone() });
    }
    let Some(file) = &args.file else {
        bail!("no script: give one with -e 'PROGRAM', or name a file (- for standard input)");
    };
    let (name, bytes) = if file == "-" {
        ("stdin".to_string(), read_bounded(std::io::stdin().lock()).context("reading the script from standard input"))
    } else {
        let bytes = File::open(file).and_then(read_bounded).map_err(|error| {
            anyhow!(
                "failed to open file '{file}': {}",
                error.to_string().split(" (os error").next().unwrap_or_default()
            )
        });
        (file.clone(), bytes)
    };
    match String::from_utf8(bytes?) {
        // Some editors put a mark of byte order first.
        Ok(text) => Ok(Script { name, text: text.strip_prefix('\u{feff}').map(String::from).unwrap_or(text) }),
        Err(error) => {
            bail!("the script {name} is not UTF-8 text: byte {} is none", error.utf8_error().valid_up_to())
        }
    }
}

/// Longest script in bytes: what has more is no script, and may have no end (`/dev/zero`).
const MAX_SCRIPT_BYTES: u64 = 16 << 20;

fn read_bounded(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_SCRIPT_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SCRIPT_BYTES {
        return Err(std::io::Error::other("it is longer than 16 MiB, which no script is"));
    }
    Ok(bytes)
}

/// Shows diagnostics on standard error, as colourful as it can take.
pub fn show(script: &Script, diagnostics: &[Diagnostic], args: &Args) {
    let color = std::io::stderr().is_terminal();
    for diagnostic in diagnostics {
        match diagnostic.severity {
            bt::Severity::Error => {}
            bt::Severity::Warning if args.no_warnings => continue,
            bt::Severity::Note if !args.verbose => continue,
            bt::Severity::Warning | bt::Severity::Note => {}
        }
        say(&diagnostic.render(&script.name, &script.text, color));
    }
}

/// The settings that the environment and the command line make; `child` is the process that `-c` started.
pub fn options(args: &Args, child: Option<u32>) -> Result<bt::Options> {
    let mut options = bt::Options {
        params: args.positional.clone(),
        pid: args.pid,
        cpid: child,
        unsafe_allowed: args.allow_unsafe,
        helper_errors: args.report_helper_errors,
        ..bt::Options::default()
    };
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    options.config.set_from_env(environment.iter().map(|(name, value)| (name.as_str(), value.as_str())))?;
    Ok(options)
}

/// What became of a script.
pub enum Outcome {
    Plan(Box<Plan>, bt::Config),
    /// A stage was shown instead.
    Shown,
    /// Errors were shown.
    Wrong,
}

/// Compiles a script for this machine. `child` is the pid of the command that `-c` will run.
pub fn compile(
    script: &Script,
    args: &Args,
    host: &LiveHost,
    options: &bt::Options,
    timings: &mut Timings,
) -> Result<Outcome> {
    if args.emit == Some(Stage::Ast) {
        let parse = bt::parser::ParseOptions { positional: &args.positional };
        let (tree, diagnostics) = bt::parser::parse(&script.text, &parse);
        show(script, &diagnostics, args);
        if diagnostics.iter().any(Diagnostic::is_error) {
            return Ok(Outcome::Wrong);
        }
        print(&bt::print_script(&tree));
        return Ok(Outcome::Shown);
    }
    let compiled = bt::compile(&script.name, &script.text, host, options);
    let Compiled { mut module, mut plan, config, warnings, phases } = match compiled {
        Ok(compiled) => compiled,
        Err(diagnostics) => {
            show(script, &diagnostics, args);
            return Ok(Outcome::Wrong);
        }
    };
    phases.iter().for_each(|(phase, took)| timings.add(phase, *took));
    show(script, &warnings, args);
    if args.emit == Some(Stage::Ir) {
        print(&module.to_string());
        return Ok(Outcome::Shown);
    }
    timings.time("optimise", || ir::optimize(&mut module));
    if args.emit == Some(Stage::IrOpt) {
        print(&module.to_string());
        return Ok(Outcome::Shown);
    }
    let target = ir::Options { isa: instruction_set(host), ..ir::Options::default() };
    plan.object = match timings.time("emit", || ir::generate(&module, &target)) {
        Ok(object) => object,
        Err(error) => {
            show(script, &[impossible(&module, &plan, &error)], args);
            return Ok(Outcome::Wrong);
        }
    };
    if args.emit == Some(Stage::Asm) {
        print(&object::listing(&plan.object));
        return Ok(Outcome::Shown);
    }
    Ok(Outcome::Plan(Box::new(plan), config))
}

/// Why a script that is right cannot become BPF code, at the probe that it is about.
fn impossible(module: &ir::Module, plan: &Plan, error: &ir::Error) -> Diagnostic {
    let mut programs = module.funcs.values().filter(|func| func.program.is_some());
    let program = programs.position(|func| Some(func.name.as_str()) == error.function());
    let probe = plan.probes.iter().find(|probe| Some(probe.program as usize) == program);
    let message = match probe {
        Some(probe) => error.to_string().replace(&format!("`{}`", error.function().unwrap_or_default()), &probe.name),
        None => error.to_string(),
    };
    let diagnostic = match error.span().or(probe.map(|probe| probe.span)) {
        Some(span) => Diagnostic::error(bt::ast::Span { start: span.start, end: span.end }, message),
        None => Diagnostic::global(message),
    };
    diagnostic.with_hints(error.hint().map(String::from))
}

/// The newest version of the instruction set that this kernel is known to
/// take, by its release: trying costs a system call each start.
fn instruction_set(host: &LiveHost) -> u8 {
    match host.kernel_version() {
        version if version >= (6, 6, 0) => 4,
        version if version >= (5, 12, 0) => 3,
        _ => 2,
    }
}
