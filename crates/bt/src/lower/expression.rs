//! Expressions as 64-bit values and as branches.

use ir::{BinaryOp, Block, Cond, Type as IrType, UnaryOp, Value};
use isa::uapi::helper;
use object::plan::Counter;

use super::Lowering;
use super::place::{Operand, Place, VarPlace};
use crate::hir::{self, Comparison, Expr, ExprKind, StepTarget};
use crate::storage;
use crate::types::*;

impl Lowering<'_, '_, '_> {
    /// The value of a scalar expression.
    pub(super) fn scalar(&mut self, e: &Expr) -> Value {
        let outer = std::mem::replace(&mut self.at, e.span);
        let value = self.scalar_inside(e);
        self.at = outer;
        value
    }

    fn scalar_inside(&mut self, e: &Expr) -> Value {
        match &e.kind {
            ExprKind::Int(n) => self.b.iconst(*n),
            ExprKind::Var(var) => match self.variables[var.0 as usize] {
                VarPlace::Value(operand) => self.integer_of(operand),
                VarPlace::None => self.b.iconst(0),
                _ => {
                    let place = self.place(e);
                    self.load(place, 8, true)
                }
            },
            ExprKind::MapGet { map, key } => self.map_get(*map, key.as_deref()),
            ExprKind::AggregateGet { map, key } => self.aggregate_get(*map, key.as_deref()),
            ExprKind::HasKey { map, key } => self.has_key(*map, key),
            ExprKind::Delete { map, key } => self.map_delete(*map, key.as_deref()),
            ExprKind::Len(map) => self.map_len(*map),
            ExprKind::LoopKey(_) | ExprKind::TupleField { .. } => {
                let place = self.place(e);
                self.load(place, 8, true)
            }
            ExprKind::LoopValue(var) => match self.element_places(*var) {
                Some((map, key, _)) if self.is_aggregate(map) => self.element_total(map, key),
                Some((_, _, value)) => self.load(value, 8, true),
                None => self.b.iconst(0),
            },
            ExprKind::Builtin(builtin) => self.builtin(*builtin, &e.ty),
            ExprKind::Arg(index) => {
                let field = &self.context.fields[*index as usize];
                let (source, ty) = (field.source, field.ty.clone());
                self.load_source(source, &ty)
            }
            ExprKind::ArgN(n) => self.numbered_argument(*n),
            ExprKind::Unary { op, arg } => {
                let v = self.scalar(arg);
                let op = match op {
                    hir::UnaryOp::Neg => UnaryOp::Neg,
                    hir::UnaryOp::Complement => UnaryOp::Not,
                };
                let v = self.b.unary(op, v);
                self.narrowed(v, &e.ty)
            }
            ExprKind::Binary { op, args } => {
                let (a, b) = (self.scalar(&args[0]), self.scalar(&args[1]));
                let how = binary_op(*op, e.ty.is_signed());
                let divides = matches!(op, hir::BinaryOp::Div | hir::BinaryOp::Mod);
                if !divides || args[1].constant().is_some_and(|n| n != 0) {
                    return self.b.binary(how, a, b);
                }
                let span = self.source_span(e.span);
                self.either(
                    b,
                    |l| l.b.binary(how, a, b),
                    |l| {
                        l.count(Counter::DivisionByZero { span });
                        l.b.iconst(1)
                    },
                )
            }
            ExprKind::PointerAdd { pointer, index, stride, negate } => {
                let pointer = self.scalar(pointer);
                let index = self.scalar(index);
                let bytes = self.b.binary_imm(BinaryOp::Mul, index, i64::from(*stride));
                let op = if *negate { BinaryOp::Sub } else { BinaryOp::Add };
                self.b.binary(op, pointer, bytes)
            }
            ExprKind::Compare { op, args } => {
                let (a, b) = (self.scalar(&args[0]), self.scalar(&args[1]));
                self.b.compare(cond(*op), a, b)
            }
            ExprKind::Not(arg) => {
                let v = self.scalar(arg);
                self.b.compare_imm(Cond::Eq, v, 0)
            }
            ExprKind::And(_) | ExprKind::Or(_) | ExprKind::CompareBytes { .. } => self.truth(e),
            ExprKind::CompareStrings { len, args } => self.compare_strings(*len, &args[0], &args[1]),
            ExprKind::Contains { haystack, needle } => self.contains(haystack, needle),
            ExprKind::Ternary { cond, then, otherwise } => self.ternary(cond, then.as_deref(), otherwise),
            ExprKind::Cast(inner) => self.cast(inner, &e.ty),
            ExprKind::Reinterpret(inner) => {
                let place = self.place(inner);
                let bytes = self.session.catalog.size_of(&inner.ty).unwrap_or(8);
                let v = self.load(place, bytes, false);
                self.narrowed(v, &e.ty)
            }
            ExprKind::Deref(_) => {
                let place = self.place(e);
                self.load_typed(place, &e.ty, None)
            }
            ExprKind::Field { of, member } => {
                if points_somewhere(&member.ty) {
                    let operand = self.operand(e);
                    return self.integer_of(operand);
                }
                let place = self.place(of);
                self.load_member(place, member)
            }
            ExprKind::Index { of, .. } => {
                let place = self.place(e);
                // Elements of a string in the program's own memory are bytes too.
                let ty = if matches!(of.ty, Type::Str { .. }) { Type::I8 } else { e.ty.clone() };
                self.load_typed(place, &ty, None)
            }
            ExprKind::AddressOf(of) => {
                let place = self.place(of);
                match self.remote(place) {
                    Place::Remote { address, offset, .. } => self.b.binary_imm(BinaryOp::Add, address, offset),
                    Place::Direct { ptr, .. } => ptr,
                }
            }
            ExprKind::Step { target, increment, prefix, stride } => {
                let step = if *increment { i64::from(*stride) } else { -i64::from(*stride) };
                self.step(target, step, *prefix, &e.ty)
            }
            ExprKind::KStack => self.stack_id(false),
            ExprKind::StackLen { user, limit } => self.stack_len(*user, *limit),
            ExprKind::Register { offset } => {
                let ctx = self.context_pointer();
                self.b.load(ir::MemType::U64, ctx, *offset as i32)
            }
            ExprKind::Bswap { bytes, arg } => {
                let v = self.scalar(arg);
                match bytes {
                    2 => self.b.unary(UnaryOp::Bswap16, v),
                    4 => self.b.unary(UnaryOp::Bswap32, v),
                    8 => self.b.unary(UnaryOp::Bswap64, v),
                    _ => v,
                }
            }
            ExprKind::Signal { signal, thread } => {
                let signal = self.scalar(signal);
                let helper = if *thread { helper::send_signal_thread } else { helper::send_signal };
                self.helper(helper, &[signal])
            }
            ExprKind::Block { stmts, value } => {
                self.statements(stmts);
                self.scalar(value)
            }
            ExprKind::Str(_)
            | ExprKind::AllArgs
            | ExprKind::Tuple(_)
            | ExprKind::ReadString { .. }
            | ExprKind::ReadBuffer { .. }
            | ExprKind::UStack
            | ExprKind::USym(_)
            | ExprKind::Ntop { .. }
            | ExprKind::Macaddr(_) => {
                // No number; a context that wants one takes its first bytes.
                let place = self.place(e);
                self.load(place, 8, false)
            }
        }
    }

    /// 1 or 0 of a condition that needs branches.
    fn truth(&mut self, e: &Expr) -> Value {
        let yes = self.b.create_block();
        let no = self.b.create_block();
        let after = self.b.create_block();
        let result = self.b.block_param(after, IrType::I64);
        self.condition(e, yes, no);
        self.b.switch_to(yes);
        let one = self.b.iconst(1);
        self.b.jump(after, &[one]);
        self.b.switch_to(no);
        let zero = self.b.iconst(0);
        self.b.jump(after, &[zero]);
        self.b.switch_to(after);
        result
    }

    /// Goes to `yes` if the expression is not zero, else to `no`.
    pub(super) fn condition(&mut self, e: &Expr, yes: Block, no: Block) {
        match &e.kind {
            ExprKind::And(args) => {
                let second = self.b.create_block();
                self.condition(&args[0], second, no);
                self.b.switch_to(second);
                self.condition(&args[1], yes, no);
            }
            ExprKind::Or(args) => {
                let second = self.b.create_block();
                self.condition(&args[0], yes, second);
                self.b.switch_to(second);
                self.condition(&args[1], yes, no);
            }
            ExprKind::Not(arg) => self.condition(arg, no, yes),
            ExprKind::CompareBytes { equal, args } => {
                let (same, different) = if *equal { (yes, no) } else { (no, yes) };
                self.branch_equal(&args[0], &args[1], same, different);
            }
            _ => {
                let v = self.scalar(e);
                self.b.branch(v, yes, no);
            }
        }
    }

    fn ternary(&mut self, cond: &Expr, then: Option<&Expr>, otherwise: &Expr) -> Value {
        let Some(then) = then else {
            let v = self.scalar(cond);
            return self.either(v, |_| v, |l| l.scalar(otherwise));
        };
        let yes = self.b.create_block();
        let no = self.b.create_block();
        let after = self.b.create_block();
        let result = self.b.block_param(after, IrType::I64);
        self.condition(cond, yes, no);
        for (block, e) in [(yes, then), (no, otherwise)] {
            self.b.switch_to(block);
            let v = self.scalar(e);
            self.b.jump(after, &[v]);
        }
        self.b.switch_to(after);
        result
    }

    fn cast(&mut self, inner: &Expr, ty: &Type) -> Value {
        let operand = match inner.ty {
            Type::Pointer { .. } => self.operand(inner),
            _ => Operand::Int(self.scalar(inner)),
        };
        let v = self.integer_of(operand);
        match ty {
            Type::Bool => self.b.compare_imm(Cond::Ne, v, 0),
            Type::Int(to) => {
                // Nothing to do where the value fits already.
                let fits = match &inner.ty {
                    Type::Int(from) => {
                        from.signed == to.signed && from.bytes <= to.bytes || !from.signed && from.bytes < to.bytes
                    }
                    _ => false,
                };
                if fits { v } else { self.narrowed(v, ty) }
            }
            _ => v,
        }
    }

    fn step(&mut self, target: &StepTarget, step: i64, prefix: bool, ty: &Type) -> Value {
        match target {
            StepTarget::Var(var) => {
                let place = match self.variables[var.0 as usize] {
                    VarPlace::Slot(slot) => Place::Direct { ptr: self.b.slot_addr(slot, 0), offset: 0 },
                    VarPlace::Frame { offset } => Place::Direct { ptr: self.frame_pointer(), offset },
                    _ => return self.b.iconst(0),
                };
                let old = self.load(place, 8, true);
                let new = self.b.binary_imm(BinaryOp::Add, old, step);
                let new = self.narrowed(new, ty);
                if let Place::Direct { ptr, offset } = place {
                    self.b.store(ir::MemType::U64, ptr, offset, new);
                }
                if prefix { new } else { old }
            }
            StepTarget::Map { map, key } => self.map_step(*map, key.as_ref(), step, prefix),
        }
    }

    /// Equal bytes go to `same`.
    fn branch_equal(&mut self, a: &Expr, b: &Expr, same: Block, different: Block) {
        match (&a.ty, &b.ty) {
            (Type::Str { .. }, Type::Str { .. }) => self.branch_strings(a, b, same, different),
            _ => {
                let ty = crate::sema::unify::unify(&a.ty, &b.ty).unwrap_or_else(|| a.ty.clone());
                let left = self.temporary(a, &ty);
                let right = self.temporary(b, &ty);
                let bytes = storage::size_of(&ty, self.session.catalog);
                for offset in (0..bytes as i32).step_by(8) {
                    let x = self.b.load(ir::MemType::U64, left, offset);
                    let y = self.b.load(ir::MemType::U64, right, offset);
                    let equal = self.b.compare(Cond::Eq, x, y);
                    let next = self.b.create_block();
                    self.b.branch(equal, next, different);
                    self.b.switch_to(next);
                }
                self.b.jump(same, &[]);
            }
        }
    }
}

fn points_somewhere(ty: &Type) -> bool {
    matches!(ty, Type::Pointer { .. })
}

fn binary_op(op: hir::BinaryOp, signed: bool) -> BinaryOp {
    match op {
        hir::BinaryOp::Add => BinaryOp::Add,
        hir::BinaryOp::Sub => BinaryOp::Sub,
        hir::BinaryOp::Mul => BinaryOp::Mul,
        hir::BinaryOp::Div if signed => BinaryOp::Sdiv,
        hir::BinaryOp::Div => BinaryOp::Udiv,
        hir::BinaryOp::Mod if signed => BinaryOp::Srem,
        hir::BinaryOp::Mod => BinaryOp::Urem,
        hir::BinaryOp::And => BinaryOp::And,
        hir::BinaryOp::Or => BinaryOp::Or,
        hir::BinaryOp::Xor => BinaryOp::Xor,
        hir::BinaryOp::Shl => BinaryOp::Shl,
        hir::BinaryOp::Shr if signed => BinaryOp::Ashr,
        hir::BinaryOp::Shr => BinaryOp::Lshr,
    }
}

fn cond(op: Comparison) -> Cond {
    match op {
        Comparison::Eq => Cond::Eq,
        Comparison::Ne => Cond::Ne,
        Comparison::Lt { signed: true } => Cond::Slt,
        Comparison::Le { signed: true } => Cond::Sle,
        Comparison::Gt { signed: true } => Cond::Sgt,
        Comparison::Ge { signed: true } => Cond::Sge,
        Comparison::Lt { signed: false } => Cond::Ult,
        Comparison::Le { signed: false } => Cond::Ule,
        Comparison::Gt { signed: false } => Cond::Ugt,
        Comparison::Ge { signed: false } => Cond::Uge,
    }
}
