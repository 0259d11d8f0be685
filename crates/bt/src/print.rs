//! The syntax tree as text, for `--emit ast` and for tests: one node a line,
//! children indented under it.

use std::fmt::{self, Write as _};

use crate::ast::*;

/// The tree as text. The same tree gives the same text.
pub fn print_script(script: &Script) -> String {
    let mut printer = Printer::default();
    printer.script(script);
    printer.out
}

#[derive(Default)]
struct Printer {
    out: String,
    depth: usize,
}

impl Printer {
    fn line(&mut self, text: fmt::Arguments<'_>) {
        for _ in 0..self.depth {
            self.out.push_str("  ");
        }
        // Writing to a `String` cannot fail.
        let _ = self.out.write_fmt(text);
        self.out.push('\n');
    }

    fn under(&mut self, children: impl FnOnce(&mut Self)) {
        self.depth += 1;
        children(self);
        self.depth -= 1;
    }

    /// A line with children.
    fn node(&mut self, text: fmt::Arguments<'_>, children: impl FnOnce(&mut Self)) {
        self.line(text);
        self.under(children);
    }

    fn script(&mut self, script: &Script) {
        for definition in &script.c_definitions {
            self.line(format_args!("c {:?}", definition.text));
        }
        for item in &script.config {
            self.node(format_args!("config {}", item.key.text), |p| p.expr(&item.value));
        }
        for import in &script.imports {
            self.line(format_args!("import {:?}", import.path));
        }
        for item in &script.items {
            match item {
                Item::Probe(probe) => self.probe(probe),
                Item::Macro(definition) => self.macro_definition(definition),
                Item::Fn(function) => self.function(function),
                Item::MapDecl(decl) => self.node(format_args!("map {} = {}", decl.map.text, decl.kind.text), |p| {
                    p.exprs(&decl.args);
                }),
            }
        }
    }

    fn probe(&mut self, probe: &Probe) {
        self.line(format_args!("probe"));
        self.under(|p| {
            for point in &probe.attach_points {
                let name = point.name.as_ref().map(|name| format!("{} = ", name.text)).unwrap_or_default();
                p.line(format_args!("at {name}{}{}", point.provider, Parts(&point.parts)));
            }
            if let Some(predicate) = &probe.predicate {
                p.node(format_args!("predicate"), |p| p.expr(predicate));
            }
            p.block("body", &probe.body);
        });
    }

    fn macro_definition(&mut self, definition: &Macro) {
        let params: Vec<&str> = definition
            .params
            .iter()
            .map(|param| match param {
                MacroParam::Var(name) | MacroParam::Map(name) | MacroParam::Expr(name) => name.text.as_str(),
            })
            .collect();
        self.node(format_args!("macro {}({})", definition.name.text, params.join(", ")), |p| {
            p.block("body", &definition.body);
        });
    }

    fn function(&mut self, function: &FnDef) {
        let params: Vec<String> =
            function.params.iter().map(|(name, ty)| format!("{}: {}", name.text, Written(ty))).collect();
        let (name, ret) = (&function.name.text, Written(&function.ret));
        self.node(format_args!("fn {name}({}): {ret}", params.join(", ")), |p| p.block("body", &function.body));
        self.type_exprs(&function.ret);
    }

    fn block(&mut self, label: &str, block: &Block) {
        self.node(format_args!("{label}"), |p| {
            for stmt in &block.stmts {
                p.stmt(stmt);
            }
            if let Some(value) = &block.value {
                p.node(format_args!("value"), |p| p.expr(value));
            }
        });
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Expr(expr) => self.expr(expr),
            StmtKind::Assign { target, op, value } => {
                self.node(format_args!("{}=", op.map_or("", symbol)), |p| {
                    p.expr(target);
                    p.expr(value);
                });
            }
            StmtKind::Let { var, ty, value } => {
                match ty {
                    Some(ty) => self.line(format_args!("let {}: {}", var.text, Written(ty))),
                    None => self.line(format_args!("let {}", var.text)),
                }
                self.under(|p| {
                    if let Some(ty) = ty {
                        p.type_exprs(ty);
                    }
                    if let Some(value) = value {
                        p.expr(value);
                    }
                });
            }
            StmtKind::If { cond, then, otherwise, comptime } => {
                self.node(format_args!("{}if", if *comptime { "comptime " } else { "" }), |p| {
                    p.expr(cond);
                    p.block("then", then);
                    if let Some(otherwise) = otherwise {
                        p.block("else", otherwise);
                    }
                });
            }
            StmtKind::While { cond, body } => self.node(format_args!("while"), |p| {
                p.expr(cond);
                p.block("body", body);
            }),
            StmtKind::For { var, over, body } => self.node(format_args!("for {}", var.text), |p| {
                match over {
                    ForRange::Map(map) => p.expr(map),
                    ForRange::Range { start, end } => p.node(format_args!(".."), |p| {
                        p.expr(start);
                        p.expr(end);
                    }),
                }
                p.block("body", body);
            }),
            StmtKind::Unroll { count, body } => self.node(format_args!("unroll"), |p| {
                p.expr(count);
                p.block("body", body);
            }),
            StmtKind::Block(block) => self.block("block", block),
            StmtKind::Break => self.line(format_args!("break")),
            StmtKind::Continue => self.line(format_args!("continue")),
            StmtKind::Return(value) => self.node(format_args!("return"), |p| p.exprs(value)),
        }
    }

    fn exprs<'a>(&mut self, exprs: impl IntoIterator<Item = &'a Expr>) {
        for expr in exprs {
            self.expr(expr);
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Int { value, unsigned } => self.line(format_args!("{value}{}", if *unsigned { "u" } else { "" })),
            ExprKind::Bool(value) => self.line(format_args!("{value}")),
            ExprKind::Str(text) => self.line(format_args!("{text:?}")),
            ExprKind::Var(name) | ExprKind::Ident(name) => self.line(format_args!("{name}")),
            ExprKind::Positional(number) => self.line(format_args!("${number}")),
            ExprKind::PositionalCount => self.line(format_args!("$#")),
            ExprKind::Map { name, key } if key.is_empty() => self.line(format_args!("{name}")),
            ExprKind::Map { name, key } => self.node(format_args!("{name}[]"), |p| p.exprs(key)),
            ExprKind::Call { name, args } => self.node(format_args!("call {}", name.text), |p| p.exprs(args)),
            ExprKind::Unary { op, arg } => self.node(format_args!("unary {}", unary_symbol(*op)), |p| p.expr(arg)),
            ExprKind::Step { target, increment, prefix } => {
                let (place, op) = (if *prefix { "pre" } else { "post" }, if *increment { "++" } else { "--" });
                self.node(format_args!("{place}{op}"), |p| p.expr(target));
            }
            ExprKind::Binary { op, args } => self.node(format_args!("{}", symbol(*op)), |p| p.exprs(args.iter())),
            ExprKind::Ternary { cond, then, otherwise } => self.node(format_args!("?:"), |p| {
                p.expr(cond);
                p.exprs(then.as_deref());
                p.expr(otherwise);
            }),
            ExprKind::Field { of, name, arrow } => {
                self.node(format_args!("{}{}", if *arrow { "->" } else { "." }, name.text), |p| p.expr(of));
            }
            ExprKind::TupleField { of, index } => self.node(format_args!(".{index}"), |p| p.expr(of)),
            ExprKind::Index { of, index } => self.node(format_args!("[]"), |p| {
                p.expr(of);
                p.expr(index);
            }),
            ExprKind::Cast { ty, arg } => self.node(format_args!("cast {}", Written(ty)), |p| {
                p.type_exprs(ty);
                p.expr(arg);
            }),
            ExprKind::Tuple(elems) => self.node(format_args!("tuple"), |p| p.exprs(elems)),
            ExprKind::Record(fields) => self.node(format_args!("record"), |p| {
                for (name, value) in fields {
                    p.node(format_args!("{} =", name.text), |p| p.expr(value));
                }
            }),
            ExprKind::Sizeof(of) => self.type_or_expr("sizeof", of),
            ExprKind::Offsetof { of, path } => {
                let path: Vec<&str> = path.iter().map(|name| name.text.as_str()).collect();
                self.type_or_expr(&format!("offsetof .{} in", path.join(".")), of);
            }
            ExprKind::Typeinfo(of) => self.type_or_expr("typeinfo", of),
            ExprKind::Type(ty) => self.node(format_args!("type {}", Written(ty)), |p| p.type_exprs(ty)),
            ExprKind::Block(block) => self.block("block", block),
            ExprKind::If { cond, then, otherwise } => self.node(format_args!("if"), |p| {
                p.expr(cond);
                p.block("then", then);
                p.block("else", otherwise);
            }),
            ExprKind::Comptime(arg) => self.node(format_args!("comptime"), |p| p.expr(arg)),
        }
    }

    fn type_or_expr(&mut self, label: &str, of: &TypeOrExpr) {
        match of {
            TypeOrExpr::Type(ty) => self.node(format_args!("{label} {}", Written(ty)), |p| p.type_exprs(ty)),
            TypeOrExpr::Expr(expr) => self.node(format_args!("{label}"), |p| p.expr(expr)),
        }
    }

    /// The expressions in a type's `typeof`s.
    fn type_exprs(&mut self, ty: &TypeName) {
        match &ty.base {
            BaseType::Typeof(of) => match &**of {
                TypeOrExpr::Type(inner) => self.type_exprs(inner),
                TypeOrExpr::Expr(expr) => self.node(format_args!("typeof"), |p| p.expr(expr)),
            },
            BaseType::Tuple(elems) => elems.iter().for_each(|elem| self.type_exprs(elem)),
            _ => {}
        }
    }
}

/// The parts of an attach point, quoted where they would be misread.
struct Parts<'a>(&'a [String]);

impl fmt::Display for Parts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0 {
            if part.contains(|c: char| c.is_whitespace() || c.is_control() || ":\"{,".contains(c)) {
                write!(f, ":{part:?}")?;
            } else {
                write!(f, ":{part}")?;
            }
        }
        Ok(())
    }
}

/// A type as one would write it; the expression of a `typeof` shows as `...`.
struct Written<'a>(&'a TypeName);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.base {
            BaseType::Named(name) => f.write_str(name)?,
            BaseType::Struct(name) => write!(f, "struct {name}")?,
            BaseType::Union(name) => write!(f, "union {name}")?,
            BaseType::Enum(name) => write!(f, "enum {name}")?,
            BaseType::Typeof(of) => match &**of {
                TypeOrExpr::Type(ty) => write!(f, "typeof({})", Written(ty))?,
                TypeOrExpr::Expr(_) => f.write_str("typeof(...)")?,
            },
            BaseType::Tuple(elems) => {
                f.write_str("(")?;
                for (i, elem) in elems.iter().enumerate() {
                    write!(f, "{}{}", if i > 0 { ", " } else { "" }, Written(elem))?;
                }
                f.write_str(")")?;
            }
        }
        if self.0.pointers > 0 {
            write!(f, " {}", "*".repeat(self.0.pointers as usize))?;
        }
        for dim in &self.0.dims {
            match dim {
                Some(len) => write!(f, "[{len}]")?,
                None => f.write_str("[]")?,
            }
        }
        if self.0.outer_pointers > 0 {
            write!(f, " {}", "*".repeat(self.0.outer_pointers as usize))?;
        }
        Ok(())
    }
}

fn symbol(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Sub => "-",
        BinaryOp::Mul => "*",
        BinaryOp::Div => "/",
        BinaryOp::Mod => "%",
        BinaryOp::And => "&",
        BinaryOp::Or => "|",
        BinaryOp::Xor => "^",
        BinaryOp::Shl => "<<",
        BinaryOp::Shr => ">>",
        BinaryOp::LogicalAnd => "&&",
        BinaryOp::LogicalOr => "||",
        BinaryOp::Eq => "==",
        BinaryOp::Ne => "!=",
        BinaryOp::Lt => "<",
        BinaryOp::Le => "<=",
        BinaryOp::Gt => ">",
        BinaryOp::Ge => ">=",
    }
}

fn unary_symbol(op: UnaryOp) -> &'static str {
    match op {
        UnaryOp::Neg => "-",
        UnaryOp::Not => "!",
        UnaryOp::Complement => "~",
        UnaryOp::Deref => "*",
        UnaryOp::AddressOf => "&",
    }
}
