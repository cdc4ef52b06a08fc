//! Why what is not well placed is not: the last step of a plan.

use std::collections::BTreeMap;

use super::{Seat, State};
use crate::application::Mobility;
use crate::fleet::Presence;
use crate::lack::{Lack, NoneFits};
use crate::plan::{Obstacle, Unplaced};
use crate::relations::Broken;

/// Instances that are alike have the same reasons: component, where it runs and should not, bytes, what its
/// one engine lacks.
type Alike = (u32, Option<u32>, i64, Option<Lack>);
/// Components without rules about company fail alike: class, bytes, millicores.
type Known = BTreeMap<(u32, i64, i64), NoneFits>;

impl State {
    pub(super) fn unplaced(&self) -> Vec<Unplaced> {
        let mut groups = BTreeMap::<Alike, Vec<u32>>::new();
        for instance in self.pending.iter().chain(&self.misplaced) {
            let slot = &self.instances[*instance as usize];
            let engine = match slot.seat {
                Seat::On(engine) => Some(engine),
                Seat::Nowhere | Seat::Lost(_) => None,
            };
            // Where the one engine that it may run on is lost, it waits for that.
            let home = slot.home.filter(|_| engine.is_none());
            if home.is_some_and(|home| !self.engines[home as usize].is_there()) {
                continue;
            }
            let lack = home.and_then(|home| self.lack(*instance, home));
            let alike = (slot.component, engine, slot.memory, lack);
            groups.entry(alike).or_default().push(*instance);
        }
        let mut known = Known::new();
        let groups = groups.into_iter();
        groups
            .map(|((component, engine, _, lack), instances)| {
                let part = &self.components[component as usize];
                let home = self.instances[instances[0] as usize].home;
                let why = match (lack, home) {
                    (Some(lack), Some(home)) => Obstacle::NotThere {
                        engine: self.engines[home as usize].id.clone(),
                        engines: u32::try_from(instances.len()).expect("instances are numbered in 32 bits"),
                        lack,
                    },
                    _ => self.obstacle(instances[0], engine, &mut known),
                };
                Unplaced {
                    component: part.id.clone(),
                    why,
                    ordinals: instances.iter().map(|one| part.ordinal_of(*one)).collect(),
                }
            })
            .collect()
    }

    fn obstacle(&self, instance: u32, engine: Option<u32>, known: &mut Known) -> Obstacle {
        let Some(engine) = engine else {
            return Obstacle::NoneFits(self.none_fits(instance, known));
        };
        let why = self.reason_to_leave(engine);
        let name = self.engines[engine as usize].id.clone();
        match self.part(instance).mobility {
            Mobility::Pinned | Mobility::EveryEngine => Obstacle::Pinned { engine: name, why },
            Mobility::Free => Obstacle::CannotLeave {
                engine: name,
                why,
                none: self.none_fits(instance, known),
            },
        }
    }

    fn none_fits(&self, instance: u32, known: &mut Known) -> NoneFits {
        let component = self.instances[instance as usize].component;
        let count = || {
            let engines = 0..u32::try_from(self.engines.len()).expect("engines are numbered in 32 bits");
            NoneFits::count(engines.filter_map(|engine| self.lack(instance, engine)))
        };
        if self.relations.rule(component).is_some() {
            return count();
        }
        let room = self.room_of(instance);
        let key = (self.part(instance).class, room.memory, room.processor);
        known.entry(key).or_insert_with(count).clone()
    }

    /// The first thing that the engine lacks.
    fn lack(&self, instance: u32, engine: u32) -> Option<Lack> {
        let site = &self.engines[engine as usize];
        let class = &self.classes[self.part(instance).class as usize];
        if let Err(lack) = class.check(&site.id, &site.engine) {
            return Some(lack);
        }
        match site.engine.presence {
            Presence::Open => {}
            Presence::Cordoned => return Some(Lack::Cordoned),
            Presence::Draining => return Some(Lack::Draining),
            Presence::Lost => return Some(Lack::Lost),
        }
        let room = self.room_of(instance);
        let load = site.load(&site.taken);
        if room.memory > load.memory_bytes.free().min(site.program_memory_max).max(0) {
            let bytes = room.memory.unsigned_abs();
            return Some(Lack::Memory { bytes });
        }
        if room.processor > load.processor_millicores.free().max(0) {
            let millicores = room.processor.unsigned_abs();
            return Some(Lack::Processor { millicores });
        }
        if load.programs.free() <= 0 {
            return Some(Lack::Places);
        }
        let component = self.instances[instance as usize].component;
        let broken = self.relations.admit(component, engine).err()?;
        let domain = |domain: usize| self.relations.domains[domain].clone();
        Some(match broken {
            Broken::PerEngineMax(max) => Lack::PerEngineMax { max },
            Broken::Apart(other, by) => Lack::Apart {
                from: self.components[other as usize].id.clone(),
                by: domain(by),
            },
            Broken::Spread(by) => Lack::Spread { by: domain(by) },
        })
    }
}
