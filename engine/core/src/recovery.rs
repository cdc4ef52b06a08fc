//! What an engine makes of its records when it starts.
//!
//! Programs are started again as their records say; an offered one only once the target refuses it. Then
//! accepted operations go on, or turn out to be done, or are begun anew.

use wayfare_protocol::command::Action;
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::{EventBody, Outcome};
use wayfare_protocol::ids::{OperationId, ProgramId};

use super::Core;
use super::journal::Journal;
use super::programs::{Life, Process, Program};
use super::self_report::SelfReport;
use super::types::{Disposition, Effect, Identity, Now, ProgramRecord, Record, RecordKey, Standing, Verdict};
use super::verdicts::Verdicts;

impl Core {
    /// An engine with the records of its earlier life. The effects come before those of any input.
    pub fn new(identity: Identity, records: Vec<Record>, now: Now) -> (Self, Vec<Effect>) {
        let (mut operations, mut programs, mut arrivals) = (Vec::new(), Vec::new(), Vec::new());
        for record in records {
            match record {
                Record::Operation(record) => operations.push(record),
                Record::Program(record) => programs.push(record),
                Record::Arrival(record) => arrivals.push(record),
            }
        }
        let journal = Journal::restored(&identity, operations, now);
        let mut core = Self::empty(identity, journal, Verdicts::restored(arrivals), now);
        for record in programs {
            core.restore_program(record);
        }
        for operation in core.journal.open_by_age() {
            core.go_on(operation);
        }
        // The link is not up yet: statuses wait for `Connected`.
        let effects = std::mem::take(&mut core.effects);
        (core, effects)
    }

    fn restore_program(&mut self, record: ProgramRecord) {
        let program = record.program;
        if !self.verdicts.knows(record.arrived) && !self.journal.knows(record.arrived) {
            let generation = record.generation;
            self.record_verdict(record.arrived, Verdict::Adopted { generation });
        }
        let order = self.next_order();
        let life = match &record.disposition {
            Disposition::Running | Disposition::Offered { .. } => starting(Standing::Running),
            Disposition::Paused if self.is_being_resumed(program) => starting(Standing::Running),
            Disposition::Paused => starting(Standing::Paused),
            Disposition::Ended { state } => Life::Ended {
                state: state.clone(),
                order,
            },
        };
        let here = Program {
            spec: record.spec,
            generation: record.generation,
            begun: record.begun,
            saved: record.saved,
            arrived: record.arrived,
            life,
            busy: None,
            capture: None,
            waiting: None,
            memory_bytes: 0,
            checkpoint_at: None,
            stands_for_good: false,
            report: SelfReport::default(),
        };
        if !here.is_ended() {
            self.blobs.held.extend(here.spec.blobs().map(|b| b.digest));
        }
        self.blobs.held.extend(here.saved_blobs().map(|b| b.digest));
        self.programs.insert(program, here);
        match record.disposition {
            Disposition::Offered {
                operation,
                target,
                was_paused,
            } => {
                let was = if was_paused {
                    Standing::Paused
                } else {
                    Standing::Running
                };
                self.restore_offered(program, (operation, target), was);
            }
            Disposition::Running => self.start(program),
            Disposition::Paused => {
                if self.is_being_resumed(program) {
                    self.store(program);
                }
                self.start(program);
            }
            Disposition::Ended { .. } => {}
        }
    }

    /// The journal may know the verdict: it is written before the record changes.
    fn restore_offered(
        &mut self,
        program: ProgramId,
        (operation, target): (OperationId, wayfare_protocol::ids::EngineId),
        was: Standing,
    ) {
        let saved = self.programs.get(&program).and_then(|here| here.saved);
        match (self.journal.answer(operation), saved) {
            (Some(EventBody::Done { .. }), _) => {
                self.effects.push(Effect::Erase(RecordKey::Program(program)));
                self.remove_program(program);
            }
            (None, Some(saved)) => {
                if let Some(here) = self.programs.get_mut(&program) {
                    here.life = Life::Offered {
                        operation,
                        target: target.clone(),
                        was,
                        process: Process::Gone,
                    };
                }
                self.restore_offer(operation, program, target, (saved, was));
            }
            (Some(_), _) | (None, None) => self.resume_in_place(program, was, Process::Gone),
        }
    }

    /// A paused program whose resume was accepted.
    fn is_being_resumed(&self, program: ProgramId) -> bool {
        self.journal
            .commands()
            .any(|command| matches!(&command.action, Action::Resume { on, .. } if on.program == program))
    }

    pub(super) fn is_resume(&self, operation: OperationId) -> bool {
        self.journal
            .command(operation)
            .is_some_and(|command| matches!(command.action, Action::Resume { .. }))
    }

    /// Goes on with an operation that was accepted and not answered.
    fn go_on(&mut self, operation: OperationId) {
        let Some(command) = self.journal.command(operation) else {
            return;
        };
        let command = command.clone();
        let program = command.action.program();
        let here = self.programs.get(&program);
        let done = match (&command.action, here.map(|here| (&here.life, here))) {
            (Action::Spawn { .. }, _) => return self.settle_spawn(operation),
            (Action::Move { .. }, Some((Life::Offered { operation: by, .. }, _))) if *by == operation => {
                return;
            }
            (Action::Run { .. }, Some((_, here))) if here.arrived == operation => Outcome::Running {
                program,
                generation: here.generation,
            },
            (Action::Pause { .. }, Some((Life::Starting { then }, _))) if *then == Standing::Paused => {
                Outcome::Paused { program }
            }
            (Action::Resume { .. }, Some((Life::Starting { then }, _))) if *then == Standing::Running => {
                Outcome::Resumed { program }
            }
            (Action::Kill { .. }, None) => Outcome::Killed { program },
            _ => return self.begin_anew(operation),
        };
        self.finish(operation, Ok(done));
    }

    fn begin_anew(&mut self, operation: OperationId) {
        let Some(command) = self.journal.command(operation) else {
            return;
        };
        let command = command.clone();
        if self.journal.is_overtaken(operation) {
            let engine = self.identity.engine.clone();
            return self.finish(operation, Err(Failure::Interrupted { engine }));
        }
        match self.check(&command) {
            Ok(()) => self.begin(operation),
            Err(failure) => self.finish(operation, Err(failure)),
        }
    }
}

fn starting(then: Standing) -> Life {
    Life::Starting { then }
}
