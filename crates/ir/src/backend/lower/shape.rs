//! Which machine blocks a function becomes, in which order.

use cranelift_entity::SecondaryMap;

use super::targets;
use crate::{Block, Cfg, Function, Value};

/// What a machine block is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Finds the scratch memory on the way into a block; leaves if there is none.
    FindScratch(Block),
    Ir(Block),
    /// On the edge from a branch to its first or second target.
    Edge,
    /// Returns 0 for want of scratch memory.
    NoScratch,
}

/// Control flow of a function, and the machine blocks that come of it.
pub(super) struct Shape {
    pub cfg: Cfg,
    /// The entry comes first, the rest in order of emission.
    pub nodes: Vec<Node>,
    /// The block in front of which scratch memory is found.
    scratch: Option<Block>,
    /// The machine block that edges to each block go to.
    way_in: SecondaryMap<Block, u32>,
    /// The machine blocks on a block's edges, 0 where the edge needs none.
    on_edge: SecondaryMap<Block, [u32; 2]>,
}

impl Shape {
    pub fn new(func: &Function) -> Shape {
        Shape {
            cfg: Cfg::new(func),
            nodes: Vec::with_capacity(func.layout.len() + 2),
            scratch: None,
            way_in: SecondaryMap::new(),
            on_edge: SecondaryMap::new(),
        }
    }

    /// Numbers the machine blocks.
    pub fn number(&mut self, func: &Function, scratch: Option<Block>) {
        self.scratch = scratch;
        for &block in func.layout.iter().filter(|b| self.cfg.is_reachable(**b)) {
            self.way_in[block] = self.nodes.len() as u32;
            if scratch == Some(block) {
                self.nodes.push(Node::FindScratch(block));
            }
            self.nodes.push(Node::Ir(block));
            let to = targets(func.terminator(block));
            for (i, call) in to.iter().enumerate() {
                // Moves for arguments stand at the end of a block that goes
                // nowhere else.
                if to[1].is_some() && call.is_some_and(|call| !self.has_one_way_in(call.block)) {
                    self.on_edge[block][i] = self.nodes.len() as u32;
                    self.nodes.push(Node::Edge);
                }
            }
        }
        if scratch.is_some() {
            self.nodes.push(Node::NoScratch);
        }
    }

    /// Whether a block's parameters always have the same arguments.
    pub fn has_one_way_in(&self, block: Block) -> bool {
        self.cfg.preds(block).len() == 1
    }

    /// Each parameter of a block with one way in, and its argument.
    pub fn single_args(&self, func: &Function) -> Vec<(Value, Value)> {
        let mut pairs = Vec::new();
        for &block in &self.cfg.reverse_postorder {
            for call in func.terminator(block).edges().filter(|call| self.has_one_way_in(call.block)) {
                let params = &func.blocks[call.block].params;
                pairs.extend(params.iter().copied().zip(call.args.iter().copied()));
            }
        }
        pairs
    }

    /// The machine block that edges to `block` go to.
    pub fn way_in(&self, block: Block) -> usize {
        self.way_in[block] as usize
    }

    /// The machine block that holds `block`'s instructions.
    pub fn body(&self, block: Block) -> usize {
        self.way_in(block) + usize::from(self.scratch == Some(block))
    }

    /// The machine block on the edge to the first or second target of `block`, if
    /// there is one.
    pub fn on_edge(&self, block: Block, target: usize) -> Option<usize> {
        Some(self.on_edge[block][target] as usize).filter(|node| *node != 0)
    }

    /// The best place to find something that `users` need: before all of them,
    /// in no loop.
    pub fn place_before(&self, func: &Function, users: &[Block]) -> Option<Block> {
        let common = users.iter().copied().reduce(|a, b| self.cfg.common_dominator(a, b))?;
        let mut place = common;
        while self.is_in_loop(func, place) {
            place = self.cfg.idom(place)?;
        }
        Some(place)
    }

    fn is_in_loop(&self, func: &Function, block: Block) -> bool {
        let mut seen: SecondaryMap<Block, bool> = SecondaryMap::new();
        let mut work = vec![block];
        while let Some(at) = work.pop() {
            for call in func.terminator(at).edges() {
                if call.block == block {
                    return true;
                }
                if !std::mem::replace(&mut seen[call.block], true) {
                    work.push(call.block);
                }
            }
        }
        false
    }
}
