//! Types that tracing programs attach to by id: raw tracepoints and iterators.

use crate::kind::Kind;
use crate::{Btf, Param, Type};

/// The prefix of the typedefs that the kernel makes for each tracepoint
/// (`include/trace/bpf_probe.h`), which `BPF_TRACE_RAW_TP` attaches to.
pub const RAW_TRACEPOINT_PREFIX: &str = "btf_trace_";

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
        let pointer = self.get(typedef.target()?).ok()?;
        let proto = self.get(pointer.target()?).ok()?;
        // The first parameter, `void *__data`, is not passed to programs.
        let mut params: Vec<Param<'b>> = proto.params().skip(1).collect();
        // Prototypes behind pointers have no parameter names; functions with the same parameters do.
        let functions = ["__probestub_", "__traceiter_", "trace_event_raw_event_"];
        if params.iter().any(|param| param.name.is_empty())
            && let Some(named) = functions
                .iter()
                .filter_map(|prefix| self.find_own(&format!("{prefix}{name}"), Kind::Func))
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
