//! An instruction taken apart: encoding ↔ meaning.
//!
//! Decoding is strict: every field that an instruction does not use must be
//! zero, as the kernel's verifier demands, so that encoding gives the same
//! bytes back.

use crate::error::Error;
use crate::insn::{Insn, R0, Reg};
use crate::opcode::*;

/// A register or a sign-extended immediate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    Reg(Reg),
    Imm(i32),
}

/// What a 64-bit immediate load loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Imm64 {
    Value(u64),
    MapFd(i32),
    MapValue {
        fd: i32,
        offset: u32,
    },
    BtfId {
        id: u32,
        btf_fd: i32,
    },
    /// Distance in slots from the slot after the first half.
    Func(i32),
    MapIndex(u32),
    MapIndexValue {
        index: u32,
        offset: u32,
    },
}

/// What a call calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Callee {
    Helper(u32),
    /// Distance in slots from the slot after the call.
    Local(i32),
    Kfunc {
        btf_id: u32,
        btf_index: i16,
    },
}

/// A decoded instruction. Distances count slots from the one after the
/// instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    Alu {
        width: Width,
        op: AluOp,
        dst: Reg,
        src: Operand,
    },
    Neg {
        width: Width,
        dst: Reg,
    },
    /// Sign-extending move of the low `bits`.
    MovSx {
        width: Width,
        bits: u8,
        dst: Reg,
        src: Reg,
    },
    Endian {
        kind: Endian,
        bits: u8,
        dst: Reg,
    },
    AddrSpaceCast {
        dst: Reg,
        src: Reg,
        to: u16,
        from: u16,
    },
    LoadImm64 {
        dst: Reg,
        imm: Imm64,
    },
    Load {
        size: Size,
        signed: bool,
        dst: Reg,
        base: Reg,
        off: i16,
    },
    Store {
        size: Size,
        base: Reg,
        off: i16,
        src: Operand,
    },
    /// `reg` is the operand, or for [`AtomicOp::LoadAcquire`] the destination.
    Atomic {
        op: AtomicOp,
        size: Size,
        base: Reg,
        off: i16,
        reg: Reg,
    },
    /// Legacy packet access; `index` is `None` for an absolute offset.
    LoadPacket {
        size: Size,
        index: Option<Reg>,
        offset: i32,
    },
    Jump {
        off: i16,
    },
    JumpLong {
        distance: i32,
    },
    JumpIndirect {
        target: Reg,
    },
    JumpIf {
        width: Width,
        cond: Cond,
        dst: Reg,
        src: Operand,
        off: i16,
    },
    MayGoto {
        off: i16,
    },
    Call(Callee),
    Exit,
}

impl Op {
    /// Decodes the instruction at the start of `insns`.
    pub fn decode(insns: &[Insn]) -> Result<Op, Error> {
        let insn = insns.first().ok_or(Error::Truncated)?;
        match insn.code & 7 {
            class::ALU32 => decode_alu(insn, Width::W32),
            class::ALU64 => decode_alu(insn, Width::W64),
            class::JMP => decode_jump(insn, Width::W64),
            class::JMP32 => decode_jump(insn, Width::W32),
            class::LD => decode_ld(insns, insn),
            _ => decode_memory(insn),
        }
    }

    /// Slots that the encoding takes: 2 for a 64-bit immediate load, else 1.
    pub fn slots(&self) -> usize {
        match self {
            Op::LoadImm64 { .. } => 2,
            _ => 1,
        }
    }

    /// The encoding; the second slot is there for a 64-bit immediate load.
    pub fn encode(&self) -> (Insn, Option<Insn>) {
        let insn = match *self {
            Op::Alu { width: Width::W64, op, dst, src: Operand::Reg(src) } => Insn::alu64_reg(op, dst, src),
            Op::Alu { width: Width::W64, op, dst, src: Operand::Imm(imm) } => Insn::alu64_imm(op, dst, imm),
            Op::Alu { width: Width::W32, op, dst, src: Operand::Reg(src) } => Insn::alu32_reg(op, dst, src),
            Op::Alu { width: Width::W32, op, dst, src: Operand::Imm(imm) } => Insn::alu32_imm(op, dst, imm),
            Op::Neg { width: Width::W64, dst } => Insn::neg64(dst),
            Op::Neg { width: Width::W32, dst } => Insn::neg32(dst),
            Op::MovSx { width: Width::W64, bits, dst, src } => Insn::movsx64(dst, src, bits),
            Op::MovSx { width: Width::W32, bits, dst, src } => Insn::movsx32(dst, src, bits),
            Op::Endian { kind, bits, dst } => Insn::endian(kind, dst, bits),
            Op::AddrSpaceCast { dst, src, to, from } => Insn::addr_space_cast(dst, src, to, from),
            Op::LoadImm64 { dst, imm } => {
                let [first, second] = encode_imm64(dst, imm);
                return (first, Some(second));
            }
            Op::Load { size, signed: false, dst, base, off } => Insn::load(size, dst, base, off),
            Op::Load { size, signed: true, dst, base, off } => Insn::load_signed(size, dst, base, off),
            Op::Store { size, base, off, src: Operand::Reg(src) } => Insn::store_reg(size, base, off, src),
            Op::Store { size, base, off, src: Operand::Imm(imm) } => Insn::store_imm(size, base, off, imm),
            Op::Atomic { op: AtomicOp::LoadAcquire, size, base, off, reg } => Insn::load_acquire(size, reg, base, off),
            Op::Atomic { op, size, base, off, reg } => Insn::atomic(op, size, base, off, reg),
            Op::LoadPacket { size, index: None, offset } => Insn::load_packet_abs(size, offset),
            Op::LoadPacket { size, index: Some(index), offset } => Insn::load_packet_ind(size, index, offset),
            Op::Jump { off } => Insn::jump(off),
            Op::JumpLong { distance } => Insn::jump_long(distance),
            Op::JumpIndirect { target } => Insn::jump_indirect(target),
            Op::JumpIf { width: Width::W64, cond, dst, src: Operand::Reg(src), off } => {
                Insn::jump64_reg(cond, dst, src, off)
            }
            Op::JumpIf { width: Width::W64, cond, dst, src: Operand::Imm(imm), off } => {
                Insn::jump64_imm(cond, dst, imm, off)
            }
            Op::JumpIf { width: Width::W32, cond, dst, src: Operand::Reg(src), off } => {
                Insn::jump32_reg(cond, dst, src, off)
            }
            Op::JumpIf { width: Width::W32, cond, dst, src: Operand::Imm(imm), off } => {
                Insn::jump32_imm(cond, dst, imm, off)
            }
            Op::MayGoto { off } => Insn::may_goto(off),
            Op::Call(Callee::Helper(id)) => Insn::call_helper(id),
            Op::Call(Callee::Local(distance)) => Insn::call_local(distance),
            Op::Call(Callee::Kfunc { btf_id, btf_index }) => Insn::call_kfunc(btf_id, btf_index),
            Op::Exit => Insn::exit(),
        };
        (insn, None)
    }
}

fn encode_imm64(dst: Reg, imm: Imm64) -> [Insn; 2] {
    let halves = |pseudo: u8, low: u32, high: u32| {
        [Insn::new(LD_IMM64, dst, Reg(pseudo), 0, low as i32), Insn::new(0, R0, R0, 0, high as i32)]
    };
    match imm {
        Imm64::Value(value) => Insn::load_imm64(dst, value),
        Imm64::MapFd(fd) => Insn::load_map_fd(dst, fd),
        Imm64::MapValue { fd, offset } => Insn::load_map_value(dst, fd, offset),
        Imm64::BtfId { id, btf_fd } => Insn::load_btf_id(dst, id, btf_fd),
        Imm64::Func(distance) => Insn::load_func(dst, distance),
        Imm64::MapIndex(index) => halves(pseudo::MAP_IDX, index, 0),
        Imm64::MapIndexValue { index, offset } => halves(pseudo::MAP_IDX_VALUE, index, offset),
    }
}

/// Refuses fields that this instruction does not use.
struct Unused<'i>(&'i Insn);

impl Unused<'_> {
    fn field(&self, field: &'static str, value: i64) -> Error {
        Error::Field { code: self.0.code, field, value }
    }

    fn dst(&self) -> Result<(), Error> {
        if self.0.dst() == R0 { Ok(()) } else { Err(self.field("dst", self.0.dst().0.into())) }
    }

    fn src(&self) -> Result<(), Error> {
        if self.0.src() == R0 { Ok(()) } else { Err(self.field("src", self.0.src().0.into())) }
    }

    fn off(&self) -> Result<(), Error> {
        if self.0.off == 0 { Ok(()) } else { Err(self.field("off", self.0.off.into())) }
    }

    fn imm(&self) -> Result<(), Error> {
        if self.0.imm == 0 { Ok(()) } else { Err(self.field("imm", self.0.imm.into())) }
    }
}

fn register(insn: &Insn, field: &'static str, reg: Reg) -> Result<Reg, Error> {
    if reg.0 <= 10 { Ok(reg) } else { Err(Error::Field { code: insn.code, field, value: reg.0.into() }) }
}

fn dst(insn: &Insn) -> Result<Reg, Error> {
    register(insn, "dst", insn.dst())
}

fn src(insn: &Insn) -> Result<Reg, Error> {
    register(insn, "src", insn.src())
}

/// The second operand of an arithmetic or jump instruction.
fn operand(insn: &Insn) -> Result<Operand, Error> {
    if insn.code & SRC_REG != 0 {
        Unused(insn).imm()?;
        Ok(Operand::Reg(src(insn)?))
    } else {
        Unused(insn).src()?;
        Ok(Operand::Imm(insn.imm))
    }
}

fn decode_alu(insn: &Insn, width: Width) -> Result<Op, Error> {
    let (dst, unused) = (dst(insn)?, Unused(insn));
    let (bits, by_reg) = (insn.code & 0xf0, insn.code & SRC_REG != 0);
    match (bits, insn.off) {
        (ALU_NEG, _) => {
            if by_reg {
                return Err(Error::UnknownOpcode(insn.code));
            }
            unused.src()?;
            unused.off()?;
            unused.imm()?;
            Ok(Op::Neg { width, dst })
        }
        (ALU_END, _) => {
            let kind = match (width, by_reg) {
                (Width::W32, false) => Endian::Le,
                (Width::W32, true) => Endian::Be,
                (Width::W64, false) => Endian::Swap,
                (Width::W64, true) => return Err(Error::UnknownOpcode(insn.code)),
            };
            unused.src()?;
            unused.off()?;
            match insn.imm {
                16 | 32 | 64 => Ok(Op::Endian { kind, bits: insn.imm as u8, dst }),
                imm => Err(unused.field("imm", imm.into())),
            }
        }
        // A move with an offset is another instruction.
        (0xb0, 8 | 16 | 32) if by_reg && !(width == Width::W32 && insn.off == 32) => {
            unused.imm()?;
            Ok(Op::MovSx { width, bits: insn.off as u8, dst, src: src(insn)? })
        }
        (0xb0, 1) if by_reg && width == Width::W64 => {
            let imm = insn.imm as u32;
            Ok(Op::AddrSpaceCast { dst, src: src(insn)?, to: (imm >> 16) as u16, from: imm as u16 })
        }
        (bits, off) => {
            let Some(op) = AluOp::from_bits(bits, off) else {
                return Err(match AluOp::from_bits(bits, 0) {
                    Some(_) => unused.field("off", off.into()),
                    None => Error::UnknownOpcode(insn.code),
                });
            };
            Ok(Op::Alu { width, op, dst, src: operand(insn)? })
        }
    }
}

fn decode_jump(insn: &Insn, width: Width) -> Result<Op, Error> {
    let unused = Unused(insn);
    match insn.code {
        JA => {
            unused.dst()?;
            unused.src()?;
            unused.imm()?;
            Ok(Op::Jump { off: insn.off })
        }
        JA32 => {
            unused.dst()?;
            unused.src()?;
            unused.off()?;
            Ok(Op::JumpLong { distance: insn.imm })
        }
        JA_REG => {
            unused.src()?;
            unused.off()?;
            unused.imm()?;
            Ok(Op::JumpIndirect { target: dst(insn)? })
        }
        JCOND => {
            unused.dst()?;
            unused.src()?;
            unused.imm()?;
            Ok(Op::MayGoto { off: insn.off })
        }
        EXIT => {
            unused.dst()?;
            unused.src()?;
            unused.off()?;
            unused.imm()?;
            Ok(Op::Exit)
        }
        CALL => {
            unused.dst()?;
            if insn.src().0 != pseudo::KFUNC_CALL {
                unused.off()?;
            }
            match insn.src().0 {
                0 => Ok(Op::Call(Callee::Helper(insn.imm as u32))),
                pseudo::CALL => Ok(Op::Call(Callee::Local(insn.imm))),
                pseudo::KFUNC_CALL => Ok(Op::Call(Callee::Kfunc { btf_id: insn.imm as u32, btf_index: insn.off })),
                other => Err(unused.field("src", other.into())),
            }
        }
        code => {
            let cond = Cond::from_bits(code & 0xf0).ok_or(Error::UnknownOpcode(code))?;
            Ok(Op::JumpIf { width, cond, dst: dst(insn)?, src: operand(insn)?, off: insn.off })
        }
    }
}

fn decode_ld(insns: &[Insn], insn: &Insn) -> Result<Op, Error> {
    let unused = Unused(insn);
    if insn.code == LD_IMM64 {
        return decode_imm64(insns, insn);
    }
    let size = Size::of_code(insn.code);
    let index = match insn.code & 0xe0 {
        mode::ABS if size != Size::Dw => {
            unused.src()?;
            None
        }
        mode::IND if size != Size::Dw => Some(src(insn)?),
        _ => return Err(Error::UnknownOpcode(insn.code)),
    };
    unused.dst()?;
    unused.off()?;
    Ok(Op::LoadPacket { size, index, offset: insn.imm })
}

fn decode_imm64(insns: &[Insn], insn: &Insn) -> Result<Op, Error> {
    let second = insns.get(1).ok_or(Error::Truncated)?;
    if second.code != 0 || second.regs != 0 || second.off != 0 {
        return Err(Error::Truncated);
    }
    Unused(insn).off()?;
    let (low, high) = (insn.imm as u32, second.imm as u32);
    let only_low = |imm| {
        if high == 0 { Ok(imm) } else { Err(Unused(insn).field("second imm", high.into())) }
    };
    let imm = match insn.src().0 {
        0 => Imm64::Value(u64::from(high) << 32 | u64::from(low)),
        pseudo::MAP_FD => only_low(Imm64::MapFd(insn.imm))?,
        pseudo::MAP_VALUE => Imm64::MapValue { fd: insn.imm, offset: high },
        pseudo::BTF_ID => Imm64::BtfId { id: low, btf_fd: second.imm },
        pseudo::FUNC => only_low(Imm64::Func(insn.imm))?,
        pseudo::MAP_IDX => only_low(Imm64::MapIndex(low))?,
        pseudo::MAP_IDX_VALUE => Imm64::MapIndexValue { index: low, offset: high },
        other => return Err(Unused(insn).field("src", other.into())),
    };
    Ok(Op::LoadImm64 { dst: dst(insn)?, imm })
}

fn decode_memory(insn: &Insn) -> Result<Op, Error> {
    let unused = Unused(insn);
    let (size, off) = (Size::of_code(insn.code), insn.off);
    match (insn.code & 7, insn.code & 0xe0) {
        (class::LDX, mode::MEM) => {
            unused.imm()?;
            Ok(Op::Load { size, signed: false, dst: dst(insn)?, base: src(insn)?, off })
        }
        (class::LDX, mode::MEMSX) if size != Size::Dw => {
            unused.imm()?;
            Ok(Op::Load { size, signed: true, dst: dst(insn)?, base: src(insn)?, off })
        }
        (class::ST, mode::MEM) => {
            unused.src()?;
            Ok(Op::Store { size, base: dst(insn)?, off, src: Operand::Imm(insn.imm) })
        }
        (class::STX, mode::MEM) => {
            unused.imm()?;
            Ok(Op::Store { size, base: dst(insn)?, off, src: Operand::Reg(src(insn)?) })
        }
        (class::STX, mode::ATOMIC) => {
            let op = AtomicOp::from_imm(insn.imm)
                .filter(|op| op.allows(size))
                .ok_or(unused.field("imm", insn.imm.into()))?;
            let (dst, src) = (dst(insn)?, src(insn)?);
            Ok(match op {
                AtomicOp::LoadAcquire => Op::Atomic { op, size, base: src, off, reg: dst },
                _ => Op::Atomic { op, size, base: dst, off, reg: src },
            })
        }
        _ => Err(Error::UnknownOpcode(insn.code)),
    }
}
