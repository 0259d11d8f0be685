//! The crate against the running kernel. A test that this kernel or user can't serve
//! says `skipped: REASON`; the matrix runs this binary on all kernels.

use isa::uapi::{attach_type, helper, map_type, prog_type};
use isa::{Insn, R1, R2};
use kernel::{Attacher, Error, Map, Program, Ring, Spec, TestInput, Update};
use object::plan::{Attach, Sample};

/// Leaves the test unless we are root.
macro_rules! root {
    () => {
        if !kernel::is_root() {
            eprintln!("skipped: needs root");
            return;
        }
    };
}

fn skipped(error: &Error) {
    eprintln!("skipped: {error}; {}", error.hint().unwrap_or("no hint"));
}

fn counter() -> Map {
    Map::create(&object::Map {
        name: "@counter".into(),
        map_type: map_type::ARRAY,
        key_size: 4,
        value_size: 16,
        max_entries: 1,
        flags: kernel::MMAPABLE,
        ..Default::default()
    })
    .expect("an array map")
}

/// A program that adds 1 to the first counter.
fn counting(map: &Map, prog_type: u32, expected_attach_type: u32) -> Result<Program, Error> {
    let mut insns = Insn::load_map_value(R1, fd(map), 0).to_vec();
    insns.extend(isa::assemble("r2 = 1\nlock *(u64 *)(r1 + 0) += r2\nr0 = 0\nexit").expect("assembles"));
    Program::load(&Spec {
        name: "counting",
        prog_type,
        expected_attach_type,
        license: "GPL",
        insns: &insns,
        ..Default::default()
    })
}

fn fd(map: &Map) -> i32 {
    use std::os::fd::{AsFd, AsRawFd};
    map.as_fd().as_raw_fd()
}

fn tracepoint_id(category: &str, name: &str) -> Result<u64, Error> {
    kernel::tracefs::Tracefs::open()?.event_id(category, name)
}

/// Attaches, does something that hits the probe `times` times, detaches, does it again: the
/// counter must have counted the first round (at least: others hit the probe too) and not the second.
fn counts(program: &Program, map: &Map, attach: &Attach, times: u64, hit: &mut dyn FnMut()) -> Option<u64> {
    let memory = map.mmap().expect("a mapped array");
    let link = match Attacher::new(&tracepoint_id).attach(program, attach, &[]) {
        Ok(link) => link,
        Err(error) => {
            skipped(&error);
            return None;
        }
    };
    let before = memory.read_u64(0).expect("slot 0");
    for _ in 0..times {
        hit();
    }
    let counted = memory.read_u64(0).expect("slot 0") - before;
    assert!(counted >= times, "{attach:?} counted {counted} of {times}");
    drop(link);
    let before = memory.read_u64(0).expect("slot 0");
    hit();
    assert_eq!(memory.read_u64(0), Some(before), "{attach:?} is still attached");
    Some(counted)
}

fn nap() {
    std::thread::sleep(std::time::Duration::from_nanos(1));
}

#[test]
fn raw_tracepoint_counts() {
    root!();
    let map = counter();
    let program = counting(&map, prog_type::RAW_TRACEPOINT, 0).expect("loads");
    // Anything may hit sys_enter, so that the check after detaching works on it alone.
    let attach = Attach::RawTracepoint { name: "sys_enter".into() };
    counts(&program, &map, &attach, 10, &mut nap);
    let attach = Attach::RawTracepoint { name: "no_such_tracepoint".into() };
    let error = Attacher::new(&tracepoint_id).attach(&program, &attach, &[]).expect_err("refused");
    assert_eq!(error.hint(), Some("the kernel has no such tracepoint"));
}

#[test]
fn tracepoint_counts() {
    root!();
    let map = counter();
    let program = counting(&map, prog_type::TRACEPOINT, 0).expect("loads");
    let attach = Attach::Tracepoint { category: "sched".into(), name: "sched_process_fork".into() };
    counts(&program, &map, &attach, 3, &mut || {
        std::thread::spawn(|| ()).join().expect("a thread");
    });
}

#[test]
fn kprobe_counts_entry_and_return() {
    root!();
    for ret in [false, true] {
        let map = counter();
        let program = counting(&map, prog_type::KPROBE, 0).expect("loads");
        let attach = Attach::Kprobe { module: None, function: "hrtimer_nanosleep".into(), offset: 0, ret };
        counts(&program, &map, &attach, 5, &mut nap);
    }
    if let Ok(Some(address)) = kernel::kallsyms::address("hrtimer_nanosleep") {
        let map = counter();
        let program = counting(&map, prog_type::KPROBE, 0).expect("loads");
        let attach = Attach::Kprobe { module: None, function: format!("{address:#x}"), offset: 0, ret: false };
        counts(&program, &map, &attach, 5, &mut nap);
    }
    let map = counter();
    let program = counting(&map, prog_type::KPROBE, 0).expect("loads");
    let attach = Attach::Kprobe { module: None, function: "no_such_function".into(), offset: 0, ret: false };
    let error = Attacher::new(&tracepoint_id).attach(&program, &attach, &[]).expect_err("refused");
    assert!(error.hint().is_some(), "{error}");
}

#[test]
fn kprobe_multi_counts_entry_and_return() {
    root!();
    for ret in [false, true] {
        let map = counter();
        let program = match counting(&map, prog_type::KPROBE, attach_type::TRACE_KPROBE_MULTI) {
            Ok(program) => program,
            Err(error) => return skipped(&error),
        };
        let functions = vec!["hrtimer_nanosleep".to_owned(), "vfs_read".to_owned()];
        counts(&program, &map, &Attach::KprobeMulti { functions, ret }, 5, &mut nap);
    }
}

/// A place of our own to put user probes on.
#[inline(never)]
extern "C" fn traced(value: u64) -> u64 {
    std::hint::black_box(value) + 1
}

/// The file and the file offset of [`traced`].
fn traced_place() -> (String, u64) {
    file_place(traced as *const () as u64)
}

/// The file and the file offset that an address of ours is mapped from.
fn file_place(address: u64) -> (String, u64) {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
    for line in maps.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (start, end) = fields[0].split_once('-').expect("a range");
        let (start, end) = (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
        if (start..end).contains(&address) {
            let offset = u64::from_str_radix(fields[2], 16).unwrap();
            return (fields[5].to_owned(), address - start + offset);
        }
    }
    panic!("{address:#x} is in no mapping");
}

#[test]
fn uprobe_counts_entry_and_return() {
    root!();
    let (path, offset) = traced_place();
    for ret in [false, true] {
        for pid in [None, Some(std::process::id())] {
            let map = counter();
            let program = counting(&map, prog_type::KPROBE, 0).expect("loads");
            let attach = Attach::Uprobe { path: path.clone(), offset, ret, pid };
            let counted = counts(&program, &map, &attach, 5, &mut || {
                traced(1);
            });
            assert!(counted.is_none_or(|n| n < 1000));
        }
    }
}

#[test]
fn uprobe_multi_counts_and_tells_cookies() {
    root!();
    let (path, offset) = traced_place();
    let map = counter();
    let mut insns = isa::assemble("call bpf_get_attach_cookie\nr6 = r0").expect("assembles");
    insns.extend(Insn::load_map_value(R1, fd(&map), 0));
    insns.extend(isa::assemble("*(u64 *)(r1 + 8) = r6\nr2 = 1\nlock *(u64 *)(r1 + 0) += r2\nr0 = 0\nexit").unwrap());
    let spec = Spec {
        name: "cookies",
        prog_type: prog_type::KPROBE,
        expected_attach_type: attach_type::TRACE_UPROBE_MULTI,
        license: "GPL",
        insns: &insns,
        ..Default::default()
    };
    let program = match Program::load(&spec) {
        Ok(program) => program,
        Err(error) => return skipped(&error),
    };
    let attach = Attach::UprobeMulti { path, offsets: vec![offset], semaphores: Vec::new(), ret: false, pid: None };
    let link = match Attacher::new(&tracepoint_id).attach(&program, &attach, &[0xfeed]) {
        Ok(link) => link,
        Err(error) => return skipped(&error),
    };
    traced(1);
    drop(link);
    traced(1);
    let memory = map.mmap().expect("a mapped array");
    assert!(memory.read_u64(0) >= Some(1));
    assert_eq!(memory.read_u64(1), Some(0xfeed));
}

#[test]
fn uprobe_cookie() {
    root!();
    let (path, offset) = traced_place();
    let map = counter();
    let mut insns = isa::assemble("call bpf_get_attach_cookie\nr6 = r0").expect("assembles");
    insns.extend(Insn::load_map_value(R1, fd(&map), 0));
    insns.extend(isa::assemble("*(u64 *)(r1 + 8) = r6\nr0 = 0\nexit").unwrap());
    let spec =
        Spec { name: "cookie", prog_type: prog_type::KPROBE, license: "GPL", insns: &insns, ..Default::default() };
    let program = match Program::load(&spec) {
        Ok(program) => program,
        Err(error) => return skipped(&error),
    };
    let attach = Attach::Uprobe { path, offset, ret: false, pid: None };
    let link = Attacher::new(&tracepoint_id).attach(&program, &attach, &[77]).expect("attaches");
    traced(1);
    drop(link);
    assert_eq!(map.mmap().expect("a mapped array").read_u64(1), Some(77));
}

#[test]
fn clock_samples() {
    root!();
    let spin = || {
        let end = std::time::Instant::now() + std::time::Duration::from_millis(30);
        while std::time::Instant::now() < end {}
    };
    for (one_cpu, pid) in [(false, None), (false, Some(std::process::id())), (true, None)] {
        let map = counter();
        let program = counting(&map, prog_type::PERF_EVENT, 0).expect("loads");
        let attach = Attach::Perf { kind: 1, config: 0, sample: Sample::Period(1_000_000), one_cpu, pid };
        let link = Attacher::new(&tracepoint_id).attach(&program, &attach, &[]).expect("attaches");
        let memory = map.mmap().expect("a mapped array");
        if one_cpu {
            // An idle CPU is not sampled, so keep all of them busy.
            std::thread::scope(|scope| {
                for _ in kernel::online_cpus() {
                    scope.spawn(spin);
                }
            });
        } else {
            spin();
        }
        drop(link);
        assert!(memory.read_u64(0) > Some(0), "one_cpu {one_cpu}, pid {pid:?}");
    }
}

#[test]
fn hardware_counters_or_a_reason() {
    root!();
    let map = counter();
    let program = counting(&map, prog_type::PERF_EVENT, 0).expect("loads");
    let attach = Attach::Perf { kind: 0, config: 0, sample: Sample::Period(1_000_000), one_cpu: false, pid: None };
    if let Err(error) = Attacher::new(&tracepoint_id).attach(&program, &attach, &[]) {
        assert!(error.hint().expect("a hint").contains("no such hardware counter"), "{error}");
    }
}

#[test]
fn a_run_without_attaching() {
    root!();
    let map = counter();
    let program = counting(&map, prog_type::RAW_TRACEPOINT, 0).expect("loads");
    program.test_run(TestInput::default()).expect("runs");
    assert_eq!(map.mmap().expect("a mapped array").read_u64(0), Some(1));
    let info = program.info().expect("info");
    assert_eq!(info.name, "counting");
    assert!(info.translated_bytes > 0);
    assert!(kernel::all_programs().expect("a list").iter().any(|other| other.id == info.id));
}

#[test]
fn statistics_count_runs() {
    root!();
    let map = counter();
    let program = counting(&map, prog_type::RAW_TRACEPOINT, 0).expect("loads");
    let statistics = kernel::Statistics::enable().expect("statistics");
    let attach = Attach::RawTracepoint { name: "sys_enter".into() };
    let link = Attacher::new(&tracepoint_id).attach(&program, &attach, &[]).expect("attaches");
    for _ in 0..10 {
        nap();
    }
    drop(link);
    drop(statistics);
    let info = program.info().expect("info");
    assert!(info.run_count >= 10 && info.run_time_ns > 0, "{info:?}");
}

#[test]
fn test_run_changes_packets() {
    root!();
    let insns = isa::assemble("r0 = 7\nexit").expect("assembles");
    let spec = Spec {
        name: "seven",
        prog_type: prog_type::SOCKET_FILTER,
        license: "GPL",
        insns: &insns,
        ..Default::default()
    };
    let program = Program::load(&spec).expect("loads");
    let data = [0u8; 64];
    let output = program
        .test_run(TestInput { data: &data, data_out_bytes: 64, repeat: 10, ..Default::default() })
        .expect("runs");
    assert_eq!(output.retval, 7);
}

#[test]
fn maps_hold_what_is_put_in() {
    root!();
    for map_type in [map_type::HASH, map_type::PERCPU_HASH, map_type::LRU_HASH] {
        let map = Map::create(&object::Map {
            name: "@things".into(),
            map_type,
            key_size: 8,
            value_size: 12,
            // An LRU map evicts before it is full.
            max_entries: 20_000,
            ..Default::default()
        })
        .expect("a hash map");
        let per_cpu = map_type == map_type::PERCPU_HASH;
        assert_eq!(map.value_bytes(), if per_cpu { 16 * kernel::possible_cpus() as usize } else { 12 });
        let value = |n: u64| vec![n as u8; map.value_bytes()];
        let count = 2000u64;
        for n in 0..count {
            map.update(&n.to_ne_bytes(), &value(n), Update::OnlyNew).expect("update");
        }
        assert!(map.update(&1u64.to_ne_bytes(), &value(1), Update::OnlyNew).is_err());
        assert!(map.lookup(&9999u64.to_ne_bytes()).expect("lookup").is_none());
        assert!(map.delete(&5u64.to_ne_bytes()).expect("delete"));
        assert!(!map.delete(&5u64.to_ne_bytes()).expect("delete"));
        for (take, left) in [(false, count - 1), (true, 0)] {
            let entries = if take { map.take_entries() } else { map.entries() }.expect("entries");
            let mut keys: Vec<u64> = entries
                .iter()
                .map(|(key, bytes)| {
                    let key = u64::from_ne_bytes(key.try_into().expect("8 bytes"));
                    // What pads a per-CPU value is not kept.
                    assert!(bytes[..12].iter().all(|byte| *byte == key as u8));
                    key
                })
                .collect();
            keys.sort_unstable();
            assert_eq!(keys, (0..count).filter(|n| *n != 5).collect::<Vec<_>>());
            assert_eq!(map.entries().expect("entries").len() as u64, left);
        }
        assert!(map.update(&[0; 4], &value(0), Update::Any).is_err(), "a short key");
    }
}

#[test]
fn arrays_are_read_whole_and_cleared() {
    root!();
    for map_type in [map_type::ARRAY, map_type::PERCPU_ARRAY] {
        let map = Map::create(&object::Map {
            name: "@array".into(),
            map_type,
            key_size: 4,
            value_size: 8,
            max_entries: 100,
            ..Default::default()
        })
        .expect("an array");
        map.update(&3u32.to_ne_bytes(), &vec![1; map.value_bytes()], Update::Any).expect("update");
        let entries = map.entries().expect("entries");
        assert_eq!(entries.len(), 100);
        assert_eq!(entries.iter().filter(|(_, value)| value.iter().any(|byte| *byte != 0)).count(), 1);
        map.clear().expect("clear");
        assert!(map.entries().expect("entries").iter().all(|(_, value)| value.iter().all(|byte| *byte == 0)));
    }
}

#[test]
fn read_only_maps_keep_their_contents() {
    root!();
    let model = object::Map {
        name: "rodata".into(),
        map_type: map_type::ARRAY,
        key_size: 4,
        value_size: 16,
        max_entries: 1,
        initial: vec![1, 2, 3],
        read_only: true,
        ..Default::default()
    };
    let map = Map::create(&model).expect("a frozen array");
    let value = map.lookup(&[0; 4]).expect("lookup").expect("element 0");
    assert_eq!(value[..4], [1, 2, 3, 0]);
    assert_eq!(map.update(&[0; 4], &[0; 16], Update::Any).expect_err("frozen").errno().map(|e| e.0), Some(1));
}

/// A program that sends `each` records of 8 bytes a run, numbered from the counter.
fn sending(ring: &Map, counter: &Map, each: i32) -> Program {
    let mut insns = Insn::load_map_value(isa::R7, fd(counter), 0).to_vec();
    insns.extend(isa::assemble(&format!("r6 = {each}")).unwrap());
    let top = insns.len();
    insns.extend(
        isa::assemble("r1 = *(u64 *)(r7 + 0)\n*(u64 *)(r10 - 8) = r1\nr1 += 1\n*(u64 *)(r7 + 0) = r1").unwrap(),
    );
    insns.extend(Insn::load_map_fd(R1, fd(ring)));
    insns.push(Insn::mov64_reg(R2, isa::R10));
    insns.extend(
        isa::assemble(&format!("r2 += -8\nr3 = 8\nr4 = 1\ncall {}\nif r0 == 0 goto +1\n", helper::ringbuf_output))
            .unwrap(),
    );
    insns.extend(isa::assemble("r1 = 1\nr6 += -1").unwrap());
    let back = top as i64 - (insns.len() as i64 + 1);
    insns.extend(isa::assemble(&format!("if r6 != 0 goto {back}\nr0 = 0\nexit")).unwrap());
    Program::load(&Spec {
        name: "sending",
        prog_type: prog_type::RAW_TRACEPOINT,
        license: "GPL",
        insns: &insns,
        ..Default::default()
    })
    .unwrap_or_else(|error| panic!("{error}: {error:?}"))
}

#[test]
fn rings_deliver_in_order() {
    root!();
    let model = |bytes: u32| object::Map {
        name: "ring".into(),
        map_type: map_type::RINGBUF,
        max_entries: bytes,
        ..Default::default()
    };
    let map = match Map::create(&model(1 << 24)) {
        Ok(map) => map,
        Err(error) => return skipped(&error),
    };
    let numbers = counter();
    let program = sending(&map, &numbers, 5000);
    let mut ring = Ring::new(&map).expect("a ring");
    let (mut expected, mut spent) = (0u64, std::time::Duration::ZERO);
    for _ in 0..2 {
        for _ in 0..100 {
            program.test_run(TestInput::default()).expect("runs");
        }
        assert_eq!(ring.pending_bytes(), 500_000 * 16);
        let start = std::time::Instant::now();
        let count = ring.drain(usize::MAX, |record| {
            assert_eq!(record, expected.to_ne_bytes());
            expected += 1;
            true
        });
        spent += start.elapsed();
        assert_eq!(count, 500_000);
    }
    eprintln!("a million records drained in {spent:?}");
    assert_eq!(ring.drain(usize::MAX, |_| true), 0);
    program.test_run(TestInput::default()).expect("runs");
    assert_eq!(ring.drain(10, |_| true), 10);
    assert_eq!(ring.drain(10, |_| false), 1);
    assert_eq!(ring.drain(usize::MAX, |_| true), 4989);
    let small = Map::create(&model(4096)).expect("a small ring");
    let program = sending(&small, &numbers, 5000);
    let mut ring = Ring::new(&small).expect("a ring");
    for _ in 0..3 {
        program.test_run(TestInput::default()).expect("runs");
        let mut last = None;
        let count = ring.drain(usize::MAX, |record| {
            let number = u64::from_ne_bytes(record.try_into().expect("8 bytes"));
            assert!(last.is_none_or(|last| number == last + 1));
            last = Some(number);
            true
        });
        assert!((200..=256).contains(&count), "{count}");
    }
}

#[test]
fn refusals_are_explained() {
    root!();
    // (program, instruction, reason)
    let cases = [
        ("r0 = *(u64 *)(r1 + 0)\nr0 = *(u64 *)(r0 + 8)\nr0 = 0\nexit", Some(1), "a number is used as a pointer"),
        ("r0 = r5\nexit", Some(0), "a register is read that was not set on every path"),
        ("call 999\nexit", Some(0), "this kernel"),
        ("r1 = *(u64 *)(r10 - 600)\nr0 = 0\nexit", Some(0), "stack"),
        ("again: goto again\nexit", None, ""),
    ];
    for (text, insn, reason) in cases {
        let insns = isa::assemble(text).expect("assembles");
        let spec = Spec {
            name: "refused",
            prog_type: prog_type::RAW_TRACEPOINT,
            license: "GPL",
            insns: &insns,
            ..Default::default()
        };
        match Program::load(&spec) {
            Err(Error::Load(error)) => {
                let verdict = error.verdict.unwrap_or_else(|| panic!("no verdict in {}", error.log));
                if insn.is_some() {
                    assert_eq!(verdict.insn, insn, "{}", error.log);
                }
                assert!(verdict.reason.contains(reason), "{verdict:?} in {}", error.log);
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

/// `r2` more is added to the counter for each of `r1` rounds, by a callback of bpf_loop.
#[test]
fn an_object_with_a_callback_loads() {
    root!();
    use object::{Code, FunctionIndex, Line, MapIndex, Relocation, RelocationKind, SourceSpan};
    let wide = |dst| Insn::load_imm64(dst, 0).to_vec();
    let assembled = |text: &str| isa::assemble(text).expect("assembles");
    let mut main = assembled("r1 = 10");
    main.extend(wide(R2));
    main.extend(assembled("r3 = 0\nr4 = 0\ncall bpf_loop\nr0 = 0\nexit"));
    let mut callback = wide(R1);
    callback.extend(assembled("r2 = *(u64 *)(r1 + 0)\nr2 += 3\n*(u64 *)(r1 + 0) = r2\nr0 = 0\nexit"));
    let text = "BEGIN { @x += 3 }\nsecond line";
    let mut object = object::Object {
        license: "GPL".into(),
        maps: vec![object::Map {
            name: "@x".into(),
            map_type: map_type::ARRAY,
            key_size: 4,
            value_size: 8,
            max_entries: 1,
            flags: kernel::MMAPABLE,
            initial: 100u64.to_ne_bytes().to_vec(),
            ..Default::default()
        }],
        programs: vec![object::Program {
            section: "raw_tracepoint".into(),
            prog_type: prog_type::RAW_TRACEPOINT,
            code: Code {
                name: "BEGIN".into(),
                insns: main,
                relocations: vec![Relocation { insn: 1, kind: RelocationKind::Address(FunctionIndex(0)) }],
                lines: vec![Line { insn: 0, at: SourceSpan { source: 0, start: 0, end: 5 } }],
                params: 1,
            },
            ..Default::default()
        }],
        functions: vec![Code {
            name: "round".into(),
            insns: callback,
            relocations: vec![Relocation { insn: 0, kind: RelocationKind::MapValue { map: MapIndex(0), offset: 0 } }],
            lines: vec![Line { insn: 0, at: SourceSpan { source: 0, start: 8, end: 15 } }],
            params: 2,
        }],
        sources: vec![object::Source { name: "x.bt".into(), text: text.into() }],
    };
    for line_info in [false, true] {
        let loaded = match kernel::Loaded::new(&object, kernel::LoadOptions { line_info }) {
            Ok(loaded) => loaded,
            Err(error) => return skipped(&error),
        };
        loaded.programs[0].test_run(TestInput::default()).expect("runs");
        let memory = loaded.map(MapIndex(0)).expect("the map").mmap().expect("a mapped array");
        assert_eq!(memory.read_u64(0), Some(130));
    }
    // The refusal of a bad function says where that is in the source.
    object.functions[0].insns[2] = Insn::load(isa::Size::Dw, R2, isa::R9, 0);
    match kernel::Loaded::new(&object, kernel::LoadOptions::default()) {
        Err(Error::Load(error)) => {
            let at = error.at.unwrap_or_else(|| panic!("no place: {}", error.log));
            assert_eq!(&text[at.start as usize..at.end as usize], "@x += 3");
        }
        other => panic!("{other:?}"),
    }
}

/// Two ways to the same answers: what `Features` says, and what kernels of known
/// releases have.
#[test]
fn features_are_tried() {
    root!();
    use kernel::Feature;
    let bytes = kernel::kernel_types::vmlinux().ok();
    let types = bytes.and_then(|bytes| btf::Btf::parse(bytes).ok());
    let find = |name: &str, kind: btf::Kind| Some(types.as_ref()?.find(name, kind)?.id.0);
    let features = kernel::Features::new();
    let (major, minor, _) = kernel::kernel_version();
    for (feature, since) in [
        (Feature::RingBuffer, (5, 8)),
        (Feature::BoundedLoops, (5, 3)),
        (Feature::IsaV3, (5, 1)),
        (Feature::IsaV4, (6, 6)),
        (Feature::AtomicFetch, (5, 12)),
        (Feature::MayGoto, (6, 9)),
        (Feature::IterNum, (6, 4)),
        (Feature::PerfLink, (5, 15)),
        (Feature::UprobeMulti, (6, 6)),
        (Feature::UprobeSession, (6, 13)),
        (Feature::TpBtf, (5, 5)),
        (Feature::Iter, (5, 8)),
        (Feature::SoftwareEvents, (4, 9)),
        (Feature::Helper(helper::ktime_get_boot_ns), (5, 8)),
        (Feature::Helper(helper::ktime_get_tai_ns), (6, 1)),
        (Feature::Helper(helper::get_attach_cookie), (5, 15)),
        (Feature::HelperIn { prog_type: prog_type::TRACEPOINT, helper: helper::r#loop }, (5, 17)),
        (Feature::Helper(9999), (99, 0)),
        (Feature::MapType(map_type::ARENA), (6, 9)),
        (Feature::MapType(map_type::BLOOM_FILTER), (5, 16)),
    ] {
        let answer = features.ask(feature, &find);
        assert_eq!(answer.is_ok(), (major, minor) >= since, "{feature:?}: {answer:?}");
        assert_eq!(answer, features.ask(feature, &find));
    }
    for feature in [Feature::Kprobe, Feature::KprobeMulti, Feature::KprobeSession, Feature::Fentry, Feature::Lsm] {
        eprintln!("{feature:?}: {:?}", features.ask(feature, &find));
    }
    // What the two cheap attempts say is what attaching says.
    let attaches = |prog_type: u32, expected: u32, attach: &Attach| {
        let insns = isa::assemble("r0 = 0\nexit").expect("assembles");
        let spec = Spec {
            name: "x",
            prog_type,
            expected_attach_type: expected,
            license: "GPL",
            insns: &insns,
            ..Default::default()
        };
        Program::load(&spec).and_then(|program| Attacher::new(&tracepoint_id).attach(&program, attach, &[])).is_ok()
    };
    let function = "hrtimer_nanosleep".to_owned();
    let kprobe = Attach::Kprobe { module: None, function: function.clone(), offset: 0, ret: false };
    assert_eq!(features.has(Feature::Kprobe, &find), attaches(prog_type::KPROBE, 0, &kprobe));
    let multi = Attach::KprobeMulti { functions: vec![function], ret: false };
    for (feature, kind) in [
        (Feature::KprobeMulti, attach_type::TRACE_KPROBE_MULTI),
        (Feature::KprobeSession, attach_type::TRACE_KPROBE_SESSION),
    ] {
        assert_eq!(features.has(feature, &find), attaches(prog_type::KPROBE, kind, &multi), "{feature:?}");
    }
}

/// Typed raw tracepoints, trampolines and iterators, by their BTF ids.
#[test]
fn btf_targets() {
    root!();
    let Ok(bytes) = kernel::kernel_types::vmlinux() else {
        eprintln!("skipped: no BTF");
        return;
    };
    let types = btf::Btf::parse(bytes).expect("BTF");
    let map = counter();
    let mut insns = Insn::load_map_value(R1, fd(&map), 0).to_vec();
    insns.extend(isa::assemble("r2 = 1\nlock *(u64 *)(r1 + 0) += r2\nr0 = 0\nexit").expect("assembles"));
    let cases = [
        (
            attach_type::TRACE_RAW_TP,
            btf::Kind::Typedef,
            "btf_trace_sys_enter",
            Attach::RawTracepoint { name: "sys_enter".into() },
        ),
        (attach_type::TRACE_FENTRY, btf::Kind::Func, "hrtimer_nanosleep", Attach::Trampoline),
        (attach_type::TRACE_FEXIT, btf::Kind::Func, "hrtimer_nanosleep", Attach::Trampoline),
    ];
    for (expected_attach_type, kind, name, attach) in cases {
        let spec = Spec {
            name: "typed",
            prog_type: prog_type::TRACING,
            expected_attach_type,
            license: "GPL",
            insns: &insns,
            attach_btf_id: types.find(name, kind).expect("the type").id.0,
            ..Default::default()
        };
        match Program::load(&spec) {
            Ok(program) => {
                counts(&program, &map, &attach, 5, &mut nap);
            }
            Err(error) => skipped(&error),
        }
    }
    // An iterator over tasks that writes a byte for each.
    let mut insns = isa::assemble("r6 = *(u64 *)(r1 + 0)\nr7 = *(u64 *)(r1 + 8)\nif r7 == 0 goto +6").unwrap();
    insns.extend(isa::assemble("r1 = *(u64 *)(r6 + 0)\n*(u64 *)(r10 - 8) = 46\nr2 = r10\nr2 += -8\nr3 = 1\ncall bpf_seq_write\nr0 = 0\nexit").unwrap());
    let spec = Spec {
        name: "tasks",
        prog_type: prog_type::TRACING,
        expected_attach_type: attach_type::TRACE_ITER,
        license: "GPL",
        insns: &insns,
        attach_btf_id: types.find("bpf_iter_task", btf::Kind::Func).expect("the type").id.0,
        ..Default::default()
    };
    let program = Program::load(&spec).unwrap_or_else(|error| panic!("{error:?}"));
    let mut tasks = 0;
    kernel::read_iterator(&program, &mut |bytes| tasks += bytes.iter().filter(|byte| **byte == b'.').count())
        .expect("runs");
    assert!(tasks >= 1);
    Attacher::new(&tracepoint_id).attach(&program, &Attach::Iter { pin: None }, &[]).expect("runs");
}

/// The reference counter of a user probe. Not zero, so that it lies in the file.
static SEMAPHORE: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(7);

/// A place that no other test probes: the kernel wants one semaphore a place.
#[inline(never)]
extern "C" fn traced_with_semaphore(value: u64) -> u64 {
    std::hint::black_box(value) + 2
}

#[test]
fn usdt_semaphores_count_tracers() {
    root!();
    use std::sync::atomic::Ordering;
    let (path, offset) = file_place(traced_with_semaphore as *const () as u64);
    let (_, semaphore) = file_place(std::ptr::from_ref(&SEMAPHORE) as u64);
    for expected_attach_type in [0, attach_type::TRACE_UPROBE_MULTI] {
        let map = counter();
        let program = match counting(&map, prog_type::KPROBE, expected_attach_type) {
            Ok(program) => program,
            Err(error) => return skipped(&error),
        };
        let mut hits = 0;
        for pid in [None, Some(std::process::id())] {
            let attach = Attach::Usdt { path: path.clone(), offset, semaphore, pid };
            match Attacher::new(&tracepoint_id).attach(&program, &attach, &[]) {
                Ok(link) => {
                    assert_eq!(SEMAPHORE.load(Ordering::Relaxed), 8, "{attach:?}");
                    traced_with_semaphore(1);
                    hits += 1;
                    drop(link);
                    assert_eq!(SEMAPHORE.load(Ordering::Relaxed), 7, "{attach:?}");
                }
                Err(error) => skipped(&error),
            }
        }
        assert!(map.mmap().expect("a mapped array").read_u64(0) >= Some(hits));
    }
}

#[test]
fn single_places_by_multi_links() {
    root!();
    let (path, offset) = traced_place();
    let places = [
        (
            attach_type::TRACE_UPROBE_MULTI,
            Attach::Uprobe { path, offset, ret: true, pid: None },
            (|| {
                traced(1);
            }) as fn(),
        ),
        (
            attach_type::TRACE_KPROBE_MULTI,
            Attach::Kprobe { module: None, function: "hrtimer_nanosleep".into(), offset: 0, ret: true },
            nap as fn(),
        ),
    ];
    for (expected_attach_type, attach, mut hit) in places {
        let map = counter();
        match counting(&map, prog_type::KPROBE, expected_attach_type) {
            Ok(program) => {
                counts(&program, &map, &attach, 5, &mut hit);
            }
            Err(error) => skipped(&error),
        }
    }
}

#[test]
fn many_are_detached() {
    root!();
    let map = counter();
    let attacher = Attacher::new(&tracepoint_id);
    let attach = Attach::RawTracepoint { name: "sys_enter".into() };
    // A program each: kernels before 6.12 attach one only once to a raw tracepoint.
    let attached = |_| {
        let program = counting(&map, prog_type::RAW_TRACEPOINT, 0).expect("loads");
        attacher.attach(&program, &attach, &[]).expect("attaches")
    };
    let links = (0..20).map(attached).collect();
    nap();
    kernel::detach_all(links).wait();
    let memory = map.mmap().expect("a mapped array");
    let counted = memory.read_u64(0);
    assert!(counted >= Some(20));
    nap();
    assert_eq!(memory.read_u64(0), counted);
    kernel::detach_all(Vec::new()).wait();
}
