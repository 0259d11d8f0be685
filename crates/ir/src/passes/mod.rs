//! Passes from IR to better IR. Each is a file and a name; tests and `--emit
//! ir-opt` run one or all.

pub(crate) mod alias;
mod branches;
mod dce;
mod dead_stores;
mod gvn;
mod layout;
mod promote;
mod rewrite;
mod simplify;
mod slot_liveness;
mod slots;
mod widen;

use cranelift_entity::PrimaryMap;

pub use self::slots::{SlotLayout, slot_layout};
use crate::*;

/// A pass over a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Slots into values.
    Promote,
    /// Instructions one by one.
    Simplify,
    /// Values computed before, memory read before, conditions decided before.
    Gvn,
    /// What nothing needs.
    Dce,
    /// Writes to slots that nothing reads.
    DeadStores,
    /// Small stores of constants into larger ones.
    Widen,
    /// Fewer blocks and parameters.
    Branches,
    /// Order of blocks.
    Layout,
}

impl Pass {
    pub const ALL: [Pass; 8] = [
        Pass::Promote,
        Pass::Simplify,
        Pass::Gvn,
        Pass::Dce,
        Pass::DeadStores,
        Pass::Widen,
        Pass::Branches,
        Pass::Layout,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Pass::Promote => "promote",
            Pass::Simplify => "simplify",
            Pass::Gvn => "gvn",
            Pass::Dce => "dce",
            Pass::DeadStores => "dead-stores",
            Pass::Widen => "widen",
            Pass::Branches => "branches",
            Pass::Layout => "layout",
        }
    }

    pub fn by_name(name: &str) -> Option<Pass> {
        Pass::ALL.into_iter().find(|pass| pass.name() == name)
    }
}

/// The order that gave the fewest instructions on the programs of tracing tools:
/// what `promote` opens up is simplified before values are numbered, numbering
/// decides branches, and what is left of memory is cleaned when its readers are
/// known.
const PIPELINE: &[Pass] = &[
    Pass::Promote,
    Pass::Simplify,
    Pass::Branches,
    Pass::Gvn,
    Pass::Simplify,
    Pass::Branches,
    Pass::Dce,
    Pass::DeadStores,
    Pass::Widen,
    Pass::Gvn,
    Pass::Simplify,
    Pass::Branches,
    Pass::Dce,
    Pass::Layout,
];

/// Runs all passes over all functions of a module that [`verify_module`] accepts.
pub fn optimize(module: &mut Module) {
    run_passes(module, PIPELINE);
}

/// Runs one pass over all functions.
pub fn run_pass(module: &mut Module, pass: Pass) {
    run_passes(module, &[pass]);
}

fn run_passes(module: &mut Module, passes: &[Pass]) {
    for index in module.funcs.keys() {
        for &pass in passes {
            run_on_function(&mut module.funcs[index], &module.maps, pass);
            if cfg!(debug_assertions)
                && let Err(error) = verify_optimized(module, &module.funcs[index])
            {
                panic!("pass {} broke the IR: {error}\n{}", pass.name(), module.funcs[index]);
            }
        }
    }
}

fn run_on_function(func: &mut Function, maps: &PrimaryMap<Map, object::Map>, pass: Pass) {
    let cfg = branches::remove_unreachable(func);
    match pass {
        Pass::Promote => promote::run(func, &cfg),
        Pass::Simplify => simplify::run(func, &cfg, maps),
        Pass::Gvn => gvn::run(func, &cfg, maps),
        Pass::Dce => dce::run(func, &cfg),
        Pass::DeadStores => dead_stores::run(func, &cfg, maps),
        Pass::Widen => widen::run(func, &cfg, maps),
        Pass::Branches => branches::run(func),
        Pass::Layout => layout::run(func, &cfg),
    }
}
