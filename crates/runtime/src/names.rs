//! Ids → names on the live machine: the [`Resolve`] that sessions use.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use kernel::{Map, clock};
use object::plan::{Clock, OVERFLOWED_STACK, Stack, StackMode};
use view::{Frame, StackStyle, StackTrace};

use crate::decode::{Resolve, u64_at};
use crate::symbols::Symbols;

/// Looks names up on the machine, each when it is first asked for.
pub struct LiveNames<'a> {
    stacks: Option<&'a Map>,
    stack_overflow: Option<&'a Map>,
    symbols: Symbols,
    users: Option<HashMap<u64, String>>,
    cgroups: HashMap<u64, String>,
    /// Nanoseconds to add to a clock to get Unix time.
    clock_offsets: HashMap<u8, i128>,
}

impl<'a> LiveNames<'a> {
    /// `stacks` and `stack_overflow`: the maps that stack ids are of.
    pub fn new(stacks: Option<&'a Map>, stack_overflow: Option<&'a Map>) -> LiveNames<'a> {
        LiveNames {
            stacks,
            stack_overflow,
            symbols: Symbols::default(),
            users: None,
            cgroups: HashMap::new(),
            clock_offsets: HashMap::new(),
        }
    }

    /// Takes down what a process has mapped, for when it is gone.
    pub fn look_at_process(&mut self, pid: u32) {
        self.symbols.look_at_process(pid);
    }

    fn addresses(&self, id: i64, limit: u32) -> Vec<u64> {
        let found = match u32::try_from(id) {
            Ok(id) => self.stacks.map(|map| map.lookup(&id.to_ne_bytes())),
            Err(_) if id >= OVERFLOWED_STACK => self.stack_overflow.map(|map| map.lookup(&id.to_ne_bytes())),
            Err(_) => None,
        };
        let Some(Ok(Some(bytes))) = found else { return Vec::new() };
        let addresses = bytes.chunks_exact(8).map(|chunk| u64_at(chunk, 0));
        addresses.take_while(|address| *address != 0).take(limit as usize).collect()
    }

    /// What to add to nanoseconds of a clock to get nanoseconds since 1970.
    fn offset_to_unix(&mut self, clock: Clock) -> i128 {
        let tag = match clock {
            Clock::Boot => 0,
            Clock::Monotonic => 1,
            // TAI runs ahead of Unix time by leap seconds, which the kernel knows.
            Clock::Tai => 2,
        };
        *self.clock_offsets.entry(tag).or_insert_with(|| {
            let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i128);
            let now = match clock {
                Clock::Boot => clock::boot_ns(),
                Clock::Monotonic => clock::monotonic_ns(),
                Clock::Tai => clock::tai_ns(),
            };
            unix - i128::from(now)
        })
    }
}

fn style(mode: StackMode) -> StackStyle {
    match mode {
        StackMode::Bpftrace => StackStyle::Bpftrace,
        StackMode::Perf => StackStyle::Perf,
        StackMode::Raw => StackStyle::Raw,
        StackMode::BuildId => StackStyle::BuildId,
    }
}

fn raw_frames(addresses: &[u64]) -> Vec<Frame> {
    addresses.iter().map(|&address| Frame { address, symbol: None, offset: 0, module: None }).collect()
}

fn symbol_or_address(frame: Frame) -> String {
    frame.symbol.unwrap_or_else(|| format!("{:#x}", frame.address))
}

impl Resolve for LiveNames<'_> {
    fn kernel_symbol(&mut self, address: u64) -> String {
        symbol_or_address(self.symbols.kernel_frame(address))
    }

    fn user_symbol(&mut self, pid: u32, address: u64) -> String {
        let mut frames = self.symbols.user_frames(pid, &[address]);
        frames.pop().map(symbol_or_address).unwrap_or_default()
    }

    fn stack(&mut self, id: i64, limit: u32) -> Vec<u64> {
        self.addresses(id, limit)
    }

    fn kernel_stack(&mut self, id: i64, stack: Stack) -> StackTrace {
        let addresses = self.addresses(id, stack.limit);
        let frames = match stack.mode {
            StackMode::Raw => raw_frames(&addresses),
            _ => addresses.iter().map(|&address| self.symbols.kernel_frame(address)).collect(),
        };
        StackTrace { style: style(stack.mode), frames }
    }

    fn user_stack(&mut self, id: i64, pid: u32, stack: Stack) -> StackTrace {
        let addresses = self.addresses(id, stack.limit);
        let frames = match stack.mode {
            StackMode::Raw => raw_frames(&addresses),
            _ => self.symbols.user_frames(pid, &addresses),
        };
        StackTrace { style: style(stack.mode), frames }
    }

    fn user_name(&mut self, uid: u64) -> String {
        let users = self.users.get_or_insert_with(|| parse_users(&fs::read("/etc/passwd").unwrap_or_default()));
        users.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
    }

    fn cgroup_path(&mut self, id: u64) -> String {
        if let Some(path) = self.cgroups.get(&id) {
            return path.clone();
        }
        let path = find_cgroup(id);
        // One that is not there now is looked for again: it may be new.
        if !path.is_empty() {
            self.cgroups.insert(id, path.clone());
        }
        path
    }

    fn time(&mut self, format: &str, clock: Clock, nanoseconds: u64) -> String {
        let unix_ns = i128::from(nanoseconds) + self.offset_to_unix(clock);
        clock::format_local(i64::try_from(unix_ns).unwrap_or(0), format)
    }
}

/// User names by id, from text like that of `/etc/passwd`.
fn parse_users(text: &[u8]) -> HashMap<u64, String> {
    let mut users = HashMap::new();
    for line in text.split(|&b| b == b'\n') {
        let mut fields = line.split(|&b| b == b':');
        let (Some(name), Some(_), Some(uid)) = (fields.next(), fields.next(), fields.next()) else { continue };
        if let Some(uid) = str::from_utf8(uid).ok().and_then(|uid| uid.parse().ok()) {
            // As getpwuid(3): the first line with an id counts.
            users.entry(uid).or_insert_with(|| String::from_utf8_lossy(name).into_owned());
        }
    }
    users
}

/// `unified:/path` of the cgroup whose directory has this inode number, which is what cgroup ids
/// are (`kernfs_node_id`, `include/linux/kernfs.h`); empty if there is none.
fn find_cgroup(id: u64) -> String {
    let Some(root) = kernel::sysinfo::cgroup2_mount() else { return String::new() };
    match find_directory(&root, id) {
        Some(path) => format!("unified:/{}", path.strip_prefix(&root).unwrap_or(&path).display()),
        None => String::new(),
    }
}

/// The directory at or below `root` with this inode number.
fn find_directory(root: &Path, inode: u64) -> Option<PathBuf> {
    if fs::metadata(root).ok()?.ino() == inode {
        return Some(root.to_path_buf());
    }
    let mut open = vec![root.to_path_buf()];
    while let Some(directory) = open.pop() {
        let Ok(children) = fs::read_dir(&directory) else { continue };
        for child in children.flatten().filter(|c| c.file_type().is_ok_and(|t| t.is_dir())) {
            if child.ino() == inode {
                return Some(child.path());
            }
            open.push(child.path());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_by_id() {
        let users =
            parse_users(b"root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\nbad line\nx:y\na:x:1000:1::/:\n\xff:x:z:\n");
        assert_eq!(users.get(&0).map(String::as_str), Some("root"));
        assert_eq!(users.get(&1000).map(String::as_str), Some("a"));
        assert_eq!(users.len(), 2);
    }

    #[test]
    fn directories_by_inode() {
        let root = std::env::temp_dir();
        let inode = fs::metadata(&root).unwrap().ino();
        assert_eq!(find_directory(&root, inode), Some(root.clone()));
        assert_eq!(find_directory(Path::new("/nonexistent"), 1), None);
    }
}
