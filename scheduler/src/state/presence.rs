//! Engines come and go.

use wayfare_protocol::ids::EngineId;

use super::{Seat, State, StateError};
use crate::fleet::Presence;

impl State {
    /// The engine is not heard of any more: what ran there is to be restarted elsewhere.
    pub fn lost(&mut self, engine: &EngineId) -> Result<(), StateError> {
        self.set_presence(engine, Presence::Lost)
    }

    /// Costs time in proportion to what the engine holds, and for one that comes back, to what is not placed.
    pub fn set_presence(&mut self, engine: &EngineId, presence: Presence) -> Result<(), StateError> {
        let unknown = || StateError::UnknownEngine(engine.clone());
        let number = *self.engine_numbers.get(engine).ok_or_else(unknown)?;
        let site = &mut self.engines[number as usize];
        let before = std::mem::replace(&mut site.engine.presence, presence);
        if before == presence {
            return Ok(());
        }
        if before == Presence::Open {
            self.close_zones(number);
        }
        if before == Presence::Lost {
            self.take_back(number);
        }
        match presence {
            Presence::Open => {
                self.open_zones(number);
                self.emptier();
            }
            Presence::Cordoned => {}
            Presence::Draining => {
                let here = &self.engines[number as usize].instances;
                self.misplaced.extend(here);
            }
            Presence::Lost => self.lose(number),
        }
        self.refresh(number);
        Ok(())
    }

    fn lose(&mut self, engine: u32) {
        for instance in self.engines[engine as usize].instances.clone() {
            self.leave(instance, engine);
            self.instances[instance as usize].seat = Seat::Lost(engine);
            self.misplaced.remove(&instance);
            self.pending.insert(instance);
        }
    }

    /// What has not been restarted elsewhere meanwhile runs on.
    fn take_back(&mut self, engine: u32) {
        let lost_here = |instance: &u32| self.instances[*instance as usize].seat == Seat::Lost(engine);
        let back: Vec<u32> = self.pending.iter().copied().filter(lost_here).collect();
        for instance in back {
            self.pending.remove(&instance);
            self.enter(instance, engine);
        }
        self.misplaced.extend(self.judge_all());
    }
}
