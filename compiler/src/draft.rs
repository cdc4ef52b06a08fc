//! A module that is being written: its code, function by function, and the encoding of what is new in its
//! sections.

use wasm_encoder::{Encode, Instruction};
use wasmparser::ValType;

use crate::body::Function;
use crate::borrowed;
use crate::code::{Added, Emitter, Types, val_type, zero};
use crate::exceptions;
use crate::frames::Frames;
use crate::module::Module;
use crate::saving::Saver;
use crate::sections::{CODE, Code, EXPORT, FUNCTION, Sections, TYPE};

/// Name, kind and index.
pub(crate) type Export = (String, u8, u32);

pub(crate) struct Draft<'a> {
    module: &'a Module<'a>,
    pub(crate) added: Added,
    pub(crate) types: Types,
    pub(crate) code: Code,
    /// Types of the functions that are new in it.
    new_functions: Vec<u8>,
    new_count: u32,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(module: &'a Module<'a>, added: Added, imported_functions: u32) -> Self {
        Self {
            module,
            added,
            types: Types::new(&module.types),
            code: Code::after(imported_functions),
            new_functions: Vec::new(),
            new_count: 0,
        }
    }

    pub(crate) fn emitter<'b>(
        &'b mut self,
        function: &'b Function,
        frames: &'b Frames,
        saver: Saver,
    ) -> Emitter<'b> {
        Emitter::new(self.module, &self.added, &mut self.types, function, frames, saver)
    }

    /// A function that the original module has not.
    pub(crate) fn write(&mut self, body: &[u8], params: &[ValType], results: &[ValType]) {
        self.code.push(body);
        self.declare(params, results);
    }

    pub(crate) fn declare(&mut self, params: &[ValType], results: &[ValType]) {
        self.types.index(params, results).encode(&mut self.new_functions);
        self.new_count += 1;
    }

    pub(crate) fn write_push_exception(&mut self) {
        let push = exceptions::push(self.module, &self.added, &mut self.types);
        self.write(&push, &[exceptions::EXCEPTION], &[]);
    }

    pub(crate) fn write_pop_exception(&mut self) {
        let pop = exceptions::pop(self.module, &self.added);
        self.write(&pop, &[], &[exceptions::EXCEPTION]);
    }

    /// The globals of [`Added::result_globals`], by index.
    pub(crate) fn result_globals(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for &(ty, _) in self.added.result_globals.keys() {
            val_type(ty).encode(&mut bytes);
            bytes.push(1);
            zero(ty).encode(&mut bytes);
            Instruction::End.encode(&mut bytes);
        }
        bytes
    }

    /// How long its code is so far.
    pub(crate) fn bytes(&self) -> usize {
        self.code.bytes.len()
    }

    /// `sections`: what is not code.
    pub(crate) fn finish(self, mut sections: Sections, name_section: Option<&[u8]>) -> Vec<u8> {
        sections.extend(FUNCTION, self.new_count, &self.new_functions);
        sections.extend(TYPE, self.types.added().len() as u32, &self.types.encoded());
        sections.replace(CODE, self.code.section());
        sections.finish(&self.code.hints, name_section)
    }
}

impl Types {
    pub(crate) fn encoded(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for ty in self.added() {
            bytes.push(0x60);
            for list in [ty.params(), ty.results()] {
                (list.len() as u32).encode(&mut bytes);
                for ty in list {
                    val_type(*ty).encode(&mut bytes);
                }
            }
        }
        bytes
    }
}

/// A table of references to functions.
pub(crate) fn funcrefs(minimum: u32, maximum: Option<u32>) -> Vec<u8> {
    encoded(&borrowed::funcrefs(minimum.into(), maximum.map(u64::from)))
}

pub(crate) fn encoded(entry: &impl Encode) -> Vec<u8> {
    let mut bytes = Vec::new();
    entry.encode(&mut bytes);
    bytes
}

/// Mutable `i32`s that begin at 0.
pub(crate) fn zeros(count: usize) -> Vec<u8> {
    [0x7f, 0x01, 0x41, 0x00, 0x0b].repeat(count)
}

/// An active segment that fills `table` from 0.
pub(crate) fn elements(table: u32, functions: &[u32]) -> Vec<u8> {
    // With an explicit table, offset 0, functions by index.
    let mut bytes = vec![2];
    table.encode(&mut bytes);
    bytes.extend([0x41, 0x00, 0x0b, 0x00]);
    functions.encode(&mut bytes);
    bytes
}

pub(crate) fn extend_exports(sections: &mut Sections, exports: Vec<Export>) {
    let mut bytes = Vec::new();
    let count = exports.len() as u32;
    for (name, kind, index) in exports {
        name.as_str().encode(&mut bytes);
        bytes.push(kind);
        index.encode(&mut bytes);
    }
    sections.extend(EXPORT, count, &bytes);
}
