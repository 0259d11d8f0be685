//! Edges between the blocks of a function, and which block dominates which.

use cranelift_entity::SecondaryMap;

use crate::{Block, Function};

/// What follows from a function's terminators. Built once, it stays right for as
/// long as no terminator and no layout changes.
#[derive(Clone, Debug, Default)]
pub struct Cfg {
    /// Reachable blocks: each stands before those it dominates, and before its
    /// successors except along back edges.
    pub reverse_postorder: Vec<Block>,
    nodes: SecondaryMap<Block, Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// A block that branches here on both sides stands here twice.
    preds: Vec<Block>,
    /// Position in `reverse_postorder` plus one; 0 if unreachable.
    order: u32,
    /// `None` for the entry.
    idom: Option<Block>,
    /// Preorder interval in the dominator tree.
    dom_in: u32,
    dom_out: u32,
}

impl Cfg {
    pub fn new(func: &Function) -> Cfg {
        let mut cfg = Cfg { reverse_postorder: Vec::with_capacity(func.layout.len()), nodes: SecondaryMap::new() };
        cfg.nodes.resize(func.blocks.len());
        if func.layout.is_empty() {
            return cfg;
        }
        cfg.order(func);
        for &block in &cfg.reverse_postorder {
            for edge in func.terminator(block).edges() {
                cfg.nodes[edge.block].preds.push(block);
            }
        }
        cfg.dominators();
        cfg.number_tree();
        cfg
    }

    /// Depth-first search with its own stack, since functions nest as deeply as
    /// their source does. The second successor is visited first, so that the
    /// first follows its branch in the resulting order.
    fn order(&mut self, func: &Function) {
        let mut stack = vec![(func.entry(), false)];
        while let Some((block, done)) = stack.pop() {
            if done {
                self.reverse_postorder.push(block);
                continue;
            }
            if self.nodes[block].order != 0 {
                continue;
            }
            // Seen; the position comes below.
            self.nodes[block].order = 1;
            stack.push((block, true));
            for edge in func.terminator(block).edges() {
                if self.nodes[edge.block].order == 0 {
                    stack.push((edge.block, false));
                }
            }
        }
        self.reverse_postorder.reverse();
        for (i, &block) in self.reverse_postorder.iter().enumerate() {
            self.nodes[block].order = i as u32 + 1;
        }
    }

    /// Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm".
    fn dominators(&mut self) {
        let mut changed = true;
        while changed {
            changed = false;
            for i in 1..self.reverse_postorder.len() {
                let block = self.reverse_postorder[i];
                let mut idom = None;
                for p in 0..self.nodes[block].preds.len() {
                    let pred = self.nodes[block].preds[p];
                    let processed = self.nodes[pred].order == 1 || self.nodes[pred].idom.is_some();
                    if processed {
                        idom = Some(match idom {
                            None => pred,
                            Some(other) => self.common_dominator(pred, other),
                        });
                    }
                }
                if self.nodes[block].idom != idom {
                    self.nodes[block].idom = idom;
                    changed = true;
                }
            }
        }
    }

    /// The closest block that dominates both.
    pub fn common_dominator(&self, a: Block, b: Block) -> Block {
        let (mut a, mut b) = (a, b);
        while a != b {
            // The one later in the order goes up; the entry is first and above all.
            if self.nodes[a].order > self.nodes[b].order {
                a = self.nodes[a].idom.unwrap_or(b);
            } else {
                b = self.nodes[b].idom.unwrap_or(a);
            }
        }
        a
    }

    /// Numbers the dominator tree so that [`Cfg::dominates`] is two compares.
    fn number_tree(&mut self) {
        // Sizes of subtrees, bottom up; a block comes after its dominator.
        for &block in self.reverse_postorder.iter().rev() {
            self.nodes[block].dom_out += 1;
            let size = self.nodes[block].dom_out;
            if let Some(idom) = self.nodes[block].idom {
                self.nodes[idom].dom_out += size;
            }
        }
        // `dom_out` holds the size of a block's subtree until the block is
        // numbered; `dom_in` of a numbered block is where its next child starts.
        let mut next_child: SecondaryMap<Block, u32> = SecondaryMap::new();
        next_child.resize(self.nodes.keys().len());
        for &block in &self.reverse_postorder {
            let size = self.nodes[block].dom_out;
            let start = match self.nodes[block].idom {
                None => 0,
                Some(idom) => {
                    let start = next_child[idom];
                    next_child[idom] += size;
                    start
                }
            };
            next_child[block] = start + 1;
            self.nodes[block].dom_in = start;
            self.nodes[block].dom_out = start + size;
        }
    }

    pub fn preds(&self, block: Block) -> &[Block] {
        &self.nodes[block].preds
    }

    pub fn is_reachable(&self, block: Block) -> bool {
        self.nodes[block].order != 0
    }

    /// Position in the reverse postorder; unreachable blocks are first.
    pub fn order_of(&self, block: Block) -> u32 {
        self.nodes[block].order
    }

    /// The closest block that dominates `block`, besides itself.
    pub fn idom(&self, block: Block) -> Option<Block> {
        self.nodes[block].idom
    }

    /// Whether each way to `b` goes through `a` (a block dominates itself).
    pub fn dominates(&self, a: Block, b: Block) -> bool {
        let (a, b) = (&self.nodes[a], &self.nodes[b]);
        a.order != 0 && b.order != 0 && a.dom_in <= b.dom_in && b.dom_in < a.dom_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Builder, InstData};

    /// entry → a, b; a → join; b → join; join → join, exit.
    fn diamond_and_loop() -> Function {
        let mut func = Function::default();
        let mut b = Builder::new(&mut func);
        let blocks: Vec<Block> = (0..5).map(|_| b.create_block()).collect();
        b.switch_to(blocks[0]);
        let c = b.iconst(1);
        b.branch(c, blocks[1], blocks[2]);
        b.switch_to(blocks[1]);
        b.jump(blocks[3], &[]);
        b.switch_to(blocks[2]);
        b.jump(blocks[3], &[]);
        b.switch_to(blocks[3]);
        b.branch(c, blocks[3], blocks[4]);
        b.switch_to(blocks[4]);
        b.ret(c);
        func
    }

    #[test]
    fn dominators_of_a_diamond_and_a_loop() {
        let func = diamond_and_loop();
        let cfg = Cfg::new(&func);
        let [entry, a, b, join, exit] = [0, 1, 2, 3, 4].map(|i| func.layout[i]);
        assert_eq!(cfg.idom(join), Some(entry));
        assert_eq!(cfg.idom(exit), Some(join));
        assert!(cfg.dominates(entry, exit) && cfg.dominates(join, join) && cfg.dominates(join, exit));
        assert!(!cfg.dominates(a, join) && !cfg.dominates(b, a) && !cfg.dominates(exit, join));
        assert_eq!(cfg.preds(join).len(), 3);
    }

    #[test]
    fn blocks_that_nothing_reaches_are_not_dominated() {
        let mut func = diamond_and_loop();
        let entry = func.layout[0];
        let last = *func.blocks[entry].insts.last().unwrap();
        let InstData::Branch { then, .. } = func.insts[last].clone() else { panic!() };
        func.insts[last] = InstData::Jump(then);
        let cfg = Cfg::new(&func);
        let b = func.layout[2];
        assert!(!cfg.is_reachable(b));
        assert!(!cfg.dominates(func.layout[0], b));
        assert_eq!(cfg.idom(func.layout[3]), Some(func.layout[1]));
    }
}
