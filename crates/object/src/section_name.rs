//! What a program is, from the name of its ELF section.
//!
//! Source: libbpf 1.6, the table of program types and their section names in
//! `Documentation/bpf/libbpf/program_types.rst`.

use isa::uapi::{attach_type as attach, prog_type as prog};

/// What the name of a section says about its programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionKind {
    /// `isa::uapi::prog_type`.
    pub prog_type: u32,
    /// `isa::uapi::attach_type`; 0 where there is none.
    pub attach_type: u32,
    pub sleepable: bool,
    /// The BTF type that programs are loaded against, as BTF has its name.
    pub target: Option<String>,
}

/// A row of the table.
struct Row {
    name: &'static str,
    /// More may follow after a `/`.
    prefix: bool,
    prog_type: u32,
    attach_type: u32,
    sleepable: bool,
    /// What stands before the target's name in BTF; `None`: no target.
    target: Option<&'static str>,
}

const fn exact(name: &'static str, prog_type: u32, attach_type: u32) -> Row {
    Row { name, prefix: false, prog_type, attach_type, sleepable: false, target: None }
}

const fn prefix(name: &'static str, prog_type: u32, attach_type: u32) -> Row {
    Row { prefix: true, ..exact(name, prog_type, attach_type) }
}

impl Row {
    const fn sleepable(self) -> Row {
        Row { sleepable: true, ..self }
    }

    const fn target(self, prefix: &'static str) -> Row {
        Row { target: Some(prefix), ..self }
    }
}

/// What programs in a section of this name are; `None` for a name that is not known.
pub fn section_kind(section: &str) -> Option<SectionKind> {
    // A leading `?` means that libbpf does not load the program by itself.
    let section = section.strip_prefix('?').unwrap_or(section);
    ROWS.iter().find_map(|row| {
        let rest = section.strip_prefix(row.name)?;
        let target = match rest.strip_prefix('/') {
            Some(target) if row.prefix => target,
            None if rest.is_empty() => "",
            _ => return None,
        };
        Some(SectionKind {
            prog_type: row.prog_type,
            attach_type: row.attach_type,
            sleepable: row.sleepable,
            target: row.target.filter(|_| !target.is_empty()).map(|prefix| format!("{prefix}{target}")),
        })
    })
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    exact("socket", prog::SOCKET_FILTER, 0),
    exact("sk_reuseport/migrate", prog::SK_REUSEPORT, attach::SK_REUSEPORT_SELECT_OR_MIGRATE),
    exact("sk_reuseport", prog::SK_REUSEPORT, attach::SK_REUSEPORT_SELECT),
    prefix("kprobe", prog::KPROBE, 0),
    prefix("uprobe", prog::KPROBE, 0),
    prefix("uprobe.s", prog::KPROBE, 0).sleepable(),
    prefix("kretprobe", prog::KPROBE, 0),
    prefix("uretprobe", prog::KPROBE, 0),
    prefix("uretprobe.s", prog::KPROBE, 0).sleepable(),
    prefix("kprobe.multi", prog::KPROBE, attach::TRACE_KPROBE_MULTI),
    prefix("kretprobe.multi", prog::KPROBE, attach::TRACE_KPROBE_MULTI),
    prefix("kprobe.session", prog::KPROBE, attach::TRACE_KPROBE_SESSION),
    prefix("uprobe.multi", prog::KPROBE, attach::TRACE_UPROBE_MULTI),
    prefix("uretprobe.multi", prog::KPROBE, attach::TRACE_UPROBE_MULTI),
    prefix("uprobe.session", prog::KPROBE, attach::TRACE_UPROBE_SESSION),
    prefix("uprobe.multi.s", prog::KPROBE, attach::TRACE_UPROBE_MULTI).sleepable(),
    prefix("uretprobe.multi.s", prog::KPROBE, attach::TRACE_UPROBE_MULTI).sleepable(),
    prefix("uprobe.session.s", prog::KPROBE, attach::TRACE_UPROBE_SESSION).sleepable(),
    prefix("ksyscall", prog::KPROBE, 0),
    prefix("kretsyscall", prog::KPROBE, 0),
    prefix("usdt", prog::KPROBE, 0),
    prefix("usdt.s", prog::KPROBE, 0).sleepable(),
    exact("tc/ingress", prog::SCHED_CLS, attach::TCX_INGRESS),
    exact("tc/egress", prog::SCHED_CLS, attach::TCX_EGRESS),
    exact("tcx/ingress", prog::SCHED_CLS, attach::TCX_INGRESS),
    exact("tcx/egress", prog::SCHED_CLS, attach::TCX_EGRESS),
    exact("tc", prog::SCHED_CLS, 0),
    exact("classifier", prog::SCHED_CLS, 0),
    exact("action", prog::SCHED_ACT, 0),
    exact("netkit/primary", prog::SCHED_CLS, attach::NETKIT_PRIMARY),
    exact("netkit/peer", prog::SCHED_CLS, attach::NETKIT_PEER),
    prefix("tracepoint", prog::TRACEPOINT, 0),
    prefix("tp", prog::TRACEPOINT, 0),
    prefix("raw_tracepoint", prog::RAW_TRACEPOINT, 0),
    prefix("raw_tp", prog::RAW_TRACEPOINT, 0),
    prefix("raw_tracepoint.w", prog::RAW_TRACEPOINT_WRITABLE, 0),
    prefix("raw_tp.w", prog::RAW_TRACEPOINT_WRITABLE, 0),
    prefix("tp_btf", prog::TRACING, attach::TRACE_RAW_TP).target("btf_trace_"),
    prefix("fentry", prog::TRACING, attach::TRACE_FENTRY).target(""),
    prefix("fmod_ret", prog::TRACING, attach::MODIFY_RETURN).target(""),
    prefix("fexit", prog::TRACING, attach::TRACE_FEXIT).target(""),
    prefix("fentry.s", prog::TRACING, attach::TRACE_FENTRY).sleepable().target(""),
    prefix("fmod_ret.s", prog::TRACING, attach::MODIFY_RETURN).sleepable().target(""),
    prefix("fexit.s", prog::TRACING, attach::TRACE_FEXIT).sleepable().target(""),
    prefix("freplace", prog::EXT, 0).target(""),
    prefix("lsm", prog::LSM, attach::LSM_MAC).target("bpf_lsm_"),
    prefix("lsm.s", prog::LSM, attach::LSM_MAC).sleepable().target("bpf_lsm_"),
    prefix("lsm_cgroup", prog::LSM, attach::LSM_CGROUP).target("bpf_lsm_"),
    prefix("iter", prog::TRACING, attach::TRACE_ITER).target("bpf_iter_"),
    prefix("iter.s", prog::TRACING, attach::TRACE_ITER).sleepable().target("bpf_iter_"),
    exact("syscall", prog::SYSCALL, 0).sleepable(),
    exact("xdp.frags/devmap", prog::XDP, attach::XDP_DEVMAP),
    exact("xdp/devmap", prog::XDP, attach::XDP_DEVMAP),
    exact("xdp.frags/cpumap", prog::XDP, attach::XDP_CPUMAP),
    exact("xdp/cpumap", prog::XDP, attach::XDP_CPUMAP),
    exact("xdp.frags", prog::XDP, attach::XDP),
    exact("xdp", prog::XDP, attach::XDP),
    exact("perf_event", prog::PERF_EVENT, 0),
    exact("lwt_in", prog::LWT_IN, 0),
    exact("lwt_out", prog::LWT_OUT, 0),
    exact("lwt_xmit", prog::LWT_XMIT, 0),
    exact("lwt_seg6local", prog::LWT_SEG6LOCAL, 0),
    exact("sockops", prog::SOCK_OPS, attach::CGROUP_SOCK_OPS),
    exact("sk_skb/stream_parser", prog::SK_SKB, attach::SK_SKB_STREAM_PARSER),
    exact("sk_skb/stream_verdict", prog::SK_SKB, attach::SK_SKB_STREAM_VERDICT),
    exact("sk_skb/verdict", prog::SK_SKB, attach::SK_SKB_VERDICT),
    exact("sk_skb", prog::SK_SKB, 0),
    exact("sk_msg", prog::SK_MSG, attach::SK_MSG_VERDICT),
    exact("lirc_mode2", prog::LIRC_MODE2, attach::LIRC_MODE2),
    exact("flow_dissector", prog::FLOW_DISSECTOR, attach::FLOW_DISSECTOR),
    exact("cgroup_skb/ingress", prog::CGROUP_SKB, attach::CGROUP_INET_INGRESS),
    exact("cgroup_skb/egress", prog::CGROUP_SKB, attach::CGROUP_INET_EGRESS),
    exact("cgroup/skb", prog::CGROUP_SKB, 0),
    exact("cgroup/sock_create", prog::CGROUP_SOCK, attach::CGROUP_INET_SOCK_CREATE),
    exact("cgroup/sock_release", prog::CGROUP_SOCK, attach::CGROUP_INET_SOCK_RELEASE),
    exact("cgroup/sock", prog::CGROUP_SOCK, attach::CGROUP_INET_SOCK_CREATE),
    exact("cgroup/post_bind4", prog::CGROUP_SOCK, attach::CGROUP_INET4_POST_BIND),
    exact("cgroup/post_bind6", prog::CGROUP_SOCK, attach::CGROUP_INET6_POST_BIND),
    exact("cgroup/bind4", prog::CGROUP_SOCK_ADDR, attach::CGROUP_INET4_BIND),
    exact("cgroup/bind6", prog::CGROUP_SOCK_ADDR, attach::CGROUP_INET6_BIND),
    exact("cgroup/connect4", prog::CGROUP_SOCK_ADDR, attach::CGROUP_INET4_CONNECT),
    exact("cgroup/connect6", prog::CGROUP_SOCK_ADDR, attach::CGROUP_INET6_CONNECT),
    exact("cgroup/connect_unix", prog::CGROUP_SOCK_ADDR, attach::CGROUP_UNIX_CONNECT),
    exact("cgroup/sendmsg4", prog::CGROUP_SOCK_ADDR, attach::CGROUP_UDP4_SENDMSG),
    exact("cgroup/sendmsg6", prog::CGROUP_SOCK_ADDR, attach::CGROUP_UDP6_SENDMSG),
    exact("cgroup/sendmsg_unix", prog::CGROUP_SOCK_ADDR, attach::CGROUP_UNIX_SENDMSG),
    exact("cgroup/recvmsg4", prog::CGROUP_SOCK_ADDR, attach::CGROUP_UDP4_RECVMSG),
    exact("cgroup/recvmsg6", prog::CGROUP_SOCK_ADDR, attach::CGROUP_UDP6_RECVMSG),
    exact("cgroup/recvmsg_unix", prog::CGROUP_SOCK_ADDR, attach::CGROUP_UNIX_RECVMSG),
    exact("cgroup/getpeername4", prog::CGROUP_SOCK_ADDR, attach::CGROUP_INET4_GETPEERNAME),
    exact("cgroup/getpeername6", prog::CGROUP_SOCK_ADDR, attach::CGROUP_INET6_GETPEERNAME),
    exact("cgroup/getpeername_unix", prog::CGROUP_SOCK_ADDR, attach::CGROUP_UNIX_GETPEERNAME),
    exact("cgroup/getsockname4", prog::CGROUP_SOCK_ADDR, attach::CGROUP_INET4_GETSOCKNAME),
    exact("cgroup/getsockname6", prog::CGROUP_SOCK_ADDR, attach::CGROUP_INET6_GETSOCKNAME),
    exact("cgroup/getsockname_unix", prog::CGROUP_SOCK_ADDR, attach::CGROUP_UNIX_GETSOCKNAME),
    exact("cgroup/sysctl", prog::CGROUP_SYSCTL, attach::CGROUP_SYSCTL),
    exact("cgroup/getsockopt", prog::CGROUP_SOCKOPT, attach::CGROUP_GETSOCKOPT),
    exact("cgroup/setsockopt", prog::CGROUP_SOCKOPT, attach::CGROUP_SETSOCKOPT),
    exact("cgroup/dev", prog::CGROUP_DEVICE, attach::CGROUP_DEVICE),
    prefix("struct_ops", prog::STRUCT_OPS, attach::STRUCT_OPS),
    prefix("struct_ops.s", prog::STRUCT_OPS, attach::STRUCT_OPS).sleepable(),
    exact("sk_lookup", prog::SK_LOOKUP, attach::SK_LOOKUP),
    exact("netfilter", prog::NETFILTER, attach::NETFILTER),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let kind = |name| section_kind(name).map(|k| (k.prog_type, k.attach_type, k.sleepable, k.target));
        let target = |name: &str| Some(name.to_owned());
        assert_eq!(kind("tracepoint/sched/sched_switch"), Some((prog::TRACEPOINT, 0, false, None)));
        assert_eq!(kind("kprobe"), Some((prog::KPROBE, 0, false, None)));
        assert_eq!(kind("kprobe.multi/vfs_*"), Some((prog::KPROBE, attach::TRACE_KPROBE_MULTI, false, None)));
        assert_eq!(kind("uprobe.multi.s/libc:x"), Some((prog::KPROBE, attach::TRACE_UPROBE_MULTI, true, None)));
        assert_eq!(kind("fentry/vfs_read"), Some((prog::TRACING, attach::TRACE_FENTRY, false, target("vfs_read"))));
        assert_eq!(
            kind("tp_btf/sched_switch"),
            Some((prog::TRACING, attach::TRACE_RAW_TP, false, target("btf_trace_sched_switch")))
        );
        assert_eq!(kind("iter.s/task"), Some((prog::TRACING, attach::TRACE_ITER, true, target("bpf_iter_task"))));
        assert_eq!(kind("xdp"), Some((prog::XDP, attach::XDP, false, None)));
        assert_eq!(kind("?xdp.frags/devmap"), Some((prog::XDP, attach::XDP_DEVMAP, false, None)));
        for unknown in ["", "kprobes/x", "xdp/other", ".text", "maps", "tc/"] {
            assert_eq!(kind(unknown), None, "{unknown}");
        }
    }
}
