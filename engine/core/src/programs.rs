//! One program that is here: its states, and the commands that stay on this engine.
//!
//! ```text
//!             Started             Captured(Pause)
//!  Starting ----------> Running ------------------> Paused
//!      |                 | ^  ^                      |  |
//!      |   Captured(Final) |  `-------- Resume ------'  | Captured(Final)
//!      |                 v | Refused                    v
//!      |               Offered <------------------------'
//!      |                 | Adopted: gone
//!      `---> Ended <-----'- by itself, from every state but Offered
//! ```
//! A program belongs to at most one operation at a time (`busy`), and has at most one capture under way.

mod commands;
mod endings;

use wayfare_protocol::command::{ProgramSpec, Target};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Blob, EngineId, Generation, OperationId, ProgramId};
use wayfare_protocol::status::ProgramState;

use super::Core;
use super::self_report::SelfReport;
use super::types::{CaptureId, Disposition, Effect, Now, ProgramRecord, Purpose, Record, Saved, Standing};

#[derive(Debug)]
pub(super) struct Program {
    pub(super) spec: ProgramSpec,
    pub(super) generation: Generation,
    /// See [`ProgramRecord::begun`].
    pub(super) begun: Generation,
    pub(super) saved: Option<Saved>,
    pub(super) arrived: OperationId,
    pub(super) life: Life,
    /// The operation that it belongs to for now.
    pub(super) busy: Option<OperationId>,
    pub(super) capture: Option<(CaptureId, Purpose)>,
    /// The capture to make when the one under way is done, or the program is up.
    pub(super) waiting: Option<Purpose>,
    pub(super) memory_bytes: u64,
    pub(super) checkpoint_at: Option<Now>,
    /// The engine ends, and the capture is asked for that the next start goes on from.
    pub(super) stands_for_good: bool,
    pub(super) report: SelfReport,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Life {
    /// `Start` was asked and has not been answered.
    Starting {
        then: Standing,
    },
    Running,
    Paused,
    /// Handed over; only the target's verdict, a higher generation or force ends this.
    Offered {
        operation: OperationId,
        target: EngineId,
        was: Standing,
        process: Process,
    },
    /// `order` tells which ended first.
    Ended {
        state: ProgramState,
        order: u64,
    },
}

/// Whether an offered program still stands by in memory, or only its snapshot is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Process {
    Here,
    Gone,
}

impl Program {
    pub(super) fn is_ended(&self) -> bool {
        matches!(self.life, Life::Ended { .. })
    }

    pub(super) fn saved_blobs(&self) -> impl Iterator<Item = Blob> + '_ {
        self.saved
            .iter()
            .flat_map(|saved| std::iter::once(saved.snapshot).chain(saved.base))
    }

    pub(super) fn is_paused(&self) -> bool {
        matches!(
            self.life,
            Life::Paused
                | Life::Starting {
                    then: Standing::Paused
                }
        )
    }

    pub(super) fn record(&self, program: ProgramId) -> ProgramRecord {
        let disposition = match &self.life {
            Life::Starting {
                then: Standing::Running,
            }
            | Life::Running => Disposition::Running,
            Life::Starting {
                then: Standing::Paused,
            }
            | Life::Paused => Disposition::Paused,
            Life::Offered {
                operation,
                target,
                was,
                process: _,
            } => Disposition::Offered {
                operation: *operation,
                target: target.clone(),
                was_paused: *was == Standing::Paused,
            },
            Life::Ended { state, order: _ } => Disposition::Ended { state: state.clone() },
        };
        ProgramRecord {
            program,
            spec: self.spec.clone(),
            generation: self.generation,
            begun: self.begun,
            saved: self.saved,
            disposition,
            arrived: self.arrived,
        }
    }

    fn state_word(&self) -> &'static str {
        match &self.life {
            Life::Starting { .. } => "starting",
            Life::Running => "running",
            Life::Paused => "paused",
            Life::Offered { .. } => "moving",
            Life::Ended { state, .. } => state.word(),
        }
    }
}

impl Core {
    /// The program a command is about.
    pub(super) fn here(&self, on: Target) -> Result<&Program, Failure> {
        let program = self
            .programs
            .get(&on.program)
            .ok_or_else(|| Failure::UnknownProgram {
                engine: self.identity.engine.clone(),
                program: on.program,
            })?;
        match on.generation {
            Some(expected) if expected != program.generation => Err(Failure::StaleGeneration {
                program: on.program,
                expected,
                actual: program.generation,
            }),
            _ => Ok(program),
        }
    }

    /// The program, if it is alive and no operation has it.
    fn free(&self, on: Target, verb: &str) -> Result<&Program, Failure> {
        let program = self.here(on)?;
        match program.busy {
            Some(operation) => Err(Failure::Busy {
                program: on.program,
                operation,
            }),
            None if program.is_ended() => Err(wrong_state(on.program, program, verb)),
            None => Ok(program),
        }
    }

    pub(super) fn check_free(&self, on: Target, verb: &str) -> Result<(), Failure> {
        self.free(on, verb).map(|_| ())
    }

    pub(super) fn store(&mut self, program: ProgramId) {
        if let Some(here) = self.programs.get(&program) {
            self.effects
                .push(Effect::Store(Record::Program(here.record(program))));
        }
    }

    pub(super) fn take_program(&mut self, operation: OperationId, program: ProgramId) {
        if let Some(here) = self.programs.get_mut(&program) {
            here.busy = Some(operation);
        }
    }

    pub(super) fn release_program(&mut self, operation: OperationId, program: ProgramId) {
        let Some(here) = self.programs.get_mut(&program) else {
            return;
        };
        if here.busy == Some(operation) {
            here.busy = None;
        }
        if here.waiting.and_then(Purpose::operation) == Some(operation) {
            here.waiting = None;
        }
        self.blobs.stale = true;
    }

    /// Puts a program that was offered back to what it was: the record first, then the process.
    pub(super) fn resume_in_place(&mut self, program: ProgramId, standing: Standing, process: Process) {
        let Some(here) = self.programs.get_mut(&program) else {
            return;
        };
        here.life = match (process, standing) {
            (Process::Here, Standing::Running) => Life::Running,
            (Process::Here, Standing::Paused) => Life::Paused,
            (Process::Gone, then) => Life::Starting { then },
        };
        self.store(program);
        match (process, standing) {
            (Process::Here, Standing::Running) => self.unfreeze(program),
            (Process::Here, Standing::Paused) => {}
            (Process::Gone, _) => self.start(program),
        }
    }

    /// Not where the engine ends: the program has been stored as it stands.
    pub(super) fn unfreeze(&mut self, program: ProgramId) {
        if let Some(here) = self.programs.get(&program).filter(|_| !self.is_stopping) {
            self.effects.push(Effect::Unfreeze {
                program,
                generation: here.generation,
                begun: here.begun,
            });
        }
    }

    /// Starts a program as its record says.
    pub(super) fn start(&mut self, program: ProgramId) {
        let Some(here) = self.programs.get(&program) else {
            return;
        };
        self.effects.push(Effect::Start {
            program,
            spec: here.spec.clone(),
            generation: here.generation,
            begun: here.begun,
            saved: here.saved,
            frozen: here.is_paused(),
            is_known: true,
            follower: None,
        });
    }

    /// Takes a program out of memory; the caller has seen to its record and process.
    pub(super) fn remove_program(&mut self, program: ProgramId) {
        if let Some(gone) = self.programs.remove(&program) {
            self.blobs.remember_module(gone.spec.module.digest);
            self.blobs.stale = true;
        }
    }
}

fn wrong_state(id: ProgramId, program: &Program, verb: &str) -> Failure {
    Failure::WrongState {
        program: id,
        state: program.state_word().into(),
        verb: verb.into(),
    }
}

fn ended_failure(program: ProgramId, state: &ProgramState) -> Failure {
    let state = match state {
        ProgramState::Exited { code } => format!("exited with code {code}"),
        ProgramState::Failed { reason } => format!("failed: {reason}"),
        other => other.word().to_owned(),
    };
    Failure::Ended { program, state }
}
