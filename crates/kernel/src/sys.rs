//! System calls as functions that return owned descriptors and error numbers.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::error::Errno;
use crate::uapi::{Attr, PerfEvent};

/// bpf(2); the result is what the command returns, 0 or a descriptor.
///
/// # Safety
/// Every pointer in `attr` must be null or point to memory as large as `attr` says,
/// live for the call, and writable where the command writes.
pub(crate) unsafe fn bpf<A: Attr>(cmd: u32, attr: &mut A) -> Result<i32, Errno> {
    let size = size_of::<A>();
    // SAFETY: `attr` is live and `size` bytes large; what it points to is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, cmd, std::ptr::from_mut(attr), size) };
    check(result)
}

/// Like [`bpf`] for the commands that return a descriptor.
///
/// # Safety
/// As [`bpf`]; and `cmd` must be one that returns a new descriptor.
pub(crate) unsafe fn bpf_fd<A: Attr>(cmd: u32, attr: &mut A) -> Result<OwnedFd, Errno> {
    // SAFETY: the caller's promise.
    let fd = unsafe { bpf(cmd, attr) }?;
    // SAFETY: the command made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// perf_event_open(2) without a group; `pid` -1 is every process, `cpu` -1 every CPU.
pub(crate) fn perf_event_open(attr: &PerfEvent, pid: i32, cpu: i32) -> Result<OwnedFd, Errno> {
    let mut attr = *attr;
    attr.size = size_of::<PerfEvent>() as u32;
    // SAFETY: `attr` is live and says its size; its two pointers (config1 of kprobe and uprobe
    // events) are C strings that the callers in `link::perf_event` keep alive over this call.
    let fd = check(unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            std::ptr::from_ref(&attr),
            pid,
            cpu,
            -1,
            crate::uapi::perf::FLAG_FD_CLOEXEC,
        )
    })?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// ioctl(2) with an integer argument; only for requests that take one.
pub(crate) fn ioctl(fd: BorrowedFd<'_>, request: libc::c_ulong, argument: u64) -> Result<(), Errno> {
    // SAFETY: the requests used in this crate take an integer, not a pointer.
    check(i64::from(unsafe { libc::ioctl(fd.as_raw_fd(), request as _, argument) })).map(drop)
}

/// read(2); the number of bytes read.
pub(crate) fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        // SAFETY: the buffer is live, writable and as large as said.
        let result = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        match usize::try_from(result) {
            Ok(count) => return Ok(count),
            Err(_) if Errno::last().0 == libc::EINTR => continue,
            Err(_) => return Err(Errno::last()),
        }
    }
}

/// write(2); the number of bytes written.
pub(crate) fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    loop {
        // SAFETY: the buffer is live and as large as said.
        let result = unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(result) {
            Ok(count) => return Ok(count),
            Err(_) if Errno::last().0 == libc::EINTR => continue,
            Err(_) => return Err(Errno::last()),
        }
    }
}

/// A pipe whose ends close on exec: (read, write).
pub(crate) fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let mut fds = [0; 2];
    // SAFETY: `fds` has room for the two descriptors.
    check(i64::from(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }))?;
    // SAFETY: the kernel just made both for us.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// A descriptor that polls readable once the process has ended (Linux 5.3).
pub fn pidfd_open(pid: u32) -> Result<OwnedFd, Errno> {
    let Ok(pid) = i32::try_from(pid) else { return Err(Errno(libc::ESRCH)) };
    // SAFETY: integers only.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A timer that polls readable every `period`.
pub fn timerfd(period: Duration) -> Result<OwnedFd, Errno> {
    let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
    // SAFETY: integers only.
    let fd = check(i64::from(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) }))?;
    // SAFETY: the kernel just made this descriptor for us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let span = libc::timespec {
        tv_sec: libc::time_t::try_from(period.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(period.subsec_nanos() as i32),
    };
    let spec = libc::itimerspec { it_interval: span, it_value: span };
    // SAFETY: `spec` is live; the old value is not asked for.
    let result = unsafe { libc::timerfd_settime(fd.as_raw_fd(), 0, &spec, std::ptr::null_mut()) };
    check(i64::from(result))?;
    Ok(fd)
}

/// Whether our effective user is root.
pub fn is_root() -> bool {
    // SAFETY: no arguments, can't fail.
    unsafe { libc::geteuid() == 0 }
}

/// A signal to a process.
pub fn kill(pid: u32, signal: i32) -> Result<(), Errno> {
    let Ok(pid) = i32::try_from(pid) else { return Err(Errno(libc::ESRCH)) };
    if pid == 0 {
        return Err(Errno(libc::ESRCH));
    }
    // SAFETY: integers only.
    check(i64::from(unsafe { libc::kill(pid, signal) })).map(drop)
}

/// Forks a child that waits until a byte comes out of `gate`, then executes `path`; if
/// the gate closes instead, it ends. The error number of a failed exec goes into `failure`.
/// The child closes its copy of our end of the gate, so that our own end, however it
/// comes, ends a held child.
pub(crate) fn fork_held(
    path: &CStr,
    arguments: &[CString],
    (gate, our_gate): (BorrowedFd<'_>, BorrowedFd<'_>),
    failure: BorrowedFd<'_>,
) -> Result<u32, Errno> {
    let mut argv: Vec<*const libc::c_char> = arguments.iter().map(|argument| argument.as_ptr()).collect();
    argv.push(std::ptr::null());
    let (gate, our_gate, failure) = (gate.as_raw_fd(), our_gate.as_raw_fd(), failure.as_raw_fd());
    // SAFETY: between fork and exec the child makes async-signal-safe calls only, on memory that was
    // laid out before; `argv` ends with a null and its strings are live, `environ` is as libc keeps it.
    unsafe {
        match libc::fork() {
            -1 => Err(Errno::last()),
            0 => {
                let mut empty: libc::sigset_t = std::mem::zeroed();
                libc::sigemptyset(&mut empty);
                libc::sigprocmask(libc::SIG_SETMASK, &empty, std::ptr::null_mut());
                libc::signal(libc::SIGPIPE, libc::SIG_DFL);
                let mut byte = 0u8;
                libc::close(our_gate);
                if libc::read(gate, std::ptr::from_mut(&mut byte).cast(), 1) != 1 {
                    libc::_exit(127);
                }
                libc::execve(path.as_ptr(), argv.as_ptr(), environ.cast());
                let errno = *libc::__errno_location();
                libc::write(failure, std::ptr::from_ref(&errno).cast(), 4);
                libc::_exit(127);
            }
            pid => Ok(pid.unsigned_abs()),
        }
    }
}

unsafe extern "C" {
    static environ: *const *const libc::c_char;
}

/// Waits for a child's end; its status as wait(2) has it, `None` if it is no child of ours.
pub(crate) fn wait(pid: u32) -> Option<i32> {
    wait_with(pid, 0)
}

/// A child's status if it has ended.
pub(crate) fn try_wait(pid: u32) -> Option<i32> {
    wait_with(pid, libc::WNOHANG)
}

fn wait_with(pid: u32, options: i32) -> Option<i32> {
    let pid = i32::try_from(pid).ok()?;
    let mut status = 0;
    loop {
        // SAFETY: `status` is live and writable.
        let result = unsafe { libc::waitpid(pid, &mut status, options) };
        if result == pid {
            return Some(status);
        }
        if result != -1 || Errno::last().0 != libc::EINTR {
            return None;
        }
    }
}

/// Blocks these signals in the calling thread and returns a descriptor that they are read from.
pub(crate) fn signalfd(signals: &[i32]) -> Result<OwnedFd, Errno> {
    // SAFETY: all zeros is a valid set, which the calls below work on; `set` is live throughout.
    let fd = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in signals {
            libc::sigaddset(&mut set, *signal);
        }
        check(i64::from(libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut())))?;
        check(i64::from(libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)))?
    };
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// From now on the signal does nothing to this process.
pub(crate) fn ignore_signal(signal: i32) {
    // SAFETY: SIG_IGN is a valid disposition.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// A signal to the calling thread.
#[cfg(test)]
pub(crate) fn raise(signal: i32) {
    // SAFETY: integers only.
    unsafe { libc::raise(signal) };
}

/// The page size in bytes.
pub(crate) fn page_size() -> usize {
    // SAFETY: no pointers.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// The limit on memory that may be locked: (current, maximum), `u64::MAX` without limit.
pub fn memlock_limit() -> Result<(u64, u64), Errno> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is live and writable.
    check(i64::from(unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) }))?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// Raises our limit on open files as far as it may go without privilege; each link is one or
/// more. A limit that cannot be raised shows as `EMFILE` where it is met.
pub fn raise_open_files_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is live and writable.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

/// Lifts the limit on locked memory, which before Linux 5.11 counts maps and
/// programs. False if it was lifted already or may not be.
pub(crate) fn lift_memlock_limit() -> bool {
    if matches!(memlock_limit(), Ok((libc::RLIM_INFINITY, _))) {
        return false;
    }
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `limit` is live.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) == 0 }
}

/// The release of the running kernel, as `uname -r` prints it.
pub fn kernel_release() -> String {
    // SAFETY: all zeros is a valid `utsname`.
    let mut name: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: `name` is live and writable.
    if unsafe { libc::uname(&mut name) } != 0 {
        return String::new();
    }
    // SAFETY: uname(2) ends the field with a NUL.
    unsafe { CStr::from_ptr(name.release.as_ptr()) }.to_string_lossy().into_owned()
}

/// `(major, minor, patch)` of the running kernel; zeros for parts that are not numbers.
pub fn kernel_version() -> (u32, u32, u32) {
    let release = kernel_release();
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

/// Whether the running kernel is older than this. For what can't be tried; a
/// feature that can be is asked of [`crate::Features`].
pub(crate) fn kernel_before(major: u32, minor: u32) -> bool {
    let (running_major, running_minor, _) = kernel_version();
    (running_major, running_minor) < (major, minor)
}

/// Waits on descriptors; at most `epoll` of them are told at a time.
#[derive(Debug)]
pub struct Poll {
    epoll: OwnedFd,
}

impl Poll {
    pub fn new() -> Result<Poll, Errno> {
        // SAFETY: integers only.
        let fd = check(i64::from(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }))?;
        // SAFETY: the kernel just made this descriptor for us.
        Ok(Poll { epoll: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Watches a descriptor for something to read (or its end); [`Poll::wait`] tells `token`.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64) -> Result<(), Errno> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
        // SAFETY: `event` is live.
        let result =
            unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &mut event) };
        check(i64::from(result)).map(drop)
    }

    /// Stops watching a descriptor.
    pub fn remove(&self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        let null = std::ptr::null_mut();
        // SAFETY: the event is not looked at when removing.
        let result = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, fd.as_raw_fd(), null) };
        check(i64::from(result)).map(drop)
    }

    /// Waits until something can be read, at most `timeout` (`None`: for ever).
    /// Fills `ready` with tokens; empty on timeout or when a signal came.
    pub fn wait(&self, timeout: Option<Duration>, ready: &mut Vec<u64>) -> Result<(), Errno> {
        ready.clear();
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 16];
        let millis = match timeout {
            None => -1,
            // Rounded up, so that a short wait is not a busy one.
            Some(t) => i32::try_from(t.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX),
        };
        // SAFETY: `events` is live, writable and as large as said.
        let count =
            unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), events.len() as i32, millis) };
        match check(i64::from(count)) {
            Ok(count) => {
                ready.extend(events.iter().take(count.unsigned_abs() as usize).map(|event| event.u64));
                Ok(())
            }
            Err(Errno(libc::EINTR)) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

/// The result of a system call as a number or an error.
fn check(result: i64) -> Result<RawFd, Errno> {
    if result < 0 { Err(Errno::last()) } else { Ok(i32::try_from(result).unwrap_or(i32::MAX)) }
}
