//! Which values outlive which blocks and calls: decides whose register an
//! instruction with two operands overwrites, and what is copied out of the
//! registers that calls use.

use cranelift_entity::{EntityRef, SecondaryMap};

use super::{Lowering, targets};
use crate::{Block, InstData, Value};

/// A set of values, one bit each.
type Set = Vec<u64>;

/// The values that are live at the end of each block, and across any call.
#[derive(Clone, Default)]
pub(super) struct Liveness {
    out: SecondaryMap<Block, Set>,
    across_calls: Set,
}

impl Liveness {
    pub(super) fn is_live_out(&self, block: Block, v: Value) -> bool {
        self.out[block].get(v.index() / 64).is_some_and(|word| word & bit(v) != 0)
    }

    pub(super) fn crosses_calls(&self, v: Value) -> bool {
        self.across_calls.get(v.index() / 64).is_some_and(|word| word & bit(v) != 0)
    }
}

fn bit(v: Value) -> u64 {
    1 << (v.index() % 64)
}

impl Lowering<'_> {
    /// Solves the usual backward equations, aliases as what they stand for.
    pub(super) fn find_liveness(&self) -> Liveness {
        let words = self.func.values.len().div_ceil(64);
        let mut liveness = Liveness { out: SecondaryMap::new(), across_calls: vec![0; words] };
        let mut live_in: SecondaryMap<Block, Set> = SecondaryMap::new();
        let mut live = vec![0; words];
        let mut changed = true;
        while changed {
            changed = false;
            for &block in self.shape.cfg.reverse_postorder.iter().rev() {
                live.fill(0);
                let data = &self.func.blocks[block];
                for to in targets(self.func.terminator(block)).into_iter().flatten() {
                    for (word, other) in live.iter_mut().zip(&live_in[to.block]) {
                        *word |= other;
                    }
                }
                liveness.out[block].clone_from(&live);
                for &inst in data.insts.iter().rev() {
                    if let Some(v) = self.func.results[inst] {
                        live[v.index() / 64] &= !bit(v);
                        if self.alias[v].is_some() {
                            continue;
                        }
                    }
                    let data = &self.func.insts[inst];
                    if matches!(data, InstData::CallHelper { .. } | InstData::Call { .. }) {
                        for (word, other) in liveness.across_calls.iter_mut().zip(&live) {
                            *word |= other;
                        }
                    }
                    self.for_each_use(data, |v| live[v.index() / 64] |= bit(v));
                }
                for &param in &data.params {
                    live[param.index() / 64] &= !bit(param);
                }
                if live_in[block] != live {
                    live_in[block].clone_from(&live);
                    changed = true;
                }
            }
        }
        liveness
    }

    /// Calls `f` with what stands for each value that `data` uses, without the
    /// arguments of blocks with one way in: those are used where their
    /// parameters are.
    pub(super) fn for_each_use(&self, data: &InstData, mut f: impl FnMut(Value)) {
        if let InstData::Branch { cond, .. } = data {
            f(self.resolve(*cond));
        }
        if !data.is_terminator() || matches!(data, InstData::Return(_)) {
            data.for_each_use(|v| f(self.resolve(v)));
        }
        for to in targets(data).into_iter().flatten() {
            if !self.shape.has_one_way_in(to.block) {
                to.args.iter().for_each(|arg| f(self.resolve(*arg)));
            }
        }
    }
}
