//! Syntax tree → typed tree: resolves names, gives every expression a type,
//! and says what is wrong.
//!
//! Maps may be read before the statement that gives them their type, so all
//! programs are analyzed again and again until no type changes; only the last
//! round reports.

mod addresses;
mod builtins;
mod calls;
mod conversion;
mod expressions;
mod fields;
mod format;
mod maps;
mod operators;
mod statements;
mod type_names;
pub(crate) mod unify;

use std::collections::{HashMap, HashSet};

use crate::ast::{self, Span};
use crate::catalog::Catalog;
use crate::context::Context;
use crate::hir;
use crate::types::Type;
use crate::{Diagnostic, Feature, Options};

use maps::MapInfo;

/// Types settle within a few rounds; a script that needs more is refused.
const MAX_ROUNDS: u32 = 12;
/// Expressions nested deeper than this are refused (the parser bounds its own recursion too).
const MAX_DEPTH: u32 = 400;

/// A probe's body and what it finds when it runs there.
pub struct Site<'a> {
    pub probe: &'a ast::Probe,
    pub context: &'a Context,
}

/// The typed tree of all programs, with warnings; or errors (and warnings).
pub fn analyze(
    decls: &[&ast::MapDecl],
    sites: &[Site<'_>],
    catalog: &Catalog<'_>,
    options: &Options,
) -> Result<(hir::Script, Vec<Diagnostic>), Vec<Diagnostic>> {
    let Some(first) = sites.first() else { return Ok((hir::Script::default(), Vec::new())) };
    let mut analyzer = Analyzer {
        catalog,
        options,
        maps: Vec::new(),
        map_ids: HashMap::new(),
        declared_maps: HashMap::new(),
        diagnostics: Vec::new(),
        changed: false,
        depth: 0,
        variable_types: HashMap::new(),
        hoisted: HashMap::new(),
        probe: ProbeState::new(0, first.context),
    };
    for _ in 0..MAX_ROUNDS {
        analyzer.changed = false;
        analyzer.diagnostics.clear();
        for decl in decls {
            analyzer.declare_map(decl);
        }
        let mut programs = Vec::with_capacity(sites.len());
        for (index, site) in sites.iter().enumerate() {
            programs.push(analyzer.program(index, site));
        }
        if !analyzer.changed {
            for decl in decls.iter().filter(|d| !analyzer.map_ids.contains_key(&d.map.text)) {
                analyzer.diagnostics.push(Diagnostic::warning(decl.span, format!("Unused map: {}", decl.map.text)));
            }
            return analyzer.finish(programs);
        }
    }
    let message = "The types of the script's maps and variables depend on each other without end";
    Err(vec![Diagnostic::global(message)])
}

pub(crate) struct Analyzer<'a> {
    catalog: &'a Catalog<'a>,
    options: &'a Options,
    maps: Vec<MapInfo>,
    map_ids: HashMap<String, hir::MapId>,
    declared_maps: HashMap<String, hir::Declared>,
    diagnostics: Vec<Diagnostic>,
    /// A map's or variable's type is not what it was when a use of it was analyzed.
    changed: bool,
    depth: u32,
    /// Types that earlier rounds found for a program's variables, in order of declaration.
    variable_types: HashMap<(usize, u32), Type>,
    /// Variables used outside the block that sets them: they belong to the whole program.
    hoisted: HashMap<(usize, String), Span>,
    probe: ProbeState<'a>,
}

/// What is known in the middle of a program.
struct ProbeState<'a> {
    site: usize,
    context: &'a Context,
    variables: Vec<hir::Variable>,
    scopes: Vec<Scope>,
    /// Names that a closed block had.
    closed: HashSet<String>,
    loop_depth: u32,
    /// A variable has become one of the whole program in this round.
    renumbered: bool,
    /// How often unrolled loops repeat this place.
    unrolled: i64,
    /// Loops of any kind around this place: `break` is allowed.
    in_loop: u32,
}

#[derive(Default)]
struct Scope {
    names: HashMap<String, Binding>,
}

#[derive(Clone)]
enum Binding {
    Variable(hir::VarId, Span),
    /// The key and value of a `for` loop over this map.
    Element {
        var: hir::VarId,
        map: hir::MapId,
    },
}

impl<'a> ProbeState<'a> {
    fn new(site: usize, context: &'a Context) -> Self {
        ProbeState {
            site,
            context,
            variables: Vec::new(),
            scopes: vec![Scope::default()],
            closed: HashSet::new(),
            loop_depth: 0,
            renumbered: false,
            in_loop: 0,
            unrolled: 1,
        }
    }
}

impl<'a> Analyzer<'a> {
    fn program(&mut self, index: usize, site: &Site<'a>) -> hir::Program {
        self.probe = ProbeState::new(index, site.context);
        for (name, used) in self.hoisted_names(index) {
            self.warn(
                used,
                format!("Variable {name} is used outside of the block that sets it: it is 0 or empty until then."),
            );
            let var = self.new_variable(&name);
            self.probe.variables[var.0 as usize].hoisted = true;
            self.probe.scopes[0].names.insert(name, Binding::Variable(var, site.probe.span));
        }
        let predicate = site.probe.predicate.as_ref().and_then(|p| {
            let e = self.expression(p)?;
            self.condition(e)
        });
        let body = self.block(&site.probe.body);
        let variables = std::mem::take(&mut self.probe.variables);
        if self.probe.renumbered {
            // The next round numbers the variables otherwise: these types are others'.
            return hir::Program { predicate, body, variables };
        }
        for (i, variable) in variables.iter().enumerate() {
            let known = self.variable_types.insert((index, i as u32), variable.ty.clone());
            if known.as_ref() != Some(&variable.ty) && variable.ty != Type::Void {
                self.changed = true;
            }
        }
        hir::Program { predicate, body, variables }
    }

    /// Variables of the whole program, each with the place that made it one.
    fn hoisted_names(&self, site: usize) -> Vec<(String, Span)> {
        let of_site = self.hoisted.iter().filter(|((s, _), _)| *s == site);
        let mut names: Vec<(String, Span)> = of_site.map(|((_, name), span)| (name.clone(), *span)).collect();
        names.sort();
        names
    }

    fn finish(mut self, programs: Vec<hir::Program>) -> Result<(hir::Script, Vec<Diagnostic>), Vec<Diagnostic>> {
        let maps = self.finish_maps();
        // A probe with several attach points says everything as often.
        let mut seen = HashSet::new();
        self.diagnostics.retain(|d| seen.insert((d.span, d.message.clone())));
        self.diagnostics.sort_by_key(|d| !d.is_error());
        if self.diagnostics.iter().any(Diagnostic::is_error) {
            return Err(self.diagnostics);
        }
        Ok((hir::Script { maps, programs }, self.diagnostics))
    }

    /// Reports and gives nothing, so that `return self.error(…)` reads well.
    fn error<T>(&mut self, span: Span, message: impl Into<String>) -> Option<T> {
        self.diagnostics.push(Diagnostic::error(span, message));
        None
    }

    /// Reports if this kernel lacks a helper.
    fn require_helper(&mut self, helper: u32, span: Span, what: &str, since: &str) -> Option<()> {
        if self.catalog.host.has(Feature::Helper(helper)) {
            return Some(());
        }
        self.error_hint(
            span,
            format!("This kernel cannot do this: {what}"),
            format!("It takes Linux {since} or later (the helper bpf_{})", helper_name(helper)),
        )
    }

    fn error_hint<T>(&mut self, span: Span, message: impl Into<String>, hint: impl Into<String>) -> Option<T> {
        self.diagnostics.push(Diagnostic::error(span, message).with_hint(hint));
        None
    }

    fn warn(&mut self, span: Span, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::warning(span, message));
    }

    fn name_of(&self, ty: &Type) -> String {
        self.catalog.type_name(ty)
    }

    fn new_variable(&mut self, name: &str) -> hir::VarId {
        let id = self.probe.variables.len() as u32;
        let ty = self.variable_types.get(&(self.probe.site, id)).cloned().unwrap_or(Type::Void);
        self.probe.variables.push(hir::Variable {
            name: name.to_owned(),
            ty,
            writes: 0,
            hoisted: false,
            declared: false,
            loop_depth: self.probe.loop_depth,
            captured: false,
        });
        hir::VarId(id)
    }

    fn bind(&mut self, name: &str, binding: Binding) {
        if let Some(scope) = self.probe.scopes.last_mut() {
            scope.names.insert(name.to_owned(), binding);
        }
    }

    /// The innermost binding of a name, marking variables that a loop's body
    /// takes from outside.
    fn lookup(&mut self, name: &str) -> Option<Binding> {
        let binding = self.probe.scopes.iter().rev().find_map(|s| s.names.get(name)).cloned()?;
        let (Binding::Variable(var, _) | Binding::Element { var, .. }) = binding;
        let depth = self.probe.loop_depth;
        if let Some(variable) = self.probe.variables.get_mut(var.0 as usize)
            && variable.loop_depth < depth
        {
            variable.captured = true;
        }
        Some(binding)
    }

    fn variable(&mut self, var: hir::VarId) -> &mut hir::Variable {
        &mut self.probe.variables[var.0 as usize]
    }

    /// A variable that is in scope nowhere. If a closed block has set it, as
    /// old scripts do, it becomes one of the whole program.
    fn undefined_variable<T>(&mut self, name: &str, span: Span) -> Option<T> {
        let site = self.probe.site;
        if self.probe.closed.contains(name) && self.hoisted.insert((site, name.to_owned()), span).is_none() {
            self.variable_types.retain(|(s, _), _| *s != site);
            self.probe.renumbered = true;
            self.changed = true;
            return None;
        }
        let candidates: Vec<String> = self.probe.variables.iter().map(|v| v.name.clone()).collect();
        let hint = did_you_mean(name, candidates.iter().map(String::as_str));
        let diagnostic = Diagnostic::error(span, format!("Undefined or undeclared variable: {name}"));
        self.diagnostics.push(diagnostic.with_hints(hint));
        None
    }

    /// Runs `f` one level deeper, or reports that the script is nested too deeply.
    fn deeper<T>(&mut self, span: Span, f: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth >= MAX_DEPTH {
            return self.error(span, "expression is nested too deeply");
        }
        self.depth += 1;
        let result = f(self);
        self.depth -= 1;
        result
    }
}

fn helper_name(helper: u32) -> &'static str {
    isa::uapi::HELPER_NAMES.get(helper as usize).copied().unwrap_or("unknown")
}

/// A hint with the nearest of the names that would have been right.
pub(crate) fn did_you_mean<'n>(name: &str, candidates: impl IntoIterator<Item = &'n str>) -> Option<String> {
    crate::suggest(name, candidates).map(|near| format!("Did you mean '{near}'?"))
}
