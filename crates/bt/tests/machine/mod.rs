//! A made-up machine: the types of `tests/data/machine.c`, the tracepoints of `tests/data/formats`.

use std::path::{Path, PathBuf};

use bt::probes::glob;
use bt::{Feature, Host, HostError, UsdtProbe, UserSymbol};
use btf::Btf;

/// What a test says about the machine.
pub struct Machine {
    btf: Option<Btf<'static>>,
    version: (u32, u32, u32),
    lacks: Vec<String>,
}

const TRACEPOINTS: &[(&str, &str)] = &[
    ("block", "block_rq_issue"),
    ("net", "netif_rx"),
    ("sched", "sched_process_exec"),
    ("sched", "sched_switch"),
    ("sched", "sched_wakeup"),
    ("syscalls", "sys_enter_close"),
    ("syscalls", "sys_enter_openat"),
    ("syscalls", "sys_enter_read"),
    ("syscalls", "sys_exit_openat"),
];
const FUNCTIONS: &[&str] = &["vfs_open", "vfs_read", "vfs_write"];
const SYMBOLS: &[(&str, u64)] = &[("free", 0x200), ("malloc", 0x100)];

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn none<T>(what: impl Into<String>) -> Result<T, HostError> {
    Err(HostError { what: what.into(), hint: None })
}

impl Machine {
    /// A machine as the comments at the start of a script describe it: `// kernel 5.10`,
    /// `// lacks TpBtf, KprobeMulti`; by default a new one that has everything.
    pub fn described_by(text: &str) -> Machine {
        let mut machine = Machine { btf: None, version: (6, 12, 0), lacks: Vec::new() };
        for line in text.lines().map_while(|line| line.strip_prefix("// ")) {
            if let Some(version) = line.strip_prefix("kernel ") {
                let mut numbers = version.split('.').map(|n| n.parse().unwrap());
                machine.version = (numbers.next().unwrap(), numbers.next().unwrap(), 0);
            } else if let Some(lacks) = line.strip_prefix("lacks ") {
                machine.lacks.extend(lacks.split(", ").map(str::to_owned));
            }
        }
        if !machine.lacks.iter().any(|l| l == "Btf") {
            let bytes: &'static [u8] = std::fs::read(data("machine.btf")).unwrap().leak();
            machine.btf = Some(Btf::parse(bytes).unwrap());
        }
        machine
    }
}

impl Host for Machine {
    fn btf(&self) -> Result<&Btf<'_>, HostError> {
        match &self.btf {
            Some(btf) => Ok(btf),
            None => none("the kernel has no BTF"),
        }
    }
    fn module_btf(&self, module: &str) -> Result<&Btf<'_>, HostError> {
        none(format!("no module {module}"))
    }
    fn btf_modules(&self) -> Vec<String> {
        Vec::new()
    }
    fn tracepoints(&self, category: &str, name: &str) -> Result<Vec<(String, String)>, HostError> {
        let matching = TRACEPOINTS.iter().filter(|(c, n)| glob(category, c) && glob(name, n));
        Ok(matching.map(|&(c, n)| (c.to_owned(), n.to_owned())).collect())
    }
    fn tracepoint_format(&self, category: &str, name: &str) -> Result<String, HostError> {
        if !TRACEPOINTS.contains(&(category, name)) {
            return none("no such tracepoint");
        }
        match std::fs::read_to_string(data("formats").join(format!("{name}.format"))) {
            Ok(text) => Ok(text),
            Err(_) => Ok("format:\n\tfield:unsigned int fd;\toffset:16;\tsize:8;\tsigned:0;\n".to_owned()),
        }
    }
    fn kernel_functions(&self, _: Option<&str>, pattern: &str) -> Result<Vec<(Option<String>, String)>, HostError> {
        Ok(FUNCTIONS.iter().filter(|name| glob(pattern, name)).map(|name| (None, (*name).to_owned())).collect())
    }
    fn kernel_symbol(&self, name: &str) -> Result<Option<u64>, HostError> {
        Ok((name == "vfs_read").then_some(0xffff_ffff_8100_0000))
    }
    fn binary(&self, name: &str) -> Result<PathBuf, HostError> {
        match name {
            "libc" | "/lib/libc.so.6" => Ok("/lib/libc.so.6".into()),
            _ => none(format!("no such file: {name}")),
        }
    }
    fn user_symbols(&self, _: &Path, pattern: &str) -> Result<Vec<UserSymbol>, HostError> {
        let symbol = |&(name, offset): &(&str, u64)| UserSymbol {
            name: name.to_owned(),
            address: offset + 0x400_000,
            offset,
            size: 4,
        };
        Ok(SYMBOLS.iter().filter(|(name, _)| glob(pattern, name)).map(symbol).collect())
    }
    fn file_offset(&self, _: &Path, address: u64) -> Result<u64, HostError> {
        Ok(address.wrapping_sub(0x400_000))
    }
    fn is_position_independent(&self, _: &Path) -> Result<bool, HostError> {
        Ok(false)
    }
    fn usdt_probes(&self, path: &Path, provider: &str, name: &str) -> Result<Vec<UsdtProbe>, HostError> {
        let site = |offset, args: &str| UsdtProbe {
            path: path.to_owned(),
            provider: "app".into(),
            name: "start".into(),
            offset,
            semaphore: 0x900,
            args: args.to_owned(),
        };
        let sites = vec![site(0x500, "-4@%edi 8@-16(%rbp) 1@$5"), site(0x600, "-4@-8(%rsp,%rcx,4) 8@%rsi 1@%ah")];
        Ok(if glob(provider, "app") && glob(name, "start") { sites } else { Vec::new() })
    }
    fn process_binaries(&self, _: u32) -> Result<Vec<PathBuf>, HostError> {
        none("no such process")
    }
    fn has(&self, feature: Feature) -> bool {
        let name = match feature {
            Feature::Helper(n) => isa::uapi::HELPER_NAMES[n as usize].to_owned(),
            other => format!("{other:?}"),
        };
        !self.lacks.contains(&name)
    }
    fn cgroup_id(&self, path: &str) -> Result<u64, HostError> {
        if path == "/known" { Ok(42) } else { none(format!("no cgroup {path}")) }
    }
    fn pid_namespace(&self) -> Option<(u64, u64)> {
        self.lacks.contains(&"InitialPidNamespace".to_owned()).then_some((4, 4_026_531_836))
    }
    fn possible_cpus(&self) -> u32 {
        4
    }
    fn kernel_version(&self) -> (u32, u32, u32) {
        self.version
    }
}
