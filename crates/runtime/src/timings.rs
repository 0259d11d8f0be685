//! How long each phase of a run took, for `--timings`.

use std::fmt;
use std::time::{Duration, Instant};

/// Named phases in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    phases: Vec<(&'static str, Duration)>,
}

impl Timings {
    /// Runs `work` and notes how long it took.
    pub fn time<T>(&mut self, phase: &'static str, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.add(phase, start.elapsed());
        result
    }

    /// Notes a phase; one with a name that was there already grows.
    pub fn add(&mut self, phase: &'static str, took: Duration) {
        match self.phases.iter_mut().find(|(name, _)| *name == phase) {
            Some((_, total)) => *total += took,
            None => self.phases.push((phase, took)),
        }
    }

    pub fn phases(&self) -> &[(&'static str, Duration)] {
        &self.phases
    }

    /// Takes in the phases of another, after our own.
    pub fn extend(&mut self, other: &Timings) {
        other.phases.iter().for_each(|(phase, took)| self.add(phase, *took));
    }
}

/// A line a phase, microseconds, and their sum.
impl fmt::Display for Timings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let microseconds = |took: Duration| took.as_nanos() as f64 / 1_000.0;
        for (phase, took) in &self.phases {
            writeln!(f, "{phase:<12}{:>12.1} us", microseconds(*took))?;
        }
        let total = self.phases.iter().map(|(_, took)| *took).sum();
        writeln!(f, "{:<12}{:>12.1} us", "total", microseconds(total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_add_up() {
        let mut timings = Timings::default();
        assert_eq!(timings.time("parse", || 7), 7);
        let mut other = Timings::default();
        other.add("load", Duration::from_micros(1500));
        other.add("load", Duration::from_micros(500));
        timings.extend(&other);
        assert_eq!(timings.phases()[1], ("load", Duration::from_millis(2)));
        assert!(timings.to_string().contains("load              2000.0 us\n"), "{timings}");
    }
}
