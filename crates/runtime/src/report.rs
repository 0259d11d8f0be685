//! What the user must know besides the output: lost events, full maps, cut strings.

use std::io::Write;
use std::time::{Duration, Instant};

use kernel::MappedArray;
use object::plan::{Counter, Plan};
use object::{Object, SourceSpan};

/// So often it is looked whether anything was lost.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// What updates of a full map return: `-E2BIG` (`kernel/bpf/hashtab.c`).
const FULL: i64 = -7;

/// Watches the counters that programs add to.
pub struct Report {
    lost_so_far: u64,
    /// Events that arrived but were not handled, since the user was last told.
    unhandled: u64,
    looked: Instant,
    /// How often what each slot counts had happened when the user was last told.
    told: Vec<u64>,
}

impl Report {
    pub fn new(plan: &Plan) -> Report {
        Report { lost_so_far: 0, unhandled: 0, looked: Instant::now(), told: vec![0; plan.counter_meanings.len()] }
    }

    /// Whether it is time to look again; then the next time is a second later.
    pub fn is_due(&mut self) -> bool {
        let due = self.looked.elapsed() >= INTERVAL;
        if due {
            self.looked = Instant::now();
        }
        due
    }

    /// Counts events that arrived but were not handled.
    pub fn lose(&mut self, events: u64) {
        self.unhandled += events;
    }

    /// Events lost since the last call.
    pub fn newly_lost(&mut self, plan: &Plan, counters: Option<&MappedArray>) -> u64 {
        let unhandled = std::mem::take(&mut self.unhandled);
        let Some(counters) = counters else { return unhandled };
        let slots = plan.counter_meanings.iter().enumerate().filter(|(_, c)| **c == Counter::LostEvents);
        let lost: u64 = slots.filter_map(|(slot, _)| counters.read_u64(slot)).sum();
        let new = lost.saturating_sub(self.lost_so_far);
        self.lost_so_far = lost;
        new + unhandled
    }

    /// Warns of everything else that was counted: when it first happens, and at the end how often it
    /// has.
    pub fn warn(&mut self, plan: &Plan, counters: Option<&MappedArray>, at_end: bool, out: &mut dyn Write) {
        let Some(counters) = counters else { return };
        for ((slot, counter), told) in plan.counter_meanings.iter().enumerate().zip(&mut self.told) {
            let count = counters.read_u64(slot).unwrap_or(0);
            if count == *told || (!at_end && *told != 0) {
                continue;
            }
            let times = if at_end { format!(" ({count} times)") } else { String::new() };
            let warning = match counter {
                Counter::LostEvents | Counter::StartNs | Counter::MapSet { .. } => continue,
                Counter::MapFull { map, helper, span } => {
                    let name = plan.object.maps.get(map.0 as usize).map_or("", |map| map.name.as_str());
                    format!(
                        "{}WARNING: Map full; can't update element of {name}{times}. Increase max_map_keys, or declare \
                         the map larger, as in `let {name} = hash(5000)`\n\
                         Additional Info - helper: {helper}, retcode: {}{}",
                        place(&plan.object, *span),
                        FULL,
                        excerpt(&plan.object, *span)
                    )
                }
                Counter::DivisionByZero { span } => format!(
                    "{}WARNING: Divide or modulo by 0 detected. This can lead to unexpected results. 1 is being used \
                     as the result{times}.{}",
                    place(&plan.object, *span),
                    excerpt(&plan.object, *span)
                ),
                Counter::OutOfBounds { span } => format!(
                    "{}WARNING: Array access out of bounds. This can lead to unexpected results{times}.{}",
                    place(&plan.object, *span),
                    excerpt(&plan.object, *span)
                ),
                Counter::TruncatedStrings => {
                    format!("WARNING: Strings longer than max_strlen were cut{times}. Increase max_strlen.")
                }
                Counter::LostStacks => format!("WARNING: Stacks could not be stored{times}."),
            };
            *told = count;
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

/// The first line of a place in the script with a line below that underlines the place, each after a newline; empty
/// if there is no such place.
pub fn excerpt(object: &Object, span: SourceSpan) -> String {
    let (Some(source), Some((_, line, column))) =
        (object.sources.get(usize::from(span.source)), position(object, span))
    else {
        return String::new();
    };
    let text = source.text.lines().nth(line as usize - 1).unwrap_or_default();
    let before = column as usize - 1;
    let marked = (span.end.saturating_sub(span.start) as usize).min(text.len().saturating_sub(before)).max(1);
    // A tab is shown as four spaces, as in all messages.
    let indent: usize = text.bytes().take(before).map(|b| if b == b'\t' { 4 } else { 1 }).sum();
    format!("\n{}\n{}{}", text.replace('\t', "    "), " ".repeat(indent), "~".repeat(marked))
}

/// The name of the source, line and column (1-based, in bytes) where a span starts.
pub fn position(object: &Object, span: SourceSpan) -> Option<(&str, u32, u32)> {
    let source = object.sources.get(usize::from(span.source))?;
    let before = source.text.as_bytes().get(..span.start as usize)?;
    let line = before.iter().filter(|&&b| b == b'\n').count() as u32 + 1;
    let start = before.iter().rposition(|&b| b == b'\n').map_or(0, |newline| newline + 1);
    Some((&source.name, line, (before.len() - start) as u32 + 1))
}
