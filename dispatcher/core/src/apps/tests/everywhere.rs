//! Components with an instance on every engine that matches.

use wayfare_fleet::app::ComponentSpec;
use wayfare_fleet::app::ask::Ask;
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::labels::Labels;
use wayfare_scheduler::application::Mobility;
use wayfare_scheduler::constraint::{LabelRule, LabelTest};

use super::module;
use super::world::{Hears, Host, Said, World, app, component};

fn everywhere(name: &str) -> ComponentSpec {
    let mut component = component(0, name);
    component.mobility = Mobility::EveryEngine;
    component
}

/// Where programs of a module run, in order.
fn engines_of(world: &World, name: &str) -> Vec<String> {
    let alive = world.alive().into_iter();
    let of = alive.filter(|(.., copy)| copy.module == module(name));
    of.map(|(engine, ..)| engine.to_string()).collect()
}

fn program_on(world: &World, engine: &str, name: &str) -> ProgramId {
    let alive = world.alive().into_iter();
    let mut here = alive.filter(|(on, _, copy)| on.as_str() == engine && copy.module == module(name));
    here.next().unwrap().1
}

fn sensor() -> Labels {
    Labels::from([("sensor".to_owned(), "yes".to_owned())])
}

/// An engine that was not there before.
fn join(world: &mut World, engine: &str) {
    world.hosts.insert(engine.parse().unwrap(), Host::default());
    let host = world.host(engine);
    (host.online, host.answers) = (true, true);
}

#[test]
fn every_engine_that_matches_has_one_also_if_it_comes_later() {
    let mut world = World::new(&["a", "b", "c"]);
    world.host("a").labels = sensor();
    world.host("c").labels = sensor();
    world.look();
    let mut collect = everywhere("collect");
    collect.constraints.requirements.labels.insert(LabelRule {
        key: "sensor".into(),
        test: LabelTest::Exists,
    });
    let spec = app(&[("collect", collect), ("web", component(2, "web"))]);
    let plan = world.ask(Ask::Plan { spec: spec.clone() }).unwrap();
    let lines = plan["actions"].as_array().unwrap();
    for line in ["run shop/collect/0 on a", "run shop/collect/1 on c"] {
        assert!(lines.iter().any(|known| known == line), "{line}: {plan}");
    }
    assert!(
        plan["changes"]
            .to_string()
            .contains("+ collect: an instance on every engine that matches of module"),
        "{plan}"
    );
    world.apply(spec);
    world.pass(5_000);
    assert_eq!(engines_of(&world, "collect"), ["a", "c"], "{:?}", world.told);
    let first = [
        program_on(&world, "a", "collect"),
        program_on(&world, "c", "collect"),
    ];

    join(&mut world, "d");
    world.host("d").labels = sensor();
    world.pass(2_000);
    assert_eq!(engines_of(&world, "collect"), ["a", "c", "d"], "{:?}", world.told);
    // It matches no more; the others are as they were, and what comes next may have its number.
    world.host("a").labels = Labels::default();
    world.host("b").labels = sensor();
    world.pass(5_000);
    assert_eq!(engines_of(&world, "collect"), ["b", "c", "d"], "{:?}", world.told);
    assert!(world.alive().iter().any(|(_, program, _)| *program == first[1]));
    assert!(!world.alive().iter().any(|(_, program, _)| *program == first[0]));
    // Whoever acts next finds the same.
    world.succeed();
    let begun = world.begun.len();
    world.pass(30_000);
    assert_eq!(world.begun.len(), begun, "{:?}", world.told);
}

#[test]
fn one_whose_engine_is_lost_waits_for_it_and_holds_up_no_update() {
    let mut world = World::new(&["a", "b", "c"]);
    world.apply(app(&[("collect", everywhere("one"))]));
    world.pass(10_000);
    let there = program_on(&world, "c", "one");
    world.host("c").online = false;
    world.pass(40_000);
    assert_eq!(engines_of(&world, "one"), ["a", "b"], "{:?}", world.told);
    let status = world.status();
    assert_eq!(status.unplaced, Vec::<String>::new());
    let away: Vec<(&str, bool)> = status
        .instances
        .iter()
        .map(|one| (one.state.as_str(), one.away))
        .collect();
    assert_eq!(
        away,
        [("running", false), ("running", false), ("engine lost", true)]
    );

    world.apply(app(&[("collect", everywhere("two"))]));
    world.pass(30_000);
    assert_eq!(engines_of(&world, "two"), ["a", "b"], "{:?}", world.told);
    assert_eq!(world.status().state, "running");
    let text = &world
        .told
        .iter()
        .find(|(kind, _)| kind == "rolled-out")
        .unwrap()
        .1;
    assert!(
        text.ends_with("but for 1 instance whose engine is lost"),
        "{text}"
    );
    // Back, it is brought up to date there.
    assert!(world.host("c").programs.contains_key(&there));
    world.heal("c", Hears::Never);
    world.pass(20_000);
    assert_eq!(engines_of(&world, "two"), ["a", "b", "c"], "{:?}", world.told);
    assert_eq!(world.was_told("rolled-back"), 0);
}

#[test]
fn an_engine_that_is_emptied_keeps_its_own_and_a_cordoned_one_gets_none() {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[
        ("collect", everywhere("collect")),
        ("web", component(2, "web")),
    ]));
    world.pass(5_000);
    let engine: wayfare_protocol::ids::EngineId = "a".parse().unwrap();
    world
        .ask(Ask::Drain {
            engine: engine.clone(),
        })
        .unwrap();
    world.pass(5_000);
    assert_eq!(engines_of(&world, "collect"), ["a", "b"], "{:?}", world.told);
    assert_eq!(engines_of(&world, "web"), ["b", "b"]);
    let left = world
        .ask(Ask::Left {
            engine: engine.clone(),
        })
        .unwrap();
    assert_eq!(left["instances"], serde_json::json!([]), "{left}");
    // One that is about to stop waits for nothing that cannot go.
    let request = wayfare_protocol::ids::OperationId::from_bytes([7; 16]);
    world.say("a", Said::Leaving(request));
    world.pass(2_000);
    assert_eq!(world.left.last(), Some(&(request, 0)));

    join(&mut world, "c");
    world.pass(1_000);
    assert_eq!(engines_of(&world, "collect"), ["a", "b", "c"]);
    world.say("a", Said::Online);
    world.ask(Ask::Cordon { engine }).unwrap();
    world.pass(1_000);
    world.host("a").programs.clear();
    world.pass(10_000);
    assert_eq!(engines_of(&world, "collect"), ["b", "c"], "{:?}", world.told);
    let why = world.status().unplaced.join("\n");
    assert!(why.contains("shop/collect/0: engine a is cordoned"), "{why}");
}

#[test]
fn an_engine_that_is_forgotten_and_an_application_that_is_removed_leave_nothing_behind() {
    let mut world = World::new(&["a", "b", "c"]);
    world.apply(app(&[("collect", everywhere("collect"))]));
    world.pass(5_000);
    for engine in ["b", "c"] {
        world.host(engine).online = false;
    }
    world.pass(40_000);
    let engine = "c".parse().unwrap();
    let gone = world.hosts.remove(&engine).unwrap();
    world.look();
    world.ask(Ask::Forget { engine }).unwrap();
    world.pass(5_000);
    assert_eq!(world.status().instances.len(), 2, "{:?}", world.told);
    let application = "shop".to_owned();
    world.ask(Ask::Remove { application }).unwrap();
    world.pass(5_000);
    assert_eq!(world.was_told("removed"), 1, "{:?}", world.told);
    // What comes back after all is ended there.
    world.hosts.insert("c".parse().unwrap(), gone);
    for engine in ["b", "c"] {
        world.heal(engine, Hears::Never);
    }
    world.pass(10_000);
    assert_eq!(world.alive().len(), 0, "{:?}", world.told);
}

#[test]
fn a_component_becomes_one_on_every_engine_without_ending_what_runs() {
    let mut world = World::new(&["a", "b", "c"]);
    world.apply(app(&[("collect", component(2, "collect"))]));
    world.pass(5_000);
    let before: Vec<ProgramId> = world.alive().into_iter().map(|(_, program, _)| program).collect();
    world.apply(app(&[("collect", everywhere("collect"))]));
    world.pass(5_000);
    assert_eq!(engines_of(&world, "collect"), ["a", "b", "c"], "{:?}", world.told);
    for program in before {
        assert!(world.alive().iter().any(|(_, known, _)| *known == program));
    }
    world.apply(app(&[("collect", component(1, "collect"))]));
    world.pass(5_000);
    assert_eq!(world.alive().len(), 1, "{:?}", world.told);
}

#[test]
fn a_version_that_traps_on_one_engine_is_rolled_back_on_all() {
    let mut world = World::new(&["a", "b", "c"]);
    world.apply(app(&[("collect", everywhere("one"))]));
    world.pass(10_000);
    world.traps.insert(module("two"));
    world.apply(app(&[("collect", everywhere("two"))]));
    world.pass(20_000);
    assert_eq!(engines_of(&world, "one"), ["a", "b", "c"], "{:?}", world.told);
    assert_eq!(world.was_told("rolled-back"), 1);
}

#[test]
fn one_that_somebody_moved_away_goes_home() {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[("collect", everywhere("collect"))]));
    world.pass(5_000);
    let program = program_on(&world, "a", "collect");
    let mut copy = world.host("a").programs.remove(&program).unwrap();
    copy.generation = copy.generation.next();
    world.host("b").programs.insert(program, copy);
    world.look();
    world.pass(20_000);
    assert_eq!(engines_of(&world, "collect"), ["a", "b"], "{:?}", world.told);
    assert_eq!(program_on(&world, "a", "collect"), program);
}

#[test]
fn one_on_a_cordoned_engine_holds_up_no_update_and_is_replaced_when_that_is_open() {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[("collect", everywhere("one"))]));
    world.pass(10_000);
    let engine: wayfare_protocol::ids::EngineId = "a".parse().unwrap();
    world
        .ask(Ask::Cordon {
            engine: engine.clone(),
        })
        .unwrap();
    world.apply(app(&[("collect", everywhere("two"))]));
    world.pass(30_000);
    assert_eq!(engines_of(&world, "two"), ["b"], "{:?}", world.told);
    assert_eq!(engines_of(&world, "one"), ["a"]);
    assert_eq!(world.status().state, "running");
    let (_, text) = world.told.iter().find(|(kind, _)| kind == "rolled-out").unwrap();
    assert!(
        text.ends_with("but for 1 instance whose engine takes none"),
        "{text}"
    );
    world.ask(Ask::Uncordon { engine }).unwrap();
    world.pass(20_000);
    assert_eq!(engines_of(&world, "two"), ["a", "b"], "{:?}", world.told);
}

#[test]
fn what_was_away_is_replaced_in_the_window_as_well() {
    let mut world = World::new(&["a", "b", "c"]);
    let windowed = |name: &str| {
        let mut spec = app(&[("collect", everywhere(name))]);
        spec.staging.window = Some(wayfare_fleet::app::staging::Window {
            opens: "30 * * * *".into(),
            zone: "UTC".into(),
            for_ms: 600_000,
        });
        spec
    };
    world.apply(windowed("one"));
    world.pass(10_000);
    world.host("c").online = false;
    world.pass(40_000);
    world.apply(windowed("two"));
    world.pass(31 * 60_000);
    assert_eq!(engines_of(&world, "two"), ["a", "b"], "{:?}", world.told);
    world.pass(10 * 60_000);
    world.heal("c", Hears::Never);
    world.pass(5 * 60_000);
    assert_eq!(engines_of(&world, "one"), ["c"], "{:?}", world.told);
    world.pass(50 * 60_000);
    assert_eq!(engines_of(&world, "two"), ["a", "b", "c"], "{:?}", world.told);
}
