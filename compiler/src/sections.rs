//! A module as a list of sections. Sections that are vectors can be extended without being understood:
//! only their count changes.

use std::collections::BTreeMap;

use wasm_encoder::{BranchHint, BranchHints, Encode, Instruction, RawSection};
use wasmparser::{BinaryReader, FunctionBody, ValType};

use crate::code::{Body, val_type};
use crate::error::CompileError;
use crate::module::Module;

pub(crate) const TYPE: u8 = 1;
pub(crate) const IMPORT: u8 = 2;
pub(crate) const FUNCTION: u8 = 3;
pub(crate) const TABLE: u8 = 4;
pub(crate) const MEMORY: u8 = 5;
pub(crate) const GLOBAL: u8 = 6;
pub(crate) const EXPORT: u8 = 7;
const START: u8 = 8;
pub(crate) const ELEMENT: u8 = 9;
pub(crate) const CODE: u8 = 10;
/// The order in which they must stand; a rewritten module has no start section.
const ORDER: [u8; 12] = [1, 2, 3, 4, 5, 13, 6, 7, 9, 12, 10, 11];

pub(crate) struct Sections {
    sections: BTreeMap<u8, Vec<u8>>,
}

impl Sections {
    pub(crate) fn of(module: &Module) -> Self {
        let kept = module.sections.iter().filter(|(id, _)| **id != START);
        Self {
            sections: kept.map(|(id, bytes)| (*id, bytes.to_vec())).collect(),
        }
    }

    /// Of another module with the same types.
    pub(crate) fn types_of(module: &Module) -> Self {
        let types = module.sections.get_key_value(&TYPE);
        Self {
            sections: types
                .map(|(id, bytes)| (*id, bytes.to_vec()))
                .into_iter()
                .collect(),
        }
    }

    pub(crate) fn extend(&mut self, id: u8, count: u32, entries: &[u8]) {
        if count == 0 {
            return;
        }
        let section = self.sections.entry(id).or_insert_with(|| vec![0]);
        let mut reader = BinaryReader::new(section, 0);
        let old = reader.read_var_u32().expect("validated");
        let rest = section[reader.original_position()..].to_vec();
        section.clear();
        (old + count).encode(section);
        section.extend_from_slice(&rest);
        section.extend_from_slice(entries);
    }

    pub(crate) fn replace(&mut self, id: u8, bytes: Vec<u8>) {
        self.sections.insert(id, bytes);
    }

    pub(crate) fn finish(self, hints: &BranchHints, name_section: Option<&[u8]>) -> Vec<u8> {
        let mut module = wasm_encoder::Module::new();
        for id in ORDER {
            if id == CODE && !hints.is_empty() {
                module.section(hints);
            }
            if let Some(data) = self.sections.get(&id) {
                module.section(&RawSection { id, data });
            }
        }
        if let Some(data) = name_section {
            module.section(&wasm_encoder::CustomSection {
                name: "name".into(),
                data: data.into(),
            });
        }
        module.finish()
    }
}

impl Module<'_> {
    /// If there is a start section: the same module without it, and with a function that does its work
    /// and then runs the program, so that both can be captured.
    pub(crate) fn without_start_section(&self) -> Option<(Vec<u8>, u32)> {
        let first = self.start_section?;
        let mut sections = Sections::of(self);
        let nothing = self
            .types
            .iter()
            .position(|ty| ty.params().is_empty() && ty.results().is_empty())?;
        let mut entry = Vec::new();
        (nothing as u32).encode(&mut entry);
        sections.extend(FUNCTION, 1, &entry);
        let mut body = vec![0];
        Instruction::Call(first).encode(&mut body);
        if let Some(start) = self.start {
            Instruction::Call(start).encode(&mut body);
        }
        Instruction::End.encode(&mut body);
        let mut code = Code::after(self.imported_functions());
        for body in self
            .bodies
            .iter()
            .map(|body| body.body.as_bytes())
            .chain([body.as_slice()])
        {
            code.push(body);
        }
        sections.replace(CODE, code.section());
        Some((
            sections.finish(&code.hints, self.name_section),
            self.functions.len() as u32,
        ))
    }
}

/// The code section, body by body, and what is known of its branches.
pub(crate) struct Code {
    /// The next function's index.
    function: u32,
    count: u32,
    pub(crate) bytes: Vec<u8>,
    pub(crate) hints: BranchHints,
}

impl Code {
    pub(crate) fn after(imported_functions: u32) -> Self {
        Self {
            function: imported_functions,
            count: 0,
            bytes: Vec::new(),
            hints: BranchHints::new(),
        }
    }

    /// A body as it was.
    pub(crate) fn push(&mut self, body: &[u8]) {
        self.count += 1;
        self.function += 1;
        body.encode(&mut self.bytes);
    }

    pub(crate) fn push_hinted(&mut self, body: &Body) {
        if !body.unlikely.is_empty() {
            let hints = body.unlikely.iter().map(|&branch_func_offset| BranchHint {
                branch_func_offset,
                branch_hint_value: 0,
            });
            self.hints
                .function_hints(self.function, hints.collect::<Vec<_>>());
        }
        self.push(&body.bytes);
    }

    pub(crate) fn section(&self) -> Vec<u8> {
        let mut section = Vec::with_capacity(self.bytes.len() + 5);
        self.count.encode(&mut section);
        section.extend_from_slice(&self.bytes);
        section
    }
}

/// The locals that a body declares. More can be put behind them, so that no index changes.
pub(crate) struct Locals {
    /// The index of the next.
    pub(crate) next: u32,
    /// Declarations, each of so many of one type.
    count: u32,
    bytes: Vec<u8>,
}

impl Locals {
    pub(crate) fn of(module: &Module, index: u32, body: &FunctionBody) -> Result<Self, CompileError> {
        let mut locals = Self {
            next: module.function_type(index).params().len() as u32,
            count: 0,
            bytes: Vec::new(),
        };
        for declaration in body.get_locals_reader()? {
            let (count, ty) = declaration?;
            locals.push(count, ty);
        }
        Ok(locals)
    }

    pub(crate) fn push(&mut self, count: u32, ty: ValType) {
        self.next += count;
        self.count += 1;
        count.encode(&mut self.bytes);
        val_type(ty).encode(&mut self.bytes);
    }

    /// The body with these and this code.
    pub(crate) fn body(&self, code: &[u8]) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.bytes.len() + code.len() + 5);
        self.count.encode(&mut body);
        body.extend_from_slice(&self.bytes);
        body.extend_from_slice(code);
        body
    }
}
