//! Instances that run where they should not: on a draining engine, on one that does not meet their
//! requirements, on one that is overfull, or beside what they should be apart from.
//!
//! Where several together are too many, those first by name stay.

use std::collections::{BTreeMap, BTreeSet};

use super::log::Log;
use super::{Room, Seat, State};
use crate::application::Mobility;
use crate::fleet::Presence;
use crate::plan::MoveReason;
use crate::relations::{NOWHERE, Zone};

impl State {
    /// All that are misplaced, found by looking at everything.
    pub(super) fn judge_all(&self) -> BTreeSet<u32> {
        let mut misplaced = self.judge_company();
        misplaced.extend(self.judge_room());
        for (engine, site) in (0_u32..).zip(&self.engines) {
            let leaves = |instance: &&u32| self.must_leave(**instance, engine);
            misplaced.extend(site.instances.iter().filter(leaves));
        }
        misplaced
    }

    /// Who is too many depends on who else is there, so it is asked again when nothing else is left to do.
    /// Returns whether there is something new to try.
    pub(super) fn judge_again(&mut self) -> bool {
        if self.misplaced.is_empty() {
            return false;
        }
        let misplaced = self.judge_all();
        let changed = misplaced != self.misplaced;
        self.misplaced = misplaced;
        changed
    }

    /// Whatever else runs.
    fn must_leave(&self, instance: u32, engine: u32) -> bool {
        let class = &self.classes[self.part(instance).class as usize];
        let is_out_of_place = match self.instances[instance as usize].home {
            // It has nowhere else to go: an engine is emptied of all but these.
            Some(home) => home != engine,
            None => self.engines[engine as usize].engine.presence == Presence::Draining,
        };
        is_out_of_place || !class.contains(engine) || self.exceeds_program_max(instance, engine)
    }

    fn exceeds_program_max(&self, instance: u32, engine: u32) -> bool {
        self.instances[instance as usize].memory > self.engines[engine as usize].program_memory_max
    }

    /// On overfull engines, those that do not fit when seated in order, but for those that can be nowhere
    /// else: these come first.
    fn judge_room(&self) -> Vec<u32> {
        let mut misplaced = Vec::new();
        for site in &self.engines {
            let mut free = site.capacity.minus(&site.taken);
            if !free.is_overdrawn() {
                continue;
            }
            let (at_home, others): (Vec<u32>, Vec<u32>) = site
                .instances
                .iter()
                .partition(|instance| self.instances[**instance as usize].home.is_some());
            let seated = at_home.iter().chain(&others);
            let rooms = seated.clone().map(|instance| self.room_of(*instance));
            free = rooms.clone().fold(free, |free, room| free.plus(&room));
            for (instance, room) in seated.zip(rooms) {
                if free.covers(&room) {
                    free = free.minus(&room);
                } else {
                    misplaced.push(*instance);
                }
            }
        }
        misplaced
    }

    /// Those that break a rule about company when seated in order.
    fn judge_company(&self) -> BTreeSet<u32> {
        let mut misplaced = BTreeSet::new();
        let mut kept = BTreeMap::<(u32, Zone), u32>::new();
        for (component, part) in (0_u32..).zip(&self.components) {
            let Some(rule) = self.relations.rule(component) else {
                continue;
            };
            for instance in part.first..part.first + part.count {
                let Seat::On(engine) = self.instances[instance as usize].seat else {
                    continue;
                };
                let zones = self.relations.zones(engine);
                let count = |of: u32, zone: Zone| kept.get(&(of, zone)).copied().unwrap_or(0);
                let full = rule
                    .per_engine_max
                    .is_some_and(|max| count(component, zones[0]) >= max);
                let beside = |(other, domain): &(u32, usize)| {
                    zones[*domain] != NOWHERE && count(*other, zones[*domain]) > 0
                };
                if full || rule.apart.iter().any(beside) {
                    misplaced.insert(instance);
                    continue;
                }
                for zone in zones {
                    *kept.entry((component, *zone)).or_default() += 1;
                }
            }
        }
        misplaced
    }

    /// Moves what can be moved; the rest stays, and stays misplaced.
    pub(super) fn leave_misplaced(&mut self, log: &mut Log) {
        let misplaced: Vec<u32> = self.misplaced.iter().copied().collect();
        for instance in misplaced {
            let Seat::On(source) = self.instances[instance as usize].seat else {
                self.misplaced.remove(&instance);
                continue;
            };
            if self.may_stay(instance, source) {
                self.misplaced.remove(&instance);
                continue;
            }
            // What somebody moved away from the one engine that it may run on goes home.
            let is_home = self.instances[instance as usize].home == Some(source);
            if self.part(instance).mobility == Mobility::Pinned || is_home {
                continue;
            }
            self.leave(instance, source);
            let Some(target) = self.find(instance) else {
                self.enter(instance, source);
                continue;
            };
            self.enter(instance, target);
            self.misplaced.remove(&instance);
            self.fuller(target);
            self.emptier();
            log.placed(instance, Seat::On(source), target, self.reason_to_leave(source));
        }
    }

    /// Whether all is well with it where it is, everything there counted.
    pub(super) fn may_stay(&self, instance: u32, engine: u32) -> bool {
        let site = &self.engines[engine as usize];
        let room = self.room_of(instance);
        let without = site.capacity.minus(&site.taken).plus(&room);
        !self.must_leave(instance, engine)
            && without.covers(&room)
            && self
                .relations
                .tolerates(self.instances[instance as usize].component, engine)
    }

    pub(super) fn reason_to_leave(&self, engine: u32) -> MoveReason {
        match self.engines[engine as usize].engine.presence {
            Presence::Draining => MoveReason::Drain,
            Presence::Open | Presence::Cordoned | Presence::Lost => MoveReason::Misplaced,
        }
    }
}

impl Room {
    /// Whether more is taken than there is of something.
    pub(super) fn is_overdrawn(&self) -> bool {
        self.memory < 0 || self.processor < 0 || self.programs < 0
    }
}
