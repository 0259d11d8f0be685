//! `cargo xtask bench`: start-up, wildcards, cost an event, events and size,
//! measured against peers in one run, theirs and ours in turn.

mod cost;
mod events;
mod peers;
mod process;
mod size;
mod start;
mod table;
mod wildcards;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::root;
use peers::Peers;

pub const HELP: &str = "\
cargo xtask bench [start|kprobe|wildcards|cost|events|size|all] [OPTIONS]
      --peer-bpftrace FILE    bpftrace to compare with (default: bpftrace)
      --skep FILE             the binary to measure (default: build a release)
      --rounds N              repeat each measurement so often (default: each bench's own)
      --only NAME             of cost: this program alone
      --build                 of size: also time a clean release build
    kprobe runs in the VM of a matrix kernel: --vm VERSION (default 6.12)
";

/// No process of the bench may take longer.
const LIMIT: Duration = Duration::from_secs(120);

/// What was typed.
struct Options {
    what: String,
    skep: Option<PathBuf>,
    bpftrace: String,
    rounds: Option<usize>,
    only: Option<String>,
    build: bool,
    vm: String,
    /// What the bench adds for itself: debugfs and tracefs are mounted.
    mounted: bool,
    /// This is the VM.
    inside: bool,
}

impl Options {
    fn parse(args: &[String]) -> Result<Options> {
        let mut options = Options {
            what: "all".into(),
            skep: None,
            bpftrace: "bpftrace".into(),
            rounds: None,
            only: None,
            build: false,
            vm: "6.12".into(),
            mounted: false,
            inside: false,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().cloned().with_context(|| format!("{arg} takes a value"));
            match arg.as_str() {
                "--skep" => options.skep = Some(PathBuf::from(value()?)),
                "--peer-bpftrace" => options.bpftrace = value()?,
                "--rounds" => options.rounds = Some(value()?.parse().context("--rounds takes a number")?),
                "--only" => options.only = Some(value()?),
                "--build" => options.build = true,
                "--vm" => options.vm = value()?,
                "--mounted" => options.mounted = true,
                "--inside" => options.inside = true,
                "--help" | "-h" => options.what = "help".into(),
                what if !what.starts_with('-') => options.what = what.into(),
                other => bail!("bench has no option '{other}'\n\n{HELP}"),
            }
        }
        Ok(options)
    }
}

/// Runs benches and prints their tables.
pub fn run(args: &[String]) -> Result<bool> {
    let options = Options::parse(args)?;
    if options.what == "help" {
        print!("{HELP}");
        return Ok(true);
    }
    if cfg!(debug_assertions) {
        return run_optimised(args);
    }
    let skep = match &options.skep {
        Some(skep) => skep.canonicalize().with_context(|| format!("no {}", skep.display()))?,
        None => crate::build_skep()?,
    };
    if !options.mounted && !has_mounts() {
        return run_with_mounts(args, &skep);
    }
    println!("{}", machine());
    let peers = Peers::find(skep, &options.bpftrace)?;
    let all = options.what == "all";
    let mut done = false;
    let mut section = |name: &str, run: &dyn Fn() -> Result<()>| -> Result<()> {
        if all || options.what == name {
            done = true;
            run()?;
            println!();
        }
        Ok(())
    };
    section("start", &|| start::run(&peers, options.rounds.unwrap_or(15)))?;
    section("kprobe", &|| match options.inside {
        true => start::kprobe(&peers, options.rounds.unwrap_or(5)),
        false => in_vm(&options.vm, &peers),
    })?;
    section("wildcards", &|| wildcards::run(&peers, options.rounds.unwrap_or(3)))?;
    section("cost", &|| cost::run(&peers, options.rounds.unwrap_or(5), options.only.as_deref()))?;
    section("events", &|| events::run(&peers, options.rounds.unwrap_or(3)))?;
    section("size", &|| size::run(&peers.skep, options.build))?;
    ensure!(done, "no bench '{}'\n\n{HELP}", options.what);
    Ok(true)
}

/// What the figures were measured on, and how busy it was besides.
fn machine() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!("kernel {}, {} CPUs, load {load} at the start", kernel::kernel_release(), kernel::online_cpus().len())
}

/// Runs the bench from an optimised build of this program: the bare loader and the
/// load are parts of it.
fn run_optimised(args: &[String]) -> Result<bool> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--release", "--quiet", "--package", "xtask", "--", "bench"]).args(args);
    Ok(command.current_dir(root()).status().context("starting cargo")?.success())
}

/// ply and libbpf's tools look for tracefs at its old place.
fn has_mounts() -> bool {
    std::path::Path::new("/sys/kernel/debug/tracing/events").is_dir()
}

/// Runs the bench again with debugfs and tracefs mounted for it alone.
fn run_with_mounts(args: &[String], skep: &std::path::Path) -> Result<bool> {
    const SCRIPT: &str = "mount -t debugfs debugfs /sys/kernel/debug && mount -t tracefs tracefs /sys/kernel/tracing &&
        { [ -d /sys/kernel/debug/tracing/events ] || mount -t tracefs tracefs /sys/kernel/debug/tracing; } && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", SCRIPT, "sh"]).arg(std::env::current_exe()?);
    command.arg("bench").args(args).arg("--skep").arg(skep).arg("--mounted");
    let status = command.stdin(Stdio::null()).status().context("starting unshare (util-linux)")?;
    Ok(status.success())
}

/// The kprobe bench inside a kernel's VM.
fn in_vm(kernel: &str, peers: &Peers) -> Result<()> {
    println!("### `kprobe:vfs_read {{ @[comm] = count(); }}` on kernel {kernel}, in its VM\n");
    let mut command = crate::vm::runner();
    command.args([kernel, "-m", "2048", "-t", "600", "-C"]).arg(root()).arg("--").arg(std::env::current_exe()?);
    command.args(["bench", "kprobe", "--inside", "--skep"]).arg(&peers.skep);
    if let Some(bpftrace) = &peers.bpftrace {
        command.arg("--peer-bpftrace").arg(bpftrace);
    }
    ensure!(command.status().context("starting the VM runner")?.success(), "the bench failed in the VM");
    Ok(())
}
