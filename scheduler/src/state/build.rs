//! From names to numbers: a [`State`] out of what the caller knows.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use wayfare_protocol::ids::EngineId;

use super::{Balance, Instance, Part, Room, Seat, Site, State, Surplus};
use crate::application::{Applications, Component, ComponentId, Mobility};
use crate::classes::{Class, Classes, Engines};
use crate::constraint::Domain;
use crate::fleet::{Capacity, Code, Engine, Fleet, NoCode, Presence, Running, Usage};
use crate::index::Index;
use crate::plan::{KillReason, Options, Seen};
use crate::policy::UNBOUNDED;
use crate::relations::{NOWHERE, Relations, Rule};

/// Each costs memory in proportion to the engines, and time whenever one of its engines changes.
const RANKED_CLASSES_MAX: usize = 16;

pub(super) fn build(fleet: &Fleet, applications: &Applications, options: Options) -> State {
    let unknown = unknown_engines(fleet, applications);
    let list: BTreeMap<&EngineId, &Engine> = fleet.engines.iter().chain(&unknown).collect();
    let list: Vec<_> = list.into_iter().collect();
    let engine_numbers = list.iter().map(|(id, _)| (*id).clone()).zip(0..).collect();
    let wanted = applications.iter().flat_map(|(application, of)| {
        let id = |component| ComponentId::new(application, component);
        of.components
            .iter()
            .map(move |(name, component)| (id(name), component))
    });
    let wanted: Vec<(ComponentId, &Component)> = wanted.collect();
    let component_numbers = wanted.iter().map(|(id, _)| id.clone()).zip(0..).collect();

    let mut classes = Classes::default();
    let by_number = Engines {
        list: &list,
        numbers: &engine_numbers,
    };
    let asked: Vec<&Component> = wanted.iter().map(|(_, component)| *component).collect();
    let mut components = Vec::with_capacity(wanted.len());
    let mut instances = Vec::new();
    for (id, component) in wanted {
        let class = classes.number(&component.constraints.requirements, &by_number);
        let part = Part::new(id, component, class, instances.len());
        let number = u32::try_from(components.len()).expect("there are fewer than 2^32 components");
        let home = |ordinal: u32| component.homes.get(&ordinal).map(|engine| engine_numbers[engine]);
        let instance = |at: u32| Instance {
            component: number,
            home: home(part.ordinal_of(part.first + at)),
            seat: Seat::Nowhere,
            seen: None,
            memory: part.memory,
        };
        instances.extend((0..part.count).map(instance));
        components.push(part);
    }
    let classes = classes.finish();
    let relations = relations(&components, &asked, &component_numbers, &list);
    let engines: Vec<Site> = list.iter().map(|(id, engine)| Site::new(id, engine)).collect();
    let pending = (0..u32::try_from(instances.len()).expect("there are fewer than 2^32 instances")).collect();
    let mut state = State {
        index: Index::new(
            options.policy.search(),
            &like_together(&engines),
            classes.len(),
            &ranked_classes(&classes, &components),
        ),
        largest: largest(&engines),
        options,
        engines,
        engine_numbers,
        components,
        component_numbers,
        instances,
        classes,
        relations,
        pending,
        misplaced: BTreeSet::new(),
        surplus: Vec::new(),
        balance: Balance::All,
    };
    state.open_engines();
    state.seat_running(&fleet.running);
    state.misplaced = state.judge_all();
    state
}

/// Engines that something is said to run on, or is to run on, and nothing else is known of.
fn unknown_engines(fleet: &Fleet, applications: &Applications) -> BTreeMap<EngineId, Engine> {
    let names = fleet.running.iter().map(|running| &running.engine);
    let components = applications.values().flat_map(|of| of.components.values());
    let homes = components.flat_map(|component| component.homes.values());
    let unknown = names
        .chain(homes)
        .filter(|name| !fleet.engines.contains_key(name));
    let lost = |name: &EngineId| Engine {
        host: name.to_string(),
        presence: Presence::Lost,
        capacity: Capacity::default(),
        other: Usage::default(),
        code: Code::None(NoCode::NotServed),
        labels: BTreeMap::new(),
        devices: BTreeSet::new(),
    };
    unknown.map(|name| (name.clone(), lost(name))).collect()
}

fn relations(
    parts: &[Part],
    wanted: &[&Component],
    numbers: &BTreeMap<ComponentId, u32>,
    engines: &[(&EngineId, &Engine)],
) -> Relations {
    let mut domains = vec![Domain::Engine, Domain::Host];
    let mut domain = |wanted: &Domain| {
        domains
            .iter()
            .position(|domain| domain == wanted)
            .unwrap_or_else(|| {
                domains.push(wanted.clone());
                domains.len() - 1
            })
    };
    let mut rules: Vec<Option<Box<Rule>>> = Vec::new();
    rules.resize_with(wanted.len(), || None);
    let mut spreads = Vec::new();
    for (number, component) in (0_u32..).zip(wanted) {
        let constraints = &component.constraints;
        for apart in &constraints.apart_from {
            // Nothing need be done to be apart from what nobody wants.
            let Some(&other) = numbers.get(&apart.from) else {
                continue;
            };
            let by = domain(&apart.by);
            for (one, from) in [(number, other), (other, number)] {
                let apart = &mut rules[one as usize].get_or_insert_default().apart;
                if !apart.contains(&(from, by)) {
                    apart.push((from, by));
                }
            }
        }
        if let Some(max) = constraints.per_engine_max {
            rules[number as usize].get_or_insert_default().per_engine_max = Some(max);
        }
        if let Some(spread) = &constraints.spread {
            spreads.push((number, domain(&spread.by), spread.skew_max));
        }
    }
    let mut zones = BTreeMap::new();
    let mut by_engine = Vec::with_capacity(domains.len() * engines.len());
    for (id, engine) in engines {
        for (number, domain) in domains.iter().enumerate() {
            let next = u32::try_from(zones.len()).expect("there are fewer than 2^32 zones");
            let value = domain.value(id, engine);
            let zone = value.map_or(NOWHERE, |value| *zones.entry((number, value)).or_insert(next));
            by_engine.push(zone);
        }
    }
    let mut relations = Relations::new(domains, by_engine, rules);
    for (component, domain, skew_max) in spreads {
        relations.spread(component, parts[component as usize].class, domain, skew_max);
    }
    relations
}

/// The broad classes with the most components.
fn ranked_classes(classes: &[Class], components: &[Part]) -> Vec<u32> {
    let mut sizes = vec![0_u32; classes.len()];
    for part in components {
        sizes[part.class as usize] += 1;
    }
    let broad = (0_u32..).zip(classes).filter(|(_, class)| class.is_searched());
    let mut broad: Vec<u32> = broad.map(|(number, _)| number).collect();
    broad.sort_by_key(|class| Reverse(sizes[*class as usize]));
    broad.truncate(RANKED_CLASSES_MAX);
    broad
}

fn like_together(engines: &[Site]) -> Vec<u32> {
    let mut order: Vec<u32> = (0_u32..).zip(engines).map(|(number, _)| number).collect();
    order.sort_by_key(|number| {
        let site = &engines[*number as usize];
        let room = &site.capacity;
        (
            room.memory,
            room.processor,
            room.programs,
            site.program_memory_max,
        )
    });
    order
}

fn largest(engines: &[Site]) -> Room {
    let most = |of: fn(&Room) -> i64| engines.iter().map(|site| of(&site.capacity)).max().unwrap_or(0);
    Room {
        memory: most(|room| room.memory),
        processor: most(|room| room.processor),
        programs: most(|room| room.programs),
    }
}

impl State {
    fn open_engines(&mut self) {
        let engines = 0..u32::try_from(self.engines.len()).expect("engines are numbered in 32 bits");
        for engine in engines.clone() {
            self.refresh(engine);
        }
        let is_open = |engine: &u32| self.engines[*engine as usize].engine.presence == Presence::Open;
        let open: Vec<u32> = engines.filter(is_open).collect();
        let contains = |class: u32, engine: u32| self.classes[class as usize].contains(engine);
        self.relations.open_all(&open, contains);
    }

    /// Of several programs for one instance the highest generation is kept, if its engine can be reached at
    /// all.
    fn seat_running(&mut self, running: &[Running]) {
        let mut running: Vec<(u32, &Running)> = running
            .iter()
            .map(|running| (self.engine_numbers[&running.engine], running))
            .collect();
        let there = |engine: u32| self.engines[engine as usize].is_there();
        running.sort_by_key(|(engine, one)| (!there(*engine), Reverse(one.generation), *engine, one.program));
        for (engine, running) in running {
            let seen = Seen {
                program: running.program,
                generation: running.generation,
            };
            let component = self.component_numbers.get(&running.instance.of);
            let part = component.map(|component| &self.components[*component as usize]);
            let number = part.and_then(|part| part.number_of(running.instance.ordinal));
            let taken = number.is_some_and(|number| self.instances[number as usize].seat != Seat::Nowhere);
            let why = match (number, taken) {
                (Some(number), false) => {
                    let instance = &mut self.instances[number as usize];
                    instance.seen = Some(seen);
                    instance.memory = instance.memory.max(bounded(running.memory_bytes));
                    if self.engines[engine as usize].is_there() {
                        self.pending.remove(&number);
                        self.enter(number, engine);
                    } else {
                        instance.seat = Seat::Lost(engine);
                    }
                    continue;
                }
                (Some(_), true) => KillReason::Superseded,
                (None, _) => KillReason::Unwanted,
            };
            self.surplus.push(Surplus {
                instance: running.instance.clone(),
                engine,
                seen: Some(seen),
                why,
            });
        }
    }
}

impl Site {
    fn new(id: &EngineId, engine: &Engine) -> Self {
        let capacity = &engine.capacity;
        let or_unbounded = |value: Option<u64>| value.map_or(UNBOUNDED, bounded);
        Self {
            id: id.clone(),
            engine: engine.clone(),
            capacity: Room {
                memory: or_unbounded(capacity.memory_bytes),
                processor: or_unbounded(capacity.processor_millicores),
                programs: or_unbounded(capacity.programs_max.map(u64::from)),
            },
            program_memory_max: or_unbounded(capacity.program_memory_bytes_max),
            taken: Room {
                memory: bounded(engine.other.resources.memory_bytes),
                processor: bounded(engine.other.resources.processor_millicores),
                programs: engine.other.programs.into(),
            },
            instances: Vec::new(),
        }
    }
}

impl Part {
    fn new(id: ComponentId, component: &Component, class: u32, first: usize) -> Self {
        let ordinals = match component.mobility {
            Mobility::EveryEngine => Some(component.homes.keys().copied().collect::<Vec<u32>>()),
            Mobility::Free | Mobility::Pinned => None,
        };
        let homes = ordinals
            .as_ref()
            .map(|ordinals| u32::try_from(ordinals.len()).expect("ordinals are numbers of 32 bits"));
        Self {
            id,
            mobility: component.mobility,
            class,
            memory: bounded(component.demand.memory_bytes),
            processor: bounded(component.demand.processor_millicores),
            first: u32::try_from(first).expect("there are fewer than 2^32 instances"),
            count: homes.unwrap_or(component.count),
            ordinals,
        }
    }
}

/// What is more than anything has is taken to be that.
fn bounded(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(UNBOUNDED).min(UNBOUNDED)
}
