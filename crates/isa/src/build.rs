//! A constructor for each instruction. Jump and call distances count
//! instruction slots from the one after the instruction.

use crate::insn::{Insn, R0, Reg};
use crate::opcode::*;

/// Arithmetic.
impl Insn {
    pub const fn alu64_reg(op: AluOp, dst: Reg, src: Reg) -> Insn {
        Insn::new(class::ALU64 | SRC_REG | op.bits(), dst, src, op.off(), 0)
    }

    pub const fn alu64_imm(op: AluOp, dst: Reg, imm: i32) -> Insn {
        Insn::new(class::ALU64 | op.bits(), dst, R0, op.off(), imm)
    }

    /// Works on the lower halves and clears the upper half of `dst`.
    pub const fn alu32_reg(op: AluOp, dst: Reg, src: Reg) -> Insn {
        Insn::new(class::ALU32 | SRC_REG | op.bits(), dst, src, op.off(), 0)
    }

    /// Works on the lower half and clears the upper half of `dst`.
    pub const fn alu32_imm(op: AluOp, dst: Reg, imm: i32) -> Insn {
        Insn::new(class::ALU32 | op.bits(), dst, R0, op.off(), imm)
    }

    pub const fn mov64_reg(dst: Reg, src: Reg) -> Insn {
        Insn::alu64_reg(AluOp::Mov, dst, src)
    }

    /// The immediate is sign-extended.
    pub const fn mov64_imm(dst: Reg, imm: i32) -> Insn {
        Insn::alu64_imm(AluOp::Mov, dst, imm)
    }

    pub const fn mov32_reg(dst: Reg, src: Reg) -> Insn {
        Insn::alu32_reg(AluOp::Mov, dst, src)
    }

    /// The upper half becomes zero.
    pub const fn mov32_imm(dst: Reg, imm: i32) -> Insn {
        Insn::alu32_imm(AluOp::Mov, dst, imm)
    }

    pub const fn neg64(dst: Reg) -> Insn {
        Insn::new(class::ALU64 | ALU_NEG, dst, R0, 0, 0)
    }

    pub const fn neg32(dst: Reg) -> Insn {
        Insn::new(class::ALU32 | ALU_NEG, dst, R0, 0, 0)
    }

    /// Sign-extends the low `bits` (8, 16 or 32) of `src` to 64 bits (ISA v4).
    pub const fn movsx64(dst: Reg, src: Reg, bits: u8) -> Insn {
        Insn::new(class::ALU64 | SRC_REG | AluOp::Mov.bits(), dst, src, bits as i16, 0)
    }

    /// Sign-extends the low `bits` (8 or 16) of `src` to 32 bits (ISA v4).
    pub const fn movsx32(dst: Reg, src: Reg, bits: u8) -> Insn {
        Insn::new(class::ALU32 | SRC_REG | AluOp::Mov.bits(), dst, src, bits as i16, 0)
    }

    /// Converts the low `bits` (16, 32 or 64) of `dst` and clears the rest.
    pub const fn endian(kind: Endian, dst: Reg, bits: u8) -> Insn {
        let code = match kind {
            Endian::Le => class::ALU32 | ALU_END,
            Endian::Be => class::ALU32 | ALU_END | SRC_REG,
            Endian::Swap => class::ALU64 | ALU_END,
        };
        Insn::new(code, dst, R0, 0, bits as i32)
    }

    /// Casts a pointer between the arena's address spaces (Linux 6.9).
    pub const fn addr_space_cast(dst: Reg, src: Reg, to: u16, from: u16) -> Insn {
        let imm = ((to as u32) << 16 | from as u32) as i32;
        Insn::new(class::ALU64 | SRC_REG | AluOp::Mov.bits(), dst, src, 1, imm)
    }
}

/// Memory.
impl Insn {
    /// `dst = *(size *)(base + off)`, zero-extended.
    pub const fn load(size: Size, dst: Reg, base: Reg, off: i16) -> Insn {
        Insn::new(class::LDX | mode::MEM | size as u8, dst, base, off, 0)
    }

    /// `dst = *(size *)(base + off)`, sign-extended; `size` at most 4 bytes (ISA v4).
    pub const fn load_signed(size: Size, dst: Reg, base: Reg, off: i16) -> Insn {
        Insn::new(class::LDX | mode::MEMSX | size as u8, dst, base, off, 0)
    }

    /// `*(size *)(base + off) = src`.
    pub const fn store_reg(size: Size, base: Reg, off: i16, src: Reg) -> Insn {
        Insn::new(class::STX | mode::MEM | size as u8, base, src, off, 0)
    }

    /// `*(size *)(base + off) = imm`, sign-extended for 8 bytes.
    pub const fn store_imm(size: Size, base: Reg, off: i16, imm: i32) -> Insn {
        Insn::new(class::ST | mode::MEM | size as u8, base, R0, off, imm)
    }

    /// An atomic operation on `*(size *)(base + off)`. For
    /// [`AtomicOp::LoadAcquire`] use [`Insn::load_acquire`]: its registers are
    /// the other way round.
    pub const fn atomic(op: AtomicOp, size: Size, base: Reg, off: i16, src: Reg) -> Insn {
        Insn::new(class::STX | mode::ATOMIC | size as u8, base, src, off, op as i32)
    }

    pub const fn load_acquire(size: Size, dst: Reg, base: Reg, off: i16) -> Insn {
        Insn::new(class::STX | mode::ATOMIC | size as u8, dst, base, off, AtomicOp::LoadAcquire as i32)
    }

    pub const fn store_release(size: Size, base: Reg, off: i16, src: Reg) -> Insn {
        Insn::atomic(AtomicOp::StoreRelease, size, base, off, src)
    }

    /// Packet byte load at an absolute offset (classic BPF's `ld [k]`); the
    /// result is in `r0`, `r6` holds the socket buffer.
    pub const fn load_packet_abs(size: Size, offset: i32) -> Insn {
        Insn::new(class::LD | mode::ABS | size as u8, R0, R0, 0, offset)
    }

    /// Packet byte load at `index + offset`.
    pub const fn load_packet_ind(size: Size, index: Reg, offset: i32) -> Insn {
        Insn::new(class::LD | mode::IND | size as u8, R0, index, 0, offset)
    }
}

/// 64-bit immediates.
impl Insn {
    const fn wide(dst: Reg, pseudo: u8, low: i32, high: i32) -> [Insn; 2] {
        [Insn::new(LD_IMM64, dst, Reg(pseudo), 0, low), Insn::new(0, R0, R0, 0, high)]
    }

    pub const fn load_imm64(dst: Reg, value: u64) -> [Insn; 2] {
        Insn::wide(dst, 0, value as i32, (value >> 32) as i32)
    }

    pub const fn load_map_fd(dst: Reg, fd: i32) -> [Insn; 2] {
        Insn::wide(dst, pseudo::MAP_FD, fd, 0)
    }

    /// The address `offset` bytes into element 0 of an array map.
    pub const fn load_map_value(dst: Reg, fd: i32, offset: u32) -> [Insn; 2] {
        Insn::wide(dst, pseudo::MAP_VALUE, fd, offset as i32)
    }

    /// The address of a kernel variable; `btf_fd` is 0 for vmlinux.
    pub const fn load_btf_id(dst: Reg, id: u32, btf_fd: i32) -> [Insn; 2] {
        Insn::wide(dst, pseudo::BTF_ID, id as i32, btf_fd)
    }

    /// The address of a function of the same program, for callbacks.
    pub const fn load_func(dst: Reg, distance: i32) -> [Insn; 2] {
        Insn::wide(dst, pseudo::FUNC, distance, 0)
    }
}

/// Control flow.
impl Insn {
    pub const fn jump(off: i16) -> Insn {
        Insn::new(JA, R0, R0, off, 0)
    }

    /// `gotol`: a jump with a 32-bit distance (ISA v4).
    pub const fn jump_long(distance: i32) -> Insn {
        Insn::new(JA32, R0, R0, 0, distance)
    }

    /// `gotox`: a jump to the address in a register.
    pub const fn jump_indirect(target: Reg) -> Insn {
        Insn::new(JA_REG, target, R0, 0, 0)
    }

    pub const fn jump64_reg(cond: Cond, dst: Reg, src: Reg, off: i16) -> Insn {
        Insn::new(class::JMP | SRC_REG | cond as u8, dst, src, off, 0)
    }

    pub const fn jump64_imm(cond: Cond, dst: Reg, imm: i32, off: i16) -> Insn {
        Insn::new(class::JMP | cond as u8, dst, R0, off, imm)
    }

    /// Compares the lower halves.
    pub const fn jump32_reg(cond: Cond, dst: Reg, src: Reg, off: i16) -> Insn {
        Insn::new(class::JMP32 | SRC_REG | cond as u8, dst, src, off, 0)
    }

    /// Compares the lower half.
    pub const fn jump32_imm(cond: Cond, dst: Reg, imm: i32, off: i16) -> Insn {
        Insn::new(class::JMP32 | cond as u8, dst, R0, off, imm)
    }

    /// Jumps when the loop budget is spent (Linux 6.9).
    pub const fn may_goto(off: i16) -> Insn {
        Insn::new(JCOND, R0, R0, off, 0)
    }

    /// Calls a helper by its number in [`crate::uapi::helper`].
    pub const fn call_helper(id: u32) -> Insn {
        Insn::new(CALL, R0, R0, 0, id as i32)
    }

    /// Calls a function of the same program.
    pub const fn call_local(distance: i32) -> Insn {
        Insn::new(CALL, R0, Reg(pseudo::CALL), 0, distance)
    }

    /// Calls a kernel function by its BTF id; `btf_index` is the index of its
    /// module's BTF in `fd_array`, 0 for vmlinux.
    pub const fn call_kfunc(btf_id: u32, btf_index: i16) -> Insn {
        Insn::new(CALL, R0, Reg(pseudo::KFUNC_CALL), btf_index, btf_id as i32)
    }

    pub const fn exit() -> Insn {
        Insn::new(EXIT, R0, R0, 0, 0)
    }
}
