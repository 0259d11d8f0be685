//! What stands outside of probes: C definitions, `config`, imports, macros, functions, map declarations.

use super::{Failed, Parsed, Parser};
use crate::ast::{
    CDefinition, ConfigItem, Expr, ExprKind, FnDef, Import, Item, Macro, MacroParam, MapDecl, Name, Script,
};
use crate::lexer::TokenKind;

impl<'a> Parser<'a> {
    pub(super) fn script(&mut self) -> Script {
        let mut script = Script::default();
        while !self.at_end() {
            let before = self.token.span.start;
            if self.top_level(&mut script).is_err() {
                self.recover_at_top_level(before);
            }
        }
        script.imports.append(&mut self.imports);
        self.check_conditionals_closed();
        script
    }

    fn top_level(&mut self, script: &mut Script) -> Parsed<()> {
        match self.token.kind {
            TokenKind::Directive(line) => self.directive(line, &mut script.c_definitions),
            TokenKind::Ident("struct" | "union" | "enum" | "typedef") if self.at_c_definition() => {
                script.c_definitions.push(self.c_definition()?);
            }
            TokenKind::Ident("config") if matches!(self.second(), TokenKind::Punct("=" | "{")) => {
                if !script.items.is_empty() {
                    self.error_here("config must appear before probes and functions");
                }
                self.config(&mut script.config)?;
            }
            TokenKind::Ident("import") => script.imports.push(self.import()?),
            TokenKind::Ident("macro") => script.items.push(Item::Macro(self.macro_definition()?)),
            TokenKind::Ident("fn") => script.items.push(Item::Fn(self.function()?)),
            TokenKind::Ident("let") => script.items.push(Item::MapDecl(self.map_declaration()?)),
            TokenKind::Punct(";") => self.advance(),
            _ => script.items.push(Item::Probe(self.probe()?)),
        }
        Ok(())
    }

    /// Skips to where the next item may start: past a block, a `;` or a stray `}`.
    fn recover_at_top_level(&mut self, before: u32) {
        if self.token.span.start == before && !self.at("{") && !self.at_end() {
            self.advance();
        }
        let mut depth = 0_u32;
        while !self.at_end() {
            let (opens, closes, ends) = (self.at("{"), self.at("}"), self.at(";"));
            if opens {
                depth += 1;
            }
            if closes {
                depth = depth.saturating_sub(1);
            }
            self.advance();
            if depth == 0 && (closes || ends) {
                return;
            }
        }
    }

    /// Whether `struct …` has a body or is a typedef, rather than being an odd attach point.
    fn at_c_definition(&self) -> bool {
        let rest = &self.text[self.token.span.start as usize..];
        let end = rest.find([':', '/', ',', ';', '{']);
        self.at_word("typedef") || end.is_some_and(|end| matches!(rest.as_bytes()[end], b'{' | b';'))
    }

    /// Takes the text of a definition: to the `;` outside of braces, or, as bpftrace allows, to the
    /// closing brace and its attributes when no `;` follows.
    fn c_definition(&mut self) -> Parsed<CDefinition> {
        let start = self.token.span.start;
        let is_typedef = self.at_word("typedef");
        let mut depth = 0_u32;
        let mut last_word = "";
        loop {
            match self.token.kind {
                TokenKind::End => return self.fail("expected '}'"),
                TokenKind::Punct("{" | "(" | "[") => depth += 1,
                TokenKind::Punct("}" | ")" | "]") => depth = depth.saturating_sub(1),
                TokenKind::Ident(word) if depth == 0 => last_word = word,
                _ => {}
            }
            let closes = depth == 0 && self.at("}");
            let ends = depth == 0 && self.at(";");
            self.advance();
            if closes {
                self.attributes()?;
            }
            if ends || (closes && !is_typedef) {
                break;
            }
        }
        if is_typedef {
            self.typedefs.insert(last_word);
        }
        let span = self.since(start);
        let mut text = self.text[span.start as usize..span.end as usize].to_owned();
        if !text.ends_with(';') {
            text.push(';');
        }
        self.eat(";");
        Ok(CDefinition { text, span })
    }

    /// `__attribute__((…))`, any number of them.
    fn attributes(&mut self) -> Parsed<()> {
        while self.eat_word("__attribute__") {
            let open = self.token.span;
            if !self.at("(") || !self.text[open.end as usize..].starts_with('(') {
                return self.fail("__attribute__ syntax error, expected '(('");
            }
            let mut depth = 0_u32;
            loop {
                match self.token.kind {
                    TokenKind::Punct("(") => depth += 1,
                    TokenKind::Punct(")") => depth -= 1,
                    TokenKind::End => {
                        self.error_at(open, "__attribute__ syntax error, mismatched '(' and ')'");
                        return Err(Failed);
                    }
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

    fn config(&mut self, items: &mut Vec<ConfigItem>) -> Parsed<()> {
        self.advance();
        self.expect("=")?;
        self.expect("{")?;
        while !self.at("}") && !self.at_end() {
            if self.eat(";") {
                continue;
            }
            match self.config_item() {
                Ok(item) => items.push(item),
                Err(Failed) => self.skip_to(&[";", "}"]),
            }
        }
        self.expect("}")?;
        self.eat(";");
        Ok(())
    }

    fn config_item(&mut self) -> Parsed<ConfigItem> {
        let key = self.name("expected config key")?;
        self.expect("=")?;
        let start = self.token.span.start;
        let value = match self.token.kind {
            TokenKind::Int { .. } | TokenKind::Str(_) | TokenKind::Punct("-") => self.unary()?,
            TokenKind::Ident(word) => {
                let kind = match word {
                    "true" => ExprKind::Bool(true),
                    "false" => ExprKind::Bool(false),
                    word => ExprKind::Ident(word.to_owned()),
                };
                self.advance();
                Expr { kind, span: self.since(start) }
            }
            _ => return self.fail("expected string, int, boolean, or ident"),
        };
        if !self.at("}") && !self.eat(",") {
            self.expect(";")?;
        }
        Ok(ConfigItem { key, value })
    }

    /// Skips to the first of these.
    fn skip_to(&mut self, stops: &[&str]) {
        while !self.at_end() && !stops.iter().any(|stop| self.at(stop)) {
            self.advance();
        }
    }

    pub(super) fn import(&mut self) -> Parsed<Import> {
        self.advance();
        let (path, span) = self.string("expected string after 'import'")?;
        if !self.eat(";") {
            return self.fail("expected ';' after import");
        }
        Ok(Import { path, span })
    }

    fn macro_definition(&mut self) -> Parsed<Macro> {
        let start = self.token.span.start;
        self.advance();
        let name = self.name("expected macro name")?;
        self.expect("(")?;
        let mut params = Vec::new();
        while !self.at(")") {
            params.push(self.macro_param()?);
            if !self.eat(",") {
                break;
            }
        }
        self.expect(")")?;
        let body = self.block_with_value()?;
        Ok(Macro { name, params, body, span: self.since(start) })
    }

    fn macro_param(&mut self) -> Parsed<MacroParam> {
        let span = self.token.span;
        let param = match self.token.kind {
            TokenKind::Var(text) => MacroParam::Var(Name { text: text.to_owned(), span }),
            TokenKind::Map(text) => MacroParam::Map(Name { text: text.to_owned(), span }),
            TokenKind::Ident(text) => MacroParam::Expr(Name { text: text.to_owned(), span }),
            _ => return self.fail("expected macro argument ($var, @map, or identifier)"),
        };
        self.advance();
        Ok(param)
    }

    fn function(&mut self) -> Parsed<FnDef> {
        let start = self.token.span.start;
        self.advance();
        let name = self.name("expected function name")?;
        self.expect("(")?;
        let mut params = Vec::new();
        while !self.at(")") {
            let param = self.variable("expected variable in function argument")?;
            self.expect(":")?;
            params.push((param, self.type_name()?));
            if !self.eat(",") {
                break;
            }
        }
        self.expect(")")?;
        self.expect(":")?;
        let ret = self.type_name()?;
        let body = self.block_of_statements()?;
        Ok(FnDef { name, params, ret, body, span: self.since(start) })
    }

    /// `let @m = lruhash(100);`
    fn map_declaration(&mut self) -> Parsed<MapDecl> {
        let start = self.token.span.start;
        self.advance();
        let TokenKind::Map(map) = self.token.kind else {
            return self.fail("root-level let statements need to be map declarations, e.g. let @a = hash(2);");
        };
        let map = Name { text: map.to_owned(), span: self.token.span };
        self.advance();
        self.expect("=")?;
        let kind = self.name("expected map type name")?;
        self.expect("(")?;
        if self.at(")") {
            return self.fail("expected positive integer for map declaration max entries");
        }
        let args = self.arguments(")")?;
        let span = self.since(start);
        self.eat(";");
        Ok(MapDecl { map, kind, args, span })
    }
}
