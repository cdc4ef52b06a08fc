//! Programs that keep values with the fleet's dispatcher, and files in their scratch folder, while they are moved and killed.

use wayfare_client::Run;
use wayfare_protocol::grants::Grants;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::Fleet;
use wayfare_tests::registry::Registry;
use wayfare_tests::watched::Watched;

use crate::fleet;

const RING: [&str; 3] = ["a", "b", "c"];

async fn run(fleet: &Fleet, name: &str, args: &[&str], on: &str, state: &[&str]) -> Watched {
    let all = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let order = Run {
        name: name.into(),
        module: wayfare_samples::find_talker(name)
            .expect("a sample")
            .wasm
            .to_vec(),
        args: all(args),
        on: Some(on.into()),
        grants: Grants {
            state: all(state),
            ..Grants::default()
        },
        ..Run::default()
    };
    fleet.runs(order).await
}

/// The last number that one of them has printed.
async fn all_counted(programs: Vec<Watched>) -> u64 {
    let mut last = 0;
    for program in programs {
        let finished = program.finish().await;
        let text = String::from_utf8(finished.stdout).expect("text");
        let line = text.lines().last().unwrap_or_default();
        let number = line.split(' ').nth(3).and_then(|number| number.parse().ok());
        let said = String::from_utf8_lossy(&finished.stderr).into_owned();
        last = last.max(number.unwrap_or_else(|| panic!("it ended with '{line}', saying {said}")));
    }
    last
}

/// Two programs count under one key; both are moved, and the dispatcher is stopped and started meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_programs_that_are_moved_while_they_count_together_count_right() {
    let fleet = fleet(Kind::Mosquitto).engines(&RING).start().await;
    let data = fleet.folder().join("service");
    let dispatcher = Registry::start(fleet.broker.url(), data.clone());
    let one = run(&fleet, "tally", &["/count", "400", "10"], "a", &["/count"]).await;
    let other = run(&fleet, "tally", &["/count", "400", "10"], "b", &["/count"]).await;
    for step in 1..=2 {
        one.printed(step).await;
        fleet.moves(one.program, RING[step % 3]).await;
        other.printed(step).await;
        fleet.moves(other.program, RING[(step + 1) % 3]).await;
    }
    dispatcher.stop().await;
    // They wait for another: whenever they are moved now, it is in the middle of asking.
    for engine in ["b", "a"] {
        fleet.moves(one.program, engine).await;
        fleet.moves(other.program, engine).await;
    }
    let dispatcher = Registry::start(fleet.broker.url(), data);
    assert_eq!(all_counted(vec![one, other]).await, 800);
    dispatcher.stop().await;
    fleet.spy.check_history();
}

/// A crash sets a program back to its last checkpoint: what it counts again since then is recognised.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_is_right_although_its_engine_is_killed() {
    let mut fleet = fleet(Kind::Mosquitto)
        .engine("a", &["--checkpoint", "1"])
        .start()
        .await;
    let dispatcher = Registry::start(fleet.broker.url(), fleet.folder().join("service"));
    let tally = run(&fleet, "tally", &["mine", "150", "10"], "a", &[]).await;
    for step in [4, 9] {
        tally.printed(step).await;
        fleet.start_again(&["a"]).await;
    }
    assert_eq!(all_counted(vec![tally]).await, 150);
    dispatcher.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_key_that_is_not_granted_is_refused_and_said_in_the_log() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a"]).start().await;
    let watched = run(&fleet, "tally", &["/count", "1"], "a", &["/other"]).await;
    let finished = watched.finish().await;
    let log = String::from_utf8_lossy(&finished.stderr).into_owned();
    assert!(log.contains("not granted: get '/count'; --allow-state"), "{log}");
}
