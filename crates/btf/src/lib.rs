//! BPF type information: bytes → types, lazily; types → bytes.
//!
//! In: the bytes of `/sys/kernel/btf/*`, of an ELF's `.BTF`, or types to write.
//! Out: types by id and by name; `.BTF` and `.BTF.ext` bytes. No I/O.
//!
//! Source: Linux `Documentation/bpf/btf.rst`, `include/uapi/linux/btf.h`.

/// A parsed view of BTF bytes.
pub struct Btf<'d> {
    data: &'d [u8],
}
