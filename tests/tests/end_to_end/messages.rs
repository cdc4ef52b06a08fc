//! Programs that talk to each other and to the world, wherever they are.

use std::io::{Read, Write};
use std::net::TcpStream;

use wayfare_link::{LinkOptions, Message};
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::Fleet;
use wayfare_tests::registry::Registry;
use wayfare_tests::stream::{Output, Source, order};
use wayfare_tests::within;

use crate::fleet;

const RING: [&str; 3] = ["a", "b", "c"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_goes_on_wherever_the_two_are() {
    let fleet = fleet(Kind::Mosquitto).engines(&RING).start().await;
    let answer = |on: &str| order("chat", &["answer", "talk"], on, &[], &["talk"]);
    fleet.loads_for(&RING, answer).await;
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

/// Whom a request is for may be a moment later than the request: two instances of an application start at
/// once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_reaches_who_subscribes_while_its_reply_is_waited_for() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a", "b"]).start().await;
    let questions = Output::collect(fleet.broker.url(), "talk").await;
    let asks = order("chat", &["ask", "talk", "ann", "3", "10"], "b", &["talk"], &[]);
    let asks = fleet.runs(asks).await;
    // Sent, and sent again: nobody is there.
    questions.came(2).await;
    let answers = fleet
        .runs(order("chat", &["answer", "talk"], "a", &[], &["talk"]))
        .await;
    let said: String = (1..=3)
        .map(|number| format!("{number}: hello ann, you asked {number} times\n"))
        .collect();
    asks.must_print(said.as_bytes()).await;
    fleet.kills(answers).await;
}

/// Through the files of `/wayfare`, which is all that this program knows of Wayfare.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_are_passed_on_once_wherever_their_program_is() {
    const COUNT: u64 = 600;
    let fleet = fleet(Kind::Mosquitto).engines(&RING).start().await;
    let dispatcher = Registry::start(fleet.broker.url(), fleet.folder().join("service"));
    let lines = |on: &str| order("lines", &["in", "out"], on, &["out"], &["in"]);
    fleet.loads_for(&RING, lines).await;
    let watched = fleet.runs(lines("a")).await;
    watched.printed(1).await;
    let output = Output::collect(fleet.broker.url(), "out").await;
    let source = Source {
        sender: None,
        count: COUNT,
        rate: 400,
    };
    let publishing = source.publish(fleet.broker.url(), &output);
    for number in 1..=5_u64 {
        output.came(COUNT * number / 6).await;
        fleet.moves(watched.program, RING[(number % 3) as usize]).await;
    }
    within("all to be published", publishing).await.expect("no panic");
    source.publish_end(fleet.broker.url()).await;
    let heard: Vec<String> = output.all().await.into_iter().map(|one| one.text).collect();
    let mut expected: Vec<String> = (0..COUNT)
        .map(|number| format!("{number} {}", number + 1))
        .collect();
    expected.push(format!("end {}", COUNT + 1));
    assert_eq!(heard, expected);
    let finished = watched.finish().await;
    let printed = String::from_utf8_lossy(&finished.stdout).into_owned();
    let places = ["b", "c", "a", "b", "c"]
        .map(|engine| format!("now on {engine}\n"))
        .concat();
    assert_eq!(
        printed,
        format!("from in to out\n{places}{} messages\n", COUNT + 1)
    );
    dispatcher.stop().await;
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

/// Publishes what the link would refuse, at least once, as a client that knows no limit does.
async fn publishes_anything(fleet: &Fleet, topic: &str, payload: &[u8]) {
    let url = fleet.broker.url();
    let address = (url.host().to_owned(), url.port());
    let mut publish = u16::try_from(topic.len()).expect("short").to_be_bytes().to_vec();
    publish.extend([topic.as_bytes(), &[0, 1], payload].concat());
    let connect = *b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01p";
    let all = [&connect[..], &[0x32], &length(publish.len()), &publish].concat();
    let exchange = move || {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(&all)?;
        let mut answers = [0; 8];
        stream.read_exact(&mut answers)?;
        std::io::Result::Ok(answers)
    };
    let answers = within("a publish", tokio::task::spawn_blocking(exchange)).await;
    let answers = answers.expect("no panic").expect("the broker answers");
    assert_eq!(
        answers,
        [0x20, 2, 0, 0, 0x40, 2, 0, 1],
        "accepted and acknowledged"
    );
}

/// MQTT's remaining length: seven bits a byte, the lowest first.
fn length(mut left: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let more = if left >= 0x80 { 0x80 } else { 0 };
        bytes.push(u8::try_from(left & 0x7f).expect("seven bits") | more);
        left >>= 7;
        if left == 0 {
            return bytes;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_too_large_is_said_in_the_log_and_what_follows_arrives() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a"]).start().await;
    let watched = fleet
        .runs(order("relay", &["in", "out"], "a", &["out"], &["in"]))
        .await;
    watched.printed(1).await;
    // First: what came before it and was not acknowledged yet would come twice, since it has no id.
    publishes_anything(&fleet, "in", &vec![b'x'; 20_000_000]).await;
    publishes_anything(&fleet, "in", b"8").await;
    publishes_anything(&fleet, "in", b"end").await;
    let finished = watched.finish().await;
    let printed = String::from_utf8_lossy(&finished.stdout).into_owned();
    assert!(printed.ends_with("1 messages, sum 8\n"), "{printed}");
    let log = String::from_utf8_lossy(&finished.stderr).into_owned();
    assert!(
        log.contains("a message of 20000000 bytes on 'in' was dropped: the limit is 1048576 bytes"),
        "{log}"
    );
}
