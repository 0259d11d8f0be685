//! Kernel functions that kprobes and fentry can be asked to trace.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};

use btf::{Btf, Kind};

use crate::error::Error;
use crate::glob::Glob;
use crate::kallsyms;
use crate::tracefs::{Tracefs, kprobe_blacklist};

/// A function and its module; `None`: the kernel itself.
pub type Function = (Option<String>, String);

/// Traceable functions that match, sorted, each once.
///
/// A plain name is looked up in the kernel's types first, which takes 0.1 ms; if it is not there
/// (a module's function, one without types), in kallsyms. A wildcard takes the kernel's own list,
/// `available_filter_functions`; where that is missing or unreadable, the functions
/// that both the types and kallsyms have. What kprobes refuse is left out of a wildcard.
pub fn traceable(
    tracefs: Option<&Tracefs>,
    types: Option<&Btf<'_>>,
    module: Option<&str>,
    pattern: &str,
) -> Result<Vec<Function>, Error> {
    let glob = Glob::new(pattern);
    if glob.is_literal() {
        let in_kernel = module.is_none_or(|module| module == "vmlinux");
        if in_kernel && types.is_some_and(|types| types.find(pattern, Kind::Func).is_some()) {
            return Ok(vec![(None, pattern.to_owned())]);
        }
        return kallsyms::functions(module, &glob);
    }
    let mut found = match tracefs.map(Tracefs::available_filter_functions) {
        Some(Ok(file)) => filter_functions(file, module, &glob)?,
        Some(Err(_)) | None => typed_functions(types, module, &glob)?,
    };
    let blacklist = kprobe_blacklist();
    found.retain(|(_, name)| blacklist.binary_search(name).is_err());
    found.sort();
    found.dedup();
    Ok(found)
}

/// The functions of `available_filter_functions` that match.
fn filter_functions(source: impl Read, module: Option<&str>, glob: &Glob<'_>) -> Result<Vec<Function>, Error> {
    let mut source = BufReader::with_capacity(64 * 1024, source);
    let mut line = Vec::new();
    let mut found = Vec::new();
    loop {
        line.clear();
        let read = source
            .read_until(b'\n', &mut line)
            .map_err(|error| Error::io("read tracefs' available_filter_functions", &error))?;
        if read == 0 {
            return Ok(found);
        }
        let Some((of, name)) = std::str::from_utf8(&line).ok().and_then(parse_filter_function) else { continue };
        if glob.matches(name) && module.is_none_or(|wanted| wanted == of.unwrap_or("vmlinux")) {
            found.push((of.map(str::to_owned), name.to_owned()));
        }
    }
}

/// `name` or `name [module]`. Places whose function is unknown are called
/// `__ftrace_invalid_address___NUMBER` (Linux 5.19): none.
fn parse_filter_function(line: &str) -> Option<(Option<&str>, &str)> {
    let line = line.trim_end();
    let (name, module) = match line.split_once(' ') {
        Some((name, module)) => (name, Some(module.strip_prefix('[')?.strip_suffix(']')?)),
        None => (line, None),
    };
    (!name.is_empty() && !name.starts_with("__ftrace_invalid_address___")).then_some((module, name))
}

/// Functions of kallsyms that the types have too: those are no assembler
/// labels, and their arguments are known.
fn typed_functions(types: Option<&Btf<'_>>, module: Option<&str>, glob: &Glob<'_>) -> Result<Vec<Function>, Error> {
    let mut found = kallsyms::functions(module, glob)?;
    if let Some(types) = types {
        let typed: HashSet<&str> = types.functions().map(|function| function.name()).collect();
        // Types of modules are elsewhere; their symbols stay as they are.
        found.retain(|(module, name)| module.is_some() || typed.contains(name.as_str()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_list_is_read_line_by_line() {
        let text = include_bytes!("../tests/data/available_filter_functions.txt");
        let all = |module, pattern| filter_functions(&text[..], module, &Glob::new(pattern)).expect("readable");
        assert_eq!(all(None, "*").len(), 5);
        assert_eq!(all(None, "vfs_*"), [(None, "vfs_read".to_owned()), (None, "vfs_write".to_owned())]);
        assert_eq!(all(Some("nf_tables"), "*"), [(Some("nf_tables".to_owned()), "nft_do_chain".to_owned())]);
        assert_eq!(all(Some("vmlinux"), "*").len(), 4);
    }

    #[test]
    fn this_kernels_functions() {
        let tracefs = Tracefs::open().ok();
        let bytes = crate::kernel_types::vmlinux().ok();
        let types = bytes.and_then(|bytes| Btf::parse(bytes).ok());
        let find = |pattern| traceable(tracefs.as_ref(), types.as_ref(), None, pattern).expect("readable");
        assert_eq!(find("vfs_read"), [(None, "vfs_read".to_owned())]);
        assert_eq!(find("no_such_function_at_all"), []);
        let many = find("vfs_re*");
        assert!(many.is_sorted() && many.contains(&(None, "vfs_read".to_owned())), "{many:?}");
    }
}
