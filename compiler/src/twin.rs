//! The twin of a function: rebuilds the frame of a captured call and goes on from its site.
//!
//! Its type is `() -> the function's results`. It pops the frame that is on top, then runs a copy of the body
//! in which each sequence begins by jumping to where the site is: a word in the save memory, `resuming`
//! below, holds the site's number until that is reached, and 0 from then on, so that code met afterwards runs
//! as usual. In a local it would be alive all through the twin and take a register from the program's own
//! loops.
//!
//! ```text
//!  block $join                    a sequence with one call site
//!    block $resume
//!      block $start
//!        resuming: br_table $resume $start
//!      end
//!      ... the code before; the call
//!      br $join
//!    end
//!    restore locals; resume the callee
//!  end
//!  check; ... the code after
//! ```
//! A loop is entered through one peeled iteration: the rest of the iteration that was interrupted, whose
//! branches back lead to a clean copy of the loop. So a resumed program's loops run the very code that they
//! ran before, with no trace of the resumption. Loops between the outermost of a nest and its innermost go
//! without a copy of their own: they can be entered in any iteration, for as long as the outermost one's
//! iteration lasts.

use wasm_encoder::{BlockType, Instruction};
use wasmparser::ValType;
use wayfare_abi::rewritten::{FRAMES_OFFSET, REFERENCES_OFFSET, RESUMING_OFFSET, TOP_OFFSET};

use crate::body::{Construct, Kind, Node, Seq, SiteKind};
use crate::code::{Body, Emitter, zero};
use crate::error::CompileError;
use crate::exceptions::EXCEPTION;
use crate::frames::{Step, Value};
use crate::saving::FRAME_WORDS_BYTES;

/// So many sites a sequence has, and so many more for each of its stops, as find their stop by a table: with
/// more, a comparison for each stop is less code.
const TABLE_ENTRIES_MAX: usize = 8;
const TABLE_ENTRIES_PER_STOP_MAX: usize = 12;

impl Emitter<'_> {
    pub(crate) fn twin(mut self) -> Result<Body, CompileError> {
        let function = self.function;
        if function.sites.is_empty() {
            self.emit(Instruction::Unreachable);
            return self.finish(0);
        }
        self.read_site(function.sites.len());
        self.restore();
        self.resume_seq(&function.root, 0, &[], 0..function.sites.len());
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

    /// A sequence that can be entered at its start or at any of its `sites`. Its parameters, from height
    /// `base` up, are in slots.
    fn resume_seq(&mut self, seq: &Seq, base: usize, params: &[ValType], sites: std::ops::Range<usize>) {
        if sites.is_empty() {
            self.reload(base, params);
            self.seq(&seq.nodes);
            return;
        }
        let stops: Vec<Stop> = seq.nodes.iter().filter_map(|node| self.stop(node)).collect();
        for stop in stops.iter().rev() {
            for _ in 0..stop.blocks {
                self.open(Instruction::Block(BlockType::Empty), None);
            }
        }
        self.open(Instruction::Block(BlockType::Empty), None);
        self.go_to_stop(&stops, sites);
        self.close();

        self.reload(base, params);
        for node in &seq.nodes {
            match node {
                Node::Site(site) => self.resume_site(*site),
                Node::Construct(construct) if !construct.sites.is_empty() => {
                    self.resume_construct(construct);
                }
                Node::Construct(construct) => self.construct(construct),
                other => self.simple(other),
            }
        }
    }

    /// Branches to where the stop is that holds the site, or to the start where there is none to go to. Depth
    /// 0 is the start; each stop's resume label lies behind those of the stops before it.
    ///
    /// A table has an entry for each site, and so have those of all constructs around it: of the thousands of
    /// blocks in each other that a large `switch` makes, tables would grow with the square. So where stops
    /// hold many sites, they are told by their last ones.
    fn go_to_stop(&mut self, stops: &[Stop], sites: std::ops::Range<usize>) {
        self.resuming();
        if sites.len() <= TABLE_ENTRIES_MAX + TABLE_ENTRIES_PER_STOP_MAX * stops.len() {
            self.emit(Instruction::I32Const(sites.start as i32 + 1));
            self.emit(Instruction::I32Sub);
            let mut depth = 1;
            let mut table = Vec::with_capacity(sites.len());
            for stop in stops {
                table.extend(stop.sites.clone().map(|_| depth));
                depth += stop.blocks;
            }
            debug_assert_eq!(table.len(), sites.len());
            self.emit(Instruction::BrTable(table.into(), 0));
            return;
        }
        self.emit(Instruction::I32Eqz);
        self.emit(Instruction::BrIf(0));
        let mut depth = 1;
        let (last, before) = stops.split_last().expect("a sequence with sites has stops");
        for stop in before {
            self.resuming();
            // Sites count from 1 there.
            self.emit(Instruction::I32Const(stop.sites.end as i32));
            self.emit(Instruction::I32LeU);
            self.emit(Instruction::BrIf(depth));
            depth += stop.blocks;
        }
        debug_assert_eq!(last.sites.end, sites.end);
        self.emit(Instruction::Br(depth));
    }

    fn stop(&self, node: &Node) -> Option<Stop> {
        match node {
            Node::Site(site) => Some(Stop {
                blocks: 2,
                sites: *site..*site + 1,
            }),
            Node::Construct(construct) if !construct.sites.is_empty() => Some(Stop {
                blocks: 1,
                sites: construct.sites.clone(),
            }),
            _ => None,
        }
    }

    /// Closes the two blocks of its stop: `$resume`, then `$join`.
    fn resume_site(&mut self, index: usize) {
        let site = &self.function.sites[index];
        let operands = &site.stack[site.base..];
        let below = operands.len() - site.args;
        self.spill(site.base, operands);
        if site.kind == SiteKind::Call {
            self.reload(site.base + below, &operands[below..]);
            self.issue(&site.call);
            self.spill(site.base + below, &site.results);
        }
        self.emit(Instruction::Br(1));
        self.close();
        self.arrive(index);
        if site.kind == SiteKind::Call {
            self.emit(Instruction::Call(self.added.callee_resumers[&site.results]));
            self.spill(site.base + below, &site.results);
        }
        self.close();
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
    fn resume_construct(&mut self, construct: &Construct) {
        let operands = &construct.stack[construct.base..];
        let condition = usize::from(construct.kind == Kind::If);
        let below = &operands[..operands.len() - construct.params.len() - condition];
        let params = &construct.params;
        let params_base = construct.base + below.len();
        self.spill(construct.base, operands);
        self.close();
        let ty = self.block_type(&[], &construct.results);
        match construct.kind {
            Kind::Block | Kind::Try => {
                let opening = self.opening(construct, ty);
                self.open(opening, Some(construct.label));
                self.resume_seq(&construct.body, params_base, params, construct.sites.clone());
                self.close();
            }
            Kind::If => {
                // On the way to a site the branch is the one that holds it, whatever the condition was.
                self.resuming();
                self.emit(Instruction::I32Const(construct.otherwise_sites as i32));
                self.emit(Instruction::I32LeU);
                self.reload(params_base + params.len(), &[ValType::I32]);
                self.resuming();
                self.emit(Instruction::Select);
                self.open(Instruction::If(ty), Some(construct.label));
                let (start, middle, end) = (
                    construct.sites.start,
                    construct.otherwise_sites,
                    construct.sites.end,
                );
                self.resume_seq(&construct.body, params_base, params, start..middle);
                match &construct.otherwise {
                    Some(otherwise) => {
                        self.emit(Instruction::Else);
                        self.resume_seq(otherwise, params_base, params, middle..end);
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
            Kind::Loop => self.resume_loop(construct, params_base),
        }
        self.put_below(construct.base, below, &construct.results);
    }

    fn resume_loop(&mut self, construct: &Construct, params_base: usize) {
        self.loops_resumed += 1;
        if self.loops_resumed > 1 && holds_loop(&construct.body) {
            self.resume_within(construct, params_base);
        } else {
            self.resume_peeled(construct, params_base);
        }
        self.loops_resumed -= 1;
    }

    /// The rest of the interrupted iteration, then the loop as it was.
    fn resume_peeled(&mut self, construct: &Construct, params_base: usize) {
        let done = self.block_type(&[], &construct.results);
        let again = self.block_type(&[], &construct.params);
        self.open(Instruction::Block(done), None);
        // A branch back to the loop's header leaves the peeled iteration for the loop itself.
        self.open(Instruction::Block(again), Some(construct.label));
        self.reload(params_base, &construct.params);
        self.resuming();
        self.emit(Instruction::I32Eqz);
        self.emit(Instruction::BrIf(0));
        for _ in &construct.params {
            self.emit(Instruction::Drop);
        }
        let sites = construct.sites.clone();
        self.resume_seq(&construct.body, params_base, &construct.params, sites);
        self.emit(Instruction::Br(1));
        self.close();
        self.looped(construct);
        self.close();
    }

    /// The loop itself, each of whose iterations can be entered at a site.
    fn resume_within(&mut self, construct: &Construct, params_base: usize) {
        let ty = self.block_type(&construct.params, &construct.results);
        self.reload(params_base, &construct.params);
        self.open(Instruction::Loop(ty), Some(construct.label));
        self.spill(params_base, &construct.params);
        let sites = construct.sites.clone();
        self.resume_seq(&construct.body, params_base, &construct.params, sites);
        self.close();
    }

    /// Takes the frame off the stack of frames, and its values back: by the tree by which they were saved, so
    /// that sites share this code too. It stands here and not at the sites because a value that has to be
    /// carried past them on the way to its own would be moved, zero as it still is, at every join on that
    /// way.
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
                Step::Save { value, offset } => self.load(value, offset),
                Step::Goto(label) => self.emit(Instruction::Br((label - passed) as u32)),
            }
        }
    }

    /// The opposite of a store of the save code. References wait for their site.
    fn load(&mut self, value: Value, offset: u32) {
        let memarg = self.word(FRAMES_OFFSET + u64::from(offset));
        let load = match value.ty(self.function) {
            ValType::I32 => Instruction::I32Load(memarg),
            ValType::I64 => Instruction::I64Load(memarg),
            ValType::F32 => Instruction::F32Load(memarg),
            ValType::F64 => Instruction::F64Load(memarg),
            ValType::V128 => Instruction::V128Load(memarg),
            ValType::Ref(_) => return,
        };
        self.emit(Instruction::LocalGet(self.saver.top));
        self.emit(load);
        let local = self.local_of(value);
        self.emit(Instruction::LocalSet(local));
    }

    /// At the site: takes its references back, in the opposite order of that in which they were pushed, and
    /// goes on as usual.
    fn arrive(&mut self, index: usize) {
        let frames = self.frames;
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
        self.emit(Instruction::I32Const(0));
        self.emit(Instruction::I32Const(0));
        self.emit(Instruction::I32Store(self.word(RESUMING_OFFSET)));
    }
}

/// A node in a sequence that holds sites, how many blocks end at it, and which sites.
struct Stop {
    blocks: u32,
    sites: std::ops::Range<usize>,
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
