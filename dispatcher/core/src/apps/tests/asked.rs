//! What people ask, and what is told of it.

use std::collections::{BTreeMap, BTreeSet};

use wayfare_fleet::app::ask::{Ask, VersionStatus, WouldAnswer};
use wayfare_fleet::app::programs::{ProgramAbout, ProgramsPage};
use wayfare_protocol::ids::{EngineId, Generation, ProgramId};
use wayfare_protocol::status::ProgramState;

use super::super::SeenProgram;
use super::module;
use super::world::{Copy, World, app, component};

fn engine(name: &str) -> EngineId {
    name.parse().unwrap()
}

#[test]
fn what_somebody_asked_for_is_told_of_them_and_what_follows_from_it_is_not() {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[("web", component(2, "one"))]));
    world.apply(app(&[("web", component(2, "two"))]));
    let application = || "shop".to_owned();
    world
        .ask(Ask::Pause {
            application: application(),
        })
        .unwrap();
    let engine = "a".parse().unwrap();
    world.ask(Ask::Cordon { engine }).unwrap();
    world.pass(10_000);
    let (by_ann, by_itself): (Vec<_>, Vec<_>) = world
        .told
        .iter()
        .partition(|(_, text)| text.starts_with("ann@desk: "));
    let kinds =
        |told: &[&(String, String)]| told.iter().map(|(kind, _)| kind.clone()).collect::<BTreeSet<_>>();
    assert_eq!(
        kinds(&by_ann),
        ["applied", "cordon", "paused"].map(str::to_owned).into()
    );
    assert!(kinds(&by_itself).contains("start"), "{:?}", world.told);

    world.succeed();
    let answer = world.ask(Ask::History {
        application: application(),
    });
    let versions: Vec<VersionStatus> = serde_json::from_value(answer.unwrap()).unwrap();
    let by: Vec<Option<&str>> = versions.iter().map(|version| version.by.as_deref()).collect();
    assert_eq!(by, [Some("ann@desk"); 2]);
}

fn about(world: &mut World) -> Vec<(ProgramId, ProgramAbout)> {
    let (mut all, mut from) = (Vec::new(), None);
    loop {
        let page: ProgramsPage = serde_json::from_value(world.ask(Ask::Programs { from }).unwrap()).unwrap();
        all.extend(page.programs);
        from = page.next;
        if from.is_none() {
            return all;
        }
    }
}

#[test]
fn programs_have_the_ages_and_restarts_that_were_seen() {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[("web", component(1, "web"))]));
    world.pass(5_000);
    let copy = Copy::running(Generation::FIRST, super::module("stray"));
    let stray = ProgramId::from_random([9; 16]);
    world.host("a").programs.insert(stray, copy);
    world.look();
    let begun_ms = world.now_ms;
    world.pass(5_000);
    let of_stray = |world: &mut World| {
        about(world)
            .into_iter()
            .find(|(program, _)| *program == stray)
            .unwrap()
            .1
    };
    let running = ProgramAbout {
        since_ms: Some(begun_ms),
        moves: Some(0),
        ..ProgramAbout::default()
    };
    assert_eq!(of_stray(&mut world), running);
    // It is moved away and comes back: twice to another engine.
    for (from, to, generation) in [("a", "b", 2), ("b", "a", 3)] {
        let mut copy = world.host(from).programs.remove(&stray).unwrap();
        copy.generation = Generation(generation);
        world.host(to).programs.insert(stray, copy);
        world.look();
        world.pass(5_000);
    }
    let running = ProgramAbout {
        moves: Some(2),
        ..running
    };
    assert_eq!(of_stray(&mut world), running);
    world.host("a").programs.get_mut(&stray).unwrap().state = ProgramState::Exited { code: 0 };
    world.look();
    let ended = ProgramAbout {
        ended_ms: Some(world.now_ms),
        ..running
    };
    world.pass(5_000);
    assert_eq!(of_stray(&mut world), ended);

    // An instance that fails is started again, and its starts are remembered.
    let instance = |world: &mut World| {
        about(world)
            .into_iter()
            .find(|(_, about)| about.instance.is_some())
            .unwrap()
            .1
    };
    let before = instance(&mut world);
    assert_eq!(
        (before.instance.as_deref(), before.restarts),
        (Some("shop/web/0"), Some(0))
    );
    let (seat, program, _) = world.alive().remove(0);
    world
        .host(seat.as_str())
        .programs
        .get_mut(&program)
        .unwrap()
        .state = ProgramState::Exited { code: 1 };
    world.pass(10_000);
    let kept = world.seen_programs();
    world.succeed();
    let after = instance(&mut world);
    assert_eq!(after.restarts, Some(1));
    assert!(after.since_ms > before.since_ms);
    // Where nothing is kept nobody has seen since when the other is there.
    let unseen = ProgramAbout {
        moves: Some(0),
        ..ProgramAbout::default()
    };
    assert_eq!(of_stray(&mut world), unseen);
    let gone = ProgramId::from_random([8; 16]);
    let kept_with = |mut kept: BTreeMap<ProgramId, SeenProgram>| {
        kept.insert(gone, kept[&stray].clone());
        kept
    };
    world.succeed_with(kept_with(kept));
    assert_eq!(of_stray(&mut world), ended);
    assert!(!world.seen_programs().contains_key(&gone));
}

#[test]
fn programs_are_listed_in_pages_each_once() {
    let mut world = World::new(&["a"]);
    for number in 0..3_000_u32 {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let copy = Copy::running(Generation::FIRST, super::module("m"));
        world.host("a").programs.insert(ProgramId::from_random(id), copy);
    }
    world.look();
    let ids: Vec<ProgramId> = about(&mut world)
        .into_iter()
        .map(|(program, _)| program)
        .collect();
    let once: BTreeSet<ProgramId> = ids.iter().copied().collect();
    assert_eq!((ids.len(), once.len()), (3_000, 3_000));
}

#[test]
fn an_engine_is_forgotten_when_it_is_gone_and_nothing_of_an_application_is_on_it() {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[("web", component(2, "web"))]));
    world.pass(5_000);
    let forget = |world: &mut World, name: &str| world.ask(Ask::Forget { engine: engine(name) });
    let there = forget(&mut world, "b").unwrap_err().to_string();
    assert!(there.contains("engine b is there: stop it first"), "{there}");

    world.host("b").online = false;
    world.host("a").online = false;
    world.pass(20_000);
    let needed = forget(&mut world, "b").unwrap_err().to_string();
    assert!(
        needed.contains("shop/web/"),
        "nothing can run elsewhere yet: {needed}"
    );
    world.host("a").programs.clear();
    world.host("a").online = true;
    world.pass(30_000);
    world.ask(Ask::Cordon { engine: engine("b") }).unwrap();
    assert_eq!(forget(&mut world, "b").unwrap()["changed"], true);
    world.hosts.remove(&engine("b"));
    world.look();
    assert_eq!(forget(&mut world, "b").unwrap()["changed"], false);
    assert_eq!(world.was_told("engine-forgotten"), 1);
    assert!(world.core().unreachable().is_empty());

    // One that comes back is as new.
    world.succeed();
    let marks = world.ask(Ask::Marks { from: None }).unwrap();
    assert_eq!(marks["marks"], serde_json::json!({}));
    world.pass(5_000);
    assert_eq!(world.alive().len(), 2);
}

#[test]
fn a_dry_run_says_what_would_be_decided_or_what_refuses_it_and_nothing_comes_of_it() {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[("web", component(2, "web"))]));
    world.pass(5_000);
    let (told, begun) = (world.told.len(), world.begun.len());
    let would = |world: &World, ask: Ask| world.core().would(ask, Some("bob@desk".into()), world.now());
    let drain = would(&world, Ask::Drain { engine: engine("a") }).unwrap();
    let drain: WouldAnswer = serde_json::from_value(drain).unwrap();
    assert_eq!(drain.would[0], "bob@desk: engine a is to be emptied");
    assert!(drain.would[1].contains("from a to b"), "{drain:?}");
    assert_eq!(drain.answer["changed"], true);
    let nobody = would(&world, Ask::Drain { engine: engine("z") }).unwrap_err();
    assert!(nobody.to_string().contains("no engine 'z'"), "{nobody}");
    world.pass(5_000);
    assert_eq!(
        (world.told.len(), world.begun.len()),
        (told, begun),
        "{:?}",
        world.told
    );
    assert_eq!([world.on("a"), world.on("b")], [1, 1]);
}

#[test]
fn while_the_fleet_is_held_nothing_is_decided_and_no_change_taken_whoever_acts() {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[("web", component(2, "web"))]));
    world.pass(5_000);
    let hold = |for_ms| Ask::Hold {
        for_ms,
        reason: Some("upgrade".into()),
    };
    world.ask(hold(None)).unwrap();
    let refused = [
        Ask::Cordon { engine: engine("a") },
        hold(Some(5)),
        Ask::Remove {
            application: "shop".into(),
        },
    ];
    for ask in refused {
        let refusal = world.ask(ask.clone()).unwrap_err().to_string();
        let why = "the fleet is held by ann@desk until it is released: upgrade";
        assert!(refusal.contains(why), "{ask:?}: {refusal}");
    }
    assert_eq!(world.status().instances.len(), 2, "it can be looked at");
    // An engine is lost meanwhile, and another dispatcher acts.
    world.host("a").online = false;
    world.host("a").programs.clear();
    world.pass(30_000);
    world.succeed();
    world.pass(30_000);
    assert_eq!([world.on("a"), world.on("b")], [0, 1], "{:?}", world.told);
    assert_eq!(world.ask(Ask::Release).unwrap()["changed"], true);
    assert_eq!(world.ask(Ask::Release).unwrap()["changed"], false);
    world.pass(10_000);
    assert_eq!(world.on("b"), 2);

    // One that ends by itself.
    world.ask(hold(Some(5_000))).unwrap();
    world.pass(4_000);
    let refusal = world
        .ask(Ask::Cordon { engine: engine("b") })
        .unwrap_err()
        .to_string();
    assert!(refusal.contains("for another 1 s"), "{refusal}");
    world.pass(2_000);
    world.ask(Ask::Cordon { engine: engine("b") }).unwrap();
    assert_eq!((world.was_told("hold"), world.was_told("release")), (2, 2));
}

/// With a component whose engine is lost, and which nobody wants any more.
fn unwanted_and_lost() -> (World, EngineId, ProgramId) {
    let mut world = World::new(&["a", "b", "c"]);
    world.apply(app(&[("web", component(1, "web")), ("db", component(1, "db"))]));
    world.pass(10_000);
    let mut alive = world.alive().into_iter();
    let (engine, program, _) = alive.find(|(.., copy)| copy.module == module("db")).unwrap();
    world.host(engine.as_str()).online = false;
    world.pass(500);
    world.apply(app(&[("web", component(1, "web"))]));
    world.pass(40_000);
    (world, engine, program)
}

#[test]
fn what_is_wanted_again_follows_what_may_live_on_a_lost_engine() {
    let (mut world, _, program) = unwanted_and_lost();
    world.apply(app(&[("web", component(1, "web")), ("db", component(1, "db"))]));
    world.pass(10_000);
    let mut alive = world.alive().into_iter();
    let (_, again, copy) = alive.find(|(.., copy)| copy.module == module("db")).unwrap();
    assert_eq!(again, program, "{:?}", world.told);
    assert!(copy.generation > Generation(1_000));
}

#[test]
fn an_engine_that_is_lost_with_what_nobody_wants_can_be_forgotten() {
    let (mut world, engine, _) = unwanted_and_lost();
    assert_eq!(world.status().instances.len(), 2);
    world.hosts.remove(&engine);
    world.look();
    world.ask(Ask::Forget { engine }).unwrap();
    world.pass(5_000);
    assert_eq!(world.status().instances.len(), 1, "{:?}", world.told);
}
