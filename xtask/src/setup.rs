//! Installs the Debian packages that the tests use.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// Each program that a test runs, and the package that has it.
const PROGRAMS: &[(&str, &str)] = &[
    ("bpftool", "bpftool"),
    ("clang", "clang"),
    ("llvm-objdump", "llvm"),
    ("gcc", "gcc"),
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("zstd", "zstd"),
    ("lz4", "lz4"),
    ("xz", "xz-utils"),
    ("mke2fs", "e2fsprogs"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("setpriv", "util-linux"),
    ("dtrace", "systemtap-sdt-dev"),
];

/// Installs what is missing; without the means to, the tests that need it are skipped.
pub fn packages() -> Result<()> {
    let missing: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| !on_path(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !on_path("apt-get") {
        eprintln!("setup: not a Debian system; please install the like of: {}", missing.join(" "));
        return Ok(());
    }
    eprintln!("setup: installing {}", missing.join(" "));
    let quiet = |args: &[&str]| -> Result<bool> {
        let status = Command::new("apt-get")
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null())
            .status()
            .context("running apt-get")?;
        Ok(status.success())
    };
    let installed = quiet(&["update", "-qq"])?
        && quiet(&[&["install", "-y", "-qq", "--no-install-recommends"][..], &missing].concat())?;
    if !installed {
        eprintln!("setup: apt-get failed; tests that need these programs are skipped");
    }
    Ok(())
}

/// Whether a program of that name can be started, `sbin` included.
pub fn on_path(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/lib/qemu"])
        .any(|dir| std::path::Path::new(dir).join(program).is_file())
}
