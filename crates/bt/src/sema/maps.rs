//! What is known about the script's maps.

use isa::uapi::map_type;

use super::Analyzer;
use super::unify::unify;
use crate::Diagnostic;
use crate::ast::{self, Span};
use crate::hir;
use crate::storage;
use crate::types::*;

/// Most bytes of a key on old kernels (`htab_map_alloc_check` in kernel/bpf/hashtab.c: the size of the
/// stack), less the bucket number of a histogram.
const OLD_KEY_BYTES: u32 = 504;

/// A map so far. `Void` is a type not known yet.
pub(crate) struct MapInfo {
    pub name: String,
    pub span: Span,
    /// Whether it is used with a key.
    pub keyed: Option<bool>,
    pub key: Type,
    pub value: Type,
    pub declared: Option<hir::Declared>,
}

impl Analyzer<'_> {
    pub(super) fn map_id(&mut self, name: &str, span: Span) -> hir::MapId {
        if let Some(id) = self.map_ids.get(name) {
            return *id;
        }
        let id = hir::MapId(self.maps.len() as u32);
        self.maps.push(MapInfo {
            name: name.to_owned(),
            span,
            keyed: None,
            key: Type::Void,
            value: Type::Void,
            declared: self.declared_maps.get(name).copied(),
        });
        self.map_ids.insert(name.to_owned(), id);
        id
    }

    pub(super) fn map(&self, id: hir::MapId) -> &MapInfo {
        &self.maps[id.0 as usize]
    }

    pub(super) fn declare_map(&mut self, decl: &ast::MapDecl) {
        let map_type = match decl.kind.text.as_str() {
            "hash" => map_type::HASH,
            "lruhash" => map_type::LRU_HASH,
            "percpuhash" => map_type::PERCPU_HASH,
            "percpulruhash" => map_type::LRU_PERCPU_HASH,
            "percpuarray" => map_type::PERCPU_ARRAY,
            other => {
                let message = format!("Invalid bpf map type: {other}");
                let hint = "Valid map types: percpulruhash, percpuarray, percpuhash, lruhash, hash";
                self.diagnostics.push(Diagnostic::error(decl.kind.span, message).with_hint(hint));
                return;
            }
        };
        let Some(max_entries) = decl.args.first().and_then(|a| match a.kind {
            ast::ExprKind::Int { value, .. } => u32::try_from(value).ok().filter(|n| *n > 0),
            _ => None,
        }) else {
            self.diagnostics
                .push(Diagnostic::error(decl.span, "A map declaration takes the number of elements, at least 1"));
            return;
        };
        let declared = hir::Declared { map_type, max_entries };
        self.declared_maps.insert(decl.map.text.clone(), declared);
        if let Some(id) = self.map_ids.get(&decl.map.text) {
            self.maps[id.0 as usize].declared = Some(declared);
        }
    }

    /// The map of `@name[key]` with its key, of the map's type as far as known.
    pub(super) fn map_access(
        &mut self,
        name: &str,
        key: &[ast::Expr],
        span: Span,
    ) -> Option<(hir::MapId, Option<hir::Expr>)> {
        let id = self.map_id(name, span);
        let key = match key {
            [] => None,
            [one] => Some(self.expression(one)?),
            several => {
                let parts = several.iter().map(|e| self.expression(e)).collect::<Option<Vec<_>>>()?;
                let parts = parts.into_iter().map(|p| self.key_part(p)).collect::<Option<Vec<_>>>()?;
                let span = parts.first().zip(parts.last()).map_or(span, |(a, b)| a.span.to(b.span));
                let ty = Type::Tuple(std::rc::Rc::new(parts.iter().map(|p| p.ty.clone()).collect()));
                Some(hir::Expr { kind: hir::ExprKind::Tuple(parts), ty, span })
            }
        };
        let key = match key {
            Some(key) => Some(self.key_part(key)?),
            None => None,
        };
        self.use_map(id, key.as_ref(), span)?;
        Some((id, key))
    }

    /// An expression as (part of) a key.
    pub(super) fn key_part(&mut self, e: hir::Expr) -> Option<hir::Expr> {
        let e = self.value(e)?;
        if matches!(e.ty, Type::Aggregate(_)) {
            let message = format!("{} cannot be used as a map key", e.ty);
            return self.error(e.span, message);
        }
        Some(e)
    }

    /// Notes that a map is used with (or without) a key of this type.
    pub(super) fn use_map(&mut self, id: hir::MapId, key: Option<&hir::Expr>, span: Span) -> Option<()> {
        let name = self.map(id).name.clone();
        match (self.map(id).keyed, key.is_some()) {
            (None, keyed) => {
                self.maps[id.0 as usize].keyed = Some(keyed);
                self.changed = true;
            }
            (Some(true), false) => {
                return self.error(
                    span,
                    format!("{name} used as a map without an explicit key (scalar map), previously used with an explicit key (non-scalar map)"),
                );
            }
            (Some(false), true) => {
                return self.error(
                    span,
                    format!("{name} used as a map with an explicit key (non-scalar map), previously used without an explicit key (scalar map)"),
                );
            }
            _ => {}
        }
        let Some(key) = key else { return Some(()) };
        match unify(&self.map(id).key, &key.ty) {
            Some(ty) => {
                let ty = self.fit_key(ty);
                if ty != self.map(id).key {
                    self.maps[id.0 as usize].key = ty;
                    self.changed = true;
                }
                Some(())
            }
            None => {
                let (used, expected) = (self.name_of(&key.ty), self.name_of(&self.map(id).key));
                self.error(
                    span,
                    format!("Argument mismatch for {name}: trying to access with arguments: '{used}' when map expects arguments: '{expected}'"),
                )
            }
        }
    }

    /// A key type that this kernel takes: before 6.0 keys are short, and
    /// the strings in them are cut.
    fn fit_key(&self, ty: Type) -> Type {
        if self.catalog.host.kernel_version() >= (6, 0, 0) {
            return ty;
        }
        let size = storage::size_of(&ty, self.catalog);
        if size <= OLD_KEY_BYTES {
            return ty;
        }
        match &ty {
            Type::Str { .. } => Type::Str { size: OLD_KEY_BYTES },
            Type::Tuple(fields) => {
                // What is not a long string keeps its place; those share the rest.
                let is_long = |f: &Type| matches!(f, Type::Str { size } if *size > 16);
                let long = fields.iter().filter(|f| is_long(f)).count() as u32;
                let others: u32 =
                    fields.iter().filter(|f| !is_long(f)).map(|f| storage::size_of(f, self.catalog)).sum();
                let each = OLD_KEY_BYTES.saturating_sub(others) / long.max(1) / 8 * 8;
                let fit = |f: &Type| match f {
                    Type::Str { size } if is_long(f) => Type::Str { size: (*size).min(each.max(8)) },
                    other => other.clone(),
                };
                Type::Tuple(std::rc::Rc::new(fields.iter().map(fit).collect()))
            }
            _ => ty,
        }
    }

    /// Notes that a value of this type is stored in a map.
    pub(super) fn assign_map(&mut self, id: hir::MapId, ty: &Type, span: Span) -> Option<()> {
        if *ty == Type::Void {
            return Some(());
        }
        match unify(&self.map(id).value, ty) {
            Some(unified) => {
                if unified != self.map(id).value {
                    self.maps[id.0 as usize].value = unified;
                    self.changed = true;
                }
                Some(())
            }
            None => {
                let (new, old) = (self.name_of(ty), self.name_of(&self.map(id).value));
                let name = &self.map(id).name;
                let message = format!(
                    "Type mismatch for {name}: trying to assign value of type '{new}' when map already has a type '{old}'"
                );
                self.error(span, message)
            }
        }
    }

    /// A map given as such to a function (`print(@x)`): it must have a type by the end.
    pub(super) fn map_argument(&mut self, name: &str, span: Span) -> Option<hir::MapId> {
        let id = self.map_id(name, span);
        if self.map(id).keyed.is_none() || self.map(id).value == Type::Void {
            return self.undefined_map(name, span);
        }
        Some(id)
    }

    pub(super) fn undefined_map<T>(&mut self, name: &str, span: Span) -> Option<T> {
        let known: Vec<String> = self.maps.iter().filter(|m| m.value != Type::Void).map(|m| m.name.clone()).collect();
        let hint = super::did_you_mean(name, known.iter().map(String::as_str));
        self.diagnostics.push(Diagnostic::error(span, format!("Undefined map: {name}")).with_hints(hint));
        None
    }

    pub(super) fn finish_maps(&mut self) -> Vec<hir::Map> {
        let mut maps = Vec::with_capacity(self.maps.len());
        for info in &self.maps {
            if info.value == Type::Void {
                let message = format!("Undefined map: {}", info.name);
                // Where a use of it is wrong in itself, that is what to mend.
                let within = |span: Span| info.span.start <= span.start && span.end <= info.span.end;
                let known = |d: &Diagnostic| d.message == message || d.is_error() && d.span.is_some_and(within);
                if !self.diagnostics.iter().any(known) {
                    self.diagnostics.push(Diagnostic::error(info.span, message));
                }
            }
            maps.push(hir::Map {
                name: info.name.clone(),
                key: (info.keyed == Some(true)).then(|| info.key.clone()),
                value: info.value.clone(),
                declared: info.declared,
            });
        }
        maps
    }
}
