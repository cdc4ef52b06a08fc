//! What is published about the programs here: every change of state or generation at once, memory in use now
//! and then. What always holds: the statuses of all programs are published before the first status of the
//! engine on a connection.

use std::collections::{BTreeMap, BTreeSet};

use wayfare_protocol::event::{EventBody, Outcome};
use wayfare_protocol::ids::{ClientId, Generation, OperationId, ProgramId};
use wayfare_protocol::limits::LISTED_BYTES_MAX;
use wayfare_protocol::status::{ProgramState, ProgramStatus};
use wayfare_protocol::wire;

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
    /// Programs whose memory in use has changed since.
    memory_changed: BTreeSet<ProgramId>,
}

impl Statuses {
    pub(super) fn republish(&mut self, program: ProgramId) {
        self.published.remove(&program);
    }

    fn republish_all(&mut self) {
        self.published.clear();
        self.engine_due = true;
        self.memory_due = None;
        self.memory_changed.clear();
    }

    fn republish_memory(&mut self) {
        for program in std::mem::take(&mut self.memory_changed) {
            self.republish(program);
        }
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
            self.statuses.memory_changed.insert(program);
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
            self.statuses.republish_memory();
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
        let programs = self.programs.values();
        let live = programs.filter(|program| !matches!(program.life, Life::Ended { .. }));
        let running = |program: &&Program| matches!(self.state(program), ProgramState::Running);
        self.effects.push(Effect::PublishEngine {
            sequence: self.statuses.sequence,
            live: count(live.clone()),
            running: count(live.filter(running)),
            listed: self.listed(),
        });
    }

    /// All programs, or none where that would make a message grow with their number.
    fn listed(&self) -> Vec<ProgramStatus> {
        let mut room = LISTED_BYTES_MAX;
        let mut listed = Vec::new();
        for (id, program) in &self.programs {
            let status = self.status(*id, program);
            let Some(left) = room.checked_sub(wire::to_json(&status).len() + 1) else {
                return Vec::new();
            };
            room = left;
            listed.push(status);
        }
        listed
    }
}

fn count<'a>(programs: impl Iterator<Item = &'a Program>) -> u32 {
    u32::try_from(programs.count()).unwrap_or(u32::MAX)
}
