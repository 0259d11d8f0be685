//! Printing.

use std::fmt::{self, Display, Formatter};

use isa::uapi::HELPER_NAMES;
use object::SourceSpan;

use super::{implied_type, names};
use crate::*;

impl Display for Module {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.license.is_empty() {
            writeln!(f, "license {}", Quoted(self.license.as_bytes()))?;
        }
        for source in &self.sources {
            writeln!(f, "source {} {}", Quoted(source.name.as_bytes()), Quoted(source.text.as_bytes()))?;
        }
        for (index, map) in &self.maps {
            write_map(f, index, map)?;
        }
        for (index, func) in &self.funcs {
            if !self.maps.is_empty() || index.as_u32() > 0 || !self.license.is_empty() {
                writeln!(f)?;
            }
            write_function(f, Some(index), func)?;
        }
        Ok(())
    }
}

impl Display for Function {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_function(f, None, self)
    }
}

fn write_map(f: &mut Formatter<'_>, index: Map, map: &object::Map) -> fmt::Result {
    write!(f, "{index} = map {} type ", Quoted(map.name.as_bytes()))?;
    write_number_or_word(f, &names::MAP_TYPE, map.map_type)?;
    write!(f, " key {} value {} entries {}", map.key_size, map.value_size, map.max_entries)?;
    if map.flags != 0 {
        write!(f, " flags {:#x}", map.flags)?;
    }
    if !map.initial.is_empty() {
        write!(f, " initial {}", Quoted(&map.initial))?;
    }
    if map.read_only {
        write!(f, " read_only")?;
    }
    writeln!(f)
}

fn write_number_or_word(f: &mut Formatter<'_>, words: &names::Words<u32>, number: u32) -> fmt::Result {
    match words.word(number) {
        Some(word) => f.write_str(word),
        None => write!(f, "{number}"),
    }
}

fn write_function(f: &mut Formatter<'_>, index: Option<Func>, func: &Function) -> fmt::Result {
    write!(f, "function ")?;
    if let Some(index) = index {
        write!(f, "{index} ")?;
    }
    write!(f, "{}", Quoted(func.name.as_bytes()))?;
    if let Some(program) = &func.program {
        write!(f, " program {} type ", Quoted(program.section.as_bytes()))?;
        write_number_or_word(f, &names::PROG_TYPE, program.prog_type)?;
        if program.expected_attach_type != 0 {
            write!(f, " attach {}", program.expected_attach_type)?;
        }
        if let Some(target) = &program.target {
            write!(f, " target {} btf_id {}", Quoted(target.name.as_bytes()), target.btf_id)?;
            if let Some(module) = &target.module {
                write!(f, " module {}", Quoted(module.as_bytes()))?;
            }
        }
        if program.sleepable {
            write!(f, " sleepable")?;
        }
    }
    writeln!(f, " {{")?;
    for (slot, data) in &func.slots {
        // A slot that passes removed stays in the table without bytes.
        if data.bytes > 0 {
            writeln!(f, "    {slot} = {} align {}", data.bytes, data.align)?;
        }
    }
    for &block in &func.layout {
        write_block(f, func, block)?;
    }
    writeln!(f, "}}")
}

fn write_block(f: &mut Formatter<'_>, func: &Function, block: Block) -> fmt::Result {
    write!(f, "{block}")?;
    let data = &func.blocks[block];
    if !data.params.is_empty() {
        f.write_str("(")?;
        for (i, &param) in data.params.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{param}")?;
            write_type(f, func.ty(param), Type::I64)?;
        }
        f.write_str(")")?;
    }
    writeln!(f, ":")?;
    for &inst in &data.insts {
        f.write_str("    ")?;
        let data = &func.insts[inst];
        if let Some(result) = func.results[inst] {
            write!(f, "{result} = {}", InstText(data))?;
            write_type(f, func.ty(result), implied_type(data))?;
        } else {
            write!(f, "{}", InstText(data))?;
        }
        let span = func.spans[inst];
        if span != SourceSpan::default() && !f.alternate() {
            f.write_str(" ; @")?;
            if span.source != 0 {
                write!(f, "{}:", span.source)?;
            }
            write!(f, "{}..{}", span.start, span.end)?;
        }
        writeln!(f)?;
    }
    Ok(())
}

fn write_type(f: &mut Formatter<'_>, ty: Type, implied: Type) -> fmt::Result {
    if ty == implied { Ok(()) } else { write!(f, ": {ty}") }
}

/// An instruction without its result.
pub(crate) struct InstText<'a>(pub &'a InstData);

impl Display for InstText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        use InstData::*;
        match self.0 {
            Const(n) => write!(f, "iconst {n}"),
            Binary { op, args: [a, b] } => write!(f, "{op} {a}, {b}"),
            Unary { op, arg } => write!(f, "{op} {arg}"),
            Compare { cond, args: [a, b] } => write!(f, "icmp {cond} {a}, {b}"),
            Select { cond, args: [a, b] } => write!(f, "select {cond}, {a}, {b}"),
            Load { mem, ptr, offset } => write!(f, "load {mem} {ptr}{offset:+}"),
            LoadPtr { ptr, offset } => write!(f, "load_ptr {ptr}{offset:+}"),
            Store { mem, ptr, offset, value } => write!(f, "store {mem} {ptr}{offset:+}, {value}"),
            SlotAddr { slot, offset } => {
                write!(f, "slot_addr {slot}")?;
                if *offset != 0 {
                    write!(f, "{offset:+}")?;
                }
                Ok(())
            }
            MapAddr(map) => write!(f, "map_addr {map}"),
            MapValueAddr { map, offset } => write!(f, "map_value_addr {map}+{offset}"),
            FuncAddr(func) => write!(f, "func_addr {func}"),
            // With `fetch` there is a result, and without there is none.
            Atomic { op, mem, ptr, offset, value, fetch: _ } => {
                write!(f, "atomic {op} {mem} {ptr}{offset:+}, {value}")
            }
            CompareExchange { mem, ptr, offset, expected, value } => {
                write!(f, "cmpxchg {mem} {ptr}{offset:+}, {expected}, {value}")
            }
            CallHelper { helper, args } => {
                match HELPER_NAMES.get(*helper as usize) {
                    Some(name) => write!(f, "call_helper {name}")?,
                    None => write!(f, "call_helper {helper}")?,
                }
                write_args(f, args)
            }
            Call { func, args } => {
                write!(f, "call {func}")?;
                write_args(f, args)
            }
            MemCopy { dst, dst_offset, src, src_offset, len } => {
                write!(f, "memcopy {dst}{dst_offset:+}, {src}{src_offset:+}, {len}")
            }
            MemSet { dst, offset, byte, len } => write!(f, "memset {dst}{offset:+}, {byte}, {len}"),
            NonNull(ptr) => write!(f, "nonnull {ptr}"),
            Clamp { value, mask } => write!(f, "clamp {value}, {mask:#x}"),
            Jump(to) => write!(f, "jump {to}"),
            Branch { cond, then, otherwise } => write!(f, "branch {cond}, {then}, {otherwise}"),
            Return(value) => write!(f, "return {value}"),
        }
    }
}

fn write_args(f: &mut Formatter<'_>, args: &[Value]) -> fmt::Result {
    f.write_str("(")?;
    for (i, arg) in args.iter().enumerate() {
        let comma = if i > 0 { ", " } else { "" };
        write!(f, "{comma}{arg}")?;
    }
    f.write_str(")")
}

impl Display for BlockCall {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.block)?;
        if self.args.is_empty() { Ok(()) } else { write_args(f, &self.args) }
    }
}

macro_rules! display_word {
    ($($ty:ty => $words:ident),*) => {$(
        impl Display for $ty {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str(names::$words.word(*self).unwrap_or("?"))
            }
        }
    )*};
}

display_word!(BinaryOp => BINARY, UnaryOp => UNARY, Cond => COND, AtomicOp => ATOMIC, MemType => MEM);

/// Bytes in double quotes, with `\n`, `\t`, `\"`, `\\` and `\xHH`.
struct Quoted<'a>(&'a [u8]);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for &byte in self.0 {
            match byte {
                b'\n' => f.write_str("\\n")?,
                b'\t' => f.write_str("\\t")?,
                b'"' => f.write_str("\\\"")?,
                b'\\' => f.write_str("\\\\")?,
                0x20..=0x7e => write!(f, "{}", byte as char)?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        f.write_str("\"")
    }
}
