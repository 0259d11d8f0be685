//! The typed tree: what sema makes of the syntax tree, one per BPF program, and
//! what lowering reads. Every name is resolved, every expression has its type.

use std::rc::Rc;

use object::plan::Action;

use crate::ast::Span;
use crate::catalog::Member;
use crate::types::*;

/// Index into [`Program::variables`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VarId(pub u32);

/// Index into [`Script::maps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MapId(pub u32);

/// All programs and maps of a script.
#[derive(Debug, Default)]
pub struct Script {
    pub maps: Vec<Map>,
    pub programs: Vec<Program>,
}

/// A map that the script uses.
#[derive(Clone, Debug)]
pub struct Map {
    /// With the `@`.
    pub name: String,
    /// `None`: a single value.
    pub key: Option<Type>,
    pub value: Type,
    /// From `let @m = kind(n)`.
    pub declared: Option<Declared>,
}

/// Kind and size of a map as declared; numbers of `isa::uapi::map_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declared {
    pub map_type: u32,
    pub max_entries: u32,
}

/// One probe body for one kind of context.
#[derive(Debug)]
pub struct Program {
    pub predicate: Option<Expr>,
    pub body: Block,
    pub variables: Vec<Variable>,
}

#[derive(Clone, Debug)]
pub struct Variable {
    pub name: String,
    pub ty: Type,
    /// Number of statements that set it; one means that its value can stand for it.
    pub writes: u32,
    /// Used outside the block that sets it: starts as zero at the program's start.
    pub hoisted: bool,
    /// The script says its type (`let $x: uint8`).
    pub declared: bool,
    /// Number of loops (whose bodies may become functions) around its declaration.
    pub loop_depth: u32,
    /// Used inside a loop that it was declared outside of.
    pub captured: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Block {
    pub stmts: Vec<Stmt>,
}

#[derive(Clone, Debug)]
pub struct Stmt {
    pub kind: StmtKind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum StmtKind {
    /// For its effect.
    Expr(Expr),
    /// `let $x;`: zero.
    Let(VarId),
    SetVar {
        var: VarId,
        value: Expr,
    },
    SetMap {
        map: MapId,
        key: Option<Expr>,
        value: Expr,
    },
    /// `@m[key] = count()`; what it does is in the map's type. `count` of `hist(n, k, count)` is not in the language.
    Aggregate {
        map: MapId,
        key: Option<Expr>,
        value: Option<Expr>,
    },
    If {
        cond: Expr,
        then: Block,
        otherwise: Block,
    },
    While {
        cond: Expr,
        body: Block,
        /// The kernel calls condition and body (`bpf_loop`): its verifier need not walk through all rounds.
        called: bool,
    },
    Unroll {
        count: u32,
        body: Block,
    },
    /// `end` exclusive.
    ForRange {
        var: VarId,
        start: Expr,
        end: Expr,
        body: Block,
    },
    ForMap {
        var: VarId,
        map: MapId,
        body: Block,
    },
    Block(Block),
    Break,
    Continue,
    Return,
    Event(Event),
    /// Ends the session and the program.
    Exit(Option<Expr>),
    Clear(MapId),
    Zero(MapId),
    /// Strings at up to 16 pointers of an array, sent as one event.
    Join {
        array: Expr,
        delimiter: String,
    },
}

/// A record to send. Maps in the action are [`MapId`]s until lowering.
#[derive(Clone, Debug)]
pub struct Event {
    pub action: Action,
    pub args: Vec<Expr>,
}

#[derive(Clone, Debug)]
pub struct Expr {
    pub kind: ExprKind,
    pub ty: Type,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum ExprKind {
    Int(i64),
    /// Without a terminating NUL.
    Str(Rc<[u8]>),
    Var(VarId),
    /// A plain map's value; zero if there is none.
    MapGet {
        map: MapId,
        key: Option<Box<Expr>>,
    },
    /// An aggregate's value over all CPUs as an integer.
    AggregateGet {
        map: MapId,
        key: Option<Box<Expr>>,
    },
    HasKey {
        map: MapId,
        key: Box<Expr>,
    },
    /// 1 if there was such a key. No key: a single value.
    Delete {
        map: MapId,
        key: Option<Box<Expr>>,
    },
    /// Number of elements.
    Len(MapId),
    /// The key and value of the element that a `for` loop is at.
    LoopKey(VarId),
    LoopValue(VarId),
    Builtin(Builtin),
    /// A member of the probe's arguments: index into its context's fields.
    Arg(u32),
    /// `argN`.
    ArgN(u32),
    /// All arguments as one value, for `print(args)`.
    AllArgs,
    Unary {
        op: UnaryOp,
        arg: Box<Expr>,
    },
    Binary {
        op: BinaryOp,
        args: Box<[Expr; 2]>,
    },
    /// Pointer plus so many elements of `stride` bytes.
    PointerAdd {
        pointer: Box<Expr>,
        index: Box<Expr>,
        stride: u32,
        negate: bool,
    },
    Compare {
        op: Comparison,
        args: Box<[Expr; 2]>,
    },
    /// Strings, buffers, tuples and arrays; equal or not.
    CompareBytes {
        equal: bool,
        args: Box<[Expr; 2]>,
    },
    /// Equal within the first `len` bytes: 0, else 1 (`strncmp`).
    CompareStrings {
        len: u32,
        args: Box<[Expr; 2]>,
    },
    And(Box<[Expr; 2]>),
    Or(Box<[Expr; 2]>),
    Not(Box<Expr>),
    /// `then` is `None` in `c ?: b`: the condition's own value.
    Ternary {
        cond: Box<Expr>,
        then: Option<Box<Expr>>,
        otherwise: Box<Expr>,
    },
    /// To the expression's type, between scalars.
    Cast(Box<Expr>),
    /// The bytes of an integer as an array, or of an array as an integer.
    Reinterpret(Box<Expr>),
    /// The object a pointer points to.
    Deref(Box<Expr>),
    /// A member of a struct; a bit field or scalar is loaded, others stay where they are.
    Field {
        of: Box<Expr>,
        member: Member,
    },
    /// An element of an array; elements are `stride` bytes apart.
    Index {
        of: Box<Expr>,
        index: Box<Expr>,
        stride: u32,
    },
    /// A field of a tuple or record.
    TupleField {
        of: Box<Expr>,
        index: u32,
    },
    Tuple(Vec<Expr>),
    /// The address of a variable or of a map's value.
    AddressOf(Box<Expr>),
    Step {
        target: Box<StepTarget>,
        increment: bool,
        prefix: bool,
        stride: u32,
    },
    /// A string from memory: capacity is the type's size. `pointer` is a pointer, or an array in place.
    ReadString {
        pointer: Box<Expr>,
        max: Option<Box<Expr>>,
    },
    /// Bytes from memory; `len` in bytes, at most the type's size.
    ReadBuffer {
        pointer: Box<Expr>,
        len: Box<Expr>,
    },
    /// Index of the first occurrence of a literal in a string is not asked, only whether there is one.
    Contains {
        haystack: Box<Expr>,
        needle: Box<Expr>,
    },
    KStack,
    UStack,
    /// Number of frames of the stack here, at most `limit`.
    StackLen {
        user: bool,
        limit: u32,
    },
    USym(Box<Expr>),
    /// Address family if known; the address as an integer (IPv4) or a place of 4 or 16 bytes.
    Ntop {
        family: Option<Box<Expr>>,
        address: Box<Expr>,
    },
    Macaddr(Box<Expr>),
    /// A register of the context, by its offset in `struct pt_regs`.
    Register {
        offset: u32,
    },
    Bswap {
        bytes: u8,
        arg: Box<Expr>,
    },
    Signal {
        signal: Box<Expr>,
        thread: bool,
    },
    /// Statements, then a value.
    Block {
        stmts: Block,
        value: Box<Expr>,
    },
}

#[derive(Clone, Debug)]
pub enum StepTarget {
    Var(VarId),
    Map { map: MapId, key: Option<Expr> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOp {
    Neg,
    Complement,
}

/// Arithmetic in 64 bits; the expression's type says whether division, remainder
/// and right shift are signed.
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
}

/// Signedness is decided by sema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Eq,
    Ne,
    Lt { signed: bool },
    Le { signed: bool },
    Gt { signed: bool },
    Ge { signed: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    Pid,
    Tid,
    Uid,
    Gid,
    Nsecs(Clock),
    Elapsed,
    Cpu,
    Comm,
    Curtask,
    Rand,
    Cgroup,
    Ctx,
    Retval,
    Func,
    /// The probe's full name.
    Probe,
    Numaid,
    Jiffies,
    Ncpus,
    /// 1 if the registers of the context are those of user code (x86-64 only).
    Usermode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    Boot,
    Monotonic,
    Tai,
}

impl Expr {
    pub fn int(value: i64, ty: Type, span: Span) -> Expr {
        Expr { kind: ExprKind::Int(value), ty, span }
    }

    /// The constant that it is, if it is one.
    pub fn constant(&self) -> Option<i64> {
        match &self.kind {
            ExprKind::Int(n) => Some(*n),
            ExprKind::Cast(inner) => match &self.ty {
                Type::Int(int) => Some(truncate(inner.constant()?, *int)),
                _ => inner.constant(),
            },
            _ => None,
        }
    }
}

/// The value that an integer type keeps of 64 bits.
pub fn truncate(value: i64, int: IntType) -> i64 {
    match (int.bytes, int.signed) {
        (1, true) => i64::from(value as i8),
        (1, false) => i64::from(value as u8),
        (2, true) => i64::from(value as i16),
        (2, false) => i64::from(value as u16),
        (4, true) => i64::from(value as i32),
        (4, false) => i64::from(value as u32),
        _ => value,
    }
}
