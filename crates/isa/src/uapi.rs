//! Numbers of the kernel's `bpf(2)` interface (`include/uapi/linux/bpf.h`),
//! generated from the kernel's own type information by `cargo xtask uapi`;
//! do not edit by hand. Source: Linux 6.18.
#![allow(non_upper_case_globals)]

/// `enum bpf_cmd`.
pub mod cmd {
    pub const MAP_CREATE: u32 = 0;
    pub const MAP_LOOKUP_ELEM: u32 = 1;
    pub const MAP_UPDATE_ELEM: u32 = 2;
    pub const MAP_DELETE_ELEM: u32 = 3;
    pub const MAP_GET_NEXT_KEY: u32 = 4;
    pub const PROG_LOAD: u32 = 5;
    pub const OBJ_PIN: u32 = 6;
    pub const OBJ_GET: u32 = 7;
    pub const PROG_ATTACH: u32 = 8;
    pub const PROG_DETACH: u32 = 9;
    pub const PROG_TEST_RUN: u32 = 10;
    pub const PROG_RUN: u32 = 10;
    pub const PROG_GET_NEXT_ID: u32 = 11;
    pub const MAP_GET_NEXT_ID: u32 = 12;
    pub const PROG_GET_FD_BY_ID: u32 = 13;
    pub const MAP_GET_FD_BY_ID: u32 = 14;
    pub const OBJ_GET_INFO_BY_FD: u32 = 15;
    pub const PROG_QUERY: u32 = 16;
    pub const RAW_TRACEPOINT_OPEN: u32 = 17;
    pub const BTF_LOAD: u32 = 18;
    pub const BTF_GET_FD_BY_ID: u32 = 19;
    pub const TASK_FD_QUERY: u32 = 20;
    pub const MAP_LOOKUP_AND_DELETE_ELEM: u32 = 21;
    pub const MAP_FREEZE: u32 = 22;
    pub const BTF_GET_NEXT_ID: u32 = 23;
    pub const MAP_LOOKUP_BATCH: u32 = 24;
    pub const MAP_LOOKUP_AND_DELETE_BATCH: u32 = 25;
    pub const MAP_UPDATE_BATCH: u32 = 26;
    pub const MAP_DELETE_BATCH: u32 = 27;
    pub const LINK_CREATE: u32 = 28;
    pub const LINK_UPDATE: u32 = 29;
    pub const LINK_GET_FD_BY_ID: u32 = 30;
    pub const LINK_GET_NEXT_ID: u32 = 31;
    pub const ENABLE_STATS: u32 = 32;
    pub const ITER_CREATE: u32 = 33;
    pub const LINK_DETACH: u32 = 34;
    pub const PROG_BIND_MAP: u32 = 35;
    pub const TOKEN_CREATE: u32 = 36;
    pub const PROG_STREAM_READ_BY_FD: u32 = 37;
}

/// `enum bpf_map_type`.
pub mod map_type {
    pub const UNSPEC: u32 = 0;
    pub const HASH: u32 = 1;
    pub const ARRAY: u32 = 2;
    pub const PROG_ARRAY: u32 = 3;
    pub const PERF_EVENT_ARRAY: u32 = 4;
    pub const PERCPU_HASH: u32 = 5;
    pub const PERCPU_ARRAY: u32 = 6;
    pub const STACK_TRACE: u32 = 7;
    pub const CGROUP_ARRAY: u32 = 8;
    pub const LRU_HASH: u32 = 9;
    pub const LRU_PERCPU_HASH: u32 = 10;
    pub const LPM_TRIE: u32 = 11;
    pub const ARRAY_OF_MAPS: u32 = 12;
    pub const HASH_OF_MAPS: u32 = 13;
    pub const DEVMAP: u32 = 14;
    pub const SOCKMAP: u32 = 15;
    pub const CPUMAP: u32 = 16;
    pub const XSKMAP: u32 = 17;
    pub const SOCKHASH: u32 = 18;
    pub const CGROUP_STORAGE_DEPRECATED: u32 = 19;
    pub const CGROUP_STORAGE: u32 = 19;
    pub const REUSEPORT_SOCKARRAY: u32 = 20;
    pub const PERCPU_CGROUP_STORAGE_DEPRECATED: u32 = 21;
    pub const PERCPU_CGROUP_STORAGE: u32 = 21;
    pub const QUEUE: u32 = 22;
    pub const STACK: u32 = 23;
    pub const SK_STORAGE: u32 = 24;
    pub const DEVMAP_HASH: u32 = 25;
    pub const STRUCT_OPS: u32 = 26;
    pub const RINGBUF: u32 = 27;
    pub const INODE_STORAGE: u32 = 28;
    pub const TASK_STORAGE: u32 = 29;
    pub const BLOOM_FILTER: u32 = 30;
    pub const USER_RINGBUF: u32 = 31;
    pub const CGRP_STORAGE: u32 = 32;
    pub const ARENA: u32 = 33;
}

/// `enum bpf_prog_type`.
pub mod prog_type {
    pub const UNSPEC: u32 = 0;
    pub const SOCKET_FILTER: u32 = 1;
    pub const KPROBE: u32 = 2;
    pub const SCHED_CLS: u32 = 3;
    pub const SCHED_ACT: u32 = 4;
    pub const TRACEPOINT: u32 = 5;
    pub const XDP: u32 = 6;
    pub const PERF_EVENT: u32 = 7;
    pub const CGROUP_SKB: u32 = 8;
    pub const CGROUP_SOCK: u32 = 9;
    pub const LWT_IN: u32 = 10;
    pub const LWT_OUT: u32 = 11;
    pub const LWT_XMIT: u32 = 12;
    pub const SOCK_OPS: u32 = 13;
    pub const SK_SKB: u32 = 14;
    pub const CGROUP_DEVICE: u32 = 15;
    pub const SK_MSG: u32 = 16;
    pub const RAW_TRACEPOINT: u32 = 17;
    pub const CGROUP_SOCK_ADDR: u32 = 18;
    pub const LWT_SEG6LOCAL: u32 = 19;
    pub const LIRC_MODE2: u32 = 20;
    pub const SK_REUSEPORT: u32 = 21;
    pub const FLOW_DISSECTOR: u32 = 22;
    pub const CGROUP_SYSCTL: u32 = 23;
    pub const RAW_TRACEPOINT_WRITABLE: u32 = 24;
    pub const CGROUP_SOCKOPT: u32 = 25;
    pub const TRACING: u32 = 26;
    pub const STRUCT_OPS: u32 = 27;
    pub const EXT: u32 = 28;
    pub const LSM: u32 = 29;
    pub const SK_LOOKUP: u32 = 30;
    pub const SYSCALL: u32 = 31;
    pub const NETFILTER: u32 = 32;
}

/// `enum bpf_attach_type`.
pub mod attach_type {
    pub const CGROUP_INET_INGRESS: u32 = 0;
    pub const CGROUP_INET_EGRESS: u32 = 1;
    pub const CGROUP_INET_SOCK_CREATE: u32 = 2;
    pub const CGROUP_SOCK_OPS: u32 = 3;
    pub const SK_SKB_STREAM_PARSER: u32 = 4;
    pub const SK_SKB_STREAM_VERDICT: u32 = 5;
    pub const CGROUP_DEVICE: u32 = 6;
    pub const SK_MSG_VERDICT: u32 = 7;
    pub const CGROUP_INET4_BIND: u32 = 8;
    pub const CGROUP_INET6_BIND: u32 = 9;
    pub const CGROUP_INET4_CONNECT: u32 = 10;
    pub const CGROUP_INET6_CONNECT: u32 = 11;
    pub const CGROUP_INET4_POST_BIND: u32 = 12;
    pub const CGROUP_INET6_POST_BIND: u32 = 13;
    pub const CGROUP_UDP4_SENDMSG: u32 = 14;
    pub const CGROUP_UDP6_SENDMSG: u32 = 15;
    pub const LIRC_MODE2: u32 = 16;
    pub const FLOW_DISSECTOR: u32 = 17;
    pub const CGROUP_SYSCTL: u32 = 18;
    pub const CGROUP_UDP4_RECVMSG: u32 = 19;
    pub const CGROUP_UDP6_RECVMSG: u32 = 20;
    pub const CGROUP_GETSOCKOPT: u32 = 21;
    pub const CGROUP_SETSOCKOPT: u32 = 22;
    pub const TRACE_RAW_TP: u32 = 23;
    pub const TRACE_FENTRY: u32 = 24;
    pub const TRACE_FEXIT: u32 = 25;
    pub const MODIFY_RETURN: u32 = 26;
    pub const LSM_MAC: u32 = 27;
    pub const TRACE_ITER: u32 = 28;
    pub const CGROUP_INET4_GETPEERNAME: u32 = 29;
    pub const CGROUP_INET6_GETPEERNAME: u32 = 30;
    pub const CGROUP_INET4_GETSOCKNAME: u32 = 31;
    pub const CGROUP_INET6_GETSOCKNAME: u32 = 32;
    pub const XDP_DEVMAP: u32 = 33;
    pub const CGROUP_INET_SOCK_RELEASE: u32 = 34;
    pub const XDP_CPUMAP: u32 = 35;
    pub const SK_LOOKUP: u32 = 36;
    pub const XDP: u32 = 37;
    pub const SK_SKB_VERDICT: u32 = 38;
    pub const SK_REUSEPORT_SELECT: u32 = 39;
    pub const SK_REUSEPORT_SELECT_OR_MIGRATE: u32 = 40;
    pub const PERF_EVENT: u32 = 41;
    pub const TRACE_KPROBE_MULTI: u32 = 42;
    pub const LSM_CGROUP: u32 = 43;
    pub const STRUCT_OPS: u32 = 44;
    pub const NETFILTER: u32 = 45;
    pub const TCX_INGRESS: u32 = 46;
    pub const TCX_EGRESS: u32 = 47;
    pub const TRACE_UPROBE_MULTI: u32 = 48;
    pub const CGROUP_UNIX_CONNECT: u32 = 49;
    pub const CGROUP_UNIX_SENDMSG: u32 = 50;
    pub const CGROUP_UNIX_RECVMSG: u32 = 51;
    pub const CGROUP_UNIX_GETPEERNAME: u32 = 52;
    pub const CGROUP_UNIX_GETSOCKNAME: u32 = 53;
    pub const NETKIT_PRIMARY: u32 = 54;
    pub const NETKIT_PEER: u32 = 55;
    pub const TRACE_KPROBE_SESSION: u32 = 56;
    pub const TRACE_UPROBE_SESSION: u32 = 57;
}

/// `enum bpf_func_id`.
pub mod helper {
    pub const unspec: u32 = 0;
    pub const map_lookup_elem: u32 = 1;
    pub const map_update_elem: u32 = 2;
    pub const map_delete_elem: u32 = 3;
    pub const probe_read: u32 = 4;
    pub const ktime_get_ns: u32 = 5;
    pub const trace_printk: u32 = 6;
    pub const get_prandom_u32: u32 = 7;
    pub const get_smp_processor_id: u32 = 8;
    pub const skb_store_bytes: u32 = 9;
    pub const l3_csum_replace: u32 = 10;
    pub const l4_csum_replace: u32 = 11;
    pub const tail_call: u32 = 12;
    pub const clone_redirect: u32 = 13;
    pub const get_current_pid_tgid: u32 = 14;
    pub const get_current_uid_gid: u32 = 15;
    pub const get_current_comm: u32 = 16;
    pub const get_cgroup_classid: u32 = 17;
    pub const skb_vlan_push: u32 = 18;
    pub const skb_vlan_pop: u32 = 19;
    pub const skb_get_tunnel_key: u32 = 20;
    pub const skb_set_tunnel_key: u32 = 21;
    pub const perf_event_read: u32 = 22;
    pub const redirect: u32 = 23;
    pub const get_route_realm: u32 = 24;
    pub const perf_event_output: u32 = 25;
    pub const skb_load_bytes: u32 = 26;
    pub const get_stackid: u32 = 27;
    pub const csum_diff: u32 = 28;
    pub const skb_get_tunnel_opt: u32 = 29;
    pub const skb_set_tunnel_opt: u32 = 30;
    pub const skb_change_proto: u32 = 31;
    pub const skb_change_type: u32 = 32;
    pub const skb_under_cgroup: u32 = 33;
    pub const get_hash_recalc: u32 = 34;
    pub const get_current_task: u32 = 35;
    pub const probe_write_user: u32 = 36;
    pub const current_task_under_cgroup: u32 = 37;
    pub const skb_change_tail: u32 = 38;
    pub const skb_pull_data: u32 = 39;
    pub const csum_update: u32 = 40;
    pub const set_hash_invalid: u32 = 41;
    pub const get_numa_node_id: u32 = 42;
    pub const skb_change_head: u32 = 43;
    pub const xdp_adjust_head: u32 = 44;
    pub const probe_read_str: u32 = 45;
    pub const get_socket_cookie: u32 = 46;
    pub const get_socket_uid: u32 = 47;
    pub const set_hash: u32 = 48;
    pub const setsockopt: u32 = 49;
    pub const skb_adjust_room: u32 = 50;
    pub const redirect_map: u32 = 51;
    pub const sk_redirect_map: u32 = 52;
    pub const sock_map_update: u32 = 53;
    pub const xdp_adjust_meta: u32 = 54;
    pub const perf_event_read_value: u32 = 55;
    pub const perf_prog_read_value: u32 = 56;
    pub const getsockopt: u32 = 57;
    pub const override_return: u32 = 58;
    pub const sock_ops_cb_flags_set: u32 = 59;
    pub const msg_redirect_map: u32 = 60;
    pub const msg_apply_bytes: u32 = 61;
    pub const msg_cork_bytes: u32 = 62;
    pub const msg_pull_data: u32 = 63;
    pub const bind: u32 = 64;
    pub const xdp_adjust_tail: u32 = 65;
    pub const skb_get_xfrm_state: u32 = 66;
    pub const get_stack: u32 = 67;
    pub const skb_load_bytes_relative: u32 = 68;
    pub const fib_lookup: u32 = 69;
    pub const sock_hash_update: u32 = 70;
    pub const msg_redirect_hash: u32 = 71;
    pub const sk_redirect_hash: u32 = 72;
    pub const lwt_push_encap: u32 = 73;
    pub const lwt_seg6_store_bytes: u32 = 74;
    pub const lwt_seg6_adjust_srh: u32 = 75;
    pub const lwt_seg6_action: u32 = 76;
    pub const rc_repeat: u32 = 77;
    pub const rc_keydown: u32 = 78;
    pub const skb_cgroup_id: u32 = 79;
    pub const get_current_cgroup_id: u32 = 80;
    pub const get_local_storage: u32 = 81;
    pub const sk_select_reuseport: u32 = 82;
    pub const skb_ancestor_cgroup_id: u32 = 83;
    pub const sk_lookup_tcp: u32 = 84;
    pub const sk_lookup_udp: u32 = 85;
    pub const sk_release: u32 = 86;
    pub const map_push_elem: u32 = 87;
    pub const map_pop_elem: u32 = 88;
    pub const map_peek_elem: u32 = 89;
    pub const msg_push_data: u32 = 90;
    pub const msg_pop_data: u32 = 91;
    pub const rc_pointer_rel: u32 = 92;
    pub const spin_lock: u32 = 93;
    pub const spin_unlock: u32 = 94;
    pub const sk_fullsock: u32 = 95;
    pub const tcp_sock: u32 = 96;
    pub const skb_ecn_set_ce: u32 = 97;
    pub const get_listener_sock: u32 = 98;
    pub const skc_lookup_tcp: u32 = 99;
    pub const tcp_check_syncookie: u32 = 100;
    pub const sysctl_get_name: u32 = 101;
    pub const sysctl_get_current_value: u32 = 102;
    pub const sysctl_get_new_value: u32 = 103;
    pub const sysctl_set_new_value: u32 = 104;
    pub const strtol: u32 = 105;
    pub const strtoul: u32 = 106;
    pub const sk_storage_get: u32 = 107;
    pub const sk_storage_delete: u32 = 108;
    pub const send_signal: u32 = 109;
    pub const tcp_gen_syncookie: u32 = 110;
    pub const skb_output: u32 = 111;
    pub const probe_read_user: u32 = 112;
    pub const probe_read_kernel: u32 = 113;
    pub const probe_read_user_str: u32 = 114;
    pub const probe_read_kernel_str: u32 = 115;
    pub const tcp_send_ack: u32 = 116;
    pub const send_signal_thread: u32 = 117;
    pub const jiffies64: u32 = 118;
    pub const read_branch_records: u32 = 119;
    pub const get_ns_current_pid_tgid: u32 = 120;
    pub const xdp_output: u32 = 121;
    pub const get_netns_cookie: u32 = 122;
    pub const get_current_ancestor_cgroup_id: u32 = 123;
    pub const sk_assign: u32 = 124;
    pub const ktime_get_boot_ns: u32 = 125;
    pub const seq_printf: u32 = 126;
    pub const seq_write: u32 = 127;
    pub const sk_cgroup_id: u32 = 128;
    pub const sk_ancestor_cgroup_id: u32 = 129;
    pub const ringbuf_output: u32 = 130;
    pub const ringbuf_reserve: u32 = 131;
    pub const ringbuf_submit: u32 = 132;
    pub const ringbuf_discard: u32 = 133;
    pub const ringbuf_query: u32 = 134;
    pub const csum_level: u32 = 135;
    pub const skc_to_tcp6_sock: u32 = 136;
    pub const skc_to_tcp_sock: u32 = 137;
    pub const skc_to_tcp_timewait_sock: u32 = 138;
    pub const skc_to_tcp_request_sock: u32 = 139;
    pub const skc_to_udp6_sock: u32 = 140;
    pub const get_task_stack: u32 = 141;
    pub const load_hdr_opt: u32 = 142;
    pub const store_hdr_opt: u32 = 143;
    pub const reserve_hdr_opt: u32 = 144;
    pub const inode_storage_get: u32 = 145;
    pub const inode_storage_delete: u32 = 146;
    pub const d_path: u32 = 147;
    pub const copy_from_user: u32 = 148;
    pub const snprintf_btf: u32 = 149;
    pub const seq_printf_btf: u32 = 150;
    pub const skb_cgroup_classid: u32 = 151;
    pub const redirect_neigh: u32 = 152;
    pub const per_cpu_ptr: u32 = 153;
    pub const this_cpu_ptr: u32 = 154;
    pub const redirect_peer: u32 = 155;
    pub const task_storage_get: u32 = 156;
    pub const task_storage_delete: u32 = 157;
    pub const get_current_task_btf: u32 = 158;
    pub const bprm_opts_set: u32 = 159;
    pub const ktime_get_coarse_ns: u32 = 160;
    pub const ima_inode_hash: u32 = 161;
    pub const sock_from_file: u32 = 162;
    pub const check_mtu: u32 = 163;
    pub const for_each_map_elem: u32 = 164;
    pub const snprintf: u32 = 165;
    pub const sys_bpf: u32 = 166;
    pub const btf_find_by_name_kind: u32 = 167;
    pub const sys_close: u32 = 168;
    pub const timer_init: u32 = 169;
    pub const timer_set_callback: u32 = 170;
    pub const timer_start: u32 = 171;
    pub const timer_cancel: u32 = 172;
    pub const get_func_ip: u32 = 173;
    pub const get_attach_cookie: u32 = 174;
    pub const task_pt_regs: u32 = 175;
    pub const get_branch_snapshot: u32 = 176;
    pub const trace_vprintk: u32 = 177;
    pub const skc_to_unix_sock: u32 = 178;
    pub const kallsyms_lookup_name: u32 = 179;
    pub const find_vma: u32 = 180;
    pub const r#loop: u32 = 181;
    pub const strncmp: u32 = 182;
    pub const get_func_arg: u32 = 183;
    pub const get_func_ret: u32 = 184;
    pub const get_func_arg_cnt: u32 = 185;
    pub const get_retval: u32 = 186;
    pub const set_retval: u32 = 187;
    pub const xdp_get_buff_len: u32 = 188;
    pub const xdp_load_bytes: u32 = 189;
    pub const xdp_store_bytes: u32 = 190;
    pub const copy_from_user_task: u32 = 191;
    pub const skb_set_tstamp: u32 = 192;
    pub const ima_file_hash: u32 = 193;
    pub const kptr_xchg: u32 = 194;
    pub const map_lookup_percpu_elem: u32 = 195;
    pub const skc_to_mptcp_sock: u32 = 196;
    pub const dynptr_from_mem: u32 = 197;
    pub const ringbuf_reserve_dynptr: u32 = 198;
    pub const ringbuf_submit_dynptr: u32 = 199;
    pub const ringbuf_discard_dynptr: u32 = 200;
    pub const dynptr_read: u32 = 201;
    pub const dynptr_write: u32 = 202;
    pub const dynptr_data: u32 = 203;
    pub const tcp_raw_gen_syncookie_ipv4: u32 = 204;
    pub const tcp_raw_gen_syncookie_ipv6: u32 = 205;
    pub const tcp_raw_check_syncookie_ipv4: u32 = 206;
    pub const tcp_raw_check_syncookie_ipv6: u32 = 207;
    pub const ktime_get_tai_ns: u32 = 208;
    pub const user_ringbuf_drain: u32 = 209;
    pub const cgrp_storage_get: u32 = 210;
    pub const cgrp_storage_delete: u32 = 211;
}

/// The name of a helper by its number, as the kernel's verifier prints it without `bpf_`.
pub const HELPER_NAMES: &[&str] = &[
    "unspec",
    "map_lookup_elem",
    "map_update_elem",
    "map_delete_elem",
    "probe_read",
    "ktime_get_ns",
    "trace_printk",
    "get_prandom_u32",
    "get_smp_processor_id",
    "skb_store_bytes",
    "l3_csum_replace",
    "l4_csum_replace",
    "tail_call",
    "clone_redirect",
    "get_current_pid_tgid",
    "get_current_uid_gid",
    "get_current_comm",
    "get_cgroup_classid",
    "skb_vlan_push",
    "skb_vlan_pop",
    "skb_get_tunnel_key",
    "skb_set_tunnel_key",
    "perf_event_read",
    "redirect",
    "get_route_realm",
    "perf_event_output",
    "skb_load_bytes",
    "get_stackid",
    "csum_diff",
    "skb_get_tunnel_opt",
    "skb_set_tunnel_opt",
    "skb_change_proto",
    "skb_change_type",
    "skb_under_cgroup",
    "get_hash_recalc",
    "get_current_task",
    "probe_write_user",
    "current_task_under_cgroup",
    "skb_change_tail",
    "skb_pull_data",
    "csum_update",
    "set_hash_invalid",
    "get_numa_node_id",
    "skb_change_head",
    "xdp_adjust_head",
    "probe_read_str",
    "get_socket_cookie",
    "get_socket_uid",
    "set_hash",
    "setsockopt",
    "skb_adjust_room",
    "redirect_map",
    "sk_redirect_map",
    "sock_map_update",
    "xdp_adjust_meta",
    "perf_event_read_value",
    "perf_prog_read_value",
    "getsockopt",
    "override_return",
    "sock_ops_cb_flags_set",
    "msg_redirect_map",
    "msg_apply_bytes",
    "msg_cork_bytes",
    "msg_pull_data",
    "bind",
    "xdp_adjust_tail",
    "skb_get_xfrm_state",
    "get_stack",
    "skb_load_bytes_relative",
    "fib_lookup",
    "sock_hash_update",
    "msg_redirect_hash",
    "sk_redirect_hash",
    "lwt_push_encap",
    "lwt_seg6_store_bytes",
    "lwt_seg6_adjust_srh",
    "lwt_seg6_action",
    "rc_repeat",
    "rc_keydown",
    "skb_cgroup_id",
    "get_current_cgroup_id",
    "get_local_storage",
    "sk_select_reuseport",
    "skb_ancestor_cgroup_id",
    "sk_lookup_tcp",
    "sk_lookup_udp",
    "sk_release",
    "map_push_elem",
    "map_pop_elem",
    "map_peek_elem",
    "msg_push_data",
    "msg_pop_data",
    "rc_pointer_rel",
    "spin_lock",
    "spin_unlock",
    "sk_fullsock",
    "tcp_sock",
    "skb_ecn_set_ce",
    "get_listener_sock",
    "skc_lookup_tcp",
    "tcp_check_syncookie",
    "sysctl_get_name",
    "sysctl_get_current_value",
    "sysctl_get_new_value",
    "sysctl_set_new_value",
    "strtol",
    "strtoul",
    "sk_storage_get",
    "sk_storage_delete",
    "send_signal",
    "tcp_gen_syncookie",
    "skb_output",
    "probe_read_user",
    "probe_read_kernel",
    "probe_read_user_str",
    "probe_read_kernel_str",
    "tcp_send_ack",
    "send_signal_thread",
    "jiffies64",
    "read_branch_records",
    "get_ns_current_pid_tgid",
    "xdp_output",
    "get_netns_cookie",
    "get_current_ancestor_cgroup_id",
    "sk_assign",
    "ktime_get_boot_ns",
    "seq_printf",
    "seq_write",
    "sk_cgroup_id",
    "sk_ancestor_cgroup_id",
    "ringbuf_output",
    "ringbuf_reserve",
    "ringbuf_submit",
    "ringbuf_discard",
    "ringbuf_query",
    "csum_level",
    "skc_to_tcp6_sock",
    "skc_to_tcp_sock",
    "skc_to_tcp_timewait_sock",
    "skc_to_tcp_request_sock",
    "skc_to_udp6_sock",
    "get_task_stack",
    "load_hdr_opt",
    "store_hdr_opt",
    "reserve_hdr_opt",
    "inode_storage_get",
    "inode_storage_delete",
    "d_path",
    "copy_from_user",
    "snprintf_btf",
    "seq_printf_btf",
    "skb_cgroup_classid",
    "redirect_neigh",
    "per_cpu_ptr",
    "this_cpu_ptr",
    "redirect_peer",
    "task_storage_get",
    "task_storage_delete",
    "get_current_task_btf",
    "bprm_opts_set",
    "ktime_get_coarse_ns",
    "ima_inode_hash",
    "sock_from_file",
    "check_mtu",
    "for_each_map_elem",
    "snprintf",
    "sys_bpf",
    "btf_find_by_name_kind",
    "sys_close",
    "timer_init",
    "timer_set_callback",
    "timer_start",
    "timer_cancel",
    "get_func_ip",
    "get_attach_cookie",
    "task_pt_regs",
    "get_branch_snapshot",
    "trace_vprintk",
    "skc_to_unix_sock",
    "kallsyms_lookup_name",
    "find_vma",
    "loop",
    "strncmp",
    "get_func_arg",
    "get_func_ret",
    "get_func_arg_cnt",
    "get_retval",
    "set_retval",
    "xdp_get_buff_len",
    "xdp_load_bytes",
    "xdp_store_bytes",
    "copy_from_user_task",
    "skb_set_tstamp",
    "ima_file_hash",
    "kptr_xchg",
    "map_lookup_percpu_elem",
    "skc_to_mptcp_sock",
    "dynptr_from_mem",
    "ringbuf_reserve_dynptr",
    "ringbuf_submit_dynptr",
    "ringbuf_discard_dynptr",
    "dynptr_read",
    "dynptr_write",
    "dynptr_data",
    "tcp_raw_gen_syncookie_ipv4",
    "tcp_raw_gen_syncookie_ipv6",
    "tcp_raw_check_syncookie_ipv4",
    "tcp_raw_check_syncookie_ipv6",
    "ktime_get_tai_ns",
    "user_ringbuf_drain",
    "cgrp_storage_get",
    "cgrp_storage_delete",
    "MAX_ID",
];
