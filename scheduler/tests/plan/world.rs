//! Carries plans out, one action after the other, and checks at each what must hold. Knows nothing of how
//! plans are made.

use std::collections::{BTreeMap, BTreeSet};

use wayfare_protocol::ids::{EngineId, Generation, ProgramId};
use wayfare_scheduler::application::{Applications, Component, ComponentId, InstanceId};
use wayfare_scheduler::constraint::{Domain, LabelTest, Requirements};
use wayfare_scheduler::fleet::{Code, Engine, Fleet, Presence, Running};
use wayfare_scheduler::plan::{Action, Plan};

pub(crate) struct World<'a> {
    pub(crate) fleet: Fleet,
    applications: &'a Applications,
    programs: u8,
}

impl<'a> World<'a> {
    pub(crate) fn new(fleet: &Fleet, applications: &'a Applications) -> Self {
        Self {
            fleet: fleet.clone(),
            applications,
            programs: 0,
        }
    }

    pub(crate) fn component(&self, id: &ComponentId) -> Option<&'a Component> {
        self.applications
            .get(&id.application)?
            .components
            .get(&id.component)
    }

    fn presence(&self, engine: &EngineId) -> Presence {
        self.fleet
            .engines
            .get(engine)
            .map_or(Presence::Lost, |engine| engine.presence)
    }

    /// What runs on engines that can be reached.
    pub(crate) fn live(&self) -> impl Iterator<Item = &Running> {
        let running = self.fleet.running.iter();
        running.filter(|running| self.presence(&running.engine) != Presence::Lost)
    }

    pub(crate) fn carry_out(&mut self, plan: &Plan) {
        for action in &plan.actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Run { instance, engine } => {
                let known = self.fleet.running.iter().any(|one| one.instance == *instance);
                assert!(!known, "{action:?}: it is known to run or to have run");
                self.begin(instance, engine, 0, Generation::FIRST);
            }
            Action::Restart {
                instance,
                seen,
                lost,
                target,
            } => {
                assert_eq!(self.presence(lost), Presence::Lost, "{action:?}");
                assert!(!self.live().any(|one| one.instance == *instance), "{action:?}");
                let old = self.fleet.running.iter().find(|one| {
                    let seen = seen.is_none_or(|seen| seen.program == one.program);
                    one.instance == *instance && one.engine == *lost && seen
                });
                let old = old.expect("what is restarted has run").clone();
                self.begin(instance, target, old.memory_bytes, old.generation.next());
            }
            Action::Move {
                instance,
                source,
                target,
                ..
            } => {
                let found = self.fleet.running.iter();
                let found = found.filter(|one| one.instance == *instance && one.engine == *source);
                let old = found
                    .max_by_key(|one| one.generation)
                    .expect("it runs there")
                    .clone();
                assert_ne!(self.presence(source), Presence::Lost, "{action:?}");
                self.fleet.running.retain(|one| one.program != old.program);
                self.begin(instance, target, old.memory_bytes, old.generation.next());
            }
            Action::Kill { seen, engine, .. } => {
                let before = self.fleet.running.len();
                let program = seen.expect("what was observed has a program").program;
                let gone = |one: &Running| one.program == program && one.engine == *engine;
                self.fleet.running.retain(|one| !gone(one));
                assert_eq!(self.fleet.running.len() + 1, before, "{action:?}");
            }
        }
    }

    fn begin(&mut self, instance: &InstanceId, engine: &EngineId, memory_bytes: u64, generation: Generation) {
        assert_eq!(self.presence(engine), Presence::Open, "{instance} on {engine}");
        self.programs += 1;
        let mut program = [0xff; 16];
        program[0] = self.programs;
        self.fleet.running.push(Running {
            instance: instance.clone(),
            engine: engine.clone(),
            program: ProgramId::from_random(program),
            generation,
            memory_bytes,
        });
        self.check_room(instance, engine);
    }

    /// That what has just come does not ask for more than there was.
    fn check_room(&self, newcomer: &InstanceId, id: &EngineId) {
        let engine = &self.fleet.engines[id];
        let mut memory = engine.other.resources.memory_bytes;
        let mut processor = engine.other.resources.processor_millicores;
        let mut programs = engine.other.programs;
        let mut asked = (0, 0);
        for one in self.live().filter(|one| one.engine == *id) {
            let Some(component) = self.component(&one.instance.of) else {
                continue;
            };
            let needs = one.memory_bytes.max(component.demand.memory_bytes);
            memory += needs;
            processor += component.demand.processor_millicores;
            programs += 1;
            if one.instance == *newcomer {
                asked = (needs, component.demand.processor_millicores);
            }
        }
        let capacity = &engine.capacity;
        let enough = |of: Option<u64>, taken: u64| of.is_none_or(|of| taken <= of);
        assert!(
            asked.0 == 0 || enough(capacity.memory_bytes, memory),
            "{newcomer} on {id}"
        );
        assert!(
            enough(capacity.program_memory_bytes_max, asked.0),
            "{newcomer} on {id}"
        );
        assert!(
            asked.1 == 0 || enough(capacity.processor_millicores, processor),
            "{newcomer} on {id}"
        );
        assert!(
            capacity.programs_max.is_none_or(|max| programs <= max),
            "{newcomer} on {id}"
        );
    }

    /// That what is wanted runs exactly once or is said to be unplaced, and nothing else runs.
    pub(crate) fn check_wanted(&self, plan: &Plan) {
        let said = unplaced(plan);
        let mut running = BTreeSet::new();
        for one in self.live() {
            assert!(
                running.insert(one.instance.clone()),
                "{} runs twice",
                one.instance
            );
        }
        for (application, of) in self.applications {
            for (name, component) in &of.components {
                let is_lost = |home: &EngineId| self.presence(home) == Presence::Lost;
                let homes = component.homes.iter();
                let homes = homes.map(|(ordinal, home)| (*ordinal, is_lost(home)));
                for (ordinal, waits) in (0..component.count).map(|ordinal| (ordinal, false)).chain(homes) {
                    let of = ComponentId::new(application, name);
                    let instance = InstanceId { of, ordinal };
                    let runs = running.remove(&instance);
                    assert!(
                        runs || waits || said.contains(&instance),
                        "{instance} is forgotten"
                    );
                }
            }
        }
        assert!(running.is_empty(), "unwanted: {running:?}");
    }

    /// That whatever is not said to be unplaced is where it may be.
    pub(crate) fn check_constraints(&self, plan: &Plan) {
        let said = unplaced(plan);
        let well: Vec<&Running> = self.live().filter(|one| !said.contains(&one.instance)).collect();
        for one in &well {
            let component = self
                .component(&one.instance.of)
                .expect("only what is wanted runs");
            let engine = &self.fleet.engines[&one.engine];
            let constraints = &component.constraints;
            assert!(meets(&constraints.requirements, &one.engine, engine), "{one:?}");
            match component.homes.get(&one.instance.ordinal) {
                Some(home) => assert_eq!(home, &one.engine, "{one:?}"),
                None => assert_ne!(engine.presence, Presence::Draining, "{one:?}"),
            }
            let beside = well.iter().filter(|other| other.instance != one.instance);
            if let Some(max) = constraints.per_engine_max {
                let same =
                    |other: &&&Running| other.engine == one.engine && other.instance.of == one.instance.of;
                assert!(beside.clone().filter(same).count() < max as usize, "{one:?}");
            }
            for apart in &constraints.apart_from {
                let near = |other: &&&Running| {
                    let there = &self.fleet.engines[&other.engine];
                    let here = zone(&apart.by, &one.engine, engine);
                    here.is_some() && here == zone(&apart.by, &other.engine, there)
                };
                let from = |other: &&&Running| other.instance.of == apart.from;
                assert_eq!(beside.clone().filter(near).find(from), None, "{one:?}");
            }
        }
    }

    /// That instances are spread as evenly as asked for, over the zones that the component can use.
    pub(crate) fn check_spread(&self) {
        for (application, of) in self.applications {
            for (name, component) in &of.components {
                let Some(spread) = &component.constraints.spread else {
                    continue;
                };
                let id = ComponentId::new(application, name);
                let mut counts = BTreeMap::new();
                for (name, engine) in &self.fleet.engines {
                    let zone = zone(&spread.by, name, engine);
                    let usable = meets(&component.constraints.requirements, name, engine);
                    if let Some(zone) = zone.filter(|_| usable) {
                        let here = self
                            .live()
                            .filter(|one| one.engine == *name && one.instance.of == id);
                        *counts.entry(zone).or_insert(0) += here.count();
                    }
                }
                let skew = counts.values().max().unwrap_or(&0) - counts.values().min().unwrap_or(&0);
                assert!(skew <= spread.skew_max.max(1) as usize, "{id}: {counts:?}");
            }
        }
    }
}

fn unplaced(plan: &Plan) -> BTreeSet<InstanceId> {
    let instances = plan.unplaced.iter().flat_map(|unplaced| {
        let instance = |ordinal: &u32| InstanceId {
            of: unplaced.component.clone(),
            ordinal: *ordinal,
        };
        unplaced.ordinals.iter().map(instance)
    });
    instances.collect()
}

fn zone<'a>(by: &Domain, id: &'a EngineId, engine: &'a Engine) -> Option<&'a str> {
    match by {
        Domain::Engine => Some(id.as_str()),
        Domain::Host => Some(&engine.host),
        Domain::Label(key) => engine.labels.get(key).map(String::as_str),
    }
}

fn meets(wanted: &Requirements, id: &EngineId, engine: &Engine) -> bool {
    let labels = wanted.labels.iter().all(|rule| {
        let value = engine.labels.get(&rule.key);
        match &rule.test {
            LabelTest::Equals(wanted) => value.is_some_and(|value| value == wanted),
            LabelTest::Differs(unwanted) => value.is_none_or(|value| value != unwanted),
            LabelTest::In(wanted) => value.is_some_and(|value| wanted.contains(value)),
            LabelTest::Exists => value.is_some(),
        }
    });
    labels
        && (wanted.engines.is_empty() || wanted.engines.contains(id))
        && (wanted.hosts.is_empty() || wanted.hosts.contains(&engine.host))
        && wanted.devices.is_subset(&engine.devices)
        && (engine.code == Code::Own || !wanted.code)
}
