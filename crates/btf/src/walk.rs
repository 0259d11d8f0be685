//! Where each type starts: the one pass that opening BTF makes.
//!
//! A type's place depends on the length of the one before it, so a plain walk waits for a load, a
//! table look-up and a multiplication at each of a kernel's 130,000 types: 0.49 ms. Several walks
//! that start at different places wait together. Where a type starts in the
//! middle of the section is not known, but looks like it; that the look was right shows
//! when the walk before arrives exactly there. If it does not, the section is walked plainly.

use crate::Error;
use crate::kind::{Extents, TYPE_HEADER, kind_number};
use crate::types::u32_at;

/// Every how many types a checkpoint is kept.
const STRIDE: usize = 8;
/// Walks at a time, chosen with `examples/lookup_time.rs`: 0.33 ms with 2, 0.26 with 4, 0.27 with 6, 0.38 with 8.
const LANES: usize = 4;
/// Sections smaller than this are walked plainly: bytes.
const WORTHWHILE: usize = 64 * 1024;
/// How many types in a row must make sense for a place to be taken for a type's start.
const CONVINCING: usize = 32;

/// The places of all types of a section, as the offset of every eighth.
#[derive(Default)]
pub(crate) struct Places {
    /// In the order of the section; each continues where the one before ends.
    runs: Vec<Run>,
    count: usize,
}

/// A stretch of types in a row.
#[derive(Default)]
struct Run {
    /// Index of the first type.
    first: usize,
    /// Offsets of the first type and of every [`STRIDE`]th after it.
    checkpoints: Vec<u32>,
}

impl Places {
    /// Walks a type section. `first_id` is for messages; `strings` is the end of the string offsets.
    pub fn find(types: &[u8], extents: &Extents, strings: u32, first_id: u32) -> Result<Places, Error> {
        if types.len() >= WORTHWHILE
            && let Some(places) = in_lanes(types, extents, strings)
        {
            return Ok(places);
        }
        plainly(types, extents, first_id)
    }

    /// Number of types.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The offset of a type by its index in the section.
    pub fn offset(&self, types: &[u8], extents: &Extents, index: usize) -> Option<usize> {
        if index >= self.count {
            return None;
        }
        let run = self.runs.iter().rev().find(|run| run.first <= index)?;
        let into = index - run.first;
        let mut offset = *run.checkpoints.get(into / STRIDE)? as usize;
        for _ in 0..into % STRIDE {
            offset += len_at(types, extents, offset);
        }
        Some(offset)
    }

    /// The index of the type that starts at this offset, if one does.
    pub fn index(&self, types: &[u8], extents: &Extents, offset: usize) -> Option<usize> {
        let (index, start) = self.around(types, extents, offset)?;
        (start == offset).then_some(index)
    }

    /// The index and the start of the type whose bytes are around this offset.
    pub fn around(&self, types: &[u8], extents: &Extents, offset: usize) -> Option<(usize, usize)> {
        let starts_before = |run: &&Run| run.checkpoints.first().is_some_and(|start| *start as usize <= offset);
        let run = self.runs.iter().rev().find(starts_before)?;
        let checkpoint = run.checkpoints.partition_point(|&start| start as usize <= offset).checked_sub(1)?;
        let mut start = run.checkpoints[checkpoint] as usize;
        let mut index = run.first + checkpoint * STRIDE;
        loop {
            let next = start + len_at(types, extents, start);
            if next > offset {
                return (index < self.count).then_some((index, start));
            }
            start = next;
            index += 1;
        }
    }
}

/// Bytes of the type at an offset where one starts.
#[inline(always)]
pub(crate) fn len_at(types: &[u8], extents: &Extents, offset: usize) -> usize {
    let info = u32_at(types, offset + 4);
    // A type has a header at least, so that a wrong offset does not stand still.
    extents[usize::from(kind_number(info))].bytes(info).max(TYPE_HEADER)
}

/// One type after the other, with an error that says where it fails.
fn plainly(types: &[u8], extents: &Extents, first_id: u32) -> Result<Places, Error> {
    let mut checkpoints = Vec::with_capacity(types.len() / (3 * TYPE_HEADER * STRIDE) + 1);
    let (mut offset, mut count) = (0, 0);
    while offset < types.len() {
        let id = first_id.saturating_add(count as u32);
        if types.len() - offset < TYPE_HEADER {
            return Err(Error::Truncated { id, offset });
        }
        if count % STRIDE == 0 {
            checkpoints.push(offset as u32);
        }
        let info = u32_at(types, offset + 4);
        let kind = kind_number(info);
        let extent = extents[usize::from(kind)];
        if !extent.is_known() {
            return Err(Error::UnknownKind { id, offset, kind });
        }
        let len = extent.bytes(info);
        if len > types.len() - offset {
            return Err(Error::Truncated { id, offset });
        }
        offset += len;
        count += 1;
    }
    Ok(Places { runs: vec![Run { first: 0, checkpoints }], count })
}

/// A walk over a part of the section.
struct Lane {
    offset: usize,
    /// Where the next lane starts.
    end: usize,
    count: usize,
    checkpoints: Vec<u32>,
}

impl Lane {
    /// Goes over one type; false if there is none.
    #[inline(always)]
    fn step(&mut self, types: &[u8], extents: &Extents) -> bool {
        let info = u32_at(types, self.offset + 4);
        let extent = extents[usize::from(kind_number(info))];
        if self.offset >= self.end || !extent.is_known() {
            return false;
        }
        if self.count.is_multiple_of(STRIDE) {
            self.checkpoints.push(self.offset as u32);
        }
        self.offset += extent.bytes(info);
        self.count += 1;
        true
    }
}

/// Several walks at once; `None` if a guessed start was wrong, or a type is.
fn in_lanes(types: &[u8], extents: &Extents, strings: u32) -> Option<Places> {
    let mut starts = [0; LANES + 1];
    for (lane, start) in starts.iter_mut().enumerate().take(LANES).skip(1) {
        *start = plausible_start(types, extents, strings, types.len() / LANES * lane)?;
    }
    starts[LANES] = types.len();
    let mut lanes: [Lane; LANES] = std::array::from_fn(|lane| Lane {
        offset: starts[lane],
        end: starts[lane + 1],
        count: 0,
        checkpoints: Vec::with_capacity(types.len() / (2 * TYPE_HEADER * STRIDE * LANES) + 1),
    });
    while lanes.iter_mut().fold(true, |all, lane| lane.step(types, extents) & all) {}
    let mut places = Places::default();
    for mut lane in lanes {
        while lane.step(types, extents) {}
        if lane.offset != lane.end {
            return None;
        }
        places.runs.push(Run { first: places.count, checkpoints: lane.checkpoints });
        places.count += lane.count;
    }
    Some(places)
}

/// The first place after `from` where a good number of types in a row make sense.
fn plausible_start(types: &[u8], extents: &Extents, strings: u32, from: usize) -> Option<usize> {
    /// Longer than any struct that stands in the way, and soon looked through: bytes.
    const REACH: usize = 16 * 1024;
    let from = from & !3;
    (from..types.len().min(from + REACH)).step_by(4).find(|&start| {
        let mut offset = start;
        (0..CONVINCING).all(|_| {
            let info = u32_at(types, offset + 4);
            let extent = extents[usize::from(kind_number(info))];
            // Bits 16 to 23 are part of `vlen` since Linux 7.1 only, and never needed by real types.
            let plausible = extent.is_known() && u32_at(types, offset) < strings && info & 0xff_0000 == 0;
            offset += extent.bytes(info);
            plausible && offset <= types.len()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::kind::EXTENTS;

    fn bytes(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    /// Types of different lengths, enough to be walked in lanes.
    fn many_types() -> Vec<u32> {
        let mut words = Vec::new();
        for index in 0..6000 {
            match index % 4 {
                0 => words.extend([1, (Kind::Int as u32) << 24, 4, 32]),
                1 => words.extend([0, (Kind::Ptr as u32) << 24, 1]),
                2 => words.extend([1, (Kind::Struct as u32) << 24 | 2, 8, 1, 1, 0, 1, 1, 32]),
                _ => words.extend([0, (Kind::FuncProto as u32) << 24 | 3, 0, 1, 1, 1, 1, 1, 1]),
            }
        }
        words
    }

    fn assert_same(a: &Places, b: &Places, types: &[u8]) {
        assert_eq!(a.count(), b.count());
        for index in 0..=a.count() {
            assert_eq!(a.offset(types, &EXTENTS, index), b.offset(types, &EXTENTS, index), "{index}");
        }
        for offset in (0..=types.len()).step_by(4) {
            assert_eq!(a.index(types, &EXTENTS, offset), b.index(types, &EXTENTS, offset), "{offset}");
        }
    }

    #[test]
    fn lanes_find_what_a_plain_walk_finds() {
        let types = bytes(&many_types());
        let lanes = in_lanes(&types, &EXTENTS, 10).expect("nothing misleads");
        assert_eq!(lanes.runs.len(), LANES);
        assert_same(&lanes, &plainly(&types, &EXTENTS, 1).expect("sound"), &types);
    }

    #[test]
    fn members_that_look_like_types_mislead_nobody() {
        // A struct whose members read as pointers, right where a lane starts.
        let mut words = vec![1, (Kind::Struct as u32) << 24 | 12_000, 8];
        for _ in 0..12_000 {
            words.extend([0, (Kind::Ptr as u32) << 24, 1]);
        }
        words.extend(many_types());
        let types = bytes(&words);
        assert!(in_lanes(&types, &EXTENTS, 10).is_none());
        let places = Places::find(&types, &EXTENTS, 10, 1).expect("sound");
        assert_eq!(places.count(), 6001);
        assert_same(&places, &plainly(&types, &EXTENTS, 1).expect("sound"), &types);
    }

    #[test]
    fn a_damaged_type_is_named() {
        let mut words = many_types();
        let third = 4 + 3;
        words[third + 1] = 99 << 24;
        let damaged = Places::find(&bytes(&words), &EXTENTS, 10, 1);
        assert_eq!(damaged.err(), Some(Error::UnknownKind { id: 3, offset: third * 4, kind: 99 }));
        let types = bytes(&many_types());
        let cut = Places::find(&types[..types.len() - 4], &EXTENTS, 10, 1);
        assert!(matches!(cut.err(), Some(Error::Truncated { id: 6000, .. })));
    }
}
