//! The kinds of probes and all the names that they have had.

/// What fires a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Provider {
    Begin,
    End,
    /// `self:signal:…`.
    SelfTrigger,
    Kprobe,
    Kretprobe,
    Uprobe,
    Uretprobe,
    Usdt,
    Tracepoint,
    RawTracepoint,
    Profile,
    Interval,
    Software,
    Hardware,
    Watchpoint,
    Fentry,
    Fexit,
    Iter,
    Test,
    Bench,
}

/// Each provider's names, the one that is shown first.
const NAMES: &[(Provider, &[&str])] = &[
    (Provider::Begin, &["begin"]),
    (Provider::End, &["end"]),
    (Provider::SelfTrigger, &["self"]),
    (Provider::Kprobe, &["kprobe", "k"]),
    (Provider::Kretprobe, &["kretprobe", "kr"]),
    (Provider::Uprobe, &["uprobe", "u"]),
    (Provider::Uretprobe, &["uretprobe", "ur"]),
    (Provider::Usdt, &["usdt", "U"]),
    (Provider::Tracepoint, &["tracepoint", "t"]),
    (Provider::RawTracepoint, &["rawtracepoint", "rt"]),
    (Provider::Profile, &["profile", "p"]),
    (Provider::Interval, &["interval", "i"]),
    (Provider::Software, &["software", "s"]),
    (Provider::Hardware, &["hardware", "h"]),
    (Provider::Watchpoint, &["watchpoint", "w", "asyncwatchpoint", "aw"]),
    (Provider::Fentry, &["fentry", "f", "kfunc"]),
    (Provider::Fexit, &["fexit", "fr", "kretfunc"]),
    (Provider::Iter, &["iter", "it"]),
    (Provider::Test, &["test"]),
    (Provider::Bench, &["bench"]),
];

/// What a wildcard in the place of the provider stands for when it is about the kernel.
pub(super) const KERNEL: &[Provider] = &[
    Provider::Kprobe,
    Provider::Kretprobe,
    Provider::Tracepoint,
    Provider::RawTracepoint,
    Provider::Profile,
    Provider::Interval,
    Provider::Software,
    Provider::Hardware,
    Provider::Fentry,
    Provider::Fexit,
    Provider::Iter,
];

/// The same for binaries.
pub(super) const USER: &[Provider] = &[Provider::Uprobe, Provider::Uretprobe, Provider::Usdt];

impl Provider {
    /// Case does not matter, but for `U` (usdt) and `u` (uprobe).
    pub fn from_name(name: &str) -> Option<Provider> {
        let find = |is: &dyn Fn(&str) -> bool| {
            NAMES.iter().find(|(_, names)| names.iter().any(|known| is(known))).map(|&(provider, _)| provider)
        };
        find(&|known| known == name).or_else(|| find(&|known| known.eq_ignore_ascii_case(name)))
    }

    /// The name that is shown.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(provider, _)| *provider == self).map_or("", |(_, names)| names[0])
    }

    /// All full names, for suggestions.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().flat_map(|(_, names)| names.iter().copied()).filter(|name| name.len() > 2)
    }

    /// Probes of this kind on one place fire in the reverse of the order in which they were attached.
    pub fn fires_in_reverse(self) -> bool {
        matches!(
            self,
            Provider::Kprobe
                | Provider::Uprobe
                | Provider::Uretprobe
                | Provider::Usdt
                | Provider::Fentry
                | Provider::Fexit
                | Provider::Iter
        )
    }
}

/// The order in which to attach probes so that those on one place fire in the order of the script: first, as
/// written, those that fire in the order of attachment; then the others from last to first. Indices into `probes`.
pub fn attach_order(probes: &[Provider]) -> Vec<usize> {
    let forward = (0..probes.len()).filter(|&index| !probes[index].fires_in_reverse());
    let backward = (0..probes.len()).rev().filter(|&index| probes[index].fires_in_reverse());
    forward.chain(backward).collect()
}
