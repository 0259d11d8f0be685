//! Names that are not variables: builtins, constants, enumerators.

use object::plan::{Stack, StackMode};

use super::Analyzer;
use super::expressions::string;
use crate::Diagnostic;
use crate::ast::{self, Span};
use crate::context::{ContextKind, Numbered};
use crate::hir::{Builtin, Clock, Expr, ExprKind};
use crate::types::*;

/// Frames of a stack unless the script says otherwise; also the kernel's limit.
const MAX_FRAMES: u32 = 127;
const STACK_MODES: [&str; 4] = ["bpftrace", "perf", "raw", "build_id"];
/// More frames than these are a mistake; up to here the kernel's own limit cuts.
const MAX_LIMIT: u32 = 1024;

/// Builtins that a script can name, for suggestions.
pub(super) const NAMES: &[&str] = &[
    "pid", "tid", "uid", "gid", "nsecs", "elapsed", "cpu", "comm", "curtask", "rand", "cgroup", "ctx", "args",
    "retval", "func", "probe", "numaid", "username", "kstack", "ustack", "cpid", "jiffies", "ncpus", "usermode",
    "ppid", "pcomm", "arg0", "arg1", "arg2", "arg3", "arg4", "arg5",
];

impl Analyzer<'_> {
    pub(super) fn identifier(&mut self, name: &str, span: Span) -> Option<Expr> {
        if let Some(found) = self.builtin(name, span) {
            return found;
        }
        if let Some((value, of)) = self.catalog.find_constant(name) {
            let ty = match of {
                Some(e) => Type::Enum(e),
                None => super::expressions::smallest(value),
            };
            return Some(Expr::int(value, ty, span));
        }
        let hint = super::did_you_mean(name, NAMES.iter().copied());
        let message = format!("Unknown identifier: '{name}'");
        self.diagnostics.push(Diagnostic::error(span, message).with_hints(hint));
        None
    }

    /// A builtin by name; the outer `None` is another name.
    pub(super) fn builtin(&mut self, name: &str, span: Span) -> Option<Option<Expr>> {
        let context = self.probe.context;
        let simple = |builtin, ty| Some(Some(Expr { kind: ExprKind::Builtin(builtin), ty, span }));
        match name {
            "pid" => simple(Builtin::Pid, Type::U32),
            "tid" => simple(Builtin::Tid, Type::U32),
            "uid" => simple(Builtin::Uid, Type::U32),
            "gid" => simple(Builtin::Gid, Type::U32),
            "nsecs" => simple(Builtin::Nsecs(Clock::Boot), Type::U64),
            "elapsed" => simple(Builtin::Elapsed, Type::U64),
            "cpu" => simple(Builtin::Cpu, Type::U64),
            "numaid" => simple(Builtin::Numaid, Type::U32),
            "rand" => simple(Builtin::Rand, Type::U32),
            "cgroup" => simple(Builtin::Cgroup, Type::U64),
            "jiffies" => simple(Builtin::Jiffies, Type::U64),
            "ncpus" => simple(Builtin::Ncpus, Type::U64),
            "comm" => simple(Builtin::Comm, Type::Str { size: 16 }),
            "username" => simple(Builtin::Uid, Type::Username),
            "curtask" => {
                let ty = match self.catalog.find_struct("task_struct", false) {
                    Some(id) => Type::pointer(Type::Struct(id), AddressSpace::Kernel),
                    None => Type::U64,
                };
                simple(Builtin::Curtask, ty)
            }
            "usermode" => Some(self.usermode(span)),
            "ppid" => Some(self.parent("tgid", span).map(|tgid| Expr { ty: Type::U32, ..tgid })),
            "pcomm" => Some(self.parent("comm", span)),
            "cpid" => Some(match self.options.cpid {
                Some(pid) => Some(Expr::int(i64::from(pid), Type::U32, span)),
                None => self.error(span, "Builtin cpid requires a child process (-c)"),
            }),
            "kstack" | "stack" => Some(self.stack(name, &[], span)),
            "ustack" => Some(self.stack(name, &[], span)),
            "probe" => Some(Some(match &context.probe_name {
                Some(name) => string(name.as_bytes(), span),
                None => Expr {
                    kind: ExprKind::Builtin(Builtin::Probe),
                    ty: Type::Str { size: context.longest_name + 1 },
                    span,
                },
            })),
            "func" => Some(self.func(span)),
            "ctx" => {
                let name = match context.kind {
                    _ if context.registers
                        && matches!(
                            context.kind,
                            ContextKind::Profile
                                | ContextKind::Interval
                                | ContextKind::Software
                                | ContextKind::Hardware
                        ) =>
                    {
                        "bpf_perf_event_data"
                    }
                    _ if context.registers => "pt_regs",
                    _ => "",
                };
                let known = context.iter_struct.or_else(|| self.catalog.find_struct(name, false));
                let to = known.map_or(Type::Void, Type::Struct);
                simple(Builtin::Ctx, Type::pointer(to, AddressSpace::Kernel))
            }
            "retval" => Some(match &context.retval {
                Some((ty, _)) => Some(Expr { kind: ExprKind::Builtin(Builtin::Retval), ty: ty.clone(), span }),
                None => self.error(
                    span,
                    "The retval builtin can only be used with 'kretprobe' and 'uretprobe' and 'fentry' probes",
                ),
            }),
            "args" => Some(self.all_args(span)),
            _ => {
                let digits = name.strip_prefix("arg")?;
                if digits.is_empty() || digits.len() > 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
                    return None;
                }
                let n = digits.parse().ok()?;
                Some(self.arg_n(n, span))
            }
        }
    }

    fn arg_n(&mut self, n: u32, span: Span) -> Option<Expr> {
        let context = self.probe.context;
        let ty = match &context.numbered {
            Numbered::None => {
                let message =
                    format!("The arg{n} builtin can only be used with 'kprobes', 'uprobes' and 'usdt' probes");
                return self.error(span, message);
            }
            Numbered::Registers => Type::U64,
            Numbered::Slots(count) => {
                if count.is_some_and(|count| n >= count) {
                    let message = format!("arg{n}: the probe has only {} arguments", count.unwrap_or(0));
                    return self.error(span, message);
                }
                Type::U64
            }
            Numbered::Usdt(args) => match args.get(n as usize) {
                Some(arg) => Type::int(8, arg.signed),
                None => {
                    let message = format!("arg{n}: the probe has only {} arguments", args.len());
                    return self.error(span, message);
                }
            },
        };
        if n > 255 {
            return self.error(span, format!("arg{n} is not a valid argument"));
        }
        Some(Expr { kind: ExprKind::ArgN(n), ty, span })
    }

    fn all_args(&mut self, span: Span) -> Option<Expr> {
        self.check_args(span)?;
        match self.probe.context.args_struct {
            Some(id) => Some(Expr { kind: ExprKind::AllArgs, ty: Type::Struct(id), span }),
            None => self.error(span, "args can only be used by its fields here (args.NAME)"),
        }
    }

    fn func(&mut self, span: Span) -> Option<Expr> {
        let context = self.probe.context;
        use ContextKind::*;
        let ty = match context.kind {
            Kprobe | Kretprobe => Type::KSym,
            // By address the function is known only as long as the process lives; by name it is for good.
            Uprobe | Uretprobe => match (&context.function, context.places.iter().map(|p| p.function.len()).max()) {
                (Some(name), _) => return Some(string(name.as_bytes(), span)),
                (None, Some(longest)) => Type::Str { size: longest as u32 + 1 },
                (None, None) => Type::USym,
            },
            Fentry | Fexit => {
                let name = context.function.clone().unwrap_or_default();
                return Some(string(name.as_bytes(), span));
            }
            other => {
                let message = format!("The func builtin can not be used with '{}' probes", other.name());
                return self.error(span, message);
            }
        };
        Some(Expr { kind: ExprKind::Builtin(Builtin::Func), ty, span })
    }

    /// `curtask->real_parent->what`.
    fn parent(&mut self, what: &str, span: Span) -> Option<Expr> {
        let field = |of: ast::Expr, name: &str| ast::Expr {
            kind: ast::ExprKind::Field { of: Box::new(of), name: ast::Name { text: name.into(), span }, arrow: true },
            span,
        };
        let task = ast::Expr { kind: ast::ExprKind::Ident("curtask".into()), span };
        self.expression(&field(field(task, "real_parent"), what))
    }

    /// Whether user code was running, by its registers.
    fn usermode(&mut self, span: Span) -> Option<Expr> {
        let context = self.probe.context;
        if crate::arch::Arch::native().register("cs").is_none() {
            return self.error(span, "'usermode' builtin is only supported on x86_64");
        }
        // What we run ourselves runs for us, in user space; probes of the kernel's code without registers do not.
        Some(match (context.kind, context.registers) {
            (_, true) => Expr { kind: ExprKind::Builtin(Builtin::Usermode), ty: Type::U8, span },
            (ContextKind::Special, false) => Expr::int(1, Type::U8, span),
            (_, false) => Expr::int(0, Type::U8, span),
        })
    }

    /// `kstack`, `kstack(mode)`, `kstack(n)`, `kstack(mode, n)` and the same of `ustack`.
    pub(super) fn stack(&mut self, name: &str, args: &[ast::Expr], span: Span) -> Option<Expr> {
        let mut stack = Stack { mode: self.options.config.stack_mode, limit: MAX_FRAMES };
        if args.len() > 2 {
            let message = format!("{name}() takes up to 2 arguments ({} provided)", args.len());
            return self.error(span, message);
        }
        for (i, arg) in args.iter().enumerate() {
            if let ast::ExprKind::Ident(mode) = &arg.kind
                && i == 0
            {
                stack.mode = match mode.as_str() {
                    "bpftrace" => StackMode::Bpftrace,
                    "perf" => StackMode::Perf,
                    "raw" => StackMode::Raw,
                    "build_id" => StackMode::BuildId,
                    other => {
                        let message = format!("Unknown stack mode: '{other}'");
                        let near = super::did_you_mean(other, STACK_MODES);
                        let hint = near.unwrap_or_else(|| "The modes are bpftrace, perf, raw and build_id".into());
                        return self.error_hint(arg.span, message, hint);
                    }
                };
                continue;
            }
            let limit = self.expression(arg)?;
            match limit.constant() {
                Some(n) if n > i64::from(MAX_LIMIT) => {
                    let message = format!("{name}([int limit]): limit shouldn't exceed {MAX_LIMIT}, {n} given");
                    return self.error(span, message);
                }
                Some(n) if n >= 0 => stack.limit = u32::try_from(n).unwrap_or(MAX_FRAMES).min(MAX_FRAMES),
                _ => return self.error(span, format!("{name}: invalid limit value")),
            }
        }
        let user = name == "ustack";
        let (kind, ty) = match user {
            true => (ExprKind::UStack, Type::UStack(stack)),
            false => (ExprKind::KStack, Type::KStack(stack)),
        };
        Some(Expr { kind, ty, span })
    }
}
