//! Records as programs send them → formatted text.

mod layouts;
mod names;

use names::FakeNames;
use object::SourceSpan;
use object::plan::{Action, Arg, Event};
use runtime::Events;

/// `int@0` is in the fixed part, `str64~8` in the tail with its length at 8.
fn event(format: &str, args: &[&str], fixed_size: u32) -> Event {
    let args = args
        .iter()
        .map(|text| {
            let at = text.rfind(['@', '~']).unwrap();
            Arg {
                layout: layouts::parse(&text[..at]),
                offset: text[at + 1..].parse().unwrap(),
                tail: text.as_bytes()[at] == b'~',
            }
        })
        .collect();
    Event { action: Action::Printf { format: format.to_string() }, fixed_size, args, span: SourceSpan::default() }
}

fn record(number: u32, fixed: &[u64], tail: &[u8]) -> Vec<u8> {
    let mut bytes = number.to_ne_bytes().to_vec();
    bytes.extend([0; 4]);
    bytes.extend(fixed.iter().flat_map(|word| word.to_ne_bytes()));
    bytes.extend(tail);
    bytes
}

fn printed(event: &Event, record: &[u8]) -> String {
    let events = Events::new(std::slice::from_ref(event)).unwrap();
    let mut out = Vec::new();
    if let Some(prepared) = events.of(record) {
        prepared.format(record, &mut FakeNames, &mut out);
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn plain_arguments() {
    let event = event("%d %u %s|%5d\n", &["i8@0", "u8@8", "str16@16", "i4@32"], 40);
    let comm = |text: &str| {
        let mut bytes = [0u8; 16];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        [u64::from_ne_bytes(bytes[..8].try_into().unwrap()), u64::from_ne_bytes(bytes[8..].try_into().unwrap())]
    };
    let [low, high] = comm("kworker/0:1");
    let bytes = record(0, &[-3i64 as u64, u64::MAX, low, high, 42], &[]);
    assert_eq!(printed(&event, &bytes), "-3 18446744073709551615 kworker/0:1|   42\n");
}

#[test]
fn tails_follow_each_other() {
    let event = event("%s|%d|%r|%s", &["str64~0", "i8@8", "buf64~16", "str8~24"], 32);
    let bytes = record(0, &[6, 7, 2, 4], b"hello\0a\x01abcd");
    // The last has no NUL: it was cut.
    assert_eq!(printed(&event, &bytes), "hello|7|a\\x01|abcd..");
}

#[test]
fn other_arguments_are_decoded() {
    let event = event("%s %s %x", &["(i8@0 i8@8)16@0", "bool1@16", "ptr@24"], 32);
    assert_eq!(printed(&event, &record(0, &[1, 2, 1, 255], &[])), "(1, 2) true ff");
}

#[test]
fn short_and_odd_records() {
    let event = event("%s|%d|%s", &["str64~0", "i8@8", "str8~16"], 24);
    let full = record(0, &[6, 7, 3], b"hello\0ab\0");
    for length in 0..full.len() {
        printed(&event, &full[..length]);
    }
    // Lengths beyond the record.
    assert_eq!(printed(&event, &record(0, &[u64::MAX, 7, u64::MAX], b"x")), "x..|7|");
    // No event of this number.
    assert_eq!(printed(&event, &record(1, &[6, 7, 3], b"")), "");
    assert_eq!(printed(&event, &[]), "");
}

#[test]
fn formats_are_checked_before_the_first_event() {
    assert!(Events::new(&[event("%d %", &[], 0)]).is_err());
}
