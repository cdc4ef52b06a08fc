//! Programs that keep values with the fleet's dispatcher, and files in their scratch folder, while they are
//! moved and killed.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use wayfare_client::Run;
use wayfare_client::watching::{ValueWatch, Watched};
use wayfare_link::{Event, LinkOptions, Message, Qos};
use wayfare_protocol::grants::Grants;
use wayfare_protocol::pattern::Pattern;
use wayfare_protocol::topics::Topics;
use wayfare_protocol::trust::card::Card;
use wayfare_protocol::trust::roster::{Orders, Roster};
use wayfare_protocol::values::{Changed, Key, Value, ValueAnswer, ValueAsk};
use wayfare_protocol::wire;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::{Fleet, OPERATOR, ROOT, roster, signing_key};
use wayfare_tests::registry::Registry;
use wayfare_tests::watched::Watched as Program;
use wayfare_tests::within;

use crate::fleet;

const RING: [&str; 3] = ["a", "b", "c"];

fn order(name: &str, args: &[&str], on: &str, state: &[&str]) -> Run {
    let all = |texts: &[&str]| texts.iter().copied().map(String::from).collect();
    Run {
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
    }
}

async fn run(fleet: &Fleet, name: &str, args: &[&str], on: &str, state: &[&str]) -> Program {
    fleet.runs(order(name, args, on, state)).await
}

/// So that no move waits for a compiler while the program counts to its end.
async fn loads(fleet: &Fleet, engines: &[&str]) {
    let endless = |on: &str| Run {
        name: "loads".into(),
        ..order("tally", &["mine", "1000000", "10"], on, &[])
    };
    fleet.loads_for(engines, endless).await;
}

/// The last number that one of them has printed.
async fn all_counted(programs: Vec<Program>) -> u64 {
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
    loads(&fleet, &RING).await;
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

/// The dispatcher serves a program's values to the engine that has it, and shows that by its key; and to no
/// other login.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_is_for_the_engines_that_were_approved_and_have_the_program() {
    let fleet = fleet(Kind::Mosquitto)
        .signed()
        .registry()
        .engines(&["a", "b", "c"])
        .start()
        .await;
    let required = Roster {
        engines: Orders::Require,
        ..roster(2, Orders::Require)
    };
    let published = fleet.client.publish_roster(&signing_key(ROOT), &required).await;
    published.expect("the broker takes it");
    for view in fleet.client.engines().await.expect("the client is open") {
        if view.engine.as_str() == "c" {
            continue;
        }
        let card = Card {
            engine: view.engine.clone(),
            key: view.identity.expect("every engine shows one"),
            serial: 1,
            labels: Default::default(),
            host: None,
        };
        let card = card.encode(&signing_key(OPERATOR), &Topics::default());
        let published = fleet.client.publish_card(&view.engine, card).await;
        published.expect("the broker takes it");
    }
    loads(&fleet, &["a", "b"]).await;
    let tally = run(&fleet, "tally", &["mine", "200", "10"], "a", &[]).await;
    tally.printed(2).await;
    fleet.moves(tally.program, "b").await;
    assert_eq!(all_counted(vec![tally]).await, 200);

    let key = Key::of_program("tally", "mine").expect("a key");
    let get = || ValueAsk::Get { key: key.clone() };
    let limit = wayfare_tests::WAIT_MAX;
    let own = fleet
        .client
        .ask_values(get(), limit)
        .await
        .expect("a member asks");
    assert!(matches!(own, ValueAnswer::Value { .. }), "{own:?}");
    let stranger = fleet.client().await.ask_values(get(), limit).await;
    let refused = stranger.expect_err("nobody asks").to_string();
    assert!(refused.contains("the dispatcher does not take it"), "{refused}");
    // An engine that has the program, and whose key nobody knows.
    let unknown = run(&fleet, "tally", &["other", "1", "10"], "c", &[]).await;
    let log = String::from_utf8_lossy(&unknown.finish().await.stderr).into_owned();
    assert!(log.contains("the dispatcher does not take it"), "{log}");
}

/// Each of them hears of each change, which is published once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_watchers_of_a_value_cost_one_message_for_each_change() {
    const WATCHERS: usize = 1_000;
    const LIMIT: Duration = Duration::from_secs(60);
    let fleet = fleet(Kind::Mosquitto).registry().start().await;
    let key: Key = "/speed".to_owned().try_into().expect("a key");
    let topics = Topics::default();
    // Whoever listens without a word to anybody.
    let (link, mut heard) =
        wayfare_link::connect(LinkOptions::new(fleet.broker.url(), "listens")).expect("sound");
    let subscribed = link.subscribe(&topics.value(&key), Qos::AtLeastOnce).await;
    subscribed.expect("granted");
    let mut watchers = JoinSet::new();
    let (ready, mut readies) = mpsc::unbounded_channel();
    for _ in 0..WATCHERS {
        let (broker, ready, topics) = (fleet.broker.url(), ready.clone(), topics.clone());
        watchers.spawn(async move {
            let pattern = Pattern::try_from("/speed".to_owned()).expect("a pattern");
            let opened = ValueWatch::open(broker, &topics, pattern).await;
            let mut watching = opened.expect("a broker");
            let (mut versions, mut ready) = (Vec::new(), Some(ready));
            while versions.len() < 2 {
                match watching.next(LIMIT).await.expect("open") {
                    Watched::Begin => drop(ready.take().map(|ready| ready.send(()))),
                    Watched::Changed(changed) => versions.push(changed.version),
                }
            }
            watching.close().await;
            versions
        });
    }
    within("all of them to watch", async {
        for _ in 0..WATCHERS {
            readies.recv().await.expect("one has ended");
        }
    })
    .await;
    let mut set = Vec::new();
    for text in ["1", "2"] {
        let what = ValueAsk::Set {
            key: key.clone(),
            value: Value::new(text.into()).expect("it is short"),
        };
        match fleet.client.ask_values(what, LIMIT).await.expect("an answer") {
            ValueAnswer::Set { version } => set.push(version),
            other => panic!("{other:?}"),
        }
    }
    while let Some(seen) = within("a watcher to hear of both", watchers.join_next()).await {
        assert_eq!(seen.expect("it has not panicked"), set);
    }
    // Both, and nothing between them or behind them: what this one says itself comes last.
    let last = Message::new(topics.value(&key), b"last".to_vec());
    link.publish_acknowledged(last).await.expect("open");
    let mut published = Vec::new();
    within("all that was published", async {
        loop {
            match heard.next().await.expect("open") {
                Event::Received(incoming) if incoming.payload == b"last"[..] => break,
                Event::Received(incoming) => {
                    let changed: Changed = wire::decode(&incoming.payload).expect("a change");
                    published.push(changed.version);
                }
                _ => {}
            }
        }
    })
    .await;
    assert_eq!(published, set);
    link.close().await;
}
