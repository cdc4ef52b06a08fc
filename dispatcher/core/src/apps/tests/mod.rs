//! The core against a fleet that does what it says, and that breaks.

mod alike;
mod asked;
mod everywhere;
mod health;
mod holders;
mod losses;
mod pages;
mod random;
mod rollouts;
mod schedules;
mod stages;
mod world;

use std::collections::BTreeSet;

use wayfare_protocol::command::Action;
use wayfare_protocol::ids::{Blob, Generation, ProgramId};
use wayfare_protocol::labels::Labels;
use wayfare_protocol::status::{MachineLoad, ProgramState};
use wayfare_scheduler::constraint::{LabelRule, LabelTest, Requirements};

use wayfare_fleet::app::ask::Ask;
use wayfare_fleet::app::{RestartPolicy, RestartWhen};
use world::{Copy, World, app, component, key};

fn module(name: &str) -> Blob {
    Blob::of(name.as_bytes())
}

#[test]
fn what_is_applied_runs_and_is_left_alone() {
    let mut world = World::new(&["a", "b", "c"]);
    world.apply(app(&[("web", component(5, "web")), ("db", component(1, "db"))]));
    world.pass(1_000);
    assert_eq!(world.alive().len(), 6);
    assert_eq!([world.on("a"), world.on("b"), world.on("c")], [2, 2, 2]);
    let begun = world.begun.len();
    world.pass(60_000);
    assert_eq!(world.begun.len(), begun, "{:?}", world.told);
    let status = world.status();
    assert!(
        status.instances.iter().all(|i| i.healthy && i.current),
        "{status:?}"
    );
    world.apply(app(&[("web", component(2, "web"))]));
    world.pass(1_000);
    assert_eq!(world.alive().len(), 2);
    world
        .ask(Ask::Remove {
            application: "shop".into(),
        })
        .unwrap();
    world.pass(1_000);
    assert_eq!(world.alive().len(), 0);
    assert!(world.records.is_empty(), "{:?}", world.records);
}

#[test]
fn a_lost_engine_is_replaced_from_checkpoints_and_its_copies_are_fenced_off() {
    let mut world = World::new(&["a", "b"]);
    let mut web = component(2, "web");
    web.checkpoint_ms = Some(2_000);
    world.apply(app(&[("web", web)]));
    world.pass(10_000);
    assert_eq!([world.on("a"), world.on("b")], [1, 1]);
    world.host("a").online = false;
    world.pass(2_500);
    assert_eq!(world.on("b"), 2);
    let restarted: Vec<Copy> = world
        .alive()
        .into_iter()
        .map(|(.., copy)| copy)
        .filter(|copy| copy.from_snapshot)
        .collect();
    assert_eq!(restarted.len(), 1);
    assert!(restarted[0].generation > Generation(1_000));
    assert_eq!(world.was_told("engine-lost"), 1);
    world.host("a").online = true;
    world.pass(30_000);
    // Back in balance, each exactly once.
    assert_eq!(world.alive().len(), 2);
    assert_eq!(world.was_told("engine-back"), 1);
}

#[test]
fn a_silent_engine_is_late_and_then_lost() {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[("web", component(2, "web"))]));
    world.pass(5_000);
    world.host("a").answers = false;
    // Silence counts from the first question that is not answered.
    world.pass(17_000);
    assert_eq!(
        (world.was_told("engine-late"), world.was_told("engine-lost")),
        (1, 0)
    );
    world.apply(app(&[("web", component(6, "web"))]));
    world.pass(1_000);
    assert_eq!(
        [world.on("a"), world.on("b")],
        [1, 5],
        "a late engine gets nothing new"
    );
    world.pass(25_000);
    assert_eq!(world.was_told("engine-lost"), 1);
    assert_eq!(world.on("b"), 6);
}

#[test]
fn an_engine_that_has_not_been_heard_of_yet_is_waited_for() {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[("web", component(2, "web"))]));
    world.pass(5_000);
    // The broker has forgotten everything, and one engine is slow to come back.
    let away = world.hosts.remove(&"a".parse().unwrap()).unwrap();
    let begun = world.begun.len();
    world.succeed();
    world.pass(20_000);
    assert_eq!(world.begun.len(), begun, "{:?}", world.told);
    world.hosts.insert("a".parse().unwrap(), away);
    world.pass(20_000);
    assert_eq!(world.begun.len(), begun, "{:?}", world.told);
    assert_eq!(world.alive().len(), 2);
}

#[test]
fn a_successor_gives_unanswered_commands_again_under_the_same_id() {
    let mut world = World::new(&["a"]);
    world.apply(app(&[("web", component(1, "web"))]));
    let first = world.begun.clone();
    assert_eq!(first.len(), 1);
    world.succeed();
    assert_eq!(world.begun[1..], first[..]);
    world.pass(5_000);
    assert_eq!(world.alive().len(), 1);
    assert_eq!(world.begun.len(), 2);
}

#[test]
fn what_ends_is_started_anew_with_longer_and_longer_waits() {
    let mut world = World::new(&["a"]);
    world.traps.insert(module("bad"));
    world.apply(app(&[("web", component(1, "bad"))]));
    world.pass(60_000);
    let starts = world.was_told("start");
    assert!((5..=8).contains(&starts), "1 + 2 + 4 + 8 + 16 + 32 s: {starts}");
    let mut world = World::new(&["a"]);
    let mut job = component(1, "job");
    job.restart = RestartPolicy {
        when: RestartWhen::OnFailure,
        ..job.restart
    };
    world.apply(app(&[("job", job)]));
    world.pass(5_000);
    for copy in world.host("a").programs.values_mut() {
        copy.state = ProgramState::Exited { code: 0 };
    }
    world.pass(60_000);
    assert_eq!(world.status().instances[0].state, "complete");
    assert_eq!(world.was_told("start"), 1);
}

#[test]
fn what_somebody_killed_is_started_again() {
    let mut world = World::new(&["a"]);
    world.apply(app(&[("web", component(1, "web"))]));
    world.pass(5_000);
    world.host("a").programs.clear();
    world.pass(5_000);
    assert_eq!(world.alive().len(), 1);
    assert_eq!(world.was_told("gone"), 1);
}

#[test]
fn a_drained_engine_is_emptied_and_gets_nothing_until_it_is_open_again() {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[("web", component(4, "web"))]));
    let stray = Copy::running(Generation::FIRST, module("stray"));
    world.pass(5_000);
    world
        .host("a")
        .programs
        .insert(ProgramId::from_random([9; 16]), stray);
    world.look();
    let engine = "a".parse().unwrap();
    world.ask(Ask::Drain { engine }).unwrap();
    world.pass(10_000);
    assert_eq!([world.on("a"), world.on("b")], [0, 5], "{:?}", world.told);
    assert!(
        world
            .begun
            .iter()
            .all(|(_, _, action)| !matches!(action, Action::Kill { .. })),
        "all of them moved"
    );
    let engine = "a".parse().unwrap();
    let left = world.ask(Ask::Left { engine }).unwrap();
    assert_eq!(
        (
            left["instances"].as_array().unwrap().len(),
            left["programs"].as_array().unwrap().len()
        ),
        (0, 0)
    );
    world.succeed();
    world.apply(app(&[("web", component(6, "web"))]));
    world.pass(5_000);
    assert_eq!(world.on("a"), 0, "it is remembered");
    let engine = "a".parse().unwrap();
    world.ask(Ask::Uncordon { engine }).unwrap();
    world.pass(20_000);
    assert!(world.on("a") > 0);
}

#[test]
fn an_update_goes_a_few_at_a_time_and_stays_when_it_is_healthy() {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[("web", component(4, "one"))]));
    world.pass(10_000);
    world.apply(app(&[("web", component(4, "two"))]));
    let mut fewest = 4;
    for _ in 0..120 {
        world.pass(500);
        fewest = fewest.min(world.alive().len());
    }
    assert_eq!(fewest, 3, "one at a time");
    assert!(
        world
            .alive()
            .iter()
            .all(|(.., copy)| copy.module == module("two"))
    );
    assert_eq!((world.was_told("rolled-out"), world.status().version), (1, 2));
}

#[test]
fn a_plan_that_was_overtaken_is_refused() {
    let mut world = World::new(&["a"]);
    let spec = app(&[("web", component(1, "one"))]);
    let plan = world.ask(Ask::Plan { spec: spec.clone() }).unwrap();
    assert_eq!(plan["changes"].as_array().unwrap().len(), 1);
    assert_eq!(plan["actions"][0], "run shop/web/0 on a");
    let expects = plan["serial"].as_u64();
    world
        .ask(Ask::Apply {
            spec: spec.clone(),
            expects,
        })
        .unwrap();
    let other = app(&[("web", component(2, "one"))]);
    let refused = world
        .ask(Ask::Apply { spec: other, expects })
        .unwrap_err()
        .to_string();
    assert!(refused.contains("plan again"), "{refused}");
    let plan = world.ask(Ask::Plan { spec }).unwrap();
    assert_eq!(plan["changes"].as_array().unwrap().len(), 0);
}

#[test]
fn versions_can_be_reverted_to_and_applications_paused() {
    let mut world = World::new(&["a"]);
    world.apply(app(&[("web", component(1, "one"))]));
    world.pass(10_000);
    world.apply(app(&[("web", component(2, "two"))]));
    world.pass(30_000);
    let application = "shop".to_owned();
    world
        .ask(Ask::Revert {
            application: application.clone(),
            version: None,
        })
        .unwrap();
    world.pass(30_000);
    assert_eq!(world.alive().len(), 1);
    assert_eq!(world.alive()[0].2.module, module("one"));
    assert_eq!(world.status().version, 3);
    world
        .ask(Ask::Pause {
            application: application.clone(),
        })
        .unwrap();
    world.pass(5_000);
    assert_eq!(world.alive()[0].2.state, ProgramState::Paused);
    world.succeed();
    world.ask(Ask::Resume { application }).unwrap();
    world.pass(5_000);
    assert_eq!(world.alive()[0].2.state, ProgramState::Running);
}

#[test]
fn an_engine_above_its_mark_sheds_one_program_after_the_other() {
    let mut world = World::new(&["a", "b"]);
    let mut web = component(4, "web");
    web.processor_millicores = 500;
    world.apply(app(&[("web", web)]));
    world.pass(10_000);
    assert_eq!([world.on("a"), world.on("b")], [2, 2]);
    // Somebody else's work, 4.2 processors of 4.
    world.host("a").load = Some(MachineLoad {
        memory_available_bytes: 1 << 30,
        processor_millicores: 4_200,
        disk: None,
    });
    world.pass(30_000);
    assert_eq!([world.on("a"), world.on("b")], [1, 3], "{:?}", world.told);
    assert_eq!(world.was_told("pressure"), 1);
    world.host("a").load = Some(MachineLoad {
        memory_available_bytes: 1 << 20,
        processor_millicores: 100,
        disk: None,
    });
    world.pass(120_000);
    assert_eq!([world.on("a"), world.on("b")], [0, 4], "{:?}", world.told);
    world.host("a").load = None;
}

#[test]
fn a_machine_that_is_short_of_something_is_told_once_whichever_of_its_engines_says_so() {
    let mut world = World::new(&["a", "b", "c"]);
    for engine in ["a", "b"] {
        world.host(engine).machine = Some("rack-2");
    }
    let mut both = |processor_millicores: u64| {
        for engine in ["a", "b"] {
            world.host(engine).load = Some(MachineLoad {
                memory_available_bytes: 1 << 30,
                processor_millicores,
                disk: None,
            });
        }
        world.pass(30_000);
        let told = world.told.iter().filter(|(kind, _)| kind == "pressure");
        told.map(|(_, text)| text.clone()).collect::<Vec<_>>()
    };
    assert!(both(100).is_empty());
    // 90 % of four processors is the mark.
    assert_eq!(
        both(4_200),
        ["host 'rack-2' is short of processors (what runs asks for 0.6 above its mark)"]
    );
    assert_eq!(both(5_000).len(), 1, "that is known");
    assert_eq!(both(100)[1..], ["host 'rack-2' is below its marks again"]);
}

#[test]
fn a_component_goes_where_its_labels_and_host_are_and_where_its_code_is() {
    let mut world = World::new(&["a", "b", "c", "d", "e", "f"]);
    world.host("b").labels = Labels::from([("zone".to_owned(), "attic".to_owned())]);
    world.host("c").trusts = Some(vec![key(1)]);
    world.host("d").trusts = Some(vec![key(2)]);
    for (host, wasmtime) in [("e", "2"), ("f", "3")] {
        world.host(host).trusts = Some(vec![key(1)]);
        world.host(host).wasmtime = Some(wasmtime);
    }
    world.look();
    let mut labelled = component(1, "web");
    labelled.constraints.requirements.labels.insert(LabelRule {
        key: "zone".into(),
        test: LabelTest::Equals("attic".into()),
    });
    let on = |host: &str| {
        let mut web = component(1, "web");
        web.constraints.requirements = Requirements {
            hosts: BTreeSet::from([host.to_owned()]),
            code: true,
            ..Requirements::default()
        };
        web
    };
    world.apply(app(&[
        ("labelled", labelled),
        ("served", on("c")),
        ("not", on("d")),
        ("of-another-version", on("e")),
        ("of-a-third", on("f")),
    ]));
    world.pass(1_000);
    assert_eq!(
        ["a", "b", "c", "d", "e", "f"].map(|host| world.on(host)),
        [0, 1, 1, 0, 1, 0]
    );
    let why = world.status().unplaced.join("\n");
    assert!(why.contains("1 does not trust the fleet's key"), "{why}");
    assert!(
        why.contains("1 needs code that the dispatcher has no compiler for"),
        "{why}"
    );
    world.host("d").trusts = Some(vec![key(2), key(1)]);
    world.look();
    world.pass(1_000);
    assert_eq!(world.on("d"), 1, "it is told of the new key, and restarts");
}
