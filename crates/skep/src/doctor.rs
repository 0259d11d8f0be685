//! `skep doctor`: what this kernel and this user can do.

use std::ffi::OsString;

use anyhow::Result;
use bt::{Feature, Host};

use crate::flags::Args;
use crate::host::LiveHost;
use crate::print;

pub fn command(args: impl Iterator<Item = OsString>) -> Result<u8> {
    let args = Args::parse(args)?;
    if args.help {
        print(&crate::help());
        return Ok(0);
    }
    let report = kernel::doctor::report();
    print(&if args.json { report.to_json() } else { report.to_text() });
    Ok(0)
}

/// `bpftrace --info`: the lines that scripts and test suites look for.
pub fn info() -> Result<u8> {
    let host = LiveHost::new();
    let mut out = format!("System\n  OS: Linux {}\n  Arch: {}\n\n", kernel::kernel_release(), std::env::consts::ARCH);
    out.push_str(&format!("Build\n  version: skep {}\n", env!("CARGO_PKG_VERSION")));
    let mut section = |title: &str, items: &[(&str, bool)]| {
        out.push_str(&format!("\n{title}\n"));
        for (name, there) in items {
            out.push_str(&format!("  {name}: {}\n", if *there { "yes" } else { "no" }));
        }
    };
    section("Build capabilities", &[("libdw (DWARF support)", false), ("dwunwind (DWARF stack unwinding)", false)]);
    let helper = |number: u32| host.has(Feature::Helper(number));
    section(
        "Kernel helpers",
        &[
            ("get_func_ip", helper(isa::uapi::helper::get_func_ip)),
            ("lookup_percpu_elem", helper(isa::uapi::helper::map_lookup_percpu_elem)),
            ("loop", helper(isa::uapi::helper::r#loop)),
            ("dpath", helper(isa::uapi::helper::d_path)),
            ("probe_read_kernel", helper(isa::uapi::helper::probe_read_kernel)),
            ("get_boot_ns", helper(isa::uapi::helper::ktime_get_boot_ns)),
        ],
    );
    section(
        "Kernel features",
        &[
            ("btf", host.has(Feature::Btf)),
            ("ring buffer", host.has(Feature::RingBuffer)),
            ("iterators", host.has(Feature::IterNum)),
        ],
    );
    section(
        "Probe types",
        &[
            ("kprobe", host.has(Feature::Kprobe)),
            ("kprobe_multi", host.has(Feature::KprobeMulti)),
            ("kprobe_session", host.has(Feature::KprobeSession)),
            ("uprobe_multi", host.has(Feature::UprobeMulti)),
            ("fentry", host.has(Feature::Fentry)),
            ("iter", host.has(Feature::Iter)),
        ],
    );
    print(&out);
    Ok(0)
}
