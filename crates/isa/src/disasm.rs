//! Instructions as text, in the style of LLVM's disassembler and the kernel's
//! verifier log. [`crate::assemble`] reads it back.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use crate::insn::{Insn, Reg};
use crate::op::{Callee, Imm64, Op, Operand};
use crate::opcode::*;
use crate::uapi::HELPER_NAMES;

/// A number in hexadecimal with its sign in front.
struct Hex(i64);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{:#x}", self.0.unsigned_abs())
    }
}

/// `r1 + 0x8`, the inside of a memory operand.
struct Address(Reg, i64);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.1 < 0 { '-' } else { '+' };
        write!(f, "{} {sign} {:#x}", self.0, self.1.unsigned_abs())
    }
}

/// `r1` or, in 32-bit instructions, `w1`.
fn sized(width: Width, reg: Reg) -> String {
    match width {
        Width::W32 => format!("w{}", reg.0),
        Width::W64 => format!("r{}", reg.0),
    }
}

fn value(width: Width, operand: Operand) -> String {
    match operand {
        Operand::Reg(reg) => sized(width, reg),
        Operand::Imm(imm) => Hex(imm.into()).to_string(),
    }
}

/// The name of a helper with `bpf_`.
fn helper_name(id: u32) -> Option<&'static str> {
    // The table ends with the enum's end marker, which is no helper.
    let named = HELPER_NAMES.len().checked_sub(1)?;
    HELPER_NAMES[..named].get(usize::try_from(id).ok()?).copied()
}

impl Op {
    /// How far a jump or a local call or function address goes, in slots from
    /// the one after the instruction.
    pub fn distance(&self) -> Option<i64> {
        match *self {
            Op::Jump { off } | Op::JumpIf { off, .. } | Op::MayGoto { off } => Some(off.into()),
            Op::JumpLong { distance }
            | Op::Call(Callee::Local(distance))
            | Op::LoadImm64 { imm: Imm64::Func(distance), .. } => Some(distance.into()),
            _ => None,
        }
    }

    /// Writes the instruction; `target` stands for the jump or call distance.
    fn write(&self, f: &mut impl Write, target: Option<&str>) -> fmt::Result {
        let numeric = |distance: i64| format!("{distance:+}");
        let goto = |distance: i64| target.map_or_else(|| numeric(distance), str::to_owned);
        match *self {
            Op::Alu { width, op, dst, src } => {
                write!(f, "{} {} {}", sized(width, dst), op.symbol(), value(width, src))
            }
            Op::Neg { width, dst } => write!(f, "{0} = -{0}", sized(width, dst)),
            Op::MovSx { width, bits, dst, src } => {
                write!(f, "{} = (s{bits}){}", sized(width, dst), sized(width, src))
            }
            Op::Endian { kind, bits, dst } => {
                let name = match kind {
                    Endian::Le => "le",
                    Endian::Be => "be",
                    Endian::Swap => "bswap",
                };
                write!(f, "{dst} = {name}{bits} {dst}")
            }
            Op::AddrSpaceCast { dst, src, to, from } => {
                write!(f, "{dst} = addr_space_cast({src}, {to:#x}, {from:#x})")
            }
            Op::LoadImm64 { dst, imm } => {
                write!(f, "{dst} = ")?;
                match imm {
                    Imm64::Value(value) => write!(f, "{value:#x} ll"),
                    Imm64::MapFd(fd) => write!(f, "map[fd:{fd}]"),
                    Imm64::MapValue { fd, offset } => write!(f, "map[fd:{fd}][0]+{offset}"),
                    Imm64::MapIndex(index) => write!(f, "map[idx:{index}]"),
                    Imm64::MapIndexValue { index, offset } => write!(f, "map[idx:{index}][0]+{offset}"),
                    Imm64::BtfId { id, btf_fd: 0 } => write!(f, "btf[id:{id}]"),
                    Imm64::BtfId { id, btf_fd } => write!(f, "btf[id:{id},fd:{btf_fd}]"),
                    Imm64::Func(distance) => write!(f, "subprog[{}]", goto(distance.into())),
                }
            }
            Op::Load { size, signed, dst, base, off } => {
                let sign = if signed { 's' } else { 'u' };
                write!(f, "{dst} = *({sign}{} *)({})", size.bits(), Address(base, off.into()))
            }
            Op::Store { size, base, off, src } => {
                write!(f, "*(u{} *)({}) = {}", size.bits(), Address(base, off.into()), value(Width::W64, src))
            }
            Op::Atomic { op, size, base, off, reg } => write_atomic(f, op, size, Address(base, off.into()), reg),
            Op::LoadPacket { size, index: None, offset } => {
                write!(f, "r0 = *(u{} *)skb[{}]", size.bits(), Hex(offset.into()))
            }
            Op::LoadPacket { size, index: Some(index), offset } => {
                write!(f, "r0 = *(u{} *)skb[{}]", size.bits(), Address(index, offset.into()))
            }
            Op::Jump { off } => write!(f, "goto {}", goto(off.into())),
            Op::JumpLong { distance } => write!(f, "gotol {}", goto(distance.into())),
            Op::JumpIndirect { target } => write!(f, "gotox {target}"),
            Op::JumpIf { width, cond, dst, src, off } => {
                let (dst, src) = (sized(width, dst), value(width, src));
                write!(f, "if {dst} {} {src} goto {}", cond.symbol(), goto(off.into()))
            }
            Op::MayGoto { off } => write!(f, "may_goto {}", goto(off.into())),
            Op::Call(Callee::Helper(id)) => match helper_name(id) {
                Some(name) => write!(f, "call bpf_{name}#{id}"),
                None => write!(f, "call {id}"),
            },
            Op::Call(Callee::Local(distance)) => match target {
                Some(target) => write!(f, "call {target}"),
                None => write!(f, "call pc{}", numeric(distance.into())),
            },
            Op::Call(Callee::Kfunc { btf_id, btf_index: 0 }) => write!(f, "call kfunc#{btf_id}"),
            Op::Call(Callee::Kfunc { btf_id, btf_index }) => write!(f, "call kfunc#{btf_id},{btf_index}"),
            Op::Exit => f.write_str("exit"),
        }
    }
}

fn write_atomic(f: &mut impl Write, op: AtomicOp, size: Size, at: Address, reg: Reg) -> fmt::Result {
    let bits = size.bits();
    // LLVM names the registers of 32-bit exchanges by their lower halves.
    let (width, x32) = match size {
        Size::Dw => (Width::W64, ""),
        _ => (Width::W32, "32"),
    };
    let name = sized(width, reg);
    match op {
        AtomicOp::Add => write!(f, "lock *(u{bits} *)({at}) += {reg}"),
        AtomicOp::Or => write!(f, "lock *(u{bits} *)({at}) |= {reg}"),
        AtomicOp::And => write!(f, "lock *(u{bits} *)({at}) &= {reg}"),
        AtomicOp::Xor => write!(f, "lock *(u{bits} *)({at}) ^= {reg}"),
        AtomicOp::FetchAdd => write!(f, "{name} = atomic_fetch_add((u{bits} *)({at}), {name})"),
        AtomicOp::FetchOr => write!(f, "{name} = atomic_fetch_or((u{bits} *)({at}), {name})"),
        AtomicOp::FetchAnd => write!(f, "{name} = atomic_fetch_and((u{bits} *)({at}), {name})"),
        AtomicOp::FetchXor => write!(f, "{name} = atomic_fetch_xor((u{bits} *)({at}), {name})"),
        AtomicOp::Xchg => write!(f, "{name} = xchg{x32}_{bits}({at}, {name})"),
        AtomicOp::Cmpxchg => {
            let old = sized(width, Reg(0));
            write!(f, "{old} = cmpxchg{x32}_{bits}({at}, {old}, {name})")
        }
        AtomicOp::LoadAcquire => write!(f, "{reg} = load_acquire((u{bits} *)({at}))"),
        AtomicOp::StoreRelease => write!(f, "store_release((u{bits} *)({at}), {reg})"),
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, None)
    }
}

/// The instructions of `insns` with their slots; `None` stands for a slot that
/// is no instruction.
fn decode_all(insns: &[Insn]) -> Vec<(usize, Option<Op>)> {
    let (mut ops, mut slot) = (Vec::with_capacity(insns.len()), 0);
    while slot < insns.len() {
        let op = Op::decode(&insns[slot..]).ok();
        ops.push((slot, op));
        slot += op.map_or(1, |op| op.slots());
    }
    ops
}

/// The slot that `op` at `slot` jumps to or calls.
fn target(slot: usize, op: &Op) -> Option<usize> {
    let slot = i64::try_from(slot).ok()?;
    usize::try_from(slot.checked_add(1)?.checked_add(op.distance()?)?).ok()
}

/// A name for each slot that something jumps to or calls: `L<slot>`.
fn labels(ops: &[(usize, Option<Op>)]) -> BTreeMap<usize, String> {
    ops.iter()
        .filter_map(|(slot, op)| target(*slot, op.as_ref()?))
        .filter(|to| ops.binary_search_by_key(to, |(slot, _)| *slot).is_ok())
        .map(|to| (to, format!("L{to}")))
        .collect()
}

fn write_op(out: &mut String, insns: &[Insn], slot: usize, op: Option<&Op>, labels: &BTreeMap<usize, String>) {
    match op {
        Some(op) => {
            let label = target(slot, op).and_then(|to| labels.get(&to));
            // Writing to a string does not fail.
            let _ = op.write(out, label.map(String::as_str));
        }
        None => {
            let _ = write!(out, ".quad {:#018x}", u64::from_le_bytes(insns[slot].to_bytes()));
        }
    }
}

/// A program as assembly text with labels. Slots that are no instruction become
/// `.quad` directives, so that any bytes survive the way there and back.
pub fn disassemble(insns: &[Insn]) -> String {
    let ops = decode_all(insns);
    let labels = labels(&ops);
    let mut out = String::with_capacity(ops.len() * 32);
    for (slot, op) in &ops {
        if let Some(label) = labels.get(slot) {
            let _ = writeln!(out, "{label}:");
        }
        out.push_str("    ");
        write_op(&mut out, insns, *slot, op.as_ref(), &labels);
        out.push('\n');
    }
    out
}

/// A program for people: slot numbers, labels, and what `note` says about a
/// slot: `before` on lines of its own above the instruction, `after` as a
/// comment behind it. The assembler reads this, too.
pub fn listing(insns: &[Insn], mut note: impl FnMut(usize) -> Note) -> String {
    let ops = decode_all(insns);
    let labels = labels(&ops);
    let mut out = String::with_capacity(ops.len() * 48);
    for (slot, op) in &ops {
        let note = note(*slot);
        for line in note.before.lines() {
            let _ = writeln!(out, "; {line}");
        }
        if let Some(label) = labels.get(slot) {
            let _ = writeln!(out, "{label}:");
        }
        let _ = write!(out, "{slot:>6}: ");
        write_op(&mut out, insns, *slot, op.as_ref(), &labels);
        if !note.after.is_empty() {
            let _ = write!(out, "  ; {}", note.after);
        }
        out.push('\n');
    }
    out
}

/// What a [`listing`] says about an instruction.
#[derive(Clone, Debug, Default)]
pub struct Note {
    pub before: String,
    pub after: String,
}
