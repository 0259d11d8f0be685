//! A burst of a million printed events: how many arrive, how fast, and whether
//! the rest is owned up to.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use regex_lite::Regex;

use super::LIMIT;
use super::peers::{Peers, SAYS_ATTACHED};
use super::process::Measured;
use super::table::{Samples, Table, number, ratio};

/// About the cheapest system call, so that the tracer is measured and not the call; the load's own
/// pid is in each line, and nobody else asks for its mask.
const SCRIPT: &str = "tracepoint:syscalls:sys_enter_umask { printf(\"%s %d %d\\n\", comm, pid, args.mask); }";

const EVENTS: u64 = 1_000_000;

/// The file has stood still so long: all is written.
const QUIET: Duration = Duration::from_millis(400);

/// One run's outcome.
struct Outcome {
    delivered: u64,
    /// As the tracer says.
    lost: u64,
    /// From the first event to the last write of the file.
    taken: Duration,
}

pub fn run(peers: &Peers, rounds: usize) -> Result<()> {
    println!("### Events\n\n`{SCRIPT}`, {EVENTS} in a burst, `-o FILE`, medians of {rounds} runs in turn\n");
    let names: Vec<&str> = peers.both(SCRIPT).iter().map(|(name, _)| *name).collect();
    let mut delivered = vec![Samples::default(); names.len()];
    let mut lost = vec![Samples::default(); names.len()];
    let mut missing = vec![Samples::default(); names.len()];
    let mut rate = vec![Samples::default(); names.len()];
    for _ in 0..rounds {
        for (at, (name, command)) in peers.both(SCRIPT).into_iter().enumerate() {
            match burst(command) {
                Ok(outcome) => {
                    delivered[at].push(outcome.delivered as f64);
                    lost[at].push(outcome.lost as f64);
                    missing[at].push(EVENTS as f64 - (outcome.delivered + outcome.lost) as f64);
                    rate[at].push(outcome.delivered as f64 / outcome.taken.as_secs_f64());
                }
                Err(error) => println!("skipped: {name}: {error:#}"),
            }
        }
    }
    let mut table =
        Table::new(&["program", "delivered", "reported lost", "unaccounted, at most", "delivered/s", "skep to it"]);
    for (at, name) in names.iter().enumerate() {
        let whole = |samples: &Samples| samples.median().map_or("–".into(), |value| format!("{value:.0}"));
        table.row(vec![
            (*name).into(),
            whole(&delivered[at]),
            whole(&lost[at]),
            missing[at].most().map_or("–".into(), |value| format!("{value:.0}")),
            number(rate[at].median()),
            ratio(rate[0].median(), rate[at].median()),
        ]);
    }
    table.print();
    Ok(())
}

fn burst(mut command: Command) -> Result<Outcome> {
    let file = std::env::temp_dir().join(format!("skep-bench-{}.out", std::process::id()));
    command.arg("-o").arg(&file);
    let outcome = burst_to(&mut command, &file);
    // It may not have been made.
    let _ = std::fs::remove_file(&file);
    outcome
}

fn burst_to(command: &mut Command, file: &Path) -> Result<Outcome> {
    let tracer = Measured::start(command, SAYS_ATTACHED, LIMIT)?;
    let size = || std::fs::metadata(file).map_or(0, |meta| meta.len());
    let mut load = Command::new(std::env::current_exe()?);
    let mut load = load.args(["load", "umask", &EVENTS.to_string()]).spawn().context("starting the load")?;
    let started = Instant::now();
    let (mut last_size, mut last_change) = (0, started);
    loop {
        std::thread::sleep(Duration::from_millis(2));
        let (now, ended) = (size(), load.try_wait()?.is_some());
        if now != last_size {
            (last_size, last_change) = (now, Instant::now());
        } else if ended && last_change.elapsed() > QUIET {
            break;
        }
    }
    let pid = load.id();
    let (_, finished) = tracer.interrupt(LIMIT)?;
    let text = std::fs::read_to_string(file).context("reading what was written")?;
    let ending = format!(" {pid} 18");
    let delivered = text.lines().filter(|line| line.ends_with(&ending)).count() as u64;
    let lost = lost_events(&text) + lost_events(&finished.stdout) + lost_events(&finished.stderr);
    Ok(Outcome { delivered, lost, taken: last_change - started })
}

/// The sum of all "lost N events" in a text.
fn lost_events(text: &str) -> u64 {
    let line = Regex::new(r"(?i)lost (\d+) events").expect("a constant");
    line.captures_iter(text).filter_map(|found| found[1].parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_events_are_added_up() {
        assert_eq!(lost_events("a 1 0\nLost 12 events\nb 1 0\nWARNING: lost 30 events\n"), 42);
        assert_eq!(lost_events("nothing lost\n"), 0);
    }
}
