//! Values into memory: keys, map values, variables, events.

use ir::{BinaryOp, Cond, MemType, Space, Type as IrType, Value};

use super::Lowering;
use super::place::Place;
use crate::hir::{Builtin, Expr, ExprKind};
use crate::storage;
use crate::types::*;

/// Copies from the context or an object are done by loads up to so many bytes, by a helper above.
const LOADED_BYTES: u32 = 32;

impl Lowering<'_, '_, '_> {
    pub(super) fn zero(&mut self, dst: Value, offset: i32, bytes: u32) {
        if bytes > 0 {
            self.b.mem_set(dst, offset, 0, bytes);
        }
    }

    pub(super) fn offset_pointer(&mut self, ptr: Value, offset: i32) -> Value {
        match offset {
            0 => ptr,
            n => self.b.binary_imm(BinaryOp::Add, ptr, i64::from(n)),
        }
    }

    /// Writes an expression's value, as the stored form of `ty`, at `dst + offset`: all
    /// `storage::size_of(ty)` bytes.
    pub(super) fn write(&mut self, e: &Expr, ty: &Type, dst: Value, offset: i32) {
        let outer = std::mem::replace(&mut self.at, e.span);
        self.write_inside(e, ty, dst, offset);
        self.at = outer;
    }

    fn write_inside(&mut self, e: &Expr, ty: &Type, dst: Value, offset: i32) {
        let size = storage::size_of(ty, self.session.catalog);
        match ty {
            Type::Str { .. } => self.write_string(e, dst, offset, size),
            Type::Tuple(_) | Type::Record(_) => self.write_tuple(e, ty, dst, offset),
            Type::Buf { .. } => self.write_buffer(e, dst, offset, size),
            Type::Struct(_) | Type::Array { .. } => self.write_object(e, ty, dst, offset, size),
            Type::UStack(_) => match &e.kind {
                ExprKind::UStack => {
                    let id = self.stack_id(true);
                    self.b.store(MemType::U64, dst, offset, id);
                    let pid = self.builtin(Builtin::Pid, &Type::U32);
                    self.b.store(MemType::U64, dst, offset + 8, pid);
                }
                _ => self.write_copy(e, dst, offset, size),
            },
            Type::USym => match &e.kind {
                ExprKind::USym(address) => {
                    let address = self.scalar(address);
                    self.b.store(MemType::U64, dst, offset, address);
                    let pid = self.builtin(Builtin::Pid, &Type::U32);
                    self.b.store(MemType::U64, dst, offset + 8, pid);
                }
                ExprKind::Builtin(Builtin::Func) => {
                    let address = self.builtin(Builtin::Func, ty);
                    self.b.store(MemType::U64, dst, offset, address);
                    let pid = self.builtin(Builtin::Pid, &Type::U32);
                    self.b.store(MemType::U64, dst, offset + 8, pid);
                }
                _ => self.write_copy(e, dst, offset, size),
            },
            Type::Inet => match &e.kind {
                ExprKind::Ntop { family, address } => self.write_inet(family.as_deref(), address, dst, offset),
                _ => self.write_copy(e, dst, offset, size),
            },
            Type::Mac => match &e.kind {
                ExprKind::Macaddr(address) => {
                    let place = self.address_argument(address);
                    self.zero(dst, offset, 8);
                    self.copy_in(dst, offset, 6, place);
                }
                _ => self.write_copy(e, dst, offset, size),
            },
            Type::Aggregate(Aggregate::Stats { .. }) => match &e.kind {
                ExprKind::MapGet { map, key } => self.write_stats(*map, key.as_deref(), dst, offset),
                _ => self.zero(dst, offset, size),
            },
            Type::Aggregate(_) | Type::Void => self.zero(dst, offset, size),
            _ => {
                let v = self.scalar(e);
                self.b.store(MemType::U64, dst, offset, v);
            }
        }
    }

    /// A value that is already in stored form somewhere: copied as it is. Branches write
    /// each for itself.
    fn write_copy(&mut self, e: &Expr, dst: Value, offset: i32, size: u32) {
        match &e.kind {
            ExprKind::Ternary { cond, then: Some(then), otherwise } => {
                let ty = e.ty.clone();
                self.write_either(cond, then, otherwise, &ty, dst, offset);
            }
            ExprKind::MapGet { map, key } => self.copy_map_value(*map, key.as_deref(), dst, offset, size),
            ExprKind::Var(_)
            | ExprKind::Deref(_)
            | ExprKind::Index { .. }
            | ExprKind::TupleField { .. }
            | ExprKind::LoopKey(_)
            | ExprKind::LoopValue(_)
            | ExprKind::Block { .. } => {
                let place = self.place(e);
                let have = storage::size_of(&e.ty, self.session.catalog).min(size);
                self.copy_in(dst, offset, have, place);
                self.zero(dst, offset + have as i32, size - have);
            }
            // Every other kind of expression of these types is written by its own code.
            _ => self.zero(dst, offset, size),
        }
    }

    pub(super) fn write_either(
        &mut self,
        cond: &Expr,
        then: &Expr,
        otherwise: &Expr,
        ty: &Type,
        dst: Value,
        offset: i32,
    ) {
        let yes = self.b.create_block();
        let no = self.b.create_block();
        let after = self.b.create_block();
        self.condition(cond, yes, no);
        for (block, e) in [(yes, then), (no, otherwise)] {
            self.b.switch_to(block);
            self.write(e, ty, dst, offset);
            self.b.jump(after, &[]);
        }
        self.b.switch_to(after);
    }

    /// Copies bytes from a place, with loads where they are cheap and allowed.
    pub(super) fn copy_in(&mut self, dst: Value, offset: i32, bytes: u32, from: Place) {
        match from {
            Place::Direct { ptr, offset: at } if self.copies(ptr, at, bytes) => {
                if matches!(self.b.func.ty(ptr), IrType::Ptr(Space::Ctx | Space::Btf)) {
                    self.copy_words(dst, offset, ptr, at, bytes);
                } else {
                    self.b.mem_copy(dst, offset, ptr, at, bytes);
                }
            }
            place => {
                let to = self.offset_pointer(dst, offset);
                self.read(to, bytes, place);
            }
        }
    }

    /// Whether a copy by loads is allowed and short enough.
    fn copies(&self, ptr: Value, offset: i32, bytes: u32) -> bool {
        match self.b.func.ty(ptr) {
            IrType::Ptr(Space::Ctx | Space::Btf) => bytes <= LOADED_BYTES && offset % 8 == 0 && bytes.is_multiple_of(8),
            _ => true,
        }
    }

    fn copy_words(&mut self, dst: Value, offset: i32, src: Value, src_offset: i32, bytes: u32) {
        for at in (0..bytes as i32).step_by(8) {
            let word = self.b.load(MemType::U64, src, src_offset + at);
            self.b.store(MemType::U64, dst, offset + at, word);
        }
    }

    fn write_tuple(&mut self, e: &Expr, ty: &Type, dst: Value, offset: i32) {
        let fields: Vec<Type> = match ty {
            Type::Tuple(fields) => fields.to_vec(),
            Type::Record(fields) => fields.iter().map(|(_, t)| t.clone()).collect(),
            _ => return,
        };
        match &e.kind {
            ExprKind::Tuple(parts) => {
                let mut at = offset;
                for (part, field) in parts.iter().zip(&fields) {
                    self.write(part, field, dst, at);
                    at += storage::size_of(field, self.session.catalog) as i32;
                }
            }
            ExprKind::Ternary { cond, then: Some(then), otherwise } => {
                self.write_either(cond, then, otherwise, ty, dst, offset);
            }
            _ if e.ty == *ty => {
                let size = storage::size_of(ty, self.session.catalog);
                self.write_copy(e, dst, offset, size);
            }
            // Strings of other lengths, or the like: field by field.
            _ => {
                let place = self.place(e);
                self.convert(place, &e.ty, ty, dst, offset);
            }
        }
    }

    /// Copies a stored value to where its type is wider.
    fn convert(&mut self, from: Place, from_ty: &Type, ty: &Type, dst: Value, offset: i32) {
        let size = storage::size_of(ty, self.session.catalog);
        let (Type::Tuple(have), Type::Tuple(want)) = (from_ty, ty) else {
            let bytes = storage::size_of(from_ty, self.session.catalog).min(size);
            self.copy_in(dst, offset, bytes, from);
            self.zero(dst, offset + bytes as i32, size - bytes);
            return;
        };
        let (mut at, mut source) = (offset, 0i64);
        for (have, want) in have.iter().zip(want.iter()) {
            self.convert(from.plus(source), have, want, dst, at);
            at += storage::size_of(want, self.session.catalog) as i32;
            source += i64::from(storage::size_of(have, self.session.catalog));
        }
    }

    /// A struct or array: the bytes as they are in memory.
    fn write_object(&mut self, e: &Expr, ty: &Type, dst: Value, offset: i32, size: u32) {
        match &e.kind {
            ExprKind::Str(bytes) => self.write_literal(&bytes.clone(), dst, offset, size),
            ExprKind::Reinterpret(inner) => {
                let v = self.scalar(inner);
                self.zero(dst, offset, size);
                self.b.store(MemType::U64, dst, offset, v);
            }
            ExprKind::MapGet { .. } | ExprKind::Ternary { .. } => self.write_copy(e, dst, offset, size),
            // The context's first 8 bytes are not for programs to load.
            ExprKind::AllArgs => {
                let bytes = self.session.catalog.size_of(ty).unwrap_or(0).min(size);
                self.zero(dst, offset, size);
                let (place, to) = (self.place(e), self.offset_pointer(dst, offset));
                self.read(to, bytes, place);
            }
            _ => {
                let bytes = self.session.catalog.size_of(ty).unwrap_or(0).min(size);
                let place = self.place(e);
                if bytes < size {
                    self.zero(dst, offset, size);
                }
                if bytes > 0 {
                    self.copy_in(dst, offset, bytes, place);
                }
            }
        }
    }

    /// Where an argument leads that is an address, or bytes in place.
    pub(super) fn address_argument(&mut self, e: &Expr) -> Place {
        match &e.ty {
            Type::Pointer { space, .. } => {
                let user = self.is_user(*space);
                let operand = self.operand(e);
                Place::Remote { address: self.integer_of(operand), offset: 0, user }
            }
            ty if ty.is_scalar() || *ty == Type::Void => {
                let address = self.scalar(e);
                Place::Remote { address, offset: 0, user: self.context.user }
            }
            _ => self.place(e),
        }
    }

    /// Address family, then the address.
    fn write_inet(&mut self, family: Option<&Expr>, address: &Expr, dst: Value, offset: i32) {
        const AF_INET: i64 = 2;
        const AF_INET6: i64 = 10;
        let size = self.session.catalog.size_of(&address.ty);
        let six = matches!(address.ty, Type::Array { .. } | Type::Str { .. } | Type::Struct(_)) && size == Some(16);
        self.zero(dst, offset, 24);
        let family = match family {
            Some(family) => self.scalar(family),
            None => self.b.iconst(if six { AF_INET6 } else { AF_INET }),
        };
        self.b.store(MemType::U64, dst, offset, family);
        match &address.ty {
            Type::Int(_) | Type::Void => {
                let v = self.scalar(address);
                self.b.store(MemType::U32, dst, offset + 8, v);
            }
            Type::Pointer { .. } => {
                // The family says how much is there.
                let place = self.address_argument(address);
                let four = self.b.iconst(4);
                let sixteen = self.b.iconst(16);
                let is_six = self.b.compare_imm(Cond::Eq, family, AF_INET6);
                let bytes = self.b.select(is_six, sixteen, four);
                let (from, user) = self.address(place);
                let to = self.offset_pointer(dst, offset + 8);
                self.read_bytes(to, bytes, from, user);
            }
            _ => {
                let place = self.place(address);
                self.copy_in(dst, offset + 8, size.unwrap_or(4).min(16), place);
            }
        }
    }

    /// A length, then so many bytes.
    fn write_buffer(&mut self, e: &Expr, dst: Value, offset: i32, size: u32) {
        match &e.kind {
            ExprKind::ReadBuffer { pointer, len } => {
                self.zero(dst, offset, size);
                let Type::Buf { size: capacity } = e.ty else { return };
                let capacity = capacity.min(size.saturating_sub(4));
                let len = self.bounded(len, capacity);
                self.b.store(MemType::U32, dst, offset, len);
                let to = self.offset_pointer(dst, offset + 4);
                self.read_buffer(pointer, len, to);
            }
            _ => self.write_copy(e, dst, offset, size),
        }
    }

    /// Reads so many bytes that `buf()` asks for.
    pub(super) fn read_buffer(&mut self, pointer: &Expr, len: Value, to: Value) {
        let place = self.address_argument(pointer);
        let (address, user) = self.address(place);
        self.read_bytes(to, len, address, user);
    }

    /// A length, at most `most`, in a form that the verifier sees the bound of.
    pub(super) fn bounded(&mut self, len: &Expr, most: u32) -> Value {
        if let Some(n) = len.constant() {
            return self.b.iconst(n.clamp(0, i64::from(most)));
        }
        let len = self.scalar(len);
        let fits = self.b.compare_imm(Cond::Ule, len, i64::from(most));
        let most = self.b.iconst(i64::from(most));
        self.b.select(fits, len, most)
    }
}
