//! Cases of tests/decode.txt: bytes of a layout as text.

mod layouts;
mod names;

use names::FakeNames;
use runtime::decode;

/// Bytes as the file writes them.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        if let Some(text) = word.strip_prefix('\'').and_then(|w| w.strip_suffix('\'')) {
            bytes.extend(text.as_bytes());
            continue;
        }
        let (count, byte) = word.split_once('*').unwrap_or(("1", word));
        bytes.extend(vec![u8::from_str_radix(byte, 16).unwrap(); count.parse().unwrap()]);
    }
    bytes
}

fn cases() -> impl Iterator<Item = (&'static str, &'static str, String)> {
    include_str!("decode.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
        let mut parts = line.split('|').map(str::trim);
        let mut next = || parts.next().unwrap_or_else(|| panic!("three parts in {line:?}"));
        let (layout, bytes, text) = (next(), next(), next());
        // Blanks at the end are lost to the trimming, newlines are written `\n`.
        (layout, bytes, text.replace("\\n", "\n"))
    })
}

#[test]
fn cases_of_the_file() {
    let mut count = 0;
    for (layout, hex, expected) in cases() {
        let value = decode(&layouts::parse(layout), &bytes(hex), false, &mut FakeNames);
        let mut text = Vec::new();
        view::write_value(&mut text, &value);
        assert_eq!(String::from_utf8_lossy(&text), expected, "{layout} of {hex}");
        count += 1;
    }
    assert!(count > 50, "only {count} cases found");
}

/// Every layout on every length of two patterns of bytes.
#[test]
fn no_bytes_panic() {
    for (layout, _, _) in cases() {
        let layout = layouts::parse(layout);
        for length in 0..40 {
            for fill in [0x00, 0xff] {
                for whole in [false, true] {
                    decode(&layout, &vec![fill; length], whole, &mut FakeNames);
                }
            }
        }
    }
}
