//! One program for many system calls: runs on every system call's entry (or
//! exit) and first asks whether this one is meant.

use ir::{BinaryOp, Cond, MemType, Value};

use super::Lowering;
use crate::arch::Arch;

/// Which system calls a program on the raw tracepoint `sys_enter` or `sys_exit` serves.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// Numbers, ascending, with the probe's full name for each.
    pub calls: Vec<(u32, String)>,
    /// `sys_enter`: the number is the second argument. `sys_exit`: it is in the registers.
    pub enter: bool,
}

/// Numbers above are none of the architecture's own.
const MAX_SYSCALL: u32 = 1023;

impl Lowering<'_, '_, '_> {
    /// Leaves the program unless the system call is one of those meant.
    pub(super) fn dispatch(&mut self, dispatch: &Dispatch) {
        let number = if dispatch.enter {
            let ctx = self.context_pointer();
            self.b.load(MemType::U64, ctx, 8)
        } else {
            let arch = Arch::native();
            let number = self.syscall_register(u32::from(arch.syscall_number));
            if arch.syscall_number_bytes == 4 { self.b.unary(ir::UnaryOp::Zext32, number) } else { number }
        };
        self.syscall_number = Some(number);
        let go = self.b.create_block();
        match dispatch.calls.as_slice() {
            [(only, _)] => {
                let meant = self.b.compare_imm(Cond::Eq, number, i64::from(*only));
                self.b.branch(meant, go, self.exit);
            }
            calls => {
                let last = calls.last().map_or(0, |(n, _)| *n).min(MAX_SYSCALL);
                let in_range = self.b.compare_imm(Cond::Ule, number, i64::from(last));
                let is_dense = calls.len() as u32 == last + 1;
                if is_dense {
                    self.b.branch(in_range, go, self.exit);
                } else {
                    let test = self.b.create_block();
                    self.b.branch(in_range, test, self.exit);
                    self.b.switch_to(test);
                    self.test_bitmap(number, calls, last, go);
                }
            }
        }
        self.b.switch_to(go);
    }

    /// One bit a number, in a read-only map.
    fn test_bitmap(&mut self, number: Value, calls: &[(u32, String)], last: u32, go: ir::Block) {
        let words = (last / 64 + 1) as usize;
        let mut bitmap = vec![0u64; words];
        for (n, _) in calls.iter().filter(|(n, _)| *n <= last) {
            bitmap[(n / 64) as usize] |= 1 << (n % 64);
        }
        let bytes = bitmap.iter().flat_map(|w| w.to_ne_bytes()).collect();
        let map = self.session.constant("syscalls", bytes);
        let base = self.b.map_value_addr(map, 0);
        let word = self.b.binary_imm(BinaryOp::Lshr, number, 6);
        let at = self.b.binary_imm(BinaryOp::Shl, word, 3);
        let ptr = self.b.binary(BinaryOp::Add, base, at);
        let word = self.b.load(MemType::U64, ptr, 0);
        let bit = self.b.binary(BinaryOp::Lshr, word, number);
        let bit = self.b.binary_imm(BinaryOp::And, bit, 1);
        self.b.branch(bit, go, self.exit);
    }

    /// Names of the probes by number, `size` bytes each.
    pub(super) fn name_table(&mut self, calls: &[(u32, String)], size: u32) -> ir::Map {
        let last = calls.last().map_or(0, |(n, _)| *n).min(MAX_SYSCALL);
        let mut bytes = vec![0; (last as usize + 1) * size as usize];
        for (n, name) in calls.iter().filter(|(n, _)| *n <= last) {
            let at = *n as usize * size as usize;
            let len = name.len().min(size as usize - 1);
            bytes[at..at + len].copy_from_slice(&name.as_bytes()[..len]);
        }
        self.session.constant("probe_names", bytes)
    }
}

/// The name of the probe that runs, from the table of names.
pub(super) fn write_name(l: &mut Lowering<'_, '_, '_>, number: Value, dst: Value, offset: i32, size: u32) {
    let Some(calls) = l.dispatched.clone() else { return l.zero(dst, offset, size) };
    let entry = (l.context.longest_name + 1).next_multiple_of(8);
    let map = l.name_table(&calls, entry);
    let last = calls.last().map_or(0, |(n, _)| *n).min(MAX_SYSCALL);
    // The dispatch has tested it; the verifier may have forgotten.
    let in_range = l.b.compare_imm(Cond::Ule, number, i64::from(last));
    let zero = l.b.iconst(0);
    let number = l.b.select(in_range, number, zero);
    let at = l.b.binary_imm(BinaryOp::Mul, number, i64::from(entry));
    let base = l.b.map_value_addr(map, 0);
    let ptr = l.b.binary(BinaryOp::Add, base, at);
    let bytes = entry.min(size);
    l.b.mem_copy(dst, offset, ptr, 0, bytes);
    l.zero(dst, offset + bytes as i32, size - bytes);
}
