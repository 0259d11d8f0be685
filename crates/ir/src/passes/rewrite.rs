//! Changing a function in place: values that stand for others, and blocks that
//! are rebuilt instruction by instruction.

use cranelift_entity::SecondaryMap;

use crate::*;

/// Values that others have taken the place of. Uses are changed when a pass
/// comes to them, or all at once by [`Replacements::apply`].
#[derive(Default)]
pub(super) struct Replacements {
    by: SecondaryMap<Value, Option<Value>>,
    any: bool,
}

impl Replacements {
    pub fn set(&mut self, old: Value, new: Value) {
        debug_assert_ne!(old, new);
        self.by[old] = Some(new);
        self.any = true;
    }

    pub fn is_empty(&self) -> bool {
        !self.any
    }

    /// What stands for `v` in the end. Chains become shorter on the way.
    pub fn resolve(&mut self, v: Value) -> Value {
        let mut last = v;
        while let Some(next) = self.by[last] {
            last = next;
        }
        let mut at = v;
        while let Some(next) = self.by[at] {
            self.by[at] = Some(last);
            at = next;
            if at == last {
                break;
            }
        }
        last
    }

    pub fn resolve_uses(&mut self, func: &mut Function, inst: Inst) {
        if self.any {
            func.insts[inst].map_uses(|v| self.resolve(v));
        }
    }

    pub fn apply(&mut self, func: &mut Function) {
        if !self.any {
            return;
        }
        for i in 0..func.layout.len() {
            let block = func.layout[i];
            for j in 0..func.blocks[block].insts.len() {
                let inst = func.blocks[block].insts[j];
                self.resolve_uses(func, inst);
            }
        }
    }
}

impl Function {
    /// A new instruction in no block yet, with its result if it has one.
    pub(super) fn make_inst(&mut self, data: InstData, ty: Type, span: object::SourceSpan) -> (Inst, Option<Value>) {
        let has_result = data.has_result();
        let inst = self.insts.push(data);
        self.spans[inst] = span;
        if !has_result {
            return (inst, None);
        }
        let value = self.values.push(ValueData { ty, def: ValueDef::Result(inst) });
        self.results[inst] = Some(value);
        (inst, Some(value))
    }

    /// A new instruction that has a result, appended to `out`.
    pub(super) fn emit(&mut self, out: &mut Vec<Inst>, data: InstData, ty: Type, span: object::SourceSpan) -> Value {
        debug_assert!(data.has_result());
        let inst = self.insts.push(data);
        self.spans[inst] = span;
        let value = self.values.push(ValueData { ty, def: ValueDef::Result(inst) });
        self.results[inst] = Some(value);
        out.push(inst);
        value
    }

    /// The instruction that defines `v`, if it is no parameter.
    pub(crate) fn def(&self, v: Value) -> Option<&InstData> {
        match self.values[v].def {
            ValueDef::Result(inst) => Some(&self.insts[inst]),
            ValueDef::Param(..) => None,
        }
    }

    /// The terminator of a block, as an index.
    pub(super) fn terminator_inst(&self, block: Block) -> Inst {
        *self.blocks[block].insts.last().expect("a finished block has a terminator")
    }

    /// Deletes the parameters of `block` for which `dead` holds, and the arguments
    /// for them on all edges from `preds`.
    pub(super) fn remove_params(&mut self, block: Block, preds: &[Block], dead: impl Fn(&Function, Value) -> bool) {
        let params = std::mem::take(&mut self.blocks[block].params);
        let gone: Vec<bool> = params.iter().map(|&p| dead(self, p)).collect();
        let mut kept = Vec::with_capacity(params.len());
        for (&param, _) in params.iter().zip(&gone).filter(|(_, gone)| !**gone) {
            self.values[param].def = ValueDef::Param(block, kept.len() as u32);
            kept.push(param);
        }
        self.blocks[block].params = kept;
        for (i, &pred) in preds.iter().enumerate() {
            // A block that branches here on both sides is handled once.
            if preds[..i].contains(&pred) {
                continue;
            }
            let terminator = self.terminator_inst(pred);
            for edge in self.insts[terminator].edges_mut().filter(|edge| edge.block == block) {
                let mut at = 0;
                edge.args.retain(|_| {
                    at += 1;
                    !gone[at - 1]
                });
            }
        }
    }
}
