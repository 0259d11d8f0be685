//! Register allocation: `regalloc2` with BPF's registers.

use regalloc2::{Algorithm, Ctx, MachineEnv, Output, PRegSet, RegallocOptions};

use super::machine::{MachineFunction, physical};

/// The registers of BPF. `r0`–`r5` come first: calls clobber them, so what
/// must outlive a call ends up in `r6`–`r9` by itself, and functions without
/// calls leave those alone (the kernel's JIT saves the ones that are used).
fn environment() -> MachineEnv {
    let set = |range: std::ops::RangeInclusive<u8>| range.fold(PRegSet::empty(), |set, n| set.with(physical(n)));
    let none = PRegSet::empty();
    MachineEnv {
        preferred_regs_by_class: [set(0..=5), none, none],
        non_preferred_regs_by_class: [set(6..=9), none, none],
        scratch_by_class: [None; 3],
        fixed_stack_slots: Vec::new(),
    }
}

/// An allocator that keeps its memory between functions.
pub struct Allocator {
    environment: MachineEnv,
    context: Ctx,
}

impl Allocator {
    pub fn new() -> Self {
        Allocator { environment: environment(), context: Ctx::default() }
    }

    /// Registers and spill slots for each operand of `func`, and the moves
    /// between them. The error is a fault of instruction selection.
    pub fn run(&mut self, func: &MachineFunction) -> Result<&Output, regalloc2::RegAllocError> {
        let options =
            RegallocOptions { verbose_log: false, validate_ssa: cfg!(debug_assertions), algorithm: Algorithm::Ion };
        regalloc2::run_with_ctx(func, &self.environment, &options, &mut self.context)
    }
}
