//! Code for a function: the original with polls and checks, and what its twin shares with it.
//!
//! At a site, operands are moved into *slots*, locals of our own named by height and type, because the save
//! code stands in a block that cannot reach the operand stack. Locals cost nothing: compilers see through them.
//!
//! A frame is the live locals by index, then the operands from the lowest (references apart, in a table of their
//! own), then two words:
//! ```text
//!   ... | locals | operands | site u32 | twin u32 |   <- top
//! ```

use std::collections::BTreeMap;
use std::ops::Range;

use wasm_encoder::{BlockType, Encode, Instruction, MemArg};
use wasmparser::{Catch, FuncType, RefType, ValType};

use crate::abi::{FLAG_BYTES, FLAG_OFFSET, FRAMES_OFFSET, REFERENCES_OFFSET, TOP_OFFSET};
use crate::body::{Call, Construct, Function, Jump, Kind, Label, Node, ROOT, Segment, Seq, Site, SiteKind};
use crate::error::CompileError;
use crate::module::{Module, is_foreign};

/// Indices of what the rewriting adds.
pub(crate) struct Added {
    pub(crate) save_memory: u32,
    pub(crate) twin_table: u32,
    pub(crate) unwinding: u32,
    /// By segment: the global that remembers its dropping.
    pub(crate) dropped: BTreeMap<Segment, u32>,
    /// Tables of [`crate::abi::FUNCTIONS`] and [`crate::abi::REFERENCES`].
    pub(crate) functions: u32,
    pub(crate) references: u32,
}

/// Types that the module did not have.
pub(crate) struct Types {
    types: Vec<FuncType>,
    original: usize,
}

impl Types {
    pub(crate) fn new(types: &[FuncType]) -> Self {
        Self {
            types: types.to_vec(),
            original: types.len(),
        }
    }

    pub(crate) fn index(&mut self, params: &[ValType], results: &[ValType]) -> u32 {
        let found = self
            .types
            .iter()
            .position(|ty| ty.params() == params && ty.results() == results);
        found.unwrap_or_else(|| {
            self.types
                .push(FuncType::new(params.iter().copied(), results.iter().copied()));
            self.types.len() - 1
        }) as u32
    }

    pub(crate) fn added(&self) -> &[FuncType] {
        &self.types[self.original..]
    }
}

/// The words at the end of each frame.
pub(crate) const FRAME_WORDS_BYTES: u32 = 8;

pub(crate) struct Emitter<'a> {
    pub(crate) module: &'a Module<'a>,
    pub(crate) added: &'a Added,
    pub(crate) types: &'a mut Types,
    pub(crate) function: &'a Function,
    /// What the function's frames say whose they are.
    pub(crate) twin: u32,
    pub(crate) bytes: Vec<u8>,
    /// Enclosing blocks in the code as emitted, outermost first; `None`: one that no original branch means.
    pub(crate) labels: Vec<Option<Label>>,
    slots: BTreeMap<(usize, ValType), u32>,
    extra_locals: Vec<ValType>,
    top: Option<u32>,
    /// Polls emitted so far.
    polls: u64,
}

impl<'a> Emitter<'a> {
    pub(crate) fn new(
        module: &'a Module<'a>,
        added: &'a Added,
        types: &'a mut Types,
        function: &'a Function,
        twin: u32,
    ) -> Self {
        Self {
            module,
            added,
            types,
            function,
            twin,
            bytes: Vec::new(),
            labels: Vec::new(),
            slots: BTreeMap::new(),
            extra_locals: Vec::new(),
            top: None,
            polls: 0,
        }
    }

    /// The original function with its polls and checks, as an entry of the code section.
    pub(crate) fn original(mut self) -> Result<Vec<u8>, CompileError> {
        let function = self.function;
        self.seq(&function.root)?;
        Ok(self.finish(function.params))
    }

    /// Puts the declarations of locals in front. `declared`: how many are declared already, as parameters.
    pub(crate) fn finish(mut self, declared: usize) -> Vec<u8> {
        self.emit(Instruction::End);
        let locals: Vec<_> = self.function.locals[declared..]
            .iter()
            .chain(&self.extra_locals)
            .collect();
        let runs: Vec<&[&ValType]> = locals.chunk_by(|a, b| a == b).collect();
        let mut body = Vec::with_capacity(self.bytes.len() + 2 * runs.len() + 4);
        (runs.len() as u32).encode(&mut body);
        for run in runs {
            (run.len() as u32).encode(&mut body);
            val_type(*run[0]).encode(&mut body);
        }
        body.append(&mut self.bytes);
        body
    }

    pub(crate) fn emit(&mut self, instruction: Instruction) {
        instruction.encode(&mut self.bytes);
    }

    fn copy(&mut self, range: &Range<usize>) {
        self.bytes.extend_from_slice(self.module.bytes(range.clone()));
    }

    pub(crate) fn issue(&mut self, call: &Call) {
        match call {
            Call::None => {}
            Call::Copied(bytes) => self.copy(bytes),
            Call::Import(function) => self.emit(Instruction::Call(*function)),
        }
    }

    pub(crate) fn local(&mut self, ty: ValType) -> u32 {
        self.extra_locals.push(ty);
        (self.function.locals.len() + self.extra_locals.len() - 1) as u32
    }

    fn slot(&mut self, height: usize, ty: ValType) -> u32 {
        if let Some(&slot) = self.slots.get(&(height, ty)) {
            return slot;
        }
        let slot = self.local(ty);
        self.slots.insert((height, ty), slot);
        slot
    }

    /// Moves the operands from height `from` up into slots; the last is on top.
    pub(crate) fn spill(&mut self, from: usize, types: &[ValType]) {
        for (index, &ty) in types.iter().enumerate().rev() {
            let slot = self.slot(from + index, ty);
            self.emit(Instruction::LocalSet(slot));
        }
    }

    pub(crate) fn reload(&mut self, from: usize, types: &[ValType]) {
        for (index, &ty) in types.iter().enumerate() {
            let slot = self.slot(from + index, ty);
            self.emit(Instruction::LocalGet(slot));
        }
    }

    pub(crate) fn open(&mut self, instruction: Instruction, label: Option<Label>) {
        self.emit(instruction);
        self.labels.push(label);
    }

    pub(crate) fn close(&mut self) {
        self.emit(Instruction::End);
        self.labels.pop();
    }

    pub(crate) fn block_type(&mut self, params: &[ValType], results: &[ValType]) -> BlockType {
        match (params, results) {
            ([], []) => BlockType::Empty,
            ([], [one]) => BlockType::Result(val_type(*one)),
            _ => BlockType::FunctionType(self.types.index(params, results)),
        }
    }

    /// How many blocks lie between here and the one that `label` means.
    fn depth(&self, label: Label) -> u32 {
        if label == ROOT {
            return self.labels.len() as u32;
        }
        let found = self.labels.iter().rev().position(|open| *open == Some(label));
        found.expect("validated: branches lead to enclosing constructs") as u32
    }

    pub(crate) fn seq(&mut self, seq: &Seq) -> Result<(), CompileError> {
        for node in &seq.nodes {
            match node {
                Node::Site(site) => self.site(*site)?,
                Node::Construct(construct) => self.construct(construct)?,
                other => self.simple(other),
            }
        }
        Ok(())
    }

    /// A node that is neither site nor construct.
    pub(crate) fn simple(&mut self, node: &Node) {
        match node {
            Node::Plain { bytes, .. } => self.copy(bytes),
            Node::Drop { segment, bytes } => {
                self.emit(Instruction::I32Const(1));
                self.emit(Instruction::GlobalSet(self.added.dropped[segment]));
                self.copy(bytes);
            }
            Node::Jump(jump) => match jump {
                Jump::Br(label) => self.emit(Instruction::Br(self.depth(*label))),
                Jump::BrIf(label) => self.emit(Instruction::BrIf(self.depth(*label))),
                Jump::BrTable(labels, default) => {
                    let depths: Vec<u32> = labels.iter().map(|label| self.depth(*label)).collect();
                    self.emit(Instruction::BrTable(depths.into(), self.depth(*default)));
                }
                Jump::TailCall(bytes) | Jump::Throw(bytes) => self.copy(bytes),
                Jump::Return => self.emit(Instruction::Return),
                Jump::Unreachable => self.emit(Instruction::Unreachable),
            },
            Node::Site(_) | Node::Construct(_) => unreachable!("the caller takes these"),
        }
    }

    fn site(&mut self, index: usize) -> Result<(), CompileError> {
        let site = &self.function.sites[index];
        let operands = &site.stack[site.base..];
        let below = operands.len() - site.args;
        match site.kind {
            SiteKind::LoopPoll | SiteKind::EntryPoll => {
                self.spill(site.base, operands);
                self.poll(index)?;
                self.reload(site.base, operands);
            }
            SiteKind::Call if below == 0 => {
                self.issue(&site.call);
                self.check(index)?;
            }
            SiteKind::Call | SiteKind::Blocking => {
                self.spill(site.base, operands);
                self.reload(site.base + below, &operands[below..]);
                self.issue(&site.call);
                self.check(index)?;
                self.put_below(site.base, &operands[..below], &site.results);
            }
        }
        Ok(())
    }

    /// Brings back operands from their slots beneath results that are on the stack.
    pub(crate) fn put_below(&mut self, base: usize, below: &[ValType], results: &[ValType]) {
        if !below.is_empty() {
            self.spill(base + below.len(), results);
            self.reload(base, below);
            self.reload(base + below.len(), results);
        }
    }

    pub(crate) fn construct(&mut self, construct: &Construct) -> Result<(), CompileError> {
        let condition = usize::from(construct.kind == Kind::If);
        let below = if construct.sites.is_empty() {
            &[][..]
        } else {
            &construct.stack[construct.base..construct.stack.len() - construct.params.len() - condition]
        };
        if !below.is_empty() {
            let operands = &construct.stack[construct.base..];
            self.spill(construct.base, operands);
            self.reload(construct.base + below.len(), &operands[below.len()..]);
        }
        let ty = self.block_type(&construct.params, &construct.results);
        let opening = self.opening(construct, ty);
        self.open(opening, Some(construct.label));
        self.seq(&construct.body)?;
        if let Some(otherwise) = &construct.otherwise {
            self.emit(Instruction::Else);
            self.seq(otherwise)?;
        }
        self.close();
        self.put_below(construct.base, below, &construct.results);
        Ok(())
    }

    pub(crate) fn opening(&self, construct: &Construct, ty: BlockType) -> Instruction<'static> {
        match construct.kind {
            Kind::Block => Instruction::Block(ty),
            Kind::Loop => Instruction::Loop(ty),
            Kind::If => Instruction::If(ty),
            Kind::Try => {
                let catches = construct.catches.iter().map(|(catch, label)| {
                    let label = self.depth(*label);
                    match *catch {
                        Catch::One { tag, .. } => wasm_encoder::Catch::One { tag, label },
                        Catch::OneRef { tag, .. } => wasm_encoder::Catch::OneRef { tag, label },
                        Catch::All { .. } => wasm_encoder::Catch::All { label },
                        Catch::AllRef { .. } => wasm_encoder::Catch::AllRef { label },
                    }
                });
                Instruction::TryTable(ty, catches.collect())
            }
        }
    }

    /// Leaves for the save code if a capture was asked for. Looks at a byte that no poll before it in this function has
    /// looked at: see [`FLAG_BYTES`].
    pub(crate) fn poll(&mut self, site: usize) -> Result<(), CompileError> {
        let byte = FLAG_OFFSET + self.polls % FLAG_BYTES;
        self.polls += 1;
        self.emit(Instruction::I32Const(0));
        self.emit(Instruction::I32Load8U(self.word(byte)));
        self.emit(Instruction::If(BlockType::Empty));
        self.emit(Instruction::I32Const(1));
        self.emit(Instruction::GlobalSet(self.added.unwinding));
        self.save(site)?;
        self.emit(Instruction::End);
        Ok(())
    }

    /// Saves this frame too if the call came back unwinding.
    pub(crate) fn check(&mut self, site: usize) -> Result<(), CompileError> {
        self.emit(Instruction::GlobalGet(self.added.unwinding));
        self.emit(Instruction::If(BlockType::Empty));
        self.save(site)?;
        self.emit(Instruction::End);
        Ok(())
    }

    /// Pushes the frame and returns.
    fn save(&mut self, index: usize) -> Result<(), CompileError> {
        let site = &self.function.sites[index];
        let top = match self.top {
            Some(top) => top,
            None => *self.top.insert({
                self.extra_locals.push(ValType::I32);
                (self.function.locals.len() + self.extra_locals.len() - 1) as u32
            }),
        };
        self.emit(Instruction::I32Const(0));
        self.emit(Instruction::I32Load(self.word(TOP_OFFSET)));
        self.emit(Instruction::LocalSet(top));
        let mut offset = 0;
        for (local, ty) in self.frame_values(site)? {
            if matches!(ty, ValType::Ref(_)) {
                self.save_reference(local);
                continue;
            }
            self.emit(Instruction::LocalGet(top));
            self.emit(Instruction::LocalGet(local));
            let memarg = self.word(FRAMES_OFFSET + u64::from(offset));
            self.emit(match ty {
                ValType::I32 => Instruction::I32Store(memarg),
                ValType::I64 => Instruction::I64Store(memarg),
                ValType::F32 => Instruction::F32Store(memarg),
                ValType::F64 => Instruction::F64Store(memarg),
                _ => Instruction::V128Store(memarg),
            });
            offset += size(ty);
        }
        for word in [index as u32 + 1, self.twin] {
            self.emit(Instruction::LocalGet(top));
            self.emit(Instruction::I32Const(word as i32));
            self.emit(Instruction::I32Store(
                self.word(FRAMES_OFFSET + u64::from(offset)),
            ));
            offset += 4;
        }
        self.emit(Instruction::I32Const(0));
        self.emit(Instruction::LocalGet(top));
        self.emit(Instruction::I32Const(offset as i32));
        self.emit(Instruction::I32Add);
        self.emit(Instruction::I32Store(self.word(TOP_OFFSET)));
        for ty in &self.function.results {
            self.emit(zero(*ty));
        }
        self.emit(Instruction::Return);
        Ok(())
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

    /// The locals and slots that a frame holds, in its order.
    pub(crate) fn frame_values(&mut self, site: &Site) -> Result<Vec<(u32, ValType)>, CompileError> {
        let mut values: Vec<_> = site
            .live
            .iter()
            .map(|&local| (local, self.function.locals[local as usize]))
            .collect();
        for (height, &ty) in site.saved_operands().iter().enumerate() {
            values.push((self.slot(height, ty), ty));
        }
        if values.iter().any(|(_, ty)| is_foreign(*ty)) {
            let reason = "a host's reference or an exception held across a call or loop cannot be captured";
            return Err(self.module.refuse(self.function.index, reason));
        }
        Ok(values)
    }

    pub(crate) fn word(&self, offset: u64) -> MemArg {
        MemArg {
            offset,
            align: 0,
            memory_index: self.added.save_memory,
        }
    }
}

pub(crate) fn size(ty: ValType) -> u32 {
    match ty {
        ValType::I32 | ValType::F32 => 4,
        ValType::I64 | ValType::F64 => 8,
        ValType::V128 => 16,
        ValType::Ref(_) => 0,
    }
}

pub(crate) fn zero(ty: ValType) -> Instruction<'static> {
    match ty {
        ValType::I32 => Instruction::I32Const(0),
        ValType::I64 => Instruction::I64Const(0),
        ValType::F32 => Instruction::F32Const(0.0.into()),
        ValType::F64 => Instruction::F64Const(0.0.into()),
        ValType::V128 => Instruction::V128Const(0),
        ValType::Ref(RefType::FUNCREF) => Instruction::RefNull(wasm_encoder::HeapType::FUNC),
        ValType::Ref(RefType::EXNREF) => Instruction::RefNull(wasm_encoder::HeapType::Abstract {
            shared: false,
            ty: wasm_encoder::AbstractHeapType::Exn,
        }),
        ValType::Ref(_) => Instruction::RefNull(wasm_encoder::HeapType::EXTERN),
    }
}

pub(crate) fn val_type(ty: ValType) -> wasm_encoder::ValType {
    match ty {
        ValType::I32 => wasm_encoder::ValType::I32,
        ValType::I64 => wasm_encoder::ValType::I64,
        ValType::F32 => wasm_encoder::ValType::F32,
        ValType::F64 => wasm_encoder::ValType::F64,
        ValType::V128 => wasm_encoder::ValType::V128,
        ValType::Ref(RefType::FUNCREF) => wasm_encoder::ValType::FUNCREF,
        ValType::Ref(RefType::EXNREF) => wasm_encoder::ValType::EXNREF,
        ValType::Ref(_) => wasm_encoder::ValType::EXTERNREF,
    }
}
