//! The programs that are compared, and how each is started.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::process::Ready;
use crate::floor::ATTACHED;

/// Where ply and libbpf's tools may be beside `PATH`.
const MORE_DIRS: &[&str] = &["/usr/local/sbin", "/usr/sbin", "/usr/local/bin"];

/// A library of coreutils that makes a program write each line at once.
const LINE_BUFFERING: &str = "/usr/libexec/coreutils/libstdbuf.so";

/// ply's cache of kernel symbols.
const PLY_CACHE: &str = "/var/tmp/ply-ksyms";

pub struct Peers {
    pub skep: PathBuf,
    pub bpftrace: Option<PathBuf>,
    ply: Option<PathBuf>,
}

impl Peers {
    /// Finds the peers and says which are there.
    pub fn find(skep: PathBuf, bpftrace: &str) -> Result<Peers> {
        let bpftrace = find(bpftrace);
        match &bpftrace {
            Some(path) => println!("bpftrace: {}", version(path)),
            None => println!("skipped: bpftrace: not found (--peer-bpftrace FILE)"),
        }
        let ply = find("ply");
        match &ply {
            Some(path) => println!("ply: {}", version(path)),
            None => println!("skipped: ply: not found"),
        }
        println!();
        Ok(Peers { skep, bpftrace, ply })
    }

    /// `skep run -e SCRIPT`.
    pub fn skep(&self, script: &str) -> Command {
        let mut command = Command::new(&self.skep);
        command.args(["run", "-e", script]).env(ATTACHED, "1");
        command
    }

    /// `bpftrace -e SCRIPT`.
    pub fn bpftrace(&self, script: &str) -> Option<Command> {
        let mut command = Command::new(self.bpftrace.as_ref()?);
        command.args(["-e", script]).env(ATTACHED, "1");
        Some(command)
    }

    /// Ours and bpftrace by name, with the command for a script.
    pub fn both(&self, script: &str) -> Vec<(&'static str, Command)> {
        let bpftrace = self.bpftrace(script).map(|command| ("bpftrace", command));
        std::iter::once(("skep", self.skep(script))).chain(bpftrace).collect()
    }

    pub fn ply(&self, script: &str) -> Option<Command> {
        let mut command = Command::new(self.ply.as_ref()?);
        command.arg(script);
        Some(command)
    }

    /// A tool of libbpf-tools that shows a table as soon as it has attached.
    pub fn libbpf_tool(&self, name: &str) -> Option<Command> {
        let mut command = Command::new(find(name)?);
        if Path::new(LINE_BUFFERING).exists() {
            command.env("LD_PRELOAD", LINE_BUFFERING).env("_STDBUF_O", "L");
        }
        Some(command)
    }

    /// Our own bare loader.
    pub fn floor(&self) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("floor");
        Ok(command)
    }

    /// Makes ply's next start a cold one.
    pub fn forget_ply_cache(&self) {
        // Not there is cold as well.
        let _ = std::fs::remove_file(PLY_CACHE);
    }
}

/// What skep and bpftrace, told so by their environment, say once attached.
pub const SAYS_ATTACHED: Ready = Ready::Says(ATTACHED);

fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| path.is_file());
    }
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(MORE_DIRS.iter().copied()).map(|dir| Path::new(dir).join(program)).find(|p| p.is_file())
}

/// The first line that `--version` prints.
fn version(program: &Path) -> String {
    let text = Command::new(program).arg("--version").output().map(|out| out.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().next().unwrap_or("version unknown").to_owned()
}
