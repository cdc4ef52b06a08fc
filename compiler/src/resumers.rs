//! The functions through which the host and twins resume a frame: each calls the twin that the frame on top
//! names.

use wasm_encoder::{Encode, Instruction};
use wasmparser::ValType;
use wayfare_abi::rewritten as abi;

use crate::Entry;
use crate::body::Segment;
use crate::borrowed::Helper;
use crate::code::{Added, Types};
use crate::module::Module;
use crate::saving::load;
use crate::twin::{ResultPlace, result_places};

/// Where the outermost twin's values begin.
const FIRST_HOME: i32 = (abi::FRAMES_OFFSET + abi::FRAMES_MAX) as i32;

/// What the host calls to go on: one for each list of results that a call from outside can have.
pub(crate) struct Resumers {
    pub(crate) results: Vec<Vec<ValType>>,
    /// Exported name, and which of `results` is its.
    pub(crate) names: Vec<(String, usize)>,
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

/// Drops again what the program had dropped, then resumes the outermost frame.
pub(crate) fn outermost(results: &[ValType], added: &Added, types: &mut Types) -> Vec<u8> {
    let mut code = vec![
        Instruction::I32Const(0),
        Instruction::I32Const(FIRST_HOME),
        Instruction::I32Store(word(abi::HOMES_OFFSET, added)),
    ];
    for (segment, global) in &added.dropped {
        let drop = match segment {
            Segment::Data(data) => Helper::DropData(*data),
            Segment::Elements(elements) => Helper::DropElements(*elements),
        };
        code.push(Instruction::GlobalGet(*global));
        code.push(Instruction::If(wasm_encoder::BlockType::Empty));
        code.push(match &added.borrowed {
            Some(borrowed) => Instruction::Call(borrowed.helper(drop)),
            None => drop.instruction(),
        });
        code.push(Instruction::End);
    }
    code.extend(call_twin(added, types));
    for (place, &ty) in result_places(results, added).into_iter().zip(results) {
        match place {
            ResultPlace::Memory(offset) => {
                code.push(Instruction::I32Const(FIRST_HOME));
                code.push(load(ty, word(offset, added)));
            }
            ResultPlace::Global(global) => code.push(Instruction::GlobalGet(global)),
        }
    }
    code.push(Instruction::End);
    let mut bytes = vec![0];
    for instruction in code {
        instruction.encode(&mut bytes);
    }
    bytes
}

/// Calls the twin that the last word of the frame on top names.
pub(crate) fn call_twin(added: &Added, types: &mut Types) -> [Instruction<'static>; 6] {
    [
        Instruction::I32Const(0),
        Instruction::I32Load(word(abi::TOP_OFFSET, added)),
        Instruction::I32Const(4),
        Instruction::I32Sub,
        Instruction::I32Load(word(abi::FRAMES_OFFSET, added)),
        Instruction::CallIndirect {
            type_index: types.index(&[], &[]),
            table_index: added.twin_table,
        },
    ]
}

fn word(offset: u64, added: &Added) -> wasm_encoder::MemArg {
    wasm_encoder::MemArg {
        offset,
        align: 0,
        memory_index: added.save_memory,
    }
}
