//! What kernel helpers do to memory and whether their results repeat. Source:
//! the helpers' definitions in `kernel/bpf/helpers.c`, `kernel/trace/bpf_trace.c`,
//! `kernel/bpf/ringbuf.c`, `kernel/bpf/stackmap.c` and `net/core/filter.c`.

use isa::uapi::helper;

/// How many bytes an argument points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Bytes(u32),
    /// The value of this argument.
    Argument(usize),
    /// The key or value size of the map that is argument 0.
    MapKey,
    MapValue,
    /// Up to the end of the object.
    Unknown,
}

/// What a helper does with the memory that an argument points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArgumentEffect {
    Read(Extent),
    /// Every byte is written, whatever the helper returns.
    Fill(Extent),
    /// Some bytes may be written.
    Write(Extent),
    ReadWrite(Extent),
}

/// What else changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outside {
    /// Nothing that a program can see: an unused call can go, if what it writes
    /// through its arguments is not read.
    Nothing,
    /// As `Nothing`, and the result is the same throughout one run for the same
    /// arguments.
    NothingAndSameResult,
    /// Something outside of the program's memory.
    World,
    /// Values of the map that is argument 0.
    MapValues,
    /// Whatever callbacks and unknown code can reach.
    Everything,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct HelperEffects {
    pub outside: Outside,
    /// By argument; arguments that are not here are plain values.
    pub arguments: &'static [(usize, ArgumentEffect)],
    /// Pointers among the arguments may be kept after the call.
    pub retains: bool,
}

impl HelperEffects {
    /// Whether the call can go once nobody uses its result or reads what it wrote.
    pub fn is_removable(&self) -> bool {
        matches!(self.outside, Outside::Nothing | Outside::NothingAndSameResult)
    }

    /// Whether an equal call later in the same run gives the same result.
    pub fn repeats(&self) -> bool {
        self.outside == Outside::NothingAndSameResult && self.arguments.is_empty()
    }
}

/// The effects of a helper, by number.
pub(crate) fn of_helper(number: u32) -> HelperEffects {
    use ArgumentEffect::*;
    use Extent::*;
    let (outside, arguments): (Outside, &'static [(usize, ArgumentEffect)]) = match number {
        helper::get_current_pid_tgid
        | helper::get_current_uid_gid
        | helper::get_current_task
        | helper::get_current_task_btf
        | helper::get_smp_processor_id
        | helper::get_numa_node_id
        | helper::get_current_cgroup_id
        | helper::get_current_ancestor_cgroup_id
        | helper::get_attach_cookie
        | helper::get_func_ip
        | helper::get_func_arg_cnt
        | helper::task_pt_regs => (Outside::NothingAndSameResult, &[]),

        helper::ktime_get_ns
        | helper::ktime_get_boot_ns
        | helper::ktime_get_coarse_ns
        | helper::ktime_get_tai_ns
        | helper::jiffies64
        | helper::get_prandom_u32
        | helper::per_cpu_ptr
        | helper::this_cpu_ptr
        | helper::current_task_under_cgroup => (Outside::Nothing, &[]),

        helper::map_lookup_elem | helper::map_lookup_percpu_elem => (Outside::Nothing, &[(1, Read(MapKey))]),
        helper::map_update_elem => (Outside::MapValues, &[(1, Read(MapKey)), (2, Read(MapValue))]),
        helper::map_delete_elem => (Outside::MapValues, &[(1, Read(MapKey))]),

        // Zero what they could not read.
        helper::probe_read | helper::probe_read_kernel | helper::probe_read_user | helper::copy_from_user => {
            (Outside::Nothing, &[(0, Fill(Argument(1))), (2, Read(Argument(1)))])
        }
        // Write up to the NUL only.
        helper::probe_read_str | helper::probe_read_kernel_str | helper::probe_read_user_str => {
            (Outside::Nothing, &[(0, Write(Argument(1))), (2, Read(Argument(1)))])
        }
        helper::probe_write_user => (Outside::World, &[(1, Read(Argument(2)))]),
        helper::get_current_comm => (Outside::Nothing, &[(0, Fill(Argument(1)))]),
        helper::get_ns_current_pid_tgid => (Outside::Nothing, &[(2, Fill(Argument(3)))]),
        helper::get_func_arg => (Outside::Nothing, &[(2, Write(Bytes(8)))]),
        helper::get_func_ret => (Outside::Nothing, &[(1, Write(Bytes(8)))]),
        helper::skb_load_bytes => (Outside::Nothing, &[(2, Fill(Argument(3)))]),
        helper::d_path => (Outside::Nothing, &[(1, Write(Argument(2)))]),
        helper::strncmp => (Outside::Nothing, &[(0, Read(Argument(1))), (2, Read(Unknown))]),
        helper::snprintf => (Outside::Nothing, &[(0, Write(Argument(1))), (2, Read(Unknown)), (3, Read(Argument(4)))]),

        helper::get_stackid | helper::send_signal | helper::send_signal_thread | helper::override_return => {
            (Outside::World, &[])
        }
        helper::get_stack | helper::get_task_stack => (Outside::Nothing, &[(1, Write(Argument(2)))]),
        helper::trace_printk => (Outside::World, &[(0, Read(Argument(1)))]),
        helper::trace_vprintk => (Outside::World, &[(0, Read(Argument(1))), (2, Read(Argument(3)))]),
        helper::perf_event_output | helper::skb_output | helper::xdp_output => {
            (Outside::World, &[(3, Read(Argument(4)))])
        }
        helper::seq_write => (Outside::World, &[(1, Read(Argument(2)))]),
        helper::seq_printf => (Outside::World, &[(1, Read(Argument(2))), (3, Read(Argument(4)))]),
        helper::ringbuf_output => (Outside::World, &[(1, Read(Argument(2)))]),
        helper::ringbuf_reserve | helper::ringbuf_query => (Outside::World, &[]),
        helper::ringbuf_submit => (Outside::World, &[(0, Read(Unknown))]),
        helper::ringbuf_discard => (Outside::World, &[]),

        // The callback gets the context during the call.
        helper::for_each_map_elem => (Outside::Everything, &[(2, ReadWrite(Unknown))]),
        helper::r#loop => (Outside::Everything, &[(2, ReadWrite(Unknown))]),

        _ => {
            const ALL: &[(usize, ArgumentEffect)] = &[
                (0, ReadWrite(Unknown)),
                (1, ReadWrite(Unknown)),
                (2, ReadWrite(Unknown)),
                (3, ReadWrite(Unknown)),
                (4, ReadWrite(Unknown)),
            ];
            return HelperEffects { outside: Outside::Everything, arguments: ALL, retains: true };
        }
    };
    HelperEffects { outside, arguments, retains: false }
}
