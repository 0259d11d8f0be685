//! The kernel matrix: Debian's kernels under QEMU.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{build_skep, root, setup};

/// The kernels, oldest first.
pub const KERNELS: &[&str] = &["5.10", "6.1", "6.12", "7.2"];

/// The runner with its cache inside the checkout, where git ignores it.
pub fn runner() -> Command {
    let mut command = Command::new("bash");
    command.arg(root().join("xtask/vm/run.sh"));
    if std::env::var_os("VMRUN_CACHE").is_none() {
        command.env("VMRUN_CACHE", root().join(".cache/vm"));
    }
    command
}

/// `cargo xtask vm KERNEL [OPTIONS] -- COMMAND`; exits with the command's status.
pub fn run(args: &[String]) -> Result<bool> {
    let status = runner().args(args).status().context("starting the VM runner")?;
    std::process::exit(status.code().unwrap_or(125));
}

/// `cargo xtask matrix [KERNEL] [PATTERN]`: the case files on each kernel.
pub fn matrix(args: &[String]) -> Result<bool> {
    setup::packages()?;
    let skep = build_skep()?;
    let (kernels, patterns): (Vec<&String>, Vec<&String>) = args.iter().partition(|a| KERNELS.contains(&a.as_str()));
    let chosen: Vec<&str> =
        if kernels.is_empty() { KERNELS.to_vec() } else { kernels.iter().map(|k| k.as_str()).collect() };
    let mut good = true;
    for kernel in chosen {
        let status = cases_command(kernel, &skep, &patterns)?.status();
        good &= status.context("starting the VM runner")?.success();
    }
    Ok(good)
}

/// The command that runs the case files inside one kernel's VM, with this very program.
pub fn cases_command(kernel: &str, skep: &Path, patterns: &[&String]) -> Result<Command> {
    let mut command = runner();
    command.args([kernel, "-m", "2048", "-t", "900", "-C"]).arg(root()).arg("--");
    command.arg(std::env::current_exe()?).args(["cases", "--kernel", kernel, "--skep"]).arg(skep).args(patterns);
    Ok(command)
}
