//! What this kernel can do, found out by trying.
//!
//! Names of symbols and versions lie (backports, hardened builds, security modules), so each
//! answer comes from a program of a few instructions, a map of one entry or an attachment that
//! is given up at once. Some attachments are tried with an argument that a kernel
//! with the kind refuses otherwise than a kernel without: that costs no attachment.

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd};

use btf::Kind;
use isa::uapi::{attach_type, cmd, map_type, prog_type};
use isa::{AluOp, AtomicOp, Cond, Insn, R0, R1, R2, R3, R10, Size};

use crate::error::{Errno, Error};
use crate::link::{Attacher, detach_all, pmu_type};
use crate::map::Map;
use crate::program::{Program, Spec};
use crate::{sys, uapi};

/// What a kernel may or may not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Feature {
    /// `/sys/kernel/btf/vmlinux`.
    Btf,
    /// `BPF_MAP_TYPE_RINGBUF` (5.8).
    RingBuffer,
    /// kprobes and kretprobes through perf events.
    Kprobe,
    /// `BPF_TRACE_KPROBE_MULTI` (5.18, CONFIG_FPROBE).
    KprobeMulti,
    /// `BPF_TRACE_KPROBE_SESSION` (6.10).
    KprobeSession,
    /// uprobes and uretprobes through perf events.
    Uprobe,
    /// `BPF_TRACE_UPROBE_MULTI` (6.6).
    UprobeMulti,
    /// `BPF_TRACE_UPROBE_SESSION` (6.13).
    UprobeSession,
    /// fentry and fexit, loaded and attached.
    Fentry,
    /// `BPF_TRACE_RAW_TP`: raw tracepoints with typed arguments.
    TpBtf,
    /// `BPF_TRACE_ITER`.
    Iter,
    /// BPF programs on security hooks, loaded and attached.
    Lsm,
    /// Programs that may sleep.
    Sleepable,
    /// A BPF link for perf events, with cookies (5.15).
    PerfLink,
    /// Software perf events (`profile`, `interval`, `software`).
    SoftwareEvents,
    /// Hardware counters.
    HardwareEvents,
    /// A helper in programs on kprobes (its number in `isa::uapi::helper`).
    Helper(u32),
    /// A helper in another type of program.
    HelperIn { prog_type: u32, helper: u32 },
    /// A type of map with one small entry.
    MapType(u32),
    /// A type of program that needs no target.
    ProgType(u32),
    /// Loops with a bound that the verifier can see (5.3).
    BoundedLoops,
    /// Unsigned comparisons below (`jlt`), instruction set v2.
    IsaV2,
    /// 32-bit jumps, instruction set v3.
    IsaV3,
    /// Sign extension, signed division, long jumps: instruction set v4 (6.6).
    IsaV4,
    /// Atomics that return the old value (5.12).
    AtomicFetch,
    /// `may_goto`: loops that the kernel bounds itself (6.9).
    MayGoto,
    /// Open-coded iterators: `bpf_iter_num_new` (6.4).
    IterNum,
}

/// The id of a type of vmlinux by name and kind; `None` if there is none, or no BTF.
pub type FindType<'f> = &'f dyn Fn(&str, Kind) -> Option<u32>;

/// Answers, each tried when first asked for and kept.
#[derive(Debug, Default)]
pub struct Features {
    answers: RefCell<HashMap<Feature, Result<(), String>>>,
}

/// A kernel function without any effect that the kernel keeps for tests of trampolines
/// (`net/bpf/test_run.c`), and others for kernels built without it.
const HARMLESS_FUNCTIONS: [&str; 3] = ["bpf_fentry_test1", "vfs_fsync", "vfs_statfs"];

impl Features {
    pub fn new() -> Features {
        Features::default()
    }

    /// Whether this kernel has a feature for this user.
    pub fn has(&self, feature: Feature, find: FindType<'_>) -> bool {
        self.ask(feature, find).is_ok()
    }

    /// Like [`Features::has`]; the error says in words why not.
    pub fn ask(&self, feature: Feature, find: FindType<'_>) -> Result<(), String> {
        if let Some(answer) = self.answers.borrow().get(&feature) {
            return answer.clone();
        }
        let answer = attempt(feature, find);
        self.answers.borrow_mut().insert(feature, answer.clone());
        answer
    }
}

fn attempt(feature: Feature, find: FindType<'_>) -> Result<(), String> {
    match feature {
        Feature::Btf => match std::fs::metadata("/sys/kernel/btf/vmlinux") {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("/sys/kernel/btf/vmlinux: {error}")),
        },
        Feature::RingBuffer => try_map(map_type::RINGBUF),
        Feature::MapType(map_type) => try_map(map_type),
        Feature::ProgType(prog_type) => load(prog_type, 0, &return_zero()).map(drop),
        Feature::Kprobe => try_dynamic("kprobe"),
        Feature::Uprobe => try_dynamic("uprobe"),
        Feature::KprobeMulti => try_multi(attach_type::TRACE_KPROBE_MULTI),
        Feature::KprobeSession => try_multi(attach_type::TRACE_KPROBE_SESSION),
        Feature::UprobeMulti => try_multi(attach_type::TRACE_UPROBE_MULTI),
        Feature::UprobeSession => try_multi(attach_type::TRACE_UPROBE_SESSION),
        Feature::Fentry => try_trampoline(find),
        Feature::TpBtf => {
            let target = ("btf_trace_sched_switch", Kind::Typedef);
            load_for(attach_type::TRACE_RAW_TP, prog_type::TRACING, target, false, find).map(drop)
        }
        Feature::Iter => {
            let target = ("bpf_iter_task", Kind::Func);
            load_for(attach_type::TRACE_ITER, prog_type::TRACING, target, false, find).map(drop)
        }
        Feature::Lsm => {
            let target = ("bpf_lsm_bpf_map_free_security", Kind::Func);
            let fallback = ("bpf_lsm_file_open", Kind::Func);
            let program = load_for(attach_type::LSM_MAC, prog_type::LSM, target, false, find)
                .or_else(|_| load_for(attach_type::LSM_MAC, prog_type::LSM, fallback, false, find))?;
            attach_to_target(&program)
        }
        Feature::Sleepable => {
            // Sleepable uprobes are of 6.0, security hooks of 5.10; some kernels refuse all hooks.
            let insns = return_zero();
            let spec = Spec {
                name: "try",
                prog_type: prog_type::KPROBE,
                license: "GPL",
                insns: &insns,
                sleepable: true,
                ..Spec::default()
            };
            let hook = ("bpf_lsm_file_open", Kind::Func);
            Program::load(&spec)
                .map_err(|error| in_words(&error))
                .or_else(|_| load_for(attach_type::LSM_MAC, prog_type::LSM, hook, true, find))
                .map(drop)
        }
        Feature::PerfLink => try_perf_link(),
        Feature::SoftwareEvents => try_event(uapi::perf::TYPE_SOFTWARE),
        Feature::HardwareEvents => try_event(uapi::perf::TYPE_HARDWARE),
        Feature::Helper(helper) => try_helper(prog_type::KPROBE, helper),
        Feature::HelperIn { prog_type, helper } => try_helper(prog_type, helper),
        Feature::BoundedLoops => {
            let insns = [
                Insn::mov64_imm(R1, 4),
                Insn::alu64_imm(AluOp::Add, R1, -1),
                Insn::jump64_imm(Cond::Ne, R1, 0, -2),
                Insn::mov64_imm(R0, 0),
                Insn::exit(),
            ];
            load(prog_type::SOCKET_FILTER, 0, &insns).map(drop)
        }
        Feature::IsaV2 => try_insn(Insn::jump64_imm(Cond::Lt, R0, 1, 0)),
        Feature::IsaV3 => try_insn(Insn::jump32_imm(Cond::Eq, R0, 1, 0)),
        Feature::IsaV4 => try_insn(Insn::movsx64(R0, R0, 8)),
        Feature::MayGoto => {
            // A distance of 0 is refused by some.
            let insns = [Insn::mov64_imm(R0, 0), Insn::may_goto(1), Insn::mov64_imm(R0, 1), Insn::exit()];
            load(prog_type::SOCKET_FILTER, 0, &insns).map(drop)
        }
        Feature::AtomicFetch => {
            let insns = [
                Insn::store_imm(Size::Dw, R10, -8, 0),
                Insn::mov64_imm(R0, 0),
                Insn::atomic(AtomicOp::FetchAdd, Size::Dw, R10, -8, R0),
                Insn::mov64_imm(R0, 0),
                Insn::exit(),
            ];
            load(prog_type::SOCKET_FILTER, 0, &insns).map(drop)
        }
        Feature::IterNum => try_iter_num(find),
    }
}

fn return_zero() -> [Insn; 2] {
    [Insn::mov64_imm(R0, 0), Insn::exit()]
}

/// Loads a program; the error in words.
fn load(prog_type: u32, expected_attach_type: u32, insns: &[Insn]) -> Result<Program, String> {
    let spec = Spec { name: "try", prog_type, expected_attach_type, license: "GPL", insns, ..Spec::default() };
    Program::load(&spec).map_err(|error| in_words(&error))
}

/// Loads a program that does nothing for a BTF target.
fn load_for(
    expected_attach_type: u32,
    prog_type: u32,
    (name, kind): (&str, Kind),
    sleepable: bool,
    find: FindType<'_>,
) -> Result<Program, String> {
    let attach_btf_id = find(name, kind).ok_or_else(|| format!("the kernel's types have no {name}"))?;
    let insns = return_zero();
    let spec = Spec {
        name: "try",
        prog_type,
        expected_attach_type,
        license: "GPL",
        insns: &insns,
        sleepable,
        attach_btf_id,
        ..Spec::default()
    };
    Program::load(&spec).map_err(|error| in_words(&error))
}

fn in_words(error: &Error) -> String {
    match error {
        Error::Load(error) => match &error.verdict {
            Some(verdict) => verdict.reason.clone(),
            None => error.errno.to_string(),
        },
        Error::System { errno, .. } => errno.to_string(),
        other => other.to_string(),
    }
}

/// A program with one instruction more than it needs. `r0` is set before it.
fn try_insn(insn: Insn) -> Result<(), String> {
    let insns = [Insn::mov64_imm(R0, 0), insn, Insn::mov64_imm(R0, 0), Insn::exit()];
    load(prog_type::SOCKET_FILTER, 0, &insns).map(drop)
}

fn try_map(number: u32) -> Result<(), String> {
    let page = sys::page_size() as u32;
    let (key_size, value_size, max_entries, flags) = match number {
        map_type::RINGBUF | map_type::USER_RINGBUF => (0, 0, page, 0),
        map_type::STACK_TRACE => (4, 8, 1, 0),
        map_type::LPM_TRIE => (8, 8, 1, crate::map::NO_PREALLOC),
        map_type::QUEUE | map_type::STACK | map_type::BLOOM_FILTER => (0, 8, 1, 0),
        // BPF_F_MMAPABLE; entries are pages.
        map_type::ARENA => (0, 0, 1, crate::map::MMAPABLE),
        map_type::PROG_ARRAY | map_type::PERF_EVENT_ARRAY | map_type::CGROUP_ARRAY => (4, 4, 1, 0),
        _ => (4, 8, 1, 0),
    };
    let model = object::Map {
        name: "try".into(),
        map_type: number,
        key_size,
        value_size,
        max_entries,
        flags,
        ..Default::default()
    };
    Map::create(&model).map(drop).map_err(|error| in_words(&error))
}

/// An event for a kprobe at no place: lockdown and missing kprobes are told before the
/// kernel says EINVAL to that (`__register_trace_kprobe`, `kernel/trace/trace_kprobe.c`).
fn try_dynamic(kind: &str) -> Result<(), String> {
    let pmu = pmu_type(kind).map_err(|error| error.to_string())?;
    let attr = uapi::PerfEvent { kind: pmu, ..Default::default() };
    match sys::perf_event_open(&attr, -1, 0) {
        Err(errno @ Errno(libc::EPERM | libc::EACCES | libc::EOPNOTSUPP | libc::ENOSYS)) => Err(errno.to_string()),
        _ => Ok(()),
    }
}

/// A multi link whose list of places can't be read: EFAULT from a kernel that has the kind,
/// EINVAL or EOPNOTSUPP from one that has not.
fn try_multi(kind: u32) -> Result<(), String> {
    /// No address of user space.
    const NOWHERE: u64 = u64::MAX << 12;
    let program = load(prog_type::KPROBE, kind, &return_zero())?;
    let prog_fd = program.as_fd().as_raw_fd() as u32;
    let user = matches!(kind, attach_type::TRACE_UPROBE_MULTI | attach_type::TRACE_UPROBE_SESSION);
    let result = if user {
        let mut attr = uapi::LinkCreateUprobeMulti {
            prog_fd,
            attach_type: kind,
            path: NOWHERE,
            offsets: NOWHERE,
            cnt: 1,
            ..Default::default()
        };
        // SAFETY: the pointers are not in user space, so that the kernel refuses to read them.
        unsafe { sys::bpf_fd(cmd::LINK_CREATE, &mut attr) }
    } else {
        let mut attr =
            uapi::LinkCreateKprobeMulti { prog_fd, attach_type: kind, addrs: NOWHERE, cnt: 1, ..Default::default() };
        // SAFETY: the pointers are not in user space, so that the kernel refuses to read them.
        unsafe { sys::bpf_fd(cmd::LINK_CREATE, &mut attr) }
    };
    match result {
        Ok(_) | Err(Errno(libc::EFAULT)) => Ok(()),
        Err(errno) => Err(errno.to_string()),
    }
}

/// A perf link to no event: EBADF from a kernel that has such links, else EINVAL.
fn try_perf_link() -> Result<(), String> {
    let program = load(prog_type::TRACEPOINT, 0, &return_zero())?;
    let mut attr = uapi::LinkCreatePerf {
        prog_fd: program.as_fd().as_raw_fd() as u32,
        target_fd: u32::MAX,
        attach_type: attach_type::PERF_EVENT,
        flags: 0,
        cookie: 0,
    };
    // SAFETY: no pointers in this command.
    match unsafe { sys::bpf_fd(cmd::LINK_CREATE, &mut attr) } {
        Ok(_) | Err(Errno(libc::EBADF)) => Ok(()),
        Err(errno) => Err(errno.to_string()),
    }
}

/// Loads and attaches: hardened kernels refuse only the second.
fn try_trampoline(find: FindType<'_>) -> Result<(), String> {
    let function = HARMLESS_FUNCTIONS.into_iter().find(|name| find(name, Kind::Func).is_some());
    let target = (function.unwrap_or(HARMLESS_FUNCTIONS[0]), Kind::Func);
    let program = load_for(attach_type::TRACE_FENTRY, prog_type::TRACING, target, false, find)?;
    attach_to_target(&program)
}

fn attach_to_target(program: &Program) -> Result<(), String> {
    let no_tracepoint = |_: &str, _: &str| Err(Error::refused("attach", "not a tracepoint"));
    let link = Attacher::new(&no_tracepoint)
        .attach(program, &object::plan::Attach::Trampoline, &[])
        .map_err(|error| in_words(&error))?;
    // Taking a trampoline away waits for grace periods, which whoever asks need not.
    detach_all(vec![link]).leave();
    Ok(())
}

fn try_event(kind: u32) -> Result<(), String> {
    // Config 0 is the CPU clock and the cycle counter.
    let attr = uapi::PerfEvent { kind, sample_period: 1 << 30, ..Default::default() };
    sys::perf_event_open(&attr, -1, 0).map(drop).map_err(|errno| errno.to_string())
}

/// A program that calls the helper with nothing: the verifier looks for the helper
/// before it looks at the arguments.
fn try_helper(prog_type: u32, number: u32) -> Result<(), String> {
    let Ok(number) = i32::try_from(number) else { return Err("no helper has this number".into()) };
    let insns = [Insn::call_helper(number as u32), Insn::mov64_imm(R0, 0), Insn::exit()];
    let spec = Spec { name: "try", prog_type, license: "GPL", insns: &insns, ..Spec::default() };
    match Program::load(&spec) {
        Ok(_) => Ok(()),
        Err(Error::Load(error)) => {
            const UNKNOWN: [&str; 4] =
                ["invalid func ", "unknown func ", "program of this type cannot use helper ", "not allowed in probe"];
            match &error.verdict {
                Some(verdict) if !UNKNOWN.iter().any(|text| verdict.message.contains(text)) => Ok(()),
                Some(verdict) => Err(verdict.reason.clone()),
                None => Err(error.errno.to_string()),
            }
        }
        Err(error) => Err(in_words(&error)),
    }
}

/// Opens and closes an iterator over numbers, which lives on the stack (8 bytes).
fn try_iter_num(find: FindType<'_>) -> Result<(), String> {
    let function = |name: &str| find(name, Kind::Func).ok_or_else(|| format!("the kernel's types have no {name}"));
    let (new, destroy) = (function("bpf_iter_num_new")?, function("bpf_iter_num_destroy")?);
    let iterator = [Insn::mov64_reg(R1, R10), Insn::alu64_imm(AluOp::Add, R1, -8)];
    let mut insns = iterator.to_vec();
    insns.extend([Insn::mov64_imm(R2, 0), Insn::mov64_imm(R3, 1), Insn::call_kfunc(new, 0)]);
    insns.extend(iterator);
    insns.extend([Insn::call_kfunc(destroy, 0), Insn::mov64_imm(R0, 0), Insn::exit()]);
    load(prog_type::KPROBE, 0, &insns).map(drop)
}
