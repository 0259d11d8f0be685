//! Probes that perf events fire: `profile`, `interval`, `software`, `hardware`.

use object::plan::Sample;

use super::{Provider, Resolved, Resolver, Target, Unresolved, has_wildcard};
use crate::suggest;

// `enum perf_type_id` and `enum perf_sw_ids` of include/uapi/linux/perf_event.h.
const PERF_TYPE_HARDWARE: u32 = 0;
const PERF_TYPE_SOFTWARE: u32 = 1;
const PERF_COUNT_SW_CPU_CLOCK: u64 = 0;

/// An event that `software` or `hardware` takes.
struct Event {
    name: &'static str,
    alias: &'static str,
    config: u64,
    /// Fires every so many events when the script does not say.
    count: u64,
}

const fn event(name: &'static str, alias: &'static str, config: u64, count: u64) -> Event {
    Event { name, alias, config, count }
}

/// `enum perf_sw_ids`.
const SOFTWARE: &[Event] = &[
    event("alignment-faults", "", 7, 1),
    event("bpf-output", "", 10, 1),
    event("context-switches", "cs", 3, 1000),
    event("cpu-clock", "cpu", 0, 1_000_000),
    event("cpu-migrations", "", 4, 1),
    event("dummy", "", 9, 1),
    event("emulation-faults", "", 8, 1),
    event("major-faults", "", 6, 1),
    event("minor-faults", "", 5, 100),
    event("page-faults", "faults", 2, 100),
    event("task-clock", "", 1, 1),
];

/// `enum perf_hw_id`.
const HARDWARE: &[Event] = &[
    event("backend-stalls", "", 8, 1_000_000),
    event("branch-instructions", "branches", 4, 100_000),
    event("branch-misses", "", 5, 100_000),
    event("bus-cycles", "", 6, 100_000),
    event("cache-misses", "", 3, 1_000_000),
    event("cache-references", "", 2, 1_000_000),
    event("cpu-cycles", "cycles", 0, 1_000_000),
    event("frontend-stalls", "", 7, 1_000_000),
    event("instructions", "", 1, 1_000_000),
    event("ref-cycles", "", 9, 1_000_000),
];

impl Resolver<'_> {
    /// `profile:hz:99`, `interval:s:1`, `interval:5ms`.
    pub(super) fn timed(&self, provider: Provider) -> Resolved {
        let kind = provider.name();
        let rate = format!("Invalid rate of {kind} probe");
        let (unit, count) = match self.parts() {
            [duration] => {
                let ns = self.number(duration, &rate)?;
                if ns < 1000 {
                    let message = format!("{rate}. Minimum is 1000 or 1us. Found: {ns} nanoseconds");
                    return Err(self.wrong(message));
                }
                ("us", ns / 1000)
            }
            [unit, count] => (unit.as_str(), self.number(count, &rate)?),
            _ => return Err(self.argument_count(provider, "1 or 2")),
        };
        let period = |unit_ns: u64| match count.checked_mul(unit_ns) {
            Some(ns) => Ok(Sample::Period(ns)),
            None => Err(self.wrong(format!("{kind} period is too long"))),
        };
        let sample = match unit {
            "hz" => Sample::FrequencyHz(count),
            "s" => period(1_000_000_000)?,
            "ms" => period(1_000_000)?,
            "us" => period(1_000)?,
            _ => return Err(self.wrong(format!("{unit} is not an accepted unit of time"))),
        };
        if count == 0 {
            return Err(self.wrong(format!("{kind} frequency should be a positive integer")));
        }
        let target = Target::Perf {
            kind: PERF_TYPE_SOFTWARE,
            config: PERF_COUNT_SW_CPU_CLOCK,
            sample,
            one_cpu: provider == Provider::Interval,
        };
        Ok(vec![self.probe(provider, format!("{kind}:{unit}:{count}"), target)])
    }

    /// `software:page-faults:100`, `hardware:cache-misses:`.
    pub(super) fn counted(&self, provider: Provider) -> Resolved {
        let kind = provider.name();
        let (name, count) = match self.parts() {
            [name] => (name, None),
            [name, count] if count.is_empty() || count == "*" => (name, None),
            [name, count] => (name, Some(self.number(count, &format!("Invalid count for {kind} probe"))?)),
            _ => return Err(self.argument_count(provider, "1 or 2")),
        };
        let (perf_type, events) = match provider {
            Provider::Hardware => (PERF_TYPE_HARDWARE, HARDWARE),
            _ => (PERF_TYPE_SOFTWARE, SOFTWARE),
        };
        if has_wildcard(name) {
            return Err(self.wrong(format!("wildcards are not allowed for {kind} probe type")));
        }
        let Some(found) = events.iter().find(|event| name == event.name || (!name.is_empty() && name == event.alias))
        else {
            return Err(self.unknown_event(kind, name, events));
        };
        if count == Some(0) {
            return Err(self.wrong(format!("{kind} count should be a positive integer")));
        }
        let shown = match count {
            Some(count) => format!("{kind}:{name}:{count}"),
            None => format!("{kind}:{name}"),
        };
        let sample = Sample::Period(count.unwrap_or(found.count));
        let target = Target::Perf { kind: perf_type, config: found.config, sample, one_cpu: false };
        Ok(vec![self.probe(provider, shown, target)])
    }

    fn unknown_event(&self, kind: &str, name: &str, events: &[Event]) -> Unresolved {
        if name.is_empty() {
            return self.wrong(format!("{kind} probe must have a {kind} event name"));
        }
        let near = suggest(name, events.iter().flat_map(|event| [event.name, event.alias]));
        self.wrong_with_hint(format!("{name} is not a {kind} probe"), near.map(|near| format!("Did you mean {near}?")))
    }
}
