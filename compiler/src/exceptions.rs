//! Exceptions in frames: a local or operand that holds a caught exception at a site.
//!
//! An exception has no identity that a program could see: its tag and values are all of it. So it is saved by
//! throwing it where every tag of the module is caught, and made again by throwing one like it. Two functions
//! of our own do this; an exception stands on the stack of frames below the frame that it belongs to:
//! ```text
//!   ... | values | tag's number + 1 u32 |   the frame's values, site, twin
//!   ... | 0 u32 |                           no exception: a null reference
//! ```

use wasm_encoder::{BlockType, Catch, Encode, Instruction, MemArg};
use wasmparser::{RefType, ValType};
use wayfare_abi::rewritten::{FRAMES_OFFSET, TOP_OFFSET};

use crate::body::Function;
use crate::code::{Added, Emitter, Types, val_type, zero};
use crate::error::CompileError;
use crate::frames::{Value, size};
use crate::module::Module;
use crate::saving::{load, store};

pub(crate) const EXCEPTION: ValType = ValType::Ref(RefType::EXNREF);
const WORD_BYTES: u32 = 4;

/// Whether a frame of the function can hold an exception.
pub(crate) fn held_by(function: &Function) -> bool {
    function.sites.iter().any(|site| {
        let mut locals = site.live.iter().map(|&local| function.locals[local as usize]);
        locals.any(|ty| ty == EXCEPTION) || site.saved_operands().contains(&EXCEPTION)
    })
}

/// Refuses what cannot be saved in the save memory.
pub(crate) fn check_tags(module: &Module, function: &Function) -> Result<(), CompileError> {
    let mut values = module
        .tags
        .iter()
        .flat_map(|&ty| module.types[ty as usize].params());
    if values.any(|ty| matches!(ty, ValType::Ref(_))) {
        let reason =
            "an exception that can carry a reference, held across a call or loop, cannot be captured";
        return Err(module.refuse(function.index, reason));
    }
    Ok(())
}

impl Emitter<'_> {
    /// Pushes the exceptions of a site, before its frame.
    pub(crate) fn push_exceptions(&mut self, site: usize) {
        for local in self.exceptions_at(site) {
            self.emit(Instruction::LocalGet(local));
            self.emit(Instruction::Call(self.added.push_exception));
        }
    }

    /// The opposite, behind the frame.
    pub(crate) fn pop_exceptions(&mut self, site: usize) {
        for local in self.exceptions_at(site).into_iter().rev() {
            self.emit(Instruction::Call(self.added.pop_exception));
            self.emit(Instruction::LocalSet(local));
        }
    }

    fn exceptions_at(&mut self, site: usize) -> Vec<u32> {
        let frames = self.frames;
        let values = frames.values[site].iter();
        let held: Vec<Value> = values
            .copied()
            .filter(|value| value.ty(self.function) == EXCEPTION)
            .collect();
        held.into_iter().map(|value| self.local_of(value)).collect()
    }
}

/// A function's body, put together.
struct Writer<'a> {
    bytes: Vec<u8>,
    added: &'a Added,
}

impl Writer<'_> {
    fn emit(&mut self, instruction: Instruction) {
        instruction.encode(&mut self.bytes);
    }

    fn word(&self, offset: u64) -> MemArg {
        MemArg {
            offset,
            align: 0,
            memory_index: self.added.save_memory,
        }
    }

    /// Sets a local to how many bytes of frames there are, less `bytes`.
    fn top(&mut self, local: u32, bytes: u32) {
        self.emit(Instruction::I32Const(0));
        self.emit(Instruction::I32Load(self.word(TOP_OFFSET)));
        self.emit(Instruction::I32Const(bytes as i32));
        self.emit(Instruction::I32Sub);
        self.emit(Instruction::LocalSet(local));
    }

    fn set_top(&mut self, local: u32, more: u32) {
        self.emit(Instruction::I32Const(0));
        self.emit(Instruction::LocalGet(local));
        self.emit(Instruction::I32Const(more as i32));
        self.emit(Instruction::I32Add);
        self.emit(Instruction::I32Store(self.word(TOP_OFFSET)));
    }

    /// Writes the last word of an exception whose values take `bytes`, and returns.
    fn end_push(&mut self, top: u32, bytes: u32, number: u32) {
        self.emit(Instruction::LocalGet(top));
        self.emit(Instruction::I32Const(number as i32));
        self.emit(Instruction::I32Store(self.word(FRAMES_OFFSET + u64::from(bytes))));
        self.set_top(top, bytes + WORD_BYTES);
        self.emit(Instruction::Return);
    }

    fn body(self, locals: &[ValType]) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.bytes.len() + 2 * locals.len() + 5);
        (locals.len() as u32).encode(&mut body);
        for ty in locals {
            1u32.encode(&mut body);
            val_type(*ty).encode(&mut body);
        }
        body.extend(self.bytes);
        body
    }
}

/// The values of each tag, with where they stand and how long they are together.
fn layouts(module: &Module) -> Vec<(Vec<(ValType, u32)>, u32)> {
    let layout = |ty: &u32| {
        let mut bytes = 0;
        let params = module.types[*ty as usize].params().iter();
        let values = params
            .map(|&ty| {
                bytes += size(ty);
                (ty, bytes - size(ty))
            })
            .collect();
        (values, bytes)
    };
    module.tags.iter().map(layout).collect()
}

/// `(exnref) -> ()`: pushes it on the stack of frames.
pub(crate) fn push(module: &Module, added: &Added, types: &mut Types) -> Vec<u8> {
    let layouts = layouts(module);
    let mut writer = Writer {
        bytes: Vec::new(),
        added,
    };
    // The parameter is local 0, the top 1, values of the tags follow.
    let (exception, top, first) = (0, 1, 2);
    let mut locals = vec![ValType::I32];
    writer.top(top, 0);
    writer.emit(Instruction::LocalGet(exception));
    writer.emit(Instruction::RefIsNull);
    writer.emit(Instruction::If(BlockType::Empty));
    writer.end_push(top, 0, 0);
    writer.emit(Instruction::End);
    for ty in module.tags.iter().rev() {
        let params = module.types[*ty as usize].params();
        writer.emit(Instruction::Block(types.block(&[], params)));
    }
    let tags = 0..module.tags.len() as u32;
    let catches: Vec<Catch> = tags.map(|tag| Catch::One { tag, label: tag }).collect();
    writer.emit(Instruction::TryTable(BlockType::Empty, catches.into()));
    writer.emit(Instruction::LocalGet(exception));
    writer.emit(Instruction::ThrowRef);
    writer.emit(Instruction::End);
    writer.emit(Instruction::Unreachable);
    for (number, (values, bytes)) in (1..).zip(&layouts) {
        writer.emit(Instruction::End);
        let value = first + (locals.len() - 1) as u32;
        locals.extend(values.iter().map(|(ty, _)| *ty));
        for index in (0..values.len() as u32).rev() {
            writer.emit(Instruction::LocalSet(value + index));
        }
        for (local, &(ty, offset)) in (value..).zip(values) {
            let memarg = writer.word(FRAMES_OFFSET + u64::from(offset));
            writer.emit(Instruction::LocalGet(top));
            writer.emit(Instruction::LocalGet(local));
            writer.emit(store(ty, memarg));
        }
        writer.end_push(top, *bytes, number);
    }
    writer.emit(Instruction::End);
    writer.body(&locals)
}

/// `() -> (exnref)`: takes what [`push`] pushed last.
pub(crate) fn pop(module: &Module, added: &Added) -> Vec<u8> {
    let mut writer = Writer {
        bytes: Vec::new(),
        added,
    };
    let (top, number) = (0, 1);
    writer.top(top, WORD_BYTES);
    writer.set_top(top, 0);
    writer.emit(Instruction::LocalGet(top));
    writer.emit(Instruction::I32Load(writer.word(FRAMES_OFFSET)));
    writer.emit(Instruction::LocalTee(number));
    writer.emit(Instruction::I32Eqz);
    writer.emit(Instruction::If(BlockType::Empty));
    writer.emit(zero(EXCEPTION));
    writer.emit(Instruction::Return);
    writer.emit(Instruction::End);
    for (tag, (values, bytes)) in (0..).zip(layouts(module)) {
        writer.emit(Instruction::LocalGet(number));
        writer.emit(Instruction::I32Const(tag as i32 + 1));
        writer.emit(Instruction::I32Eq);
        writer.emit(Instruction::If(BlockType::Empty));
        writer.top(top, bytes);
        writer.set_top(top, 0);
        writer.emit(Instruction::Block(BlockType::Result(val_type(EXCEPTION))));
        let catches = vec![Catch::AllRef { label: 0 }];
        writer.emit(Instruction::TryTable(BlockType::Empty, catches.into()));
        for (ty, offset) in values {
            let memarg = writer.word(FRAMES_OFFSET + u64::from(offset));
            writer.emit(Instruction::LocalGet(top));
            writer.emit(load(ty, memarg));
        }
        writer.emit(Instruction::Throw(tag));
        writer.emit(Instruction::End);
        writer.emit(Instruction::Unreachable);
        writer.emit(Instruction::End);
        writer.emit(Instruction::Return);
        writer.emit(Instruction::End);
    }
    // Only a forged frame names another tag.
    writer.emit(Instruction::Unreachable);
    writer.emit(Instruction::End);
    writer.body(&[ValType::I32, ValType::I32])
}
