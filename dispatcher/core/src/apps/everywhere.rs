//! Components that run on every engine: one instance on each that meets the component's requirements.
//!
//! Each instance has a *home*, the one engine that it may run on. A new engine gets an instance as soon as it
//! takes programs. An engine that is lost keeps its own, which waits there: it is not started elsewhere, and
//! holds up no roll-out. An engine that does not match any more, or is forgotten, has none.
//!
//! What always holds: homes are in the instances' records, so that whoever acts finds the same instance on
//! the same engine; an engine is the home of one instance of a component at most.

use std::collections::{BTreeMap, BTreeSet};

use wayfare_fleet::app::{AppSpec, ComponentSpec, INSTANCES_MAX};
use wayfare_protocol::ids::EngineId;
use wayfare_scheduler::application::{ComponentId, InstanceId};
use wayfare_scheduler::constraint::Requirements;
use wayfare_scheduler::fleet::{Engine, Presence};

use super::Core;
use super::state::{Instance, Standing, State};
use super::watched::Health;

/// The home of each instance, by ordinal.
pub(super) type Homes = BTreeMap<u32, EngineId>;

impl Core {
    /// Gives engines that have come their instances, and takes them from those that do not match any more.
    pub(super) fn settle_homes(&mut self) {
        // Homes follow from what plans follow from, and nothing follows from not having looked.
        if self.now.ms < self.plan_at_ms || !self.has_observed {
            return;
        }
        let mut settled = BTreeMap::new();
        let wanted = self.state.apps.iter();
        let wanted = wanted.filter(|(_, app)| app.standing != Standing::Removing);
        for (name, spec) in wanted.filter_map(|(name, app)| Some((name, app.spec()?))) {
            settled.extend(self.homes_of(name, spec));
        }
        let mut changed = Vec::new();
        for (of, homes) in &settled {
            for (ordinal, home) in homes {
                let id = InstanceId {
                    of: of.clone(),
                    ordinal: *ordinal,
                };
                if self.state.home(&id) != Some(home) {
                    changed.push((id, Some(home.clone())));
                }
            }
        }
        for (id, instance) in &self.state.instances {
            let is_settled = settled
                .get(&id.of)
                .is_some_and(|homes| homes.contains_key(&id.ordinal));
            if instance.home.is_some() && !is_settled {
                changed.push((id.clone(), None));
            }
        }
        for (id, home) in changed {
            self.state.instances.entry(id.clone()).or_default().home = home;
            self.store(&id);
        }
    }

    /// Of each component of an application that runs on every engine.
    pub(super) fn homes_of(&self, name: &str, spec: &AppSpec) -> BTreeMap<ComponentId, Homes> {
        let everywhere = spec
            .components
            .iter()
            .filter(|(_, wanted)| wanted.is_everywhere());
        let homes = everywhere.map(|(component, wanted)| {
            let of = ComponentId::new(name, component);
            let homes = self.homes(&of, wanted);
            (of, homes)
        });
        homes.collect()
    }

    /// What has a home keeps it while that matches; what runs on an engine that matches is at home there;
    /// then come new ones.
    fn homes(&self, of: &ComponentId, wanted: &ComponentSpec) -> Homes {
        // An engine that matches and gets no code is one on which an instance lacks something, and that is
        // said.
        let requirements = Requirements {
            code: false,
            ..wanted.constraints.requirements.clone()
        };
        let matching: BTreeMap<&EngineId, Engine> = self
            .engines
            .iter()
            .filter(|(_, watched)| watched.view.as_ref().is_some_and(|view| view.about.is_some()))
            .map(|(id, _)| (id, self.engine(id)))
            .filter(|(id, engine)| requirements.check(id, engine).is_ok())
            .collect();
        let mut homes = Homes::new();
        let mut taken = BTreeSet::new();
        let known: Vec<(u32, &Instance)> = self.state.instances_of(of).collect();
        let seat = |instance: &Instance| instance.seat().cloned();
        let is_match = |home: &EngineId| matching.contains_key(home) || self.is_unknown(home);
        for has in [|instance: &Instance| instance.home.clone(), seat] {
            for (ordinal, instance) in &known {
                let home = has(instance).filter(|home| !homes.contains_key(ordinal) && is_match(home));
                if let Some(home) = home.filter(|home| !taken.contains(home)) {
                    taken.insert(home.clone());
                    homes.insert(*ordinal, home);
                }
            }
        }
        let used: BTreeSet<u32> = known.iter().map(|(ordinal, _)| *ordinal).collect();
        let free = (0..).filter(|ordinal| !used.contains(ordinal));
        let new = matching
            .into_iter()
            .filter(|(id, engine)| engine.presence == Presence::Open && !taken.contains(*id));
        let room = (INSTANCES_MAX as usize).saturating_sub(homes.len());
        homes.extend(free.zip(new.map(|(id, _)| id.clone())).take(room));
        homes
    }

    /// Instances whose successors are to run where they ran, as far as these engines take them.
    pub(super) fn stays(&self, of: &ComponentId) -> Homes {
        let stays = self.state.instances_of(of).filter_map(|(ordinal, instance)| {
            let engine = instance.stays.as_ref().filter(|_| instance.placed.is_none())?;
            let is_open = self.engines.contains_key(engine) && self.engine(engine).presence == Presence::Open;
            is_open.then(|| (ordinal, engine.clone()))
        });
        stays.collect()
    }

    /// What does not fit where its predecessor ran may run anywhere.
    pub(super) fn stay_no_more(&mut self) {
        let homeless: Vec<InstanceId> = self.obstacles.homeless().cloned().collect();
        for id in homeless {
            let instance = self.state.instances.get_mut(&id);
            if instance.is_some_and(|instance| instance.stays.take().is_some()) {
                self.plan_at_ms = 0;
                self.store(&id);
            }
        }
    }

    /// An engine that was there, and says nothing of itself now: then it is still what it was.
    fn is_unknown(&self, engine: &EngineId) -> bool {
        let watched = self.engines.get(engine);
        watched.is_some_and(|watched| watched.view.as_ref().is_none_or(|view| view.about.is_none()))
    }

    /// It is to run on an engine that is lost, and on no other; where somebody moved it, it runs on.
    pub(super) fn is_away(&self, id: &InstanceId) -> bool {
        let Some(instance) = self.state.instances.get(id) else {
            return false;
        };
        let seat = instance.seat();
        let is_elsewhere = seat.is_some() && seat != instance.home.as_ref();
        let home = instance.home.as_ref().filter(|_| !is_elsewhere);
        home.is_some_and(|home| self.health(home) == Health::Lost)
    }

    /// It runs at home, and somebody has said that nothing is to be started there.
    pub(super) fn is_shut_in(&self, id: &InstanceId) -> bool {
        let home = self.state.home(id);
        home.is_some_and(|home| self.mark(home).is_some() || self.leaving(home).is_some())
    }

    /// The engine is forgotten, and with it what may run on no other, and what was there and is not wanted
    /// any more.
    pub(super) fn forget_homes(&mut self, engine: &EngineId) {
        let instances = self.state.instances.iter();
        let here = instances.filter(|(id, instance)| {
            let is_surplus = instance.is_on(engine) && self.state.wanted(id).is_none();
            instance.home.as_ref() == Some(engine) || is_surplus
        });
        let here: Vec<InstanceId> = here.map(|(id, _)| id.clone()).collect();
        for id in here {
            let Some(instance) = self.state.instances.get_mut(&id) else {
                continue;
            };
            instance.home = None;
            // Somebody may have moved it to another engine, where it is not wanted, and ends.
            let is_here = instance.is_on(engine);
            let program = instance.placed.as_mut().filter(|_| is_here).map(|placed| {
                placed.seat = None;
                placed.program
            });
            if let Some(program) = program {
                self.may_be_left_on(program, engine);
            }
            self.store(&id);
        }
    }
}

impl State {
    /// The one engine that an instance may run on.
    pub(super) fn home(&self, id: &InstanceId) -> Option<&EngineId> {
        self.instances.get(id)?.home.as_ref()
    }

    /// The instances of a component that are wanted, by ordinal.
    pub(super) fn ordinals(&self, of: &ComponentId, wanted: &ComponentSpec) -> Vec<u32> {
        if !wanted.is_everywhere() {
            return (0..wanted.count).collect();
        }
        let at_home = self
            .instances_of(of)
            .filter(|(_, instance)| instance.home.is_some());
        at_home.map(|(ordinal, _)| ordinal).collect()
    }

    /// Those that there are, in order.
    fn instances_of<'a>(&'a self, of: &ComponentId) -> impl Iterator<Item = (u32, &'a Instance)> + use<'a> {
        let id = |ordinal| InstanceId {
            of: of.clone(),
            ordinal,
        };
        let range = self.instances.range(id(0)..=id(u32::MAX));
        range.map(|(id, instance)| (id.ordinal, instance))
    }
}
