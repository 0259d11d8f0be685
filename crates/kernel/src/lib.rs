//! The kernel: object → running.
//!
//! In: programs and maps as the object model has them, and places to attach to. Out:
//! owned handles (maps, programs, links, rings) that are gone when they are dropped, answers
//! about what this kernel can do, and look-ups of what there is to trace. Knows no
//! language, decodes no events. All of the project's `unsafe` is here.

pub mod clock;
mod cpus;
mod directory;
pub mod doctor;
pub mod elf_symbols;
mod error;
mod features;
mod file_map;
pub mod functions;
pub mod glob;
mod interruptible;
pub mod kallsyms;
mod kconfig;
pub mod kernel_types;
mod link;
pub mod list;
mod load;
mod map;
mod mapping;
pub mod process;
mod program;
pub mod resolve;
mod ring;
mod security;
mod signals;
mod spawn;
mod sys;
pub mod sysinfo;
pub mod tracefs;
mod uapi;
pub mod usdt;
mod verdict;

pub use cpus::{online as online_cpus, possible as possible_cpus};
pub use error::{Errno, Error};
pub use features::{Feature, Features, FindType};
pub use interruptible::InterruptibleWriter;
pub use kconfig::Kconfig;
pub use link::{Attacher, Detaching, Link, detach_all, read_iterator};
pub use load::{LoadOptions, Loaded};
pub use map::{Entries, MMAPABLE, Map, MappedArray, NO_PREALLOC, Update};
pub use program::{
    Info, LoadError, Program, Spec, Statistics, TestInput, TestOutput, Types, all as all_programs, load_btf, module_btf,
};
pub use ring::Ring;
pub use security::{active_lsms, lockdown};
pub use signals::{Signals, ignore_sigpipe};
pub use spawn::{Child, ExitStatus};
pub use sys::{
    Poll, is_root, kernel_release, kernel_version, kill, memlock_limit, pidfd_open, raise_open_files_limit, timerfd,
};
pub use verdict::Verdict;
