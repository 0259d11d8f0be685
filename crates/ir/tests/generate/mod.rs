//! Random programs for comparing two ways of running the same thing. The same
//! seed gives the same program on every machine.
//!
//! A program (`fn0`) reads inputs from the value of `map0` ("state", 64 random
//! bytes in an array of one), computes, writes to the same value, and returns a
//! number: what it returns and the bytes of the value afterwards are its result.
//! It loads on a kernel as it is: loops are bounded, memory is written before it
//! is read, variable offsets are clamped.

mod evaluate;

pub use evaluate::run;
use ir::*;
use isa::uapi::{helper, map_type, prog_type};

/// The bytes of the map's value.
pub const STATE_BYTES: u32 = 64;

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to, not including, `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Integers around which arithmetic goes wrong, and any others.
    fn integer(&mut self) -> i64 {
        match self.below(8) {
            0..=2 => self.below(20) as i64 - 4,
            3 => 1 << self.below(63),
            4 => (1 << self.below(63)) - 1,
            5 => self.pick(&[i64::MIN, i64::MAX, i32::MIN as i64, i32::MAX as i64, u32::MAX as i64, -1, 0x8000, 0xff]),
            6 => self.next() as i32 as i64,
            _ => self.next() as i64,
        }
    }
}

/// What may occur in a program.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Instructions, roughly.
    pub size: usize,
    /// Calls of kernel helpers whose result is a function of memory alone
    /// (`probe_read_kernel`, `map_lookup_elem`).
    pub helpers: bool,
    /// A second function that the first calls.
    pub calls: bool,
}

impl Shape {
    /// Small and large programs, some with helpers, some with a function.
    pub fn of(seed: u64) -> Shape {
        Shape { size: 10 + (seed % 13) as usize * 12, helpers: seed.is_multiple_of(2), calls: seed.is_multiple_of(5) }
    }
}

pub fn module(seed: u64, shape: Shape) -> Module {
    let mut random = Random(seed);
    let mut module = Module { license: "GPL".to_owned(), ..Module::default() };
    let mut initial = Vec::new();
    while initial.len() < STATE_BYTES as usize {
        initial.extend_from_slice(&random.integer().to_le_bytes());
    }
    module.maps.push(object::Map {
        name: "state".to_owned(),
        map_type: map_type::ARRAY,
        key_size: 4,
        value_size: STATE_BYTES,
        max_entries: 1,
        initial,
        ..object::Map::default()
    });
    let callee = shape.calls.then_some(Func::from_u32(1));
    let program =
        ProgramKind { section: "socket".to_owned(), prog_type: prog_type::SOCKET_FILTER, ..ProgramKind::default() };
    let func = function(&mut random, shape, callee, "random", Some(program));
    module.funcs.push(func);
    if shape.calls {
        let shape = Shape { size: shape.size / 4 + 2, helpers: false, calls: false };
        let func = function(&mut random, shape, None, "callee", None);
        module.funcs.push(func);
    }
    module
}

fn function(
    random: &mut Random,
    shape: Shape,
    callee: Option<Func>,
    name: &str,
    program: Option<ProgramKind>,
) -> Function {
    let mut func = Function { name: name.to_owned(), program, ..Function::default() };
    let is_program = func.program.is_some();
    let mut g = Generator {
        random,
        b: Builder::new(&mut func),
        wide: Vec::new(),
        narrow: Vec::new(),
        slots: Vec::new(),
        locals: Vec::new(),
        records: Vec::new(),
        callee,
        helpers: shape.helpers,
        left: shape.size as isize,
        depth: 0,
    };
    let entry = g.b.create_block();
    g.b.switch_to(entry);
    if is_program {
        g.b.block_param(entry, Type::Ptr(Space::Ctx));
    } else {
        for _ in 0..2 {
            let param = g.b.block_param(entry, Type::I64);
            g.wide.push(param);
        }
    }
    g.prologue();
    g.statements();
    let result = g.wide();
    g.b.ret(result);
    func
}

struct Generator<'a> {
    random: &'a mut Random,
    b: Builder<'a>,
    /// `I64` values that dominate the current place.
    wide: Vec<Value>,
    /// `I32` values that do.
    narrow: Vec<Value>,
    /// With their sizes; all bytes written at entry.
    slots: Vec<(Slot, u32)>,
    /// Slots that are accessed in one width only, as variables of a script are.
    locals: Vec<(Slot, u32)>,
    /// Slots that are accessed by the fields of [`RECORD`], or as a whole.
    records: Vec<Slot>,
    callee: Option<Func>,
    helpers: bool,
    /// Instructions still to write, roughly.
    left: isize,
    depth: usize,
}

const BINARY: &[BinaryOp] = &[
    BinaryOp::Add,
    BinaryOp::Sub,
    BinaryOp::Mul,
    BinaryOp::Udiv,
    BinaryOp::Sdiv,
    BinaryOp::Urem,
    BinaryOp::Srem,
    BinaryOp::And,
    BinaryOp::Or,
    BinaryOp::Xor,
    BinaryOp::Shl,
    BinaryOp::Lshr,
    BinaryOp::Ashr,
];
const COND: &[Cond] =
    &[Cond::Eq, Cond::Ne, Cond::Ult, Cond::Ule, Cond::Ugt, Cond::Uge, Cond::Slt, Cond::Sle, Cond::Sgt, Cond::Sge];
const SAME_WIDTH: &[UnaryOp] = &[
    UnaryOp::Neg,
    UnaryOp::Not,
    UnaryOp::Bswap16,
    UnaryOp::Bswap32,
    UnaryOp::Sext8,
    UnaryOp::Sext16,
    UnaryOp::Zext8,
    UnaryOp::Zext16,
];
const MEM: &[MemType] =
    &[MemType::U8, MemType::U16, MemType::U32, MemType::U64, MemType::U64, MemType::S8, MemType::S16, MemType::S32];
/// Offsets and sizes of the fields of a record of 24 bytes; the byte at 15 is a gap.
const RECORD: &[(i32, u32)] = &[(0, 8), (8, 4), (12, 2), (14, 1), (16, 8)];
const RECORD_BYTES: u32 = 24;
const ATOMIC: &[AtomicOp] = &[AtomicOp::Add, AtomicOp::And, AtomicOp::Or, AtomicOp::Xor, AtomicOp::Xchg];

impl Generator<'_> {
    /// Inputs, and slots with all bytes written.
    fn prologue(&mut self) {
        for i in 0..4 {
            let ptr = self.b.map_value_addr(Map::from_u32(0), i * 8);
            let v = self.b.load(MemType::U64, ptr, 0);
            self.wide.push(v);
        }
        let narrow = self.b.unary(UnaryOp::Trunc, self.wide[0]);
        self.narrow.push(narrow);
        for _ in 0..1 + self.random.below(3) {
            let bytes = self.random.pick(&[8u32, 8, 16, 24, 32]);
            // Some slots are too large for the stack, though only their start is used.
            let size = if self.random.below(12) == 0 { 600 } else { bytes };
            let slot = self.b.create_slot(size, 8);
            let ptr = self.b.slot_addr(slot, 0);
            if self.random.below(2) == 0 {
                let byte = self.random.pick(&[0u8, 0, 0xff, 0x5a]);
                self.b.mem_set(ptr, 0, byte, bytes);
            } else {
                for offset in (0..bytes).step_by(8) {
                    let v = self.wide();
                    self.b.store(MemType::U64, ptr, offset as i32, v);
                }
            }
            self.slots.push((slot, bytes));
        }
        for _ in 0..self.random.below(4) {
            let bytes = self.random.pick(&[1u32, 2, 4, 8, 8]);
            let slot = self.b.create_slot(bytes, bytes);
            self.locals.push((slot, bytes));
            self.store_local(self.locals.len() - 1);
        }
        for _ in 0..self.random.below(3) {
            let slot = self.b.create_slot(RECORD_BYTES, 8);
            let ptr = self.b.slot_addr(slot, 0);
            self.b.mem_set(ptr, 0, 0, RECORD_BYTES);
            self.records.push(slot);
        }
    }

    fn store_local(&mut self, index: usize) {
        let (slot, bytes) = self.locals[index];
        let value = if bytes <= 4 && self.random.below(4) == 0 { self.narrow() } else { self.wide() };
        let ptr = self.b.slot_addr(slot, 0);
        self.b.store(MemType::new(bytes, false).unwrap(), ptr, 0, value);
    }

    /// Reads or writes a variable.
    fn local(&mut self) {
        if self.locals.is_empty() {
            return;
        }
        let index = self.random.below(self.locals.len());
        if self.random.below(2) == 0 {
            return self.store_local(index);
        }
        let (slot, bytes) = self.locals[index];
        let mem = MemType::new(bytes, self.random.below(2) == 0).unwrap();
        let ptr = self.b.slot_addr(slot, 0);
        let v = self.b.load(mem, ptr, 0);
        self.wide.push(v);
    }

    /// Reads or writes a field of a record, or copies a whole one.
    fn record(&mut self) {
        if self.records.is_empty() {
            return;
        }
        let slot = self.random.pick(&self.records);
        let ptr = self.b.slot_addr(slot, 0);
        let (offset, bytes) = self.random.pick(RECORD);
        match self.random.below(8) {
            0..=2 => {
                let value = self.wide();
                self.b.store(MemType::new(bytes, false).unwrap(), ptr, offset, value);
            }
            3..=5 => {
                let mem = MemType::new(bytes, self.random.below(2) == 0).unwrap();
                let v = self.b.load(mem, ptr, offset);
                self.wide.push(v);
            }
            6 => {
                let state = self.b.map_value_addr(Map::from_u32(0), 0);
                let other = self.random.pick(&self.records);
                let target = if other == slot { state } else { self.b.slot_addr(other, 0) };
                self.b.mem_copy(target, 0, ptr, 0, RECORD_BYTES);
            }
            _ => {
                let state = self.b.map_value_addr(Map::from_u32(0), 0);
                self.b.mem_copy(ptr, 0, state, 40, RECORD_BYTES);
            }
        }
    }

    fn wide(&mut self) -> Value {
        if self.wide.is_empty() || self.random.below(4) == 0 {
            let n = self.random.integer();
            self.b.iconst(n)
        } else {
            // Late values more often than early ones, so that chains form.
            let n = self.wide.len();
            let i = n - 1 - self.random.below(n).min(self.random.below(n));
            self.wide[i]
        }
    }

    fn narrow(&mut self) -> Value {
        if self.narrow.is_empty() || self.random.below(4) == 0 {
            let n = self.random.integer();
            self.b.iconst32(n as i32)
        } else {
            let n = self.narrow.len();
            let i = n - 1 - self.random.below(n).min(self.random.below(n));
            self.narrow[i]
        }
    }

    fn condition(&mut self) -> Value {
        if self.random.below(8) == 0 {
            return self.wide();
        }
        let cond = self.random.pick(COND);
        if self.random.below(3) == 0 {
            let (a, b) = (self.narrow(), self.narrow());
            self.b.compare(cond, a, b)
        } else {
            let (a, b) = (self.wide(), self.wide());
            self.b.compare(cond, a, b)
        }
    }

    /// A place of `bytes` bytes, mostly aligned, in a slot or in the map's value.
    /// The offset is a constant or a clamped variable.
    fn place(&mut self, bytes: u32) -> (Value, i32) {
        let in_slot = self.random.below(3) > 0;
        let (size, slot) = if in_slot {
            let (slot, size) = self.random.pick(&self.slots);
            (size, Some(slot))
        } else {
            (STATE_BYTES, None)
        };
        let variable = size.is_power_of_two() && self.random.below(6) == 0;
        let constant = match self.random.below(12) {
            // Misaligned, which the verifier never allows on the stack as it is.
            0 => self.random.below((size - bytes + 1) as usize) as u32,
            _ => bytes * self.random.below((size / bytes) as usize) as u32,
        };
        let split = if variable { 0 } else { self.random.pick(&[0, constant]) };
        let base = match slot {
            Some(slot) => self.b.slot_addr(slot, split as i32),
            None => self.b.map_value_addr(Map::from_u32(0), split),
        };
        if variable {
            let index = self.wide();
            let offset = self.b.clamp(index, u64::from(size - 1) & !u64::from(bytes - 1));
            (self.b.binary(BinaryOp::Add, base, offset), 0)
        } else {
            (base, (constant - split) as i32)
        }
    }

    fn statements(&mut self) {
        while self.left > 0 {
            self.statement();
            if self.depth > 0 && self.random.below(6) == 0 {
                break;
            }
        }
    }

    fn statement(&mut self) {
        self.left -= 2;
        match self.random.below(29) {
            0..=5 => {
                let op = self.random.pick(BINARY);
                let (a, b) = (self.wide(), self.wide());
                let v = self.b.binary(op, a, b);
                self.wide.push(v);
            }
            6..=7 => {
                let op = self.random.pick(BINARY);
                let (a, b) = (self.narrow(), self.narrow());
                let v = self.b.binary(op, a, b);
                self.narrow.push(v);
            }
            8 => {
                let a = self.wide();
                let op = if self.random.below(5) == 0 { UnaryOp::Bswap64 } else { self.random.pick(SAME_WIDTH) };
                let v = self.b.unary(op, a);
                self.wide.push(v);
            }
            9 => {
                let a = self.narrow();
                let op = self.random.pick(SAME_WIDTH);
                let v = self.b.unary(op, a);
                self.narrow.push(v);
            }
            10 => {
                let a = self.wide();
                let v = self.b.unary(UnaryOp::Trunc, a);
                self.narrow.push(v);
            }
            11 => {
                let a = if self.random.below(2) == 0 { self.wide() } else { self.narrow() };
                let op = self.random.pick(&[UnaryOp::Sext32, UnaryOp::Zext32]);
                let v = self.b.unary(op, a);
                self.wide.push(v);
            }
            12 => {
                let v = self.condition();
                self.wide.push(v);
            }
            13 => {
                let cond = self.condition();
                let (a, b) = (self.wide(), self.wide());
                let v = self.b.select(cond, a, b);
                self.wide.push(v);
            }
            14..=16 => {
                let mem = self.random.pick(MEM);
                let (ptr, offset) = self.place(mem.bytes());
                let v = self.b.load(mem, ptr, offset);
                self.wide.push(v);
            }
            17..=18 => {
                let mem = self.random.pick(MEM);
                let mem = MemType::new(mem.bytes(), false).unwrap();
                let value = self.wide();
                let (ptr, offset) = self.place(mem.bytes());
                self.b.store(mem, ptr, offset, value);
            }
            19 => self.memory(),
            20 => self.call(),
            21 | 22 if self.depth < 4 => self.conditional(),
            23 if self.depth < 3 => self.bounded_loop(),
            24..=26 => self.local(),
            27 => self.record(),
            _ => {
                let mask = self.random.integer() as u64;
                let a = self.wide();
                let v = self.b.clamp(a, mask);
                self.wide.push(v);
            }
        }
    }

    /// Copies, fills, atomics.
    fn memory(&mut self) {
        let (slot, size) = self.random.pick(&self.slots);
        let len = 1 + self.random.below(size as usize) as u32;
        let state = self.b.map_value_addr(Map::from_u32(0), 0);
        let ptr = self.b.slot_addr(slot, 0);
        match self.random.below(5) {
            0 => {
                let byte = self.random.pick(&[0u8, 0, 0xff, 0x5a]);
                let offset = self.random.below((size - len + 1) as usize) as i32;
                self.b.mem_set(ptr, offset, byte, len);
            }
            1 => self.b.mem_copy(ptr, 0, state, 8, len),
            2 => self.b.mem_copy(state, 16, ptr, 0, len),
            _ => {
                let op = self.random.pick(ATOMIC);
                let mem = self.random.pick(&[MemType::U32, MemType::U64]);
                let value = self.wide();
                // Kernels allow atomics on map values everywhere.
                let offset = mem.bytes() * self.random.below((STATE_BYTES / mem.bytes()) as usize) as u32;
                match self.random.below(4) {
                    0 => {
                        let expected = self.b.load(mem, state, offset as i32);
                        let v = self.b.compare_exchange(mem, state, offset as i32, expected, value);
                        self.wide.push(v);
                    }
                    1 => {
                        let v = self.b.atomic_fetch(op, mem, state, offset as i32, value);
                        self.wide.push(v);
                    }
                    _ => self.b.atomic_add(mem, state, offset as i32, value),
                }
            }
        }
    }

    fn call(&mut self) {
        if let Some(callee) = self.callee
            && self.random.below(2) == 0
        {
            let (a, b) = (self.wide(), self.wide());
            let v = self.b.call(callee, &[a, b]);
            self.wide.push(v);
        } else if self.helpers && self.random.below(2) == 0 {
            let (slot, size) = self.random.pick(&self.slots);
            let ptr = self.b.slot_addr(slot, 0);
            let len = self.b.iconst(i64::from(size));
            let source = self.b.map_value_addr(Map::from_u32(0), STATE_BYTES - size);
            let v = self.b.call_helper(helper::probe_read_kernel, &[ptr, len, source], Type::I64);
            self.wide.push(v);
        } else if self.helpers {
            self.lookup();
        }
    }

    /// `map_lookup_elem` with key 0, and what follows a null check.
    fn lookup(&mut self) {
        let key = self.b.create_slot(4, 4);
        let key_ptr = self.b.slot_addr(key, 0);
        let zero = self.b.iconst(0);
        self.b.store(MemType::U32, key_ptr, 0, zero);
        let map = self.b.map_addr(Map::from_u32(0));
        let found = self.b.call_helper(helper::map_lookup_elem, &[map, key_ptr], Type::Ptr(Space::ValueOrNull));
        let is_there = self.b.compare_imm(Cond::Ne, found, 0);
        let then = self.b.create_block();
        let join = self.b.create_block();
        let result = self.b.block_param(join, Type::I64);
        self.b.branch_args(is_there, then, &[], join, &[zero]);
        self.b.switch_to(then);
        let ptr = self.b.non_null(found);
        let offset = 8 * self.random.below(8) as i32;
        let old = self.b.load(MemType::U64, ptr, offset);
        let addend = self.wide();
        let new = self.b.binary(BinaryOp::Add, old, addend);
        self.b.store(MemType::U64, ptr, offset, new);
        self.b.jump(join, &[old]);
        self.b.switch_to(join);
        self.wide.push(result);
    }

    /// Runs `f` with the values defined in it forgotten afterwards.
    fn scoped(&mut self, f: impl FnOnce(&mut Self)) {
        let (wide, narrow) = (self.wide.len(), self.narrow.len());
        self.depth += 1;
        f(self);
        self.depth -= 1;
        self.wide.truncate(wide);
        self.narrow.truncate(narrow);
    }

    fn conditional(&mut self) {
        let cond = self.condition();
        let then = self.b.create_block();
        let otherwise = self.b.create_block();
        let join = self.b.create_block();
        let joined: Vec<Value> = (0..self.random.below(3)).map(|_| self.b.block_param(join, Type::I64)).collect();
        self.b.branch(cond, then, otherwise);
        for side in [then, otherwise] {
            self.b.switch_to(side);
            self.scoped(|g| {
                if g.random.below(5) > 0 {
                    g.statements();
                }
                if g.random.below(12) == 0 {
                    let v = g.wide();
                    g.b.ret(v);
                } else {
                    let args: Vec<Value> = joined.iter().map(|_| g.wide()).collect();
                    g.b.jump(join, &args);
                }
            });
        }
        self.b.switch_to(join);
        self.wide.extend(joined);
    }

    /// Counts up to a constant and carries values around.
    fn bounded_loop(&mut self) {
        let header = self.b.create_block();
        let body = self.b.create_block();
        let exit = self.b.create_block();
        let zero = self.b.iconst(0);
        let mut start = vec![zero];
        let count = self.b.block_param(header, Type::I64);
        let carried: Vec<Value> = (0..self.random.below(3)).map(|_| self.b.block_param(header, Type::I64)).collect();
        start.extend(carried.iter().map(|_| self.wide()));
        self.b.jump(header, &start);
        self.b.switch_to(header);
        let turns = 1 + self.random.below(6) as i64;
        let more = self.b.compare_imm(Cond::Ult, count, turns);
        self.b.branch(more, body, exit);
        self.b.switch_to(body);
        self.scoped(|g| {
            g.wide.push(count);
            g.wide.extend(&carried);
            g.statements();
            let next = g.b.binary_imm(BinaryOp::Add, count, 1);
            let mut args = vec![next];
            args.extend(carried.iter().map(|_| g.wide()));
            g.b.jump(header, &args);
        });
        self.b.switch_to(exit);
        self.wide.extend(carried);
    }
}
