//! Small fleets and applications with everything that the types allow, out of order, out of date and out of
//! room.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use wayfare_protocol::ids::{EngineId, Generation, ProgramId};
use wayfare_scheduler::application::{
    Application, Applications, Component, ComponentId, InstanceId, Mobility, Resources,
};
use wayfare_scheduler::constraint::{Apart, Constraints, Domain, LabelRule, LabelTest, Requirements, Spread};
use wayfare_scheduler::fleet::{Capacity, Code, Engine, Fleet, NoCode, Presence, Running, Usage};

#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) fleet: Fleet,
    pub(crate) applications: Applications,
}

/// Components have names `c0`, `c1`, ...; those with even numbers belong to application `p`, the others to
/// `q`.
const COMPONENTS: usize = 6;

/// Also one that there is not, sometimes.
const ENGINES: usize = 9;

const UNIT: u64 = 64 << 20;

pub(crate) fn any_case() -> impl Strategy<Value = Case> {
    let engines = vec(engine(), 0..ENGINES);
    let components = vec(component(), 0..=COMPONENTS);
    let running = vec(running(), 0..24);
    (engines, components, running).prop_map(|(engines, components, running)| Case {
        fleet: fleet(engines, running),
        applications: applications(components),
    })
}

/// Nothing runs yet, and all engines take something.
pub(crate) fn fresh_case() -> impl Strategy<Value = Case> {
    any_case().prop_map(|mut case| {
        case.fleet.running.clear();
        for engine in case.fleet.engines.values_mut() {
            engine.presence = Presence::Open;
        }
        case
    })
}

pub(crate) fn engine_name(number: usize) -> EngineId {
    format!("e{number}").parse().expect("a letter and a digit")
}

pub(crate) fn component_id(number: usize) -> ComponentId {
    let application = if number.is_multiple_of(2) { "p" } else { "q" };
    ComponentId::new(application, &format!("c{number}"))
}

pub(crate) fn fleet(engines: Vec<Engine>, running: Vec<Running>) -> Fleet {
    Fleet {
        engines: engines
            .into_iter()
            .enumerate()
            .map(|(number, engine)| (engine_name(number), engine))
            .collect(),
        running,
    }
}

pub(crate) fn applications(components: Vec<Component>) -> Applications {
    let mut applications = Applications::new();
    for (number, component) in components.into_iter().enumerate() {
        let id = component_id(number);
        let application: &mut Application = applications.entry(id.application).or_default();
        application.components.insert(id.component, component);
    }
    applications
}

fn engine() -> impl Strategy<Value = Engine> {
    let presence = prop_oneof![
        6 => Just(Presence::Open),
        1 => Just(Presence::Cordoned),
        1 => Just(Presence::Draining),
        1 => Just(Presence::Lost),
    ];
    let capacity = (
        option::of((0..12_u64).prop_map(|units| units * UNIT)),
        option::of((1..4_u64).prop_map(|units| units * UNIT)),
        option::of((0..8_u64).prop_map(|quarters| quarters * 250)),
        option::of(0..8_u32),
    );
    let other = (0..3_u32, 0..3_u64, 0..300_u64);
    let zone = option::of(prop_oneof![Just("a"), Just("b"), Just("c")]);
    (
        0..3_u32,
        presence,
        capacity,
        other,
        any::<bool>(),
        zone,
        any::<bool>(),
    )
        .prop_map(|(host, presence, capacity, other, compiles, zone, led)| Engine {
            host: format!("h{host}"),
            presence,
            capacity: Capacity {
                memory_bytes: capacity.0,
                program_memory_bytes_max: capacity.1,
                processor_millicores: capacity.2,
                programs_max: capacity.3,
            },
            other: Usage {
                programs: other.0,
                resources: resources(other.1 * UNIT, other.2),
            },
            code: if compiles {
                Code::Own
            } else {
                Code::None(NoCode::NotServed)
            },
            labels: zone
                .map(|zone| ("zone".to_owned(), zone.to_owned()))
                .into_iter()
                .collect(),
            devices: led.then(|| "led".to_owned()).into_iter().collect(),
        })
}

pub(crate) fn resources(memory_bytes: u64, processor_millicores: u64) -> Resources {
    Resources {
        memory_bytes,
        processor_millicores,
    }
}

fn component() -> impl Strategy<Value = Component> {
    let mobility = prop_oneof![4 => Just(Mobility::Free), 1 => Just(Mobility::Pinned)];
    let demand = (0..4_u64, 0..4_u64).prop_map(|(units, quarters)| resources(units * UNIT, quarters * 250));
    let homes = btree_map(0..6_u32, (0..ENGINES).prop_map(engine_name), 0..4);
    let homes = option::weighted(0.15, homes);
    (0..5_u32, demand, mobility, constraints(), homes).prop_map(
        |(count, demand, mobility, constraints, homes)| match homes {
            None => Component {
                count,
                demand,
                mobility,
                constraints,
                homes: BTreeMap::new(),
            },
            Some(homes) => Component {
                count: 0,
                demand,
                mobility: Mobility::EveryEngine,
                constraints: Constraints {
                    requirements: constraints.requirements,
                    ..Constraints::default()
                },
                homes,
            },
        },
    )
}

fn constraints() -> impl Strategy<Value = Constraints> {
    let rarely = |most: usize| prop_oneof![4 => Just(0..1_usize), 1 => Just(1..most + 1)];
    let names = rarely(4).prop_flat_map(|size| btree_set((0..ENGINES).prop_map(engine_name), size));
    let hosts = rarely(2).prop_flat_map(|size| btree_set((0..3).prop_map(|host| format!("h{host}")), size));
    let labels = rarely(2).prop_flat_map(|size| btree_set(label_rule(), size));
    let apart = rarely(2).prop_flat_map(|size| btree_set(apart(), size));
    let spread = option::weighted(0.2, (domain(), 0..3_u32));
    let most = option::weighted(0.2, 0..3_u32);
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    (names, hosts, labels, apart, spread, most, flags).prop_map(
        |(engines, hosts, labels, apart_from, spread, per_engine_max, (led, compiles))| Constraints {
            requirements: Requirements {
                engines,
                hosts,
                labels,
                devices: led.then(|| "led".to_owned()).into_iter().collect(),
                code: compiles,
            },
            per_engine_max,
            apart_from,
            spread: spread.map(|(by, skew_max)| Spread { by, skew_max }),
        },
    )
}

fn label_rule() -> impl Strategy<Value = LabelRule> {
    let value = || prop_oneof![Just("a".to_owned()), Just("b".to_owned())];
    let test = prop_oneof![
        value().prop_map(LabelTest::Equals),
        value().prop_map(LabelTest::Differs),
        Just(LabelTest::In(BTreeSet::from(["a".to_owned(), "c".to_owned()]))),
        Just(LabelTest::Exists),
    ];
    test.prop_map(|test| LabelRule {
        key: "zone".to_owned(),
        test,
    })
}

fn apart() -> impl Strategy<Value = Apart> {
    (0..COMPONENTS, domain()).prop_map(|(from, by)| Apart {
        from: component_id(from),
        by,
    })
}

fn domain() -> impl Strategy<Value = Domain> {
    prop_oneof![
        Just(Domain::Engine),
        Just(Domain::Host),
        Just(Domain::Label("zone".to_owned())),
    ]
}

fn running() -> impl Strategy<Value = Running> {
    (
        0..COMPONENTS,
        0..5_u32,
        0..ENGINES,
        any::<[u8; 16]>(),
        1..4_u64,
        0..3_u64,
    )
        .prop_map(
            |(component, ordinal, engine, program, generation, units)| Running {
                instance: InstanceId {
                    of: component_id(component),
                    ordinal,
                },
                engine: engine_name(engine),
                program: ProgramId::from_random(program),
                generation: Generation(generation),
                memory_bytes: units * UNIT,
            },
        )
}

/// An engine with nothing special about it.
pub(crate) fn plain_engine(memory_bytes: u64, processor_millicores: u64) -> Engine {
    Engine {
        host: "h".to_owned(),
        presence: Presence::Open,
        capacity: Capacity {
            memory_bytes: Some(memory_bytes),
            program_memory_bytes_max: None,
            processor_millicores: Some(processor_millicores),
            programs_max: None,
        },
        other: Usage::default(),
        code: Code::Own,
        labels: BTreeMap::new(),
        devices: BTreeSet::new(),
    }
}
