//! Instructions.
//!
//! Integer instructions work on `I64` or on `I32` (both operands alike); `I32`
//! values leave the upper half of their register zero. `Add` and `Sub` take a
//! pointer first and an `I64` second and give a pointer into the same space.

use crate::{Block, Func, Map, MemType, Slot, Value};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    /// Unsigned division; by zero gives 0, as BPF defines it.
    Udiv,
    /// Signed division, truncating; by zero gives 0.
    Sdiv,
    /// Unsigned remainder; by zero gives the dividend.
    Urem,
    Srem,
    And,
    Or,
    Xor,
    /// Shifts use the low 5 (`I32`) or 6 bits of the second operand.
    Shl,
    Lshr,
    Ashr,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum UnaryOp {
    Neg,
    Not,
    /// Byte order reversal of the low 16, 32 or 64 bits; upper bits become zero.
    Bswap16,
    Bswap32,
    Bswap64,
    /// Extension of the low bits to the type's width.
    Sext8,
    Sext16,
    /// `I32` or `I64` to `I64`.
    Sext32,
    Zext8,
    Zext16,
    /// `I32` or `I64` to `I64`.
    Zext32,
    /// `I64` to `I32`.
    Trunc,
    /// A pointer's address as an `I64`.
    Addr,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cond {
    Eq,
    Ne,
    Ult,
    Ule,
    Ugt,
    Uge,
    Slt,
    Sle,
    Sgt,
    Sge,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AtomicOp {
    Add,
    And,
    Or,
    Xor,
    Xchg,
}

/// A branch target with the arguments for its parameters.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct BlockCall {
    pub block: Block,
    pub args: Vec<Value>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum InstData {
    /// `v = iconst N`: an integer of the result's type.
    Const(i64),
    Binary {
        op: BinaryOp,
        args: [Value; 2],
    },
    Unary {
        op: UnaryOp,
        arg: Value,
    },
    /// 1 or 0, as `I64`. Pointers compare with pointers, or with the constant 0.
    Compare {
        cond: Cond,
        args: [Value; 2],
    },
    /// `args[0] if cond is non-zero else args[1]`.
    Select {
        cond: Value,
        args: [Value; 2],
    },
    Load {
        mem: MemType,
        ptr: Value,
        offset: i32,
    },
    /// Result type is the space that the loaded pointer points into, as the
    /// verifier knows it: packet pointers of a context, BTF pointers of a struct.
    LoadPtr {
        ptr: Value,
        offset: i32,
    },
    Store {
        mem: MemType,
        ptr: Value,
        offset: i32,
        value: Value,
    },
    /// Address within a slot.
    SlotAddr {
        slot: Slot,
        offset: i32,
    },
    /// The map itself, for helpers.
    MapAddr(Map),
    /// An address within the value of a one-element array map.
    MapValueAddr {
        map: Map,
        offset: u32,
    },
    FuncAddr(Func),
    /// `mem` is `U32` or `U64`. With `fetch` the result is the old value.
    Atomic {
        op: AtomicOp,
        mem: MemType,
        ptr: Value,
        offset: i32,
        value: Value,
        fetch: bool,
    },
    /// The old value.
    CompareExchange {
        mem: MemType,
        ptr: Value,
        offset: i32,
        expected: Value,
        value: Value,
    },
    /// A kernel helper by number (`isa::uapi::helper`), up to 5 arguments.
    CallHelper {
        helper: u32,
        args: Vec<Value>,
    },
    /// A function of the module, up to 5 arguments.
    Call {
        func: Func,
        args: Vec<Value>,
    },
    /// Copies `len` bytes between places that do not overlap.
    MemCopy {
        dst: Value,
        dst_offset: i32,
        src: Value,
        src_offset: i32,
        len: u32,
    },
    MemSet {
        dst: Value,
        offset: i32,
        byte: u8,
        len: u32,
    },
    /// The same pointer, not null: only in blocks that the non-null side of a
    /// branch on it dominates.
    NonNull(Value),
    /// `value & mask`, kept even where we know that it changes nothing, because
    /// the kernel's verifier does not.
    Clamp {
        value: Value,
        mask: u64,
    },
    // Terminators.
    Jump(BlockCall),
    /// Branches on `cond` being non-zero.
    Branch {
        cond: Value,
        then: BlockCall,
        otherwise: BlockCall,
    },
    Return(Value),
}

impl InstData {
    pub fn is_terminator(&self) -> bool {
        matches!(self, InstData::Jump(_) | InstData::Branch { .. } | InstData::Return(_))
    }

    /// Whether it has an effect besides its result (so it is kept when the
    /// result is not used).
    pub fn has_effect(&self) -> bool {
        use InstData::*;
        match self {
            Store { .. }
            | Atomic { .. }
            | CompareExchange { .. }
            | CallHelper { .. }
            | Call { .. }
            | MemCopy { .. }
            | MemSet { .. } => true,
            other => other.is_terminator(),
        }
    }

    /// Whether it defines a value.
    pub fn has_result(&self) -> bool {
        use InstData::*;
        match self {
            Store { .. } | MemCopy { .. } | MemSet { .. } => false,
            Atomic { fetch, .. } => *fetch,
            other => !other.is_terminator(),
        }
    }

    /// Calls `f` on each value it uses, block arguments included.
    pub fn for_each_use(&self, mut f: impl FnMut(Value)) {
        use InstData::*;
        match self {
            Const(_) | SlotAddr { .. } | MapAddr(_) | MapValueAddr { .. } | FuncAddr(_) => {}
            Binary { args, .. } | Compare { args, .. } => args.iter().copied().for_each(f),
            Select { cond, args } => {
                f(*cond);
                args.iter().copied().for_each(f);
            }
            Unary { arg: v, .. }
            | Load { ptr: v, .. }
            | LoadPtr { ptr: v, .. }
            | MemSet { dst: v, .. }
            | NonNull(v)
            | Clamp { value: v, .. }
            | Return(v) => f(*v),
            Store { ptr, value, .. } | Atomic { ptr, value, .. } => {
                f(*ptr);
                f(*value);
            }
            CompareExchange { ptr, expected, value, .. } => {
                f(*ptr);
                f(*expected);
                f(*value);
            }
            CallHelper { args, .. } | Call { args, .. } => args.iter().copied().for_each(f),
            MemCopy { dst, src, .. } => {
                f(*dst);
                f(*src);
            }
            Jump(to) => to.args.iter().copied().for_each(f),
            Branch { cond, then, otherwise } => {
                f(*cond);
                then.args.iter().chain(&otherwise.args).copied().for_each(f);
            }
        }
    }

    /// The edges of a terminator: its targets with their arguments.
    pub fn edges(&self) -> impl Iterator<Item = &BlockCall> {
        let (first, second) = match self {
            InstData::Jump(to) => (Some(to), None),
            InstData::Branch { then, otherwise, .. } => (Some(then), Some(otherwise)),
            _ => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// [`InstData::edges`], to change them.
    pub fn edges_mut(&mut self) -> impl Iterator<Item = &mut BlockCall> {
        let (first, second) = match self {
            InstData::Jump(to) => (Some(to), None),
            InstData::Branch { then, otherwise, .. } => (Some(then), Some(otherwise)),
            _ => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// Replaces each value it uses.
    pub fn map_uses(&mut self, mut f: impl FnMut(Value) -> Value) {
        use InstData::*;
        match self {
            Const(_) | SlotAddr { .. } | MapAddr(_) | MapValueAddr { .. } | FuncAddr(_) => {}
            Binary { args, .. } | Compare { args, .. } => {
                for a in args {
                    *a = f(*a);
                }
            }
            Select { cond, args } => {
                *cond = f(*cond);
                for a in args {
                    *a = f(*a);
                }
            }
            Unary { arg, .. } => *arg = f(*arg),
            Load { ptr, .. } | LoadPtr { ptr, .. } => *ptr = f(*ptr),
            Store { ptr, value, .. } | Atomic { ptr, value, .. } => {
                *ptr = f(*ptr);
                *value = f(*value);
            }
            CompareExchange { ptr, expected, value, .. } => {
                *ptr = f(*ptr);
                *expected = f(*expected);
                *value = f(*value);
            }
            CallHelper { args, .. } | Call { args, .. } => {
                for a in args {
                    *a = f(*a);
                }
            }
            MemCopy { dst, src, .. } => {
                *dst = f(*dst);
                *src = f(*src);
            }
            MemSet { dst, .. } => *dst = f(*dst),
            NonNull(v) | Clamp { value: v, .. } | Return(v) => *v = f(*v),
            Jump(to) => {
                for a in &mut to.args {
                    *a = f(*a);
                }
            }
            Branch { cond, then, otherwise } => {
                *cond = f(*cond);
                for a in then.args.iter_mut().chain(&mut otherwise.args) {
                    *a = f(*a);
                }
            }
        }
    }

    /// The blocks a terminator may go to.
    pub fn successors(&self) -> Vec<Block> {
        match self {
            InstData::Jump(to) => vec![to.block],
            InstData::Branch { then, otherwise, .. } => vec![then.block, otherwise.block],
            _ => Vec::new(),
        }
    }
}
