//! Cases of tests/maps.txt, and the other lines of the output.

mod values;

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use view::{Encoding, Entry, Order, Output, Source, TextKind, Value};

/// A writer whose bytes the test keeps.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn written(encoding: Encoding, act: impl FnOnce(&mut Output)) -> String {
    let sink = Shared::default();
    let mut output = Output::new(encoding, Box::new(sink.clone()));
    act(&mut output);
    drop(output);
    String::from_utf8(sink.0.borrow().clone()).unwrap()
}

#[test]
fn cases() {
    let mut lines = include_str!("maps.txt").lines().enumerate();
    let mut cases = 0;
    while let Some((number, line)) = lines.next() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some("map"), "line {}", number + 1);
        let name = words.next().unwrap();
        let mut order = Order::Key;
        let mut top = usize::MAX;
        while let Some(word) = words.next() {
            let argument = words.next().unwrap();
            match (word, argument) {
                ("order", "value") => order = Order::Value,
                ("order", "unsigned") => order = Order::UnsignedValue,
                ("top", count) => top = count.parse().unwrap(),
                _ => order = Order::Key,
            }
        }
        let mut entries = Vec::new();
        let mut sections: Vec<(String, String)> = Vec::new();
        for (_, line) in lines.by_ref() {
            match line {
                "end" => break,
                "text" | "json" => sections.push((line.to_string(), String::new())),
                _ => match sections.last_mut() {
                    Some((_, body)) => *body += &format!("{line}\n"),
                    None => {
                        let (key, value) = line.split_once("=>").unwrap();
                        let key = (!key.trim().is_empty()).then(|| values::one(key));
                        entries.push(Entry { key, value: values::one(value) });
                    }
                },
            }
        }
        view::sort_entries(&mut entries, order);
        view::top(&mut entries, top);
        for (kind, expected) in sections {
            let encoding = if kind == "json" { Encoding::Json } else { Encoding::Text };
            let shown = written(encoding, |output| output.map(name, &entries));
            assert_eq!(shown, expected, "{kind} of the case on line {}", number + 1);
        }
        cases += 1;
    }
    assert!(cases > 30, "only {cases} cases found");
}

#[test]
fn json_lines() {
    let text = written(Encoding::Json, |output| {
        output.attached_probes(1);
        output.text(TextKind::Printf, b"p 3 a\n");
        output.text(TextKind::Time, b"06\n");
        output.text(TextKind::Join, b"");
        output.text(TextKind::Cat, b"vm\n");
        output.text(TextKind::Syscall, b"hi\n");
        output.value(None, &Value::Uint(u64::MAX));
        output.value(None, &Value::string("a\"b\n"));
        output.value(None, &Value::Stats { count: 1, total: 4, average: 4, signed: true });
        output.lost_events(7);
        output.message("errorf", b"bad 3", Source { file: "stdin", line: 1, column: 71 });
        output.map("@empty", &[]);
        output.end_of_events();
    });
    let expected = r#"{"type": "attached_probes", "count": 1, "data": {"probes": 1}}
{"type": "printf", "data": "p 3 a\n"}
{"type": "time", "data": "06\n"}
{"type": "join", "data": ""}
{"type": "cat", "data": "vm\n"}
{"type": "syscall", "data": "hi\n"}
{"type": "value", "data": "18446744073709551615"}
{"type": "value", "data": "a\"b\n"}
{"type": "value", "data": {"count": 1, "average": 4, "total": 4}}
{"type": "lost_events", "count": 7, "data": {"events": 7}}
{"type": "errorf", "msg": "bad 3", "filename": "stdin", "line": 1, "col": 71}
"#;
    assert_eq!(text, expected);
}

#[test]
fn text_lines() {
    let text = written(Encoding::Text, |output| {
        output.attached_probes(1);
        output.text(TextKind::Printf, b"no newline");
        output.value(None, &Value::Int(-5));
        output.value(Some("@x[1]"), &Value::Int(2));
        output.map("@empty", &[]);
        output.end_of_events();
        output.map("@a", &[Entry { key: None, value: Value::Int(1) }]);
    });
    assert_eq!(text, "no newline-5\n@x[1]: 2\n\n\n@a: 1\n");
}

/// A reader that closed its end: no error, and nothing is written after.
#[test]
fn closed_pipe_is_quiet() {
    struct Closed(io::ErrorKind, u32);
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            assert_eq!(self.1, 0, "written to again");
            self.1 += 1;
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for (kind, is_error) in [(io::ErrorKind::BrokenPipe, false), (io::ErrorKind::StorageFull, true)] {
        let mut output = Output::new(Encoding::Text, Box::new(Closed(kind, 0)));
        output.text(TextKind::Printf, b"x");
        assert!(!output.is_closed());
        output.flush();
        assert!(output.is_closed());
        output.text(TextKind::Printf, b"y");
        output.flush();
        assert_eq!(output.take_error().is_some(), is_error);
    }
}
