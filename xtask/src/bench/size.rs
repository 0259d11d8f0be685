//! The binary's size, and the time that a clean release build takes.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::root;

pub fn run(skep: &Path, build: bool) -> Result<()> {
    println!("### Size\n");
    let bytes = std::fs::metadata(skep)?.len();
    println!("skep: {bytes} bytes ({:.2} MB)", bytes as f64 / 1e6);
    if build {
        let target = root().join("target/bench-build");
        if target.exists() {
            std::fs::remove_dir_all(&target)?;
        }
        let started = Instant::now();
        let status = Command::new(env!("CARGO"))
            .args(["build", "--release", "--quiet", "--package", "skep"])
            .env("CARGO_TARGET_DIR", &target)
            .current_dir(root())
            .status()
            .context("starting cargo")?;
        ensure!(status.success(), "the release build failed");
        let cpus = kernel::online_cpus().len();
        println!("clean release build: {:.0} s on {cpus} CPUs", started.elapsed().as_secs_f64());
        std::fs::remove_dir_all(&target)?;
    }
    Ok(())
}
