//! Types of the kernel as C definitions: the answer to `skep list 'struct path'`.

use std::fmt::Write;

use btf::{Btf, Kind, Type};

use crate::glob::Glob;

/// How deeply definitions of anonymous members are written out.
const MAX_DEPTH: usize = 8;

/// Whether a pattern is about types (`struct path`, `enum pid_*`), not probes.
pub fn is_about_types(pattern: &str) -> bool {
    keyword_and_tag(pattern).is_some()
}

fn keyword_and_tag(pattern: &str) -> Option<(&str, &str)> {
    pattern.trim().split_once(' ').filter(|(keyword, _)| matches!(*keyword, "struct" | "union" | "enum"))
}

/// Structs, unions and enums that a pattern such as `struct path` or `enum pid_*` means, each as its name, or
/// with `full` as its C definition; sorted by name. `None`: not such a pattern.
pub fn definitions(pattern: &str, types: &Btf<'_>, full: bool) -> Option<Vec<String>> {
    let (keyword, tag) = keyword_and_tag(pattern)?;
    let glob = Glob::new(tag.trim());
    let mut found: Vec<Type<'_>> = if glob.is_literal() {
        types.find_c(pattern.trim()).into_iter().collect()
    } else {
        types
            .types()
            .filter(|ty| ty.kind.keyword() == Some(keyword) && !ty.name().is_empty() && glob.matches(ty.name()))
            .collect()
    };
    found.sort_by_key(|ty| (ty.name(), ty.id));
    let mut texts: Vec<String> = found
        .iter()
        .map(|ty| match full {
            true => {
                let mut text = String::new();
                write_definition(&mut text, types, ty, "", 0);
                text + ";"
            }
            false => types.type_name(ty.id),
        })
        .collect();
    texts.dedup();
    Some(texts)
}

/// `struct path {`, a line a member, `}`.
fn write_definition(text: &mut String, types: &Btf<'_>, ty: &Type<'_>, indent: &str, depth: usize) {
    // Writing to a string does not fail.
    let _ = match ty.name() {
        "" => writeln!(text, "{} {{", ty.kind.keyword().unwrap_or_default()),
        _ => writeln!(text, "{} {{", types.type_name(ty.id)),
    };
    for enumerator in ty.enumerators() {
        let _ = writeln!(text, "{indent}\t{} = {},", enumerator.name, enumerator.value);
    }
    for member in ty.members() {
        let _ = write!(text, "{indent}\t");
        match types.unqualified(member.ty) {
            // Anonymous types have no other place where their members could be seen.
            Ok(inner) if anonymous(&inner) && depth < MAX_DEPTH => {
                write_definition(text, types, &inner, &format!("{indent}\t"), depth + 1);
                if !member.name.is_empty() {
                    let _ = write!(text, " {}", member.name);
                }
            }
            _ => text.push_str(&types.declaration(member.ty, member.name)),
        }
        if member.bit_size != 0 {
            let _ = write!(text, ": {}", member.bit_size);
        }
        text.push_str(";\n");
    }
    let _ = write!(text, "{indent}}}");
}

fn anonymous(ty: &Type<'_>) -> bool {
    ty.name().is_empty() && matches!(ty.kind, Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernels_definitions() {
        let Some(types) = crate::kernel_types::vmlinux().ok().and_then(|bytes| Btf::parse(bytes).ok()) else {
            return println!("skipped: no BTF");
        };
        let path = definitions("struct path", &types, true).expect("a type pattern");
        assert_eq!(path, ["struct path {\n\tstruct vfsmount *mnt;\n\tstruct dentry *dentry;\n};"]);
        assert!(
            definitions("enum pid_type", &types, true).expect("a type pattern")[0].contains("\tPIDTYPE_PID = 0,\n")
        );
        assert!(definitions("struct pat?", &types, false).expect("a type pattern").contains(&"struct path".to_owned()));
        assert!(definitions("struct file", &types, true).expect("a type pattern")[0].contains("\n\tunion {\n\t\t"));
        assert_eq!(definitions("struct no_such_struct", &types, true), Some(vec![]));
        assert_eq!(definitions("kprobe:vfs_read", &types, true), None);
    }
}
