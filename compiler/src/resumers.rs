//! The functions through which the host and twins resume a frame: each calls the twin that the frame on top
//! names.

use std::collections::BTreeMap;

use wasm_encoder::{Encode, Instruction};
use wasmparser::ValType;
use wayfare_abi::rewritten as abi;

use crate::Entry;
use crate::body::{Function, Segment, SiteKind};
use crate::borrowed::Helper;
use crate::code::{Added, Types};
use crate::module::Module;

/// What the host calls to go on: one for each list of results that a call from outside can have.
pub(crate) struct Resumers {
    pub(crate) results: Vec<Vec<ValType>>,
    /// Exported name, and which of `results` is its.
    pub(crate) names: Vec<(String, usize)>,
}

/// How a twin is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TwinCall {
    /// In place of who calls it, so that a resumed stack is no deeper for that.
    Tail,
    Plain,
}

impl Resumers {
    pub(crate) fn plan(module: &Module, entry: Entry) -> Self {
        let mut resumers = Self {
            results: vec![Vec::new()],
            names: vec![(abi::RESUME.to_owned(), 0)],
        };
        if entry == Entry::Exports {
            for (name, function) in &module.exported_functions {
                let results = module.function_type(*function).results();
                let found = resumers.results.iter().position(|known| known == results);
                let which = found.unwrap_or_else(|| {
                    resumers.results.push(results.to_vec());
                    resumers.results.len() - 1
                });
                resumers
                    .names
                    .push((format!("{}{name}", abi::RESUME_PREFIX), which));
            }
        }
        resumers
    }
}

/// What twins call to resume a callee, by its results, numbered from `first`.
pub(crate) fn of_callees(functions: &[Option<Function>], first: u32) -> BTreeMap<Vec<ValType>, u32> {
    let sites = functions.iter().flatten().flat_map(|function| &function.sites);
    let calls = sites.filter(|site| site.kind == SiteKind::Call);
    let mut resumers: BTreeMap<Vec<ValType>, u32> = calls.map(|site| (site.results.clone(), 0)).collect();
    for (function, resumer) in (first..).zip(resumers.values_mut()) {
        *resumer = function;
    }
    resumers
}

/// Drops again what the program had dropped, then resumes the outermost frame.
pub(crate) fn outermost(
    results: &[ValType],
    twin_call: TwinCall,
    added: &Added,
    types: &mut Types,
) -> Vec<u8> {
    let mut bytes = vec![0];
    for (segment, global) in &added.dropped {
        let drop = match segment {
            Segment::Data(data) => Helper::DropData(*data),
            Segment::Elements(elements) => Helper::DropElements(*elements),
        };
        Instruction::GlobalGet(*global).encode(&mut bytes);
        Instruction::If(wasm_encoder::BlockType::Empty).encode(&mut bytes);
        match &added.borrowed {
            Some(borrowed) => Instruction::Call(borrowed.helper(drop)).encode(&mut bytes),
            None => drop.instruction().encode(&mut bytes),
        }
        Instruction::End.encode(&mut bytes);
    }
    call_twin(results, twin_call, added, types, &mut bytes);
    bytes
}

pub(crate) fn callee(results: &[ValType], twin_call: TwinCall, added: &Added, types: &mut Types) -> Vec<u8> {
    let mut bytes = vec![0];
    call_twin(results, twin_call, added, types, &mut bytes);
    bytes
}

/// Ends the function.
fn call_twin(
    results: &[ValType],
    twin_call: TwinCall,
    added: &Added,
    types: &mut Types,
    bytes: &mut Vec<u8>,
) {
    let (type_index, table_index) = (types.index(&[], results), added.twin_table);
    let word = |offset| wasm_encoder::MemArg {
        offset,
        align: 0,
        memory_index: added.save_memory,
    };
    let code = [
        Instruction::I32Const(0),
        Instruction::I32Load(word(abi::TOP_OFFSET)),
        // The last word of a frame.
        Instruction::I32Const(4),
        Instruction::I32Sub,
        Instruction::I32Load(word(abi::FRAMES_OFFSET)),
        match twin_call {
            TwinCall::Tail => Instruction::ReturnCallIndirect {
                type_index,
                table_index,
            },
            TwinCall::Plain => Instruction::CallIndirect {
                type_index,
                table_index,
            },
        },
        Instruction::End,
    ];
    for instruction in code {
        instruction.encode(bytes);
    }
}
