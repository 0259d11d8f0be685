//! The order of blocks: the usual way falls through, loops stay together, and
//! what rarely runs stands at the end.

use cranelift_entity::SecondaryMap;
use isa::uapi::helper;

use crate::*;

pub(super) fn run(func: &mut Function, cfg: &Cfg) {
    let depth = loop_depths(func, cfg);
    let mut seen: SecondaryMap<Block, bool> = SecondaryMap::new();
    let mut order = Vec::with_capacity(func.layout.len());
    let mut stack = vec![(func.entry(), false)];
    // Depth first; the side visited last follows its branch in the result.
    while let Some((block, done)) = stack.pop() {
        if done {
            order.push(block);
            continue;
        }
        if std::mem::replace(&mut seen[block], true) {
            continue;
        }
        stack.push((block, true));
        match func.terminator(block) {
            InstData::Jump(to) => stack.push((to.block, false)),
            InstData::Branch { cond, then, otherwise } => {
                let (then, otherwise) = (then.block, otherwise.block);
                let likely = likely_side(func, cfg, &depth, block, *cond, then, otherwise);
                let (first, second) = if likely == Some(false) { (otherwise, then) } else { (then, otherwise) };
                stack.push((first, false));
                stack.push((second, false));
            }
            _ => {}
        }
    }
    order.reverse();
    let rare = rare_blocks(func, cfg, &order);
    let (usual, rare): (Vec<Block>, Vec<Block>) = order.into_iter().partition(|&block| !rare[block]);
    func.layout = usual;
    func.layout.extend(rare);
}

/// How many loops a block is in.
fn loop_depths(func: &Function, cfg: &Cfg) -> SecondaryMap<Block, u32> {
    let mut depth: SecondaryMap<Block, u32> = SecondaryMap::new();
    let mut member: SecondaryMap<Block, Option<Block>> = SecondaryMap::new();
    for &latch in &cfg.reverse_postorder {
        for edge in func.terminator(latch).edges() {
            let header = edge.block;
            if !cfg.dominates(header, latch) {
                continue;
            }
            // The body: what reaches the latch without passing the header.
            let mut stack = vec![latch];
            while let Some(block) = stack.pop() {
                if member[block] == Some(header) {
                    continue;
                }
                member[block] = Some(header);
                depth[block] += 1;
                if block != header {
                    stack.extend(cfg.preds(block));
                }
            }
        }
    }
    depth
}

/// `Some(true)`: the branch usually goes to `then`.
fn likely_side(
    func: &Function,
    cfg: &Cfg,
    depth: &SecondaryMap<Block, u32>,
    block: Block,
    cond: Value,
    then: Block,
    otherwise: Block,
) -> Option<bool> {
    if let Some(rare) = rare_side(func, cond) {
        return Some(!rare);
    }
    // A loop goes around more often than it ends.
    let leaves = |to: Block| depth[to] < depth[block] && !cfg.dominates(to, block);
    if leaves(then) != leaves(otherwise) {
        return Some(leaves(otherwise));
    }
    let returns = |to: Block| matches!(func.terminator(to), InstData::Return(_)) && func.blocks[to].insts.len() <= 2;
    (returns(then) != returns(otherwise)).then(|| returns(otherwise))
}

/// Whether the side of a branch that rarely runs is the one where `cond` holds:
/// a null pointer, or a helper's error.
fn rare_side(func: &Function, cond: Value) -> Option<bool> {
    let InstData::Compare { cond: test, args: [a, b] } = func.def(cond)? else { return None };
    if func.constant(*b) != Some(0) {
        return None;
    }
    if matches!(func.ty(*a), Type::Ptr(Space::ValueOrNull | Space::RecordOrNull)) {
        return match test {
            Cond::Eq => Some(true),
            Cond::Ne => Some(false),
            _ => None,
        };
    }
    let InstData::CallHelper { helper, .. } = func.def(*a)? else { return None };
    let fails_below_zero = !matches!(*helper, helper::strncmp | helper::get_prandom_u32);
    match test {
        Cond::Slt if fails_below_zero => Some(true),
        Cond::Sge if fails_below_zero => Some(false),
        Cond::Ne | Cond::Eq => {
            let zero_is_success = matches!(
                *helper,
                helper::map_update_elem
                    | helper::map_delete_elem
                    | helper::ringbuf_output
                    | helper::perf_event_output
                    | helper::probe_read
                    | helper::probe_read_kernel
                    | helper::probe_read_user
            );
            zero_is_success.then_some(*test == Cond::Ne)
        }
        _ => None,
    }
}

/// Blocks that only rare sides of branches lead to.
fn rare_blocks(func: &Function, cfg: &Cfg, order: &[Block]) -> SecondaryMap<Block, bool> {
    let mut rare: SecondaryMap<Block, bool> = SecondaryMap::new();
    for &block in &order[1..] {
        let by_rare_edges = cfg.preds(block).iter().all(|&pred| {
            if rare[pred] {
                return true;
            }
            // A back edge is no way to get to a loop.
            if cfg.dominates(block, pred) {
                return true;
            }
            let InstData::Branch { cond, then, otherwise } = func.terminator(pred) else { return false };
            match rare_side(func, *cond) {
                Some(true) => then.block == block && otherwise.block != block,
                Some(false) => otherwise.block == block && then.block != block,
                None => false,
            }
        });
        rare[block] = by_rare_edges;
    }
    rare
}
