//! Bytes that programs wrote → values, by the layouts of a plan.
//!
//! Nothing here trusts the bytes: what is missing reads as zero, what is
//! surplus is ignored.

use object::plan::{Clock, Field, Layout, Stack};
use view::{StackTrace, Value};

/// Who turns numbers into what people call them: addresses into symbols, ids
/// into names and paths, nanoseconds into times.
pub trait Resolve {
    /// The name of the kernel symbol that an address is in, else the address in hexadecimal.
    fn kernel_symbol(&mut self, address: u64) -> String;
    /// The same in a process.
    fn user_symbol(&mut self, pid: u32, address: u64) -> String;
    /// Instruction pointers of the stack with this id, innermost first, at most `limit`; none if there is no such stack.
    fn stack(&mut self, id: i64, limit: u32) -> Vec<u64>;
    /// The kernel stack with this id; without frames if there is none.
    fn kernel_stack(&mut self, id: i64, stack: Stack) -> StackTrace;
    /// The user stack with this id, of this process.
    fn user_stack(&mut self, id: i64, pid: u32, stack: Stack) -> StackTrace;
    /// A user's name, else the number.
    fn user_name(&mut self, uid: u64) -> String;
    /// A cgroup's path, empty if it is gone.
    fn cgroup_path(&mut self, id: u64) -> String;
    /// A time of a clock as `strftime` writes it.
    fn time(&mut self, format: &str, clock: Clock, nanoseconds: u64) -> String;
}

/// The bytes of a key in which stacks stand as people see them: by their frames up to the limit, instead of by
/// their id. Two stacks that differ only further down are one to people. `None`: the key has no such stack.
pub fn key_as_shown(layout: &Layout, bytes: &[u8], names: &mut dyn Resolve) -> Option<Vec<u8>> {
    let mut stacks = Vec::new();
    find_stacks(layout, 0, &mut stacks);
    if stacks.is_empty() {
        return None;
    }
    let mut shown = bytes.to_vec();
    for (at, limit) in stacks {
        let id = u64_at(bytes, at) as i64;
        if let Some(word) = shown.get_mut(at..at + 8) {
            word.fill(0);
        }
        let frames = names.stack(id, limit);
        shown.extend((frames.len() as u64).to_ne_bytes());
        shown.extend(frames.iter().flat_map(|address| address.to_ne_bytes()));
    }
    Some(shown)
}

/// Where the ids of limited stacks stand in a value, and the limits.
fn find_stacks(layout: &Layout, at: usize, found: &mut Vec<(usize, u32)>) {
    match layout {
        Layout::KStack(stack) | Layout::UStack(stack) if stack.limit < MOST_FRAMES => found.push((at, stack.limit)),
        Layout::Tuple { fields, .. } => {
            fields.iter().for_each(|field| find_stacks(&field.layout, at + field.offset as usize, found));
        }
        _ => {}
    }
}

/// No stack has more frames (`PERF_MAX_STACK_DEPTH`, `include/uapi/linux/perf_event.h`).
const MOST_FRAMES: u32 = 127;

/// How many bytes a value of this layout takes.
pub fn size_of(layout: &Layout) -> usize {
    match layout {
        Layout::Int { size, .. } | Layout::Bool { size } | Layout::Enum { size, .. } => usize::from(*size),
        Layout::Str { size } | Layout::Buf { size } | Layout::Tuple { size, .. } | Layout::Struct { size, .. } => {
            *size as usize
        }
        Layout::Array { elem, len } => size_of(elem).saturating_mul(*len as usize),
        Layout::Inet => 24,
        Layout::UStack(_)
        | Layout::USym
        | Layout::Min { .. }
        | Layout::Max { .. }
        | Layout::Avg { .. }
        | Layout::Stats { .. } => 16,
        Layout::Pointer
        | Layout::KStack(_)
        | Layout::KSym
        | Layout::Username
        | Layout::Mac
        | Layout::CgroupPath
        | Layout::Errno
        | Layout::Timestamp { .. }
        | Layout::Count
        | Layout::Sum { .. }
        | Layout::Hist { .. }
        | Layout::Lhist { .. } => 8,
    }
}

/// Decodes a value. `whole`: the bytes are all there is of it (it came in the tail
/// of a record), so that a buffer has no length before it.
pub fn decode(layout: &Layout, bytes: &[u8], whole: bool, names: &mut dyn Resolve) -> Value {
    match layout {
        Layout::Str { size } => string_value(bytes, *size, whole),
        Layout::Buf { .. } if whole => Value::Buf(bytes.to_vec()),
        _ => decode_inside(layout, bytes, names),
    }
}

/// The text of a string that `size` bytes are kept for, and whether the program cut it: then there is no NUL.
/// What came in the tail of a record (`whole`) ends there; elsewhere the last byte, kept for the NUL, is no text.
pub fn string(bytes: &[u8], size: u32, whole: bool) -> (&[u8], bool) {
    let kept = if whole { bytes } else { &bytes[..bytes.len().min(size as usize)] };
    match kept.iter().position(|&b| b == 0) {
        Some(end) => (&kept[..end], false),
        None if whole => (kept, !kept.is_empty()),
        None if kept.len() == size as usize && size > 0 => (&kept[..kept.len() - 1], true),
        None => (kept, false),
    }
}

/// Decodes a value that may be a part of another.
fn decode_inside(layout: &Layout, bytes: &[u8], names: &mut dyn Resolve) -> Value {
    match layout {
        Layout::Int { size, signed } => integer(bytes, *size, *signed),
        Layout::Bool { size } => Value::Bool(unsigned(bytes, *size) != 0),
        Layout::Enum { size, signed, names } => {
            let number = if *signed { signed_int(bytes, *size) } else { unsigned(bytes, *size) as i64 };
            let name = names.iter().find(|(value, _)| *value == number).map(|(_, name)| name.clone());
            Value::Enum(name, number)
        }
        // A character array of the kernel's need not have a NUL.
        Layout::Str { size } => {
            let bytes = &bytes[..bytes.len().min(*size as usize)];
            let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
            Value::Str { bytes: bytes[..end].to_vec(), truncated: false }
        }
        Layout::Buf { size } => {
            let capacity = (*size as usize).saturating_sub(4);
            let length = (u32_at(bytes, 0) as usize).min(capacity);
            let content = bytes.get(4..).unwrap_or_default();
            Value::Buf(content[..length.min(content.len())].to_vec())
        }
        Layout::Pointer => Value::Pointer(u64_at(bytes, 0)),
        Layout::Array { elem, len } => {
            let step = size_of(elem);
            // What is not in the bytes is not made up: a damaged length must not cost memory.
            let there = bytes.len().checked_div(step).unwrap_or(0);
            let count = (*len as usize).min(there);
            Value::Array((0..count).map(|i| decode_inside(elem, &bytes[i * step..], names)).collect())
        }
        Layout::Tuple { fields, .. } => {
            Value::Tuple(fields.iter().map(|field| decode_tuple_field(field, bytes, names)).collect())
        }
        Layout::Struct { fields, .. } => Value::Struct(
            fields.iter().map(|field| (field.name.clone(), decode_struct_field(field, bytes, names))).collect(),
        ),
        Layout::KStack(stack) => Value::Stack(names.kernel_stack(u64_at(bytes, 0) as i64, *stack)),
        Layout::UStack(stack) => Value::Stack(names.user_stack(u64_at(bytes, 0) as i64, u32_at(bytes, 8), *stack)),
        Layout::KSym => Value::Text(names.kernel_symbol(u64_at(bytes, 0))),
        Layout::USym => Value::Text(names.user_symbol(u32_at(bytes, 8), u64_at(bytes, 0))),
        Layout::Username => Value::Text(names.user_name(u64_at(bytes, 0))),
        Layout::Inet => Value::Text(address_text(bytes)),
        Layout::Mac => {
            let byte = |i: usize| bytes.get(i).copied().unwrap_or(0);
            Value::Text(format!(
                "{:02X}:{:02X}:{:02X}:{:02X}:{:02X}:{:02X}",
                byte(0),
                byte(1),
                byte(2),
                byte(3),
                byte(4),
                byte(5)
            ))
        }
        Layout::CgroupPath => Value::Text(names.cgroup_path(u64_at(bytes, 0))),
        Layout::Errno => Value::Text(errno_text(u64_at(bytes, 0) as i64)),
        Layout::Timestamp { format, clock } => Value::Text(names.time(format, *clock, u64_at(bytes, 0))),
        Layout::Count
        | Layout::Sum { .. }
        | Layout::Min { .. }
        | Layout::Max { .. }
        | Layout::Avg { .. }
        | Layout::Stats { .. }
        | Layout::Hist { .. }
        | Layout::Lhist { .. } => crate::aggregate::add_up(layout, std::iter::once(bytes)),
    }
}

/// A string that is a part of a tuple may have been cut, as one on its own may.
fn decode_tuple_field(field: &Field, bytes: &[u8], names: &mut dyn Resolve) -> Value {
    let bytes = bytes.get(field.offset as usize..).unwrap_or_default();
    match &field.layout {
        Layout::Str { size } => string_value(bytes, *size, false),
        layout => decode_inside(layout, bytes, names),
    }
}

fn string_value(bytes: &[u8], size: u32, whole: bool) -> Value {
    let (bytes, truncated) = string(bytes, size, whole);
    Value::Str { bytes: bytes.to_vec(), truncated }
}

fn decode_struct_field(field: &Field, bytes: &[u8], names: &mut dyn Resolve) -> Value {
    let bytes = bytes.get(field.offset as usize..).unwrap_or_default();
    let (Some((first, count)), Layout::Int { size, signed } | Layout::Enum { size, signed, .. }) =
        (field.bits, &field.layout)
    else {
        return decode_inside(&field.layout, bytes, names);
    };
    let (first, count) = (u32::from(first).min(63), u32::from(count).clamp(1, 64));
    let shifted = unsigned(bytes, *size) >> first;
    let mask = if count == 64 { u64::MAX } else { (1 << count) - 1 };
    // As bpftrace has it: bit fields have no sign, whatever their type.
    let number = (shifted & mask) as i64;
    match &field.layout {
        Layout::Int { .. } if *signed => Value::Int(number),
        layout => decode_inside(layout, &number.to_ne_bytes(), names),
    }
}

fn integer(bytes: &[u8], size: u8, signed: bool) -> Value {
    if signed { Value::Int(signed_int(bytes, size)) } else { Value::Uint(unsigned(bytes, size)) }
}

/// The first `size` bytes (at most 8) as an unsigned integer of this machine's byte order.
pub fn unsigned(bytes: &[u8], size: u8) -> u64 {
    let size = usize::from(size.min(8));
    if size == 8 && bytes.len() >= 8 {
        return u64_at(bytes, 0);
    }
    let there = size.min(bytes.len());
    let mut padded = [0; 8];
    if cfg!(target_endian = "little") {
        padded[..there].copy_from_slice(&bytes[..there]);
    } else {
        padded[8 - size..8 - size + there].copy_from_slice(&bytes[..there]);
    }
    u64::from_ne_bytes(padded)
}

/// The first `size` bytes as a signed integer.
pub fn signed_int(bytes: &[u8], size: u8) -> i64 {
    let unused = 64 - 8 * u32::from(size.clamp(1, 8));
    ((unsigned(bytes, size) << unused) as i64) >> unused
}

/// The `u64` at this offset; what is missing is zero.
pub fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    match bytes.get(offset..).and_then(|rest| rest.first_chunk::<8>()) {
        Some(chunk) => u64::from_ne_bytes(*chunk),
        None => {
            let mut padded = [0; 8];
            let rest = bytes.get(offset..).unwrap_or_default();
            padded[..rest.len()].copy_from_slice(rest);
            u64::from_ne_bytes(padded)
        }
    }
}

/// The `u32` at this offset; zero if it is not all there.
pub fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let chunk = bytes.get(offset..).and_then(|rest| rest.first_chunk::<4>());
    chunk.map_or(0, |chunk| u32::from_ne_bytes(*chunk))
}

/// An address with its family before it (`AF_INET` 2, `AF_INET6` 10) as text.
fn address_text(bytes: &[u8]) -> String {
    let address = bytes.get(8..).unwrap_or_default();
    match (u64_at(bytes, 0), address.first_chunk::<4>(), address.first_chunk::<16>()) {
        (2, Some(v4), _) => std::net::Ipv4Addr::from(*v4).to_string(),
        (10, _, Some(v6)) => std::net::Ipv6Addr::from(*v6).to_string(),
        _ => String::new(),
    }
}

/// What the C library says of an error number, whatever its sign.
pub fn errno_text(errno: i64) -> String {
    let Ok(number) = i32::try_from(errno.unsigned_abs()) else { return format!("Unknown error {errno}") };
    let text = std::io::Error::from_raw_os_error(number).to_string();
    // std appends " (os error N)".
    match text.find(" (os error") {
        Some(end) => text[..end].to_string(),
        None => text,
    }
}
