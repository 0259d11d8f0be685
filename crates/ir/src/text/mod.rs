//! The text form of the IR: what `--emit ir` shows and what pass tests are
//! written in. Printing is deterministic and parsing its output gives the same
//! module, entity numbers included.
//!
//! ```text
//! license "GPL"
//! map0 = map "@reads" type hash key 16 value 8 entries 4096
//!
//! function fn0 "vfs_read" program "kprobe/vfs_read" type kprobe {
//!     slot0 = 16 align 8
//! block0(v0: ptr<ctx>):
//!     v1 = slot_addr slot0
//!     v2 = iconst 16
//!     v3 = call_helper get_current_comm(v1, v2)
//!     v4 = map_addr map0
//!     v5 = call_helper map_lookup_elem(v4, v1): ptr<value?> ; @10..24
//!     v6 = iconst 0
//!     v7 = icmp ne v5, v6
//!     branch v7, block1, block2(v6)
//! block1:
//!     v8 = nonnull v5: ptr<value>
//!     v9 = load u64 v8+0
//!     jump block2(v9)
//! block2(v10):
//!     return v10
//! }
//! ```
//!
//! A result's or parameter's type stands after it unless it is `i64`, or the
//! only type that the instruction can have. `;` starts a comment; a comment
//! `; @START..END` (or `; @SOURCE:START..END`) after an instruction is its place
//! in the source text. `{:#}` prints without these places.

mod lexer;
mod names;
mod parse;
mod print;

pub use parse::{ParseError, parse_module};
pub(crate) use print::InstText;

use crate::{InstData, Space, Type, UnaryOp};

/// The type of an instruction's result where the text names none.
fn implied_type(inst: &InstData) -> Type {
    match inst {
        InstData::SlotAddr { .. } => Type::Ptr(Space::Stack),
        InstData::MapAddr(_) => Type::Ptr(Space::Map),
        InstData::MapValueAddr { .. } => Type::Ptr(Space::Value),
        InstData::FuncAddr(_) => Type::Ptr(Space::Func),
        InstData::Unary { op: UnaryOp::Trunc, .. } => Type::I32,
        _ => Type::I64,
    }
}
