//! A program as it is to be loaded.

use crate::Code;

/// A BPF program. Numbers are those of `isa::uapi::prog_type` and
/// `isa::uapi::attach_type`.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// libbpf's section name (`tracepoint/sched/sched_switch`).
    pub section: String,
    pub prog_type: u32,
    pub expected_attach_type: u32,
    /// The kernel function or type that tracing programs (fentry, tp_btf, iter,
    /// LSM) are loaded against.
    pub target: Option<Target>,
    pub sleepable: bool,
    pub code: Code,
}

/// A BTF target of a tracing program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `None` for vmlinux.
    pub module: Option<String>,
    /// Name as BTF has it (`vfs_read`, `btf_trace_sched_switch`, `bpf_iter_task`).
    pub name: String,
    /// Its id in the BTF of that module.
    pub btf_id: u32,
}
