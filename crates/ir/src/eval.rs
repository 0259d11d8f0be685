//! Runs IR in user space: the meaning of each instruction in code, for tests that
//! compare it with what passes and the back end make of a program.
//!
//! Every value is a `u64`; memory is a set of regions at made-up addresses, so
//! that an access outside of an object is an error, never another object.

use cranelift_entity::SecondaryMap;

use crate::*;

/// Why a run ended without a result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    #[error("more than the allowed number of instructions ran")]
    StepLimit,
    #[error("calls nest deeper than {MAX_CALL_DEPTH}")]
    CallDepth,
    #[error("access of {bytes} bytes at {address:#x}, outside of all objects")]
    OutOfBounds { address: u64, bytes: u32 },
    /// What the verifier of the IR would have refused.
    #[error("{0}")]
    Malformed(&'static str),
    /// The environment does not know the helper, or refuses its arguments.
    #[error("helper {0} cannot be called like this")]
    Helper(u32),
}

/// As the kernel's `MAX_CALL_FRAMES`.
pub const MAX_CALL_DEPTH: usize = 8;

/// What is outside of the program.
pub trait Environment {
    /// The value that the helper returns; pointers are addresses in the
    /// evaluator's memory.
    fn call_helper(&mut self, helper: u32, args: &[u64], evaluator: &mut Evaluator<'_>) -> Result<u64, EvalError>;
}

/// Refuses every helper.
impl Environment for () {
    fn call_helper(&mut self, helper: u32, _: &[u64], _: &mut Evaluator<'_>) -> Result<u64, EvalError> {
        Err(EvalError::Helper(helper))
    }
}

/// The objects that a program can reach. An address is a region's number plus
/// one in the upper half and the offset in the lower.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    regions: Vec<Vec<u8>>,
}

impl Memory {
    /// The address of a new object with these contents.
    pub fn allocate(&mut self, bytes: Vec<u8>) -> u64 {
        self.regions.push(bytes);
        (self.regions.len() as u64) << 32
    }

    /// The `len` bytes at `address`.
    pub fn read(&self, address: u64, len: u32) -> Result<&[u8], EvalError> {
        let error = EvalError::OutOfBounds { address, bytes: len };
        let (region, range) = locate(address, len).ok_or(error.clone())?;
        self.regions.get(region).and_then(|bytes| bytes.get(range)).ok_or(error)
    }

    /// The `len` bytes at `address`, to change them.
    pub fn bytes_mut(&mut self, address: u64, len: u32) -> Result<&mut [u8], EvalError> {
        let error = EvalError::OutOfBounds { address, bytes: len };
        let (region, range) = locate(address, len).ok_or(error.clone())?;
        self.regions.get_mut(region).and_then(|bytes| bytes.get_mut(range)).ok_or(error)
    }

    fn load(&self, mem: MemType, address: u64) -> Result<u64, EvalError> {
        let mut bytes = [0; 8];
        let len = mem.bytes() as usize;
        bytes[..len].copy_from_slice(self.read(address, mem.bytes())?);
        let raw = u64::from_le_bytes(bytes);
        let unused = 64 - mem.bytes() * 8;
        Ok(if mem.is_signed() { ((raw << unused) as i64 >> unused) as u64 } else { raw })
    }

    fn store(&mut self, mem: MemType, address: u64, value: u64) -> Result<(), EvalError> {
        let len = mem.bytes() as usize;
        self.bytes_mut(address, mem.bytes())?.copy_from_slice(&value.to_le_bytes()[..len]);
        Ok(())
    }
}

fn locate(address: u64, len: u32) -> Option<(usize, std::ops::Range<usize>)> {
    let region = (address >> 32).checked_sub(1)? as usize;
    let start = address as u32 as usize;
    Some((region, start..start + len as usize))
}

/// A module with the memory that its programs share.
pub struct Evaluator<'m> {
    module: &'m Module,
    pub memory: Memory,
    /// Element 0 of each map, made at its first use.
    map_values: SecondaryMap<Map, Option<u64>>,
    /// What `map_addr` and `func_addr` give: objects without bytes.
    map_handles: SecondaryMap<Map, Option<u64>>,
    func_handles: SecondaryMap<Func, Option<u64>>,
    steps_left: u64,
}

impl<'m> Evaluator<'m> {
    /// `max_steps` bounds the instructions of all calls together.
    pub fn new(module: &'m Module, max_steps: u64) -> Self {
        Evaluator {
            module,
            memory: Memory::default(),
            map_values: SecondaryMap::new(),
            map_handles: SecondaryMap::new(),
            func_handles: SecondaryMap::new(),
            steps_left: max_steps,
        }
    }

    /// The address of element 0 of a map: at first its `initial` bytes, then zeros.
    pub fn map_value(&mut self, map: Map) -> Result<u64, EvalError> {
        let data = self.module.maps.get(map).ok_or(EvalError::Malformed("the map does not exist"))?;
        Ok(*self.map_values[map].get_or_insert_with(|| {
            let mut bytes = data.initial.clone();
            bytes.resize(data.value_size as usize, 0);
            self.memory.allocate(bytes)
        }))
    }

    /// The map whose `map_addr` is `handle`, for environments.
    pub fn map_of(&self, handle: u64) -> Option<Map> {
        self.map_handles.iter().find(|(_, h)| **h == Some(handle)).map(|(map, _)| map)
    }

    /// Calls a function with these arguments and gives what it returns.
    pub fn call(&mut self, func: Func, args: &[u64], env: &mut impl Environment) -> Result<u64, EvalError> {
        self.call_at(func, args, env, 0)
    }

    fn call_at(
        &mut self,
        func: Func,
        args: &[u64],
        env: &mut impl Environment,
        depth: usize,
    ) -> Result<u64, EvalError> {
        if depth >= MAX_CALL_DEPTH {
            return Err(EvalError::CallDepth);
        }
        let module = self.module;
        let func = module.funcs.get(func).ok_or(EvalError::Malformed("the function does not exist"))?;
        let entry = *func.layout.first().ok_or(EvalError::Malformed("the function has no blocks"))?;
        let mut slots = SecondaryMap::new();
        for (slot, data) in &func.slots {
            slots[slot] = self.memory.allocate(vec![0; data.bytes as usize]);
        }
        let mut frame = Frame { func, values: SecondaryMap::new(), slots };
        frame.values.resize(func.values.len());
        frame.enter(entry, args)?;
        let mut block = entry;
        'blocks: loop {
            for &inst in &func.blocks[block].insts {
                self.steps_left = self.steps_left.checked_sub(1).ok_or(EvalError::StepLimit)?;
                let data = &func.insts[inst];
                let target = match data {
                    InstData::Return(value) => return frame.get(*value),
                    InstData::Jump(to) => to,
                    InstData::Branch { cond, then, otherwise } => {
                        if frame.get(*cond)? != 0 {
                            then
                        } else {
                            otherwise
                        }
                    }
                    _ => {
                        let result = self.instruction(&frame, data, func.results[inst], env, depth)?;
                        if let Some(v) = func.results[inst] {
                            frame.values[v] = Some(result);
                        }
                        continue;
                    }
                };
                let args: Vec<u64> = target.args.iter().map(|v| frame.get(*v)).collect::<Result<_, _>>()?;
                frame.enter(target.block, &args)?;
                block = target.block;
                continue 'blocks;
            }
            return Err(EvalError::Malformed("a block has no terminator"));
        }
    }

    /// The result of an instruction that is no terminator; 0 if it has none.
    fn instruction(
        &mut self,
        frame: &Frame<'_>,
        data: &InstData,
        result: Option<Value>,
        env: &mut impl Environment,
        depth: usize,
    ) -> Result<u64, EvalError> {
        use InstData::*;
        let narrow = result.is_some_and(|v| frame.func.ty(v) == Type::I32);
        let fit = |n: u64| if narrow { n & 0xffff_ffff } else { n };
        let at = |ptr: Value, offset: i32| Ok::<u64, EvalError>(frame.get(ptr)?.wrapping_add(offset as i64 as u64));
        Ok(match data {
            Const(n) => fit(*n as u64),
            Binary { op, args: [a, b] } => {
                if narrow {
                    u64::from(op.evaluate32(frame.get(*a)? as u32, frame.get(*b)? as u32))
                } else {
                    op.evaluate64(frame.get(*a)?, frame.get(*b)?)
                }
            }
            Unary { op, arg } => fit(op.evaluate(frame.get(*arg)?)),
            Compare { cond, args: [a, b] } => {
                let (x, y) = (frame.get(*a)?, frame.get(*b)?);
                if frame.func.ty(*a) == Type::I32 {
                    u64::from(cond.holds32(x as u32, y as u32))
                } else {
                    u64::from(cond.holds64(x, y))
                }
            }
            Select { cond, args: [a, b] } => frame.get(if frame.get(*cond)? != 0 { *a } else { *b })?,
            Load { mem, ptr, offset } => fit(self.memory.load(*mem, at(*ptr, *offset)?)?),
            LoadPtr { ptr, offset } => self.memory.load(MemType::U64, at(*ptr, *offset)?)?,
            Store { mem, ptr, offset, value } => {
                self.memory.store(*mem, at(*ptr, *offset)?, frame.get(*value)?)?;
                0
            }
            SlotAddr { slot, offset } => frame.slots[*slot].wrapping_add(*offset as i64 as u64),
            MapAddr(map) => match self.map_handles[*map] {
                Some(handle) => handle,
                None => *self.map_handles[*map].insert(self.memory.allocate(Vec::new())),
            },
            MapValueAddr { map, offset } => self.map_value(*map)? + u64::from(*offset),
            FuncAddr(func) => match self.func_handles[*func] {
                Some(handle) => handle,
                None => *self.func_handles[*func].insert(self.memory.allocate(Vec::new())),
            },
            Atomic { op, mem, ptr, offset, value, .. } => {
                let address = at(*ptr, *offset)?;
                let old = self.memory.load(*mem, address)?;
                let operand = frame.get(*value)?;
                let new = match op {
                    AtomicOp::Add => old.wrapping_add(operand),
                    AtomicOp::And => old & operand,
                    AtomicOp::Or => old | operand,
                    AtomicOp::Xor => old ^ operand,
                    AtomicOp::Xchg => operand,
                };
                self.memory.store(*mem, address, new)?;
                old
            }
            CompareExchange { mem, ptr, offset, expected, value } => {
                let address = at(*ptr, *offset)?;
                let old = self.memory.load(*mem, address)?;
                let expected = frame.get(*expected)?;
                let expected = if *mem == MemType::U32 { expected & 0xffff_ffff } else { expected };
                if old == expected {
                    self.memory.store(*mem, address, frame.get(*value)?)?;
                }
                old
            }
            CallHelper { helper, args } => {
                let args: Vec<u64> = args.iter().map(|v| frame.get(*v)).collect::<Result<_, _>>()?;
                env.call_helper(*helper, &args, self)?
            }
            Call { func, args } => {
                let args: Vec<u64> = args.iter().map(|v| frame.get(*v)).collect::<Result<_, _>>()?;
                self.call_at(*func, &args, env, depth + 1)?
            }
            MemCopy { dst, dst_offset, src, src_offset, len } => {
                let bytes = self.memory.read(at(*src, *src_offset)?, *len)?.to_vec();
                self.memory.bytes_mut(at(*dst, *dst_offset)?, *len)?.copy_from_slice(&bytes);
                0
            }
            MemSet { dst, offset, byte, len } => {
                self.memory.bytes_mut(at(*dst, *offset)?, *len)?.fill(*byte);
                0
            }
            NonNull(ptr) => match frame.get(*ptr)? {
                0 => return Err(EvalError::Malformed("a null pointer was said not to be null")),
                address => address,
            },
            Clamp { value, mask } => fit(frame.get(*value)? & mask),
            Jump(_) | Branch { .. } | Return(_) => return Err(EvalError::Malformed("a terminator inside a block")),
        })
    }
}

/// One call of a function.
struct Frame<'f> {
    func: &'f Function,
    values: SecondaryMap<Value, Option<u64>>,
    /// Addresses.
    slots: SecondaryMap<Slot, u64>,
}

impl Frame<'_> {
    fn get(&self, v: Value) -> Result<u64, EvalError> {
        self.values[v].ok_or(EvalError::Malformed("a value is used before its definition"))
    }

    fn enter(&mut self, block: Block, args: &[u64]) -> Result<(), EvalError> {
        let data = self.func.blocks.get(block).ok_or(EvalError::Malformed("the block does not exist"))?;
        if data.params.len() != args.len() {
            return Err(EvalError::Malformed("a block has not as many arguments as parameters"));
        }
        for (&param, &arg) in data.params.iter().zip(args) {
            self.values[param] = Some(arg);
        }
        Ok(())
    }
}
