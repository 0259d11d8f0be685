//! Indices of what a function and a module are made of. Each is a `u32` into a
//! dense table and prints as its text form.

use cranelift_entity::entity_impl;

macro_rules! entity {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u32);
        entity_impl!($name, $prefix);
    };
}

entity!(
    /// A function of a module: a program's entry or a function it calls.
    Func,
    "fn"
);
entity!(
    /// A map of a module.
    Map,
    "map"
);
entity!(
    /// A basic block of a function.
    Block,
    "block"
);
entity!(
    /// An instruction of a function.
    Inst,
    "inst"
);
entity!(
    /// A value: the result of an instruction or a block parameter.
    Value,
    "v"
);
entity!(
    /// A piece of a function's memory.
    Slot,
    "slot"
);
