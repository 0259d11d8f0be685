//! A map as it is to be created.

/// A BPF map. Numbers are those of `isa::uapi::map_type` and of the kernel's
/// `BPF_F_*` map flags; sizes are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map {
    /// As the user knows it (`@reads`) or as a tool calls it.
    pub name: String,
    pub map_type: u32,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    pub flags: u32,
    /// Contents of element 0 of an array map at start; shorter than
    /// `value_size` means the rest is zero.
    pub initial: Vec<u8>,
    /// Frozen before programs load, so that the verifier knows its contents.
    pub read_only: bool,
}
