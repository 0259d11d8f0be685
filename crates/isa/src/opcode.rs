//! Parts of an opcode byte as types: widths, sizes, operations, conditions.
//!
//! The discriminant of each variant is its bits in the opcode (for
//! [`AtomicOp`]: in the immediate), by RFC 9669.

/// Instruction classes: the low three bits of the opcode.
pub mod class {
    pub const LD: u8 = 0;
    pub const LDX: u8 = 1;
    pub const ST: u8 = 2;
    pub const STX: u8 = 3;
    pub const ALU32: u8 = 4;
    pub const JMP: u8 = 5;
    pub const JMP32: u8 = 6;
    pub const ALU64: u8 = 7;
}

/// Addressing modes of the load and store classes: the high three bits.
pub mod mode {
    pub const IMM: u8 = 0x00;
    pub const ABS: u8 = 0x20;
    pub const IND: u8 = 0x40;
    pub const MEM: u8 = 0x60;
    /// Sign-extending load (ISA v4, Linux 6.6).
    pub const MEMSX: u8 = 0x80;
    pub const ATOMIC: u8 = 0xc0;
}

/// In the arithmetic and jump classes: the second operand is a register.
pub const SRC_REG: u8 = 0x08;

/// `BPF_LD | BPF_IMM | BPF_DW`: the two-slot 64-bit immediate load.
pub const LD_IMM64: u8 = 0x18;
/// `BPF_JMP | BPF_JA`.
pub const JA: u8 = 0x05;
/// `BPF_JMP32 | BPF_JA`: the offset is in `imm` (`gotol`, ISA v4).
pub const JA32: u8 = 0x06;
/// `BPF_JMP | BPF_JA | BPF_X`: the target is a register (`gotox`).
pub const JA_REG: u8 = 0x0d;
/// `BPF_JMP | BPF_JCOND`: `may_goto` (Linux 6.9).
pub const JCOND: u8 = 0xe5;
/// `BPF_JMP | BPF_CALL`.
pub const CALL: u8 = 0x85;
/// `BPF_JMP | BPF_EXIT`.
pub const EXIT: u8 = 0x95;

/// `src` values of a 64-bit immediate load and of a call (`BPF_PSEUDO_*`).
pub mod pseudo {
    pub const MAP_FD: u8 = 1;
    pub const MAP_VALUE: u8 = 2;
    pub const BTF_ID: u8 = 3;
    pub const FUNC: u8 = 4;
    /// An index into `bpf_attr::fd_array` instead of a file descriptor.
    pub const MAP_IDX: u8 = 5;
    pub const MAP_IDX_VALUE: u8 = 6;
    /// In a call: the target is a function of the same program.
    pub const CALL: u8 = 1;
    /// In a call: the target is a kernel function (kfunc) by BTF id.
    pub const KFUNC_CALL: u8 = 2;
}

/// Whether an arithmetic or jump instruction works on 32 or 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    W32,
    W64,
}

impl Width {
    pub fn bits(self) -> u8 {
        match self {
            Width::W32 => 32,
            Width::W64 => 64,
        }
    }
}

/// Size of a memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Size {
    B = 0x10,
    H = 0x08,
    W = 0x00,
    Dw = 0x18,
}

impl Size {
    pub const ALL: [Size; 4] = [Size::B, Size::H, Size::W, Size::Dw];

    pub fn bytes(self) -> u8 {
        match self {
            Size::B => 1,
            Size::H => 2,
            Size::W => 4,
            Size::Dw => 8,
        }
    }

    pub fn bits(self) -> u8 {
        self.bytes() * 8
    }

    /// The size of so many bytes: 1, 2, 4 or 8.
    pub fn from_bytes(bytes: u8) -> Option<Size> {
        Size::ALL.into_iter().find(|s| s.bytes() == bytes)
    }

    pub(crate) fn from_bits(bits: u8) -> Option<Size> {
        Size::ALL.into_iter().find(|s| s.bits() == bits)
    }

    pub(crate) fn of_code(code: u8) -> Size {
        match code & 0x18 {
            0x10 => Size::B,
            0x08 => Size::H,
            0x00 => Size::W,
            _ => Size::Dw,
        }
    }
}

/// Two-operand arithmetic. `SDiv` and `SMod` share the opcode of `Div` and
/// `Mod` and set `off` to 1 (ISA v4, Linux 6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AluOp {
    Add,
    Sub,
    Mul,
    Div,
    SDiv,
    Or,
    And,
    Lsh,
    Rsh,
    Mod,
    SMod,
    Xor,
    Mov,
    Arsh,
}

/// Operations outside [`AluOp`] that the arithmetic classes hold.
pub(crate) const ALU_NEG: u8 = 0x80;
pub(crate) const ALU_END: u8 = 0xd0;

impl AluOp {
    pub const ALL: [AluOp; 14] = [
        AluOp::Add,
        AluOp::Sub,
        AluOp::Mul,
        AluOp::Div,
        AluOp::SDiv,
        AluOp::Or,
        AluOp::And,
        AluOp::Lsh,
        AluOp::Rsh,
        AluOp::Mod,
        AluOp::SMod,
        AluOp::Xor,
        AluOp::Mov,
        AluOp::Arsh,
    ];

    /// The operation's bits in the opcode.
    pub const fn bits(self) -> u8 {
        match self {
            AluOp::Add => 0x00,
            AluOp::Sub => 0x10,
            AluOp::Mul => 0x20,
            AluOp::Div | AluOp::SDiv => 0x30,
            AluOp::Or => 0x40,
            AluOp::And => 0x50,
            AluOp::Lsh => 0x60,
            AluOp::Rsh => 0x70,
            AluOp::Mod | AluOp::SMod => 0x90,
            AluOp::Xor => 0xa0,
            AluOp::Mov => 0xb0,
            AluOp::Arsh => 0xc0,
        }
    }

    /// What stands in `off`: 1 makes a division signed.
    pub(crate) const fn off(self) -> i16 {
        matches!(self, AluOp::SDiv | AluOp::SMod) as i16
    }

    pub(crate) fn from_bits(bits: u8, off: i16) -> Option<AluOp> {
        AluOp::ALL.into_iter().find(|op| op.bits() == bits && op.off() == off)
    }

    /// The operator as assembly text has it.
    pub fn symbol(self) -> &'static str {
        match self {
            AluOp::Add => "+=",
            AluOp::Sub => "-=",
            AluOp::Mul => "*=",
            AluOp::Div => "/=",
            AluOp::SDiv => "s/=",
            AluOp::Or => "|=",
            AluOp::And => "&=",
            AluOp::Lsh => "<<=",
            AluOp::Rsh => ">>=",
            AluOp::Mod => "%=",
            AluOp::SMod => "s%=",
            AluOp::Xor => "^=",
            AluOp::Mov => "=",
            AluOp::Arsh => "s>>=",
        }
    }
}

/// Condition of a jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Cond {
    Eq = 0x10,
    Gt = 0x20,
    Ge = 0x30,
    /// `dst & src` is not zero.
    Set = 0x40,
    Ne = 0x50,
    Sgt = 0x60,
    Sge = 0x70,
    Lt = 0xa0,
    Le = 0xb0,
    Slt = 0xc0,
    Sle = 0xd0,
}

impl Cond {
    pub const ALL: [Cond; 11] = [
        Cond::Eq,
        Cond::Gt,
        Cond::Ge,
        Cond::Set,
        Cond::Ne,
        Cond::Sgt,
        Cond::Sge,
        Cond::Lt,
        Cond::Le,
        Cond::Slt,
        Cond::Sle,
    ];

    pub(crate) fn from_bits(bits: u8) -> Option<Cond> {
        Cond::ALL.into_iter().find(|c| *c as u8 == bits)
    }

    /// The condition that holds when this one does not; none for
    /// [`Cond::Set`].
    pub fn negated(self) -> Option<Cond> {
        Some(match self {
            Cond::Eq => Cond::Ne,
            Cond::Ne => Cond::Eq,
            Cond::Gt => Cond::Le,
            Cond::Le => Cond::Gt,
            Cond::Ge => Cond::Lt,
            Cond::Lt => Cond::Ge,
            Cond::Sgt => Cond::Sle,
            Cond::Sle => Cond::Sgt,
            Cond::Sge => Cond::Slt,
            Cond::Slt => Cond::Sge,
            Cond::Set => return None,
        })
    }

    /// The condition with its operands exchanged.
    pub fn swapped(self) -> Cond {
        match self {
            Cond::Gt => Cond::Lt,
            Cond::Lt => Cond::Gt,
            Cond::Ge => Cond::Le,
            Cond::Le => Cond::Ge,
            Cond::Sgt => Cond::Slt,
            Cond::Slt => Cond::Sgt,
            Cond::Sge => Cond::Sle,
            Cond::Sle => Cond::Sge,
            Cond::Eq | Cond::Ne | Cond::Set => self,
        }
    }

    /// The operator as assembly text has it.
    pub fn symbol(self) -> &'static str {
        match self {
            Cond::Eq => "==",
            Cond::Gt => ">",
            Cond::Ge => ">=",
            Cond::Set => "&",
            Cond::Ne => "!=",
            Cond::Sgt => "s>",
            Cond::Sge => "s>=",
            Cond::Lt => "<",
            Cond::Le => "<=",
            Cond::Slt => "s<",
            Cond::Sle => "s<=",
        }
    }
}

/// An atomic operation; the discriminant is the immediate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum AtomicOp {
    Add = 0x00,
    Or = 0x40,
    And = 0x50,
    Xor = 0xa0,
    /// With fetch: the old value comes back in the source register (Linux 5.12).
    FetchAdd = 0x01,
    FetchOr = 0x41,
    FetchAnd = 0x51,
    FetchXor = 0xa1,
    Xchg = 0xe1,
    /// Compares with `r0`, stores the source register if equal; the old value
    /// comes back in `r0`.
    Cmpxchg = 0xf1,
    /// `dst = *(src + off)` with acquire ordering (Linux 6.15).
    LoadAcquire = 0x100,
    /// `*(dst + off) = src` with release ordering (Linux 6.15).
    StoreRelease = 0x110,
}

impl AtomicOp {
    pub const ALL: [AtomicOp; 12] = [
        AtomicOp::Add,
        AtomicOp::Or,
        AtomicOp::And,
        AtomicOp::Xor,
        AtomicOp::FetchAdd,
        AtomicOp::FetchOr,
        AtomicOp::FetchAnd,
        AtomicOp::FetchXor,
        AtomicOp::Xchg,
        AtomicOp::Cmpxchg,
        AtomicOp::LoadAcquire,
        AtomicOp::StoreRelease,
    ];

    pub(crate) fn from_imm(imm: i32) -> Option<AtomicOp> {
        AtomicOp::ALL.into_iter().find(|op| *op as i32 == imm)
    }

    /// Whether the operation is defined at this size: read-modify-write
    /// operations at 4 and 8 bytes, ordered loads and stores at all.
    pub fn allows(self, size: Size) -> bool {
        matches!(self, AtomicOp::LoadAcquire | AtomicOp::StoreRelease) || matches!(size, Size::W | Size::Dw)
    }
}

/// Byte-order conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endian {
    /// To or from little endian; on a little-endian machine it truncates.
    Le,
    /// To or from big endian.
    Be,
    /// Unconditional swap (ISA v4, Linux 6.6).
    Swap,
}
