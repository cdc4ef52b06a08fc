//! Roll-outs in stages and at times. The world's clocks begin at midnight, 1970, in UTC.

use std::collections::BTreeSet;

use wayfare_fleet::app::ask::Ask;
use wayfare_fleet::app::staging::{Stage, Staging, Window};
use wayfare_fleet::app::{AppSpec, HealthPolicy};
use wayfare_protocol::health::Health;
use wayfare_protocol::labels::Labels;
use wayfare_protocol::status::ProgramState;
use wayfare_scheduler::constraint::{LabelRule, LabelTest};

use super::module;
use super::world::{World, app, component};

const MINUTE: u64 = 60_000;

fn stage(value: &str, wait_ms: Option<u64>) -> Stage {
    let rule = LabelRule {
        key: "stage".into(),
        test: LabelTest::Equals(value.into()),
    };
    Stage {
        labels: BTreeSet::from([rule]),
        wait_ms,
    }
}

fn staged(name: &str, stages: Vec<Stage>) -> AppSpec {
    let window = None;
    AppSpec {
        staging: Staging { stages, window },
        ..app(&[("web", component(4, name))])
    }
}

/// Four engines with an instance each, of which a is a canary and b early.
fn world(stages: &[Stage]) -> World {
    let mut world = World::new(&["a", "b", "c", "d"]);
    for (engine, stage) in [("a", "canary"), ("b", "early")] {
        world.host(engine).labels = Labels::from([("stage".to_owned(), stage.to_owned())]);
    }
    world.look();
    world.apply(staged("one", stages.to_vec()));
    world.pass(10_000);
    assert_eq!(engines_of(&world, "one"), ["a", "b", "c", "d"]);
    world
}

fn engines_of(world: &World, name: &str) -> Vec<String> {
    let alive = world.alive().into_iter();
    let of = alive.filter(|(.., copy)| copy.module == module(name));
    of.map(|(engine, ..)| engine.to_string()).collect()
}

fn ask(world: &mut World, ask: impl Fn(String) -> Ask) -> serde_json::Value {
    world.ask(ask("shop".into())).unwrap()
}

#[test]
fn a_version_comes_stage_by_stage_and_each_is_watched_for_its_time() {
    let stages = [
        stage("canary", Some(10 * MINUTE)),
        stage("early", Some(5 * MINUTE)),
    ];
    let mut world = world(&stages);
    world.apply(staged("two", stages.to_vec()));
    world.pass(9 * MINUTE);
    assert_eq!(engines_of(&world, "two"), ["a"], "{:?}", world.told);
    let words = world.status().roll_out.unwrap();
    assert!(
        words.starts_with("stage 1 of 3, well, the next stage begins in "),
        "{words}"
    );
    // Who acts next goes on where it is.
    world.succeed();
    world.pass(2 * MINUTE);
    assert_eq!(engines_of(&world, "two"), ["a", "b"], "{:?}", world.told);
    world.pass(6 * MINUTE);
    assert_eq!(
        engines_of(&world, "two"),
        ["a", "b", "c", "d"],
        "{:?}",
        world.told
    );
    assert_eq!(world.was_told("rolled-out"), 1);
    assert_eq!(world.status().roll_out, None);
}

#[test]
fn what_fails_while_a_stage_is_watched_brings_the_version_before_back() {
    let stages = [stage("canary", Some(10 * MINUTE))];
    let mut world = world(&stages);
    world.apply(staged("two", stages.to_vec()));
    world.pass(9 * MINUTE);
    for copy in world.host("a").programs.values_mut() {
        copy.state = ProgramState::Failed {
            reason: "trapped".into(),
        };
    }
    world.pass(10_000);
    assert_eq!(
        engines_of(&world, "one"),
        ["a", "b", "c", "d"],
        "{:?}",
        world.told
    );
    assert_eq!(world.was_told("rolled-back"), 1);
    world.pass(30 * MINUTE);
    assert_eq!(engines_of(&world, "two"), Vec::<String>::new());
}

#[test]
fn people_promote_halt_and_fail_it() {
    let stages = [stage("canary", None), stage("early", Some(MINUTE))];
    let mut world = world(&stages);
    let application = || "shop".to_owned();
    let none = world
        .ask(Ask::Promote {
            application: application(),
        })
        .unwrap_err()
        .to_string();
    assert!(none.contains("no roll-out of 'shop' is under way"), "{none}");
    world.apply(staged("two", stages.to_vec()));
    world.pass(60 * MINUTE);
    assert_eq!(engines_of(&world, "two"), ["a"], "{:?}", world.told);
    let words = world.status().roll_out.unwrap();
    assert_eq!(words, "stage 1 of 3, well, waits to be promoted");
    ask(&mut world, |application| Ask::Promote { application });
    world.pass(10_000);
    assert_eq!(engines_of(&world, "two"), ["a", "b"], "{:?}", world.told);
    ask(&mut world, |application| Ask::Halt { application });
    world.pass(10 * MINUTE);
    assert_eq!(engines_of(&world, "two"), ["a", "b"], "{:?}", world.told);
    assert!(world.status().roll_out.unwrap().contains("halted"));
    // Where it is over its time it goes on as soon as it may.
    ask(&mut world, |application| Ask::Promote { application });
    world.pass(5_000);
    assert_eq!(engines_of(&world, "two").len(), 3, "{:?}", world.told);
    ask(&mut world, |application| Ask::Fail { application });
    world.pass(60_000);
    assert_eq!(
        engines_of(&world, "one"),
        ["a", "b", "c", "d"],
        "{:?}",
        world.told
    );
    let (_, why) = world.told.iter().find(|(kind, _)| kind == "rolled-back").unwrap();
    assert!(why.ends_with("ann@desk has said so"), "{why}");
}

#[test]
fn instances_are_replaced_only_while_the_window_is_open() {
    let mut world = World::new(&["a", "b"]);
    let windowed = |name: &str| AppSpec {
        staging: Staging {
            stages: Vec::new(),
            window: Some(Window {
                opens: "30 0 * * *".into(),
                zone: "UTC".into(),
                for_ms: 10 * MINUTE,
            }),
        },
        ..app(&[("web", component(2, name))])
    };
    world.apply(windowed("one"));
    world.pass(10_000);
    world.apply(windowed("two"));
    world.pass(29 * MINUTE);
    assert_eq!(
        engines_of(&world, "two"),
        Vec::<String>::new(),
        "{:?}",
        world.told
    );
    let words = world.status().roll_out.unwrap();
    assert!(words.starts_with("its window opens in "), "{words}");
    world.pass(2 * MINUTE);
    assert_eq!(engines_of(&world, "two").len(), 2, "{:?}", world.told);
    assert_eq!(world.was_told("rolled-out"), 1);
}

#[test]
fn an_application_is_scaled_and_begun_anew_without_a_manifest() {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[("web", component(2, "one")), ("db", component(1, "db"))]));
    world.pass(10_000);
    let scale = |component: &str, count| Ask::Scale {
        application: "shop".into(),
        component: component.into(),
        count,
    };
    world.ask(scale("web", 3)).unwrap();
    world.pass(10_000);
    assert_eq!(engines_of(&world, "one").len(), 3, "{:?}", world.told);
    let none = world.ask(scale("cache", 1)).unwrap_err().to_string();
    assert!(
        none.contains("no component 'cache'; there are: db, web"),
        "{none}"
    );

    let before: BTreeSet<_> = world.alive().into_iter().map(|(_, program, _)| program).collect();
    let restart = Ask::Restart {
        application: "shop".into(),
        component: Some("web".into()),
    };
    world.ask(restart).unwrap();
    world.pass(60_000);
    let after: BTreeSet<_> = world.alive().into_iter().map(|(_, program, _)| program).collect();
    assert_eq!(
        (after.len(), after.intersection(&before).count()),
        (4, 1),
        "{:?}",
        world.told
    );
    // The same manifest again begins nothing anew.
    let begun = world.begun.len();
    world.apply(app(&[("web", component(3, "one")), ("db", component(1, "db"))]));
    world.pass(60_000);
    assert_eq!(world.begun.len(), begun, "{:?}", world.told);
}

#[test]
fn no_stage_passes_while_the_window_is_closed() {
    let mut world = world(&[]);
    world.apply(AppSpec {
        staging: Staging {
            stages: vec![stage("canary", Some(5 * MINUTE))],
            window: Some(Window {
                opens: "30 0 * * *".into(),
                zone: "UTC".into(),
                for_ms: 10 * MINUTE,
            }),
        },
        ..app(&[("web", component(4, "two"))])
    });
    world.pass(29 * MINUTE);
    assert_eq!(engines_of(&world, "two"), Vec::<String>::new());
    world.pass(3 * MINUTE);
    assert_eq!(engines_of(&world, "two"), ["a"], "{:?}", world.told);
    world.pass(5 * MINUTE);
    assert_eq!(
        engines_of(&world, "two"),
        ["a", "b", "c", "d"],
        "{:?}",
        world.told
    );
}

#[test]
fn what_ends_where_the_stage_has_not_come_is_started_as_what_it_was() {
    let stages = [stage("canary", None)];
    let mut world = World::new(&["a", "b", "c", "d"]);
    world.host("d").labels = Labels::from([("stage".to_owned(), "canary".to_owned())]);
    world.look();
    let spec = |name: &str| {
        let mut spec = staged(name, stages.to_vec());
        for wanted in spec.components.values_mut() {
            wanted.checkpoint_ms = Some(2_000);
        }
        spec
    };
    world.apply(spec("one"));
    world.pass(10_000);
    world.apply(spec("two"));
    world.pass(30_000);
    assert_eq!(engines_of(&world, "two"), ["d"], "{:?}", world.told);
    for copy in world.host("a").programs.values_mut() {
        copy.state = ProgramState::Failed {
            reason: "trapped".into(),
        };
    }
    world.pass(10_000);
    assert_eq!(engines_of(&world, "one"), ["a", "b", "c"], "{:?}", world.told);
    world.host("c").online = false;
    world.pass(40_000);
    assert_eq!(engines_of(&world, "two"), ["d"], "{:?}", world.told);
    assert_eq!(engines_of(&world, "one").len(), 3, "{:?}", world.told);
    let goes_on =
        |(.., copy): &(_, _, super::world::Copy)| copy.module == module("one") && copy.from_snapshot;
    assert_eq!(world.alive().iter().filter(|one| goes_on(one)).count(), 1);
    assert_eq!(world.was_told("rolled-back"), 0);
}

#[test]
fn an_engine_of_a_later_stage_that_blinks_begins_no_watch_anew() {
    let stages = [stage("canary", Some(10 * MINUTE))];
    let mut world = world(&stages);
    world.apply(staged("two", stages.to_vec()));
    world.pass(9 * MINUTE);
    world.host("d").online = false;
    world.pass(500);
    world.host("d").online = true;
    world.pass(2 * MINUTE);
    assert_eq!(
        engines_of(&world, "two"),
        ["a", "b", "c", "d"],
        "{:?}",
        world.told
    );
}

#[test]
fn one_that_is_not_well_where_the_stage_has_not_come_is_begun_anew_as_it_was() {
    let stages = [stage("canary", None)];
    let mut world = world(&stages);
    let spec = |name: &str| {
        let mut spec = staged(name, stages.to_vec());
        for wanted in spec.components.values_mut() {
            wanted.health = Some(HealthPolicy {
                within_ms: 20_000,
                every_ms: None,
            });
        }
        spec
    };
    let say = |world: &mut World, engine: &str, health| {
        for copy in world.host(engine).programs.values_mut() {
            copy.health = Some(health);
        }
    };
    // The one before asked for nothing, so that nothing but this one is rolled out in stages.
    ask(&mut world, |application| Ask::Remove { application });
    world.pass(5_000);
    world.apply(spec("one"));
    world.pass(5_000);
    for engine in ["a", "b", "c", "d"] {
        say(&mut world, engine, Health::Ready);
    }
    world.pass(5_000);
    world.apply(spec("two"));
    world.pass(5_000);
    say(&mut world, "a", Health::Ready);
    world.pass(5_000);
    assert_eq!(engines_of(&world, "two"), ["a"], "{:?}", world.told);
    let before: Vec<_> = world.host("d").programs.keys().copied().collect();
    say(&mut world, "d", Health::Unhealthy);
    world.pass(10_000);
    assert_eq!(engines_of(&world, "one"), ["b", "c", "d"], "{:?}", world.told);
    let after: Vec<_> = world.host("d").programs.keys().copied().collect();
    assert_ne!(before, after);
    assert_eq!(
        (world.was_told("unhealthy"), world.was_told("rolled-back")),
        (1, 0)
    );
}

#[test]
fn what_is_halted_stays_halted_and_what_replaces_nothing_has_no_stages() {
    let stages = [stage("canary", None)];
    let mut world = world(&stages);
    let scale = |application: String, count| Ask::Scale {
        application,
        component: "web".into(),
        count,
    };
    ask(&mut world, |application| scale(application, 5));
    world.pass(20_000);
    assert_eq!(world.status().state, "running", "{:?}", world.told);
    world.apply(staged("two", stages.to_vec()));
    ask(&mut world, |application| Ask::Halt { application });
    ask(&mut world, |application| scale(application, 3));
    world.pass(MINUTE);
    assert_eq!(world.status().roll_out.unwrap(), "stage 1 of 2, halted");
    ask(&mut world, |application| Ask::Promote { application });
    world.pass(MINUTE);
    assert_eq!(engines_of(&world, "two"), ["a"], "{:?}", world.told);
}

#[test]
fn a_version_is_reverted_to_on_all_engines_at_once() {
    let stages = [stage("canary", None)];
    let mut world = world(&stages);
    world.apply(staged("two", stages.to_vec()));
    world.pass(MINUTE);
    ask(&mut world, |application| Ask::Promote { application });
    world.pass(MINUTE);
    assert_eq!(world.was_told("rolled-out"), 1, "{:?}", world.told);
    ask(&mut world, |application| Ask::Revert {
        application,
        version: None,
    });
    world.pass(MINUTE);
    assert_eq!(
        engines_of(&world, "one"),
        ["a", "b", "c", "d"],
        "{:?}",
        world.told
    );
    assert_eq!(world.was_told("rolled-out"), 2);
}

#[test]
fn what_is_paused_is_not_watched() {
    let stages = [stage("canary", Some(10 * MINUTE))];
    let mut world = world(&stages);
    world.apply(staged("two", stages.to_vec()));
    world.pass(5 * MINUTE);
    ask(&mut world, |application| Ask::Pause { application });
    world.pass(20 * MINUTE);
    ask(&mut world, |application| Ask::Resume { application });
    world.pass(9 * MINUTE);
    assert_eq!(engines_of(&world, "two"), ["a"], "{:?}", world.told);
    world.pass(2 * MINUTE);
    assert_eq!(
        engines_of(&world, "two"),
        ["a", "b", "c", "d"],
        "{:?}",
        world.told
    );
}

#[test]
fn a_plan_warns_of_a_stage_that_no_engine_belongs_to() {
    let stages = [stage("canary", None), stage("canray", None)];
    let mut world = world(&stages);
    let spec = staged("two", stages.to_vec());
    let plan = world.ask(Ask::Plan { spec }).unwrap();
    let warnings = serde_json::json!(["stage 2 tries nothing: no engine is labelled stage=canray"]);
    assert_eq!(plan["warnings"], warnings);
}

#[test]
fn what_fails_as_it_was_before_stops_no_stage_and_is_tried_at_once_when_its_own_comes() {
    let stages = [stage("canary", Some(10 * MINUTE))];
    let mut world = world(&stages);
    let fail = |world: &mut World| {
        for copy in world.host("d").programs.values_mut() {
            if copy.module == module("one") {
                copy.state = ProgramState::Failed {
                    reason: "trapped".into(),
                };
            }
        }
    };
    for _ in 0..20 {
        fail(&mut world);
        world.pass(5_000);
    }
    world.apply(staged("two", stages.to_vec()));
    for _ in 0..58 {
        fail(&mut world);
        world.pass(10_000);
        assert_eq!(engines_of(&world, "two"), ["a"], "{:?}", world.told);
    }
    fail(&mut world);
    world.pass(MINUTE);
    assert_eq!(engines_of(&world, "two").len(), 4, "{:?}", world.told);
    assert_eq!(
        (world.was_told("rolled-back"), world.was_told("rolled-out")),
        (0, 1)
    );
}
