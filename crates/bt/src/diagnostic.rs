//! What is wrong with a script, and where: in the form that people know from bpftrace.

use std::fmt::Write as _;

use crate::ast::Span;

/// Columns of a source line that are shown; longer lines are cut around the mark.
const SHOWN_COLUMNS: usize = 160;
/// Columns that a tab takes in a shown line.
const TAB: &str = "    ";

/// One message about a stretch of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// `None`: the message is about the script as a whole, or about the machine.
    pub span: Option<Span>,
    pub message: String,
    /// What the user can do.
    pub hints: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
    /// Shown only when asked for (`-v`).
    Note,
}

impl Diagnostic {
    pub fn error(span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Error, span: Some(span), message: message.into(), hints: Vec::new() }
    }

    pub fn warning(span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(span, message) }
    }

    pub fn note(span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Note, ..Diagnostic::error(span, message) }
    }

    /// An error that no place in the script is to blame for.
    pub fn global(message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Error, span: None, message: message.into(), hints: Vec::new() }
    }

    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Diagnostic {
        self.hints.push(hint.into());
        self
    }

    /// Adds a hint if there is one.
    #[must_use]
    pub fn with_hints(mut self, hints: impl IntoIterator<Item = String>) -> Diagnostic {
        self.hints.extend(hints);
        self
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The message as shown: `name:line:from-to: ERROR: message`, the source line, a mark
    /// under the span, and `HINT:` lines; every line ends with a newline.
    ///
    /// Lines and columns count from 1, the end column is exclusive. A span of
    /// several lines is shown as `name:first-last:` and all its lines.
    pub fn render(&self, name: &str, text: &str, color: bool) -> String {
        let (label, on) = match self.severity {
            Severity::Error => ("ERROR: ", "\x1b[31m"),
            Severity::Warning => ("WARNING: ", "\x1b[33m"),
            Severity::Note => ("NOTE: ", ""),
        };
        let (on, off) = if color && !on.is_empty() { (on, "\x1b[0m") } else { ("", "") };
        let mut out = String::new();
        out.push_str(on);
        let place = self.span.map(|span| Place::of(text, span));
        if let Some(place) = &place {
            place.write_location(name, &mut out);
        }
        out.push_str(label);
        out.push_str(&self.message);
        out.push_str(off);
        out.push('\n');
        if let Some(place) = &place {
            place.write_context(&mut out);
        }
        for hint in &self.hints {
            let _ = writeln!(out, "HINT: {hint}");
        }
        out
    }
}

/// A span in lines and columns, with the text of its lines.
struct Place<'a> {
    lines: Vec<&'a str>,
    first_line: usize,
    /// In characters, from 0.
    start_column: usize,
    end_column: usize,
}

impl<'a> Place<'a> {
    fn of(text: &'a str, span: Span) -> Place<'a> {
        let start = floor_char_boundary(text, span.start as usize);
        let end = floor_char_boundary(text, span.end as usize).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let last_start = text[..end].rfind('\n').map_or(0, |at| at + 1);
        let last_end = text[last_start..].find('\n').map_or(text.len(), |at| last_start + at);
        Place {
            lines: text[line_start..last_end].split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect(),
            first_line: text[..line_start].matches('\n').count() + 1,
            start_column: text[line_start..start].chars().count(),
            end_column: text[last_start..end].chars().count(),
        }
    }

    fn write_location(&self, name: &str, out: &mut String) {
        let first = self.first_line;
        if self.lines.len() > 1 {
            let last = first + self.lines.len() - 1;
            let _ = write!(out, "{name}:{first}-{last}: ");
        } else {
            let _ = write!(out, "{name}:{first}:{}-{}: ", self.start_column + 1, self.end_column + 1);
        }
    }

    fn write_context(&self, out: &mut String) {
        if let [line] = self.lines[..] {
            self.write_marked_line(line, out);
            return;
        }
        for line in &self.lines {
            let shown: Vec<char> = line.chars().map(printable).collect();
            out.extend(shown.iter().take(SHOWN_COLUMNS));
            out.push_str(if shown.len() > SHOWN_COLUMNS { "...\n" } else { "\n" });
        }
    }

    fn write_marked_line(&self, line: &str, out: &mut String) {
        let chars: Vec<char> = line.chars().collect();
        let (from, to) = if chars.len() <= SHOWN_COLUMNS {
            (0, chars.len())
        } else {
            let middle = (self.start_column + self.end_column.min(self.start_column + SHOWN_COLUMNS)) / 2;
            let from = middle.saturating_sub(SHOWN_COLUMNS / 2).min(chars.len() - SHOWN_COLUMNS);
            (from, from + SHOWN_COLUMNS)
        };
        let (before, after) = (if from > 0 { "..." } else { "" }, if to < chars.len() { "..." } else { "" });
        // An empty span (the end of the text) still gets a mark.
        let end = self.end_column.max(self.start_column + 1);
        let mut mark = " ".repeat(before.len());
        out.push_str(before);
        for (column, &c) in chars.iter().enumerate().take(to).skip(from) {
            let marker = if (self.start_column..end).contains(&column) { '~' } else { ' ' };
            if c == '\t' {
                out.push_str(TAB);
                mark.extend(std::iter::repeat_n(marker, TAB.len()));
            } else {
                out.push(printable(c));
                mark.push(marker);
            }
        }
        if self.start_column >= chars.len() {
            mark.push('~');
        }
        out.push_str(after);
        out.push('\n');
        out.push_str(mark.trim_end());
        out.push('\n');
    }
}

/// Source text goes to a terminal: control characters must not.
fn printable(c: char) -> char {
    if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c }
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The candidate that a misspelt name most likely means, if one is near enough:
/// at most a third of its letters wrong. Ties go to the first.
pub fn suggest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    let wanted: Vec<char> = name.chars().flat_map(char::to_lowercase).collect();
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let bound = best.map_or(limit, |(distance, _)| distance.saturating_sub(1));
        if candidate != name
            && let Some(distance) = distance_within(&wanted, candidate, bound)
        {
            best = Some((distance, candidate));
            if distance == 0 {
                break;
            }
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Edit distance (insertion, deletion, substitution, swap of neighbours; letter case is free)
/// if it is at most `limit`.
fn distance_within(wanted: &[char], candidate: &str, limit: usize) -> Option<usize> {
    let have: Vec<char> = candidate.chars().flat_map(char::to_lowercase).collect();
    if wanted.len().abs_diff(have.len()) > limit {
        return None;
    }
    let mut before_last = vec![0; have.len() + 1];
    let mut last: Vec<usize> = (0..=have.len()).collect();
    let mut row = vec![0; have.len() + 1];
    for i in 1..=wanted.len() {
        row[0] = i;
        for j in 1..=have.len() {
            let substitution = usize::from(wanted[i - 1] != have[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + substitution);
            if i > 1 && j > 1 && wanted[i - 1] == have[j - 2] && wanted[i - 2] == have[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        if row.iter().min().is_some_and(|&least| least > limit) {
            return None;
        }
        std::mem::swap(&mut before_last, &mut last);
        std::mem::swap(&mut last, &mut row);
    }
    Some(last[have.len()]).filter(|&distance| distance <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u32, end: u32) -> Span {
        Span { start, end }
    }

    #[test]
    fn one_line() {
        let shown = Diagnostic::error(span(8, 13), "Unknown function: 'foo'").render("stdin", "BEGIN { foo() }", false);
        assert_eq!(shown, "stdin:1:9-14: ERROR: Unknown function: 'foo'\nBEGIN { foo() }\n        ~~~~~\n");
    }

    #[test]
    fn tabs_are_four_spaces() {
        let shown = Diagnostic::error(span(9, 12), "no").with_hint("do").render("a.bt", "BEGIN {\n\tfoo;\n}", false);
        assert_eq!(shown, "a.bt:2:2-5: ERROR: no\n    foo;\n    ~~~\nHINT: do\n");
    }

    #[test]
    fn the_ends_of_lines_of_other_systems_are_not_shown() {
        let shown = Diagnostic::error(span(9, 12), "no").render("a.bt", "BEGIN {\r\nfoo;\r\n}\r\n", false);
        assert_eq!(shown, "a.bt:2:1-4: ERROR: no\nfoo;\n~~~\n");
    }

    #[test]
    fn several_lines() {
        let shown = Diagnostic::warning(span(0, 9), "w").render("s", "BEGIN {\n}", false);
        assert_eq!(shown, "s:1-2: WARNING: w\nBEGIN {\n}\n");
    }

    #[test]
    fn end_of_text_and_beyond() {
        let shown = Diagnostic::error(span(3, 3), "e").render("s", "abc", false);
        assert_eq!(shown, "s:1:4-4: ERROR: e\nabc\n   ~\n");
        Diagnostic::error(span(70, 90), "e").render("s", "", false);
    }

    #[test]
    fn long_lines_are_cut_around_the_mark() {
        let text = format!("{}@x{}", "a".repeat(5000), "b".repeat(5000));
        let shown = Diagnostic::error(span(5000, 5002), "e").render("s", &text, false);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[1].len() < 200);
        let at = lines[2].find('~').unwrap();
        assert_eq!(&lines[1][at..at + 2], "@x");
    }

    #[test]
    fn suggestions() {
        assert_eq!(suggest("cuont", ["sum", "count", "hist"]), Some("count"));
        assert_eq!(suggest("Comm", ["comm"]), Some("comm"));
        assert_eq!(suggest("zzz", ["count", "sum"]), None);
    }
}
