//! The control-flow graph made smaller: branches that go one way, blocks that
//! only jump on, straight lines in several blocks, and parameters that are always
//! the same value.

use cranelift_entity::SecondaryMap;

use super::rewrite::Replacements;
use crate::*;

pub(super) fn run(func: &mut Function) {
    // Each step may make room for the others; in practice two or three rounds.
    for _ in 0..8 {
        let mut changed = fold_terminators(func);
        changed |= thread_jumps(func);
        changed |= share_returns(func);
        let cfg = remove_unreachable(func);
        changed |= remove_redundant_params(func, &cfg);
        changed |= merge_lines(func, &cfg);
        if !changed {
            break;
        }
    }
}

/// Takes blocks that nothing reaches out of the layout.
pub(super) fn remove_unreachable(func: &mut Function) -> Cfg {
    let cfg = Cfg::new(func);
    if cfg.reverse_postorder.len() < func.layout.len() {
        func.layout.retain(|&block| cfg.is_reachable(block));
    }
    cfg
}

/// Branches on constants, branches whose sides agree, and branches that only
/// choose a value.
fn fold_terminators(func: &mut Function) -> bool {
    let mut changed = false;
    for i in 0..func.layout.len() {
        let block = func.layout[i];
        let inst = func.terminator_inst(block);
        let InstData::Branch { cond, then, otherwise } = &func.insts[inst] else { continue };
        let cond = *cond;
        let to = if let Some(n) = func.constant(cond) {
            if n != 0 { then.clone() } else { otherwise.clone() }
        } else if then.block == otherwise.block {
            let (then, otherwise) = (then.clone(), otherwise.clone());
            match select_arguments(func, block, inst, cond, &then, &otherwise) {
                Some(args) => BlockCall { block: then.block, args },
                None => continue,
            }
        } else {
            continue;
        };
        func.insts[inst] = InstData::Jump(to);
        changed = true;
    }
    changed
}

/// The arguments of a jump that stands for a branch to one block with two sets of
/// arguments, if a single `select` makes them.
fn select_arguments(
    func: &mut Function,
    block: Block,
    terminator: Inst,
    cond: Value,
    then: &BlockCall,
    otherwise: &BlockCall,
) -> Option<Vec<Value>> {
    let same = |func: &Function, a: Value, b: Value| {
        a == b || (func.constant(a).is_some() && func.constant(a) == func.constant(b) && func.ty(a) == func.ty(b))
    };
    let mut different = then.args.iter().zip(&otherwise.args).filter(|(a, b)| !same(func, **a, **b));
    let Some((&a, &b)) = different.next() else { return Some(then.args.clone()) };
    // The verifier of a kernel follows pointers along branches.
    if matches!(func.ty(a), Type::Ptr(_)) || different.any(|pair| pair != (&a, &b)) {
        return None;
    }
    let (ty, span) = (func.ty(a), func.spans[terminator]);
    let (inst, chosen) = func.make_inst(InstData::Select { cond, args: [a, b] }, ty, span);
    let chosen = chosen?;
    let at = func.blocks[block].insts.len() - 1;
    func.blocks[block].insts.insert(at, inst);
    let args = then.args.iter().zip(&otherwise.args);
    Some(args.map(|(&x, &y)| if same(func, x, y) { x } else { chosen }).collect())
}

/// Sends edges into blocks that do nothing, or only decide what the edge already
/// decides, to where they lead.
fn thread_jumps(func: &mut Function) -> bool {
    let mut uses: SecondaryMap<Value, u32> = SecondaryMap::new();
    uses.resize(func.values.len());
    for &block in &func.layout {
        for &inst in &func.blocks[block].insts {
            func.insts[inst].for_each_use(|v| uses[v] += 1);
        }
    }
    let mut changed = false;
    for i in 0..func.layout.len() {
        let block = func.layout[i];
        let terminator = func.terminator_inst(block);
        for side in 0..2 {
            // Chains of such blocks; a loop of them ends the search.
            for _ in 0..8 {
                let Some(edge) = func.insts[terminator].edges().nth(side) else { break };
                let Some(target) = forwarded(func, &uses, edge) else { break };
                let args = place_constants(func, block, &target.args);
                let old = func.insts[terminator].edges_mut().nth(side);
                let Some(old) = old else { break };
                for v in &old.args {
                    uses[*v] = uses[*v].saturating_sub(1);
                }
                for v in &args {
                    uses[*v] += 1;
                }
                *old = BlockCall { block: target.block, args };
                changed = true;
            }
        }
    }
    changed
}

/// An argument of a threaded edge.
enum Forward {
    Value(Value),
    /// Defined in the block that is passed by: made anew.
    Constant(i64, Type),
}

struct ForwardedEdge {
    block: Block,
    args: Vec<Forward>,
}

/// Where an edge goes if its target is passed by. The target may hold constants
/// and one comparison besides its terminator, used nowhere else.
fn forwarded(func: &Function, uses: &SecondaryMap<Value, u32>, edge: &BlockCall) -> Option<ForwardedEdge> {
    let through = edge.block;
    let data = &func.blocks[through];
    if data.insts.len() > 4 {
        return None;
    }
    let (&last, body) = data.insts.split_last()?;
    // Everything defined here is used here only.
    let mut inside = 0;
    let mut count_inside = |v: Value| {
        inside = 0;
        for &inst in &data.insts {
            func.insts[inst].for_each_use(|used| inside += u32::from(used == v));
        }
        inside == uses[v]
    };
    if !data.params.iter().all(|&p| count_inside(p)) {
        return None;
    }
    for &inst in body {
        let allowed = matches!(func.insts[inst], InstData::Const(_) | InstData::Compare { .. });
        if !allowed || !func.results[inst].is_some_and(&mut count_inside) {
            return None;
        }
    }
    // The value of `v` on this edge.
    let incoming = |v: Value| match func.values[v].def {
        ValueDef::Param(block, index) if block == through => edge.args[index as usize],
        _ => v,
    };
    let known = |v: Value| -> Option<i64> {
        let v = incoming(v);
        if let Some(n) = func.constant(v) {
            return Some(n);
        }
        let ValueDef::Result(inst) = func.values[v].def else { return None };
        if !body.contains(&inst) {
            return None;
        }
        let InstData::Compare { cond, args: [a, b] } = func.insts[inst] else { return None };
        let (x, y) = (func.constant(incoming(a))? as u64, func.constant(incoming(b))? as u64);
        let holds = if func.ty(a) == Type::I32 { cond.holds32(x as u32, y as u32) } else { cond.holds64(x, y) };
        Some(i64::from(holds))
    };
    let to = match &func.insts[last] {
        InstData::Jump(to) => to,
        InstData::Branch { cond, then, otherwise } => {
            if known(*cond)? != 0 {
                then
            } else {
                otherwise
            }
        }
        _ => return None,
    };
    if to.block == through {
        return None;
    }
    let mut args = Vec::with_capacity(to.args.len());
    for &arg in &to.args {
        let defined_here = matches!(func.values[arg].def, ValueDef::Result(inst) if body.contains(&inst));
        args.push(match known(arg) {
            Some(n) if defined_here => Forward::Constant(n, func.ty(arg)),
            None if defined_here => return None,
            _ => Forward::Value(incoming(arg)),
        });
    }
    Some(ForwardedEdge { block: to.block, args })
}

/// Makes the constants among the arguments, before the terminator of `block`.
fn place_constants(func: &mut Function, block: Block, args: &[Forward]) -> Vec<Value> {
    let terminator = func.terminator_inst(block);
    let span = func.spans[terminator];
    let mut made = Vec::new();
    let values = args
        .iter()
        .map(|arg| match *arg {
            Forward::Value(v) => v,
            Forward::Constant(n, ty) => func.emit(&mut made, InstData::Const(n), ty, span),
        })
        .collect();
    let at = func.blocks[block].insts.len() - 1;
    func.blocks[block].insts.splice(at..at, made);
    values
}

/// Blocks that only return the same constant become one.
fn share_returns(func: &mut Function) -> bool {
    let mut returns: Vec<(i64, Type, Block)> = Vec::new();
    let mut same: SecondaryMap<Block, Option<Block>> = SecondaryMap::new();
    let mut found = false;
    for &block in &func.layout[1..] {
        let data = &func.blocks[block];
        let InstData::Return(value) = func.insts[func.terminator_inst(block)] else { continue };
        let Some(n) = func.constant(value) else { continue };
        let only_constants =
            data.insts.iter().rev().skip(1).all(|inst| matches!(func.insts[*inst], InstData::Const(_)));
        if !data.params.is_empty() || !only_constants {
            continue;
        }
        let ty = func.ty(value);
        match returns.iter().find(|(known, of, _)| (*known, *of) == (n, ty)) {
            Some((.., first)) => {
                same[block] = Some(*first);
                found = true;
            }
            None => returns.push((n, ty, block)),
        }
    }
    if !found {
        return false;
    }
    // The one that stays must not need a constant that dominates only itself.
    for (n, ty, block) in returns {
        let terminator = func.terminator_inst(block);
        let span = func.spans[terminator];
        let mut insts = Vec::with_capacity(2);
        let value = func.emit(&mut insts, InstData::Const(n), ty, span);
        func.insts[terminator] = InstData::Return(value);
        insts.push(terminator);
        func.blocks[block].insts = insts;
    }
    for i in 0..func.layout.len() {
        let terminator = func.terminator_inst(func.layout[i]);
        for edge in func.insts[terminator].edges_mut() {
            if let Some(first) = same[edge.block] {
                edge.block = first;
            }
        }
    }
    true
}

/// Parameters that get the same value, or equal constants, on every edge.
pub(super) fn remove_redundant_params(func: &mut Function, cfg: &Cfg) -> bool {
    let mut replaced = Replacements::default();
    loop {
        let mut again = false;
        for &block in &cfg.reverse_postorder[1..] {
            let mut gone = false;
            for index in 0..func.blocks[block].params.len() {
                let param = func.blocks[block].params[index];
                let Some(same) = same_argument(func, cfg, &mut replaced, block, index) else { continue };
                let value = match same {
                    Same::Value(v) => v,
                    Same::Constant(n) => {
                        let mut made = Vec::new();
                        let ty = func.ty(param);
                        let v = func.emit(&mut made, InstData::Const(n), ty, object::SourceSpan::default());
                        func.blocks[block].insts.splice(0..0, made);
                        v
                    }
                };
                replaced.set(param, value);
                gone = true;
            }
            if gone {
                let redundant: Vec<Value> = func.blocks[block].params.clone();
                let redundant: Vec<Value> = redundant.into_iter().filter(|p| replaced.resolve(*p) != *p).collect();
                func.remove_params(block, cfg.preds(block), |_, p| redundant.contains(&p));
                again = true;
            }
        }
        if !again {
            break;
        }
    }
    let changed = !replaced.is_empty();
    replaced.apply(func);
    changed
}

enum Same {
    Value(Value),
    Constant(i64),
}

/// What parameter `index` of `block` always is, if it is one thing.
fn same_argument(func: &Function, cfg: &Cfg, replaced: &mut Replacements, block: Block, index: usize) -> Option<Same> {
    let param = func.blocks[block].params[index];
    let mut same: Option<Value> = None;
    let mut is_one_value = true;
    for &pred in cfg.preds(block) {
        for edge in func.terminator(pred).edges().filter(|edge| edge.block == block) {
            let arg = replaced.resolve(edge.args[index]);
            if arg == param || same == Some(arg) {
                continue;
            }
            match same {
                None => same = Some(arg),
                Some(other) => {
                    func.constant(arg).filter(|n| func.constant(other) == Some(*n))?;
                    is_one_value = false;
                }
            }
        }
    }
    let same = same?;
    if is_one_value { Some(Same::Value(same)) } else { func.constant(same).map(Same::Constant) }
}

/// A block with one successor that has no other way in takes it over.
fn merge_lines(func: &mut Function, cfg: &Cfg) -> bool {
    let mut replaced = Replacements::default();
    let mut gone: SecondaryMap<Block, bool> = SecondaryMap::new();
    let mut changed = false;
    for &block in &cfg.reverse_postorder {
        if gone[block] {
            continue;
        }
        loop {
            let terminator = func.terminator_inst(block);
            let InstData::Jump(to) = &func.insts[terminator] else { break };
            let target = to.block;
            if cfg.preds(target).len() != 1 || target == block {
                break;
            }
            let args = to.args.clone();
            let params = std::mem::take(&mut func.blocks[target].params);
            for (param, arg) in params.into_iter().zip(args) {
                replaced.set(param, arg);
            }
            func.blocks[block].insts.pop();
            let insts = std::mem::take(&mut func.blocks[target].insts);
            func.blocks[block].insts.extend(insts);
            gone[target] = true;
            changed = true;
        }
    }
    if changed {
        func.layout.retain(|&block| !gone[block]);
        replaced.apply(func);
    }
    changed
}
