//! Loads, stores, atomics, and copies and fills of memory.

use isa::uapi::helper;
use isa::{AluOp, AtomicOp, Size, Width};
use regalloc2::VReg;

use super::Lowering;
use super::values::{Base, Location};
use crate::backend::Error;
use crate::backend::machine::{Choice, Op};
use crate::{InstData, MemType, Space, Type, UnaryOp, Value};

/// The most accesses that a copy or fill is unrolled to (a copy: pairs of
/// them). Longer copies call a helper, which costs about as much as 16 pairs.
const MAX_COPY_PIECES: usize = 16;
const MAX_FILL_PIECES: usize = 32;
/// Bytes that one round of a fill loop stores.
const FILL_ROUND_BYTES: u32 = 64;

impl Lowering<'_> {
    pub(super) fn load(&mut self, dst: VReg, mem: MemType, ptr: Value, offset: i32) -> Result<(), Error> {
        let at = self.location(ptr, offset.into());
        if !mem.is_signed() || self.isa >= 4 && !self.is_misaligned(mem.bytes(), at) {
            self.load_at(dst, mem, at);
            return Ok(());
        }
        let (unsigned, bits) = match mem {
            MemType::S8 => (MemType::U8, 8),
            MemType::S16 => (MemType::U16, 16),
            _ => (MemType::U32, 32),
        };
        let raw = self.fresh();
        self.load_at(raw, unsigned, at);
        self.sign_extend(dst, bits, Width::W64, raw);
        Ok(())
    }

    /// Whether the verifier would refuse the access as misaligned: on the stack
    /// it insists on alignment on every machine.
    fn is_misaligned(&self, bytes: u32, at: Location) -> bool {
        matches!(at.base, Base::Slot(_)) && self.alignment(at) < bytes
    }

    /// Loads from a misaligned place in parts.
    fn load_parts(&mut self, dst: VReg, bytes: u32, at: Location) {
        let parts = self.pieces(&[at], bytes, bytes);
        let mut so_far = None;
        for (i, &(done, size)) in parts.iter().enumerate() {
            let part = self.fresh();
            self.load_at(part, unsigned(size), at.plus(done));
            let shift = i32::from(low_bits_before(done, size, bytes));
            let placed = if shift == 0 { part } else { self.fresh() };
            if shift != 0 {
                self.alu_imm(placed, AluOp::Lsh, Width::W64, part, shift);
            }
            so_far = Some(match so_far {
                None => placed,
                Some(low) => {
                    let both = if i + 1 == parts.len() { dst } else { self.fresh() };
                    self.alu(both, AluOp::Or, Width::W64, low, placed);
                    both
                }
            });
        }
    }

    /// Stores to a misaligned place in parts.
    fn store_parts(&mut self, bytes: u32, at: Location, value: VReg) {
        for (done, size) in self.pieces(&[at], bytes, bytes) {
            let shift = i32::from(low_bits_before(done, size, bytes));
            let part = if shift == 0 { value } else { self.fresh() };
            if shift != 0 {
                self.alu_imm(part, AluOp::Rsh, Width::W64, value, shift);
            }
            self.store_at(size, at.plus(done), part);
        }
    }

    fn load_at(&mut self, dst: VReg, mem: MemType, at: Location) {
        if self.is_misaligned(mem.bytes(), at) {
            return self.load_parts(dst, mem.bytes(), at);
        }
        let (address, base) = self.address(at);
        let inst = Self::with_base(self.inst(Op::Load { mem, address }).def(dst), base);
        self.push(inst);
    }

    /// `ty`: what is loaded.
    pub(super) fn load_ptr(&mut self, dst: VReg, ty: Option<Type>, ptr: Value, offset: i32) -> Result<(), Error> {
        // In a context, packet pointers stand in 4 bytes (struct xdp_md,
        // struct __sk_buff); the verifier makes them whole.
        let mem = match ty {
            Some(Type::Ptr(Space::Packet | Space::PacketEnd)) => MemType::U32,
            _ => MemType::U64,
        };
        let at = self.location(ptr, offset.into());
        self.load_at(dst, mem, at);
        Ok(())
    }

    pub(super) fn store(&mut self, mem: MemType, ptr: Value, offset: i32, value: Value) -> Result<(), Error> {
        let size = size_of(mem);
        let at = self.location(ptr, offset.into());
        if let Some(n) = self.constant(value)
            && let Some(imm) = store_imm(size, n)
            && self.space(at) != Some(Space::Ctx)
            && !self.is_misaligned(mem.bytes(), at)
        {
            self.store_imm_at(size, at, imm);
            return Ok(());
        }
        let value = match size {
            // The bytes of a pointer are its address. On the stack it would
            // stay a pointer to the verifier, also when loaded back as a number.
            Size::Dw if self.space(at) != Some(Space::Stack) => self.need_or_pointer(value),
            Size::Dw => self.need(value),
            _ => {
                let low = self.stored_part(value, mem.bytes());
                self.need(low)
            }
        };
        self.store_at(size, at, value);
        Ok(())
    }

    fn store_at(&mut self, size: Size, at: Location, value: VReg) {
        if self.is_misaligned(size.bytes().into(), at) {
            return self.store_parts(size.bytes().into(), at, value);
        }
        let (address, base) = self.address(at);
        let inst = Self::with_base(self.inst(Op::Store { size, address }).uses(value), base);
        self.push(inst);
    }

    fn store_imm_at(&mut self, size: Size, at: Location, imm: i32) {
        let (address, base) = self.address(at);
        let inst = Self::with_base(self.inst(Op::StoreImm { size, address, imm }), base);
        self.push(inst);
    }

    /// The value whose low `bytes` are those of `v`, without needless extensions.
    fn stored_part(&self, v: Value, bytes: u32) -> Value {
        let mut v = self.resolve(v);
        loop {
            let arg = match self.def(v) {
                Some(InstData::Unary { op, arg }) => match op {
                    UnaryOp::Zext8 | UnaryOp::Sext8 if bytes == 1 => *arg,
                    UnaryOp::Zext16 | UnaryOp::Sext16 if bytes <= 2 => *arg,
                    UnaryOp::Zext32 | UnaryOp::Sext32 => *arg,
                    UnaryOp::Trunc if self.low_half(v) != v => *arg,
                    _ => return v,
                },
                _ => return v,
            };
            v = self.resolve(arg);
        }
    }

    pub(super) fn space(&self, at: Location) -> Option<Space> {
        match at.base {
            Base::Slot(_) => Some(Space::Stack),
            Base::Scratch | Base::MapValue(_) => Some(Space::Value),
            Base::Value(v) => match self.func.ty(v) {
                Type::Ptr(space) => Some(space),
                _ => None,
            },
        }
    }

    #[allow(clippy::too_many_arguments)] // the instruction's fields
    pub(super) fn atomic(
        &mut self,
        dst: VReg,
        op: crate::AtomicOp,
        mem: MemType,
        ptr: Value,
        offset: i32,
        value: Value,
        fetch: bool,
    ) -> Result<(), Error> {
        let fetch = fetch || op == crate::AtomicOp::Xchg;
        let op = match (op, fetch) {
            (crate::AtomicOp::Add, false) => AtomicOp::Add,
            (crate::AtomicOp::And, false) => AtomicOp::And,
            (crate::AtomicOp::Or, false) => AtomicOp::Or,
            (crate::AtomicOp::Xor, false) => AtomicOp::Xor,
            (crate::AtomicOp::Add, true) => AtomicOp::FetchAdd,
            (crate::AtomicOp::And, true) => AtomicOp::FetchAnd,
            (crate::AtomicOp::Or, true) => AtomicOp::FetchOr,
            (crate::AtomicOp::Xor, true) => AtomicOp::FetchXor,
            (crate::AtomicOp::Xchg, _) => AtomicOp::Xchg,
        };
        if op != AtomicOp::Add {
            self.need_isa(3, "an atomic operation other than addition")?;
        }
        let at = self.location(ptr, offset.into());
        let value = self.need_own(value);
        let (address, base) = self.address(at);
        let size = size_of(mem);
        let inst = self.inst(Op::Atomic { op, size, fetch, address });
        let inst = if fetch { inst.reuse_def(dst, 1).uses(value) } else { inst.uses(value) };
        let inst = Self::with_base(inst, base);
        self.push(inst);
        Ok(())
    }

    pub(super) fn compare_exchange(
        &mut self,
        dst: VReg,
        mem: MemType,
        ptr: Value,
        offset: i32,
        expected: Value,
        value: Value,
    ) -> Result<(), Error> {
        self.need_isa(3, "compare and exchange")?;
        let at = self.location(ptr, offset.into());
        let (expected, value) = (self.need_own(expected), self.need(value));
        let (address, base) = self.address(at);
        let inst = self.inst(Op::CompareExchange { size: size_of(mem), address });
        let inst = Self::with_base(inst.fixed_def(dst, 0).fixed_use(expected, 0).uses(value), base);
        self.push(inst);
        Ok(())
    }

    fn need_isa(&self, isa: u8, what: &'static str) -> Result<(), Error> {
        if self.isa < isa {
            return Err(Error::Isa { function: self.func.name.clone(), what, isa, span: self.span });
        }
        Ok(())
    }

    /// The largest power of two up to 8 that is known to divide the address.
    fn alignment(&self, at: Location) -> u32 {
        let base = match at.base {
            Base::Slot(slot) => self.func.slots[slot].placed_align(),
            // A pointer into the stack at a distance known only at run time.
            Base::Value(v) if self.func.ty(v) == Type::Ptr(Space::Stack) => 1,
            // Map values, records and contexts start at multiples of 8; other
            // pointers may be unaligned for all the verifier cares.
            _ => 8,
        };
        base.min(1 << at.offset.trailing_zeros().min(3))
    }

    /// Cuts `len` bytes into aligned accesses of at most `widest` bytes each.
    fn pieces(&self, places: &[Location], len: u32, widest: u32) -> Vec<(u32, Size)> {
        let mut pieces = Vec::new();
        let mut done = 0;
        while done < len {
            let aligned = places.iter().map(|at| self.alignment(at.plus(done))).min().unwrap_or(1);
            let mut bytes = aligned.min(widest);
            while bytes > len - done {
                bytes /= 2;
            }
            pieces.push((done, Size::from_bytes(bytes as u8).unwrap_or(Size::B)));
            done += bytes;
        }
        pieces
    }

    pub(super) fn mem_copy(
        &mut self,
        dst: Value,
        dst_offset: i32,
        src: Value,
        src_offset: i32,
        len: u32,
    ) -> Result<(), Error> {
        let to = self.location(dst, dst_offset.into());
        let from = self.location(src, src_offset.into());
        if len == 0 {
            return Ok(());
        }
        // Kernel memory is not walked field by field here: only the helper may
        // read across the members of a structure.
        let direct = self.space(from).is_some_and(|s| s.is_readable() && s != Space::Btf);
        if direct && len <= MAX_COPY_PIECES as u32 * 8 {
            let pieces = self.pieces(&[to, from], len, 8);
            if pieces.len() <= 2 * MAX_COPY_PIECES {
                for (done, size) in pieces {
                    let t = self.fresh();
                    self.load_at(t, unsigned(size), from.plus(done));
                    self.store_at(size, to.plus(done), t);
                }
                return Ok(());
            }
        }
        self.define_shared();
        let to = self.pointer(to);
        let from = self.pointer(from);
        let (length, result) = (self.fresh(), self.fresh());
        let inst = self.inst(Op::Const(len.into(), Width::W64)).def(length);
        self.push(inst);
        let inst = self
            .inst(Op::CallHelper(helper::probe_read_kernel))
            .fixed_def(result, 0)
            .fixed_use(to, 1)
            .fixed_use(length, 2)
            .fixed_use(from, 3);
        self.push(inst);
        Ok(())
    }

    /// A register that holds the address `at`.
    fn pointer(&mut self, at: Location) -> VReg {
        let base = match at.base {
            Base::Slot(slot) => {
                let v = self.fresh();
                let inst = self.inst(Op::FrameAddr { slot, offset: at.offset as i32 }).def(v);
                self.push(inst);
                return v;
            }
            Base::MapValue(map) => {
                let v = self.fresh();
                let inst = self.inst(Op::MapValueAddr { map, offset: at.offset as u32 }).def(v);
                self.push(inst);
                return v;
            }
            Base::Value(v) => self.need(v),
            Base::Scratch => self.scratch_base.unwrap_or_else(|| VReg::new(0, regalloc2::RegClass::Int)),
        };
        self.add_offset(base, at.offset)
    }

    pub(super) fn mem_set(&mut self, dst: Value, offset: i32, byte: u8, len: u32) -> Result<(), Error> {
        let at = self.location(dst, offset.into());
        let pattern = i64::from_ne_bytes([byte; 8]);
        // Most patterns do not fit an immediate of 8 bytes; two of 4 do.
        let widest = if i32::try_from(pattern).is_ok() { 8 } else { 4 };
        let all = self.pieces(&[at], len, widest);
        let head = (0..len.min(8)).find(|done| self.alignment(at.plus(*done)) == 8);
        match head {
            Some(head) if all.len() > MAX_FILL_PIECES && len - head >= FILL_ROUND_BYTES => {
                self.fill(at, 0, head, byte);
                let rounds = (len - head) / FILL_ROUND_BYTES;
                self.fill_loop(at.plus(head), rounds, pattern);
                self.fill(at, head + rounds * FILL_ROUND_BYTES, len, byte);
            }
            _ => self.fill(at, 0, len, byte),
        }
        Ok(())
    }

    fn fill(&mut self, at: Location, from: u32, to: u32, byte: u8) {
        let at = at.plus(from);
        let widest = if byte == 0 || byte == 0xff { 8 } else { 4 };
        for (done, size) in self.pieces(&[at], to - from, widest) {
            let imm = match size {
                Size::B => i32::from(byte),
                Size::H => i32::from(u16::from_ne_bytes([byte; 2])),
                Size::W | Size::Dw => i32::from_ne_bytes([byte; 4]),
            };
            self.store_imm_at(size, at.plus(done), imm);
        }
    }

    fn fill_loop(&mut self, at: Location, rounds: u32, pattern: i64) {
        let start = self.pointer(at);
        let (counter, moving) = (self.fresh(), self.fresh());
        let (value, register) = match i32::try_from(pattern) {
            Ok(imm) => (Choice::Imm(imm, Width::W64), None),
            Err(_) => {
                let v = self.fresh();
                let inst = self.inst(Op::Const(pattern, Width::W64)).def(v);
                self.push(inst);
                (Choice::Register, Some(v))
            }
        };
        let inst = self.inst(Op::Fill { rounds, value }).early_def(counter).reuse_def(moving, 2).uses(start);
        let inst = match register {
            Some(v) => inst.late_use(v),
            None => inst,
        };
        self.push(inst);
    }
}

impl Location {
    fn plus(self, bytes: u32) -> Location {
        Location { offset: self.offset.wrapping_add(bytes.into()), ..self }
    }
}

fn size_of(mem: MemType) -> Size {
    match mem {
        MemType::U8 | MemType::S8 => Size::B,
        MemType::U16 | MemType::S16 => Size::H,
        MemType::U32 | MemType::S32 => Size::W,
        MemType::U64 => Size::Dw,
    }
}

/// How many bits of a number stand below the part of `size` at byte `done`.
fn low_bits_before(done: u32, size: Size, bytes: u32) -> u8 {
    let before = if cfg!(target_endian = "little") { done } else { bytes - done - u32::from(size.bytes()) };
    (before * 8) as u8
}

fn unsigned(size: Size) -> MemType {
    match size {
        Size::B => MemType::U8,
        Size::H => MemType::U16,
        Size::W => MemType::U32,
        Size::Dw => MemType::U64,
    }
}

/// The immediate that stores the low bytes of `n`, if there is one.
fn store_imm(size: Size, n: i64) -> Option<i32> {
    match size {
        Size::B => Some((n & 0xff) as i32),
        Size::H => Some((n & 0xffff) as i32),
        Size::W => Some(n as i32),
        Size::Dw => i32::try_from(n).ok(),
    }
}
