//! Gives each program its own copy of the functions that it calls.
//!
//! Needed only where such a function keeps slots in the scratch map: two
//! programs that share the function may interrupt each other on one CPU, and
//! would then write to the same element.

use std::collections::HashMap;

use cranelift_entity::SecondaryMap;

use crate::{Func, InstData, Module};

/// The module with functions copied so that no two programs reach the same one.
/// The copies stand behind all other functions.
pub fn unshare(module: &Module) -> Module {
    let mut module = module.clone();
    let mut owner: SecondaryMap<Func, Option<Func>> = SecondaryMap::new();
    let programs: Vec<Func> = module.funcs.iter().filter(|(_, f)| f.program.is_some()).map(|(f, _)| f).collect();
    for program in programs {
        // This program's version of each function that it reaches.
        let mut own: HashMap<Func, Func> = HashMap::new();
        let mut work = vec![program];
        while let Some(f) = work.pop() {
            for callee in callees(&module, f) {
                if own.contains_key(&callee) {
                    continue;
                }
                let version = match owner[callee] {
                    None => callee,
                    Some(_) => {
                        let copy = module.funcs[callee].clone();
                        module.funcs.push(copy)
                    }
                };
                owner[version] = Some(program);
                own.insert(callee, version);
                work.push(version);
            }
            for data in module.funcs[f].insts.values_mut() {
                if let InstData::Call { func, .. } | InstData::FuncAddr(func) = data {
                    *func = own.get(func).copied().unwrap_or(*func);
                }
            }
        }
    }
    module
}

fn callees(module: &Module, f: Func) -> Vec<Func> {
    let each = module.funcs[f].insts.values().filter_map(|data| match data {
        InstData::Call { func, .. } | InstData::FuncAddr(func) => Some(*func),
        _ => None,
    });
    each.collect()
}
