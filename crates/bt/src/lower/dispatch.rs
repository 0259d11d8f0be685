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
        let number = self.syscall_number(dispatch);
        self.known_syscall = Some(number);
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

    /// Writes the name that a table has for a number, zeros after it up to `size` bytes. `names` are
    /// in the order of their numbers.
    pub(super) fn write_name(&mut self, number: Value, names: &[(u32, String)], dst: Value, offset: i32, size: u32) {
        let longest = names.iter().map(|(_, name)| name.len()).max().unwrap_or(0) as u32;
        let entry = (longest + 1).next_multiple_of(8);
        let last = names.last().map_or(0, |(n, _)| *n);
        let mut bytes = vec![0; (last as usize + 1) * entry as usize];
        for (n, name) in names {
            let at = *n as usize * entry as usize;
            bytes[at..at + name.len()].copy_from_slice(name.as_bytes());
        }
        let map = self.session.constant("probe_names", bytes);
        // It is one of them; the verifier cannot know.
        let in_range = self.b.compare_imm(Cond::Ule, number, i64::from(last));
        let zero = self.b.iconst(0);
        let number = self.b.select(in_range, number, zero);
        let at = self.b.binary_imm(BinaryOp::Mul, number, i64::from(entry));
        let base = self.b.map_value_addr(map, 0);
        let ptr = self.b.binary(BinaryOp::Add, base, at);
        let copied = entry.min(size);
        self.b.mem_copy(dst, offset, ptr, 0, copied);
        self.zero(dst, offset + copied as i32, size - copied);
    }

    /// The number of the system call that the program runs for.
    pub(super) fn syscall_number(&mut self, dispatch: &Dispatch) -> Value {
        if let Some(number) = self.known_syscall {
            return number;
        }
        if dispatch.enter {
            let ctx = self.context_pointer();
            return self.b.load(MemType::U64, ctx, 8);
        }
        let arch = Arch::native();
        let number = self.syscall_register(u32::from(arch.syscall_number));
        if arch.syscall_number_bytes == 4 { self.b.unary(ir::UnaryOp::Zext32, number) } else { number }
    }
}
