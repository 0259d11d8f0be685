//! Instructions of one function with what is still open in them.

use isa::Insn;

/// Index into [`crate::Object::maps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MapIndex(pub u32);

/// Index into [`crate::Object::functions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionIndex(pub u32);

/// The code of one function: a program's entry or a function it calls.
#[derive(Clone, Debug, Default)]
pub struct Code {
    /// A C identifier; the kernel shows its first 15 bytes.
    pub name: String,
    pub insns: Vec<Insn>,
    pub relocations: Vec<Relocation>,
    /// Ascending by `insn`; each entry holds until the next.
    pub lines: Vec<Line>,
    /// Number of parameters (all 64-bit scalars or pointers).
    pub params: u8,
}

/// An instruction slot whose operand depends on something outside this code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relocation {
    /// Slot index into [`Code::insns`].
    pub insn: u32,
    pub kind: RelocationKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelocationKind {
    /// A 64-bit immediate load of a map.
    Map(MapIndex),
    /// A 64-bit immediate load of the address `offset` bytes into the value of
    /// a one-element array map.
    MapValue { map: MapIndex, offset: u32 },
    /// A call of a function.
    Call(FunctionIndex),
    /// A 64-bit immediate load of a function's address, for callbacks.
    Address(FunctionIndex),
}

/// Where an instruction comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Slot index into [`Code::insns`].
    pub insn: u32,
    pub at: SourceSpan,
}

/// A stretch of a source text, as byte offsets; end exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SourceSpan {
    /// Index into [`crate::Object::sources`].
    pub source: u16,
    pub start: u32,
    pub end: u32,
}
