//! The checks themselves.

use std::cell::OnceCell;

use btf::{Btf, Kind};
use isa::uapi::{HELPER_NAMES, helper, map_type, prog_type};

use super::{Item, Section, State};
use crate::features::{Feature, Features};
use crate::kconfig::Kconfig;
use crate::{kernel_types, security, sys, tracefs};

pub(super) fn sections() -> Vec<Section> {
    let types: OnceCell<Option<Btf<'static>>> = OnceCell::new();
    let find = |name: &str, kind: Kind| {
        let types = types.get_or_init(|| kernel_types::vmlinux().ok().and_then(|bytes| Btf::parse(bytes).ok()));
        types.as_ref()?.find(name, kind).map(|found| found.id.0)
    };
    let features = Features::new();
    let tried = |checks: &[Check]| -> Vec<Item> {
        checks.iter().map(|check| check.item(features.ask(check.feature, &find))).collect()
    };
    let mut places = vec![tracepoints()];
    places.extend(tried(PLACES));
    let mut helpers = tried(HELPERS);
    helpers.extend(HELPER_COUNTS.iter().map(|(name, prog_type)| {
        let known = (1..HELPER_NAMES.len() as u32 - 1)
            .filter(|number| features.has(Feature::HelperIn { prog_type: *prog_type, helper: *number }, &find))
            .count();
        let state = if known > 0 { State::Yes } else { State::NotTried };
        item(*name, state, format!("{known} of {}", HELPER_NAMES.len() - 2))
    }));
    vec![
        Section { name: "User and settings", items: settings() },
        Section { name: "Places to attach to", items: places },
        Section { name: "Types and names", items: names(&features, &find) },
        Section { name: "Maps", items: tried(MAPS) },
        Section { name: "Program types", items: tried(PROGRAMS) },
        Section { name: "Instructions", items: tried(INSTRUCTIONS) },
        Section { name: "Helpers", items: helpers },
        Section { name: "Kernel configuration", items: configuration() },
    ]
}

/// Something that is tried.
struct Check {
    name: &'static str,
    feature: Feature,
    /// What a lack costs and what to do.
    cost: &'static str,
}

impl Check {
    fn item(&self, answer: Result<(), String>) -> Item {
        match answer {
            Ok(()) => item(self.name, State::Yes, ""),
            // Without privilege every answer is no; that says nothing about the kernel.
            Err(reason) if !privileged() => item(self.name, State::NotTried, reason),
            Err(reason) => Item { cost: Some(self.cost), ..item(self.name, State::No, reason) },
        }
    }
}

const fn check(name: &'static str, feature: Feature, cost: &'static str) -> Check {
    Check { name, feature, cost }
}

fn item(name: impl Into<String>, state: State, detail: impl Into<String>) -> Item {
    Item { name: name.into(), state, detail: detail.into(), cost: None }
}

const PLACES: &[Check] = &[
    check(
        "rawtracepoint",
        Feature::ProgType(prog_type::RAW_TRACEPOINT),
        "rawtracepoint probes and cheap dispatch of system calls don't work",
    ),
    check(
        "rawtracepoint, typed",
        Feature::TpBtf,
        "arguments of raw tracepoints have no types: use tracepoint probes for their fields",
    ),
    check(
        "kprobe, kretprobe",
        Feature::Kprobe,
        "kprobe and kretprobe probes don't work: use tracepoint or rawtracepoint, or fentry where that works",
    ),
    check(
        "kprobe.multi",
        Feature::KprobeMulti,
        "a wildcard of kprobes attaches one by one, which takes milliseconds each",
    ),
    check("kprobe.session", Feature::KprobeSession, "entry and return of a function are two programs"),
    check(
        "fentry, fexit",
        Feature::Fentry,
        "fentry and fexit probes don't work: use tracepoint or rawtracepoint, or kprobe where that works",
    ),
    check("uprobe, uretprobe, usdt", Feature::Uprobe, "user space can't be probed"),
    check("uprobe.multi", Feature::UprobeMulti, "a wildcard of uprobes attaches one by one"),
    check("uprobe.session", Feature::UprobeSession, "entry and return of a user function are two programs"),
    check(
        "attach cookies",
        Feature::PerfLink,
        "a program can't tell which of its probes it runs for: wildcards that ask need one program each",
    ),
    check(
        "software events",
        Feature::SoftwareEvents,
        "profile, interval and software probes don't work: see kernel.perf_event_paranoid",
    ),
    check(
        "hardware events",
        Feature::HardwareEvents,
        "hardware probes don't work, as on most virtual machines: use profile or software events",
    ),
    check("iter", Feature::Iter, "iter probes don't work"),
    check(
        "LSM",
        Feature::Lsm,
        "security hooks can't be traced: that takes CONFIG_BPF_LSM, bpf in lsm= at boot, and what fentry takes",
    ),
    check("sleepable programs", Feature::Sleepable, "memory of user space that is not resident reads as missing"),
];

const MAPS: &[Check] = &[
    check("ring buffer", Feature::RingBuffer, "events can't be sent in order with this kernel (before 5.8)"),
    check("per-CPU hash", Feature::MapType(map_type::PERCPU_HASH), "count(), sum() and hist() by key don't work"),
    check("per-CPU array", Feature::MapType(map_type::PERCPU_ARRAY), "count(), sum() and hist() don't work"),
    check("stack trace", Feature::MapType(map_type::STACK_TRACE), "kstack and ustack don't work"),
    check("LRU hash", Feature::MapType(map_type::LRU_HASH), "maps that forget old entries don't work"),
    check("LPM trie", Feature::MapType(map_type::LPM_TRIE), "lookup by network prefix does not work"),
    check("queue", Feature::MapType(map_type::QUEUE), "queues between programs don't work"),
    check("bloom filter", Feature::MapType(map_type::BLOOM_FILTER), "fast set membership does not work (5.16)"),
    check("user ring buffer", Feature::MapType(map_type::USER_RINGBUF), "programs can't be sent messages (6.1)"),
    check("arena", Feature::MapType(map_type::ARENA), "memory can't be shared with pointers in it (6.9)"),
];

const PROGRAMS: &[Check] = &[
    check("kprobe and uprobe", Feature::ProgType(prog_type::KPROBE), "kprobe, uprobe and usdt probes don't work"),
    check("tracepoint", Feature::ProgType(prog_type::TRACEPOINT), "tracepoint probes don't work"),
    check("raw tracepoint", Feature::ProgType(prog_type::RAW_TRACEPOINT), "rawtracepoint probes don't work"),
    check(
        "perf event",
        Feature::ProgType(prog_type::PERF_EVENT),
        "profile, interval, software and hardware probes don't work",
    ),
    check("socket filter", Feature::ProgType(prog_type::SOCKET_FILTER), "packets of sockets can't be looked at"),
    check(
        "traffic control",
        Feature::ProgType(prog_type::SCHED_CLS),
        "packets at the queueing layer can't be looked at",
    ),
    check("XDP", Feature::ProgType(prog_type::XDP), "packets at the driver can't be looked at"),
    check("cgroup, packets", Feature::ProgType(prog_type::CGROUP_SKB), "packets of a cgroup can't be looked at"),
    check("cgroup, sockets", Feature::ProgType(prog_type::CGROUP_SOCK), "sockets of a cgroup can't be looked at"),
    check("socket operations", Feature::ProgType(prog_type::SOCK_OPS), "TCP events of a cgroup can't be looked at"),
    check("socket messages", Feature::ProgType(prog_type::SK_MSG), "data between sockets can't be looked at"),
];

const INSTRUCTIONS: &[Check] = &[
    check("bounded loops", Feature::BoundedLoops, "loops are unrolled (before 5.3)"),
    check("v2: compare below", Feature::IsaV2, "programs are a little longer"),
    check("v3: 32-bit jumps", Feature::IsaV3, "programs are a little longer"),
    check("v4: sign extension", Feature::IsaV4, "programs are a little longer (before 6.6)"),
    check(
        "atomics with fetch",
        Feature::AtomicFetch,
        "sequence numbers and locks in programs don't work (before 5.12)",
    ),
    check("may_goto", Feature::MayGoto, "while loops need a bound that the verifier can see (before 6.9)"),
    check("number iterators", Feature::IterNum, "long loops go through bpf_loop (before 6.4)"),
];

const HELPERS: &[Check] = &[
    check(
        "bpf_probe_read_kernel",
        Feature::Helper(helper::probe_read_kernel),
        "kernel memory can't be read (lockdown, or before 5.5)",
    ),
    check("bpf_probe_read_user", Feature::Helper(helper::probe_read_user), "user memory can't be read (before 5.5)"),
    check(
        "bpf_probe_write_user",
        Feature::Helper(helper::probe_write_user),
        "user memory can't be changed, which lockdown forbids",
    ),
    check(
        "bpf_ringbuf_output",
        Feature::Helper(helper::ringbuf_output),
        "events can't be sent through a ring buffer (before 5.8)",
    ),
    check("bpf_get_stackid", Feature::Helper(helper::get_stackid), "kstack and ustack don't work"),
    check(
        "bpf_ktime_get_boot_ns",
        Feature::Helper(helper::ktime_get_boot_ns),
        "nsecs stops while the machine sleeps (before 5.8)",
    ),
    check("bpf_ktime_get_tai_ns", Feature::Helper(helper::ktime_get_tai_ns), "nsecs(tai) does not work (before 6.1)"),
    check(
        "bpf_get_ns_current_pid_tgid",
        Feature::Helper(helper::get_ns_current_pid_tgid),
        "pids are those of the initial namespace (before 5.7)",
    ),
    check(
        "bpf_get_current_task_btf",
        Feature::Helper(helper::get_current_task_btf),
        "fields of curtask are read by a helper each (before 5.11)",
    ),
    check(
        "bpf_get_current_cgroup_id",
        Feature::Helper(helper::get_current_cgroup_id),
        "the cgroup builtin does not work",
    ),
    check("bpf_get_func_ip", Feature::Helper(helper::get_func_ip), "func in wildcards does not work (before 5.15)"),
    check(
        "bpf_get_attach_cookie",
        Feature::Helper(helper::get_attach_cookie),
        "probe in wildcards needs one program each (before 5.15)",
    ),
    check(
        "bpf_for_each_map_elem",
        Feature::Helper(helper::for_each_map_elem),
        "loops over maps don't work (before 5.13)",
    ),
    check("bpf_loop", Feature::Helper(helper::r#loop), "long loops don't work (before 5.17)"),
    check("bpf_send_signal", Feature::Helper(helper::send_signal), "signal() does not work (before 5.3)"),
    check(
        "bpf_override_return",
        Feature::Helper(helper::override_return),
        "override() does not work: the kernel lacks CONFIG_BPF_KPROBE_OVERRIDE",
    ),
];

const HELPER_COUNTS: &[(&str, u32)] = &[
    ("helpers in kprobe and uprobe", prog_type::KPROBE),
    ("helpers in tracepoint", prog_type::TRACEPOINT),
    ("helpers in raw tracepoint", prog_type::RAW_TRACEPOINT),
    ("helpers in perf event", prog_type::PERF_EVENT),
];

/// Options, and what it costs if they are not set.
const OPTIONS: &[(&str, &str)] = &[
    ("CONFIG_BPF_SYSCALL", "nothing of this works"),
    ("CONFIG_BPF_JIT", "programs are interpreted, several times slower"),
    ("CONFIG_BPF_EVENTS", "kprobe, uprobe and tracepoint probes don't work"),
    ("CONFIG_PERF_EVENTS", "tracepoint, kprobe, uprobe and profile probes don't work"),
    ("CONFIG_KPROBES", "kprobe and kretprobe probes don't work"),
    ("CONFIG_KPROBE_EVENTS", "kprobe and kretprobe probes don't work"),
    ("CONFIG_UPROBE_EVENTS", "uprobe, uretprobe and usdt probes don't work"),
    ("CONFIG_FTRACE_SYSCALLS", "there are no tracepoints for single system calls"),
    ("CONFIG_DYNAMIC_FTRACE", "fentry and kprobe.multi don't work"),
    ("CONFIG_FPROBE", "kprobe.multi does not work"),
    ("CONFIG_DEBUG_INFO_BTF", "the kernel's types are not known: no struct fields, fentry or typed raw tracepoints"),
    ("CONFIG_DEBUG_INFO_BTF_MODULES", "types of modules are not known"),
    ("CONFIG_BPF_LSM", "security hooks can't be traced"),
    ("CONFIG_CGROUP_BPF", "programs on cgroups don't work"),
    ("CONFIG_BPF_KPROBE_OVERRIDE", "errors can't be injected with override()"),
    ("CONFIG_KALLSYMS_ALL", "kaddr() of variables does not work"),
];

fn settings() -> Vec<Item> {
    let mut items = vec![user()];
    let lsms = security::active_lsms();
    items.push(match security::lockdown() {
        None if lsms.is_some() => item("no lockdown", State::Yes, "this kernel has none"),
        None => item("no lockdown", State::NotTried, "securityfs is not visible to this user"),
        Some(mode) if mode == "none" => item("no lockdown", State::Yes, mode),
        Some(mode) => Item {
            cost: Some(if mode == "confidentiality" {
                "kernel memory can't be read and tracefs is closed: most probes don't work"
            } else {
                "writing to user memory is forbidden; reading is not"
            }),
            ..item("no lockdown", State::No, mode)
        },
    });
    if let Some(modules) = lsms {
        items.push(item("security modules", State::Yes, modules));
    }
    items.push(match sysctl("net/core/bpf_jit_enable").as_deref() {
        Some("0") => Item {
            cost: Some("programs are interpreted, several times slower: sysctl net.core.bpf_jit_enable=1"),
            ..item("JIT", State::No, "net.core.bpf_jit_enable is 0")
        },
        Some(value) => item("JIT", State::Yes, format!("net.core.bpf_jit_enable is {value}")),
        None => item("JIT", State::NotTried, "net.core.bpf_jit_enable can't be read"),
    });
    items.push(match sysctl("net/core/bpf_jit_harden").as_deref() {
        Some("2") => Item {
            cost: Some("programs of root are hardened, too, and run slower: sysctl net.core.bpf_jit_harden=1"),
            ..item("fast JIT for root", State::No, "net.core.bpf_jit_harden is 2")
        },
        Some(value) => item("fast JIT for root", State::Yes, format!("net.core.bpf_jit_harden is {value}")),
        None => item("fast JIT for root", State::NotTried, "net.core.bpf_jit_harden can't be read"),
    });
    for (name, path) in [
        ("kernel.unprivileged_bpf_disabled", "kernel/unprivileged_bpf_disabled"),
        ("kernel.perf_event_paranoid", "kernel/perf_event_paranoid"),
        ("kernel.perf_event_max_sample_rate", "kernel/perf_event_max_sample_rate"),
        ("kernel.kptr_restrict", "kernel/kptr_restrict"),
    ] {
        let (state, value) = sysctl(path).map_or((State::NotTried, String::new()), |value| (State::Yes, value));
        items.push(item(name, state, value));
    }
    items.push(match sys::memlock_limit() {
        Ok((u64::MAX, _)) => item("locked memory", State::Yes, "no limit"),
        Ok((bytes, _)) if !sys::kernel_before(5, 11) => {
            item("locked memory", State::Yes, format!("{} kB, not counted for BPF since 5.11", bytes >> 10))
        }
        Ok((bytes, most)) if most == u64::MAX || sys::is_root() => {
            item("locked memory", State::Yes, format!("{} kB, raised when needed", bytes >> 10))
        }
        Ok((bytes, _)) => Item {
            cost: Some("maps count against it before 5.11: ulimit -l unlimited"),
            ..item("locked memory", State::No, format!("{} kB", bytes >> 10))
        },
        Err(errno) => item("locked memory", State::NotTried, errno.to_string()),
    });
    items
}

fn user() -> Item {
    let name = "may load and trace";
    let (state, detail) = match (sys::is_root(), privileged()) {
        (true, true) => (State::Yes, "root"),
        (false, true) => (State::Yes, "has CAP_BPF and CAP_PERFMON"),
        (true, false) => (State::No, "root without CAP_BPF or CAP_PERFMON, as in a container"),
        (false, false) => (State::No, "neither root nor CAP_BPF and CAP_PERFMON"),
    };
    let cost = (state == State::No).then_some("nothing can be traced: run as root, or with CAP_BPF and CAP_PERFMON");
    Item { cost, ..item(name, state, detail) }
}

/// CAP_SYS_ADMIN, or CAP_BPF and CAP_PERFMON, in the effective set.
fn privileged() -> bool {
    const SYS_ADMIN: u64 = 1 << 21;
    const BPF_AND_PERFMON: u64 = 1 << 39 | 1 << 38;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    mask.map_or_else(sys::is_root, |mask| mask & SYS_ADMIN != 0 || mask & BPF_AND_PERFMON == BPF_AND_PERFMON)
}

fn sysctl(path: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/sys/{path}")).ok().map(|text| text.trim().to_owned())
}

fn tracepoints() -> Item {
    match tracefs::Tracefs::open() {
        Ok(_) => item("tracepoint", State::Yes, ""),
        Err(error) if !privileged() => item("tracepoint", State::NotTried, error.to_string()),
        Err(error) => Item {
            cost: Some("tracepoint probes don't work: mount -t tracefs nodev /sys/kernel/tracing"),
            ..item("tracepoint", State::No, error.to_string())
        },
    }
}

fn names(features: &Features, find: crate::features::FindType<'_>) -> Vec<Item> {
    let types = check(
        "kernel types (BTF)",
        Feature::Btf,
        "no struct fields, fentry, typed raw tracepoints or iter: a kernel with CONFIG_DEBUG_INFO_BTF has them",
    );
    let mut types = types.item(features.ask(Feature::Btf, find));
    if types.state == State::Yes
        && let Ok(bytes) = kernel_types::vmlinux()
    {
        types.detail = format!("{:.1} MB", bytes.len() as f64 / 1e6);
    }
    let modules = kernel_types::modules().len();
    let visible = std::fs::read_to_string("/proc/sys/kernel/kptr_restrict").is_ok() && addresses_are_visible();
    let symbols = match (visible, privileged()) {
        (true, _) => item("kernel symbols", State::Yes, "/proc/kallsyms"),
        (false, false) => item("kernel symbols", State::NotTried, "addresses are hidden from this user"),
        (false, true) => Item {
            cost: Some("kernel stacks show addresses: sysctl kernel.kptr_restrict=0"),
            ..item("kernel symbols", State::No, "addresses in /proc/kallsyms are hidden")
        },
    };
    let mut items = vec![types, item("types of modules", State::Yes, format!("{modules} modules")), symbols];
    if let Ok(tracefs) = tracefs::Tracefs::open() {
        items.push(match tracefs.available_filter_functions() {
            Ok(_) => item("list of traceable functions", State::Yes, ""),
            Err(error) => Item {
                cost: Some("wildcards of kernel functions are taken from the kernel's types, which may name some that can't be traced"),
                ..item("list of traceable functions", State::No, error.to_string())
            },
        });
    }
    items
}

/// Whether the first symbols have addresses; hidden ones read as zero.
fn addresses_are_visible() -> bool {
    use std::io::BufRead;
    let Ok(file) = std::fs::File::open("/proc/kallsyms") else { return false };
    let lines = std::io::BufReader::new(file).lines().take(64).map_while(Result::ok);
    // On x86 the first symbols are per-CPU offsets, zero in any case.
    lines.into_iter().any(|line| line.bytes().take_while(|byte| *byte != b' ').any(|byte| byte != b'0'))
}

fn configuration() -> Vec<Item> {
    let config = match Kconfig::read() {
        Ok(config) => config,
        Err(error) => return vec![item("configuration", State::NotTried, error.to_string())],
    };
    let mut items = vec![item("read from", State::Yes, config.source.clone())];
    items.extend(OPTIONS.iter().map(|(option, cost)| match config.value(option) {
        Some(value) => item(*option, State::Yes, value),
        None => Item { cost: Some(cost), ..item(*option, State::No, "not set") },
    }));
    items
}
