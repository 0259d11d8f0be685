//! Addresses → symbols, when one is to be shown and not before.
//!
//! The kernel's symbols are read once from `/proc/kallsyms` into a compact table
//! (some 40 ms, of which nearly all is the kernel's, and 7 MB for 200,000 symbols; a
//! general symboliser needs four times as much because it keeps each name apart). User
//! addresses go through `blazesym`, which reads the ELF files that a process has mapped.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;

use blazesym::Pid;
use blazesym::symbolize::source::{Elf, Process, Source};
use blazesym::symbolize::{Input, Symbolized, Symbolizer};
use kernel::kallsyms;
use view::Frame;

use crate::mappings::Mappings;

/// Symbols of the kernel and of processes, kept by address.
#[derive(Default)]
pub struct Symbols {
    kernel: Option<KernelSymbols>,
    user: Option<Symbolizer>,
    user_frames: HashMap<(u32, u64), Frame>,
    mappings: Mappings,
}

/// At most so many user frames are kept; then all are forgotten.
const MOST_FRAMES: usize = 100_000;

impl Symbols {
    /// The frame of a kernel address.
    pub fn kernel_frame(&mut self, address: u64) -> Frame {
        let table = self.kernel.get_or_insert_with(KernelSymbols::read);
        match table.find(address) {
            Some((symbol, start)) => {
                Frame { address, symbol: Some(symbol.to_string()), offset: address - start, module: None }
            }
            None => Frame { address, symbol: None, offset: 0, module: None },
        }
    }

    /// Takes down what a process has mapped, for when it is gone.
    pub fn look_at_process(&mut self, pid: u32) {
        self.mappings.look(pid);
    }

    /// The frames of addresses in a process. If it is gone they have symbols as far as it was seen what it had
    /// mapped.
    pub fn user_frames(&mut self, pid: u32, addresses: &[u64]) -> Vec<Frame> {
        let unknown: Vec<u64> =
            addresses.iter().copied().filter(|a| !self.user_frames.contains_key(&(pid, *a))).collect();
        if self.user_frames.len() > MOST_FRAMES {
            self.user_frames.clear();
        }
        if !unknown.is_empty() {
            let symbolizer = self
                .user
                .get_or_insert_with(|| Symbolizer::builder().enable_code_info(false).enable_inlined_fns(false).build());
            let source = Source::Process(Process::new(Pid::from(pid)));
            let found = symbolizer.symbolize(&source, Input::AbsAddr(&unknown));
            if found.is_ok() && !self.mappings.know(pid) {
                self.mappings.look(pid);
            }
            for (i, &address) in unknown.iter().enumerate() {
                let symbolized = found.as_ref().ok().and_then(|found| found.get(i));
                let frame = match symbolized {
                    Some(Symbolized::Sym(_)) => user_frame(address, symbolized),
                    _ => self.mappings.find(pid, address).map_or_else(
                        || user_frame(address, symbolized),
                        |(file, offset)| {
                            let source = Source::Elf(Elf::new(file));
                            let found = symbolizer.symbolize_single(&source, Input::FileOffset(offset));
                            user_frame(address, found.as_ref().ok())
                        },
                    ),
                };
                self.user_frames.insert((pid, address), frame);
            }
        }
        let unresolved = |address| user_frame(address, None);
        addresses.iter().map(|a| self.user_frames.get(&(pid, *a)).cloned().unwrap_or(unresolved(*a))).collect()
    }
}

fn user_frame(address: u64, symbolized: Option<&Symbolized<'_>>) -> Frame {
    match symbolized {
        Some(Symbolized::Sym(symbol)) => Frame {
            address,
            symbol: Some(symbol.name.to_string()),
            offset: symbol.offset as u64,
            module: symbol.module.as_ref().map(|module| module.to_string_lossy().into_owned()),
        },
        _ => Frame { address, symbol: None, offset: 0, module: Some("[unknown]".to_string()) },
    }
}

/// All symbols of the kernel, by address.
struct KernelSymbols {
    /// (address, where the name starts in `names`), ascending.
    starts: Vec<(u64, u32)>,
    /// Names, each ended by a newline.
    names: String,
}

impl KernelSymbols {
    /// Reads the table; empty if the kernel hides addresses from us.
    fn read() -> KernelSymbols {
        match File::open("/proc/kallsyms") {
            Ok(file) => KernelSymbols::from(file),
            Err(_) => KernelSymbols::from(io::empty()),
        }
    }

    /// Takes the symbols from text as kallsyms has it.
    fn from(source: impl Read) -> KernelSymbols {
        let mut table = KernelSymbols { starts: Vec::new(), names: String::new() };
        // A file that stops being readable half-way gives what it gave so far.
        let _ = kallsyms::scan(source, |symbol| {
            // Absolute symbols are offsets in per-CPU areas, not addresses.
            if symbol.address != 0
                && !matches!(symbol.kind, b'a' | b'A')
                && let Ok(at) = u32::try_from(table.names.len())
            {
                table.starts.push((symbol.address, at));
                table.names.push_str(symbol.name);
                table.names.push('\n');
            }
            ControlFlow::Continue(())
        });
        // Stable: of several names of an address the first is taken.
        table.starts.sort_by_key(|(address, _)| *address);
        table.starts.dedup_by_key(|(address, _)| *address);
        table
    }

    /// The symbol with the greatest address not above this one, and that address.
    fn find(&self, address: u64) -> Option<(&str, u64)> {
        let after = self.starts.partition_point(|(start, _)| *start <= address);
        let (start, at) = *self.starts.get(after.checked_sub(1)?)?;
        // Below the last symbol of an area and far above it is not inside it.
        if address - start > FARTHEST {
            return None;
        }
        let name = self.names.get(at as usize..)?.split('\n').next()?;
        Some((name, start))
    }
}

/// No function of the kernel is larger than this many bytes.
const FARTHEST: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"0000000000000000 A fixed_percpu_data\n\
        ffffffff81000000 T _stext\n\
        ffffffff81000000 T startup_64\n\
        ffffffff81000100 t do_one_thing\n\
        not a line\n\
        ffffffffc0001000 t mod_fn\t[module]\n\
        ffffffff81000080 W weak_thing\n";

    #[test]
    fn nearest_symbol_below() {
        let table = KernelSymbols::from(TEXT);
        assert_eq!(table.find(0xffff_ffff_8100_0000), Some(("_stext", 0xffff_ffff_8100_0000)));
        assert_eq!(table.find(0xffff_ffff_8100_00ff), Some(("weak_thing", 0xffff_ffff_8100_0080)));
        assert_eq!(table.find(0xffff_ffff_8100_0105), Some(("do_one_thing", 0xffff_ffff_8100_0100)));
        assert_eq!(table.find(0xffff_ffff_c000_1001), Some(("mod_fn", 0xffff_ffff_c000_1000)));
        assert_eq!(table.find(0x1234), None);
        assert_eq!(table.find(u64::MAX), None);
    }

    #[test]
    fn hidden_addresses_resolve_to_nothing() {
        let table = KernelSymbols::from(&b"0000000000000000 T vfs_read\n0000000000000000 T vfs_write\n"[..]);
        assert_eq!(table.find(0xffff_ffff_8100_0000), None);
        assert_eq!(KernelSymbols::from(io::empty()).find(0), None);
    }

    #[test]
    fn a_process_that_is_gone_has_no_symbols() {
        let frames = Symbols::default().user_frames(u32::MAX - 7, &[0x1234]);
        assert_eq!(frames.len(), 1);
        assert_eq!((frames[0].address, &frames[0].symbol), (0x1234, &None));
    }
}
