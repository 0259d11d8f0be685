//! Programs on tracepoints and functions of the kernel, with the types that BTF
//! and tracefs know.

use std::collections::HashSet;

use btf::Kind;
use isa::uapi::{attach_type, prog_type};
use object::plan::Attach;

use super::{Attachment, Planner, program};
use crate::context::{Context, ContextField, ContextKind, Numbered, Source};
use crate::probes::{ResolvedProbe, Target};
use crate::tracepoint_format::{self, FormatField};
use crate::types::*;
use crate::{Diagnostic, Feature};

/// What BTF puts before the name of a raw tracepoint's function type.
const RAW_TRACEPOINT_PREFIX: &str = "btf_trace_";
/// Event categories whose events are no tracepoints of the kernel's code.
const DYNAMIC_CATEGORIES: &[&str] = &["ftrace", "kprobes", "uprobes", "synthetic", "custom"];
/// Categories of the kernel's own that hold nothing but tracepoints of its code, since before there were
/// raw tracepoints (4.17): to open BTF for them costs half a millisecond at start.
const CORE_CATEGORIES: &[&str] = &["irq", "raw_syscalls", "sched", "task", "timer"];
/// Above so many look-ups, one walk over all types is cheaper.
const FEW: usize = 4;

impl Planner<'_, '_> {
    /// Ordinary tracepoints and those of system calls.
    pub(super) fn tracepoints(&mut self, probes: &[ResolvedProbe], named: bool) {
        let is_syscall = |p: &&ResolvedProbe| matches!(&p.target, Target::Tracepoint { syscall: Some(_), .. });
        let (syscalls, others): (Vec<&ResolvedProbe>, Vec<&ResolvedProbe>) = probes.iter().partition(is_syscall);
        self.syscall_tracepoints(&syscalls);
        if self.uses_arguments() {
            return self.tracepoints_with_fields(&others, named);
        }
        // Without arguments the tracepoint itself will do, which costs a fifth of the event.
        let known = self.raw_names(&others);
        let (raw, slow): (Vec<&ResolvedProbe>, Vec<&ResolvedProbe>) = others
            .into_iter()
            .partition(|p| matches!(&p.target, Target::Tracepoint { name, .. } if known.contains(name)));
        let groups = |probes: Vec<&ResolvedProbe>| -> Vec<Vec<ResolvedProbe>> {
            match (probes.is_empty(), named) {
                (true, _) => Vec::new(),
                (_, true) => probes.into_iter().map(|p| vec![p.clone()]).collect(),
                (_, false) => vec![probes.into_iter().cloned().collect()],
            }
        };
        for group in groups(raw) {
            let attachments = group
                .iter()
                .filter_map(|p| match &p.target {
                    Target::Tracepoint { name, .. } => {
                        Some(self.attachment(p, Attach::RawTracepoint { name: name.clone() }))
                    }
                    _ => None,
                })
                .collect();
            let kind = program("raw_tp".into(), prog_type::RAW_TRACEPOINT, 0);
            self.push(&group, Context::bare(ContextKind::Tracepoint), kind, attachments, None);
        }
        for group in groups(slow) {
            let kind = program("tracepoint".into(), prog_type::TRACEPOINT, 0);
            self.push_each(&group, Context::bare(ContextKind::Tracepoint), kind);
        }
    }

    /// Names of those tracepoints that there are as raw ones, by their category or by BTF.
    fn raw_names(&self, probes: &[&ResolvedProbe]) -> HashSet<String> {
        let places = probes.iter().filter_map(|p| match &p.target {
            Target::Tracepoint { category, name, .. } => Some((category.as_str(), name.as_str())),
            _ => None,
        });
        let (core, others): (Vec<_>, Vec<_>) = places.partition(|(category, _)| CORE_CATEGORIES.contains(category));
        let mut known: HashSet<String> = core.iter().map(|(_, name)| (*name).to_owned()).collect();
        let is_static = |(category, _): &(&str, &str)| !DYNAMIC_CATEGORIES.contains(category);
        let names: HashSet<&str> = others.into_iter().filter(is_static).map(|(_, name)| name).collect();
        if !names.is_empty() {
            known.extend(self.raw_names_by_btf(&names));
        }
        known
    }

    fn raw_names_by_btf(&self, names: &HashSet<&str>) -> HashSet<String> {
        let Ok(btf) = self.catalog.host.btf() else { return HashSet::new() };
        if names.len() <= FEW {
            let known = |name: &&&str| btf.find(&format!("{RAW_TRACEPOINT_PREFIX}{name}"), Kind::Typedef).is_some();
            return names.iter().filter(known).map(|n| (*n).to_owned()).collect();
        }
        btf.own_types()
            .filter(|t| t.kind == Kind::Typedef)
            .filter_map(|t| t.name().strip_prefix(RAW_TRACEPOINT_PREFIX))
            .filter(|n| names.contains(n))
            .map(str::to_owned)
            .collect()
    }

    /// A program for each layout of the record.
    fn tracepoints_with_fields(&mut self, probes: &[&ResolvedProbe], named: bool) {
        let mut groups: Vec<(Vec<FormatField>, Vec<ResolvedProbe>)> = Vec::new();
        for p in probes {
            let Target::Tracepoint { category, name, .. } = &p.target else { continue };
            let fields = match self.catalog.host.tracepoint_format(category, name) {
                Ok(text) => tracepoint_format::parse_format(&text),
                Err(e) => {
                    self.diagnostics.push(Diagnostic::error(p.span, e.what).with_hints(e.hint));
                    continue;
                }
            };
            match groups.iter_mut().find(|(known, _)| !named && *known == fields) {
                Some((_, group)) => group.push((*p).clone()),
                None => groups.push((fields, vec![(*p).clone()])),
            }
        }
        for (fields, group) in groups {
            let Some(Target::Tracepoint { category, name, .. }) = group.first().map(|p| &p.target) else { continue };
            let type_name = format!("tracepoint:{category}:{name}_args");
            let record = tracepoint_format::record_type(&type_name, &fields, false, self.catalog);
            let mut context = Context::bare(ContextKind::Tracepoint);
            // A program sees a pointer where the record starts with what all tracepoints have
            // (`perf_trace_buf_alloc`, include/trace/perf.h).
            let readable = |f: &&StructField| !f.name.starts_with("common_");
            context.fields = record
                .fields
                .iter()
                .filter(readable)
                .map(|f| ContextField {
                    name: f.name.clone(),
                    ty: match f.place {
                        FieldPlace::Direct => f.ty.clone(),
                        FieldPlace::DataLoc | FieldPlace::RelLoc => {
                            let elem = match &f.ty {
                                Type::Array { elem, .. } => (**elem).clone(),
                                _ => Type::I8,
                            };
                            Type::pointer(elem, AddressSpace::Kernel)
                        }
                    },
                    source: Source::Record { offset: f.offset, bits: f.bits, place: f.place },
                })
                .collect();
            context.args_name = format!("struct {type_name}");
            let section = format!("tracepoint/{category}/{name}");
            // What is printed of the whole leaves out what every tracepoint has.
            let mut own = record;
            own.fields.retain(|f| !f.name.starts_with("common_"));
            context.args_struct = Some(self.catalog.structs.borrow_mut().add(own));
            self.push_each(&group, context, program(section, prog_type::TRACEPOINT, 0));
        }
    }

    pub(super) fn raw_tracepoints(&mut self, probes: &[ResolvedProbe]) {
        let typed = self.catalog.host.has(Feature::TpBtf);
        if !self.uses_arguments() && !self.uses("probe") {
            let kind = program("raw_tp".into(), prog_type::RAW_TRACEPOINT, 0);
            return self.push_each(probes, Context::bare(ContextKind::RawTracepoint), kind);
        }
        for p in probes {
            let Target::RawTracepoint { module, name } = &p.target else { continue };
            let target = if typed { self.raw_target(module.as_deref(), name) } else { None };
            let target = target.and_then(|target| {
                let fields = self.raw_fields(&target, name)?;
                Some((target, fields))
            });
            let mut context = Context::bare(ContextKind::RawTracepoint);
            let Some((target, fields)) = target else {
                context.numbered = Numbered::Slots(None);
                let kind = program(format!("raw_tp/{name}"), prog_type::RAW_TRACEPOINT, 0);
                self.push_each(std::slice::from_ref(p), context, kind);
                continue;
            };
            context.typed = true;
            context.numbered = Numbered::Slots(Some(fields.len() as u32));
            context.fields = fields;
            context.args_name = format!("struct rawtracepoint:{name}_args");
            let mut kind = program(format!("tp_btf/{name}"), prog_type::TRACING, attach_type::TRACE_RAW_TP);
            kind.target = Some(target);
            self.push_each(std::slice::from_ref(p), context, kind);
        }
    }

    /// The BTF target of a raw tracepoint.
    pub(super) fn raw_target(&self, module: Option<&str>, name: &str) -> Option<object::Target> {
        let btf = self.catalog.btf(self.catalog.module_number(module)).ok()?;
        let type_name = format!("{RAW_TRACEPOINT_PREFIX}{name}");
        let typedef = btf.find(&type_name, Kind::Typedef)?;
        Some(object::Target { module: module.map(str::to_owned), name: type_name, btf_id: typedef.id.0 })
    }

    /// The arguments of a raw tracepoint.
    fn raw_fields(&self, target: &object::Target, name: &str) -> Option<Vec<ContextField>> {
        let number = self.catalog.module_number(target.module.as_deref());
        let btf = self.catalog.btf(number).ok()?;
        let typedef = btf.get(btf::TypeId(target.btf_id)).ok()?;
        let pointer = btf.get(typedef.target()?).ok()?;
        let proto = btf.get(pointer.target()?).ok()?;
        // The function type has no names; the function that calls the probes has.
        let named = ["__traceiter_", "__bpf_trace_"]
            .iter()
            .find_map(|prefix| btf.find(&format!("{prefix}{name}"), Kind::Func))
            .filter(|f| f.params().len() == proto.params().len());
        let names: Vec<&str> = match &named {
            Some(function) => function.params().map(|p| p.name).collect(),
            None => proto.params().map(|p| p.name).collect(),
        };
        // The first is the probe's own data.
        let fields = proto
            .params()
            .zip(names)
            .skip(1)
            .enumerate()
            .map(|(i, (param, name))| ContextField {
                name: if name.is_empty() { format!("arg{i}") } else { name.to_owned() },
                ty: self.catalog.type_from_btf(number, param.ty),
                source: Source::Slot { index: i as u32, trusted: true },
            })
            .collect();
        Some(fields)
    }

    pub(super) fn trampoline(&mut self, p: &ResolvedProbe) {
        let Target::Function { module, function, .. } = &p.target else { return };
        let exit = p.provider == crate::probes::Provider::Fexit;
        let number = self.catalog.module_number(module.as_deref());
        let found = self.catalog.btf(number).ok().and_then(|btf| {
            let function =
                if number == 0 { btf.find(function, Kind::Func) } else { btf.find_own(function, Kind::Func) };
            Some((function?.id, function?.return_type()?))
        });
        let Some((id, ret)) = found else {
            let message = format!("No BTF found for {function}");
            let hint = "fentry and fexit need the function's type; kprobe does not";
            self.diagnostics.push(Diagnostic::error(p.span, message).with_hint(hint));
            return;
        };
        let slot = |i: usize| Some(Source::Slot { index: i as u32, trusted: true });
        let fields = self.function_fields(module.as_deref(), function, slot);
        let mut context = Context::bare(if exit { ContextKind::Fexit } else { ContextKind::Fentry });
        context.typed = true;
        context.function = Some(function.clone());
        context.args_name = format!("struct {}:{function}_args", context.kind.name());
        context.numbered = Numbered::Slots(Some(fields.len() as u32));
        if exit {
            let ty = self.catalog.type_from_btf(number, ret);
            let trusted = true;
            context.retval = Some((ty, Source::Slot { index: fields.len() as u32, trusted }));
        }
        context.fields = fields;
        let (section, attach) =
            if exit { ("fexit", attach_type::TRACE_FEXIT) } else { ("fentry", attach_type::TRACE_FENTRY) };
        let mut kind = program(format!("{section}/{function}"), prog_type::TRACING, attach);
        kind.target = Some(object::Target { module: module.clone(), name: function.clone(), btf_id: id.0 });
        self.push_each(std::slice::from_ref(p), context, kind);
    }

    /// A kernel function's parameters, where `source` says they are.
    pub(super) fn function_fields(
        &self,
        module: Option<&str>,
        function: &str,
        source: impl Fn(usize) -> Option<Source>,
    ) -> Vec<ContextField> {
        let number = self.catalog.module_number(module);
        let Ok(btf) = self.catalog.btf(number) else { return Vec::new() };
        let Some(found) = btf.find(function, Kind::Func) else { return Vec::new() };
        found
            .params()
            .enumerate()
            .map_while(|(i, param)| {
                Some(ContextField {
                    name: param.name.to_owned(),
                    ty: self.catalog.type_from_btf(number, param.ty),
                    source: source(i)?,
                })
            })
            .collect()
    }

    pub(super) fn iter(&mut self, p: &ResolvedProbe) {
        let Target::Iter { object, .. } = &p.target else { return };
        let name = format!("bpf_iter_{object}");
        let found = self.catalog.btf(0).ok().and_then(|btf| btf.find(&name, Kind::Func));
        let Some(function) = found else {
            let message = format!("iter {object} not available for your kernel version.");
            self.diagnostics.push(Diagnostic::error(p.span, message));
            return;
        };
        let id = function.id.0;
        let mut context = Context::bare(ContextKind::Iter);
        context.typed = true;
        context.iter_struct = self.catalog.find_struct(&format!("bpf_iter__{object}"), false);
        let mut kind = program(format!("iter/{object}"), prog_type::TRACING, attach_type::TRACE_ITER);
        kind.target = Some(object::Target { module: None, name, btf_id: id });
        self.push_each(std::slice::from_ref(p), context, kind);
    }

    /// One attachment for many probes.
    pub(super) fn joint(&self, probes: &[ResolvedProbe], attach: Attach) -> Option<Attachment> {
        let first = probes.first()?;
        Some(Attachment { stands_for: probes.len() as u32, ..self.attachment(first, attach) })
    }
}
