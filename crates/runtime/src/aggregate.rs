//! What per-CPU maps hold: the CPUs' parts are added up here, when they are shown.

use object::plan::Layout;
use view::{Bucket, Value};

use crate::decode::u64_at;

/// Adds the values of all CPUs up. A histogram's counter comes out as a plain
/// number; its buckets are keys, see [`histogram`].
pub fn add_up<'a>(layout: &Layout, cpus: impl Iterator<Item = &'a [u8]>) -> Value {
    match layout {
        Layout::Sum { signed: true } => Value::Int(cpus.fold(0, |sum, cpu| sum.wrapping_add(u64_at(cpu, 0) as i64))),
        Layout::Min { signed } => extreme(cpus, *signed, |a, b| a < b),
        Layout::Max { signed } => extreme(cpus, *signed, |a, b| a > b),
        Layout::Avg { signed } => {
            let (total, count, average) = total_and_count(cpus, *signed);
            Value::Avg { average, count, total }
        }
        Layout::Stats { signed } => {
            let (total, count, average) = total_and_count(cpus, *signed);
            Value::Stats { count, total, average, signed: *signed }
        }
        _ => Value::Uint(cpus.fold(0, |sum, cpu| sum.wrapping_add(u64_at(cpu, 0)))),
    }
}

/// The least or greatest of the values that are set; 0 if none is.
fn extreme<'a>(cpus: impl Iterator<Item = &'a [u8]>, signed: bool, better: impl Fn(i128, i128) -> bool) -> Value {
    let mut best = None;
    for cpu in cpus.filter(|cpu| u64_at(cpu, 8) != 0) {
        let value = number(u64_at(cpu, 0), signed);
        if best.is_none_or(|best| better(value, best)) {
            best = Some(value);
        }
    }
    let best = best.unwrap_or(0);
    if signed { Value::Int(best as i64) } else { Value::Uint(best as u64) }
}

fn total_and_count<'a>(cpus: impl Iterator<Item = &'a [u8]>, signed: bool) -> (i128, u64, i128) {
    let (total, count) = cpus.fold((0i128, 0u64), |(total, count), cpu| {
        (total + number(u64_at(cpu, 0), signed), count.wrapping_add(u64_at(cpu, 8)))
    });
    (total, count, if count == 0 { 0 } else { total / i128::from(count) })
}

fn number(raw: u64, signed: bool) -> i128 {
    if signed { i128::from(raw as i64) } else { i128::from(raw) }
}

/// A histogram from its counters by bucket number (in any order), from the first
/// that is not zero to the last, with the empty ones between. `layout` is `Hist` or `Lhist`.
pub fn histogram(layout: &Layout, counters: impl Iterator<Item = (u64, u64)>) -> Value {
    let mut counters: Vec<(u64, u64)> = counters.filter(|(_, count)| *count != 0).collect();
    counters.sort_unstable();
    let (first, last) = match (counters.first(), counters.last()) {
        (Some(first), Some(last)) => (first.0, last.0),
        _ => (1, 0),
    };
    // No histogram has more buckets; damaged numbers must not cost memory.
    let last = last.min(first.saturating_add(MOST_BUCKETS));
    let mut counters = counters.into_iter().peekable();
    let buckets = (first..=last)
        .map(|index| {
            let mut count = 0u64;
            while let Some((_, part)) = counters.next_if(|(at, _)| *at == index) {
                count = count.wrapping_add(part);
            }
            let (low, high) = match layout {
                Layout::Lhist { min, max, step } => linear_bounds(index, *min, *max, *step),
                Layout::Hist { k } => log_bounds(index, *k),
                _ => (Some(i128::from(index)), Some(i128::from(index) + 1)),
            };
            Bucket { low, high, count }
        })
        .collect();
    match layout {
        Layout::Lhist { step, .. } => Value::Lhist { buckets, step: *step },
        Layout::Hist { k } => Value::Hist { buckets, k: *k },
        _ => Value::Hist { buckets, k: 0 },
    }
}

/// bpftrace allows 1000 buckets of a linear histogram; a power-of-two histogram with k = 5 has under 2000.
const MOST_BUCKETS: u64 = 4096;

type Bounds = (Option<i128>, Option<i128>);

/// The bounds of a bucket of a power-of-two histogram; the numbering is in `object::plan`.
fn log_bounds(index: u64, k: u8) -> Bounds {
    let k = u32::from(k.min(5));
    let first = 1u64 << k;
    match index {
        0 => (None, Some(0)),
        // One bucket a value below 2^k.
        i if i <= first => (Some(i128::from(i - 1)), Some(i128::from(i))),
        i => {
            let i = i - 1;
            let exponent_offset = (i >> k) - 1;
            let power = exponent_offset.min(63) as u32;
            let mantissa = i128::from(first + (i & (first - 1)));
            (Some(mantissa << power), Some((mantissa + 1) << power))
        }
    }
}

fn linear_bounds(index: u64, min: i64, max: i64, step: i64) -> Bounds {
    let (min, max, step) = (i128::from(min), i128::from(max), i128::from(step.max(1)));
    if index == 0 {
        return (None, Some(min));
    }
    let low = min + i128::from(index - 1) * step;
    if low >= max { (Some(max), None) } else { (Some(low), Some(low + step)) }
}
