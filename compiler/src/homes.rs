//! Where a twin keeps its values: outside of its clean loops each has a *home* in the save memory.
//!
//! A twin can be entered at each of its sites. In locals, each value that is alive there would meet itself at
//! the site, restored on one way and computed on the other, and a compiler moves on both ways: that made
//! most of a twin's machine code. In memory ways meet for nothing. What stands outside of clean loops runs
//! once, so that loads and stores cost it no time that anybody would notice.
//!
//! ```text
//!  save memory:  words | frames, the innermost lowest -->        <-- homes, those of the outermost last |
//! ```
//! A *clean loop* is the copy that a twin goes on with once the interrupted iteration is over, and as fast as
//! the program's own: its values are locals. It fetches at its start what is read inside, and each way out
//! leads over a *landing* that brings back what was assigned and is still alive there:
//! ```text
//!  block $done
//!    block $landing          a label outside, to which branches inside lead
//!      fetch; loop ... br $landing ... end; bring back
//!      br $done
//!    end
//!    bring back; br to that label
//!  end
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use wasm_encoder::{BlockType, Catch, Instruction};
use wasmparser::{BinaryReader, Operator, OperatorsReader, ValType};
use wayfare_abi::rewritten::{FRAMES_MAX, HOMES_OFFSET, TOP_OFFSET};

use crate::body::{Construct, Function, Jump, Kind, Label, LocalUse, Node, ROOT, Seq};
use crate::code::{Emitter, val_type};
use crate::exceptions::EXCEPTION;
use crate::frames::{Frames, Value, size};
use crate::liveness::Liveness;
use crate::saving::{load, store};

pub(crate) struct Homes<'a> {
    /// The local that holds where they begin.
    base: u32,
    offsets: BTreeMap<Value, u32>,
    bytes: u32,
    /// By type: a local for what has to go below its home's address.
    passing: BTreeMap<ValType, u32>,
    liveness: Liveness,
    /// By label: what a branch to it carries.
    carried: Vec<&'a [ValType]>,
    /// Where exceptions may lead from here, other than to the caller.
    catching: Vec<Label>,
    /// The clean loop that is being written, if one is.
    clean: Option<CleanLoop>,
}

struct CleanLoop {
    assigned: BTreeSet<u32>,
    /// Operands from this height up are its own.
    operands_from: usize,
}

impl<'a> Homes<'a> {
    /// Homes for all that frames of the function hold, except references: what its code names most comes
    /// first, where instructions need the fewest bytes to say how far away it is.
    fn plan(function: &'a Function, frames: &Frames, base: u32) -> Self {
        let mut carried: Vec<&[ValType]> = vec![&[]; function.constructs];
        let mut uses: BTreeMap<Value, usize> = BTreeMap::new();
        for value in frames.values.iter().flatten() {
            *uses.entry(*value).or_default() += 1;
        }
        look_through(&function.root, &mut carried, &mut uses);
        let mut held: Vec<(usize, Value)> = uses.into_iter().map(|(value, uses)| (uses, value)).collect();
        held.sort_unstable_by_key(|(uses, value)| (std::cmp::Reverse(*uses), *value));
        let mut bytes = 0;
        let mut offsets = BTreeMap::new();
        for (_, value) in held {
            let size = size(value.ty(function));
            if size > 0 {
                offsets.insert(value, bytes);
                bytes += size;
            }
        }
        Self {
            base,
            offsets,
            bytes,
            passing: BTreeMap::new(),
            liveness: Liveness::of(function),
            carried,
            catching: Vec::new(),
            clean: None,
        }
    }

    /// Where the value's home is, from the base, if it is there now.
    fn home(&self, value: Value) -> Option<u32> {
        match self.clean {
            None => self.offsets.get(&value).copied(),
            Some(_) => None,
        }
    }
}

impl<'a> Emitter<'a> {
    /// Makes room for this twin's values below those of its caller; traps where there is none.
    pub(crate) fn settle(&mut self) {
        let base = self.local(ValType::I32);
        let homes = Homes::plan(self.function, self.frames, base);
        self.emit(Instruction::I32Const(0));
        self.emit(Instruction::I32Load(self.word(HOMES_OFFSET)));
        self.emit(Instruction::LocalSet(base));
        self.homes = Some(homes);
        self.check_room();
    }

    pub(crate) fn homes_base(&self) -> u32 {
        self.homes.as_ref().expect("a twin has homes").base
    }

    pub(crate) fn homes_bytes(&self) -> u32 {
        self.homes.as_ref().expect("a twin has homes").bytes
    }

    /// Traps if frames have come to where twins keep their values.
    pub(crate) fn check_room(&mut self) {
        if self.homes.is_none() {
            return;
        }
        self.emit(Instruction::I32Const(0));
        self.emit(Instruction::I32Load(self.word(TOP_OFFSET)));
        self.emit(Instruction::I32Const(FRAMES_MAX as i32));
        self.emit(Instruction::I32GtU);
        self.emit(Instruction::If(BlockType::Empty));
        self.emit(Instruction::Unreachable);
        self.emit(Instruction::End);
    }

    /// Says where the values of a callee may begin that is resumed next.
    pub(crate) fn lend_room(&mut self) {
        let (base, bytes) = (self.homes_base(), self.homes_bytes());
        self.emit(Instruction::I32Const(0));
        self.emit(Instruction::LocalGet(base));
        self.emit(Instruction::I32Const(bytes.cast_signed()));
        self.emit(Instruction::I32Add);
        self.emit(Instruction::I32Store(self.word(HOMES_OFFSET)));
    }

    pub(crate) fn get(&mut self, value: Value) {
        match self
            .homes
            .as_ref()
            .and_then(|homes| Some((homes.home(value)?, homes.base)))
        {
            Some((offset, base)) => {
                let memarg = self.word(offset.into());
                self.emit(Instruction::LocalGet(base));
                self.emit(load(value.ty(self.function), memarg));
            }
            None => {
                let local = self.local_of(value);
                self.emit(Instruction::LocalGet(local));
            }
        }
    }

    pub(crate) fn set(&mut self, value: Value) {
        match self.homes.as_ref().and_then(|homes| homes.home(value)) {
            Some(offset) => {
                let passing = self.passing(value.ty(self.function));
                self.emit(Instruction::LocalSet(passing));
                self.store_at_home(value, offset, passing);
            }
            None => {
                let local = self.local_of(value);
                self.emit(Instruction::LocalSet(local));
            }
        }
    }

    fn store_at_home(&mut self, value: Value, offset: u32, local: u32) {
        let base = self.homes_base();
        let memarg = self.word(offset.into());
        self.emit(Instruction::LocalGet(base));
        self.emit(Instruction::LocalGet(local));
        self.emit(store(value.ty(self.function), memarg));
    }

    fn passing(&mut self, ty: ValType) -> u32 {
        let homes = self.homes.as_ref().expect("a twin has homes");
        if let Some(&local) = homes.passing.get(&ty) {
            return local;
        }
        let local = self.local(ty);
        let homes = self.homes.as_mut().expect("a twin has homes");
        homes.passing.insert(ty, local);
        local
    }

    /// Whether some of these locals are in memory now.
    pub(crate) fn are_at_home(&self, locals: &[LocalUse]) -> bool {
        self.homes.as_ref().is_some_and(|homes| {
            let mut locals = locals.iter().map(|used| Value::Local(used.local()));
            locals.any(|value| homes.home(value).is_some())
        })
    }

    /// Copies instructions, other than which use what is in memory now.
    pub(crate) fn copy_plain(&mut self, range: &Range<usize>) {
        let code = self.module.bytes(range.clone());
        let mut operators = OperatorsReader::new(BinaryReader::new(code, 0));
        let mut copied = 0;
        while !operators.eof() {
            let at = operators.original_position();
            let operator = operators.read().expect("the module was validated");
            let (Operator::LocalGet { local_index: local }
            | Operator::LocalSet { local_index: local }
            | Operator::LocalTee { local_index: local }) = operator
            else {
                continue;
            };
            let value = Value::Local(local);
            let Some(offset) = self.homes.as_ref().and_then(|homes| homes.home(value)) else {
                continue;
            };
            self.copy(&(range.start + copied..range.start + at));
            copied = operators.original_position();
            match operator {
                Operator::LocalGet { .. } => self.get(value),
                Operator::LocalSet { .. } => self.set(value),
                _ => {
                    let passing = self.passing(value.ty(self.function));
                    self.emit(Instruction::LocalSet(passing));
                    self.store_at_home(value, offset, passing);
                    self.emit(Instruction::LocalGet(passing));
                }
            }
        }
        self.copy(&(range.start + copied..range.end));
    }

    /// In a clean loop: stores what its site needs and it may have changed, so that the frame can be made of
    /// what is in memory.
    pub(crate) fn bring_home(&mut self, site: usize) {
        let Some(homes) = &self.homes else {
            return;
        };
        let Some(clean) = &homes.clean else {
            return;
        };
        let changed = self.frames.values[site].iter().filter(|value| match value {
            Value::Local(local) => clean.assigned.contains(local),
            Value::Operand(height, _) => *height >= clean.operands_from,
        });
        let changed: Vec<_> = changed
            .filter_map(|value| Some((*value, *homes.offsets.get(value)?)))
            .collect();
        for (value, offset) in changed {
            let local = self.local_of(value);
            self.store_at_home(value, offset, local);
        }
    }

    /// A construct is open whose handlers exceptions may come to.
    pub(crate) fn catching(&mut self, construct: &Construct) -> usize {
        let homes = self.homes.as_mut().expect("a twin has homes");
        let before = homes.catching.len();
        homes
            .catching
            .extend(construct.catches.iter().map(|(_, label)| *label));
        before
    }

    /// It is closed. `before`: what [`Self::catching`] gave.
    pub(crate) fn no_longer_catching(&mut self, before: usize) {
        let homes = self.homes.as_mut().expect("a twin has homes");
        homes.catching.truncate(before);
    }

    /// The loop as it was, its parameters on the stack; their slots are from height `params_base` up.
    pub(crate) fn clean_copy(&mut self, construct: &Construct, params_base: usize) {
        let mut inside = Inside::default();
        inside.labels.insert(construct.label);
        inside.seq(&construct.body);
        let homes = self.homes.as_ref().expect("a twin has homes");
        let at_home = |local: &u32| homes.offsets.contains_key(&Value::Local(*local));
        inside.assigned.retain(at_home);
        inside.read.retain(at_home);
        let header = homes.liveness.labels[construct.label].as_ref();
        let fetched: Vec<u32> = inside
            .read
            .union(&inside.assigned)
            .copied()
            .filter(|local| header.is_some_and(|live| live.contains(*local)))
            .collect();
        let alive = |live: &Option<crate::liveness::Set>| -> Vec<u32> {
            let assigned = inside.assigned.iter().copied();
            assigned
                .filter(|local| live.as_ref().is_some_and(|live| live.contains(*local)))
                .collect()
        };
        let behind = alive(&homes.liveness.behind[construct.label]);
        let mut landings = Vec::new();
        for label in inside
            .leads_to
            .difference(&inside.labels)
            .copied()
            .filter(|label| *label != ROOT)
        {
            landings.push((label, homes.carried[label], alive(&homes.liveness.labels[label])));
        }
        let mut thrown: Vec<u32> = homes
            .catching
            .iter()
            .flat_map(|label| alive(&homes.liveness.labels[*label]))
            .collect();
        thrown.sort_unstable();
        thrown.dedup();

        self.spill(params_base, &construct.params);
        let outside = self.labels.len();
        let done = self.block_type(&[], &construct.results);
        self.open(Instruction::Block(done), None);
        for (label, carried, _) in landings.iter().rev() {
            let ty = self.block_type(&[], carried);
            self.open(Instruction::Block(ty), Some(*label));
        }
        if !thrown.is_empty() {
            self.open(Instruction::Block(BlockType::Result(val_type(EXCEPTION))), None);
            let catch = vec![Catch::AllRef { label: 0 }];
            self.open(Instruction::TryTable(done, catch.into()), None);
        }
        self.reload(params_base, &construct.params);
        for local in fetched {
            self.get(Value::Local(local));
            self.emit(Instruction::LocalSet(local));
        }
        let homes = self.homes.as_mut().expect("a twin has homes");
        homes.clean = Some(CleanLoop {
            assigned: inside.assigned,
            operands_from: params_base,
        });
        self.looped(construct);
        self.homes.as_mut().expect("a twin has homes").clean = None;
        self.bring_back(&behind);
        if !thrown.is_empty() {
            self.close();
            self.leave_for(outside);
            self.close();
            self.bring_back(&thrown);
            self.emit(Instruction::ThrowRef);
        } else {
            self.leave_for(outside);
        }
        for (label, _, alive) in &landings {
            self.close();
            self.bring_back(alive);
            let depth = self.depth(*label);
            self.emit(Instruction::Br(depth));
        }
        self.close();
    }

    /// Branches to the end of the block that was opened when so many were open.
    fn leave_for(&mut self, block: usize) {
        let depth = self.labels.len() - 1 - block;
        self.emit(Instruction::Br(depth as u32));
    }

    fn bring_back(&mut self, locals: &[u32]) {
        for &local in locals {
            let value = Value::Local(local);
            let home = self.homes.as_ref().and_then(|homes| homes.home(value));
            self.store_at_home(value, home.expect("these have homes"), local);
        }
    }
}

/// What stands in a loop.
#[derive(Default)]
struct Inside {
    read: BTreeSet<u32>,
    assigned: BTreeSet<u32>,
    /// Constructs inside, and where branches inside lead to.
    labels: BTreeSet<Label>,
    leads_to: BTreeSet<Label>,
}

impl Inside {
    fn seq(&mut self, seq: &Seq) {
        for node in &seq.nodes {
            match node {
                Node::Plain { locals, .. } => {
                    for used in locals {
                        match *used {
                            LocalUse::Get(local) => self.read.insert(local),
                            LocalUse::Set(local) | LocalUse::Tee(local) => self.assigned.insert(local),
                        };
                    }
                }
                Node::Jump(Jump::Br(label) | Jump::BrIf(label)) => {
                    self.leads_to.insert(*label);
                }
                Node::Jump(Jump::BrTable(labels, default)) => {
                    self.leads_to.extend(labels);
                    self.leads_to.insert(*default);
                }
                Node::Construct(construct) => {
                    self.labels.insert(construct.label);
                    self.leads_to
                        .extend(construct.catches.iter().map(|(_, label)| *label));
                    self.seq(&construct.body);
                    if let Some(otherwise) = &construct.otherwise {
                        self.seq(otherwise);
                    }
                }
                Node::Site(_) | Node::Drop { .. } | Node::Jump(_) => {}
            }
        }
    }
}

/// What branches to each label carry, and how often the code names what is held.
fn look_through<'a>(seq: &'a Seq, carried: &mut [&'a [ValType]], uses: &mut BTreeMap<Value, usize>) {
    for node in &seq.nodes {
        match node {
            Node::Plain { locals, .. } => {
                for used in locals {
                    if let Some(uses) = uses.get_mut(&Value::Local(used.local())) {
                        *uses += 1;
                    }
                }
            }
            Node::Construct(construct) => {
                carried[construct.label] = match construct.kind {
                    Kind::Loop => &construct.params,
                    Kind::Block | Kind::If | Kind::Try => &construct.results,
                };
                look_through(&construct.body, carried, uses);
                if let Some(otherwise) = &construct.otherwise {
                    look_through(otherwise, carried, uses);
                }
            }
            Node::Site(_) | Node::Drop { .. } | Node::Jump(_) => {}
        }
    }
}
