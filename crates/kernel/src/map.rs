//! Maps: create, read, write, iterate, freeze, share memory with.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use isa::uapi::{cmd, map_type};

use crate::error::{ENOTSUPP, Errno, Error};
use crate::mapping::Mapping;
use crate::uapi;
use crate::{cpus, sys};

/// `BPF_F_MMAPABLE`: an array map whose values can be mapped into our memory.
pub const MMAPABLE: u32 = 1 << 10;

/// `BPF_F_NO_PREALLOC`: a hash map that takes memory for its entries when they come.
///
/// A per-CPU hash of 4,096 entries takes 1.6 ms to create with its entries and 0.05 ms
/// without (6.18, 2 CPUs; a plain hash 0.07 and 0.05). Programs on probes may have such maps since
/// 6.1, whose allocator serves any context; a burst of new keys can outrun its refill, and
/// then an update fails with `ENOMEM`.
pub const NO_PREALLOC: u32 = 1 << 0;
/// Longest key of a hash map on old kernels, which take it for a thing of the stack.
const MAX_OLD_KEY_BYTES: u32 = 512;

/// A map of the kernel, ours as long as the descriptor is open.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    name: String,
    map_type: u32,
    key_size: usize,
    value_size: usize,
    max_entries: u32,
    possible_cpus: usize,
}

/// What an update may do (`BPF_ANY`, `BPF_NOEXIST`, `BPF_EXIST`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    Any,
    OnlyNew,
    OnlyExisting,
}

impl Map {
    /// Creates a map as the model says; writes its initial contents and freezes it
    /// if it is read-only. A perf event array without a size gets a slot for each CPU.
    ///
    /// # Errors
    /// The kernel lacks the type, the sizes are wrong, or there is no permission.
    pub fn create(model: &object::Map) -> Result<Map, Error> {
        let per_cpu = is_per_cpu(model.map_type);
        let mut max_entries = model.max_entries;
        if max_entries == 0 && model.map_type == map_type::PERF_EVENT_ARRAY {
            max_entries = cpus::possible();
        }
        let mut attr = uapi::MapCreate {
            map_type: model.map_type,
            key_size: model.key_size,
            value_size: model.value_size,
            max_entries,
            map_flags: model.flags,
            map_name: kernel_name(&model.name),
            ..Default::default()
        };
        let mut create = || {
            // SAFETY: no pointers in this command.
            unsafe { sys::bpf_fd(cmd::MAP_CREATE, &mut attr) }
        };
        let fd = with_memlock(&mut create).map_err(|errno| create_error(model, errno))?;
        let map = Map {
            fd,
            name: model.name.clone(),
            map_type: model.map_type,
            key_size: model.key_size as usize,
            value_size: model.value_size as usize,
            max_entries,
            possible_cpus: if per_cpu { cpus::possible() as usize } else { 1 },
        };
        if !model.initial.is_empty() {
            let mut value = model.initial.clone();
            value.resize(map.value_bytes(), 0);
            map.update(&0u32.to_ne_bytes(), &value, Update::Any)?;
        }
        if model.read_only {
            map.freeze()?;
        }
        Ok(map)
    }

    /// As the user knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of `isa::uapi::map_type`.
    pub fn map_type(&self) -> u32 {
        self.map_type
    }

    /// Bytes of a key.
    pub fn key_size(&self) -> usize {
        self.key_size
    }

    /// Bytes of a value on one CPU.
    pub fn value_size(&self) -> usize {
        self.value_size
    }

    pub fn max_entries(&self) -> u32 {
        self.max_entries
    }

    /// Bytes of a value as the kernel copies it: for a per-CPU map one value for each
    /// possible CPU, each rounded up to 8 bytes (`bpf_map_value_size`, `kernel/bpf/syscall.c`).
    pub fn value_bytes(&self) -> usize {
        if is_per_cpu(self.map_type) { self.value_stride() * self.possible_cpus } else { self.value_size }
    }

    /// Bytes from one CPU's value to the next one's.
    pub fn value_stride(&self) -> usize {
        self.value_size.next_multiple_of(8)
    }

    /// How many values an entry has: possible CPUs for a per-CPU map, else 1.
    pub fn values_per_entry(&self) -> usize {
        self.possible_cpus
    }

    /// The value at `key`, `None` if there is none.
    pub fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let mut value = vec![0; self.value_bytes()];
        Ok(self.lookup_into(key, &mut value)?.then_some(value))
    }

    /// Reads the value at `key` into a buffer of [`Map::value_bytes`]; false if there is none.
    pub fn lookup_into(&self, key: &[u8], value: &mut [u8]) -> Result<bool, Error> {
        self.check("look up", key, Some(value.len()))?;
        let mut attr = self.elem(key, value.as_mut_ptr() as u64);
        // SAFETY: key and value have the map's sizes, as just checked, and are live.
        match unsafe { sys::bpf(cmd::MAP_LOOKUP_ELEM, &mut attr) } {
            Ok(_) => Ok(true),
            Err(Errno(libc::ENOENT)) => Ok(false),
            Err(errno) => Err(self.error("look up", errno)),
        }
    }

    /// Writes the value at `key`.
    pub fn update(&self, key: &[u8], value: &[u8], how: Update) -> Result<(), Error> {
        self.check("update", key, Some(value.len()))?;
        let mut attr = self.elem(key, value.as_ptr() as u64);
        attr.flags = how as u64;
        // SAFETY: key and value have the map's sizes, as just checked, and are live.
        unsafe { sys::bpf(cmd::MAP_UPDATE_ELEM, &mut attr) }.map(drop).map_err(|errno| self.error("update", errno))
    }

    /// Deletes the entry at `key`; false if there is none.
    pub fn delete(&self, key: &[u8]) -> Result<bool, Error> {
        self.check("delete from", key, None)?;
        let mut attr = self.elem(key, 0);
        // SAFETY: the key has the map's size, as just checked, and is live.
        match unsafe { sys::bpf(cmd::MAP_DELETE_ELEM, &mut attr) } {
            Ok(_) => Ok(true),
            Err(Errno(libc::ENOENT)) => Ok(false),
            Err(errno) => Err(self.error("delete from", errno)),
        }
    }

    /// The key after `key` (`None`: the first) in the map's own order; `None` at the end.
    pub fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>, Error> {
        if let Some(key) = key {
            self.check("iterate over", key, None)?;
        }
        let mut next = vec![0; self.key_size];
        let mut attr = self.elem(key.unwrap_or_default(), next.as_mut_ptr() as u64);
        if key.is_none() {
            attr.key = 0;
        }
        // SAFETY: the key is null or of the map's size, and so is the buffer for the next one.
        match unsafe { sys::bpf(cmd::MAP_GET_NEXT_KEY, &mut attr) } {
            Ok(_) => Ok(Some(next)),
            Err(Errno(libc::ENOENT)) => Ok(None),
            Err(errno) => Err(self.error("iterate over", errno)),
        }
    }

    /// All entries, by batches where the kernel has them for this type, else one
    /// after the other. An entry that programs add or delete meanwhile is there or not.
    pub fn entries(&self) -> Result<Entries, Error> {
        match self.batch(cmd::MAP_LOOKUP_BATCH)? {
            Some(entries) => Ok(entries),
            None => self.entries_one_by_one(false),
        }
    }

    /// All entries, which are gone from the map afterwards.
    pub fn take_entries(&self) -> Result<Entries, Error> {
        match self.batch(cmd::MAP_LOOKUP_AND_DELETE_BATCH)? {
            Some(entries) => Ok(entries),
            None => self.entries_one_by_one(true),
        }
    }

    /// Deletes all entries of a hash map, sets those of an array to zero.
    pub fn clear(&self) -> Result<(), Error> {
        if is_array(self.map_type) {
            let zero = vec![0; self.value_bytes()];
            for index in 0..self.max_entries {
                self.update(&index.to_ne_bytes(), &zero, Update::Any)?;
            }
            return Ok(());
        }
        self.take_entries().map(drop)
    }

    /// From now on user space can't write (5.2); programs still can unless the map was
    /// made read-only for them. Refused while the map is mapped writable.
    pub fn freeze(&self) -> Result<(), Error> {
        let mut attr = uapi::Fd { fd: self.fd.as_raw_fd() as u32, flags: 0 };
        // SAFETY: no pointers in this command.
        unsafe { sys::bpf(cmd::MAP_FREEZE, &mut attr) }.map(drop).map_err(|errno| self.error("freeze", errno))
    }

    /// Maps the values of an array made with [`MMAPABLE`] into our memory, for
    /// reading and writing without system calls.
    pub fn mmap(&self) -> Result<MappedArray, Error> {
        let stride = self.value_stride();
        let len = stride.saturating_mul(self.max_entries as usize);
        let mapping = Mapping::new(self.fd.as_fd(), 0, len.next_multiple_of(sys::page_size()), true)
            .map_err(|errno| self.error("map the memory of", errno))?;
        Ok(MappedArray { mapping, len })
    }

    fn elem(&self, key: &[u8], value: u64) -> uapi::MapElem {
        uapi::MapElem { map_fd: self.fd.as_raw_fd() as u32, pad: 0, key: key.as_ptr() as u64, value, flags: 0 }
    }

    /// The kernel trusts the caller about sizes; we don't.
    fn check(&self, verb: &str, key: &[u8], value: Option<usize>) -> Result<(), Error> {
        let (asked, value_bytes) = (|| format!("{verb} map '{}'", self.name), self.value_bytes());
        if key.len() != self.key_size {
            let reason = format!("the key has {} bytes, the map's keys have {}", key.len(), self.key_size);
            return Err(Error::refused(asked(), reason));
        }
        match value {
            Some(len) if len != value_bytes => {
                Err(Error::refused(asked(), format!("the value has {len} bytes, the map's values have {value_bytes}")))
            }
            _ => Ok(()),
        }
    }

    fn error(&self, verb: &str, errno: Errno) -> Error {
        let asked = format!("{verb} map '{}'", self.name);
        match errno.0 {
            libc::E2BIG => Error::system_hint(
                asked,
                errno,
                format!("the map is full ({} entries): make it larger", self.max_entries),
            ),
            _ => Error::system(asked, errno),
        }
    }

    /// `None`: the kernel has no batches for this map's type.
    ///
    /// Hash maps take batches since 5.6, per-CPU arrays since 5.13. The kernel never
    /// splits a hash bucket, and says ENOSPC when the next one does not fit the rest
    /// of an empty batch: then the batch is made larger.
    fn batch(&self, command: u32) -> Result<Option<Entries>, Error> {
        if is_array(self.map_type) && command == cmd::MAP_LOOKUP_AND_DELETE_BATCH {
            return Ok(None);
        }
        let (key_size, value_bytes) = (self.key_size, self.value_bytes());
        let mut entries = Entries { keys: Vec::new(), values: Vec::new(), key_size, value_size: value_bytes, len: 0 };
        // Hash maps put the number of a bucket here, others a key.
        let cursor_size = key_size.max(4);
        let (mut cursor, mut next_cursor) = (vec![0u8; cursor_size], vec![0u8; cursor_size]);
        let mut first = true;
        let mut room = (self.max_entries as usize).clamp(1, 4096);
        loop {
            entries.keys.resize((entries.len + room) * key_size, 0);
            entries.values.resize((entries.len + room) * value_bytes, 0);
            let mut attr = uapi::MapBatch {
                in_batch: if first { 0 } else { cursor.as_mut_ptr() as u64 },
                out_batch: next_cursor.as_mut_ptr() as u64,
                keys: entries.keys[entries.len * key_size..].as_mut_ptr() as u64,
                values: entries.values[entries.len * value_bytes..].as_mut_ptr() as u64,
                count: room as u32,
                map_fd: self.fd.as_raw_fd() as u32,
                ..Default::default()
            };
            // SAFETY: keys and values have room for `count` entries, the cursors for a key
            // or a bucket number; all are live.
            let result = unsafe { sys::bpf(command, &mut attr) };
            let told = (attr.count as usize).min(room);
            match result {
                Ok(_) => {
                    entries.len += told;
                    std::mem::swap(&mut cursor, &mut next_cursor);
                    first = false;
                }
                // The end; what came is counted.
                Err(Errno(libc::ENOENT)) => {
                    entries.len += told;
                    entries.keys.truncate(entries.len * key_size);
                    entries.values.truncate(entries.len * value_bytes);
                    return Ok(Some(entries));
                }
                Err(Errno(libc::ENOSPC)) if room < 1 << 24 => room *= 2,
                Err(Errno(libc::EINVAL | ENOTSUPP | libc::EOPNOTSUPP)) if first => return Ok(None),
                Err(errno) => return Err(self.error("read all of", errno)),
            }
        }
    }

    fn entries_one_by_one(&self, delete: bool) -> Result<Entries, Error> {
        let value_bytes = self.value_bytes();
        let mut entries =
            Entries { keys: Vec::new(), values: Vec::new(), key_size: self.key_size, value_size: value_bytes, len: 0 };
        let mut value = vec![0; value_bytes];
        let mut key = self.next_key(None)?;
        // A key that a program deletes under our feet makes the kernel start over;
        // the bound keeps that from going on for ever.
        let mut steps = u64::from(self.max_entries).saturating_mul(4).max(1024);
        while let Some(current) = key {
            if steps == 0 {
                break;
            }
            steps -= 1;
            key = self.next_key(Some(&current))?;
            if self.lookup_into(&current, &mut value)? {
                entries.keys.extend_from_slice(&current);
                entries.values.extend_from_slice(&value);
                entries.len += 1;
            }
            if delete {
                if is_array(self.map_type) {
                    value.fill(0);
                    self.update(&current, &value, Update::Any)?;
                } else {
                    self.delete(&current)?;
                }
            }
        }
        Ok(entries)
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Entries of a map, copied: keys in one buffer, values in another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries {
    keys: Vec<u8>,
    values: Vec<u8>,
    key_size: usize,
    value_size: usize,
    len: usize,
}

impl Entries {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// (key, value) pairs; a per-CPU map's value is that of all CPUs, [`Map::value_stride`] apart.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let key = |i: usize| &self.keys[i * self.key_size..(i + 1) * self.key_size];
        let value = |i: usize| &self.values[i * self.value_size..(i + 1) * self.value_size];
        (0..self.len).map(move |i| (key(i), value(i)))
    }
}

/// The values of an array map in our memory. BPF programs may change them at any time.
#[derive(Debug)]
pub struct MappedArray {
    mapping: Mapping,
    len: usize,
}

impl MappedArray {
    /// Bytes of all values.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The `u64` at this 8-byte slot; `None` past the end.
    pub fn read_u64(&self, slot: usize) -> Option<u64> {
        let offset = slot.checked_mul(8).filter(|offset| offset + 8 <= self.len)?;
        Some(self.mapping.u64_at(offset)?.load(Ordering::Relaxed))
    }

    /// Sets the `u64` at this 8-byte slot; false past the end.
    pub fn write_u64(&self, slot: usize, value: u64) -> bool {
        let Some(offset) = slot.checked_mul(8).filter(|offset| offset + 8 <= self.len) else { return false };
        match self.mapping.u64_at(offset) {
            Some(word) => {
                word.store(value, Ordering::Relaxed);
                true
            }
            None => false,
        }
    }

    /// Copies bytes out; false if not all of them are inside.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> bool {
        offset.checked_add(bytes.len()).is_some_and(|end| end <= self.len) && self.mapping.read(offset, bytes)
    }

    /// Copies bytes in; false if not all of them are inside.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> bool {
        offset.checked_add(bytes.len()).is_some_and(|end| end <= self.len) && self.mapping.write(offset, bytes)
    }
}

/// Calls again with the limit on locked memory lifted if the first call says EPERM, as
/// kernels before 5.11 do when that limit is reached.
pub(crate) fn with_memlock<T>(call: &mut dyn FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    match call() {
        Err(Errno(libc::EPERM)) if sys::kernel_before(5, 11) && sys::lift_memlock_limit() => call(),
        result => result,
    }
}

/// A name as the kernel takes it: at most 15 of letters, digits, `_` and `.`.
pub(crate) fn kernel_name(name: &str) -> [u8; 16] {
    let mut out = [0; 16];
    let clean = name
        .trim_start_matches('@')
        .bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() || byte == b'.' { byte } else { b'_' });
    for (to, from) in out.iter_mut().take(15).zip(clean) {
        *to = from;
    }
    out
}

fn create_error(model: &object::Map, errno: Errno) -> Error {
    let type_name = type_name(model.map_type);
    let asked = format!("create {type_name} map '{}'", model.name);
    match errno.0 {
        libc::EPERM if sys::kernel_before(5, 11) && sys::is_root() => Error::system_hint(
            asked,
            errno,
            "before Linux 5.11 maps count as locked memory: raise RLIMIT_MEMLOCK (ulimit -l unlimited)",
        ),
        libc::EINVAL => Error::system_hint(
            asked,
            errno,
            format!(
                "this kernel has no such map, or not with a key of {} bytes, a value of {} bytes and {} entries",
                model.key_size, model.value_size, model.max_entries
            ),
        ),
        // `htab_map_alloc_check` in kernel/bpf/hashtab.c, 5.10.
        libc::E2BIG if model.key_size > MAX_OLD_KEY_BYTES => Error::system_hint(
            asked,
            errno,
            format!(
                "this kernel takes keys of at most {MAX_OLD_KEY_BYTES} bytes, this one has {}: use fewer or shorter parts, strings above all (config max_strlen)",
                model.key_size
            ),
        ),
        libc::E2BIG | libc::ENOMEM => Error::system_hint(
            asked,
            errno,
            format!(
                "{} entries of {} bytes are more than the kernel gives: make the map smaller",
                model.max_entries,
                model.key_size + model.value_size
            ),
        ),
        _ => Error::system(asked, errno),
    }
}

fn is_array(map_type: u32) -> bool {
    matches!(map_type, map_type::ARRAY | map_type::PERCPU_ARRAY)
}

/// Whether an entry has a value for each CPU.
fn is_per_cpu(map_type: u32) -> bool {
    matches!(
        map_type,
        map_type::PERCPU_HASH | map_type::PERCPU_ARRAY | map_type::LRU_PERCPU_HASH | map_type::PERCPU_CGROUP_STORAGE
    )
}

/// What people call the map types that we make.
fn type_name(number: u32) -> String {
    let name = match number {
        map_type::HASH => "hash",
        map_type::ARRAY => "array",
        map_type::PERF_EVENT_ARRAY => "perf event array",
        map_type::PERCPU_HASH => "per-CPU hash",
        map_type::PERCPU_ARRAY => "per-CPU array",
        map_type::STACK_TRACE => "stack trace",
        map_type::LRU_HASH => "LRU hash",
        map_type::LRU_PERCPU_HASH => "per-CPU LRU hash",
        map_type::RINGBUF => "ring buffer",
        other => return format!("type-{other}"),
    };
    name.to_owned()
}
