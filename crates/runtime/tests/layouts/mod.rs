//! Layouts as the test files write them.
//!
//! `i4` `u8` integers by sign and bytes, `bool1`, `str16`, `buf12`, `ptr`, `[i4;3]`, `(i8@0 str16@8)24` a tuple with the offsets of
//! its fields and its size, `{a:i4@0 b:u4@4:3+5}8` a struct whose `b` is a bit field (first bit + bits), `enum4(A=1 B=2)`, `kstack3`
//! `ustack3` stacks with their limit, `ksym` `usym` `username` `inet` `mac` `cgroup` `errno` `time`, `count` `sum` `usum` `min` `umin`
//! `max` `umax` `avg` `uavg` `stats` `ustats`.

use std::rc::Rc;

use object::plan::{Clock, Field, Layout, Stack, StackMode};

pub fn parse(text: &str) -> Layout {
    let mut rest = text;
    let layout = layout(&mut rest);
    assert!(rest.trim().is_empty(), "left over in {text:?}: {rest:?}");
    layout
}

fn eat(rest: &mut &str, token: &str) -> bool {
    *rest = rest.trim_start();
    match rest.strip_prefix(token) {
        Some(after) => {
            *rest = after;
            true
        }
        None => false,
    }
}

fn number(rest: &mut &str) -> i64 {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    *rest = after;
    digits.parse().unwrap_or_else(|_| panic!("a number before {after:?}"))
}

fn word(rest: &mut &str) -> String {
    *rest = rest.trim_start();
    let end = rest.find(|c: char| !(c.is_alphabetic() || c == '_')).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after;
    word.to_string()
}

fn fields(rest: &mut &str, close: &str, named: bool) -> (Vec<Field>, u32) {
    let mut fields = Vec::new();
    while !eat(rest, close) {
        let mut name = String::new();
        if named {
            name = word(rest);
            assert!(eat(rest, ":"));
        }
        let layout = layout(rest);
        assert!(eat(rest, "@"), "an offset at {rest:?}");
        let offset = number(rest) as u32;
        let bits = rest.starts_with(':').then(|| {
            eat(rest, ":");
            let first = number(rest) as u8;
            assert!(eat(rest, "+"));
            (first, number(rest) as u8)
        });
        fields.push(Field { name, offset, bits, layout });
    }
    (fields, number(rest) as u32)
}

fn layout(rest: &mut &str) -> Layout {
    if eat(rest, "[") {
        let elem = Box::new(layout(rest));
        assert!(eat(rest, ";"));
        let len = number(rest) as u32;
        assert!(eat(rest, "]"));
        return Layout::Array { elem, len };
    }
    if eat(rest, "(") {
        let (fields, size) = fields(rest, ")", false);
        return Layout::Tuple { fields, size };
    }
    if eat(rest, "{") {
        let (fields, size) = fields(rest, "}", true);
        return Layout::Struct { fields, size };
    }
    let name = word(rest);
    let stack = |rest: &mut &str| Stack { mode: StackMode::Bpftrace, limit: number(rest) as u32 };
    match name.as_str() {
        "i" => Layout::Int { size: number(rest) as u8, signed: true },
        "u" => Layout::Int { size: number(rest) as u8, signed: false },
        "bool" => Layout::Bool { size: number(rest) as u8 },
        "str" => Layout::Str { size: number(rest) as u32 },
        "buf" => Layout::Buf { size: number(rest) as u32 },
        "enum" => {
            let size = number(rest) as u8;
            let mut names = Vec::new();
            assert!(eat(rest, "("));
            while !eat(rest, ")") {
                let name = word(rest);
                assert!(eat(rest, "="));
                names.push((number(rest), name));
            }
            Layout::Enum { size, signed: true, names: Rc::new(names) }
        }
        "kstack" => Layout::KStack(stack(rest)),
        "ustack" => Layout::UStack(stack(rest)),
        "ptr" => Layout::Pointer,
        "ksym" => Layout::KSym,
        "usym" => Layout::USym,
        "username" => Layout::Username,
        "inet" => Layout::Inet,
        "mac" => Layout::Mac,
        "cgroup" => Layout::CgroupPath,
        "errno" => Layout::Errno,
        "time" => Layout::Timestamp { format: "%H".to_string(), clock: Clock::Boot },
        "count" => Layout::Count,
        "sum" => Layout::Sum { signed: true },
        "usum" => Layout::Sum { signed: false },
        "min" => Layout::Min { signed: true },
        "umin" => Layout::Min { signed: false },
        "max" => Layout::Max { signed: true },
        "umax" => Layout::Max { signed: false },
        "avg" => Layout::Avg { signed: true },
        "uavg" => Layout::Avg { signed: false },
        "stats" => Layout::Stats { signed: true },
        "ustats" => Layout::Stats { signed: false },
        other => panic!("layout {other:?}"),
    }
}
