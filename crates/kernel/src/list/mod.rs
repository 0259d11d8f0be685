//! What there is to trace on this machine: the answer to `skep list`.

mod definition;
mod kinds;

use btf::Btf;

use crate::elf_symbols::Binary;
use crate::error::Error;
use crate::glob::{Glob, has_wildcard};
use crate::tracefs::Tracefs;
use crate::{functions, process, resolve, usdt};

pub use definition::{definitions, is_about_types};
use kinds::{HARDWARE_EVENTS, INTERVAL_UNITS, Kind, PROFILE_UNITS, SOFTWARE_EVENTS};

/// A probe that a script can use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedProbe {
    /// As a script writes it: `tracepoint:sched:sched_switch`. Where a script
    /// has to add a number, the name ends with a colon: `software:page-faults:`.
    pub name: String,
    /// What the probe's program is given, as C declarations: `char prev_comm[16]`, `struct file * file`. Only
    /// if asked for, and only where the kernel describes it.
    pub arguments: Vec<String>,
}

/// Where answers come from.
#[derive(Clone, Copy)]
pub struct Sources<'s> {
    pub tracefs: Option<&'s Tracefs>,
    /// The kernel's types.
    pub types: Option<&'s Btf<'s>>,
    /// Types of modules, by module name.
    pub modules: &'s [(&'s str, &'s Btf<'s>)],
    /// Whose binaries are meant where a probe does not name one.
    pub pid: Option<u32>,
}

/// Probes that match a pattern, by kind in the kinds' order, then sorted.
///
/// A pattern is `KIND:REST` (`tracepoint:sched:*`, `t:*:*switch*`, `*:vfs_*`), a
/// kind alone, or the pattern of a name, which is looked for in all kinds that need no binary. An empty
/// pattern is everything. A source that is missing lists nothing, unless the pattern asks for one kind
/// that needs it: then its error says why.
pub fn probes(pattern: &str, sources: &Sources<'_>, with_arguments: bool) -> Result<Vec<ListedProbe>, Error> {
    let (kinds, rest) = selection(pattern)?;
    let mut found = Vec::new();
    for kind in &kinds {
        let lister = Lister { kind: *kind, sources, with_arguments };
        match lister.list(rest) {
            Ok(mut probes) => {
                probes.sort();
                probes.dedup();
                found.append(&mut probes);
            }
            Err(error) if kinds.len() == 1 => return Err(error),
            Err(_) => {}
        }
    }
    Ok(found)
}

/// Which kinds a pattern asks for, and the pattern of the rest.
fn selection(pattern: &str) -> Result<(Vec<Kind>, &str), Error> {
    let without_binary = || Kind::ALL.into_iter().filter(|kind| kind.listed_by_default());
    if pattern.is_empty() || pattern == "*" {
        return Ok((without_binary().collect(), "*"));
    }
    if let Some((kind, rest)) = pattern.split_once(':') {
        let kinds: Vec<Kind> = match Kind::named(kind) {
            Some(kind) => vec![kind],
            None => without_binary().filter(|known| Glob::new(kind).matches(known.name())).collect(),
        };
        if kinds.is_empty() {
            return Err(Error::Refused {
                asked: format!("list {pattern:?}"),
                reason: format!("there is no kind of probe called {kind:?}"),
                hint: Some(format!("kinds are: {}", Kind::ALL.map(Kind::name).join(", "))),
            });
        }
        return Ok((kinds, if rest.is_empty() { "*" } else { rest }));
    }
    match Kind::named(pattern) {
        Some(kind) => Ok((vec![kind], "*")),
        None => Ok((without_binary().collect(), pattern)),
    }
}

struct Lister<'a> {
    kind: Kind,
    sources: &'a Sources<'a>,
    with_arguments: bool,
}

impl Lister<'_> {
    fn list(&self, rest: &str) -> Result<Vec<ListedProbe>, Error> {
        match self.kind {
            Kind::Tracepoint => self.tracepoints(rest),
            Kind::RawTracepoint => self.raw_tracepoints(rest),
            Kind::Kprobe | Kind::Kretprobe => self.kernel_functions(rest),
            Kind::Fentry | Kind::Fexit => self.typed_functions(rest),
            Kind::Iter => self.iterators(rest),
            Kind::Uprobe | Kind::Uretprobe => self.user_functions(rest),
            Kind::Usdt => self.usdt(rest),
            Kind::Software => Ok(self.fixed(SOFTWARE_EVENTS, rest)),
            Kind::Hardware => Ok(self.fixed(HARDWARE_EVENTS, rest)),
            Kind::Profile => Ok(self.fixed(PROFILE_UNITS, rest)),
            Kind::Interval => Ok(self.fixed(INTERVAL_UNITS, rest)),
        }
    }

    fn probe(&self, rest: &str, arguments: Vec<String>) -> ListedProbe {
        ListedProbe { name: format!("{}:{rest}", self.kind.name()), arguments }
    }

    /// Events of a fixed set, after which a script writes a number.
    fn fixed(&self, names: &[&str], rest: &str) -> Vec<ListedProbe> {
        let pattern = Glob::new(rest.strip_suffix(':').unwrap_or(rest));
        let matching = names.iter().filter(|name| pattern.matches(name));
        matching.map(|name| self.probe(&format!("{name}:"), Vec::new())).collect()
    }

    fn tracepoints(&self, rest: &str) -> Result<Vec<ListedProbe>, Error> {
        let opened;
        let tracefs = match self.sources.tracefs {
            Some(tracefs) => tracefs,
            // Tried again for its error.
            None => {
                opened = Tracefs::open()?;
                &opened
            }
        };
        let events = match rest.split_once(':') {
            Some((category, name)) => tracefs.events(category, name)?,
            // One part alone may be either.
            None => [tracefs.events(rest, "*")?, tracefs.events("*", rest)?].concat(),
        };
        let probe = |(category, name): (String, String)| {
            let arguments = match self.with_arguments {
                true => tracefs.event_format(&category, &name).map(|text| format_fields(&text)).unwrap_or_default(),
                false => Vec::new(),
            };
            self.probe(&format!("{category}:{name}"), arguments)
        };
        Ok(events.into_iter().map(probe).collect())
    }

    /// The kernel's types and its modules' with the name that probes have for each.
    fn all_types(&self) -> Result<Vec<(&str, &Btf<'_>)>, Error> {
        let types = self.sources.types.ok_or_else(|| Error::Refused {
            asked: format!("list {} probes", self.kind.name()),
            reason: "this kernel does not describe its types (no BTF)".into(),
            hint: Some("use tracepoint or kprobe probes".into()),
        })?;
        let mut all: Vec<(&str, &Btf<'_>)> = vec![("vmlinux", types)];
        all.extend_from_slice(self.sources.modules);
        Ok(all)
    }

    fn raw_tracepoints(&self, rest: &str) -> Result<Vec<ListedProbe>, Error> {
        let (module, name) = rest.split_once(':').unwrap_or(("*", rest));
        let (modules, names) = (Glob::new(module), Glob::new(name));
        let mut found = Vec::new();
        for (module, types) in self.all_types()?.into_iter().filter(|(module, _)| modules.matches(module)) {
            if !self.with_arguments {
                let named = types.raw_tracepoints().filter(|name| names.matches(name));
                found.extend(named.map(|name| self.probe(&format!("{module}:{name}"), Vec::new())));
                continue;
            }
            for (name, tracepoint) in types.raw_tracepoints_in_full(|name| names.matches(name)) {
                let arguments = tracepoint.params.iter().map(|param| argument(types, param.ty, param.name)).collect();
                found.push(self.probe(&format!("{module}:{name}"), arguments));
            }
        }
        Ok(found)
    }

    fn iterators(&self, rest: &str) -> Result<Vec<ListedProbe>, Error> {
        let names = Glob::new(rest);
        let mut found = Vec::new();
        for (_, types) in self.all_types()? {
            for name in types.iterators().filter(|name| names.matches(name)) {
                let context = self.with_arguments.then(|| types.iterator_context(name)).flatten();
                let arguments = context.map_or(Vec::new(), |context| {
                    types.struct_layout(context.id).map_or(Vec::new(), |fields| {
                        fields.iter().map(|field| argument(types, field.ty, &field.name)).collect()
                    })
                });
                found.push(self.probe(name, arguments));
            }
        }
        Ok(found)
    }

    fn kernel_functions(&self, rest: &str) -> Result<Vec<ListedProbe>, Error> {
        let (module, name) = module_and_name(rest);
        let found = functions::traceable(self.sources.tracefs, self.sources.types, module, name)?;
        Ok(found
            .into_iter()
            .map(|(module, name)| match module {
                Some(module) => self.probe(&format!("{module}:{name}"), Vec::new()),
                None => self.probe(&name, Vec::new()),
            })
            .collect())
    }

    fn typed_functions(&self, rest: &str) -> Result<Vec<ListedProbe>, Error> {
        let (module, name) = module_and_name(rest);
        let traceable = functions::traceable(self.sources.tracefs, self.sources.types, module, name)?;
        let mut found = Vec::new();
        for (module, types) in self.all_types()? {
            let typed: std::collections::HashMap<&str, btf::Type<'_>> =
                types.functions().map(|function| (function.name(), function)).collect();
            for (_, name) in traceable.iter().filter(|(of, _)| of.as_deref().unwrap_or("vmlinux") == module) {
                let Some(function) = typed.get(name.as_str()) else { continue };
                let mut arguments = Vec::new();
                if self.with_arguments {
                    arguments.extend(function.params().map(|param| argument(types, param.ty, param.name)));
                    let returned = function.return_type().filter(|ty| *ty != btf::TypeId::VOID);
                    arguments
                        .extend(returned.filter(|_| self.kind == Kind::Fexit).map(|ty| argument(types, ty, "retval")));
                }
                found.push(self.probe(&format!("{module}:{name}"), arguments));
            }
        }
        Ok(found)
    }

    /// The binaries that a probe's first part means.
    fn binaries(&self, name: &str) -> Result<Vec<std::path::PathBuf>, Error> {
        match self.sources.pid {
            Some(pid) if name == "*" || name.is_empty() => process::binaries(pid),
            None if has_wildcard(name) => Err(Error::Refused {
                asked: format!("list {} probes", self.kind.name()),
                reason: "which binary is meant is not said".into(),
                hint: Some(format!("name it ({}:libc:*), or give a process with -p", self.kind.name())),
            }),
            pid => Ok(vec![resolve::binary(name, pid)?]),
        }
    }

    fn user_functions(&self, rest: &str) -> Result<Vec<ListedProbe>, Error> {
        let (binary, name) = rest.rsplit_once(':').unwrap_or((rest, "*"));
        let names = Glob::new(name);
        let mut found = Vec::new();
        for path in self.binaries(binary)? {
            let symbols = Binary::open(&path)?.functions(&names)?;
            found.extend(
                symbols.iter().map(|symbol| self.probe(&format!("{}:{}", path.display(), symbol.name), Vec::new())),
            );
        }
        Ok(found)
    }

    fn usdt(&self, rest: &str) -> Result<Vec<ListedProbe>, Error> {
        let parts: Vec<&str> = rest.splitn(3, ':').collect();
        let (binary, provider, name) = match parts[..] {
            [binary, provider, name] => (binary, provider, name),
            [binary, name] => (binary, "*", name),
            _ => (rest, "*", "*"),
        };
        let mut found = Vec::new();
        for path in self.binaries(binary)? {
            for site in usdt::sites(&path, &Glob::new(provider), &Glob::new(name))? {
                let arguments = match self.with_arguments {
                    true => site.args.split_whitespace().map(str::to_owned).collect(),
                    false => Vec::new(),
                };
                found.push(self.probe(&format!("{}:{}:{}", path.display(), site.provider, site.name), arguments));
            }
        }
        Ok(found)
    }
}

/// A declaration as tracepoint formats write it, with a space after the star too.
fn argument(types: &Btf<'_>, ty: btf::TypeId, name: &str) -> String {
    let text = types.type_name(ty);
    if text.ends_with('*') { format!("{text} {name}") } else { types.declaration(ty, name) }
}

/// `[module:]name`; `*` as the module is any.
fn module_and_name(rest: &str) -> (Option<&str>, &str) {
    match rest.split_once(':') {
        Some(("*", name)) => (None, name),
        Some((module, name)) => (Some(module), name),
        None => (None, rest),
    }
}

/// The fields of a tracepoint's format file, without those that all tracepoints
/// have. A line is `field:char prev_comm[16];` and then, after tabs, offset, size and sign.
fn format_fields(format: &str) -> Vec<String> {
    format
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("field:")?.split(';').next())
        .filter(|field| !field.rsplit([' ', '*']).next().is_some_and(|name| name.starts_with("common_")))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_select_kinds() {
        let select = |pattern| selection(pattern).expect("a pattern");
        assert_eq!(select("t:sched:*"), (vec![Kind::Tracepoint], "sched:*"));
        assert_eq!(select("kfunc:vfs_*"), (vec![Kind::Fentry], "vfs_*"));
        assert_eq!(select("tracepoint"), (vec![Kind::Tracepoint], "*"));
        assert_eq!(select("raw*:x"), (vec![Kind::RawTracepoint], "x"));
        assert_eq!(select("*sleep*").1, "*sleep*");
        assert!(!select("").0.contains(&Kind::Uprobe));
        let error = selection("kprobes:x").expect_err("no such kind");
        assert!(error.hint().is_some_and(|hint| hint.contains("kprobe")));
    }

    #[test]
    fn fields_of_a_format() {
        let text = "name: x\nformat:\n\tfield:unsigned short common_type;\toffset:0;\n\n\tfield:const char * filename;\toffset:24;\n\tfield:char comm[16];\toffset:1;\n";
        assert_eq!(format_fields(text), ["const char * filename", "char comm[16]"]);
        assert_eq!(format_fields("field:"), [""]);
    }

    #[test]
    fn this_machine_has_probes() {
        let tracefs = Tracefs::open().ok();
        let types = crate::kernel_types::vmlinux().ok().and_then(|bytes| Btf::parse(bytes).ok());
        let (Some(tracefs), Some(types)) = (tracefs, types) else { return println!("skipped: no tracefs or no BTF") };
        let sources = Sources { tracefs: Some(&tracefs), types: Some(&types), modules: &[], pid: None };
        let list = |pattern| probes(pattern, &sources, true).expect("a sound pattern");
        let names = |pattern| list(pattern).into_iter().map(|probe| probe.name).collect::<Vec<_>>();
        let switch = list("tracepoint:sched:sched_switch");
        assert_eq!(switch[0].arguments[0], "char prev_comm[16]");
        assert_eq!(names("tracepoint:sched"), names("tracepoint:sched:*"));
        let raw = list("rt:sched_switch");
        assert_eq!(raw[0].name, "rawtracepoint:vmlinux:sched_switch");
        assert_eq!(raw[0].arguments[..2], ["bool preempt", "struct task_struct * prev"]);
        assert!(names("sched_switch").len() >= 2, "{:?}", names("sched_switch"));
        assert_eq!(names("software:page-faults"), ["software:page-faults:"]);
        assert_eq!(list("iter:task")[0].arguments, ["struct bpf_iter_meta * meta", "struct task_struct * task"]);
        let exit = list("fexit:vfs_read");
        assert_eq!(exit[0].arguments[0], "struct file * file");
        assert_eq!(exit[0].arguments.last().map(String::as_str), Some("ssize_t retval"));
        assert_eq!(names("uprobe:/proc/self/exe:main"), ["uprobe:/proc/self/exe:main"]);
        assert!(probes("uprobe:*", &sources, false).is_err());
        assert!(probes("usdt:/no/such/file:*", &sources, false).is_err());
        let own = Sources { pid: Some(std::process::id()), ..sources };
        assert!(probes("usdt:*", &own, false).is_ok());
    }
}
