//! `xtask load KIND COUNT`: so many system calls of one kind, for the bench to trace.

use anyhow::{Context, Result, bail};

/// Different paths that `openat` asks for.
const PATHS: u64 = 16;

pub fn run(args: &[String]) -> Result<bool> {
    let [kind, count] = args else { bail!("usage: xtask load getppid|openat|kill|umask COUNT") };
    let count: u64 = count.parse().context("COUNT is a number")?;
    match kind.as_str() {
        "getppid" => (0..count).for_each(|_| {
            std::hint::black_box(std::os::unix::process::parent_id());
        }),
        "openat" => {
            let paths: Vec<String> = (0..PATHS).map(|n| format!("/nowhere/to/be/found/{n}")).collect();
            for path in paths.iter().cycle().take(count as usize) {
                std::hint::black_box(std::fs::File::open(path).is_ok());
            }
        }
        "umask" => {
            for _ in 0..count {
                // SAFETY: it takes any mask and cannot fail; this process makes no files.
                unsafe { libc::umask(0o22) };
            }
        }
        "kill" => {
            let me = std::process::id();
            for _ in 0..count {
                // Signal 0 asks whether we exist.
                kernel::kill(me, 0).map_err(|errno| kernel::Error::system("ask about ourselves", errno))?;
            }
        }
        other => bail!("no load '{other}'"),
    }
    Ok(true)
}
