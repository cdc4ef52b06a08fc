//! Pause, resume, snapshot and kill.

use wayfare_protocol::command::Target;
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::{OperationId, ProgramId};

use crate::Core;
use crate::types::{Effect, Purpose, RecordKey, Standing};

use super::{Life, Process, wrong_state};

impl Core {
    pub(crate) fn check_pause(&self, on: Target) -> Result<(), Failure> {
        let program = self.free(on, "pause")?;
        if program.is_paused() {
            return Err(wrong_state(on.program, program, "pause"));
        }
        Ok(())
    }

    pub(crate) fn check_resume(&self, on: Target, force: bool) -> Result<(), Failure> {
        let program = self.here(on)?;
        if force && matches!(program.life, Life::Offered { .. }) {
            return Ok(());
        }
        let program = self.free(on, "resume")?;
        match program.life {
            Life::Paused => Ok(()),
            _ => Err(wrong_state(on.program, program, "resume")),
        }
    }

    /// A kill is safe but for an offered program: the target may have it.
    pub(crate) fn check_kill(&self, on: Target) -> Result<(), Failure> {
        if self.run_under_way(on.program).is_some() {
            return Ok(());
        }
        match self.here(on)?.life {
            Life::Offered { operation, .. } => Err(Failure::Busy {
                program: on.program,
                operation,
            }),
            _ => Ok(()),
        }
    }

    pub(crate) fn begin_pause(&mut self, operation: OperationId, program: ProgramId) {
        self.take_program(operation, program);
        self.capture(program, Purpose::Pause(operation));
    }

    pub(crate) fn begin_snapshot(&mut self, operation: OperationId, program: ProgramId) {
        self.take_program(operation, program);
        self.capture(program, Purpose::Snapshot(operation));
    }

    /// Runs a paused program on, or takes an offered one back by force. In the latter case its generation
    /// rises far above the one that was offered: should the target have adopted it after all, its copy ends
    /// as soon as either engine hears of the other's status, and what that copy did meanwhile is lost. What
    /// it does from here on is another life: the copy may have used the numbers that would come next.
    pub(crate) fn resume(&mut self, operation: OperationId, program: ProgramId) {
        let Some(here) = self.programs.get_mut(&program) else {
            return;
        };
        match &here.life {
            Life::Paused => {
                here.life = Life::Running;
                self.store(program);
                self.unfreeze(program);
                self.finish(operation, Ok(Outcome::Resumed { program }));
            }
            Life::Offered {
                operation: departure,
                process,
                ..
            } => {
                let (departure, process) = (*departure, *process);
                here.generation = here.generation.replacing();
                here.begun = here.generation;
                here.busy = Some(operation);
                self.resume_in_place(program, Standing::Running, process);
                self.forsake(departure);
                if process == Process::Here {
                    self.release_program(operation, program);
                    self.finish(operation, Ok(Outcome::Resumed { program }));
                }
            }
            Life::Starting { .. } | Life::Running | Life::Ended { .. } => {
                let failure = wrong_state(program, here, "resume");
                self.finish(operation, Err(failure));
            }
        }
    }

    /// Ends a program and forgets it. Whatever operation had it fails.
    pub(crate) fn kill(&mut self, operation: OperationId, program: ProgramId) {
        if let Some(run) = self.run_under_way(program) {
            self.abandon_arrival(run);
            self.finish(run, Err(Failure::Cancelled));
        }
        if let Some(here) = self.programs.get(&program) {
            let ended = here.is_ended();
            let busy = here.busy;
            self.effects.push(Effect::Erase(RecordKey::Program(program)));
            if !ended {
                self.effects.push(Effect::Discard { program });
            }
            self.forget_program(program);
            if let Some(busy) = busy {
                self.abort(busy, Failure::Cancelled);
            }
        }
        self.finish(operation, Ok(Outcome::Killed { program }));
    }

    /// Gives up an operation that has not passed its point of no return.
    pub(crate) fn abort(&mut self, operation: OperationId, failure: Failure) {
        self.cancel_departure(operation);
        if let Some(command) = self.journal.command(operation) {
            let program = command.action.program();
            self.release_program(operation, program);
        }
        self.finish(operation, Err(failure));
    }
}
