//! The C definitions in a script (`struct`, `union`, `enum`, `typedef`, `#define`) → the type model.
//!
//! Types that are named but not defined come from BTF. Headers are not read: the types that `#include`s are for are
//! in BTF too, and of their macros the ones that scripts use most are in [`constants`].

mod constants;
mod expressions;
mod layout;

use std::rc::Rc;

use crate::ast::{CDefinition, Span};
use crate::catalog::Catalog;
use crate::diagnostic::Diagnostic;
use crate::lexer::{Lexer, Token, TokenKind, is_word};
use crate::types::*;
use layout::Layout;

/// How deep structs, declarators and expressions may nest.
const MAX_DEPTH: u32 = 32;
/// Fields of one struct, values of one enum.
const MAX_MEMBERS: usize = 1 << 14;
/// Words that say nothing about a type's layout.
const IGNORED_WORDS: &[&str] =
    &["const", "volatile", "restrict", "__restrict", "extern", "static", "__user", "__rcu", "__percpu", "__iomem"];
/// Words that integer types are made of.
const INTEGER_WORDS: &[&str] = &["unsigned", "signed", "__signed__", "long", "short", "int", "char"];

/// Puts a script's definitions into the catalog. What is wrong is reported and left out.
pub fn define(definitions: &[CDefinition], catalog: &mut Catalog<'_>) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    for definition in definitions {
        if definition.text.starts_with('#') {
            directive(definition, catalog, &mut diagnostics);
            continue;
        }
        let mut parser = Parser::new(&definition.text, definition.span.start, catalog);
        if let Err(diagnostic) = parser.definition() {
            diagnostics.push(diagnostic);
        }
    }
    diagnostics
}

fn directive(definition: &CDefinition, catalog: &mut Catalog<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let rest = definition.text[1..].trim_start();
    let (keyword, argument) = split_word(rest);
    match keyword {
        "include" => {
            for &(name, value) in constants::WELL_KNOWN {
                catalog.constants.entry(name.to_owned()).or_insert(value);
            }
            let message = format!("headers are not read: the kernel's types come from BTF ({})", definition.text);
            diagnostics.push(Diagnostic::note(definition.span, message));
        }
        "define" => {
            let (name, body) = split_word(argument);
            if name.is_empty() || body.starts_with('(') {
                return;
            }
            // What is no number is substituted as text elsewhere, or used by nobody.
            let body = body.replace("\\\n", " ");
            let mut parser = Parser::new(&body, definition.span.start, catalog);
            parser.asks_btf = false;
            let value = parser.whole_constant();
            match value {
                Ok(value) => catalog.constants.insert(name.to_owned(), value),
                Err(_) => catalog.constants.remove(name),
            };
        }
        "undef" => {
            catalog.constants.remove(split_word(argument).0);
        }
        _ => {}
    }
}

/// The first word, and what follows it directly.
fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_at(text.find(|c: char| !is_word(c)).unwrap_or(text.len()))
}

type Parsed<T> = Result<T, Diagnostic>;

/// Over the text of one definition.
struct Parser<'a, 'c, 'h> {
    lexer: Lexer<'a>,
    token: Token<'a>,
    /// Where the text starts in the script.
    base: u32,
    catalog: &'c mut Catalog<'h>,
    /// Names of constants may be the kernel's enumerators; a `#define` is not worth the search.
    asks_btf: bool,
    depth: u32,
}

/// A type with its alignment in bytes, which the type model does not carry for all types.
#[derive(Clone, Debug)]
struct CType {
    ty: Type,
    align: u32,
    /// It was defined here, with a body.
    defined_here: bool,
}

/// What `__attribute__` says.
#[derive(Clone, Copy, Debug, Default)]
struct Attributes {
    packed: bool,
    align: Option<u32>,
}

/// A name with its type and, in a struct, its bit width.
struct Declarator {
    name: String,
    span: Span,
    ty: Type,
    align: u32,
    bits: Option<u32>,
}

impl<'a, 'c, 'h> Parser<'a, 'c, 'h> {
    fn new(text: &'a str, base: u32, catalog: &'c mut Catalog<'h>) -> Parser<'a, 'c, 'h> {
        let mut lexer = Lexer::new(text);
        let token = lexer.token();
        Parser { lexer, token, base, catalog, asks_btf: true, depth: 0 }
    }

    fn advance(&mut self) {
        self.token = self.lexer.token();
    }

    fn at(&self, punct: &str) -> bool {
        matches!(self.token.kind, TokenKind::Punct(p) if p == punct)
    }

    fn at_word(&self, word: &str) -> bool {
        matches!(self.token.kind, TokenKind::Ident(w) if w == word)
    }

    fn eat(&mut self, punct: &str) -> bool {
        let there = self.at(punct);
        if there {
            self.advance();
        }
        there
    }

    fn expect(&mut self, punct: &str) -> Parsed<()> {
        if self.eat(punct) { Ok(()) } else { Err(self.error(format!("expected '{punct}'"))) }
    }

    fn span(&self) -> Span {
        let Span { start, end } = self.token.span;
        Span { start: start.saturating_add(self.base), end: end.saturating_add(self.base) }
    }

    fn error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(self.span(), message)
    }

    fn deeper<T>(&mut self, rule: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_DEPTH {
            return Err(self.error("nested too deeply"));
        }
        self.depth += 1;
        let result = rule(self);
        self.depth -= 1;
        result
    }

    /// `struct x { … };`, `enum y { … };`, `typedef type name;`, `struct x;`.
    fn definition(&mut self) -> Parsed<()> {
        let is_typedef = self.at_word("typedef");
        if is_typedef {
            self.advance();
        }
        // A forward declaration says nothing: what is not defined comes from BTF.
        if !is_typedef && self.is_forward_declaration() {
            return Ok(());
        }
        let base = self.specifiers()?;
        while !self.at(";") && self.token.kind != TokenKind::End {
            let declarator = self.declarator(&base)?;
            if is_typedef {
                self.catalog.typedefs.insert(declarator.name, declarator.ty);
            }
            if !self.eat(",") {
                break;
            }
        }
        self.attributes()?;
        if self.token.kind != TokenKind::End {
            self.expect(";")?;
        }
        Ok(())
    }

    fn is_forward_declaration(&self) -> bool {
        let mut lexer = self.lexer.clone();
        matches!(self.token.kind, TokenKind::Ident("struct" | "union"))
            && matches!(lexer.token().kind, TokenKind::Ident(_))
            && matches!(lexer.token().kind, TokenKind::Punct(";"))
    }

    /// A type without its declarators.
    fn specifiers(&mut self) -> Parsed<CType> {
        let mut found: Option<CType> = None;
        let mut words: Vec<&'a str> = Vec::new();
        while let TokenKind::Ident(word) = self.token.kind {
            match word {
                _ if IGNORED_WORDS.contains(&word) => self.advance(),
                "__attribute__" | "__packed" => {
                    self.attributes()?;
                }
                "struct" | "union" if found.is_none() && words.is_empty() => {
                    found = Some(self.deeper(Self::structure)?);
                }
                "enum" if found.is_none() && words.is_empty() => found = Some(self.enumeration()?),
                _ if INTEGER_WORDS.contains(&word) && found.is_none() => {
                    words.push(word);
                    self.advance();
                }
                "float" | "double" if found.is_none() => {
                    // Not for computing with, but it takes its place.
                    let bytes = match (word, words.contains(&"long")) {
                        ("float", _) => 4,
                        (_, true) => 16,
                        _ => 8,
                    };
                    words.clear();
                    found = Some(CType { ty: Type::array(Type::U8, bytes), align: bytes, defined_here: false });
                    self.advance();
                }
                _ if found.is_none() && words.is_empty() => {
                    let Some(ty) = Type::builtin(word).or_else(|| self.catalog.find_typedef(word)) else {
                        return Err(self.error(format!("unknown type name '{word}'")));
                    };
                    let align = layout::align_of(&ty, self.catalog);
                    found = Some(CType { ty, align, defined_here: false });
                    self.advance();
                }
                _ => break,
            }
        }
        if let Some(found) = found {
            return Ok(found);
        }
        if words.is_empty() {
            return Err(self.error("expected a type"));
        }
        let ty = integer(&words);
        let align = layout::align_of(&ty, self.catalog);
        Ok(CType { ty, align, defined_here: false })
    }

    /// `struct name`, `struct name { … }`, `struct { … }`; also `union`.
    fn structure(&mut self) -> Parsed<CType> {
        let is_union = self.at_word("union");
        self.advance();
        let mut attributes = self.attributes()?;
        let name = match self.token.kind {
            TokenKind::Ident(name) => {
                self.advance();
                Some(name)
            }
            _ => None,
        };
        if !self.at("{") {
            let Some(name) = name else { return Err(self.error("expected '{'")) };
            return Ok(self.struct_reference(name, is_union));
        }
        // Known by its name inside of itself already.
        let declaration = StructType { name: name.unwrap_or("").to_owned(), is_union, ..StructType::default() };
        let existing = name.and_then(|name| self.undefined_struct(name, is_union));
        let id = match existing {
            Some(id) => id,
            None => self.catalog.structs.borrow_mut().add(declaration.clone()),
        };
        self.advance();
        let mut members = Vec::new();
        while !self.at("}") {
            if self.token.kind == TokenKind::End {
                return Err(self.error("expected '}'"));
            }
            self.members(&mut members)?;
            if members.len() > MAX_MEMBERS {
                return Err(self.error("too many fields"));
            }
        }
        self.advance();
        attributes.merge(self.attributes()?);
        let mut layout = Layout::new(is_union, attributes.packed);
        for member in members {
            let span = member.span;
            layout.place(member, self.catalog).map_err(|message| Diagnostic::error(span, message))?;
        }
        let definition = layout.finish(declaration, attributes.align).map_err(|message| self.error(message))?;
        let align = definition.align;
        self.catalog.structs.borrow_mut().set(id, definition);
        Ok(CType { ty: Type::Struct(id), align, defined_here: true })
    }

    /// A struct that was named but not defined yet.
    fn undefined_struct(&self, name: &str, is_union: bool) -> Option<StructId> {
        let structs = self.catalog.structs.borrow();
        let id = structs.find(name, is_union)?;
        structs.get(id).filter(|known| known.fields.is_empty() && known.bytes == 0).map(|_| id)
    }

    fn struct_reference(&mut self, name: &str, is_union: bool) -> CType {
        let id = self.catalog.find_struct(name, is_union).unwrap_or_else(|| {
            let declaration = StructType { name: name.to_owned(), is_union, ..StructType::default() };
            self.catalog.structs.borrow_mut().add(declaration)
        });
        let ty = Type::Struct(id);
        let align = layout::align_of(&ty, self.catalog);
        CType { ty, align, defined_here: false }
    }

    /// One line of a struct: a type and its declarators.
    fn members(&mut self, members: &mut Vec<Declarator>) -> Parsed<()> {
        if self.eat(";") {
            return Ok(());
        }
        let span = self.span();
        let base = self.specifiers()?;
        if self.at(";") || self.at("}") {
            // Members of an anonymous struct count as ours.
            if let Type::Struct(id) = base.ty
                && base.defined_here
                && self.catalog.structs.borrow().get(id).is_some_and(|inner| inner.name.is_empty())
            {
                members.push(Declarator {
                    name: String::new(),
                    span,
                    ty: base.ty.clone(),
                    align: base.align,
                    bits: None,
                });
            }
        }
        while !self.at(";") && !self.at("}") {
            let mut member = if self.at(":") {
                let span = self.span();
                Declarator { name: String::new(), span, ty: base.ty.clone(), align: base.align, bits: None }
            } else {
                self.declarator(&base)?
            };
            if self.eat(":") {
                let width = self.constant()?;
                member.bits = Some(u32::try_from(width).map_err(|_| self.error("invalid width of a bit field"))?);
            }
            let attributes = self.attributes()?;
            if attributes.packed {
                member.align = 1;
            }
            member.align = attributes.align.unwrap_or(member.align);
            members.push(member);
            if !self.eat(",") {
                break;
            }
        }
        // Compilers let the last `;` be left out, and so do scripts.
        if self.at("}") { Ok(()) } else { self.expect(";") }
    }

    /// `*name[4]`, `(*name)(int)`.
    fn declarator(&mut self, base: &CType) -> Parsed<Declarator> {
        self.deeper(|parser| parser.declarator_inner(base))
    }

    fn declarator_inner(&mut self, base: &CType) -> Parsed<Declarator> {
        let mut ty = base.ty.clone();
        let mut align = base.align;
        loop {
            if self.eat("*") {
                ty = Type::pointer(ty, AddressSpace::Unknown);
                align = 8;
            } else if matches!(self.token.kind, TokenKind::Ident(word) if IGNORED_WORDS.contains(&word)) {
                self.advance();
            } else if self.at_word("__attribute__") {
                self.attributes()?;
            } else {
                break;
            }
        }
        if self.eat("(") {
            // A pointer to a function or to an array: what it points to is not modelled.
            let pointer = CType { ty: Type::Void, align: 1, defined_here: false };
            let inner = self.declarator(&pointer)?;
            self.expect(")")?;
            self.skip_balanced()?;
            return Ok(inner);
        }
        let TokenKind::Ident(name) = self.token.kind else { return Err(self.error("expected a name")) };
        let (name, span) = (name.to_owned(), self.span());
        self.advance();
        let mut dims = Vec::new();
        while self.eat("[") {
            let len = if self.at("]") { 0 } else { self.constant()? };
            let Ok(len) = u32::try_from(len) else { return Err(self.error("invalid array length")) };
            dims.push(len);
            self.expect("]")?;
            if dims.len() > MAX_DEPTH as usize {
                return Err(self.error("too many dimensions"));
            }
        }
        if self.at("(") {
            self.skip_balanced()?;
            ty = Type::Void;
        }
        for len in dims.into_iter().rev() {
            ty = Type::array(ty, len);
        }
        Ok(Declarator { name, span, ty, align, bits: None })
    }

    /// Skips `(…)` and `[…]` after a declarator in brackets.
    fn skip_balanced(&mut self) -> Parsed<()> {
        while self.at("(") || self.at("[") {
            let mut depth = 0_u32;
            loop {
                match self.token.kind {
                    TokenKind::Punct("(" | "[") => depth += 1,
                    TokenKind::Punct(")" | "]") => depth -= 1,
                    TokenKind::End => return Err(self.error("expected ')'")),
                    _ => {}
                }
                self.advance();
                if depth == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// `enum name`, `enum name { A, B = 2 }`.
    fn enumeration(&mut self) -> Parsed<CType> {
        self.advance();
        self.attributes()?;
        let name = match self.token.kind {
            TokenKind::Ident(name) => {
                self.advance();
                Some(name)
            }
            _ => None,
        };
        if !self.at("{") {
            let Some(name) = name else { return Err(self.error("expected '{'")) };
            let Some(known) = self.catalog.find_enum(name) else {
                return Err(self.error(format!("unknown type 'enum {name}'")));
            };
            let align = u32::from(known.bytes);
            return Ok(CType { ty: Type::Enum(known), align, defined_here: false });
        }
        self.advance();
        let mut values: Vec<(i64, String)> = Vec::new();
        let mut next = 0_i64;
        while !self.at("}") {
            let TokenKind::Ident(name) = self.token.kind else { return Err(self.error("expected a name")) };
            self.advance();
            if self.eat("=") {
                next = self.constant()?;
            }
            values.push((next, name.to_owned()));
            // Known at once: later values may be made of it.
            self.catalog.constants.insert(name.to_owned(), next);
            next = next.wrapping_add(1);
            if values.len() > MAX_MEMBERS {
                return Err(self.error("too many values"));
            }
            if !self.eat(",") {
                break;
            }
        }
        self.expect("}")?;
        self.attributes()?;
        // The enum itself knows its names from now on.
        for (_, name) in &values {
            self.catalog.constants.remove(name);
        }
        let signed = values.iter().any(|&(value, _)| value < 0);
        let fits = |value: i64| if signed { i32::try_from(value).is_ok() } else { u32::try_from(value).is_ok() };
        let bytes = if values.iter().all(|&(value, _)| fits(value)) { 4 } else { 8 };
        let defined = EnumType { name: name.unwrap_or("").to_owned(), bytes, signed, values: Rc::new(values) };
        let defined = Rc::new(defined);
        self.catalog.enums.push(defined.clone());
        Ok(CType { ty: Type::Enum(defined), align: u32::from(bytes), defined_here: true })
    }

    /// `__attribute__((packed, aligned(8)))`, `__packed`, any number of them.
    fn attributes(&mut self) -> Parsed<Attributes> {
        let mut attributes = Attributes::default();
        loop {
            if self.at_word("__packed") {
                self.advance();
                attributes.packed = true;
                continue;
            }
            if !self.at_word("__attribute__") {
                return Ok(attributes);
            }
            self.advance();
            self.expect("(")?;
            self.expect("(")?;
            while !self.at(")") {
                self.attribute(&mut attributes)?;
                if !self.eat(",") {
                    break;
                }
            }
            self.expect(")")?;
            self.expect(")")?;
        }
    }

    fn attribute(&mut self, attributes: &mut Attributes) -> Parsed<()> {
        let TokenKind::Ident(name) = self.token.kind else { return Err(self.error("expected an attribute")) };
        self.advance();
        match name.trim_matches('_') {
            "packed" => attributes.packed = true,
            "aligned" if self.at("(") => {
                self.advance();
                let span = self.span();
                let align = self.constant()?;
                self.expect(")")?;
                let align = u32::try_from(align).ok().filter(|a| a.is_power_of_two() && *a <= layout::MAX_ALIGN);
                let Some(align) = align else {
                    return Err(Diagnostic::error(span, "an alignment must be a small power of two"));
                };
                attributes.align = Some(align);
            }
            // The largest alignment that any type needs.
            "aligned" => attributes.align = Some(16),
            // Others do not change the layout.
            _ => self.skip_balanced()?,
        }
        Ok(())
    }
}

impl Attributes {
    fn merge(&mut self, other: Attributes) {
        self.packed |= other.packed;
        self.align = self.align.max(other.align);
    }
}

/// The type that words like `unsigned long long int` mean, in any order (LP64).
fn integer(words: &[&str]) -> Type {
    let has = |word: &str| words.contains(&word);
    let bytes = if has("char") {
        1
    } else if has("short") {
        2
    } else if has("long") {
        8
    } else {
        4
    };
    Type::int(bytes, !has("unsigned"))
}

#[cfg(test)]
mod tests;
