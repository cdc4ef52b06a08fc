//! Finding places for what runs nowhere.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::log::Log;
use super::{Seat, State, Surplus};
use crate::plan::{KillReason, MoveReason};

impl State {
    /// First what was lost, then what is new; of these first what few engines are right for, then what is
    /// large.
    pub(super) fn place_pending(&mut self, log: &mut Log) {
        let mut order: Vec<_> = self
            .pending
            .iter()
            .map(|one| (self.urgency(*one), *one))
            .collect();
        order.sort_unstable();
        // Where one instance found no place, its likes need not look.
        let mut failed = BTreeSet::new();
        for (_, instance) in order {
            let slot = &self.instances[instance as usize];
            let like = (slot.component, slot.memory, slot.home);
            if failed.contains(&like) {
                continue;
            }
            match self.find(instance) {
                Some(engine) => self.begin(instance, engine, log),
                None => {
                    failed.insert(like);
                }
            }
        }
    }

    fn urgency(&self, instance: u32) -> (bool, u32, Reverse<i64>) {
        let part = self.part(instance);
        let seat = self.instances[instance as usize].seat;
        let room = self.room_of(instance);
        let share = |ask: i64, of: i64| ask.saturating_mul(1000) / of.max(1);
        let memory = share(room.memory, self.largest.memory);
        let processor = share(room.processor, self.largest.processor);
        (
            seat == Seat::Nowhere,
            self.classes[part.class as usize].count,
            Reverse(memory.max(processor)),
        )
    }

    fn begin(&mut self, instance: u32, engine: u32, log: &mut Log) {
        let from = self.instances[instance as usize].seat;
        self.enter(instance, engine);
        self.pending.remove(&instance);
        self.fuller(engine);
        log.placed(instance, from, engine, MoveReason::Misplaced);
        if let Seat::Lost(lost) = from {
            // Should that engine come back, so does the old program.
            self.surplus.push(Surplus {
                instance: self.instance_id(instance),
                engine: lost,
                seen: self.instances[instance as usize].seen,
                why: KillReason::Superseded,
            });
        }
    }
}
