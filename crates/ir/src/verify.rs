//! The rules that IR must keep, checked: what [`crate::InstData`] says of each
//! instruction, single definitions that dominate their uses, and what the
//! kernel's verifier could never accept however the code is generated.

use cranelift_entity::SecondaryMap;
use isa::uapi::map_type;

use crate::text::InstText;
use crate::*;

/// A broken rule: a bug of the front end or of a pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{function}: {place}: {message}")]
pub struct VerifyError {
    pub function: String,
    /// The block, and the instruction as the text form prints it.
    pub place: String,
    pub message: String,
}

/// Arguments that a call can pass in registers.
const MAX_ARGS: usize = 5;

/// Checks every function of a module.
pub fn verify_module(module: &Module) -> Result<(), VerifyError> {
    module.funcs.values().try_for_each(|func| verify_function(module, func))
}

/// Checks one function; `module` is for its maps and the functions it calls.
pub fn verify_function(module: &Module, func: &Function) -> Result<(), VerifyError> {
    verify(module, func, true)
}

/// Checks what passes made of a verified function: all rules but the bounds of
/// accesses, since constants that meet may show that a program was always wrong.
pub fn verify_optimized(module: &Module, func: &Function) -> Result<(), VerifyError> {
    verify(module, func, false)
}

fn verify(module: &Module, func: &Function, bounds: bool) -> Result<(), VerifyError> {
    let mut verifier =
        Verifier { module, func, bounds, cfg: Cfg::default(), position: SecondaryMap::new(), block: None };
    verifier.structure()?;
    verifier.cfg = Cfg::new(func);
    for &block in &func.layout {
        if verifier.cfg.is_reachable(block) {
            verifier.block(block)?;
        }
    }
    Ok(())
}

struct Verifier<'a> {
    module: &'a Module,
    func: &'a Function,
    /// Whether accesses are checked against the size of what they access.
    bounds: bool,
    cfg: Cfg,
    /// Of each placed instruction: its block and its index there plus one.
    position: SecondaryMap<Inst, Option<(Block, u32)>>,
    /// Being checked, for messages.
    block: Option<(Block, Option<Inst>)>,
}

type Check = Result<(), VerifyError>;

impl<'a> Verifier<'a> {
    fn error(&self, message: impl Into<String>) -> VerifyError {
        let place = match self.block {
            None => "function".to_owned(),
            Some((block, None)) => block.to_string(),
            Some((block, Some(inst))) => match self.func.results[inst] {
                Some(v) => format!("{block}: {v} = {}", InstText(&self.func.insts[inst])),
                None => format!("{block}: {}", InstText(&self.func.insts[inst])),
            },
        };
        VerifyError { function: self.func.name.clone(), place, message: message.into() }
    }

    fn require(&self, holds: bool, message: &str) -> Check {
        if holds { Ok(()) } else { Err(self.error(message)) }
    }

    /// What everything else relies on: terminators, tables, single placement.
    fn structure(&mut self) -> Check {
        let func = self.func;
        self.require(!func.layout.is_empty(), "a function has at least one block")?;
        let mut placed: SecondaryMap<Block, bool> = SecondaryMap::new();
        for &block in &func.layout {
            self.require(func.blocks.is_valid(block), "the layout names a block that does not exist")?;
            self.block = Some((block, None));
            self.require(!placed[block], "a block stands in the layout once")?;
            placed[block] = true;
        }
        for (slot, data) in &func.slots {
            self.block = None;
            self.require(
                data.align.is_power_of_two() && data.align <= 8,
                &format!("{slot}: an alignment is 1, 2, 4 or 8 bytes"),
            )?;
        }
        for &block in &func.layout {
            self.block = Some((block, None));
            let insts = &func.blocks[block].insts;
            self.require(!insts.is_empty(), "a block ends in a terminator")?;
            for (i, &inst) in insts.iter().enumerate() {
                self.require(func.insts.is_valid(inst), "the block names an instruction that does not exist")?;
                self.block = Some((block, Some(inst)));
                self.require(self.position[inst].is_none(), "an instruction stands in one place")?;
                self.position[inst] = Some((block, i as u32));
                let data = &func.insts[inst];
                let is_last = i + 1 == insts.len();
                self.require(data.is_terminator() == is_last, "the last instruction, and no other, is a terminator")?;
                match func.results[inst] {
                    Some(v) => {
                        self.require(data.has_result(), "the instruction has no result")?;
                        let defines = func.values.get(v).is_some_and(|data| data.def == ValueDef::Result(inst));
                        self.require(defines, "the result's definition is another")?;
                    }
                    None => self.require(!data.has_result(), "the instruction's result is missing")?,
                }
                for edge in data.edges() {
                    self.require(placed[edge.block], &format!("{} is not in the layout", edge.block))?;
                    self.require(edge.block != func.entry(), "nothing jumps to the entry")?;
                }
            }
            self.block = Some((block, None));
            for (i, &param) in func.blocks[block].params.iter().enumerate() {
                let def = ValueDef::Param(block, i as u32);
                let defines = func.values.get(param).is_some_and(|data| data.def == def);
                self.require(defines, &format!("{param}: the parameter's definition is another"))?;
            }
        }
        self.entry_params()
    }

    fn entry_params(&mut self) -> Check {
        let entry = self.func.entry();
        self.block = Some((entry, None));
        let params = &self.func.blocks[entry].params;
        if self.func.program.is_some() {
            let context_only = match params[..] {
                [] => true,
                [ctx] => self.func.ty(ctx) == Type::Ptr(Space::Ctx),
                _ => false,
            };
            return self.require(context_only, "a program takes its context and nothing else");
        }
        self.require(params.len() <= MAX_ARGS, "a function takes at most 5 parameters")
    }

    fn block(&mut self, block: Block) -> Check {
        for (i, &inst) in self.func.blocks[block].insts.iter().enumerate() {
            self.block = Some((block, Some(inst)));
            let data = &self.func.insts[inst];
            let mut used = Ok(());
            data.for_each_use(|v| {
                if used.is_ok() {
                    used = self.check_use(v, block, i as u32);
                }
            });
            used?;
            self.instruction(block, inst, data)?;
        }
        Ok(())
    }

    /// The definition of `v` comes before instruction `index` of `block` on all ways.
    fn check_use(&self, v: Value, block: Block, index: u32) -> Check {
        let Some(data) = self.func.values.get(v) else {
            return Err(self.error(format!("{v} does not exist")));
        };
        let dominates = match data.def {
            ValueDef::Param(b, i) => {
                self.func.blocks.get(b).is_some_and(|data| data.params.get(i as usize) == Some(&v))
                    && self.cfg.dominates(b, block)
            }
            ValueDef::Result(inst) => match self.position[inst] {
                Some((b, i)) if b == block => i < index,
                Some((b, _)) => self.cfg.dominates(b, block),
                None => false,
            },
        };
        self.require(dominates, &format!("{v} is used where its definition does not dominate"))
    }

    fn ty(&self, v: Value) -> Type {
        self.func.ty(v)
    }

    fn is_int(&self, v: Value) -> bool {
        !matches!(self.ty(v), Type::Ptr(_))
    }

    fn instruction(&self, block: Block, inst: Inst, data: &InstData) -> Check {
        use InstData::*;
        let result = self.func.results[inst].map_or(Type::I64, |v| self.ty(v));
        match data {
            Const(n) => match result {
                Type::I32 => {
                    let fits = i32::try_from(*n).is_ok() || u32::try_from(*n).is_ok();
                    self.require(fits, "the constant does not fit 32 bits")
                }
                Type::I64 => Ok(()),
                Type::Ptr(_) => self.require(*n == 0, "a constant pointer is null"),
            },
            Binary { op, args } => self.binary(*op, *args, result),
            Unary { op, arg } => self.unary(*op, *arg, result),
            Compare { args, .. } => {
                self.require(result == Type::I64, "a comparison gives an i64")?;
                self.comparable(*args)
            }
            Select { args: [a, b], .. } => self
                .require(self.ty(*a) == result && self.ty(*b) == result, "both sides and the result are of one type"),
            Load { mem, ptr, offset } => {
                self.loaded_or_stored_type(*mem, result)?;
                self.access(*ptr, *offset, mem.bytes(), false)
            }
            LoadPtr { ptr, offset } => {
                self.require(matches!(result, Type::Ptr(_)), "the result is a pointer")?;
                self.access(*ptr, *offset, 8, false)
            }
            Store { mem, ptr, offset, value } => {
                match self.ty(*value) {
                    Type::Ptr(_) => self.require(*mem == MemType::U64, "a pointer is stored whole")?,
                    ty => self.loaded_or_stored_type(*mem, ty)?,
                }
                self.access(*ptr, *offset, mem.bytes(), true)
            }
            SlotAddr { slot, offset } => {
                self.require(result == Type::Ptr(Space::Stack), "a slot's address is a ptr<stack>")?;
                let Some(data) = self.func.slots.get(*slot) else {
                    return Err(self.error(format!("{slot} does not exist")));
                };
                let inside = u32::try_from(*offset).is_ok_and(|offset| offset <= data.bytes);
                self.require(inside, "the offset is outside the slot")
            }
            MapAddr(map) => {
                self.require(self.module.maps.is_valid(*map), "the map does not exist")?;
                self.require(result == Type::Ptr(Space::Map), "a map's address is a ptr<map>")
            }
            MapValueAddr { map, offset } => {
                self.require(result == Type::Ptr(Space::Value), "a map value's address is a ptr<value>")?;
                let Some(map) = self.module.maps.get(*map) else {
                    return Err(self.error("the map does not exist"));
                };
                let one_element = map.map_type == map_type::ARRAY && map.max_entries == 1;
                self.require(one_element, "only an array of one element has a fixed value address")?;
                self.require(*offset < map.value_size, "the offset is outside the value")
            }
            FuncAddr(callee) => {
                let is_function = self.module.funcs.get(*callee).is_some_and(|f| f.program.is_none());
                self.require(is_function, "only a function that is no program has an address")
            }
            Atomic { mem, ptr, offset, value, .. } => {
                self.atomic(*mem, &[*value], result)?;
                self.access(*ptr, *offset, mem.bytes(), true)
            }
            CompareExchange { mem, ptr, offset, expected, value } => {
                self.atomic(*mem, &[*expected, *value], result)?;
                self.access(*ptr, *offset, mem.bytes(), true)
            }
            CallHelper { args, .. } => self.require(args.len() <= MAX_ARGS, "a helper takes at most 5 arguments"),
            Call { func, args } => self.call(*func, args),
            MemCopy { dst, dst_offset, src, src_offset, len } => {
                self.access(*dst, *dst_offset, *len, true)?;
                self.access(*src, *src_offset, *len, false)
            }
            MemSet { dst, offset, len, .. } => self.access(*dst, *offset, *len, true),
            NonNull(ptr) => {
                let non_null = match self.ty(*ptr) {
                    Type::Ptr(space) => space.non_null(),
                    _ => None,
                };
                self.require(
                    non_null.map(Type::Ptr) == Some(result),
                    "the operand may be null and the result may not",
                )?;
                self.require(self.known_non_null(*ptr, block), "no branch on the pointer being non-null comes first")
            }
            Clamp { value, .. } => self
                .require(self.is_int(*value) && self.ty(*value) == result, "an integer and the result are of one type"),
            Jump(_) | Branch { .. } => data.edges().try_for_each(|edge| self.edge(edge)),
            Return(value) => self.require(self.is_int(*value), "a function returns an integer"),
        }
    }

    fn binary(&self, op: BinaryOp, [a, b]: [Value; 2], result: Type) -> Check {
        match (self.ty(a), self.ty(b)) {
            (Type::Ptr(x), Type::Ptr(y)) => {
                let packet = |s| matches!(s, Space::Packet | Space::PacketEnd);
                let same_object = x == y || (packet(x) && packet(y));
                self.require(
                    op == BinaryOp::Sub && same_object && result == Type::I64,
                    "pointers only subtract, in one space",
                )
            }
            (Type::Ptr(space), Type::I64) => {
                let holds = matches!(op, BinaryOp::Add | BinaryOp::Sub) && result == Type::Ptr(space);
                self.require(holds, "an i64 adds to or subtracts from a pointer and gives one into the same space")?;
                self.require(space.is_readable(), "no arithmetic on this kind of pointer")
            }
            (x, y) => self.require(
                x == y && x == result && self.is_int(a),
                "both operands and the result are of one integer type",
            ),
        }
    }

    fn unary(&self, op: UnaryOp, arg: Value, result: Type) -> Check {
        match op {
            UnaryOp::Addr => {
                self.require(!self.is_int(arg) && result == Type::I64, "the operand is a pointer, the result an i64")
            }
            UnaryOp::Trunc => self
                .require(self.ty(arg) == Type::I64 && result == Type::I32, "the operand is an i64, the result an i32"),
            UnaryOp::Sext32 | UnaryOp::Zext32 => {
                self.require(self.is_int(arg) && result == Type::I64, "the operand is an integer, the result an i64")
            }
            UnaryOp::Bswap64 => {
                self.require(self.ty(arg) == Type::I64 && result == Type::I64, "operand and result are i64")
            }
            _ => self.require(self.is_int(arg) && self.ty(arg) == result, "operand and result are of one integer type"),
        }
    }

    fn comparable(&self, [a, b]: [Value; 2]) -> Check {
        let holds = match (self.ty(a), self.ty(b)) {
            (Type::Ptr(_), Type::Ptr(_)) => true,
            (Type::Ptr(_), _) => self.func.constant(b) == Some(0),
            (_, Type::Ptr(_)) => false,
            (x, y) => x == y,
        };
        self.require(holds, "integers of one type, two pointers, or a pointer and the constant 0 compare")
    }

    fn loaded_or_stored_type(&self, mem: MemType, ty: Type) -> Check {
        let holds = match ty {
            Type::I64 => true,
            Type::I32 => mem.bytes() <= 4,
            Type::Ptr(_) => false,
        };
        self.require(holds, "the integer is an i64, or an i32 of at most 4 bytes")
    }

    fn atomic(&self, mem: MemType, values: &[Value], result: Type) -> Check {
        self.require(matches!(mem, MemType::U32 | MemType::U64), "an atomic access is u32 or u64")?;
        self.require(values.iter().all(|v| self.is_int(*v)), "the operands are integers")?;
        self.require(result == Type::I64, "the old value is an i64")
    }

    /// `ptr + offset` may be accessed for `bytes`; within bounds where they are known.
    fn access(&self, ptr: Value, offset: i32, bytes: u32, write: bool) -> Check {
        let Type::Ptr(space) = self.ty(ptr) else { return Err(self.error("the address is not a pointer")) };
        if write {
            self.require(space.is_writable(), &format!("no stores through a ptr<{space}>"))?;
        } else {
            self.require(space.is_readable(), &format!("no loads through a ptr<{space}>"))?;
        }
        let ValueDef::Result(inst) = self.func.values[ptr].def else { return Ok(()) };
        let (start, size) = match self.func.insts[inst] {
            InstData::SlotAddr { slot, offset } => match self.func.slots.get(slot) {
                Some(data) => (i64::from(offset), data.bytes),
                None => return Ok(()),
            },
            InstData::MapValueAddr { map, offset } => match self.module.maps.get(map) {
                Some(map) => (i64::from(offset), map.value_size),
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        let first = start + i64::from(offset);
        let inside = first >= 0 && first + i64::from(bytes) <= i64::from(size);
        self.require(inside || !self.bounds, "the access is outside its slot or map value")
    }

    fn call(&self, callee: Func, args: &[Value]) -> Check {
        let Some(callee) = self.module.funcs.get(callee) else {
            return Err(self.error("the function does not exist"));
        };
        self.require(callee.program.is_none(), "a program is not called")?;
        let params = callee.layout.first().map_or(&[][..], |entry| &callee.blocks[*entry].params);
        let alike = params.len() == args.len() && params.iter().zip(args).all(|(p, a)| callee.ty(*p) == self.ty(*a));
        self.require(alike, "arguments are as many and of the types that the function's parameters are")
    }

    fn edge(&self, edge: &BlockCall) -> Check {
        let params = &self.func.blocks[edge.block].params;
        let alike =
            params.len() == edge.args.len() && params.iter().zip(&edge.args).all(|(p, a)| self.ty(*p) == self.ty(*a));
        self.require(
            alike,
            &format!("arguments are as many and of the types that the parameters of {} are", edge.block),
        )
    }

    /// Whether on every way into `block` the last thing that a branch said about
    /// `ptr` is that it is not null. Found by assuming so of all blocks and taking
    /// back what an edge contradicts.
    fn known_non_null(&self, ptr: Value, block: Block) -> bool {
        let order = &self.cfg.reverse_postorder;
        let mut known: SecondaryMap<Block, bool> = SecondaryMap::with_default(true);
        let defined_in = match self.func.values[ptr].def {
            ValueDef::Param(b, _) => Some(b),
            ValueDef::Result(inst) => self.position[inst].map(|(b, _)| b),
        };
        let mut changed = true;
        while changed {
            changed = false;
            for &b in order {
                let is_start = Some(b) == defined_in || self.cfg.preds(b).is_empty();
                let holds = !is_start
                    && self.cfg.preds(b).iter().all(|&pred| known[pred] || self.edge_proves_non_null(pred, b, ptr));
                if known[b] && !holds {
                    known[b] = false;
                    changed = true;
                }
            }
        }
        known[block]
    }

    /// Whether control goes from `pred` to `block` only if `ptr` is not null.
    fn edge_proves_non_null(&self, pred: Block, block: Block, ptr: Value) -> bool {
        let InstData::Branch { cond, then, otherwise } = self.func.terminator(pred) else { return false };
        if then.block == otherwise.block {
            return false;
        }
        let mut taken = then.block == block;
        let mut cond = *cond;
        // Negations on the way: at most as many as there are instructions.
        for _ in 0..self.func.insts.len() + 1 {
            if cond == ptr {
                return taken;
            }
            // Decided before: where control never goes, nothing is null.
            if let Some(n) = self.func.constant(cond) {
                return (n != 0) != taken;
            }
            let ValueDef::Result(inst) = self.func.values[cond].def else { return false };
            let InstData::Compare { cond: test, args: [a, b] } = self.func.insts[inst] else { return false };
            if self.func.constant(b) != Some(0) {
                return false;
            }
            match test {
                Cond::Ne | Cond::Ugt => {}
                Cond::Eq => taken = !taken,
                _ => return false,
            }
            cond = a;
        }
        false
    }
}
