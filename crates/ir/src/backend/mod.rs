//! The back end: SSA → machine IR → registers → BPF instructions.

mod allocate;
mod emit;
mod frame;
mod lower;
mod machine;
mod peephole;
mod unshare;

use cranelift_entity::{EntityRef, PrimaryMap, SecondaryMap};
use isa::uapi::map_type;
use object::{Code, Object, Program, SourceSpan};

use crate::{Func, InstData, Map, Module, Slot, optimize, slot_layout};
use allocate::Allocator;
use frame::{Frame, MAX_STACK_BYTES, Scratch, charged_bytes};
use machine::{Address, MachineFunction, Op};

/// The largest value of a per-CPU array (`PCPU_MIN_UNIT_SIZE`, include/linux/percpu.h).
const MAX_SCRATCH_BYTES: u32 = 32 << 10;

/// The most bytes of slots that a function may ask for: far above what can be
/// served, far below what 32-bit offsets can count.
const MAX_SLOTS_BYTES: u64 = 1 << 24;

/// For whom to generate code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Version of the instruction set, 1 to 4: 2 adds jumps on less-than, 3
    /// (Linux 5.12 with its atomics) 32-bit jumps and fetching atomics, 4
    /// (Linux 6.6) sign extension, signed division and long jumps.
    pub isa: u8,
    /// Run all passes first; only [`compile`] looks at it.
    pub optimize: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { isa: 3, optimize: true }
    }
}

/// Why a module cannot become BPF code.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`{function}` has more than 5 arguments, or calls a function with more; BPF passes 5 in registers")]
    TooManyArguments { function: String },
    #[error(
        "`{function}` uses {what}, which needs BPF instruction set v{isa}; this kernel is addressed with an older one"
    )]
    Isa { function: String, what: &'static str, isa: u8, span: SourceSpan },
    #[error("`{function}` is too long: a jump in it spans more than 32767 instructions; split the program")]
    FunctionTooLong { function: String },
    #[error("`{function}` needs {bytes} bytes of memory for its variables; {MAX_SCRATCH_BYTES} are possible")]
    FrameTooLarge { function: String, bytes: u32 },
    #[error(
        "`{function}` and the functions that it calls need {bytes} bytes of stack; the kernel allows {MAX_STACK_BYTES}"
    )]
    StackTooDeep { function: String, bytes: u32 },
    #[error("`{function}` calls itself, by itself or through others; BPF does not allow recursion")]
    Recursion { function: String },
    #[error("`{function}` calls a program; only functions can be called")]
    CallOfProgram { function: String },
    #[error("`{function}` has an offset into its variables that does not fit an instruction")]
    SlotOffset { function: String, span: SourceSpan },
    /// A fault of ours: selection gave the register allocator something impossible.
    #[error("internal error: no registers for `{function}`: {reason}")]
    Registers { function: String, reason: String },
    /// A fault of ours: an operand that is in no register.
    #[error("internal error: an operand without a register")]
    Allocation,
}

impl Error {
    /// The function that it is about.
    pub fn function(&self) -> Option<&str> {
        match self {
            Error::TooManyArguments { function }
            | Error::Isa { function, .. }
            | Error::FunctionTooLong { function }
            | Error::FrameTooLarge { function, .. }
            | Error::StackTooDeep { function, .. }
            | Error::Recursion { function }
            | Error::CallOfProgram { function }
            | Error::SlotOffset { function, .. }
            | Error::Registers { function, .. } => Some(function),
            Error::Allocation => None,
        }
    }

    /// The place in the source, where it is about one.
    pub fn span(&self) -> Option<SourceSpan> {
        match self {
            Error::Isa { span, .. } | Error::SlotOffset { span, .. } => Some(*span),
            _ => None,
        }
    }

    /// What to change, where the source can help it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Error::FunctionTooLong { .. } => Some("do part of it in another probe at the same place"),
            Error::FrameTooLarge { .. } => Some("use fewer or smaller strings at a time: config = { max_strlen = … }"),
            Error::StackTooDeep { .. } => Some("use fewer variables at a time, or keep values in maps"),
            _ => None,
        }
    }
}

/// Optimises a module and generates its code. As [`generate`], with the passes
/// first if the options say so.
pub fn compile(mut module: Module, options: &Options) -> Result<Object, Error> {
    if options.optimize {
        optimize(&mut module);
    }
    generate(&module, options)
}

/// Generates the code of a module. Programs keep the order of the module's
/// functions, and so do the functions that are none; maps keep their order, with
/// a scratch map appended if the stack is too small for some function's slots
/// (and then, behind the functions, copies of those that several programs use).
///
/// The module must be valid (`verify`).
pub fn generate(module: &Module, options: &Options) -> Result<Object, Error> {
    if let Some(object) = Generator::new(module, *options)?.run()? {
        return Ok(object);
    }
    let module = unshare::unshare(module);
    let object = Generator::new(&module, *options)?.run()?;
    // Nothing is shared any more.
    object.ok_or_else(|| Error::StackTooDeep { function: String::new(), bytes: 0 })
}

/// Generation of one function so far.
struct Generated {
    code: Code,
    frame_bytes: u32,
    how: Placement,
}

/// How a function's slots are placed, from plain to thrifty.
#[derive(Clone, Default)]
struct Placement {
    /// Slots that are not needed at the same time share their place.
    shared: bool,
    scratch: Option<Scratch>,
}

struct Generator<'a> {
    module: &'a Module,
    options: Options,
    allocator: Allocator,
    /// Functions that each one calls or passes as callbacks.
    callees: SecondaryMap<Func, Vec<Func>>,
    /// Callees before their callers.
    order: Vec<Func>,
    function_index: SecondaryMap<Func, Option<u32>>,
    generated: PrimaryMap<Func, Generated>,
    /// Functions that have an element in the scratch map.
    scratch_elements: Vec<Func>,
}

impl<'a> Generator<'a> {
    fn new(module: &'a Module, options: Options) -> Result<Self, Error> {
        let mut callees: SecondaryMap<Func, Vec<Func>> = SecondaryMap::new();
        let mut function_index = SecondaryMap::new();
        let mut functions = 0;
        for (f, func) in module.funcs.iter() {
            if func.program.is_none() {
                function_index[f] = Some(functions);
                functions += 1;
            }
            for (_, data) in func.insts.iter() {
                if let InstData::Call { func: callee, .. } | InstData::FuncAddr(callee) = data
                    && !callees[f].contains(callee)
                {
                    callees[f].push(*callee);
                }
            }
        }
        let order = call_order(module, &callees)?;
        Ok(Generator {
            module,
            options,
            allocator: Allocator::new(),
            callees,
            order,
            function_index,
            generated: PrimaryMap::new(),
            scratch_elements: Vec::new(),
        })
    }

    /// `None`: a function that several programs share needs scratch memory.
    fn run(mut self) -> Result<Option<Object>, Error> {
        for f in self.module.funcs.keys() {
            let how = self.first_placement(f)?;
            if how.scratch.is_some() && self.is_shared(f) {
                return Ok(None);
            }
            let generated = self.function(f, how)?;
            self.generated.push(generated);
        }
        while let Some(f) = self.deepest_over_limit() {
            let how = self.thriftier(f)?;
            if how.scratch.is_some() && self.is_shared(f) {
                return Ok(None);
            }
            self.generated[f] = self.function(f, how)?;
        }
        Ok(Some(self.object()))
    }

    fn function(&mut self, f: Func, how: Placement) -> Result<Generated, Error> {
        let func = &self.module.funcs[f];
        let machine = lower::lower(func, self.options.isa, how.scratch.as_ref())?;
        let output = self
            .allocator
            .run(&machine)
            .map_err(|e| Error::Registers { function: func.name.clone(), reason: e.to_string() })?;
        let used = used_slots(&machine);
        let in_frame = |slot| used[slot] && func.slots.get(slot).is_some();
        let shared = how.shared.then(|| slot_layout(func, &self.module.maps, in_frame));
        let frame = Frame::new(func, how.scratch.as_ref(), &used, shared.as_ref(), output.num_spillslots);
        let index = |callee: Func| self.function_index[callee];
        let context = emit::Context { name: &func.name, isa: self.options.isa, frame: &frame, function_index: &index };
        let mut code = emit::emit(&machine, output, &context)?;
        code.params = func.blocks[func.entry()].params.len() as u8;
        Ok(Generated { code, frame_bytes: frame.bytes, how })
    }

    /// Whether more than one program can reach `f`.
    fn is_shared(&self, f: Func) -> bool {
        let mut reach: SecondaryMap<Func, bool> = SecondaryMap::new();
        reach[f] = true;
        for &caller in &self.order {
            reach[caller] |= self.callees[caller].iter().any(|callee| reach[*callee]);
        }
        let programs = self.module.funcs.iter().filter(|(_, func)| func.program.is_some());
        programs.filter(|(program, _)| reach[*program]).count() > 1
    }

    /// The stack that a call of `f` takes, from the functions below it upwards.
    fn depths(&self) -> SecondaryMap<Func, u32> {
        let mut depths = SecondaryMap::new();
        for &f in &self.order {
            let below = self.callees[f].iter().map(|c| depths[*c]).max().unwrap_or(0);
            depths[f] = below + charged_bytes(self.generated[f].frame_bytes);
        }
        depths
    }

    /// A function to shrink: the one with the largest frame on a chain of
    /// calls that needs more stack than there is.
    fn deepest_over_limit(&self) -> Option<Func> {
        let depths = self.depths();
        let mut at = self.module.funcs.keys().find(|f| depths[*f] > MAX_STACK_BYTES)?;
        let mut largest = at;
        while let Some(&next) = self.callees[at].iter().max_by_key(|c| depths[**c]) {
            at = next;
            if self.movable_bytes(at) > self.movable_bytes(largest) {
                largest = at;
            }
        }
        Some(largest)
    }

    /// Bytes of the slots of `f` that are on the stack.
    fn movable_bytes(&self, f: Func) -> u32 {
        let scratch = self.generated[f].how.scratch.as_ref();
        let slots = self.module.funcs[f].slots.iter();
        let on_stack = slots.filter(|(slot, _)| scratch.is_none_or(|s| s.offsets[*slot].is_none()));
        on_stack.map(|(_, data)| data.bytes).fold(0, u32::saturating_add)
    }

    /// A placement of `f`'s slots that needs less stack: at first by sharing
    /// places, then by moving the largest slot that is still on the stack to the
    /// scratch map.
    fn thriftier(&mut self, f: Func) -> Result<Placement, Error> {
        let how = std::mem::take(&mut self.generated[f].how);
        if !how.shared {
            return Ok(Placement { shared: true, ..how });
        }
        let func = &self.module.funcs[f];
        // Of slots of one size the first.
        let is_left = |slot: &Slot| how.scratch.as_ref().is_none_or(|s| s.offsets[*slot].is_none());
        let slots = func.slots.iter().map(|(slot, data)| (slot, data.bytes)).filter(|(slot, _)| is_left(slot));
        let largest = slots.max_by_key(|(slot, bytes)| (*bytes, std::cmp::Reverse(slot.index())));
        let Some((slot, _)) = largest.filter(|(_, bytes)| *bytes > 8) else {
            let bytes = self.depths().values().copied().max().unwrap_or(0);
            return Err(Error::StackTooDeep { function: func.name.clone(), bytes });
        };
        self.move_to_scratch(f, how, slot)
    }

    /// Everything on the stack but what is too large for it.
    fn first_placement(&mut self, f: Func) -> Result<Placement, Error> {
        let func = &self.module.funcs[f];
        let bytes = func.slots.values().map(|s| u64::from(s.bytes)).fold(0, u64::saturating_add);
        if bytes > MAX_SLOTS_BYTES {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            return Err(Error::FrameTooLarge { function: func.name.clone(), bytes });
        }
        let mut how = Placement::default();
        for (slot, _) in func.slots.iter().filter(|(_, data)| data.bytes > MAX_STACK_BYTES) {
            how = self.move_to_scratch(f, how, slot)?;
        }
        Ok(how)
    }

    fn move_to_scratch(&mut self, f: Func, mut how: Placement, slot: Slot) -> Result<Placement, Error> {
        let func = &self.module.funcs[f];
        let mut scratch = match how.scratch.take() {
            Some(scratch) => scratch,
            None => {
                let element = self.scratch_elements.len() as u32;
                self.scratch_elements.push(f);
                Scratch::new(func, Map::from_u32(self.module.maps.len() as u32), element)
            }
        };
        scratch.add(slot, &func.slots[slot]);
        if scratch.bytes > MAX_SCRATCH_BYTES {
            return Err(Error::FrameTooLarge { function: func.name.clone(), bytes: scratch.bytes });
        }
        Ok(Placement { scratch: Some(scratch), ..how })
    }

    fn object(self) -> Object {
        let mut object = Object {
            license: self.module.license.clone(),
            maps: self.module.maps.values().cloned().collect(),
            programs: Vec::new(),
            functions: Vec::new(),
            sources: self.module.sources.clone(),
        };
        if !self.scratch_elements.is_empty() {
            let bytes = self.generated.values().filter_map(|g| g.how.scratch.as_ref()).map(|s| s.bytes).max();
            object.maps.push(object::Map {
                name: "scratch".to_string(),
                map_type: map_type::PERCPU_ARRAY,
                key_size: 4,
                value_size: bytes.unwrap_or(0),
                max_entries: self.scratch_elements.len() as u32,
                ..object::Map::default()
            });
        }
        for ((_, func), (_, generated)) in self.module.funcs.iter().zip(self.generated) {
            match &func.program {
                Some(kind) => object.programs.push(Program {
                    section: kind.section.clone(),
                    prog_type: kind.prog_type,
                    expected_attach_type: kind.expected_attach_type,
                    target: kind.target.clone(),
                    sleepable: kind.sleepable,
                    code: generated.code,
                }),
                None => object.functions.push(generated.code),
            }
        }
        object
    }
}

/// Functions, each after those that it calls.
fn call_order(module: &Module, callees: &SecondaryMap<Func, Vec<Func>>) -> Result<Vec<Func>, Error> {
    #[derive(Clone, Copy, PartialEq, Default)]
    enum State {
        #[default]
        New,
        Open,
        Done,
    }
    let mut states: SecondaryMap<Func, State> = SecondaryMap::new();
    let mut order = Vec::with_capacity(module.funcs.len());
    for root in module.funcs.keys() {
        let mut stack = vec![(root, 0)];
        while let Some((f, next)) = stack.last_mut() {
            if *next == 0 && states[*f] == State::Done {
                stack.pop();
                continue;
            }
            states[*f] = State::Open;
            match callees[*f].get(*next) {
                Some(&callee) => {
                    *next += 1;
                    match states[callee] {
                        State::New => stack.push((callee, 0)),
                        State::Open => {
                            return Err(Error::Recursion { function: module.funcs[callee].name.clone() });
                        }
                        State::Done => {}
                    }
                }
                None => {
                    states[*f] = State::Done;
                    order.push(*f);
                    stack.pop();
                }
            }
        }
    }
    Ok(order)
}

fn used_slots(machine: &MachineFunction) -> SecondaryMap<Slot, bool> {
    let mut used = SecondaryMap::new();
    for inst in &machine.insts {
        match inst.op {
            Op::FrameAddr { slot, .. }
            | Op::Load { address: Address::Frame(slot, _), .. }
            | Op::Store { address: Address::Frame(slot, _), .. }
            | Op::StoreImm { address: Address::Frame(slot, _), .. }
            | Op::Atomic { address: Address::Frame(slot, _), .. }
            | Op::CompareExchange { address: Address::Frame(slot, _), .. } => used[slot] = true,
            _ => {}
        }
    }
    used
}
