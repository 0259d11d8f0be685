//! What one event costs: instructions and nanoseconds of the program that runs
//! at it, by the kernel's own statistics; against bpftrace on the same line and
//! clang on the same logic in C.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use btf::Btf;
use kernel::{Attacher, Info, Link, LoadOptions, Loaded, Ring, Statistics};
use object::plan::Attach;

use super::LIMIT;
use super::peers::{Peers, SAYS_ATTACHED};
use super::process::{Measured, programs_of};
use super::table::{Samples, Table, number, ratio};
use crate::root;

/// A program that is measured: `bench/cost/NAME.bt` and `NAME.bpf.c`.
struct Case {
    name: &'static str,
    what: &'static str,
    /// What `xtask load` does, and how often.
    load: &'static str,
    count: u64,
}

const CASES: &[Case] = &[
    Case { name: "count_by_comm", what: "count by comm", load: "getppid", count: 300_000 },
    Case { name: "count_by_id", what: "count by id", load: "getppid", count: 300_000 },
    Case { name: "hist", what: "hist", load: "getppid", count: 300_000 },
    Case { name: "delta", what: "delta between two probes", load: "getppid", count: 300_000 },
    Case { name: "string_key", what: "string key", load: "openat", count: 100_000 },
    Case { name: "tuple_key", what: "tuple key", load: "getppid", count: 300_000 },
    Case { name: "stack_key", what: "stack key", load: "getppid", count: 100_000 },
    Case { name: "printf", what: "printf", load: "kill", count: 50_000 },
    Case { name: "struct_walk", what: "struct walk", load: "getppid", count: 300_000 },
    Case { name: "predicate", what: "predicate that fails", load: "getppid", count: 300_000 },
];

/// Instructions and nanoseconds a run.
#[derive(Clone, Default)]
struct Cost {
    insns: Option<f64>,
    ns: Samples,
}

pub fn run(peers: &Peers, rounds: usize, only: Option<&str>) -> Result<()> {
    println!("### Cost an event\n\nmedians of {rounds} runs in turn\n");
    let _statistics = Statistics::enable()?;
    let mut table = Table::new(&[
        "program",
        "insns: skep",
        "bpftrace",
        "clang",
        "skep/bpftrace",
        "skep/clang",
        "ns: skep",
        "bpftrace",
        "clang",
        "skep/bpftrace",
        "skep/clang",
    ]);
    let chosen: Vec<&Case> = CASES.iter().filter(|case| only.is_none_or(|name| case.name == name)).collect();
    ensure!(!chosen.is_empty(), "no program of that name in xtask/bench/cost");
    for case in chosen {
        let path = root().join("xtask/bench/cost").join(format!("{}.bt", case.name));
        let script = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let object = compile(case.name).inspect_err(|error| println!("skipped: clang: {error:#}")).ok();
        let (mut skep, mut bpftrace, mut clang) = (Cost::default(), Cost::default(), Cost::default());
        let note = |name: &str, cost: &mut Cost, result: Result<(f64, f64)>| match result {
            Ok((insns, ns)) => {
                cost.insns = Some(insns);
                cost.ns.push(ns);
            }
            Err(error) => println!("skipped: {name}: {}: {error:#}", case.name),
        };
        for _ in 0..rounds {
            for (name, mut command) in peers.both(&script) {
                let cost = if name == "skep" { &mut skep } else { &mut bpftrace };
                note(name, cost, of_tracer(&mut command, case));
            }
            if let Some(object) = &object {
                note("clang", &mut clang, of_object(object, case));
            }
        }
        let (insns, ns) = (|cost: &Cost| cost.insns, |cost: &Cost| cost.ns.median());
        table.row(vec![
            case.what.into(),
            number(insns(&skep)),
            number(insns(&bpftrace)),
            number(insns(&clang)),
            ratio(insns(&skep), insns(&bpftrace)),
            ratio(insns(&skep), insns(&clang)),
            number(ns(&skep)),
            number(ns(&bpftrace)),
            number(ns(&clang)),
            ratio(ns(&skep), ns(&bpftrace)),
            ratio(ns(&skep), ns(&clang)),
        ]);
    }
    table.print();
    Ok(())
}

/// Instructions and nanoseconds a run of a tracer's programs under the case's load.
fn of_tracer(command: &mut Command, case: &Case) -> Result<(f64, f64)> {
    let tracer = Measured::start(command, SAYS_ATTACHED, LIMIT)?;
    let ids = programs_of(tracer.pid());
    ensure!(!ids.is_empty(), "it holds no programs");
    let ours = || -> Result<Vec<Info>> {
        Ok(kernel::all_programs()?.into_iter().filter(|info| ids.contains(&info.id)).collect())
    };
    let before = ours()?;
    let mut load = start_load(case)?;
    ensure!(load.wait()?.success(), "the load failed");
    let after = ours()?;
    tracer.interrupt(LIMIT)?;
    cost_between(&before, &after)
}

/// The same of an object file of clang's, which this process loads.
fn of_object(object: &object::Object, case: &Case) -> Result<(f64, f64)> {
    let loaded = Loaded::new(object, LoadOptions::default())?;
    let tracefs = kernel::tracefs::Tracefs::open()?;
    let number = |category: &str, name: &str| tracefs.event_id(category, name);
    let attacher = Attacher::new(&number);
    let mut links: Vec<Link> = Vec::new();
    for (program, model) in loaded.programs.iter().zip(&object.programs) {
        let mut parts = model.section.split('/').skip(1).map(str::to_owned);
        let (Some(category), Some(name)) = (parts.next(), parts.next()) else {
            anyhow::bail!("section {} names no tracepoint", model.section);
        };
        links.push(attacher.attach(program, &Attach::Tracepoint { category, name }, &[])?);
    }
    let mut ring = match loaded.maps.iter().find(|map| map.map_type() == isa::uapi::map_type::RINGBUF) {
        Some(map) => Some(Ring::new(map)?),
        None => None,
    };
    let infos = || loaded.programs.iter().map(|program| Ok(program.info()?)).collect::<Result<Vec<Info>>>();
    let before = infos()?;
    let mut load = start_load(case)?;
    while load.try_wait()?.is_none() {
        // A reader, as the tracers have one.
        if let Some(ring) = &mut ring {
            ring.drain(usize::MAX, |_| true);
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    let after = infos()?;
    cost_between(&before, &after)
}

fn start_load(case: &Case) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["load", case.load, &case.count.to_string()]).spawn().context("starting the load")
}

/// Sums over the programs that ran in between.
fn cost_between(before: &[Info], after: &[Info]) -> Result<(f64, f64)> {
    let (mut insns, mut runs, mut time_ns) = (0, 0, 0);
    for end in after {
        let Some(start) = before.iter().find(|start| start.id == end.id) else { continue };
        if end.run_count > start.run_count {
            insns += end.translated_bytes / 8;
            runs += end.run_count - start.run_count;
            time_ns += end.run_time_ns - start.run_time_ns;
        }
    }
    ensure!(runs > 0, "its programs did not run");
    Ok((f64::from(insns), time_ns as f64 / runs as f64))
}

/// Compiles a case's C with clang and reads the object.
fn compile(name: &str) -> Result<object::Object> {
    let dir = root().join("xtask/bench/cost");
    let out = std::env::temp_dir().join(format!("skep-bench-{}-{name}.o", std::process::id()));
    let result = compile_to(&dir, name, &out);
    // It may not have been made.
    let _ = std::fs::remove_file(&out);
    result
}

fn compile_to(dir: &Path, name: &str, out: &PathBuf) -> Result<object::Object> {
    let types = Btf::parse(kernel::kernel_types::vmlinux()?)?;
    let task = types.find_c("struct task_struct").context("the kernel's types have no struct task_struct")?;
    let offset = |member: &str| -> Result<u64> { Ok(types.member(task.id, member)?.offset()) };
    let output = Command::new("clang")
        .args(["-O2", "-g", "-target", "bpf", "-mcpu=v3"])
        .arg(format!("-DTASK_REAL_PARENT={}", offset("real_parent")?))
        .arg(format!("-DTASK_TGID={}", offset("tgid")?))
        .arg("-c")
        .arg(dir.join(format!("{name}.bpf.c")))
        .arg("-o")
        .arg(out)
        .output()
        .context("starting clang")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(object::read_elf(&std::fs::read(out)?)?)
}
