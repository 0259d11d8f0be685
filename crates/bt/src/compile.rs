//! The front door: a script's text → IR and a session plan.

use std::time::{Duration, Instant};

use object::SourceSpan;
use object::plan::{Plan, Probe};

use crate::ast::{self, ExprKind, Item, UnaryOp};
use crate::catalog::Catalog;
use crate::lower::{self, Input};
use crate::parser::{self, ParseOptions};
use crate::{Config, Diagnostic, Host, Options, c_definitions, probes, sema, sites};

/// What a script compiles to.
#[derive(Debug)]
pub struct Compiled {
    /// To be optimised and generated; then `plan.object` is whole.
    pub module: ir::Module,
    /// `object` is left empty. `probes[].program` counts the module's functions that are programs.
    pub plan: Plan,
    /// The settings that hold: those given, then the script's.
    pub config: Config,
    pub warnings: Vec<Diagnostic>,
    /// How long each phase took, in order.
    pub phases: Vec<(&'static str, Duration)>,
}

/// Compiles a script for the machine that `host` describes. `name` is what messages
/// and line information call it.
pub fn compile(name: &str, text: &str, host: &dyn Host, options: &Options) -> Result<Compiled, Vec<Diagnostic>> {
    let mut phases = Phases::start();
    let (script, mut warnings) = parser::parse(text, &ParseOptions { positional: &options.params });
    phases.end("parse");
    stop_at_errors(&mut warnings)?;
    let mut options = options.clone();
    warnings.extend(configure(&script, &mut options));
    stop_at_errors(&mut warnings)?;
    let mut catalog = Catalog::new(host);
    warnings.extend(c_definitions::define(&script.c_definitions, &mut catalog));
    stop_at_errors(&mut warnings)?;
    let (clauses, found) = probes::resolve(&script, host, &options);
    warnings.extend(found);
    stop_at_errors(&mut warnings)?;

    let mut probe_items = Vec::new();
    let mut decls = Vec::new();
    for item in &script.items {
        match item {
            Item::Probe(probe) => probe_items.push(probe),
            Item::MapDecl(decl) => decls.push(decl),
            Item::Macro(item) => {
                return Err(vec![Diagnostic::error(item.span, "macros are not supported yet")]);
            }
            Item::Fn(item) => {
                return Err(vec![Diagnostic::error(item.span, "functions are not supported yet")]);
            }
        }
    }
    if let Some(import) = script.imports.first() {
        return Err(vec![Diagnostic::error(import.span, "imports are not supported yet")]);
    }
    let planned = sites::plan(&probe_items, &clauses, &catalog, &options)?;
    phases.end("resolve");
    let sema_sites: Vec<sema::Site<'_>> =
        planned.iter().map(|s| sema::Site { probe: s.probe, context: &s.context }).collect();
    let (tree, found) = sema::analyze(&decls, &sema_sites, &catalog, &options)?;
    warnings.extend(found);
    phases.end("types");

    let source = object::Source { name: name.to_owned(), text: text.to_owned() };
    let inputs = planned
        .iter()
        .zip(&tree.programs)
        .map(|(site, program)| Input {
            program,
            context: &site.context,
            name: site.name.clone(),
            kind: site.kind.clone(),
            dispatch: site.dispatch.clone(),
            attachments: site.attachments.len(),
        })
        .collect();
    let output = lower::lower(&tree, inputs, &catalog, &options, source);
    let plan = Plan {
        probes: attachments(&planned),
        events: output.events,
        maps: output.maps,
        ring: output.ring,
        stacks: output.stacks,
        stack_overflow: output.stack_overflow,
        counters: output.counters,
        counter_meanings: output.counter_meanings,
        ..Plan::default()
    };
    phases.end("lower");
    Ok(Compiled { module: output.module, plan, config: options.config, warnings, phases: phases.ended })
}

/// How long the phases of a compilation took.
struct Phases {
    since: Instant,
    ended: Vec<(&'static str, Duration)>,
}

impl Phases {
    fn start() -> Phases {
        Phases { since: Instant::now(), ended: Vec::with_capacity(4) }
    }

    /// What was done since the last phase ended is this one.
    fn end(&mut self, phase: &'static str) {
        let now = Instant::now();
        self.ended.push((phase, now - self.since));
        self.since = now;
    }
}

/// All attachments of all programs, in the order in which they are to be made.
fn attachments(sites: &[sites::Site<'_>]) -> Vec<Probe> {
    let all: Vec<(usize, &sites::Attachment)> =
        sites.iter().enumerate().flat_map(|(i, s)| s.attachments.iter().map(move |a| (i, a))).collect();
    let providers: Vec<probes::Provider> = all.iter().map(|(_, a)| a.provider).collect();
    probes::attach_order(&providers)
        .into_iter()
        .map(|index| {
            let (program, a) = all[index];
            Probe {
                name: a.name.clone(),
                program: program as u32,
                attach: a.attach.clone(),
                stands_for: a.stands_for,
                span: SourceSpan { source: 0, start: a.span.start, end: a.span.end },
            }
        })
        .collect()
}

fn stop_at_errors(diagnostics: &mut Vec<Diagnostic>) -> Result<(), Vec<Diagnostic>> {
    if diagnostics.iter().any(Diagnostic::is_error) { Err(std::mem::take(diagnostics)) } else { Ok(()) }
}

/// Takes the script's `config` block.
fn configure(script: &ast::Script, options: &mut Options) -> Vec<Diagnostic> {
    let mut errors = Vec::new();
    for item in &script.config {
        let Some(value) = literal(&item.value) else {
            let message = format!("Invalid value for {}: expected a literal", item.key.text);
            errors.push(Diagnostic::error(item.value.span, message));
            continue;
        };
        if let Err(error) = options.config.set_from_script(&item.key.text.to_ascii_lowercase(), &value) {
            let span = item.key.span.to(item.value.span);
            errors.push(Diagnostic::error(span, error.to_string()));
        }
    }
    errors
}

fn literal(e: &ast::Expr) -> Option<String> {
    Some(match &e.kind {
        ExprKind::Int { value, .. } => value.to_string(),
        ExprKind::Bool(b) => u8::from(*b).to_string(),
        ExprKind::Str(text) | ExprKind::Ident(text) => text.clone(),
        ExprKind::Unary { op: UnaryOp::Neg, arg } => format!("-{}", literal(arg)?),
        _ => return None,
    })
}
