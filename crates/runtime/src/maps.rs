//! A script's maps: read, add up, sort, cut, divide; clear and zero.

use std::collections::HashMap;

use kernel::{Map, MappedArray, Update};
use object::plan::{Layout, MapView};
use view::{Entry, Order, Value};

use crate::aggregate;
use crate::decode::{Resolve, decode, key_as_shown, u64_at};

/// What `print(@map, top, div)` asks for. The default is all that was set, undivided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Show a single value that was never set, as zero; histograms have none.
    pub unset: bool,
    /// Only the last so many entries of the sorted map; 0 is all.
    pub top: u64,
    /// Values are divided by this; 0 is 1.
    pub div: u64,
}

/// Reads a map's entries as they are to be shown: added up, sorted, cut, divided.
/// Empty for a single value that was never set.
pub fn read(
    map: &Map,
    view: &MapView,
    counters: Option<&MappedArray>,
    selection: Selection,
    names: &mut dyn Resolve,
) -> Result<Vec<Entry>, kernel::Error> {
    let histogram = matches!(view.value, Layout::Hist { .. } | Layout::Lhist { .. });
    if let (Some(flag), Some(counters)) = (view.set_flag, counters)
        && counters.read_u64(flag as usize).unwrap_or(0) == 0
        && (histogram || !selection.unset)
    {
        return Ok(Vec::new());
    }
    let mut entries = match (&view.value, &view.key) {
        (Layout::Hist { .. } | Layout::Lhist { .. }, None) => {
            let buckets = map.entries()?;
            let counters = buckets.iter().map(|(key, value)| (index_of(key), sum(map, view, value)));
            let histogram = aggregate::histogram(&view.value, counters);
            // Without a flag an empty histogram is one that was never touched.
            let untouched =
                matches!(&histogram, Value::Hist { buckets, .. } | Value::Lhist { buckets, .. } if buckets.is_empty());
            if untouched && view.set_flag.is_none() { Vec::new() } else { vec![Entry { key: None, value: histogram }] }
        }
        (Layout::Hist { .. } | Layout::Lhist { .. }, Some(key)) => histograms_by_key(map, view, key, names)?,
        (_, None) => match map.lookup(&0u32.to_ne_bytes()[..map.key_size().min(4)])? {
            Some(value) => vec![Entry { key: None, value: decode_values(map, view, &[&value], names) }],
            None => Vec::new(),
        },
        (_, Some(key)) => {
            let entries = map.entries()?;
            merge_keys(key, entries.iter(), is_aggregate(&view.value), names)
                .into_iter()
                .map(|(key_bytes, values)| Entry {
                    key: Some(decode(key, key_bytes, false, names)),
                    value: decode_values(map, view, &values, names),
                })
                .collect()
        }
    };
    view::sort_entries(&mut entries, order(&view.value));
    if selection.top != 0 {
        view::top(&mut entries, usize::try_from(selection.top).unwrap_or(usize::MAX));
    }
    if selection.div > 1 {
        entries.iter_mut().for_each(|entry| divide(&mut entry.value, selection.div));
    }
    Ok(entries)
}

/// Deletes all entries; a single value becomes unset.
pub fn clear(map: &Map, view: &MapView, counters: Option<&MappedArray>) -> Result<(), kernel::Error> {
    map.clear()?;
    if let (Some(flag), Some(counters)) = (view.set_flag, counters) {
        counters.write_u64(flag as usize, 0);
    }
    Ok(())
}

/// Sets all values to zero and keeps the keys. What programs write meanwhile may be lost.
pub fn zero(map: &Map, view: &MapView) -> Result<(), kernel::Error> {
    if view.key.is_none() {
        return map.clear();
    }
    let nothing = vec![0; map.value_bytes()];
    for (key, _) in map.entries()?.iter() {
        // An entry that a program deleted just now stays deleted.
        match map.update(key, &nothing, Update::OnlyExisting) {
            Err(error) if error.errno().is_some_and(|e| e.0 == libc::ENOENT) => {}
            result => result?,
        }
    }
    Ok(())
}

/// What the entries of a map with such values are sorted by.
fn order(value: &Layout) -> Order {
    match value {
        Layout::Min { .. } | Layout::Max { .. } => Order::UnsignedValue,
        Layout::Int { .. }
        | Layout::Enum { .. }
        | Layout::Count
        | Layout::Sum { .. }
        | Layout::Avg { .. }
        | Layout::Stats { .. }
        | Layout::Hist { .. }
        | Layout::Lhist { .. } => Order::Value,
        _ => Order::Key,
    }
}

/// The values of the CPUs, one after the other.
fn cpus<'a>(map: &Map, view: &MapView, value: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let stride = if view.per_cpu { map.value_stride() } else { value.len() };
    value.chunks(stride.max(1))
}

fn sum(map: &Map, view: &MapView, value: &[u8]) -> u64 {
    cpus(map, view, value).fold(0, |sum, cpu| sum.wrapping_add(u64_at(cpu, 0)))
}

/// Whether values of this layout can be added up.
fn is_aggregate(layout: &Layout) -> bool {
    matches!(
        layout,
        Layout::Count
            | Layout::Sum { .. }
            | Layout::Min { .. }
            | Layout::Max { .. }
            | Layout::Avg { .. }
            | Layout::Stats { .. }
    )
}

/// The value of one shown entry, which may be made of several of the map's.
fn decode_values(map: &Map, view: &MapView, values: &[&[u8]], names: &mut dyn Resolve) -> Value {
    if is_aggregate(&view.value) {
        return aggregate::add_up(&view.value, values.iter().flat_map(|value| cpus(map, view, value)));
    }
    decode(&view.value, values.first().copied().unwrap_or_default(), false, names)
}

/// Entries by what people see of their keys, if `merge`; each keeps the first of its keys.
/// They come in no particular order.
fn merge_keys<'e, V>(
    key: &Layout,
    entries: impl Iterator<Item = (&'e [u8], V)>,
    merge: bool,
    names: &mut dyn Resolve,
) -> Vec<(&'e [u8], Vec<V>)> {
    let mut merged: Vec<(&[u8], Vec<V>)> = Vec::new();
    let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
    for (key_bytes, value) in entries {
        let shown = if merge { key_as_shown(key, key_bytes, names) } else { None };
        let place = shown.map(|shown| *places.entry(shown).or_insert(merged.len()));
        match place.and_then(|place| merged.get_mut(place)) {
            Some((_, values)) => values.push(value),
            None => merged.push((key_bytes, vec![value])),
        }
    }
    merged
}

/// Groups the buckets of a keyed histogram by the user's part of the key.
fn histograms_by_key(
    map: &Map,
    view: &MapView,
    key: &Layout,
    names: &mut dyn Resolve,
) -> Result<Vec<Entry>, kernel::Error> {
    let buckets = map.entries()?;
    let mut groups: HashMap<&[u8], Vec<(u64, u64)>> = HashMap::new();
    for (bytes, value) in buckets.iter() {
        let (user_key, bucket) = bytes.split_at((view.bucket_offset as usize).min(bytes.len()));
        groups.entry(user_key).or_default().push((u64_at(bucket, 0), sum(map, view, value)));
    }
    let merged = merge_keys(key, groups.into_iter(), true, names).into_iter();
    let entries = merged.map(|(user_key, counters)| Entry {
        key: Some(decode(key, user_key, false, names)),
        value: aggregate::histogram(&view.value, counters.into_iter().flatten()),
    });
    Ok(entries.collect())
}

/// The index that an array map's key is.
fn index_of(key: &[u8]) -> u64 {
    u64::from(crate::decode::u32_at(key, 0))
}

/// Divides what `print`'s third argument divides: numbers, averages, bucket counts.
fn divide(value: &mut Value, div: u64) {
    let signed = i128::from(div);
    match value {
        Value::Int(v) => *v = (i128::from(*v) / signed) as i64,
        Value::Uint(v) => *v /= div,
        Value::Avg { average, .. } | Value::Stats { average, .. } => *average /= signed,
        Value::Hist { buckets, .. } | Value::Lhist { buckets, .. } => {
            buckets.iter_mut().for_each(|bucket| bucket.count /= div);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::plan::{Clock, Field, Stack, StackMode};
    use view::StackTrace;

    /// Stacks whose last of three frames is their id.
    struct Stacks;

    impl Resolve for Stacks {
        fn stack(&mut self, id: i64, limit: u32) -> Vec<u64> {
            [7, 8, id as u64].into_iter().take(limit as usize).collect()
        }
        fn kernel_symbol(&mut self, _: u64) -> String {
            String::new()
        }
        fn user_symbol(&mut self, _: u32, _: u64) -> String {
            String::new()
        }
        fn kernel_stack(&mut self, _: i64, _: Stack) -> StackTrace {
            StackTrace { style: view::StackStyle::Raw, frames: Vec::new() }
        }
        fn user_stack(&mut self, _: i64, _: u32, _: Stack) -> StackTrace {
            StackTrace { style: view::StackStyle::Raw, frames: Vec::new() }
        }
        fn user_name(&mut self, _: u64) -> String {
            String::new()
        }
        fn cgroup_path(&mut self, _: u64) -> String {
            String::new()
        }
        fn time(&mut self, _: &str, _: Clock, _: u64) -> String {
            String::new()
        }
    }

    fn merged(limit: u32, keys: &[[u64; 2]], merge: bool) -> Vec<usize> {
        let stack = Layout::KStack(Stack { mode: StackMode::Bpftrace, limit });
        let field = |offset, layout| Field { name: String::new(), offset, bits: None, layout };
        let number = Layout::Int { size: 8, signed: true };
        let key = Layout::Tuple { fields: vec![field(0, stack), field(8, number)], size: 16 };
        let keys: Vec<Vec<u8>> = keys.iter().map(|k| k.iter().flat_map(|w| w.to_ne_bytes()).collect()).collect();
        let entries = keys.iter().map(|key| (key.as_slice(), &[1u8][..]));
        merge_keys(&key, entries, merge, &mut Stacks).iter().map(|(_, values)| values.len()).collect()
    }

    #[test]
    fn stacks_that_look_the_same_are_one() {
        let keys = [[1, 5], [2, 5], [2, 6], [3, 5]];
        assert_eq!(merged(2, &keys, true), [3, 1]);
        assert_eq!(merged(3, &keys, true), [1, 1, 1, 1]);
        assert_eq!(merged(127, &keys, true), [1, 1, 1, 1]);
        assert_eq!(merged(2, &keys, false), [1, 1, 1, 1]);
    }
}
