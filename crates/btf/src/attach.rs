//! Types that tracing programs attach to by id: raw tracepoints and iterators.

use std::collections::HashMap;

use crate::kind::Kind;
use crate::{Btf, Param, Type};

/// The prefix of the typedefs that the kernel makes for each tracepoint
/// (`include/trace/bpf_probe.h`), which `BPF_TRACE_RAW_TP` attaches to.
pub const RAW_TRACEPOINT_PREFIX: &str = "btf_trace_";

/// Functions with a tracepoint's parameters, by what stands before its name.
const NAMING_FUNCTIONS: [&str; 3] = ["__probestub_", "__traceiter_", "trace_event_raw_event_"];

/// The prefix of the structs that are the contexts of iterators
/// (`DEFINE_BPF_ITER_FUNC` of `include/linux/bpf.h` makes the function `bpf_iter_X`, which `BPF_TRACE_ITER` attaches to).
pub const ITERATOR_CONTEXT_PREFIX: &str = "bpf_iter__";

/// A tracepoint as `BPF_TRACE_RAW_TP` programs see it.
#[derive(Clone, Debug)]
pub struct RawTracepoint<'b> {
    /// `btf_trace_NAME`; its id is what a program attaches to.
    pub typedef: Type<'b>,
    /// What the tracepoint passes on, in order. Names are empty where no function
    /// of the kernel tells them.
    pub params: Vec<Param<'b>>,
}

impl<'d> Btf<'d> {
    /// A raw tracepoint of this BTF (not of its base) by its name.
    pub fn raw_tracepoint<'b>(&'b self, name: &str) -> Option<RawTracepoint<'b>> {
        let typedef = self.find_own(&format!("{RAW_TRACEPOINT_PREFIX}{name}"), Kind::Typedef)?;
        self.raw_tracepoint_of(typedef, name, |function| self.find_own(function, Kind::Func))
    }

    /// The raw tracepoints for whose names `wanted` holds, with what they give, in order of
    /// their types' ids. One walk over the types, where asking for each by name takes several.
    pub fn raw_tracepoints_in_full<'b>(&'b self, wanted: impl Fn(&str) -> bool) -> Vec<(&'b str, RawTracepoint<'b>)> {
        let mut typedefs = Vec::new();
        let mut functions = HashMap::new();
        for ty in self.own_types() {
            match ty.kind {
                Kind::Typedef => typedefs.extend(
                    ty.name().strip_prefix(RAW_TRACEPOINT_PREFIX).filter(|name| wanted(name)).map(|name| (name, ty)),
                ),
                Kind::Func if NAMING_FUNCTIONS.iter().any(|prefix| ty.name().starts_with(prefix)) => {
                    functions.entry(ty.name()).or_insert(ty);
                }
                _ => {}
            }
        }
        let in_full = |(name, typedef)| {
            Some((name, self.raw_tracepoint_of(typedef, name, |function| functions.get(function).copied())?))
        };
        typedefs.into_iter().filter_map(in_full).collect()
    }

    fn raw_tracepoint_of<'b>(
        &'b self,
        typedef: Type<'b>,
        name: &str,
        function: impl Fn(&str) -> Option<Type<'b>>,
    ) -> Option<RawTracepoint<'b>> {
        let pointer = self.get(typedef.target()?).ok()?;
        let proto = self.get(pointer.target()?).ok()?;
        // The first parameter, `void *__data`, is not passed to programs.
        let mut params: Vec<Param<'b>> = proto.params().skip(1).collect();
        // Prototypes behind pointers have no parameter names; functions with the same parameters do.
        if params.iter().any(|param| param.name.is_empty())
            && let Some(named) = NAMING_FUNCTIONS
                .iter()
                .filter_map(|prefix| function(&format!("{prefix}{name}")))
                .find(|function| function.params().len() == params.len() + 1)
        {
            for (param, named) in params.iter_mut().zip(named.params().skip(1)) {
                param.name = named.name;
            }
        }
        Some(RawTracepoint { typedef, params })
    }

    /// Names of this BTF's own raw tracepoints, in order of their types' ids.
    pub fn raw_tracepoints<'b>(&'b self) -> impl Iterator<Item = &'b str> + use<'b, 'd> {
        self.own_types()
            .filter(|ty| ty.kind == Kind::Typedef)
            .filter_map(|ty| ty.name().strip_prefix(RAW_TRACEPOINT_PREFIX))
    }

    /// The context of an iterator (`task`, `bpf_map`) by its name: its members
    /// are what the program is given.
    pub fn iterator_context<'b>(&'b self, name: &str) -> Option<Type<'b>> {
        self.find_own(&format!("{ITERATOR_CONTEXT_PREFIX}{name}"), Kind::Struct)
    }

    /// Names of this BTF's own iterators, in order of their types' ids.
    pub fn iterators<'b>(&'b self) -> impl Iterator<Item = &'b str> + use<'b, 'd> {
        self.own_types()
            .filter(|ty| ty.kind == Kind::Struct)
            .filter_map(|ty| ty.name().strip_prefix(ITERATOR_CONTEXT_PREFIX))
    }
}
