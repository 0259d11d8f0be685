//! `tracepoint:syscalls:…`: programs on the raw tracepoints that see all system calls.

use isa::uapi::{attach_type, prog_type};
use object::plan::Attach;

use super::{Planner, program};
use crate::arch::Arch;
use crate::context::{Context, ContextField, ContextKind, Source};
use crate::lower::Dispatch;
use crate::probes::{ResolvedProbe, SyscallSite, Target};
use crate::tracepoint_format::{self, FormatField};
use crate::{Diagnostic, Feature};

/// Bytes of a system call's record before its arguments: 8 that all records have, the number, 4 of padding.
const ARGUMENTS_OFFSET: u32 = 16;
const NUMBER_OFFSET: u32 = 8;

/// System calls that one program serves.
struct Group {
    exit: bool,
    fields: Vec<FormatField>,
    /// Numbers and probes.
    calls: Vec<(u32, ResolvedProbe)>,
}

impl Planner<'_, '_> {
    /// One program for each direction and layout of arguments that the body can tell apart.
    pub(super) fn syscall_tracepoints(&mut self, probes: &[&ResolvedProbe]) {
        let with_fields = self.uses("args");
        let mut groups: Vec<Group> = Vec::new();
        for p in probes {
            let Target::Tracepoint { category, name, syscall: Some(SyscallSite { number, exit }) } = &p.target else {
                continue;
            };
            let mut fields = Vec::new();
            if with_fields {
                match self.catalog.host.tracepoint_format(category, name) {
                    Ok(text) => fields = tracepoint_format::parse_format(&text),
                    Err(e) => {
                        self.diagnostics.push(Diagnostic::error(p.span, e.what).with_hints(e.hint));
                        continue;
                    }
                }
            }
            match groups.iter_mut().find(|g| g.exit == *exit && g.fields == fields) {
                Some(group) => group.calls.push((*number, (*p).clone())),
                None => groups.push(Group { exit: *exit, fields, calls: vec![(*number, (*p).clone())] }),
            }
        }
        for mut group in groups {
            group.calls.sort_by_key(|(number, _)| *number);
            group.calls.dedup_by_key(|(number, _)| *number);
            self.syscall_program(group.exit, &group.fields, &group.calls);
        }
    }

    fn syscall_program(&mut self, exit: bool, fields: &[FormatField], group: &[(u32, ResolvedProbe)]) {
        let tracepoint = if exit { "sys_exit" } else { "sys_enter" };
        let probes: Vec<ResolvedProbe> = group.iter().map(|(_, p)| p.clone()).collect();
        let target = if self.catalog.host.has(Feature::TpBtf) { self.raw_target(None, tracepoint) } else { None };
        let mut context = Context::bare(ContextKind::Tracepoint);
        context.typed = target.is_some();
        context.syscall = true;
        context.fields = fields.iter().filter_map(|f| self.syscall_field(f, exit)).collect();
        if let Some(Target::Tracepoint { name, .. }) = probes.first().map(|p| &p.target) {
            context.args_name = format!("struct tracepoint:syscalls:{name}_args");
        }
        let kind = match target {
            Some(target) => {
                let mut kind = program(format!("tp_btf/{tracepoint}"), prog_type::TRACING, attach_type::TRACE_RAW_TP);
                kind.target = Some(target);
                kind
            }
            None => program(format!("raw_tp/{tracepoint}"), prog_type::RAW_TRACEPOINT, 0),
        };
        let dispatch =
            Dispatch { calls: group.iter().map(|(number, p)| (*number, p.name.clone())).collect(), enter: !exit };
        let attach = Attach::RawTracepoint { name: tracepoint.to_owned() };
        let attachments = self.joint(&probes, attach).into_iter().collect();
        self.push(&probes, context, kind, attachments, Some(dispatch));
    }

    /// Where a field of the record is when no record has been made.
    fn syscall_field(&self, field: &FormatField, exit: bool) -> Option<ContextField> {
        if field.is_common() {
            return None;
        }
        let arch = Arch::native();
        let source = match (field.offset, exit) {
            (NUMBER_OFFSET, false) => Source::Slot { index: 1, trusted: false },
            (NUMBER_OFFSET, true) => Source::SyscallRegister { offset: u32::from(arch.syscall_number) },
            (_, true) => Source::Slot { index: 1, trusted: false },
            (offset, false) => {
                let index = (offset.checked_sub(ARGUMENTS_OFFSET)? / 8) as usize;
                Source::SyscallRegister { offset: u32::from(*arch.syscall_args.get(index)?) }
            }
        };
        Some(ContextField { name: field.name.clone(), ty: field.ty(true, self.catalog), source })
    }
}
