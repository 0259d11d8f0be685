//! What processes have mapped, kept for when they are gone: their stacks are often shown later.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use kernel::process;
use object::plan::{Layout, Plan};

/// Files that processes have mapped executable, as they were last seen.
#[derive(Default)]
pub struct Mappings {
    processes: HashMap<u32, Vec<Range>>,
}

/// Addresses of a process where a file is mapped.
struct Range {
    start: u64,
    end: u64,
    /// Where `start` is in the file, in bytes.
    offset: u64,
    file: PathBuf,
}

/// At most so many processes are kept; then all are forgotten.
const MOST_PROCESSES: usize = 10_000;

impl Mappings {
    /// Takes down what a process has mapped now. What it had mapped elsewhere before stays known. Nothing if it is
    /// gone.
    pub fn look(&mut self, pid: u32) {
        let maps = process::maps(pid).unwrap_or_default();
        let files = maps.into_iter().filter(|map| map.executable && map.is_file() && !map.deleted);
        let new: Vec<Range> = files
            .map(|map| Range {
                start: map.start,
                end: map.end,
                offset: map.offset,
                file: process::seen_from_here(pid, map.path.as_ref()),
            })
            .collect();
        if new.is_empty() {
            return;
        }
        if self.processes.len() > MOST_PROCESSES {
            self.processes.clear();
        }
        let known = self.processes.entry(pid).or_default();
        known.retain(|old| !new.iter().any(|new| old.start < new.end && new.start < old.end));
        known.extend(new);
    }

    /// Whether anything is known of a process.
    pub fn know(&self, pid: u32) -> bool {
        self.processes.contains_key(&pid)
    }

    /// The file that an address was mapped from, and where in it.
    pub fn find(&self, pid: u32, address: u64) -> Option<(&PathBuf, u64)> {
        let range = self.processes.get(&pid)?.iter().find(|range| (range.start..range.end).contains(&address))?;
        Some((&range.file, address - range.start + range.offset))
    }
}

/// When to look at a watched process: often while it starts and maps its libraries, then seldom.
pub struct Schedule {
    due: Instant,
    delay: Duration,
}

impl Schedule {
    const FIRST: Duration = Duration::from_millis(1);
    const LAST: Duration = Duration::from_secs(1);

    /// The first look is due now.
    pub fn new(now: Instant) -> Schedule {
        Schedule { due: now, delay: Self::FIRST }
    }

    /// Whether it is time to look. Then the next look is due after a delay twice as long as the last.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let due = now >= self.due;
        if due {
            self.due = now + self.delay;
            self.delay = (self.delay * 2).min(Self::LAST);
        }
        due
    }

    /// How long until the next look.
    pub fn remaining(&self, now: Instant) -> Duration {
        self.due.saturating_duration_since(now)
    }
}

/// Whether a session shows addresses of processes by name.
pub fn are_shown(plan: &Plan) -> bool {
    let of_maps = plan.maps.iter().flat_map(|view| view.key.iter().chain([&view.value]));
    let of_events = plan.events.iter().flat_map(|event| event.args.iter().map(|arg| &arg.layout));
    of_maps.chain(of_events).any(has_user_address)
}

fn has_user_address(layout: &Layout) -> bool {
    match layout {
        Layout::UStack(_) | Layout::USym => true,
        Layout::Tuple { fields, .. } | Layout::Struct { fields, .. } => {
            fields.iter().any(|field| has_user_address(&field.layout))
        }
        Layout::Array { elem, .. } => has_user_address(elem),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_mapped_stays_known() {
        let mut mappings = Mappings::default();
        let range = |start, end, file: &str| Range { start, end, offset: 0x1000, file: file.into() };
        mappings.processes.insert(1, vec![range(0x4000, 0x5000, "/bin/a"), range(0x8000, 0x9000, "/lib/b")]);
        assert_eq!(mappings.find(1, 0x4010), Some((&"/bin/a".into(), 0x1010)));
        assert_eq!(mappings.find(1, 0x8fff), Some((&"/lib/b".into(), 0x1fff)));
        assert_eq!(mappings.find(1, 0x5000), None);
        assert_eq!(mappings.find(2, 0x4010), None);
        mappings.look(u32::MAX);
        assert!(!mappings.know(u32::MAX) && mappings.know(1));
    }

    #[test]
    fn our_own_code_is_in_our_own_binary() {
        let mut mappings = Mappings::default();
        let pid = std::process::id();
        mappings.look(pid);
        mappings.look(pid);
        let address = our_own_code_is_in_our_own_binary as fn() as usize as u64;
        let (file, _) = mappings.find(pid, address).expect("mapped");
        assert_eq!(*file, std::env::current_exe().expect("known"));
    }

    #[test]
    fn looks_become_seldom() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        let mut now = start;
        let mut looks = Vec::new();
        for _ in 0..12 {
            assert!(schedule.is_due(now) && !schedule.is_due(now));
            let delay = schedule.remaining(now);
            looks.push(delay.as_millis());
            now += delay;
        }
        assert_eq!(looks, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1000]);
    }
}
