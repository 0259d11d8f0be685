//! Attachments that are BPF links of their own: raw tracepoints, trampolines, kprobe.multi,
//! uprobe.multi, iterators.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use isa::uapi::{attach_type, cmd};

use super::{Fds, NO_TRAMPOLINES};
use crate::error::{Errno, Error};
use crate::program::Program;
use crate::{sys, uapi};

/// A raw tracepoint; `by_name` false for one that is bound to its tracepoint by BTF.
pub(super) fn raw_tracepoint(program: &Program, name: &str, by_name: bool, cookie: Option<u64>) -> Result<Fds, Error> {
    let asked = || format!("attach to rawtracepoint:{name}");
    let c_name = CString::new(name).map_err(|_| Error::refused(asked(), "the name has a NUL byte in it"))?;
    let fd = open_tracepoint(program, by_name.then_some(&c_name), cookie).map_err(|errno| match errno.0 {
        libc::ENOENT => Error::system_hint(asked(), errno, "the kernel has no such tracepoint"),
        libc::EEXIST => {
            Error::system_hint(asked(), errno, "this kernel attaches a program to a raw tracepoint only once")
        }
        libc::EINVAL => Error::system_hint(asked(), errno, "the program reads more arguments than the tracepoint has"),
        _ => Error::system(asked(), errno),
    })?;
    Ok(vec![fd])
}

/// fentry, fexit, fmod_ret, LSM: the program knows its function since it was loaded.
pub(super) fn trampoline(program: &Program, cookie: Option<u64>) -> Result<Fds, Error> {
    let asked = || format!("attach program '{}' to its kernel function", program.name());
    let fd = open_tracepoint(program, None, cookie).map_err(|errno| match errno.0 {
        libc::EPERM => Error::system_hint(asked(), errno, NO_TRAMPOLINES),
        libc::EBUSY => Error::system_hint(asked(), errno, "something else (live patching, ftrace) holds the function"),
        libc::E2BIG => Error::system_hint(asked(), errno, "the kernel runs at most 38 programs at a function"),
        crate::error::ENOTSUPP => {
            Error::system_hint(asked(), errno, "this architecture or kernel has no BPF trampolines: use a kprobe")
        }
        _ => Error::system(asked(), errno),
    })?;
    Ok(vec![fd])
}

/// Many kernel functions by one link (5.18). Sessions (6.10) say so by the program's attach type.
pub(super) fn kprobe_multi(program: &Program, functions: &[String], ret: bool, cookies: &[u64]) -> Result<Fds, Error> {
    let kind = if ret { "kretprobe" } else { "kprobe" };
    let asked = || match functions {
        [one] => format!("attach to {kind}:{one} (kprobe.multi)"),
        _ => format!("attach to {} functions by {kind} (kprobe.multi)", functions.len()),
    };
    check_cookies(asked, functions.len(), cookies)?;
    let names: Vec<CString> = functions.iter().filter_map(|name| CString::new(name.as_str()).ok()).collect();
    if names.is_empty() || names.len() != functions.len() {
        return Err(Error::refused(asked(), "there is no function to attach to, or one has a NUL byte in its name"));
    }
    let pointers: Vec<u64> = names.iter().map(|name| name.as_ptr() as u64).collect();
    let mut attr = uapi::LinkCreateKprobeMulti {
        prog_fd: program.as_fd().as_raw_fd() as u32,
        attach_type: program.expected_attach_type(),
        multi_flags: if ret { uapi::flag::KPROBE_MULTI_RETURN } else { 0 },
        cnt: pointers.len() as u32,
        syms: pointers.as_ptr() as u64,
        cookies: if cookies.is_empty() { 0 } else { cookies.as_ptr() as u64 },
        ..Default::default()
    };
    // SAFETY: `pointers` has `cnt` C strings, `cookies` is null or has as many; all live.
    let fd = unsafe { sys::bpf_fd(cmd::LINK_CREATE, &mut attr) }.map_err(|errno| match errno.0 {
        libc::ESRCH | libc::ENOENT => {
            Error::system_hint(asked(), errno, "the kernel has no such function, or it can't be traced")
        }
        libc::EOPNOTSUPP | libc::EINVAL => {
            Error::system_hint(asked(), errno, "this kernel has no kprobe.multi (Linux 5.18, CONFIG_FPROBE)")
        }
        _ => Error::system(asked(), errno),
    })?;
    Ok(vec![fd])
}

/// Places of one binary, as file offsets.
pub(super) struct UserPlaces<'a> {
    pub path: &'a str,
    pub offsets: &'a [u64],
    /// For each place the offset of its semaphore, 0 for none; or empty.
    pub semaphores: &'a [u64],
    pub ret: bool,
    pub pid: Option<u32>,
}

/// Many places of one binary by one link (6.6).
pub(super) fn uprobe_multi(program: &Program, places: &UserPlaces<'_>, cookies: &[u64]) -> Result<Fds, Error> {
    let kind = if places.ret { "uretprobe" } else { "uprobe" };
    let asked = || match places.offsets {
        [one] => format!("attach to {kind}:{}:{one:#x} (uprobe.multi)", places.path),
        offsets => format!("attach to {} places of {} by {kind} (uprobe.multi)", offsets.len(), places.path),
    };
    check_cookies(asked, places.offsets.len(), cookies)?;
    let c_path = CString::new(places.path).map_err(|_| Error::refused(asked(), "the path has a NUL byte in it"))?;
    if places.offsets.is_empty() {
        return Err(Error::refused(asked(), "there is no place to attach to"));
    }
    let has_semaphores = places.semaphores.iter().any(|offset| *offset != 0);
    if has_semaphores && places.semaphores.len() != places.offsets.len() {
        return Err(Error::refused(asked(), "there is not a semaphore for each place"));
    }
    let mut attr = uapi::LinkCreateUprobeMulti {
        prog_fd: program.as_fd().as_raw_fd() as u32,
        attach_type: program.expected_attach_type(),
        path: c_path.as_ptr() as u64,
        offsets: places.offsets.as_ptr() as u64,
        ref_ctr_offsets: if has_semaphores { places.semaphores.as_ptr() as u64 } else { 0 },
        cookies: if cookies.is_empty() { 0 } else { cookies.as_ptr() as u64 },
        cnt: places.offsets.len() as u32,
        multi_flags: if places.ret { uapi::flag::UPROBE_MULTI_RETURN } else { 0 },
        pid: places.pid.unwrap_or(0),
        ..Default::default()
    };
    // SAFETY: the path is a C string, `offsets` has `cnt` numbers, `semaphores` and `cookies` are null
    // or have as many; all live.
    let fd = unsafe { sys::bpf_fd(cmd::LINK_CREATE, &mut attr) }.map_err(|errno| match errno.0 {
        libc::ENOENT | libc::EBADF => Error::system_hint(asked(), errno, "there is no such file"),
        libc::ESRCH => Error::system_hint(asked(), errno, "there is no such process"),
        libc::EINVAL => Error::system_hint(
            asked(),
            errno,
            "this kernel has no uprobe.multi (Linux 6.6), or an offset is not in the file's code",
        ),
        _ => Error::system(asked(), errno),
    })?;
    Ok(vec![fd])
}

/// Runs an iterator to its end, discarding what it writes; or pins it, and then reading the pin runs it.
pub(super) fn iterator(program: &Program, pin: Option<&str>) -> Result<Fds, Error> {
    let link = iterator_link(program)?;
    match pin {
        Some(path) => pin_link(link.as_fd(), path)?,
        None => run_iterator(program, link.as_fd(), &mut |_| ())?,
    }
    Ok(vec![link])
}

/// Runs an iterator once to its end; `sink` gets what it writes, piece by piece.
pub fn read_iterator(program: &Program, sink: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
    let link = iterator_link(program)?;
    run_iterator(program, link.as_fd(), sink)
}

fn iterator_link(program: &Program) -> Result<OwnedFd, Error> {
    let mut attr = uapi::LinkCreate {
        prog_fd: program.as_fd().as_raw_fd() as u32,
        attach_type: attach_type::TRACE_ITER,
        ..Default::default()
    };
    // SAFETY: no pointers in this command.
    unsafe { sys::bpf_fd(cmd::LINK_CREATE, &mut attr) }.map_err(|errno| {
        let asked = format!("attach iterator '{}'", program.name());
        match errno.0 {
            libc::EINVAL => Error::system_hint(asked, errno, "this kernel has no such iterator"),
            _ => Error::system(asked, errno),
        }
    })
}

fn run_iterator(program: &Program, link: BorrowedFd<'_>, sink: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
    let failed = |errno| Error::system(format!("run iterator '{}'", program.name()), errno);
    let mut attr = uapi::Fd { fd: link.as_raw_fd() as u32, flags: 0 };
    // SAFETY: no pointers in this command.
    let run = unsafe { sys::bpf_fd(cmd::ITER_CREATE, &mut attr) }.map_err(failed)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match sys::read(run.as_fd(), &mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => sink(&buffer[..count]),
            // The kernel pauses after a million objects without output (bpf_seq_read).
            Err(Errno(libc::EAGAIN)) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
}

fn pin_link(link: BorrowedFd<'_>, path: &str) -> Result<(), Error> {
    let asked = || format!("pin at {path}");
    let c_path = CString::new(path).map_err(|_| Error::refused(asked(), "the path has a NUL byte in it"))?;
    let mut attr = uapi::Object { pathname: c_path.as_ptr() as u64, bpf_fd: link.as_raw_fd() as u32, file_flags: 0 };
    // SAFETY: the path is a C string and live.
    unsafe { sys::bpf(cmd::OBJ_PIN, &mut attr) }.map(drop).map_err(|errno| match errno.0 {
        libc::EEXIST => Error::system_hint(asked(), errno, "remove that file first"),
        libc::EPERM | libc::EINVAL => {
            Error::system_hint(asked(), errno, "pins must be on a bpf file system: mount -t bpf bpffs /sys/fs/bpf")
        }
        libc::ENOENT => Error::system_hint(asked(), errno, "make the folder first, on a bpf file system (/sys/fs/bpf)"),
        _ => Error::system(asked(), errno),
    })
}

/// `BPF_RAW_TRACEPOINT_OPEN`: with a name for raw tracepoints, without for whatever a tracing
/// program was loaded against. Kernels before 6.9 know no cookie here.
fn open_tracepoint(program: &Program, name: Option<&CString>, cookie: Option<u64>) -> Result<OwnedFd, Errno> {
    let mut attr = uapi::RawTracepointOpen {
        name: name.map_or(0, |name| name.as_ptr() as u64),
        prog_fd: program.as_fd().as_raw_fd() as u32,
        pad: 0,
        cookie: cookie.unwrap_or(0),
    };
    // SAFETY: the name is null or a C string, and live.
    unsafe { sys::bpf_fd(cmd::RAW_TRACEPOINT_OPEN, &mut attr) }
}

fn check_cookies(asked: impl Fn() -> String, places: usize, cookies: &[u64]) -> Result<(), Error> {
    if cookies.is_empty() || cookies.len() == places {
        return Ok(());
    }
    Err(Error::refused(asked(), format!("there are {} cookies for {places} places", cookies.len())))
}
