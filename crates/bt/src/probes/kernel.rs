//! Probes in the kernel: tracepoints, raw tracepoints, functions, iterators.

use btf::Kind;

use super::{Provider, Resolved, Resolver, SyscallSite, Target, Unresolved, glob, has_wildcard};
use crate::arch::Arch;
use crate::options::MissingProbes;
use crate::{Host, HostError, suggest, syscall_number};

/// What BTF puts before the name of a raw tracepoint's function type.
const RAW_TRACEPOINT_PREFIX: &str = "btf_trace_";
/// What BTF puts before the name of an iterator's context.
const ITER_PREFIX: &str = "bpf_iter__";

/// The function that a user most likely meant who asked for one that does not exist.
/// Reads the list of functions: for after the fact.
pub fn suggest_function(host: &dyn Host, function: &str) -> Option<String> {
    let known = host.kernel_functions(None, "*").unwrap_or_default();
    let near = suggest(function, known.iter().map(|(_, name)| name.as_str())).map(str::to_owned);
    near.or_else(|| {
        let btf = host.btf().ok()?;
        suggest(function, btf.functions().map(|function| function.name())).map(str::to_owned)
    })
}

impl Resolver<'_> {
    pub(super) fn tracepoint(&self) -> Resolved {
        let (category, name) = match self.parts() {
            [category, name] => (category.as_str(), name.as_str()),
            // `tracepoint:*foo*` in a listing.
            [name] if has_wildcard(name) => ("*", name.as_str()),
            _ => return Err(self.argument_count(Provider::Tracepoint, "2")),
        };
        if category.is_empty() || name.is_empty() {
            return Err(self.wrong("tracepoint probe must have a target"));
        }
        if has_wildcard(category) || has_wildcard(name) {
            let found = self.host.tracepoints(category, name).map_err(|error| self.host_error(error))?;
            return Ok(found.into_iter().map(|(category, name)| self.tracepoint_site(category, name)).collect());
        }
        let site = self.tracepoint_site(category.to_owned(), name.to_owned());
        let is_known_syscall = matches!(&site.target, Target::Tracepoint { syscall: Some(_), .. });
        if !is_known_syscall && let Err(error) = self.host.tracepoint_format(category, name) {
            // Either there is no such tracepoint, or tracepoints cannot be read at all.
            let events = self.host.tracepoints("*", "*").map_err(|_| self.host_error(error))?;
            return Err(self.missing_tracepoint(category, name, &events));
        }
        Ok(vec![site])
    }

    fn tracepoint_site(&self, category: String, name: String) -> super::ResolvedProbe {
        let syscall = if category == "syscalls" { syscall_site(&name) } else { None };
        let shown = format!("tracepoint:{category}:{name}");
        self.probe(Provider::Tracepoint, shown, Target::Tracepoint { category, name, syscall })
    }

    /// Looks for the event in its category, then anywhere, then for the category.
    fn missing_tracepoint(&self, category: &str, name: &str, events: &[(String, String)]) -> Unresolved {
        let what = format!("No matches for tracepoint {category}:{name}");
        let in_category = events.iter().filter(|(c, _)| c == category).map(|(_, n)| n.as_str());
        let near = suggest(name, in_category).map(|near| format!("{category}:{near}"));
        let elsewhere = || events.iter().find(|(_, n)| n == name).map(|(c, n)| format!("{c}:{n}"));
        let near_category = || {
            let near = suggest(category, events.iter().map(|(c, _)| c.as_str()))?;
            events.iter().find(|(c, n)| c == near && n == name).map(|(c, n)| format!("{c}:{n}"))
        };
        let near = near.or_else(elsewhere).or_else(near_category);
        Unresolved::Missing { what, hint: near.map(|near| format!("Did you mean tracepoint:{near}?")) }
    }

    pub(super) fn raw_tracepoint(&self) -> Resolved {
        let (module, name) = match self.parts() {
            [module, name] => (Some(module.as_str()), name.as_str()),
            [name] => (None, name.as_str()),
            _ => return Err(self.argument_count(Provider::RawTracepoint, "2 or 1")),
        };
        if name.is_empty() {
            return Err(self.wrong("rawtracepoint should be attached to a function"));
        }
        let wild = has_wildcard(name) || module.is_some_and(has_wildcard);
        let Ok(kernel) = self.host.btf() else {
            if wild {
                return Err(self.wrong_with_hint(
                    "wildcards for rawtracepoint need the kernel's BTF".to_owned(),
                    Some("write the names out, or use tracepoint".to_owned()),
                ));
            }
            // The kernel will know.
            return Ok(vec![self.raw_tracepoint_site(module.filter(|m| *m != "vmlinux"), name)]);
        };
        if !wild && module.is_none_or(|module| module == "vmlinux") {
            let typedef = format!("{RAW_TRACEPOINT_PREFIX}{name}");
            if kernel.find(&typedef, Kind::Typedef).is_some() {
                return Ok(vec![self.raw_tracepoint_site(None, name)]);
            }
        }
        let mut found = Vec::new();
        let mut known = Vec::new();
        let pattern_of_module = module.unwrap_or("*");
        for (place, btf) in self.kernel_and_modules(pattern_of_module) {
            let names = btf.own_types().filter(|ty| ty.kind == Kind::Typedef);
            for candidate in names.filter_map(|ty| ty.name().strip_prefix(RAW_TRACEPOINT_PREFIX)) {
                if glob(name, candidate) {
                    found.push((candidate.to_owned(), place.clone()));
                } else {
                    known.push(candidate);
                }
            }
        }
        if found.is_empty() && !wild {
            return Err(self.missing(Provider::RawTracepoint, name, name, known));
        }
        found.sort();
        found.dedup();
        Ok(found.iter().map(|(name, place)| self.raw_tracepoint_site(place.as_deref(), name)).collect())
    }

    fn raw_tracepoint_site(&self, module: Option<&str>, name: &str) -> super::ResolvedProbe {
        let shown = format!("rawtracepoint:{}:{name}", module.unwrap_or("vmlinux"));
        let target = Target::RawTracepoint { module: module.map(str::to_owned), name: name.to_owned() };
        self.probe(Provider::RawTracepoint, shown, target)
    }

    /// The types of the kernel (`None`) and of each module whose name matches.
    fn kernel_and_modules(&self, pattern: &str) -> Vec<(Option<String>, &btf::Btf<'_>)> {
        let mut all = Vec::new();
        if glob(pattern, "vmlinux")
            && let Ok(btf) = self.host.btf()
        {
            all.push((None, btf));
        }
        for module in self.host.btf_modules() {
            if glob(pattern, &module)
                && let Ok(btf) = self.host.module_btf(&module)
            {
                all.push((Some(module), btf));
            }
        }
        all
    }

    pub(super) fn kprobe(&self, provider: Provider) -> Resolved {
        let (module, text) = match self.parts() {
            [function] => (None, function.as_str()),
            [module, function] => (Some(module.as_str()), function.as_str()),
            _ => return Err(self.argument_count(provider, "1 or 2")),
        };
        if text.is_empty() {
            return Err(self.wrong("kprobes should be attached to a function or an address"));
        }
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let address = self.number(text, "Invalid address")?;
            if !self.options.unsafe_allowed {
                return Err(self.wrong("Probing by address requires --unsafe"));
            }
            let name = format!("{}:{address}", provider.name());
            return Ok(vec![self.probe(provider, name, Target::Address(address))]);
        }
        let (function, offset) = self.function_and_offset(text, provider == Provider::Kprobe)?;
        let wild = has_wildcard(function) || module.is_some_and(has_wildcard);
        if wild && offset != 0 {
            return Err(self.wrong("Cannot use wildcards with an offset"));
        }
        // What exists is asked for only where it matters before attaching.
        if !wild && self.options.config.missing_probes == MissingProbes::Error {
            let module = module.filter(|module| *module != "vmlinux").map(str::to_owned);
            return Ok(vec![self.function_site(provider, module, function.to_owned(), offset)]);
        }
        let found = self.traceable(module, function).map_err(|error| self.host_error(error))?;
        if found.is_empty() && !wild {
            return Err(self.missing(provider, function, function, []));
        }
        let sites = found.into_iter().map(|(module, function)| self.function_site(provider, module, function, offset));
        Ok(sites.collect())
    }

    /// Traceable functions that match, in modules that match; the kernel itself goes by the name `vmlinux`.
    fn traceable(&self, module: Option<&str>, function: &str) -> Result<Vec<(Option<String>, String)>, HostError> {
        match module {
            Some(module) if module == "vmlinux" || has_wildcard(module) => {
                let mut found = self.host.kernel_functions(None, function)?;
                found.retain(|(place, _)| glob(module, place.as_deref().unwrap_or("vmlinux")));
                Ok(found)
            }
            _ => self.host.kernel_functions(module, function),
        }
    }

    fn function_site(
        &self,
        provider: Provider,
        module: Option<String>,
        function: String,
        offset: u64,
    ) -> super::ResolvedProbe {
        let mut name = format!("{}:", provider.name());
        if let Some(module) = &module {
            name.push_str(module);
            name.push(':');
        }
        name.push_str(&function);
        if offset != 0 {
            name.push_str(&format!("+{offset}"));
        }
        self.probe(provider, name, Target::Function { module, function, offset })
    }

    pub(super) fn fentry(&self, provider: Provider) -> Resolved {
        let (module, function) = match self.parts() {
            [first, ..] if first == "bpf" => return Err(self.wrong("probes on BPF programs are not supported yet")),
            [function] => (None, function.as_str()),
            [module, function] => (Some(module.as_str()), function.as_str()),
            [_, _, _] => return Err(self.wrong("Only the 'bpf' variant of this probe supports 4 arguments")),
            _ => return Err(self.argument_count(provider, "1 or 3")),
        };
        if function.is_empty() {
            return Err(self.wrong("fentry/fexit should specify a function"));
        }
        let kernel = self.host.btf().map_err(|error| self.host_error(error))?;
        let wild = has_wildcard(function) || module.is_some_and(has_wildcard);
        if !wild && module.is_none_or(|module| module == "vmlinux") && kernel.find(function, Kind::Func).is_some() {
            return Ok(vec![self.trampoline_site(provider, None, function)]);
        }
        let mut found = Vec::new();
        for (place, btf) in self.kernel_and_modules(module.unwrap_or("*")) {
            let own = btf.own_types().filter(|ty| ty.kind == Kind::Func);
            for name in own.map(|ty| ty.name()).filter(|name| glob(function, name)) {
                found.push((name.to_owned(), place.clone()));
            }
        }
        found.sort();
        found.dedup();
        if !wild {
            return match &found[..] {
                [] => Err(self.missing(provider, function, function, kernel.functions().map(|f| f.name()))),
                [(name, place)] => Ok(vec![self.trampoline_site(provider, place.as_deref(), name)]),
                _ => Err(self.wrong(format!(
                    "ambiguous attach point, please specify module containing the function '{function}'"
                ))),
            };
        }
        // BTF also has functions that cannot be traced; where the kernel's list can be read, it decides.
        if let Ok(traceable) = self.traceable(module, function) {
            found.retain(|(name, _)| traceable.binary_search_by(|(_, known)| known.cmp(name)).is_ok());
        }
        Ok(found.iter().map(|(name, place)| self.trampoline_site(provider, place.as_deref(), name)).collect())
    }

    fn trampoline_site(&self, provider: Provider, module: Option<&str>, function: &str) -> super::ResolvedProbe {
        let name = format!("{}:{}:{function}", provider.name(), module.unwrap_or("vmlinux"));
        let target = Target::Function { module: module.map(str::to_owned), function: function.to_owned(), offset: 0 };
        self.probe(provider, name, target)
    }

    pub(super) fn iter(&self) -> Resolved {
        let (object, pin) = match self.parts() {
            [object] => (object, None),
            [object, pin] => (object, Some(pin.clone())),
            _ => return Err(self.wrong("iter probe type takes 2 arguments (1 optional)")),
        };
        if has_wildcard(object) || pin.as_deref().is_some_and(has_wildcard) {
            return Err(self.wrong("iter probe type does not support wildcards"));
        }
        let kernel = self.host.btf().map_err(|error| self.host_error(error))?;
        if kernel.find(&format!("{ITER_PREFIX}{object}"), Kind::Struct).is_none() {
            let known = kernel.types().filter(|ty| ty.kind == Kind::Struct);
            let near = suggest(object, known.filter_map(|ty| ty.name().strip_prefix(ITER_PREFIX)));
            return Err(self.wrong_with_hint(
                format!("iter {object} not available for your kernel version."),
                near.map(|near| format!("Did you mean iter:{near}?")),
            ));
        }
        let name = format!("iter:{object}");
        Ok(vec![self.probe(Provider::Iter, name, Target::Iter { object: object.clone(), pin })])
    }
}

/// The system call that a tracepoint of the category `syscalls` is about.
fn syscall_site(name: &str) -> Option<SyscallSite> {
    let (call, exit) = match name.strip_prefix("sys_enter_") {
        Some(call) => (call, false),
        None => (name.strip_prefix("sys_exit_")?, true),
    };
    Some(SyscallSite { number: syscall_number(Arch::native(), call)?, exit })
}
