//! BPF type information: bytes → types, lazily; types → bytes.
//!
//! In: the bytes of `/sys/kernel/btf/*`, of an ELF's `.BTF`, or types to write.
//! Out: types by id and by name; `.BTF` and `.BTF.ext` bytes. No I/O.
//!
//! ```
//! # fn show(bytes: &[u8]) -> Result<(), btf::Error> {
//! let types = btf::Btf::parse(bytes)?;
//! if let Some(task) = types.find_c("struct task_struct") {
//!     let comm = types.member(task.id, "comm")?;
//!     println!("{} at byte {}", types.declaration(comm.ty, "comm"), comm.offset());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Source: Linux `Documentation/bpf/btf.rst`, `include/uapi/linux/btf.h`.

mod attach;
mod c_name;
mod error;
pub mod ext;
mod kind;
mod layout;
mod reader;
mod types;
mod walk;
mod writer;

pub use attach::{ITERATOR_CONTEXT_PREFIX, RAW_TRACEPOINT_PREFIX, RawTracepoint};
pub use error::Error;
pub use kind::Kind;
pub use layout::{Field, POINTER_SIZE};
pub use reader::Btf;
pub use types::{Array, Enumerator, Int, Member, Param, SectionVariable, Type, TypeId};
pub use writer::{Builder, FuncLinkage, IntEncoding, NewMember, VarLinkage};
