//! Loads a socket filter of an object into the live kernel and runs it.

use std::cell::RefCell;

use isa::Insn;
use isa::uapi::prog_type;
use kernel::{Map, Program, Spec, TestInput, Update};
use object::Object;

thread_local! {
    /// Maps by their model, made once: programs that run one after another share them.
    static MAPS: RefCell<Vec<(object::Map, std::rc::Rc<Map>)>> = const { RefCell::new(Vec::new()) };
}

fn map(model: &object::Map) -> Result<std::rc::Rc<Map>, String> {
    let mut model = model.clone();
    model.initial.clear();
    MAPS.with_borrow_mut(|maps| {
        if let Some((_, map)) = maps.iter().find(|(m, _)| *m == model) {
            return Ok(map.clone());
        }
        let map = std::rc::Rc::new(Map::create(&model).map_err(|e| e.to_string())?);
        maps.push((model, map.clone()));
        Ok(map)
    })
}

/// Why programs cannot be loaded here, if they cannot.
pub fn missing() -> Option<String> {
    let insns = [Insn::mov64_imm(isa::R0, 0), Insn::exit()];
    let spec =
        Spec { name: "probe", prog_type: prog_type::SOCKET_FILTER, license: "GPL", insns: &insns, ..Spec::default() };
    Program::load(&spec).err().map(|e| e.to_string())
}

/// The first program of an object, loaded.
pub struct Loaded {
    program: Program,
    state: std::rc::Rc<Map>,
}

impl Loaded {
    pub fn new(object: &Object) -> Result<Loaded, String> {
        let program = &object.programs[0];
        let maps = object.maps.iter().map(map).collect::<Result<Vec<_>, _>>()?;
        let mut linked = object::link(object, program).map_err(|e| e.to_string())?;
        linked.set_map_fds(|i| std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(&*maps[i.0 as usize])));
        let spec = Spec {
            name: &program.code.name,
            prog_type: program.prog_type,
            license: &object.license,
            insns: &linked.insns,
            ..Spec::default()
        };
        let loaded = Program::load(&spec).map_err(|e| match e {
            kernel::Error::Load(e) => format!("{e}\n{}", e.log),
            other => other.to_string(),
        })?;
        Ok(Loaded { program: loaded, state: maps[0].clone() })
    }

    /// Runs the program with the first map's value set to `initial`, and gives
    /// what it returns and the value afterwards.
    pub fn run(&self, initial: &[u8]) -> (u32, Vec<u8>) {
        let key = 0u32.to_ne_bytes();
        self.state.update(&key, initial, Update::Any).unwrap();
        let output = self.program.test_run(TestInput { data: &[0; 64], ..TestInput::default() }).unwrap();
        (output.retval, self.state.lookup(&key).unwrap().unwrap())
    }
}

/// The code of an object as text.
pub fn listing(object: &Object) -> String {
    let codes = object.programs.iter().map(|p| &p.code).chain(&object.functions);
    codes.map(|code| format!("{}:\n{}", code.name, isa::disassemble(&code.insns))).collect()
}
