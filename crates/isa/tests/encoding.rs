//! Bytes ↔ instruction ↔ text, from the tables in `tests/data` and over the
//! whole opcode space.

use isa::{Insn, Op, assemble, disassemble};

/// Splits a table line into its bytes and what stands behind them.
fn split_bytes(line: &str) -> (Vec<u8>, &str) {
    let (mut bytes, mut rest) = (Vec::new(), line);
    while let Some(byte) = rest.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
        if !rest[2..].starts_with(' ') {
            break;
        }
        bytes.push(byte);
        rest = &rest[3..];
        if rest.starts_with(' ') {
            break;
        }
    }
    (bytes, rest.trim())
}

fn insns(bytes: &[u8]) -> Vec<Insn> {
    bytes.chunks_exact(8).map(|b| Insn::from_bytes(b.try_into().expect("eight bytes"))).collect()
}

fn lines(table: &str) -> impl Iterator<Item = &str> {
    table.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[test]
fn table_both_ways() {
    let mut opcodes = std::collections::BTreeSet::new();
    for line in lines(include_str!("data/instructions.txt")) {
        let (bytes, text) = split_bytes(line);
        let insns = insns(&bytes);
        let op = Op::decode(&insns).unwrap_or_else(|e| panic!("{line}: {e}"));
        assert_eq!(op.to_string(), text, "{line}");
        assert_eq!(op.slots(), insns.len(), "{line}");
        let (first, second) = op.encode();
        assert_eq!([first].into_iter().chain(second).collect::<Vec<_>>(), insns, "{line}");
        assert_eq!(assemble(text), Ok(insns.clone()), "{line}");
        opcodes.insert(bytes[0]);
    }
    // Every opcode that decodes with some fields stands in the table.
    let missing: Vec<u8> =
        (0..=255).filter(|code| !opcodes.contains(code) && variants(*code).next().is_some()).collect();
    let jump32 = |code: u8| code & 7 == isa::class::JMP32;
    assert!(missing.iter().all(|code| jump32(*code)), "not in the table: {missing:02x?}");
}

/// Encodings with this opcode that are instructions, over a choice of fields.
fn variants(code: u8) -> impl Iterator<Item = Vec<Insn>> {
    const REGS: [u8; 9] = [0x00, 0x01, 0x10, 0x21, 0x4a, 0x50, 0x61, 0x77, 0xa9];
    const OFFS: [i16; 9] = [0, 1, 8, 16, 32, -1, 100, i16::MAX, i16::MIN];
    const IMMS: [i32; 16] =
        [0, 1, 16, 32, 64, 0x40, 0x41, 0x50, 0xa1, 0xe1, 0xf1, 0x100, 0x110, -1, i32::MAX, i32::MIN];
    REGS.into_iter()
        .flat_map(|regs| OFFS.into_iter().map(move |off| (regs, off)))
        .flat_map(|(regs, off)| IMMS.into_iter().map(move |imm| (regs, off, imm)))
        .flat_map(move |(regs, off, imm)| {
            let first = Insn { code, regs, off, imm };
            let second = |imm| Insn { imm, ..Insn::default() };
            [vec![first], vec![first, second(0)], vec![first, second(-7)]]
        })
        .filter(|insns| Op::decode(insns).is_ok_and(|op| op.slots() == insns.len()))
}

#[test]
fn all_opcodes_survive_encoding_and_text() {
    let mut count = 0;
    for insns in (0..=255).flat_map(variants) {
        let op = Op::decode(&insns).expect("chosen because it decodes");
        let (first, second) = op.encode();
        assert_eq!([first].into_iter().chain(second).collect::<Vec<_>>(), insns, "{op}");
        assert_eq!(assemble(&op.to_string()), Ok(insns), "{op}");
        count += 1;
    }
    assert!(count > 10_000, "only {count} encodings");
}

#[test]
fn refused_encodings() {
    for line in lines(include_str!("data/refused.txt")) {
        let (bytes, message) = split_bytes(line);
        let error = Op::decode(&insns(&bytes)).expect_err(line);
        assert!(error.to_string().contains(message), "{line}: {error}");
    }
}

#[test]
fn syntax_errors() {
    for line in lines(include_str!("data/syntax.txt")) {
        let (text, message) = line.rsplit_once('|').expect(line);
        let error = assemble(text).expect_err(line);
        assert_eq!(error.to_string(), message.trim(), "{line}");
    }
}

/// A small generator, so that failures repeat.
struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[test]
fn any_bytes_survive_disassembly() {
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    for _ in 0..20_000 {
        let length = (random.next() % 12) as usize;
        let insns: Vec<Insn> = (0..length)
            .map(|_| {
                let mut bytes = random.next().to_le_bytes();
                // Half of them close to real instructions.
                if random.next() & 1 == 0 {
                    bytes[1] &= 0x77;
                    bytes[2] &= 0x7;
                    bytes[3] = 0;
                }
                Insn::from_bytes(bytes)
            })
            .collect();
        let text = disassemble(&insns);
        assert_eq!(assemble(&text), Ok(insns), "{text}");
    }
}

#[test]
fn any_text_is_an_error_or_a_program() {
    const PIECES: [&str; 40] = [
        "r1",
        "w2",
        "r0",
        "=",
        "+=",
        "-",
        "*",
        "(",
        ")",
        "u64",
        "s8",
        "[",
        "]",
        "0x7fffffffffffffff",
        "18446744073709551615",
        "12",
        "if",
        "goto",
        "call",
        "lock",
        "map",
        "fd",
        "idx",
        ":",
        "#",
        "<",
        ">",
        "s>",
        "ll",
        "exit",
        "skb",
        "\n",
        "L",
        "é",
        ".quad",
        ";",
        "kfunc",
        "pc",
        ",",
        "subprog",
    ];
    let mut random = Xorshift(7);
    for _ in 0..50_000 {
        let mut text = String::new();
        for _ in 0..random.next() % 10 {
            text.push_str(PIECES[(random.next() % PIECES.len() as u64) as usize]);
            if random.next() & 1 == 0 {
                text.push(' ');
            }
        }
        if let Ok(insns) = assemble(&text) {
            assert_eq!(assemble(&disassemble(&insns)), Ok(insns), "{text}");
        }
    }
}

#[test]
fn labels_and_listing() {
    let text = "\
entry:
    r6 = r1
    r0 = 0
loop: r0 += 1
    if r0 < 10 goto loop
    if r6 == 0 goto done   ; a comment
    r2 = subprog[callback] // another
    call callback
    goto entry
done:
    exit
callback:
    r0 = 0x1
    exit";
    let insns = assemble(text).expect("assembles");
    let listed = isa::listing(&insns, |slot| isa::Note {
        before: if slot == 0 { "two\nlines".to_owned() } else { String::new() },
        after: format!("slot {slot}"),
    });
    assert_eq!(assemble(&listed), Ok(insns.clone()));
    assert_eq!(assemble(&disassemble(&insns)), Ok(insns));
    assert!(listed.starts_with("; two\n; lines\nL0:\n     0: r6 = r1  ; slot 0\n"), "{listed}");
    assert!(listed.contains("5: r2 = subprog[L10]"), "{listed}");
}

#[test]
fn what_others_write() {
    for (theirs, ours) in [
        ("   0: (79) r0 = *(u64 *)(r1 +8)", "r0 = *(u64 *)(r1 + 0x8)"),
        ("(55) if r0 != 0x0 goto pc+2", ""),
        ("if r1 s> 5 goto +3 <LBB0_2>", "if r1 s> 0x5 goto +3"),
        ("if r1 s> 5 goto +0x3 <prog+0x20>", "if r1 s> 0x5 goto +3"),
        ("r1 = 0xffffffff", "r1 = -0x1"),
        ("r1 = -1 ll", "r1 = 0xffffffffffffffff ll"),
        ("call bpf_ktime_get_ns", "call bpf_ktime_get_ns#5"),
        ("call 5", "call bpf_ktime_get_ns#5"),
        ("*(u32 *)(r1 + 0) = w2", "*(u32 *)(r1 + 0x0) = r2"),
    ] {
        match ours {
            "" => assert!(assemble(theirs).is_ok(), "{theirs}: {:?}", assemble(theirs)),
            _ => assert_eq!(assemble(theirs).map(|i| disassemble(&i).trim().to_owned()), Ok(ours.to_owned())),
        }
    }
}
