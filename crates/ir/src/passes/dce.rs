//! Instructions, parameters and slots that nothing needs.

use cranelift_entity::SecondaryMap;

use crate::effects;
use crate::*;

pub(super) fn run(func: &mut Function, cfg: &Cfg) {
    let mut live: SecondaryMap<Value, bool> = SecondaryMap::new();
    live.resize(func.values.len());
    let mut work: Vec<Value> = Vec::new();
    for &block in &cfg.reverse_postorder {
        for &inst in &func.blocks[block].insts {
            match &func.insts[inst] {
                // Arguments of edges count once their parameters do.
                InstData::Jump(_) => {}
                InstData::Branch { cond, .. } => work.push(*cond),
                data if must_stay(data) => data.for_each_use(|v| work.push(v)),
                _ => {}
            }
        }
    }
    for &param in &func.blocks[func.entry()].params {
        live[param] = true;
    }
    while let Some(v) = work.pop() {
        if std::mem::replace(&mut live[v], true) {
            continue;
        }
        match func.values[v].def {
            ValueDef::Result(inst) => func.insts[inst].for_each_use(|used| work.push(used)),
            ValueDef::Param(block, index) => {
                for &pred in cfg.preds(block) {
                    let edges = func.terminator(pred).edges().filter(|edge| edge.block == block);
                    work.extend(edges.map(|edge| edge.args[index as usize]));
                }
            }
        }
    }
    let mut used_slots: SecondaryMap<Slot, bool> = SecondaryMap::new();
    for &block in &cfg.reverse_postorder {
        let mut insts = std::mem::take(&mut func.blocks[block].insts);
        insts.retain(|&inst| {
            let data = &func.insts[inst];
            let keep = must_stay(data) || func.results[inst].is_some_and(|v| live[v]);
            if let (true, InstData::SlotAddr { slot, .. }) = (keep, data) {
                used_slots[*slot] = true;
            }
            keep
        });
        func.blocks[block].insts = insts;
        if block != func.entry() && func.blocks[block].params.iter().any(|p| !live[*p]) {
            func.remove_params(block, cfg.preds(block), |_, p| !live[p]);
        }
    }
    for (slot, data) in &mut func.slots {
        if !used_slots[slot] {
            data.bytes = 0;
        }
    }
}

/// Whether an instruction is needed for more than its result.
fn must_stay(data: &InstData) -> bool {
    match data {
        InstData::CallHelper { helper, .. } => {
            let effects = effects::of_helper(*helper);
            // What a call writes through its arguments is for `dead_stores`.
            let writes =
                effects.arguments.iter().any(|(_, effect)| !matches!(effect, effects::ArgumentEffect::Read(_)));
            writes || !effects.is_removable()
        }
        other => other.has_effect(),
    }
}
