//! Types of unary and binary operators, increments and comparisons.

use super::expressions::smallest;
use super::{Analyzer, Binding};
use crate::ast::{self, BinaryOp as Op, Span};
use crate::hir::{BinaryOp, Comparison, Expr, ExprKind, StepTarget, UnaryOp, VarId, truncate};
use crate::types::*;

impl Analyzer<'_> {
    pub(super) fn unary(&mut self, op: ast::UnaryOp, arg: &ast::Expr, span: Span) -> Option<Expr> {
        let of = self.expression(arg)?;
        if op == ast::UnaryOp::AddressOf {
            return self.address_of(of, span);
        }
        let of = self.value(of)?;
        match op {
            ast::UnaryOp::Deref => self.deref(of, span),
            ast::UnaryOp::Not => {
                let of = self.condition(of)?;
                if let Some(n) = of.constant() {
                    return Some(Expr::int(i64::from(n == 0), Type::Bool, span));
                }
                Some(Expr { kind: ExprKind::Not(Box::new(of)), ty: Type::Bool, span })
            }
            ast::UnaryOp::Neg | ast::UnaryOp::Complement => {
                let symbol = if op == ast::UnaryOp::Neg { "-" } else { "~" };
                if !of.ty.is_scalar() && of.ty != Type::Void {
                    let message = format!(
                        "The {symbol} operator can not be used on expressions of type '{}'",
                        self.name_of(&of.ty)
                    );
                    return self.error(span, message);
                }
                let op = if op == ast::UnaryOp::Neg { UnaryOp::Neg } else { UnaryOp::Complement };
                if let (UnaryOp::Neg, ast::ExprKind::Int { .. }, ExprKind::Int(n)) = (op, &arg.kind, &of.kind)
                    && of.ty == Type::U64
                    && *n > i64::MIN
                    && *n < 0
                {
                    return self.error(span, "negative value will underflow");
                }
                if let (ExprKind::Int(n), Type::Int(int @ IntType { bytes: 1 | 2 | 4, signed: false })) =
                    (&of.kind, &of.ty)
                {
                    let n = if op == UnaryOp::Neg { n.wrapping_neg() } else { !n };
                    return Some(Expr::int(truncate(n, *int), of.ty, span));
                }
                if let ExprKind::Int(n) = of.kind {
                    return Some(match op {
                        UnaryOp::Neg => {
                            let n = n.wrapping_neg();
                            Expr::int(n, smallest(n), span)
                        }
                        UnaryOp::Complement => Expr::int(!n, Type::U64, span),
                    });
                }
                let ty = match (&of.ty, op) {
                    (Type::Int(IntType { bytes: 8, .. }), UnaryOp::Neg) => Type::I64,
                    (Type::Int(int), _) => Type::Int(*int),
                    _ => Type::I64,
                };
                Some(Expr { kind: ExprKind::Unary { op, arg: Box::new(of) }, ty, span })
            }
            ast::UnaryOp::AddressOf => None,
        }
    }

    fn address_of(&mut self, of: Expr, span: Span) -> Option<Expr> {
        match &of.kind {
            ExprKind::Var(_) | ExprKind::MapGet { .. } => {
                let ty = Type::pointer(of.ty.clone(), AddressSpace::Kernel);
                Some(Expr { kind: ExprKind::AddressOf(Box::new(of)), ty, span })
            }
            ExprKind::Field { .. } | ExprKind::Index { .. } | ExprKind::Deref(_) => {
                let ty = Type::pointer(of.ty.clone(), self.probe.context.default_space());
                Some(Expr { kind: ExprKind::AddressOf(Box::new(of)), ty, span })
            }
            _ => self.error(span, "The & operator needs a variable, a map or a field"),
        }
    }

    pub(super) fn step(&mut self, target: &ast::Expr, increment: bool, prefix: bool, span: Span) -> Option<Expr> {
        let (target, ty) = match &target.kind {
            ast::ExprKind::Var(name) => match self.lookup(name) {
                Some(Binding::Variable(var, _)) => {
                    self.widen_counter(var);
                    self.variable(var).writes += 1;
                    (StepTarget::Var(var), self.variable(var).ty.clone())
                }
                Some(Binding::Element { .. }) => {
                    return self.error(target.span, format!("{name} can not be changed"));
                }
                None => return self.undefined_variable(name, target.span),
            },
            ast::ExprKind::Map { name, key } => {
                let (map, key) = self.map_access(name, key, target.span)?;
                if self.map(map).value == Type::Void {
                    self.assign_map(map, &Type::I64, span)?;
                }
                (StepTarget::Map { map, key }, self.map(map).value.clone())
            }
            _ => return self.error(span, "syntax: increment/decrement requires a variable or map"),
        };
        let stride = match &ty {
            Type::Pointer { to, .. } => self.catalog.size_of(to).unwrap_or(1).max(1),
            Type::Int(_) | Type::Bool | Type::Void => 1,
            other => {
                let operator = if increment { "++" } else { "--" };
                let message =
                    format!("The {operator} operator can not be used on expressions of type '{}'", self.name_of(other));
                return self.error(span, message);
            }
        };
        let ty = match (&target, ty) {
            (StepTarget::Map { map, .. }, Type::Int(int)) => {
                let ty = Type::int(8, int.signed);
                self.assign_map(*map, &ty, span)?;
                ty
            }
            (_, Type::Bool | Type::Void) => Type::I64,
            (_, other) => other,
        };
        Some(Expr { kind: ExprKind::Step { target: Box::new(target), increment, prefix, stride }, ty, span })
    }

    /// What is counted in has 64 bits, however small the number that it starts with,
    /// unless the script declares its type.
    fn widen_counter(&mut self, var: VarId) {
        let variable = self.variable(var);
        if let (false, Type::Int(IntType { bytes: 1 | 2 | 4, .. })) = (variable.declared, &variable.ty) {
            variable.ty = Type::I64;
            self.changed = true;
        }
    }

    pub(super) fn binary(&mut self, op: Op, left: &ast::Expr, right: &ast::Expr, span: Span) -> Option<Expr> {
        let (left, right) = (self.expression(left), self.expression(right));
        self.binary_typed(op, left?, right?, span)
    }

    pub(super) fn binary_typed(&mut self, op: Op, left: Expr, right: Expr, span: Span) -> Option<Expr> {
        let left = self.value(left)?;
        let right = self.value(right)?;
        match op {
            Op::LogicalAnd | Op::LogicalOr => {
                let (left, right) = (self.condition(left)?, self.condition(right)?);
                let args = Box::new([left, right]);
                let kind = if op == Op::LogicalAnd { ExprKind::And(args) } else { ExprKind::Or(args) };
                Some(Expr { kind, ty: Type::Bool, span })
            }
            Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge => self.comparison(op, left, right, span),
            _ => self.arithmetic(op, left, right, span),
        }
    }

    fn arithmetic(&mut self, op: Op, left: Expr, right: Expr, span: Span) -> Option<Expr> {
        if let (Op::Add | Op::Sub, Type::Pointer { .. }) = (op, &left.ty)
            && right.ty.is_integral()
        {
            return self.pointer_add(left, right, op == Op::Sub, span);
        }
        if let (Op::Add, Type::Pointer { .. }) = (op, &right.ty)
            && left.ty.is_integral()
        {
            return self.pointer_add(right, left, false, span);
        }
        for side in [&left, &right] {
            if !side.ty.is_scalar() && side.ty != Type::Void {
                let message = format!(
                    "The {} operator can not be used on expressions of type '{}'",
                    symbol(op),
                    self.name_of(&side.ty)
                );
                return self.error(side.span, message);
            }
        }
        let signed = op == Op::Sub || is_signed(&left, &right);
        let op = match op {
            Op::Add => BinaryOp::Add,
            Op::Sub => BinaryOp::Sub,
            Op::Mul => BinaryOp::Mul,
            Op::Div => BinaryOp::Div,
            Op::Mod => BinaryOp::Mod,
            Op::And => BinaryOp::And,
            Op::Or => BinaryOp::Or,
            Op::Xor => BinaryOp::Xor,
            Op::Shl => BinaryOp::Shl,
            _ => BinaryOp::Shr,
        };
        // A shift keeps the sign of what is shifted.
        let signed = match op {
            BinaryOp::Shl | BinaryOp::Shr => left.ty.is_signed(),
            _ => signed,
        };
        if let (ExprKind::Int(a), ExprKind::Int(b)) = (&left.kind, &right.kind) {
            let undefined = match op {
                BinaryOp::Div | BinaryOp::Mod => *b == 0,
                BinaryOp::Shl | BinaryOp::Shr => !(0..64).contains(b),
                _ => false,
            };
            if undefined {
                return self.error(span, "unable to fold literals due to overflow or underflow");
            }
            let n = fold(op, *a, *b, signed);
            let ty = if signed { smallest(n) } else { Type::U64 };
            return Some(Expr::int(n, ty, span));
        }
        let ty = Type::int(8, signed);
        Some(Expr { kind: ExprKind::Binary { op, args: Box::new([left, right]) }, ty, span })
    }

    pub(super) fn pointer_add(&mut self, pointer: Expr, index: Expr, negate: bool, span: Span) -> Option<Expr> {
        let Type::Pointer { to, .. } = &pointer.ty else { return None };
        let Some(stride) = self.catalog.size_of(to) else {
            let message = format!("'{}' has no size", self.name_of(to));
            return self.error(span, message);
        };
        let ty = pointer.ty.clone();
        let kind = ExprKind::PointerAdd { pointer: Box::new(pointer), index: Box::new(index), stride, negate };
        Some(Expr { kind, ty, span })
    }

    fn comparison(&mut self, op: Op, left: Expr, right: Expr, span: Span) -> Option<Expr> {
        use Type::*;
        let comparable = match (&left.ty, &right.ty) {
            (Void, _) | (_, Void) => true,
            (a, b) if a.is_scalar() && b.is_scalar() => true,
            (Str { .. }, Str { .. }) => return self.compare_bytes(op, left, right, span),
            (Tuple(a), Tuple(b)) if a.len() == b.len() => return self.compare_bytes(op, left, right, span),
            (Buf { .. }, Buf { .. }) => return self.compare_bytes(op, left, right, span),
            (Array { .. }, Array { .. }) | (Inet, Inet) | (Mac, Mac)
                if self.catalog.size_of(&left.ty) == self.catalog.size_of(&right.ty) =>
            {
                return self.compare_bytes(op, left, right, span);
            }
            _ => false,
        };
        if !comparable {
            let (a, b) = (self.name_of(&left.ty), self.name_of(&right.ty));
            let message = format!("Type mismatch for '{}': comparing {a} with {b}", symbol(op));
            let diagnostic = crate::Diagnostic::error(span, message);
            self.diagnostics.push(diagnostic);
            return None;
        }
        let signed = is_signed(&left, &right);
        let op = match op {
            Op::Eq => Comparison::Eq,
            Op::Ne => Comparison::Ne,
            Op::Lt => Comparison::Lt { signed },
            Op::Le => Comparison::Le { signed },
            Op::Gt => Comparison::Gt { signed },
            _ => Comparison::Ge { signed },
        };
        if let (ExprKind::Int(a), ExprKind::Int(b)) = (&left.kind, &right.kind) {
            return Some(Expr::int(i64::from(fold_comparison(op, *a, *b)), Type::Bool, span));
        }
        Some(Expr { kind: ExprKind::Compare { op, args: Box::new([left, right]) }, ty: Type::Bool, span })
    }

    fn compare_bytes(&mut self, op: Op, left: Expr, right: Expr, span: Span) -> Option<Expr> {
        let equal = match op {
            Op::Eq => true,
            Op::Ne => false,
            _ => {
                let message = format!(
                    "The {} operator can not be used on expressions of type '{}'",
                    symbol(op),
                    self.name_of(&left.ty)
                );
                return self.error(span, message);
            }
        };
        let kind = ExprKind::CompareBytes { equal, args: Box::new([left, right]) };
        Some(Expr { kind, ty: Type::Bool, span })
    }
}

/// Whether an operation on both is signed: if either is, where a literal that
/// is not negative has no sign of its own and narrow unsigned values fit anyway.
fn is_signed(left: &Expr, right: &Expr) -> bool {
    let neutral = |e: &Expr| matches!(e.kind, ExprKind::Int(n) if n >= 0);
    match (neutral(left), neutral(right)) {
        // Of literals only those have no sign that were cast.
        (true, true) => left.ty.is_signed() && right.ty.is_signed(),
        (true, false) => right.ty.is_signed(),
        (false, true) => left.ty.is_signed(),
        (false, false) => left.ty.is_signed() || right.ty.is_signed(),
    }
}

/// The operator as written.
pub(super) fn symbol(op: Op) -> &'static str {
    match op {
        Op::Add => "+",
        Op::Sub => "-",
        Op::Mul => "*",
        Op::Div => "/",
        Op::Mod => "%",
        Op::And => "&",
        Op::Or => "|",
        Op::Xor => "^",
        Op::Shl => "<<",
        Op::Shr => ">>",
        Op::LogicalAnd => "&&",
        Op::LogicalOr => "||",
        Op::Eq => "==",
        Op::Ne => "!=",
        Op::Lt => "<",
        Op::Le => "<=",
        Op::Gt => ">",
        Op::Ge => ">=",
    }
}

/// What BPF computes: division by zero gives 0, remainder by zero the dividend.
fn fold(op: BinaryOp, a: i64, b: i64, signed: bool) -> i64 {
    let (ua, ub) = (a as u64, b as u64);
    match op {
        BinaryOp::Add => a.wrapping_add(b),
        BinaryOp::Sub => a.wrapping_sub(b),
        BinaryOp::Mul => a.wrapping_mul(b),
        BinaryOp::Div if b == 0 => 0,
        BinaryOp::Div if signed => a.wrapping_div(b),
        BinaryOp::Div => (ua / ub) as i64,
        BinaryOp::Mod if b == 0 => a,
        BinaryOp::Mod if signed => a.wrapping_rem(b),
        BinaryOp::Mod => (ua % ub) as i64,
        BinaryOp::And => a & b,
        BinaryOp::Or => a | b,
        BinaryOp::Xor => a ^ b,
        BinaryOp::Shl => a.wrapping_shl(b as u32),
        BinaryOp::Shr if signed => a.wrapping_shr(b as u32),
        BinaryOp::Shr => (ua.wrapping_shr(b as u32)) as i64,
    }
}

fn fold_comparison(op: Comparison, a: i64, b: i64) -> bool {
    let (ua, ub) = (a as u64, b as u64);
    match op {
        Comparison::Eq => a == b,
        Comparison::Ne => a != b,
        Comparison::Lt { signed: true } => a < b,
        Comparison::Le { signed: true } => a <= b,
        Comparison::Gt { signed: true } => a > b,
        Comparison::Ge { signed: true } => a >= b,
        Comparison::Lt { .. } => ua < ub,
        Comparison::Le { .. } => ua <= ub,
        Comparison::Gt { .. } => ua > ub,
        Comparison::Ge { .. } => ua >= ub,
    }
}
