//! Concrete probes → the programs that serve them: which probes share one, how
//! each is loaded, what it finds when it runs.

mod kernel;
mod syscalls;
mod uses;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use isa::uapi::{attach_type, prog_type};
use object::plan::Attach;

use crate::arch::Arch;
use crate::ast::{Probe, Span};
use crate::catalog::Catalog;
use crate::context::{Context, ContextKind, Numbered, PlaceName, Source};
use crate::lower::Dispatch;
use crate::probes::{Clause, Provider, ResolvedProbe, Target};
use crate::types::*;
use crate::usdt;
use crate::{Diagnostic, Feature, Options};

/// One program of the script.
pub(crate) struct Site<'a> {
    pub probe: &'a Probe,
    pub context: Context,
    pub kind: ir::ProgramKind,
    /// A C identifier.
    pub name: String,
    pub dispatch: Option<Dispatch>,
    pub attachments: Vec<Attachment>,
}

/// Where a program attaches.
pub(crate) struct Attachment {
    pub name: String,
    pub provider: Provider,
    pub attach: Attach,
    pub stands_for: u32,
    pub span: Span,
}

/// What the planner of one clause works with.
struct Planner<'a, 'c> {
    probe: &'a Probe,
    catalog: &'c Catalog<'c>,
    options: &'c Options,
    names: HashSet<&'a str>,
    sites: Vec<Site<'a>>,
    diagnostics: Vec<Diagnostic>,
}

/// The programs of all clauses, in order.
pub(crate) fn plan<'a>(
    probes: &[&'a Probe],
    clauses: &[Clause],
    catalog: &Catalog<'_>,
    options: &Options,
) -> Result<Vec<Site<'a>>, Vec<Diagnostic>> {
    let mut sites = Vec::new();
    let mut diagnostics = Vec::new();
    for clause in clauses {
        let Some(probe) = probes.get(clause.index) else { continue };
        let mut planner =
            Planner { probe, catalog, options, names: uses::names(probe), sites: Vec::new(), diagnostics: Vec::new() };
        planner.clause(clause);
        sites.append(&mut planner.sites);
        diagnostics.append(&mut planner.diagnostics);
    }
    let limit = options.config.max_bpf_progs as usize;
    if sites.len() > limit {
        let message = format!(
            "Can't create {} BPF programs because it exceeds the current limit of {limit} programs.",
            sites.len()
        );
        diagnostics.push(
            Diagnostic::global(message)
                .with_hint("You can increase the limit through the BPFTRACE_MAX_BPF_PROGS environment variable."),
        );
    }
    if diagnostics.iter().any(Diagnostic::is_error) {
        return Err(diagnostics);
    }
    number_names(&mut sites);
    Ok(sites)
}

/// Names are told apart by numbers where probes share one.
fn number_names(sites: &mut [Site<'_>]) {
    let mut used: HashMap<String, u32> = HashMap::new();
    for site in sites {
        let times = used.entry(site.name.clone()).or_insert(0);
        *times += 1;
        if *times > 1 {
            site.name = format!("{}_{times}", site.name);
        }
    }
}

impl<'a> Planner<'a, '_> {
    fn uses(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Whether the body reads the context's arguments.
    fn uses_arguments(&self) -> bool {
        self.names.iter().any(|n| {
            matches!(*n, "args" | "ctx" | "retval" | "reg")
                || n.strip_prefix("arg").is_some_and(|d| d.parse::<u32>().is_ok())
        })
    }

    fn clause(&mut self, clause: &Clause) {
        // Programs are made for runs of probes of one provider.
        let mut rest = clause.probes.as_slice();
        while let Some(first) = rest.first() {
            let len = rest.iter().take_while(|p| p.provider == first.provider).count();
            let (run, after) = rest.split_at(len);
            self.run(first.provider, run);
            rest = after;
        }
    }

    fn run(&mut self, provider: Provider, probes: &[ResolvedProbe]) {
        // A body that says its probe's name has a program for each, unless a table can tell.
        let named = self.uses("probe");
        match provider {
            Provider::Tracepoint => self.tracepoints(probes, named),
            Provider::RawTracepoint => self.raw_tracepoints(probes),
            Provider::Fentry | Provider::Fexit => probes.iter().for_each(|p| self.trampoline(p)),
            Provider::Kprobe | Provider::Kretprobe => self.kprobes(provider, probes, named),
            Provider::Uprobe | Provider::Uretprobe => self.uprobes(provider, probes, named),
            Provider::Usdt => self.usdt(probes, named),
            Provider::Iter => probes.iter().for_each(|p| self.iter(p)),
            _ if named => probes.iter().for_each(|p| self.plain(provider, std::slice::from_ref(p))),
            _ => self.plain(provider, probes),
        }
    }

    fn push(
        &mut self,
        probes: &[ResolvedProbe],
        context: Context,
        kind: ir::ProgramKind,
        attachments: Vec<Attachment>,
        dispatch: Option<Dispatch>,
    ) {
        let Some(first) = probes.first() else { return };
        let context = Context {
            probe_name: if probes.len() == 1 { Some(first.name.clone()) } else { None },
            longest_name: probes.iter().map(|p| p.name.len()).max().unwrap_or(0) as u32,
            ..context
        };
        self.sites.push(Site {
            probe: self.probe,
            context,
            kind,
            name: identifier(&first.name),
            dispatch,
            attachments,
        });
    }

    /// Each probe attached by itself to one program.
    fn push_each(&mut self, probes: &[ResolvedProbe], context: Context, kind: ir::ProgramKind) {
        let attachments = probes.iter().map(|p| self.attachment(p, p.attach(self.options.pid))).collect();
        self.push(probes, context, kind, attachments, None);
    }

    fn attachment(&self, probe: &ResolvedProbe, attach: Attach) -> Attachment {
        Attachment { name: probe.name.clone(), provider: probe.provider, attach, stands_for: 1, span: probe.span }
    }

    /// Probes without arguments: `BEGIN`, timers, counters.
    fn plain(&mut self, provider: Provider, probes: &[ResolvedProbe]) {
        let (kind, program) = match provider {
            Provider::Profile => (ContextKind::Profile, perf_event()),
            Provider::Interval => (ContextKind::Interval, perf_event()),
            Provider::Software => (ContextKind::Software, perf_event()),
            Provider::Hardware => (ContextKind::Hardware, perf_event()),
            _ => (ContextKind::Special, program("raw_tp".into(), prog_type::RAW_TRACEPOINT, 0)),
        };
        let registers = kind != ContextKind::Special;
        self.push_each(probes, Context { registers, ..Context::bare(kind) }, program);
    }

    fn kprobes(&mut self, provider: Provider, probes: &[ResolvedProbe], named: bool) {
        let host = self.catalog.host;
        let ret = provider == Provider::Kretprobe;
        let functions: Option<Vec<String>> = probes
            .iter()
            .map(|p| match &p.target {
                Target::Function { function, offset: 0, .. } => Some(function.clone()),
                _ => None,
            })
            .collect();
        if let Some(functions) = functions
            && functions.len() > 1
            && !self.uses("args")
            && host.has(Feature::KprobeMulti)
        {
            let section = if ret { "kretprobe.multi" } else { "kprobe.multi" };
            let kind = program(section.into(), prog_type::KPROBE, attach_type::TRACE_KPROBE_MULTI);
            let mut context = self.kprobe_context(ret, None);
            if named {
                context.places = place_names(probes);
            }
            let attachment = self.joint(probes, Attach::KprobeMulti { functions, ret });
            return self.push(probes, context, kind, attachment.into_iter().collect(), None);
        }
        let needs_own = named
            || self.uses("args")
            || self.uses("func") && !host.has(Feature::Helper(isa::uapi::helper::get_func_ip));
        if needs_own {
            return probes.iter().for_each(|p| self.kprobe(ret, std::slice::from_ref(p)));
        }
        self.kprobe(ret, probes);
    }

    fn kprobe(&mut self, ret: bool, probes: &[ResolvedProbe]) {
        let section = if ret { "kretprobe" } else { "kprobe" };
        let function = match probes {
            [one] => match &one.target {
                Target::Function { module, function, offset: 0 } => Some((module.as_deref(), function.as_str())),
                _ => None,
            },
            _ => None,
        };
        let section = match function {
            Some((_, function)) => format!("{section}/{function}"),
            None => section.to_owned(),
        };
        let mut context = self.kprobe_context(ret, function);
        context.inside_function = probes.iter().any(|p| !matches!(p.target, Target::Function { offset: 0, .. }));
        self.push_each(probes, context, program(section, prog_type::KPROBE, 0));
    }

    fn kprobe_context(&self, ret: bool, function: Option<(Option<&str>, &str)>) -> Context {
        let arch = Arch::native();
        let mut context = Context::bare(if ret { ContextKind::Kretprobe } else { ContextKind::Kprobe });
        context.registers = true;
        context.function = function.map(|(_, f)| f.to_owned());
        if ret {
            context.retval = Some((Type::U64, Source::Register { offset: u32::from(arch.ret) }));
        } else {
            context.numbered = Numbered::Registers;
            if self.uses("args")
                && let Some((module, function)) = function
            {
                let source = |i: usize| arch.args.get(i).map(|r| Source::Register { offset: u32::from(*r) });
                context.fields = self.function_fields(module, function, source);
                context.args_name = format!("struct kprobe:{function}_args");
            }
        }
        context
    }

    fn uprobes(&mut self, provider: Provider, probes: &[ResolvedProbe], named: bool) {
        let ret = provider == Provider::Uretprobe;
        let named = named || self.uses("func");
        // One link for all places of a binary, where the kernel has it; for one place it is the cheapest, too.
        let multi = self.has_uprobe_multi();
        if named && !multi {
            return probes.iter().for_each(|p| self.uprobe(ret, std::slice::from_ref(p)));
        }
        for (path, mut group) in by_path(probes) {
            if !multi {
                self.uprobe(ret, &group);
                continue;
            }
            let stands_for = group.len() as u32;
            group.sort_by_key(user_offset);
            // Of several names for one place the first counts.
            group.dedup_by_key(|p| user_offset(p));
            let section = if ret { "uretprobe.multi" } else { "uprobe.multi" };
            let kind = program(section.into(), prog_type::KPROBE, attach_type::TRACE_UPROBE_MULTI);
            let offsets = group.iter().map(user_offset).collect();
            let pid = self.options.pid;
            let attach = Attach::UprobeMulti { path, offsets, semaphores: Vec::new(), ret, pid };
            let mut context = self.uprobe_context(ret, &group);
            if named && group.len() > 1 {
                context.places = place_names(&group);
            }
            let Some(attachment) = self.joint(&group, attach) else { continue };
            self.push(&group, context, kind, vec![Attachment { stands_for, ..attachment }], None);
        }
    }

    /// Whether user probes can share a link. Before Linux 6.10 such a link for one process saw only its
    /// first thread (`uprobe_prog_run`, `kernel/trace/bpf_trace.c`).
    fn has_uprobe_multi(&self) -> bool {
        let host = self.catalog.host;
        (self.options.pid.is_none() || host.kernel_version() >= (6, 10, 0)) && host.has(Feature::UprobeMulti)
    }

    fn uprobe(&mut self, ret: bool, probes: &[ResolvedProbe]) {
        let section = if ret { "uretprobe" } else { "uprobe" };
        let context = self.uprobe_context(ret, probes);
        self.push_each(probes, context, program(section.into(), prog_type::KPROBE, 0));
    }

    fn uprobe_context(&self, ret: bool, probes: &[ResolvedProbe]) -> Context {
        let arch = Arch::native();
        let mut context = Context::bare(if ret { ContextKind::Uretprobe } else { ContextKind::Uprobe });
        context.registers = true;
        context.user = true;
        context.binary = probes.first().and_then(|p| match &p.target {
            Target::User { path, .. } => Some(path.into()),
            _ => None,
        });
        if let [one] = probes
            && let Target::User { symbol, .. } = &one.target
        {
            context.function.clone_from(symbol);
        }
        if ret {
            context.retval = Some((Type::U64, Source::Register { offset: u32::from(arch.ret) }));
        } else {
            context.numbered = Numbered::Registers;
        }
        context
    }

    /// Sites of a probe keep their arguments in different places: a program for each way.
    fn usdt(&mut self, probes: &[ResolvedProbe], named: bool) {
        // By binary, too: a link has one.
        let mut groups: Vec<((&Path, String), Vec<ResolvedProbe>)> = Vec::new();
        let reads = self.uses_arguments();
        for p in probes {
            let Target::Usdt(site) = &p.target else { continue };
            let mut key = if reads { site.args.clone() } else { String::new() };
            if named {
                key.push_str(&p.name);
            }
            let key = (site.path.as_path(), key);
            match groups.iter_mut().find(|(known, _)| *known == key) {
                Some((_, group)) => group.push(p.clone()),
                None => groups.push((key, vec![p.clone()])),
            }
        }
        let multi = self.has_uprobe_multi();
        for (_, group) in groups {
            let Some(Target::Usdt(site)) = group.first().map(|p| &p.target) else { continue };
            let args = usdt::parse_args(&site.args, Arch::native());
            for (i, arg) in args.iter().enumerate() {
                if let usdt::Operand::Unsupported { text, why } = &arg.operand
                    && self.uses(&format!("arg{i}"))
                {
                    let message = format!("arg{i} of the probe cannot be read: '{text}' {why}");
                    self.diagnostics.push(Diagnostic::error(self.probe.span, message));
                }
            }
            let context = Context {
                registers: true,
                user: true,
                numbered: Numbered::Usdt(args),
                binary: Some(site.path.clone()),
                ..Context::bare(ContextKind::Usdt)
            };
            // All sites have one name where the probe has several.
            let name = group.first().map(|p| p.name.clone()).filter(|n| group.iter().all(|p| p.name == *n));
            let before = self.sites.len();
            if multi {
                let kind = program("uprobe.multi".into(), prog_type::KPROBE, attach_type::TRACE_UPROBE_MULTI);
                let attachment = self.joint(&group, usdt_places(&group, self.options.pid));
                self.push(&group, context, kind, attachment.into_iter().collect(), None);
            } else {
                self.push_each(&group, context, program("usdt".into(), prog_type::KPROBE, 0));
            }
            if let (Some(site), Some(name)) = (self.sites.get_mut(before), name) {
                site.context.probe_name = Some(name);
            }
        }
    }
}

/// Probes in order, a group for each binary.
fn by_path(probes: &[ResolvedProbe]) -> Vec<(String, Vec<ResolvedProbe>)> {
    let mut groups: Vec<(String, Vec<ResolvedProbe>)> = Vec::new();
    for p in probes {
        let Target::User { path, .. } = &p.target else { continue };
        match groups.iter_mut().find(|(known, _)| known == path) {
            Some((_, group)) => group.push(p.clone()),
            None => groups.push((path.clone(), vec![p.clone()])),
        }
    }
    groups
}

/// File offset of a user probe.
fn user_offset(probe: &ResolvedProbe) -> u64 {
    match &probe.target {
        Target::User { offset, .. } => *offset,
        _ => 0,
    }
}

/// The sites of USDT probes of one binary.
fn usdt_places(probes: &[ResolvedProbe], pid: Option<u32>) -> Attach {
    let sites: Vec<&crate::UsdtProbe> = probes
        .iter()
        .filter_map(|p| match &p.target {
            Target::Usdt(site) => Some(site),
            _ => None,
        })
        .collect();
    Attach::UprobeMulti {
        path: sites.first().map(|site| site.path.to_string_lossy().into_owned()).unwrap_or_default(),
        offsets: sites.iter().map(|site| site.offset).collect(),
        semaphores: sites.iter().map(|site| site.semaphore).collect(),
        ret: false,
        pid,
    }
}

/// What `probe` and `func` are at each of the places.
fn place_names(probes: &[ResolvedProbe]) -> Vec<PlaceName> {
    probes
        .iter()
        .map(|p| PlaceName {
            probe: p.name.clone(),
            function: match &p.target {
                Target::Function { function, .. } => function.clone(),
                Target::User { symbol: Some(symbol), .. } => symbol.clone(),
                _ => p.name.clone(),
            },
        })
        .collect()
}

fn program(section: String, prog_type: u32, expected_attach_type: u32) -> ir::ProgramKind {
    ir::ProgramKind { section, prog_type, expected_attach_type, target: None, sleepable: false }
}

fn perf_event() -> ir::ProgramKind {
    program("perf_event".into(), prog_type::PERF_EVENT, 0)
}

/// A probe's name as a C identifier.
fn identifier(name: &str) -> String {
    let mut id: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(60).collect();
    if id.starts_with(|c: char| c.is_ascii_digit()) {
        id.insert(0, '_');
    }
    id
}
