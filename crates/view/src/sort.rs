//! The order in which a map's entries are shown.

use std::cmp::Ordering;

use crate::{Entry, Value};

/// What the entries of a map are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By key: integers by number, strings bytewise, tuples part by part.
    Key,
    /// By value, and by key where values are equal. Averages and statistics by
    /// the average, histograms by the total count.
    Value,
    /// Like `Value`, but integers as unsigned whatever their sign: `min` and `max`
    /// maps, in which bpftrace shows negative values last.
    UnsignedValue,
}

/// Sorts entries ascending. Stable, and total: entries that compare equal stay as they came.
pub fn sort_entries(entries: &mut [Entry], order: Order) {
    match order {
        Order::Key => entries.sort_by(compare_keys),
        Order::Value => {
            entries.sort_by(|a, b| rank(&a.value).cmp(&rank(&b.value)).then_with(|| compare_keys(a, b)));
        }
        Order::UnsignedValue => entries.sort_by(|a, b| {
            let unsigned = |v: &Value| match v {
                Value::Int(i) => i128::from(*i as u64),
                other => rank(other),
            };
            unsigned(&a.value).cmp(&unsigned(&b.value)).then_with(|| compare_keys(a, b))
        }),
    }
}

/// Keeps the last `count` of sorted entries: those with the largest values.
pub fn top(entries: &mut Vec<Entry>, count: usize) {
    let surplus = entries.len().saturating_sub(count);
    entries.drain(..surplus);
}

/// The number that stands for a value when values are compared; 0 for those
/// that have none.
fn rank(value: &Value) -> i128 {
    match value {
        Value::Int(v) | Value::Enum(_, v) => i128::from(*v),
        Value::Uint(v) | Value::Pointer(v) => i128::from(*v),
        Value::Bool(v) => i128::from(*v),
        Value::Stats { average, .. } | Value::Avg { average, .. } => *average,
        Value::Hist { buckets, .. } | Value::Lhist { buckets, .. } => buckets.iter().map(|b| i128::from(b.count)).sum(),
        _ => 0,
    }
}

fn compare_keys(a: &Entry, b: &Entry) -> Ordering {
    match (&a.key, &b.key) {
        (Some(a), Some(b)) => compare(a, b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// A total order on values of the same layout; values of different kinds, which
/// one map never holds, are ordered by kind.
fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Str { bytes: a, .. }, Value::Str { bytes: b, .. }) | (Value::Buf(a), Value::Buf(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) | (Value::Tuple(a), Value::Tuple(b)) => compare_all(a.iter(), b.iter()),
        (Value::Struct(a), Value::Struct(b)) => compare_all(a.iter().map(|f| &f.1), b.iter().map(|f| &f.1)),
        (Value::Stack(a), Value::Stack(b)) => {
            a.frames.iter().map(|f| f.address).cmp(b.frames.iter().map(|f| f.address))
        }
        _ => rank(a).cmp(&rank(b)).then_with(|| kind(a).cmp(&kind(b))),
    }
}

fn compare_all<'a>(a: impl Iterator<Item = &'a Value>, b: impl Iterator<Item = &'a Value>) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        match (a.next(), b.next()) {
            (Some(a), Some(b)) => match compare(a, b) {
                Ordering::Equal => {}
                unequal => return unequal,
            },
            (a, b) => return a.is_some().cmp(&b.is_some()),
        }
    }
}

/// A number for each kind that `compare` does not compare by contents.
fn kind(value: &Value) -> u8 {
    match value {
        Value::Int(_) | Value::Uint(_) | Value::Enum(..) | Value::Bool(_) | Value::Pointer(_) => 0,
        Value::Str { .. } => 1,
        Value::Buf(_) => 2,
        Value::Array(_) => 3,
        Value::Tuple(_) => 4,
        Value::Struct(_) => 5,
        Value::Text(_) => 6,
        Value::Stack(_) => 7,
        Value::Stats { .. } => 8,
        Value::Avg { .. } => 9,
        Value::Hist { .. } => 10,
        Value::Lhist { .. } => 11,
    }
}
