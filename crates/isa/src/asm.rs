//! Assembly text → instructions: what [`crate::disassemble`] and
//! [`crate::listing`] write, and what LLVM and the verifier log write where
//! they differ only in number base.
//!
//! A line is a label (`name:`), an instruction, or both. A number with a colon
//! in front (`12:`) and an opcode in parentheses (`(b7)`) are skipped, as are
//! `<…>` behind a jump. A comment starts with `;` or `//`.

use std::collections::HashMap;

use crate::error::Error;
use crate::insn::{Insn, Reg};
use crate::op::{Callee, Imm64, Op, Operand};
use crate::opcode::*;
use crate::uapi::HELPER_NAMES;

/// Assembles a program.
pub fn assemble(text: &str) -> Result<Vec<Insn>, Error> {
    let mut assembler = Assembler::default();
    for (number, line) in text.lines().enumerate() {
        let number = u32::try_from(number + 1).unwrap_or(u32::MAX);
        assembler.line(number, line)?;
    }
    assembler.finish()
}

#[derive(Default)]
struct Assembler<'t> {
    insns: Vec<Insn>,
    labels: HashMap<&'t str, usize>,
    fixups: Vec<Fixup<'t>>,
}

/// An instruction whose distance depends on a label.
struct Fixup<'t> {
    slot: usize,
    label: &'t str,
    line: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token<'t> {
    Word(&'t str),
    Number(u64),
    Symbol(&'static str),
}

/// Longest first, so that a prefix does not win.
const SYMBOLS: [&str; 37] = [
    "s>>=", "s>=", "s<=", "s/=", "s%=", "<<=", ">>=", "s>", "s<", "==", "!=", ">=", "<=", "+=", "-=", "*=", "/=", "%=",
    "|=", "&=", "^=", "=", "(", ")", "*", "+", "-", "[", "]", ":", ",", "#", "<", ">", "&", "!", "?",
];

impl<'t> Assembler<'t> {
    fn line(&mut self, number: u32, text: &'t str) -> Result<(), Error> {
        let text = text.split(';').next().unwrap_or("");
        let text = text.split("//").next().unwrap_or("");
        let tokens = tokenize(number, text)?;
        let mut line = Line { number, tokens: &tokens, at: 0 };
        loop {
            match line.rest() {
                [Token::Number(_), Token::Symbol(":"), ..] => line.at += 2,
                [Token::Word(name), Token::Symbol(":"), ..] => {
                    if self.labels.insert(name, self.insns.len()).is_some() {
                        return Err(Error::DuplicateLabel { line: number, name: (*name).to_owned() });
                    }
                    line.at += 2;
                }
                _ => break,
            }
        }
        // The verifier log has the opcode in front: `(b7) r0 = 0`.
        if let [Token::Symbol("("), Token::Word(_) | Token::Number(_), Token::Symbol(")"), ..] = line.rest() {
            line.at += 3;
        }
        if line.rest().is_empty() {
            return Ok(());
        }
        if line.word(".quad") {
            let bytes = line.number_u64()?.to_le_bytes();
            line.end()?;
            self.insns.push(Insn::from_bytes(bytes));
            return Ok(());
        }
        let (op, label) = line.instruction()?;
        line.end()?;
        if let Some(label) = label {
            self.fixups.push(Fixup { slot: self.insns.len(), label, line: number });
        }
        let (first, second) = op.encode();
        self.insns.push(first);
        self.insns.extend(second);
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Insn>, Error> {
        for Fixup { slot, label, line } in self.fixups {
            let Some(&to) = self.labels.get(label) else {
                return Err(Error::UnknownLabel { line, name: label.to_owned() });
            };
            let distance = to as i64 - slot as i64 - 1;
            let too_far = Error::TooFar { line, distance };
            let insn = &mut self.insns[slot];
            // These have the distance in the immediate, all others in the offset.
            if matches!(insn.code, CALL | LD_IMM64 | JA32) {
                insn.imm = i32::try_from(distance).map_err(|_| too_far)?;
            } else {
                insn.off = i16::try_from(distance).map_err(|_| too_far)?;
            }
        }
        Ok(self.insns)
    }
}

fn tokenize(line: u32, text: &str) -> Result<Vec<Token<'_>>, Error> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let symbol = SYMBOLS.into_iter().find(|s| rest.starts_with(s));
        let length = if let Some(symbol) = symbol {
            tokens.push(Token::Symbol(symbol));
            symbol.len()
        } else {
            let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).unwrap_or(rest.len());
            let word = &rest[..length];
            if length == 0 {
                return Err(Error::Syntax { line, message: format!("unexpected `{first}`") });
            }
            tokens.push(if first.is_ascii_digit() {
                number(word).unwrap_or(Token::Word(word))
            } else {
                Token::Word(word)
            });
            length
        };
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

fn number(word: &str) -> Option<Token<'_>> {
    let value = match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => word.parse(),
    };
    value.ok().map(Token::Number)
}

/// The tokens of a line with a place in them.
struct Line<'l, 't> {
    number: u32,
    tokens: &'l [Token<'t>],
    at: usize,
}

/// An instruction, and the label that stands for its distance.
type Labelled<'t> = (Op, Option<&'t str>);

impl<'t> Line<'_, 't> {
    fn rest(&self) -> &[Token<'t>] {
        &self.tokens[self.at.min(self.tokens.len())..]
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T, Error> {
        Err(Error::Syntax { line: self.number, message: message.into() })
    }

    fn expected<T>(&self, what: &str) -> Result<T, Error> {
        match self.rest().first() {
            Some(Token::Word(word)) => self.error(format!("expected {what}, found `{word}`")),
            Some(Token::Number(number)) => self.error(format!("expected {what}, found `{number}`")),
            Some(Token::Symbol(symbol)) => self.error(format!("expected {what}, found `{symbol}`")),
            None => self.error(format!("expected {what}, found the end of the line")),
        }
    }

    fn end(&self) -> Result<(), Error> {
        if self.rest().is_empty() { Ok(()) } else { self.expected("the end of the line") }
    }

    /// Takes this word if it is next.
    fn word(&mut self, word: &str) -> bool {
        let found = self.rest().first() == Some(&Token::Word(word));
        self.at += usize::from(found);
        found
    }

    /// Takes this symbol if it is next.
    fn symbol(&mut self, symbol: &'static str) -> bool {
        let found = self.rest().first() == Some(&Token::Symbol(symbol));
        self.at += usize::from(found);
        found
    }

    fn need(&mut self, symbol: &'static str) -> Result<(), Error> {
        if self.symbol(symbol) { Ok(()) } else { self.expected(&format!("`{symbol}`")) }
    }

    fn any_word(&mut self, what: &str) -> Result<&'t str, Error> {
        match self.rest().first() {
            Some(Token::Word(word)) => {
                let word = *word;
                self.at += 1;
                Ok(word)
            }
            _ => self.expected(what),
        }
    }

    fn number_u64(&mut self) -> Result<u64, Error> {
        match self.rest().first() {
            Some(Token::Number(number)) => {
                let number = *number;
                self.at += 1;
                Ok(number)
            }
            _ => self.expected("a number"),
        }
    }

    /// A number with an optional sign that fits `T`.
    fn signed<T: TryFrom<i128>>(&mut self) -> Result<T, Error> {
        let negative = self.symbol("-");
        if !negative {
            self.symbol("+");
        }
        let magnitude = i128::from(self.number_u64()?);
        let value = if negative { -magnitude } else { magnitude };
        T::try_from(value).or_else(|_| self.error(format!("{value} does not fit the instruction")))
    }

    /// A 32-bit immediate, also as the unsigned number with the same bits.
    fn imm(&mut self) -> Result<i32, Error> {
        let value: i64 = self.signed()?;
        match i32::try_from(value) {
            Ok(imm) => Ok(imm),
            Err(_) => match u32::try_from(value) {
                Ok(imm) => Ok(imm as i32),
                Err(_) => self.error(format!("{value} does not fit 32 bits; use `ll` for a 64-bit immediate")),
            },
        }
    }

    /// A register if one is next.
    fn register(&mut self) -> Option<(Width, Reg)> {
        let Some(Token::Word(word)) = self.rest().first() else { return None };
        let found = register(word)?;
        self.at += 1;
        Some(found)
    }

    fn need_register(&mut self) -> Result<(Width, Reg), Error> {
        match self.register() {
            Some(found) => Ok(found),
            None => self.expected("a register"),
        }
    }

    fn operand(&mut self, width: Width) -> Result<Operand, Error> {
        match self.register() {
            Some((found, reg)) if found == width => Ok(Operand::Reg(reg)),
            Some(_) => self.error("32-bit and 64-bit registers in one instruction"),
            None => Ok(Operand::Imm(self.imm()?)),
        }
    }

    /// `*(u64 *)(r1 + 8)`, after the `*`; `(u64 *)(r1 + 8)` is the same.
    fn memory(&mut self) -> Result<(bool, Size, Reg, i16), Error> {
        let (signed, size) = self.pointer_type()?;
        self.need("(")?;
        let (base, off) = self.address()?;
        self.need(")")?;
        Ok((signed, size, base, off))
    }

    fn pointer_type(&mut self) -> Result<(bool, Size), Error> {
        self.need("(")?;
        let word = self.any_word("a type like `u32`")?;
        let size = word.get(1..).and_then(|bits| bits.parse().ok()).and_then(Size::from_bits);
        let (signed, size) = match (word.get(..1), size) {
            (Some("u"), Some(size)) => (false, size),
            (Some("s"), Some(size)) => (true, size),
            _ => return self.error(format!("no type `{word}`; there are u8, u16, u32, u64 and s8, s16, s32")),
        };
        self.need("*")?;
        self.need(")")?;
        Ok((signed, size))
    }

    /// `r1 + 8`.
    fn address(&mut self) -> Result<(Reg, i16), Error> {
        let (_, base) = self.need_register()?;
        let off = match self.rest().first() {
            Some(Token::Symbol("+" | "-")) => self.signed()?,
            _ => 0,
        };
        Ok((base, off))
    }

    /// A signed distance (the verifier log puts `pc` before it) or a label.
    fn target<T: TryFrom<i128> + Default>(&mut self) -> Result<(T, Option<&'t str>), Error> {
        if let [Token::Word("pc"), Token::Symbol("+" | "-"), ..] = self.rest() {
            self.at += 1;
        }
        let found = match self.rest().first() {
            Some(Token::Word(label)) => {
                let label = *label;
                self.at += 1;
                (T::default(), Some(label))
            }
            _ => (self.signed()?, None),
        };
        // LLVM repeats the target's name in angle brackets.
        if self.symbol("<") {
            while !self.rest().is_empty() && !self.symbol(">") {
                self.at += 1;
            }
        }
        Ok(found)
    }

    fn instruction(&mut self) -> Result<Labelled<'t>, Error> {
        if let Some((width, dst)) = self.register() {
            return self.assignment(width, dst);
        }
        if self.symbol("*") {
            let (_, size, base, off) = self.memory()?;
            self.need("=")?;
            let src = match self.register() {
                Some((_, reg)) => Operand::Reg(reg),
                None => Operand::Imm(self.imm()?),
            };
            return Ok((Op::Store { size, base, off, src }, None));
        }
        match self.any_word("an instruction")? {
            "exit" => Ok((Op::Exit, None)),
            "goto" => {
                let (off, label) = self.target()?;
                Ok((Op::Jump { off }, label))
            }
            "gotol" => {
                let (distance, label) = self.target()?;
                Ok((Op::JumpLong { distance }, label))
            }
            "gotox" => Ok((Op::JumpIndirect { target: self.need_register()?.1 }, None)),
            "may_goto" => {
                let (off, label) = self.target()?;
                Ok((Op::MayGoto { off }, label))
            }
            "if" => self.jump_if(),
            "call" => self.call(),
            "lock" => self.lock(),
            "store_release" => {
                self.need("(")?;
                let (_, size, base, off) = self.memory()?;
                self.need(",")?;
                let (_, reg) = self.need_register()?;
                self.need(")")?;
                Ok((Op::Atomic { op: AtomicOp::StoreRelease, size, base, off, reg }, None))
            }
            other => self.error(format!("no instruction starts with `{other}`")),
        }
    }

    fn jump_if(&mut self) -> Result<Labelled<'t>, Error> {
        let (width, dst) = self.need_register()?;
        let Some(cond) = Cond::ALL.into_iter().find(|cond| self.symbol(cond.symbol())) else {
            return self.expected("a comparison");
        };
        let src = self.operand(width)?;
        if !self.word("goto") {
            return self.expected("`goto`");
        }
        let (off, label) = self.target()?;
        Ok((Op::JumpIf { width, cond, dst, src, off }, label))
    }

    fn call(&mut self) -> Result<Labelled<'t>, Error> {
        let name = match self.rest().first() {
            Some(Token::Word(name)) => *name,
            _ => return Ok((Op::Call(Callee::Helper(self.imm()? as u32)), None)),
        };
        self.at += 1;
        if self.symbol("#") {
            let id: u32 = self.signed()?;
            let callee = if name == "kfunc" {
                let btf_index = if self.symbol(",") { self.signed()? } else { 0 };
                Callee::Kfunc { btf_id: id, btf_index }
            } else {
                Callee::Helper(id)
            };
            return Ok((Op::Call(callee), None));
        }
        if name == "pc" {
            return Ok((Op::Call(Callee::Local(self.signed()?)), None));
        }
        let helper = name.strip_prefix("bpf_").and_then(|name| HELPER_NAMES.iter().position(|n| *n == name));
        match helper.and_then(|id| u32::try_from(id).ok()) {
            Some(id) => Ok((Op::Call(Callee::Helper(id)), None)),
            None => Ok((Op::Call(Callee::Local(0)), Some(name))),
        }
    }

    fn lock(&mut self) -> Result<Labelled<'t>, Error> {
        self.need("*")?;
        let (_, size, base, off) = self.memory()?;
        let op = [("+=", AtomicOp::Add), ("|=", AtomicOp::Or), ("&=", AtomicOp::And), ("^=", AtomicOp::Xor)]
            .into_iter()
            .find(|(symbol, _)| self.symbol(symbol));
        let Some((_, op)) = op else { return self.expected("`+=`, `|=`, `&=` or `^=`") };
        let (_, reg) = self.need_register()?;
        self.atomic(op, size, base, off, reg)
    }

    fn atomic(&self, op: AtomicOp, size: Size, base: Reg, off: i16, reg: Reg) -> Result<Labelled<'t>, Error> {
        if !op.allows(size) {
            return self.error("atomic operations are on 32 or 64 bits");
        }
        Ok((Op::Atomic { op, size, base, off, reg }, None))
    }

    /// What starts with a register.
    fn assignment(&mut self, width: Width, dst: Reg) -> Result<Labelled<'t>, Error> {
        if !self.symbol("=") {
            let op = AluOp::ALL.into_iter().filter(|op| *op != AluOp::Mov).find(|op| self.symbol(op.symbol()));
            let Some(op) = op else { return self.expected("an assignment") };
            return Ok((Op::Alu { width, op, dst, src: self.operand(width)? }, None));
        }
        match self.rest() {
            [Token::Symbol("*"), ..] => {
                self.at += 1;
                self.load(dst)
            }
            [Token::Symbol("-"), Token::Word(_), ..] => {
                self.at += 1;
                let (found, reg) = self.need_register()?;
                if (found, reg) != (width, dst) {
                    return self.error("a negation has one register");
                }
                Ok((Op::Neg { width, dst }, None))
            }
            [Token::Symbol("("), ..] => self.sign_extension(width, dst),
            [Token::Word(word), ..] if register(word).is_none() => {
                let word = *word;
                self.at += 1;
                self.named(width, dst, word)
            }
            [Token::Number(value), Token::Word("ll"), ..] => {
                let value = *value;
                self.at += 2;
                Ok((Op::LoadImm64 { dst, imm: Imm64::Value(value) }, None))
            }
            [Token::Symbol("-"), Token::Number(_), Token::Word("ll"), ..] => {
                let value: i64 = self.signed()?;
                self.at += 1;
                Ok((Op::LoadImm64 { dst, imm: Imm64::Value(value as u64) }, None))
            }
            _ => Ok((Op::Alu { width, op: AluOp::Mov, dst, src: self.operand(width)? }, None)),
        }
    }

    /// After `rN = *`.
    fn load(&mut self, dst: Reg) -> Result<Labelled<'t>, Error> {
        let (signed, size) = self.pointer_type()?;
        if self.word("skb") {
            self.need("[")?;
            let (index, offset) = match self.register() {
                Some((_, index)) => {
                    let signed = matches!(self.rest().first(), Some(Token::Symbol("+" | "-")));
                    (Some(index), if signed { self.signed()? } else { 0 })
                }
                None => (None, self.imm()?),
            };
            self.need("]")?;
            if dst != Reg(0) || size == Size::Dw || signed {
                return self.error("a packet load is of u8, u16 or u32 into r0");
            }
            return Ok((Op::LoadPacket { size, index, offset }, None));
        }
        self.need("(")?;
        let (base, off) = self.address()?;
        self.need(")")?;
        if signed && size == Size::Dw {
            return self.error("there is no sign-extending load of 64 bits");
        }
        Ok((Op::Load { size, signed, dst, base, off }, None))
    }

    /// `(s8)r2` after `rN =`.
    fn sign_extension(&mut self, width: Width, dst: Reg) -> Result<Labelled<'t>, Error> {
        self.need("(")?;
        let bits = match (self.any_word("`s8`, `s16` or `s32`")?, width) {
            ("s8", _) => 8,
            ("s16", _) => 16,
            ("s32", Width::W64) => 32,
            (other, _) => return self.error(format!("no sign extension from `{other}`")),
        };
        self.need(")")?;
        let (found, src) = self.need_register()?;
        if found != width {
            return self.error("32-bit and 64-bit registers in one instruction");
        }
        Ok((Op::MovSx { width, bits, dst, src }, None))
    }

    /// What starts with a name after `rN =`.
    fn named(&mut self, width: Width, dst: Reg, name: &'t str) -> Result<Labelled<'t>, Error> {
        let endian = [("bswap", Endian::Swap), ("le", Endian::Le), ("be", Endian::Be)]
            .into_iter()
            .find_map(|(prefix, kind)| Some((kind, name.strip_prefix(prefix)?.parse::<u8>().ok()?)));
        if let Some((kind, bits)) = endian {
            let (_, reg) = self.need_register()?;
            if reg != dst || !matches!(bits, 16 | 32 | 64) {
                return self.error("a byte swap is of 16, 32 or 64 bits in one register");
            }
            return Ok((Op::Endian { kind, bits, dst }, None));
        }
        match name {
            "map" => self.map_address(dst),
            "btf" => self.btf_address(dst),
            "subprog" => {
                self.need("[")?;
                let (distance, label) = self.target()?;
                self.need("]")?;
                Ok((Op::LoadImm64 { dst, imm: Imm64::Func(distance) }, label))
            }
            "addr_space_cast" => {
                self.need("(")?;
                let (_, src) = self.need_register()?;
                self.need(",")?;
                let to = self.signed()?;
                self.need(",")?;
                let from = self.signed()?;
                self.need(")")?;
                Ok((Op::AddrSpaceCast { dst, src, to, from }, None))
            }
            "load_acquire" => {
                self.need("(")?;
                let (_, size, base, off) = self.memory()?;
                self.need(")")?;
                Ok((Op::Atomic { op: AtomicOp::LoadAcquire, size, base, off, reg: dst }, None))
            }
            _ => self.fetch(width, dst, name),
        }
    }

    /// Atomic operations that return the old value.
    fn fetch(&mut self, width: Width, dst: Reg, name: &'t str) -> Result<Labelled<'t>, Error> {
        let fetch = match name {
            "atomic_fetch_add" => Some(AtomicOp::FetchAdd),
            "atomic_fetch_or" => Some(AtomicOp::FetchOr),
            "atomic_fetch_and" => Some(AtomicOp::FetchAnd),
            "atomic_fetch_xor" => Some(AtomicOp::FetchXor),
            _ => None,
        };
        self.need("(")?;
        if let Some(op) = fetch {
            let (_, size, base, off) = self.memory()?;
            self.need(",")?;
            let (_, reg) = self.need_register()?;
            self.need(")")?;
            if reg != dst {
                return self.error("the old value comes back in the operand's register");
            }
            return self.atomic(op, size, base, off, reg);
        }
        let (op, size) = match name {
            "xchg_64" => (AtomicOp::Xchg, Size::Dw),
            "xchg32_32" => (AtomicOp::Xchg, Size::W),
            "cmpxchg_64" => (AtomicOp::Cmpxchg, Size::Dw),
            "cmpxchg32_32" => (AtomicOp::Cmpxchg, Size::W),
            _ => return self.error(format!("no operation `{name}`")),
        };
        let (base, off) = self.address()?;
        self.need(",")?;
        if op == AtomicOp::Cmpxchg {
            let compared = self.need_register()?;
            if (width, dst) != compared || dst != Reg(0) {
                return self.error("a compare-exchange compares with r0 and returns there");
            }
            self.need(",")?;
        }
        let (_, reg) = self.need_register()?;
        self.need(")")?;
        if op == AtomicOp::Xchg && reg != dst {
            return self.error("the old value comes back in the operand's register");
        }
        self.atomic(op, size, base, off, reg)
    }

    /// `map[fd:5]`, `map[idx:5][0]+8`, after `map`.
    fn map_address(&mut self, dst: Reg) -> Result<Labelled<'t>, Error> {
        self.need("[")?;
        let kind = self.any_word("`fd` or `idx`")?;
        self.need(":")?;
        let id: i64 = self.signed()?;
        self.need("]")?;
        let offset = if self.symbol("[") {
            if self.number_u64()? != 0 {
                return self.error("only element 0 of a map has an address");
            }
            self.need("]")?;
            Some(if self.symbol("+") { self.signed::<u32>()? } else { 0 })
        } else {
            None
        };
        let imm = match (kind, offset, i32::try_from(id), u32::try_from(id)) {
            ("fd", None, Ok(fd), _) => Imm64::MapFd(fd),
            ("fd", Some(offset), Ok(fd), _) => Imm64::MapValue { fd, offset },
            ("idx", None, _, Ok(index)) => Imm64::MapIndex(index),
            ("idx", Some(offset), _, Ok(index)) => Imm64::MapIndexValue { index, offset },
            _ => return self.error(format!("no map `{kind}:{id}`")),
        };
        Ok((Op::LoadImm64 { dst, imm }, None))
    }

    /// `btf[id:7]`, `btf[id:7,fd:3]`, after `btf`.
    fn btf_address(&mut self, dst: Reg) -> Result<Labelled<'t>, Error> {
        self.need("[")?;
        if !self.word("id") {
            return self.expected("`id`");
        }
        self.need(":")?;
        let id = self.signed()?;
        let mut btf_fd = 0;
        if self.symbol(",") {
            if !self.word("fd") {
                return self.expected("`fd`");
            }
            self.need(":")?;
            btf_fd = self.signed()?;
        }
        self.need("]")?;
        Ok((Op::LoadImm64 { dst, imm: Imm64::BtfId { id, btf_fd } }, None))
    }
}

/// `r3` or `w3`.
fn register(word: &str) -> Option<(Width, Reg)> {
    let width = match word.get(..1)? {
        "r" => Width::W64,
        "w" => Width::W32,
        _ => return None,
    };
    let number = word.get(1..)?;
    // `r01` is no register.
    if number.len() > 1 && number.starts_with('0') {
        return None;
    }
    number.parse().ok().filter(|number| *number <= 10).map(|number| (width, Reg(number)))
}
