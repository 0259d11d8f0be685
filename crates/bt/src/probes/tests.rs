//! Resolution against a made-up machine.

use super::fake::Machine;
use super::*;
use crate::parser::{ParseOptions, parse};

fn resolve_text(points: &str, options: &Options) -> (Vec<Clause>, Vec<Diagnostic>) {
    let text = format!("{points} {{ exit() }}");
    let (script, wrong) = parse(&text, &ParseOptions::default());
    assert_eq!(wrong, [], "{points}");
    resolve(&script, &Machine, options)
}

/// The names that attach points resolve to.
fn names(points: &str) -> Vec<String> {
    names_with(points, &Options::default())
}

fn names_with(points: &str, options: &Options) -> Vec<String> {
    let (clauses, diagnostics) = resolve_text(points, options);
    assert_eq!(diagnostics, [], "{points}");
    clauses.into_iter().flat_map(|clause| clause.probes).map(|probe| probe.name).collect()
}

/// The first message about attach points, with its hints.
fn message(points: &str) -> String {
    let (_, diagnostics) = resolve_text(points, &Options::default());
    let first = diagnostics.first().unwrap_or_else(|| panic!("{points}: no message"));
    [vec![first.message.clone()], first.hints.clone()].concat().join(" | ")
}

fn with_pid() -> Options {
    Options { pid: Some(7), ..Options::default() }
}

#[test]
fn names_and_aliases() {
    for (points, expected) in [
        ("BEGIN", vec!["begin"]),
        ("End", vec!["end"]),
        ("k:vfs_read, kr:vfs_read", vec!["kprobe:vfs_read", "kretprobe:vfs_read"]),
        ("kprobe:vfs_read+0x10", vec!["kprobe:vfs_read+16"]),
        ("kprobe:ext4:ext4_sync", vec!["kprobe:ext4:ext4_sync"]),
        ("kprobe:vfs_*", vec!["kprobe:vfs_open", "kprobe:vfs_read", "kprobe:vfs_write"]),
        ("kprobe:vmlinu*:vfs_[o-r]*", vec!["kprobe:vfs_open", "kprobe:vfs_read"]),
        ("kprobe:vmlinux:vfs_read", vec!["kprobe:vfs_read"]),
        ("k:vfs_[ow]*", vec!["kprobe:vfs_open", "kprobe:vfs_write"]),
        ("t:sched:*", vec!["tracepoint:sched:sched_switch", "tracepoint:sched:sched_wakeup"]),
        ("tracepoint:sched:sched_switch", vec!["tracepoint:sched:sched_switch"]),
        ("rt:sched_switch", vec!["rawtracepoint:vmlinux:sched_switch"]),
        ("u:libc:malloc", vec!["uprobe:/lib/libc.so.6:malloc"]),
        ("ur:libc:*alloc", vec!["uretprobe:/lib/libc.so.6:calloc", "uretprobe:/lib/libc.so.6:malloc"]),
        ("u:libc:malloc+4", vec!["uprobe:/lib/libc.so.6:malloc+4"]),
        ("u:libc:0x400123", vec!["uprobe:/lib/libc.so.6:4194595"]),
        ("U:\"./a b\":start", vec!["usdt:/tmp/a b:p:start", "usdt:/tmp/a b:q:start"]),
        ("usdt:libc:q:start", vec!["usdt:/lib/libc.so.6:q:start"]),
        ("profile:hz:99", vec!["profile:hz:99"]),
        ("p:5ms", vec!["profile:us:5000"]),
        ("i:s:1", vec!["interval:s:1"]),
        ("s:faults:1", vec!["software:faults:1"]),
        ("h:cycles", vec!["hardware:cycles"]),
        ("software:cpu-clock:", vec!["software:cpu-clock"]),
        ("self:signal:SIGUSR1", vec!["self:signal:SIGUSR1"]),
    ] {
        assert_eq!(names(points), expected, "{points}");
    }
}

#[test]
fn a_process() {
    assert_eq!(names_with("u:malloc", &with_pid()), ["uprobe:/bin/seven:malloc"]);
    assert_eq!(names_with("usdt:*:p:start", &with_pid()), ["usdt:/bin/seven:p:start", "usdt:/lib/libc.so.6:p:start"]);
    assert_eq!(names_with("usdt:stop", &with_pid()), ["usdt:/bin/seven:p:stop", "usdt:/lib/libc.so.6:p:stop"]);
}

#[test]
fn messages() {
    for (points, expected) in [
        ("foo:bar", "Invalid probe type: foo"),
        ("kprob:vfs_read", "Invalid probe type: kprob | Did you mean kprobe?"),
        (
            "tracepoint:sched:sched_swtch",
            "No matches for tracepoint sched:sched_swtch. | Did you mean tracepoint:sched:sched_switch?",
        ),
        (
            "tracepoint:shed:sched_switch",
            "No matches for tracepoint shed:sched_switch. | Did you mean tracepoint:sched:sched_switch?",
        ),
        (
            "tracepoint:sched:zzz*",
            "Probe has no valid attach points. If this is expected, set the 'missing_probes' config variable to 'warn'.",
        ),
        ("u:libc:maloc", "No matches for uprobe /lib/libc.so.6:maloc. | Did you mean malloc?"),
        ("u:/nonexist:x", "uprobe target file '/nonexist' does not exist or is not executable"),
        ("usdt:libc:strt", "No matches for usdt /lib/libc.so.6:strt. | Did you mean start?"),
        ("fentry:vfs_read", "no BTF"),
        ("software:fauts:1", "fauts is not a software probe | Did you mean faults?"),
        ("interval:s:0", "interval frequency should be a positive integer"),
        ("interval:x:1", "x is not an accepted unit of time"),
        ("interval:5", "Invalid rate of interval probe. Minimum is 1000 or 1us. Found: 5 nanoseconds"),
        ("interval:s:99999999999999", "interval period is too long"),
        ("begin:x", "begin probe type requires 0 arguments, found 1"),
        ("tracepoint:sched", "tracepoint probe type requires 2 arguments, found 1"),
        ("self:signal:SIGFOO", "SIGFOO is not a supported signal | supported: SIGUSR1"),
        ("k:f+1+2", "Cannot take more than one offset"),
        ("kr:f+1", "Offset not allowed"),
        ("k:0xffffffff81000000", "Probing by address requires --unsafe"),
        ("ur:libc:malloc+4", "uretprobes can not be attached to a function offset"),
        ("u:libc:malloc+64", "Offset outside the function bounds ('malloc' size is 16)"),
        ("usdt:*:start", "usdt probes of all binaries need a process | say which with -p PID, or name the binary"),
    ] {
        assert_eq!(message(points), expected, "{points}");
    }
}

#[test]
fn missing_probes_may_be_allowed() {
    let mut options = Options::default();
    options.config.missing_probes = MissingProbes::Warn;
    let (clauses, diagnostics) = resolve_text("kprobe:vfs_raed, kprobe:vfs_open", &options);
    assert_eq!(clauses[0].probes.len(), 1);
    assert_eq!(diagnostics.len(), 1);
    assert_eq!(diagnostics[0].message, "No matches for kprobe vfs_raed. Skipping.");
    let (clauses, diagnostics) = resolve_text("tracepoint:x:y", &options);
    assert_eq!(clauses, []);
    assert!(diagnostics[1].message.ends_with("It is being removed which may cause issues with program behavior."));
    options.config.missing_probes = MissingProbes::Ignore;
    let (clauses, diagnostics) = resolve_text("kprobe:vfs_raed", &options);
    assert_eq!(clauses, []);
    assert_eq!(diagnostics[0].message, "No probes to attach");
}

#[test]
fn too_many() {
    let mut options = Options::default();
    options.config.max_probes = 2;
    let (_, diagnostics) = resolve_text("kprobe:vfs_*", &options);
    assert!(diagnostics[0].message.starts_with("Can't attach to 3 probes"));
}

#[test]
fn system_calls() {
    let (clauses, _) = resolve_text("tracepoint:syscalls:*", &Options::default());
    let sites: Vec<_> = clauses[0]
        .probes
        .iter()
        .map(|probe| match &probe.target {
            Target::Tracepoint { syscall, .. } => syscall.map(|site| site.exit),
            _ => None,
        })
        .collect();
    assert_eq!(sites, [Some(false), None, Some(true)]);
}

#[test]
fn order_of_attachment() {
    use Provider::{Fentry, Interval, Kprobe, Tracepoint};
    assert_eq!(attach_order(&[Kprobe, Tracepoint, Fentry, Interval, Kprobe]), [1, 3, 4, 2, 0]);
}

#[test]
fn patterns() {
    for (pattern, name, matches) in [
        ("*", "", true),
        ("a*c", "abbc", true),
        ("a*c", "abb", false),
        ("*a*b*", "xaxbx", true),
        ("a?c", "abc", true),
        ("[a-c]x", "bx", true),
        ("[!a-c]x", "bx", false),
        ("[^a]x", "bx", true),
        ("[]x]y", "]y", true),
        ("[ab", "[ab", true),
        ("", "", true),
        ("", "a", false),
        ("é*", "été", true),
    ] {
        assert_eq!(glob(pattern, name), matches, "{pattern} {name}");
    }
    // Linear in practice: no exponential backtracking.
    assert!(!glob(&"a*".repeat(50), &format!("{}b", "a".repeat(2000)).replace('a', "c")));
}

#[test]
fn attachments() {
    let attach = |points: &str, pid| resolve_text(points, &Options::default()).0[0].probes[0].attach(pid);
    assert_eq!(attach("begin", None), Attach::Begin);
    assert_eq!(attach("end", None), Attach::End);
    assert_eq!(
        attach("kretprobe:vfs_read", None),
        Attach::Kprobe { module: None, function: "vfs_read".into(), offset: 0, ret: true }
    );
    assert_eq!(
        attach("uprobe:libc:malloc", Some(3)),
        Attach::Uprobe { path: "/lib/libc.so.6".into(), offset: 0x100, ret: false, pid: Some(3) }
    );
    assert_eq!(
        attach("interval:s:1", Some(3)),
        Attach::Perf { kind: 1, config: 0, sample: Sample::Period(1_000_000_000), one_cpu: true, pid: None }
    );
    assert_eq!(
        attach("software:cs", Some(3)),
        Attach::Perf { kind: 1, config: 3, sample: Sample::Period(1000), one_cpu: false, pid: Some(3) }
    );
}
