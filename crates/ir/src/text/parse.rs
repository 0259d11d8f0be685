//! Parsing. Any text gives a module or an error with its place; whether the
//! module makes sense is for [`crate::verify`] to say.

use cranelift_entity::{EntityRef, PrimaryMap};
use object::SourceSpan;

use super::lexer::{Spanned, Token, tokenize};
use super::{implied_type, names};
use crate::*;

/// Why a text is not a module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{col}: {message}")]
pub struct ParseError {
    /// From 1.
    pub line: u32,
    /// In bytes, from 1.
    pub col: u32,
    pub message: String,
}

type Result<T> = std::result::Result<T, ParseError>;

/// Entity numbers index dense tables, so that a number out of proportion would
/// allocate without bounds.
const MAX_ENTITY: u32 = 1 << 20;

/// Reads a module from its text form.
///
/// # Errors
///
/// The first place that does not follow the grammar, names an entity twice, or
/// uses a value, block, slot, map or function that the text does not define.
pub fn parse_module(text: &str) -> Result<Module> {
    let mut parser = Parser { tokens: tokenize(text)?, at: 0 };
    let mut module = Module::default();
    // Places where functions are named before they are all known.
    let mut func_uses: Vec<(Func, Spanned)> = Vec::new();
    loop {
        parser.skip_newlines();
        match parser.peek() {
            Token::End => break,
            Token::Word(word) => match word.as_str() {
                "license" => {
                    parser.advance();
                    module.license = parser.utf8()?;
                }
                "source" => {
                    parser.advance();
                    module.sources.push(object::Source { name: parser.utf8()?, text: parser.utf8()? });
                }
                "function" => {
                    let func = parser.function(&module, &mut func_uses)?;
                    module.funcs.push(func);
                }
                name if name.starts_with("map") => {
                    let map = parser.map(&module)?;
                    module.maps.push(map);
                }
                _ => return Err(parser.expected("`license`, `source`, `mapN` or `function`")),
            },
            _ => return Err(parser.expected("`license`, `source`, `mapN` or `function`")),
        }
    }
    for (func, place) in func_uses {
        if !module.funcs.is_valid(func) {
            return Err(error_at(&place, format!("{func} is not defined")));
        }
    }
    Ok(module)
}

fn error_at(place: &Spanned, message: String) -> ParseError {
    ParseError { line: place.line, col: place.col, message }
}

struct Parser {
    /// Ends in [`Token::End`].
    tokens: Vec<Spanned>,
    at: usize,
}

impl Parser {
    fn here(&self) -> &Spanned {
        &self.tokens[self.at]
    }

    fn peek(&self) -> &Token {
        &self.here().token
    }

    /// Stays on the last token.
    fn advance(&mut self) {
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
    }

    fn expected(&self, what: &str) -> ParseError {
        error_at(self.here(), format!("expected {what}, found {}", self.peek().describe()))
    }

    fn eat(&mut self, punct: char) -> bool {
        let found = *self.peek() == Token::Punct(punct);
        if found {
            self.advance();
        }
        found
    }

    fn punct(&mut self, punct: char) -> Result<()> {
        if self.eat(punct) { Ok(()) } else { Err(self.expected(&format!("`{punct}`"))) }
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Word(w) if w == word);
        if found {
            self.advance();
        }
        found
    }

    fn keyword(&mut self, word: &str) -> Result<()> {
        if self.eat_word(word) { Ok(()) } else { Err(self.expected(&format!("`{word}`"))) }
    }

    fn word(&mut self, what: &str) -> Result<String> {
        match self.peek() {
            Token::Word(word) => {
                let word = word.clone();
                self.advance();
                Ok(word)
            }
            _ => Err(self.expected(what)),
        }
    }

    fn lookup<T: Copy + PartialEq>(&mut self, words: &names::Words<T>, what: &str) -> Result<T> {
        let found = match self.peek() {
            Token::Word(word) => words.value(word),
            _ => None,
        };
        let value = found.ok_or_else(|| self.expected(what))?;
        self.advance();
        Ok(value)
    }

    fn string(&mut self) -> Result<Vec<u8>> {
        match self.peek() {
            Token::Str(bytes) => {
                let bytes = bytes.clone();
                self.advance();
                Ok(bytes)
            }
            _ => Err(self.expected("a string")),
        }
    }

    fn utf8(&mut self) -> Result<String> {
        let place = self.here().clone();
        String::from_utf8(self.string()?).map_err(|_| error_at(&place, "the string is not UTF-8".to_owned()))
    }

    fn number<T: TryFrom<i128>>(&mut self, what: &str) -> Result<T> {
        let value = match self.peek() {
            Token::Number(n) => T::try_from(*n).ok(),
            _ => None,
        };
        let value = value.ok_or_else(|| self.expected(what))?;
        self.advance();
        Ok(value)
    }

    /// A 64-bit integer of either signedness, as its bits.
    fn bits(&mut self) -> Result<i64> {
        let n: i128 = self.number("an integer")?;
        if n < i128::from(i64::MIN) {
            self.at -= 1;
            return Err(self.expected("a 64-bit integer"));
        }
        Ok(n as i64)
    }

    fn newline(&mut self) -> Result<()> {
        match self.peek() {
            Token::Newline => {
                self.advance();
                Ok(())
            }
            _ => Err(self.expected("the end of the line")),
        }
    }

    fn skip_newlines(&mut self) {
        while matches!(self.peek(), Token::Newline | Token::Span(_)) {
            self.advance();
        }
    }

    /// An entity's name: `prefix` and its number.
    fn entity<E: EntityRef>(&mut self, prefix: &str) -> Result<E> {
        let number = match self.peek() {
            Token::Word(word) => word
                .strip_prefix(prefix)
                .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|digits| digits.parse::<u32>().ok())
                .filter(|n| *n < MAX_ENTITY),
            _ => None,
        };
        let number = number.ok_or_else(|| self.expected(&format!("`{prefix}N`")))?;
        self.advance();
        Ok(E::new(number as usize))
    }

    fn map(&mut self, module: &Module) -> Result<object::Map> {
        let place = self.here().clone();
        let index: Map = self.entity("map")?;
        if index != module.maps.next_key() {
            return Err(error_at(&place, format!("expected {}: maps are numbered in order", module.maps.next_key())));
        }
        self.punct('=')?;
        self.keyword("map")?;
        let mut map = object::Map { name: self.utf8()?, ..object::Map::default() };
        self.keyword("type")?;
        map.map_type = self.number_or_word(&names::MAP_TYPE, "a map type")?;
        while *self.peek() != Token::Newline {
            match self.word("a map's field")?.as_str() {
                "key" => map.key_size = self.number("a size in bytes")?,
                "value" => map.value_size = self.number("a size in bytes")?,
                "entries" => map.max_entries = self.number("a number of entries")?,
                "flags" => map.flags = self.number("a set of flags")?,
                "initial" => map.initial = self.string()?,
                "read_only" => map.read_only = true,
                _ => {
                    self.at -= 1;
                    return Err(self.expected("`key`, `value`, `entries`, `flags`, `initial` or `read_only`"));
                }
            }
        }
        self.newline()?;
        Ok(map)
    }

    fn number_or_word(&mut self, words: &names::Words<u32>, what: &str) -> Result<u32> {
        match self.peek() {
            Token::Number(_) => self.number(what),
            _ => self.lookup(words, what),
        }
    }

    fn function(&mut self, module: &Module, func_uses: &mut Vec<(Func, Spanned)>) -> Result<Function> {
        self.keyword("function")?;
        let next = module.funcs.next_key();
        if matches!(self.peek(), Token::Word(_)) {
            let place = self.here().clone();
            let index: Func = self.entity("fn")?;
            if index != next {
                return Err(error_at(&place, format!("expected {next}: functions are numbered in order")));
            }
        }
        let mut func = Function { name: self.utf8()?, ..Function::default() };
        if self.eat_word("program") {
            func.program = Some(self.program_kind()?);
        }
        self.punct('{')?;
        self.newline()?;
        let mut body = Body {
            parser: self,
            module,
            func,
            func_uses,
            defined: PrimaryMap::new(),
            defined_blocks: PrimaryMap::new(),
            uses: Vec::new(),
        };
        body.slots()?;
        body.blocks()?;
        body.finish()
    }

    fn program_kind(&mut self) -> Result<ProgramKind> {
        let mut kind = ProgramKind { section: self.utf8()?, ..ProgramKind::default() };
        self.keyword("type")?;
        kind.prog_type = self.number_or_word(&names::PROG_TYPE, "a program type")?;
        if self.eat_word("attach") {
            kind.expected_attach_type = self.number("an attach type")?;
        }
        if self.eat_word("target") {
            let name = self.utf8()?;
            self.keyword("btf_id")?;
            let btf_id = self.number("a BTF type id")?;
            let module = if self.eat_word("module") { Some(self.utf8()?) } else { None };
            kind.target = Some(object::Target { module, name, btf_id });
        }
        kind.sleepable = self.eat_word("sleepable");
        Ok(kind)
    }
}

/// What a number in an operand refers to, for the check at the end.
#[derive(Clone, Copy)]
enum Use {
    Value(Value),
    Block(Block),
    Slot(Slot),
}

/// The inside of a function.
struct Body<'a> {
    parser: &'a mut Parser,
    module: &'a Module,
    func: Function,
    func_uses: &'a mut Vec<(Func, Spanned)>,
    /// Values that have a definition.
    defined: PrimaryMap<Value, bool>,
    /// Blocks that have one.
    defined_blocks: PrimaryMap<Block, bool>,
    uses: Vec<(Use, Spanned)>,
}

impl Body<'_> {
    fn slots(&mut self) -> Result<()> {
        loop {
            self.parser.skip_newlines();
            if !matches!(self.parser.peek(), Token::Word(w) if w.starts_with("slot")) {
                return Ok(());
            }
            let place = self.parser.here().clone();
            let slot: Slot = self.parser.entity("slot")?;
            // Numbers that passes removed are slots without bytes.
            while self.func.slots.len() <= slot.index() {
                self.func.slots.push(SlotData { bytes: 0, align: 1 });
            }
            if self.func.slots[slot].bytes > 0 {
                return Err(error_at(&place, format!("{slot} is defined twice")));
            }
            self.parser.punct('=')?;
            let bytes = self.parser.number("a size in bytes")?;
            self.parser.keyword("align")?;
            let align = self.parser.number("an alignment in bytes")?;
            self.func.slots[slot] = SlotData { bytes, align };
            self.parser.newline()?;
        }
    }

    fn blocks(&mut self) -> Result<()> {
        let mut current = None;
        loop {
            self.parser.skip_newlines();
            if self.parser.eat('}') {
                return Ok(());
            }
            let is_label = matches!(self.parser.peek(), Token::Word(w)
                if w.strip_prefix("block").is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit())));
            if is_label {
                current = Some(self.label()?);
            } else if let Some(block) = current {
                self.instruction(block)?;
            } else {
                return Err(self.parser.expected("`blockN` or `}`"));
            }
        }
    }

    fn label(&mut self) -> Result<Block> {
        let place = self.parser.here().clone();
        let block: Block = self.parser.entity("block")?;
        while self.func.blocks.len() <= block.index() {
            self.func.blocks.push(BlockData::default());
            self.defined_blocks.push(false);
        }
        if self.defined_blocks[block] {
            return Err(error_at(&place, format!("{block} is defined twice")));
        }
        self.defined_blocks[block] = true;
        self.func.layout.push(block);
        if self.parser.eat('(') {
            while !self.parser.eat(')') {
                if !self.func.blocks[block].params.is_empty() {
                    self.parser.punct(',')?;
                }
                let place = self.parser.here().clone();
                let param: Value = self.parser.entity("v")?;
                let ty = self.result_type(Type::I64)?;
                let index = self.func.blocks[block].params.len() as u32;
                self.define(param, ValueData { ty, def: ValueDef::Param(block, index) }, &place)?;
                self.func.blocks[block].params.push(param);
            }
        }
        self.parser.punct(':')?;
        self.parser.newline()?;
        Ok(block)
    }

    fn define(&mut self, value: Value, data: ValueData, place: &Spanned) -> Result<()> {
        while self.func.values.len() <= value.index() {
            // Numbers that passes removed: the result of an instruction in no
            // block, set in `finish`.
            self.func.values.push(data);
            self.defined.push(false);
        }
        if self.defined[value] {
            return Err(error_at(place, format!("{value} is defined twice")));
        }
        self.defined[value] = true;
        self.func.values[value] = data;
        Ok(())
    }

    /// `: TYPE`, or else `implied`.
    fn result_type(&mut self, implied: Type) -> Result<Type> {
        if !self.parser.eat(':') {
            return Ok(implied);
        }
        let what = "`i32`, `i64` or `ptr<…>`";
        match self.parser.word(what)?.as_str() {
            "i32" => Ok(Type::I32),
            "i64" => Ok(Type::I64),
            "ptr" => {
                self.parser.punct('<')?;
                let mut space = self.parser.lookup(&names::SPACE, "what the pointer points into")?;
                if self.parser.eat('?') {
                    space = match space {
                        Space::Value => Space::ValueOrNull,
                        Space::Record => Space::RecordOrNull,
                        _ => {
                            self.parser.at -= 1;
                            return Err(self.parser.expected("`>`: only `value` and `record` may be null"));
                        }
                    };
                }
                self.parser.punct('>')?;
                Ok(Type::Ptr(space))
            }
            _ => {
                self.parser.at -= 1;
                Err(self.parser.expected(what))
            }
        }
    }

    fn instruction(&mut self, block: Block) -> Result<()> {
        let place = self.parser.here().clone();
        let result: Option<Value> = match self.parser.peek() {
            Token::Word(w) if w.strip_prefix('v').is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit())) => {
                let v = self.parser.entity("v")?;
                self.parser.punct('=')?;
                Some(v)
            }
            _ => None,
        };
        let opcode_place = self.parser.here().clone();
        let data = self.operation(result.is_some())?;
        if result.is_some() != data.has_result() {
            let message = if result.is_some() { "the instruction has no result" } else { "the result needs a name" };
            return Err(error_at(&opcode_place, message.to_owned()));
        }
        let inst = self.func.insts.next_key();
        if let Some(value) = result {
            let ty = self.result_type(implied_type(&data))?;
            self.define(value, ValueData { ty, def: ValueDef::Result(inst) }, &place)?;
            self.func.results[inst] = Some(value);
        }
        if let Token::Span(span) = *self.parser.peek() {
            self.func.spans[inst] = span;
            self.parser.advance();
        } else {
            self.func.spans[inst] = SourceSpan::default();
        }
        self.parser.newline()?;
        self.func.insts.push(data);
        self.func.blocks[block].insts.push(inst);
        Ok(())
    }

    fn operation(&mut self, has_result: bool) -> Result<InstData> {
        let place = self.parser.here().clone();
        let opcode = self.parser.word("an instruction")?;
        if let Some(op) = names::BINARY.value(&opcode) {
            return Ok(InstData::Binary { op, args: self.two_values()? });
        }
        if let Some(op) = names::UNARY.value(&opcode) {
            return Ok(InstData::Unary { op, arg: self.value()? });
        }
        Ok(match opcode.as_str() {
            "iconst" => InstData::Const(self.parser.bits()?),
            "icmp" => {
                InstData::Compare { cond: self.parser.lookup(&names::COND, "a condition")?, args: self.two_values()? }
            }
            "select" => {
                let cond = self.value()?;
                self.parser.punct(',')?;
                InstData::Select { cond, args: self.two_values()? }
            }
            "load" => {
                let mem = self.mem()?;
                let (ptr, offset) = self.address()?;
                InstData::Load { mem, ptr, offset }
            }
            "load_ptr" => {
                let (ptr, offset) = self.address()?;
                InstData::LoadPtr { ptr, offset }
            }
            "store" => {
                let mem = self.mem()?;
                let (ptr, offset) = self.address()?;
                InstData::Store { mem, ptr, offset, value: self.next_value()? }
            }
            "slot_addr" => {
                let place = self.parser.here().clone();
                let slot = self.parser.entity("slot")?;
                self.uses.push((Use::Slot(slot), place));
                InstData::SlotAddr { slot, offset: self.offset()? }
            }
            "map_addr" => InstData::MapAddr(self.map_ref()?),
            "map_value_addr" => {
                let map = self.map_ref()?;
                let offset = self.offset()?;
                let offset = u32::try_from(offset).map_err(|_| self.parser.expected("an offset from 0"))?;
                InstData::MapValueAddr { map, offset }
            }
            "func_addr" => InstData::FuncAddr(self.func_ref()?),
            "atomic" => {
                let op = self.parser.lookup(&names::ATOMIC, "`add`, `and`, `or`, `xor` or `xchg`")?;
                let mem = self.mem()?;
                let (ptr, offset) = self.address()?;
                InstData::Atomic { op, mem, ptr, offset, value: self.next_value()?, fetch: has_result }
            }
            "cmpxchg" => {
                let mem = self.mem()?;
                let (ptr, offset) = self.address()?;
                let expected = self.next_value()?;
                InstData::CompareExchange { mem, ptr, offset, expected, value: self.next_value()? }
            }
            "call_helper" => {
                let helper = match self.parser.peek() {
                    Token::Number(_) => self.parser.number("a helper's number")?,
                    Token::Word(name) => {
                        let number = names::helper_number(name);
                        let number = number.ok_or_else(|| self.parser.expected("a helper's name or number"))?;
                        self.parser.advance();
                        number
                    }
                    _ => return Err(self.parser.expected("a helper's name or number")),
                };
                self.parser.punct('(')?;
                InstData::CallHelper { helper, args: self.values_to_paren()? }
            }
            "call" => {
                let func = self.func_ref()?;
                self.parser.punct('(')?;
                InstData::Call { func, args: self.values_to_paren()? }
            }
            "memcopy" => {
                let (dst, dst_offset) = self.address()?;
                self.parser.punct(',')?;
                let (src, src_offset) = self.address()?;
                self.parser.punct(',')?;
                InstData::MemCopy { dst, dst_offset, src, src_offset, len: self.parser.number("a size in bytes")? }
            }
            "memset" => {
                let (dst, offset) = self.address()?;
                self.parser.punct(',')?;
                let byte = self.parser.number("a byte")?;
                self.parser.punct(',')?;
                InstData::MemSet { dst, offset, byte, len: self.parser.number("a size in bytes")? }
            }
            "nonnull" => InstData::NonNull(self.value()?),
            "clamp" => {
                let value = self.value()?;
                self.parser.punct(',')?;
                InstData::Clamp { value, mask: self.parser.bits()? as u64 }
            }
            "jump" => InstData::Jump(self.block_call()?),
            "branch" => {
                let cond = self.value()?;
                self.parser.punct(',')?;
                let then = self.block_call()?;
                self.parser.punct(',')?;
                InstData::Branch { cond, then, otherwise: self.block_call()? }
            }
            "return" => InstData::Return(self.value()?),
            _ => return Err(error_at(&place, format!("`{opcode}` is not an instruction"))),
        })
    }

    fn value(&mut self) -> Result<Value> {
        let place = self.parser.here().clone();
        let value = self.parser.entity("v")?;
        self.uses.push((Use::Value(value), place));
        Ok(value)
    }

    fn next_value(&mut self) -> Result<Value> {
        self.parser.punct(',')?;
        self.value()
    }

    fn two_values(&mut self) -> Result<[Value; 2]> {
        Ok([self.value()?, self.next_value()?])
    }

    fn values_to_paren(&mut self) -> Result<Vec<Value>> {
        let mut values = Vec::new();
        while !self.parser.eat(')') {
            if !values.is_empty() {
                self.parser.punct(',')?;
            }
            values.push(self.value()?);
        }
        Ok(values)
    }

    fn mem(&mut self) -> Result<MemType> {
        self.parser.lookup(&names::MEM, "a width: `u8` to `u64`, `s8` to `s32`")
    }

    fn address(&mut self) -> Result<(Value, i32)> {
        Ok((self.value()?, self.offset()?))
    }

    /// `+N`, `-N` or nothing.
    fn offset(&mut self) -> Result<i32> {
        if self.parser.eat('+') || matches!(self.parser.peek(), Token::Number(_)) {
            self.parser.number("an offset in bytes")
        } else {
            Ok(0)
        }
    }

    fn map_ref(&mut self) -> Result<Map> {
        let place = self.parser.here().clone();
        let map = self.parser.entity("map")?;
        if self.module.maps.is_valid(map) {
            Ok(map)
        } else {
            Err(error_at(&place, format!("{map} is not defined above")))
        }
    }

    fn func_ref(&mut self) -> Result<Func> {
        let place = self.parser.here().clone();
        let func = self.parser.entity("fn")?;
        self.func_uses.push((func, place));
        Ok(func)
    }

    fn block_call(&mut self) -> Result<BlockCall> {
        let place = self.parser.here().clone();
        let block = self.parser.entity("block")?;
        self.uses.push((Use::Block(block), place));
        let args = if self.parser.eat('(') { self.values_to_paren()? } else { Vec::new() };
        Ok(BlockCall { block, args })
    }

    /// Checks that everything that was used is there.
    fn finish(mut self) -> Result<Function> {
        for (used, place) in &self.uses {
            let (known, name) = match *used {
                Use::Value(v) => (self.defined.get(v) == Some(&true), v.to_string()),
                Use::Block(b) => (self.defined_blocks.get(b) == Some(&true), b.to_string()),
                Use::Slot(s) => (self.func.slots.get(s).is_some_and(|data| data.bytes > 0), s.to_string()),
            };
            if !known {
                return Err(error_at(place, format!("{name} is not defined")));
            }
        }
        if self.defined.values().any(|defined| !defined) {
            let detached = self.func.insts.push(InstData::Const(0));
            for (value, defined) in &self.defined {
                if !defined {
                    self.func.values[value] = ValueData { ty: Type::I64, def: ValueDef::Result(detached) };
                }
            }
        }
        Ok(self.func)
    }
}
