//! Code for a function: the original with polls and checks, and what its twin shares with it.
//!
//! At a site, operands are moved into *slots*, locals of our own named by height and type, because the save
//! code ([`crate::saving`]) stands behind the function's own, where the operand stack cannot be reached.
//! Locals cost nothing: compilers see through them.

use std::collections::BTreeMap;
use std::ops::Range;

use wasm_encoder::{BlockType, Encode, Instruction};
use wasmparser::{Catch, FuncType, RefType, ValType};

use crate::body::{Call, Construct, Function, Jump, Kind, Label, Node, ROOT, Segment, SiteKind};
use crate::borrowed::Borrowed;
use crate::error::CompileError;
use crate::frames::{Frames, Value};
use crate::homes::Homes;
use crate::module::Module;
use crate::saving::Saver;

/// What wasmparser, and so every runtime that is built on it, takes of one function.
pub(crate) const FUNCTION_BYTES_MAX: usize = 7_654_321;

/// Indices of what the rewriting adds.
pub(crate) struct Added {
    pub(crate) save_memory: u32,
    pub(crate) twin_table: u32,
    pub(crate) unwinding: u32,
    /// By segment: the global that remembers its dropping.
    pub(crate) dropped: BTreeMap<Segment, u32>,
    /// Tables of [`FUNCTIONS`](wayfare_abi::rewritten::FUNCTIONS) and
    /// [`REFERENCES`](wayfare_abi::rewritten::REFERENCES).
    pub(crate) functions: u32,
    pub(crate) references: u32,
    /// Where twins leave references that are results: by type and place among those of that type, from 1.
    pub(crate) result_globals: BTreeMap<(ValType, u32), u32>,
    /// Functions of [`crate::exceptions`], if frames can hold exceptions.
    pub(crate) push_exception: u32,
    pub(crate) pop_exception: u32,
    /// In a module of twins: what it takes from the program's.
    pub(crate) borrowed: Option<Borrowed>,
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

    /// The type of a block.
    pub(crate) fn block(&mut self, params: &[ValType], results: &[ValType]) -> BlockType {
        match (params, results) {
            ([], []) => BlockType::Empty,
            ([], [one]) => BlockType::Result(val_type(*one)),
            _ => BlockType::FunctionType(self.index(params, results)),
        }
    }

    pub(crate) fn added(&self) -> &[FuncType] {
        &self.types[self.original..]
    }
}

/// A function's code as an entry of the code section, and where in it the branches are that are never taken,
/// as good as always.
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    pub(crate) unlikely: Vec<u32>,
}

pub(crate) struct Emitter<'a> {
    pub(crate) module: &'a Module<'a>,
    pub(crate) added: &'a Added,
    pub(crate) types: &'a mut Types,
    pub(crate) function: &'a Function,
    pub(crate) frames: &'a Frames,
    pub(crate) bytes: Vec<u8>,
    /// Where branches stand in `bytes` that are hardly ever taken.
    pub(crate) unlikely: Vec<usize>,
    /// Enclosing blocks in the code as emitted, outermost first; `None`: one that no original branch means.
    pub(crate) labels: Vec<Option<Label>>,
    slots: BTreeMap<(usize, ValType), u32>,
    extra_locals: Vec<ValType>,
    pub(crate) saver: Saver,
    /// In a twin: where its values are.
    pub(crate) homes: Option<Homes<'a>>,
    /// In a twin: in how many loops this is of which a clean copy follows.
    pub(crate) loops_peeled: usize,
    /// In a twin: whether exceptions can be caught that come from its sites.
    pub(crate) catches: bool,
}

impl<'a> Emitter<'a> {
    pub(crate) fn new(
        module: &'a Module<'a>,
        added: &'a Added,
        types: &'a mut Types,
        function: &'a Function,
        frames: &'a Frames,
        saver: Saver,
    ) -> Self {
        let mut emitter = Self {
            module,
            added,
            types,
            function,
            frames,
            bytes: Vec::new(),
            unlikely: Vec::new(),
            labels: Vec::new(),
            slots: BTreeMap::new(),
            extra_locals: Vec::new(),
            saver,
            homes: None,
            loops_peeled: 0,
            catches: false,
        };
        emitter.open_saving();
        emitter
    }

    /// The original function with its polls and checks.
    pub(crate) fn original(mut self) -> Result<Body, CompileError> {
        let function = self.function;
        self.seq(&function.root.nodes);
        self.finish(function.params)
    }

    /// Puts the declarations of locals in front. `declared`: how many are declared already, as parameters.
    pub(crate) fn finish(mut self, declared: usize) -> Result<Body, CompileError> {
        self.close_saving()?;
        self.emit(Instruction::End);
        let locals: Vec<_> = self.function.locals[declared..]
            .iter()
            .chain(&self.extra_locals)
            .collect();
        let runs: Vec<&[&ValType]> = locals.chunk_by(|a, b| a == b).collect();
        let mut body = Vec::with_capacity(self.bytes.len() + 6 * runs.len() + 4);
        (runs.len() as u32).encode(&mut body);
        for run in runs {
            (run.len() as u32).encode(&mut body);
            val_type(*run[0]).encode(&mut body);
        }
        let declarations = body.len();
        body.append(&mut self.bytes);
        if body.len() > FUNCTION_BYTES_MAX {
            let reason = format!(
                "{} bytes with the code that saves or rebuilds its state, more than {FUNCTION_BYTES_MAX}: split the function",
                body.len()
            );
            return Err(self.module.refuse(self.function.index, reason));
        }
        Ok(Body {
            bytes: body,
            unlikely: self
                .unlikely
                .iter()
                .map(|at| (declarations + at) as u32)
                .collect(),
        })
    }

    pub(crate) fn emit(&mut self, instruction: Instruction) {
        instruction.encode(&mut self.bytes);
    }

    pub(crate) fn copy(&mut self, range: &Range<usize>) {
        let code = self.module.bytes(range.clone());
        match &self.added.borrowed {
            Some(borrowed) => borrowed.copy(code, &mut self.bytes),
            None => self.bytes.extend_from_slice(code),
        }
    }

    pub(crate) fn issue(&mut self, call: &Call) {
        match call {
            Call::None => {}
            Call::Copied(bytes) => self.copy(bytes),
            Call::Import(function) => {
                let borrowed = self.added.borrowed.as_ref();
                let function = borrowed.map_or(*function, |borrowed| borrowed.function(*function));
                self.emit(Instruction::Call(function));
            }
        }
    }

    pub(crate) fn local(&mut self, ty: ValType) -> u32 {
        self.extra_locals.push(ty);
        (self.function.locals.len() + self.extra_locals.len() - 1) as u32
    }

    pub(crate) fn slot(&mut self, height: usize, ty: ValType) -> u32 {
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
            self.set(Value::Operand(from + index, ty));
        }
    }

    pub(crate) fn reload(&mut self, from: usize, types: &[ValType]) {
        for (index, &ty) in types.iter().enumerate() {
            self.get(Value::Operand(from + index, ty));
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
        self.types.block(params, results)
    }

    /// How many blocks lie between here and the one that `label` means.
    pub(crate) fn depth(&self, label: Label) -> u32 {
        let found = self.labels.iter().rev().position(|open| *open == Some(label));
        match found {
            // A twin has a block for it.
            None if label == ROOT => self.labels.len() as u32,
            found => found.expect("validated: branches lead to enclosing constructs") as u32,
        }
    }

    pub(crate) fn seq(&mut self, nodes: &[Node]) {
        for node in nodes {
            match node {
                Node::Site(site) => self.site(*site),
                Node::Construct(construct) => self.construct(construct),
                other => self.simple(other),
            }
        }
    }

    /// A node that is neither site nor construct.
    pub(crate) fn simple(&mut self, node: &Node) {
        match node {
            Node::Plain { bytes, locals } if self.are_at_home(locals) => self.copy_plain(bytes),
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
                Jump::TailCall(bytes) if self.homes.is_some() => self.last_call(bytes),
                Jump::TailCall(bytes) | Jump::Throw(bytes) => self.copy(bytes),
                Jump::Return if self.homes.is_some() => self.emit(Instruction::Br(self.depth(ROOT))),
                Jump::Return => self.emit(Instruction::Return),
                Jump::Unreachable => self.emit(Instruction::Unreachable),
            },
            Node::Site(_) | Node::Construct(_) => unreachable!("the caller takes these"),
        }
    }

    fn site(&mut self, index: usize) {
        let site = &self.function.sites[index];
        let operands = &site.stack[site.base..];
        let below = operands.len() - site.args;
        match site.kind {
            SiteKind::LoopPoll | SiteKind::EntryPoll => {
                self.spill(site.base, operands);
                self.poll(index);
                self.reload(site.base, operands);
            }
            SiteKind::Call if below == 0 => {
                self.issue(&site.call);
                self.check(index);
            }
            SiteKind::Call | SiteKind::Blocking => {
                self.spill(site.base, operands);
                self.reload(site.base + below, &operands[below..]);
                self.issue(&site.call);
                self.check(index);
                self.put_below(site.base, &operands[..below], &site.results);
            }
        }
    }

    /// Brings back operands from their slots beneath results that are on the stack.
    pub(crate) fn put_below(&mut self, base: usize, below: &[ValType], results: &[ValType]) {
        if !below.is_empty() {
            self.spill(base + below.len(), results);
            self.reload(base, below);
            self.reload(base + below.len(), results);
        }
    }

    pub(crate) fn construct(&mut self, construct: &Construct) {
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
        if construct.kind == Kind::Loop {
            self.looped(construct);
        } else {
            self.branched(construct);
        }
        self.put_below(construct.base, below, &construct.results);
    }

    fn branched(&mut self, construct: &Construct) {
        let ty = self.block_type(&construct.params, &construct.results);
        let opening = self.opening(construct, ty);
        self.open(opening, Some(construct.label));
        self.seq(&construct.body.nodes);
        if let Some(otherwise) = &construct.otherwise {
            self.emit(Instruction::Else);
            self.seq(&otherwise.nodes);
        }
        self.close();
    }

    /// A loop whose parameters are on the stack, unrolled:
    /// ```text
    ///   block $done
    ///     loop $header
    ///       poll
    ///       block $second
    ///         ... the body, its branches back to $second
    ///         br $done
    ///       end
    ///       ... the body, its branches back to $header
    ///     end
    ///   end
    /// ```
    pub(crate) fn looped(&mut self, construct: &Construct) {
        let ty = self.block_type(&construct.params, &construct.results);
        if construct.copies == 1 {
            self.open(Instruction::Loop(ty), Some(construct.label));
            self.seq(&construct.body.nodes);
            self.close();
            return;
        }
        let (poll, body) = construct
            .body
            .nodes
            .split_first()
            .expect("only loops that poll are unrolled");
        let further = construct.copies as u32 - 1;
        let again = self.block_type(&construct.params, &construct.params);
        self.open(Instruction::Block(ty), None);
        self.open(Instruction::Loop(ty), Some(construct.label));
        self.seq(std::slice::from_ref(poll));
        for _ in 0..further {
            self.open(Instruction::Block(again), Some(construct.label));
        }
        for copies_left in (1..=further).rev() {
            self.seq(body);
            // Out of the blocks of the copies that are left, and of the loop.
            self.emit(Instruction::Br(copies_left + 1));
            self.close();
        }
        self.seq(body);
        self.close();
        self.close();
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
