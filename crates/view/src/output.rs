//! The one way out: what a session has to say, as text or as JSON lines.

use std::io::{self, Write};

use crate::{Entry, Value, json, text};

/// How output is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Encoding {
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// What a stretch of text comes from; JSON tells it as `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextKind {
    Printf,
    Time,
    Cat,
    Join,
    /// What a command that `system()` ran printed.
    Syscall,
}

impl TextKind {
    fn name(self) -> &'static str {
        match self {
            TextKind::Printf => "printf",
            TextKind::Time => "time",
            TextKind::Cat => "cat",
            TextKind::Join => "join",
            TextKind::Syscall => "syscall",
        }
    }
}

/// A place in a script, 1-based, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source<'a> {
    pub file: &'a str,
    pub line: u32,
    pub column: u32,
}

/// Bytes are handed to the writer once this many have gathered, even if nobody flushes.
const BUFFER_BYTES: usize = 64 * 1024;

/// An output that gathers what it is told and writes it in large pieces: when
/// told to [flush](Output::flush), or when 64 KB have gathered. A writer that
/// fails is not written to again; [`Output::is_closed`] and [`Output::take_error`] tell.
pub struct Output {
    encoding: Encoding,
    writer: Box<dyn Write>,
    buffer: Vec<u8>,
    scratch: Vec<u8>,
    closed: bool,
    error: Option<io::Error>,
}

impl Output {
    pub fn new(encoding: Encoding, writer: Box<dyn Write>) -> Output {
        Output { encoding, writer, buffer: Vec::new(), scratch: Vec::new(), closed: false, error: None }
    }

    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Whether the writer is gone, so that there is no reason to go on.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// The error that closed the writer, once; `None` also where a reader closed
    /// its end of the pipe, which is no error.
    pub fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    /// Writes out what has gathered.
    pub fn flush(&mut self) {
        if self.closed {
            self.buffer.clear();
            return;
        }
        if self.buffer.is_empty() {
            return;
        }
        let result = self.writer.write_all(&self.buffer).and_then(|()| self.writer.flush());
        self.buffer.clear();
        if let Err(error) = result {
            self.closed = true;
            if error.kind() != io::ErrorKind::BrokenPipe {
                self.error = Some(error);
            }
        }
    }

    fn written(&mut self) {
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush();
        }
    }

    /// Text that `write` appends to the buffer that it is given, which may
    /// hold other text before.
    pub fn text_with(&mut self, kind: TextKind, write: impl FnOnce(&mut Vec<u8>)) {
        match self.encoding {
            Encoding::Text => write(&mut self.buffer),
            Encoding::Json => {
                self.scratch.clear();
                write(&mut self.scratch);
                self.begin(kind.name());
                json::write_string(&mut self.buffer, &self.scratch);
                self.buffer.extend_from_slice(b"}\n");
            }
        }
        self.written();
    }

    /// Text as it is.
    pub fn text(&mut self, kind: TextKind, text: &[u8]) {
        self.text_with(kind, |out| out.extend_from_slice(text));
    }

    fn begin(&mut self, kind: &str) {
        // Writing to a vector cannot fail, here and below.
        let _ = write!(self.buffer, "{{\"type\": \"{kind}\", \"data\": ");
    }

    /// A value, with a label before it if there is one: `label: value`.
    pub fn value(&mut self, label: Option<&str>, value: &Value) {
        match self.encoding {
            Encoding::Text => {
                let histogram = matches!(value, Value::Hist { .. } | Value::Lhist { .. });
                if let Some(label) = label {
                    self.buffer.extend_from_slice(label.as_bytes());
                    self.buffer.extend_from_slice(if histogram { b":\n" } else { b": " });
                }
                text::write_value(&mut self.buffer, value);
                if !histogram {
                    self.buffer.push(b'\n');
                }
            }
            Encoding::Json => {
                self.begin("value");
                json::write_value(&mut self.buffer, value);
                self.buffer.extend_from_slice(b"}\n");
            }
        }
        self.written();
    }

    /// A map's entries, already sorted. An empty map prints nothing as text and is left out of JSON.
    pub fn map(&mut self, name: &str, entries: &[Entry]) {
        if entries.is_empty() {
            return;
        }
        match self.encoding {
            Encoding::Text => text::write_map(&mut self.buffer, name, entries),
            Encoding::Json => json::write_map(&mut self.buffer, name, entries),
        }
        self.written();
    }

    /// The two blank lines between the events and the maps at the end (text only).
    pub fn end_of_events(&mut self) {
        if self.encoding == Encoding::Text {
            self.buffer.extend_from_slice(b"\n\n");
        }
    }

    /// How many probes are attached. Text has it on standard error, so this
    /// writes JSON only.
    pub fn attached_probes(&mut self, count: u64) {
        self.count("attached_probes", "probes", count);
    }

    /// How many events were lost. JSON only, like [`Output::attached_probes`].
    pub fn lost_events(&mut self, count: u64) {
        self.count("lost_events", "events", count);
    }

    fn count(&mut self, kind: &str, unit: &str, count: u64) {
        if self.encoding == Encoding::Json {
            let _ = writeln!(
                self.buffer,
                "{{\"type\": \"{kind}\", \"count\": {count}, \"data\": {{\"{unit}\": {count}}}}}"
            );
        }
    }

    /// A helper that failed. JSON only.
    pub fn helper_error(&mut self, message: &str, helper: &str, code: i64, at: Source<'_>) {
        if self.encoding == Encoding::Json {
            self.buffer.extend_from_slice(b"{\"type\": \"helper_error\", \"msg\": ");
            json::write_string(&mut self.buffer, message.as_bytes());
            let _ = write!(self.buffer, ", \"helper\": \"{helper}\", \"retcode\": {code}, \"filename\": ");
            json::write_string(&mut self.buffer, at.file.as_bytes());
            let _ = writeln!(self.buffer, ", \"line\": {}, \"col\": {}}}", at.line, at.column);
        }
    }

    /// A message of `errorf` or `warnf` (`kind`). JSON only.
    pub fn message(&mut self, kind: &str, text: &[u8], at: Source<'_>) {
        if self.encoding == Encoding::Json {
            let _ = write!(self.buffer, "{{\"type\": \"{kind}\", \"msg\": ");
            json::write_string(&mut self.buffer, text);
            self.buffer.extend_from_slice(b", \"filename\": ");
            json::write_string(&mut self.buffer, at.file.as_bytes());
            let _ = writeln!(self.buffer, ", \"line\": {}, \"col\": {}}}", at.line, at.column);
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.flush();
    }
}
