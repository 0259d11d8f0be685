//! Histograms as bars: one line a bucket, the label left in 16 columns, the count
//! right in 8, and a bar of up to 52 `@`.

use std::io::Write;

use crate::{Bucket, Value};

const BAR_COLUMNS: u64 = 52;

/// Writes the buckets of a [`Value::Hist`] or [`Value::Lhist`], a line each, and a
/// blank line; nothing but the blank line if there are none.
pub(crate) fn write(out: &mut Vec<u8>, value: &Value) {
    let (buckets, label): (&[Bucket], Box<dyn Fn(i128) -> String>) = match value {
        Value::Hist { buckets, k } => (buckets, Box::new(|bound| log_label(bound, *k))),
        Value::Lhist { buckets, step } => (buckets, Box::new(|bound| linear_label(bound, i128::from(*step)))),
        _ => return,
    };
    let largest = buckets.iter().map(|b| b.count).max().unwrap_or(0);
    for bucket in buckets {
        let name = match (bucket.low, bucket.high) {
            (None, None) => "(..., ...)".to_string(),
            (None, Some(high)) => format!("(..., {})", label(high)),
            (Some(low), None) => format!("[{}, ...)", label(low)),
            (Some(low), Some(high)) if high.checked_sub(low) == Some(1) => format!("[{}]", label(low)),
            (Some(low), Some(high)) => format!("[{}, {})", label(low), label(high)),
        };
        let columns = match largest {
            0 => 0,
            _ => (u128::from(BAR_COLUMNS) * u128::from(bucket.count) / u128::from(largest)) as usize,
        };
        // Writing to a vector cannot fail.
        let _ = writeln!(
            out,
            "{name:<16}{:>8} |{:<width$}|",
            bucket.count,
            "@".repeat(columns),
            width = BAR_COLUMNS as usize
        );
    }
    out.push(b'\n');
}

/// A bound of a power-of-two histogram. Bounds are `m << power` with `m` in
/// `[2^k, 2^(k+1))`; the suffix is chosen by `power`, so that it always divides.
fn log_label(bound: i128, k: u8) -> String {
    if bound < 1 << k.min(63) {
        return bound.to_string();
    }
    let power = bound.ilog2() - u32::from(k);
    with_suffix(bound, power / 10)
}

/// A bound of a linear histogram: suffixes only where the step is a multiple of 1024.
fn linear_label(bound: i128, step: i128) -> String {
    if bound == 0 || step % 1024 != 0 {
        bound.to_string()
    } else if bound % (1 << 20) == 0 {
        with_suffix(bound, 2)
    } else if bound % 1024 == 0 {
        with_suffix(bound, 1)
    } else {
        bound.to_string()
    }
}

fn with_suffix(bound: i128, decade: u32) -> String {
    match decade {
        0 => bound.to_string(),
        _ => {
            let suffix = ["", "K", "M", "G", "T", "P", "E"][decade.min(6) as usize];
            format!("{}{suffix}", bound >> (10 * decade.min(6)))
        }
    }
}
