//! `skep list`: what there is to trace.

use std::ffi::OsString;

use anyhow::{Result, bail};
use bt::parser::ParseOptions;
use bt::{Diagnostic, ast};

use crate::compile;
use crate::flags::Args;
use crate::host::LiveHost;
use crate::{USAGE, print, say};

pub fn command(args: impl Iterator<Item = OsString>) -> Result<u8> {
    let args = Args::parse(args)?;
    if args.help {
        print(&crate::help());
        return Ok(0);
    }
    run(&args)
}

/// Lists what the pattern matches, what a struct looks like, or the probes of a script.
pub fn run(args: &Args) -> Result<u8> {
    let host = LiveHost::of_process(args.pid);
    let is_script =
        args.file.as_deref().is_some_and(|file| file.ends_with(".bt") && std::path::Path::new(file).is_file());
    if args.expression.is_some() || is_script {
        return of_script(args, &host);
    }
    let typed = args.file.as_deref().unwrap_or("");
    if typed.ends_with(".bt") {
        say(&format!(
            "WARNING: It appears that '{typed}' is a filename but the file does not exist. Treating '{typed}' as a search pattern.\n"
        ));
    }
    for pattern in split_list(typed) {
        matching(&host, pattern, args.verbose)?;
    }
    Ok(0)
}

/// The patterns of a comma list; commas in braces or brackets are the pattern's own.
fn split_list(text: &str) -> Vec<&str> {
    let mut depth = 0;
    let parts = text.split(|c| {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts.map(str::trim).collect()
}

/// Lists the probes, or shows the types, that one pattern means.
fn matching(host: &LiveHost, pattern: &str, with_arguments: bool) -> Result<()> {
    if let Some(definitions) = host.definitions(pattern, with_arguments).map_err(with_hint)? {
        if definitions.is_empty() {
            bail!("this kernel has no type that matches '{pattern}'");
        }
        let origin = if with_arguments { "vmlinux: " } else { "" };
        print(&definitions.iter().map(|text| format!("{origin}{}\n", text.trim_end())).collect::<String>());
        return Ok(());
    }
    show(host, pattern, with_arguments)
}

/// Lists the probes that a script names, wildcards expanded.
fn of_script(args: &Args, host: &LiveHost) -> Result<u8> {
    let script = compile::read_script(args)?;
    let (tree, diagnostics) = bt::parser::parse(&script.text, &ParseOptions { positional: &args.positional });
    compile::show(&script, &diagnostics, args);
    if diagnostics.iter().any(Diagnostic::is_error) {
        return Ok(USAGE);
    }
    for item in &tree.items {
        if let ast::Item::Probe(probe) = item {
            for point in &probe.attach_points {
                match point.provider.as_str() {
                    // Any count or rate is a probe; what there is to list is the kind.
                    "hardware" | "h" | "software" | "s" | "interval" | "i" | "profile" | "p" => {
                        let kind = point.parts.first().map_or("", String::as_str);
                        print(&format!("{}:{kind}:\n", point.provider));
                    }
                    _ => show(host, &point.text, args.verbose)?,
                }
            }
        }
    }
    Ok(0)
}

fn show(host: &LiveHost, pattern: &str, with_arguments: bool) -> Result<()> {
    let mut out = String::new();
    for probe in host.list(pattern, with_arguments).map_err(with_hint)? {
        out.push_str(&probe.name);
        out.push('\n');
        for argument in &probe.arguments {
            out.push_str(&format!("    {argument}\n"));
        }
    }
    print(&out);
    Ok(())
}

fn with_hint(error: bt::HostError) -> anyhow::Error {
    match &error.hint {
        Some(hint) => anyhow::anyhow!("{error}\nHINT: {hint}"),
        None => error.into(),
    }
}
