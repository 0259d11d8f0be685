//! The order of a session: load, BEGIN, attach, events, detach, END, maps.

use std::cell::{Cell, OnceCell};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use kernel::{
    Attacher, Child, InterruptibleWriter, Link, LoadOptions, Loaded, MappedArray, Poll, Program, Ring, Signals,
    TestInput,
};
use object::plan::{Attach, Counter, Plan, Probe};
use view::Output;

use crate::actions::Actor;
use crate::detach::Detaching;
use crate::events::Events;
use crate::mappings::{self, Schedule};
use crate::maps::Selection;
use crate::report::{self, Report};
use crate::{Error, Options, RefusedProbes, Sink, Timings};

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// 0, or what the script gave to `exit()`; the low 8 bits, as processes have it.
    pub exit_code: u8,
    /// Phases, those of [`Options::timings`] first.
    pub timings: Timings,
}

/// From so many probes on, their links may be more than the usual 1024 open files.
const MANY_PROBES: usize = 100;

/// Records handled between two looks at signals.
const BATCH: usize = 4096;

/// How long to let records gather when the ring has been read empty. A record that finds the
/// reader caught up raises an interrupt to wake it (`bpf_ringbuf_commit`, `kernel/bpf/ringbuf.c`), which
/// costs the traced program more than all the rest of the event; those that come meanwhile do not.
const GATHER: Duration = Duration::from_millis(1);

/// After the end is asked for, what waits in the ring is handled for no longer than this.
const LAST_DRAIN: Duration = Duration::from_millis(500);

/// The name of the environment variable that asks for a line on standard output once all
/// probes are attached, and the line itself (bpftrace's test suite waits for it).
const NOTIFY_ATTACHED: &str = "__BPFTRACE_NOTIFY_PROBES_ATTACHED";

/// Runs a plan to its end.
///
/// Ends when the script says `exit()`, on SIGINT or SIGTERM, when the child or the watched process has
/// ended, when the output is closed, and at once if there is nothing to wait for.
///
/// # Errors
/// The kernel refuses a map, a program or an attachment, or the output cannot be
/// written. Nothing stays attached.
pub fn run(plan: Plan, options: Options) -> Result<Outcome, Error> {
    let plan = &plan;
    let Options {
        encoding,
        output,
        diagnostics,
        quiet,
        verbose,
        pid,
        child,
        dry_run,
        print_maps_on_exit,
        max_cat_bytes,
        refused_probes,
        warnings,
        mut timings,
    } = options;
    check(plan)?;
    let events = Events::new(&plan.events).map_err(|error| Error::Plan(error.to_string()))?;
    let loaded = timings
        .time("load", || Loaded::new(&plan.object, LoadOptions { line_info: verbose }))
        .map_err(|error| load_error(plan, error))?;
    // Before anything runs, so that an early Ctrl-C ends the session in order; while the
    // verifier works, for seconds perhaps, it ends the process, and nothing is left behind.
    let signals = Signals::catch(&caught_signals(plan))?;
    let counters = match plan.counters.and_then(|index| loaded.map(index)) {
        Some(map) => Some(map.mmap()?),
        None => None,
    };
    write_start(plan, counters.as_ref());
    let ring = match plan.ring.and_then(|index| loaded.map(index)) {
        Some(map) => Some(Ring::new(map)?),
        None => None,
    };
    let interrupted = Rc::new(Cell::new(false));
    let (writer, eager) = writer(output, &signals, &interrupted)?;
    let output = Output::new(encoding, writer);
    let mut actor = Actor::new(plan, events, &loaded.maps, counters.as_ref(), output, diagnostics);
    actor.max_cat_bytes = max_cat_bytes;
    actor.warnings = warnings;
    let mut session = Session {
        plan,
        loaded: &loaded,
        actor,
        ring,
        signals,
        report: Report::new(plan),
        child,
        eager,
        refused_probes,
        refused: 0,
        interrupted,
    };

    if dry_run {
        timings.time("attach", || session.attach_all())?;
        return Ok(Outcome { exit_code: 0, timings });
    }
    timings.time("begin", || session.run_probes(|attach| *attach == Attach::Begin))?;
    let links = timings.time("attach", || session.attach_all())?;
    session.tell_attached(quiet);
    if let Some(child) = &mut session.child {
        child.release()?;
    }
    session.wait_for_end(pid)?;
    let detaching = timings.time("detach", || {
        let detaching = Detaching::start(links);
        detaching.settle();
        detaching
    });
    let finished = timings.time("finish", || session.finish(print_maps_on_exit));
    timings.time("detach", || detaching.finish());
    finished?;
    let exit_code = session.actor.exit.unwrap_or(0) as u8;
    Ok(Outcome { exit_code, timings })
}

struct Session<'p> {
    plan: &'p Plan,
    loaded: &'p Loaded,
    actor: Actor<'p>,
    ring: Option<Ring>,
    signals: Signals,
    report: Report,
    child: Option<Child>,
    /// Output is watched by someone: written out after every batch, not only when the ring is empty.
    eager: bool,
    refused_probes: RefusedProbes,
    /// How many of the user's probes the kernel refused.
    refused: u64,
    /// SIGINT or SIGTERM came. Shared with the writer of the output.
    interrupted: Rc<Cell<bool>>,
}

/// What the poll tells of.
mod token {
    pub const RING: u64 = 0;
    pub const SIGNALS: u64 = 1;
    pub const PROCESS: u64 = 2;
}

impl Session<'_> {
    /// Runs the programs of probes that are run by us, in the order of the plan.
    fn run_probes(&mut self, wanted: impl Fn(&Attach) -> bool) -> Result<(), Error> {
        for probe in self.plan.probes.iter().filter(|probe| wanted(&probe.attach)) {
            self.program(probe)?.test_run(TestInput::default())?;
        }
        Ok(())
    }

    fn program(&self, probe: &Probe) -> Result<&Program, Error> {
        let program = self.loaded.programs.get(probe.program as usize);
        program.ok_or_else(|| Error::Plan(format!("{} has no program {}", probe.name, probe.program)))
    }

    /// Attaches what is to be attached, in the order of the plan.
    fn attach_all(&mut self) -> Result<Vec<Link>, Error> {
        if self.plan.probes.len() > MANY_PROBES {
            kernel::raise_open_files_limit();
        }
        // Opened by the first tracepoint: other probes do not need tracefs.
        let tracefs = OnceCell::new();
        let tracepoint_id = |category: &str, name: &str| {
            if tracefs.get().is_none() {
                let _ = tracefs.set(kernel::tracefs::Tracefs::open()?);
            }
            match tracefs.get() {
                Some(tracefs) => tracefs.event_id(category, name),
                None => Err(kernel::Error::refused("open tracefs", "it went away")),
            }
        };
        let attacher = Attacher::new(&tracepoint_id);
        let mut links = Vec::with_capacity(self.plan.probes.len());
        let mut last_refusal = None;
        for probe in self.plan.probes.iter().filter(|probe| is_attached(&probe.attach)) {
            match attacher.attach(self.program(probe)?, &probe.attach, &cookies(&probe.attach)) {
                Ok(link) => links.push(link),
                Err(error) => {
                    let error = Error::Attach { probe: probe.name.clone(), span: probe.span, error };
                    match self.refused_probes {
                        RefusedProbes::Fail => return Err(error),
                        RefusedProbes::Warn => self.actor.diagnose(&format!("WARNING: {error}. Skipping.")),
                        RefusedProbes::Ignore => {}
                    }
                    self.refused += u64::from(probe.stands_for);
                    last_refusal = Some(error);
                }
            }
        }
        if let Some(error) = last_refusal
            && links.is_empty()
        {
            self.actor.diagnose(&format!("WARNING: nothing is attached: {error}"));
        }
        Ok(links)
    }

    /// Says how many of the user's probes are attached.
    fn tell_attached(&mut self, quiet: bool) {
        let wanted: u64 = self.plan.probes.iter().map(|probe| u64::from(probe.stands_for)).sum();
        let count = wanted.saturating_sub(self.refused);
        if !quiet {
            match self.actor.output.encoding() {
                view::Encoding::Json => self.actor.output.attached_probes(count),
                view::Encoding::Text => {
                    let unit = if count == 1 { "probe" } else { "probes" };
                    self.actor.diagnose(&format!("Attached {count} {unit}"));
                }
            }
        }
        if std::env::var_os(NOTIFY_ATTACHED).is_some() {
            self.actor.output.flush();
            let mut stdout = io::stdout();
            // Whoever asked for it and went away does not miss it.
            let _ = writeln!(stdout, "{NOTIFY_ATTACHED}").and_then(|()| stdout.flush());
        }
        self.actor.output.flush();
    }

    /// Handles events until there is a reason to end.
    fn wait_for_end(&mut self, pid: Option<u32>) -> Result<(), Error> {
        // What BEGIN sent, `exit()` perhaps.
        self.handle_batch();
        let failed = |errno| Error::Kernel(kernel::Error::system("wait for events", errno));
        let poll = Poll::new().map_err(failed)?;
        if let Some(ring) = &self.ring {
            poll.add(ring.as_fd(), token::RING).map_err(failed)?;
        }
        poll.add(self.signals.as_fd(), token::SIGNALS).map_err(failed)?;
        let watched = match (&self.child, pid) {
            (Some(child), _) => Some(child.as_fd().try_clone_to_owned()),
            (None, Some(pid)) => kernel::pidfd_open(pid).ok().map(Ok),
            (None, None) => None,
        };
        let watched = watched.transpose().map_err(|error| kernel::Error::io("watch the process", &error))?;
        if let Some(process) = &watched {
            poll.add(process.as_fd(), token::PROCESS).map_err(failed)?;
        }
        // A watched process that is gone already.
        let mut ended = pid.is_some() && watched.is_none();
        let mut ready = Vec::new();
        // Whose addresses are shown when it may be gone.
        let followed = self.child.as_ref().map(Child::pid).or(pid).filter(|_| mappings::are_shown(self.plan));
        let mut schedule = Schedule::new(Instant::now());
        while !ended && self.goes_on() {
            // Counters are looked at even if the script sends no events.
            let mut timeout = self.actor.counters.map(|_| report::INTERVAL);
            if let Some(process) = followed {
                if schedule.is_due(Instant::now()) {
                    self.actor.names.look_at_process(process);
                }
                let remaining = schedule.remaining(Instant::now());
                timeout = Some(timeout.unwrap_or(remaining).min(remaining));
            }
            poll.wait(timeout, &mut ready).map_err(failed)?;
            self.take_signals()?;
            let count = self.handle_batch();
            if count > 0 && count < BATCH && self.goes_on() {
                std::thread::sleep(GATHER);
            }
            ended = ready.contains(&token::PROCESS);
        }
        Ok(())
    }

    /// Whether anything may still happen that the script wants to know.
    fn goes_on(&self) -> bool {
        self.plan.probes.iter().any(|probe| keeps_alive(&probe.attach)) && !self.is_over()
    }

    /// Whether the end was asked for.
    fn is_over(&self) -> bool {
        self.interrupted.get() || self.actor.exit.is_some() || self.actor.output.is_closed()
    }

    /// Looks at the signals that came. A second one while the session ends takes
    /// the default way: see [`Session::finish`].
    fn take_signals(&mut self) -> Result<(), Error> {
        while let Some((signal, _)) = self.signals.next() {
            if matches!(signal, libc::SIGINT | libc::SIGTERM) {
                self.interrupted.set(true);
            }
            self.run_probes(|attach| *attach == Attach::Signal(signal))?;
        }
        Ok(())
    }

    /// Handles the records that wait, at most [`BATCH`], and says how many there were.
    fn handle_batch(&mut self) -> usize {
        let mut count = 0;
        if let Some(ring) = &mut self.ring {
            let actor = &mut self.actor;
            count = ring.drain(BATCH, |record| actor.handle(record));
            if self.eager || count < BATCH {
                self.actor.output.flush();
            }
        }
        self.tell_losses(false);
        count
    }

    /// Handles all records that wait, until `deadline` or another signal.
    fn drain(&mut self, deadline: Instant) {
        let signalled = self.interrupted.get();
        while let Some(ring) = &mut self.ring {
            let actor = &mut self.actor;
            let count = ring.drain(BATCH, |record| actor.handle(record));
            let again = !signalled || self.signals.next().is_none();
            if count == 0 || !again || self.actor.output.is_closed() {
                break;
            }
            if Instant::now() > deadline {
                // What END sends comes after all this.
                self.report.lose(ring.drain(usize::MAX, |_| true) as u64);
                break;
            }
        }
        self.actor.output.flush();
    }

    /// Says what was lost or cut: once a second while the session runs, and at its end.
    fn tell_losses(&mut self, at_end: bool) {
        if !at_end && !self.report.is_due() {
            return;
        }
        let lost = self.report.newly_lost(self.plan, self.actor.counters);
        if lost > 0 {
            match self.actor.output.encoding() {
                view::Encoding::Json => self.actor.output.lost_events(lost),
                view::Encoding::Text => self.actor.diagnose(&format!("Lost {lost} events")),
            }
        }
        if self.actor.warnings {
            self.report.warn(self.plan, self.actor.counters, at_end, &mut self.actor.diagnostics);
        }
    }

    /// What is left to do once nothing is attached any more.
    fn finish(&mut self, print_maps: bool) -> Result<(), Error> {
        self.drain(Instant::now() + LAST_DRAIN);
        let exit = self.actor.exit;
        self.actor.ignores_rest = false;
        self.run_probes(|attach| *attach == Attach::End)?;
        self.drain(Instant::now() + LAST_DRAIN);
        // An `exit()` in END changes nothing.
        self.actor.exit = exit.or(self.actor.exit);
        self.actor.output.end_of_events();
        if print_maps {
            for index in 0..self.plan.maps.len() {
                self.actor.print_map(index, Selection::default());
            }
        }
        self.tell_losses(true);
        self.actor.output.flush();
        match self.actor.output.take_error() {
            // The reader stood still and the user asked for the end.
            Some(error) if error.kind() == io::ErrorKind::TimedOut => Ok(()),
            Some(error) => Err(Error::Output(error)),
            None => Ok(()),
        }
    }
}

/// Tells programs when the session started, for `elapsed`.
fn write_start(plan: &Plan, counters: Option<&MappedArray>) {
    let Some(counters) = counters else { return };
    let slots = plan.counter_meanings.iter().enumerate().filter(|(_, counter)| **counter == Counter::StartNs);
    for (slot, _) in slots {
        counters.write_u64(slot, kernel::clock::boot_ns());
    }
}

/// Each place of a link for many is told by its index.
fn cookies(attach: &Attach) -> Vec<u64> {
    match attach {
        Attach::KprobeMulti { functions, .. } => (0..functions.len() as u64).collect(),
        Attach::UprobeMulti { offsets, .. } => (0..offsets.len() as u64).collect(),
        _ => Vec::new(),
    }
}

/// Whether a probe is attached, as opposed to run by us.
fn is_attached(attach: &Attach) -> bool {
    !matches!(attach, Attach::Begin | Attach::End | Attach::Signal(_))
}

/// Whether a probe may fire later. An iterator has run to its end once it is attached.
fn keeps_alive(attach: &Attach) -> bool {
    !matches!(attach, Attach::Begin | Attach::End | Attach::Iter { pin: None })
}

/// SIGINT, SIGTERM and those that the script has probes for.
fn caught_signals(plan: &Plan) -> Vec<i32> {
    let of_probes = plan.probes.iter().filter_map(|probe| match probe.attach {
        Attach::Signal(signal) => Some(signal),
        _ => None,
    });
    [libc::SIGINT, libc::SIGTERM].into_iter().chain(of_probes).collect()
}

/// Every index in the plan that would otherwise be an empty session without a word.
fn check(plan: &Plan) -> Result<(), Error> {
    let maps = plan.object.maps.len();
    let named = [
        ("ring", plan.ring),
        ("stacks", plan.stacks),
        ("overflow of stacks", plan.stack_overflow),
        ("counters", plan.counters),
    ];
    for (what, index) in named {
        if index.is_some_and(|index| index.0 as usize >= maps) {
            return Err(Error::Plan(format!("there is no map for the {what}")));
        }
    }
    match plan.maps.iter().find(|view| view.map.0 as usize >= maps) {
        Some(view) => Err(Error::Plan(format!("there is no map for {}", view.name))),
        None => Ok(()),
    }
}

/// The writer that output goes to, and whether someone watches it as it comes.
fn writer(sink: Sink, signals: &Signals, interrupted: &Rc<Cell<bool>>) -> Result<(Box<dyn Write>, bool), Error> {
    let duplicate = |fd: &dyn AsFd| {
        fd.as_fd().try_clone_to_owned().map_err(|error| Error::Kernel(kernel::Error::io("open the output", &error)))
    };
    Ok(match sink {
        Sink::Stdout => {
            let stdout = io::stdout();
            let terminal = stdout.is_terminal();
            let writer = InterruptibleWriter::new(duplicate(&stdout)?, duplicate(signals)?, Rc::clone(interrupted));
            (Box::new(writer), terminal)
        }
        Sink::File(file) => (Box::new(file), false),
        Sink::Writer(writer) => (writer, false),
    })
}

/// A verifier's refusal with the probe that it is about.
fn load_error(plan: &Plan, error: kernel::Error) -> Error {
    let kernel::Error::Load(refusal) = error else { return Error::Kernel(error) };
    let program = plan.object.programs.iter().position(|program| program.code.name == refusal.program);
    let probe = plan.probes.iter().find(|probe| Some(probe.program as usize) == program);
    let reason = match &refusal.verdict {
        Some(verdict) => format!("the kernel's verifier refused the program: {}", verdict.reason),
        None => format!("the kernel refused the program: {}", refusal.errno),
    };
    Error::Refused {
        probe: probe.map_or_else(|| refusal.program.clone(), |probe| probe.name.clone()),
        reason,
        span: refusal.at.or(probe.map(|probe| probe.span)),
        hint: refusal.hint,
        log: refusal.log,
    }
}
