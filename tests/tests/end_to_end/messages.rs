//! Programs that talk, moved, killed and cut off from their broker while messages go through them.
//!
//! The stream goes from a publisher through `relay`, which keeps a count and a sum over all that it received, to a
//! subscriber that writes down everything. In CI each goes on for a few seconds; `WAYFARE_STREAM_SECONDS` asks for more.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use tokio::sync::watch;
use wayfare_dispatcher::{CommandOptions, ResumeMode, Run};
use wayfare_link::{BrokerUrl, Event, Link, LinkOptions, Message, Qos};
use wayfare_protocol::grants::Grants;
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::stamp::{Purpose, Stamp};
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::{Fleet, done};
use wayfare_tests::within;

use crate::fleet;

const RING: [&str; 3] = ["a", "b", "c"];
/// Messages a second, and seconds, in CI.
const RATE: u64 = 1_000;
const SECONDS: u64 = 4;

fn setting(name: &str, default: u64) -> u64 {
    let asked = std::env::var(name).ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn order(name: &str, args: &[&str], on: &str, publish: &[&str], subscribe: &[&str]) -> Run {
    let all = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Run {
        name: name.into(),
        module: wayfare_samples::find_talker(name)
            .expect("a sample")
            .wasm
            .to_vec(),
        args: all(args),
        on: Some(on.into()),
        grants: Grants {
            publish: all(publish),
            subscribe: all(subscribe),
            ..Grants::default()
        },
        ..Run::default()
    }
}

/// Has the module on every engine, so that no move waits for that.
async fn loads(fleet: &Fleet, order: impl Fn(&str) -> Run) {
    for engine in RING {
        let watched = fleet.runs(order(engine)).await;
        watched.printed(1).await;
        fleet.kills(watched).await;
    }
}

fn relay(on: &str) -> Run {
    order("relay", &["in", "out"], on, &["out"], &["in"])
}

/// A number that is published, with the id that a program would give it.
fn stamped(sender: ProgramId, number: u64, payload: &str) -> Message {
    let stamp = Stamp {
        sender,
        number,
        purpose: Purpose::Message,
    };
    Message::new("in", stamp.put_on(payload.as_bytes()))
}

/// What comes out, as it comes.
struct Output {
    link: Link,
    collected: tokio::task::JoinHandle<Vec<(Option<Stamp>, String)>>,
    count: watch::Receiver<u64>,
}

impl Output {
    /// Collects until the stream's end.
    async fn collect(broker: BrokerUrl) -> Self {
        let options = LinkOptions::kept(broker, "sink");
        let (link, mut events) = wayfare_link::connect(options).expect("sound options");
        let answers = link.clone();
        let (counted, count) = watch::channel(0);
        let collected = tokio::spawn(async move {
            let mut all = Vec::new();
            while let Some(event) = events.next().await {
                let Event::Received(message) = event else { continue };
                answers.acknowledge(message.token);
                let (stamp, payload) = Stamp::take_off(&message.payload);
                let text = String::from_utf8(payload.to_vec()).expect("numbers");
                let is_end = text.starts_with("end");
                all.push((stamp, text));
                counted.send_replace(all.len() as u64);
                if is_end {
                    break;
                }
            }
            all
        });
        within("a subscription", link.subscribe("out", Qos::AtLeastOnce))
            .await
            .expect("granted");
        Self {
            link,
            collected,
            count,
        }
    }

    /// Waits until so many came.
    async fn came(&self, messages: u64) {
        let mut count = self.count.clone();
        let enough = within(
            &format!("{messages} messages"),
            count.wait_for(|count| *count >= messages),
        )
        .await;
        assert!(enough.is_ok(), "the stream ended before {messages} messages");
    }

    async fn all(self) -> Vec<(Option<Stamp>, String)> {
        let all = within("the end of the stream", self.collected)
            .await
            .expect("no panic");
        self.link.close().await;
        all
    }
}

/// Publishes `count` numbers at a rate, then the end.
async fn publish(broker: BrokerUrl, count: u64, rate: u64, stamps: bool) {
    let sender = stamps.then(ProgramId::random);
    publish_part(broker, sender, 0..count + 1, count, rate).await;
}

/// Some of them: number `count` is the end. With the ids of a sender, or plain.
async fn publish_part(
    broker: BrokerUrl,
    sender: Option<ProgramId>,
    numbers: Range<u64>,
    count: u64,
    rate: u64,
) {
    let (link, _events) = wayfare_link::connect(LinkOptions::new(broker, "source")).expect("sound options");
    let begun = tokio::time::Instant::now();
    let first = numbers.start;
    for number in numbers {
        let payload = if number == count {
            "end".to_owned()
        } else {
            number.to_string()
        };
        let message = match sender {
            Some(sender) => stamped(sender, number, &payload),
            None => Message::new("in", payload),
        };
        link.publish(message).await.expect("the link is open");
        if number % 16 == 0 {
            // The pace of the stream, which nothing waits for.
            tokio::time::sleep_until(begun + Duration::from_micros(1_000_000 * (number - first) / rate))
                .await;
        }
    }
    within("all to be published", link.flushed()).await.expect("open");
    link.close().await;
}

/// What the relay says to number `number` after all before it, in order.
fn expected(count: u64) -> Vec<String> {
    let mut sum = 0u64;
    let mut lines: Vec<String> = (0..count)
        .map(|number| {
            sum = sum.wrapping_mul(31).wrapping_add(number);
            format!("{number} {} {sum}", number + 1)
        })
        .collect();
    lines.push(format!("end {count} {sum}"));
    lines
}

fn must_be_exact(all: &[(Option<Stamp>, String)], count: u64) {
    let expected = expected(count);
    for (at, (found, wanted)) in all.iter().map(|(_, text)| text).zip(&expected).enumerate() {
        assert_eq!(found, wanted, "message {at} of {}", all.len());
    }
    assert_eq!(all.len(), expected.len());
}

/// As a receiver has it that drops repeats by their ids. Answers with how many there were.
fn must_be_exact_but_for_repeats(all: &[(Option<Stamp>, String)], count: u64) -> usize {
    let mut first: BTreeMap<u64, String> = BTreeMap::new();
    for (stamp, text) in all {
        let number = stamp.as_ref().expect("programs' messages have an id").number;
        let known = first.entry(number).or_insert_with(|| text.clone());
        assert_eq!(known, text, "a repeat says what the first said");
    }
    let told: Vec<(Option<Stamp>, String)> = first.into_values().map(|text| (None, text)).collect();
    must_be_exact(&told, count);
    all.len() - told.len()
}

/// A stream of plain messages, without any id, through a program that is moved all the time.
async fn streams_while_moved(broker: Kind) {
    let (rate, seconds) = (
        setting("WAYFARE_STREAM_RATE", RATE),
        setting("WAYFARE_STREAM_SECONDS", SECONDS),
    );
    let moves = setting("WAYFARE_STREAM_MOVES", 8);
    let count = rate * seconds;
    let fleet = fleet(broker).engines(&RING).start().await;
    loads(&fleet, relay).await;
    let watched = fleet.runs(relay("a")).await;
    watched.printed(1).await;
    let output = Output::collect(fleet.broker.url()).await;
    let source = tokio::spawn(publish(fleet.broker.url(), count, rate, false));
    for number in 1..=moves {
        output.came(count * number / (moves + 1)).await;
        fleet.moves(watched.program, RING[number as usize % 3]).await;
    }
    within("the source", source).await.expect("no panic");
    must_be_exact(&output.all().await, count);
    let sum = expected(count).pop().expect("the end");
    let sum = sum.rsplit(' ').next().expect("a sum");
    watched
        .must_print(format!("from in to out\n{count} messages, sum {sum}\n").as_bytes())
        .await;
    fleet.spy.check_history();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_through_a_moving_program_is_whole_on_mosquitto() {
    streams_while_moved(Kind::Mosquitto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_through_a_moving_program_is_whole_on_the_embedded_broker() {
    streams_while_moved(Kind::Embedded).await;
}

/// After each crash the program goes on from its last stored snapshot, with what it was sent since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_killed_in_the_stream_leaves_the_state_right_and_repeats_that_can_be_told() {
    let (rate, kills) = (
        setting("WAYFARE_STREAM_RATE", 500),
        setting("WAYFARE_STREAM_KILLS", 3),
    );
    let count = rate * setting("WAYFARE_STREAM_SECONDS", SECONDS);
    let mut fleet = fleet(Kind::Mosquitto)
        .engine("a", &["--checkpoint", "1"])
        .start()
        .await;
    let watched = fleet.runs(relay("a")).await;
    watched.printed(1).await;
    let output = Output::collect(fleet.broker.url()).await;
    let source = tokio::spawn(publish(fleet.broker.url(), count, rate, true));
    for number in 1..=kills {
        output.came(count * number / (kills + 1)).await;
        fleet.start_again(&["a"]).await;
    }
    within("the source", source).await.expect("no panic");
    let repeats = must_be_exact_but_for_repeats(&output.all().await, count);
    println!("{repeats} repeats of {count} messages, in {kills} crashes");
}

/// Everything that the broker has acknowledged is on its disk when it ends; the rest is sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_restarted_in_the_stream_loses_nothing() {
    let rate = setting("WAYFARE_STREAM_RATE", 500);
    let count = rate * setting("WAYFARE_STREAM_SECONDS", SECONDS);
    let mut fleet = fleet(Kind::MosquittoWithFolder).engines(&["a"]).start().await;
    let watched = fleet.runs(relay("a")).await;
    watched.printed(1).await;
    let output = Output::collect(fleet.broker.url()).await;
    let source = tokio::spawn(publish(fleet.broker.url(), count, rate, true));
    for number in 1..=2 {
        output.came(count * number / 3).await;
        if !fleet.broker.stop().await {
            return println!("skipped: this needs Mosquitto");
        }
        fleet.broker.start_again().await;
    }
    within("the source", source).await.expect("no panic");
    let repeats = must_be_exact_but_for_repeats(&output.all().await, count);
    println!("{repeats} repeats of {count} messages, in 2 restarts of the broker");
}

/// What Mosquitto had stored when it was killed is all there: messages that the program had not been sent, its subscription, and
/// those that wait for its reader. (What it had acknowledged and not stored is lost with it: see its `autosave_interval`.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_in_the_stream_loses_nothing_of_what_it_had_stored() {
    let (count, rate) = (2_000, 2_000);
    let mut fleet = fleet(Kind::MosquittoWithFolder).engines(&["a"]).start().await;
    let watched = fleet.runs(relay("a")).await;
    watched.printed(1).await;
    let output = Output::collect(fleet.broker.url()).await;
    let (broker, sender) = (fleet.broker.url(), Some(ProgramId::random()));
    let part = |numbers| publish_part(broker.clone(), sender, numbers, count, rate);
    part(0..600).await;
    output.came(300).await;
    let options = CommandOptions::default();
    done(fleet.dispatcher.pause(&watched.id(), &options).await).await;
    // These wait at the broker: nobody takes them now.
    part(600..1_300).await;
    if !fleet.broker.store().await {
        return println!("skipped: this needs Mosquitto");
    }
    fleet.broker.kill().await;
    fleet.broker.start_again().await;
    fleet.all_online().await;
    done(
        fleet
            .dispatcher
            .resume(&watched.id(), ResumeMode::Normal, &options)
            .await,
    )
    .await;
    part(1_300..count + 1).await;
    let repeats = must_be_exact_but_for_repeats(&output.all().await, count);
    println!("{repeats} repeats of {count} messages, in a crash of the broker");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_goes_on_wherever_the_two_are() {
    let fleet = fleet(Kind::Mosquitto).engines(&RING).start().await;
    let answer = |on: &str| order("chat", &["answer", "talk"], on, &[], &["talk"]);
    loads(&fleet, answer).await;
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
