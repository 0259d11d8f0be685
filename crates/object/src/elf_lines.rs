//! Source texts from line information, which has single lines of them.

use std::collections::{BTreeMap, HashMap};

use crate::{Source, SourceSpan};

/// Bounds on what a damaged file can make us allocate: lines of all sources
/// together, and bytes of their texts.
const MAX_LINES: u32 = 1 << 20;
const MAX_BYTES: usize = 16 << 20;

/// Collects the lines that line information names.
#[derive(Default)]
pub(crate) struct Sources<'t> {
    sources: Vec<(&'t str, BTreeMap<u32, &'t str>)>,
    by_name: HashMap<&'t str, usize>,
    /// Of all sources, with the empty lines between known ones.
    lines: u32,
    /// Of all known lines.
    bytes: usize,
}

/// A place in a collected source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LineAt {
    source: u16,
    /// From 1.
    line: u32,
    column: u32,
}

impl<'t> Sources<'t> {
    /// Adds a line; `None` if that is more than a source can be.
    pub(crate) fn add(&mut self, file: &'t str, line: u32, column: u32, text: &'t str) -> Option<LineAt> {
        let at = *self.by_name.entry(file).or_insert_with(|| {
            self.sources.push((file, BTreeMap::new()));
            self.sources.len() - 1
        });
        let source = u16::try_from(at).ok()?;
        let lines = &mut self.sources[at].1;
        if !lines.contains_key(&line) {
            let more_lines = line.saturating_sub(last_line(lines));
            if self.lines.saturating_add(more_lines) > MAX_LINES || self.bytes + text.len() > MAX_BYTES {
                return None;
            }
            self.lines += more_lines;
            self.bytes += text.len();
            lines.insert(line, text);
        }
        Some(LineAt { source, line, column: column.max(1) })
    }

    /// The texts: each known line at its number, the others empty.
    pub(crate) fn finish(self) -> Texts {
        let texts = self.sources.into_iter().map(|(name, lines)| {
            let mut text = String::new();
            let mut starts = Vec::new();
            for number in 1..=last_line(&lines) {
                starts.push(text.len() as u32);
                // A line break in a line would move all that follow.
                text.extend(lines.get(&number).into_iter().flat_map(|line| line.lines().next()));
                text.push('\n');
            }
            (Source { name: name.to_owned(), text }, starts)
        });
        Texts(texts.collect())
    }
}

fn last_line(lines: &BTreeMap<u32, &str>) -> u32 {
    lines.last_key_value().map_or(0, |(number, _)| *number)
}

/// Source texts with the offset of each line.
pub(crate) struct Texts(Vec<(Source, Vec<u32>)>);

impl Texts {
    /// From the column to the end of the line.
    pub(crate) fn span(&self, at: LineAt) -> SourceSpan {
        let Some((source, starts)) = self.0.get(usize::from(at.source)) else { return SourceSpan::default() };
        let start = starts.get(at.line as usize - 1).copied().unwrap_or(0);
        let end = starts.get(at.line as usize).copied().unwrap_or(source.text.len() as u32).saturating_sub(1);
        let start = source.text.floor_char_boundary((start + at.column - 1).min(end) as usize) as u32;
        SourceSpan { source: at.source, start, end }
    }

    pub(crate) fn into_sources(self) -> Vec<Source> {
        self.0.into_iter().map(|(source, _)| source).collect()
    }
}
