//! Programs: load, run once, measure.

use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use isa::Insn;
use isa::pseudo;
use isa::uapi::{cmd, prog_type};

use crate::error::{Errno, Error};
use crate::map::{kernel_name, with_memlock};
use crate::verdict::{MAX_USED_MAPS, Verdict};
use crate::{sys, uapi};

/// A program as the kernel takes it: everything resolved to numbers and descriptors.
#[derive(Clone, Debug, Default)]
pub struct Spec<'a> {
    /// The kernel shows the first 15 bytes.
    pub name: &'a str,
    /// Number of `isa::uapi::prog_type`.
    pub prog_type: u32,
    /// Number of `isa::uapi::attach_type`.
    pub expected_attach_type: u32,
    /// Helpers that read kernel memory want "GPL".
    pub license: &'a str,
    pub insns: &'a [Insn],
    pub sleepable: bool,
    /// BTF id that a tracing program is for, 0 for none.
    pub attach_btf_id: u32,
    /// BTF that id is of; `None` for vmlinux.
    pub attach_btf: Option<BorrowedFd<'a>>,
    /// Needed if the program has callbacks; shows source lines in logs.
    pub types: Option<Types<'a>>,
}

/// A program's own type information.
#[derive(Clone, Copy, Debug)]
pub struct Types<'a> {
    pub btf: BorrowedFd<'a>,
    /// `struct bpf_func_info` records, 8 bytes each.
    pub func_info: &'a [u8],
    /// `struct bpf_line_info` records, 16 bytes each; may be empty.
    pub line_info: &'a [u8],
}

/// Bytes of a `struct bpf_func_info` (instruction, type id).
const FUNC_INFO_BYTES: u32 = 8;
/// Bytes of a `struct bpf_line_info` (instruction, file, line text, line and column).
const LINE_INFO_BYTES: u32 = 16;

/// A loaded program, ours as long as the descriptor is open.
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
    name: String,
    prog_type: u32,
    expected_attach_type: u32,
}

impl Program {
    /// Loads a program. The verifier's log is asked for only after a refusal, since
    /// writing it slows the verifier down.
    ///
    /// # Errors
    /// [`Error::Load`] with the log if the verifier refuses; its `verdict` says why.
    pub fn load(spec: &Spec<'_>) -> Result<Program, Error> {
        match load_fd(spec) {
            Ok(fd) => Ok(Program {
                fd,
                name: spec.name.to_owned(),
                prog_type: spec.prog_type,
                expected_attach_type: spec.expected_attach_type,
            }),
            Err(errno) => {
                let log = load_log(spec, errno);
                Err(Error::Load(Box::new(LoadError::new(spec, errno, log))))
            }
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of `isa::uapi::prog_type`.
    pub fn prog_type(&self) -> u32 {
        self.prog_type
    }

    /// Number of `isa::uapi::attach_type`.
    pub fn expected_attach_type(&self) -> u32 {
        self.expected_attach_type
    }

    /// Runs the program once without attaching it (`BPF_PROG_TEST_RUN`). Kinds that
    /// have it: socket filters, XDP, tc, cgroup (on `data`), raw tracepoints since 5.10
    /// and syscall programs (on `ctx`; data and repeat must be empty and 0).
    pub fn test_run(&self, input: TestInput<'_>) -> Result<TestOutput, Error> {
        let mut data = vec![0; input.data_out_bytes];
        let mut ctx = input.ctx.to_vec();
        let mut attr = uapi::TestRun {
            prog_fd: self.fd.as_raw_fd() as u32,
            data_size_in: input.data.len() as u32,
            data_in: pointer(input.data),
            data_size_out: data.len() as u32,
            data_out: if data.is_empty() { 0 } else { data.as_mut_ptr() as u64 },
            repeat: input.repeat,
            ctx_size_in: ctx.len() as u32,
            ctx_in: pointer(input.ctx),
            ..Default::default()
        };
        if input.ctx_out {
            attr.ctx_size_out = ctx.len() as u32;
            attr.ctx_out = if ctx.is_empty() { 0 } else { ctx.as_mut_ptr() as u64 };
        }
        // SAFETY: the four buffers are live and as large as said, the two outputs writable.
        unsafe { sys::bpf(cmd::PROG_TEST_RUN, &mut attr) }.map_err(|errno| {
            let asked = format!("run program '{}' once", self.name);
            match errno.0 {
                crate::error::ENOTSUPP => Error::system_hint(
                    asked,
                    errno,
                    "this kernel can't run a program of this type without attaching it",
                ),
                _ => Error::system(asked, errno),
            }
        })?;
        data.truncate(attr.data_size_out as usize);
        Ok(TestOutput { retval: attr.retval, duration: Duration::from_nanos(attr.duration.into()), data, ctx })
    }

    /// What the kernel knows about the program, its cost included.
    pub fn info(&self) -> Result<Info, Error> {
        info(self.fd.as_fd()).map_err(|errno| Error::system(format!("ask about program '{}'", self.name), errno))
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What a single run works on.
#[derive(Clone, Copy, Debug, Default)]
pub struct TestInput<'a> {
    pub data: &'a [u8],
    /// Room for the data afterwards, in bytes.
    pub data_out_bytes: usize,
    pub ctx: &'a [u8],
    /// The context is wanted back.
    pub ctx_out: bool,
    /// Runs; 0 is once.
    pub repeat: u32,
}

/// What a single run did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestOutput {
    /// What the program returned.
    pub retval: u32,
    /// Of one run, on average over the repeats.
    pub duration: Duration,
    pub data: Vec<u8>,
    pub ctx: Vec<u8>,
}

/// What the kernel knows about a loaded program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    pub id: u32,
    pub prog_type: u32,
    pub name: String,
    /// Runs while statistics were on.
    pub run_count: u64,
    /// Time spent in them, in nanoseconds.
    pub run_time_ns: u64,
    /// Runs that were skipped because the program ran already on that CPU.
    pub recursion_misses: u64,
    /// Bytes of the verified and rewritten instructions.
    pub translated_bytes: u32,
    /// Bytes of machine code, 0 without JIT.
    pub jited_bytes: u32,
    /// Instructions that the verifier walked through, 0 before 5.16.
    pub verified_insns: u32,
}

/// The kernel counts runs and time of all programs as long as this is held (5.8);
/// it costs each run some 20 ns.
#[derive(Debug)]
pub struct Statistics {
    _fd: OwnedFd,
}

impl Statistics {
    /// Turns `BPF_STATS_RUN_TIME` on.
    pub fn enable() -> Result<Statistics, Error> {
        let mut attr = uapi::Fd::default();
        // SAFETY: no pointers in this command; type 0 is BPF_STATS_RUN_TIME.
        let fd = unsafe { sys::bpf_fd(cmd::ENABLE_STATS, &mut attr) }
            .map_err(|errno| Error::system("turn on statistics of BPF programs", errno))?;
        Ok(Statistics { _fd: fd })
    }
}

/// All programs loaded on this machine, in the order of their ids; those that go
/// away meanwhile are left out.
pub fn all() -> Result<Vec<Info>, Error> {
    let failed = |errno| Error::system("list BPF programs", errno);
    let mut programs = Vec::new();
    let mut attr = uapi::ById::default();
    loop {
        // SAFETY: no pointers in this command.
        match unsafe { sys::bpf(cmd::PROG_GET_NEXT_ID, &mut attr) } {
            Ok(_) => {}
            Err(Errno(libc::ENOENT)) => return Ok(programs),
            Err(errno) => return Err(failed(errno)),
        }
        attr = uapi::ById { id: attr.next_id, ..Default::default() };
        // SAFETY: no pointers in this command, which opens the program of that id.
        match unsafe { sys::bpf_fd(cmd::PROG_GET_FD_BY_ID, &mut attr.clone()) } {
            Ok(fd) => programs.push(info(fd.as_fd()).map_err(failed)?),
            Err(Errno(libc::ENOENT)) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
}

fn info(fd: BorrowedFd<'_>) -> Result<Info, Errno> {
    let mut info = uapi::ProgInfo::default();
    let mut attr = uapi::InfoByFd {
        bpf_fd: fd.as_raw_fd() as u32,
        info_len: size_of::<uapi::ProgInfo>() as u32,
        info: std::ptr::from_mut(&mut info) as u64,
    };
    // SAFETY: `info` is live, writable and as large as said; its own pointers and counts are 0.
    unsafe { sys::bpf(cmd::OBJ_GET_INFO_BY_FD, &mut attr) }?;
    let name = info.name.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(Info {
        id: info.id,
        prog_type: info.prog_type,
        name: String::from_utf8_lossy(name).into_owned(),
        run_count: info.run_cnt,
        run_time_ns: info.run_time_ns,
        recursion_misses: info.recursion_misses,
        translated_bytes: info.xlated_prog_len,
        jited_bytes: info.jited_prog_len,
        verified_insns: info.verified_insns,
    })
}

/// Loads a program's own BTF (the bytes of a `.BTF` section).
pub fn load_btf(bytes: &[u8]) -> Result<OwnedFd, Error> {
    let mut attr = uapi::BtfLoad { btf: pointer(bytes), btf_size: bytes.len() as u32, ..Default::default() };
    let mut load = || {
        // SAFETY: `bytes` is live and as large as said.
        unsafe { sys::bpf_fd(cmd::BTF_LOAD, &mut attr) }
    };
    with_memlock(&mut load).map_err(|errno| Error::system("load the program's type information", errno))
}

/// The BTF of a kernel module, for programs whose target is in it (5.11).
pub fn module_btf(module: &str) -> Result<OwnedFd, Error> {
    let asked = || format!("find the types of module '{module}'");
    let mut attr = uapi::ById::default();
    loop {
        // SAFETY: no pointers in this command.
        match unsafe { sys::bpf(cmd::BTF_GET_NEXT_ID, &mut attr) } {
            Ok(_) => {}
            Err(Errno(libc::ENOENT)) => {
                return Err(Error::Refused {
                    asked: asked(),
                    reason: "the kernel has none".into(),
                    hint: Some(format!("is the module loaded? try: modprobe {module}")),
                });
            }
            Err(errno) => return Err(Error::system(asked(), errno)),
        }
        attr = uapi::ById { id: attr.next_id, ..Default::default() };
        // SAFETY: no pointers in this command, which opens the BTF of that id.
        let fd = match unsafe { sys::bpf_fd(cmd::BTF_GET_FD_BY_ID, &mut attr.clone()) } {
            Ok(fd) => fd,
            // Gone meanwhile.
            Err(Errno(libc::ENOENT)) => continue,
            Err(errno) => return Err(Error::system(asked(), errno)),
        };
        let mut name = [0u8; 64];
        let mut info = uapi::BtfInfo { name: name.as_mut_ptr() as u64, name_len: 64, ..Default::default() };
        let mut query = uapi::InfoByFd {
            bpf_fd: fd.as_raw_fd() as u32,
            info_len: size_of::<uapi::BtfInfo>() as u32,
            info: std::ptr::from_mut(&mut info) as u64,
        };
        // SAFETY: `info` and the name's buffer in it are live, writable and as large as said.
        if unsafe { sys::bpf(cmd::OBJ_GET_INFO_BY_FD, &mut query) }.is_ok()
            && info.kernel_btf != 0
            && name.split(|byte| *byte == 0).next() == Some(module.as_bytes())
        {
            return Ok(fd);
        }
    }
}

/// Why the kernel did not accept a program.
#[derive(Debug)]
pub struct LoadError {
    /// The program's name.
    pub program: String,
    pub errno: Errno,
    /// What the verifier wrote; empty if it refused before it looked at the code.
    pub log: String,
    /// What the log comes down to, if it has a refusal in it.
    pub verdict: Option<Verdict>,
    /// Where in the source the refused instruction comes from, if its object tells.
    pub at: Option<object::SourceSpan>,
    /// What to do.
    pub hint: Option<String>,
}

impl LoadError {
    fn new(spec: &Spec<'_>, errno: Errno, log: String) -> LoadError {
        let maps = maps_used(spec.insns);
        let verdict = match errno.0 {
            libc::E2BIG if maps > MAX_USED_MAPS => Some(Verdict::of_maps(maps)),
            // The log may be cut off before the refusal.
            libc::E2BIG if !log.is_empty() => Some(Verdict::of_exhaustion(&log)),
            _ => Verdict::read(&log),
        };
        let hint = match (&verdict, errno.0) {
            (Some(verdict), _) => verdict.advice.map(str::to_owned),
            (None, libc::EPERM) if sys::is_root() && sys::kernel_before(5, 11) => Some(
                "before Linux 5.11 programs count as locked memory: raise RLIMIT_MEMLOCK (ulimit -l unlimited)".into(),
            ),
            (None, libc::EPERM) if sys::is_root() && matches!(spec.prog_type, prog_type::TRACING | prog_type::LSM) => {
                Some(crate::link::NO_TRAMPOLINES.into())
            }
            (None, libc::E2BIG) => Some("the program has more instructions than the kernel takes".into()),
            (None, libc::EINVAL) => Some(format!(
                "this kernel has no programs of type {} with attach type {}, or lacks something else that this one asks for",
                spec.prog_type, spec.expected_attach_type
            )),
            (None, _) => crate::error::general_hint(errno),
        };
        LoadError { program: spec.name.to_owned(), errno, log, verdict, at: None, hint }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "load program '{}': ", self.program)?;
        match &self.verdict {
            Some(verdict) => write!(f, "the kernel's verifier refused it: {}", verdict.reason),
            None => write!(f, "{}", self.errno),
        }
    }
}

impl std::error::Error for LoadError {}

/// Number of different maps that a program's instructions name.
fn maps_used(insns: &[Insn]) -> usize {
    let mut fds: Vec<i32> = insns
        .iter()
        .filter(|insn| insn.is_wide() && matches!(insn.src().0, pseudo::MAP_FD | pseudo::MAP_VALUE))
        .map(|insn| insn.imm)
        .collect();
    fds.sort_unstable();
    fds.dedup();
    fds.len()
}

fn load_fd(spec: &Spec<'_>) -> Result<OwnedFd, Errno> {
    call_load(spec, &mut [])
}

/// Loads again with a log of level 1, the verifier's walk. The log of a large program
/// outgrows any first guess, so the buffer grows until it fits. Not so when the verifier
/// gave up after a million instructions (`E2BIG`): such a log has 50 MB and says less than its
/// end, which kernels since 6.4 leave in a buffer that is too small.
fn load_log(spec: &Spec<'_>, errno: Errno) -> String {
    /// Kernels before 5.2 take no more than 16 MiB - 1; nobody reads more.
    const LARGEST: usize = (16 << 20) - 1;
    let mut size = 1 << 18;
    loop {
        let mut log = vec![0u8; size];
        let result = call_load(spec, &mut log);
        if matches!(result, Err(Errno(libc::ENOSPC))) && size < LARGEST && errno.0 != libc::E2BIG {
            size = (size * 8).min(LARGEST);
            continue;
        }
        let end = log.iter().position(|byte| *byte == 0).unwrap_or(size);
        return String::from_utf8_lossy(&log[..end]).into_owned();
    }
}

fn call_load(spec: &Spec<'_>, log: &mut [u8]) -> Result<OwnedFd, Errno> {
    let insns: Vec<[u8; 8]> = spec.insns.iter().map(Insn::to_bytes).collect();
    let license = CString::new(spec.license).unwrap_or_default();
    let mut attr = uapi::ProgLoad {
        prog_type: spec.prog_type,
        insn_cnt: insns.len() as u32,
        insns: insns.as_ptr() as u64,
        license: license.as_ptr() as u64,
        prog_flags: if spec.sleepable { uapi::flag::PROG_SLEEPABLE } else { 0 },
        prog_name: kernel_name(spec.name),
        expected_attach_type: spec.expected_attach_type,
        attach_btf_id: spec.attach_btf_id,
        attach_btf_obj_fd: spec.attach_btf.map_or(0, |fd| fd.as_raw_fd() as u32),
        ..Default::default()
    };
    if let Some(types) = &spec.types {
        attr.prog_btf_fd = types.btf.as_raw_fd() as u32;
        attr.func_info_rec_size = FUNC_INFO_BYTES;
        attr.func_info = pointer(types.func_info);
        attr.func_info_cnt = types.func_info.len() as u32 / FUNC_INFO_BYTES;
        if !types.line_info.is_empty() {
            attr.line_info_rec_size = LINE_INFO_BYTES;
            attr.line_info = pointer(types.line_info);
            attr.line_info_cnt = types.line_info.len() as u32 / LINE_INFO_BYTES;
        }
    }
    if !log.is_empty() {
        attr.log_level = 1;
        attr.log_buf = log.as_mut_ptr() as u64;
        attr.log_size = log.len() as u32;
    }
    let mut load = || {
        // The verifier gives up with EAGAIN when a signal is pending.
        let mut tries = 5;
        loop {
            // SAFETY: instructions, licence, info records and log are live and as large as said.
            match unsafe { sys::bpf_fd(cmd::PROG_LOAD, &mut attr) } {
                Err(Errno(libc::EAGAIN)) if tries > 0 => tries -= 1,
                result => return result,
            }
        }
    };
    with_memlock(&mut load)
}

/// The address of a buffer as bpf(2) takes it; 0 for an empty one.
fn pointer(bytes: &[u8]) -> u64 {
    if bytes.is_empty() { 0 } else { bytes.as_ptr() as u64 }
}
