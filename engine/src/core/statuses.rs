//! What the world is told about the programs here: every change of state or generation at once, memory in use now
//! and then.

use std::collections::BTreeMap;

use wayfare_protocol::event::{EventBody, Outcome};
use wayfare_protocol::ids::{ClientId, Generation, OperationId, ProgramId};
use wayfare_protocol::status::{ProgramState, ProgramStatus};

use super::Core;
use super::programs::{Life, Program};
use super::timing::MEMORY_STATUS_US;
use super::types::{Effect, Now};

#[derive(Debug, Default)]
pub(super) struct Statuses {
    sequence: u64,
    published: BTreeMap<ProgramId, (Generation, ProgramState)>,
    engine_due: bool,
    /// When memory in use is worth a status.
    pub(super) memory_due: Option<Now>,
}

impl Statuses {
    pub(super) fn republish(&mut self, program: ProgramId) {
        self.published.remove(&program);
    }

    fn republish_all(&mut self) {
        self.published.clear();
        self.engine_due = true;
        self.memory_due = None;
    }
}

impl Core {
    /// The state of every program that is here.
    pub fn statuses(&self) -> Vec<ProgramStatus> {
        self.programs
            .iter()
            .map(|(id, program)| self.status(*id, program))
            .collect()
    }

    fn status(&self, id: ProgramId, program: &Program) -> ProgramStatus {
        ProgramStatus {
            program: id,
            name: program.spec.name.clone(),
            engine: self.identity.engine.clone(),
            boot: self.identity.boot,
            generation: program.generation,
            sequence: self.statuses.sequence,
            state: self.state(program),
            module: program.spec.module.digest,
            memory_bytes: program.memory_bytes,
        }
    }

    fn state(&self, program: &Program) -> ProgramState {
        let departure = program.busy.and_then(|operation| self.departures.get(&operation));
        let moving = departure
            .filter(|departure| departure.is_move())
            .map(|departure| ProgramState::Moving {
                target: departure.target.clone(),
            });
        match &program.life {
            Life::Starting { .. } => ProgramState::Starting,
            Life::Running => moving.unwrap_or(ProgramState::Running),
            Life::Paused => moving.unwrap_or(ProgramState::Paused),
            Life::Offered { target, .. } => {
                let target = target.clone();
                if departure.is_some_and(|departure| departure.is_in_doubt()) {
                    ProgramState::InDoubt { target }
                } else {
                    ProgramState::Moving { target }
                }
            }
            Life::Ended { state, .. } => state.clone(),
        }
    }

    pub(super) fn memory_seen(&mut self, program: ProgramId, bytes: u64) {
        let due = self.now.plus(MEMORY_STATUS_US);
        if let Some(here) = self.programs.get_mut(&program)
            && here.memory_bytes != bytes
        {
            here.memory_bytes = bytes;
            self.statuses.memory_due.get_or_insert(due);
        }
    }

    pub(super) fn connected(&mut self) {
        self.statuses.republish_all();
    }

    pub(super) fn report(&mut self, operation: OperationId, client: ClientId) {
        self.publish_engine();
        let outcome = Outcome::Reported;
        let event = self.event(operation, "report", None, EventBody::Done { outcome });
        self.effects.push(Effect::Reply { client, event });
    }

    /// Publishes what has changed since this was last called.
    pub(super) fn publish_changes(&mut self) {
        if self.statuses.memory_due.is_some_and(|due| due <= self.now) {
            self.statuses.republish_all();
        }
        let current: BTreeMap<ProgramId, (Generation, ProgramState)> = self
            .programs
            .iter()
            .map(|(id, program)| (*id, (program.generation, self.state(program))))
            .collect();
        if current == self.statuses.published && !self.statuses.engine_due {
            return;
        }
        let published = std::mem::replace(&mut self.statuses.published, current);
        for (id, state) in &self.statuses.published {
            if published.get(id) == Some(state) {
                continue;
            }
            self.statuses.sequence += 1;
            if let Some(program) = self.programs.get(id) {
                let status = self.status(*id, program);
                self.effects.push(Effect::PublishProgram(status));
            }
        }
        self.publish_engine();
    }

    fn publish_engine(&mut self) {
        self.statuses.engine_due = false;
        self.statuses.sequence += 1;
        self.effects.push(Effect::PublishEngine {
            programs: self.statuses(),
            sequence: self.statuses.sequence,
        });
    }
}
