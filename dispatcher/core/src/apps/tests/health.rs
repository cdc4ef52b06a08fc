//! Instances that are to say how they are.

use wayfare_fleet::app::ask::Ask;
use wayfare_fleet::app::{ComponentSpec, HealthPolicy, RestartWhen};
use wayfare_protocol::health::{HOLD_MS_MAX, Health};

use super::module;
use super::world::{World, app, component};

fn asked(count: u32, name: &str) -> ComponentSpec {
    let mut web = component(count, name);
    web.health = Some(HealthPolicy {
        within_ms: 20_000,
        every_ms: None,
    });
    web
}

/// All programs of a module say this from now on.
fn say(world: &mut World, name: &str, health: Option<Health>) {
    let programs = world
        .hosts
        .values_mut()
        .flat_map(|host| host.programs.values_mut());
    for copy in programs.filter(|copy| copy.module == module(name)) {
        copy.health = health;
    }
}

fn hold(world: &mut World, name: &str, reason: Option<&str>) {
    let programs = world
        .hosts
        .values_mut()
        .flat_map(|host| host.programs.values_mut());
    for copy in programs.filter(|copy| copy.module == module(name)) {
        copy.hold = reason.map(str::to_owned);
    }
    world.look();
}

fn alive_of(world: &World, name: &str) -> usize {
    let alive = world.alive().into_iter();
    alive.filter(|(.., copy)| copy.module == module(name)).count()
}

#[test]
fn a_roll_out_waits_until_each_says_that_it_is_ready() {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[("web", asked(2, "one"))]));
    world.pass(5_000);
    assert!(world.status().instances.iter().all(|one| !one.healthy));
    say(&mut world, "one", Some(Health::Ready));
    world.pass(1_000);
    let status = world.status();
    assert!(status.instances.iter().all(|one| one.healthy), "{status:?}");
    assert_eq!(status.instances[0].health, Some(Health::Ready));

    world.apply(app(&[("web", asked(2, "two"))]));
    world.pass(15_000);
    assert_eq!((alive_of(&world, "one"), alive_of(&world, "two")), (1, 1));
    say(&mut world, "two", Some(Health::Ready));
    world.pass(3_000);
    assert_eq!(alive_of(&world, "two"), 2, "{:?}", world.told);
    say(&mut world, "two", Some(Health::Ready));
    world.pass(3_000);
    assert_eq!(world.was_told("rolled-out"), 1, "{:?}", world.told);
}

#[test]
fn what_is_not_ready_in_time_is_rolled_back() {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[("web", component(2, "one"))]));
    world.pass(10_000);
    world.apply(app(&[("web", asked(2, "two"))]));
    world.pass(60_000);
    assert_eq!(alive_of(&world, "one"), 2, "{:?}", world.told);
    let (_, why) = world.told.iter().find(|(kind, _)| kind == "rolled-back").unwrap();
    assert!(
        why.contains("has not said within 20000 ms that it is ready"),
        "{why}"
    );
}

#[test]
fn one_that_is_not_well_is_started_anew_or_only_shown_where_nothing_is_to_be_started() {
    for (when, restarts) in [(RestartWhen::OnFailure, true), (RestartWhen::Never, false)] {
        let mut world = World::new(&["a"]);
        let mut web = asked(1, "web");
        web.restart.when = when;
        world.apply(app(&[("web", web)]));
        world.pass(1_000);
        say(&mut world, "web", Some(Health::Ready));
        world.pass(60_000);
        let before = world.alive()[0].1;
        assert_eq!(world.was_told("unhealthy"), 0);
        say(&mut world, "web", Some(Health::Unhealthy));
        world.pass(10_000);
        assert_eq!(
            world.alive()[0].1 != before,
            restarts,
            "{when:?}: {:?}",
            world.told
        );
        assert_eq!(world.was_told("unhealthy"), 1, "{:?}", world.told);
        assert!(!world.status().instances[0].healthy);
    }
}

#[test]
fn an_engine_that_tells_nothing_of_it_is_believed_that_what_runs_is_well() {
    let mut world = World::new(&["a"]);
    world.host("a").tells_nothing_of_health = true;
    world.look();
    world.apply(app(&[("web", asked(1, "one"))]));
    world.pass(60_000);
    assert!(world.status().instances[0].healthy, "{:?}", world.told);
    assert_eq!(world.was_told("unhealthy"), 0);
}

#[test]
fn what_holds_is_neither_moved_nor_replaced_until_it_lets_go() {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[("web", component(1, "one"))]));
    world.pass(10_000);
    hold(&mut world, "one", Some("flashing"));
    world.pass(1_000);
    assert_eq!(world.status().instances[0].hold.as_deref(), Some("flashing"));
    let engine = world.alive()[0].0.clone();
    world
        .ask(Ask::Drain {
            engine: engine.clone(),
        })
        .unwrap();
    world.apply(app(&[("web", component(1, "two"))]));
    world.pass(60_000);
    assert_eq!(world.alive()[0].0, engine, "{:?}", world.told);
    assert_eq!((alive_of(&world, "one"), world.was_told("rolled-back")), (1, 0));
    let why = world.status().unplaced.join("\n");
    assert!(why.contains("it asks not to be stopped now: flashing"), "{why}");
    hold(&mut world, "one", None);
    world.pass(20_000);
    assert_eq!(alive_of(&world, "two"), 1, "{:?}", world.told);
    assert_ne!(world.alive()[0].0, engine);
}

#[test]
fn what_never_lets_go_is_waited_for_no_longer_than_it_may_hold() {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[("web", component(1, "one"))]));
    world.pass(10_000);
    hold(&mut world, "one", Some("for ever"));
    world.look();
    world.apply(app(&[("web", component(1, "two"))]));
    world.pass(HOLD_MS_MAX - 5_000);
    assert_eq!(alive_of(&world, "one"), 1, "{:?}", world.told);
    world.pass(10_000);
    assert_eq!(alive_of(&world, "two"), 1, "{:?}", world.told);
}

#[test]
fn what_somebody_moves_has_its_whole_time_again() {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[("web", asked(1, "web"))]));
    world.pass(1_000);
    say(&mut world, "web", Some(Health::Ready));
    world.pass(60_000);
    let (engine, program, mut copy) = world.alive()[0].clone();
    let target = if engine.as_str() == "a" { "b" } else { "a" };
    world.host(engine.as_str()).programs.remove(&program);
    (copy.generation, copy.health) = (copy.generation.next(), None);
    world.host(target).programs.insert(program, copy);
    world.look();
    world.pass(10_000);
    assert_eq!(world.was_told("unhealthy"), 0, "{:?}", world.told);
    assert_eq!(world.alive()[0].1, program);
}

#[test]
fn a_version_that_asks_for_health_is_rolled_out_and_judged() {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[("web", component(2, "one"))]));
    world.pass(10_000);
    world.apply(app(&[("web", asked(2, "one"))]));
    world.pass(60_000);
    assert_eq!(
        (world.was_told("unhealthy"), world.was_told("rolled-back")),
        (1, 1),
        "{:?}",
        world.told
    );
    assert_eq!((world.alive().len(), world.status().version), (2, 1));
    let begun = world.begun.len();
    world.succeed();
    world.pass(60_000);
    assert_eq!(world.begun.len(), begun, "{:?}", world.told);
}

#[test]
fn what_has_been_where_nobody_heard_it_is_not_judged_by_its_silence() {
    let mut world = World::new(&["a"]);
    world.host("a").tells_nothing_of_health = true;
    world.look();
    let mut web = asked(1, "web");
    web.health = Some(HealthPolicy {
        within_ms: 20_000,
        every_ms: Some(5_000),
    });
    world.apply(app(&[("web", web)]));
    world.pass(10_000);
    let program = world.alive()[0].1;
    let asked_for = world.begun.iter().any(|(.., action)| {
        matches!(action, wayfare_protocol::command::Action::Run { spec, .. } if spec.health_every_ms.is_some())
    });
    assert!(!asked_for, "an engine that hears nothing is asked for nothing");
    world.host("a").tells_nothing_of_health = false;
    world.look();
    world.succeed();
    world.pass(60_000);
    assert_eq!(world.was_told("unhealthy"), 0, "{:?}", world.told);
    assert_eq!(world.alive()[0].1, program);
}

#[test]
fn one_that_may_take_long_to_be_ready_is_not_slow_before() {
    let mut world = World::new(&["a"]);
    world.apply(app(&[("web", component(1, "one"))]));
    world.pass(10_000);
    let mut two = asked(1, "two");
    two.health = Some(HealthPolicy {
        within_ms: 120_000,
        every_ms: None,
    });
    world.apply(app(&[("web", two)]));
    world.pass(90_000);
    assert_eq!(world.was_told("rolled-back"), 0, "{:?}", world.told);
    say(&mut world, "two", Some(Health::Ready));
    world.pass(5_000);
    assert_eq!(world.was_told("rolled-out"), 1, "{:?}", world.told);
}

#[test]
fn each_program_that_holds_has_a_time_of_its_own() {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[("web", component(1, "one"))]));
    world.pass(10_000);
    hold(&mut world, "one", Some("for ever"));
    world.apply(app(&[("web", component(1, "two"))]));
    world.pass(HOLD_MS_MAX + 10_000);
    assert_eq!(alive_of(&world, "two"), 1, "{:?}", world.told);
    hold(&mut world, "two", Some("flashing"));
    world.apply(app(&[("web", component(1, "three"))]));
    world.pass(HOLD_MS_MAX - 10_000);
    assert_eq!(alive_of(&world, "two"), 1, "{:?}", world.told);
    // It lets go in between, and begins once more.
    let application = || "shop".to_owned();
    world
        .ask(Ask::Halt {
            application: application(),
        })
        .unwrap();
    hold(&mut world, "two", None);
    world.pass(1_000);
    hold(&mut world, "two", Some("flashing"));
    world
        .ask(Ask::Promote {
            application: application(),
        })
        .unwrap();
    world.pass(60_000);
    assert_eq!(alive_of(&world, "two"), 1, "{:?}", world.told);
}
