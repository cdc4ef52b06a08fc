//! What is said of engines that are there: last wills of connections of before, and of another process that
//! has an engine's id.
//!
//! What holds: nobody who answers is lost for a will, however late and often it comes, and nothing is started
//! elsewhere for it.

use wayfare_protocol::ids::BootId;
use wayfare_protocol::status::{EngineState, EngineStatus};

use crate::happening::Happening;
use crate::time::{MS, SECOND};
use crate::world::World;

impl World {
    /// In some worlds each.
    pub(super) fn plan_presence(&mut self) {
        let engines = self.engines.len() as u64;
        if matches!(self.seed % 4, 2 | 3) {
            for _ in 0..1 + self.random.below(8) {
                let engine = self.random.below(engines) as usize;
                let at = self.base + self.random.below(70 * SECOND);
                for _ in 0..1 + self.random.below(2) {
                    self.at(at, Happening::LateWill { engine });
                }
            }
        }
        if matches!(self.seed % 9, 3 | 7) {
            let engine = self.random.below(engines) as usize;
            let at = self.base + self.random.below(55 * SECOND);
            let times = 1 + self.random.below(6) as u32;
            self.at(at, Happening::RivalConnects { engine, times });
        }
    }

    /// Of the process that is there, which is connected again since.
    pub(super) fn late_will(&mut self, engine: usize) {
        if let Some(boot) = self.boot_id(engine).filter(|_| !self.is_broker_down()) {
            self.count("late wills");
            self.will(engine, boot);
        }
    }

    /// It takes the connection, as a copy of a card does, until the engine is connected again. It has no
    /// programs here: what a copy would do with those of the card before it holds still is not simulated.
    pub(super) fn rival_connects(&mut self, engine: usize, times: u32) {
        if times > 1 {
            let again = self.now + 500 * MS + self.random.below(SECOND);
            let times = times - 1;
            self.at(again, Happening::RivalConnects { engine, times });
        }
        let Some(ours) = self.boot_id(engine).filter(|_| self.speaks(engine)) else {
            return;
        };
        self.count("rivals of engines");
        self.note(|| format!("another process takes the connection of e{engine}"));
        let rival = BootId::from_random(self.random.bytes());
        self.will(engine, ours);
        let name = self.engines[engine].name.clone();
        self.broker_has_engine(EngineStatus {
            sequence: 1,
            live_programs: Some(0),
            ..EngineStatus::new(name, rival, EngineState::Online)
        });
        let back = self.now + 20 * MS + self.random.below(SECOND);
        self.part_until(engine, back);
        self.sessions_not_heard(engine);
        self.at(back, Happening::Will { engine, boot: rival });
        self.connect(engine);
    }
}
