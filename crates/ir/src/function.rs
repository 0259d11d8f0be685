//! Functions and modules.

use cranelift_entity::{PrimaryMap, SecondaryMap};
use object::SourceSpan;

use crate::{Block, Func, Inst, InstData, Map, Slot, Type, Value};

/// All functions and maps that one source text lowers to.
#[derive(Clone, Debug, Default)]
pub struct Module {
    pub license: String,
    pub maps: PrimaryMap<Map, object::Map>,
    pub funcs: PrimaryMap<Func, Function>,
    pub sources: Vec<object::Source>,
}

/// One function in SSA form. The first block of the layout is the entry; its
/// parameters are the function's.
#[derive(Clone, Debug, Default)]
pub struct Function {
    pub name: String,
    /// For a program's entry: how it is loaded. `None`: a function that others call.
    pub program: Option<ProgramKind>,
    pub slots: PrimaryMap<Slot, SlotData>,
    pub values: PrimaryMap<Value, ValueData>,
    pub insts: PrimaryMap<Inst, InstData>,
    /// The result of each instruction that has one.
    pub results: SecondaryMap<Inst, Option<Value>>,
    pub spans: SecondaryMap<Inst, SourceSpan>,
    pub blocks: PrimaryMap<Block, BlockData>,
    /// The blocks in order of emission.
    pub layout: Vec<Block>,
}

/// What `object::Program` says beside the code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramKind {
    pub section: String,
    pub prog_type: u32,
    pub expected_attach_type: u32,
    pub target: Option<object::Target>,
    pub sleepable: bool,
}

/// A piece of memory that lives as long as a call of the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotData {
    pub bytes: u32,
    /// A power of two up to 8.
    pub align: u32,
}

impl SlotData {
    /// The alignment that the slot gets, in bytes: at least what it asks for, and
    /// what the widest access that fits in it wants.
    pub fn placed_align(&self) -> u32 {
        let widest = match self.bytes {
            0 | 1 => 1,
            2 | 3 => 2,
            4..=7 => 4,
            _ => 8,
        };
        self.align.clamp(widest, 8).next_power_of_two()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueData {
    pub ty: Type,
    pub def: ValueDef,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueDef {
    Result(Inst),
    Param(Block, u32),
}

/// A straight run of instructions that ends in a terminator.
#[derive(Clone, Debug, Default)]
pub struct BlockData {
    pub params: Vec<Value>,
    pub insts: Vec<Inst>,
}

impl Function {
    pub fn entry(&self) -> Block {
        self.layout[0]
    }

    pub fn ty(&self, v: Value) -> Type {
        self.values[v].ty
    }

    /// The integer that `v` is, if a constant defines it.
    pub fn constant(&self, v: Value) -> Option<i64> {
        match self.values[v].def {
            ValueDef::Result(inst) => match self.insts[inst] {
                InstData::Const(n) => Some(n),
                _ => None,
            },
            ValueDef::Param(..) => None,
        }
    }

    /// The instruction that ends `block`.
    pub fn terminator(&self, block: Block) -> &InstData {
        let last = self.blocks[block].insts.last().expect("a finished block has a terminator");
        &self.insts[*last]
    }
}
