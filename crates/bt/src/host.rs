//! What a script's compilation asks about the machine.

use std::path::PathBuf;

use btf::Btf;

/// Answers about the machine that a script will run on. Each method is called
/// only when a script needs the answer, and may do I/O; answers come from the
/// live kernel, or in tests from captured files.
pub trait Host {
    /// The kernel's types; an error says why there are none.
    fn btf(&self) -> Result<&Btf<'_>, HostError>;
    /// A module's types, on top of the kernel's.
    fn module_btf(&self, module: &str) -> Result<&Btf<'_>, HostError>;
    /// Names of the modules that have types.
    fn btf_modules(&self) -> Vec<String>;
    /// `category:name` pairs that match the two patterns (`*`, `?`, `[…]`), sorted.
    fn tracepoints(&self, category: &str, name: &str) -> Result<Vec<(String, String)>, HostError>;
    /// The text of `events/CATEGORY/NAME/format`.
    fn tracepoint_format(&self, category: &str, name: &str) -> Result<String, HostError>;
    /// Traceable kernel functions that match, with their modules (`None`: vmlinux), sorted.
    fn kernel_functions(&self, module: Option<&str>, pattern: &str)
    -> Result<Vec<(Option<String>, String)>, HostError>;
    /// Address of a kernel symbol.
    fn kernel_symbol(&self, name: &str) -> Result<Option<u64>, HostError>;
    /// The file that a path, a program name (through `PATH`) or a library name (`libc`, `c`) means.
    fn binary(&self, name: &str) -> Result<PathBuf, HostError>;
    /// Functions of a binary that match, sorted by name.
    fn user_symbols(&self, path: &std::path::Path, pattern: &str) -> Result<Vec<UserSymbol>, HostError>;
    /// File offset of a virtual address in a binary.
    fn file_offset(&self, path: &std::path::Path, address: u64) -> Result<u64, HostError>;
    /// Whether a binary's addresses are known only once it runs (PIE, shared libraries).
    fn is_position_independent(&self, path: &std::path::Path) -> Result<bool, HostError>;
    /// USDT probes of a binary whose provider and name match.
    fn usdt_probes(&self, path: &std::path::Path, provider: &str, name: &str) -> Result<Vec<UsdtProbe>, HostError>;
    /// Files that a process has mapped executable.
    fn process_binaries(&self, pid: u32) -> Result<Vec<PathBuf>, HostError>;
    /// Whether this kernel has a feature (tried, not guessed; the answer is kept).
    fn has(&self, feature: Feature) -> bool;
    /// The cgroup id (inode) of a path under the cgroup2 mount, or absolute.
    fn cgroup_id(&self, path: &str) -> Result<u64, HostError>;
    /// Device and inode of our pid namespace, when it is not the initial one.
    fn pid_namespace(&self) -> Option<(u64, u64)>;
    /// Number of possible CPUs.
    fn possible_cpus(&self) -> u32;
    /// `(major, minor, patch)` of the running kernel.
    fn kernel_version(&self) -> (u32, u32, u32);
}

/// Why the machine could not answer: what was asked, what it said, what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what}")]
pub struct HostError {
    pub what: String,
    pub hint: Option<String>,
}

/// A function symbol of a binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSymbol {
    pub name: String,
    /// Virtual address in the ELF file.
    pub address: u64,
    /// The same place as a file offset, which is what uprobes take.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

/// A USDT probe site (one ELF note).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsdtProbe {
    pub path: PathBuf,
    pub provider: String,
    pub name: String,
    /// File offset of the probe's instruction.
    pub offset: u64,
    /// File offset of the semaphore, 0 for none.
    pub semaphore: u64,
    /// The argument descriptions as in the note: `-4@%edi 8@-16(%rbp)`.
    pub args: String,
}

/// What a kernel may or may not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Feature {
    Btf,
    RingBuffer,
    KprobeMulti,
    KprobeSession,
    Kprobe,
    /// fentry and fexit.
    Fentry,
    /// `BPF_TRACE_RAW_TP`.
    TpBtf,
    UprobeMulti,
    Iter,
    /// Helpers, tried by loading a program.
    Helper(u32),
    /// `BPF_LINK` for perf events with cookies.
    PerfLink,
    /// Instruction set v4.
    IsaV4,
    /// Atomics with fetch.
    AtomicFetch,
    /// Open-coded iterators (`bpf_iter_num_new`).
    IterNum,
}
