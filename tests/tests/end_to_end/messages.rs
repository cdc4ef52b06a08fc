//! Programs that talk to each other and to the world, wherever they are.

use wayfare_link::{LinkOptions, Message};
use wayfare_tests::broker::Kind;
use wayfare_tests::stream::{loads, order};
use wayfare_tests::within;

use crate::fleet;

const RING: [&str; 3] = ["a", "b", "c"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_goes_on_wherever_the_two_are() {
    let fleet = fleet(Kind::Mosquitto).engines(&RING).start().await;
    let answer = |on: &str| order("chat", &["answer", "talk"], on, &[], &["talk"]);
    loads(&fleet, &RING, answer).await;
    let answers = fleet.runs(answer("a")).await;
    answers.printed(1).await;
    let asks = order("chat", &["ask", "talk", "ann", "80", "20"], "b", &["talk"], &[]);
    let asks = fleet.runs(asks).await;
    for number in 1..=4 {
        asks.printed(number * 5).await;
        fleet.moves(answers.program, RING[number % 3]).await;
        fleet.moves(asks.program, RING[(number + 1) % 3]).await;
    }
    let said: String = (1..=80)
        .map(|number| format!("{number}: hello ann, you asked {number} times\n"))
        .collect();
    asks.must_print(said.as_bytes()).await;
    fleet.kills(answers).await;
    fleet.spy.check_history();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_granted_is_refused_and_said_in_the_log() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a"]).start().await;
    let watched = fleet
        .runs(order("relay", &["in", "out"], "a", &["out"], &["other/#"]))
        .await;
    let finished = watched.finish().await;
    let log = String::from_utf8_lossy(&finished.stderr).into_owned();
    assert!(log.contains("not granted: subscribe 'in'; --allow-sub"), "{log}");
    assert!(log.contains("relay: not granted to this program"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thermostat_goes_on_deciding_after_a_move() {
    let fleet = fleet(Kind::Mosquitto).engines(&RING).start().await;
    let order = order(
        "thermostat",
        &["home", "20", "1"],
        "a",
        &["home/heating"],
        &["home/#"],
    );
    let watched = fleet.runs(order).await;
    watched.printed(1).await;
    let (link, _events) =
        wayfare_link::connect(LinkOptions::new(fleet.broker.url(), "sensors")).expect("sound");
    let says = |topic: &str, value: &str| {
        let message = Message::new(format!("home/{topic}"), value.to_owned());
        let link = link.clone();
        async move {
            within("a publish", link.publish_acknowledged(message))
                .await
                .expect("open")
        }
    };
    says("kitchen/temperature", "18").await;
    watched.printed(2).await;
    fleet.moves(watched.program, "b").await;
    watched.printed(3).await;
    says("hall/temperature", "24").await;
    watched.printed(4).await;
    let printed = String::from_utf8_lossy(&watched.stdout()).into_owned();
    assert_eq!(
        printed,
        "keeps home at 20.0 degrees\nheating on at 18.00 degrees\nnow on b\nheating off at 21.00 degrees\n"
    );
    link.close().await;
    fleet.kills(watched).await;
}
