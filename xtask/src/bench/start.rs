//! From exec to attached, and whole runs.

use std::process::Command;

use anyhow::Result;

use super::LIMIT;
use super::peers::{Peers, SAYS_ATTACHED};
use super::process::{Measured, Ready};
use super::table::{Samples, Table, number, ratio};

const BY_COMM: &str = "tracepoint:raw_syscalls:sys_enter { @[comm] = count(); }";
const BY_COMM_PLY: &str = "tracepoint:raw_syscalls/sys_enter { @[comm] = count(); }";
const SWITCHES: &str = "tracepoint:sched:sched_switch { @[args.next_comm] = count(); }";
const NOTHING: &str = "BEGIN { exit(); }";
const KPROBE: &str = "kprobe:vfs_read { @[comm] = count(); }";

/// One program that is started again and again.
struct Contestant<'a> {
    name: &'a str,
    make: Box<dyn Fn() -> Result<Command> + 'a>,
    /// `None`: runs to its end by itself.
    ready: Option<Ready>,
    /// Done before each start.
    prepare: Option<Box<dyn Fn() + 'a>>,
    measured: Figures,
    /// It failed once: not tried again.
    failed: bool,
}

/// What is measured of each start; times in milliseconds.
#[derive(Default)]
struct Figures {
    attached: Samples,
    attached_cpu: Samples,
    /// From Ctrl-C to the end.
    leaving: Samples,
    whole: Samples,
    whole_cpu: Samples,
    peak_mib: Samples,
    /// The very first start to attached.
    first: Option<f64>,
}

impl<'a> Contestant<'a> {
    fn new(name: &'a str, ready: Option<Ready>, make: impl Fn() -> Result<Command> + 'a) -> Contestant<'a> {
        Contestant { name, make: Box::new(make), ready, prepare: None, measured: Figures::default(), failed: false }
    }

    /// One start; a failure is told and ends this contestant's part.
    fn round(&mut self) {
        if self.failed {
            return;
        }
        if let Some(prepare) = &self.prepare {
            prepare();
        }
        if let Err(error) = self.try_round() {
            println!("skipped: {}: {error:#}", self.name);
            self.failed = true;
        }
    }

    fn try_round(&mut self) -> Result<()> {
        let mut command = (self.make)()?;
        let figures = &mut self.measured;
        let finished = match self.ready {
            Some(ready) => {
                let process = Measured::start(&mut command, ready, LIMIT)?;
                let attached = process.attached.as_secs_f64() * 1e3;
                figures.first.get_or_insert(attached);
                figures.attached.push(attached);
                figures.attached_cpu.push_ms(process.attached_cpu);
                let (leaving, finished) = process.interrupt(LIMIT)?;
                figures.leaving.push_ms(leaving);
                finished
            }
            None => Measured::run(&mut command, LIMIT)?,
        };
        figures.whole.push_ms(finished.whole);
        figures.whole_cpu.push_ms(finished.cpu);
        figures.peak_mib.push(finished.peak_rss_kib as f64 / 1024.0);
        Ok(())
    }
}

fn run_rounds(contestants: &mut [Contestant<'_>], rounds: usize) {
    // One for the page cache, not counted.
    for contestant in contestants.iter_mut() {
        contestant.round();
        contestant.measured = Figures { first: contestant.measured.first, ..Figures::default() };
    }
    for _ in 0..rounds {
        contestants.iter_mut().for_each(Contestant::round);
    }
}

pub fn run(peers: &Peers, rounds: usize) -> Result<()> {
    println!("### Start\n\n`{BY_COMM}`, medians of {rounds} starts in turn\n");
    let mut contestants = pair(peers, BY_COMM);
    contestants.push(Contestant::new("bare loader", Some(SAYS_ATTACHED), || peers.floor()));
    if peers.ply(BY_COMM_PLY).is_some() {
        let command = move || Ok(peers.ply(BY_COMM_PLY).expect("it was there"));
        contestants.push(Contestant::new("ply, warm", Some(Ready::HoldsPerfEvents(1)), command));
    }
    libbpf_tools(peers, &["opensnoop", "execsnoop"], &mut contestants);
    run_rounds(&mut contestants, rounds);
    attached_table(&contestants).print();

    println!("\n`{SWITCHES}`\n");
    let mut contestants = pair(peers, SWITCHES);
    run_rounds(&mut contestants, rounds);
    attached_table(&contestants).print();

    println!("\n`{NOTHING}`, the whole run\n");
    let mut contestants = pair(peers, NOTHING);
    contestants.iter_mut().for_each(|contestant| contestant.ready = None);
    run_rounds(&mut contestants, rounds);
    let ours = contestants[0].measured.whole.median();
    let mut table = Table::new(&["program", "whole ms", "to skep", "CPU ms", "peak MiB"]);
    for Contestant { name, measured, .. } in contestants.iter().filter(|c| !c.failed) {
        table.row(vec![
            (*name).into(),
            number(measured.whole.median()),
            ratio(measured.whole.median(), ours),
            number(measured.whole_cpu.median()),
            number(measured.peak_mib.median()),
        ]);
    }
    table.print();
    Ok(())
}

/// A kernel probe, where kernel probes are: in a VM, which also starts cold.
pub fn kprobe(peers: &Peers, rounds: usize) -> Result<()> {
    let mut contestants = pair(peers, KPROBE);
    if peers.ply(KPROBE).is_some() {
        let command = move || Ok(peers.ply(KPROBE).expect("it was there"));
        let ready = Some(Ready::HoldsPerfEvents(1));
        contestants.push(Contestant::new("ply, warm", ready, command));
        let mut cold = Contestant::new("ply, without its cache", ready, command);
        cold.prepare = Some(Box::new(|| peers.forget_ply_cache()));
        // Before the warm one, which then finds the cache that this one leaves.
        contestants.insert(contestants.len() - 1, cold);
    }
    libbpf_tools(peers, &["vfsstat", "opensnoop"], &mut contestants);
    run_rounds(&mut contestants, rounds);
    println!("medians of {rounds} starts in turn; first: the first start after boot\n");
    let ours = contestants[0].measured.attached.median();
    let mut table =
        Table::new(&["program", "attached ms", "to skep", "first ms", "CPU ms", "Ctrl-C to end ms", "peak MiB"]);
    for Contestant { name, measured, .. } in contestants.iter().filter(|c| !c.failed) {
        table.row(vec![
            (*name).into(),
            number(measured.attached.median()),
            ratio(measured.attached.median(), ours),
            number(measured.first),
            number(measured.attached_cpu.median()),
            number(measured.leaving.median()),
            number(measured.peak_mib.median()),
        ]);
    }
    table.print();
    Ok(())
}

/// Ours first, then bpftrace if it is there.
fn pair<'a>(peers: &'a Peers, script: &'a str) -> Vec<Contestant<'a>> {
    let mut pair = vec![Contestant::new("skep", Some(SAYS_ATTACHED), move || Ok(peers.skep(script)))];
    if peers.bpftrace.is_some() {
        let command = move || Ok(peers.bpftrace(script).expect("it was there"));
        pair.push(Contestant::new("bpftrace", Some(SAYS_ATTACHED), command));
    }
    pair
}

fn libbpf_tools<'a>(peers: &'a Peers, names: &'a [&'a str], contestants: &mut Vec<Contestant<'a>>) {
    for name in names {
        if peers.libbpf_tool(name).is_none() {
            println!("skipped: {name}: not found (Debian's libbpf-tools)");
            continue;
        }
        let command = move || Ok(peers.libbpf_tool(name).expect("it was there"));
        contestants.push(Contestant::new(name, Some(Ready::Speaks), command));
    }
}

fn attached_table(contestants: &[Contestant<'_>]) -> Table {
    let ours = contestants[0].measured.attached.median();
    let head = ["program", "attached ms", "least ms", "to skep", "CPU to attached ms", "Ctrl-C to end ms", "peak MiB"];
    let mut table = Table::new(&head);
    for Contestant { name, measured, .. } in contestants.iter().filter(|c| !c.failed) {
        table.row(vec![
            (*name).into(),
            number(measured.attached.median()),
            number(measured.attached.least()),
            ratio(measured.attached.median(), ours),
            number(measured.attached_cpu.median()),
            number(measured.leaving.median()),
            number(measured.peak_mib.median()),
        ]);
    }
    table
}
