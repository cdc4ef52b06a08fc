//! What a program does by itself: it comes up, it ends, or a newer one of it is heard of elsewhere.

use wayfare_protocol::reason;

use wayfare_protocol::error::Failure;
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::{Generation, ProgramId};
use wayfare_protocol::status::ProgramState;

use crate::Core;
use crate::timing::ENDED_PROGRAMS_MAX;
use crate::types::{Effect, RecordKey, Saved, Standing};

use super::{Life, Process, ended_failure};

impl Core {
    pub(crate) fn started(&mut self, program: ProgramId, result: Result<(), Failure>) {
        if let Some(operation) = self.arrival_starting(program) {
            return self.arrival_started(operation, result);
        }
        let Some(here) = self.programs.get_mut(&program) else {
            return;
        };
        let Life::Starting { then } = here.life else {
            return;
        };
        if let Err(failure) = result {
            return self.not_started(program, &failure);
        }
        here.life = match then {
            Standing::Running => Life::Running,
            Standing::Paused => Life::Paused,
        };
        let busy = here.busy;
        self.plan_checkpoint(program);
        self.capture_waiting(program);
        self.stop_for_good(program);
        // A forced resume waits for this; whatever else has the program goes on with a capture.
        if let Some(operation) = busy
            && self.is_resume(operation)
        {
            self.release_program(operation, program);
            self.finish(operation, Ok(Outcome::Resumed { program }));
        }
    }

    /// What a program had before it could not be started again is kept until it is killed or its record goes.
    fn not_started(&mut self, program: ProgramId, failure: &Failure) {
        let saved = self.programs.get(&program).and_then(|here| here.saved);
        let reason = match saved {
            None => failure.to_string(),
            Some(saved) => {
                let digest = saved.snapshot.digest.short();
                format!(
                    "cannot go on from its snapshot {digest}, which is kept until it is killed: {failure}"
                )
            }
        };
        let reason = reason::cut(reason);
        self.ended_with(program, ProgramState::Failed { reason }, saved);
    }

    /// A program ended by itself.
    pub(crate) fn ended(&mut self, program: ProgramId, state: ProgramState) {
        self.ended_with(program, state, None);
    }

    fn ended_with(&mut self, program: ProgramId, state: ProgramState, saved: Option<Saved>) {
        let state = if state.is_ended() {
            state
        } else {
            let reason = format!("ended while {}", state.word());
            ProgramState::Failed { reason }
        };
        if let Some(operation) = self.arrival_starting(program) {
            let failure = ended_failure(program, &state);
            return self.arrival_started(operation, Err(failure));
        }
        let order = self.next_order();
        let Some(here) = self.programs.get_mut(&program) else {
            return;
        };
        match &mut here.life {
            Life::Ended { .. } => return,
            // Its snapshot is stored, and all that counts from here on.
            Life::Offered { process, .. } => {
                *process = Process::Gone;
                return;
            }
            Life::Starting { .. } | Life::Running | Life::Paused => {}
        }
        let failure = ended_failure(program, &state);
        here.life = Life::Ended { state, order };
        here.saved = saved;
        here.capture = None;
        here.waiting = None;
        here.checkpoint_at = None;
        let busy = here.busy;
        let module = here.spec.module.digest;
        self.store(program);
        self.blobs.remember_module(module);
        self.blobs.stale = true;
        if let Some(operation) = busy {
            self.abort(operation, failure);
        }
        self.forget_oldest_ended();
    }

    pub(super) fn forget_oldest_ended(&mut self) {
        let ended: Vec<(u64, ProgramId)> = self
            .programs
            .iter()
            .filter_map(|(id, program)| match program.life {
                Life::Ended { order, .. } => Some((order, *id)),
                _ => None,
            })
            .collect();
        if ended.len() > ENDED_PROGRAMS_MAX
            && let Some((_, oldest)) = ended.into_iter().min()
        {
            self.effects.push(Effect::Erase(RecordKey::Program(oldest)));
            self.forget_program(oldest);
        }
    }

    /// Takes the last copy of a program out of memory, and its status from the broker; the caller has seen to
    /// its record and process.
    pub(super) fn forget_program(&mut self, program: ProgramId) {
        let tombstone = self.tombstone(program).map(Box::new);
        self.remove_program(program);
        self.effects.push(Effect::ClearProgram { program, tombstone });
    }

    /// Another engine has the program at `generation`.
    pub(crate) fn fenced(&mut self, program: ProgramId, generation: Generation) {
        self.fence_arrivals(program, generation);
        let Some(here) = self.programs.get(&program) else {
            return;
        };
        if generation < here.generation {
            return self.statuses.republish(program);
        }
        if generation == here.generation {
            return;
        }
        match here.life {
            // Only the target of the offer could have taken it further.
            Life::Offered { operation, .. } => self.adopted(operation),
            _ => self.discard_stale(program, generation),
        }
    }

    /// Ends the copy here because a newer one exists. Its status belongs to the newer one.
    pub(super) fn discard_stale(&mut self, program: ProgramId, newer: Generation) {
        let Some(here) = self.programs.get(&program) else {
            return;
        };
        let (ended, busy, expected) = (here.is_ended(), here.busy, here.generation);
        self.effects.push(Effect::Erase(RecordKey::Program(program)));
        if !ended {
            self.effects.push(Effect::Discard { program });
        }
        self.remove_program(program);
        if let Some(operation) = busy {
            let actual = newer;
            let failure = Failure::StaleGeneration {
                program,
                expected,
                actual,
            };
            self.abort(operation, failure);
        }
    }
}
