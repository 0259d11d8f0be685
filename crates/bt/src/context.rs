//! What a program finds when it runs: its probe's arguments and where they are.

use crate::types::*;
use crate::usdt::UsdtArg;

/// What kind of probe, as far as the language makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContextKind {
    /// `BEGIN`, `END` and signal probes, run by us.
    Special,
    Kprobe,
    Kretprobe,
    Fentry,
    Fexit,
    Uprobe,
    Uretprobe,
    Usdt,
    Tracepoint,
    RawTracepoint,
    Profile,
    Interval,
    Software,
    Hardware,
    Iter,
}

/// The circumstances of one program.
#[derive(Clone, Debug)]
pub struct Context {
    pub kind: ContextKind,
    /// Named arguments.
    pub fields: Vec<ContextField>,
    /// The arguments' type as messages name it: `struct tracepoint:sched:sched_switch_args`.
    pub args_name: String,
    /// What `args` is as a whole, where it lies in the context as a struct.
    pub args_struct: Option<StructId>,
    pub numbered: Numbered,
    pub retval: Option<(Type, Source)>,
    /// `struct pt_regs` is the context, or its start.
    pub registers: bool,
    /// Addresses without a known space lead to user memory.
    pub user: bool,
    /// The full name of the probe, if all attachments share one; else the
    /// program finds it by the syscall's number.
    pub probe_name: Option<String>,
    /// Longest of the names in bytes.
    pub longest_name: u32,
    /// The places that one link attaches to, by the cookie that the program finds there. Empty
    /// where nobody asks for their names.
    pub places: Vec<PlaceName>,
    /// Arguments are registers of a system call: addresses in them are the user's.
    pub syscall: bool,
    /// What the context of an iterator is.
    pub iter_struct: Option<StructId>,
    /// The function's name, where it is known when compiling.
    pub function: Option<String>,
    /// The kprobe is inside a function, where `bpf_get_func_ip` tells nothing (0).
    pub inside_function: bool,
    /// The traced binary of a user probe.
    pub binary: Option<std::path::PathBuf>,
    /// The verifier knows the kernel's types here: pointers from the context can be
    /// loaded through (`BPF_PROG_TYPE_TRACING`).
    pub typed: bool,
}

/// What the builtins `probe` and `func` are at one place of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceName {
    pub probe: String,
    pub function: String,
}

/// A named argument.
#[derive(Clone, Debug)]
pub struct ContextField {
    pub name: String,
    pub ty: Type,
    pub source: Source,
}

/// Where a value is in the context. Offsets are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// At an offset of the context itself (a tracepoint's record).
    Record { offset: u32, bits: Option<BitField>, place: FieldPlace },
    /// The n-th 8-byte slot of the context; a pointer there has a type that the verifier knows
    /// if `trusted`.
    Slot { index: u32, trusted: bool },
    /// A register: offset in the context's `struct pt_regs`.
    Register { offset: u32 },
    /// A register of the `struct pt_regs` that slot 0 of the context points to.
    SyscallRegister { offset: u32 },
}

/// What `arg0`, `arg1`… are.
#[derive(Clone, Debug)]
pub enum Numbered {
    None,
    /// The calling convention's registers, then the stack.
    Registers,
    /// 8-byte slots of the context; so many, if known.
    Slots(Option<u32>),
    Usdt(Vec<UsdtArg>),
}

impl ContextKind {
    /// As messages name it.
    pub fn name(self) -> &'static str {
        match self {
            ContextKind::Special => "special",
            ContextKind::Kprobe => "kprobe",
            ContextKind::Kretprobe => "kretprobe",
            ContextKind::Fentry => "fentry",
            ContextKind::Fexit => "fexit",
            ContextKind::Uprobe => "uprobe",
            ContextKind::Uretprobe => "uretprobe",
            ContextKind::Usdt => "usdt",
            ContextKind::Tracepoint => "tracepoint",
            ContextKind::RawTracepoint => "rawtracepoint",
            ContextKind::Profile => "profile",
            ContextKind::Interval => "interval",
            ContextKind::Software => "software",
            ContextKind::Hardware => "hardware",
            ContextKind::Iter => "iter",
        }
    }
}

impl Context {
    /// A context without arguments.
    pub fn bare(kind: ContextKind) -> Context {
        Context {
            kind,
            fields: Vec::new(),
            args_name: String::new(),
            args_struct: None,
            numbered: Numbered::None,
            retval: None,
            registers: false,
            user: false,
            probe_name: None,
            longest_name: 0,
            places: Vec::new(),
            syscall: false,
            iter_struct: None,
            function: None,
            inside_function: false,
            binary: None,
            typed: false,
        }
    }

    /// The space that an address without one belongs to.
    pub fn default_space(&self) -> AddressSpace {
        if self.user { AddressSpace::User } else { AddressSpace::Kernel }
    }
}
