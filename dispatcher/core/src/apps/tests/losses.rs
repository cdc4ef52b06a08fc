//! Which engines are given up, and which are not: connections that end, brokers that restart, wills that come
//! late.

use proptest::prelude::*;
use wayfare_fleet::app::ask::Ask;
use wayfare_protocol::command::Action;
use wayfare_protocol::ids::{BootId, Generation, OperationId, ProgramId};
use wayfare_scheduler::application::Mobility;

use super::world::{Copy, Said, World, app, component};

/// Five engines with an instance each, long after the beginning.
fn settled() -> World {
    let mut world = World::new(&["a", "b", "c", "d", "e"]);
    world.apply(app(&[("web", component(5, "web"))]));
    world.pass(20_000);
    assert_eq!(world.alive().len(), 5);
    world.told.clear();
    world
}

/// Nobody was lost, and nothing was begun.
fn nothing_came_of_it(world: &World) {
    let said: Vec<_> = world.told.iter().collect();
    assert!(said.is_empty(), "{said:?}");
    assert_eq!(world.alive().len(), 5);
}

#[test]
fn a_killed_engine_is_lost_after_the_grace_and_what_it_had_runs_elsewhere() {
    let mut world = settled();
    world.host("a").online = false;
    world.pass(500);
    let dead_ms = world.now_ms;
    while world.alive().len() < 5 {
        world.pass(500);
        assert!(world.now_ms - dead_ms <= 1_500, "{:?}", world.told);
    }
    assert_eq!((world.was_told("engine-lost"), world.was_told("start")), (1, 1));
}

/// The engine may have lost its disk meanwhile, and have done what is given again.
#[test]
fn an_order_that_is_given_again_names_the_process_that_it_was_decided_for() {
    let mut world = settled();
    let boot = |number| Some(BootId::from_random([number; 16]));
    let are_now = |world: &mut World, number| {
        world.hosts.values_mut().for_each(|host| host.boot = boot(number));
        world.look();
    };
    are_now(&mut world, 1);
    world.meant.clear();
    world.apply(app(&[("web", component(6, "web"))]));
    let [(operation, meant)] = world.meant[..] else {
        panic!("{:?}", world.meant);
    };
    assert_eq!(meant, boot(1));
    are_now(&mut world, 2);
    world.succeed();
    assert_eq!(world.meant[1..], [(operation, boot(1))]);
    world.pass(20_000);
    world.apply(app(&[("web", component(7, "web"))]));
    assert_eq!(world.meant.last().map(|(_, meant)| *meant), Some(boot(2)));
}

/// They are there again when their engine is: until then nobody answers for them.
#[test]
fn programs_of_people_are_announced_as_lost_with_their_engine_and_instances_are_not() {
    let mut world = settled();
    let stray = ProgramId::from_random([9; 16]);
    for (engine, program) in [("a", stray), ("b", ProgramId::from_random([8; 16]))] {
        let copy = Copy::running(Generation::FIRST, super::module("stray"));
        world.host(engine).programs.insert(program, copy);
    }
    world.look();
    world.host("a").online = false;
    world.pass(20_000);
    let expected = [("a".parse().unwrap(), vec![stray])];
    assert_eq!(world.lost, expected);
    // What stops in good order goes on with its calls when it is there again.
    world.stop("b");
    world.pass(20_000);
    assert_eq!(world.lost, expected);
    world.host("a").online = true;
    world.pass(20_000);
    world.host("a").online = false;
    world.pass(20_000);
    assert_eq!(world.lost.len(), 2, "again: it was back meanwhile");
}

#[test]
fn one_that_stops_in_good_order_is_lost_at_once() {
    let mut world = settled();
    world.stop("a");
    world.pass(500);
    assert_eq!(world.was_told("engine-lost"), 1);
    world.pass(500);
    assert_eq!(world.alive().len(), 5);
    // A will that follows changes nothing, and neither does what was asked before.
    world.say("a", Said::Will);
    world.pass(20_000);
    assert_eq!(world.was_told("engine-lost"), 1);
    world.host("a").programs.clear();
    world.host("a").online = true;
    world.pass(20_000);
    assert_eq!(
        (world.was_told("engine-back"), world.was_told("engine-lost")),
        (1, 1)
    );
    assert_eq!(world.alive().len(), 5);
}

#[test]
fn an_engine_is_unreachable_until_it_is_back_has_stopped_or_is_cordoned() {
    let unreachable = |world: &World| -> Vec<String> {
        let found = world.core().unreachable().into_iter();
        let known = found.filter(|(_, word)| word.is_some());
        known.map(|(engine, _)| engine.to_string()).collect()
    };
    let mut world = settled();
    world.stop("b");
    world.pass(20_000);
    assert!(unreachable(&world).is_empty(), "it has said so");
    world.host("a").online = false;
    world.pass(20_000);
    assert_eq!(unreachable(&world), ["a"]);
    let engine = "a".parse().unwrap();
    world.ask(Ask::Cordon { engine }).unwrap();
    assert!(unreachable(&world).is_empty(), "it is seen to");
    let engine = "a".parse().unwrap();
    world.ask(Ask::Uncordon { engine }).unwrap();
    assert_eq!(unreachable(&world), ["a"]);
    world.host("a").programs.clear();
    world.host("a").online = true;
    world.pass(20_000);
    assert!(unreachable(&world).is_empty(), "it is back");
}

#[test]
fn a_cut_cable_loses_no_engine_that_is_back_within_the_grace() {
    let mut world = settled();
    world.host("a").online = false;
    world.pass(500);
    world.host("a").online = true;
    world.pass(20_000);
    nothing_came_of_it(&world);
}

#[test]
fn wills_that_come_late_doubled_or_out_of_order_lose_nobody_who_answers() {
    use Said::{Online, Will};
    for wills in [
        // The takeover publishes the old connection's will after the new one's first message.
        vec![Will],
        vec![Online, Will],
        vec![Will, Will, Online, Will],
        vec![Will, Online, Online, Will, Will],
    ] {
        let mut world = settled();
        for (at, said) in wills.iter().enumerate() {
            world.say("a", *said);
            if at % 2 == 1 {
                world.pass(500);
            }
        }
        world.pass(20_000);
        nothing_came_of_it(&world);
    }
}

/// They take the session from each other: each time the will of one is published, and the other says that it
/// is there.
#[test]
fn two_boards_with_one_id_are_an_engine_that_is_there() {
    let mut world = settled();
    for round in 0..60 {
        world.say("a", Said::Will);
        if round % 3 > 0 {
            world.pass(500);
        }
        world.say("a", Said::Online);
        world.pass(1_000);
    }
    nothing_came_of_it(&world);
}

/// In good order a broker publishes everybody's will; the dispatcher may read them before its own connection
/// ends.
#[test]
fn a_restart_of_the_broker_loses_nobody() {
    for reads_wills in [true, false] {
        let mut world = settled();
        world.reads = reads_wills;
        for engine in ["a", "b", "c", "d", "e"] {
            world.host(engine).online = false;
        }
        world.look();
        world.pass(if reads_wills { 500 } else { 2_000 });
        world.reads = true;
        world.succeed();
        for (engine, wait_ms) in [("c", 0), ("a", 500), ("b", 1_500), ("e", 2_500), ("d", 1_500)] {
            world.pass(wait_ms);
            world.host(engine).online = true;
        }
        world.pass(40_000);
        nothing_came_of_it(&world);
    }
}

/// A switch, or a node of a cluster of brokers: the dispatcher's own connection lives on.
#[test]
fn many_whose_connections_end_together_have_the_time_to_come_back() {
    let mut world = settled();
    for engine in ["a", "b", "c"] {
        world.host(engine).online = false;
    }
    world.pass(3_000);
    world.host("a").online = true;
    world.pass(2_000);
    world.host("b").online = true;
    // As few as are left now would not have it, had they fallen alone.
    world.pass(1_000);
    world.host("c").online = true;
    world.pass(20_000);
    nothing_came_of_it(&world);
    // One that does not come back is lost all the same.
    for engine in ["a", "b", "c"] {
        world.host(engine).online = false;
    }
    world.pass(2_000);
    (world.host("a").online, world.host("b").online) = (true, true);
    world.pass(7_000);
    assert_eq!((world.was_told("engine-lost"), world.was_told("start")), (1, 1));
    assert_eq!(world.alive().len(), 5);
}

#[test]
fn wills_that_a_dispatcher_finds_when_it_begins_to_act_are_asked_about_first() {
    let mut world = settled();
    // Its retained status is the will of its connection before this one.
    world.say("a", Said::Will);
    // And this one was killed while nobody acted.
    world.host("b").online = false;
    world.succeed();
    world.pass(7_000);
    assert_eq!(world.was_told("engine-lost"), 0);
    world.pass(2_000);
    assert_eq!((world.was_told("engine-lost"), world.was_told("start")), (1, 1));
    assert_eq!(world.alive().len(), 5);
    assert!(
        world
            .told
            .iter()
            .any(|(_, text)| text.contains("engine b is lost")),
        "{:?}",
        world.told
    );
}

#[test]
fn an_engine_that_has_answered_a_dispatcher_that_has_just_begun_has_no_longer_grace_than_ever() {
    let mut world = settled();
    world.succeed();
    world.pass(1_000);
    world.host("a").online = false;
    world.say("a", Said::Will);
    world.pass(2_000);
    assert_eq!((world.was_told("engine-lost"), world.was_told("start")), (1, 1));
    assert_eq!(world.alive().len(), 5);
}

/// The silence is its own.
#[test]
fn a_dispatcher_that_is_behind_with_its_reading_gives_nobody_up() {
    let mut world = settled();
    world.say("a", Said::Will);
    world.say("b", Said::Will);
    world.look();
    world.reads = false;
    world.pass(120_000);
    world.reads = true;
    world.pass(500);
    nothing_came_of_it(&world);
    // What was silent all that time is lost in its time once everything is read.
    world.reads = false;
    world.host("a").online = false;
    world.pass(60_000);
    world.reads = true;
    world.pass(500);
    assert_eq!(world.was_told("engine-lost"), 0);
    world.pass(1_500);
    assert_eq!(world.was_told("engine-lost"), 1);
    assert_eq!(world.alive().len(), 5);
}

/// Two hundred engines with an instance each, on a machine that has too much to do: the dispatcher stands
/// still for longer than any grace, twice, and the broker is restarted.
#[test]
fn overload_never_looks_like_loss() {
    let names: Vec<String> = (0..200).map(|number| format!("e{number:03}")).collect();
    let mut world = World::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
    world.apply(app(&[("web", component(200, "web"))]));
    world.pass(20_000);
    assert_eq!(world.alive().len(), 200);
    world.told.clear();
    let begun = world.begun.len();
    for _ in 0..2 {
        // It does not even see that time passes; meanwhile the broker has ended connections of some, which
        // are back.
        for name in &names[..50] {
            world.say(name, Said::Will);
            world.say(name, Said::Online);
        }
        world.now_ms += 40_000;
        world.pass(3_000);
    }
    // Engines that answer late: half of them, for minutes, though their connections stand.
    for name in &names[..100] {
        world.host(name).answers = false;
    }
    world.pass(300_000);
    assert_eq!(world.was_told("engine-late"), 100);
    assert_eq!(world.core().unreachable().len(), 100, "that raises alarms");
    for name in &names[..100] {
        world.host(name).answers = true;
    }
    world.pass(10_000);
    assert_eq!(world.was_told("engine-back"), 100);
    for name in &names {
        world.host(name).online = false;
    }
    world.look();
    world.succeed();
    for some in names.chunks(40) {
        for name in some {
            world.host(name).online = true;
        }
        world.pass(500);
    }
    world.pass(40_000);
    assert_eq!(world.was_told("engine-lost"), 0, "{:?}", world.told);
    assert_eq!(world.begun.len(), begun, "nothing is started elsewhere");
    // One alone that does not answer is lost in its time.
    world.host("e007").answers = false;
    world.pass(40_000);
    assert_eq!(world.was_told("engine-lost"), 1);
}

#[test]
fn a_suspected_engine_keeps_what_it_has_and_gets_nothing_new() {
    let mut world = settled();
    world.host("a").online = false;
    world.look();
    world.apply(app(&[("web", component(10, "web"))]));
    assert!(
        world
            .begun
            .iter()
            .skip(5)
            .all(|(_, engine, _)| engine.as_str() != "a")
    );
    let word = world
        .status()
        .instances
        .iter()
        .find(|i| i.engine.as_ref().is_some_and(|e| e.as_str() == "a"))
        .unwrap()
        .state
        .clone();
    assert_eq!(word, "engine silent");
}

#[test]
fn an_engine_that_is_about_to_stop_hands_over_live_and_is_not_drained_when_it_is_back() {
    let mut world = World::new(&["a", "b", "c"]);
    // Two can go anywhere, one is pinned, and one fits only there.
    let mut pinned = component(1, "pinned");
    pinned.mobility = Mobility::Pinned;
    let mut only = component(1, "only");
    for named in [&mut pinned, &mut only] {
        named
            .constraints
            .requirements
            .engines
            .insert("a".parse().unwrap());
    }
    world.apply(app(&[
        ("web", component(6, "web")),
        ("pinned", pinned),
        ("only", only),
    ]));
    world.pass(20_000);
    let free = world.on("a") - 2;
    assert!(free > 0);
    let begun = world.begun.len();
    let request = OperationId::from_random([9; 16]);
    world.say("a", Said::Leaving(request));
    world.pass(500);
    assert_eq!(world.left.first(), Some(&(request, free)));
    world.pass(3_000);
    assert_eq!(world.left.last(), Some(&(request, 0)), "{:?}", world.told);
    assert_eq!((world.on("a"), world.alive().len()), (2, 8));
    let moved = world.begun[begun..].iter();
    assert!(
        moved
            .into_iter()
            .all(|(_, _, action)| matches!(action, Action::Move { .. }))
    );
    // It stops, and what fits nowhere else waits for it.
    world.stop("a");
    world.pass(5_000);
    assert_eq!((world.alive().len(), world.was_told("engine-lost")), (6, 1));
    world.host("a").online = true;
    world.host("a").is_leaving = false;
    world.pass(20_000);
    assert_eq!(world.alive().len(), 8);
    world.apply(app(&[("web", component(12, "web"))]));
    world.pass(20_000);
    assert!(world.on("a") > 2, "it takes what comes");
}

/// A successor goes on with it: the engine's status says so still.
#[test]
fn whoever_acts_next_sees_a_leaving_engine_off() {
    let mut world = settled();
    let request = OperationId::from_random([9; 16]);
    world.say("a", Said::Leaving(request));
    world.succeed();
    world.pass(5_000);
    assert_eq!(world.left.last(), Some(&(request, 0)));
    assert_eq!((world.on("a"), world.alive().len()), (0, 5));
    // It has thought better of it, or was killed and started again before anybody saw that it was gone.
    world.say("a", Said::Online);
    world.look();
    world.apply(app(&[("web", component(12, "web"))]));
    world.pass(20_000);
    assert!(world.on("a") > 0);
}

#[derive(Debug, Clone)]
enum Harmless {
    LateWill(usize),
    Answer(usize),
    Blip(usize),
    RestartBroker([u64; 5]),
    Behind(u64),
    Succeed,
    Pass(u64),
}

const ENGINES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn harmless() -> impl Strategy<Value = Harmless> {
    let engine = 0..ENGINES.len();
    prop_oneof![
        engine.clone().prop_map(Harmless::LateWill),
        engine.clone().prop_map(Harmless::Answer),
        engine.prop_map(Harmless::Blip),
        proptest::array::uniform5(0..6_u64).prop_map(Harmless::RestartBroker),
        (500..60_000_u64).prop_map(Harmless::Behind),
        Just(Harmless::Succeed),
        (500..20_000_u64).prop_map(Harmless::Pass),
    ]
}

fn happens(world: &mut World, fault: &Harmless) {
    match fault {
        Harmless::LateWill(engine) => world.say(ENGINES[*engine], Said::Will),
        Harmless::Answer(engine) => world.say(ENGINES[*engine], Said::Online),
        Harmless::Blip(engine) => {
            world.host(ENGINES[*engine]).online = false;
            world.look();
            world.host(ENGINES[*engine]).online = true;
            world.look();
        }
        Harmless::RestartBroker(back) => {
            for engine in ENGINES {
                world.host(engine).online = false;
            }
            world.look();
            world.succeed();
            for second in 0..6 {
                for (engine, _) in ENGINES.iter().zip(back).filter(|(_, back)| **back == second) {
                    world.host(engine).online = true;
                }
                world.pass(1_000);
            }
        }
        Harmless::Behind(ms) => {
            world.reads = false;
            world.pass(*ms);
            world.reads = true;
        }
        Harmless::Succeed => world.succeed(),
        Harmless::Pass(ms) => world.pass(*ms),
    }
    world.look();
}

proptest! {
    #![proptest_config(super::random::config())]

    #[test]
    fn what_does_no_engine_any_harm_loses_none_and_starts_nothing(
        faults in proptest::collection::vec(harmless(), 1..40),
    ) {
        let mut world = settled();
        for fault in &faults {
            happens(&mut world, fault);
        }
        world.pass(60_000);
        nothing_came_of_it(&world);
    }

    /// And one that is dead is replaced, whatever else happens.
    #[test]
    fn a_dead_engine_is_replaced_through_all_of_it(faults in proptest::collection::vec(harmless(), 0..10)) {
        let mut world = settled();
        for fault in &faults {
            happens(&mut world, fault);
        }
        world.host("a").online = false;
        world.pass(12_000);
        prop_assert_eq!(world.alive().len(), 5);
        prop_assert_eq!(world.was_told("engine-lost"), 1);
    }
}

#[test]
fn a_removed_application_is_forgotten_while_one_of_its_engines_is_suspected() {
    let mut world = settled();
    world.host("a").online = false;
    world.look();
    world
        .ask(Ask::Remove {
            application: "shop".into(),
        })
        .unwrap();
    world.pass(10_000);
    assert_eq!(world.alive().len(), 0);
    world.host("a").online = true;
    world.pass(20_000);
    assert_eq!(world.alive().len(), 0, "its copy ends when it is back");
}

#[test]
fn what_an_engine_leaves_of_a_program_that_ended_is_taken_away_when_nobody_may_have_a_copy() {
    let mut world = settled();
    let copy = |generation| Copy::running(generation, super::module("stray"));
    let stray = ProgramId::from_random([9; 16]);
    let newer = Generation::FIRST.replacing();
    for away in [false, true] {
        world.host("a").online = !away;
        if away {
            world.host("a").programs.insert(stray, copy(Generation::FIRST));
        }
        world.pass(12_000);
        // Taken back by force, and ended by somebody.
        world.left_tombstones.insert(stray, newer);
        world.pass(20_000);
        assert_eq!(world.left_tombstones.contains_key(&stray), away);
    }
    let key = format!("ghost:{stray}");
    assert!(
        world.records.contains_key(&key),
        "whoever acts next sees to it too"
    );
    world.succeed();
    world.host("a").online = true;
    world.pass(300_000);
    assert!(!world.host("a").programs.contains_key(&stray), "it is not wanted");
    assert!(world.left_tombstones.is_empty());
    assert!(!world.records.contains_key(&key));
}

/// A copy that did not know of it yet was published in its place, and ended then; or the broker has lost it.
#[test]
fn a_tombstone_that_stands_no_more_is_set_again_while_an_order_of_before_may_come() {
    let mut world = settled();
    let program = world.alive()[0].1;
    let engine = world.alive()[0].0.clone();
    world.host(engine.as_str()).online = false;
    world
        .ask(Ask::Remove {
            application: "shop".into(),
        })
        .unwrap();
    world.pass(40_000);
    assert!(world.tombstones.contains(&program));
    // The copy is no more either.
    world.host(engine.as_str()).programs.clear();
    for succeeds in [false, true] {
        world.tombstones.remove(&program);
        if succeeds {
            world.succeed();
        }
        world.pass(20_000);
        assert!(world.tombstones.contains(&program), "{succeeds}");
    }
    world.host(engine.as_str()).online = true;
    world.pass(300_000);
    assert!(
        !world.tombstones.contains(&program),
        "nobody has it, and nothing may come"
    );
    assert_eq!(world.alive().len(), 0);
}

#[test]
fn a_program_that_is_begun_anew_under_its_id_is_not_taken_for_the_one_that_ended() {
    let mut world = settled();
    let stray = ProgramId::from_random([9; 16]);
    let newer = Generation::FIRST.replacing();
    world.host("a").online = false;
    world.pass(12_000);
    world.left_tombstones.insert(stray, newer);
    world.pass(20_000);
    let copy = Copy {
        from_snapshot: true,
        ..Copy::running(newer.replacing(), super::module("stray"))
    };
    world.host("b").programs.insert(stray, copy);
    world.host("a").online = true;
    world.pass(300_000);
    assert!(world.host("b").programs.contains_key(&stray));
    assert!(
        world.left_tombstones.contains_key(&stray),
        "its own status stands there"
    );
}
