//! What a tracing session does with an object: where each program attaches,
//! what its maps mean, what its events say. A front end writes it, the runtime
//! carries it out; neither knows the other.
//!
//! # Encoding of values in memory
//!
//! A [`Layout`] describes bytes as programs write them, little endian on the
//! machines we run on (native endian):
//!
//! | layout | bytes |
//! |---|---|
//! | `Int` | `size` bytes, two's complement |
//! | `Bool` | `size` bytes, non-zero is true |
//! | `Str` | `size` bytes, NUL and zeros after the text; without a NUL it was cut, and the last byte is no text |
//! | `Buf` | `u32` length, then `size - 4` bytes of which the first `length` count |
//! | `Array` | `len` times `elem`, without gaps |
//! | `Tuple` | fields at their offsets; gaps are zero |
//! | `KStack` | `i64`: stack id, see below; negative is `-errno`; 8 bytes |
//! | `UStack` | `i64` stack id, `u32` pid (thread group), `u32` zero; 16 bytes |
//! | `USym` | `u64` address, `u32` pid, `u32` zero; 16 bytes |
//! | `Inet` | `u64` address family (2 or 10), then 16 bytes of address; 24 bytes |
//! | `Timestamp` | `u64` nanoseconds of the boot clock (`CLOCK_BOOTTIME`), or of the clock named; 8 bytes |
//!
//! Aggregates (`Count` … `Lhist`) are the values of per-CPU maps; the runtime
//! adds the CPUs up:
//!
//! | layout | bytes on each CPU |
//! |---|---|
//! | `Count` | `u64` |
//! | `Sum` | `u64` |
//! | `Min`, `Max` | `u64` value, `u64` 1 once set |
//! | `Avg`, `Stats` | `u64` total, `u64` count |
//! | `Hist`, `Lhist` | one `u64` counter; the bucket is in the map's key |
//!
//! # Stack ids
//!
//! A stack id below 2^32 is the `u32` key of a stack in [`Plan::stacks`], as `bpf_get_stackid` gave it. That map has
//! one place for all stacks of the same hash; the others are in [`Plan::stack_overflow`]: ids with bit 62 set
//! ([`OVERFLOWED_STACK`]) are its `u64` keys, the other 62 bits a hash of the frames. The values of both maps are
//! instruction pointers of 8 bytes, innermost first, zeros after the last.
//!
//! # Keys of histogram maps
//!
//! A map whose value is `Hist` or `Lhist` has a `u64` bucket number after its user key
//! (at `MapView::bucket_offset`), or is an array indexed by the bucket when
//! there is no user key.
//! `Hist` with k=0: bucket 0 is `(..., 0)`, 1 is `[0]`, 2 is `[1]`, 3 is `[2,4)`, and so on: `b = 2 + floor(log2(v))`.
//! With k>0 each power of two is split in 2^k: values below 2^k have a bucket each
//! (`b = 1 + v`), above it `b = 1 + ((e - k + 1) << k) + ((v >> (e - k)) & (2^k - 1))` with `e = floor(log2(v))`.
//! (k=0 is the same formula.)
//! `Lhist`: 0 is below min, then one each step, and last at or above max.

use crate::{MapIndex, Object, SourceSpan};

/// The bit of a stack's id that says that it is a key of [`Plan::stack_overflow`].
pub const OVERFLOWED_STACK: i64 = 1 << 62;

/// One compiled script: the object and what to do with it.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub object: Object,
    /// In the order in which the user wrote them.
    pub probes: Vec<Probe>,
    /// Indexed by the event number at the start of each record.
    pub events: Vec<Event>,
    /// The maps that belong to the script, in name order.
    pub maps: Vec<MapView>,
    /// The ring buffer that events arrive in; `None` if the script sends none.
    pub ring: Option<MapIndex>,
    /// The map of stack traces (`BPF_MAP_TYPE_STACK_TRACE`), if stacks are used.
    pub stacks: Option<MapIndex>,
    /// The hash map of the stacks whose place in `stacks` is another's.
    pub stack_overflow: Option<MapIndex>,
    /// A one-element, mmapable array of `u64` counters that programs add to.
    pub counters: Option<MapIndex>,
    /// What each counter (index: 8-byte slot in the value of `counters`) counts.
    pub counter_meanings: Vec<Counter>,
}

/// One attachment of one program.
#[derive(Clone, Debug)]
pub struct Probe {
    /// As the user knows it, wildcards expanded: `kprobe:vfs_read`.
    pub name: String,
    /// Index into [`Object::programs`]; several probes may share a program.
    pub program: u32,
    pub attach: Attach,
    /// How many of the user's probes this one stands for (a raw tracepoint that
    /// dispatches 370 syscalls counts 370).
    pub stands_for: u32,
    pub span: SourceSpan,
}

/// Where a program attaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attach {
    /// Run once by us, before all others attach.
    Begin,
    /// Run once by us, after all others are gone.
    End,
    /// Run by us when we receive this signal.
    Signal(i32),
    Tracepoint {
        category: String,
        name: String,
    },
    /// `BPF_PROG_TYPE_RAW_TRACEPOINT`, or `TRACING` with `BPF_TRACE_RAW_TP` (then the program has a target).
    RawTracepoint {
        name: String,
    },
    Kprobe {
        module: Option<String>,
        function: String,
        offset: u64,
        ret: bool,
    },
    /// Needs `BPF_TRACE_KPROBE_MULTI`; one link for all functions, of which each has its index as
    /// cookie.
    KprobeMulti {
        functions: Vec<String>,
        ret: bool,
    },
    /// fentry, fexit, LSM: the program's target says where.
    Trampoline,
    /// `offset` is a file offset, not an address.
    Uprobe {
        path: String,
        offset: u64,
        ret: bool,
        pid: Option<u32>,
    },
    /// Needs `BPF_TRACE_UPROBE_MULTI`; one link for all offsets, of which each has its index as
    /// cookie. USDT probes too: `semaphores` has the file offset of each one's reference
    /// counter, 0 for none; or is empty.
    UprobeMulti {
        path: String,
        offsets: Vec<u64>,
        semaphores: Vec<u64>,
        ret: bool,
        pid: Option<u32>,
    },
    /// `semaphore` is the file offset of the reference counter, 0 for none.
    Usdt {
        path: String,
        offset: u64,
        semaphore: u64,
        pid: Option<u32>,
    },
    /// A perf event on every CPU (`one_cpu`: on one). `kind` and `config` are
    /// `perf_event_attr`'s `type` and `config`.
    Perf {
        kind: u32,
        config: u64,
        sample: Sample,
        one_cpu: bool,
        pid: Option<u32>,
    },
    /// The program runs once over all objects when attached; its
    /// `bpf_seq_write` output is discarded unless pinned at `pin`.
    Iter {
        pin: Option<String>,
    },
}

/// How often a perf event fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// Times a second.
    FrequencyHz(u64),
    /// Every so many events (nanoseconds for the CPU clock).
    Period(u64),
}

/// What a slot of the counter map counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Events that the ring buffer had no room for.
    LostEvents,
    /// Updates that failed because this map was full (helper name, place).
    MapFull { map: MapIndex, helper: &'static str, span: SourceSpan },
    /// Strings cut at the maximum length.
    TruncatedStrings,
    /// Stacks that could not be stored: the map of those that others' places are taken by is full, or they
    /// could not be read a second time.
    LostStacks,
    /// No count: the boot clock when the session started, in nanoseconds, which the
    /// runtime writes before any program runs.
    StartNs,
    /// No count: non-zero once this map's single value is set (`MapView::set_flag`).
    MapSet { map: MapIndex },
    /// Elements of arrays that are not in them (place).
    OutOfBounds { span: SourceSpan },
    /// Divisions and remainders by zero (place), which give 1.
    DivisionByZero { span: SourceSpan },
}

/// A script's map as the user sees it.
#[derive(Clone, Debug)]
pub struct MapView {
    /// With the `@`.
    pub name: String,
    pub map: MapIndex,
    /// `None`: the map holds a single value.
    pub key: Option<Layout>,
    pub value: Layout,
    /// For `Hist` and `Lhist` with a user key: where the bucket number stands in the key.
    pub bucket_offset: u32,
    /// The map is per-CPU.
    pub per_cpu: bool,
    /// A single value is shown only once set: this `u64` counter slot of
    /// `Plan::counters` is non-zero then. `None`: always shown.
    pub set_flag: Option<u32>,
}

/// The bytes of a value and what they mean to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    Int {
        size: u8,
        signed: bool,
    },
    Bool {
        size: u8,
    },
    /// Printed by name where one matches, else as a number.
    Enum {
        size: u8,
        signed: bool,
        names: std::rc::Rc<Vec<(i64, String)>>,
    },
    Str {
        size: u32,
    },
    Buf {
        size: u32,
    },
    /// Shown in hexadecimal.
    Pointer,
    Array {
        elem: Box<Layout>,
        len: u32,
    },
    Tuple {
        fields: Vec<Field>,
        size: u32,
    },
    /// Shown as `{ .a = 1, .b = 2 }`. Bit fields have `bits`.
    Struct {
        fields: Vec<Field>,
        size: u32,
    },
    KStack(Stack),
    UStack(Stack),
    /// A kernel address shown as a symbol.
    KSym,
    USym,
    /// A user id shown as a name; 8 bytes.
    Username,
    Inet,
    /// 6 bytes, then 2 of zero.
    Mac,
    /// A cgroup id shown as a path; 8 bytes.
    CgroupPath,
    /// An errno shown as text; 8 bytes.
    Errno,
    /// `strftime` with this format.
    Timestamp {
        format: String,
        clock: Clock,
    },
    Count,
    Sum {
        signed: bool,
    },
    Min {
        signed: bool,
    },
    Max {
        signed: bool,
    },
    Avg {
        signed: bool,
    },
    Stats {
        signed: bool,
    },
    Hist {
        k: u8,
    },
    Lhist {
        min: i64,
        max: i64,
        step: i64,
    },
}

/// A field of a tuple or struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Empty in a tuple.
    pub name: String,
    /// Bytes from the start.
    pub offset: u32,
    /// For a bit field: first bit (from the least significant of the field's
    /// bytes) and number of bits.
    pub bits: Option<(u8, u8)>,
    pub layout: Layout,
}

/// How a stack is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stack {
    pub mode: StackMode,
    /// At most this many frames; at most 127.
    pub limit: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackMode {
    Bpftrace,
    Perf,
    Raw,
    BuildId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    Boot,
    Monotonic,
    /// Already Unix time.
    Tai,
}

/// What a record in the ring buffer means.
///
/// A record is `u32` event number (index into [`Plan::events`]), `u32` zero, a
/// fixed part that starts at byte 8, and a tail that starts right after the
/// fixed part (at byte `8 + fixed_size`). Each argument stands in the fixed part at its
/// place, or in the tail: then its place in the fixed part holds the `u32` number
/// of bytes in the tail, and tails follow each other in argument order.
/// `Str` in the tail includes its NUL if it has one; a string without a NUL was
/// cut. `Buf` in the tail is the bytes alone.
#[derive(Clone, Debug)]
pub struct Event {
    pub action: Action,
    pub fixed_size: u32,
    pub args: Vec<Arg>,
    pub span: SourceSpan,
}

/// An argument of an event.
#[derive(Clone, Debug)]
pub struct Arg {
    pub layout: Layout,
    /// Offset from the start of the fixed part, in bytes.
    pub offset: u32,
    /// The bytes are in the tail; `u32` length at `offset`.
    pub tail: bool,
}

/// What the runtime does on an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Writes the formatted text to the output. The text is as written in the
    /// script, escapes resolved; parsed by `view::Format`.
    Printf {
        format: String,
    },
    /// Runs the formatted text in a shell and writes what it prints.
    System {
        format: String,
    },
    /// Writes the contents of the file whose name is the formatted text.
    Cat {
        format: String,
    },
    /// `print(value)`: the single argument, then a newline. `label` is `@map[…]`
    /// shown before the value as `label: value`: with `key` the first argument is the key.
    PrintValue {
        label: Option<String>,
        key: bool,
    },
    /// `print(@map, top, div)`: index into [`Plan::maps`]. Arguments, if any: top, div as 8-byte ints.
    PrintMap {
        map: u32,
    },
    ClearMap {
        map: u32,
    },
    ZeroMap {
        map: u32,
    },
    /// `time(format)`: the wall clock at the moment of handling.
    Time {
        format: String,
    },
    /// Arguments joined by `delimiter`; empty ones are not there.
    Join {
        delimiter: String,
    },
    /// End the session. The argument, if any, is the exit code.
    Exit,
    /// A helper failed (asked for by `-k`): the argument is what it returned, 0 for an element that is not there.
    HelperError {
        helper: &'static str,
    },
    /// A message to stderr with the place in the script (`errorf`, `warnf`).
    Message {
        format: String,
        severity: Severity,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}
