//! Classic BPF (`struct sock_filter`): what packet filters and seccomp use.
//!
//! The text is that of `tcpdump -d`. Source: Linux `include/uapi/linux/filter.h`,
//! `net/core/filter.c` (`chk_code_allowed`).

use std::fmt::{self, Write};

use crate::opcode::Size;

/// One instruction as the kernel takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(C)]
pub struct Filter {
    pub code: u16,
    /// Instructions to skip when the condition holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    pub k: u32,
}

impl Filter {
    /// The encoding on a little-endian machine.
    pub fn to_bytes(&self) -> [u8; 8] {
        let (code, k) = (self.code.to_le_bytes(), self.k.to_le_bytes());
        [code[0], code[1], self.jt, self.jf, k[0], k[1], k[2], k[3]]
    }

    pub fn from_bytes(b: [u8; 8]) -> Self {
        Filter {
            code: u16::from_le_bytes([b[0], b[1]]),
            jt: b[2],
            jf: b[3],
            k: u32::from_le_bytes([b[4], b[5], b[6], b[7]]),
        }
    }
}

/// Where a load takes its value from. Offsets are bytes into the packet (for
/// seccomp: into `struct seccomp_data`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    Packet {
        size: Size,
        offset: u32,
    },
    /// At `x + offset`.
    PacketIndexed {
        size: Size,
        offset: u32,
    },
    PacketLength,
    Imm(u32),
    /// One of the 16 words of scratch memory.
    Scratch(u32),
}

/// The second operand of arithmetic and comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    K(u32),
    X,
}

/// Arithmetic on the accumulator; the discriminant is the bits in the opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum AluOp {
    Add = 0x00,
    Sub = 0x10,
    Mul = 0x20,
    Div = 0x30,
    Or = 0x40,
    And = 0x50,
    Lsh = 0x60,
    Rsh = 0x70,
    Mod = 0x90,
    Xor = 0xa0,
}

const ALU_OPS: [(AluOp, &str); 10] = [
    (AluOp::Add, "add"),
    (AluOp::Sub, "sub"),
    (AluOp::Mul, "mul"),
    (AluOp::Div, "div"),
    (AluOp::Or, "or"),
    (AluOp::And, "and"),
    (AluOp::Lsh, "lsh"),
    (AluOp::Rsh, "rsh"),
    (AluOp::Mod, "mod"),
    (AluOp::Xor, "xor"),
];

/// Condition on the accumulator; the discriminant is the bits in the opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Cond {
    Eq = 0x10,
    Gt = 0x20,
    Ge = 0x30,
    Set = 0x40,
}

const CONDS: [(Cond, &str); 4] = [(Cond::Eq, "jeq"), (Cond::Gt, "jgt"), (Cond::Ge, "jge"), (Cond::Set, "jset")];

/// A decoded instruction; `a` is the accumulator, `x` the index register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    LoadA(Source),
    /// Packet loads do not exist for `x`.
    LoadX(Source),
    /// `x = 4 * (packet[offset] & 0xf)`: the length of an IPv4 header.
    LoadHeaderLength {
        offset: u32,
    },
    StoreA {
        slot: u32,
    },
    StoreX {
        slot: u32,
    },
    Alu {
        op: AluOp,
        operand: Operand,
    },
    Neg,
    Jump {
        skip: u32,
    },
    JumpIf {
        cond: Cond,
        operand: Operand,
        jt: u8,
        jf: u8,
    },
    Ret(u32),
    RetA,
    /// `x = a`.
    Tax,
    /// `a = x`.
    Txa,
}

/// Why an encoding is no instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("no classic BPF instruction has the opcode {0:#06x}")]
    UnknownOpcode(u16),
    #[error("scratch memory has 16 words, {0} is none of them")]
    ScratchSlot(u32),
}

/// Bit 3 of arithmetic and jumps: the operand is `x`.
const SRC_X: u16 = 0x08;
const SCRATCH_WORDS: u32 = 16;

fn slot(k: u32) -> Result<u32, Error> {
    if k < SCRATCH_WORDS { Ok(k) } else { Err(Error::ScratchSlot(k)) }
}

impl Op {
    pub fn decode(f: &Filter) -> Result<Op, Error> {
        let unknown = Error::UnknownOpcode(f.code);
        let operand = if f.code & SRC_X != 0 { Operand::X } else { Operand::K(f.k) };
        Ok(match f.code {
            0x00 => Op::LoadA(Source::Imm(f.k)),
            0x60 => Op::LoadA(Source::Scratch(slot(f.k)?)),
            0x80 => Op::LoadA(Source::PacketLength),
            0x20 | 0x28 | 0x30 => Op::LoadA(Source::Packet { size: Size::of_code(f.code as u8), offset: f.k }),
            0x40 | 0x48 | 0x50 => Op::LoadA(Source::PacketIndexed { size: Size::of_code(f.code as u8), offset: f.k }),
            0x01 => Op::LoadX(Source::Imm(f.k)),
            0x61 => Op::LoadX(Source::Scratch(slot(f.k)?)),
            0x81 => Op::LoadX(Source::PacketLength),
            0xb1 => Op::LoadHeaderLength { offset: f.k },
            0x02 => Op::StoreA { slot: slot(f.k)? },
            0x03 => Op::StoreX { slot: slot(f.k)? },
            0x84 => Op::Neg,
            0x05 => Op::Jump { skip: f.k },
            0x06 => Op::Ret(f.k),
            0x16 => Op::RetA,
            0x07 => Op::Tax,
            0x87 => Op::Txa,
            code if code & !0xf8 == 0x04 => {
                let (op, _) = ALU_OPS.into_iter().find(|(op, _)| *op as u16 == code & 0xf0).ok_or(unknown)?;
                Op::Alu { op, operand }
            }
            code if code & !0xf8 == 0x05 => {
                let (cond, _) = CONDS.into_iter().find(|(cond, _)| *cond as u16 == code & 0xf0).ok_or(unknown)?;
                Op::JumpIf { cond, operand, jt: f.jt, jf: f.jf }
            }
            _ => return Err(unknown),
        })
    }

    /// The encoding; fields that the instruction does not use are zero.
    pub fn encode(&self) -> Filter {
        let plain = |code, k| Filter { code, jt: 0, jf: 0, k };
        let operand = |operand| match operand {
            Operand::K(k) => (0, k),
            Operand::X => (SRC_X, 0),
        };
        let source = |source| match source {
            Source::Imm(k) => (0x00, k),
            Source::Scratch(k) => (0x60, k),
            Source::PacketLength => (0x80, 0),
            Source::Packet { size, offset } => (0x20 | size as u16, offset),
            Source::PacketIndexed { size, offset } => (0x40 | size as u16, offset),
        };
        match *self {
            Op::LoadA(from) => {
                let (code, k) = source(from);
                plain(code, k)
            }
            Op::LoadX(from) => {
                let (code, k) = source(from);
                plain(code | 1, k)
            }
            Op::LoadHeaderLength { offset } => plain(0xb1, offset),
            Op::StoreA { slot } => plain(0x02, slot),
            Op::StoreX { slot } => plain(0x03, slot),
            Op::Neg => plain(0x84, 0),
            Op::Alu { op, operand: by } => {
                let (x, k) = operand(by);
                plain(0x04 | op as u16 | x, k)
            }
            Op::Jump { skip } => plain(0x05, skip),
            Op::JumpIf { cond, operand: by, jt, jf } => {
                let (x, k) = operand(by);
                Filter { code: 0x05 | cond as u16 | x, jt, jf, k }
            }
            Op::Ret(k) => plain(0x06, k),
            Op::RetA => plain(0x16, 0),
            Op::Tax => plain(0x07, 0),
            Op::Txa => plain(0x87, 0),
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operand::K(k) => write!(f, "#{k:#x}"),
            Operand::X => f.write_str("x"),
        }
    }
}

/// The mnemonic of a load of this size.
fn load_name(size: Size) -> &'static str {
    match size {
        Size::B => "ldb",
        Size::H => "ldh",
        Size::W | Size::Dw => "ld",
    }
}

fn load(register: &'static str, source: Source) -> (&'static str, String) {
    match source {
        Source::Packet { size, offset } => (load_name(size), format!("[{}]", offset as i32)),
        Source::PacketIndexed { size, offset } => (load_name(size), format!("[x + {}]", offset as i32)),
        Source::PacketLength => (register, "#pktlen".to_owned()),
        Source::Imm(k) => (register, format!("#{k:#x}")),
        Source::Scratch(k) => (register, format!("M[{k}]")),
    }
}

/// A filter as text, a line an instruction, in the format of `tcpdump -d`.
pub fn disassemble(filters: &[Filter]) -> String {
    let mut out = String::with_capacity(filters.len() * 40);
    for (at, filter) in filters.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = write_line(&mut out, at, filter);
    }
    out
}

fn write_line(out: &mut String, at: usize, filter: &Filter) -> fmt::Result {
    let target = |skip: u32| at as u64 + 1 + u64::from(skip);
    let (name, operand) = match Op::decode(filter) {
        Ok(Op::LoadA(source)) => load("ld", source),
        Ok(Op::LoadX(source)) => load("ldx", source),
        Ok(Op::LoadHeaderLength { offset }) => ("ldxb", format!("4*([{offset}]&0xf)")),
        Ok(Op::StoreA { slot }) => ("st", format!("M[{slot}]")),
        Ok(Op::StoreX { slot }) => ("stx", format!("M[{slot}]")),
        Ok(Op::Neg) => ("neg", String::new()),
        Ok(Op::Alu { op, operand }) => {
            let name = ALU_OPS.into_iter().find(|(found, _)| *found == op).map_or("", |(_, name)| name);
            let text = match (op, operand) {
                (AluOp::And | AluOp::Or | AluOp::Xor, _) | (_, Operand::X) => operand.to_string(),
                (_, Operand::K(k)) => format!("#{k}"),
            };
            (name, text)
        }
        Ok(Op::Jump { skip }) => ("ja", target(skip).to_string()),
        Ok(Op::JumpIf { cond, operand, jt, jf }) => {
            let name = CONDS.into_iter().find(|(found, _)| *found == cond).map_or("", |(_, name)| name);
            let (jt, jf) = (target(jt.into()), target(jf.into()));
            return writeln!(out, "({at:03}) {name:<8} {:<16} jt {jt}\tjf {jf}", operand.to_string());
        }
        Ok(Op::Ret(k)) => ("ret", format!("#{k}")),
        Ok(Op::RetA) => ("ret", "a".to_owned()),
        Ok(Op::Tax) => ("tax", String::new()),
        Ok(Op::Txa) => ("txa", String::new()),
        Err(_) => ("unimp", format!("{:#x}", filter.code)),
    };
    let line = format!("({at:03}) {name:<8} {operand}");
    writeln!(out, "{}", line.trim_end())
}
