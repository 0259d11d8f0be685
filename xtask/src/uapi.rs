//! `cargo xtask uapi`: the numbers of bpf(2) from the running kernel's type
//! information, as the text of `crates/isa/src/uapi.rs`.

use std::fmt::Write;

use anyhow::{Context, Result};
use btf::{Btf, Kind, Type};

use crate::root;

/// An enumeration of `include/uapi/linux/bpf.h` and the module it becomes.
struct Table {
    module: &'static str,
    enumeration: &'static str,
    prefix: &'static str,
}

const TABLES: &[Table] = &[
    Table { module: "cmd", enumeration: "bpf_cmd", prefix: "BPF_" },
    Table { module: "map_type", enumeration: "bpf_map_type", prefix: "BPF_MAP_TYPE_" },
    Table { module: "prog_type", enumeration: "bpf_prog_type", prefix: "BPF_PROG_TYPE_" },
    Table { module: "attach_type", enumeration: "bpf_attach_type", prefix: "BPF_" },
    Table { module: "helper", enumeration: HELPERS, prefix: "BPF_FUNC_" },
];

const HELPERS: &str = "bpf_func_id";

/// Writes the file, or with `--check` says whether it is up to date.
pub fn run(args: &[String]) -> Result<bool> {
    let path = root().join("crates/isa/src/uapi.rs");
    let types = Btf::parse(kernel::kernel_types::vmlinux()?)?;
    let text = generate(&types, &release(&kernel::kernel_release()))?;
    if !args.iter().any(|arg| arg == "--check") {
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        return Ok(true);
    }
    let committed = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let same = committed == text;
    println!("{} {}", path.display(), if same { "is what this kernel says" } else { "differs from this kernel" });
    Ok(same)
}

/// The first two numbers of a release: `6.18` of `6.18.44-cloud`.
fn release(full: &str) -> String {
    full.split(|c: char| !c.is_ascii_digit()).take(2).collect::<Vec<_>>().join(".")
}

fn generate(types: &Btf<'_>, release: &str) -> Result<String> {
    let mut text = format!(
        "//! Numbers of the kernel's `bpf(2)` interface (`include/uapi/linux/bpf.h`),
//! generated from the kernel's own type information by `cargo xtask uapi`;
//! do not edit by hand. Source: Linux {release}.
#![allow(non_upper_case_globals)]
"
    );
    for table in TABLES {
        let ty = types
            .find(table.enumeration, Kind::Enum)
            .with_context(|| format!("the kernel's types have no enum {}", table.enumeration))?;
        write!(text, "\n/// `enum {}`.\npub mod {} {{\n", table.enumeration, table.module)?;
        for (name, value) in numbers(&ty, table.prefix) {
            writeln!(text, "    pub const {}: u32 = {value};", identifier(name))?;
        }
        text.push_str("}\n");
        if table.enumeration == HELPERS {
            text.push_str(
                "
/// The name of a helper by its number, as the kernel's verifier prints it without `bpf_`.
pub const HELPER_NAMES: &[&str] = &[
",
            );
            for (name, _) in numbers(&ty, table.prefix) {
                writeln!(text, "    \"{name}\",")?;
            }
            // The end of the enumeration stands in the table, so that its length is the kernel's.
            text.push_str("    \"MAX_ID\",\n];\n");
        }
    }
    Ok(text)
}

/// The enumerators without their prefix; the end marker (`__MAX_BPF_CMD`) has no prefix and is left out.
fn numbers<'b>(ty: &Type<'b>, prefix: &'static str) -> impl Iterator<Item = (&'b str, i128)> {
    ty.enumerators().filter_map(move |e| Some((e.name.strip_prefix(prefix)?, e.value)))
}

/// A helper called as a keyword of Rust is (`bpf_loop`) becomes a raw identifier.
fn identifier(name: &str) -> String {
    if name == "loop" { format!("r#{name}") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_is_two_numbers() {
        assert_eq!(release("6.18.44-cloud-amd64"), "6.18");
        assert_eq!(release("7.2-rc1"), "7.2");
    }

    #[test]
    fn tables_become_modules() {
        let mut builder = btf::Builder::new();
        for table in TABLES {
            let names = [format!("{}first", table.prefix), format!("{}loop", table.prefix), "__END".into()];
            let values: Vec<(&str, i32)> = names.iter().map(String::as_str).zip([0, 1, 2]).collect();
            builder.enumeration(table.enumeration, 4, false, &values);
        }
        let bytes = builder.finish().unwrap();
        let text = generate(&Btf::parse(&bytes).unwrap(), "6.18").unwrap();
        assert!(text.contains("\n/// `enum bpf_cmd`.\npub mod cmd {\n    pub const first: u32 = 0;\n"), "{text}");
        assert!(text.contains("    pub const r#loop: u32 = 1;\n}\n\n/// The name of a helper"), "{text}");
        assert!(text.ends_with("    \"first\",\n    \"loop\",\n    \"MAX_ID\",\n];\n"), "{text}");
    }
}
