//! Programs that call each other, wherever they are.

use std::time::Duration;

use wayfare_client::Run;
use wayfare_client::calls::{CallError, Caller};
use wayfare_client::order::CommandOptions;
use wayfare_link::{Event, LinkOptions, Message, Qos};
use wayfare_protocol::address::Address;
use wayfare_protocol::call::FailureKind;
use wayfare_protocol::grants::Grants;
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::wire;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::{Fleet, done};
use wayfare_tests::stream::order;
use wayfare_tests::within;

use crate::fleet;

const RING: [&str; 3] = ["a", "b", "c"];
const LIMIT: Duration = Duration::from_secs(60);

/// Both are granted all of it: neither does more than its arguments say.
fn calc(name: &str, args: &[&str], on: &str) -> Run {
    Run {
        name: name.into(),
        grants: Grants {
            call: vec!["#".into()],
            serve: vec!["calc".into()],
            ..Grants::default()
        },
        ..order("calc", args, on, &[], &[])
    }
}

fn service() -> Address {
    "service/calc".parse().expect("an address")
}

async fn caller(fleet: &Fleet) -> Caller {
    let connected = Caller::connect(fleet.broker.url(), Topics::default(), None, LIMIT);
    connected.await.expect("a broker")
}

fn addresses(caller: &Caller) -> Vec<String> {
    let providers = caller.providers();
    providers.iter().map(|one| one.address.to_string()).collect()
}

async fn calls(caller: &mut Caller, function: &str) -> Result<String, CallError> {
    let result = within("a call", caller.call(&service(), function, b"", LIMIT)).await;
    result.map(|bytes| String::from_utf8(bytes).expect("a text"))
}

fn is_unavailable(result: &Result<Vec<u8>, CallError>) -> bool {
    let kind = FailureKind::Unavailable;
    matches!(result, Err(CallError::Failed { kind: found, .. }) if *found == kind)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_is_answered_once_while_caller_and_provider_move() {
    const CALLS: usize = 500;
    const MOVES: usize = 20;
    let fleet = fleet(Kind::Mosquitto).engines(&RING).start().await;
    let serves = |on: &str| calc("hall", &["serve", "calc"], on);
    fleet.loads_for(&RING, serves).await;
    let provider = fleet.runs(serves("a")).await;
    provider.printed(1).await;
    let asks = ["call", "service/calc", &CALLS.to_string(), "20"];
    let asks = fleet.runs(calc("ann", &asks, "b")).await;
    for number in 1..=MOVES {
        asks.printed(CALLS * number / (MOVES + 1)).await;
        tokio::join!(
            fleet.moves(provider.program, RING[number % 3]),
            fleet.moves(asks.program, RING[(number + 1) % 3])
        );
    }
    let mut expected: String = (1..=CALLS)
        .map(|number| format!("twice {number} is {}\n", 2 * number))
        .collect();
    expected += &format!("{CALLS} were doubled\n");
    asks.must_print(expected.as_bytes()).await;
    fleet.kills(provider).await;
    fleet.spy.check_history();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_is_announced_while_it_serves_and_a_call_of_one_that_ends_or_is_killed_fails() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a", "b"]).start().await;
    let provider = fleet.runs(calc("hall", &["serve", "calc"], "a")).await;
    provider.printed(1).await;
    let mut asks = caller(&fleet).await;
    let id = provider.id();
    let all = [
        format!("program/{id}"),
        "program/hall".into(),
        "service/calc".into(),
    ];
    assert_eq!(addresses(&asks), all);
    assert_eq!(calls(&mut asks, "count").await.expect("an answer"), "0");
    fleet.moves(provider.program, "b").await;
    assert_eq!(calls(&mut asks, "count").await.expect("an answer"), "0");
    let unknown = calls(&mut asks, "dance").await;
    assert!(
        matches!(
            &unknown,
            Err(CallError::Failed {
                kind: FailureKind::NotFound,
                ..
            })
        ),
        "{unknown:?}"
    );
    // Paused, it answers nothing; killed, it fails who waits.
    let client = fleet.client().await;
    done(client.pause(&id, &CommandOptions::default()).await).await;
    let open = asks
        .begin(&service(), "count", b"", LIMIT)
        .await
        .expect("it is announced");
    fleet.kills(provider).await;
    let failed = within("the end of a call", asks.end(open)).await;
    assert!(is_unavailable(&failed), "{failed:?}");
    assert!(addresses(&asks).iter().all(|address| address != "service/calc"));
    client.close().await;
    asks.close().await;

    let provider = fleet.runs(calc("hall", &["serve", "calc"], "a")).await;
    provider.printed(1).await;
    let mut asks = caller(&fleet).await;
    let last = calls(&mut asks, "stop")
        .await
        .expect("its last answer comes before it is gone");
    assert_eq!(last, "\"stops after 0\"");
    // It may be announced until its last words are with the broker.
    let gone = calls(&mut asks, "count").await.map(String::into_bytes);
    assert!(
        is_unavailable(&gone) || matches!(gone, Err(CallError::Nobody(_))),
        "{gone:?}"
    );
    provider.finish().await;
    asks.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_engine_left_announced_of_a_program_that_has_ended_is_withdrawn() {
    let mut fleet = fleet(Kind::Mosquitto).engines(&["a"]).start().await;
    let provider = fleet.runs(calc("hall", &["serve", "calc"], "a")).await;
    provider.printed(1).await;
    let mut asks = caller(&fleet).await;
    let left = asks.providers();
    calls(&mut asks, "stop").await.expect("an answer");
    asks.close().await;
    let id = provider.program;
    provider.finish().await;
    fleet.engine("a").kill();
    // As if it had died before it withdrew it.
    let (link, mut events) =
        wayfare_link::connect(LinkOptions::new(fleet.broker.url(), "left")).expect("sound");
    let topic = Topics::default().topic(&Topic::Address(service(), id));
    let announcement = wire::encode(&left.first().expect("it was announced").announcement);
    let message = Message::new(topic.clone(), announcement).retained();
    link.publish_acknowledged(message).await.expect("open");
    link.subscribe(&topic, Qos::AtLeastOnce).await.expect("granted");
    fleet.start_again(&["a"]).await;
    within("it to be withdrawn", async {
        loop {
            match events.next().await.expect("open") {
                Event::Received(incoming) if incoming.payload.is_empty() => break,
                _ => {}
            }
        }
    })
    .await;
    link.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_and_services_that_are_not_granted_are_refused_and_the_log_says_what_grants_them() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a"]).start().await;
    for (args, expected) in [
        (&["serve", "calc"][..], "not granted: serve 'calc'; --allow-serve"),
        (
            &["call", "service/calc", "1"],
            "not granted: call 'service/calc'; --allow-call",
        ),
    ] {
        let watched = fleet.runs(order("calc", args, "a", &[], &[])).await;
        let log = String::from_utf8_lossy(&watched.finish().await.stderr).into_owned();
        assert!(log.contains(expected), "{log}");
    }
}
