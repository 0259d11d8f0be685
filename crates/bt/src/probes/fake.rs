//! A made-up machine for tests.

use std::path::{Path, PathBuf};

use btf::Btf;

use super::glob;
use crate::{Feature, Host, HostError, UsdtProbe, UserSymbol};

/// A machine with a few of everything and no BTF.
pub struct Machine;

const FUNCTIONS: &[&str] = &["tcp_connect", "vfs_open", "vfs_read", "vfs_write"];
const TRACEPOINTS: &[(&str, &str)] = &[
    ("sched", "sched_switch"),
    ("sched", "sched_wakeup"),
    ("syscalls", "sys_enter_openat"),
    ("syscalls", "sys_enter_zzz"),
    ("syscalls", "sys_exit_openat"),
];
const SYMBOLS: &[(&str, u64)] = &[("calloc", 0x300), ("free", 0x200), ("malloc", 0x100)];

fn none<T>(what: &str) -> Result<T, HostError> {
    Err(HostError { what: what.to_owned(), hint: None })
}

impl Host for Machine {
    fn btf(&self) -> Result<&Btf<'_>, HostError> {
        none("no BTF")
    }
    fn module_btf(&self, _: &str) -> Result<&Btf<'_>, HostError> {
        none("no BTF")
    }
    fn btf_modules(&self) -> Vec<String> {
        Vec::new()
    }
    fn tracepoints(&self, category: &str, name: &str) -> Result<Vec<(String, String)>, HostError> {
        let matching = TRACEPOINTS.iter().filter(|(c, n)| glob(category, c) && glob(name, n));
        Ok(matching.map(|&(c, n)| (c.to_owned(), n.to_owned())).collect())
    }
    fn tracepoint_format(&self, category: &str, name: &str) -> Result<String, HostError> {
        if TRACEPOINTS.contains(&(category, name)) { Ok(String::new()) } else { none("no such tracepoint") }
    }
    fn kernel_functions(&self, _: Option<&str>, pattern: &str) -> Result<Vec<(Option<String>, String)>, HostError> {
        Ok(FUNCTIONS.iter().filter(|name| glob(pattern, name)).map(|name| (None, (*name).to_owned())).collect())
    }
    fn kernel_symbol(&self, _: &str) -> Result<Option<u64>, HostError> {
        Ok(None)
    }
    fn binary(&self, name: &str) -> Result<PathBuf, HostError> {
        match name {
            "libc" | "/lib/libc.so.6" => Ok("/lib/libc.so.6".into()),
            "./a b" => Ok("/tmp/a b".into()),
            _ => none("no such file"),
        }
    }
    fn user_symbols(&self, _: &Path, pattern: &str) -> Result<Vec<UserSymbol>, HostError> {
        let symbol = |&(name, offset): &(&str, u64)| UserSymbol {
            name: name.to_owned(),
            address: offset + 0x400_000,
            offset,
            size: 16,
        };
        Ok(SYMBOLS.iter().filter(|(name, _)| glob(pattern, name)).map(symbol).collect())
    }
    fn file_offset(&self, _: &Path, address: u64) -> Result<u64, HostError> {
        Ok(address - 0x400_000)
    }
    fn is_position_independent(&self, _: &Path) -> Result<bool, HostError> {
        Ok(false)
    }
    fn usdt_probes(&self, path: &Path, provider: &str, name: &str) -> Result<Vec<UsdtProbe>, HostError> {
        let known = [("p", "start"), ("p", "stop"), ("q", "start")];
        let matching = known.iter().filter(|(p, n)| glob(provider, p) && glob(name, n));
        let site = |&(provider, name): &(&str, &str)| UsdtProbe {
            path: path.to_owned(),
            provider: provider.to_owned(),
            name: name.to_owned(),
            offset: 0x500,
            semaphore: 0x600,
            args: "4@%edi".into(),
        };
        Ok(matching.map(site).collect())
    }
    fn process_binaries(&self, pid: u32) -> Result<Vec<PathBuf>, HostError> {
        if pid == 7 { Ok(vec!["/bin/seven".into(), "/lib/libc.so.6".into()]) } else { none("no such process") }
    }
    fn has(&self, _: Feature) -> bool {
        false
    }
    fn cgroup_id(&self, _: &str) -> Result<u64, HostError> {
        none("no cgroups")
    }
    fn pid_namespace(&self) -> Option<(u64, u64)> {
        None
    }
    fn possible_cpus(&self) -> u32 {
        1
    }
    fn kernel_version(&self) -> (u32, u32, u32) {
        (6, 12, 0)
    }
}
