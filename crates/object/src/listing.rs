//! An object as text for people: maps, programs and functions with their
//! instructions, the source line above the instructions that it became.

use std::fmt::Write;

use isa::Note;

use crate::{Code, Object, RelocationKind};

/// The whole object, maps first.
pub fn listing(object: &Object) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    for map in &object.maps {
        let _ = write!(out, "map {}: type {}", map.name, map.map_type);
        let _ = write!(out, ", key {} bytes, value {} bytes", map.key_size, map.value_size);
        let _ = writeln!(out, ", {} entries, flags {:#x}", map.max_entries, map.flags);
    }
    for program in &object.programs {
        let _ = writeln!(out, "\nprogram {} (section {}):", program.code.name, program.section);
        out.push_str(&code(object, &program.code));
    }
    for function in &object.functions {
        let _ = writeln!(out, "\nfunction {} ({} parameters):", function.name, function.params);
        out.push_str(&code(object, function));
    }
    out
}

fn code(object: &Object, code: &Code) -> String {
    let mut shown = None;
    isa::listing(&code.insns, |slot| {
        let line = code.lines.iter().find(|line| line.insn as usize == slot);
        let before = line.and_then(|line| {
            let source = object.sources.get(usize::from(line.at.source))?;
            let text = source.text.get(..line.at.start as usize)?;
            let number = text.bytes().filter(|b| *b == b'\n').count() + 1;
            // A line that became several stretches is shown where it changes.
            if shown.replace((line.at.source, number)) == Some((line.at.source, number)) {
                return None;
            }
            let text = source.text.lines().nth(number - 1)?;
            Some(format!("{}:{number}: {}", source.name, text.trim()))
        });
        let relocation = code.relocations.iter().find(|relocation| relocation.insn as usize == slot);
        let after = relocation.map(|relocation| target(object, relocation.kind));
        Note { before: before.unwrap_or_default(), after: after.unwrap_or_default() }
    })
}

/// What a relocation refers to, by name.
fn target(object: &Object, kind: RelocationKind) -> String {
    let map = |index: u32| object.maps.get(index as usize).map_or("?", |map| map.name.as_str());
    let function = |index: u32| object.functions.get(index as usize).map_or("?", |code| code.name.as_str());
    match kind {
        RelocationKind::Map(index) => format!("map {}", map(index.0)),
        RelocationKind::MapValue { map: index, offset } => format!("value of {} + {offset}", map(index.0)),
        RelocationKind::Call(index) => format!("function {}", function(index.0)),
        RelocationKind::Address(index) => format!("address of {}", function(index.0)),
    }
}
