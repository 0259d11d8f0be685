//! Links: programs attached to what they trace, for as long as descriptors are open.
//!
//! Nothing is written to tracefs and nothing is pinned unless asked for, so that the end of
//! the process, however it comes, detaches everything.

mod bpf_link;
mod detach;
mod perf_event;

use std::cell::OnceCell;
use std::os::fd::OwnedFd;

use isa::uapi::{attach_type, prog_type};
use object::plan::Attach;

use crate::error::Error;
use crate::program::Program;

pub use bpf_link::read_iterator;
pub use detach::{Detaching, detach_all};
pub(crate) use perf_event::pmu_type;

/// What a kernel that refuses trampolines even to root means.
pub(crate) const NO_TRAMPOLINES: &str =
    "this kernel refuses to patch functions (fentry, fexit, LSM): use a kprobe, tracepoint or rawtracepoint probe";

/// One attachment. Dropping it detaches; many are detached sooner by [`detach_all`].
#[derive(Debug)]
pub struct Link {
    fds: Vec<OwnedFd>,
}

/// Attaches programs. Keeps what several attachments need to know of the machine.
pub struct Attacher<'a> {
    tracepoint_id: &'a dyn Fn(&str, &str) -> Result<u64, Error>,
    kprobe_pmu: OnceCell<u32>,
    uprobe_pmu: OnceCell<u32>,
}

impl<'a> Attacher<'a> {
    /// `tracepoint_id` tells a tracepoint's number from its category and name, as
    /// tracefs has it in `events/CATEGORY/NAME/id`.
    pub fn new(tracepoint_id: &'a dyn Fn(&str, &str) -> Result<u64, Error>) -> Attacher<'a> {
        Attacher { tracepoint_id, kprobe_pmu: OnceCell::new(), uprobe_pmu: OnceCell::new() }
    }

    /// Attaches a program. `cookies` are what `bpf_get_attach_cookie` tells the program: one,
    /// or for the multi kinds one a place; empty for none (they need Linux 5.15, multi
    /// kinds their own kernel).
    ///
    /// A program that was loaded for a multi kind attaches to a single place by that kind,
    /// too, which the kernel makes and undoes several times sooner than a perf event's.
    ///
    /// An iterator runs to its end before this returns.
    ///
    /// # Errors
    /// No such place, no permission, or a kernel without the kind; the hint says which.
    pub fn attach(&self, program: &Program, attach: &Attach, cookies: &[u64]) -> Result<Link, Error> {
        let cookie = cookies.first().copied();
        let fds = match attach {
            Attach::Begin | Attach::End | Attach::Signal(_) => {
                let asked = format!("attach program '{}'", program.name());
                return Err(Error::refused(asked, "it is run, not attached"));
            }
            Attach::Tracepoint { category, name } => {
                let id = (self.tracepoint_id)(category, name)?;
                vec![perf_event::tracepoint(program, category, name, id, cookie)?]
            }
            Attach::RawTracepoint { name } => {
                // A BTF-typed one knows its tracepoint from its target.
                let by_name = program.prog_type() != prog_type::TRACING;
                vec![bpf_link::raw_tracepoint(program, name, by_name, cookie)?]
            }
            Attach::Trampoline => vec![bpf_link::trampoline(program, cookie)?],
            Attach::Kprobe { module: None, function, offset: 0, ret }
                if matches!(
                    program.expected_attach_type(),
                    attach_type::TRACE_KPROBE_MULTI | attach_type::TRACE_KPROBE_SESSION
                ) =>
            {
                vec![bpf_link::kprobe_multi(program, std::slice::from_ref(function), *ret, cookies)?]
            }
            Attach::Kprobe { module, function, offset, ret } => {
                let place = perf_event::KernelPlace { module: module.as_deref(), function, offset: *offset, ret: *ret };
                let pmu = self.pmu("kprobe", &self.kprobe_pmu)?;
                vec![perf_event::kprobe(program, pmu, &place, cookie)?]
            }
            Attach::KprobeMulti { functions, ret } => vec![bpf_link::kprobe_multi(program, functions, *ret, cookies)?],
            Attach::Uprobe { path, offset, ret, pid } if for_uprobe_multi(program) => {
                let places = bpf_link::UserPlaces { path, offsets: &[*offset], semaphores: &[], ret: *ret, pid: *pid };
                vec![bpf_link::uprobe_multi(program, &places, cookies)?]
            }
            Attach::Uprobe { path, offset, ret, pid } => {
                let place = perf_event::UserPlace { path, offset: *offset, semaphore: 0, ret: *ret, pid: *pid };
                vec![perf_event::uprobe(program, self.pmu("uprobe", &self.uprobe_pmu)?, &place, cookie)?]
            }
            Attach::UprobeMulti { path, offsets, semaphores, ret, pid } => {
                let places = bpf_link::UserPlaces { path, offsets, semaphores, ret: *ret, pid: *pid };
                vec![bpf_link::uprobe_multi(program, &places, cookies)?]
            }
            Attach::Usdt { path, offset, semaphore, pid } if for_uprobe_multi(program) => {
                let places = bpf_link::UserPlaces {
                    path,
                    offsets: &[*offset],
                    semaphores: &[*semaphore],
                    ret: false,
                    pid: *pid,
                };
                vec![bpf_link::uprobe_multi(program, &places, cookies)?]
            }
            Attach::Usdt { path, offset, semaphore, pid } => {
                let place =
                    perf_event::UserPlace { path, offset: *offset, semaphore: *semaphore, ret: false, pid: *pid };
                vec![perf_event::uprobe(program, self.pmu("uprobe", &self.uprobe_pmu)?, &place, cookie)?]
            }
            Attach::Perf { kind, config, sample, one_cpu, pid } => {
                let event = perf_event::Sampled { kind: *kind, config: *config, sample: *sample };
                perf_event::sampled(program, &event, *one_cpu, *pid, cookie)?
            }
            Attach::Iter { pin } => vec![bpf_link::iterator(program, pin.as_deref())?],
        };
        Ok(Link { fds: fds.into_iter().flatten().collect() })
    }

    fn pmu(&self, name: &str, cell: &OnceCell<u32>) -> Result<u32, Error> {
        if let Some(pmu) = cell.get() {
            return Ok(*pmu);
        }
        let pmu = perf_event::pmu_type(name)?;
        Ok(*cell.get_or_init(|| pmu))
    }
}

fn for_uprobe_multi(program: &Program) -> bool {
    matches!(program.expected_attach_type(), attach_type::TRACE_UPROBE_MULTI | attach_type::TRACE_UPROBE_SESSION)
}

/// The descriptors of one attachment: what runs the program, and what that hangs on.
type Fds = Vec<OwnedFd>;
