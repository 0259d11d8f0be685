//! Values as operands: aliases, constants, addresses, and what users make anew.

use isa::Width;
use isa::uapi::helper;

use super::{Lowering, Shared};
use crate::backend::machine::{Address, Instruction, Op};
use crate::{BinaryOp, Func, InstData, Map, MemType, Slot, Type, UnaryOp, Value};
use regalloc2::VReg;

/// A value that each user makes for itself instead of keeping it in a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remat {
    Const(i64, Width),
    MapAddr(Map),
    MapValueAddr { map: Map, offset: u32 },
    FuncAddr(Func),
    FrameAddr { slot: Slot, offset: i32 },
}

impl Remat {
    pub(super) fn op(self) -> Op {
        match self {
            Remat::Const(n, width) => Op::Const(n, width),
            Remat::MapAddr(map) => Op::MapAddr(map),
            Remat::MapValueAddr { map, offset } => Op::MapValueAddr { map, offset },
            Remat::FuncAddr(func) => Op::FuncAddr(func),
            Remat::FrameAddr { slot, offset } => Op::FrameAddr { slot, offset },
        }
    }

    /// Whether users in one block share it: where making it takes more than the
    /// one instruction that a copy would take.
    fn is_shared(self) -> bool {
        match self {
            Remat::Const(n, _) => i32::try_from(n).is_err(),
            _ => true,
        }
    }
}

/// What an address is relative to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Value(Value),
    /// A slot on the stack.
    Slot(Slot),
    /// The program's scratch memory.
    Scratch,
    MapValue(Map),
}

/// An address after constant offsets are folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub base: Base,
    pub offset: i64,
}

impl Lowering<'_> {
    /// The value whose register `v` is in.
    pub(super) fn resolve(&self, mut v: Value) -> Value {
        while let Some(same) = self.alias[v] {
            v = same;
        }
        v
    }

    /// Whether the upper half of `v`'s register is known to be zero.
    pub(super) fn upper_half_is_zero(&self, v: Value) -> bool {
        if self.is_i32(v) {
            return true;
        }
        let fits = |n: i64| (0..=i64::from(u32::MAX)).contains(&n);
        match self.def(v) {
            Some(InstData::Load { mem, .. }) => matches!(mem, MemType::U8 | MemType::U16 | MemType::U32),
            Some(InstData::Compare { .. }) => true,
            Some(InstData::CallHelper { helper, .. }) => {
                matches!(*helper, helper::get_smp_processor_id | helper::get_numa_node_id | helper::get_prandom_u32)
            }
            Some(InstData::Const(n)) => fits(*n),
            Some(InstData::Clamp { mask, .. }) => *mask <= u64::from(u32::MAX),
            Some(InstData::Unary { op, .. }) => {
                matches!(op, UnaryOp::Zext8 | UnaryOp::Zext16 | UnaryOp::Zext32 | UnaryOp::Bswap16 | UnaryOp::Bswap32)
            }
            Some(InstData::Binary { op: BinaryOp::And, args }) => {
                args.iter().any(|a| self.func.constant(*a).is_some_and(fits))
            }
            Some(InstData::Binary { op: BinaryOp::Lshr, args }) => {
                self.func.constant(args[1]).is_some_and(|n| n & 63 >= 32)
            }
            _ => false,
        }
    }

    /// The number in `v`'s register, if it is a constant: an `I32` zero-extended.
    pub(super) fn constant(&self, v: Value) -> Option<i64> {
        let v = self.resolve(v);
        match self.def(v)? {
            InstData::Const(n) if self.is_i32(v) => Some(i64::from(*n as u32)),
            InstData::Const(n) => Some(*n),
            InstData::Unary { op: UnaryOp::Trunc, arg } => self.constant(*arg).map(|n| i64::from(n as u32)),
            _ => None,
        }
    }

    /// Folds the constant offsets of the address `v + offset`.
    pub(super) fn location(&self, v: Value, offset: i64) -> Location {
        let mut offset = offset;
        let mut v = self.resolve(v);
        loop {
            let base = match self.def(v) {
                Some(InstData::Binary { op, args: [p, n] })
                    if matches!(op, BinaryOp::Add | BinaryOp::Sub) && matches!(self.func.ty(*p), Type::Ptr(_)) =>
                {
                    match (self.constant(*n), op) {
                        (Some(n), BinaryOp::Add) => offset = offset.wrapping_add(n),
                        (Some(n), _) => offset = offset.wrapping_sub(n),
                        (None, _) => return Location { base: Base::Value(v), offset },
                    }
                    v = self.resolve(*p);
                    continue;
                }
                Some(InstData::SlotAddr { slot, offset: start }) => {
                    offset = offset.wrapping_add(i64::from(*start));
                    match self.scratch.and_then(|s| s.offsets[*slot]) {
                        Some(place) => {
                            offset = offset.wrapping_add(i64::from(place));
                            Base::Scratch
                        }
                        None => Base::Slot(*slot),
                    }
                }
                Some(InstData::MapValueAddr { map, offset: start }) => {
                    offset = offset.wrapping_add(i64::from(*start));
                    Base::MapValue(*map)
                }
                _ => Base::Value(v),
            };
            return Location { base, offset };
        }
    }

    /// How users make `v` for themselves.
    pub(super) fn remat(&self, v: Value) -> Option<Remat> {
        if let Some(n) = self.constant(v) {
            // Prefer the 64-bit move: the verifier and readers see one number.
            return Some(match i32::try_from(n) {
                Err(_) if u32::try_from(n).is_ok() => Remat::Const(n, Width::W32),
                _ => Remat::Const(n, Width::W64),
            });
        }
        match self.def(v)? {
            InstData::MapAddr(map) => Some(Remat::MapAddr(*map)),
            InstData::FuncAddr(func) => Some(Remat::FuncAddr(*func)),
            InstData::SlotAddr { .. } | InstData::MapValueAddr { .. } | InstData::Binary { .. } => {
                let at = self.location(v, 0);
                match at.base {
                    Base::Slot(slot) => Some(Remat::FrameAddr { slot, offset: i32::try_from(at.offset).ok()? }),
                    Base::MapValue(map) => Some(Remat::MapValueAddr { map, offset: u32::try_from(at.offset).ok()? }),
                    Base::Scratch | Base::Value(_) => None,
                }
            }
            _ => None,
        }
    }

    /// The register of a value that is no constant and no address.
    pub(super) fn vreg(&mut self, v: Value) -> VReg {
        match self.vregs[v] {
            Some(vreg) => vreg,
            None => {
                let vreg = self.fresh();
                self.vregs[v] = Some(vreg);
                vreg
            }
        }
    }

    /// A register that holds `v`.
    pub(super) fn need(&mut self, v: Value) -> VReg {
        let v = self.resolve(v);
        match self.remat(v) {
            Some(remat) if remat.is_shared() => self.shared(remat),
            Some(remat) => self.make(remat),
            None => self.scratch_place(v).unwrap_or_else(|| self.vreg(v)),
        }
    }

    /// As [`Lowering::need`], of its own where that costs nothing: for operands
    /// that are consumed.
    pub(super) fn need_own(&mut self, v: Value) -> VReg {
        let v = self.resolve(v);
        match self.remat(v) {
            Some(remat) => self.make(remat),
            None => self.scratch_place(v).unwrap_or_else(|| self.vreg(v)),
        }
    }

    /// As [`Lowering::need`], where a pointer may stand for its address.
    pub(super) fn need_or_pointer(&mut self, v: Value) -> VReg {
        match self.def(self.resolve(v)) {
            Some(InstData::Unary { op: UnaryOp::Addr, arg }) => self.need_own(*arg),
            _ => self.need_own(v),
        }
    }

    /// The value whose low half is `v`, where truncation can be left out.
    pub(super) fn low_half(&self, v: Value) -> Value {
        let v = self.resolve(v);
        match self.def(v) {
            // The verifier has no 32-bit view of a pointer.
            Some(InstData::Unary { op: UnaryOp::Trunc, arg })
                if self.constant(v).is_none()
                    && !matches!(self.def(self.resolve(*arg)), Some(InstData::Unary { op: UnaryOp::Addr, .. })) =>
            {
                self.resolve(*arg)
            }
            _ => v,
        }
    }

    fn make(&mut self, remat: Remat) -> VReg {
        let v = self.fresh();
        let inst = self.inst(remat.op()).def(v);
        self.push(inst);
        v
    }

    fn shared(&mut self, remat: Remat) -> VReg {
        if let Some(s) = self.shared.iter_mut().find(|s| s.remat == remat) {
            (s.at, s.span) = (None, self.span);
            return s.vreg;
        }
        let vreg = self.fresh();
        self.shared.push(Shared { remat, vreg, at: None, span: self.span });
        vreg
    }

    /// Whether `v` is an address at a known place in the scratch memory.
    pub(super) fn is_in_scratch(&self, v: Value) -> bool {
        self.scratch.is_some()
            && matches!(self.def(v), Some(InstData::SlotAddr { .. } | InstData::Binary { .. }))
            && self.location(v, 0).base == Base::Scratch
    }

    /// The address of a place in the scratch memory, made anew for each user.
    fn scratch_place(&mut self, v: Value) -> Option<VReg> {
        let base = self.scratch_base.filter(|_| self.is_in_scratch(v))?;
        Some(self.add_offset(base, self.location(v, 0).offset))
    }

    /// A register that holds `base + offset`.
    pub(super) fn add_offset(&mut self, base: VReg, offset: i64) -> VReg {
        if offset == 0 {
            return base;
        }
        let dst = self.fresh();
        match i32::try_from(offset) {
            Ok(imm) => {
                let add = Op::AluImm { op: isa::AluOp::Add, width: Width::W64, imm };
                let inst = self.inst(add).reuse_def(dst, 1).uses(base);
                self.push(inst);
            }
            Err(_) => {
                let n = self.make(Remat::Const(offset, Width::W64));
                let add = Op::Alu { op: isa::AluOp::Add, width: Width::W64 };
                let inst = self.inst(add).reuse_def(dst, 1).uses(base).uses(n);
                self.push(inst);
            }
        }
        dst
    }

    /// `at` as an operand of a memory access, with the register it needs.
    pub(super) fn address(&mut self, at: Location) -> (Address, Option<VReg>) {
        let base = match at.base {
            Base::Slot(slot) => {
                return (Address::Frame(slot, at.offset.clamp(i32::MIN.into(), i32::MAX.into()) as i32), None);
            }
            Base::Value(v) => self.need(v),
            // Every program with a scratch location has a base.
            Base::Scratch => self.scratch_base.unwrap_or_else(|| VReg::new(0, regalloc2::RegClass::Int)),
            Base::MapValue(map) => self.shared(Remat::MapValueAddr { map, offset: 0 }),
        };
        match i16::try_from(at.offset) {
            Ok(offset) => (Address::Register(offset), Some(base)),
            Err(_) => {
                let base = self.add_offset(base, at.offset);
                (Address::Register(0), Some(base))
            }
        }
    }

    /// `inst` with the base register of its address, if it has one.
    pub(super) fn with_base(inst: Instruction, base: Option<VReg>) -> Instruction {
        match base {
            Some(base) => inst.uses(base),
            None => inst,
        }
    }
}
