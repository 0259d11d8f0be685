//! Attachments that hang on perf events: tracepoints, kprobes, uprobes, USDT, samples.
//!
//! Without a cookie the program is set on the event itself, which is one descriptor an
//! attachment; with a cookie a BPF link holds both (5.15).

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use isa::uapi::{attach_type, cmd};
use object::plan::Sample;

use super::Fds;
use crate::error::{Errno, Error};
use crate::program::Program;
use crate::uapi::{self, perf};
use crate::{cpus, sys};

/// Where a kprobe goes; `function` is a name, or an address with `0x`.
pub(super) struct KernelPlace<'a> {
    pub module: Option<&'a str>,
    pub function: &'a str,
    pub offset: u64,
    pub ret: bool,
}

/// Where a uprobe goes; offsets are file offsets, `semaphore` 0 for none.
pub(super) struct UserPlace<'a> {
    pub path: &'a str,
    pub offset: u64,
    pub semaphore: u64,
    pub ret: bool,
    pub pid: Option<u32>,
}

/// An event that fires by counting.
pub(super) struct Sampled {
    pub kind: u32,
    pub config: u64,
    pub sample: Sample,
}

/// Bit of `config` that makes a kprobe or uprobe one on return
/// (`/sys/bus/event_source/devices/{k,u}probe/format/retprobe`: `config:0` since 4.17).
const RETURN: u64 = 1;
/// Lowest bit of `config` that holds the semaphore's offset
/// (`/sys/bus/event_source/devices/uprobe/format/ref_ctr_offset`: `config:32-63` since 4.20).
const SEMAPHORE_SHIFT: u32 = 32;

/// The perf event type of a kind of probe.
pub(crate) fn pmu_type(name: &str) -> Result<u32, Error> {
    let path = format!("/sys/bus/event_source/devices/{name}/type");
    let asked = || format!("attach a {name}");
    match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|_| Error::malformed(format!("read {path}"), "it is not a number")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Error::Refused {
            asked: asked(),
            reason: format!("this kernel has no {name}s (there is no {path})"),
            hint: Some(match name {
                "kprobe" => {
                    "it was built without CONFIG_KPROBE_EVENTS: use a tracepoint or rawtracepoint probe, or fentry if it works here".into()
                }
                _ => "it was built without CONFIG_UPROBE_EVENTS, or /sys is not mounted".into(),
            }),
        }),
        Err(error) => Err(Error::io(format!("read {path}"), &error)),
    }
}

pub(super) fn tracepoint(
    program: &Program,
    category: &str,
    name: &str,
    id: u64,
    cookie: Option<u64>,
) -> Result<Fds, Error> {
    let asked = || format!("attach to tracepoint:{category}:{name}");
    let attr = uapi::PerfEvent { kind: perf::TYPE_TRACEPOINT, config: id, ..Default::default() };
    // The program runs on every CPU whatever the event's own CPU is, and it gets all hits:
    // the event only holds it (`perf_trace_run_bpf_submit`, kernel/events/core.c).
    let event = open_everywhere(&attr).map_err(|errno| Error::system(asked(), errno))?;
    set_program(program, event, cookie).map_err(|errno| match errno.0 {
        libc::E2BIG => Error::system_hint(asked(), errno, "the kernel runs at most 64 programs at a tracepoint"),
        libc::EACCES => Error::system_hint(asked(), errno, "the program reads past the end of the tracepoint's fields"),
        _ => Error::system(asked(), errno),
    })
}

pub(super) fn kprobe(program: &Program, pmu: u32, place: &KernelPlace<'_>, cookie: Option<u64>) -> Result<Fds, Error> {
    let kind = if place.ret { "kretprobe" } else { "kprobe" };
    let symbol = match place.module {
        Some(module) => format!("{module}:{}", place.function),
        None => place.function.to_owned(),
    };
    let asked = || match place.offset {
        0 => format!("attach to {kind}:{symbol}"),
        offset => format!("attach to {kind}:{symbol}+{offset}"),
    };
    let name = c_string(&symbol, asked)?;
    // `0xffffffff81000000` in place of a name is an address.
    let address = place.function.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let attr = uapi::PerfEvent {
        kind: pmu,
        config: if place.ret { RETURN } else { 0 },
        config1: if address.is_some() { 0 } else { name.as_ptr() as u64 },
        config2: address.unwrap_or(0).wrapping_add(place.offset),
        ..Default::default()
    };
    let event = open_everywhere(&attr).map_err(|errno| match errno.0 {
        libc::ENOENT => Error::system_hint(asked(), errno, match place.module {
            Some(module) => format!("the kernel has no such function, or module '{module}' is not loaded"),
            None => "the kernel has no such function (it may have been inlined)".into(),
        }),
        libc::EADDRNOTAVAIL => {
            Error::system_hint(asked(), errno, "several functions have this name: name the module, or use an address")
        }
        libc::EINVAL | libc::EILSEQ | libc::EOPNOTSUPP => Error::system_hint(
            asked(),
            errno,
            "the kernel does not allow a probe there: the function is on its blacklist, or the offset is inside an instruction",
        ),
        _ => Error::system(asked(), errno),
    })?;
    set_program(program, event, cookie).map_err(|errno| Error::system(asked(), errno))
}

pub(super) fn uprobe(program: &Program, pmu: u32, place: &UserPlace<'_>, cookie: Option<u64>) -> Result<Fds, Error> {
    let kind = if place.ret { "uretprobe" } else { "uprobe" };
    let asked = || format!("attach to {kind}:{}:{:#x}", place.path, place.offset);
    let path = c_string(place.path, asked)?;
    let Ok(semaphore) = u32::try_from(place.semaphore) else {
        return Err(Error::refused(asked(), "the probe's semaphore lies beyond 4 GiB of the file"));
    };
    let attr = uapi::PerfEvent {
        kind: pmu,
        config: (u64::from(semaphore) << SEMAPHORE_SHIFT) | if place.ret { RETURN } else { 0 },
        config1: path.as_ptr() as u64,
        config2: place.offset,
        ..Default::default()
    };
    // With a process the event is on that process, on any CPU; without, on any
    // process, and one CPU stands for all.
    let event = match place.pid {
        Some(pid) => sys::perf_event_open(&attr, i32::try_from(pid).unwrap_or(i32::MAX), -1),
        None => open_everywhere(&attr),
    };
    let event = event.map_err(|errno| match errno.0 {
        libc::ENOENT => Error::system_hint(asked(), errno, "there is no such file"),
        libc::ESRCH => Error::system_hint(asked(), errno, "there is no such process"),
        libc::EINVAL => Error::system_hint(
            asked(),
            errno,
            "the offset is not in a mapped, executable part of the file, or another probe at the same place has another semaphore",
        ),
        libc::EOPNOTSUPP | crate::error::ENOTSUPP => {
            Error::system_hint(asked(), errno, "the kernel can't put a probe on the instruction at that offset")
        }
        _ => Error::system(asked(), errno),
    })?;
    set_program(program, event, cookie).map_err(|errno| Error::system(asked(), errno))
}

/// A sampling event on every online CPU, or on the first one; of every process, or of all
/// threads of one, new ones included.
pub(super) fn sampled(
    program: &Program,
    what: &Sampled,
    one_cpu: bool,
    pid: Option<u32>,
    cookie: Option<u64>,
) -> Result<Vec<Fds>, Error> {
    let asked = || {
        let kind = match what.kind {
            perf::TYPE_HARDWARE => "hardware",
            perf::TYPE_SOFTWARE => "software",
            _ => "perf",
        };
        format!("attach to {kind} event {}", what.config)
    };
    let mut attr = uapi::PerfEvent { kind: what.kind, config: what.config, ..Default::default() };
    match what.sample {
        Sample::FrequencyHz(hertz) => {
            attr.flags |= perf::FREQ;
            attr.sample_period = hertz;
        }
        Sample::Period(count) => attr.sample_period = count,
    }
    if attr.sample_period == 0 {
        return Err(Error::refused(asked(), "a rate of 0 never fires"));
    }
    let open = |attr: &uapi::PerfEvent, pid: i32, cpu: i32| -> Result<Fds, Errno> {
        set_program(program, sys::perf_event_open(attr, pid, cpu)?, cookie)
    };
    let failed = |errno: Errno| sampled_error(asked(), what, errno);
    if let Some(pid) = pid {
        attr.flags |= perf::INHERIT;
        let mut events = Vec::new();
        for thread in threads(pid).map_err(|error| Error::io(format!("list the threads of process {pid}"), &error))? {
            match open(&attr, thread, -1) {
                Ok(fds) => events.push(fds),
                // Ended meanwhile.
                Err(Errno(libc::ESRCH)) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        return Ok(events);
    }
    let online = cpus::online();
    let wanted = if one_cpu { &online[..1] } else { &online[..] };
    let mut events = Vec::with_capacity(wanted.len());
    for &cpu in wanted {
        match open(&attr, -1, i32::try_from(cpu).unwrap_or(0)) {
            Ok(fds) => events.push(fds),
            // Went offline meanwhile.
            Err(Errno(libc::ENODEV)) if !one_cpu => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(events)
}

fn sampled_error(asked: String, what: &Sampled, errno: Errno) -> Error {
    match (errno.0, what.sample) {
        (libc::ENOENT | libc::EOPNOTSUPP | libc::ENODEV, _) if what.kind == perf::TYPE_HARDWARE => Error::system_hint(
            asked,
            errno,
            "this machine shows no such hardware counter, as most virtual machines: use a software event or profile",
        ),
        (libc::EINVAL, Sample::FrequencyHz(hertz)) => Error::system_hint(
            asked,
            errno,
            format!("{hertz} a second may be above the limit in /proc/sys/kernel/perf_event_max_sample_rate"),
        ),
        _ => Error::system(asked, errno),
    }
}

/// Thread ids of a process.
fn threads(pid: u32) -> std::io::Result<Vec<i32>> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))?;
    Ok(tasks.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

/// Sets a program on an event that is enabled already.
fn set_program(program: &Program, event: OwnedFd, cookie: Option<u64>) -> Result<Fds, Errno> {
    let Some(cookie) = cookie else {
        sys::ioctl(event.as_fd(), perf::IOC_SET_BPF, program.as_fd().as_raw_fd() as u64)?;
        return Ok(vec![event]);
    };
    let link = perf_link(program.as_fd(), event.as_fd(), cookie)?;
    Ok(vec![link, event])
}

/// A BPF link of a program and a perf event (5.15).
fn perf_link(program: BorrowedFd<'_>, event: BorrowedFd<'_>, cookie: u64) -> Result<OwnedFd, Errno> {
    let mut attr = uapi::LinkCreatePerf {
        prog_fd: program.as_raw_fd() as u32,
        target_fd: event.as_raw_fd() as u32,
        attach_type: attach_type::PERF_EVENT,
        flags: 0,
        cookie,
    };
    // SAFETY: no pointers in this command.
    unsafe { sys::bpf_fd(cmd::LINK_CREATE, &mut attr) }
}

/// An event that stands for every process and every CPU must be opened on some CPU all the same:
/// the first, or if that is offline another.
fn open_everywhere(attr: &uapi::PerfEvent) -> Result<OwnedFd, Errno> {
    match sys::perf_event_open(attr, -1, 0) {
        Err(Errno(libc::ENODEV)) => {
            let cpu = cpus::online().first().copied().unwrap_or(0);
            sys::perf_event_open(attr, -1, i32::try_from(cpu).unwrap_or(0))
        }
        result => result,
    }
}

fn c_string(text: &str, asked: impl Fn() -> String) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error::refused(asked(), "the name has a NUL byte in it"))
}
