//! The `format` file of a tracepoint (tracefs `events/CATEGORY/NAME/format`) → its record's fields.
//!
//! ```text
//! name: sched_switch
//! ID: 372
//! format:
//!     field:unsigned short common_type;  offset:0;  size:2;  signed:0;
//!     field:__data_loc char[] name;      offset:8;  size:4;  signed:0;
//! print fmt: …
//! ```
//! Written by `kernel/trace/trace_events.c` (`f_show`). Lines that are not understood are left out.

use crate::catalog::Catalog;
use crate::types::*;

/// A field of a tracepoint's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatField {
    pub name: String,
    /// The type as the file says it, without name and array length: `unsigned short`, `char`, `struct callback_head *`.
    pub c_type: String,
    /// Bytes from the start of the record.
    pub offset: u32,
    /// Bytes in the record.
    pub size: u32,
    pub signed: bool,
    /// Number of elements of an array; 0 where the length is not in the file (`char name[]`, `__data_loc`).
    pub array: Option<u32>,
    pub place: FieldPlace,
}

/// More fields than any record has (64 kB of bytes).
const MAX_FIELDS: usize = 1 << 16;
/// Records are below 64 kB: `PERF_MAX_TRACE_SIZE` is 8 kB, a trace event's limit a page.
const MAX_RECORD: u32 = 1 << 16;

/// The fields of a format file, in the file's order, the `common_` ones included.
pub fn parse_format(text: &str) -> Vec<FormatField> {
    text.lines()
        .map_while(|line| if line.starts_with("print fmt") { None } else { Some(line) })
        .filter_map(parse_line)
        .take(MAX_FIELDS)
        .collect()
}

/// The record as a struct, named `name`. `user` says that pointers without `__user` lead
/// to user memory all the same (arguments of system calls).
pub fn record_type(name: &str, fields: &[FormatField], user: bool, catalog: &Catalog<'_>) -> StructType {
    let bytes = fields.iter().map(|field| field.offset + field.size).max().unwrap_or(0);
    let fields = fields
        .iter()
        .map(|field| StructField {
            name: field.name.clone(),
            ty: field.ty(user, catalog),
            offset: field.offset,
            bits: None,
            place: field.place,
        })
        .collect();
    StructType { name: name.to_owned(), is_union: false, bytes, align: 8, fields }
}

impl FormatField {
    /// Whether it belongs to every tracepoint, so that people do not mean it.
    pub fn is_common(&self) -> bool {
        self.name.starts_with("common_")
    }

    /// The field's type. What neither the file nor BTF explains is an integer of the field's size, or bytes.
    pub fn ty(&self, user: bool, catalog: &Catalog<'_>) -> Type {
        let words: Vec<&str> = self.c_type.split_whitespace().filter(|word| !is_qualifier(word)).collect();
        let user = user || self.c_type.contains("__user");
        let base = words.join(" ");
        let (base, pointers) = match base.find('*') {
            Some(at) => (base[..at].trim_end(), base.matches('*').count()),
            None => (base.as_str(), 0),
        };
        if pointers > 0 {
            let space = if user { AddressSpace::User } else { AddressSpace::Unknown };
            let pointee = named_type(base, catalog).unwrap_or(Type::Void);
            let pointer = (0..pointers.min(MAX_POINTERS)).fold(pointee, |to, _| Type::pointer(to, space));
            return match self.array {
                Some(len) => Type::array(pointer, len),
                None => pointer,
            };
        }
        match self.array {
            Some(0) if self.place == FieldPlace::Direct => {
                let elem = named_type(base, catalog).unwrap_or(Type::U8);
                let elem_size = catalog.size_of(&elem).unwrap_or(1).max(1);
                Type::array(elem, self.size / elem_size)
            }
            Some(len) => {
                let elem_size = self.size.checked_div(len).unwrap_or(1);
                let elem = named_type(base, catalog).unwrap_or_else(|| self.opaque(elem_size));
                Type::array(elem, len)
            }
            None => match named_type(base, catalog) {
                // The file knows best how wide an integer is here and whether it is signed.
                Some(Type::Int(_)) | None => self.opaque(self.size),
                Some(ty) => ty,
            },
        }
    }

    /// So many bytes without a known meaning.
    fn opaque(&self, size: u32) -> Type {
        match size {
            1 | 2 | 4 | 8 => Type::int(size as u8, self.signed),
            _ => Type::array(Type::U8, size),
        }
    }
}

/// More stars than this mean nothing.
const MAX_POINTERS: usize = 4;

fn is_qualifier(word: &str) -> bool {
    matches!(word, "const" | "volatile" | "__user" | "__rcu" | "__percpu" | "__iomem" | "restrict")
}

fn named_type(base: &str, catalog: &Catalog<'_>) -> Option<Type> {
    if let Some(name) = base.strip_prefix("struct ") {
        return catalog.find_struct(name, false).map(Type::Struct);
    }
    if let Some(name) = base.strip_prefix("union ") {
        return catalog.find_struct(name, true).map(Type::Struct);
    }
    if let Some(name) = base.strip_prefix("enum ") {
        return catalog.find_enum(name).map(Type::Enum);
    }
    Type::builtin(base).or_else(|| catalog.find_typedef(base))
}

/// `\tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;`
fn parse_line(line: &str) -> Option<FormatField> {
    let declaration = line.trim_start().strip_prefix("field:")?;
    let (declaration, rest) = declaration.split_once(';')?;
    let mut offset = None;
    let mut size = None;
    let mut signed = false;
    for attribute in rest.split(';') {
        let Some((key, value)) = attribute.trim().split_once(':') else { continue };
        match key {
            "offset" => offset = value.parse::<u32>().ok(),
            "size" => size = value.parse::<u32>().ok(),
            "signed" => signed = value == "1",
            _ => {}
        }
    }
    let (offset, size) = (offset?, size?);
    if offset > MAX_RECORD || size > MAX_RECORD {
        return None;
    }
    let declaration = declaration.trim();
    let (declaration, place) = if let Some(rest) = declaration.strip_prefix("__data_loc ") {
        (rest, FieldPlace::DataLoc)
    } else if let Some(rest) = declaration.strip_prefix("__rel_loc ") {
        (rest, FieldPlace::RelLoc)
    } else {
        (declaration, FieldPlace::Direct)
    };
    let (c_type, name, array) = split_declaration(declaration)?;
    let array = if place == FieldPlace::Direct { array } else { Some(0) };
    Some(FormatField { name: name.to_owned(), c_type: c_type.to_owned(), offset, size, signed, array, place })
}

/// `char prev_comm[16]`, `char[] name`, `void * p`, `u8 x` → type, name, array length.
fn split_declaration(declaration: &str) -> Option<(&str, &str, Option<u32>)> {
    let (declaration, mut array) = match declaration.strip_suffix(']').and_then(|d| d.rsplit_once('[')) {
        // A length that is an expression (`[MAX_ORDER+1]`) is worked out from the size later; it is 0 until then.
        Some((before, length)) => (before.trim_end(), Some(length.trim().parse().unwrap_or(0))),
        None => (declaration, None),
    };
    let name_start = declaration.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map_or(0, |at| at + 1);
    // `at` is a character that is not of the name: it may be longer than a byte.
    let (c_type, name) = declaration.split_at_checked(name_start)?;
    let mut c_type = c_type.trim_end();
    if let Some((before, _)) = c_type.split_once('[') {
        c_type = before.trim_end();
        array = array.or(Some(0));
    }
    if name.is_empty() || c_type.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some((c_type, name, array))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(line: &str) -> (String, String, u32, u32, bool, Option<u32>, FieldPlace) {
        let f = parse_line(line).unwrap();
        (f.c_type, f.name, f.offset, f.size, f.signed, f.array, f.place)
    }

    #[test]
    fn lines() {
        assert_eq!(
            field("\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;"),
            ("unsigned short".into(), "common_type".into(), 0, 2, false, None, FieldPlace::Direct)
        );
        assert_eq!(
            field("\tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;"),
            ("char".into(), "prev_comm".into(), 8, 16, false, Some(16), FieldPlace::Direct)
        );
        assert_eq!(
            field("\tfield:__data_loc char[] name;\toffset:8;\tsize:4;\tsigned:1;"),
            ("char".into(), "name".into(), 8, 4, true, Some(0), FieldPlace::DataLoc)
        );
        assert_eq!(
            field("\tfield:const char * filename;\toffset:16;\tsize:8;\tsigned:0;"),
            ("const char *".into(), "filename".into(), 16, 8, false, None, FieldPlace::Direct)
        );
        assert_eq!(field("\tfield:__rel_loc u8[] data;\toffset:16;\tsize:4;\tsigned:0;").6, FieldPlace::RelLoc);
    }

    #[test]
    fn anything_else_is_left_out() {
        for text in [
            "",
            "field:",
            "field:;",
            "field:int;offset:0;size:4;",
            "field:int x;size:4;",
            "field:int x;offset:99999999999;size:4;signed:0;",
            "field:int x;offset:4294967295;size:4;signed:0;",
            "field:é;offset:0;size:4;",
            "field:int é;offset:0;size:4;",
            "field:int x[;offset:0;size:4;",
            "field:] x;offset:0;size",
        ] {
            parse_format(text);
        }
        assert!(parse_format("print fmt: field:int x; offset:0; size:4;").is_empty());
    }
}
