//! What bpf(2) and perf_event_open(2) take, command by command
//! (`include/uapi/linux/bpf.h`, `include/uapi/linux/perf_event.h`, Linux 6.18).
//!
//! Each structure is the part of `union bpf_attr` that one command reads. The
//! kernel takes a shorter one as if zeros followed, and refuses a longer one only if
//! what it does not know is not zero, so these work on old and new kernels.

/// A structure that bpf(2) accepts: integers only, no padding between or after them.
///
/// # Safety
/// Implementors are `repr(C)`, hold integers only and have no padding bytes.
pub(crate) unsafe trait Attr {}

macro_rules! attr {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $t:ty),* $(,)? }) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct $name {
            $($(#[$fdoc])* pub $field: $t,)*
        }
        const _: () = assert!(
            std::mem::size_of::<$name>() == 0 $(+ std::mem::size_of::<$t>())*,
            "padding in an attribute of bpf(2)"
        );
        // SAFETY: repr(C), integers only, and the assertion above shows that there is no padding.
        unsafe impl Attr for $name {}
    };
}

attr!(MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
    map_ifindex: u32,
    btf_fd: u32,
    btf_key_type_id: u32,
    btf_value_type_id: u32,
    btf_vmlinux_value_type_id: u32,
    map_extra: u64,
});

attr!(MapElem {
    map_fd: u32,
    pad: u32,
    key: u64,
    /// Or the buffer for the next key.
    value: u64,
    flags: u64,
});

attr!(MapBatch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
});

attr!(ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    /// Not looked at since 5.0, so never set.
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
    attach_btf_obj_fd: u32,
    core_relo_cnt: u32,
});

attr!(BtfLoad { btf: u64, btf_log_buf: u64, btf_size: u32, btf_log_size: u32, btf_log_level: u32, pad: u32 });

attr!(RawTracepointOpen { name: u64, prog_fd: u32, pad: u32, cookie: u64 });

attr!(LinkCreate { prog_fd: u32, target_fd: u32, attach_type: u32, flags: u32 });

attr!(LinkCreatePerf { prog_fd: u32, target_fd: u32, attach_type: u32, flags: u32, cookie: u64 });

attr!(LinkCreateKprobeMulti {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    multi_flags: u32,
    cnt: u32,
    syms: u64,
    addrs: u64,
    cookies: u64,
});

attr!(LinkCreateUprobeMulti {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    path: u64,
    offsets: u64,
    ref_ctr_offsets: u64,
    cookies: u64,
    cnt: u32,
    multi_flags: u32,
    pid: u32,
    pad: u32,
});

attr!(Object { pathname: u64, bpf_fd: u32, file_flags: u32 });

attr!(Fd { fd: u32, flags: u32 });

attr!(ById { id: u32, next_id: u32, open_flags: u32 });

attr!(InfoByFd { bpf_fd: u32, info_len: u32, info: u64 });

attr!(TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    pad: u32,
});

attr!(
    /// `struct bpf_prog_info`.
    ProgInfo {
        prog_type: u32,
        id: u32,
        tag: [u8; 8],
        jited_prog_len: u32,
        xlated_prog_len: u32,
        jited_prog_insns: u64,
        xlated_prog_insns: u64,
        load_time: u64,
        created_by_uid: u32,
        nr_map_ids: u32,
        map_ids: u64,
        name: [u8; 16],
        ifindex: u32,
        /// Bit 0.
        gpl_compatible: u32,
        netns_dev: u64,
        netns_ino: u64,
        nr_jited_ksyms: u32,
        nr_jited_func_lens: u32,
        jited_ksyms: u64,
        jited_func_lens: u64,
        btf_id: u32,
        func_info_rec_size: u32,
        func_info: u64,
        nr_func_info: u32,
        nr_line_info: u32,
        line_info: u64,
        jited_line_info: u64,
        nr_jited_line_info: u32,
        line_info_rec_size: u32,
        jited_line_info_rec_size: u32,
        nr_prog_tags: u32,
        prog_tags: u64,
        run_time_ns: u64,
        run_cnt: u64,
        recursion_misses: u64,
        verified_insns: u32,
        attach_btf_obj_id: u32,
        attach_btf_id: u32,
        pad: u32,
    }
);

attr!(
    /// `struct bpf_btf_info`.
    BtfInfo {
        btf: u64,
        btf_size: u32,
        id: u32,
        name: u64,
        name_len: u32,
        kernel_btf: u32,
    }
);

attr!(
    /// `struct perf_event_attr` up to `PERF_ATTR_SIZE_VER5`, which every kernel since 4.1 knows.
    PerfEvent {
        kind: u32,
        size: u32,
        config: u64,
        /// A period, or with [`perf::FREQ`] a frequency.
        sample_period: u64,
        sample_type: u64,
        read_format: u64,
        flags: u64,
        wakeup_events: u32,
        bp_type: u32,
        config1: u64,
        config2: u64,
        branch_sample_type: u64,
        sample_regs_user: u64,
        sample_stack_user: u32,
        clockid: i32,
        sample_regs_intr: u64,
        aux_watermark: u32,
        sample_max_stack: u32,
    }
);

/// Numbers of perf_event_open(2).
pub(crate) mod perf {
    pub const TYPE_HARDWARE: u32 = 0;
    pub const TYPE_SOFTWARE: u32 = 1;
    pub const TYPE_TRACEPOINT: u32 = 2;
    /// Bits of `flags` in `struct perf_event_attr`.
    pub const INHERIT: u64 = 1 << 1;
    pub const FREQ: u64 = 1 << 10;
    pub const FLAG_FD_CLOEXEC: u64 = 1 << 3;
    pub const IOC_SET_BPF: libc::c_ulong = 0x4004_2408;
}

/// `BPF_F_*` flags of programs and links.
pub(crate) mod flag {
    pub const PROG_SLEEPABLE: u32 = 1 << 4;
    pub const KPROBE_MULTI_RETURN: u32 = 1;
    pub const UPROBE_MULTI_RETURN: u32 = 1;
}
