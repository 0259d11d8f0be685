//! The kinds of probes, by the names that scripts have for them.

/// A kind of probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Fentry,
    Fexit,
    Hardware,
    Interval,
    Iter,
    Kprobe,
    Kretprobe,
    Profile,
    RawTracepoint,
    Software,
    Tracepoint,
    Uprobe,
    Uretprobe,
    Usdt,
}

impl Kind {
    pub const ALL: [Kind; 14] = [
        Kind::Hardware,
        Kind::Software,
        Kind::Interval,
        Kind::Profile,
        Kind::Iter,
        Kind::Tracepoint,
        Kind::RawTracepoint,
        Kind::Fentry,
        Kind::Fexit,
        Kind::Kprobe,
        Kind::Kretprobe,
        Kind::Uprobe,
        Kind::Uretprobe,
        Kind::Usdt,
    ];

    /// The name that listings show.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Fentry => "fentry",
            Kind::Fexit => "fexit",
            Kind::Hardware => "hardware",
            Kind::Interval => "interval",
            Kind::Iter => "iter",
            Kind::Kprobe => "kprobe",
            Kind::Kretprobe => "kretprobe",
            Kind::Profile => "profile",
            Kind::RawTracepoint => "rawtracepoint",
            Kind::Software => "software",
            Kind::Tracepoint => "tracepoint",
            Kind::Uprobe => "uprobe",
            Kind::Uretprobe => "uretprobe",
            Kind::Usdt => "usdt",
        }
    }

    /// Other names that scripts may use.
    fn aliases(self) -> &'static [&'static str] {
        match self {
            Kind::Fentry => &["f", "kfunc"],
            Kind::Fexit => &["fr", "kretfunc"],
            Kind::Hardware => &["h"],
            Kind::Interval => &["i"],
            Kind::Iter => &["it"],
            Kind::Kprobe => &["k"],
            Kind::Kretprobe => &["kr"],
            Kind::Profile => &["p"],
            Kind::RawTracepoint => &["rt"],
            Kind::Software => &["s"],
            Kind::Tracepoint => &["t"],
            Kind::Uprobe => &["u"],
            Kind::Uretprobe => &["ur"],
            Kind::Usdt => &["U"],
        }
    }

    /// The kind of this name or alias.
    pub fn named(name: &str) -> Option<Kind> {
        // `u` is uprobe and `U` is usdt: aliases keep their case, names need not.
        Kind::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name) || kind.aliases().contains(&name))
    }

    /// Whether a listing of everything has it: not what needs a binary to be
    /// named, and of the return probes, which mirror the entry probes, none.
    pub fn listed_by_default(self) -> bool {
        !matches!(self, Kind::Uprobe | Kind::Uretprobe | Kind::Usdt | Kind::Kretprobe | Kind::Fexit)
    }
}

/// `PERF_COUNT_SW_*`, by perf's names and bpftrace's aliases.
pub(super) const SOFTWARE_EVENTS: &[&str] = &[
    "alignment-faults",
    "bpf-output",
    "context-switches",
    "cpu",
    "cpu-clock",
    "cpu-migrations",
    "cs",
    "dummy",
    "emulation-faults",
    "faults",
    "major-faults",
    "minor-faults",
    "page-faults",
    "task-clock",
];

/// `PERF_COUNT_HW_*`, by perf's names and bpftrace's aliases.
pub(super) const HARDWARE_EVENTS: &[&str] = &[
    "backend-stalls",
    "branch-instructions",
    "branch-misses",
    "branches",
    "bus-cycles",
    "cache-misses",
    "cache-references",
    "cpu-cycles",
    "cycles",
    "frontend-stalls",
    "instructions",
    "ref-cycles",
];

pub(super) const PROFILE_UNITS: &[&str] = &["hz", "ms", "s", "us"];
pub(super) const INTERVAL_UNITS: &[&str] = &["hz", "ms", "s", "us"];
