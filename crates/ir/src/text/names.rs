//! Words of the text form: one table a kind, read in both directions.

use isa::uapi::{map_type, prog_type};

use crate::{AtomicOp, BinaryOp, Cond, MemType, Space, UnaryOp};

/// A closed set of words, each with the value it stands for.
pub(super) struct Words<T: 'static>(pub &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Words<T> {
    pub fn value(&self, word: &str) -> Option<T> {
        self.0.iter().find(|(name, _)| *name == word).map(|(_, value)| *value)
    }

    /// Every variant of an enum is in its table; a number may not be.
    pub fn word(&self, value: T) -> Option<&'static str> {
        self.0.iter().find(|(_, v)| *v == value).map(|(name, _)| *name)
    }
}

pub(super) static BINARY: Words<BinaryOp> = Words(&[
    ("add", BinaryOp::Add),
    ("sub", BinaryOp::Sub),
    ("mul", BinaryOp::Mul),
    ("udiv", BinaryOp::Udiv),
    ("sdiv", BinaryOp::Sdiv),
    ("urem", BinaryOp::Urem),
    ("srem", BinaryOp::Srem),
    ("and", BinaryOp::And),
    ("or", BinaryOp::Or),
    ("xor", BinaryOp::Xor),
    ("shl", BinaryOp::Shl),
    ("lshr", BinaryOp::Lshr),
    ("ashr", BinaryOp::Ashr),
]);

pub(super) static UNARY: Words<UnaryOp> = Words(&[
    ("neg", UnaryOp::Neg),
    ("not", UnaryOp::Not),
    ("bswap16", UnaryOp::Bswap16),
    ("bswap32", UnaryOp::Bswap32),
    ("bswap64", UnaryOp::Bswap64),
    ("sext8", UnaryOp::Sext8),
    ("sext16", UnaryOp::Sext16),
    ("sext32", UnaryOp::Sext32),
    ("zext8", UnaryOp::Zext8),
    ("zext16", UnaryOp::Zext16),
    ("zext32", UnaryOp::Zext32),
    ("trunc", UnaryOp::Trunc),
    ("addr", UnaryOp::Addr),
]);

pub(super) static COND: Words<Cond> = Words(&[
    ("eq", Cond::Eq),
    ("ne", Cond::Ne),
    ("ult", Cond::Ult),
    ("ule", Cond::Ule),
    ("ugt", Cond::Ugt),
    ("uge", Cond::Uge),
    ("slt", Cond::Slt),
    ("sle", Cond::Sle),
    ("sgt", Cond::Sgt),
    ("sge", Cond::Sge),
]);

pub(super) static ATOMIC: Words<AtomicOp> = Words(&[
    ("add", AtomicOp::Add),
    ("and", AtomicOp::And),
    ("or", AtomicOp::Or),
    ("xor", AtomicOp::Xor),
    ("xchg", AtomicOp::Xchg),
]);

pub(super) static MEM: Words<MemType> = Words(&[
    ("u8", MemType::U8),
    ("u16", MemType::U16),
    ("u32", MemType::U32),
    ("u64", MemType::U64),
    ("s8", MemType::S8),
    ("s16", MemType::S16),
    ("s32", MemType::S32),
]);

/// Without the `?` of the nullable ones, which is a token of its own.
pub(super) static SPACE: Words<Space> = Words(&[
    ("ctx", Space::Ctx),
    ("stack", Space::Stack),
    ("map", Space::Map),
    ("value", Space::Value),
    ("packet", Space::Packet),
    ("packet_end", Space::PacketEnd),
    ("record", Space::Record),
    ("btf", Space::Btf),
    ("func", Space::Func),
]);

/// Map types have a word where tracing programs use them; others are numbers.
pub(super) static MAP_TYPE: Words<u32> = Words(&[
    ("hash", map_type::HASH),
    ("array", map_type::ARRAY),
    ("prog_array", map_type::PROG_ARRAY),
    ("perf_event_array", map_type::PERF_EVENT_ARRAY),
    ("percpu_hash", map_type::PERCPU_HASH),
    ("percpu_array", map_type::PERCPU_ARRAY),
    ("stack_trace", map_type::STACK_TRACE),
    ("cgroup_array", map_type::CGROUP_ARRAY),
    ("lru_hash", map_type::LRU_HASH),
    ("lru_percpu_hash", map_type::LRU_PERCPU_HASH),
    ("lpm_trie", map_type::LPM_TRIE),
    ("queue", map_type::QUEUE),
    ("stack", map_type::STACK),
    ("ringbuf", map_type::RINGBUF),
    ("task_storage", map_type::TASK_STORAGE),
    ("bloom_filter", map_type::BLOOM_FILTER),
    ("user_ringbuf", map_type::USER_RINGBUF),
]);

/// Program types, as [`MAP_TYPE`].
pub(super) static PROG_TYPE: Words<u32> = Words(&[
    ("socket_filter", prog_type::SOCKET_FILTER),
    ("kprobe", prog_type::KPROBE),
    ("sched_cls", prog_type::SCHED_CLS),
    ("tracepoint", prog_type::TRACEPOINT),
    ("xdp", prog_type::XDP),
    ("perf_event", prog_type::PERF_EVENT),
    ("raw_tracepoint", prog_type::RAW_TRACEPOINT),
    ("tracing", prog_type::TRACING),
    ("lsm", prog_type::LSM),
    ("syscall", prog_type::SYSCALL),
]);

/// The number of a helper by its name.
pub(super) fn helper_number(name: &str) -> Option<u32> {
    isa::uapi::HELPER_NAMES.iter().position(|n| *n == name).map(|i| i as u32)
}
