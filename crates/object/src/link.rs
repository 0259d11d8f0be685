//! A program and the functions that it reaches, as one stretch of
//! instructions: what `BPF_PROG_LOAD` takes, but for the maps' file descriptors.

use isa::{Insn, Reg, pseudo};

use crate::{Code, Error, FunctionIndex, Line, MapIndex, Object, Program, RelocationKind};

/// A program ready to load once maps exist.
#[derive(Clone, Debug, Default)]
pub struct Linked {
    pub insns: Vec<Insn>,
    /// Where maps are loaded, by ascending instruction within each function.
    pub maps: Vec<MapReference>,
    /// By ascending start; the first is the program itself.
    pub functions: Vec<LinkedFunction>,
    /// By ascending instruction.
    pub lines: Vec<Line>,
}

/// A 64-bit immediate load of a map or of an address in its value; the load's
/// `src` and, for a value, its offset are set, its file descriptor is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapReference {
    /// Slot index into [`Linked::insns`].
    pub insn: u32,
    pub map: MapIndex,
}

/// A function of a linked program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedFunction {
    /// Slot index of the first instruction.
    pub start: u32,
    /// Instruction slots.
    pub len: u32,
    pub name: String,
    /// Number of parameters, all of 64 bits.
    pub params: u8,
    /// `None` for the program itself.
    pub function: Option<FunctionIndex>,
}

impl Linked {
    /// Puts the maps' file descriptors into the instructions.
    pub fn set_map_fds(&mut self, fd: impl Fn(MapIndex) -> i32) {
        for reference in &self.maps {
            if let Some(insn) = self.insns.get_mut(reference.insn as usize) {
                insn.imm = fd(reference.map);
            }
        }
    }
}

/// Links a program: appends every function that it reaches, each once, in the
/// order in which they are first reached, and resolves calls between them.
pub fn link(object: &Object, program: &Program) -> Result<Linked, Error> {
    let mut linker = Linker {
        object,
        linked: Linked { insns: Vec::with_capacity(program.code.insns.len()), ..Linked::default() },
        places: vec![None; object.functions.len()],
        reached: Vec::new(),
        calls: Vec::new(),
    };
    linker.append(&program.code, None)?;
    let mut next = 0;
    while let Some(&index) = linker.reached.get(next) {
        linker.append(&object.functions[index.0 as usize], Some(index))?;
        next += 1;
    }
    linker.resolve_calls()?;
    Ok(linker.linked)
}

struct Linker<'o> {
    object: &'o Object,
    linked: Linked,
    /// For each function its place in [`Linked::functions`], once reached.
    places: Vec<Option<u32>>,
    /// In the order in which they are placed; only valid indices.
    reached: Vec<FunctionIndex>,
    /// Slots whose immediate is a distance to a function.
    calls: Vec<(u32, FunctionIndex)>,
}

impl Linker<'_> {
    fn append(&mut self, code: &Code, function: Option<FunctionIndex>) -> Result<(), Error> {
        let start = self.linked.insns.len() as u32;
        self.linked.insns.extend_from_slice(&code.insns);
        self.linked.functions.push(LinkedFunction {
            start,
            len: code.insns.len() as u32,
            name: code.name.clone(),
            params: code.params,
            function,
        });
        self.linked.lines.extend(code.lines.iter().map(|line| Line { insn: line.insn.saturating_add(start), ..*line }));
        for relocation in &code.relocations {
            let problem = |problem| Error::Relocation { function: code.name.clone(), insn: relocation.insn, problem };
            let insn = code.insns.get(relocation.insn as usize).ok_or(problem("is outside the function"))?;
            let wide = insn.is_wide() && code.insns.len() > relocation.insn as usize + 1;
            let slot = start + relocation.insn;
            match relocation.kind {
                RelocationKind::Map(_) | RelocationKind::MapValue { .. } | RelocationKind::Address(_) if !wide => {
                    return Err(problem("is not at a 64-bit immediate load"));
                }
                RelocationKind::Map(map) => {
                    self.set(slot, pseudo::MAP_FD, 0);
                    self.refer(slot, map, problem)?;
                }
                RelocationKind::MapValue { map, offset } => {
                    self.set(slot, pseudo::MAP_VALUE, 0);
                    self.linked.insns[slot as usize + 1].imm = offset as i32;
                    self.refer(slot, map, problem)?;
                }
                RelocationKind::Address(function) => {
                    self.set(slot, pseudo::FUNC, 0);
                    self.reach(slot, function, problem)?;
                }
                RelocationKind::Call(function) => {
                    if insn.code != isa::CALL {
                        return Err(problem("is not at a call"));
                    }
                    self.set(slot, pseudo::CALL, 0);
                    self.reach(slot, function, problem)?;
                }
            }
        }
        Ok(())
    }

    /// Sets the `src` field and the immediate; the slot is known to be there.
    fn set(&mut self, slot: u32, src: u8, imm: i32) {
        let insn = &mut self.linked.insns[slot as usize];
        *insn = Insn::new(insn.code, insn.dst(), Reg(src), insn.off, imm);
    }

    fn refer(&mut self, slot: u32, map: MapIndex, problem: impl Fn(&'static str) -> Error) -> Result<(), Error> {
        if map.0 as usize >= self.object.maps.len() {
            return Err(problem("names a map that is not there"));
        }
        self.linked.maps.push(MapReference { insn: slot, map });
        Ok(())
    }

    fn reach(
        &mut self,
        slot: u32,
        function: FunctionIndex,
        problem: impl Fn(&'static str) -> Error,
    ) -> Result<(), Error> {
        let place = self.places.get_mut(function.0 as usize).ok_or(problem("names a function that is not there"))?;
        if place.is_none() {
            // The program itself is at place 0.
            *place = Some(self.reached.len() as u32 + 1);
            self.reached.push(function);
        }
        self.calls.push((slot, function));
        Ok(())
    }

    fn resolve_calls(&mut self) -> Result<(), Error> {
        for &(slot, function) in &self.calls {
            // Every function that is called was placed and appended.
            let start = self.places[function.0 as usize]
                .and_then(|place| self.linked.functions.get(place as usize))
                .map_or(0, |placed| placed.start);
            let distance = i64::from(start) - i64::from(slot) - 1;
            self.linked.insns[slot as usize].imm = i32::try_from(distance).map_err(|_| Error::TooFar {
                function: self.linked.functions[0].name.clone(),
                callee: self.object.functions[function.0 as usize].name.clone(),
            })?;
        }
        Ok(())
    }
}
