//! Polls, checks, and the code behind a function that saves a frame.
//!
//! A site leaves for the save code by a branch that is never taken, as good as always, and whose hint says
//! so: it lies outside every loop, and nothing comes back. What it does there is laid out by
//! [`crate::frames`].
//!
//! A frame is its values, then two words (references apart, in a table of their own, and exceptions below it,
//! see [`crate::exceptions`]):
//! ```text
//!   ... | values | site u32 | twin u32 |   <- top
//! ```

use wasm_encoder::{BlockType, Instruction, MemArg};
use wasmparser::ValType;
use wayfare_abi::rewritten::{FLAG_BYTES, FLAG_OFFSET, FRAMES_OFFSET, REFERENCES_OFFSET, TOP_OFFSET};

use crate::body::SiteKind;
use crate::code::{Emitter, zero};
use crate::error::CompileError;
use crate::exceptions::EXCEPTION;
use crate::frames::{Step, Value};
use crate::module::is_foreign;

/// The words at the end of each frame.
pub(crate) const FRAME_WORDS_BYTES: u32 = 8;

pub(crate) struct Saver {
    /// What the function's frames say whose they are.
    twin: u32,
    /// Our locals: the site that is left from, the frame's start and the bytes of its values.
    pub(crate) site: u32,
    pub(crate) top: u32,
    bytes: u32,
    /// Polls emitted so far.
    polls: u64,
}

impl Saver {
    pub(crate) fn new(twin: u32) -> Self {
        Self {
            twin,
            site: 0,
            top: 0,
            bytes: 0,
            polls: 0,
        }
    }
}

impl Emitter<'_> {
    /// Opens the blocks behind which the save code will stand, the last one outermost.
    pub(crate) fn open_saving(&mut self) {
        if self.frames.labels == 0 {
            return;
        }
        self.saver.site = self.local(ValType::I32);
        self.saver.top = self.local(ValType::I32);
        self.saver.bytes = self.local(ValType::I32);
        for _ in 0..self.frames.labels {
            self.open(Instruction::Block(BlockType::Empty), None);
        }
    }

    /// Ends the function's own code, and saves.
    pub(crate) fn close_saving(&mut self) -> Result<(), CompileError> {
        if self.frames.labels == 0 {
            return Ok(());
        }
        self.emit(Instruction::Return);
        let frames = self.frames;
        for step in &frames.steps {
            match *step {
                Step::Label => self.close(),
                Step::Enter { bytes } => self.enter_frame(bytes),
                Step::Save { value, offset } => self.save(value, offset)?,
                Step::Goto(label) => {
                    self.emit(Instruction::I32Const(1));
                    self.go_to(label);
                }
            }
        }
        self.close_frame();
        Ok(())
    }

    fn enter_frame(&mut self, bytes: u32) {
        self.emit(Instruction::I32Const(bytes as i32));
        self.emit(Instruction::LocalSet(self.saver.bytes));
        self.emit(Instruction::I32Const(0));
        self.emit(Instruction::I32Load(self.word(TOP_OFFSET)));
        self.emit(Instruction::LocalSet(self.saver.top));
    }

    /// Blocks between here and a label of the save code; these enclose everything else.
    fn saving_depth(&self, label: usize) -> u32 {
        (self.labels.len() + label - self.frames.labels) as u32
    }

    /// Leaves for the save code if a capture was asked for.
    pub(crate) fn poll(&mut self, site: usize) {
        self.leave(site, Self::flag);
    }

    /// Whether a capture was asked for. Looks at a byte that nothing before it in this function has looked
    /// at: see [`FLAG_BYTES`].
    pub(crate) fn flag(&mut self) {
        let byte = FLAG_OFFSET + self.saver.polls % FLAG_BYTES;
        self.saver.polls += 1;
        self.emit(Instruction::I32Const(0));
        self.emit(Instruction::I32Load8U(self.word(byte)));
    }

    /// Saves this frame too if the call came back unwinding.
    pub(crate) fn check(&mut self, site: usize) {
        self.leave(site, |emitter| {
            // In a twin nothing is on the stack of frames now, unless a callee has pushed it: to look there
            // is less code than to look at another module's global.
            if emitter.homes.is_some() && emitter.function.sites[site].kind == SiteKind::Call {
                emitter.emit(Instruction::I32Const(0));
                emitter.emit(Instruction::I32Load(emitter.word(TOP_OFFSET)));
            } else {
                emitter.emit(Instruction::GlobalGet(emitter.added.unwinding));
            }
        });
    }

    /// The site's number is set behind the branch: in front of it, it would cost an instruction each time.
    fn leave(&mut self, site: usize, condition: impl FnOnce(&mut Self)) {
        condition(self);
        self.unlikely.push(self.bytes.len());
        self.open(Instruction::If(BlockType::Empty), None);
        self.push_exceptions(site);
        self.bring_home(site);
        let entry = self.frames.entries[site];
        self.emit(Instruction::I32Const(site as i32 + 1));
        self.emit(Instruction::LocalTee(self.saver.site));
        self.go_to(entry);
        self.close();
    }

    /// Goes to a label of the save code. The condition is there, and always true, for the sake of the hint
    /// that comes with it: it is what tells a compiler to lay the save code outside of all loops.
    fn go_to(&mut self, label: usize) {
        self.unlikely.push(self.bytes.len());
        let depth = self.saving_depth(label);
        self.emit(Instruction::BrIf(depth));
        self.emit(Instruction::Unreachable);
    }

    fn save(&mut self, value: Value, offset: u32) -> Result<(), CompileError> {
        let ty = value.ty(self.function);
        // It stands below the frame.
        if ty == EXCEPTION {
            return Ok(());
        }
        if is_foreign(ty) {
            let reason = "a host's reference held across a call or loop cannot be captured";
            return Err(self.module.refuse(self.function.index, reason));
        }
        if matches!(ty, ValType::Ref(_)) {
            let local = self.local_of(value);
            self.save_reference(local);
            return Ok(());
        }
        self.emit(Instruction::LocalGet(self.saver.top));
        self.get(value);
        let memarg = self.word(FRAMES_OFFSET + u64::from(offset));
        self.emit(store(ty, memarg));
        Ok(())
    }

    /// What all frames of a function have in common.
    fn close_frame(&mut self) {
        self.emit(Instruction::LocalGet(self.saver.top));
        self.emit(Instruction::LocalGet(self.saver.bytes));
        self.emit(Instruction::I32Add);
        self.emit(Instruction::LocalTee(self.saver.top));
        self.emit(Instruction::LocalGet(self.saver.site));
        self.emit(Instruction::I32Store(self.word(FRAMES_OFFSET)));
        self.emit(Instruction::LocalGet(self.saver.top));
        self.emit(Instruction::I32Const(self.saver.twin as i32));
        self.emit(Instruction::I32Store(self.word(FRAMES_OFFSET + 4)));
        self.emit(Instruction::I32Const(0));
        self.emit(Instruction::LocalGet(self.saver.top));
        self.emit(Instruction::I32Const(FRAME_WORDS_BYTES as i32));
        self.emit(Instruction::I32Add);
        self.emit(Instruction::I32Store(self.word(TOP_OFFSET)));
        self.check_room();
        if self.function.sites.iter().any(|site| site.kind.is_poll()) {
            self.emit(Instruction::I32Const(1));
            self.emit(Instruction::GlobalSet(self.added.unwinding));
        }
        // A twin returns nothing.
        if self.homes.is_none() {
            for ty in &self.function.results {
                self.emit(zero(*ty));
            }
        }
    }

    /// Pushes a reference: memories cannot hold one, so a table does.
    fn save_reference(&mut self, local: u32) {
        let table = self.added.references;
        let count = Instruction::I32Load(self.word(REFERENCES_OFFSET));
        self.emit(Instruction::I32Const(0));
        self.emit(count.clone());
        self.emit(Instruction::TableSize(table));
        self.emit(Instruction::I32GeU);
        self.emit(Instruction::If(BlockType::Empty));
        self.emit(zero(ValType::FUNCREF));
        self.emit(Instruction::I32Const(64));
        self.emit(Instruction::TableGrow(table));
        self.emit(Instruction::Drop);
        self.emit(Instruction::End);
        self.emit(Instruction::I32Const(0));
        self.emit(count);
        self.emit(Instruction::LocalGet(local));
        self.emit(Instruction::TableSet(table));
        self.count_references(1);
    }

    pub(crate) fn count_references(&mut self, by: i32) {
        self.emit(Instruction::I32Const(0));
        self.emit(Instruction::I32Const(0));
        self.emit(Instruction::I32Load(self.word(REFERENCES_OFFSET)));
        self.emit(Instruction::I32Const(by));
        self.emit(Instruction::I32Add);
        self.emit(Instruction::I32Store(self.word(REFERENCES_OFFSET)));
    }

    /// The local that holds a value at its sites.
    pub(crate) fn local_of(&mut self, value: Value) -> u32 {
        match value {
            Value::Local(local) => local,
            Value::Operand(height, ty) => self.slot(height, ty),
        }
    }

    pub(crate) fn word(&self, offset: u64) -> MemArg {
        MemArg {
            offset,
            align: 0,
            memory_index: self.added.save_memory,
        }
    }
}

/// What stores a value that is no reference.
pub(crate) fn store(ty: ValType, memarg: MemArg) -> Instruction<'static> {
    match ty {
        ValType::I32 => Instruction::I32Store(memarg),
        ValType::I64 => Instruction::I64Store(memarg),
        ValType::F32 => Instruction::F32Store(memarg),
        ValType::F64 => Instruction::F64Store(memarg),
        _ => Instruction::V128Store(memarg),
    }
}

/// What loads a value that is no reference.
pub(crate) fn load(ty: ValType, memarg: MemArg) -> Instruction<'static> {
    match ty {
        ValType::I32 => Instruction::I32Load(memarg),
        ValType::I64 => Instruction::I64Load(memarg),
        ValType::F32 => Instruction::F32Load(memarg),
        ValType::F64 => Instruction::F64Load(memarg),
        _ => Instruction::V128Load(memarg),
    }
}
