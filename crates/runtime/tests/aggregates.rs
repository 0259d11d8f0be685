//! CPUs' parts added up, and histograms from counters.

mod layouts;

use object::plan::Layout;
use runtime::{add_up, histogram};
use view::{Bucket, Value};

fn words(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_ne_bytes()).collect()
}

fn added(layout: &str, cpus: &[&[i64]]) -> String {
    let cpus: Vec<Vec<u8>> = cpus.iter().map(|cpu| words(cpu)).collect();
    let value = add_up(&layouts::parse(layout), cpus.iter().map(Vec::as_slice));
    let mut text = Vec::new();
    view::write_value(&mut text, &value);
    String::from_utf8(text).unwrap()
}

#[test]
fn cpus_add_up() {
    assert_eq!(added("count", &[&[1], &[0], &[41]]), "42");
    assert_eq!(added("sum", &[&[5], &[-9]]), "-4");
    assert_eq!(added("usum", &[&[-1], &[0]]), "18446744073709551615");
    assert_eq!(added("sum", &[&[i64::MAX], &[1]]), i64::MIN.to_string());
    // A CPU without the flag has no value.
    assert_eq!(added("min", &[&[7, 1], &[-5, 1], &[-100, 0]]), "-5");
    assert_eq!(added("umin", &[&[7, 1], &[-5, 1]]), "7");
    assert_eq!(added("max", &[&[7, 1], &[-5, 1], &[100, 0]]), "7");
    assert_eq!(added("umax", &[&[7, 1], &[-5, 1]]), (-5i64 as u64).to_string());
    assert_eq!(added("max", &[&[7, 0]]), "0");
    assert_eq!(added("avg", &[&[3, 1], &[-10, 1]]), "-3");
    assert_eq!(added("uavg", &[&[-1, 1], &[-1, 1]]), u64::MAX.to_string());
    assert_eq!(added("stats", &[&[10, 1], &[21, 1]]), "{ .count = 2, .average = 15, .total = 31 }");
    assert_eq!(added("stats", &[]), "{ .count = 0, .average = 0, .total = 0 }");
    // Short values of a CPU.
    assert_eq!(added("stats", &[&[10]]), "{ .count = 0, .average = 0, .total = 10 }");
}

fn buckets(value: Value) -> Vec<(Option<i128>, Option<i128>, u64)> {
    match value {
        Value::Hist { buckets, .. } | Value::Lhist { buckets, .. } => {
            buckets.into_iter().map(|Bucket { low, high, count }| (low, high, count)).collect()
        }
        other => panic!("{other:?} is no histogram"),
    }
}

/// The bucket of a value as programs compute it, from the formula in `object::plan`.
fn bucket_of(value: i64, k: u32) -> u64 {
    let Ok(value) = u64::try_from(value) else { return 0 };
    if value < 1 << k {
        return 1 + value;
    }
    let exponent = value.ilog2();
    1 + u64::from((exponent - k + 1) << k) + ((value >> (exponent - k)) & ((1 << k) - 1))
}

#[test]
fn every_value_is_inside_its_bucket() {
    for k in 0..=5 {
        let mut values: Vec<i64> = (-2..2000).collect();
        values.extend((10..63).flat_map(|bit| [(1i64 << bit) - 1, 1 << bit, (1 << bit) + 1]));
        values.push(i64::MAX);
        for value in values {
            let index = bucket_of(value, k);
            let value = i128::from(value);
            let shown = buckets(histogram(&Layout::Hist { k: k as u8 }, [(index, 3)].into_iter()));
            let [(low, high, 3)] = shown[..] else { panic!("{shown:?}") };
            assert!(low.is_none_or(|low| low <= value), "{value} in {low:?}, k = {k}");
            assert!(high.is_some_and(|high| value < high), "{value} in {high:?}, k = {k}");
        }
    }
}

#[test]
fn gaps_are_filled_and_ends_cut() {
    let counters = [(9, 0), (5, 2), (3, 1), (5, 1), (0, 0)];
    let shown = buckets(histogram(&Layout::Hist { k: 0 }, counters.into_iter()));
    assert_eq!(shown, [(Some(2), Some(4), 1), (Some(4), Some(8), 0), (Some(8), Some(16), 3)]);
    assert_eq!(buckets(histogram(&Layout::Hist { k: 0 }, [(3, 0)].into_iter())), []);
}

#[test]
fn linear_bounds() {
    let layout = Layout::Lhist { min: 0, max: 10, step: 3 };
    let shown = buckets(histogram(&layout, (0..=5).map(|i| (i, 1))));
    let bounds: Vec<_> = shown.iter().map(|(low, high, _)| (*low, *high)).collect();
    let step = |low, high| (Some(low), Some(high));
    assert_eq!(bounds, [(None, Some(0)), step(0, 3), step(3, 6), step(6, 9), step(9, 12), (Some(10), None)]);
}

#[test]
fn damaged_bucket_numbers_cost_no_memory() {
    let layouts =
        [Layout::Hist { k: 0 }, Layout::Hist { k: 200 }, Layout::Lhist { min: i64::MIN, max: i64::MAX, step: 0 }];
    for layout in layouts {
        let shown = buckets(histogram(&layout, [(1, 1), (u64::MAX, 1), (u64::MAX - 1, 1)].into_iter()));
        assert!(shown.len() < 5000);
    }
}
