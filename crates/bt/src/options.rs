//! What a compilation is told from outside the script, and the script's `config`.

/// Beside the script's text: what the command line and the environment say.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub config: Config,
    /// Positional parameters: `$1` is the first.
    pub params: Vec<String>,
    /// Only this process (`-p`).
    pub pid: Option<u32>,
    /// The child that `-c` started.
    pub cpid: Option<u32>,
    /// `--unsafe`.
    pub unsafe_allowed: bool,
    /// `-k`: helpers that fail are events.
    pub helper_errors: bool,
}

/// Settings by the names that bpftrace gives them; defaults are its 0.27's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bytes of a string from `str()`, NUL included.
    pub max_strlen: u32,
    pub max_map_keys: u32,
    pub max_probes: u32,
    pub max_bpf_progs: u32,
    pub max_cat_bytes: u32,
    /// Pages of the ring buffer, for each CPU.
    pub perf_rb_pages: Option<u32>,
    pub missing_probes: MissingProbes,
    pub print_maps_on_exit: bool,
    pub str_trunc_trailer: String,
    pub stack_mode: object::plan::StackMode,
    pub license: String,
    pub log_size: u32,
    pub cpp_demangle: bool,
    pub lazy_symbolication: bool,
    /// Names of the settings that the environment has made: those stay.
    from_environment: Vec<String>,
}

/// What to do about a probe that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingProbes {
    Error,
    Warn,
    Ignore,
}

/// What `config().name` gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting<'a> {
    Number(i64),
    Bool(bool),
    Text(&'a str),
}

/// Why a setting was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("{0}: not a known configuration option")]
    Unknown(String),
    #[error("Invalid value for license. Found: {0}. Valid values: {valid}", valid = LICENSES.join(", "))]
    License(String),
    #[error("Invalid value for {key}: {expected}, got '{value}'")]
    Value { key: String, value: String, expected: &'static str },
}

impl Default for Config {
    fn default() -> Self {
        Config {
            max_strlen: 1024,
            max_map_keys: 4096,
            max_probes: 1024,
            max_bpf_progs: 1024,
            max_cat_bytes: 10240,
            perf_rb_pages: None,
            missing_probes: MissingProbes::Error,
            print_maps_on_exit: true,
            str_trunc_trailer: "..".into(),
            stack_mode: object::plan::StackMode::Bpftrace,
            license: "GPL".into(),
            log_size: 1_000_000,
            cpp_demangle: true,
            lazy_symbolication: false,
            from_environment: Vec::new(),
        }
    }
}

/// Settings of bpftrace that have no meaning here: accepted, without effect.
const IGNORED: &[&str] = &[
    "cache_user_symbols",
    "on_stack_limit",
    "show_debug_info",
    "use_blazesym",
    "max_type_res_iterations",
    "debug_output",
    "max_ast_nodes",
    "unstable_import",
    "unstable_import_statement",
    "unstable_macro",
    "unstable_map_decl",
    "unstable_tseries",
    "unstable_addr",
    "unstable_typeinfo",
    "verify_llvm_ir",
];

/// Licenses that the kernel lets use the helpers of tracing (`license_is_gpl_compatible` in `include/linux/license.h`).
const LICENSES: &[&str] =
    &["Dual MIT/GPL", "Dual BSD/GPL", "Dual MPL/GPL", "GPL and additional rights", "GPL v2", "GPL"];

/// Longest string in bytes; more does not fit a map's key or a scratch element sensibly.
const MAX_STRLEN: u32 = 1 << 16;

impl Config {
    /// Bytes of a string that may be as long as strings get, its NUL included. Never a multiple of 8, which
    /// values in memory are rounded up to: then there is a byte more, which tells whether a string was cut.
    pub fn string_room(&self) -> u32 {
        match self.max_strlen + 1 {
            room if room.is_multiple_of(8) => room + 1,
            room => room,
        }
    }

    /// A setting as the script's own value.
    pub fn get(&self, key: &str) -> Option<Setting<'_>> {
        use object::plan::StackMode;
        Some(match key {
            "max_strlen" => Setting::Number(self.max_strlen.into()),
            "max_map_keys" => Setting::Number(self.max_map_keys.into()),
            "max_probes" => Setting::Number(self.max_probes.into()),
            "max_bpf_progs" => Setting::Number(self.max_bpf_progs.into()),
            "max_cat_bytes" => Setting::Number(self.max_cat_bytes.into()),
            "log_size" => Setting::Number(self.log_size.into()),
            "print_maps_on_exit" => Setting::Bool(self.print_maps_on_exit),
            "cpp_demangle" => Setting::Bool(self.cpp_demangle),
            "lazy_symbolication" => Setting::Bool(self.lazy_symbolication),
            "str_trunc_trailer" => Setting::Text(&self.str_trunc_trailer),
            "license" => Setting::Text(&self.license),
            "stack_mode" => Setting::Text(match self.stack_mode {
                StackMode::Bpftrace => "bpftrace",
                StackMode::Perf => "perf",
                StackMode::Raw => "raw",
                StackMode::BuildId => "build_id",
            }),
            "missing_probes" => Setting::Text(match self.missing_probes {
                MissingProbes::Error => "error",
                MissingProbes::Warn => "warn",
                MissingProbes::Ignore => "ignore",
            }),
            _ => return None,
        })
    }

    /// Sets one option by its name (old names are understood).
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        match key {
            "max_strlen" | "strlen" => self.max_strlen = number(key, value, 1, MAX_STRLEN)?,
            "max_map_keys" | "map_keys_max" => self.max_map_keys = number(key, value, 1, u32::MAX)?,
            "max_probes" => self.max_probes = number(key, value, 0, u32::MAX)?,
            "max_bpf_progs" => self.max_bpf_progs = number(key, value, 0, u32::MAX)?,
            "max_cat_bytes" | "cat_bytes_max" => self.max_cat_bytes = number(key, value, 0, u32::MAX)?,
            "perf_rb_pages" => self.perf_rb_pages = Some(number(key, value, 1, 1 << 20)?),
            "log_size" => self.log_size = number(key, value, 0, u32::MAX)?,
            "print_maps_on_exit" => self.print_maps_on_exit = boolean(key, value)?,
            "cpp_demangle" => self.cpp_demangle = boolean(key, value)?,
            "no_cpp_demangle" => self.cpp_demangle = !boolean(key, value)?,
            "lazy_symbolication" => self.lazy_symbolication = boolean(key, value)?,
            "str_trunc_trailer" => self.str_trunc_trailer = value.to_owned(),
            "license" if !LICENSES.contains(&value) => return Err(ConfigError::License(value.to_owned())),
            "license" => self.license = value.to_owned(),
            "missing_probes" => {
                self.missing_probes = match value {
                    "error" => MissingProbes::Error,
                    "warn" => MissingProbes::Warn,
                    "ignore" => MissingProbes::Ignore,
                    _ => return Err(invalid(key, value, "expected error, warn or ignore")),
                }
            }
            "stack_mode" => {
                self.stack_mode = match value {
                    "bpftrace" => object::plan::StackMode::Bpftrace,
                    "perf" => object::plan::StackMode::Perf,
                    "raw" => object::plan::StackMode::Raw,
                    "build_id" => object::plan::StackMode::BuildId,
                    _ => return Err(invalid(key, value, "expected bpftrace, perf, raw or build_id")),
                }
            }
            _ if IGNORED.contains(&key) => {}
            _ => return Err(ConfigError::Unknown(key.to_owned())),
        }
        Ok(())
    }

    /// Sets one option as a script asks, which the environment overrules. `bpftrace_max_strlen` is `max_strlen`.
    pub fn set_from_script(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        let key = key.strip_prefix("bpftrace_").unwrap_or(key);
        if self.from_environment.iter().any(|known| known == key) {
            return self.clone().set(key, value);
        }
        self.set(key, value)
    }

    /// Takes `BPFTRACE_MAX_STRLEN` and the like from the environment's pairs;
    /// names that are no settings are left alone.
    pub fn set_from_env<'e>(&mut self, pairs: impl Iterator<Item = (&'e str, &'e str)>) -> Result<(), ConfigError> {
        for (name, value) in pairs {
            let Some(key) = name.strip_prefix("BPFTRACE_") else { continue };
            let key = key.to_ascii_lowercase();
            match self.set(&key, value) {
                Ok(()) => self.from_environment.push(key),
                Err(ConfigError::Unknown(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn number(key: &str, value: &str, min: u32, max: u32) -> Result<u32, ConfigError> {
    match value.parse::<u32>() {
        Ok(n) if (min..=max).contains(&n) => Ok(n),
        Ok(_) => Err(invalid(key, value, "number out of range")),
        Err(_) if value.starts_with(|c: char| c.is_ascii_digit()) && value.parse::<u128>().is_ok() => {
            Err(invalid(key, value, "number out of range"))
        }
        Err(_) => Err(invalid(key, value, "expected a number")),
    }
}

fn boolean(key: &str, value: &str) -> Result<bool, ConfigError> {
    match value {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(invalid(key, value, "expected 0 or 1")),
    }
}

fn invalid(key: &str, value: &str, expected: &'static str) -> ConfigError {
    ConfigError::Value { key: key.to_owned(), value: value.to_owned(), expected }
}
