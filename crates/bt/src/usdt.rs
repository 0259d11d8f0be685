//! Arguments of USDT probes, as ELF notes describe them: `-4@%edi 8@-16(%rbp) 8@$5`.
//!
//! The format is systemtap's (`sys/sdt.h`): `N@operand`, where N is the size in bytes, negative if
//! signed, followed by `f` for floating point, and the operand is in the assembler's syntax.

use crate::arch::Arch;

/// One argument of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsdtArg {
    /// Bytes: 1, 2, 4 or 8.
    pub size: u8,
    pub signed: bool,
    pub operand: Operand,
}

/// Where an argument's value is. Register offsets are bytes into `struct pt_regs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    Constant(i64),
    Register {
        offset: u16,
    },
    /// In user memory, at `base + index * scale + displacement`, wrapping.
    Memory {
        base: Option<u16>,
        index: Option<(u16, u8)>,
        displacement: i64,
    },
    /// Cannot be read; an error only if the script uses the argument.
    Unsupported {
        text: String,
        why: &'static str,
    },
}

/// Longest argument list that is looked at; systemtap's macros make at most 12 arguments.
const MAX_ARGS: usize = 64;

/// Parses the argument string of a note. Never fails: an argument that is not understood is
/// [`Operand::Unsupported`], so that the others keep their places.
pub fn parse_args(text: &str, arch: &Arch) -> Vec<UsdtArg> {
    split(text).into_iter().take(MAX_ARGS).map(|arg| parse_arg(arg, arch)).collect()
}

/// Splits at white space outside of brackets: aarch64 writes `8@[sp, 16]`.
fn split(text: &str) -> Vec<&str> {
    let mut args = Vec::new();
    let mut depth = 0_u32;
    let mut start = None;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c.is_whitespace() && depth == 0 {
            args.extend(start.take().map(|start| &text[start..at]));
        } else if start.is_none() {
            start = Some(at);
        }
    }
    args.extend(start.map(|start| &text[start..]));
    args
}

fn parse_arg(text: &str, arch: &Arch) -> UsdtArg {
    let unsupported =
        |why| UsdtArg { size: 8, signed: false, operand: Operand::Unsupported { text: text.to_owned(), why } };
    // Old notes leave the size out: then it is a machine word.
    let (size, operand) = text.split_once('@').unwrap_or(("8", text));
    let (signed, size) = match size.strip_prefix('-') {
        Some(size) => (true, size),
        None => (false, size),
    };
    if size.ends_with('f') {
        return unsupported("floating point arguments cannot be read");
    }
    let size = match size {
        "1" => 1,
        "2" => 2,
        "4" => 4,
        "8" => 8,
        _ => return unsupported("arguments have 1, 2, 4 or 8 bytes"),
    };
    let operand = if arch.name == "aarch64" { aarch64_operand(operand, arch) } else { x86_64_operand(operand, arch) };
    match operand {
        Ok(operand) => UsdtArg { size, signed, operand },
        Err(why) => UsdtArg { size, signed, ..unsupported(why) },
    }
}

const NOT_A_REGISTER: &str = "its register is not among those that a probe sees";
const NOT_AN_OPERAND: &str = "not an operand that is understood";
const SYMBOL: &str = "its address is relative to a symbol";

/// `$5`, `%rdi`, `-16(%rbp)`, `8(%rax,%rbx,4)`, `(,%rcx,8)`.
fn x86_64_operand(text: &str, arch: &Arch) -> Result<Operand, &'static str> {
    let register = |name: &str| {
        let name = name.trim().strip_prefix('%').ok_or(NOT_AN_OPERAND)?;
        arch.operand_register(name).ok_or(NOT_A_REGISTER)
    };
    if let Some(constant) = text.strip_prefix('$') {
        return sum(constant).map(Operand::Constant);
    }
    let Some((displacement, inside)) = text.split_once('(') else {
        if text.starts_with('%') {
            return Ok(Operand::Register { offset: register(text)?.offset });
        }
        // A bare number is an address.
        return Ok(Operand::Memory { base: None, index: None, displacement: sum(text)? });
    };
    if displacement.contains('%') {
        return Err("segment registers cannot be read");
    }
    let inside = inside.trim_end().strip_suffix(')').ok_or(NOT_AN_OPERAND)?;
    let displacement = if displacement.is_empty() { 0 } else { sum(displacement)? };
    let mut parts = inside.split(',').map(str::trim);
    let address = |name: &str| match register(name)? {
        part if part.bytes == 8 => Ok(part.offset),
        _ => Err("addresses are in 64-bit registers"),
    };
    let base = match parts.next() {
        None | Some("") => None,
        Some(name) => Some(address(name)?),
    };
    let index = match parts.next() {
        None | Some("") => None,
        Some(name) => {
            let scale = match parts.next() {
                None | Some("" | "1") => 1,
                Some("2") => 2,
                Some("4") => 4,
                Some("8") => 8,
                Some(_) => return Err(NOT_AN_OPERAND),
            };
            Some((address(name)?, scale))
        }
    };
    if parts.next().is_some() {
        return Err(NOT_AN_OPERAND);
    }
    Ok(Operand::Memory { base, index, displacement })
}

/// `x0`, `5`, `[sp]`, `[sp, 16]`, `[x0, x1]`, `[x0, x1, lsl 3]`.
fn aarch64_operand(text: &str, arch: &Arch) -> Result<Operand, &'static str> {
    let Some(inside) = text.strip_prefix('[') else {
        if matches!(text, "xzr" | "wzr") {
            return Ok(Operand::Constant(0));
        }
        if let Some(part) = arch.operand_register(text) {
            return Ok(Operand::Register { offset: part.offset });
        }
        let number = text.strip_prefix('#').unwrap_or(text);
        let is_number = number.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        return if is_number { sum(number).map(Operand::Constant) } else { Err(NOT_A_REGISTER) };
    };
    let inside = inside.trim_end().strip_suffix(']').ok_or(NOT_AN_OPERAND)?;
    let address = |name: &str| match arch.operand_register(name).ok_or(NOT_A_REGISTER)? {
        part if part.bytes == 8 => Ok(part.offset),
        _ => Err("addresses are in 64-bit registers"),
    };
    let mut parts = inside.split(',').map(str::trim);
    let base = Some(address(parts.next().unwrap_or(""))?);
    let Some(second) = parts.next() else { return Ok(Operand::Memory { base, index: None, displacement: 0 }) };
    if second.starts_with(['x', 'w', 's']) {
        let scale = match parts.next().map(|shift| shift.split_whitespace().collect::<Vec<_>>()).as_deref() {
            None => 1,
            Some(["lsl", amount]) => match amount.trim_start_matches('#') {
                "0" => 1,
                "1" => 2,
                "2" => 4,
                "3" => 8,
                _ => return Err(NOT_AN_OPERAND),
            },
            Some(_) => return Err("extended index registers are not understood"),
        };
        return Ok(Operand::Memory { base, index: Some((address(second)?, scale)), displacement: 0 });
    }
    if parts.next().is_some() {
        return Err(NOT_AN_OPERAND);
    }
    let displacement = sum(second.strip_prefix('#').unwrap_or(second))?;
    Ok(Operand::Memory { base, index: None, displacement })
}

/// `-24+8`, `0x10`: a sum of numbers, wrapping in 64 bits.
fn sum(text: &str) -> Result<i64, &'static str> {
    let mut total = 0_i64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(NOT_AN_OPERAND);
    }
    while !rest.is_empty() {
        let negative = rest.starts_with('-');
        let number = rest.strip_prefix(['-', '+']).unwrap_or(rest).trim_start();
        let end = number.find(['+', '-']).unwrap_or(number.len());
        let value = match number[..end].trim() {
            hex if hex.starts_with("0x") || hex.starts_with("0X") => u64::from_str_radix(&hex[2..], 16),
            decimal if decimal.starts_with(|c: char| c.is_ascii_digit()) => decimal.parse(),
            _ => return Err(SYMBOL),
        };
        let value = value.map_err(|_| NOT_AN_OPERAND)?.cast_signed();
        total = if negative { total.wrapping_sub(value) } else { total.wrapping_add(value) };
        rest = &number[end..];
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::{AARCH64, X86_64};

    fn operand(text: &str) -> Operand {
        parse_args(text, &X86_64).remove(0).operand
    }

    fn memory(base: Option<u16>, index: Option<(u16, u8)>, displacement: i64) -> Operand {
        Operand::Memory { base, index, displacement }
    }

    #[test]
    fn sizes() {
        let args = parse_args("-4@%edi 8@%rsi  2@$-5 1@%ah %rax", &X86_64);
        let sizes: Vec<_> = args.iter().map(|arg| (arg.size, arg.signed)).collect();
        assert_eq!(sizes, [(4, true), (8, false), (2, false), (1, false), (8, false)]);
        assert_eq!(args[2].operand, Operand::Constant(-5));
        assert_eq!(args[3].operand, Operand::Register { offset: 81 });
    }

    #[test]
    fn x86_64_memory() {
        assert_eq!(operand("8@-16(%rbp)"), memory(Some(32), None, -16));
        assert_eq!(operand("8@(%rax)"), memory(Some(80), None, 0));
        assert_eq!(operand("4@8(%rax,%rbx,4)"), memory(Some(80), Some((40, 4)), 8));
        assert_eq!(operand("4@(%rax,%rbx)"), memory(Some(80), Some((40, 1)), 0));
        assert_eq!(operand("4@(,%rcx,8)"), memory(None, Some((88, 8)), 0));
        assert_eq!(operand("4@0x10+8(%rsp)"), memory(Some(152), None, 24));
        assert_eq!(operand("8@$0xffffffffffffffff"), Operand::Constant(-1));
    }

    #[test]
    fn unsupported() {
        for text in [
            "8f@%xmm0",
            "8@sym(%rip)",
            "8@sym+8(%rip)",
            "8@counter",
            "3@%rax",
            "8@%fs:0x10",
            "8@%fs:16(%rax)",
            "8@(%eax)",
            "8@(%rax,%rbx,3)",
            "8@",
            "@",
            "8@(",
            "8@(%rax",
            "8@$",
            "8@%",
            "é@é",
        ] {
            assert!(matches!(operand(text), Operand::Unsupported { .. }), "{text}");
        }
        assert!(parse_args("", &X86_64).is_empty());
    }

    #[test]
    fn aarch64() {
        let args = parse_args("8@x0 -4@w3 8@[sp, 16] 4@[x29, #-20] 8@[x1] 8@[x0, x1, lsl 3] 4@5 8@xzr 8@d0", &AARCH64);
        let operands: Vec<_> = args.into_iter().map(|arg| arg.operand).collect();
        assert_eq!(
            operands[..8],
            [
                Operand::Register { offset: 0 },
                Operand::Register { offset: 24 },
                memory(Some(248), None, 16),
                memory(Some(232), None, -20),
                memory(Some(8), None, 0),
                memory(Some(0), Some((8, 8)), 0),
                Operand::Constant(5),
                Operand::Constant(0),
            ]
        );
        assert!(matches!(operands[8], Operand::Unsupported { .. }));
    }
}
