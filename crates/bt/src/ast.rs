//! The syntax tree: what the script says, before anyone asks whether it makes sense.

/// A stretch of the script, as byte offsets; end exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// A name where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub text: String,
    pub span: Span,
}

#[derive(Clone, Debug, Default)]
pub struct Script {
    /// `#include`, `#define`, struct, union, enum and typedef definitions, as C text in order.
    pub c_definitions: Vec<CDefinition>,
    pub config: Vec<ConfigItem>,
    pub imports: Vec<Import>,
    pub items: Vec<Item>,
}

#[derive(Clone, Debug)]
pub struct CDefinition {
    pub text: String,
    pub span: Span,
}

/// `key = value` in a `config` block.
#[derive(Clone, Debug)]
pub struct ConfigItem {
    pub key: Name,
    pub value: Expr,
}

#[derive(Clone, Debug)]
pub struct Import {
    pub path: String,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum Item {
    Probe(Probe),
    Macro(Macro),
    Fn(FnDef),
    /// `let @m = lruhash(100);`
    MapDecl(MapDecl),
}

#[derive(Clone, Debug)]
pub struct Probe {
    pub attach_points: Vec<AttachPoint>,
    pub predicate: Option<Expr>,
    /// A last expression without `;` stands among the statements: a probe has no value.
    pub body: Block,
    /// From the first to the last attach point.
    pub span: Span,
}

/// `provider:part:part`, quotes and escapes resolved, `$N` expanded.
#[derive(Clone, Debug, PartialEq)]
pub struct AttachPoint {
    /// `name=` prefix.
    pub name: Option<Name>,
    /// As written, any case; aliases not resolved.
    pub provider: String,
    /// What stands between the colons after the provider.
    pub parts: Vec<String>,
    /// The whole as written.
    pub text: String,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct Macro {
    pub name: Name,
    pub params: Vec<MacroParam>,
    pub body: Block,
    pub span: Span,
}

/// Names of variables and maps are with their `$` and `@` here and everywhere in the tree.
#[derive(Clone, Debug)]
pub enum MacroParam {
    Var(Name),
    Map(Name),
    Expr(Name),
}

#[derive(Clone, Debug)]
pub struct FnDef {
    pub name: Name,
    pub params: Vec<(Name, TypeName)>,
    pub ret: TypeName,
    pub body: Block,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct MapDecl {
    pub map: Name,
    pub kind: Name,
    pub args: Vec<Expr>,
    pub span: Span,
}

#[derive(Clone, Debug, Default)]
pub struct Block {
    pub stmts: Vec<Stmt>,
    /// The value of a block expression: a last expression without `;`.
    pub value: Option<Box<Expr>>,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct Stmt {
    pub kind: StmtKind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum StmtKind {
    Expr(Expr),
    /// `target = value`, or `target op= value`. The target is a variable or a map
    /// (with or without key); `_ = e` discards.
    Assign {
        target: Expr,
        op: Option<BinaryOp>,
        value: Expr,
    },
    /// `let $x: type = value`.
    Let {
        var: Name,
        ty: Option<TypeName>,
        value: Option<Expr>,
    },
    If {
        cond: Expr,
        then: Block,
        otherwise: Option<Block>,
        comptime: bool,
    },
    While {
        cond: Expr,
        body: Block,
    },
    /// `for $kv : @map` or `for $i : a..b`.
    For {
        var: Name,
        over: ForRange,
        body: Block,
    },
    Unroll {
        count: Expr,
        body: Block,
    },
    Block(Block),
    Break,
    Continue,
    Return(Option<Expr>),
}

#[derive(Clone, Debug)]
pub enum ForRange {
    Map(Expr),
    Range { start: Expr, end: Expr },
}

#[derive(Clone, Debug)]
pub struct Expr {
    pub kind: ExprKind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum ExprKind {
    /// The value's bits, and whether a suffix or its size makes it unsigned.
    Int {
        value: u64,
        unsigned: bool,
    },
    Bool(bool),
    Str(String),
    /// `$x`; the name is with its `$`.
    Var(String),
    /// `$1`, `$#`.
    Positional(u32),
    PositionalCount,
    /// `@x` with its key expressions; empty for `@x` alone. The name is with its `@`.
    Map {
        name: String,
        key: Vec<Expr>,
    },
    /// A builtin, an enumerator, a `#define`d name or a macro: whatever the name is.
    Ident(String),
    Call {
        name: Name,
        args: Vec<Expr>,
    },
    Unary {
        op: UnaryOp,
        arg: Box<Expr>,
    },
    /// `++` and `--`.
    Step {
        target: Box<Expr>,
        increment: bool,
        prefix: bool,
    },
    Binary {
        op: BinaryOp,
        args: Box<[Expr; 2]>,
    },
    /// `c ? a : b`; `then` is `None` in `c ?: b`.
    Ternary {
        cond: Box<Expr>,
        then: Option<Box<Expr>>,
        otherwise: Box<Expr>,
    },
    /// `a.name` and `a->name` (they mean the same).
    Field {
        of: Box<Expr>,
        name: Name,
        arrow: bool,
    },
    /// `t.0`.
    TupleField {
        of: Box<Expr>,
        index: u32,
    },
    Index {
        of: Box<Expr>,
        index: Box<Expr>,
    },
    /// `(type)e`.
    Cast {
        ty: TypeName,
        arg: Box<Expr>,
    },
    /// `(a, b)`.
    Tuple(Vec<Expr>),
    /// `(a = 1, b = 2)`.
    Record(Vec<(Name, Expr)>),
    /// `sizeof(type)` or `sizeof(expr)`, `offsetof(type, a.b)`, `typeof`, `typeinfo`.
    Sizeof(TypeOrExpr),
    Offsetof {
        of: TypeOrExpr,
        path: Vec<Name>,
    },
    Typeinfo(TypeOrExpr),
    /// `typeof(x)` as an argument of a call.
    Type(TypeName),
    /// `{ stmts; value }` or `if` used as a value.
    Block(Box<Block>),
    If {
        cond: Box<Expr>,
        then: Box<Block>,
        otherwise: Box<Block>,
    },
    Comptime(Box<Expr>),
}

#[derive(Clone, Debug)]
pub enum TypeOrExpr {
    Type(TypeName),
    Expr(Box<Expr>),
}

/// A type as written: `uint64`, `struct task_struct *`, `int32[4]`, `string[16]`.
#[derive(Clone, Debug)]
pub struct TypeName {
    pub base: BaseType,
    /// Number of `*`.
    pub pointers: u32,
    /// Array dimensions in order; `None` for `[]`.
    pub dims: Vec<Option<u64>>,
    /// Number of `*` after the dimensions: `int32[4] *` points to an array.
    pub outer_pointers: u32,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum BaseType {
    /// `int32`, `uint8`, `string`, `u64`, `size_t`, `unsigned long`, `void`: one name.
    Named(String),
    Struct(String),
    Union(String),
    Enum(String),
    Typeof(Box<TypeOrExpr>),
    Tuple(Vec<TypeName>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOp {
    Neg,
    /// `!`.
    Not,
    /// `~`.
    Complement,
    /// `*`.
    Deref,
    /// `&`.
    AddressOf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    And,
    Or,
    Xor,
    Shl,
    Shr,
    LogicalAnd,
    LogicalOr,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}
