//! Builds one function, instruction by instruction.

use object::SourceSpan;

use crate::*;

/// Appends instructions to the current block of a function. Types of results
/// follow from the operands.
pub struct Builder<'f> {
    pub func: &'f mut Function,
    block: Option<Block>,
    span: SourceSpan,
}

impl<'f> Builder<'f> {
    pub fn new(func: &'f mut Function) -> Self {
        Builder { func, block: None, span: SourceSpan::default() }
    }

    /// Instructions that follow come from here in the source.
    pub fn set_span(&mut self, span: SourceSpan) {
        self.span = span;
    }

    pub fn span(&self) -> SourceSpan {
        self.span
    }

    /// A new block, placed at the end of the layout.
    pub fn create_block(&mut self) -> Block {
        let block = self.func.blocks.push(BlockData::default());
        self.func.layout.push(block);
        block
    }

    pub fn switch_to(&mut self, block: Block) {
        self.block = Some(block);
    }

    /// The block that instructions go to.
    pub fn current(&self) -> Block {
        self.block.expect("switch_to comes first")
    }

    /// Whether the current block has its terminator: nothing can follow.
    pub fn is_terminated(&self) -> bool {
        let insts = &self.func.blocks[self.current()].insts;
        insts.last().is_some_and(|i| self.func.insts[*i].is_terminator())
    }

    pub fn block_param(&mut self, block: Block, ty: Type) -> Value {
        let index = self.func.blocks[block].params.len() as u32;
        let v = self.func.values.push(ValueData { ty, def: ValueDef::Param(block, index) });
        self.func.blocks[block].params.push(v);
        v
    }

    pub fn create_slot(&mut self, bytes: u32, align: u32) -> Slot {
        self.func.slots.push(SlotData { bytes, align })
    }

    fn push(&mut self, data: InstData) -> Inst {
        debug_assert!(!self.is_terminated(), "instruction after a terminator");
        let inst = self.func.insts.push(data);
        self.func.spans[inst] = self.span;
        let block = self.current();
        self.func.blocks[block].insts.push(inst);
        inst
    }

    fn push_value(&mut self, data: InstData, ty: Type) -> Value {
        let inst = self.push(data);
        let v = self.func.values.push(ValueData { ty, def: ValueDef::Result(inst) });
        self.func.results[inst] = Some(v);
        v
    }

    pub fn iconst(&mut self, n: i64) -> Value {
        self.push_value(InstData::Const(n), Type::I64)
    }

    pub fn iconst32(&mut self, n: i32) -> Value {
        self.push_value(InstData::Const(i64::from(n)), Type::I32)
    }

    pub fn binary(&mut self, op: BinaryOp, a: Value, b: Value) -> Value {
        let ty = match (op, self.func.ty(a), self.func.ty(b)) {
            (BinaryOp::Sub, Type::Ptr(_), Type::Ptr(_)) => Type::I64,
            (_, ty, _) => ty,
        };
        self.push_value(InstData::Binary { op, args: [a, b] }, ty)
    }

    pub fn binary_imm(&mut self, op: BinaryOp, a: Value, b: i64) -> Value {
        let b = match self.func.ty(a) {
            Type::I32 => self.iconst32(b as i32),
            _ => self.iconst(b),
        };
        self.binary(op, a, b)
    }

    pub fn unary(&mut self, op: UnaryOp, arg: Value) -> Value {
        let ty = match op {
            UnaryOp::Trunc => Type::I32,
            UnaryOp::Sext32 | UnaryOp::Zext32 | UnaryOp::Addr => Type::I64,
            _ => self.func.ty(arg),
        };
        self.push_value(InstData::Unary { op, arg }, ty)
    }

    pub fn compare(&mut self, cond: Cond, a: Value, b: Value) -> Value {
        self.push_value(InstData::Compare { cond, args: [a, b] }, Type::I64)
    }

    pub fn compare_imm(&mut self, cond: Cond, a: Value, b: i64) -> Value {
        let b = match self.func.ty(a) {
            Type::I32 => self.iconst32(b as i32),
            _ => self.iconst(b),
        };
        self.compare(cond, a, b)
    }

    pub fn select(&mut self, cond: Value, a: Value, b: Value) -> Value {
        let ty = self.func.ty(a);
        self.push_value(InstData::Select { cond, args: [a, b] }, ty)
    }

    /// An `I64`, extended as `mem` says.
    pub fn load(&mut self, mem: MemType, ptr: Value, offset: i32) -> Value {
        self.push_value(InstData::Load { mem, ptr, offset }, Type::I64)
    }

    pub fn load_ptr(&mut self, space: Space, ptr: Value, offset: i32) -> Value {
        self.push_value(InstData::LoadPtr { ptr, offset }, Type::Ptr(space))
    }

    pub fn store(&mut self, mem: MemType, ptr: Value, offset: i32, value: Value) {
        self.push(InstData::Store { mem, ptr, offset, value });
    }

    pub fn slot_addr(&mut self, slot: Slot, offset: i32) -> Value {
        self.push_value(InstData::SlotAddr { slot, offset }, Type::Ptr(Space::Stack))
    }

    pub fn map_addr(&mut self, map: Map) -> Value {
        self.push_value(InstData::MapAddr(map), Type::Ptr(Space::Map))
    }

    pub fn map_value_addr(&mut self, map: Map, offset: u32) -> Value {
        self.push_value(InstData::MapValueAddr { map, offset }, Type::Ptr(Space::Value))
    }

    pub fn func_addr(&mut self, func: Func) -> Value {
        self.push_value(InstData::FuncAddr(func), Type::Ptr(Space::Func))
    }

    /// Adds without asking for the old value.
    pub fn atomic_add(&mut self, mem: MemType, ptr: Value, offset: i32, value: Value) {
        self.push(InstData::Atomic { op: AtomicOp::Add, mem, ptr, offset, value, fetch: false });
    }

    pub fn atomic_fetch(&mut self, op: AtomicOp, mem: MemType, ptr: Value, offset: i32, value: Value) -> Value {
        self.push_value(InstData::Atomic { op, mem, ptr, offset, value, fetch: true }, Type::I64)
    }

    pub fn compare_exchange(&mut self, mem: MemType, ptr: Value, offset: i32, expected: Value, value: Value) -> Value {
        self.push_value(InstData::CompareExchange { mem, ptr, offset, expected, value }, Type::I64)
    }

    /// `ret`: `I64`, or the pointer that the helper returns.
    pub fn call_helper(&mut self, helper: u32, args: &[Value], ret: Type) -> Value {
        self.push_value(InstData::CallHelper { helper, args: args.to_vec() }, ret)
    }

    pub fn call(&mut self, func: Func, args: &[Value]) -> Value {
        self.push_value(InstData::Call { func, args: args.to_vec() }, Type::I64)
    }

    pub fn mem_copy(&mut self, dst: Value, dst_offset: i32, src: Value, src_offset: i32, len: u32) {
        self.push(InstData::MemCopy { dst, dst_offset, src, src_offset, len });
    }

    pub fn mem_set(&mut self, dst: Value, offset: i32, byte: u8, len: u32) {
        self.push(InstData::MemSet { dst, offset, byte, len });
    }

    /// `ptr` must be of a nullable space.
    pub fn non_null(&mut self, ptr: Value) -> Value {
        let ty = match self.func.ty(ptr) {
            Type::Ptr(space) => Type::Ptr(space.non_null().expect("a nullable pointer")),
            other => other,
        };
        self.push_value(InstData::NonNull(ptr), ty)
    }

    pub fn clamp(&mut self, value: Value, mask: u64) -> Value {
        let ty = self.func.ty(value);
        self.push_value(InstData::Clamp { value, mask }, ty)
    }

    pub fn jump(&mut self, block: Block, args: &[Value]) {
        self.push(InstData::Jump(BlockCall { block, args: args.to_vec() }));
    }

    pub fn branch(&mut self, cond: Value, then: Block, otherwise: Block) {
        self.branch_args(cond, then, &[], otherwise, &[]);
    }

    pub fn branch_args(
        &mut self,
        cond: Value,
        then: Block,
        then_args: &[Value],
        otherwise: Block,
        otherwise_args: &[Value],
    ) {
        self.push(InstData::Branch {
            cond,
            then: BlockCall { block: then, args: then_args.to_vec() },
            otherwise: BlockCall { block: otherwise, args: otherwise_args.to_vec() },
        });
    }

    pub fn ret(&mut self, value: Value) {
        self.push(InstData::Return(value));
    }
}
