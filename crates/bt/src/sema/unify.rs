//! The one type that holds what two uses of a map, variable or branch give.

use std::rc::Rc;

use crate::types::*;

/// The type that both fit in; `None` if they have nothing in common. `Void`
/// (not known yet) takes the other's.
pub fn unify(a: &Type, b: &Type) -> Option<Type> {
    use Type::*;
    Some(match (a, b) {
        (Void, other) | (other, Void) => other.clone(),
        (a, b) if a == b => a.clone(),
        (Int(a), Int(b)) => Int(unify_ints(*a, *b)),
        (Bool, Int(_)) => b.clone(),
        (Int(_), Bool) => a.clone(),
        (Enum(a), Enum(b)) if a.name == b.name => Enum(a.clone()),
        (Enum(_) | Bool, Enum(_) | Bool) => Type::I64,
        (Enum(e), Int(i)) | (Int(i), Enum(e)) => Int(unify_ints(*i, IntType { bytes: e.bytes, signed: e.signed })),
        (Str { size: a }, Str { size: b }) => Str { size: (*a).max(*b) },
        (Buf { size: a }, Buf { size: b }) => Buf { size: (*a).max(*b) },
        (Pointer { to: a, space: s }, Pointer { to: b, space: t }) => {
            let to = match (&**a, &**b) {
                (Void, other) | (other, Void) => other.clone(),
                (a, b) if a == b => a.clone(),
                _ => return None,
            };
            let space = if *s == AddressSpace::Unknown { *t } else { *s };
            Pointer { to: Rc::new(to), space }
        }
        (Array { elem: a, len: n }, Array { elem: b, len: m }) if n == m => {
            Type::Array { elem: Rc::new(unify(a, b)?), len: *n }
        }
        (Tuple(a), Tuple(b)) if a.len() == b.len() => {
            Tuple(Rc::new(a.iter().zip(b.iter()).map(|(a, b)| unify(a, b)).collect::<Option<_>>()?))
        }
        (Record(a), Record(b)) if a.len() == b.len() => Record(Rc::new(
            a.iter()
                .zip(b.iter())
                .map(|((n, a), (m, b))| if n == m { Some((n.clone(), unify(a, b)?)) } else { None })
                .collect::<Option<_>>()?,
        )),
        (Timestamp { .. }, Timestamp { .. }) => a.clone(),
        (Aggregate(a), Aggregate(b)) => Aggregate(unify_aggregates(*a, *b)?),
        _ => return None,
    })
}

fn unify_ints(a: IntType, b: IntType) -> IntType {
    let bytes = a.bytes.max(b.bytes);
    match (a.signed, b.signed) {
        (a, b) if a == b => IntType { bytes, signed: a },
        _ => IntType { bytes: 8, signed: true },
    }
}

fn unify_aggregates(a: Aggregate, b: Aggregate) -> Option<Aggregate> {
    use Aggregate::*;
    Some(match (a, b) {
        (Sum { signed: a }, Sum { signed: b }) => Sum { signed: a || b },
        (Min { signed: a }, Min { signed: b }) => Min { signed: a || b },
        (Max { signed: a }, Max { signed: b }) => Max { signed: a || b },
        (Avg { signed: a }, Avg { signed: b }) => Avg { signed: a || b },
        (Stats { signed: a }, Stats { signed: b }) => Stats { signed: a || b },
        _ => return None,
    })
}
