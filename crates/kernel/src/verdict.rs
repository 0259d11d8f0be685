//! What a verifier log comes down to: which instruction, why in plain words, what to change.
//!
//! The messages are those of `kernel/bpf/verifier.c` (5.10 to 6.18); the table goes
//! from the particular to the general and the first pattern that occurs wins.

/// Why the verifier refused a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Slot index of the instruction that it stopped at, if the log tells.
    pub insn: Option<u32>,
    /// In plain words.
    pub reason: String,
    /// As the verifier put it.
    pub message: String,
    /// What to change.
    pub advice: Option<&'static str>,
}

impl Verdict {
    /// Finds the refusal in a log; `None` if there is none in it.
    pub fn read(log: &str) -> Option<Verdict> {
        /// A refusal is among the last lines; further up are refusals of paths that the
        /// verifier pruned, and the program's own text.
        const LAST_LINES: usize = 12;
        let lines: Vec<&str> = log.lines().map(str::trim).collect();
        let end = lines.iter().rposition(|line| !is_summary(line))? + 1;
        let tail = end.saturating_sub(LAST_LINES)..end;
        let known = tail.clone().rev().find_map(|at| {
            if is_source(lines[at]) {
                return None;
            }
            // A jump is shown without the end of its line: what is said of it stands behind it.
            let is_insn = instruction(lines[at]).is_some();
            let rule = RULES
                .iter()
                .filter(|rule| rule.insn_in_message || !is_insn)
                .find(|rule| rule.pattern.iter().all(|part| lines[at].contains(part)))?;
            Some((at, Some(rule)))
        });
        let plain = || {
            let at = tail.clone().rev().find(|&at| is_message(lines[at]))?;
            Some((at, None))
        };
        let (at, rule) = known.or_else(plain)?;
        let message = lines[at];
        let insn = match rule {
            // The instruction walked last says nothing about these, the message does.
            Some(rule) if rule.insn_in_message => number_after(message, "insn "),
            _ => lines[..at].iter().rev().find_map(|line| instruction(line)),
        };
        Some(Verdict {
            insn,
            reason: rule.map_or_else(|| message.to_owned(), |rule| in_words(rule, message)),
            message: message.to_owned(),
            advice: rule.and_then(|rule| rule.advice),
        })
    }
}

impl Verdict {
    /// A program that uses more maps than any may, which the kernel also calls `E2BIG`.
    pub(crate) fn of_maps(used: usize) -> Verdict {
        Verdict {
            insn: None,
            reason: format!("it uses {used} maps, and the kernel allows a program {MAX_USED_MAPS}"),
            message: String::new(),
            advice: Some("make several maps one with a key more: `@m[\"a\", x]` instead of `@a[x]`"),
        }
    }

    /// What it means that the verifier gave up with `E2BIG`; the log tells where only if its end is there.
    pub(crate) fn of_exhaustion(log: &str) -> Verdict {
        let told = Verdict::read(log).filter(|verdict| EXHAUSTED.iter().any(|text| verdict.message.contains(text)));
        told.unwrap_or_else(|| Verdict {
            insn: None,
            reason: TOO_LARGE.to_owned(),
            message: String::new(),
            advice: SHORTEN,
        })
    }
}

/// How the verifier says that a program is too much for it.
const EXHAUSTED: [&str; 3] = ["BPF program is too large", "jumps is too complex", "too many states"];
/// Maps that a program may use (`MAX_USED_MAPS` in `include/linux/bpf_verifier.h`).
pub(crate) const MAX_USED_MAPS: usize = 64;
const TOO_LARGE: &str = "the verifier gave up after a million instructions: some loop or branching is too much";

struct Rule {
    /// All of these occur in the message.
    pattern: &'static [&'static str],
    /// `{helper}` stands for the function named in the message.
    words: &'static str,
    advice: Option<&'static str>,
    insn_in_message: bool,
}

const fn rule(pattern: &'static [&'static str], words: &'static str, advice: Option<&'static str>) -> Rule {
    Rule { pattern, words, advice, insn_in_message: false }
}

const fn rule_at(pattern: &'static [&'static str], words: &'static str, advice: Option<&'static str>) -> Rule {
    Rule { pattern, words, advice, insn_in_message: true }
}

const BOUND: Option<&str> = Some("bound the value first: compare it with a constant, or mask it with `& CONSTANT`");
const SHORTEN: Option<&str> = Some("give the loop a smaller constant bound, or do less in each round");

const RULES: &[Rule] = &[
    rule(
        &["map_value_or_null"],
        "the result of a map lookup is used without a check that there is an entry",
        Some("check it first: `if (pointer) { … }`"),
    ),
    rule(
        &["invalid mem access", "_or_null"],
        "a pointer that may be null is used without a check",
        Some("check it first: `if (pointer) { … }`"),
    ),
    rule(
        &["possibly NULL pointer passed"],
        "a pointer that may be null is passed to a helper without a check",
        Some("check it first: `if (pointer) { … }`"),
    ),
    rule(
        &["invalid mem access 'scalar'"],
        "a number is used as a pointer: kernel and user memory can be read by a helper only, not directly",
        Some("read through a typed pointer, so that the compiler emits bpf_probe_read_kernel or bpf_probe_read_user"),
    ),
    rule(
        &["invalid mem access 'inv'"],
        "a number is used as a pointer: kernel and user memory can be read by a helper only, not directly",
        Some("read through a typed pointer, so that the compiler emits bpf_probe_read_kernel or bpf_probe_read_user"),
    ),
    rule(&["invalid mem access"], "memory is accessed through something that is not a pointer to it", None),
    rule(&["unbounded memory access"], "a memory access has no upper limit that the verifier can see", BOUND),
    rule(&["unbounded min value"], "a pointer is moved by a value without a lower limit", BOUND),
    rule(
        &["min value is negative"],
        "a size or index may be negative",
        Some("make it unsigned, or bound it first: compare it with 0, or mask it with `& CONSTANT`"),
    ),
    rule(&["invalid access to map value"], "a map value is accessed outside of its bounds", BOUND),
    rule(&["invalid access to map key"], "a map key is accessed outside of its bounds", BOUND),
    rule(
        &["invalid access to packet"],
        "the packet is accessed past what was checked to be there",
        Some("compare with the end of the packet first"),
    ),
    rule(&["invalid access to memory"], "memory is accessed outside of its bounds", BOUND),
    rule(&["invalid zero-sized read"], "a size may be 0 where the kernel wants at least 1", BOUND),
    rule(&["invalid bpf_context access"], "the probe's context has no such field, or not of that size", None),
    rule(
        &["dereference of modified ctx ptr"],
        "the probe's context is accessed at an offset that is not constant",
        None,
    ),
    rule(&["access beyond struct"], "a kernel structure is read past its end", None),
    rule(&["cannot write into", "read-only"], "memory is written that may only be read", None),
    rule(&["only read is supported"], "a kernel structure is written, which only reads are allowed to", None),
    rule(&["write into map forbidden"], "a read-only map is written", None),
    rule_at(
        &["back-edge from insn"],
        "there is a loop, and this kernel allows none (before 5.3, or without privilege)",
        Some("unroll it"),
    ),
    rule_at(&["infinite loop detected at insn"], "a loop never ends, as far as the verifier can see", SHORTEN),
    rule(&["BPF program is too large"], TOO_LARGE, SHORTEN),
    rule(&["jumps is too complex"], "there are too many branches for the verifier", SHORTEN),
    rule(&["too many states"], "there are too many branches for the verifier", SHORTEN),
    rule_at(&["unreachable insn"], "an instruction can never be reached", None),
    rule_at(&["jump out of range"], "a jump goes outside of the program", None),
    rule(&["last insn is not an exit"], "the program's last instruction is not its end", None),
    rule(
        &["program of this type cannot use helper"],
        "a program of this kind cannot call {helper}",
        Some("use another kind of probe, or a kernel that allows it"),
    ),
    rule(
        &["unknown func"],
        "this kernel has no helper {helper}, or not for this kind of program",
        Some("`skep doctor` shows which helpers there are"),
    ),
    rule(
        &["invalid func"],
        "this kernel does not know that helper",
        Some("`skep doctor` shows which helpers there are"),
    ),
    rule(&["calling kernel function", "not allowed"], "a program of this kind cannot call that kernel function", None),
    rule(
        &["cannot call GPL-restricted function"],
        "the program calls a helper that only GPL programs may call",
        Some("declare the licence \"GPL\""),
    ),
    rule(&["helper call is not allowed in probe"], "this probe cannot call that helper", None),
    rule(&["helper call might sleep in a non-sleepable prog"], "the helper may sleep, which this probe must not", None),
    rule(&["bpf_probe_write_user", "lockdown"], "kernel lockdown forbids writing to user memory", None),
    rule(
        &["combined stack size of"],
        "the program and the functions it calls need more than 512 bytes of stack",
        Some("use smaller strings and structs, or keep them in a map"),
    ),
    rule(&["call stack of", "frames is too deep"], "functions call each other more than 8 deep", None),
    rule(&["invalid indirect access to stack"], "a helper is given stack memory past its bounds", BOUND),
    rule(
        &["invalid indirect read from stack"],
        "a helper is given stack memory that was not written",
        Some("set every byte first, gaps included"),
    ),
    rule(
        &["invalid read from stack"],
        "stack memory is read that was not written, or is outside of the 512 bytes",
        Some("set the variable on every path before it is read"),
    ),
    rule(
        &["invalid write to stack"],
        "the stack is written outside of its 512 bytes",
        Some("use smaller strings and structs, or keep them in a map"),
    ),
    rule(
        &["invalid stack"],
        "the stack is accessed outside of its 512 bytes",
        Some("use smaller strings and structs, or keep them in a map"),
    ),
    rule(
        &["stack depth"],
        "the program needs more than 512 bytes of stack",
        Some("use smaller strings and structs, or keep them in a map"),
    ),
    rule(&["!read_ok"], "a register is read that was not set on every path", None),
    rule(
        &["At program exit the register R0"],
        "the program ends with a return value that this kind of probe does not allow",
        None,
    ),
    rule(
        &["Unreleased reference"],
        "something acquired (a ring buffer record, a socket, an iterator) is not released on every path",
        None,
    ),
    rule(&["reference has not been acquired before"], "something is released that was not acquired", None),
    rule(&["misaligned"], "memory is accessed at an address that is not a multiple of the access size", None),
    rule(
        &["pointer arithmetic", "prohibited"],
        "arithmetic is done on a pointer that the kernel does not allow it on",
        None,
    ),
    rule(&["math between", "pointer"], "a pointer is moved by a value that the verifier cannot bound", BOUND),
    rule(&["pointer comparison prohibited"], "pointers are compared in a way that is not allowed", None),
    rule(
        &["leaks addr"],
        "a kernel address would become visible without the privilege for it",
        Some("run as root, or with CAP_PERFMON"),
    ),
    rule(&["expected=scalar"], "a helper is given something of the wrong kind", None),
    rule(&["type=", "expected="], "a helper is given something of the wrong kind", None),
    rule(&["cannot pass map_type"], "the helper does not work on a map of this type", None),
    rule(&["is not a kernel function", "attach"], "the kernel function to attach to does not exist", None),
    rule(&["attach to unsupported member"], "this cannot be attached to", None),
    rule(&["trace type programs", "hash"], "the map must be preallocated in this kind of program", None),
    rule(&["number of funcs in func_info"], "this kernel knows no callbacks (before 5.13)", None),
    rule(&["func_info"], "this program needs type information for its functions", None),
    rule(&["missing btf func_info"], "this program needs type information for its functions", None),
    rule(
        &["BPF_ATOMIC uses invalid atomic opcode"],
        "this kernel does not know that atomic instruction",
        Some("build for an older instruction set"),
    ),
    rule(&["unknown opcode"], "this kernel does not know that instruction", Some("build for an older instruction set")),
    rule(
        &["uses reserved fields"],
        "this kernel does not know that form of an instruction",
        Some("build for an older instruction set"),
    ),
];

fn in_words(rule: &Rule, message: &str) -> String {
    let words = rule.words.replace("{helper}", function_in(message).unwrap_or("that helper"));
    words.replace("helper that helper", "that helper")
}

/// The function in `… bpf_get_stackid#27`.
fn function_in(message: &str) -> Option<&str> {
    message.split(|c: char| c.is_whitespace() || c == '#').find(|word| word.starts_with("bpf_"))
}

fn number_after(text: &str, before: &str) -> Option<u32> {
    let rest = &text[text.find(before)? + before.len()..];
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

/// The slot in a line like `12: (85) call bpf_map_lookup_elem#1`.
fn instruction(line: &str) -> Option<u32> {
    let (number, rest) = line.split_once(": (")?;
    let code = rest.as_bytes().get(..3)?;
    let is_code = code[2] == b')' && code[..2].iter().all(u8::is_ascii_hexdigit);
    if is_code { number.parse().ok() } else { None }
}

/// A line of the program's source, or of what the verifier says about its functions.
fn is_source(line: &str) -> bool {
    line.starts_with(';')
}

/// Lines after the refusal.
fn is_summary(line: &str) -> bool {
    line.is_empty()
        || line.starts_with("processed ")
        || line.starts_with("verification time ")
        || line.starts_with("stack depth ")
        || line.starts_with("mark_precise")
        || line.starts_with("max_states_per_insn ")
        || line.starts_with("peak_states ")
}

/// Neither an instruction nor source nor the state of registers.
fn is_message(line: &str) -> bool {
    let state = |line: &str| {
        let mut chars = line.chars();
        chars.next() == Some('R') && chars.next().is_some_and(|c| c.is_ascii_digit()) && line.contains('=')
    };
    let numbered_state = line.split_once(": ").is_some_and(|(number, rest)| {
        number.bytes().all(|byte| byte.is_ascii_digit()) && (state(rest) || rest.is_empty())
    });
    let walk = line.starts_with("from ") && line.contains(" to ");
    let compared = line.starts_with("cur state:") || line.starts_with("old state:");
    !line.is_empty()
        && !compared
        && instruction(line).is_none()
        && !is_source(line)
        && !state(line)
        && !numbered_state
        && !walk
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tests/data/verdicts.txt`: cases divided by `====`; each is a log, `----`,
    /// then `insn: N` (or `-`) and `reason: TEXT`. Logs are of real kernels, shortened at the front.
    #[test]
    fn logs_of_real_kernels() {
        let cases = include_str!("../tests/data/verdicts.txt");
        for case in cases.split("====\n").filter(|case| !case.trim().is_empty()) {
            let (log, expected) = case.split_once("----\n").expect("a case has a log and what is expected");
            let verdict = Verdict::read(log);
            let insn = verdict.as_ref().and_then(|v| v.insn).map_or("-".to_owned(), |insn| insn.to_string());
            let reason = verdict.as_ref().map_or("-", |v| v.reason.as_str());
            assert_eq!(format!("insn: {insn}\nreason: {reason}\n"), expected, "for the log\n{log}");
        }
    }

    #[test]
    fn logs_without_a_refusal() {
        assert_eq!(Verdict::read(""), None);
        assert_eq!(Verdict::read("processed 2 insns (limit 1000000) max_states_per_insn 0\n"), None);
        assert_eq!(Verdict::read("0: (b7) r0 = 0\n1: (95) exit\n"), None);
    }

    #[test]
    fn any_text_is_taken() {
        for text in [
            ": (",
            "9999999999999: (aa) x\nmisaligned",
            "insn \u{00e9}",
            "R1=\n5: R",
            "back-edge from insn \nprocessed ",
        ] {
            let _ = Verdict::read(text);
        }
    }
}
