//! Classic BPF: encoding and text, from `tests/data/classic.txt` and over the
//! whole opcode space.

use isa::cbpf::{Filter, Op, disassemble};

#[test]
fn table_both_ways() {
    let (mut filters, mut expected) = (Vec::new(), Vec::new());
    for line in include_str!("data/classic.txt").lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let (numbers, text) = line.split_once(" | ").expect(line);
        let numbers: Vec<u32> = numbers.split_whitespace().map(|n| n.parse().expect(line)).collect();
        let filter = Filter { code: numbers[0] as u16, jt: numbers[1] as u8, jf: numbers[2] as u8, k: numbers[3] };
        assert_eq!(Op::decode(&filter).expect(line).encode(), filter, "{line}");
        assert_eq!(Filter::from_bytes(filter.to_bytes()), filter, "{line}");
        filters.push(filter);
        expected.push(text);
    }
    assert_eq!(disassemble(&filters).lines().collect::<Vec<_>>(), expected);
}

#[test]
fn every_opcode_decodes_to_itself_or_not_at_all() {
    let mut found = 0;
    for code in 0..=u16::MAX {
        for k in [0, 7, u32::MAX] {
            let filter = Filter { code, jt: 1, jf: 2, k };
            assert!(!disassemble(&[filter]).is_empty());
            if let Ok(op) = Op::decode(&filter) {
                let again = op.encode();
                assert_eq!((again.code, Op::decode(&again)), (code, Ok(op)));
                found += u32::from(k == 0);
            }
        }
    }
    // As many as `chk_code_allowed` in Linux's net/core/filter.c: 21 arithmetic,
    // 9 loads, 4 index loads, 2 stores, 2 moves, 2 returns, 9 jumps.
    assert_eq!(found, 49);
}
