//! The machine's clocks, and times as people of its time zone write them.

use std::ffi::CString;

/// Nanoseconds since the machine started, suspends included (`CLOCK_BOOTTIME`,
/// `bpf_ktime_get_boot_ns`).
pub fn boot_ns() -> u64 {
    read(libc::CLOCK_BOOTTIME)
}

/// Nanoseconds since the machine started, without suspends (`CLOCK_MONOTONIC`, `bpf_ktime_get_ns`).
pub fn monotonic_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds since 1970 without leap seconds (`CLOCK_TAI`, `bpf_ktime_get_tai_ns`).
pub fn tai_ns() -> u64 {
    read(libc::CLOCK_TAI)
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is live and writable. These clocks exist on every kernel that has BPF.
    unsafe { libc::clock_gettime(clock, &mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// A time as `strftime(3)` writes it in the local time zone, with three conversions more: `%f`
/// microseconds (6 digits), `%l` milliseconds (3), `%k` nanoseconds (9).
///
/// `unix_ns` is nanoseconds since 1970 UTC. A format whose result does not fit 4 KB gives an empty text.
pub fn format_local(unix_ns: i64, format: &str) -> String {
    let seconds = unix_ns.div_euclid(1_000_000_000);
    let format = with_fractions(format, unix_ns.rem_euclid(1_000_000_000) as u64);
    // SAFETY: all zeros is a valid `tm`.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    let seconds: libc::time_t = seconds;
    // SAFETY: both are live; the result is the second argument or null.
    if unsafe { libc::localtime_r(&seconds, &mut parts) }.is_null() {
        return String::new();
    }
    let Ok(format) = CString::new(format) else { return String::new() };
    let mut text = vec![0u8; 4096];
    // SAFETY: the buffer is as large as said, the format ends with a NUL, `parts` is filled.
    let len = unsafe { libc::strftime(text.as_mut_ptr().cast(), text.len(), format.as_ptr(), &parts) };
    text.truncate(len);
    String::from_utf8_lossy(&text).into_owned()
}

/// The format with the conversions that the C library lacks replaced by digits.
fn with_fractions(format: &str, nanoseconds: u64) -> String {
    let mut out = String::with_capacity(format.len());
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('f') => out += &format!("{:06}", nanoseconds / 1_000),
            Some('l') => out += &format!("{:03}", nanoseconds / 1_000_000),
            Some('k') => out += &format!("{nanoseconds:09}"),
            Some(other) => {
                out.push('%');
                out.push(other);
            }
            // A lone `%` at the end is text.
            None => out += "%%",
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_run() {
        assert!(boot_ns() >= monotonic_ns().saturating_sub(1_000_000_000));
        assert!(monotonic_ns() > 0);
        assert!(tai_ns() > 1_000_000_000_000_000_000);
    }

    #[test]
    fn formats() {
        assert_eq!(with_fractions("%H.%f %l %k %% %%f %", 1_002_003), "%H.001002 001 001002003 %% %%f %%");
        let text = format_local(1_700_000_000_123_456_789, "%Y %f");
        assert_eq!(text, "2023 123456");
        assert_eq!(format_local(-1, "%l"), "999");
        assert_eq!(format_local(0, ""), "");
        assert_eq!(format_local(0, &"%c".repeat(5000)), "");
        assert_eq!(format_local(0, "a\0b"), "");
    }
}
