//! What the broker has for the acting dispatcher: engines' statuses and answers, programs' statuses, wills.
//! It retains the last of each, and hands all of them on in the order in which they came, however far the
//! dispatcher is behind.

pub(crate) mod state;

use std::collections::BTreeMap;

use wayfare_protocol::code::CodeTarget;
use wayfare_protocol::event::Event;
use wayfare_protocol::ids::{BootId, EngineId, ProgramId};
use wayfare_protocol::status::{EngineAbout, EngineState, EngineStatus, ProgramStatus};

use crate::acting::state::Acts;
use crate::happening::Happening;
use crate::time::{MS, SECOND};
use crate::world::World;

use state::Word;

/// The broker ends a connection that is silent for so long.
const KEEP_ALIVE: u64 = 15 * SECOND;

fn about(engine: &EngineId, programs_max: u32) -> EngineAbout {
    EngineAbout {
        version: "1".into(),
        platform: "x86_64-linux".into(),
        code: CodeTarget {
            architecture: "x86_64".into(),
            wasmtime: "1".into(),
            abi: "2".into(),
        },
        compiles: true,
        tells_health: true,
        signs_statuses: false,
        processors: 4,
        memory_bytes: 8 << 30,
        programs_max,
        program_memory_bytes_max: 1 << 30,
        host: engine.to_string(),
        labels: BTreeMap::new(),
        trusts: Vec::new(),
        devices: BTreeMap::new(),
    }
}

impl World {
    /// In order: what is sent later comes later, however far the dispatcher is behind.
    pub(super) fn send_word(&mut self, word: Word) {
        let most = match self.random.per_mille(self.faults.very_late / 4) {
            true => 10 * SECOND,
            false => 30 * MS,
        };
        let late = self.random.below(most);
        let now = self.now;
        let Some(acting) = self.acting.as_mut().filter(|acting| acting.up.is_some()) else {
            return;
        };
        let at = acting.retained.last_at.max(now) + late;
        acting.retained.last_at = at;
        let process = acting.processes;
        let acts = Acts::Hears(Box::new(word));
        self.at(at, Happening::Dispatcher { process, acts });
    }

    // What engines say reaches the broker while they are connected; what it retains, and tells the
    // dispatcher.

    pub(super) fn publish_engine(&mut self, index: usize, (sequence, statuses_after): (u64, u64), live: u32) {
        let Some(boot) = self.boot_id(index).filter(|_| self.speaks(index)) else {
            return;
        };
        let engine = self.engines[index].name.clone();
        let status = EngineStatus {
            sequence,
            about: Some(about(&engine, self.programs_max())),
            live_programs: Some(live),
            statuses_after: Some(statuses_after),
            ..EngineStatus::new(engine, boot, EngineState::Online)
        };
        self.broker_has_engine(status);
    }

    pub(super) fn speaks(&self, index: usize) -> bool {
        self.acting.is_some() && self.is_heard(index) && !self.is_cut_off(index)
    }

    pub(super) fn broker_has_engine(&mut self, status: EngineStatus) {
        if let Some(acting) = &mut self.acting {
            acting
                .retained
                .engines
                .insert(status.engine.clone(), status.clone());
        }
        self.send_word(Word::Engine(status));
    }

    /// What an engine says of a program, or a dispatcher of one that is no more.
    pub(super) fn publish_program(&mut self, status: &ProgramStatus) {
        if let Some(acting) = &mut self.acting {
            acting.retained.programs.insert(status.program, status.clone());
        }
        self.send_word(Word::Program(status.clone()));
        self.publish(status);
    }

    pub(super) fn clear_program(&mut self, program: ProgramId) {
        if let Some(acting) = &mut self.acting {
            acting.retained.programs.remove(&program);
        }
        self.retained.remove(&program);
        self.send_word(Word::Cleared(program));
    }

    /// An answer to an order, if the engine is connected: the order is said again otherwise.
    pub(super) fn answer_dispatcher(&mut self, event: &Event) {
        let index = self.engines.iter().position(|engine| engine.name == event.engine);
        if index.is_some_and(|index| self.speaks(index)) {
            self.send_word(Word::Answer(event.clone()));
        }
    }

    /// Its connection has ended without a word: the broker finds that out at once, or when it has been silent
    /// for long enough; before it is connected again in any case.
    pub(super) fn connection_ends(&mut self, index: usize, before: u64) {
        let Some(boot) = self.boot_id(index).filter(|_| self.acting.is_some()) else {
            return;
        };
        let late = [0, self.random.below(KEEP_ALIVE)][usize::from(self.random.per_mille(500))];
        let at = (self.now + late).min(before);
        for _ in 0..1 + u64::from(self.random.per_mille(self.faults.doubled)) {
            self.at(at, Happening::Will { engine: index, boot });
        }
    }

    pub(super) fn will(&mut self, index: usize, boot: BootId) {
        let engine = self.engines[index].name.clone();
        self.broker_has_engine(EngineStatus::new(engine, boot, EngineState::Offline));
    }
}
