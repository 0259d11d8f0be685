//! Sessions on the live kernel, with programs written by hand. Skipped without root.
//!
//! Signals are caught for the whole process, so this is a program of its own: cases run one after the other.

use std::cell::RefCell;
use std::io::{self, Write};
use std::process::{Command, ExitCode, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use isa::uapi::{map_type, prog_type};
use object::plan::{Action, Arg, Attach, Counter, Event, Layout, MapView, Plan, Probe, Sample, Stack, StackMode};
use object::{Code, Map, MapIndex, Object, Program, Relocation, RelocationKind, Source, SourceSpan};
use runtime::{Error, Options, Outcome, RefusedProbes, Sink};
use view::Encoding;

/// A writer whose bytes the test keeps.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.borrow()).into_owned()
    }
}

const RING: u64 = 0;
const COUNTERS: u64 = 1;
const SCALAR: u64 = 2;
const COUNTS: u64 = 3;

/// Assembly in which `MAP+n ll` loads map n and `VALUE+n ll` the address of its value.
fn program(name: &str, prog_type: u32, text: &str) -> Program {
    let text = text.replace("MAP+", "7770000").replace("VALUE+", "8880000");
    let insns = isa::assemble(&text).expect("valid assembly");
    let mut relocations = Vec::new();
    for (at, insn) in insns.iter().enumerate().filter(|(_, insn)| insn.is_wide()) {
        let (number, map) = (insn.imm / 10, MapIndex((insn.imm % 10) as u32));
        let kind = match number {
            7_770_000 => RelocationKind::Map(map),
            8_880_000 => RelocationKind::MapValue { map, offset: 0 },
            _ => continue,
        };
        relocations.push(Relocation { insn: at as u32, kind });
    }
    let lines = vec![object::Line { insn: 0, at: SourceSpan { source: 0, start: 2, end: 5 } }];
    let code = Code { name: name.to_string(), insns, relocations, lines, params: 1 };
    Program { section: name.to_string(), prog_type, code, ..Program::default() }
}

/// Sends a record of event `number` with one 8-byte argument.
fn send(number: u32, argument: i64) -> String {
    format!(
        "*(u64 *)(r10 - 16) = {number}\n*(u64 *)(r10 - 8) = {argument}\n\
         r1 = MAP+{RING} ll\nr2 = r10\nr2 += -16\nr3 = 16\nr4 = 0\ncall bpf_ringbuf_output#130\n\
         if r0 == 0 goto sent{number}\nr1 = VALUE+{COUNTERS} ll\nr2 = 1\nlock *(u64 *)(r1 + 0) += r2\nsent{number}:\n"
    )
}

/// Adds 1 to the scalar.
fn count() -> String {
    format!(
        "*(u32 *)(r10 - 20) = 0\nr1 = MAP+{SCALAR} ll\nr2 = r10\nr2 += -20\ncall bpf_map_lookup_elem#1\n\
         if r0 == 0 goto none\nr1 = *(u64 *)(r0 + 0)\nr1 += 1\n*(u64 *)(r0 + 0) = r1\nnone:\n"
    )
}

const END: &str = "r0 = 0\nexit\n";

/// The four maps that all plans here have.
fn maps(ring_bytes: u32) -> Vec<Map> {
    let map = |name: &str, map_type, sizes: (u32, u32, u32), flags| Map {
        name: name.to_string(),
        map_type,
        key_size: sizes.0,
        value_size: sizes.1,
        max_entries: sizes.2,
        flags,
        ..Map::default()
    };
    vec![
        map("events", map_type::RINGBUF, (0, 0, ring_bytes), 0),
        map("counters", map_type::ARRAY, (4, 64, 1), kernel::MMAPABLE),
        map("@n", map_type::PERCPU_ARRAY, (4, 8, 1), 0),
        map("@by", map_type::PERCPU_HASH, (8, 8, 64), 0),
    ]
}

fn int() -> Layout {
    Layout::Int { size: 8, signed: true }
}

fn event(action: Action, arguments: bool) -> Event {
    let args = if arguments { vec![Arg { layout: int(), offset: 0, tail: false }] } else { Vec::new() };
    Event { action, fixed_size: 8, args, span: SourceSpan::default() }
}

fn printf(format: &str) -> Event {
    event(Action::Printf { format: format.to_string() }, true)
}

fn plan(programs: Vec<Program>, probes: Vec<(u32, Attach)>, events: Vec<Event>) -> Plan {
    let view = |name: &str, map: u64, key| MapView {
        name: name.to_string(),
        map: MapIndex(map as u32),
        key,
        value: Layout::Count,
        bucket_offset: 0,
        per_cpu: true,
        set_flag: None,
    };
    let probe = |(program, attach)| Probe {
        name: format!("probe{program}"),
        program,
        attach,
        stands_for: 1,
        span: SourceSpan { source: 0, start: 2, end: 5 },
    };
    Plan {
        object: Object {
            license: "GPL".to_string(),
            maps: maps(1 << 16),
            programs,
            functions: Vec::new(),
            sources: vec![Source { name: "stdin".to_string(), text: "a\nbcd".to_string() }],
        },
        probes: probes.into_iter().map(probe).collect(),
        events,
        maps: vec![view("@by", COUNTS, Some(int())), view("@n", SCALAR, None)],
        ring: Some(MapIndex(RING as u32)),
        counters: Some(MapIndex(COUNTERS as u32)),
        counter_meanings: vec![Counter::LostEvents],
        ..Plan::default()
    }
}

/// What a session wrote: output, diagnostics.
fn run(plan: &Plan, change: impl FnOnce(&mut Options)) -> (Result<Outcome, Error>, String, String) {
    let (output, diagnostics) = (Shared::default(), Shared::default());
    let mut options = Options {
        output: Sink::Writer(Box::new(output.clone())),
        diagnostics: Box::new(diagnostics.clone()),
        ..Options::default()
    };
    change(&mut options);
    let outcome = runtime::run(plan.clone(), options);
    (outcome, output.text(), diagnostics.text())
}

const RAW: u32 = prog_type::RAW_TRACEPOINT;

fn every_ms(milliseconds: u64) -> Attach {
    // PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK.
    let sample = Sample::Period(milliseconds * 1_000_000);
    Attach::Perf { kind: 1, config: 0, sample, one_cpu: true, pid: None }
}

fn begin_and_end_need_nothing_to_attach() {
    let begin = program("begin", RAW, &(send(0, 42) + &count() + END));
    let end = program("end", RAW, &(send(1, -7) + END));
    let plan = plan(
        vec![begin, end],
        vec![(1, Attach::End), (0, Attach::Begin)],
        vec![printf("hello %d\n"), printf("bye %d\n")],
    );
    let (outcome, output, diagnostics) = run(&plan, |_| ());
    assert_eq!(outcome.unwrap().exit_code, 0);
    assert_eq!(output, "hello 42\nbye -7\n\n\n@n: 1\n");
    assert_eq!(diagnostics, "Attached 2 probes\n");

    let (_, output, diagnostics) = run(&plan, |options| {
        options.encoding = Encoding::Json;
        options.print_maps_on_exit = false;
    });
    assert_eq!(
        output,
        "{\"type\": \"attached_probes\", \"count\": 2, \"data\": {\"probes\": 2}}\n\
         {\"type\": \"printf\", \"data\": \"hello 42\\n\"}\n{\"type\": \"printf\", \"data\": \"bye -7\\n\"}\n"
    );
    assert_eq!(diagnostics, "");

    let (_, _, diagnostics) = run(&plan, |options| options.quiet = true);
    assert_eq!(diagnostics, "");
}

fn exit_gives_the_code() {
    let begin = program("begin", RAW, &(send(0, 3) + END));
    let tick = program("tick", prog_type::PERF_EVENT, END);
    let plan = plan(vec![begin, tick], vec![(0, Attach::Begin), (1, every_ms(1))], vec![event(Action::Exit, true)]);
    let (outcome, ..) = run(&plan, |_| ());
    assert_eq!(outcome.unwrap().exit_code, 3);
}

fn actions_come_in_order() {
    let sends: String = (0..7).map(|number| send(number, 1)).collect();
    let begin = program("begin", RAW, &(count() + &sends + END));
    let events = vec![
        event(Action::System { format: "echo $((%d + 1)); exit 3".to_string() }, true),
        event(Action::PrintMap { map: 1 }, false),
        event(Action::PrintValue { label: None, key: false }, true),
        event(Action::PrintValue { label: Some("@n".to_string()), key: false }, true),
        event(Action::ClearMap { map: 1 }, false),
        event(Action::Cat { format: "/proc/sys/kernel/ostype%.0s".to_string() }, true),
        event(Action::Cat { format: "/nonexistent/%d".to_string() }, true),
    ];
    let plan = plan(vec![begin], vec![(0, Attach::Begin)], events);
    let (outcome, output, diagnostics) = run(&plan, |_| ());
    outcome.unwrap();
    assert_eq!(output, "2\n\n@n: 1\n1\n@n: 1\nLinux\n\n\n@n: 0\n");
    assert!(diagnostics.contains("failed to open file '/nonexistent/1' (No such file or directory)"), "{diagnostics}");
}

fn a_timer_fires_until_sigint() {
    let tick = program("tick", prog_type::PERF_EVENT, &(send(0, 5) + END));
    let plan = plan(vec![tick], vec![(0, every_ms(20))], vec![printf("%d ")]);
    let mut interrupt = signal_after("0.3", "INT");
    let (outcome, output, _) = run(&plan, |_| ());
    interrupt.wait().unwrap();
    assert_eq!(outcome.unwrap().exit_code, 0);
    assert!(output.starts_with("5 5 5 "), "{output}");
    assert!(output.ends_with("\n\n@n: 0\n"), "{output:?}");
}

fn signal_after(seconds: &str, signal: &str) -> std::process::Child {
    let command = format!("sleep {seconds}; kill -{signal} {}", std::process::id());
    Command::new("sh").args(["-c", &command]).spawn().unwrap()
}

/// Every system call of the machine sends an event and there is no end of them.
fn a_flood_ends_on_sigint() {
    let flood = program("flood", RAW, &(send(0, 5) + END));
    let attach = Attach::RawTracepoint { name: "sys_enter".to_string() };
    let plan = plan(vec![flood], vec![(0, attach)], vec![printf("%d\n")]);
    let mut load =
        Command::new("sh").args(["-c", "exec dd if=/dev/zero of=/dev/null bs=1 count=100000000 2>&-"]).spawn().unwrap();
    let mut interrupt = signal_after("1", "INT");
    let start = Instant::now();
    let (outcome, output, _) = run(&plan, |_| ());
    let took = start.elapsed();
    load.kill().unwrap();
    load.wait().unwrap();
    interrupt.wait().unwrap();
    outcome.unwrap();
    assert!(output.lines().count() > 1000);
    // The signal comes after one second; the rest is generous, for a loaded machine.
    assert!(took < Duration::from_secs(10), "{took:?}");
}

/// The argument with which this program runs a session on its standard output instead of the cases.
const FLOOD_STDOUT: &str = "flood-stdout";

/// A session whose output is more than any pipe holds.
fn flood_stdout() -> ExitCode {
    let flood = program("flood", RAW, &(send(0, 5) + END));
    let attach = Attach::RawTracepoint { name: "sys_enter".to_string() };
    let plan = plan(vec![flood], vec![(0, attach)], vec![printf("%1000d\n")]);
    match runtime::run(plan, Options::default()) {
        Ok(outcome) => ExitCode::from(outcome.exit_code),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Nobody reads the output, and yet the session ends on a signal.
fn a_reader_that_stands_still_does_not_hold_the_end_up() {
    let program = std::env::current_exe().unwrap();
    let mut session =
        Command::new(program).arg(FLOOD_STDOUT).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert!(session.try_wait().unwrap().is_none(), "it runs");
    kernel::kill(session.id(), libc::SIGINT).unwrap();
    let start = Instant::now();
    let status = session.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

fn a_closed_pipe_ends_the_session_quietly() {
    let program = std::env::current_exe().unwrap();
    let mut session =
        Command::new(program).arg(FLOOD_STDOUT).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(session.stdout.take());
    let output = session.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "Attached 1 probe\n");
}

fn lost_events_are_reported() {
    // Twice as many as the ring holds, while nobody reads.
    let body = format!("r6 = 8000\nagain:\n{}r6 += -1\nif r6 != 0 goto again\n{END}", send(0, 5));
    let plan = plan(vec![program("begin", RAW, &body)], vec![(0, Attach::Begin)], vec![printf("%d\n")]);
    let (outcome, output, diagnostics) = run(&plan, |_| ());
    outcome.unwrap();
    let printed = output.lines().filter(|line| *line == "5").count();
    let lost = diagnostics.lines().find_map(|line| line.strip_prefix("Lost ")?.strip_suffix(" events"));
    let lost: usize = lost.expect("a line about it").parse().unwrap();
    assert_eq!(printed + lost, 8000, "{diagnostics}");
    assert!(lost > 0 && printed > 1000);

    let (_, output, diagnostics) = run(&plan, |options| options.encoding = Encoding::Json);
    assert!(output.lines().any(|line| line.starts_with("{\"type\": \"lost_events\", ")), "{output}");
    assert_eq!(diagnostics, "");
}

fn a_child_is_held_until_probes_are_attached_and_ends_the_session() {
    let tick = program("tick", RAW, &(count() + END));
    let attach = Attach::RawTracepoint { name: "sched_process_exec".to_string() };
    let plan = plan(vec![tick], vec![(0, attach)], vec![]);
    let child = kernel::Child::start("true").unwrap();
    let (outcome, output, _) = run(&plan, |options| options.child = Some(child));
    outcome.unwrap();
    let count: u64 = output.trim().strip_prefix("@n: ").expect("the map").parse().unwrap();
    assert!(count >= 1, "the child's exec was seen");
}

fn a_watched_process_ends_the_session() {
    let tick = program("tick", prog_type::PERF_EVENT, END);
    let plan = plan(vec![tick], vec![(0, every_ms(100))], vec![]);
    let mut process = Command::new("sleep").arg("0.2").spawn().unwrap();
    let pid = process.id();
    let (outcome, ..) = run(&plan, |options| options.pid = Some(pid));
    outcome.unwrap();
    process.wait().unwrap();
    // One that is gone already.
    run(&plan, |options| options.pid = Some(pid)).0.unwrap();
}

fn a_closed_output_ends_the_session_quietly() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let tick = program("tick", prog_type::PERF_EVENT, &(send(0, 5) + END));
    let plan = plan(vec![tick], vec![(0, every_ms(1))], vec![printf("%d\n")]);
    let (outcome, _, diagnostics) = run(&plan, |options| options.output = Sink::Writer(Box::new(Closed)));
    outcome.unwrap();
    assert_eq!(diagnostics, "Attached 1 probe\n");
}

fn a_refusal_names_the_place_and_the_reason() {
    let bad = program("bad", RAW, "r1 = 0\nr0 = *(u64 *)(r1 + 0)\nexit\n");
    let plan = plan(vec![bad], vec![(0, Attach::Begin)], vec![]);
    let (outcome, ..) = run(&plan, |_| ());
    let error = outcome.unwrap_err();
    assert!(error.to_string().starts_with("probe0: the kernel's verifier refused the program: "), "{error}");
    assert_eq!(error.span(), Some(SourceSpan { source: 0, start: 2, end: 5 }));
    assert!(error.log().is_some_and(|log| log.contains("invalid mem access")), "{:?}", error.log());
}

fn a_place_that_does_not_exist() {
    let tick = program("tick", RAW, END);
    let attach = Attach::RawTracepoint { name: "no_such_tracepoint".to_string() };
    let plan = plan(vec![tick], vec![(0, attach)], vec![]);
    let (outcome, output, _) = run(&plan, |_| ());
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::Attach { .. }), "{error}");
    assert_eq!(output, "");
}

/// One that exists keeps the session alive beside one that does not; with none the user is told.
fn places_that_do_not_exist_are_left_out_on_demand() {
    let there = || (0, Attach::RawTracepoint { name: "sched_process_exec".to_string() });
    let not_there = || (0, Attach::RawTracepoint { name: "no_such_tracepoint".to_string() });
    let session = |probes, refused_probes| {
        let plan = plan(vec![program("tick", RAW, END)], probes, vec![]);
        let child = kernel::Child::start("true").unwrap();
        let (outcome, _, diagnostics) = run(&plan, |options| {
            options.child = Some(child);
            options.refused_probes = refused_probes;
        });
        outcome.unwrap();
        diagnostics
    };
    let warned = session(vec![there(), not_there()], RefusedProbes::Warn);
    assert!(warned.starts_with("WARNING: probe0: attach to rawtracepoint:no_such_tracepoint"), "{warned}");
    assert!(warned.ends_with("Attached 1 probe\n"), "{warned}");
    assert_eq!(session(vec![there(), not_there()], RefusedProbes::Ignore), "Attached 1 probe\n");
    let none = session(vec![not_there()], RefusedProbes::Ignore);
    assert!(none.starts_with("WARNING: nothing is attached: probe0: "), "{none}");
}

/// The stacks of this very process, while it runs BEGIN.
fn stacks_have_symbols() {
    const STACKS: u64 = 4;
    let text = format!(
        "r6 = r1\nr2 = MAP+{STACKS} ll\nr3 = 0\ncall bpf_get_stackid#27\n*(u64 *)(r10 - 24) = r0\n\
         r1 = r6\nr2 = MAP+{STACKS} ll\nr3 = 256\ncall bpf_get_stackid#27\n*(u64 *)(r10 - 16) = r0\n\
         call bpf_get_current_pid_tgid#14\nr0 >>= 32\n*(u64 *)(r10 - 8) = r0\n*(u64 *)(r10 - 32) = 0\n\
         r1 = MAP+{RING} ll\nr2 = r10\nr2 += -32\nr3 = 32\nr4 = 0\ncall bpf_ringbuf_output#130\n{END}"
    );
    let stack = |mode, limit| Stack { mode, limit };
    let args = vec![
        Arg { layout: Layout::KStack(stack(StackMode::Bpftrace, 127)), offset: 0, tail: false },
        Arg { layout: Layout::UStack(stack(StackMode::Perf, 127)), offset: 8, tail: false },
    ];
    let action = Action::Printf { format: "kernel:%suser:%s".to_string() };
    let stacks = Event { action, fixed_size: 24, args, span: SourceSpan::default() };
    let mut plan = plan(vec![program("begin", RAW, &text)], vec![(0, Attach::Begin)], vec![stacks]);
    plan.object.maps.push(Map {
        name: "stacks".to_string(),
        map_type: map_type::STACK_TRACE,
        key_size: 4,
        value_size: 127 * 8,
        max_entries: 64,
        ..Map::default()
    });
    plan.stacks = Some(MapIndex(STACKS as u32));
    let (outcome, output, _) = run(&plan, |_| ());
    outcome.unwrap();
    let (kernel, user) = output.split_once("user:\n").expect("both stacks");
    assert!(kernel.contains("_sys_bpf+"), "{output}");
    assert!(user.contains(" syscall+"), "{output}");
    let binary = std::env::current_exe().unwrap();
    assert!(user.contains(&format!("({})", binary.display())), "{output}");
}

fn damaged_plans_are_refused() {
    let mut damaged = plan(vec![], vec![(7, Attach::Begin)], vec![]);
    assert!(matches!(run(&damaged, |_| ()).0, Err(Error::Plan(_))));
    damaged.probes.clear();
    damaged.ring = Some(MapIndex(99));
    assert!(matches!(run(&damaged, |_| ()).0, Err(Error::Plan(_))));
    let bad_format = plan(vec![], vec![], vec![printf("%")]);
    assert!(matches!(run(&bad_format, |_| ()).0, Err(Error::Plan(_))));
}

fn main() -> ExitCode {
    if !kernel::is_root() {
        println!("skipped: needs root");
        return ExitCode::SUCCESS;
    }
    if std::env::args().nth(1).as_deref() == Some(FLOOD_STDOUT) {
        return flood_stdout();
    }
    let cases: &[(&str, fn())] = &[
        ("begin_and_end_need_nothing_to_attach", begin_and_end_need_nothing_to_attach),
        ("exit_gives_the_code", exit_gives_the_code),
        ("actions_come_in_order", actions_come_in_order),
        ("a_timer_fires_until_sigint", a_timer_fires_until_sigint),
        ("a_flood_ends_on_sigint", a_flood_ends_on_sigint),
        ("a_reader_that_stands_still", a_reader_that_stands_still_does_not_hold_the_end_up),
        ("a_closed_pipe_ends_the_session_quietly", a_closed_pipe_ends_the_session_quietly),
        ("lost_events_are_reported", lost_events_are_reported),
        ("a_child_is_held_until_probes_are_attached", a_child_is_held_until_probes_are_attached_and_ends_the_session),
        ("a_watched_process_ends_the_session", a_watched_process_ends_the_session),
        ("a_closed_output_ends_the_session_quietly", a_closed_output_ends_the_session_quietly),
        ("a_refusal_names_the_place_and_the_reason", a_refusal_names_the_place_and_the_reason),
        ("a_place_that_does_not_exist", a_place_that_does_not_exist),
        ("places_that_do_not_exist_are_left_out", places_that_do_not_exist_are_left_out_on_demand),
        ("stacks_have_symbols", stacks_have_symbols),
        ("damaged_plans_are_refused", damaged_plans_are_refused),
    ];
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let mut failed = 0;
    for (name, case) in
        cases.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|w| name.contains(w.as_str())))
    {
        let passed = std::panic::catch_unwind(case).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += u32::from(!passed);
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
