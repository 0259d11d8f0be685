//! Values and maps as JSON (RFC 8259), one object a line.

use std::io::Write;

use crate::text::{self, CUT};
use crate::{Bucket, Entry, StackStyle, Value};

/// Writes a value. Histograms are arrays of `{"min", "max", "count"}` with both
/// bounds inclusive and absent where open; enumerators are numbers, as bpftrace
/// has them; symbols, stacks, times and addresses are strings.
pub(crate) fn write_value(out: &mut Vec<u8>, value: &Value) {
    // Writing to a vector cannot fail, here and below.
    match value {
        Value::Int(v) | Value::Enum(_, v) => write_number(out, i128::from(*v)),
        Value::Uint(v) | Value::Pointer(v) => write_number(out, i128::from(*v)),
        Value::Bool(v) => out.extend_from_slice(if *v { b"true" } else { b"false" }),
        Value::Str { bytes, truncated } => {
            out.push(b'"');
            write_escaped(out, bytes);
            if *truncated {
                out.extend_from_slice(CUT);
            }
            out.push(b'"');
        }
        Value::Buf(bytes) => {
            out.push(b'[');
            for (i, byte) in bytes.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                let _ = write!(out, "{byte}");
            }
            out.push(b']');
        }
        Value::Array(items) | Value::Tuple(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_value(out, item);
            }
            out.push(b']');
        }
        Value::Struct(fields) => {
            out.push(b'{');
            for (i, (name, field)) in fields.iter().enumerate() {
                if i > 0 {
                    out.extend_from_slice(b", ");
                }
                write_string(out, name.as_bytes());
                out.extend_from_slice(b": ");
                write_value(out, field);
            }
            out.push(b'}');
        }
        Value::Text(text) => write_string(out, text.as_bytes()),
        Value::Stack(_) => {
            let mut plain = Vec::new();
            text::write_value(&mut plain, value);
            write_string(out, &plain);
        }
        Value::Stats { count, total, average, .. } => {
            out.extend_from_slice(b"{\"count\": ");
            write_number(out, i128::from(*count));
            out.extend_from_slice(b", \"average\": ");
            write_number(out, *average);
            out.extend_from_slice(b", \"total\": ");
            write_number(out, *total);
            out.push(b'}');
        }
        Value::Avg { average, .. } => write_number(out, *average),
        Value::Hist { buckets, .. } | Value::Lhist { buckets, .. } => write_buckets(out, buckets),
    }
}

fn write_buckets(out: &mut Vec<u8>, buckets: &[Bucket]) {
    out.push(b'[');
    for (i, bucket) in buckets.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.push(b'{');
        if let Some(low) = bucket.low {
            out.extend_from_slice(b"\"min\": ");
            write_number(out, low);
            out.extend_from_slice(b", ");
        }
        if let Some(high) = bucket.high {
            out.extend_from_slice(b"\"max\": ");
            write_number(out, high.saturating_sub(1));
            out.extend_from_slice(b", ");
        }
        let _ = write!(out, "\"count\": {}}}", bucket.count);
    }
    out.push(b']');
}

/// Writes `{"type": …, "data": {"@name": …}}` and a newline.
pub(crate) fn write_map(out: &mut Vec<u8>, name: &str, entries: &[Entry]) {
    let kind = match entries.first().map(|e| &e.value) {
        Some(Value::Hist { .. } | Value::Lhist { .. }) => "hist",
        Some(Value::Stats { .. } | Value::Avg { .. }) => "stats",
        _ => "map",
    };
    let _ = write!(out, "{{\"type\": \"{kind}\", \"data\": {{");
    write_string(out, name.as_bytes());
    out.extend_from_slice(b": ");
    match entries {
        [Entry { key: None, value }] => write_value(out, value),
        _ => {
            out.push(b'{');
            for (i, entry) in entries.iter().enumerate() {
                if i > 0 {
                    out.extend_from_slice(b", ");
                }
                let mut key = Vec::new();
                match &entry.key {
                    Some(Value::Tuple(parts)) => write_key_parts(&mut key, parts),
                    Some(part) => write_key_part(&mut key, part),
                    None => {}
                }
                write_string(out, &key);
                out.extend_from_slice(b": ");
                write_value(out, &entry.value);
            }
            out.push(b'}');
        }
    }
    out.extend_from_slice(b"}}\n");
}

fn write_key_parts(out: &mut Vec<u8>, parts: &[Value]) {
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_key_part(out, part);
    }
}

/// A part of a key as text: like the text form, but without the blanks after
/// commas and without the indentation of stacks.
fn write_key_part(out: &mut Vec<u8>, part: &Value) {
    match part {
        Value::Tuple(parts) => {
            out.push(b'(');
            write_key_parts(out, parts);
            out.push(b')');
        }
        Value::Stack(stack) => {
            let indent = stack.style == StackStyle::Perf;
            text::write_stack(out, stack, indent);
        }
        other => text::write_value(out, other),
    }
}

/// Writes an integer: as a number where a double holds it exactly, else as a
/// string, because readers of JSON may keep numbers as doubles.
pub(crate) fn write_number(out: &mut Vec<u8>, value: i128) {
    if (value as f64) as i128 == value {
        let _ = write!(out, "{value}");
    } else {
        let _ = write!(out, "\"{value}\"");
    }
}

/// Writes a quoted string; what is not UTF-8 becomes U+FFFD.
pub fn write_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    write_escaped(out, bytes);
    out.push(b'"');
}

fn write_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        let text = chunk.valid().as_bytes();
        let mut from = 0;
        for (i, &byte) in text.iter().enumerate() {
            let escape: &[u8] = match byte {
                b'"' => b"\\\"",
                b'\\' => b"\\\\",
                b'\n' => b"\\n",
                b'\r' => b"\\r",
                b'\t' => b"\\t",
                0x08 => b"\\b",
                0x0c => b"\\f",
                0x00..0x20 => b"",
                _ => continue,
            };
            out.extend_from_slice(&text[from..i]);
            from = i + 1;
            if escape.is_empty() {
                let _ = write!(out, "\\u{byte:04x}");
            } else {
                out.extend_from_slice(escape);
            }
        }
        out.extend_from_slice(&text[from..]);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}
