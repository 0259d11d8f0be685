//! What a `printf` format asks of its arguments.

use super::Analyzer;
use crate::ast::Span;
use crate::hir::Expr;
use crate::types::*;

/// A conversion of a format: `d`, `s`, `r`, `rx`….
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversion(String);

/// The conversions of a format in order, and the format with every `%` that
/// starts none doubled, because it is text.
pub fn conversions(format: &str) -> (Vec<Conversion>, String) {
    let bytes = format.as_bytes();
    let mut found = Vec::new();
    let mut text = String::with_capacity(format.len());
    let (mut at, mut copied) = (0, 0);
    while at < bytes.len() {
        if bytes[at] != b'%' {
            at += 1;
            continue;
        }
        at += 1;
        let after_percent = at;
        if bytes.get(at) == Some(&b'%') {
            at += 1;
            continue;
        }
        let skip = |at: &mut usize, set: &[u8]| {
            while bytes.get(*at).is_some_and(|b| set.contains(b)) {
                *at += 1;
            }
        };
        skip(&mut at, b"-+ #0");
        skip(&mut at, b"0123456789");
        if bytes.get(at) == Some(&b'.') {
            at += 1;
            skip(&mut at, b"0123456789");
        }
        skip(&mut at, b"hlLjzt");
        match bytes.get(at) {
            Some(b'r') => {
                let rest = &format[at..];
                let name = ["rx", "rh"].into_iter().find(|n| rest.starts_with(n)).unwrap_or("r");
                found.push(Conversion(name.to_owned()));
                at += name.len();
            }
            Some(c) if b"diuoxXcsp".contains(c) => {
                found.push(Conversion(char::from(*c).to_string()));
                at += 1;
            }
            _ => {
                text.push_str(&format[copied..after_percent]);
                text.push('%');
                copied = after_percent;
            }
        }
    }
    text.push_str(&format[copied..]);
    (found, text)
}

impl Analyzer<'_> {
    /// Checks a format against its arguments; gives it as it is to be printed, and them as values.
    pub(super) fn format_arguments(
        &mut self,
        format: &str,
        args: Vec<Expr>,
        span: Span,
    ) -> Option<(String, Vec<Expr>)> {
        let (conversions, format) = conversions(format);
        let (supplied, expected) = (args.len(), conversions.len());
        if supplied != expected {
            let amount = if supplied < expected { "not enough" } else { "too many" };
            let message = format!("{amount} arguments for format string ({supplied} supplied, {expected} expected)");
            return self.error(span, message);
        }
        let mut checked = Vec::with_capacity(args.len());
        let mut fine = true;
        for (arg, conversion) in args.into_iter().zip(&conversions) {
            let Some(arg) = self.value(arg) else {
                fine = false;
                continue;
            };
            if !accepts(&conversion.0, &arg.ty) {
                let message =
                    format!("unsupported format specifier for type '{}': {}", self.name_of(&arg.ty), conversion.0);
                self.error::<()>(span, message);
                fine = false;
                continue;
            }
            // As in C, `%d` shows 32 bits with their sign.
            if matches!(&*conversion.0, "d" | "i") && arg.ty == Type::U32 {
                let span = arg.span;
                checked.extend(self.cast(arg, Type::I32, span));
                continue;
            }
            checked.push(arg);
        }
        fine.then_some((format, checked))
    }
}

/// Whether a conversion can show a type.
fn accepts(conversion: &str, ty: &Type) -> bool {
    if *ty == Type::Void {
        return true;
    }
    match conversion {
        "s" => !matches!(ty, Type::Aggregate(_)),
        "r" | "rx" | "rh" => matches!(ty, Type::Buf { .. }),
        _ => {
            ty.is_integral()
                || ty.is_pointer()
                || matches!(ty, Type::KSym | Type::USym | Type::Username | Type::CgroupPath | Type::Errno)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(format: &str) -> Vec<String> {
        conversions(format).0.into_iter().map(|c| c.0).collect()
    }

    #[test]
    fn finds_conversions() {
        assert_eq!(
            names("%s %-16s %5d %05.2d %llx %% %rx %rh %r %c%p"),
            ["s", "s", "d", "d", "x", "rx", "rh", "r", "c", "p"]
        );
        assert!(names("100%").is_empty());
        assert!(names("%z %").is_empty());
        assert_eq!(names("é%sé"), ["s"]);
    }

    #[test]
    fn a_percent_sign_that_starts_nothing_is_text() {
        let text = |format| conversions(format).1;
        assert_eq!(text("100% %d %% %"), "100%% %d %% %%");
        assert_eq!(text("%5"), "%%5");
        assert_eq!(text("%-é%s"), "%%-é%s");
        assert_eq!(text("%*d%5%d"), "%%*d%%5%d");
    }
}
