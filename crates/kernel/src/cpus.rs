//! Which CPUs there are.

use std::sync::OnceLock;

/// Number of possible CPUs: how many values an entry of a per-CPU map has. Fixed
/// from boot on, so it is read once.
pub fn possible() -> u32 {
    static POSSIBLE: OnceLock<u32> = OnceLock::new();
    *POSSIBLE.get_or_init(|| {
        let last = read_list("/sys/devices/system/cpu/possible").last().copied();
        last.map_or_else(|| u32::try_from(online().len()).unwrap_or(1), |cpu| cpu + 1)
    })
}

/// Numbers of the CPUs that run now, ascending; at least one.
pub fn online() -> Vec<u32> {
    let list = read_list("/sys/devices/system/cpu/online");
    if !list.is_empty() {
        return list;
    }
    // No sysfs: what the scheduler lets us use is the next best answer.
    let count = std::thread::available_parallelism().map_or(1, |n| n.get());
    (0..u32::try_from(count).unwrap_or(1)).collect()
}

fn read_list(path: &str) -> Vec<u32> {
    std::fs::read_to_string(path).map(|text| parse_list(&text)).unwrap_or_default()
}

/// A list as the kernel prints it: `0-3,8`. What is not a number is passed over.
fn parse_list(text: &str) -> Vec<u32> {
    /// Above any `CONFIG_NR_CPUS`.
    const MOST: u32 = 1 << 16;
    let mut cpus = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) {
            cpus.extend(first..=last.min(MOST));
        }
    }
    cpus
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_as_the_kernel_prints_them() {
        assert_eq!(parse_list("0\n"), [0]);
        assert_eq!(parse_list("0-3,8,10-11\n"), [0, 1, 2, 3, 8, 10, 11]);
        assert_eq!(parse_list(""), []);
        assert_eq!(parse_list("x-3,4294967295-"), []);
    }

    #[test]
    fn this_machine_has_cpus() {
        assert!(possible() >= 1);
        assert!(online().len() as u32 <= possible());
    }
}
