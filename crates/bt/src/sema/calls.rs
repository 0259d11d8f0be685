//! Types of function calls.

use std::rc::Rc;

use object::plan::Action;

use super::Analyzer;
use super::expressions::string;
use crate::Diagnostic;
use crate::ast::{self, Name, Span};
use crate::context::ContextKind;
use crate::hir::{Block, Builtin, Clock, Event, Expr, ExprKind, Stmt, StmtKind};
use crate::types::*;

/// Functions of the language, for suggestions.
const FUNCTIONS: &[&str] = &[
    "printf",
    "print",
    "clear",
    "zero",
    "delete",
    "has_key",
    "len",
    "time",
    "strftime",
    "exit",
    "join",
    "str",
    "buf",
    "ksym",
    "usym",
    "kaddr",
    "uaddr",
    "ntop",
    "macaddr",
    "pton",
    "cgroupid",
    "kstack",
    "ustack",
    "reg",
    "signal",
    "system",
    "cat",
    "kptr",
    "uptr",
    "strncmp",
    "strcontains",
    "nsecs",
    "bswap",
    "count",
    "sum",
    "min",
    "max",
    "avg",
    "stats",
    "hist",
    "lhist",
    "strerror",
    "cgroup_path",
    "errorf",
    "warnf",
];

/// Most comparisons of bytes that a search for a string that is no literal may take.
const MAX_SEARCH: u32 = 1 << 15;
/// Most buckets of an `lhist`.
const MAX_LHIST_BUCKETS: i64 = 1000;
/// Names of signals by number from 1 (x86-64 and aarch64).
const SIGNALS: &[&str] = &[
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

impl Analyzer<'_> {
    /// Checks the number of arguments.
    pub(super) fn arity(&mut self, name: &str, args: &[ast::Expr], min: usize, max: usize, span: Span) -> Option<()> {
        let n = args.len();
        if (min..=max).contains(&n) {
            return Some(());
        }
        let plural =
            |n: usize| if n == 1 { format!("{} argument", words(n)) } else { format!("{} arguments", words(n)) };
        let message = if min == max && max == 0 {
            format!("{name}() takes no arguments ({n} provided)")
        } else if min == max {
            format!("{name}() requires {} ({n} provided)", plural(min))
        } else if n < min {
            format!("{name}() requires at least {} ({n} provided)", plural(min))
        } else {
            format!("{name}() takes up to {} ({n} provided)", plural(max))
        };
        self.error(span, message)
    }

    pub(super) fn literal(&mut self, name: &str, arg: &ast::Expr, span: Span) -> Option<String> {
        if let ast::ExprKind::Str(text) = &arg.kind {
            return Some(text.clone());
        }
        if let ast::ExprKind::Positional(n) = arg.kind {
            return Some(self.parameter(n).unwrap_or_default());
        }
        let found = self.expression(arg)?;
        if let ExprKind::Str(text) = &found.kind {
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        let what = match found.ty {
            Type::Str { .. } => "string",
            Type::Int(_) => "int",
            _ => "other type",
        };
        self.error(span, format!("{name}() expects a string literal ({what} provided)"))
    }

    pub(super) fn integer_argument(&mut self, name: &str, arg: &ast::Expr, span: Span) -> Option<Expr> {
        let e = self.expression(arg)?;
        let e = self.value(e)?;
        if e.ty.is_scalar() || e.ty == Type::Void {
            return Some(e);
        }
        let what = match &e.ty {
            Type::Str { .. } => "string".to_owned(),
            other => self.name_of(other),
        };
        self.error(span, format!("{name}() only supports int arguments ({what} provided)"))
    }

    fn unsafe_function(&mut self, name: &str, span: Span) -> Option<()> {
        if self.options.unsafe_allowed {
            return Some(());
        }
        self.error_hint(
            span,
            format!("{name}() is an unsafe function being used in safe mode"),
            "Run with --unsafe to allow it",
        )
    }

    /// `count()` and its kind, as the value of an assignment; the inner `None`
    /// is another function.
    #[allow(clippy::option_option, reason = "error, other function, aggregate")]
    pub(super) fn aggregate(
        &mut self,
        name: &Name,
        args: &[ast::Expr],
        span: Span,
    ) -> Option<Option<(Aggregate, Option<Expr>)>> {
        let function = name.text.as_str();
        Some(Some(match function {
            "count" => {
                self.arity(function, args, 0, 0, span)?;
                (Aggregate::Count, None)
            }
            "sum" | "min" | "max" | "avg" | "stats" => {
                self.arity(function, args, 1, 1, span)?;
                let e = self.expression(&args[0])?;
                let e = self.value(e)?;
                if !e.ty.is_scalar() && e.ty != Type::Void {
                    let message =
                        format!("{function}() only supports integer arguments ({} provided)", self.name_of(&e.ty));
                    return self.error(span, message);
                }
                let signed = e.ty.is_signed();
                let aggregate = match function {
                    "sum" => Aggregate::Sum { signed },
                    "min" => Aggregate::Min { signed },
                    "max" => Aggregate::Max { signed },
                    "avg" => Aggregate::Avg { signed },
                    _ => Aggregate::Stats { signed },
                };
                (aggregate, Some(e))
            }
            "hist" => {
                self.arity(function, args, 1, 2, span)?;
                let e = self.integer_argument(function, &args[0], span)?;
                let k = match args.get(1) {
                    Some(bits) => match self.expression(bits)?.constant() {
                        Some(k @ 0..=5) => k as u8,
                        Some(k) => return self.error(span, format!("hist: bits {k} must be 0..5")),
                        None => return self.error(span, "hist: invalid bits value, needs to be a literal"),
                    },
                    None => 0,
                };
                (Aggregate::Hist { k }, Some(e))
            }
            "lhist" => {
                self.arity(function, args, 4, 4, span)?;
                let e = self.integer_argument(function, &args[0], span)?;
                let mut bounds = [0i64; 3];
                for (bound, (arg, what)) in bounds.iter_mut().zip(args[1..].iter().zip(["min", "max", "step"])) {
                    match self.expression(arg)?.constant() {
                        Some(n) => *bound = n,
                        None => return self.error(span, format!("lhist: invalid {what} value")),
                    }
                }
                let [min, max, step] = bounds;
                if step <= 0 {
                    return self.error(span, format!("lhist() step must be >= 1 ({step} provided)"));
                }
                if min >= max {
                    return self
                        .error(span, format!("lhist() min must be less than max (provided min {min} and max {max})"));
                }
                let buckets = max.saturating_sub(min) / step;
                if buckets > MAX_LHIST_BUCKETS {
                    return self.error(
                        span,
                        format!("lhist() too many buckets, must be <= {MAX_LHIST_BUCKETS} (would need {buckets})"),
                    );
                }
                (Aggregate::Lhist { min, max, step }, Some(e))
            }
            _ => return Some(None),
        }))
    }

    /// A call that only stands as a statement; the outer `None` is another
    /// function, the inner one an error.
    #[allow(clippy::option_option, reason = "another function, error, statement")]
    pub(super) fn call_statement(&mut self, name: &Name, args: &[ast::Expr], span: Span) -> Option<Option<StmtKind>> {
        Some(match name.text.as_str() {
            "printf" => self.formatted(name, args, span, |format| Action::Printf { format }),
            "system" => match self.unsafe_function("system", span) {
                Some(()) => self.formatted(name, args, span, |format| Action::System { format }),
                None => None,
            },
            "cat" => self.formatted(name, args, span, |format| Action::Cat { format }),
            "errorf" => self.formatted(name, args, span, |format| Action::Message {
                format,
                severity: object::plan::Severity::Error,
            }),
            "warnf" => self.formatted(name, args, span, |format| Action::Message {
                format,
                severity: object::plan::Severity::Warning,
            }),
            "print" => self.print(args, span),
            "clear" => self.whole_map("clear", args, span).map(StmtKind::Clear),
            "zero" => self.whole_map("zero", args, span).map(StmtKind::Zero),
            "time" => self.time(args, span),
            "exit" => self.exit(args, span),
            "join" => self.join(args, span),
            "delete" if args.len() > 1 && args.iter().all(is_keyed_map) => self.delete_several(args, span),
            _ => return None,
        })
    }

    fn formatted(
        &mut self,
        name: &Name,
        args: &[ast::Expr],
        span: Span,
        action: impl FnOnce(String) -> Action,
    ) -> Option<StmtKind> {
        let Some((format, args)) = args.split_first() else {
            return self.error(span, format!("{}() requires at least one argument (0 provided)", name.text));
        };
        let format = self.literal(&name.text, format, span)?;
        let args: Vec<Option<Expr>> = args.iter().map(|a| self.expression(a)).collect();
        let args = args.into_iter().collect::<Option<Vec<_>>>()?;
        let (format, args) = self.format_arguments(&format, args, span)?;
        Some(StmtKind::Event(Event { action: action(format), args }))
    }

    fn print(&mut self, args: &[ast::Expr], span: Span) -> Option<StmtKind> {
        self.arity("print", args, 1, 3, span)?;
        if let ast::ExprKind::Map { name, key } = &args[0].kind
            && key.is_empty()
        {
            let map = self.map_argument(name, args[0].span)?;
            let mut limits = Vec::new();
            for arg in &args[1..] {
                limits.push(self.integer_argument("print", arg, span)?);
            }
            return Some(StmtKind::Event(Event { action: Action::PrintMap { map: map.0 }, args: limits }));
        }
        if let [_, rest @ ..] = args
            && !rest.is_empty()
        {
            return self.error(span, format!("Non-map print() only takes 1 argument, {} found", args.len()));
        }
        if let ast::ExprKind::Map { name, .. } = &args[0].kind
            && let Some(id) = self.map_ids.get(name)
            && let ty @ Type::Aggregate(Aggregate::Hist { .. } | Aggregate::Lhist { .. }) = &self.map(*id).value
        {
            let message =
                format!("Map type {ty} cannot print the value of individual keys. You must print the whole map.");
            return self.error(span, message);
        }
        let value = self.expression(&args[0])?;
        let value = self.value(value)?;
        if let (Type::Aggregate(Aggregate::Stats { .. }), ExprKind::MapGet { .. }) = (&value.ty, &value.kind) {
            self.require_aggregate_reads(args[0].span)?;
        } else if let ty @ Type::Aggregate(_) = &value.ty {
            let message =
                format!("Map type {ty} cannot print the value of individual keys. You must print the whole map.");
            return self.error(span, message);
        }
        let action = Action::PrintValue { label: None, key: false };
        Some(StmtKind::Event(Event { action, args: vec![value] }))
    }

    fn whole_map(&mut self, function: &str, args: &[ast::Expr], span: Span) -> Option<crate::hir::MapId> {
        self.arity(function, args, 1, 1, span)?;
        match &args[0].kind {
            ast::ExprKind::Map { name, key } if key.is_empty() => self.map_argument(name, args[0].span),
            _ => self.error(args[0].span, format!("{function}() expects a map argument")),
        }
    }

    fn time(&mut self, args: &[ast::Expr], span: Span) -> Option<StmtKind> {
        if args.len() > 1 {
            return self.error(span, format!("time() takes up to one argument ({} provided)", args.len()));
        }
        let format = match args.first() {
            Some(arg) => self.literal("time", arg, span)?,
            None => "%H:%M:%S\n".to_owned(),
        };
        Some(StmtKind::Event(Event { action: Action::Time { format }, args: Vec::new() }))
    }

    fn exit(&mut self, args: &[ast::Expr], span: Span) -> Option<StmtKind> {
        self.arity("exit", args, 0, 1, span)?;
        let code = match args.first() {
            Some(arg) => Some(self.integer_argument("exit", arg, span)?),
            None => None,
        };
        Some(StmtKind::Exit(code))
    }

    fn join(&mut self, args: &[ast::Expr], span: Span) -> Option<StmtKind> {
        self.arity("join", args, 1, 2, span)?;
        let array = self.expression(&args[0])?;
        if !array.ty.is_pointer() && !matches!(array.ty, Type::Int(_)) {
            let message =
                format!("join() only supports int or pointer arguments ({} provided)", self.name_of(&array.ty));
            return self.error(span, message);
        }
        let delimiter = match args.get(1) {
            Some(arg) => self.literal("join", arg, span)?,
            None => " ".to_owned(),
        };
        Some(StmtKind::Join { array, delimiter })
    }

    fn delete_several(&mut self, args: &[ast::Expr], span: Span) -> Option<StmtKind> {
        let mut block = Block::default();
        for arg in args {
            let e = self.delete(std::slice::from_ref(arg), arg.span)?;
            block.stmts.push(Stmt { kind: StmtKind::Expr(e), span });
        }
        Some(StmtKind::Block(block))
    }

    fn delete(&mut self, args: &[ast::Expr], span: Span) -> Option<Expr> {
        self.arity("delete", args, 1, 2, span)?;
        let ast::ExprKind::Map { name, key } = &args[0].kind else {
            return self.error(args[0].span, "delete() expects a map argument");
        };
        let (map, key) = match (key.as_slice(), args.get(1)) {
            (key, None) => {
                if key.is_empty() && self.map_ids.get(name).is_some_and(|id| self.map(*id).keyed == Some(true)) {
                    return self.error(
                        span,
                        "call to delete() with a single argument expects a map without explicit keys (scalar map)",
                    );
                }
                self.map_access(name, key, args[0].span)?
            }
            ([], Some(key)) => {
                if self.map_ids.get(name).is_some_and(|id| self.map(*id).keyed == Some(false)) {
                    return self.error(
                        span,
                        "call to delete() with two arguments expects a map with explicit keys (non-scalar map)",
                    );
                }
                self.map_access(name, std::slice::from_ref(key), args[0].span)?
            }
            _ => return self.error(span, "delete() takes a map and a key, or a map's element"),
        };
        let kind = ExprKind::Delete { map, key: key.map(Box::new) };
        Some(Expr { kind, ty: Type::Bool, span })
    }

    /// A call as an expression.
    pub(super) fn call(&mut self, name: &Name, args: &[ast::Expr], span: Span) -> Option<Expr> {
        match name.text.as_str() {
            "str" => self.str(args, span),
            "buf" => self.buf(args, span),
            "ksym" => {
                self.arity("ksym", args, 1, 1, span)?;
                let e = self.integer_argument("ksym", &args[0], span)?;
                Some(Expr { kind: ExprKind::Cast(Box::new(e)), ty: Type::KSym, span })
            }
            "usym" => {
                self.arity("usym", args, 1, 1, span)?;
                let e = self.integer_argument("usym", &args[0], span)?;
                Some(Expr { kind: ExprKind::USym(Box::new(e)), ty: Type::USym, span })
            }
            "kaddr" => self.kaddr(args, span),
            "uaddr" => self.uaddr(args, span),
            "ntop" => self.ntop(args, span),
            "macaddr" => self.macaddr(args, span),
            "pton" => self.pton(args, span),
            "cgroupid" => {
                self.arity("cgroupid", args, 1, 1, span)?;
                let path = self.literal("cgroupid", &args[0], span)?;
                match self.catalog.host.cgroup_id(&path) {
                    Ok(id) => Some(Expr::int(id as i64, Type::U64, span)),
                    Err(e) => self.host_error(span, e),
                }
            }
            "cgroup_path" => self.shown_as("cgroup_path", args, Type::CgroupPath, span),
            "strerror" => self.shown_as("strerror", args, Type::Errno, span),
            "kstack" | "ustack" | "stack" => self.stack(&name.text, args, span),
            "reg" => self.register(args, span),
            "strncmp" => self.strncmp(args, span),
            "strcontains" => {
                self.arity("strcontains", args, 2, 2, span)?;
                let haystack = self.string_argument("strcontains", &args[0])?;
                let needle = self.string_argument("strcontains", &args[1])?;
                let sizes = (self.catalog.size_of(&haystack.ty), self.catalog.size_of(&needle.ty));
                if let (false, (Some(a), Some(b))) = (matches!(needle.kind, ExprKind::Str(_)), sizes)
                    && a.saturating_mul(b) > MAX_SEARCH
                {
                    let hint = "Look for a literal, or in shorter strings: str($x, 128)";
                    return self.error_hint(span, "strcontains() would compare too much for the verifier", hint);
                }
                let kind = ExprKind::Contains { haystack: Box::new(haystack), needle: Box::new(needle) };
                Some(Expr { kind, ty: Type::Bool, span })
            }
            "strftime" => self.strftime(args, span),
            "nsecs" => self.nsecs(args, span),
            "bswap" => {
                self.arity("bswap", args, 1, 1, span)?;
                let e = self.integer_argument("bswap", &args[0], span)?;
                let int = match e.ty {
                    Type::Int(int) => int,
                    _ => IntType { bytes: 8, signed: false },
                };
                let ty = Type::int(int.bytes, false);
                Some(Expr { kind: ExprKind::Bswap { bytes: int.bytes, arg: Box::new(e) }, ty, span })
            }
            "kptr" | "uptr" => {
                self.arity(&name.text, args, 1, 1, span)?;
                let e = self.integer_argument(&name.text, &args[0], span)?;
                let space = if name.text == "kptr" { AddressSpace::Kernel } else { AddressSpace::User };
                let to = match &e.ty {
                    Type::Pointer { to, .. } => to.clone(),
                    _ => Rc::new(Type::Void),
                };
                Some(Expr { kind: ExprKind::Cast(Box::new(e)), ty: Type::Pointer { to, space }, span })
            }
            "has_key" => self.has_key(args, span),
            "len" => {
                self.arity("len", args, 1, 1, span)?;
                match &args[0].kind {
                    ast::ExprKind::Map { name, key } if key.is_empty() => {
                        let map = self.map_argument(name, args[0].span)?;
                        self.require_helper(isa::uapi::helper::for_each_map_elem, span, "len()", "5.13")?;
                        if self.map(map).keyed == Some(false) {
                            return self.error(span, "call to len() expects a map with explicit keys (non-scalar map)");
                        }
                        Some(Expr { kind: ExprKind::Len(map), ty: Type::I64, span })
                    }
                    _ => {
                        let of = self.expression(&args[0])?;
                        self.stack_len(&of, span)
                    }
                }
            }
            "delete" => self.delete(args, span),
            "signal" | "signal_thread" => self.signal(&name.text, args, span),
            name if is_aggregate(name) => self.error(span, format!("{name}() must be assigned directly to a map")),
            "printf" | "print" | "clear" | "zero" | "time" | "exit" | "join" | "system" | "cat" | "errorf"
            | "warnf" => self.error(span, format!("{}() gives no value", name.text)),
            other => {
                if args.is_empty()
                    && let Some(builtin) = self.builtin(other, span)
                {
                    return builtin;
                }
                let hint = super::did_you_mean(other, FUNCTIONS.iter().copied());
                let message = format!("Unknown function: '{other}'");
                self.diagnostics.push(Diagnostic::error(span, message).with_hints(hint));
                None
            }
        }
    }

    /// `len(kstack)`, or of a variable that has the stack of this moment.
    fn stack_len(&mut self, of: &Expr, span: Span) -> Option<Expr> {
        let (user, limit) = match of.ty {
            Type::KStack(stack) => (false, stack.limit),
            Type::UStack(stack) => (true, stack.limit),
            _ => {
                let message = format!("call to len() expects a map or a stack ('{}' provided)", self.name_of(&of.ty));
                return self.error(span, message);
            }
        };
        if !matches!(of.kind, ExprKind::KStack | ExprKind::UStack | ExprKind::Var(_)) {
            return self.error(span, "len() counts the frames of the stack here, not of one that is kept");
        }
        Some(Expr { kind: ExprKind::StackLen { user, limit }, ty: Type::I64, span })
    }

    fn host_error<T>(&mut self, span: Span, error: crate::HostError) -> Option<T> {
        let diagnostic = Diagnostic::error(span, error.what).with_hints(error.hint);
        self.diagnostics.push(diagnostic);
        None
    }

    fn shown_as(&mut self, name: &str, args: &[ast::Expr], ty: Type, span: Span) -> Option<Expr> {
        self.arity(name, args, 1, 1, span)?;
        let e = self.integer_argument(name, &args[0], span)?;
        Some(Expr { kind: ExprKind::Cast(Box::new(e)), ty, span })
    }

    fn str(&mut self, args: &[ast::Expr], span: Span) -> Option<Expr> {
        self.arity("str", args, 1, 2, span)?;
        let longest = self.options.config.max_strlen;
        let most = self.options.config.string_room();
        let (max, size) = match args.get(1) {
            None => (None, most),
            Some(len) => {
                let len = self.integer_argument("str", len, span)?;
                self.not_negative("str", &len, span)?;
                match len.constant().map(u32::try_from) {
                    // The length counts the NUL.
                    Some(Ok(n)) if n <= longest => (None, n.max(1)),
                    Some(_) => (None, most),
                    None => (Some(Box::new(len)), most),
                }
            }
        };
        if let ast::ExprKind::Positional(n) = args[0].kind {
            let text = self.parameter(n).unwrap_or_default();
            return Some(cut(text.as_bytes(), size, span));
        }
        // `str($1 + 2)` leaves out the first bytes.
        if let ast::ExprKind::Binary { op: ast::BinaryOp::Add, args: sides } = &args[0].kind
            && let (ast::ExprKind::Positional(n), ast::ExprKind::Int { value, .. }) = (&sides[0].kind, &sides[1].kind)
        {
            let text = self.parameter(*n).unwrap_or_default();
            let rest = usize::try_from(*value).ok().and_then(|skip| text.as_bytes().get(skip..)).unwrap_or_default();
            return Some(cut(rest, size, span));
        }
        let e = self.expression(&args[0])?;
        let e = self.value(e)?;
        match (&e.kind, &e.ty) {
            (ExprKind::Str(text), _) => Some(cut(text, size, span)),
            (_, Type::Str { size: capacity }) => {
                // Already a string: at most shortened.
                let size = size.min(*capacity);
                let kind = ExprKind::ReadString { pointer: Box::new(e), max };
                Some(Expr { kind, ty: Type::Str { size }, span })
            }
            (_, Type::Array { elem, len }) if matches!(**elem, Type::Int(IntType { bytes: 1, .. })) => {
                let size = size.min(len.saturating_add(1));
                let kind = ExprKind::ReadString { pointer: Box::new(e), max };
                Some(Expr { kind, ty: Type::Str { size }, span })
            }
            (_, ty) if ty.is_scalar() || *ty == Type::Void => {
                let kind = ExprKind::ReadString { pointer: Box::new(e), max };
                Some(Expr { kind, ty: Type::Str { size }, span })
            }
            (_, ty) => {
                let message = format!(
                    "str() expects an integer or a pointer type as first argument ({} provided)",
                    self.name_of(ty)
                );
                self.error(span, message)
            }
        }
    }

    fn not_negative(&mut self, name: &str, len: &Expr, span: Span) -> Option<()> {
        match len.constant() {
            Some(n) if n < 0 && len.ty.is_signed() => {
                self.error(span, format!("{name}() cannot use negative length ({n})"))
            }
            _ => Some(()),
        }
    }

    fn buf(&mut self, args: &[ast::Expr], span: Span) -> Option<Expr> {
        if args.is_empty() || args.len() > 2 {
            return self.arity("buf", args, 1, 2, span).and(None);
        }
        let most = self.options.config.max_strlen;
        let pointer = self.expression(&args[0])?;
        let pointer = self.value(pointer)?;
        let whole = match &pointer.ty {
            Type::Array { .. } => self.catalog.size_of(&pointer.ty),
            Type::Str { size } => Some(*size),
            ty if ty.is_scalar() || *ty == Type::Void => None,
            other => {
                let message = format!("buf() expects an integer, array or pointer ({} provided)", self.name_of(other));
                return self.error(span, message);
            }
        };
        let (len, size) = match (args.get(1), whole) {
            (Some(len), whole) => {
                let len = self.integer_argument("buf", len, span)?;
                self.not_negative("buf", &len, span)?;
                let most = whole.map_or(most, |w| w.min(most));
                let size = match len.constant() {
                    Some(n) => u32::try_from(n.max(0)).unwrap_or(u32::MAX).min(most),
                    None => most,
                };
                (len, size)
            }
            (None, Some(whole)) => {
                let size = whole.min(most);
                (Expr::int(i64::from(size), Type::I64, span), size)
            }
            (None, None) => {
                return self.error(span, "buf() expects a length argument for non-array type");
            }
        };
        let kind = ExprKind::ReadBuffer { pointer: Box::new(pointer), len: Box::new(len) };
        Some(Expr { kind, ty: Type::Buf { size }, span })
    }

    fn kaddr(&mut self, args: &[ast::Expr], span: Span) -> Option<Expr> {
        self.arity("kaddr", args, 1, 1, span)?;
        let symbol = self.literal("kaddr", &args[0], span)?;
        match self.catalog.host.kernel_symbol(&symbol) {
            Ok(Some(address)) => Some(Expr::int(address as i64, Type::U64, span)),
            Ok(None) => self.error(span, format!("Failed to resolve kernel symbol: {symbol}")),
            Err(e) => self.host_error(span, e),
        }
    }

    fn uaddr(&mut self, args: &[ast::Expr], span: Span) -> Option<Expr> {
        self.arity("uaddr", args, 1, 1, span)?;
        let symbol = self.literal("uaddr", &args[0], span)?;
        let Some(binary) = self.probe.context.binary.clone() else {
            return self.error(span, "uaddr can only be used with u(ret)probes and usdt probes");
        };
        match self.catalog.host.is_position_independent(&binary) {
            Ok(false) => {}
            Ok(true) => {
                let message = format!(
                    "uaddr() cannot tell addresses of {}: it is position-independent, they are chosen when it runs",
                    binary.display()
                );
                return self.error(span, message);
            }
            Err(e) => return self.host_error(span, e),
        }
        match self.catalog.host.user_symbols(&binary, &symbol) {
            Ok(found) => match found.first() {
                Some(found) => {
                    let to = match found.size {
                        1 => Type::U8,
                        2 => Type::U16,
                        4 => Type::U32,
                        _ => Type::U64,
                    };
                    Some(Expr::int(found.address as i64, Type::pointer(to, AddressSpace::User), span))
                }
                None => self.error(span, format!("Could not resolve symbol: {}:{symbol}", binary.display())),
            },
            Err(e) => self.host_error(span, e),
        }
    }

    fn register(&mut self, args: &[ast::Expr], span: Span) -> Option<Expr> {
        self.arity("reg", args, 1, 1, span)?;
        let name = self.literal("reg", &args[0], span)?;
        if !self.probe.context.registers {
            let context = self.probe.context;
            let kind = match (context.kind, &context.probe_name) {
                (ContextKind::Special, Some(name)) => name,
                _ => context.kind.name(),
            };
            return self.error(span, format!("reg can not be used with \"{kind}\" probes"));
        }
        match crate::arch::Arch::native().register(&name) {
            Some(offset) => Some(Expr { kind: ExprKind::Register { offset: u32::from(offset) }, ty: Type::U64, span }),
            None => {
                let message =
                    format!("'{name}' is not a valid register on this architecture ({})", std::env::consts::ARCH);
                self.error(span, message)
            }
        }
    }

    fn string_argument(&mut self, name: &str, arg: &ast::Expr) -> Option<Expr> {
        let e = self.expression(arg)?;
        if matches!(e.ty, Type::Str { .. } | Type::Void) {
            return Some(e);
        }
        let message = format!("{name}() only supports string arguments ({} provided)", self.name_of(&e.ty));
        self.error(e.span, message)
    }

    fn strncmp(&mut self, args: &[ast::Expr], span: Span) -> Option<Expr> {
        if args.len() != 3 {
            return self.error(span, format!("strncmp() requires 3 arguments ({} provided)", args.len()));
        }
        let left = self.string_argument("strncmp", &args[0])?;
        let right = self.string_argument("strncmp", &args[1])?;
        let len = match self.expression(&args[2])?.constant() {
            Some(n) if n >= 0 => u32::try_from(n).unwrap_or(u32::MAX),
            _ => return self.error(span, "Builtin strncmp requires a non-negative literal"),
        };
        let kind = ExprKind::CompareStrings { len, args: Box::new([left, right]) };
        Some(Expr { kind, ty: Type::U64, span })
    }

    fn strftime(&mut self, args: &[ast::Expr], span: Span) -> Option<Expr> {
        self.arity("strftime", args, 2, 2, span)?;
        let format = self.literal("strftime", &args[0], span)?;
        let time = self.integer_argument("strftime", &args[1], span)?;
        let clock = match time.kind {
            ExprKind::Builtin(Builtin::Nsecs(Clock::Tai)) => object::plan::Clock::Tai,
            ExprKind::Builtin(Builtin::Nsecs(Clock::Monotonic)) => object::plan::Clock::Monotonic,
            _ => object::plan::Clock::Boot,
        };
        let ty = Type::Timestamp { format: format.into(), clock };
        Some(Expr { kind: ExprKind::Cast(Box::new(time)), ty, span })
    }

    fn nsecs(&mut self, args: &[ast::Expr], span: Span) -> Option<Expr> {
        self.arity("nsecs", args, 0, 1, span)?;
        let clock = match args.first().map(|a| &a.kind) {
            None => Clock::Boot,
            Some(ast::ExprKind::Ident(mode)) => match mode.as_str() {
                "boot" => Clock::Boot,
                "monotonic" => Clock::Monotonic,
                "tai" | "sw_tai" => Clock::Tai,
                other => return self.error(span, format!("Invalid timestamp mode: {other}")),
            },
            Some(_) => return self.error(span, "nsecs() takes one of monotonic, boot, tai and sw_tai"),
        };
        Some(Expr { kind: ExprKind::Builtin(Builtin::Nsecs(clock)), ty: Type::U64, span })
    }

    fn has_key(&mut self, args: &[ast::Expr], span: Span) -> Option<Expr> {
        self.arity("has_key", args, 2, 2, span)?;
        let ast::ExprKind::Map { name, key } = &args[0].kind else {
            return self.error(span, "has_key() expects a map argument");
        };
        if !key.is_empty() {
            return self.error(span, "has_key() expects a map and a key");
        }
        if self.map_ids.get(name).is_some_and(|id| self.map(*id).keyed == Some(false)) {
            return self.error(span, "call to has_key() expects a map with explicit keys (non-scalar map)");
        }
        let (map, key) = self.map_access(name, std::slice::from_ref(&args[1]), args[0].span)?;
        let key = Box::new(key?);
        Some(Expr { kind: ExprKind::HasKey { map, key }, ty: Type::Bool, span })
    }

    fn signal(&mut self, name: &str, args: &[ast::Expr], span: Span) -> Option<Expr> {
        self.arity(name, args, 1, 1, span)?;
        if matches!(self.probe.context.kind, ContextKind::Special | ContextKind::Interval | ContextKind::Iter) {
            let kind = self.probe.context.kind.name();
            return self.error(span, format!("{name}() can not be used for this probetype {kind}"));
        }
        if !self.options.unsafe_allowed {
            return self.error(span, format!("{name}() is unsafe. To use you need the --unsafe flag"));
        }
        let signal = match &args[0].kind {
            ast::ExprKind::Str(text) => {
                let upper = text.to_ascii_uppercase();
                let short = upper.strip_prefix("SIG").unwrap_or(&upper);
                match SIGNALS.iter().position(|s| *s == short) {
                    Some(index) => Expr::int(index as i64 + 1, Type::I8, args[0].span),
                    None => return self.error(args[0].span, format!("Invalid string for signal: {text}")),
                }
            }
            _ => self.integer_argument(name, &args[0], span)?,
        };
        if signal.constant().is_some_and(|n| !(1..=64).contains(&n)) {
            return self.error(span, "Invalid signal number: it must be between 1 and 64");
        }
        let kind = ExprKind::Signal { signal: Box::new(signal), thread: name == "signal_thread" };
        Some(Expr { kind, ty: Type::I64, span })
    }
}

/// Whether a function gives what a map accumulates.
pub(super) fn is_aggregate(function: &str) -> bool {
    matches!(function, "count" | "sum" | "min" | "max" | "avg" | "stats" | "hist" | "lhist")
}

/// Small numbers in words, as messages have them.
fn words(n: usize) -> String {
    match n {
        1 => "one".to_owned(),
        n => n.to_string(),
    }
}

fn is_keyed_map(e: &ast::Expr) -> bool {
    matches!(&e.kind, ast::ExprKind::Map { key, .. } if !key.is_empty())
}

/// A literal of at most `size - 1` bytes.
fn cut(text: &[u8], size: u32, span: Span) -> Expr {
    let len = text.len().min(size.saturating_sub(1) as usize);
    string(&text[..len], span)
}
