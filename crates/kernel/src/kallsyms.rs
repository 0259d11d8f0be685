//! Kernel symbols from `/proc/kallsyms`, read as a stream and only when asked:
//! the kernel takes 40 ms to write out its hundred thousand lines.

use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;

use crate::error::Error;
use crate::glob::Glob;

const PATH: &str = "/proc/kallsyms";

/// A line of kallsyms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'l> {
    /// 0 if the kernel hides addresses from us.
    pub address: u64,
    /// As nm(1) has it: `t` and `T` text, `d`, `D`, `b`, `B`, `r`, `R` data, `w`, `W` weak; upper case is global.
    pub kind: u8,
    pub name: &'l str,
    /// `None`: the kernel itself.
    pub module: Option<&'l str>,
}

impl Symbol<'_> {
    /// Whether this is code.
    pub fn is_text(&self) -> bool {
        matches!(self.kind, b't' | b'T' | b'w' | b'W')
    }
}

/// The address of a symbol; the first if several have the name. `None`: no such symbol.
///
/// # Errors
/// If the file can't be read, or hides addresses (`kernel.kptr_restrict`).
pub fn address(name: &str) -> Result<Option<u64>, Error> {
    let mut found = None;
    scan(open()?, |symbol| {
        if symbol.name == name {
            found = Some(symbol.address);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    match found {
        Some(0) => Err(Error::Refused {
            asked: format!("find the address of {name} in {PATH}"),
            reason: "the kernel hides its addresses".into(),
            hint: Some("run as root with kernel.kptr_restrict below 2".into()),
        }),
        found => Ok(found),
    }
}

/// Names of functions that match, with their modules, sorted, each once. With a
/// module: only its functions (`vmlinux`: the kernel's own).
pub fn functions(module: Option<&str>, pattern: &Glob<'_>) -> Result<Vec<(Option<String>, String)>, Error> {
    let mut found = Vec::new();
    scan(open()?, |symbol| {
        let in_module = module.is_none_or(|wanted| wanted == symbol.module.unwrap_or("vmlinux"));
        if in_module && symbol.is_text() && pattern.matches(symbol.name) {
            found.push((symbol.module.map(str::to_owned), symbol.name.to_owned()));
        }
        ControlFlow::Continue(())
    })?;
    found.sort();
    found.dedup();
    Ok(found)
}

fn open() -> Result<File, Error> {
    File::open(PATH).map_err(|error| Error::io(format!("read {PATH}"), &error))
}

/// Calls `each` for every line until it breaks. Lines of another form are passed over.
pub fn scan(mut source: impl Read, mut each: impl FnMut(Symbol<'_>) -> ControlFlow<()>) -> Result<(), Error> {
    let mut buffer = vec![0_u8; 64 * 1024];
    // Bytes of an unfinished line at the buffer's start.
    let mut kept = 0;
    loop {
        let read = source.read(&mut buffer[kept..]).map_err(|error| Error::io(format!("read {PATH}"), &error))?;
        let filled = kept + read;
        let complete = match memchr::memrchr(b'\n', &buffer[..filled]) {
            Some(newline) => newline + 1,
            // The last line of all, or one that does not end: no symbol is that long.
            None if read == 0 || filled == buffer.len() => filled,
            None => {
                kept = filled;
                continue;
            }
        };
        for line in buffer[..complete].split(|byte| *byte == b'\n') {
            if let Some(symbol) = parse(line)
                && each(symbol).is_break()
            {
                return Ok(());
            }
        }
        if read == 0 {
            return Ok(());
        }
        buffer.copy_within(complete..filled, 0);
        kept = filled - complete;
    }
}

/// `ffffffff81000000 T name`, then for modules a tab and `[module]`.
fn parse(line: &[u8]) -> Option<Symbol<'_>> {
    let line = std::str::from_utf8(line).ok()?;
    let (address, rest) = line.split_once(' ')?;
    let address = u64::from_str_radix(address, 16).ok()?;
    let (kind, rest) = rest.split_once(' ')?;
    let (name, module) = match rest.split_once('\t') {
        Some((name, module)) => (name, Some(module.strip_prefix('[')?.strip_suffix(']')?)),
        None => (rest, None),
    };
    let &[kind] = kind.as_bytes() else { return None };
    (!name.is_empty()).then_some(Symbol { address, kind, name, module })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!("../tests/data/kallsyms.txt");

    /// A source that gives few bytes at a time.
    struct Slow<'t>(&'t [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.1.min(buffer.len()).min(self.0.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn names(source: impl Read) -> Vec<String> {
        let mut names = Vec::new();
        scan(source, |symbol| {
            names.push(format!("{}:{:x}:{}", symbol.module.unwrap_or("vmlinux"), symbol.address, symbol.name));
            ControlFlow::Continue(())
        })
        .expect("readable");
        names
    }

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let all = names(TEXT.as_bytes());
        assert_eq!(all.len(), TEXT.lines().count());
        assert_eq!(all.first().map(String::as_str), Some("vmlinux:ffffffff81000000:_text"));
        assert_eq!(all.last().map(String::as_str), Some("nf_tables:ffffffffc0401230:nft_do_chain"));
        for step in [1, 2, 7, 61, 4096] {
            assert_eq!(names(Slow(TEXT.as_bytes(), step)), all, "{step} bytes at a time");
        }
    }

    #[test]
    fn damaged_lines_are_passed_over() {
        let text = "\nx y\nffffffff81000000 T\nffffffff81000000 T \n\u{0} \u{0} \u{0}\n10 t a\tb\n10 TT a\n10 t last";
        assert_eq!(names(text.as_bytes()), ["vmlinux:10:last"]);
        let long = "1 t ".to_owned() + &"x".repeat(200_000) + "\n2 t after\n";
        assert_eq!(names(long.as_bytes()).last().map(String::as_str), Some("vmlinux:2:after"));
    }

    #[test]
    fn the_running_kernel_has_symbols() {
        match address("schedule") {
            Ok(address) => assert!(address.is_some_and(|address| address > 1 << 63)),
            Err(error) => println!("skipped: {error}"),
        }
        assert!(!matches!(address("no such symbol"), Ok(Some(_))));
    }
}
