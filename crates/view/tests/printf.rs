//! Cases of tests/printf.txt, and what formats must survive.

mod values;

use view::{Arg, Format, FormatError};

/// The text between the first and the last bar, escapes resolved.
fn barred(line: &str) -> String {
    let inner = line.strip_prefix('|').and_then(|l| l.strip_suffix('|')).expect("a line in bars");
    let mut text = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next().unwrap() {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                other => text.push(other),
            },
            c => text.push(c),
        }
    }
    text
}

#[test]
fn cases() {
    let file = include_str!("printf.txt");
    let mut lines = file.lines().filter(|l| !l.starts_with('#'));
    let mut cases = 0;
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let format = barred(line);
        let args = values::list(lines.next().unwrap());
        let expected = barred(lines.next().unwrap());
        let args: Vec<Arg> = args.iter().map(Arg::Value).collect();
        let mut out = Vec::new();
        Format::parse(&format).unwrap().render(&mut out, &args);
        assert_eq!(String::from_utf8_lossy(&out), expected, "format {format:?}");
        cases += 1;
    }
    assert!(cases > 25, "only {cases} cases found");
}

#[test]
fn borrowed_arguments_print_like_values() {
    let format = Format::parse("%d %u %s %5d %-4s|").unwrap();
    let mut out = Vec::new();
    let text = Arg::Str { bytes: b"ab", truncated: false };
    format.render(&mut out, &[Arg::Int(-3), Arg::Uint(7), text, Arg::Int(1), text]);
    assert_eq!(out, b"-3 7 ab     1 ab  |");
}

#[test]
fn errors_say_where() {
    assert_eq!(Format::parse("a %"), Err(FormatError::Unfinished { at: 2 }));
    assert_eq!(Format::parse("a %-5"), Err(FormatError::Unfinished { at: 2 }));
    assert_eq!(Format::parse("%lé"), Err(FormatError::UnknownConversion { conversion: 'é', at: 2 }));
    assert_eq!(Format::parse("%n"), Err(FormatError::UnknownConversion { conversion: 'n', at: 1 }));
}

#[test]
fn widths_are_bounded() {
    let mut out = Vec::new();
    Format::parse("%99999999999999999999d%.99999999999d").unwrap().render(&mut out, &[Arg::Int(1), Arg::Int(2)]);
    assert!(out.len() <= 3 * 4096);
    out.clear();
    let huge = Arg::Int(i64::MIN);
    Format::parse("%*.*d").unwrap().render(&mut out, &[huge, Arg::Int(i64::MAX), Arg::Int(1)]);
    assert!(out.len() <= 3 * 4096);
}

/// Every format of up to three bytes out of those that mean something.
#[test]
fn no_format_panics() {
    let alphabet = "%-+ #0159.*hlLjztdiuoxXcspr\u{e9}";
    let args = values::list("-1, 18446744073709551615u, \"x\", b\"y\", true, (1, 2)");
    let args: Vec<Arg> = args.iter().map(Arg::Value).collect();
    let mut out = Vec::new();
    for a in alphabet.chars() {
        for b in alphabet.chars() {
            for c in alphabet.chars() {
                for tail in ["d", "s", "rx", ""] {
                    if let Ok(format) = Format::parse(&format!("%{a}{b}{c}{tail}")) {
                        for skip in 0..args.len() {
                            out.clear();
                            format.render(&mut out, &args[skip..]);
                        }
                    }
                }
            }
        }
    }
}
