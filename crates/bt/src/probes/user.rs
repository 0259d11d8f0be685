//! Probes in binaries: `uprobe`, `uretprobe`, `usdt`.

use std::path::{Path, PathBuf};

use super::{Provider, Resolved, ResolvedProbe, Resolver, Target, Unresolved, has_wildcard};
use crate::suggest;

impl Resolver<'_> {
    /// `[path:][cpp:]function[+offset]`, `path:address`.
    pub(super) fn uprobe(&self, provider: Provider) -> Resolved {
        let pid = self.options.pid;
        let (target, symbol) = match self.parts() {
            [target, ..] if target.contains('@') => {
                return Err(self.wrong("attaching to a source line needs debug information, which is not read yet"));
            }
            [symbol] if pid.is_some() => (None, symbol),
            [language, symbol] if pid.is_some() && language == "cpp" => (None, symbol),
            [target, symbol] => (Some(target.as_str()), symbol),
            [target, language, symbol] if language == "cpp" => (Some(target.as_str()), symbol),
            [_, language, _] => return Err(self.wrong(format!("unsupported language type: {language}"))),
            _ => return Err(self.argument_count(provider, "2 or 3")),
        };
        if target.is_some_and(str::is_empty) {
            return Err(self.wrong(format!("{} should have a target", provider.name())));
        }
        let paths = match (target, pid) {
            (Some("*"), Some(pid)) => self.mapped(pid)?,
            (None, Some(pid)) => vec![self.executable(pid)?],
            (Some(target), _) => vec![self.binary(provider, target)?],
            (None, None) => return Err(self.argument_count(provider, "2 or 3")),
        };
        let mut found = Vec::new();
        for path in &paths {
            found.extend(self.places(provider, path, symbol)?);
        }
        // A symbol that is written out must be in one of the binaries.
        if found.is_empty() && !has_wildcard(symbol) {
            return Err(self.missing_symbol(provider, &paths, symbol));
        }
        Ok(found)
    }

    /// The places in one binary.
    fn places(&self, provider: Provider, path: &Path, text: &str) -> Resolved {
        let shown = path.display();
        let kind = provider.name();
        if text.is_empty() {
            return Err(self.wrong(format!("{kind} should be attached to a function and/or address")));
        }
        let site = |symbol: Option<String>, name: String, offset: u64| {
            let target = Target::User { path: shown.to_string(), symbol, offset };
            self.probe(provider, name, target)
        };
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let address = self.number(text, "Invalid address")?;
            let offset = self.host.file_offset(path, address).map_err(|error| self.host_error(error))?;
            return Ok(vec![site(None, format!("{kind}:{shown}:{address}"), offset)]);
        }
        let (pattern, offset) = self.symbol_and_offset(provider, text)?;
        let symbols = self.host.user_symbols(path, pattern).map_err(|error| self.host_error(error))?;
        // A symbol that does not say its size may have any.
        if let Some(short) = symbols.iter().find(|symbol| symbol.size > 0 && offset >= symbol.size)
            && offset > 0
        {
            let (name, size) = (&short.name, short.size);
            return Err(self.wrong(format!("Offset outside the function bounds ('{name}' size is {size})")));
        }
        let mut sites: Vec<ResolvedProbe> = symbols
            .into_iter()
            .map(|symbol| {
                let plus = if offset == 0 { String::new() } else { format!("+{offset}") };
                let name = format!("{kind}:{shown}:{}{plus}", symbol.name);
                site(Some(symbol.name), name, symbol.offset.wrapping_add(offset))
            })
            .collect();
        // Of functions of one name (local ones) the first counts, as for the dynamic linker.
        sites.dedup_by(|later, first| later.name == first.name);
        Ok(sites)
    }

    /// A C++ name may hold `+` itself (`operator+`): only a number after it makes an offset.
    fn symbol_and_offset<'t>(&self, provider: Provider, text: &'t str) -> Result<(&'t str, u64), Unresolved> {
        match text.rsplit_once('+') {
            Some((_, offset)) if offset.starts_with(|c: char| c.is_ascii_digit()) => {
                if provider == Provider::Uretprobe {
                    return Err(self.wrong("uretprobes can not be attached to a function offset"));
                }
                self.function_and_offset(text, true)
            }
            _ => Ok((text, 0)),
        }
    }

    fn missing_symbol(&self, provider: Provider, paths: &[PathBuf], symbol: &str) -> Unresolved {
        let (name, _) = symbol.split_once('+').unwrap_or((symbol, ""));
        let [path] = paths else { return self.missing(provider, symbol, name, []) };
        let known = self.host.user_symbols(path, "*").unwrap_or_default();
        let what = format!("{}:{symbol}", path.display());
        self.missing(provider, &what, name, known.iter().map(|symbol| symbol.name.as_str()))
    }

    /// `[path:][namespace:]probe`.
    pub(super) fn usdt(&self) -> Resolved {
        let pid = self.options.pid;
        let (target, namespace, name) = match self.parts() {
            [name] if pid.is_some() => ("", "*", name),
            [target, name] => (target.as_str(), "*", name),
            [target, namespace, name] => (target.as_str(), if namespace.is_empty() { "*" } else { namespace }, name),
            _ => return Err(self.argument_count(Provider::Usdt, "2 or 3")),
        };
        if name.is_empty() {
            return Err(self.wrong("usdt probe must have a target function or wildcard"));
        }
        let paths = match (target, pid) {
            ("" | "*", Some(pid)) => self.mapped(pid)?,
            ("", None) => {
                return Err(self.wrong("usdt probe must specify at least path or pid to probe."));
            }
            ("*", None) => {
                return Err(self.wrong_with_hint(
                    "usdt probes of all binaries need a process".to_owned(),
                    Some("say which with -p PID, or name the binary".to_owned()),
                ));
            }
            (target, _) => vec![self.binary(Provider::Usdt, target)?],
        };
        let mut found = Vec::new();
        for path in &paths {
            // Files that a process has mapped need not be readable, or ELF.
            let sites = match self.host.usdt_probes(path, namespace, name) {
                Ok(sites) => sites,
                Err(_) if paths.len() > 1 => continue,
                Err(error) => return Err(self.host_error(error)),
            };
            found.extend(sites.into_iter().map(|site| {
                let shown = format!("usdt:{}:{}:{}", path.display(), site.provider, site.name);
                self.probe(Provider::Usdt, shown, Target::Usdt(site))
            }));
        }
        if found.is_empty() && !has_wildcard(name) {
            return Err(self.missing_usdt(&paths, name));
        }
        Ok(found)
    }

    fn missing_usdt(&self, paths: &[PathBuf], name: &str) -> Unresolved {
        let known: Vec<String> = paths
            .iter()
            .filter_map(|path| self.host.usdt_probes(path, "*", "*").ok())
            .flatten()
            .map(|site| site.name)
            .collect();
        let what = match paths {
            [path] => format!("{}:{name}", path.display()),
            _ => name.to_owned(),
        };
        let hint = match suggest(name, known.iter().map(String::as_str)) {
            Some(near) => Some(format!("Did you mean {near}?")),
            None if known.is_empty() && paths.len() == 1 => Some("the binary has no USDT probes".to_owned()),
            None => None,
        };
        Unresolved::Missing { what: format!("No matches for usdt {what}"), hint }
    }

    fn binary(&self, provider: Provider, target: &str) -> Result<PathBuf, Unresolved> {
        if has_wildcard(target) {
            let message = format!("wildcards in the path of a {} probe are not supported", provider.name());
            return Err(self.wrong(message));
        }
        self.host.binary(target).map_err(|error| {
            let message = format!("{} target file '{target}' does not exist or is not executable", provider.name());
            self.wrong_with_hint(message, error.hint)
        })
    }

    fn mapped(&self, pid: u32) -> Result<Vec<PathBuf>, Unresolved> {
        self.host.process_binaries(pid).map_err(|error| self.host_error(error))
    }

    /// The program that a process runs: the first file it has mapped.
    fn executable(&self, pid: u32) -> Result<PathBuf, Unresolved> {
        let first = self.mapped(pid)?.into_iter().next();
        first.ok_or_else(|| self.wrong(format!("process {pid} has no executable file mapped")))
    }
}
