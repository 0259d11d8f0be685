//! The running machine as the compiler's host: each question goes to the kernel or
//! the file system when it is first asked, and dear answers are kept.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bt::{Feature, Host, HostError, UsdtProbe, UserSymbol};
use btf::Btf;
use kernel::elf_symbols::Binary;
use kernel::glob::Glob;
use kernel::list::ListedProbe;
use kernel::tracefs::Tracefs;

/// The machine that we run on. One a process: the types that it opens stay for
/// the process's life.
#[derive(Default)]
pub struct LiveHost {
    /// Whose view of the file system names of binaries are meant in.
    pid: Option<u32>,
    /// Objects are for other loaders too: nothing in them that theirs may not know.
    for_objects: bool,
    types: OnceCell<Result<&'static Btf<'static>, HostError>>,
    modules: RefCell<HashMap<String, Result<&'static Btf<'static>, HostError>>>,
    tracefs: OnceCell<Result<Tracefs, HostError>>,
    features: kernel::Features,
}

impl LiveHost {
    pub fn new() -> LiveHost {
        LiveHost::default()
    }

    /// The machine as a process sees it: binaries are looked for in its mount namespace.
    pub fn of_process(pid: Option<u32>) -> LiveHost {
        LiveHost { pid, ..LiveHost::default() }
    }

    /// The machine for objects that any libbpf is to load.
    pub fn for_objects() -> LiveHost {
        LiveHost { for_objects: true, ..LiveHost::default() }
    }

    /// Probes that match a pattern, with what they are given if `with_arguments`.
    pub fn list(&self, pattern: &str, with_arguments: bool) -> Result<Vec<ListedProbe>, HostError> {
        let names = self.btf_modules();
        let modules: Vec<(&str, &Btf<'_>)> =
            names.iter().filter_map(|name| Some((name.as_str(), self.module_btf(name).ok()?))).collect();
        let sources = kernel::list::Sources {
            tracefs: self.tracefs().ok(),
            types: self.btf().ok(),
            modules: &modules,
            pid: self.pid,
        };
        kernel::list::probes(pattern, &sources, with_arguments).map_err(host_error)
    }

    /// Types that a pattern such as `struct path` means, by name or in `full`; `None`: no such pattern.
    pub fn definitions(&self, pattern: &str, full: bool) -> Result<Option<Vec<String>>, HostError> {
        if !kernel::list::is_about_types(pattern) {
            return Ok(None);
        }
        Ok(kernel::list::definitions(pattern, self.btf()?, full))
    }

    fn tracefs(&self) -> Result<&Tracefs, HostError> {
        self.tracefs.get_or_init(|| Tracefs::open().map_err(host_error)).as_ref().map_err(HostError::clone)
    }

    fn types(&self) -> Result<&'static Btf<'static>, HostError> {
        self.types
            .get_or_init(|| {
                let bytes = kernel::kernel_types::vmlinux().map_err(host_error)?;
                Ok(Box::leak(Box::new(Btf::parse(bytes).map_err(damaged_types)?)))
            })
            .clone()
    }
}

impl Host for LiveHost {
    fn btf(&self) -> Result<&Btf<'_>, HostError> {
        self.types().map(|types| types as &Btf<'_>)
    }

    fn module_btf(&self, module: &str) -> Result<&Btf<'_>, HostError> {
        let base = self.types()?;
        let open = || -> Result<&'static Btf<'static>, HostError> {
            let bytes = kernel::kernel_types::module(module).map_err(host_error)?;
            Ok(Box::leak(Box::new(Btf::parse_split(bytes, base).map_err(damaged_types)?)))
        };
        let mut modules = self.modules.borrow_mut();
        match modules.get(module) {
            Some(known) => known.clone(),
            None => modules.entry(module.to_owned()).or_insert_with(open).clone(),
        }
        .map(|types| types as &Btf<'_>)
    }

    fn btf_modules(&self) -> Vec<String> {
        kernel::kernel_types::modules()
    }

    fn tracepoints(&self, category: &str, name: &str) -> Result<Vec<(String, String)>, HostError> {
        self.tracefs()?.events(category, name).map_err(host_error)
    }

    fn tracepoint_format(&self, category: &str, name: &str) -> Result<String, HostError> {
        self.tracefs()?.event_format(category, name).map_err(host_error)
    }

    fn kernel_functions(
        &self,
        module: Option<&str>,
        pattern: &str,
    ) -> Result<Vec<(Option<String>, String)>, HostError> {
        // A plain name needs the types at most; the kernel's list is for wildcards.
        let tracefs = if Glob::new(pattern).is_literal() { None } else { self.tracefs().ok() };
        kernel::functions::traceable(tracefs, self.types().ok(), module, pattern).map_err(host_error)
    }

    fn kernel_symbol(&self, name: &str) -> Result<Option<u64>, HostError> {
        kernel::kallsyms::address(name).map_err(host_error)
    }

    fn binary(&self, name: &str) -> Result<PathBuf, HostError> {
        kernel::resolve::binary(name, self.pid).map_err(host_error)
    }

    fn user_symbols(&self, path: &Path, pattern: &str) -> Result<Vec<UserSymbol>, HostError> {
        let symbols =
            Binary::open(path).and_then(|binary| binary.functions(&Glob::new(pattern))).map_err(host_error)?;
        Ok(symbols
            .into_iter()
            .map(|symbol| UserSymbol {
                name: symbol.name,
                address: symbol.address,
                offset: symbol.offset,
                size: symbol.size,
            })
            .collect())
    }

    fn file_offset(&self, path: &Path, address: u64) -> Result<u64, HostError> {
        Binary::open(path).and_then(|binary| binary.file_offset(address)).map_err(host_error)
    }

    fn is_position_independent(&self, path: &Path) -> Result<bool, HostError> {
        Binary::open(path).map(|binary| binary.is_position_independent()).map_err(host_error)
    }

    fn usdt_probes(&self, path: &Path, provider: &str, name: &str) -> Result<Vec<UsdtProbe>, HostError> {
        let sites = kernel::usdt::sites(path, &Glob::new(provider), &Glob::new(name)).map_err(host_error)?;
        Ok(sites
            .into_iter()
            .map(|site| UsdtProbe {
                path: path.to_owned(),
                provider: site.provider,
                name: site.name,
                offset: site.offset,
                semaphore: site.semaphore,
                args: site.args,
            })
            .collect())
    }

    fn process_binaries(&self, pid: u32) -> Result<Vec<PathBuf>, HostError> {
        kernel::process::binaries(pid).map_err(host_error)
    }

    fn has(&self, feature: Feature) -> bool {
        let feature = match feature {
            Feature::Btf => kernel::Feature::Btf,
            Feature::RingBuffer => kernel::Feature::RingBuffer,
            Feature::KprobeMulti => kernel::Feature::KprobeMulti,
            Feature::KprobeSession => kernel::Feature::KprobeSession,
            Feature::Kprobe => kernel::Feature::Kprobe,
            Feature::Fentry => kernel::Feature::Fentry,
            Feature::TpBtf => kernel::Feature::TpBtf,
            // libbpf 1.3 was the first to know its sections.
            Feature::UprobeMulti if self.for_objects => return false,
            Feature::UprobeMulti => kernel::Feature::UprobeMulti,
            Feature::Iter => kernel::Feature::Iter,
            Feature::Helper(helper) => kernel::Feature::Helper(helper),
            Feature::PerfLink => kernel::Feature::PerfLink,
            Feature::IsaV4 => kernel::Feature::IsaV4,
            Feature::AtomicFetch => kernel::Feature::AtomicFetch,
            Feature::IterNum => kernel::Feature::IterNum,
        };
        self.features.has(feature, &|name, kind| Some(self.types().ok()?.find(name, kind)?.id.0))
    }

    fn cgroup_id(&self, path: &str) -> Result<u64, HostError> {
        kernel::sysinfo::cgroup_id(path).map_err(host_error)
    }

    fn pid_namespace(&self) -> Option<(u64, u64)> {
        kernel::sysinfo::pid_namespace()
    }

    fn possible_cpus(&self) -> u32 {
        kernel::possible_cpus()
    }

    fn kernel_version(&self) -> (u32, u32, u32) {
        kernel::kernel_version()
    }
}

fn host_error(error: kernel::Error) -> HostError {
    HostError { what: error.to_string(), hint: error.hint().map(str::to_owned) }
}

fn damaged_types(error: btf::Error) -> HostError {
    HostError {
        what: format!("cannot read the kernel's types: {error}"),
        hint: Some("probes that need no types (tracepoint, kprobe with argN) still work".into()),
    }
}
