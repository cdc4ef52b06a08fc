//! The statuses of the programs here and of the engine: what is in them. `statuses` knows when.

use std::collections::BTreeSet;

use wayfare_protocol::event::{EventBody, Outcome};
use wayfare_protocol::ids::{ClientId, OperationId, ProgramId};
use wayfare_protocol::limits::LISTED_BYTES_MAX;
use wayfare_protocol::status::{ProgramState, ProgramStatus};
use wayfare_protocol::wire;

use super::Core;
use super::programs::{Life, Program};
use super::types::Effect;

impl Core {
    /// Programs that are here, and those that come: whoever claims one of them has to be heard.
    pub fn concerned(&self) -> BTreeSet<ProgramId> {
        let coming = self.arrivals.values().map(|arrival| arrival.program);
        self.programs.keys().copied().chain(coming).collect()
    }

    /// The state of every program that is here.
    pub fn statuses(&self) -> Vec<ProgramStatus> {
        let sequence = self.statuses.sequence();
        let programs = self.programs.iter();
        programs
            .map(|(id, program)| self.status(*id, program, sequence))
            .collect()
    }

    /// Whether a program is here that is neither ended nor handed over to another engine.
    pub fn runs(&self, program: ProgramId) -> bool {
        let here = self.programs.get(&program);
        here.is_some_and(|here| !matches!(here.life, Life::Ended { .. } | Life::Offered { .. }))
    }

    fn status(&self, id: ProgramId, program: &Program, sequence: u64) -> ProgramStatus {
        ProgramStatus {
            program: id,
            name: program.spec.name.clone(),
            engine: self.identity.engine.clone(),
            boot: self.identity.boot,
            generation: program.generation,
            sequence,
            state: self.state(program),
            module: program.spec.module.digest,
            memory_bytes: program.memory_bytes,
            ports: program.spec.ports.clone(),
            place: None,
            health: program.report.health,
            hold: program.report.hold().map(str::to_owned),
        }
    }

    /// Stands for a program that ends for good here, where older copies of it may be left elsewhere.
    pub(super) fn tombstone(&mut self, program: ProgramId) -> Option<ProgramStatus> {
        let here = self.programs.get(&program)?;
        let status = here
            .generation
            .has_replaced()
            .then(|| self.status(program, here, 0))?;
        Some(status.into_tombstone(self.statuses.next_sequence()))
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
        if let Some(here) = self.programs.get_mut(&program)
            && here.memory_bytes != bytes
        {
            here.memory_bytes = bytes;
            self.statuses.memory_changed(program, self.now);
        }
    }

    pub(super) fn report(&mut self, operation: OperationId, client: ClientId) {
        self.publish_engine();
        let outcome = Outcome::Reported;
        let event = self
            .journal
            .event(operation, "report", None, EventBody::Done { outcome });
        self.effects.push(Effect::Reply { client, event });
    }

    /// What stands at the broker in the place of a program's status: what was published last (`stands`), or
    /// something else.
    pub(super) fn status_heard(&mut self, program: ProgramId, stands: bool) {
        let here = self.programs.get(&program);
        // One that was handed over may be another engine's by now.
        if stands || here.is_none_or(|here| matches!(here.life, Life::Offered { .. })) {
            return self.statuses.stands(program);
        }
        self.statuses.overwritten(program, self.now);
    }

    /// Publishes what has changed since this was last called.
    pub(super) fn publish_changes(&mut self) {
        for id in self.statuses.take_overwritten(self.now) {
            let sequence = self.statuses.next_sequence();
            if let Some(program) = self.programs.get(&id) {
                let status = self.status(id, program, sequence);
                self.effects.push(Effect::PublishProgram(status));
            }
        }
        let programs = self.programs.iter();
        let current = programs.map(|(id, program)| {
            let health = (program.report.health, program.report.hold().map(str::to_owned));
            (*id, (program.generation, self.state(program), health))
        });
        let Some(changed) = self.statuses.changes(current.collect(), self.now) else {
            return;
        };
        for (id, sequence) in changed {
            if let Some(program) = self.programs.get(&id) {
                let status = self.status(id, program, sequence);
                self.effects.push(Effect::PublishProgram(status));
            }
        }
        self.publish_engine();
    }

    pub(super) fn publish_engine(&mut self) {
        let sequence = self.statuses.engine();
        let programs = self.programs.values();
        let live = programs.filter(|program| !matches!(program.life, Life::Ended { .. }));
        let running = |program: &&Program| matches!(self.state(program), ProgramState::Running);
        self.effects.push(Effect::PublishEngine {
            sequence,
            statuses_after: self.statuses.before(),
            live: count(live.clone()),
            running: count(live.filter(running)),
            listed: self.listed(),
        });
    }

    /// All programs, or none where that would make a message grow with their number.
    fn listed(&self) -> Vec<ProgramStatus> {
        let mut room = LISTED_BYTES_MAX;
        let mut listed = Vec::new();
        let sequence = self.statuses.sequence();
        for (id, program) in &self.programs {
            let status = self.status(*id, program, sequence);
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
