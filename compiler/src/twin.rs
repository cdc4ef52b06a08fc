//! The twin of a function: rebuilds the frame of a captured call and goes on from its site.
//!
//! Its type is `() -> the function's results`. It pops the frame that is on top, then runs a copy of
//! the body in which each sequence begins by jumping to where the site is: `resuming` holds the site's
//! number until that is reached, and 0 from then on, so that code met afterwards runs as usual.
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
//! ran before, with no trace of the resumption.

use wasm_encoder::{BlockType, Instruction};
use wasmparser::ValType;

use crate::abi::{FRAMES_OFFSET, REFERENCES_OFFSET, TOP_OFFSET};
use crate::body::{Construct, Kind, Node, Seq, SiteKind};
use crate::code::{Body, Emitter};
use crate::error::CompileError;
use crate::frames::size;
use crate::saving::FRAME_WORDS_BYTES;

/// Our locals in a twin.
#[derive(Clone, Copy)]
struct Resumption {
    /// The site to go to, 0 once there.
    resuming: u32,
    /// Where the frame's words are, in bytes of frames; moves to where its values are.
    frame: u32,
}

impl Emitter<'_> {
    pub(crate) fn twin(mut self) -> Result<Body, CompileError> {
        let function = self.function;
        if function.sites.is_empty() {
            self.emit(Instruction::Unreachable);
            return self.finish(0);
        }
        let resumption = Resumption {
            resuming: self.local(ValType::I32),
            frame: self.local(ValType::I32),
        };
        self.read_site(resumption, function.sites.len());
        self.resume_seq(&function.root, resumption, 0, &[], 0..function.sites.len());
        self.finish(0)
    }

    /// Finds out which site the frame on top is of; traps on one that this function does not have, which
    /// only a forged snapshot can hold.
    fn read_site(&mut self, resumption: Resumption, sites: usize) {
        let Resumption { resuming, frame } = resumption;
        self.emit(Instruction::I32Const(0));
        self.emit(Instruction::I32Load(self.word(TOP_OFFSET)));
        self.emit(Instruction::I32Const(FRAME_WORDS_BYTES as i32));
        self.emit(Instruction::I32Sub);
        self.emit(Instruction::LocalTee(frame));
        self.emit(Instruction::I32Load(self.word(FRAMES_OFFSET)));
        self.emit(Instruction::LocalTee(resuming));
        self.emit(Instruction::I32Const(1));
        self.emit(Instruction::I32Sub);
        self.emit(Instruction::I32Const(sites as i32));
        self.emit(Instruction::I32GeU);
        self.emit(Instruction::If(BlockType::Empty));
        self.emit(Instruction::Unreachable);
        self.emit(Instruction::End);
    }

    /// A sequence that can be entered at its start or at any of its `sites`. Its parameters, from height
    /// `base` up, are in slots.
    fn resume_seq(
        &mut self,
        seq: &Seq,
        resumption: Resumption,
        base: usize,
        params: &[ValType],
        sites: std::ops::Range<usize>,
    ) {
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
        self.emit(Instruction::LocalGet(resumption.resuming));
        self.emit(Instruction::I32Const(sites.start as i32 + 1));
        self.emit(Instruction::I32Sub);
        // Depth 0 is the start; each stop's resume label lies behind those of the stops before it.
        let mut depth = 1;
        let mut table = Vec::with_capacity(sites.len());
        for stop in &stops {
            table.extend(stop.sites.clone().map(|_| depth));
            depth += stop.blocks;
        }
        debug_assert_eq!(table.len(), sites.len());
        self.emit(Instruction::BrTable(table.into(), 0));
        self.close();

        self.reload(base, params);
        for node in &seq.nodes {
            match node {
                Node::Site(site) => self.resume_site(*site, resumption),
                Node::Construct(construct) if !construct.sites.is_empty() => {
                    self.resume_construct(construct, resumption);
                }
                Node::Construct(construct) => self.construct(construct),
                other => self.simple(other),
            }
        }
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
    fn resume_site(&mut self, index: usize, resumption: Resumption) {
        let site = &self.function.sites[index];
        let operands = &site.stack[site.base..];
        let below = operands.len() - site.args;
        self.spill(site.base, operands);
        if site.kind.is_poll() {
            self.poll(index);
        }
        if site.kind == SiteKind::Call {
            self.reload(site.base + below, &operands[below..]);
            self.issue(&site.call);
            self.spill(site.base + below, &site.results);
        }
        self.emit(Instruction::Br(1));
        self.close();
        self.restore(index, resumption);
        if site.kind == SiteKind::Call {
            self.resume_callee(&site.results);
            self.spill(site.base + below, &site.results);
        }
        self.close();
        match site.kind {
            SiteKind::LoopPoll | SiteKind::EntryPoll => self.reload(site.base, operands),
            SiteKind::Call => {
                self.check(index);
                self.reload(site.base, &operands[..below]);
                self.reload(site.base + below, &site.results);
            }
            SiteKind::Blocking => {
                self.reload(site.base + below, &operands[below..]);
                self.issue(&site.call);
                self.check(index);
                self.put_below(site.base, &operands[..below], &site.results);
            }
        }
    }

    /// Closes the one block of its stop, behind which the construct stands.
    fn resume_construct(&mut self, construct: &Construct, resumption: Resumption) {
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
                self.resume_seq(
                    &construct.body,
                    resumption,
                    params_base,
                    params,
                    construct.sites.clone(),
                );
                self.close();
            }
            Kind::If => {
                // On the way to a site the branch is the one that holds it, whatever the condition was.
                self.emit(Instruction::LocalGet(resumption.resuming));
                self.emit(Instruction::I32Const(construct.otherwise_sites as i32));
                self.emit(Instruction::I32LeU);
                self.reload(params_base + params.len(), &[ValType::I32]);
                self.emit(Instruction::LocalGet(resumption.resuming));
                self.emit(Instruction::Select);
                self.open(Instruction::If(ty), Some(construct.label));
                let (start, middle, end) = (
                    construct.sites.start,
                    construct.otherwise_sites,
                    construct.sites.end,
                );
                self.resume_seq(&construct.body, resumption, params_base, params, start..middle);
                match &construct.otherwise {
                    Some(otherwise) => {
                        self.emit(Instruction::Else);
                        self.resume_seq(otherwise, resumption, params_base, params, middle..end);
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
            Kind::Loop => self.resume_loop(construct, resumption, params_base),
        }
        self.put_below(construct.base, below, &construct.results);
    }

    /// The rest of the interrupted iteration, then the loop as it was.
    fn resume_loop(&mut self, construct: &Construct, resumption: Resumption, params_base: usize) {
        let done = self.block_type(&[], &construct.results);
        let again = self.block_type(&[], &construct.params);
        self.open(Instruction::Block(done), None);
        // A branch back to the loop's header leaves the peeled iteration for the loop itself.
        self.open(Instruction::Block(again), Some(construct.label));
        self.reload(params_base, &construct.params);
        self.emit(Instruction::LocalGet(resumption.resuming));
        self.emit(Instruction::I32Eqz);
        self.emit(Instruction::BrIf(0));
        for _ in &construct.params {
            self.emit(Instruction::Drop);
        }
        self.resume_seq(
            &construct.body,
            resumption,
            params_base,
            &construct.params,
            construct.sites.clone(),
        );
        self.emit(Instruction::Br(1));
        self.close();
        self.looped(construct);
        self.close();
    }

    /// Takes the frame off the stack of frames, and its values back.
    fn restore(&mut self, index: usize, resumption: Resumption) {
        let frames = self.frames;
        let values = &frames.values[index];
        let bytes: u32 = values.iter().map(|value| size(value.ty(self.function))).sum();
        self.emit(Instruction::I32Const(0));
        self.emit(Instruction::LocalGet(resumption.frame));
        self.emit(Instruction::I32Const(bytes as i32));
        self.emit(Instruction::I32Sub);
        self.emit(Instruction::LocalTee(resumption.frame));
        self.emit(Instruction::I32Store(self.word(TOP_OFFSET)));
        let mut offset = 0;
        for &value in values {
            let (ty, local) = (value.ty(self.function), self.local_of(value));
            // References were pushed in the opposite order.
            if matches!(ty, ValType::Ref(_)) {
                self.count_references(-1);
                self.emit(Instruction::I32Const(0));
                self.emit(Instruction::I32Load(self.word(REFERENCES_OFFSET)));
                self.emit(Instruction::TableGet(self.added.references));
                self.emit(Instruction::LocalSet(local));
                continue;
            }
            let memarg = self.word(FRAMES_OFFSET + u64::from(offset));
            self.emit(Instruction::LocalGet(resumption.frame));
            self.emit(match ty {
                ValType::I32 => Instruction::I32Load(memarg),
                ValType::I64 => Instruction::I64Load(memarg),
                ValType::F32 => Instruction::F32Load(memarg),
                ValType::F64 => Instruction::F64Load(memarg),
                _ => Instruction::V128Load(memarg),
            });
            self.emit(Instruction::LocalSet(local));
            offset += size(ty);
        }
        self.emit(Instruction::I32Const(0));
        self.emit(Instruction::LocalSet(resumption.resuming));
    }

    /// Calls the twin that the next frame names.
    fn resume_callee(&mut self, results: &[ValType]) {
        resume_top(results, self.types, self.added, &mut self.bytes);
    }
}

/// A node in a sequence that holds sites, how many blocks end at it, and which sites.
struct Stop {
    blocks: u32,
    sites: std::ops::Range<usize>,
}

/// Resumes the frame on top, leaving `results` on the operand stack.
pub(crate) fn resume_top(
    results: &[ValType],
    types: &mut crate::code::Types,
    added: &crate::code::Added,
    bytes: &mut Vec<u8>,
) {
    use wasm_encoder::{Encode, MemArg};
    let word = |offset| MemArg {
        offset,
        align: 0,
        memory_index: added.save_memory,
    };
    Instruction::I32Const(0).encode(bytes);
    Instruction::I32Load(word(TOP_OFFSET)).encode(bytes);
    Instruction::I32Const(4).encode(bytes);
    Instruction::I32Sub.encode(bytes);
    Instruction::I32Load(word(FRAMES_OFFSET)).encode(bytes);
    let type_index = types.index(&[], results);
    Instruction::CallIndirect {
        type_index,
        table_index: added.twin_table,
    }
    .encode(bytes);
}
