//! The twin of a function: rebuilds the frame of a captured call and goes on from its site.
//!
//! It takes nothing and returns nothing: what its function would return it leaves in memory. It pops the
//! frame that is on top, resumes the callee, if the frame below is one's (where exceptions are caught, at the
//! site, so that those of the callee are too), then runs a copy of the body in which each sequence begins by
//! jumping to where the site is: a word in the save memory, `resuming` below, holds the site's number until
//! that is reached, and 0 from then on, so that code met afterwards runs as usual. In a local it would be
//! alive all through the twin and take a register from the program's own loops.
//!
//! ```text
//!  block $join                    a sequence with one call site
//!    block $resume
//!      block $start
//!        resuming = 0: br $start
//!        br $resume
//!      end
//!      ... the code before; the call
//!      br $join
//!    end
//!    the results that the callee has left
//!  end
//!  check; ... the code after
//! ```
//! Where a sequence is come to only on the way to a site, as the function's own, what stands before its first
//! one is left out.
//!
//! A loop is entered through one peeled iteration: the rest of the iteration that was interrupted, whose
//! branches back lead to a clean copy of the loop. So a resumed program's loops run the very code that they
//! ran before, with no trace of the resumption. Loops that have little to gain from it go without, and can be
//! entered in any iteration: those between the outermost of a nest and its innermost, and large ones that
//! hold others or call something.
//!
//! Outside of clean copies values are in memory: see [`crate::homes`].

use std::collections::BTreeMap;

use wasm_encoder::{BlockType, Instruction};
use wasmparser::{BinaryReader, Operator, OperatorsReader, ValType};
use wayfare_abi::rewritten::{FRAMES_OFFSET, REFERENCES_OFFSET, RESUMING_OFFSET, TOP_OFFSET};

use crate::body::{Call, Construct, Jump, Kind, Node, ROOT, Seq, SiteKind};
use crate::code::{Added, Body, Emitter, zero};
use crate::error::CompileError;
use crate::exceptions::EXCEPTION;
use crate::frames::{Step, Value, size};
use crate::resumers;
use crate::saving::{FRAME_WORDS_BYTES, load, store};

/// Of WebAssembly, in a loop that calls something or holds another: with more, its own loads and stores are
/// little beside what it calls, and its copy would be large.
const COPIED_BYTES_MAX: usize = 512;
const NODE_BYTES: usize = 2;

impl Emitter<'_> {
    pub(crate) fn twin(mut self) -> Result<Body, CompileError> {
        let function = self.function;
        if function.sites.is_empty() {
            self.emit(Instruction::Unreachable);
            return self.finish(0);
        }
        self.read_site(function.sites.len());
        self.settle();
        self.restore();
        self.take_all_references();
        self.catches = holds_try(&function.root);
        if !self.catches {
            self.resume_callee_early();
        }
        let results = self.block_type(&[], &function.results);
        self.open(Instruction::Block(results), Some(ROOT));
        self.resume_seq(&function.root, 0, &[], 0..function.sites.len(), Entered::OnTheWay);
        self.close();
        self.leave_results();
        self.finish(0)
    }

    /// Finds out which site the frame on top is of; traps on one that this function does not have, which
    /// only a forged snapshot can hold.
    fn read_site(&mut self, sites: usize) {
        self.emit(Instruction::I32Const(0));
        self.top();
        self.emit(Instruction::I32Const(FRAME_WORDS_BYTES as i32));
        self.emit(Instruction::I32Sub);
        self.emit(Instruction::I32Load(self.word(FRAMES_OFFSET)));
        self.emit(Instruction::I32Store(self.word(RESUMING_OFFSET)));
        self.resuming();
        self.emit(Instruction::I32Const(1));
        self.emit(Instruction::I32Sub);
        self.emit(Instruction::I32Const(sites as i32));
        self.emit(Instruction::I32GeU);
        self.emit(Instruction::If(BlockType::Empty));
        self.emit(Instruction::Unreachable);
        self.emit(Instruction::End);
    }

    /// The site to go to, 0 once there.
    fn resuming(&mut self) {
        self.emit(Instruction::I32Const(0));
        self.emit(Instruction::I32Load(self.word(RESUMING_OFFSET)));
    }

    /// How many bytes of frames there are.
    fn top(&mut self) {
        self.emit(Instruction::I32Const(0));
        self.emit(Instruction::I32Load(self.word(TOP_OFFSET)));
    }

    /// A sequence that can be entered at any of its `sites`, and, if it is [`Entered::Anyhow`], at its start.
    /// Its parameters, from height `base` up, are in slots.
    fn resume_seq(
        &mut self,
        seq: &Seq,
        base: usize,
        params: &[ValType],
        sites: std::ops::Range<usize>,
        mut entered: Entered,
    ) {
        if sites.is_empty() {
            match entered {
                Entered::Anyhow => {
                    self.reload(base, params);
                    self.seq(&seq.nodes);
                }
                Entered::OnTheWay => self.emit(Instruction::Unreachable),
            }
            return;
        }
        // Whoever has come to the first stop can come to all behind it.
        let mut way = entered;
        let mut stops = Vec::new();
        for node in &seq.nodes {
            if let Some(stop) = self.stop(node, way) {
                stops.push(stop);
                way = Entered::Anyhow;
            }
        }
        for stop in stops.iter().rev() {
            for _ in 0..stop.blocks {
                self.open(Instruction::Block(BlockType::Empty), None);
            }
        }
        match entered {
            Entered::Anyhow => {
                self.open(Instruction::Block(BlockType::Empty), None);
                self.resuming();
                self.emit(Instruction::I32Eqz);
                self.emit(Instruction::BrIf(0));
                self.go_to_stop(&stops, 1);
                self.close();
                self.reload(base, params);
            }
            Entered::OnTheWay => self.go_to_stop(&stops, 0),
        }
        for node in &seq.nodes {
            match node {
                Node::Site(site) => self.resume_site(*site, entered),
                Node::Construct(construct) if !construct.sites.is_empty() => {
                    self.resume_construct(construct, entered);
                }
                _ if entered == Entered::OnTheWay => continue,
                Node::Construct(construct) => self.construct(construct),
                other => self.simple(other),
            }
            entered = Entered::Anyhow;
        }
    }

    /// Branches to where the stop is that holds the site. Each stop's label lies behind those of the stops
    /// before it; the first one's is at `depth`.
    ///
    /// Stops are told by their last sites: a table has an entry for each site, and each costs a compiler a
    /// place of its own to move values in; and of the thousands of blocks in each other that a large `switch`
    /// makes, tables grow with the square.
    fn go_to_stop(&mut self, stops: &[Stop], mut depth: u32) {
        let (_, before) = stops.split_last().expect("a sequence with sites has stops");
        for stop in before {
            self.resuming();
            // Sites count from 1 there.
            self.emit(Instruction::I32Const(stop.last as i32 + 1));
            self.emit(Instruction::I32LeU);
            self.emit(Instruction::BrIf(depth));
            depth += stop.blocks;
        }
        self.emit(Instruction::Br(depth));
    }

    fn stop(&self, node: &Node, entered: Entered) -> Option<Stop> {
        match node {
            Node::Site(site) => {
                let joins = entered == Entered::Anyhow && self.function.sites[*site].kind == SiteKind::Call;
                Some(Stop {
                    blocks: if joins { 2 } else { 1 },
                    last: *site,
                })
            }
            Node::Construct(construct) if !construct.sites.is_empty() => Some(Stop {
                blocks: 1,
                last: construct.sites.end - 1,
            }),
            _ => None,
        }
    }

    /// Closes the blocks of its stop: `$resume`, and `$join` of a call that can also be met as usual.
    fn resume_site(&mut self, index: usize, entered: Entered) {
        let site = &self.function.sites[index];
        let operands = &site.stack[site.base..];
        let below = operands.len() - site.args;
        let is_call = site.kind == SiteKind::Call;
        if entered == Entered::Anyhow {
            self.spill(site.base, operands);
            if is_call {
                self.reload(site.base + below, &operands[below..]);
                self.issue(&site.call);
                self.spill(site.base + below, &site.results);
                self.emit(Instruction::Br(1));
            }
        }
        self.close();
        if is_call && self.catches {
            self.resume_callee();
        }
        self.arrive();
        if is_call {
            self.take_results(site.base + below, &site.results);
            if entered == Entered::Anyhow {
                self.close();
            }
        }
        match site.kind {
            // Whoever arrives polls too: a host can try whether there is room for all frames, without that
            // the program runs.
            SiteKind::LoopPoll | SiteKind::EntryPoll => {
                self.poll(index);
                self.reload(site.base, operands);
            }
            SiteKind::Call => {
                self.check(index);
                self.reload(site.base, &operands[..below]);
                self.reload(site.base + below, &site.results);
            }
            SiteKind::Blocking => {
                self.issue_unless_asked(index, site.base + below);
                self.check(index);
                self.put_below(site.base, &operands[..below], &site.results);
            }
        }
    }

    /// Calls what may block, its arguments in slots from height `first` up, or unwinds at once if a capture
    /// was asked for.
    fn issue_unless_asked(&mut self, index: usize, first: usize) {
        let site = &self.function.sites[index];
        let args = &site.stack[site.stack.len() - site.args..];
        let results = self.block_type(&[], &site.results);
        self.flag();
        self.unlikely.push(self.bytes.len());
        self.open(Instruction::If(results), None);
        self.emit(Instruction::I32Const(1));
        self.emit(Instruction::GlobalSet(self.added.unwinding));
        for ty in &site.results {
            self.emit(zero(*ty));
        }
        self.emit(Instruction::Else);
        self.reload(first, args);
        self.issue(&site.call);
        self.close();
    }

    /// Closes the one block of its stop, behind which the construct stands.
    fn resume_construct(&mut self, construct: &Construct, entered: Entered) {
        let operands = &construct.stack[construct.base..];
        let condition = usize::from(construct.kind == Kind::If);
        let below = &operands[..operands.len() - construct.params.len() - condition];
        let params = &construct.params;
        let params_base = construct.base + below.len();
        if entered == Entered::Anyhow {
            self.spill(construct.base, operands);
        }
        self.close();
        let ty = self.block_type(&[], &construct.results);
        match construct.kind {
            Kind::Block | Kind::Try => {
                let opening = self.opening(construct, ty);
                self.open(opening, Some(construct.label));
                let caught = self.catching(construct);
                let sites = construct.sites.clone();
                self.resume_seq(&construct.body, params_base, params, sites, entered);
                self.no_longer_catching(caught);
                self.close();
            }
            Kind::If => {
                // On the way to a site the branch is the one that holds it, whatever the condition was.
                self.resuming();
                self.emit(Instruction::I32Const(construct.otherwise_sites as i32));
                self.emit(Instruction::I32LeU);
                if entered == Entered::Anyhow {
                    self.reload(params_base + params.len(), &[ValType::I32]);
                    self.resuming();
                    self.emit(Instruction::Select);
                }
                self.open(Instruction::If(ty), Some(construct.label));
                let (start, middle, end) = (
                    construct.sites.start,
                    construct.otherwise_sites,
                    construct.sites.end,
                );
                self.resume_seq(&construct.body, params_base, params, start..middle, entered);
                match &construct.otherwise {
                    Some(otherwise) => {
                        self.emit(Instruction::Else);
                        self.resume_seq(otherwise, params_base, params, middle..end, entered);
                    }
                    // Without an `else`, the parameters are the results.
                    None if !params.is_empty() => {
                        self.emit(Instruction::Else);
                        self.reload(params_base, params);
                    }
                    None => {}
                }
                self.close();
            }
            Kind::Loop => self.resume_loop(construct, params_base, entered),
        }
        self.put_below(construct.base, below, &construct.results);
    }

    fn resume_loop(&mut self, construct: &Construct, params_base: usize, entered: Entered) {
        if self.stays_within(construct) {
            self.resume_within(construct, params_base);
        } else {
            self.loops_peeled += 1;
            self.resume_peeled(construct, params_base, entered);
            self.loops_peeled -= 1;
        }
    }

    /// Whether a loop goes on where it was entered, its values in memory, and has no clean copy.
    fn stays_within(&self, construct: &Construct) -> bool {
        let is_small = bytes(&construct.body) <= COPIED_BYTES_MAX;
        match holds_loop(&construct.body) {
            true => self.loops_peeled > 0 || !is_small,
            false => !is_small && self.calls_within(&construct.body),
        }
    }

    /// Whether a sequence calls what comes back and may be captured.
    fn calls_within(&self, seq: &Seq) -> bool {
        seq.nodes.iter().enumerate().any(|(index, node)| match node {
            Node::Site(site) => {
                !self.function.sites[*site].kind.is_poll()
                    && !matches!(seq.nodes.get(index + 1), Some(Node::Jump(Jump::Unreachable)))
            }
            Node::Construct(construct) => {
                self.calls_within(&construct.body)
                    || construct
                        .otherwise
                        .as_ref()
                        .is_some_and(|seq| self.calls_within(seq))
            }
            _ => false,
        })
    }

    /// The rest of the interrupted iteration, then the loop as it was.
    fn resume_peeled(&mut self, construct: &Construct, params_base: usize, entered: Entered) {
        let done = self.block_type(&[], &construct.results);
        let again = self.block_type(&[], &construct.params);
        self.open(Instruction::Block(done), None);
        // A branch back to the loop's header leaves the peeled iteration for the loop itself.
        self.open(Instruction::Block(again), Some(construct.label));
        if entered == Entered::Anyhow {
            self.reload(params_base, &construct.params);
            self.resuming();
            self.emit(Instruction::I32Eqz);
            self.emit(Instruction::BrIf(0));
            for _ in &construct.params {
                self.emit(Instruction::Drop);
            }
        }
        let sites = construct.sites.clone();
        let params = &construct.params;
        self.resume_seq(&construct.body, params_base, params, sites, Entered::OnTheWay);
        self.emit(Instruction::Br(1));
        self.close();
        self.clean_copy(construct, params_base);
        self.close();
    }

    /// The loop itself, each of whose iterations can be entered at a site.
    fn resume_within(&mut self, construct: &Construct, params_base: usize) {
        let ty = self.block_type(&construct.params, &construct.results);
        self.reload(params_base, &construct.params);
        self.open(Instruction::Loop(ty), Some(construct.label));
        self.spill(params_base, &construct.params);
        let sites = construct.sites.clone();
        let params = &construct.params;
        self.resume_seq(&construct.body, params_base, params, sites, Entered::Anyhow);
        self.close();
    }

    /// Takes the frame off the stack of frames, and its values home: by the tree by which they were saved, so
    /// that sites share this code too.
    fn restore(&mut self) {
        let frames = self.frames;
        for _ in 0..frames.labels {
            self.open(Instruction::Block(BlockType::Empty), None);
        }
        self.resuming();
        self.emit(Instruction::I32Const(1));
        self.emit(Instruction::I32Sub);
        let table: Vec<u32> = frames.entries.iter().map(|label| *label as u32).collect();
        let last = *table.last().expect("the function has sites");
        self.emit(Instruction::BrTable(table.into(), last));
        let mut passed = 0;
        for step in &frames.steps {
            match *step {
                Step::Label => {
                    self.close();
                    passed += 1;
                }
                Step::Enter { bytes } => {
                    self.emit(Instruction::I32Const(0));
                    self.top();
                    self.emit(Instruction::I32Const((bytes + FRAME_WORDS_BYTES) as i32));
                    self.emit(Instruction::I32Sub);
                    self.emit(Instruction::LocalTee(self.saver.top));
                    self.emit(Instruction::I32Store(self.word(TOP_OFFSET)));
                }
                Step::Save { value, offset } => self.restore_value(value, offset),
                Step::Goto(label) => self.emit(Instruction::Br((label - passed) as u32)),
            }
        }
    }

    /// The opposite of a store of the save code. References wait for their site.
    fn restore_value(&mut self, value: Value, offset: u32) {
        let ty = value.ty(self.function);
        if matches!(ty, ValType::Ref(_)) {
            return;
        }
        let memarg = self.word(FRAMES_OFFSET + u64::from(offset));
        self.emit(Instruction::LocalGet(self.saver.top));
        self.emit(load(ty, memarg));
        self.set(value);
    }

    /// Takes back what of the frame are references and exceptions, in the opposite order of that in which
    /// they were pushed.
    fn take_all_references(&mut self) {
        self.resuming();
        self.emit(Instruction::LocalSet(self.saver.site));
        for index in 0..self.function.sites.len() {
            self.take_references(index);
        }
    }

    /// Resumes the callee at once, if there is one: whoever has no frame below its own polls or blocks.
    fn resume_callee_early(&mut self) {
        self.top();
        self.emit(Instruction::If(BlockType::Empty));
        self.resume_callee();
        self.emit(Instruction::I32Const(0));
        self.emit(Instruction::LocalGet(self.saver.site));
        self.emit(Instruction::I32Store(self.word(RESUMING_OFFSET)));
        self.emit(Instruction::End);
    }

    fn resume_callee(&mut self) {
        self.lend_room();
        for instruction in resumers::call_twin(self.added, self.types) {
            self.emit(instruction);
        }
    }

    fn take_references(&mut self, index: usize) {
        let frames = self.frames;
        let mut held = frames.values[index].iter();
        if !held.any(|value| matches!(value.ty(self.function), ValType::Ref(_))) {
            return;
        }
        self.emit(Instruction::LocalGet(self.saver.site));
        self.emit(Instruction::I32Const(index as i32 + 1));
        self.emit(Instruction::I32Eq);
        self.emit(Instruction::If(BlockType::Empty));
        for &value in &frames.values[index] {
            let ty = value.ty(self.function);
            if matches!(ty, ValType::Ref(_)) && ty != EXCEPTION {
                self.count_references(-1);
                self.emit(Instruction::I32Const(0));
                self.emit(Instruction::I32Load(self.word(REFERENCES_OFFSET)));
                self.emit(Instruction::TableGet(self.added.references));
                let local = self.local_of(value);
                self.emit(Instruction::LocalSet(local));
            }
        }
        self.pop_exceptions(index);
        self.emit(Instruction::End);
    }

    /// A tail call, in a twin: its own results are not the callee's, so it stays until that has returned. To
    /// a capture it is gone all the same.
    pub(crate) fn last_call(&mut self, bytes: &std::ops::Range<usize>) {
        let code = self.module.bytes(bytes.clone());
        let mut operators = OperatorsReader::new(BinaryReader::new(code, 0));
        match operators.read().expect("the module was validated") {
            Operator::ReturnCall { function_index } => self.issue(&Call::Import(function_index)),
            Operator::ReturnCallIndirect {
                type_index,
                table_index,
            } => self.emit(Instruction::CallIndirect {
                type_index,
                table_index,
            }),
            _ => unreachable!("these are the tail calls"),
        }
        self.emit(Instruction::GlobalGet(self.added.unwinding));
        self.emit(Instruction::If(BlockType::Empty));
        self.emit(Instruction::Return);
        self.emit(Instruction::End);
        let depth = self.depth(ROOT);
        self.emit(Instruction::Br(depth));
    }

    /// At the site: from here on all goes on as usual.
    fn arrive(&mut self) {
        self.emit(Instruction::I32Const(0));
        self.emit(Instruction::I32Const(0));
        self.emit(Instruction::I32Store(self.word(RESUMING_OFFSET)));
    }

    /// Instead of returning them: stores the function's results where whoever resumed it finds them.
    fn leave_results(&mut self) {
        let results = &self.function.results;
        let places = result_places(results, self.added);
        let base = self.homes_base();
        for (place, &ty) in places.into_iter().zip(results).rev() {
            match place {
                ResultPlace::Memory(offset) => {
                    let local = self.local(ty);
                    self.emit(Instruction::LocalSet(local));
                    self.emit(Instruction::LocalGet(base));
                    self.emit(Instruction::LocalGet(local));
                    self.emit(store(ty, self.word(offset)));
                }
                ResultPlace::Global(global) => self.emit(Instruction::GlobalSet(global)),
            }
        }
    }

    /// Brings what a resumed callee has left to the slots from height `first` up.
    fn take_results(&mut self, first: usize, results: &[ValType]) {
        let places = result_places(results, self.added);
        let (base, bytes) = (self.homes_base(), self.homes_bytes());
        for ((height, place), &ty) in (first..).zip(places).zip(results) {
            match place {
                ResultPlace::Memory(offset) => {
                    self.emit(Instruction::LocalGet(base));
                    self.emit(load(ty, self.word(offset + u64::from(bytes))));
                }
                ResultPlace::Global(global) => self.emit(Instruction::GlobalGet(global)),
            }
            self.set(Value::Operand(height, ty));
        }
    }
}

/// How a sequence or construct of a twin is come to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entered {
    /// Only on the way to one of its sites: what stands before the first of them is left out.
    OnTheWay,
    /// Also as usual, from what stands before it.
    Anyhow,
}

/// A node in a sequence that holds sites, how many blocks end at it, and its last site.
struct Stop {
    blocks: u32,
    last: usize,
}

/// Where a twin leaves a result.
#[derive(Clone, Copy)]
pub(crate) enum ResultPlace {
    /// So far behind where its homes begin, which is where those of its caller end.
    Memory(u64),
    /// A reference.
    Global(u32),
}

pub(crate) fn result_places(results: &[ValType], added: &Added) -> Vec<ResultPlace> {
    let mut bytes = 0;
    let mut references = BTreeMap::new();
    let places = results.iter().map(|&ty| {
        if matches!(ty, ValType::Ref(_)) {
            let number = references.entry(ty).or_insert(0);
            *number += 1;
            return ResultPlace::Global(added.result_globals[&(ty, *number)]);
        }
        bytes += u64::from(size(ty));
        ResultPlace::Memory(bytes - u64::from(size(ty)))
    });
    places.collect()
}

/// Whether an exception can be caught that comes from one of the sequence's sites.
fn holds_try(seq: &Seq) -> bool {
    seq.nodes.iter().any(|node| match node {
        Node::Construct(construct) if !construct.sites.is_empty() => {
            construct.kind == Kind::Try
                || holds_try(&construct.body)
                || construct.otherwise.as_ref().is_some_and(holds_try)
        }
        _ => false,
    })
}

/// How much of the original's code a sequence is, about.
fn bytes(seq: &Seq) -> usize {
    let nodes = seq.nodes.iter();
    let bytes = nodes.map(|node| match node {
        Node::Plain { bytes: code, .. } => code.len(),
        Node::Construct(construct) => {
            NODE_BYTES + bytes(&construct.body) + construct.otherwise.as_ref().map_or(0, bytes)
        }
        Node::Site(_) | Node::Drop { .. } | Node::Jump(_) => NODE_BYTES,
    });
    bytes.sum()
}

/// Whether a sequence holds a loop with sites.
fn holds_loop(seq: &Seq) -> bool {
    seq.nodes.iter().any(|node| match node {
        Node::Construct(construct) if !construct.sites.is_empty() => {
            construct.kind == Kind::Loop
                || holds_loop(&construct.body)
                || construct.otherwise.as_ref().is_some_and(holds_loop)
        }
        _ => false,
    })
}
