//! Values and maps in the text that bpftrace prints.

use std::io::Write;

use crate::{Entry, Frame, StackStyle, StackTrace, Value, histogram};

/// What stands after a string that the program cut.
pub(crate) const CUT: &[u8] = b"..";

/// Writes a value as `print(value)` and map entries show it. Histograms take
/// several lines and end with a blank one; all else ends without a newline.
pub fn write_value(out: &mut Vec<u8>, value: &Value) {
    // Writing to a vector cannot fail, here and below.
    match value {
        Value::Int(v) => write_int(out, *v),
        Value::Uint(v) => write_uint(out, *v),
        Value::Bool(v) => out.extend_from_slice(if *v { b"true" } else { b"false" }),
        Value::Enum(Some(name), _) => out.extend_from_slice(name.as_bytes()),
        Value::Enum(None, v) => write_int(out, *v),
        Value::Str { bytes, truncated } => {
            out.extend_from_slice(bytes);
            if *truncated {
                out.extend_from_slice(CUT);
            }
        }
        Value::Buf(bytes) => write_buf(out, bytes),
        Value::Pointer(v) => drop(write!(out, "{v:#x}")),
        Value::Array(items) => {
            out.push(b'[');
            write_joined(out, items, b",");
            out.push(b']');
        }
        Value::Tuple(items) => {
            out.push(b'(');
            write_joined(out, items, b", ");
            out.push(b')');
        }
        Value::Struct(fields) => {
            out.extend_from_slice(b"{ ");
            for (i, (name, field)) in fields.iter().enumerate() {
                if i > 0 {
                    out.extend_from_slice(b", ");
                }
                let _ = write!(out, ".{name} = ");
                write_value(out, field);
            }
            out.extend_from_slice(b" }");
        }
        Value::Text(text) => out.extend_from_slice(text.as_bytes()),
        Value::Stack(stack) => write_stack(out, stack, true),
        Value::Stats { count, total, average, .. } => {
            let _ = write!(out, "{{ .count = {count}, .average = {average}, .total = {total} }}");
        }
        Value::Avg { average, .. } => drop(write!(out, "{average}")),
        Value::Hist { .. } | Value::Lhist { .. } => histogram::write(out, value),
    }
}

/// Writes a map, an entry a line (`@name[key]: value`), histograms in several.
pub(crate) fn write_map(out: &mut Vec<u8>, name: &str, entries: &[Entry]) {
    for entry in entries {
        out.extend_from_slice(name.as_bytes());
        if let Some(key) = &entry.key {
            out.push(b'[');
            write_key(out, key);
            out.push(b']');
        }
        if matches!(entry.value, Value::Hist { .. } | Value::Lhist { .. }) {
            out.extend_from_slice(b":\n");
            write_value(out, &entry.value);
        } else {
            out.extend_from_slice(b": ");
            write_value(out, &entry.value);
            out.push(b'\n');
        }
    }
}

/// Writes a map's key: the parts of a tuple without parentheses.
pub(crate) fn write_key(out: &mut Vec<u8>, key: &Value) {
    match key {
        Value::Tuple(parts) => write_joined(out, parts, b", "),
        other => write_value(out, other),
    }
}

fn write_joined(out: &mut Vec<u8>, items: &[Value], separator: &[u8]) {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.extend_from_slice(separator);
        }
        write_value(out, item);
    }
}

/// Writes a newline and then a line for each frame, indented if asked.
pub(crate) fn write_stack(out: &mut Vec<u8>, stack: &StackTrace, indent: bool) {
    out.push(b'\n');
    for frame in &stack.frames {
        write_frame(out, frame, stack.style, indent);
        out.push(b'\n');
    }
}

fn write_frame(out: &mut Vec<u8>, frame: &Frame, style: StackStyle, indent: bool) {
    let _ = match (style, &frame.symbol) {
        (StackStyle::Bpftrace, symbol) => {
            if indent {
                out.extend_from_slice(b"        ");
            }
            match symbol {
                Some(symbol) => write!(out, "{symbol}+{}", frame.offset),
                None => write!(out, "{:#x}", frame.address),
            }
        }
        (StackStyle::Perf, symbol) => {
            if indent {
                out.push(b'\t');
            }
            let _ = match symbol {
                Some(symbol) => write!(out, "{:x} {symbol}+{}", frame.address, frame.offset),
                None => write!(out, "{0:x} {0:#x}", frame.address),
            };
            match &frame.module {
                Some(module) => write!(out, " ({module})"),
                None => Ok(()),
            }
        }
        (StackStyle::Raw, _) => write!(out, "{:x}", frame.address),
        (StackStyle::BuildId, _) => match &frame.module {
            Some(build_id) => write!(out, "{build_id} {:#x}", frame.offset),
            None => write!(out, "{:#x}", frame.address),
        },
    };
}

/// Writes the bytes of a buffer, those that are not printable ASCII as `\xNN`.
pub fn write_buf(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        if (0x20..0x7f).contains(&byte) {
            out.push(byte);
        } else {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
}

/// Writes a signed decimal number.
pub(crate) fn write_int(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    write_uint(out, value.unsigned_abs());
}

/// Writes an unsigned decimal number; by hand, because it is the inner loop of
/// event printing and `write!` costs several times as much.
pub(crate) fn write_uint(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
