//! Removes the copies that register allocation leaves behind.
//!
//! Works on instructions over real registers, before jumps have distances:
//! 1. within a block, what reads a copy reads the original;
//! 2. a value that is computed into one register only to be copied to another
//!    is computed there;
//! 3. what nothing reads goes;
//! 4. copies that only one side of a conditional jump needs are made there, so
//!    that leaving early (a predicate that fails) is cheap;
//! 5. copies of what a register holds already go.

use isa::{AluOp, AtomicOp, Insn, Reg, class, mode};

/// A set of registers, one bit each.
type RegSet = u16;

const R0: RegSet = 1;
/// What a call does not preserve, its result aside: `r1` to `r5`.
const ARGUMENTS: RegSet = 0b11_1110;

/// A function's instructions before jumps have distances.
#[derive(Debug, Default)]
pub struct Draft {
    pub insns: Vec<Insn>,
    /// The slots of jumps and where they go.
    pub jumps: Vec<(usize, usize)>,
    /// The slots of calls and how many arguments each has, ascending.
    pub calls: Vec<(usize, u8)>,
}

/// What an instruction reads and writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Effect {
    uses: RegSet,
    defs: RegSet,
    /// Does nothing but write its register.
    pure: bool,
}

fn bit(reg: Reg) -> RegSet {
    1 << reg.0
}

fn is_copy(insn: &Insn) -> bool {
    insn.code == class::ALU64 | isa::SRC_REG | AluOp::Mov.bits() && insn.off == 0
}

fn effect(insn: &Insn, arguments: u8) -> Effect {
    let (dst, src) = (bit(insn.dst()), bit(insn.src()));
    let by_register = insn.code & isa::SRC_REG != 0;
    let operand = if by_register { src } else { 0 };
    match insn.code & 7 {
        class::ALU32 | class::ALU64 => {
            let op = insn.code & 0xf0;
            let uses = match op {
                _ if op == AluOp::Mov.bits() => operand,
                // Negation, and byte swaps, whose source bit says which one.
                0x80 | 0xd0 => dst,
                _ => dst | operand,
            };
            Effect { uses, defs: dst, pure: true }
        }
        // 64-bit immediate loads are the only ones of this class that we emit;
        // the second slot has code 0 and no effect.
        class::LD if insn.is_wide() => Effect { uses: 0, defs: dst, pure: true },
        class::LD => Effect::default(),
        class::LDX => Effect { uses: src, defs: dst, pure: true },
        class::ST => Effect { uses: dst, ..Effect::default() },
        class::STX if insn.code & 0xe0 == mode::ATOMIC => {
            let fetches = insn.imm & AtomicOp::FetchAdd as i32 != 0;
            match insn.imm == AtomicOp::Cmpxchg as i32 {
                true => Effect { uses: dst | src | R0, defs: R0, pure: false },
                false => Effect { uses: dst | src, defs: if fetches { src } else { 0 }, pure: false },
            }
        }
        class::STX => Effect { uses: dst | src, ..Effect::default() },
        _ => match insn.code {
            isa::CALL => {
                let read = ((1 << (arguments + 1)) - 1) & ARGUMENTS;
                Effect { uses: read, defs: R0 | ARGUMENTS, pure: false }
            }
            isa::EXIT => Effect { uses: R0, ..Effect::default() },
            isa::JA | isa::JA32 => Effect::default(),
            _ => Effect { uses: dst | operand, ..Effect::default() },
        },
    }
}

/// A straight run of slots.
struct Stretch {
    start: usize,
    end: usize,
    /// The stretches that may follow.
    next: [Option<usize>; 2],
    live_out: RegSet,
}

impl Draft {
    /// Cleans up, and gives for each slot which one it was before.
    pub fn clean(&mut self) -> Vec<usize> {
        let mut effects = self.effects();
        let mut stretches = self.stretches();
        self.propagate_copies(&stretches);
        effects = self.refreshed(effects);
        live(&mut stretches, &effects);
        let mut dead = vec![false; self.insns.len()];
        for s in &stretches {
            self.bury(s, &effects, &mut dead);
        }
        for s in &stretches {
            self.compute_in_place(s, &mut effects, &mut dead);
        }
        let kept = self.compact(&dead);
        let moved = self.sink_copies();
        let left = self.drop_copies_back();
        left.into_iter().map(|at| kept[moved[at]]).collect()
    }

    /// Drops copies of what their register holds already, such as one back after
    /// a copy that was moved to stand before it, and gives for each slot which one it was before.
    fn drop_copies_back(&mut self) -> Vec<usize> {
        let mut stretches = self.stretches();
        self.propagate_copies(&stretches);
        let effects = self.effects();
        live(&mut stretches, &effects);
        let mut dead = vec![false; self.insns.len()];
        for s in &stretches {
            self.bury(s, &effects, &mut dead);
        }
        self.compact(&dead)
    }

    fn effects(&self) -> Vec<Effect> {
        let mut calls = self.calls.iter().peekable();
        let each = self.insns.iter().enumerate().map(|(i, insn)| {
            let arguments = calls.next_if(|(at, _)| *at == i).map_or(5, |(_, n)| *n);
            effect(insn, arguments)
        });
        each.collect()
    }

    /// Effects after operands were renamed.
    fn refreshed(&self, mut effects: Vec<Effect>) -> Vec<Effect> {
        for (insn, effect_of) in self.insns.iter().zip(&mut effects) {
            if insn.code != isa::CALL {
                *effect_of = effect(insn, 0);
            }
        }
        effects
    }

    fn stretches(&self) -> Vec<Stretch> {
        let len = self.insns.len();
        let mut starts = vec![false; len + 1];
        starts[0] = true;
        for &(at, to) in &self.jumps {
            starts[to.min(len)] = true;
            starts[at + 1] = true;
        }
        for (i, insn) in self.insns.iter().enumerate() {
            starts[i + 1] |= insn.code == isa::EXIT;
        }
        starts[len] = true;
        // The stretch that begins at each start; so the one before ends there.
        let mut index = vec![0; len + 1];
        let mut stretches: Vec<Stretch> = Vec::new();
        for (at, _) in starts.iter().enumerate().filter(|(_, start)| **start) {
            if let Some(last) = stretches.last_mut() {
                last.end = at;
            }
            index[at] = stretches.len();
            if at < len {
                stretches.push(Stretch { start: at, end: len, next: [None; 2], live_out: 0 });
            }
        }
        for s in &mut stretches {
            let last = self.insns[s.end - 1].code;
            if !matches!(last, isa::EXIT | isa::JA | isa::JA32) && s.end < len {
                s.next[0] = Some(index[s.end]);
            }
        }
        for &(at, to) in &self.jumps {
            stretches[index[at + 1] - 1].next[1] = Some(index[to]).filter(|_| to < len);
        }
        stretches
    }

    /// Lets memory accesses and arithmetic read the original of a copy. Most
    /// jumps keep their operands: the verifier should see the very register that
    /// is tested. (What it learns from a null check, it learns about all copies.)
    fn propagate_copies(&mut self, stretches: &[Stretch]) {
        for s in stretches {
            let mut original: [Option<Reg>; 11] = [None; 11];
            for i in s.start..s.end {
                let insn = &mut self.insns[i];
                let of = |reg: Reg| original[usize::from(reg.0)].unwrap_or(reg);
                let (dst, src) = (insn.dst(), insn.src());
                let reads_src = match insn.code & 7 {
                    class::ALU32 | class::ALU64 => insn.code & isa::SRC_REG != 0 && insn.code & 0xf0 != 0xd0,
                    class::LDX => true,
                    class::STX => insn.code & 0xe0 != mode::ATOMIC,
                    _ => false,
                };
                let new_src = if reads_src { of(src) } else { src };
                let is_store = matches!(insn.code & 7, class::ST | class::STX);
                let null_checks = [class::JMP | isa::Cond::Eq as u8, class::JMP | isa::Cond::Ne as u8];
                let is_null_check = null_checks.contains(&insn.code) && insn.imm == 0;
                let new_dst = if is_store || is_null_check { of(dst) } else { dst };
                insn.regs = new_dst.0 | new_src.0 << 4;
                let written = effect(insn, 5).defs;
                if written != 0 {
                    for (reg, copy) in original.iter_mut().enumerate() {
                        if written & (1 << reg) != 0 || copy.is_some_and(|c| written & bit(c) != 0) {
                            *copy = None;
                        }
                    }
                }
                if is_copy(insn) && new_dst != new_src {
                    original[usize::from(new_dst.0)] = Some(new_src);
                }
            }
        }
    }

    /// Marks what nothing reads, from the end of a stretch.
    fn bury(&self, s: &Stretch, effects: &[Effect], dead: &mut [bool]) {
        let mut live = s.live_out;
        for i in (s.start..s.end).rev() {
            let e = effects[i];
            let itself = is_copy(&self.insns[i]) && self.insns[i].dst() == self.insns[i].src();
            if itself || e.pure && e.defs & live == 0 {
                dead[i] = true;
                if self.insns[i].is_wide() {
                    dead[i + 1] = true;
                }
                continue;
            }
            live = live & !e.defs | e.uses;
        }
    }

    /// `a = …; b = a` with `a` not read later: `b = …`.
    fn compute_in_place(&mut self, s: &Stretch, effects: &mut [Effect], dead: &mut [bool]) {
        let mut live = s.live_out;
        for i in (s.start..s.end).rev() {
            if dead[i] {
                continue;
            }
            let (a, b) = (self.insns[i].src(), self.insns[i].dst());
            if is_copy(&self.insns[i])
                && live & bit(a) == 0
                && a.0 < 10
                && let Some(from) = self.start_of_value(s, i, a, b, effects, dead)
            {
                for (insn, effect_of) in self.insns[from..i].iter_mut().zip(&mut effects[from..i]) {
                    if *effect_of == Effect::default() {
                        continue; // the second slot of a wide load
                    }
                    let renamed = |reg: Reg| if reg == a { b } else { reg };
                    let (dst, src) = (renamed(insn.dst()), renamed(insn.src()));
                    // The source field of a wide load says what it loads, and that
                    // of an instruction with an immediate is empty.
                    let uses_src = insn.code & 7 == class::LDX
                        || insn.code & 7 == class::STX
                        || matches!(insn.code & 7, class::ALU32 | class::ALU64)
                            && insn.code & isa::SRC_REG != 0
                            && insn.code & 0xf0 != 0xd0;
                    let src = if uses_src { src } else { insn.src() };
                    insn.regs = dst.0 | src.0 << 4;
                    if insn.code != isa::CALL {
                        *effect_of = effect(insn, 0);
                    }
                }
                dead[i] = true;
                continue;
            }
            live = live & !effects[i].defs | effects[i].uses;
        }
    }

    /// The instruction before the copy at `copy` that first computes what `a`
    /// holds there, if all from it on could work on `b` instead.
    fn start_of_value(
        &self,
        s: &Stretch,
        copy: usize,
        a: Reg,
        b: Reg,
        effects: &[Effect],
        dead: &[bool],
    ) -> Option<usize> {
        for j in (s.start..copy).rev() {
            if dead[j] {
                continue;
            }
            let (e, insn) = (effects[j], &self.insns[j]);
            let touched = e.uses | e.defs;
            if touched & bit(b) != 0 {
                return None;
            }
            if touched & bit(a) == 0 {
                continue;
            }
            // Some instructions have their registers fixed.
            if insn.code == isa::CALL || insn.code & 7 == class::STX && insn.code & 0xe0 == mode::ATOMIC {
                return None;
            }
            if e.defs & bit(a) != 0 && e.uses & bit(a) == 0 {
                return e.pure.then_some(j);
            }
        }
        None
    }

    /// Moves copies below the conditional jump that ends their stretch where the
    /// jump's target does not read them, and gives for each slot which one it
    /// was before.
    fn sink_copies(&mut self) -> Vec<usize> {
        let mut origins: Vec<usize> = (0..self.insns.len()).collect();
        let effects = self.effects();
        let mut stretches = self.stretches();
        let live_in = live(&mut stretches, &effects);
        let mut is_target = vec![false; self.insns.len() + 1];
        for (_, to) in &self.jumps {
            is_target[*to] = true;
        }
        for s in &stretches {
            let jump = s.end - 1;
            let ([Some(_), Some(taken)], false) = (s.next, is_target[s.end]) else { continue };
            // What the instructions that stay behind the copy write, and what they touch.
            let (mut written, mut touched) = (0, effects[jump].uses);
            let mut sunk = Vec::new();
            for i in (s.start..jump).rev() {
                let (insn, e) = (self.insns[i], effects[i]);
                let movable =
                    is_copy(&insn) && written & e.uses == 0 && touched & e.defs == 0 && live_in[taken] & e.defs == 0;
                if movable {
                    sunk.push(i);
                }
                // What is sunk still comes after what stands before it.
                written |= e.defs;
                touched |= e.defs | e.uses;
            }
            if !sunk.is_empty() {
                let stay = (s.start..s.end).filter(|i| !sunk.contains(i));
                let order: Vec<usize> = stay.chain(sunk.iter().rev().copied()).collect();
                let insns: Vec<Insn> = order.iter().map(|i| self.insns[*i]).collect();
                self.insns[s.start..s.end].copy_from_slice(&insns);
                origins[s.start..s.end].copy_from_slice(&order);
            }
        }
        let mut places = vec![0; origins.len()];
        for (place, origin) in origins.iter().enumerate() {
            places[*origin] = place;
        }
        // Targets are where stretches start, whatever stands there now.
        self.jumps.iter_mut().for_each(|(at, _)| *at = places[*at]);
        self.calls.iter_mut().for_each(|(at, _)| *at = places[*at]);
        origins
    }

    /// Drops dead slots, and gives for each slot which one it was before.
    fn compact(&mut self, dead: &[bool]) -> Vec<usize> {
        let mut places = Vec::with_capacity(dead.len() + 1);
        let mut origins = Vec::with_capacity(dead.len());
        for (i, dead) in dead.iter().enumerate() {
            places.push(origins.len());
            if !dead {
                self.insns[origins.len()] = self.insns[i];
                origins.push(i);
            }
        }
        places.push(origins.len());
        self.insns.truncate(origins.len());
        for (at, to) in &mut self.jumps {
            (*at, *to) = (places[*at], places[*to]);
        }
        self.calls.iter_mut().for_each(|(at, _)| *at = places[*at]);
        origins
    }
}

/// Finds what is live at the end of each stretch, and gives what is at its start.
fn live(stretches: &mut [Stretch], effects: &[Effect]) -> Vec<RegSet> {
    let mut live_in = vec![0; stretches.len()];
    loop {
        let mut changed = false;
        for i in (0..stretches.len()).rev() {
            let out = stretches[i].next.iter().flatten().fold(0, |set, next| set | live_in[*next]);
            stretches[i].live_out = out;
            let s = &stretches[i];
            let into = (s.start..s.end).rev().fold(out, |live, i| live & !effects[i].defs | effects[i].uses);
            changed |= into != live_in[i];
            live_in[i] = into;
        }
        if !changed {
            return live_in;
        }
    }
}
