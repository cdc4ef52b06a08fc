//! The source's half of a move, and of a spawn, which is a departure that keeps the original.
//!
//! ```text
//!  Asking --all there--> Copying --captured--> Sending --all there--> Freezing --captured--> Offered
//!   (Prepare)             (it runs on)          (it runs on)           (stands still)         (Commit)
//!  a paused program: Asking -> Freezing; a spawn: Asking -> Copying -> Offered
//!
//!  before Offered: refused, cancelled or late -> it runs on in place
//!  Offered: Adopted -> gone; Refused -> it runs on in place; silence -> stands still and asks again, from
//!           the deadline on with Cancel, so that the target need not have heard of it to decide
//! ```
//! Invariant: `Offered` is stored before `Commit` is said, and ends only by a verdict, by word of a higher
//! generation, or by force.

mod handover;
mod sending;

use std::collections::BTreeMap;

use wayfare_protocol::command::{ProgramSpec, Target};
use wayfare_protocol::device::{Alias, DeviceKind};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Blob, EngineId, Generation, OperationId, ProgramId};
use wayfare_protocol::limits::TIME_LIMIT_MS;
use wayfare_protocol::peer::PeerMessage;

use super::Core;
use super::timing::{IN_DOUBT_AFTER_US, Repeat, SETTLING_US};
use super::transfer::Sender;
use super::types::{Now, Saved, Standing};

#[derive(Debug)]
pub(super) struct Departure {
    kind: Kind,
    /// The program that is here.
    program: ProgramId,
    pub(super) target: EngineId,
    on_target: TargetProgram,
    /// Of which kinds the devices are here that it is granted.
    devices: BTreeMap<Alias, DeviceKind>,
    blobs: Vec<Blob>,
    sender: Sender,
    repeat: Repeat,
    /// When the target last said anything.
    heard: Now,
    accepted_at: Now,
    deadline: Now,
    /// The target did not ask for the module, and had not acknowledged it by then.
    lacks_word: bool,
    stage: Stage,
    precopied_bytes: u64,
    final_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Move,
    Spawn,
}

/// What is to be on the target.
#[derive(Debug)]
struct TargetProgram {
    program: ProgramId,
    generation: Generation,
    spec: ProgramSpec,
    standing: Standing,
}

#[derive(Debug)]
enum Stage {
    /// May it come? Then the module and standard input, if the target lacks them.
    Asking,
    /// Being captured while it runs on.
    Copying,
    /// What was captured is on its way, while it runs on.
    Sending { base: Blob },
    /// Being captured, and to stand still from `since` on.
    Freezing { since: Now },
    Offered {
        saved: Saved,
        since: Now,
        message: OfferMessage,
        doubt: Doubt,
    },
    /// A spawn whose outcome is unknown: the target is asked to refuse, and if it has not adopted the copy,
    /// the operation fails with `failure`.
    Settling { failure: Failure, until: Now },
}

/// The message that is repeated to a target that is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OfferMessage {
    Commit,
    Cancel,
}

/// Whether the silence has been made public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    No,
    Said,
}

impl Departure {
    pub(super) fn blobs(&self) -> &[Blob] {
        &self.blobs
    }

    pub(super) fn is_move(&self) -> bool {
        self.kind == Kind::Move
    }

    pub(super) fn is_in_doubt(&self) -> bool {
        matches!(
            self.stage,
            Stage::Offered {
                doubt: Doubt::Said,
                ..
            }
        )
    }

    /// Until then the source waits for the target.
    pub(super) fn extend(&mut self, deadline: Now) {
        if !self.is_committed() {
            self.deadline = self.deadline.max(deadline);
        }
    }

    fn is_committed(&self) -> bool {
        matches!(self.stage, Stage::Offered { .. } | Stage::Settling { .. })
    }

    fn all_there(&self) -> bool {
        self.blobs.iter().all(|blob| self.sender.is_there(blob.digest))
    }

    fn waited_ms(&self, now: Now) -> u64 {
        now.since(self.accepted_at) / 1000
    }

    fn silent(&self, now: Now) -> Failure {
        Failure::Silent {
            peer: self.target.to_string(),
            waited_ms: self.waited_ms(now),
        }
    }

    /// The message that keeps this going.
    fn question(&self, memory_bytes: u64) -> PeerMessage {
        match &self.stage {
            Stage::Asking | Stage::Copying | Stage::Sending { .. } | Stage::Freezing { .. } => {
                self.prepare(memory_bytes)
            }
            Stage::Offered {
                saved,
                message: OfferMessage::Commit,
                ..
            } => PeerMessage::Commit {
                snapshot: saved.snapshot,
                base: saved.base,
            },
            Stage::Offered {
                message: OfferMessage::Cancel,
                ..
            }
            | Stage::Settling { .. } => PeerMessage::Cancel,
        }
    }

    fn prepare(&self, memory_bytes: u64) -> PeerMessage {
        PeerMessage::Prepare {
            program: self.on_target.program,
            generation: self.on_target.generation,
            spec: self.on_target.spec.clone(),
            memory_bytes,
            paused: self.on_target.standing == Standing::Paused,
            devices: self.devices.clone(),
            blobs: self.blobs.clone(),
        }
    }

    pub(super) fn next_wakeup(&self) -> Now {
        let mut at = self.repeat.next();
        if let Some(resend) = self.sender.next_wakeup() {
            at = at.min(resend);
        }
        match self.stage {
            Stage::Offered { message, doubt, .. } => {
                if message == OfferMessage::Commit {
                    at = at.min(self.deadline);
                }
                if doubt == Doubt::No && self.kind == Kind::Move {
                    at = at.min(self.heard.plus(IN_DOUBT_AFTER_US));
                }
                at
            }
            Stage::Settling { until, .. } => at.min(until),
            _ => at,
        }
    }
}

impl Core {
    /// Whether this operation takes a program elsewhere.
    pub fn departs(&self, operation: OperationId) -> bool {
        self.departures.contains_key(&operation)
    }

    /// Whether a program is on its way to an engine that answers.
    pub fn hands_over(&self, now: Now) -> bool {
        let mut moves = self.departures.values().filter(|departure| departure.is_move());
        moves.any(|departure| now.since(departure.heard) < IN_DOUBT_AFTER_US)
    }

    pub(super) fn check_move(&self, on: Target, target: &EngineId) -> Result<(), Failure> {
        self.check_free(on, "move")?;
        if *target == self.identity.engine {
            let program = on.program;
            return Err(Failure::AlreadyHere { program });
        }
        Ok(())
    }

    pub(super) fn check_spawn(&self, on: Target, target: &EngineId, copy: ProgramId) -> Result<(), Failure> {
        self.check_free(on, "spawn")?;
        if copy == on.program || (*target == self.identity.engine && self.programs.contains_key(&copy)) {
            return Err(Failure::AlreadyHere { program: copy });
        }
        Ok(())
    }

    pub(super) fn begin_move(&mut self, operation: OperationId, program: ProgramId, target: EngineId) {
        let Some(here) = self.programs.get(&program) else {
            return;
        };
        let on_target = TargetProgram {
            program,
            generation: here.generation.next(),
            spec: here.spec.clone(),
            standing: standing(here.is_paused()),
        };
        self.depart(operation, Kind::Move, program, target, on_target);
    }

    pub(super) fn begin_spawn(
        &mut self,
        operation: OperationId,
        program: ProgramId,
        target: EngineId,
        (copy, copy_name): (ProgramId, String),
    ) {
        let Some(here) = self.programs.get(&program) else {
            return;
        };
        let on_target = TargetProgram {
            program: copy,
            generation: Generation::FIRST,
            spec: ProgramSpec {
                name: copy_name,
                ..here.spec.clone()
            },
            standing: standing(here.is_paused()),
        };
        self.depart(operation, Kind::Spawn, program, target, on_target);
    }

    fn depart(
        &mut self,
        operation: OperationId,
        kind: Kind,
        program: ProgramId,
        target: EngineId,
        on_target: TargetProgram,
    ) {
        self.take_program(operation, program);
        let departure = self.new_departure(operation, kind, program, target, on_target);
        self.departures.insert(operation, departure);
        self.ask(operation);
    }

    fn new_departure(
        &self,
        operation: OperationId,
        kind: Kind,
        program: ProgramId,
        target: EngineId,
        on_target: TargetProgram,
    ) -> Departure {
        let now = self.now;
        let (accepted_at, deadline) = self
            .journal
            .times(operation)
            .unwrap_or_else(|| (now, now.plus(TIME_LIMIT_MS * 1000)));
        Departure {
            kind,
            program,
            target,
            devices: self.devices_of(&on_target.spec.grants),
            blobs: on_target.spec.blobs().collect(),
            on_target,
            sender: Sender::new(now),
            repeat: Repeat::new(now),
            heard: now,
            accepted_at,
            deadline,
            lacks_word: false,
            stage: Stage::Asking,
            precopied_bytes: 0,
            final_bytes: 0,
        }
    }

    /// A restart found the program offered: ask for the verdict at once.
    pub(super) fn restore_offer(
        &mut self,
        operation: OperationId,
        program: ProgramId,
        target: EngineId,
        (saved, was): (Saved, Standing),
    ) {
        let Some(here) = self.programs.get(&program) else {
            return;
        };
        let on_target = TargetProgram {
            program,
            generation: here.generation.next(),
            spec: here.spec.clone(),
            standing: was,
        };
        self.take_program(operation, program);
        let mut departure = self.new_departure(operation, Kind::Move, program, target, on_target);
        departure.blobs.extend(saved.base);
        departure.blobs.push(saved.snapshot);
        departure.stage = Stage::Offered {
            saved,
            since: self.now,
            message: OfferMessage::Commit,
            doubt: Doubt::Said,
        };
        self.departures.insert(operation, departure);
        self.ask(operation);
    }

    /// A restart found a spawn unanswered: whether its copy was adopted, only the target knows.
    pub(super) fn settle_spawn(&mut self, operation: OperationId) {
        let Some(command) = self.journal.command(operation) else {
            return;
        };
        let wayfare_protocol::command::Action::Spawn { on, target, copy, .. } = command.action.clone() else {
            return;
        };
        let Some(here) = self.programs.get(&on.program) else {
            let engine = self.identity.engine.clone();
            return self.finish(operation, Err(Failure::Interrupted { engine }));
        };
        let on_target = TargetProgram {
            program: copy,
            generation: Generation::FIRST,
            spec: here.spec.clone(),
            standing: Standing::Running,
        };
        let mut departure = self.new_departure(operation, Kind::Spawn, on.program, target, on_target);
        departure.blobs.clear();
        departure.stage = Stage::Settling {
            failure: Failure::Interrupted {
                engine: self.identity.engine.clone(),
            },
            until: self.now.plus(SETTLING_US),
        };
        self.departures.insert(operation, departure);
        self.ask(operation);
    }
}

fn standing(paused: bool) -> Standing {
    if paused {
        Standing::Paused
    } else {
        Standing::Running
    }
}
