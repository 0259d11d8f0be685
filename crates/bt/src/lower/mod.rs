//! Typed tree → IR, with the maps, events and counters that the programs need.

mod aggregate;
mod builtins;
mod dispatch;
mod event;
mod expression;
mod loops;
mod map;
mod memory;
mod place;
mod stack;
mod statement;
mod string;

use std::collections::HashMap;

use ir::{Block, Builder, Function, Module, Slot, Space, Type as IrType, Value};
use isa::uapi::{helper, map_type};
use object::plan::{Counter, Event, MapView};
use object::{MapIndex, SourceSpan};

use crate::ast::Span;
use crate::catalog::Catalog;
use crate::context::Context;
use crate::hir::{self, MapId, VarId};
use crate::storage;
use crate::types::*;
use crate::{Feature, Options};

use place::VarPlace;

/// `BPF_F_NO_PREALLOC`, `BPF_F_MMAPABLE`, `BPF_F_RDONLY_PROG` of `include/uapi/linux/bpf.h`.
const F_NO_PREALLOC: u32 = 1;
const F_MMAPABLE: u32 = 1 << 10;
const F_RDONLY_PROG: u32 = 1 << 7;

/// Up to so many attachments a script starts sooner with maps that are filled as elements come; attaching more takes
/// longer than filling them.
const FEW_ATTACHMENTS: usize = 8;

/// Bytes of the ring buffer for each CPU, unless configured; the whole is a power of two.
const RING_BYTES_PER_CPU: u64 = 256 << 10;
const MIN_RING_BYTES: u64 = 1 << 20;
const MAX_RING_BYTES: u64 = 64 << 20;

/// A program to lower: its tree and its circumstances.
pub struct Input<'a> {
    pub program: &'a hir::Program,
    pub context: &'a Context,
    /// A C identifier, and how it is loaded.
    pub name: String,
    pub kind: ir::ProgramKind,
    pub dispatch: Option<dispatch::Dispatch>,
    /// To how many places it is attached, those of one link or dispatch counted once.
    pub attachments: usize,
}

pub use dispatch::Dispatch;

/// What all programs together make.
pub struct Output {
    pub module: Module,
    pub events: Vec<Event>,
    pub maps: Vec<MapView>,
    pub ring: Option<MapIndex>,
    pub stacks: Option<MapIndex>,
    pub stack_overflow: Option<MapIndex>,
    pub counters: Option<MapIndex>,
    pub counter_meanings: Vec<Counter>,
}

/// Lowers all programs. Trees that sema gave cannot fail.
pub fn lower(
    script: &hir::Script,
    inputs: Vec<Input<'_>>,
    catalog: &Catalog<'_>,
    options: &Options,
    source: object::Source,
) -> Output {
    let mut module = Module { license: options.config.license.clone(), ..Module::default() };
    module.sources.push(source);
    let attachments = inputs.iter().map(|input| input.attachments).sum();
    let mut session = Session::new(script, catalog, options, module, attachments);
    for input in inputs {
        session.program(input);
    }
    session.finish()
}

/// How a script's map is kept.
#[derive(Clone, Copy, Debug)]
struct MapPlace {
    map: ir::Map,
    /// Counter slot that says whether a single value is set.
    flag: Option<u32>,
}

/// What is shared by all programs.
struct Session<'a> {
    script: &'a hir::Script,
    catalog: &'a Catalog<'a>,
    options: &'a Options,
    module: Module,
    maps: Vec<MapPlace>,
    /// Position of each map among those shown, which are in name order.
    views: Vec<u32>,
    events: Vec<Event>,
    counters: Vec<Counter>,
    counters_map: Option<ir::Map>,
    ring: Option<ir::Map>,
    stacks: stack::Stacks,
    scratch: Option<ir::Map>,
    large_scratch: Option<ir::Map>,
    /// Constant strings and tables, by content.
    constants: HashMap<Vec<u8>, ir::Map>,
    pid_namespace: Option<(u64, u64)>,
    btf_curtask: Option<bool>,
    /// Of all programs.
    attachments: usize,
}

impl<'a> Session<'a> {
    fn new(
        script: &'a hir::Script,
        catalog: &'a Catalog<'a>,
        options: &'a Options,
        module: Module,
        attachments: usize,
    ) -> Self {
        let mut session = Session {
            script,
            catalog,
            options,
            module,
            maps: Vec::new(),
            views: Vec::new(),
            events: Vec::new(),
            counters: Vec::new(),
            counters_map: None,
            ring: None,
            stacks: stack::Stacks::default(),
            scratch: None,
            large_scratch: None,
            constants: HashMap::new(),
            pid_namespace: None,
            btf_curtask: None,
            attachments,
        };
        let mut order: Vec<u32> = (0..script.maps.len() as u32).collect();
        order.sort_by(|a, b| script.maps[*a as usize].name.cmp(&script.maps[*b as usize].name));
        session.views = vec![0; order.len()];
        for (position, id) in order.iter().enumerate() {
            session.views[*id as usize] = position as u32;
        }
        for map in &script.maps {
            let place = session.create_map(map);
            session.maps.push(place);
        }
        session
    }

    /// A map that keeps what the script's map holds.
    fn create_map(&mut self, map: &hir::Map) -> MapPlace {
        let value = storage::size_of(&map.value, self.catalog);
        let aggregate = match map.value {
            Type::Aggregate(a) => Some(a),
            _ => None,
        };
        let buckets = aggregate.and_then(aggregate::bucket_count);
        let mut flag = None;
        let mut object = object::Map { name: map.name.clone(), value_size: value.max(8), ..object::Map::default() };
        match &map.key {
            Some(key) => {
                object.map_type = if aggregate.is_some() { map_type::PERCPU_HASH } else { map_type::HASH };
                object.max_entries = self.options.config.max_map_keys;
                object.key_size = storage::size_of(key, self.catalog) + if buckets.is_some() { 8 } else { 0 };
                if let Some(declared) = map.declared {
                    object.max_entries = declared.max_entries;
                    object.map_type = match (declared.map_type, aggregate.is_some()) {
                        (map_type::LRU_HASH | map_type::LRU_PERCPU_HASH, true) => map_type::LRU_PERCPU_HASH,
                        (map_type::LRU_HASH | map_type::LRU_PERCPU_HASH, false) => map_type::LRU_HASH,
                        (_, true) => map_type::PERCPU_HASH,
                        (_, false) => map_type::HASH,
                    };
                }
                if matches!(object.map_type, map_type::HASH | map_type::PERCPU_HASH) && self.allocates_on_demand() {
                    object.flags |= F_NO_PREALLOC;
                }
            }
            None => {
                object.map_type = if aggregate.is_some() { map_type::PERCPU_ARRAY } else { map_type::ARRAY };
                object.key_size = 4;
                object.max_entries = buckets.unwrap_or(1);
                flag = Some(self.counter(Counter::MapSet { map: MapIndex(self.module.maps.len() as u32) }));
            }
        }
        MapPlace { map: self.module.maps.push(object), flag }
    }

    /// Whether hash maps need not be filled ahead, which costs milliseconds at start: from 6.1 on elements come
    /// from an allocator that is safe in every context (`kernel/bpf/memalloc.c`). It has a handful at hand and gets
    /// more once interrupts are on: many probes that fire in a row, as a scheduler's do, would run it dry.
    fn allocates_on_demand(&self) -> bool {
        self.attachments <= FEW_ATTACHMENTS && self.catalog.host.kernel_version() >= (6, 1, 0)
    }

    fn view(&self, map: &hir::Map, place: MapPlace) -> MapView {
        let key = map.key.as_ref().map(|k| storage::layout(k, self.catalog));
        MapView {
            name: map.name.clone(),
            map: MapIndex(place.map.as_u32()),
            bucket_offset: map.key.as_ref().map_or(0, |k| storage::size_of(k, self.catalog)),
            key,
            value: storage::layout(&map.value, self.catalog),
            per_cpu: matches!(
                self.module.maps[place.map].map_type,
                map_type::PERCPU_HASH | map_type::PERCPU_ARRAY | map_type::LRU_PERCPU_HASH
            ),
            set_flag: place.flag,
        }
    }

    /// The slot that counts this, made at the first use.
    fn counter(&mut self, counter: Counter) -> u32 {
        if let Some(slot) = self.counters.iter().position(|c| *c == counter) {
            return slot as u32;
        }
        self.counters.push(counter);
        self.counters.len() as u32 - 1
    }

    fn counters_map(&mut self) -> ir::Map {
        *self.counters_map.get_or_insert_with(|| {
            self.module.maps.push(object::Map {
                name: "counters".into(),
                map_type: map_type::ARRAY,
                key_size: 4,
                value_size: 8,
                max_entries: 1,
                flags: F_MMAPABLE,
                ..object::Map::default()
            })
        })
    }

    fn ring(&mut self) -> ir::Map {
        let cpus = u64::from(self.catalog.host.possible_cpus().max(1));
        let per_cpu = match self.options.config.perf_rb_pages {
            Some(pages) => u64::from(pages) * 4096,
            None => RING_BYTES_PER_CPU,
        };
        *self.ring.get_or_insert_with(|| {
            let bytes = (per_cpu * cpus).clamp(MIN_RING_BYTES, MAX_RING_BYTES).next_power_of_two();
            self.module.maps.push(object::Map {
                name: "events".into(),
                map_type: map_type::RINGBUF,
                max_entries: bytes as u32,
                ..object::Map::default()
            })
        })
    }

    /// The scratch map with room for so many bytes, and a program's element of it.
    fn scratch_element(&mut self, bytes: u32) -> (ir::Map, u32) {
        let map = *self.scratch.get_or_insert_with(|| {
            self.module.maps.push(object::Map {
                name: "memory".into(),
                map_type: map_type::PERCPU_ARRAY,
                key_size: 4,
                ..object::Map::default()
            })
        });
        let object = &mut self.module.maps[map];
        object.value_size = object.value_size.max(bytes);
        object.max_entries += 1;
        (map, object.max_entries - 1)
    }

    /// As [`Session::scratch_element`] for more bytes than an element of a per-CPU map may have:
    /// an ordinary array in which a program has an element for each CPU. Gives the first one's index.
    fn large_scratch_elements(&mut self, bytes: u32) -> (ir::Map, u32) {
        let cpus = self.catalog.host.possible_cpus().max(1);
        let map = *self.large_scratch.get_or_insert_with(|| {
            self.module.maps.push(object::Map {
                name: "large_memory".into(),
                map_type: map_type::ARRAY,
                key_size: 4,
                ..object::Map::default()
            })
        });
        let object = &mut self.module.maps[map];
        object.value_size = object.value_size.max(bytes);
        object.max_entries += cpus;
        (map, object.max_entries - cpus)
    }

    /// A read-only array of one element with these bytes.
    fn constant(&mut self, name: &str, bytes: Vec<u8>) -> ir::Map {
        if let Some(map) = self.constants.get(&bytes) {
            return *map;
        }
        let map = self.module.maps.push(object::Map {
            name: name.into(),
            map_type: map_type::ARRAY,
            key_size: 4,
            value_size: (bytes.len() as u32).next_multiple_of(8),
            max_entries: 1,
            flags: F_RDONLY_PROG,
            initial: bytes.clone(),
            read_only: true,
        });
        self.constants.insert(bytes, map);
        map
    }

    fn program(&mut self, input: Input<'_>) {
        self.stacks.element = None;
        let mut function = Function { name: input.name, program: Some(input.kind), ..Function::default() };
        let mut builder = Builder::new(&mut function);
        let entry = builder.create_block();
        let exit = builder.create_block();
        let ctx = builder.block_param(entry, IrType::Ptr(Space::Ctx));
        builder.switch_to(entry);
        let mut lowering = Lowering {
            variables: vec![VarPlace::None; input.program.variables.len()],
            session: self,
            b: builder,
            program: input.program,
            context: input.context,
            ctx: Some(ctx),
            exit,
            frame: None,
            loops: Vec::new(),
            elements: HashMap::new(),
            in_callback: false,
            at: Span::default(),
            scratch: Some(Scratch::default()),
            known_syscall: None,
            dispatch: input.dispatch.clone().map(std::rc::Rc::new),
        };
        lowering.whole_program(input.dispatch.as_ref());
        self.module.funcs.push(function);
    }

    fn finish(mut self) -> Output {
        if !self.counters.is_empty() {
            let map = self.counters_map();
            self.module.maps[map].value_size = self.counters.len() as u32 * 8;
        }
        let mut views: Vec<MapView> =
            self.script.maps.iter().zip(&self.maps).map(|(map, place)| self.view(map, *place)).collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        let index = |map: Option<ir::Map>| map.map(|m| MapIndex(m.as_u32()));
        Output {
            ring: index(self.ring),
            stacks: index(self.stacks.map),
            stack_overflow: index(self.stacks.overflow_map),
            counters: index(self.counters_map),
            module: self.module,
            events: self.events,
            maps: views,
            counter_meanings: self.counters,
        }
    }
}

/// One function in the making: a program, or the body of a loop that the kernel calls.
struct Lowering<'f, 's, 'a> {
    session: &'s mut Session<'a>,
    b: Builder<'f>,
    program: &'f hir::Program,
    context: &'f Context,
    /// The context; in a loop's body it is fetched from the frame.
    ctx: Option<Value>,
    /// Returns 0 from the function.
    exit: Block,
    variables: Vec<VarPlace>,
    /// What loop bodies share with the program: a flag, the context, captured variables.
    frame: Option<Frame>,
    loops: Vec<LoopTarget>,
    elements: HashMap<VarId, Element>,
    in_callback: bool,
    /// The expression at hand, for what goes wrong in it.
    at: Span,
    /// Memory beside the stack; loop bodies leave theirs to the code generator.
    scratch: Option<Scratch>,
    /// The number of the system call, where one program serves many.
    known_syscall: Option<Value>,
    /// Those system calls and the names of their probes.
    dispatch: Option<std::rc::Rc<Dispatch>>,
}

/// The element that a loop over a map is at.
#[derive(Clone, Copy)]
struct Element {
    map: MapId,
    /// Pointers to its key and value; `None` in a loop's body within the loop's body:
    /// there a copy is in the frame.
    pointers: Option<(Value, Value)>,
}

/// Where `break` and `continue` go.
#[derive(Clone, Copy)]
enum LoopTarget {
    Blocks {
        after: Block,
        next: Block,
    },
    /// The body is a function: it returns 1 to stop, 0 to go on.
    Callback,
}

/// A program's memory that does not fit the stack: an element of a per-CPU array, looked up
/// once the predicate holds.
#[derive(Default)]
struct Scratch {
    /// A parameter of the body's first block, made when first needed.
    base: Option<Value>,
    body: Option<Block>,
    /// Bytes in use at this point, and the most so far.
    used: u32,
    most: u32,
}

/// Memory of the program that loop bodies reach: 8 bytes flag (non-zero: leave the program), 8 bytes context, variables.
#[derive(Clone, Copy)]
struct Frame {
    slot: Option<Slot>,
    /// In a loop's body: the pointer that the kernel hands through.
    pointer: Option<Value>,
}

/// Values above this size are kept off the stack.
const STACK_BYTES: u32 = 128;
/// Most bytes of an element of a per-CPU map (`PCPU_MIN_UNIT_SIZE` in `include/linux/percpu.h`).
const PER_CPU_BYTES: u32 = 32 << 10;
/// The stack of a BPF program.
const STACK_LIMIT: u32 = 512;
const FRAME_FLAG: i32 = 0;
const FRAME_CTX: i32 = 8;
const FRAME_VARIABLES: u32 = 16;

impl Lowering<'_, '_, '_> {
    fn whole_program(&mut self, dispatch: Option<&Dispatch>) {
        self.set_span(self.program.predicate.as_ref().map_or(Span::default(), |p| p.span));
        if let Some(dispatch) = dispatch {
            self.dispatch(dispatch);
        }
        let enter = self.b.create_block();
        let outside = self.scratch.take();
        match &self.program.predicate {
            Some(predicate) => self.condition(predicate, enter, self.exit),
            None => self.b.jump(enter, &[]),
        }
        self.scratch = outside;
        let body = self.b.create_block();
        if let Some(scratch) = &mut self.scratch {
            scratch.body = Some(body);
        }
        self.b.switch_to(body);
        self.make_frame();
        self.statements(&self.program.body);
        if !self.b.is_terminated() {
            self.b.jump(self.exit, &[]);
        }
        self.b.switch_to(enter);
        self.enter(body);
        self.b.switch_to(self.exit);
        let zero = self.b.iconst(0);
        self.b.ret(zero);
    }

    /// Goes to the body, with its scratch memory if it has turned out to need some.
    fn enter(&mut self, body: Block) {
        self.set_span(self.program.predicate.as_ref().map_or(Span::default(), |p| p.span));
        let Some(Scratch { base: Some(_), most, .. }) = self.scratch else { return self.b.jump(body, &[]) };
        let (map, element) = if most <= PER_CPU_BYTES {
            let (map, element) = self.session.scratch_element(most);
            (map, self.b.iconst(i64::from(element)))
        } else {
            let (map, first) = self.session.large_scratch_elements(most);
            let cpu = self.builtin(hir::Builtin::Cpu, &Type::U32);
            (map, self.b.binary_imm(ir::BinaryOp::Add, cpu, i64::from(first)))
        };
        let key = self.index_key(element);
        let found = self.lookup(map, key);
        let there = self.b.compare_imm(ir::Cond::Ne, found, 0);
        let go = self.b.create_block();
        self.b.branch(there, go, self.exit);
        self.b.switch_to(go);
        let base = self.b.non_null(found);
        self.b.jump(body, &[base]);
    }

    /// Room for a value: on the stack if it is small.
    fn memory(&mut self, bytes: u32) -> Value {
        if bytes <= STACK_BYTES || self.scratch.is_none() {
            let slot = self.b.create_slot(bytes.max(8), 8);
            return self.b.slot_addr(slot, 0);
        }
        self.scratch(bytes)
    }

    /// Room that is not on the stack: the verifier takes variable offsets there on every kernel.
    fn scratch(&mut self, bytes: u32) -> Value {
        let bytes = bytes.next_multiple_of(8);
        let Some(Scratch { base, body: Some(body), used, most }) = &mut self.scratch else {
            // A slot larger than the stack is moved off it by the code generator.
            let slot = self.b.create_slot(bytes.max(STACK_LIMIT + 8), 8);
            return self.b.slot_addr(slot, 0);
        };
        let at = *used;
        *used += bytes;
        *most = (*most).max(*used);
        let (base, body) = (*base, *body);
        let base = match base {
            Some(base) => base,
            None => {
                let param = self.b.block_param(body, IrType::Ptr(Space::Value));
                if let Some(scratch) = &mut self.scratch {
                    scratch.base = Some(param);
                }
                param
            }
        };
        self.offset_pointer(base, at as i32)
    }

    /// Variables that live from the program's start: those that loop bodies share and those
    /// that old scripts set in one block and use in another.
    fn make_frame(&mut self) {
        let mut size = FRAME_VARIABLES;
        let mut shared = self.has_callbacks(&self.program.body);
        for (i, variable) in self.program.variables.iter().enumerate() {
            let bytes = storage::size_of(&variable.ty, self.session.catalog).max(8);
            if variable.captured && variable.ty != Type::Void && shared {
                self.variables[i] = VarPlace::Frame { offset: size as i32 };
                // A range's variable has its start after it.
                size += bytes + 8;
            } else if bytes > STACK_BYTES && variable.ty != Type::Void {
                let ptr = self.memory(bytes);
                self.variables[i] = VarPlace::Memory(ptr);
                if variable.hoisted {
                    self.zero(ptr, 0, bytes);
                }
            } else if variable.hoisted {
                let slot = self.b.create_slot(bytes, 8);
                self.variables[i] = VarPlace::Slot(slot);
                let address = self.b.slot_addr(slot, 0);
                self.zero(address, 0, bytes);
            }
        }
        shared |= size > FRAME_VARIABLES;
        if !shared {
            return;
        }
        let slot = self.b.create_slot(size, 8);
        self.frame = Some(Frame { slot: Some(slot), pointer: None });
        let address = self.b.slot_addr(slot, 0);
        self.zero(address, 0, size);
        if let Some(ctx) = self.ctx {
            // As the pointer that it is: the verifier lets nobody load through a number.
            self.b.store(ir::MemType::U64, address, FRAME_CTX, ctx);
        }
    }

    fn set_span(&mut self, span: Span) {
        self.b.set_span(SourceSpan { source: 0, start: span.start, end: span.end });
    }

    fn source_span(&self, span: Span) -> SourceSpan {
        SourceSpan { source: 0, start: span.start, end: span.end }
    }

    /// The context pointer, wherever it has to come from.
    fn context_pointer(&mut self) -> Value {
        if let Some(ctx) = self.ctx {
            return ctx;
        }
        let frame = self.frame_pointer();
        self.b.load_ptr(Space::Ctx, frame, FRAME_CTX)
    }

    fn frame_pointer(&mut self) -> Value {
        match self.frame {
            Some(Frame { pointer: Some(pointer), .. }) => pointer,
            Some(Frame { slot: Some(slot), .. }) => self.b.slot_addr(slot, 0),
            _ => {
                // Not reached: whoever asks has made the frame.
                let slot = self.b.create_slot(FRAME_VARIABLES, 8);
                self.frame = Some(Frame { slot: Some(slot), pointer: None });
                self.b.slot_addr(slot, 0)
            }
        }
    }

    /// Adds 1 to a counter.
    fn count(&mut self, counter: Counter) {
        let slot = self.session.counter(counter);
        let map = self.session.counters_map();
        let address = self.b.map_value_addr(map, slot * 8);
        let one = self.b.iconst(1);
        self.b.atomic_add(ir::MemType::U64, address, 0, one);
    }

    /// Runs `f` in a new block that is only reached if `cond` is non-zero, and goes on after it.
    fn when(&mut self, cond: Value, f: impl FnOnce(&mut Self)) {
        let then = self.b.create_block();
        let after = self.b.create_block();
        self.b.branch(cond, then, after);
        self.b.switch_to(then);
        f(self);
        if !self.b.is_terminated() {
            self.b.jump(after, &[]);
        }
        self.b.switch_to(after);
    }

    /// `then` or `otherwise`, whose value each computes in its own block.
    fn either(
        &mut self,
        cond: Value,
        then: impl FnOnce(&mut Self) -> Value,
        otherwise: impl FnOnce(&mut Self) -> Value,
    ) -> Value {
        let yes = self.b.create_block();
        let no = self.b.create_block();
        let after = self.b.create_block();
        let result = self.b.block_param(after, IrType::I64);
        self.b.branch(cond, yes, no);
        self.b.switch_to(yes);
        let v = then(self);
        self.b.jump(after, &[v]);
        self.b.switch_to(no);
        let v = otherwise(self);
        self.b.jump(after, &[v]);
        self.b.switch_to(after);
        result
    }

    fn helper(&mut self, helper: u32, args: &[Value]) -> Value {
        self.b.call_helper(helper, args, IrType::I64)
    }

    /// Whether `curtask` can be had as a pointer that the verifier knows.
    fn btf_curtask(&mut self) -> bool {
        let host = self.session.catalog.host;
        *self
            .session
            .btf_curtask
            .get_or_insert_with(|| host.has(Feature::Btf) && host.has(Feature::Helper(helper::get_current_task_btf)))
    }
}
