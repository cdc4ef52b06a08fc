//! The fleet and what is wanted of it, kept ready for planning.
//!
//! Building one costs time in proportion to engines and instances. Planning from one that was planned before
//! costs time in proportion to what has changed: instances that are well where they are are not looked at.

mod balance;
mod build;
mod diagnosis;
mod log;
mod misplaced;
mod pending;
mod presence;
mod seating;

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;
use wayfare_protocol::ids::EngineId;

use crate::application::{Applications, ComponentId, InstanceId, Mobility};
use crate::classes::Class;
use crate::fleet::{Engine, Fleet};
use crate::index::Index;
use crate::plan::{Action, KillReason, Options, Plan, Seen};
use crate::relations::Relations;
use log::Log;

#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum StateError {
    #[error("there is no engine {0}")]
    UnknownEngine(EngineId),
    #[error("no application asks for instance {0}")]
    UnknownInstance(InstanceId),
}

/// Engines, components and instances are numbered in the order of their names, so that the order of numbers
/// is the order of names wherever it reaches a plan.
#[derive(Debug)]
pub struct State {
    options: Options,
    engines: Vec<Site>,
    engine_numbers: BTreeMap<EngineId, u32>,
    components: Vec<Part>,
    component_numbers: BTreeMap<ComponentId, u32>,
    instances: Vec<Instance>,
    classes: Vec<Class>,
    relations: Relations,
    index: Index,
    /// Instances that run nowhere.
    pending: BTreeSet<u32>,
    /// Instances that run where they should not.
    misplaced: BTreeSet<u32>,
    surplus: Vec<Surplus>,
    /// The most that any engine has.
    largest: Room,
    balance: Balance,
}

/// An engine.
#[derive(Debug)]
struct Site {
    id: EngineId,
    engine: Engine,
    capacity: Room,
    program_memory_max: i64,
    taken: Room,
    /// In order.
    instances: Vec<u32>,
}

/// A component.
#[derive(Debug)]
struct Part {
    id: ComponentId,
    mobility: Mobility,
    class: u32,
    memory: i64,
    processor: i64,
    /// The number of its first instance; the others follow.
    first: u32,
    count: u32,
    /// The ordinals of its instances, where those are not 0, 1, 2 and so on.
    ordinals: Option<Vec<u32>>,
}

#[derive(Debug)]
struct Instance {
    component: u32,
    /// The only engine that it may run on, of a component that runs on every engine.
    home: Option<u32>,
    seat: Seat,
    seen: Option<Seen>,
    /// Bytes to be kept for it.
    memory: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seat {
    Nowhere,
    On(u32),
    /// Where it was when that engine was lost.
    Lost(u32),
}

/// A program to be killed as soon as its engine can be reached.
#[derive(Debug)]
struct Surplus {
    instance: InstanceId,
    engine: u32,
    seen: Option<Seen>,
    why: KillReason,
}

/// Bytes, millicores and programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Room {
    memory: i64,
    processor: i64,
    programs: i64,
}

/// Which engines could be worth relieving. An engine that was looked at in vain need not be looked at again
/// before it gets fuller itself or another gets emptier.
#[derive(Debug)]
enum Balance {
    All,
    Only(BTreeSet<u32>),
}

/// Each round that is not the last has found something to do; this only bounds what a mistake could cost.
const ROUNDS_MAX: u32 = 1000;

impl State {
    /// All that is known; costs time in proportion to it.
    pub fn new(fleet: &Fleet, applications: &Applications, options: Options) -> Self {
        build::build(fleet, applications, options)
    }

    /// What is to be done. The state is from now on as if it had been done; where that proves wrong, build
    /// anew.
    pub fn plan(&mut self) -> Plan {
        let mut log = Log::default();
        let mut actions = self.kill_surplus();
        for _ in 0..ROUNDS_MAX {
            let before = log.changes();
            self.place_pending(&mut log);
            self.leave_misplaced(&mut log);
            self.rebalance(&mut log);
            if log.changes() == before && !self.judge_again() {
                break;
            }
        }
        actions.extend(self.actions(log));
        Plan {
            actions,
            unplaced: self.unplaced(),
        }
    }

    /// Says which program an instance is, for the actions of later plans.
    pub fn seen(&mut self, instance: &InstanceId, seen: Seen) -> Result<(), StateError> {
        let unknown = || StateError::UnknownInstance(instance.clone());
        let component = self.component_numbers.get(&instance.of).ok_or_else(unknown)?;
        let part = &self.components[*component as usize];
        let number = part.number_of(instance.ordinal).ok_or_else(unknown)?;
        self.instances[number as usize].seen = Some(seen);
        Ok(())
    }

    /// What cannot be reached yet is kept for when it can.
    fn kill_surplus(&mut self) -> Vec<Action> {
        let (now, later) = std::mem::take(&mut self.surplus)
            .into_iter()
            .partition(|surplus| self.engines[surplus.engine as usize].is_there());
        self.surplus = later;
        let kill = |surplus: Surplus| Action::Kill {
            engine: self.engines[surplus.engine as usize].id.clone(),
            instance: surplus.instance,
            seen: surplus.seen,
            why: surplus.why,
        };
        Vec::into_iter(now).map(kill).collect()
    }

    fn instance_id(&self, instance: u32) -> InstanceId {
        let part = self.part(instance);
        InstanceId {
            of: part.id.clone(),
            ordinal: part.ordinal_of(instance),
        }
    }

    fn part(&self, instance: u32) -> &Part {
        &self.components[self.instances[instance as usize].component as usize]
    }
}

impl Part {
    /// The number of the instance with this ordinal, if one is wanted.
    fn number_of(&self, ordinal: u32) -> Option<u32> {
        let at = match &self.ordinals {
            None => (ordinal < self.count).then_some(ordinal),
            Some(ordinals) => ordinals
                .binary_search(&ordinal)
                .ok()
                .and_then(|at| u32::try_from(at).ok()),
        };
        at.map(|at| self.first + at)
    }

    fn ordinal_of(&self, instance: u32) -> u32 {
        let at = instance - self.first;
        self.ordinals
            .as_ref()
            .map_or(at, |ordinals| ordinals[at as usize])
    }
}
