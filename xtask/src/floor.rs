//! `xtask floor`: a bare loader, the bench's lower bound of start-up. It makes the
//! system calls that counting system calls by command name needs and nothing else:
//! no compiler, no symbols, no output.

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};

use anyhow::Result;
use isa::uapi::{map_type, prog_type};
use kernel::{Attacher, Errno, Map, Poll, Program, Signals, Spec};
use object::plan::Attach;

/// The line that says that probes are attached, bpftrace's own.
pub const ATTACHED: &str = "__BPFTRACE_NOTIFY_PROBES_ATTACHED";

/// `TASK_COMM_LEN`.
const COMM_BYTES: u32 = 16;

/// `BPF_F_NO_PREALLOC`: filling a per-CPU map with empty entries takes milliseconds.
const NO_PREALLOC: u32 = 1;

/// `@[comm] = count()` on the raw tracepoint `sys_enter`, until SIGINT.
pub fn run() -> Result<bool> {
    let signals = Signals::catch(&[libc::SIGINT])?;
    let map = Map::create(&object::Map {
        name: "counts".into(),
        map_type: map_type::PERCPU_HASH,
        key_size: COMM_BYTES,
        value_size: 8,
        max_entries: 4096,
        flags: NO_PREALLOC,
        ..Default::default()
    })?;
    let mut code = isa::assemble(include_str!("../bench/floor.s"))?;
    for insn in code.iter_mut().filter(|insn| insn.is_wide()) {
        insn.imm = map.as_fd().as_raw_fd();
    }
    let program = Program::load(&Spec {
        name: "floor",
        prog_type: prog_type::RAW_TRACEPOINT,
        license: "GPL",
        insns: &code,
        ..Default::default()
    })?;
    let no_number =
        |_: &str, _: &str| Err(kernel::Error::refused("find a tracepoint's number", "raw tracepoints have none"));
    let place = Attach::RawTracepoint { name: "sys_enter".into() };
    let _link = Attacher::new(&no_number).attach(&program, &place, &[])?;
    std::io::stdout().write_all(format!("{ATTACHED}\n").as_bytes())?;
    wait_for(&signals).map_err(|errno| kernel::Error::system("wait for a signal", errno))?;
    Ok(true)
}

fn wait_for(signals: &Signals) -> Result<(), Errno> {
    let poll = Poll::new()?;
    poll.add(signals.as_fd(), 0)?;
    poll.wait(None, &mut Vec::new())
}
