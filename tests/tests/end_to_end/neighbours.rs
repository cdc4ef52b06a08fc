//! Programs of one engine that call each other: what they say need not go through the broker.

use wayfare_link::{Event, LinkOptions, Qos};
use wayfare_tests::broker::Kind;
use wayfare_tests::within;

use crate::calls::{calc, doubled, lines_of};
use crate::fleet;

const CALLS: usize = 300;
/// Of twice as many messages as there are calls. The first go through the broker, and those that are made before they have arrived: up to
/// eight calls are open at once.
const SEEN_MAX: usize = CALLS / 2;

/// What programs send each other, as somebody sees it who may hear everything.
async fn listens(broker: wayfare_link::BrokerUrl) -> (wayfare_link::Link, wayfare_link::LinkEvents) {
    let mut options = LinkOptions::new(broker, "listens");
    let filters = ["wayfare/v1/program/+/inbox", "wayfare/v1/program/+/reply"];
    options.subscriptions = filters.map(|filter| (filter.to_owned(), Qos::AtLeastOnce)).into();
    let (link, mut events) = wayfare_link::connect(options).expect("sound");
    within("a connection", async {
        while !matches!(events.next().await.expect("open"), Event::Connected { .. }) {}
    })
    .await;
    (link, events)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_programs_on_one_engine_do_not_pass_the_broker_and_go_on_through_it_when_one_moves() {
    for broker in [Kind::Mosquitto, Kind::Embedded] {
        let fleet = fleet(broker).engines(&["a", "b"]).start().await;
        let serves = |on: &str| calc("hall", &["serve", "calc"], on);
        fleet.loads_for(&["a", "b"], serves).await;
        let provider = fleet.runs(serves("a")).await;
        provider.printed(1).await;
        let (link, mut events) = listens(fleet.broker.url()).await;
        let count = CALLS.to_string();
        let here = fleet
            .runs(calc("ann", &["call", "service/calc", &count, "0"], "a"))
            .await;
        here.must_print(doubled(CALLS).as_bytes()).await;
        let mut seen = 0;
        while let Some(event) = events.try_next() {
            if let Event::Received(message) = event {
                link.acknowledge(message.token);
                seen += 1;
            }
        }
        assert!(seen <= SEEN_MAX, "{seen} messages passed the broker");
        link.close().await;
        let moves = fleet
            .runs(calc("bob", &["call", "service/calc", &count, "5"], "a"))
            .await;
        for (number, to) in [(1, "b"), (2, "a"), (3, "b")] {
            moves.printed(CALLS * number / 4).await;
            fleet.moves(provider.program, to).await;
        }
        let all = lines_of(CALLS) + &format!("{} were doubled\n", 2 * CALLS);
        moves.must_print(all.as_bytes()).await;
        fleet.kills(provider).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_on_one_engine_is_answered_once_while_that_is_killed() {
    for broker in [Kind::Mosquitto, Kind::Embedded] {
        let mut fleet = fleet(broker).engines(&["a"]).start().await;
        let provider = fleet.runs(calc("hall", &["serve", "calc"], "a")).await;
        provider.printed(1).await;
        let count = CALLS.to_string();
        let asks = fleet
            .runs(calc("ann", &["call", "service/calc", &count, "5"], "a"))
            .await;
        for number in 1..=3 {
            asks.printed(CALLS * number / 4).await;
            fleet.engine("a").kill();
            fleet.start_again(&["a"]).await;
        }
        asks.must_print(doubled(CALLS).as_bytes()).await;
        fleet.kills(provider).await;
    }
}
