//! Captures of a program: one at a time, each for a purpose, each answer matched to its question.

use wayfare_protocol::error::Failure;
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::{Blob, ProgramId};

use super::Core;
use super::programs::Life;
use super::types::{CaptureId, Effect, Purpose, Saved, Standing};

impl Core {
    /// Captures a program now, or as soon as it is up, no other capture is under way, and it may be stopped.
    pub(super) fn capture(&mut self, program: ProgramId, purpose: Purpose) {
        let Some(here) = self.programs.get_mut(&program) else {
            return;
        };
        let is_last = matches!(purpose, Purpose::Final(..)) && here.life == Life::Running;
        let is_held = is_last && here.report.is_held(self.now) && !self.is_stopping;
        if is_held || here.capture.is_some() || !matches!(here.life, Life::Running | Life::Paused) {
            here.waiting = Some(purpose);
            return;
        }
        self.captures += 1;
        let capture = CaptureId(self.captures);
        here.capture = Some((capture, purpose));
        let runs = here.life == Life::Running && !self.is_stopping;
        here.stands_for_good |= self.is_stopping && purpose == Purpose::Checkpoint;
        let then = match runs && !purpose.stops() {
            true => Standing::Running,
            false => Standing::Paused,
        };
        self.effects.push(Effect::Capture {
            program,
            capture,
            purpose,
            then,
        });
        if let Purpose::Final(operation, _) = purpose {
            self.freezing_began(operation);
        }
    }

    pub(super) fn capture_waiting(&mut self, program: ProgramId) {
        let waiting = self.programs.get_mut(&program).and_then(|p| p.waiting.take());
        if let Some(purpose) = waiting {
            self.capture(program, purpose);
        }
    }

    pub(super) fn capture_compiles(&mut self, program: ProgramId, capture: CaptureId) {
        let here = self.programs.get(&program);
        let purpose = here.and_then(|here| here.capture.as_ref().filter(|(id, _)| *id == capture));
        if let Some(operation) = purpose.and_then(|(_, purpose)| purpose.operation()) {
            self.compiles(operation);
        }
    }

    pub(super) fn captured(&mut self, program: ProgramId, capture: CaptureId, result: Result<Blob, Failure>) {
        let Some(here) = self.programs.get_mut(&program) else {
            return;
        };
        let Some((_, purpose)) = here.capture.take_if(|(id, _)| *id == capture) else {
            return;
        };
        let wanted = match purpose.operation() {
            Some(operation) => here.busy == Some(operation),
            None => true,
        };
        if let Ok(blob) = &result {
            self.blobs.held.insert(blob.digest);
            self.blobs.stale = true;
        }
        match purpose {
            Purpose::Pause(_) | Purpose::Final(..) if !wanted => self.let_run(program),
            Purpose::Snapshot(_) | Purpose::Copy(_) | Purpose::Base(_) if !wanted => {}
            Purpose::Checkpoint => self.checkpointed(program, result),
            Purpose::Pause(operation) => match result {
                Ok(snapshot) => {
                    self.keep(program, snapshot, Some(Life::Paused));
                    self.release_program(operation, program);
                    self.finish(operation, Ok(Outcome::Paused { program }));
                }
                Err(failure) => {
                    self.let_run(program);
                    self.abort(operation, failure);
                }
            },
            Purpose::Snapshot(operation) => match result {
                Ok(snapshot) => self.snapshot_made(operation, program, snapshot),
                Err(failure) => self.abort(operation, failure),
            },
            Purpose::Copy(operation) | Purpose::Base(operation) => match result {
                Ok(blob) => self.copied(operation, blob),
                Err(failure) => self.abort(operation, failure),
            },
            Purpose::Final(operation, base) => match result {
                Ok(snapshot) => self.offer_move(operation, program, Saved { snapshot, base }),
                Err(failure) => {
                    self.let_run(program);
                    self.abort(operation, failure);
                }
            },
        }
        self.capture_waiting(program);
        self.stop_for_good(program);
    }

    /// Lets a program run on that was stopped for something that was given up.
    fn let_run(&mut self, program: ProgramId) {
        let here = self.programs.get(&program);
        if here.is_some_and(|here| here.life == Life::Running) {
            self.unfreeze(program);
        }
    }

    /// Makes a whole snapshot the one that a restart goes back to.
    fn keep(&mut self, program: ProgramId, snapshot: Blob, life: Option<Life>) {
        if let Some(here) = self.programs.get_mut(&program) {
            here.saved = Some(Saved { snapshot, base: None });
            here.life = life.unwrap_or(here.life.clone());
            self.store(program);
        }
    }

    fn checkpointed(&mut self, program: ProgramId, result: Result<Blob, Failure>) {
        // One that failed is tried again at the next interval.
        if let Ok(snapshot) = result {
            self.keep(program, snapshot, None);
        }
        self.plan_checkpoint(program);
    }

    pub(super) fn plan_checkpoint(&mut self, program: ProgramId) {
        let at = self.identity.checkpoint_interval_us.map(|us| self.now.plus(us));
        if let Some(here) = self.programs.get_mut(&program) {
            here.checkpoint_at = at;
        }
    }

    /// As soon as it has nothing else to do. Where checkpoints are not made at intervals, this makes one all
    /// the same: without it the program would be sent no more.
    pub(super) fn want_checkpoint(&mut self, program: ProgramId) {
        let now = self.now;
        if let Some(here) = self.programs.get_mut(&program)
            && here.life == Life::Running
        {
            here.checkpoint_at = Some(now);
        }
    }

    /// The engine ends. A program that moves is stored as well, and its move goes on from where it stands:
    /// whichever comes first, the move or the end, it is the live program that goes on.
    pub(super) fn stopping(&mut self) {
        self.is_stopping = true;
        let all: Vec<ProgramId> = self.programs.keys().copied().collect();
        for program in all {
            self.stop_for_good(program);
        }
    }

    /// Stores a program for the next start of an engine that ends, once. A capture that is under way is
    /// waited for.
    pub(super) fn stop_for_good(&mut self, program: ProgramId) {
        let is_stopping = self.is_stopping;
        let here = self.programs.get(&program).filter(|here| {
            is_stopping && here.life == Life::Running && here.capture.is_none() && !here.stands_for_good
        });
        if here.is_some() {
            self.capture(program, Purpose::Checkpoint);
        }
    }

    /// Captures the programs whose time has come; one that is busy or stands still waits for the next
    /// interval.
    pub(super) fn checkpoint_due(&mut self) {
        let now = self.now;
        let due: Vec<ProgramId> = self
            .programs
            .iter()
            .filter(|(_, p)| p.checkpoint_at.is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for program in due {
            self.plan_checkpoint(program);
            let idle = self
                .programs
                .get(&program)
                .is_some_and(|p| p.life == Life::Running && p.busy.is_none() && p.capture.is_none());
            if idle {
                self.capture(program, Purpose::Checkpoint);
            }
        }
    }
}
