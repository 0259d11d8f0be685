//! Types as C writes them, and types by the name that C gives them.

use crate::kind::Kind;
use crate::layout::MAX_DEPTH;
use crate::{Btf, Type, TypeId};

/// Longest declaration that is written out; damaged BTF could make it grow without end.
const MAX_TEXT: usize = 4096;

impl<'d> Btf<'d> {
    /// The type as C text: `struct task_struct *`, `char[16]`, `int (*)(void *, size_t)`.
    /// Damaged or cyclic types are cut with `...`.
    pub fn type_name(&self, id: TypeId) -> String {
        self.declaration(id, "")
    }

    /// A declaration of `name` with this type: `char comm[16]`, `int (*release)(struct inode *, struct file *)`.
    pub fn declaration(&self, id: TypeId, name: &str) -> String {
        self.declare(id, name.to_owned(), 0)
    }

    /// C declarators grow from the name outwards while the type is read from
    /// the outside in: pointers go before what is there, arrays and parameters
    /// after it, in parentheses if a pointer came last.
    fn declare(&self, id: TypeId, mut declarator: String, depth: usize) -> String {
        let mut id = id;
        // Qualifiers of what comes next, a pointer or the innermost type.
        let mut qualifiers = String::new();
        for _ in depth..MAX_DEPTH {
            if declarator.len() > MAX_TEXT {
                break;
            }
            let Ok(ty) = self.get(id) else { return join("...", &declarator) };
            match ty.kind {
                Kind::Const | Kind::Volatile | Kind::Restrict => {
                    let word = match ty.kind {
                        Kind::Const => "const ",
                        Kind::Volatile => "volatile ",
                        _ => "restrict ",
                    };
                    qualifiers.push_str(word);
                }
                Kind::TypeTag => {}
                Kind::Ptr => {
                    declarator = match qualifiers.trim_end() {
                        "" => format!("*{declarator}"),
                        words => join(&format!("*{words}"), &declarator),
                    };
                    qualifiers.clear();
                }
                Kind::Array => {
                    let len = ty.array().map_or(0, |array| array.len);
                    declarator = parenthesized(declarator) + &format!("[{len}]");
                }
                Kind::FuncProto => {
                    declarator = parenthesized(declarator) + &self.parameters(&ty, depth + 1);
                }
                Kind::Func | Kind::Var | Kind::DeclTag => {
                    if declarator.is_empty() {
                        declarator = ty.name().to_owned();
                    }
                }
                _ => return join(&(qualifiers + &base_name(&ty)), &declarator),
            }
            let Some(next) = ty.target() else { return join("...", &declarator) };
            id = next;
        }
        join("...", &declarator)
    }

    fn parameters(&self, proto: &Type<'_>, depth: usize) -> String {
        if depth >= MAX_DEPTH {
            return "(...)".to_owned();
        }
        let count = proto.params().len();
        let mut text = String::from("(");
        for (index, param) in proto.params().enumerate() {
            if index > 0 {
                text.push_str(", ");
            }
            if text.len() > MAX_TEXT || (param.ty == TypeId::VOID && index + 1 == count) {
                text.push_str("...");
                break;
            }
            // Nested prototypes multiply: each level gets a share of the depth.
            text.push_str(&self.declare(param.ty, String::new(), depth + MAX_DEPTH / 8));
        }
        if count == 0 {
            text.push_str("void");
        }
        text + ")"
    }

    /// The type that C text names: `struct sock`, `union thread_union`, `enum pid_type`,
    /// `size_t`, `unsigned long`, or a bare tag (`sock`: typedef first, then
    /// struct, union, enum). Pointers and arrays are not read here. A full
    /// definition is preferred to a forward declaration.
    pub fn find_c<'b>(&'b self, text: &str) -> Option<Type<'b>> {
        let words: Vec<&str> =
            text.split_ascii_whitespace().filter(|word| !matches!(*word, "const" | "volatile")).collect();
        match words.as_slice() {
            ["struct", tag] => self.find(tag, Kind::Struct),
            ["union", tag] => self.find(tag, Kind::Union),
            ["enum", tag] => self.find(tag, Kind::Enum).or_else(|| self.find(tag, Kind::Enum64)),
            [name] if !is_integer_word(name) => {
                const ORDER: [Kind; 7] =
                    [Kind::Typedef, Kind::Struct, Kind::Union, Kind::Enum, Kind::Enum64, Kind::Int, Kind::Float];
                let found = self.find_all(name);
                ORDER.iter().find_map(|kind| found.iter().find(|ty| ty.kind == *kind).copied())
            }
            _ => integer_spellings(&words)?.iter().find_map(|name| self.find(name, Kind::Int)),
        }
    }
}

fn join(base: &str, declarator: &str) -> String {
    let glue = if declarator.is_empty() || declarator.starts_with('[') { "" } else { " " };
    format!("{base}{glue}{declarator}")
}

fn parenthesized(declarator: String) -> String {
    if declarator.starts_with('*') { format!("({declarator})") } else { declarator }
}

fn base_name(ty: &Type<'_>) -> String {
    let name = match ty.name() {
        "" if ty.kind == Kind::Void => "void",
        "" => "{...}",
        name => name,
    };
    match ty.kind {
        Kind::Fwd if ty.is_forward_union() => format!("union {name}"),
        Kind::Fwd => format!("struct {name}"),
        kind => kind.keyword().map_or_else(|| name.to_owned(), |keyword| format!("{keyword} {name}")),
    }
}

fn is_integer_word(word: &str) -> bool {
    matches!(word, "unsigned" | "signed" | "char" | "short" | "int" | "long")
}

/// How gcc and clang name an integer type in debugging information, gcc first.
fn integer_spellings(words: &[&str]) -> Option<&'static [&'static str]> {
    if words.is_empty() || !words.iter().all(|word| is_integer_word(word)) {
        return None;
    }
    let count = |which: &str| words.iter().filter(|word| **word == which).count();
    let unsigned = count("unsigned") > 0;
    Some(match (count("char"), count("short"), count("long"), unsigned) {
        (0, 0, 0, false) => &["int"],
        (0, 0, 0, true) => &["unsigned int"],
        (0, 1, 0, false) => &["short int", "short"],
        (0, 1, 0, true) => &["short unsigned int", "unsigned short"],
        (0, 0, 1, false) => &["long int", "long"],
        (0, 0, 1, true) => &["long unsigned int", "unsigned long"],
        (0, 0, 2, false) => &["long long int", "long long"],
        (0, 0, 2, true) => &["long long unsigned int", "unsigned long long"],
        (1, 0, 0, true) => &["unsigned char"],
        (1, 0, 0, false) if count("signed") > 0 => &["signed char"],
        (1, 0, 0, false) => &["char"],
        _ => return None,
    })
}
