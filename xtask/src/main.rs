//! The project's own commands: tests on the live kernel, the kernel matrix,
//! benches against peers, generated files. `cargo xtask` lists them.

mod bench;
mod case;
mod cases;
mod floor;
mod load;
mod setup;
mod test;
mod uapi;
mod vm;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;

const HELP: &str = "\
cargo xtask COMMAND

  test [--quick]            everything that CI checks; --quick leaves out the kernel matrix
  cases [OPTIONS] [PATTERN] run the case files of tests/cases whose name contains PATTERN
      --skep FILE             the binary to test (default: build a release)
      --kernel VERSION        the kernel is this one of the matrix (run inside its VM)
      --verbose               show what passed, and the output of what failed
  matrix [KERNEL] [PATTERN] the same in the VMs of the kernel matrix
  vm KERNEL [OPTIONS] -- COMMAND
                            run COMMAND as root under Debian's kernel 5.10, 6.1, 6.12 or 7.2
  bench [WHAT] [OPTIONS]    measure against peers: start, kprobe, wildcards, cost, events, size; --help
  uapi [--check]            write crates/isa/src/uapi.rs from the running kernel's types
  setup                     install what the tests need (Debian packages)
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = args.split_first() else {
        print!("{HELP}");
        return ExitCode::from(1);
    };
    let result = match command.as_str() {
        "test" => test::run(rest),
        "cases" => cases::run(rest),
        "matrix" => vm::matrix(rest),
        "vm" => vm::run(rest),
        "bench" => bench::run(rest),
        "uapi" => uapi::run(rest),
        // Parts of the bench that are processes of their own.
        "floor" => floor::run(),
        "load" => load::run(rest),
        "setup" => setup::packages().map(|()| true),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(true)
        }
        other => {
            eprintln!("xtask: no command '{other}'\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// The root of the checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_path_buf()
}

/// Builds the release binary and says where it is.
fn build_skep() -> Result<PathBuf> {
    let out = std::process::Command::new(env!("CARGO"))
        .args(["build", "--release", "--package", "skep", "--message-format=json-render-diagnostics"])
        .current_dir(root())
        .stderr(std::process::Stdio::inherit())
        .output()?;
    anyhow::ensure!(out.status.success(), "the release build failed");
    let text = String::from_utf8_lossy(&out.stdout);
    text.lines()
        .filter(|line| line.contains("\"name\":\"skep\""))
        .filter_map(|line| line.split_once("\"executable\":\"")?.1.split_once('"'))
        .map(|(path, _)| PathBuf::from(path))
        .next_back()
        .ok_or_else(|| anyhow::anyhow!("cargo named no executable"))
}
