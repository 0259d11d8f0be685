//! Hundreds of probes at once: until attached, and until gone after Ctrl-C.

use anyhow::Result;

use super::LIMIT;
use super::peers::{Peers, SAYS_ATTACHED};
use super::process::Measured;
use super::table::{Samples, Table, number, ratio};

const SCRIPT: &str = "tracepoint:syscalls:sys_enter_* { @[comm] = count(); }";

pub fn run(peers: &Peers, rounds: usize) -> Result<()> {
    println!("### Wildcards\n\n`{SCRIPT}`, medians of {rounds} runs in turn\n");
    let names: Vec<&str> = peers.both(SCRIPT).iter().map(|(name, _)| *name).collect();
    let mut attached = vec![Samples::default(); names.len()];
    let mut leaving = vec![Samples::default(); names.len()];
    let mut failed = vec![false; names.len()];
    for _ in 0..rounds {
        for (at, (name, mut command)) in peers.both(SCRIPT).into_iter().enumerate() {
            if failed[at] {
                continue;
            }
            let measured = Measured::start(&mut command, SAYS_ATTACHED, LIMIT).and_then(|process| {
                let time = process.attached;
                Ok((time, process.interrupt(LIMIT)?.0))
            });
            match measured {
                Ok((start, end)) => {
                    attached[at].push_ms(start);
                    leaving[at].push_ms(end);
                }
                Err(error) => {
                    println!("skipped: {name}: {error:#}");
                    failed[at] = true;
                }
            }
        }
    }
    let mut table = Table::new(&["program", "attached ms", "to skep", "Ctrl-C to end ms", "to skep"]);
    for (at, name) in names.iter().enumerate() {
        let (start, end) = (attached[at].median(), leaving[at].median());
        table.row(vec![
            (*name).into(),
            number(start),
            ratio(start, attached[0].median()),
            number(end),
            ratio(end, leaving[0].median()),
        ]);
    }
    table.print();
    Ok(())
}
