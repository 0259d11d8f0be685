//! Generated programs in the evaluator.

use ir::eval::{Environment, EvalError, Evaluator};
use ir::{Func, Map, Module};
use isa::uapi::helper;

use super::STATE_BYTES;

/// The helpers that generated programs call.
struct Kernel;

impl Environment for Kernel {
    fn call_helper(&mut self, number: u32, args: &[u64], evaluator: &mut Evaluator<'_>) -> Result<u64, EvalError> {
        match (number, args) {
            (helper::probe_read_kernel, &[to, len, from]) => {
                let bytes = evaluator.memory.read(from, len as u32)?.to_vec();
                evaluator.memory.bytes_mut(to, len as u32)?.copy_from_slice(&bytes);
                Ok(0)
            }
            (helper::map_lookup_elem, &[map, key]) => {
                let map = evaluator.map_of(map).ok_or(EvalError::Helper(number))?;
                match evaluator.memory.read(key, 4)? {
                    [0, 0, 0, 0] => evaluator.map_value(map),
                    _ => Ok(0),
                }
            }
            _ => Err(EvalError::Helper(number)),
        }
    }
}

/// What a program returns and leaves in its map.
pub fn run(module: &Module) -> Result<(u64, Vec<u8>), EvalError> {
    let mut evaluator = Evaluator::new(module, 1_000_000);
    let context = evaluator.memory.allocate(vec![0; 192]);
    let result = evaluator.call(Func::from_u32(0), &[context], &mut Kernel)?;
    let state = evaluator.map_value(Map::from_u32(0))?;
    Ok((result, evaluator.memory.read(state, STATE_BYTES)?.to_vec()))
}
