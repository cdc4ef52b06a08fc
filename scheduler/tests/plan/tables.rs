//! Cases that people can check by eye: what is there, what is wanted, what is done and said.

use std::collections::{BTreeMap, BTreeSet};

use wayfare_protocol::ids::{Generation, ProgramId};
use wayfare_scheduler::application::{Component, InstanceId, Mobility};
use wayfare_scheduler::constraint::{Constraints, Requirements};
use wayfare_scheduler::fleet::{Engine, Fleet, Presence, Running};
use wayfare_scheduler::plan;
use wayfare_scheduler::plan::{Action, KillReason, MoveReason, Options};
use wayfare_scheduler::policy::Policy;
use wayfare_scheduler::state::{State, StateError};

use crate::cases::{applications, component_id, engine_name, fleet, plain_engine, resources};

const MIB: u64 = 1 << 20;

fn component(count: u32, mebibytes: u64) -> Component {
    Component {
        count,
        demand: resources(mebibytes * MIB, 100),
        ..Component::default()
    }
}

fn on_engine(ordinal: u32, engine: usize, generation: u64) -> Running {
    Running {
        instance: InstanceId {
            of: component_id(0),
            ordinal,
        },
        engine: engine_name(engine),
        program: ProgramId::from_random([ordinal as u8 * 16 + generation as u8; 16]),
        generation: Generation(generation),
        memory_bytes: 0,
    }
}

fn engines(presences: &[Presence]) -> Vec<Engine> {
    let engine = |presence: &Presence| Engine {
        presence: *presence,
        ..plain_engine(256 * MIB, 4000)
    };
    presences.iter().map(engine).collect()
}

/// One line for each action.
fn lines(fleet: &Fleet, component: Component, policy: Policy) -> Vec<String> {
    let plan = plan(fleet, &applications(vec![component]), Options::new(policy));
    let actions = plan.actions.iter().map(line);
    actions
        .chain(plan.unplaced.iter().map(ToString::to_string))
        .collect()
}

fn line(action: &Action) -> String {
    match action {
        Action::Run { instance, engine } => format!("run {instance} on {engine}"),
        Action::Restart {
            instance,
            lost,
            target,
            ..
        } => format!("restart {instance} of {lost} on {target}"),
        Action::Move {
            instance,
            source,
            target,
            why,
            ..
        } => {
            let why = match why {
                MoveReason::Drain => "drain".to_owned(),
                MoveReason::Misplaced => "misplaced".to_owned(),
                MoveReason::Rebalance { gain } => format!("gain {gain}"),
            };
            format!("move {instance} from {source} to {target}: {why}")
        }
        Action::Kill {
            instance,
            engine,
            why,
            ..
        } => {
            let why = match why {
                KillReason::Unwanted => "unwanted",
                KillReason::Superseded => "superseded",
            };
            format!("kill {instance} on {engine}: {why}")
        }
    }
}

#[test]
fn each_presence_has_its_consequence() {
    use Presence::{Cordoned, Draining, Lost, Open};
    type Case = (Presence, &'static [&'static str]);
    let cases: [Case; 4] = [
        (Open, &[]),
        (Cordoned, &[]),
        (Draining, &["move p/c0/0 from e0 to e1: drain"]),
        (Lost, &["restart p/c0/0 of e0 on e1"]),
    ];
    for (presence, does) in cases {
        let fleet = fleet(engines(&[presence, Open]), vec![on_engine(0, 0, 1)]);
        assert_eq!(
            lines(&fleet, component(1, 64), Policy::Spread),
            does,
            "{presence:?}"
        );
    }
}

#[test]
fn surplus_is_killed_and_the_highest_generation_kept() {
    let running = vec![on_engine(0, 0, 1), on_engine(0, 1, 2), on_engine(7, 1, 1)];
    let fleet = fleet(engines(&[Presence::Open; 2]), running);
    let does = ["kill p/c0/0 on e0: superseded", "kill p/c0/7 on e1: unwanted"];
    assert_eq!(lines(&fleet, component(1, 64), Policy::FirstFit), does);
}

#[test]
fn balance_is_bought_only_for_more_than_it_costs() {
    let running = |count: u32| (0..count).map(|ordinal| on_engine(ordinal, 0, 1)).collect();
    for (count, moved) in [(2, 0), (3, 0), (4, 1), (8, 3)] {
        let mut engines = engines(&[Presence::Open; 2]);
        engines[0].capacity.memory_bytes = None;
        let fleet = fleet(engines, running(count));
        let does = lines(&fleet, component(count, 16), Policy::Spread);
        assert_eq!(does.len(), moved, "{does:?}");
        assert_eq!(lines(&fleet, component(count, 16), Policy::LeastMoves).len(), 0);
    }
}

#[test]
fn what_is_pinned_stays_and_is_named() {
    let fleet = fleet(
        engines(&[Presence::Draining, Presence::Open]),
        vec![on_engine(0, 0, 1)],
    );
    let pinned = Component {
        mobility: Mobility::Pinned,
        ..component(1, 64)
    };
    let says = ["p/c0/0: should leave engine e0, which is draining, but is pinned"];
    assert_eq!(lines(&fleet, pinned, Policy::Spread), says);
}

/// Ordinals need not follow each other: engines come and go.
fn on_every_engine(homes: &[(u32, usize)]) -> Component {
    Component {
        mobility: Mobility::EveryEngine,
        homes: homes
            .iter()
            .map(|(ordinal, engine)| (*ordinal, engine_name(*engine)))
            .collect(),
        ..component(0, 64)
    }
}

#[test]
fn what_is_to_be_on_every_engine_is_on_its_own_and_nowhere_else() {
    use Presence::{Cordoned, Draining, Lost, Open};
    type Case = (&'static [Presence], Vec<Running>, &'static [&'static str]);
    let cases: [Case; 6] = [
        (
            &[Open; 3],
            vec![],
            &["run p/c0/0 on e0", "run p/c0/3 on e1", "run p/c0/4 on e2"],
        ),
        // One that runs elsewhere goes home; one that nobody wants any more ends.
        (
            &[Open; 3],
            vec![on_engine(0, 1, 1), on_engine(1, 1, 1), on_engine(3, 1, 1)],
            &[
                "kill p/c0/1 on e1: unwanted",
                "run p/c0/4 on e2",
                "move p/c0/0 from e1 to e0: misplaced",
            ],
        ),
        // An engine that is emptied keeps it, and where its engine is lost it waits for that: nothing is said
        // of it.
        (
            &[Draining, Lost, Open],
            vec![on_engine(0, 0, 1), on_engine(3, 1, 1), on_engine(4, 2, 1)],
            &[],
        ),
        (&[Lost, Lost, Lost], vec![on_engine(0, 0, 1)], &[]),
        (
            &[Cordoned, Cordoned, Open],
            vec![on_engine(4, 2, 1)],
            &["p/c0, 2 instances: engine e0 and 1 more are cordoned"],
        ),
        (
            &[Cordoned, Open, Open],
            vec![on_engine(3, 1, 1), on_engine(4, 2, 1)],
            &["p/c0/0: engine e0 is cordoned"],
        ),
    ];
    for (presences, running, expected) in cases {
        let wanted = || on_every_engine(&[(0, 0), (3, 1), (4, 2)]);
        let fleet = fleet(engines(presences), running);
        for policy in Policy::ALL {
            assert_eq!(
                lines(&fleet, wanted(), policy),
                expected,
                "{policy:?} {presences:?}"
            );
        }
    }
}

#[test]
fn what_can_be_nowhere_else_stays_on_an_overfull_engine_before_what_can() {
    let mut small = plain_engine(64 * MIB, 4000);
    small.capacity.programs_max = Some(1);
    let running = |component: usize, engine| Running {
        instance: InstanceId {
            of: component_id(component),
            ordinal: 0,
        },
        ..on_engine(0, engine, 1)
    };
    let fleet = fleet(
        vec![small, plain_engine(256 * MIB, 4000)],
        vec![running(0, 0), running(1, 0)],
    );
    let wanted = applications(vec![component(1, 16), on_every_engine(&[(0, 0)])]);
    let plan = plan(&fleet, &wanted, Options::new(Policy::Spread));
    let does: Vec<String> = plan.actions.iter().map(line).collect();
    assert_eq!(does, ["move p/c0/0 from e0 to e1: misplaced"]);
    assert_eq!(plan.unplaced, []);
}

#[test]
fn what_is_unplaced_says_why() {
    let mut engines = engines(&[Presence::Open; 3]);
    engines[0].devices = BTreeSet::from(["led".to_owned()]);
    engines[1].devices = BTreeSet::from(["led".to_owned()]);
    let wants_led = Component {
        constraints: Constraints {
            requirements: Requirements {
                devices: BTreeSet::from(["led".to_owned()]),
                ..Requirements::default()
            },
            ..Constraints::default()
        },
        ..component(2, 257)
    };
    let says = ["p/c0, 2 instances: 0 of 3 engines fit: 2 lack 257 MiB, 1 lacks device 'led'"];
    assert_eq!(lines(&fleet(engines, vec![]), wants_led, Policy::BestFit), says);
    let says = ["p/c0/0: there are no engines"];
    assert_eq!(lines(&Fleet::default(), component(1, 1), Policy::Spread), says);
}

#[test]
fn an_engine_that_comes_back_loses_what_was_restarted() {
    let fleet = fleet(engines(&[Presence::Open; 2]), vec![on_engine(0, 0, 1)]);
    let mut state = State::new(
        &fleet,
        &applications(vec![component(1, 64)]),
        Options::new(Policy::Spread),
    );
    let does = |state: &mut State| state.plan().actions.iter().map(line).collect::<Vec<_>>();
    assert_eq!(does(&mut state), [""; 0]);
    state.lost(&engine_name(0)).unwrap();
    // Not planned in between: it runs on where it was.
    state.set_presence(&engine_name(0), Presence::Open).unwrap();
    assert_eq!(does(&mut state), [""; 0]);
    state.lost(&engine_name(0)).unwrap();
    assert_eq!(does(&mut state), ["restart p/c0/0 of e0 on e1"]);
    state.set_presence(&engine_name(0), Presence::Open).unwrap();
    assert_eq!(does(&mut state), ["kill p/c0/0 on e0: superseded"]);
    assert_eq!(
        state.lost(&engine_name(9)),
        Err(StateError::UnknownEngine(engine_name(9)))
    );
}

#[test]
fn plans_can_be_written_down() {
    let fleet = fleet(
        engines(&[Presence::Lost, Presence::Open]),
        vec![on_engine(0, 0, 1)],
    );
    let wanted = applications(vec![component(9, 64)]);
    let plan = plan(&fleet, &wanted, Options::new(Policy::Spread));
    let written: BTreeMap<&str, String> = BTreeMap::from([
        ("fleet", serde_json::to_string(&fleet).unwrap()),
        ("plan", serde_json::to_string(&plan).unwrap()),
    ]);
    assert_eq!(serde_json::from_str::<Fleet>(&written["fleet"]).unwrap(), fleet);
    assert_eq!(
        serde_json::from_str::<plan::Plan>(&written["plan"]).unwrap(),
        plan
    );
}
