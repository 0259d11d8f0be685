//! What the user must know besides the output: lost events, full maps, cut strings.

use std::io::Write;
use std::time::{Duration, Instant};

use kernel::MappedArray;
use object::plan::{Counter, Plan};
use object::{Object, SourceSpan};

/// At most so often it is looked whether events were lost, while events come.
const INTERVAL: Duration = Duration::from_secs(1);

/// Watches the counters that programs add to.
pub struct Report {
    lost_so_far: u64,
    looked: Instant,
    told: Vec<bool>,
}

impl Report {
    pub fn new(plan: &Plan) -> Report {
        Report { lost_so_far: 0, looked: Instant::now(), told: vec![false; plan.counter_meanings.len()] }
    }

    /// Events lost since the last call; looks once a second unless `now`.
    pub fn newly_lost(&mut self, plan: &Plan, counters: Option<&MappedArray>, now: bool) -> u64 {
        if !now && self.looked.elapsed() < INTERVAL {
            return 0;
        }
        self.looked = Instant::now();
        let Some(counters) = counters else { return 0 };
        let slots = plan.counter_meanings.iter().enumerate().filter(|(_, c)| **c == Counter::LostEvents);
        let lost: u64 = slots.filter_map(|(slot, _)| counters.read_u64(slot)).sum();
        let new = lost.saturating_sub(self.lost_so_far);
        self.lost_so_far = lost;
        new
    }

    /// Warns of everything else that was counted, each once. `verbose`: also of
    /// failed reads, which scripts may expect.
    pub fn warn(&mut self, plan: &Plan, counters: Option<&MappedArray>, verbose: bool, out: &mut dyn Write) {
        let Some(counters) = counters else { return };
        for (slot, counter) in plan.counter_meanings.iter().enumerate() {
            let count = counters.read_u64(slot).unwrap_or(0);
            if count == 0 || self.told.get(slot).copied().unwrap_or(true) {
                continue;
            }
            let warning = match counter {
                Counter::LostEvents | Counter::StartNs | Counter::MapSet { .. } => continue,
                Counter::FailedReads { .. } if !verbose => continue,
                Counter::MapFull { map, helper, span } => {
                    let name = plan.object.maps.get(map.0 as usize).map_or("", |map| map.name.as_str());
                    format!(
                        "{}WARNING: Map full; can't update element: {name} ({helper}, {count} times). Increase max_map_keys.",
                        place(&plan.object, *span)
                    )
                }
                Counter::TruncatedStrings => {
                    format!("WARNING: {count} strings were longer than max_strlen and cut. Increase max_strlen.")
                }
                Counter::LostStacks => format!("WARNING: {count} stacks could not be stored."),
                Counter::FailedReads { helper, span } => {
                    format!("{}WARNING: {count} reads of memory failed ({helper}).", place(&plan.object, *span))
                }
            };
            self.told[slot] = true;
            // A diagnostic that cannot be written has nobody to miss it.
            let _ = writeln!(out, "{warning}");
        }
    }
}

/// `file:line:column-column: ` of a place in the script, as diagnostics start; empty if there is no such place.
pub fn place(object: &Object, span: SourceSpan) -> String {
    match position(object, span) {
        Some((name, line, column)) => {
            let columns = span.end.saturating_sub(span.start).max(1);
            format!("{name}:{line}:{column}-{}: ", column + columns)
        }
        None => String::new(),
    }
}

/// The name of the source, line and column (1-based, in bytes) where a span starts.
pub fn position(object: &Object, span: SourceSpan) -> Option<(&str, u32, u32)> {
    let source = object.sources.get(usize::from(span.source))?;
    let before = source.text.as_bytes().get(..span.start as usize)?;
    let line = before.iter().filter(|&&b| b == b'\n').count() as u32 + 1;
    let start = before.iter().rposition(|&b| b == b'\n').map_or(0, |newline| newline + 1);
    Some((&source.name, line, (before.len() - start) as u32 + 1))
}
