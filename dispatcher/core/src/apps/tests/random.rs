//! Random faults: engines come and go, dispatchers succeed each other, programs end; then all is quiet, and
//! everything that is wanted runs exactly once.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use wayfare_fleet::app::ask::Ask;
use wayfare_protocol::ids::{OperationId, ProgramId};
use wayfare_protocol::status::ProgramState;

use super::world::{Hears, Said, World, app, component};

#[derive(Debug, Clone)]
enum Fault {
    CutOff(usize),
    Heal(usize, Hears),
    Wipe(usize),
    Silence(usize),
    Succeed,
    Trap(usize),
    Count(u32),
    Update(u8),
    Drain(usize),
    Uncordon(usize),
    LateWill(usize),
    Stop(usize),
    Leave(usize),
    Behind(u64),
    Pass(u64),
}

fn fault() -> impl Strategy<Value = Fault> {
    let engine = 0..ENGINES.len();
    prop_oneof![
        engine.clone().prop_map(Fault::CutOff),
        engine.clone().prop_map(|engine| Fault::Heal(engine, Hears::Late)),
        engine
            .clone()
            .prop_map(|engine| Fault::Heal(engine, Hears::Never)),
        engine.clone().prop_map(Fault::Wipe),
        engine.clone().prop_map(Fault::Silence),
        Just(Fault::Succeed),
        engine.clone().prop_map(Fault::Trap),
        (0..6_u32).prop_map(Fault::Count),
        (0..3_u8).prop_map(Fault::Update),
        engine.clone().prop_map(Fault::Drain),
        engine.clone().prop_map(Fault::Uncordon),
        engine.clone().prop_map(Fault::LateWill),
        engine.clone().prop_map(Fault::Stop),
        engine.prop_map(Fault::Leave),
        (500..40_000_u64).prop_map(Fault::Behind),
        (500..40_000_u64).prop_map(Fault::Pass),
        (500..2_000_u64).prop_map(Fault::Pass),
    ]
}

const ENGINES: [&str; 4] = ["a", "b", "c", "d"];

fn play(faults: &[Fault]) {
    let mut world = World::new(&ENGINES);
    let (mut count, mut version) = (4, 0);
    let spec = |count: u32, version: u8| {
        let mut web = component(count, &format!("web{version}"));
        web.checkpoint_ms = Some(3_000);
        app(&[("web", web), ("db", component(2, "db"))])
    };
    world.apply(spec(count, version));
    for fault in faults {
        match fault {
            Fault::CutOff(engine) => world.host(ENGINES[*engine]).online = false,
            Fault::Heal(engine, hears) => world.heal(ENGINES[*engine], *hears),
            Fault::Wipe(engine) => world.host(ENGINES[*engine]).programs.clear(),
            Fault::Silence(engine) => world.host(ENGINES[*engine]).answers = false,
            Fault::Succeed => world.succeed(),
            Fault::Trap(engine) => {
                for copy in world.host(ENGINES[*engine]).programs.values_mut() {
                    copy.state = ProgramState::Failed {
                        reason: "trapped".into(),
                    };
                }
            }
            Fault::Count(to) => {
                count = *to;
                world.apply(spec(count, version));
            }
            Fault::Update(to) => {
                version = *to;
                world.apply(spec(count, version));
            }
            Fault::Drain(engine) => {
                let engine = ENGINES[*engine].parse().unwrap();
                world.ask(Ask::Drain { engine }).unwrap();
            }
            Fault::Uncordon(engine) => {
                let engine = ENGINES[*engine].parse().unwrap();
                world.ask(Ask::Uncordon { engine }).unwrap();
            }
            Fault::LateWill(engine) => world.say(ENGINES[*engine], Said::Will),
            Fault::Stop(engine) => world.stop(ENGINES[*engine]),
            Fault::Leave(engine) => {
                let request = OperationId::from_random([1; 16]);
                world.say(ENGINES[*engine], Said::Leaving(request));
            }
            Fault::Behind(ms) => {
                world.reads = false;
                world.pass(*ms);
                world.reads = true;
            }
            Fault::Pass(ms) => world.pass(*ms),
        }
        world.look();
        one_copy_of_each_generation(&world);
    }
    for engine in ENGINES {
        world.heal(engine, Hears::Never);
        world.say(engine, Said::Online);
        let engine = engine.parse().unwrap();
        world.ask(Ask::Uncordon { engine }).unwrap();
    }
    world.pass(400_000);
    one_copy_of_each_generation(&world);
    // A version that did not come up while engines were away may have been rolled back: what is wanted is
    // what status says.
    let status = world.status();
    let alive = world.alive();
    assert_eq!(
        alive.len(),
        status.instances.len(),
        "{status:?}\n{:?}",
        world.told
    );
    assert!(
        status.instances.iter().all(|i| i.healthy && i.current),
        "{status:?}\n{:?}",
        world.told
    );
    let mut programs: Vec<ProgramId> = alive.iter().map(|(_, program, _)| *program).collect();
    programs.dedup();
    assert_eq!(programs.len(), alive.len());
    let left = &world.left_tombstones;
    assert!(left.is_empty(), "nobody takes them away: {left:?}");
}

fn one_copy_of_each_generation(world: &World) {
    let mut seen = BTreeMap::new();
    for (engine, host) in &world.hosts {
        for (program, copy) in &host.programs {
            if let Some(other) = seen.insert((*program, copy.generation), engine) {
                panic!(
                    "{program} generation {} is on {other} and on {engine}",
                    copy.generation
                );
            }
        }
    }
}

/// Found by the test below: what the program was restarted as is ended while its old copy is cut off.
#[test]
fn a_copy_that_outlives_its_instance_is_ended_when_its_engine_is_back() {
    play(&[
        Fault::Pass(500),
        Fault::CutOff(2),
        Fault::Count(0),
        Fault::Pass(500),
    ]);
}

/// Found by the test below: what is given up while a start is under way to an engine that is lost as well.
#[test]
fn what_never_arrived_where_it_was_last_started_goes_on_where_it_is() {
    play(&[
        Fault::CutOff(1),
        Fault::Pass(500),
        Fault::CutOff(3),
        Fault::CutOff(0),
        Fault::CutOff(2),
        Fault::Pass(500),
    ]);
}

/// The same cases in every run, unless PROPTEST_RNG_SEED and PROPTEST_CASES ask for others.
pub(super) fn config() -> ProptestConfig {
    let mut config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 32;
    }
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        config.rng_seed = RngSeed::Fixed(1);
    }
    config
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_breaks_everything_runs_exactly_once_in_the_end(faults in proptest::collection::vec(fault(), 1..40)) {
        play(&faults);
    }
}
