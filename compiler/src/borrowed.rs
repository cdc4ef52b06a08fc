//! What the resume module takes from the program's module, so that twins work on the program's own state.
//!
//! Memories, tables, globals, tags and types have the same indices in both modules, because the resume module
//! imports all of them in the program's order and adds its own behind them. So the program's code can be
//! copied into twins as it is, but for three things:
//! * functions have other indices, since only those that twins call are imported;
//! * segments cannot be shared: the program exports a *helper* for each use of one, a function of that one
//!   instruction;
//! * `ref.func` of an imported function makes another reference than its owner's, and places of references
//!   are found by comparing them: so references are read from the program's table of all functions that have
//!   one.

use std::collections::{BTreeMap, BTreeSet};

use wasm_encoder::{Encode, EntityType, Instruction};
use wasmparser::{BinaryReader, FuncType, Operator, OperatorsReader, ValType};

use crate::body::Function;
use crate::calls::Calls;
use crate::code::{Added, Types, val_type};
use crate::error::CompileError;
use crate::module::Module;
use wayfare_abi::rewritten as abi;

/// Kinds of exports.
pub(crate) const FUNCTION: u8 = 0;
pub(crate) const TABLE: u8 = 1;
pub(crate) const MEMORY: u8 = 2;
pub(crate) const GLOBAL: u8 = 3;
pub(crate) const TAG: u8 = 4;

pub(crate) struct Borrowed {
    /// The program's functions that twins call, with their indices in the resume module.
    functions: BTreeMap<u32, u32>,
    /// They follow the functions, among the imports as in the program.
    helpers: BTreeMap<Helper, u32>,
    /// The first helper's index in the program.
    first_helper: u32,
    /// By function: its place in the table of [`abi::FUNCTIONS`].
    places: BTreeMap<u32, u32>,
    functions_table: u32,
}

/// An instruction that only the owner of a segment can execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Helper {
    InitMemory { data: u32, memory: u32 },
    InitTable { elements: u32, table: u32 },
    DropData(u32),
    DropElements(u32),
}

/// Something that the program exports for the resume module under a name of ours.
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) kind: u8,
    pub(crate) index: u32,
    ty: PartType,
}

enum PartType {
    /// Of a helper: the two modules may have it under different indices.
    Helper(FuncType),
    Other(EntityType),
}

impl Borrowed {
    /// For the twins of `functions`.
    pub(crate) fn find(
        module: &Module,
        calls: &Calls,
        functions: &[Option<Function>],
    ) -> Result<Self, CompileError> {
        let (mut callees, mut helpers) = (BTreeSet::new(), BTreeSet::new());
        for (body, function) in module.bodies.iter().zip(functions) {
            if function.is_none() {
                continue;
            }
            for operator in body.body.get_operators_reader()? {
                match operator? {
                    Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                        callees.insert(function_index);
                    }
                    operator => helpers.extend(Helper::of(&operator)),
                }
            }
        }
        let mut indices = 0..;
        Ok(Self {
            functions: callees.into_iter().zip(&mut indices).collect(),
            helpers: helpers.into_iter().zip(&mut indices).collect(),
            first_helper: module.functions.len() as u32,
            places: calls.addressed.iter().copied().zip(0..).collect(),
            functions_table: module.tables.len() as u32,
        })
    }

    /// How many functions the resume module imports.
    pub(crate) fn imported_functions(&self) -> u32 {
        (self.functions.len() + self.helpers.len()) as u32
    }

    pub(crate) fn helpers(&self) -> impl Iterator<Item = Helper> {
        self.helpers.keys().copied()
    }

    /// The index in the resume module of one of the program's functions.
    pub(crate) fn function(&self, theirs: u32) -> u32 {
        self.functions[&theirs]
    }

    pub(crate) fn helper(&self, helper: Helper) -> u32 {
        self.helpers[&helper]
    }

    /// Everything that the program exports for the resume module.
    pub(crate) fn parts(&self, module: &Module, calls: &Calls, added: &Added) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut part = |kind: u8, index: u32, ty: PartType| {
            let letter = ["f", "t", "m", "g", "e"][usize::from(kind)];
            let name = format!("{}{letter}{index}", abi::PART_PREFIX);
            parts.push(Part {
                name,
                kind,
                index,
                ty,
            });
        };
        for &function in self.functions.keys() {
            let ty = module.functions[function as usize];
            part(FUNCTION, function, PartType::Other(EntityType::Function(ty)));
        }
        for (index, helper) in (self.first_helper..).zip(self.helpers.keys()) {
            part(FUNCTION, index, PartType::Helper(helper.ty(module)));
        }
        let mut part = |kind, index, ty: EntityType| part(kind, index, PartType::Other(ty));
        let mut tables: Vec<_> = module.tables.iter().map(table_type).collect();
        if calls.references.any() {
            let functions = calls.addressed.len() as u64;
            tables.push(funcrefs(functions, Some(functions)));
            tables.push(funcrefs(0, None));
        }
        for (index, ty) in (0..).zip(tables) {
            part(TABLE, index, ty.into());
        }
        let memories = module.memories.iter().map(|ty| wasm_encoder::MemoryType {
            minimum: ty.initial,
            maximum: ty.maximum,
            memory64: ty.memory64,
            shared: ty.shared,
            page_size_log2: ty.page_size_log2,
        });
        for (index, ty) in (0..).zip(memories.chain([save_memory()])) {
            part(MEMORY, index, ty.into());
        }
        let ours = wasmparser::GlobalType {
            content_type: ValType::I32,
            mutable: true,
            shared: false,
        };
        let ours = std::iter::repeat_n(&ours, 1 + added.dropped.len());
        for (index, ty) in (0..).zip(module.globals.iter().chain(ours)) {
            let ty = wasm_encoder::GlobalType {
                val_type: val_type(ty.content_type),
                mutable: ty.mutable,
                shared: ty.shared,
            };
            part(GLOBAL, index, ty.into());
        }
        for (index, &func_type_idx) in (0..).zip(&module.tags) {
            let kind = wasm_encoder::TagKind::Exception;
            part(TAG, index, wasm_encoder::TagType { kind, func_type_idx }.into());
        }
        parts
    }

    /// Copies code of the program into the resume module's.
    pub(crate) fn copy(&self, code: &[u8], into: &mut Vec<u8>) {
        let mut operators = OperatorsReader::new(BinaryReader::new(code, 0));
        let mut copied = 0;
        while !operators.eof() {
            let at = operators.original_position();
            let operator = operators.read().expect("the module was validated");
            let replaced = match operator {
                Operator::Call { function_index } => &[Instruction::Call(self.function(function_index))][..],
                Operator::ReturnCall { function_index } => {
                    &[Instruction::ReturnCall(self.function(function_index))]
                }
                Operator::RefFunc { function_index } => &[
                    Instruction::I32Const(self.places[&function_index].cast_signed()),
                    Instruction::TableGet(self.functions_table),
                ],
                operator => match Helper::of(&operator) {
                    Some(helper) => &[Instruction::Call(self.helper(helper))],
                    None => continue,
                },
            };
            into.extend_from_slice(&code[copied..at]);
            for instruction in replaced {
                instruction.encode(into);
            }
            copied = operators.original_position();
        }
        into.extend_from_slice(&code[copied..]);
    }
}

/// The resume module's imports, whose types begin with the program's.
pub(crate) fn imports(parts: &[Part], types: &mut Types) -> Vec<u8> {
    let mut imports = Vec::new();
    for part in parts {
        abi::PROGRAM.encode(&mut imports);
        part.name.as_str().encode(&mut imports);
        let ty = match &part.ty {
            PartType::Helper(ty) => EntityType::Function(types.index(ty.params(), ty.results())),
            PartType::Other(ty) => *ty,
        };
        ty.encode(&mut imports);
    }
    imports
}

impl Helper {
    fn of(operator: &Operator) -> Option<Self> {
        Some(match *operator {
            Operator::MemoryInit {
                data_index: data,
                mem: memory,
            } => Self::InitMemory { data, memory },
            Operator::TableInit {
                elem_index: elements,
                table,
            } => Self::InitTable { elements, table },
            Operator::DataDrop { data_index } => Self::DropData(data_index),
            Operator::ElemDrop { elem_index } => Self::DropElements(elem_index),
            _ => return None,
        })
    }

    pub(crate) fn ty(self, module: &Module) -> FuncType {
        let params = |is_64: bool| {
            [
                if is_64 { ValType::I64 } else { ValType::I32 },
                ValType::I32,
                ValType::I32,
            ]
        };
        let params = match self {
            Self::InitMemory { memory, .. } => params(module.memories[memory as usize].memory64).to_vec(),
            Self::InitTable { table, .. } => params(module.tables[table as usize].table64).to_vec(),
            Self::DropData(_) | Self::DropElements(_) => Vec::new(),
        };
        FuncType::new(params, [])
    }

    /// Its function's body.
    pub(crate) fn body(self, module: &Module) -> Vec<u8> {
        let mut body = vec![0];
        for param in 0..self.ty(module).params().len() as u32 {
            Instruction::LocalGet(param).encode(&mut body);
        }
        self.instruction().encode(&mut body);
        Instruction::End.encode(&mut body);
        body
    }

    pub(crate) fn instruction(self) -> Instruction<'static> {
        match self {
            Self::InitMemory { data, memory } => Instruction::MemoryInit {
                mem: memory,
                data_index: data,
            },
            Self::InitTable { elements, table } => Instruction::TableInit {
                elem_index: elements,
                table,
            },
            Self::DropData(data) => Instruction::DataDrop(data),
            Self::DropElements(elements) => Instruction::ElemDrop(elements),
        }
    }
}

fn table_type(ty: &wasmparser::TableType) -> wasm_encoder::TableType {
    let wasm_encoder::ValType::Ref(element_type) = val_type(ty.element_type.into()) else {
        unreachable!("tables hold references")
    };
    wasm_encoder::TableType {
        element_type,
        table64: ty.table64,
        minimum: ty.initial,
        maximum: ty.maximum,
        shared: ty.shared,
    }
}

pub(crate) fn funcrefs(minimum: u64, maximum: Option<u64>) -> wasm_encoder::TableType {
    wasm_encoder::TableType {
        element_type: wasm_encoder::RefType::FUNCREF,
        table64: false,
        minimum,
        maximum,
        shared: false,
    }
}

pub(crate) fn save_memory() -> wasm_encoder::MemoryType {
    wasm_encoder::MemoryType {
        minimum: abi::SAVE_PAGES,
        maximum: Some(abi::SAVE_PAGES),
        memory64: false,
        shared: false,
        page_size_log2: None,
    }
}
