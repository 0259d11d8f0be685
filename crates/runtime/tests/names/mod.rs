//! Names that do not depend on the machine.

use object::plan::{Clock, Stack};
use runtime::Resolve;
use view::{Frame, StackStyle, StackTrace};

/// Says what it was asked.
pub struct FakeNames;

fn trace(what: &str, id: i64, limit: u32) -> StackTrace {
    let frame = |i: u64| Frame { address: i, symbol: Some(format!("{what}{id}")), offset: i, module: None };
    StackTrace { style: StackStyle::Bpftrace, frames: (0..u64::from(limit.min(2))).map(frame).collect() }
}

impl Resolve for FakeNames {
    fn kernel_symbol(&mut self, address: u64) -> String {
        format!("ksym:{address:x}")
    }

    fn user_symbol(&mut self, pid: u32, address: u64) -> String {
        format!("usym:{pid}:{address:x}")
    }

    fn stack(&mut self, id: i64, limit: u32) -> Vec<u64> {
        // Stacks 10 to 19 differ in the last frame only.
        (1..=10).map(|i| if i == 10 { id as u64 } else { i + id as u64 / 10 * 100 }).take(limit as usize).collect()
    }

    fn kernel_stack(&mut self, id: i64, stack: Stack) -> StackTrace {
        trace("k", id, stack.limit)
    }

    fn user_stack(&mut self, id: i64, pid: u32, stack: Stack) -> StackTrace {
        trace(&format!("u{pid}:"), id, stack.limit)
    }

    fn user_name(&mut self, uid: u64) -> String {
        format!("user{uid}")
    }

    fn cgroup_path(&mut self, id: u64) -> String {
        format!("/cgroup{id}")
    }

    fn time(&mut self, format: &str, clock: Clock, nanoseconds: u64) -> String {
        format!("{format}:{clock:?}:{nanoseconds}")
    }
}
