//! An object into the kernel: its maps made, its programs accepted.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use isa::pseudo;
use object::{Linked, MapIndex, Object, SourceSpan};

use crate::error::Error;
use crate::map::Map;
use crate::program::{self, Program, Spec, Types};

/// An object's maps and programs in the kernel, in the object's order. Dropping
/// it gives them back; attached programs live on as long as their links.
#[derive(Debug)]
pub struct Loaded {
    pub maps: Vec<Map>,
    pub programs: Vec<Program>,
    /// Programs refer to it, so it may be dropped; kept since it costs nothing.
    _btf: Option<OwnedFd>,
}

/// How to load.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// Give the kernel the source lines of all instructions: its log and `bpftool prog
    /// dump` show them then. Costs a millisecond in a large program.
    pub line_info: bool,
}

impl Loaded {
    /// Creates all maps, then loads all programs.
    ///
    /// # Errors
    /// The first map or program that the kernel does not take. A verifier's refusal
    /// ([`Error::Load`]) knows the place in the source.
    pub fn new(object: &Object, options: LoadOptions) -> Result<Loaded, Error> {
        let maps = object.maps.iter().map(Map::create).collect::<Result<Vec<_>, _>>()?;
        let fd_of = |index: MapIndex| maps.get(index.0 as usize).map_or(-1, |map| map.as_fd().as_raw_fd());
        let mut linked = Vec::with_capacity(object.programs.len());
        for program in &object.programs {
            let mut code = object::link(object, program).map_err(|error| {
                Error::malformed(format!("link program '{}'", program.code.name), error.to_string())
            })?;
            code.set_map_fds(fd_of);
            linked.push(code);
        }
        let info = if options.line_info || linked.iter().any(has_callbacks) {
            let info = object::load_info(object, &linked)
                .map_err(|error| Error::malformed("describe the programs to the kernel", error.to_string()))?;
            Some((program::load_btf(&info.btf)?, info.programs))
        } else {
            None
        };
        let license = if object.license.is_empty() { "GPL" } else { &object.license };
        let mut modules: HashMap<&str, OwnedFd> = HashMap::new();
        let mut programs = Vec::with_capacity(object.programs.len());
        for (at, (model, code)) in object.programs.iter().zip(&linked).enumerate() {
            let module = model.target.as_ref().and_then(|target| target.module.as_deref());
            if let Some(module) = module
                && !modules.contains_key(module)
            {
                modules.insert(module, program::module_btf(module)?);
            }
            let types = info.as_ref().and_then(|(btf, programs)| {
                let info = programs.get(at)?;
                (options.line_info || has_callbacks(code)).then(|| Types {
                    btf: btf.as_fd(),
                    func_info: &info.func_info,
                    line_info: if options.line_info { &info.line_info } else { &[] },
                })
            });
            let spec = Spec {
                name: &model.code.name,
                prog_type: model.prog_type,
                expected_attach_type: model.expected_attach_type,
                license,
                insns: &code.insns,
                sleepable: model.sleepable,
                attach_btf_id: model.target.as_ref().map_or(0, |target| target.btf_id),
                attach_btf: module.and_then(|module| modules.get(module)).map(OwnedFd::as_fd),
                types,
            };
            programs.push(Program::load(&spec).map_err(|error| with_place(error, code))?);
        }
        Ok(Loaded { maps, programs, _btf: info.map(|(btf, _)| btf) })
    }

    /// The map at this index of the object.
    pub fn map(&self, index: MapIndex) -> Option<&Map> {
        self.maps.get(index.0 as usize)
    }
}

/// A callback's address is taken: the kernel wants to know the type of the function
/// (`check_ld_imm`, `kernel/bpf/verifier.c`).
fn has_callbacks(code: &Linked) -> bool {
    code.insns.iter().any(|insn| insn.is_wide() && insn.src().0 == pseudo::FUNC)
}

/// Adds to a refusal where in the source it happened.
fn with_place(error: Error, code: &Linked) -> Error {
    match error {
        Error::Load(mut error) => {
            error.at = error.verdict.as_ref().and_then(|verdict| source_of(code, verdict.insn?));
            Error::Load(error)
        }
        other => other,
    }
}

/// The source of an instruction: that of the last line entry at or before it in the same function.
fn source_of(code: &Linked, insn: u32) -> Option<SourceSpan> {
    let function = code.functions.iter().rfind(|function| function.start <= insn)?;
    let line = code.lines.iter().rfind(|line| line.insn <= insn)?;
    (line.insn >= function.start).then_some(line.at)
}
