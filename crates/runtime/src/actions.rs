//! What events ask for, carried out: print, run, join, clear, exit.

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use kernel::{Map, MappedArray, clock};
use object::plan::{Action, Attach, MapView, Plan, Severity};
use view::{Encoding, Entry, Output, Source, TextKind};

use crate::decode::u64_at;
use crate::events::{Events, Prepared};
use crate::maps::{self, Selection};
use crate::names::LiveNames;
use crate::report;

/// What a session needs to carry events out.
pub struct Actor<'p> {
    pub plan: &'p Plan,
    pub events: Events<'p>,
    pub maps: &'p [Map],
    pub counters: Option<&'p MappedArray>,
    pub names: LiveNames<'p>,
    pub output: Output,
    pub diagnostics: Box<dyn Write>,
    pub max_cat_bytes: usize,
    /// Show what `warnf` says.
    pub warnings: bool,
    /// The code that `exit()` gave; then the session ends.
    pub exit: Option<i32>,
    /// Records that come after an `exit()` are none of the script's any more: it only could not stop them.
    pub ignores_rest: bool,
    /// Formatted text on its way to a shell, a file or a terminal.
    scratch: Vec<u8>,
}

/// At most so many bytes of a command's output go into one JSON line.
const MAX_JSON_OUTPUT_BYTES: usize = 1 << 20;

impl<'p> Actor<'p> {
    pub fn new(
        plan: &'p Plan,
        events: Events<'p>,
        maps: &'p [Map],
        counters: Option<&'p MappedArray>,
        output: Output,
        diagnostics: Box<dyn Write>,
    ) -> Actor<'p> {
        let map = |index: Option<object::MapIndex>| index.and_then(|index| maps.get(index.0 as usize));
        Actor {
            plan,
            events,
            maps,
            counters,
            names: LiveNames::new(map(plan.stacks), map(plan.stack_overflow)),
            output,
            diagnostics,
            max_cat_bytes: usize::MAX,
            warnings: true,
            exit: None,
            ignores_rest: false,
            scratch: Vec::new(),
        }
    }

    /// Carries out one record. False once nobody reads the output any more, and after what may have taken long:
    /// signals are to be looked at before the next.
    pub fn handle(&mut self, record: &[u8]) -> bool {
        if self.ignores_rest {
            return true;
        }
        let Some(prepared) = self.events.of(record) else { return true };
        let event = prepared.event;
        match &event.action {
            Action::Printf { .. } => {
                let names = &mut self.names;
                self.output.text_with(TextKind::Printf, |out| prepared.format(record, names, out));
            }
            Action::PrintValue { label, key } => {
                let mut values = prepared.values(record, &mut self.names).into_iter();
                match (label, *key) {
                    (Some(label), true) => {
                        if let (Some(key), Some(value)) = (values.next(), values.next()) {
                            self.output.map(label, &[Entry { key: Some(key), value }]);
                        }
                    }
                    (label, _) => {
                        if let Some(value) = values.next() {
                            self.output.value(label.as_deref(), &value);
                        }
                    }
                }
            }
            Action::PrintMap { map } => {
                let mut fields = prepared.fields(record);
                let mut number = || fields.next().map_or(0, |field| u64_at(field.bytes, 0));
                let selection = Selection { unset: true, top: number(), div: number() };
                self.print_map(*map as usize, selection);
            }
            Action::ClearMap { map } => {
                self.with_map(*map as usize, maps::clear);
            }
            Action::ZeroMap { map } => self.with_map(*map as usize, |map, view, _| maps::zero(map, view)),
            Action::Time { format } => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let text = clock::format_local(i64::try_from(now.as_nanos()).unwrap_or(i64::MAX), format);
                self.output.text(TextKind::Time, text.as_bytes());
            }
            Action::Join { delimiter } => self.join(record, delimiter.as_bytes()),
            Action::System { .. } => {
                self.format(record);
                self.run();
            }
            Action::Cat { .. } => {
                self.format(record);
                self.cat();
            }
            Action::Message { severity, .. } => {
                self.format(record);
                self.message(event.span, *severity);
            }
            Action::HelperError { helper } => {
                let code = prepared.fields(record).next().map_or(0, |field| u64_at(field.bytes, 0)) as i64;
                self.helper_error(event.span, helper, code);
            }
            Action::Exit => {
                let code = prepared.fields(record).next().map_or(0, |field| u64_at(field.bytes, 0));
                self.exit = Some(code as i32);
                // An iterator is at its other objects in the same pass.
                self.ignores_rest = !self.plan.probes.iter().any(|p| matches!(p.attach, Attach::Iter { .. }));
            }
        }
        !matches!(event.action, Action::System { .. } | Action::Cat { .. }) && !self.output.is_closed()
    }

    /// Shows a map of the plan.
    pub fn print_map(&mut self, index: usize, selection: Selection) {
        let (Some(view), counters) = (self.plan.maps.get(index), self.counters) else { return };
        let Some(map) = self.maps.get(view.map.0 as usize) else { return };
        match maps::read(map, view, counters, selection, &mut self.names) {
            Ok(entries) => self.output.map(&view.name, &entries),
            Err(error) => self.diagnose(&format!("ERROR: {error}")),
        }
    }

    fn with_map(
        &mut self,
        index: usize,
        act: impl FnOnce(&Map, &MapView, Option<&MappedArray>) -> Result<(), kernel::Error>,
    ) {
        let Some(view) = self.plan.maps.get(index) else { return };
        let Some(map) = self.maps.get(view.map.0 as usize) else { return };
        if let Err(error) = act(map, view, self.counters) {
            self.diagnose(&format!("ERROR: {error}"));
        }
    }

    /// A line on standard error, after all output that came before it.
    pub fn diagnose(&mut self, text: &str) {
        self.output.flush();
        // A diagnostic that cannot be written has nobody to miss it.
        let _ = writeln!(self.diagnostics, "{text}");
    }

    /// Puts the event's formatted text into `scratch`.
    fn format(&mut self, record: &[u8]) {
        self.scratch.clear();
        if let Some(prepared) = self.events.of(record) {
            prepared.format(record, &mut self.names, &mut self.scratch);
        }
    }

    fn join(&mut self, record: &[u8], delimiter: &[u8]) {
        let Some(prepared) = self.events.of(record) else { return };
        let newline = self.output.encoding() == Encoding::Text;
        self.output.text_with(TextKind::Join, |out| join_arguments(prepared, record, delimiter, newline, out));
    }

    /// Runs `scratch` in a shell. What it prints follows what was printed before.
    fn run(&mut self) {
        self.output.flush();
        let command = String::from_utf8_lossy(&self.scratch).into_owned();
        let child = Command::new("/bin/sh").args(["-c", &command]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) => return self.diagnose(&format!("ERROR: system('{command}'): {error}")),
        };
        // Asked for above, so it is there.
        if let Some(mut stdout) = child.stdout.take() {
            self.forward(&mut stdout, TextKind::Syscall, usize::MAX);
        }
        if let Err(error) = child.wait() {
            self.diagnose(&format!("ERROR: system('{command}'): {error}"));
        }
        if self.output.encoding() == Encoding::Text {
            // As bpftrace ends what a command printed.
            self.output.text(TextKind::Syscall, b"\n");
        }
    }

    /// Shows the file whose name is `scratch`.
    fn cat(&mut self) {
        let path = String::from_utf8_lossy(&self.scratch).into_owned();
        match File::open(&path) {
            Ok(mut file) => self.forward(&mut file, TextKind::Cat, self.max_cat_bytes),
            Err(error) => {
                let error = error.to_string();
                let reason = error.split(" (os error").next().unwrap_or_default();
                self.diagnose(&format!("ERROR: failed to open file '{path}' ({reason})"));
            }
        }
    }

    /// Copies a source to the output: as it comes in text, as one line in JSON.
    fn forward(&mut self, source: &mut dyn Read, kind: TextKind, most: usize) {
        let json = self.output.encoding() == Encoding::Json;
        let mut left = if json { most.min(MAX_JSON_OUTPUT_BYTES) } else { most };
        let mut piece = [0; 16 * 1024];
        let mut all = Vec::new();
        while left > 0 {
            let want = piece.len().min(left);
            match source.read(&mut piece[..want]) {
                Ok(0) => break,
                Ok(count) if json => all.extend_from_slice(&piece[..count]),
                Ok(count) => self.output.text(kind, &piece[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            }
            left = left.saturating_sub(want);
            if self.output.is_closed() {
                break;
            }
        }
        if json {
            self.output.text(kind, &all);
        }
    }

    /// Says what `errorf` or `warnf` has to say, which is in `scratch`.
    fn message(&mut self, span: object::SourceSpan, severity: Severity) {
        if severity == Severity::Warning && !self.warnings {
            return;
        }
        let (kind, word) = match severity {
            Severity::Error => ("errorf", "ERROR"),
            Severity::Warning => ("warnf", "WARNING"),
        };
        match self.output.encoding() {
            Encoding::Json => {
                let (file, line, column) = report::position(&self.plan.object, span).unwrap_or(("", 0, 0));
                self.output.message(kind, &self.scratch, Source { file, line, column });
            }
            Encoding::Text => {
                let place = report::place(&self.plan.object, span);
                self.diagnose(&format!("{place}{word}: {}", String::from_utf8_lossy(&self.scratch)));
            }
        }
    }
}

impl Actor<'_> {
    /// Says that a helper failed (`-k`).
    fn helper_error(&mut self, span: object::SourceSpan, helper: &str, code: i64) {
        let said = crate::decode::errno_text(code);
        match self.output.encoding() {
            Encoding::Json => {
                let (file, line, column) = report::position(&self.plan.object, span).unwrap_or(("", 0, 0));
                self.output.helper_error(&said, helper, code, Source { file, line, column });
            }
            Encoding::Text => {
                let object = &self.plan.object;
                let said = match helper {
                    "map_lookup_elem" => "Can't lookup map element because it does not exist.",
                    "map_delete_elem" => "Can't delete map element because it does not exist.",
                    _ => &said,
                };
                let text = format!(
                    "{}WARNING: {said}\nAdditional Info - helper: {helper}, retcode: {code}{}",
                    report::place(object, span),
                    report::excerpt(object, span)
                );
                self.diagnose(&text);
            }
        }
    }
}

/// Appends the arguments that are there with the delimiter between them.
fn join_arguments(prepared: &Prepared<'_>, record: &[u8], delimiter: &[u8], newline: bool, out: &mut Vec<u8>) {
    let texts = prepared.fields(record).map(|field| crate::decode::string(field.bytes, 0, field.whole).0);
    for (i, text) in texts.filter(|text| !text.is_empty()).enumerate() {
        if i > 0 {
            out.extend_from_slice(delimiter);
        }
        out.extend_from_slice(text);
    }
    if newline {
        out.push(b'\n');
    }
}
