//! Instances that a schedule begins. The world's clocks begin at midnight, 1970, in UTC.

use wayfare_fleet::app::ask::Ask;
use wayfare_fleet::app::schedule::{Missed, Schedule};
use wayfare_fleet::app::{ComponentSpec, RestartWhen};
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::status::ProgramState;

use super::module;
use super::world::{World, app, component};

const MINUTE: u64 = 60_000;

fn every(schedule: &str, missed: Missed) -> ComponentSpec {
    let mut job = component(1, "job");
    job.restart.when = RestartWhen::OnSchedule;
    job.schedule = Some(Schedule {
        schedule: schedule.into(),
        zone: "UTC".into(),
        missed,
    });
    job
}

fn world(job: ComponentSpec) -> World {
    let mut world = World::new(&["a", "b"]);
    world.apply(app(&[("job", job)]));
    world
}

/// All that run end, with this code.
fn end(world: &mut World, code: i32) {
    for host in world.hosts.values_mut() {
        for copy in host.programs.values_mut() {
            copy.state = ProgramState::Exited { code };
        }
    }
}

fn running(world: &World) -> Vec<ProgramId> {
    world.alive().into_iter().map(|(_, program, _)| program).collect()
}

#[test]
fn it_is_begun_at_its_times_as_a_program_of_its_own_and_rests_between() {
    let mut world = world(every("*/5 * * * *", Missed::Skip));
    world.pass(5 * MINUTE - 1_000);
    assert_eq!(running(&world), [], "{:?}", world.told);
    let resting = world.status();
    let instance = &resting.instances[0];
    assert_eq!(
        (instance.state.as_str(), instance.next_ms),
        ("scheduled", Some(5 * MINUTE))
    );
    assert!(instance.current && instance.healthy && resting.state == "running");
    world.pass(2_000);
    let first = running(&world);
    assert_eq!(first.len(), 1, "{:?}", world.told);
    // Whatever its code is, it is begun again at its time and not before.
    end(&mut world, 1);
    world.pass(4 * MINUTE);
    assert_eq!(running(&world), []);
    let instance = world.status().instances.remove(0);
    assert_eq!(
        (instance.state.as_str(), instance.next_ms),
        ("scheduled", Some(10 * MINUTE))
    );
    world.pass(MINUTE);
    let second = running(&world);
    assert!(second.len() == 1 && second != first, "{:?}", world.told);
    // Its time comes while it runs: it runs on alone.
    world.pass(5 * MINUTE);
    assert_eq!((running(&world), world.was_told("left-out")), (second, 1));
    end(&mut world, 0);
    world.pass(5 * MINUTE);
    assert_eq!((world.was_told("start"), world.was_told("missed")), (3, 0));
    let name = "shop".to_owned();
    world.ask(Ask::Remove { application: name }).unwrap();
    end(&mut world, 0);
    world.pass(5_000);
    assert!(world.records.is_empty(), "{:?}", world.records);
}

#[test]
fn a_successor_begins_nothing_twice_and_sees_what_was_missed() {
    for (missed, starts) in [(Missed::Skip, 1), (Missed::Once, 2)] {
        let mut world = world(every("*/5 * * * *", missed));
        world.pass(5 * MINUTE + 1_000);
        end(&mut world, 0);
        world.pass(2_000);
        world.succeed();
        world.pass(MINUTE);
        assert_eq!(world.was_told("start"), 1, "{:?}", world.told);
        // Nobody acts for a while, three times pass, and the next is far away.
        world.now_ms = 22 * MINUTE;
        world.succeed();
        world.pass(2 * MINUTE);
        assert_eq!(
            (world.was_told("start"), world.was_told("missed")),
            (starts, 1),
            "{missed:?}: {:?}",
            world.told
        );
        end(&mut world, 0);
        world.pass(2 * MINUTE);
        assert_eq!(world.was_told("start"), starts + 1, "{:?}", world.told);
    }
}

#[test]
fn a_takeover_at_its_time_misses_nothing() {
    let mut world = world(every("*/5 * * * *", Missed::Skip));
    world.pass(5 * MINUTE - 1_000);
    world.now_ms += 20_000;
    world.succeed();
    world.pass(10_000);
    assert_eq!(
        (running(&world).len(), world.was_told("missed")),
        (1, 0),
        "{:?}",
        world.told
    );
}

#[test]
fn one_that_runs_goes_on_elsewhere_when_its_engine_is_lost() {
    let mut world = world(every("0 0 * * *", Missed::Skip));
    world.now_ms = 24 * 60 * MINUTE - 1_000;
    world.pass(3_000);
    let (on, program, _) = world.alive().remove(0);
    world.host(on.as_str()).online = false;
    world.pass(10_000);
    let again = world.alive();
    assert!(
        again.len() == 1 && again[0].0 != on && again[0].1 == program,
        "{:?}",
        world.told
    );
}

#[test]
fn a_new_version_is_what_is_begun_next_and_ends_nothing() {
    let mut world = world(every("*/5 * * * *", Missed::Skip));
    world.pass(5 * MINUTE + 1_000);
    let first = running(&world);
    let mut newer = every("*/5 * * * *", Missed::Skip);
    newer.module = module("newer");
    world.apply(app(&[("job", newer)]));
    world.pass(30_000);
    assert_eq!(running(&world), first, "{:?}", world.told);
    assert_eq!(world.status().state, "running", "nobody waits for it");
    end(&mut world, 0);
    world.pass(5 * MINUTE);
    let copies = world.alive();
    assert_eq!(copies.len(), 1);
    assert_eq!(copies[0].2.module, module("newer"));
    // Another schedule counts from now on.
    world.apply(app(&[("job", every("1-59/2 * * * *", Missed::Once))]));
    end(&mut world, 0);
    world.pass(2_000);
    assert_eq!(
        (running(&world).len(), world.was_told("missed")),
        (0, 0),
        "{:?}",
        world.told
    );
}

#[test]
fn what_is_due_is_begun_when_there_is_a_place_and_nothing_while_the_application_is_paused() {
    let mut world = world(every("*/5 * * * *", Missed::Skip));
    for engine in ["a", "b"] {
        let engine = engine.parse().unwrap();
        world.ask(Ask::Cordon { engine }).unwrap();
    }
    world.pass(6 * MINUTE);
    assert_eq!(running(&world), []);
    assert_eq!(world.status().instances[0].state, "unplaced");
    let engine = "a".parse().unwrap();
    world.ask(Ask::Uncordon { engine }).unwrap();
    world.pass(2_000);
    assert_eq!(running(&world).len(), 1, "{:?}", world.told);
    end(&mut world, 0);
    world.pass(1_000);
    let application = "shop".to_owned();
    world.ask(Ask::Pause { application }).unwrap();
    world.pass(10 * MINUTE);
    assert_eq!(world.was_told("start"), 1, "{:?}", world.told);
}

#[test]
fn a_plan_says_when_it_is_begun_and_does_not_begin_it() {
    let mut world = World::new(&["a"]);
    let spec = app(&[("job", every("*/5 * * * *", Missed::Once))]);
    let plan = world.ask(Ask::Plan { spec: spec.clone() }).unwrap();
    let line = plan["changes"][0].as_str().unwrap();
    assert!(
        line.ends_with(", begun at '*/5 * * * *' in UTC, missed ones once"),
        "{line}"
    );
    assert_eq!(plan["actions"].as_array().unwrap().len(), 0);
    // What cannot be read is refused before it is kept.
    let mut bad = spec;
    bad.components
        .get_mut("job")
        .unwrap()
        .schedule
        .as_mut()
        .unwrap()
        .schedule = "often".into();
    assert!(world.ask(Ask::Plan { spec: bad.clone() }).is_err());
    let apply = Ask::Apply {
        spec: bad,
        expects: None,
    };
    assert!(world.ask(apply).is_err());
}
