//! Loads a socket filter of an object into the live kernel and runs it.

use std::cell::RefCell;

use isa::uapi::prog_type;
use isa::{AtomicOp, Insn, R0, R10, Size};
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

fn load(insns: &[Insn]) -> Result<Program, kernel::Error> {
    let (prog_type, license) = (prog_type::SOCKET_FILTER, "GPL");
    Program::load(&Spec { name: "probe", prog_type, license, insns, ..Spec::default() })
}

/// Why programs cannot be loaded here, if they cannot.
pub fn missing() -> Option<String> {
    load(&[Insn::mov64_imm(R0, 0), Insn::exit()]).err().map(|e| e.to_string())
}

/// The newest instruction set that this kernel takes.
pub fn newest_isa() -> u8 {
    let v4 = [Insn::mov64_imm(R0, 0), Insn::movsx64(R0, R0, 8), Insn::exit()];
    let v3 = [
        Insn::mov64_imm(R0, 0),
        Insn::store_reg(Size::Dw, R10, -8, R0),
        Insn::atomic(AtomicOp::FetchAdd, Size::Dw, R10, -8, R0),
        Insn::mov64_imm(R0, 0),
        Insn::exit(),
    ];
    match (load(&v4), load(&v3)) {
        (Ok(_), _) => 4,
        (Err(_), Ok(_)) => 3,
        _ => 2,
    }
}

/// Why a program was not loaded.
pub enum Refusal {
    /// The verifier gave up: some programs with nested loops are too much for it.
    TooComplex,
    Other(String),
}

/// The first program of an object, loaded.
pub struct Loaded {
    program: Program,
    state: std::rc::Rc<Map>,
}

impl Loaded {
    pub fn new(object: &Object) -> Result<Loaded, Refusal> {
        let program = &object.programs[0];
        let maps = object.maps.iter().map(map).collect::<Result<Vec<_>, _>>().map_err(Refusal::Other)?;
        let mut linked = object::link(object, program).map_err(|e| Refusal::Other(e.to_string()))?;
        linked.set_map_fds(|i| std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(&*maps[i.0 as usize])));
        let spec = Spec {
            name: &program.code.name,
            prog_type: program.prog_type,
            license: &object.license,
            insns: &linked.insns,
            ..Spec::default()
        };
        let loaded = Program::load(&spec).map_err(|e| match e {
            kernel::Error::Load(e) if e.log.contains("BPF program is too large") => Refusal::TooComplex,
            kernel::Error::Load(e) => Refusal::Other(format!("{e}\n{}", e.log)),
            other => Refusal::Other(other.to_string()),
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
