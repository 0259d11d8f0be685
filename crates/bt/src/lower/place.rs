//! Where values are: in a register, in memory that the program can load from,
//! or at an address that a helper reads.

use ir::{BinaryOp, MemType, Slot, Space, Type as IrType, UnaryOp, Value};
use isa::uapi::helper;

use super::Lowering;
use crate::catalog::Member;
use crate::context::{ContextKind, Source};
use crate::hir::{Builtin, Expr, ExprKind};
use crate::storage;
use crate::types::*;

/// The value of a scalar expression.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand {
    /// An integer.
    Int(Value),
    /// A pointer to a kernel object that the verifier knows the type of.
    Object(Value),
}

/// Where a variable is.
#[derive(Clone, Copy, Debug)]
pub(super) enum VarPlace {
    None,
    Slot(Slot),
    /// In scratch memory.
    Memory(Value),
    /// In the frame that loop bodies share.
    Frame {
        offset: i32,
    },
    /// Set once: its value stands for it.
    Value(Operand),
}

/// Where an object in memory is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// Loads through the pointer are allowed.
    Direct { ptr: Value, offset: i32 },
    /// At an address that `probe_read` takes.
    Remote { address: Value, offset: i64, user: bool },
}

impl Place {
    pub(super) fn plus(self, bytes: i64) -> Place {
        match self {
            Place::Direct { ptr, offset } => Place::Direct { ptr, offset: offset.wrapping_add(bytes as i32) },
            Place::Remote { address, offset, user } => {
                Place::Remote { address, offset: offset.wrapping_add(bytes), user }
            }
        }
    }
}

impl Lowering<'_, '_, '_> {
    pub(super) fn is_user(&self, space: AddressSpace) -> bool {
        match space {
            AddressSpace::User => true,
            AddressSpace::Kernel => false,
            AddressSpace::Unknown => self.context.user,
        }
    }

    /// A pointer or integer, as an object pointer where the verifier lets it be one.
    pub(super) fn operand(&mut self, e: &Expr) -> Operand {
        match &e.kind {
            ExprKind::Builtin(Builtin::Curtask) if self.btf_curtask() => {
                let task = self.b.call_helper(helper::get_current_task_btf, &[], IrType::Ptr(Space::Btf));
                Operand::Object(task)
            }
            ExprKind::Arg(index) => {
                let field = &self.context.fields[*index as usize];
                let source = field.source;
                if let (Source::Slot { index, trusted: true }, true) = (source, points_to_struct(&field.ty)) {
                    let ctx = self.context_pointer();
                    return Operand::Object(self.b.load_ptr(Space::Btf, ctx, index as i32 * 8));
                }
                Operand::Int(self.scalar(e))
            }
            ExprKind::Builtin(Builtin::Retval) => {
                if let Some((ty, Source::Slot { index, trusted: true })) = &self.context.retval
                    && points_to_struct(ty)
                {
                    let ctx = self.context_pointer();
                    return Operand::Object(self.b.load_ptr(Space::Btf, ctx, *index as i32 * 8));
                }
                Operand::Int(self.scalar(e))
            }
            ExprKind::Var(var) => match self.variables[var.0 as usize] {
                VarPlace::Value(operand) => operand,
                _ => Operand::Int(self.scalar(e)),
            },
            ExprKind::Cast(inner)
                if pointee_struct(&e.ty).is_some() && pointee_struct(&e.ty) == pointee_struct(&inner.ty) =>
            {
                self.operand(inner)
            }
            ExprKind::Field { of, member } if member.ty.is_pointer() => match self.place(of) {
                Place::Direct { ptr, offset }
                    if self.is_object(ptr) && points_to_struct(&member.ty) && loads_as_object(member) =>
                {
                    Operand::Object(self.b.load_ptr(Space::Btf, ptr, offset + member.offset as i32))
                }
                Place::Direct { ptr, offset } if self.is_context(ptr) && self.context.kind == ContextKind::Iter => {
                    self.iter_object(ptr, offset + member.offset as i32)
                }
                place => Operand::Int(self.load_member(place, member)),
            },
            // The context itself: its fields are loaded.
            ExprKind::Builtin(Builtin::Ctx) if self.context.iter_struct.is_some() || self.context.registers => {
                Operand::Object(self.context_pointer())
            }
            _ => Operand::Int(self.scalar(e)),
        }
    }

    fn is_context(&self, ptr: Value) -> bool {
        self.b.func.ty(ptr) == IrType::Ptr(Space::Ctx)
    }

    /// An object that an iterator is at. After the last there is none: then the
    /// program ends.
    fn iter_object(&mut self, ctx: Value, offset: i32) -> Operand {
        let object = self.b.load_ptr(Space::Btf, ctx, offset);
        let there = self.b.compare_imm(ir::Cond::Ne, object, 0);
        let go = self.b.create_block();
        self.b.branch(there, go, self.exit);
        self.b.switch_to(go);
        Operand::Object(object)
    }

    pub(super) fn is_object(&self, ptr: Value) -> bool {
        self.b.func.ty(ptr) == IrType::Ptr(Space::Btf)
    }

    /// An operand as an integer.
    pub(super) fn integer_of(&mut self, operand: Operand) -> Value {
        match operand {
            Operand::Int(v) => v,
            Operand::Object(ptr) => self.b.unary(UnaryOp::Addr, ptr),
        }
    }

    /// Where the object is that an expression names. What has no place of its own is written to a slot.
    pub(super) fn place(&mut self, e: &Expr) -> Place {
        match &e.kind {
            ExprKind::Deref(pointer) => {
                let user = match &pointer.ty {
                    Type::Pointer { space, .. } => self.is_user(*space),
                    _ => self.context.user,
                };
                match self.operand(pointer) {
                    Operand::Object(ptr) => Place::Direct { ptr, offset: 0 },
                    Operand::Int(address) => Place::Remote { address, offset: 0, user },
                }
            }
            ExprKind::Field { of, member } => {
                let place = self.place(of);
                let place = match place {
                    // The verifier knows members of objects by name, not those of unions.
                    Place::Direct { ptr, .. } if self.is_object(ptr) && (member.in_union || member.bits.is_some()) => {
                        self.remote(place)
                    }
                    place => place,
                };
                place.plus(i64::from(member.offset))
            }
            ExprKind::Index { of, index, stride } => {
                let place = self.place(of);
                match index.constant() {
                    Some(n) => place.plus(n.wrapping_mul(i64::from(*stride))),
                    None => {
                        let index = self.scalar(index);
                        if let Type::Array { len: len @ 1.., .. } = of.ty {
                            let outside = self.b.compare_imm(ir::Cond::Uge, index, i64::from(len));
                            let span = self.source_span(e.span);
                            self.when(outside, |l| l.count(object::plan::Counter::OutOfBounds { span }));
                        }
                        let step = self.b.binary_imm(BinaryOp::Mul, index, i64::from(*stride));
                        let Place::Remote { address, offset, user } = self.remote(place) else { return place };
                        Place::Remote { address: self.b.binary(BinaryOp::Add, address, step), offset, user }
                    }
                }
            }
            ExprKind::TupleField { of, index } => {
                let offset = storage::field_offset(&of.ty, *index as usize, self.session.catalog);
                self.place(of).plus(i64::from(offset))
            }
            ExprKind::AllArgs => Place::Direct { ptr: self.context_pointer(), offset: 0 },
            ExprKind::Arg(index) => match self.context.fields[*index as usize].source {
                Source::Record { offset, .. } => Place::Direct { ptr: self.context_pointer(), offset: offset as i32 },
                _ => self.materialized(e),
            },
            ExprKind::Var(var) => match self.variables[var.0 as usize] {
                VarPlace::Slot(slot) => Place::Direct { ptr: self.b.slot_addr(slot, 0), offset: 0 },
                VarPlace::Frame { offset } => Place::Direct { ptr: self.frame_pointer(), offset },
                VarPlace::Memory(ptr) => Place::Direct { ptr, offset: 0 },
                VarPlace::None | VarPlace::Value(_) => self.materialized(e),
            },
            ExprKind::LoopKey(var) => match self.element_places(*var) {
                Some((_, key, _)) => key,
                None => self.materialized(e),
            },
            ExprKind::LoopValue(var) => match self.element_places(*var) {
                Some((map, _, value)) if !self.is_aggregate(map) => value,
                _ => self.materialized(e),
            },
            ExprKind::Block { stmts, value } => {
                self.statements(stmts);
                self.place(value)
            }
            _ => self.materialized(e),
        }
    }

    /// A copy of the value in a slot.
    pub(super) fn materialized(&mut self, e: &Expr) -> Place {
        let ptr = self.temporary(e, &e.ty);
        Place::Direct { ptr, offset: 0 }
    }

    /// The value as `ty`, written to a new slot.
    pub(super) fn temporary(&mut self, e: &Expr, ty: &Type) -> Value {
        let bytes = storage::size_of(ty, self.session.catalog);
        let ptr = self.memory(bytes);
        self.write(e, ty, ptr, 0);
        ptr
    }

    /// The place as an address.
    pub(super) fn remote(&mut self, place: Place) -> Place {
        match place {
            Place::Direct { ptr, offset } => {
                let ptr = self.offset_pointer(ptr, offset);
                Place::Remote { address: self.b.unary(UnaryOp::Addr, ptr), offset: 0, user: false }
            }
            remote => remote,
        }
    }

    /// The address of a place, as `probe_read` takes it (a pointer or an integer), and whether it is in user memory.
    pub(super) fn address(&mut self, place: Place) -> (Value, bool) {
        match place {
            Place::Remote { address, offset: 0, user } => (address, user),
            Place::Remote { address, offset, user } => (self.b.binary_imm(BinaryOp::Add, address, offset), user),
            Place::Direct { ptr, offset } => (self.offset_pointer(ptr, offset), false),
        }
    }

    /// A scalar of `bytes` at a place, extended to 64 bits; 0 if it cannot be read.
    pub(super) fn load(&mut self, place: Place, bytes: u32, signed: bool) -> Value {
        let Some(mem) = MemType::new(bytes, signed) else { return self.b.iconst(0) };
        match place {
            Place::Direct { ptr, offset } if self.loads(ptr, offset, bytes) => self.b.load(mem, ptr, offset),
            place => {
                let slot = self.b.create_slot(8, 8);
                let dst = self.b.slot_addr(slot, 0);
                self.read(dst, bytes, place);
                self.b.load(mem, dst, 0)
            }
        }
    }

    /// Whether the verifier takes a load of so many bytes there: the context only aligned.
    fn loads(&self, ptr: Value, offset: i32, bytes: u32) -> bool {
        match self.b.func.ty(ptr) {
            IrType::Ptr(Space::Ctx) => u32::try_from(offset).is_ok_and(|offset| offset.is_multiple_of(bytes)),
            IrType::Ptr(Space::Stack) => offset % bytes as i32 == 0,
            _ => true,
        }
    }

    /// Copies `bytes` from a place with a helper; zeros if it cannot be read.
    pub(super) fn read(&mut self, dst: Value, bytes: u32, place: Place) {
        let (address, user) = self.address(place);
        let size = self.b.iconst(i64::from(bytes));
        self.read_bytes(dst, size, address, user);
    }

    pub(super) fn read_bytes(&mut self, dst: Value, size: Value, address: Value, user: bool) -> Value {
        let (helper, name) = match user {
            true => (helper::probe_read_user, "probe_read_user"),
            false => (helper::probe_read_kernel, "probe_read_kernel"),
        };
        let result = self.helper(helper, &[dst, size, address]);
        self.report_failure(result, name);
        result
    }

    /// A scalar member of an object.
    pub(super) fn load_member(&mut self, place: Place, member: &Member) -> Value {
        let place = match place {
            Place::Direct { ptr, .. }
                if self.is_object(ptr) && (member.in_union || member.bits.is_some() || member.tagged) =>
            {
                self.remote(place)
            }
            place => place,
        };
        match member.place {
            FieldPlace::Direct => {
                let place = place.plus(i64::from(member.offset));
                self.load_typed(place, &member.ty, member.bits)
            }
            other => {
                let Place::Direct { ptr, offset } = place else { return self.b.iconst(0) };
                self.data_location(ptr, offset + member.offset as i32, other)
            }
        }
    }

    /// A scalar as it is in the traced program's memory.
    pub(super) fn load_typed(&mut self, place: Place, ty: &Type, bits: Option<BitField>) -> Value {
        let bytes = self.session.catalog.size_of(ty).unwrap_or(8);
        let signed = ty.is_signed();
        let Some(BitField { shift, width }) = bits else { return self.load(place, bytes, signed) };
        let whole = self.load(place, bytes, false);
        let up = 64u32.saturating_sub(u32::from(shift) + u32::from(width));
        let down = 64u32.saturating_sub(u32::from(width));
        let raised = self.b.binary_imm(BinaryOp::Shl, whole, i64::from(up));
        // As bpftrace has it: bit fields have no sign, whatever their type.
        self.b.binary_imm(BinaryOp::Lshr, raised, i64::from(down))
    }

    /// The address of a tracepoint's dynamic array.
    pub(super) fn data_location(&mut self, ptr: Value, offset: i32, place: FieldPlace) -> Value {
        let location = self.b.load(MemType::U32, ptr, offset);
        let at = self.b.binary_imm(BinaryOp::And, location, 0xffff);
        let base = self.b.unary(UnaryOp::Addr, ptr);
        let address = self.b.binary(BinaryOp::Add, base, at);
        match place {
            FieldPlace::RelLoc => self.b.binary_imm(BinaryOp::Add, address, i64::from(offset) + 4),
            _ => address,
        }
    }

    /// A value from the context.
    pub(super) fn load_source(&mut self, source: Source, ty: &Type) -> Value {
        let ctx = self.context_pointer();
        match source {
            Source::Record { offset, bits, place: FieldPlace::Direct } => {
                self.load_typed(Place::Direct { ptr: ctx, offset: offset as i32 }, ty, bits)
            }
            Source::Record { offset, place, .. } => self.data_location(ctx, offset as i32, place),
            Source::Slot { index, .. } => {
                let v = self.b.load(MemType::U64, ctx, index as i32 * 8);
                self.narrowed(v, ty)
            }
            Source::Register { offset } => {
                let v = self.b.load(MemType::U64, ctx, offset as i32);
                self.narrowed(v, ty)
            }
            Source::SyscallRegister { offset } => {
                let v = self.syscall_register(offset);
                self.narrowed(v, ty)
            }
        }
    }

    /// The value that a type keeps of a 64-bit register.
    pub(super) fn narrowed(&mut self, v: Value, ty: &Type) -> Value {
        let (bytes, signed) = match ty {
            Type::Int(i) => (i.bytes, i.signed),
            Type::Enum(e) => (e.bytes, e.signed),
            Type::Bool => (1, false),
            _ => (8, false),
        };
        let op = match (bytes, signed) {
            (1, true) => UnaryOp::Sext8,
            (2, true) => UnaryOp::Sext16,
            (4, true) => UnaryOp::Sext32,
            (1, false) => UnaryOp::Zext8,
            (2, false) => UnaryOp::Zext16,
            (4, false) => UnaryOp::Zext32,
            _ => return v,
        };
        self.b.unary(op, v)
    }
}

fn points_to_struct(ty: &Type) -> bool {
    pointee_struct(ty).is_some()
}

/// The BTF struct that a pointer points to.
fn pointee_struct(ty: &Type) -> Option<StructId> {
    match ty {
        Type::Pointer { to, space: AddressSpace::Kernel | AddressSpace::Unknown } => match **to {
            Type::Struct(id @ StructId::Btf { .. }) => Some(id),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a load of the member gives an object pointer.
fn loads_as_object(member: &Member) -> bool {
    !member.in_union && !member.tagged && member.bits.is_none() && member.place == FieldPlace::Direct
}
