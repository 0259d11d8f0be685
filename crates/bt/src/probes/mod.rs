//! Attach points as written → concrete probes on this machine: aliases resolved, wildcards
//! expanded, names looked up, near misses suggested.
//!
//! A kernel function that is written out in full is not looked up: that would cost more than all the
//! rest of a start. If it does not exist the attachment fails, and [`suggest_function`] finds what was meant.

#[cfg(test)]
pub(crate) mod fake;
mod kernel;
mod perf;
mod provider;
#[cfg(test)]
mod tests;
mod user;

use object::plan::{Attach, Sample};

use crate::ast::{AttachPoint, Item, Probe, Script, Span};
use crate::diagnostic::Diagnostic;
use crate::lexer::parse_integer;
use crate::options::{MissingProbes, Options};
use crate::{Host, HostError, UsdtProbe};

pub use kernel::suggest_function;
pub use provider::{Provider, attach_order};

/// One probe of the script on this machine.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedProbe {
    /// As the user knows it, and as the builtin `probe` gives it: `kprobe:vfs_read`, `profile:hz:99`.
    pub name: String,
    pub provider: Provider,
    pub target: Target,
    /// Which attach point of its clause it comes from; those of one wildcard share it.
    pub point: usize,
    /// Of the attach point.
    pub span: Span,
}

/// What a probe is attached to.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// `begin`, `end`.
    Session,
    /// `self:signal:SIGUSR1`: the signal's number.
    Signal(i32),
    Tracepoint {
        category: String,
        name: String,
        /// It is the entry or exit of a system call whose number is known, so a raw tracepoint that sees all calls can stand
        /// for it.
        syscall: Option<SyscallSite>,
    },
    RawTracepoint {
        /// `None`: the kernel itself.
        module: Option<String>,
        name: String,
    },
    /// A kernel function: kprobe, kretprobe, fentry, fexit.
    Function {
        /// `None`: the kernel itself, or not known.
        module: Option<String>,
        function: String,
        /// Bytes from the function's start.
        offset: u64,
    },
    /// A kernel address (kprobe, unsafe).
    Address(u64),
    /// A place in a binary.
    User {
        path: String,
        /// What the user named, if not an address.
        symbol: Option<String>,
        /// File offset in bytes.
        offset: u64,
    },
    Usdt(UsdtProbe),
    /// `perf_event_attr`'s `type` and `config`.
    Perf {
        kind: u32,
        config: u64,
        sample: Sample,
        one_cpu: bool,
    },
    Iter {
        /// `task`, as in `struct bpf_iter__task`.
        object: String,
        pin: Option<String>,
    },
}

/// A system call's tracepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SyscallSite {
    pub number: u32,
    /// `sys_exit_…`.
    pub exit: bool,
}

/// The probes of one clause (`points /predicate/ { … }`), in the order of the attach points.
#[derive(Clone, Debug, PartialEq)]
pub struct Clause {
    /// Index among the script's probes.
    pub index: usize,
    pub probes: Vec<ResolvedProbe>,
}

impl ResolvedProbe {
    /// How the runtime attaches it by itself. Functions and user probes that a wildcard gave may instead
    /// be attached together.
    pub fn attach(&self, pid: Option<u32>) -> Attach {
        let ret = matches!(self.provider, Provider::Kretprobe | Provider::Uretprobe);
        match &self.target {
            Target::Session if self.provider == Provider::End => Attach::End,
            Target::Session => Attach::Begin,
            Target::Signal(number) => Attach::Signal(*number),
            Target::Tracepoint { category, name, .. } => {
                Attach::Tracepoint { category: category.clone(), name: name.clone() }
            }
            Target::RawTracepoint { name, .. } => Attach::RawTracepoint { name: name.clone() },
            Target::Function { .. } if matches!(self.provider, Provider::Fentry | Provider::Fexit) => {
                Attach::Trampoline
            }
            Target::Function { module, function, offset } => {
                Attach::Kprobe { module: module.clone(), function: function.clone(), offset: *offset, ret }
            }
            // An address is an offset from nothing.
            Target::Address(address) => Attach::Kprobe { module: None, function: String::new(), offset: *address, ret },
            Target::User { path, offset, .. } => Attach::Uprobe { path: path.clone(), offset: *offset, ret, pid },
            Target::Usdt(site) => Attach::Usdt {
                path: site.path.to_string_lossy().into_owned(),
                offset: site.offset,
                semaphore: site.semaphore,
                pid,
            },
            Target::Perf { kind, config, sample, one_cpu } => Attach::Perf {
                kind: *kind,
                config: *config,
                sample: *sample,
                one_cpu: *one_cpu,
                pid: if *one_cpu { None } else { pid },
            },
            Target::Iter { pin, .. } => Attach::Iter { pin: pin.clone() },
        }
    }
}

/// Resolves all probes of a script. Clauses of which nothing is left are not in the result; whether that is an
/// error depends on [`crate::options::Config::missing_probes`].
pub fn resolve(script: &Script, host: &dyn Host, options: &Options) -> (Vec<Clause>, Vec<Diagnostic>) {
    let mut clauses = Vec::new();
    let mut diagnostics = Vec::new();
    let probes = script.items.iter().filter_map(|item| match item {
        Item::Probe(probe) => Some(probe),
        _ => None,
    });
    let mut total = 0;
    for (index, probe) in probes.enumerate() {
        let resolved = resolve_clause(probe, host, options, &mut diagnostics);
        total += resolved.len();
        if !resolved.is_empty() {
            clauses.push(Clause { index, probes: resolved });
        }
    }
    let limit = options.config.max_probes as usize;
    if total > limit {
        let message = format!("Can't attach to {total} probes because it exceeds the current limit of {limit} probes.");
        diagnostics.push(Diagnostic::global(message).with_hint(
            "You can increase the limit through the BPFTRACE_MAX_PROBES environment variable (or config max_probes), but \
             be careful: every probe costs, and some functions do not bear one.",
        ));
    } else if clauses.is_empty() && !diagnostics.iter().any(Diagnostic::is_error) {
        diagnostics.push(Diagnostic::global("No probes to attach"));
    }
    (clauses, diagnostics)
}

fn resolve_clause(
    probe: &Probe,
    host: &dyn Host,
    options: &Options,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<ResolvedProbe> {
    let missing = options.config.missing_probes;
    let mut resolved = Vec::new();
    let mut failed = false;
    for (index, point) in probe.attach_points.iter().enumerate() {
        let resolver = Resolver { host, options, point, index };
        match resolver.resolve() {
            Ok(found) => resolved.extend(found),
            Err(Unresolved::Wrong(diagnostic)) => {
                failed = true;
                diagnostics.push(diagnostic);
            }
            Err(Unresolved::Missing { what, hint }) => {
                let diagnostic = match missing {
                    MissingProbes::Ignore => continue,
                    MissingProbes::Warn => Diagnostic::warning(point.span, format!("{what}. Skipping.")),
                    MissingProbes::Error => {
                        failed = true;
                        Diagnostic::error(point.span, format!("{what}."))
                    }
                };
                diagnostics.push(diagnostic.with_hints(hint));
            }
        }
    }
    if resolved.is_empty() && !failed {
        let advice = match missing {
            MissingProbes::Error => "If this is expected, set the 'missing_probes' config variable to 'warn'.",
            MissingProbes::Warn => "It is being removed which may cause issues with program behavior.",
            MissingProbes::Ignore => return resolved,
        };
        let message = format!("Probe has no valid attach points. {advice}");
        diagnostics.push(match missing {
            MissingProbes::Error => Diagnostic::error(probe.span, message),
            _ => Diagnostic::warning(probe.span, message),
        });
    }
    resolved
}

/// Why an attach point gave no probes.
#[derive(Debug)]
enum Unresolved {
    /// The attach point makes no sense, or the machine refused to answer.
    Wrong(Diagnostic),
    /// It makes sense, but there is no such thing here.
    Missing { what: String, hint: Option<String> },
}

type Resolved = Result<Vec<ResolvedProbe>, Unresolved>;

/// Resolves one attach point.
struct Resolver<'r> {
    host: &'r dyn Host,
    options: &'r Options,
    point: &'r AttachPoint,
    index: usize,
}

impl<'r> Resolver<'r> {
    fn resolve(&self) -> Resolved {
        let spelled = self.point.provider.as_str();
        if has_wildcard(spelled) {
            return self.resolve_any(spelled);
        }
        match Provider::from_name(spelled) {
            Some(provider) => self.resolve_as(provider),
            None => {
                let hint = crate::suggest(&spelled.to_ascii_lowercase(), Provider::names());
                Err(self.wrong_with_hint(
                    format!("Invalid probe type: {spelled}"),
                    hint.map(|name| format!("Did you mean {name}?")),
                ))
            }
        }
    }

    /// `*:…`, `k*:…`: all providers that match and have something.
    fn resolve_any(&self, pattern: &str) -> Resolved {
        let user = self.options.pid.is_some() || self.point.parts.first().is_some_and(|part| part.contains('/'));
        let candidates = if user { provider::USER } else { provider::KERNEL };
        let matching: Vec<Provider> =
            candidates.iter().copied().filter(|provider| glob(pattern, provider.name())).collect();
        if matching.is_empty() {
            return Err(self.wrong(format!("No probe type matched for {pattern}")));
        }
        Ok(matching.into_iter().filter_map(|provider| self.resolve_as(provider).ok()).flatten().collect())
    }

    fn resolve_as(&self, provider: Provider) -> Resolved {
        match provider {
            Provider::Begin | Provider::End => self.session(provider),
            Provider::SelfTrigger => self.self_trigger(),
            Provider::Tracepoint => self.tracepoint(),
            Provider::RawTracepoint => self.raw_tracepoint(),
            Provider::Kprobe | Provider::Kretprobe => self.kprobe(provider),
            Provider::Fentry | Provider::Fexit => self.fentry(provider),
            Provider::Iter => self.iter(),
            Provider::Uprobe | Provider::Uretprobe => self.uprobe(provider),
            Provider::Usdt => self.usdt(),
            Provider::Profile | Provider::Interval => self.timed(provider),
            Provider::Software | Provider::Hardware => self.counted(provider),
            Provider::Watchpoint => Err(self.wrong("watchpoint probes are not supported yet")),
            Provider::Test | Provider::Bench => {
                Err(self.wrong(format!("{} probes are not supported yet", provider.name())))
            }
        }
    }

    fn session(&self, provider: Provider) -> Resolved {
        match self.parts() {
            [] => Ok(vec![self.probe(provider, provider.name().to_owned(), Target::Session)]),
            [any] if any == "*" => Ok(vec![self.probe(provider, provider.name().to_owned(), Target::Session)]),
            _ => Err(self.argument_count(provider, "0")),
        }
    }

    fn self_trigger(&self) -> Resolved {
        let [trigger, signal] = self.parts() else { return Err(self.argument_count(Provider::SelfTrigger, "2")) };
        if trigger != "signal" {
            return Err(self.wrong(format!("{trigger} is not a supported trigger")));
        }
        let Some(&(_, number)) = SIGNALS.iter().find(|(name, _)| name == signal) else {
            let supported: Vec<&str> = SIGNALS.iter().map(|(name, _)| *name).collect();
            return Err(self.wrong_with_hint(
                format!("{signal} is not a supported signal"),
                Some(format!("supported: {}", supported.join(", "))),
            ));
        };
        Ok(vec![self.probe(Provider::SelfTrigger, format!("self:signal:{signal}"), Target::Signal(number))])
    }

    fn parts(&self) -> &'r [String] {
        &self.point.parts
    }

    fn probe(&self, provider: Provider, name: String, target: Target) -> ResolvedProbe {
        ResolvedProbe { name, provider, target, point: self.index, span: self.point.span }
    }

    fn wrong(&self, message: impl Into<String>) -> Unresolved {
        Unresolved::Wrong(Diagnostic::error(self.point.span, message))
    }

    fn wrong_with_hint(&self, message: String, hint: Option<String>) -> Unresolved {
        Unresolved::Wrong(Diagnostic::error(self.point.span, message).with_hints(hint))
    }

    fn argument_count(&self, provider: Provider, expected: &str) -> Unresolved {
        let found = self.point.parts.len();
        self.wrong(format!("{} probe type requires {expected} arguments, found {found}", provider.name()))
    }

    /// The machine could not answer.
    fn host_error(&self, error: HostError) -> Unresolved {
        self.wrong_with_hint(error.what, error.hint)
    }

    /// `No matches for kprobe vfs_raed`, with what may have been meant.
    fn missing<'n>(
        &self,
        provider: Provider,
        what: &str,
        name: &str,
        candidates: impl IntoIterator<Item = &'n str>,
    ) -> Unresolved {
        let hint = crate::suggest(name, candidates).map(|near| format!("Did you mean {near}?"));
        Unresolved::Missing { what: format!("No matches for {} {what}", provider.name()), hint }
    }

    fn number(&self, text: &str, what: &str) -> Result<u64, Unresolved> {
        match parse_integer(text) {
            Ok((value, _)) => Ok(value),
            Err(error) => Err(self.wrong(format!("{what}: {error}"))),
        }
    }

    /// `function+offset` → both; without `+` the offset is 0.
    fn function_and_offset<'t>(&self, text: &'t str, allowed: bool) -> Result<(&'t str, u64), Unresolved> {
        let Some((function, offset)) = text.split_once('+') else { return Ok((text, 0)) };
        if !allowed {
            return Err(self.wrong("Offset not allowed"));
        }
        if offset.contains('+') {
            return Err(self.wrong("Cannot take more than one offset"));
        }
        if function.is_empty() || offset.is_empty() {
            return Err(self.wrong("Invalid offset"));
        }
        Ok((function, self.number(offset, "Invalid offset")?))
    }
}

/// Signals that `self:signal` probes may wait for; numbers as on x86-64 and aarch64.
const SIGNALS: &[(&str, i32)] = &[("SIGUSR1", 10)];

/// Whether a name is a pattern, in bpftrace's sense: `*`, or a `[…]`.
pub(crate) fn has_wildcard(text: &str) -> bool {
    text.contains('*') || text.find('[').is_some_and(|open| text[open..].contains(']'))
}

/// Whether a name matches a pattern of `*`, `?` and `[…]` (ranges, `!` or `^` for all others).
pub fn glob(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where the last `*` stands, and how much of the name it takes so far.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some(b'?') => Some(1),
            Some(b'[') => match bracket(&pattern[p..], name[n]) {
                Some((true, length)) => Some(length),
                Some((false, _)) => None,
                None if name[n] == b'[' => Some(1),
                None => None,
            },
            Some(&byte) if byte == name[n] => Some(1),
            _ => None,
        };
        match (step, &mut star) {
            (Some(length), _) => {
                p += length;
                n += 1;
            }
            (None, Some((at, taken))) => {
                *taken += 1;
                p = *at + 1;
                n = *taken;
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// Whether a `[…]` at the start of the pattern takes the byte, and its length; `None` if it is not closed.
fn bracket(pattern: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let first = if negated { 2 } else { 1 };
    let close = first + 1 + pattern.get(first + 1..)?.iter().position(|&b| b == b']')?;
    let set = &pattern[first..close];
    let mut at = 0;
    let mut taken = false;
    while at < set.len() {
        match set[at..] {
            [low, b'-', high, ..] => {
                taken |= (low..=high).contains(&byte);
                at += 3;
            }
            [one, ..] => {
                taken |= one == byte;
                at += 1;
            }
            [] => break,
        }
    }
    Some((taken != negated, close + 1))
}
