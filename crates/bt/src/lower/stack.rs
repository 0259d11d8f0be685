//! Stacks: their ids and their lengths.

use ir::{BinaryOp, Block, Builder, Cond, Func, Function, MemType, Space, Type as IrType, UnaryOp, Value};
use isa::uapi::{helper, map_type};
use object::plan::{Counter, OVERFLOWED_STACK};

use super::{F_NO_PREALLOC, Lowering, Session};

/// `BPF_F_USER_STACK` of `include/uapi/linux/bpf.h`.
const F_USER_STACK: i64 = 1 << 8;
/// `BPF_NOEXIST` of `include/uapi/linux/bpf.h`.
const NOEXIST: i64 = 1;
/// What `bpf_get_stackid` gives where there is no such stack: user stacks of kernel threads.
const EFAULT: i64 = -14;
/// Another stack has the place in the stack map; or another CPU was first to store this one.
const EEXIST: i64 = -17;

/// Stacks that the stack map keeps apart; each takes 8 bytes a frame.
const STACK_ENTRIES: u32 = 4096;
/// The most that the kernel walks (`kernel.perf_event_max_stack`), unless configured.
const STACK_FRAMES: u32 = 127;
const STACK_BYTES: u32 = STACK_FRAMES * 8;
/// Stacks of the overflow map, if its elements are allocated on demand, and if they are ahead; no fewer than a map of
/// the script's has keys. Its empty buckets alone cost 14 µs a thousand at start.
const OVERFLOW_ENTRIES: u32 = 16384;
const PREALLOCATED_OVERFLOW_ENTRIES: u32 = 8192;

/// An odd number with bits all over: the golden ratio.
const HASH_FACTOR: i64 = 0x9e37_79b9_7f4a_7c15_u64 as i64;

/// What programs share that ask for stacks.
#[derive(Default)]
pub(super) struct Stacks {
    pub map: Option<ir::Map>,
    /// Stacks whose place in `map` is another's, by a hash of their frames.
    pub overflow_map: Option<ir::Map>,
    /// Room for one stack, an element for each program.
    memory: Option<ir::Map>,
    /// This program's element of `memory`.
    pub element: Option<u32>,
    /// Stores a stack in `overflow_map`.
    overflow: Option<Func>,
}

impl Session<'_> {
    fn stack_map(&mut self) -> ir::Map {
        *self.stacks.map.get_or_insert_with(|| {
            self.module.maps.push(object::Map {
                name: "stacks".into(),
                map_type: map_type::STACK_TRACE,
                key_size: 4,
                value_size: STACK_BYTES,
                max_entries: STACK_ENTRIES,
                ..object::Map::default()
            })
        })
    }

    fn stack_overflow_map(&mut self) -> ir::Map {
        let (flags, entries) = match self.allocates_on_demand() {
            true => (F_NO_PREALLOC, OVERFLOW_ENTRIES),
            false => (0, PREALLOCATED_OVERFLOW_ENTRIES),
        };
        *self.stacks.overflow_map.get_or_insert_with(|| {
            self.module.maps.push(object::Map {
                name: "stack_overflow".into(),
                map_type: map_type::HASH,
                key_size: 8,
                value_size: STACK_BYTES,
                max_entries: entries.max(self.options.config.max_map_keys),
                flags,
                ..object::Map::default()
            })
        })
    }

    fn stack_memory(&mut self) -> ir::Map {
        *self.stacks.memory.get_or_insert_with(|| {
            self.module.maps.push(object::Map {
                name: "stack_memory".into(),
                map_type: map_type::PERCPU_ARRAY,
                key_size: 4,
                value_size: STACK_BYTES,
                ..object::Map::default()
            })
        })
    }

    /// This program's room for a stack: programs may interrupt each other on a CPU, but none itself.
    fn stack_element(&mut self) -> u32 {
        let map = self.stack_memory();
        let entries = &mut self.module.maps[map].max_entries;
        *self.stacks.element.get_or_insert_with(|| {
            *entries += 1;
            *entries - 1
        })
    }

    /// The function `(context, flags of the helper, element of the memory)` that stores a stack which the stack map
    /// has no place for, and gives its id; or `EEXIST` if it cannot be stored.
    fn overflow_function(&mut self) -> Func {
        if let Some(function) = self.stacks.overflow {
            return function;
        }
        let overflow = self.stack_overflow_map();
        let memory = self.stack_memory();
        let slot = self.counter(Counter::LostStacks);
        let counters = self.counters_map();
        let mut function = Function { name: "overflow_stack".into(), ..Function::default() };
        let mut b = Builder::new(&mut function);
        let entry = b.create_block();
        let ctx = b.block_param(entry, IrType::Ptr(Space::Ctx));
        let flags = b.block_param(entry, IrType::I64);
        let element = b.block_param(entry, IrType::I64);
        let lost = b.create_block();
        let done = b.create_block();
        let result = b.block_param(done, IrType::I64);

        b.switch_to(entry);
        let index = key(&mut b, MemType::U32, element);
        let memory = b.map_addr(memory);
        let frames = b.call_helper(helper::map_lookup_elem, &[memory, index], IrType::Ptr(Space::ValueOrNull));
        let found = b.compare_imm(Cond::Ne, frames, 0);
        go_on_if(&mut b, found, lost);
        let frames = b.non_null(frames);
        let size = b.iconst(i64::from(STACK_BYTES));
        // The kernel writes zeros after the last frame.
        let bytes = b.call_helper(helper::get_stack, &[ctx, frames, size, flags], IrType::I64);
        let some = b.compare_imm(Cond::Sgt, bytes, 0);
        go_on_if(&mut b, some, lost);
        let hash = hash(&mut b, frames);
        let id = b.binary_imm(BinaryOp::Lshr, hash, 2);
        let id = b.binary_imm(BinaryOp::Or, id, OVERFLOWED_STACK);
        let id_key = key(&mut b, MemType::U64, id);
        let map = b.map_addr(overflow);
        let known = b.call_helper(helper::map_lookup_elem, &[map, id_key], IrType::Ptr(Space::ValueOrNull));
        let known = b.compare_imm(Cond::Ne, known, 0);
        let store = b.create_block();
        b.branch_args(known, done, &[id], store, &[]);
        b.switch_to(store);
        let map = b.map_addr(overflow);
        let how = b.iconst(NOEXIST);
        let stored = b.call_helper(helper::map_update_elem, &[map, id_key, frames, how], IrType::I64);
        let check = b.create_block();
        let new = b.compare_imm(Cond::Eq, stored, 0);
        b.branch_args(new, done, &[id], check, &[]);
        b.switch_to(check);
        // An `int` before Linux 6.4, whose upper half is not its sign.
        let stored = b.unary(UnaryOp::Sext32, stored);
        let raced = b.compare_imm(Cond::Eq, stored, EEXIST);
        b.branch_args(raced, done, &[id], lost, &[]);

        b.switch_to(lost);
        let address = b.map_value_addr(counters, slot * 8);
        let one = b.iconst(1);
        b.atomic_add(MemType::U64, address, 0, one);
        let taken = b.iconst(EEXIST);
        b.jump(done, &[taken]);
        b.switch_to(done);
        b.ret(result);
        *self.stacks.overflow.insert(self.module.funcs.push(function))
    }
}

/// A pointer to a key that is this number.
fn key(b: &mut Builder<'_>, mem: MemType, number: Value) -> Value {
    let slot = b.create_slot(8, 8);
    let ptr = b.slot_addr(slot, 0);
    b.store(mem, ptr, 0, number);
    ptr
}

/// What follows is only reached if `cond` is not zero.
fn go_on_if(b: &mut Builder<'_>, cond: Value, otherwise: Block) {
    let next = b.create_block();
    b.branch(cond, next, otherwise);
    b.switch_to(next);
}

/// A hash of a stack's frames and the zeros after them: of each word, `h = (h ^ word) * factor; h ^= h >> 32`.
fn hash(b: &mut Builder<'_>, frames: Value) -> Value {
    let word = b.create_block();
    let after = b.create_block();
    let at = b.block_param(word, IrType::I64);
    let so_far = b.block_param(word, IrType::I64);
    let result = b.block_param(after, IrType::I64);
    let zero = b.iconst(0);
    b.jump(word, &[zero, zero]);
    b.switch_to(word);
    let address = b.binary(BinaryOp::Add, frames, at);
    let frame = b.load(MemType::U64, address, 0);
    let mixed = b.binary(BinaryOp::Xor, so_far, frame);
    let spread = b.binary_imm(BinaryOp::Mul, mixed, HASH_FACTOR);
    let high = b.binary_imm(BinaryOp::Lshr, spread, 32);
    let hash = b.binary(BinaryOp::Xor, spread, high);
    let next = b.binary_imm(BinaryOp::Add, at, 8);
    let more = b.compare_imm(Cond::Ult, next, i64::from(STACK_BYTES));
    b.branch_args(more, word, &[next, hash], after, &[hash]);
    b.switch_to(after);
    result
}

impl Lowering<'_, '_, '_> {
    /// The id of the current stack (see `object::plan`); negative if there is none.
    pub(super) fn stack_id(&mut self, user: bool) -> Value {
        let ctx = self.context_pointer();
        let stacks = self.session.stack_map();
        let map = self.b.map_addr(stacks);
        let flags = self.b.iconst(if user { F_USER_STACK } else { 0 });
        let id = self.helper(helper::get_stackid, &[ctx, map, flags]);
        let failed = self.b.create_block();
        let again = self.b.create_block();
        let after = self.b.create_block();
        let result = self.b.block_param(after, IrType::I64);
        let is_error = self.b.compare_imm(Cond::Slt, id, 0);
        self.b.branch_args(is_error, failed, &[], after, &[id]);
        self.b.switch_to(failed);
        let none = self.b.compare_imm(Cond::Eq, id, EFAULT);
        self.b.branch_args(none, after, &[id], again, &[]);
        self.b.switch_to(again);
        let overflow = self.session.overflow_function();
        let element = self.session.stack_element();
        let element = self.b.iconst(i64::from(element));
        let id = self.b.call(overflow, &[ctx, flags, element]);
        self.b.jump(after, &[id]);
        self.b.switch_to(after);
        result
    }

    /// Number of frames of the stack, at most `limit`.
    pub(super) fn stack_len(&mut self, user: bool, limit: u32) -> Value {
        let bytes = limit.max(1) * 8;
        let ctx = self.context_pointer();
        let buffer = self.memory(bytes);
        let size = self.b.iconst(i64::from(bytes));
        let flags = self.b.iconst(if user { F_USER_STACK } else { 0 });
        let result = self.helper(helper::get_stack, &[ctx, buffer, size, flags]);
        let failed = self.b.compare_imm(Cond::Slt, result, 0);
        let frames = self.b.binary_imm(BinaryOp::Lshr, result, 3);
        let none = self.b.iconst(0);
        self.b.select(failed, none, frames)
    }
}
