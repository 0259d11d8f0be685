//! Builtins: what the kernel's helpers and the context say.

use ir::{BinaryOp, MemType, Type as IrType, UnaryOp, Value};
use isa::uapi::helper;
use object::plan::Counter;

use super::Lowering;
use super::place::Place;
use crate::Feature;
use crate::arch::Arch;
use crate::context::{ContextKind, Numbered};
use crate::hir::{Builtin, Clock};
use crate::types::*;
use crate::usdt::{Operand, UsdtArg};

impl Lowering<'_, '_, '_> {
    pub(super) fn builtin(&mut self, builtin: Builtin, ty: &Type) -> Value {
        match builtin {
            Builtin::Pid => self.pid_tgid(true),
            Builtin::Tid => self.pid_tgid(false),
            Builtin::Uid => {
                let both = self.helper(helper::get_current_uid_gid, &[]);
                self.b.unary(UnaryOp::Zext32, both)
            }
            Builtin::Gid => {
                let both = self.helper(helper::get_current_uid_gid, &[]);
                self.b.binary_imm(BinaryOp::Lshr, both, 32)
            }
            Builtin::Nsecs(clock) => self.helper(clock_helper(clock), &[]),
            Builtin::Elapsed => {
                let now = self.helper(helper::ktime_get_boot_ns, &[]);
                let slot = self.session.counter(Counter::StartNs);
                let counters = self.session.counters_map();
                let address = self.b.map_value_addr(counters, slot * 8);
                let start = self.b.load(MemType::U64, address, 0);
                self.b.binary(BinaryOp::Sub, now, start)
            }
            Builtin::Cpu => {
                let cpu = self.helper(helper::get_smp_processor_id, &[]);
                self.b.unary(UnaryOp::Zext32, cpu)
            }
            Builtin::Curtask => {
                if self.btf_curtask() {
                    let task = self.b.call_helper(helper::get_current_task_btf, &[], IrType::Ptr(ir::Space::Btf));
                    return self.b.unary(UnaryOp::Addr, task);
                }
                self.helper(helper::get_current_task, &[])
            }
            Builtin::Rand => {
                let v = self.helper(helper::get_prandom_u32, &[]);
                self.b.unary(UnaryOp::Zext32, v)
            }
            Builtin::Cgroup => self.helper(helper::get_current_cgroup_id, &[]),
            Builtin::Numaid => self.helper(helper::get_numa_node_id, &[]),
            Builtin::Jiffies => self.helper(helper::jiffies64, &[]),
            Builtin::Ncpus => self.b.iconst(i64::from(self.session.catalog.host.possible_cpus())),
            Builtin::Usermode => {
                let Some(offset) = Arch::native().register("cs") else { return self.b.iconst(0) };
                let ctx = self.context_pointer();
                let cs = self.b.load(MemType::U64, ctx, i32::from(offset));
                // The privilege level: 3 is user mode.
                let level = self.b.binary_imm(BinaryOp::And, cs, 3);
                self.b.compare_imm(ir::Cond::Eq, level, 3)
            }
            Builtin::Ctx => {
                let ctx = self.context_pointer();
                self.b.unary(UnaryOp::Addr, ctx)
            }
            Builtin::Retval => match self.context.retval.clone() {
                Some((ty, source)) => self.load_source(source, &ty),
                None => self.b.iconst(0),
            },
            Builtin::Func => self.function_address(ty),
            // Strings: written, never loaded.
            Builtin::Comm | Builtin::Probe => self.b.iconst(0),
        }
    }

    /// The thread group's id (`pid` as people know it) or the thread's.
    fn pid_tgid(&mut self, group: bool) -> Value {
        let Some((device, inode)) = self.pid_namespace() else {
            let both = self.helper(helper::get_current_pid_tgid, &[]);
            return match group {
                true => self.b.binary_imm(BinaryOp::Lshr, both, 32),
                false => self.b.unary(UnaryOp::Zext32, both),
            };
        };
        // struct bpf_pidns_info: the thread's id, then the group's, 4 bytes each.
        let slot = self.b.create_slot(8, 8);
        let info = self.b.slot_addr(slot, 0);
        self.zero(info, 0, 8);
        let device = self.b.iconst(device as i64);
        let inode = self.b.iconst(inode as i64);
        let size = self.b.iconst(8);
        self.helper(helper::get_ns_current_pid_tgid, &[device, inode, info, size]);
        self.b.load(MemType::U32, info, if group { 4 } else { 0 })
    }

    /// The pid namespace that ids are to be in, if it is not the first.
    fn pid_namespace(&mut self) -> Option<(u64, u64)> {
        if self.session.pid_namespace.is_none() {
            self.session.pid_namespace = self.session.catalog.host.pid_namespace();
        }
        self.session.pid_namespace
    }

    /// The traced function's address.
    fn function_address(&mut self, ty: &Type) -> Value {
        let host = self.session.catalog.host;
        let returns = matches!(self.context.kind, ContextKind::Kretprobe | ContextKind::Uretprobe);
        let at_entry = *ty == Type::KSym && !self.context.inside_function;
        if (at_entry || returns) && host.has(Feature::Helper(helper::get_func_ip)) {
            let ctx = self.context_pointer();
            return self.helper(helper::get_func_ip, &[ctx]);
        }
        if let (Some(function), Type::KSym) = (&self.context.function, ty)
            && let Ok(Some(address)) = host.kernel_symbol(function)
        {
            return self.b.iconst(address as i64);
        }
        let ctx = self.context_pointer();
        self.b.load(MemType::U64, ctx, i32::from(Arch::native().ip))
    }

    /// `argN`.
    pub(super) fn numbered_argument(&mut self, n: u32) -> Value {
        match &self.context.numbered {
            Numbered::None => self.b.iconst(0),
            Numbered::Slots(_) => {
                let ctx = self.context_pointer();
                self.b.load(MemType::U64, ctx, n as i32 * 8)
            }
            Numbered::Registers => {
                let arch = Arch::native();
                let ctx = self.context_pointer();
                if let Some(offset) = arch.args.get(n as usize) {
                    return self.b.load(MemType::U64, ctx, i32::from(*offset));
                }
                // The others are on the stack.
                let sp = self.b.load(MemType::U64, ctx, i32::from(arch.sp));
                let at = i64::from(arch.stack_args) + 8 * (i64::from(n) - arch.args.len() as i64);
                self.load(Place::Remote { address: sp, offset: at, user: self.context.user }, 8, false)
            }
            Numbered::Usdt(args) => match args.get(n as usize) {
                Some(arg) => self.usdt_argument(&arg.clone()),
                None => self.b.iconst(0),
            },
        }
    }

    fn usdt_argument(&mut self, arg: &UsdtArg) -> Value {
        let ty = Type::int(arg.size, arg.signed);
        match &arg.operand {
            Operand::Constant(n) => {
                let n = self.b.iconst(*n);
                self.narrowed(n, &ty)
            }
            Operand::Register { offset } => {
                let ctx = self.context_pointer();
                let aligned = offset & !7;
                let v = self.b.load(MemType::U64, ctx, i32::from(aligned));
                // `%ah` is the second byte of its register.
                let v = match offset - aligned {
                    0 => v,
                    bytes => self.b.binary_imm(BinaryOp::Lshr, v, i64::from(bytes) * 8),
                };
                self.narrowed(v, &ty)
            }
            Operand::Memory { base, index, displacement } => {
                let ctx = self.context_pointer();
                let mut address = match base {
                    Some(base) => self.b.load(MemType::U64, ctx, i32::from(*base)),
                    None => self.b.iconst(0),
                };
                if let Some((index, scale)) = index {
                    let index = self.b.load(MemType::U64, ctx, i32::from(*index));
                    let scaled = self.b.binary_imm(BinaryOp::Mul, index, i64::from(*scale));
                    address = self.b.binary(BinaryOp::Add, address, scaled);
                }
                let place = Place::Remote { address, offset: *displacement, user: true };
                self.load(place, u32::from(arg.size), arg.signed)
            }
            Operand::Unsupported { .. } => self.b.iconst(0),
        }
    }

    /// A register of the task's entry into the kernel, where the context's first slot
    /// points to its `struct pt_regs`.
    pub(super) fn syscall_register(&mut self, offset: u32) -> Value {
        let ctx = self.context_pointer();
        if self.context.typed {
            let regs = self.b.load_ptr(ir::Space::Btf, ctx, 0);
            return self.b.load(MemType::U64, regs, offset as i32);
        }
        let address = self.b.load(MemType::U64, ctx, 0);
        self.load(Place::Remote { address, offset: i64::from(offset), user: false }, 8, false)
    }

    /// `comm` at a place; `size` bytes, at least 16.
    pub(super) fn write_comm(&mut self, dst: Value, offset: i32, size: u32) {
        let at = self.offset_pointer(dst, offset);
        let len = self.b.iconst(16);
        self.helper(helper::get_current_comm, &[at, len]);
        self.zero(dst, offset + 16, size.saturating_sub(16));
    }

    /// `probe` and `func` where one program serves many places: from a table, by system call or by cookie.
    pub(super) fn write_place_name(&mut self, builtin: Builtin, dst: Value, offset: i32, size: u32) {
        if let Some(dispatch) = self.dispatch.clone() {
            let number = self.syscall_number(&dispatch);
            return self.write_name(number, &dispatch.calls, dst, offset, size);
        }
        let names: Vec<(u32, String)> = self
            .context
            .places
            .iter()
            .map(|place| if builtin == Builtin::Func { &place.function } else { &place.probe })
            .zip(0..)
            .map(|(name, index)| (index, name.clone()))
            .collect();
        if names.is_empty() {
            return self.zero(dst, offset, size);
        }
        let ctx = self.context_pointer();
        let cookie = self.helper(helper::get_attach_cookie, &[ctx]);
        self.write_name(cookie, &names, dst, offset, size);
    }
}

fn clock_helper(clock: Clock) -> u32 {
    match clock {
        Clock::Boot => helper::ktime_get_boot_ns,
        Clock::Monotonic => helper::ktime_get_ns,
        Clock::Tai => helper::ktime_get_tai_ns,
    }
}
