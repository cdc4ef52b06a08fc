//! A stream of numbers through the sample `relay`, which keeps a count and a sum over all that it was handed,
//! to a subscriber that writes down everything: what is lost, doubled or out of order on the way shows.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use wayfare_client::Run;
use wayfare_link::{BrokerUrl, Event, Link, LinkOptions, Message, Qos};
use wayfare_protocol::grants::Grants;
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::stamp::{Purpose, Stamp};

use crate::within;

/// Messages of the source that are published without a look at the time.
const BURST: u64 = 16;
/// The source is not further ahead of what came out: brokers drop what is over their queues, 100,000 messages
/// here.
const AHEAD_MAX: u64 = 50_000;

/// How a sample that talks is run.
pub fn order(name: &str, args: &[&str], on: &str, publish: &[&str], subscribe: &[&str]) -> Run {
    let all = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let sample = wayfare_samples::find_talker(name).expect("a sample");
    Run {
        name: name.into(),
        module: sample.wasm.to_vec(),
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

/// From `in` to `out`.
pub fn relay(on: &str) -> Run {
    order("relay", &["in", "out"], on, &["out"], &["in"])
}

/// What was published on a topic.
#[derive(Debug)]
pub struct Heard {
    pub stamp: Option<Stamp>,
    pub text: String,
    pub at: Instant,
}

/// What comes out, as it comes.
#[derive(Debug)]
pub struct Output {
    link: Link,
    collected: JoinHandle<Vec<Heard>>,
    count: watch::Receiver<u64>,
}

impl Output {
    /// Collects until the stream's end.
    pub async fn collect(broker: BrokerUrl, topic: &str) -> Self {
        let options = LinkOptions::kept(broker, format!("sink-{topic}"));
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
                let at = Instant::now();
                all.push(Heard { stamp, text, at });
                counted.send_replace(all.len() as u64);
                if is_end {
                    break;
                }
            }
            all
        });
        within("a subscription", link.subscribe(topic, Qos::AtLeastOnce))
            .await
            .expect("granted");
        Self {
            link,
            collected,
            count,
        }
    }

    /// Waits until so many came.
    pub async fn came(&self, messages: u64) {
        let mut count = self.count.clone();
        let enough = within(
            &format!("{messages} messages"),
            count.wait_for(|count| *count >= messages),
        )
        .await;
        assert!(enough.is_ok(), "the stream ended before {messages} messages");
    }

    /// Waits for the end.
    pub async fn all(self) -> Vec<Heard> {
        let all = within("the end of the stream", self.collected)
            .await
            .expect("no panic");
        self.link.close().await;
        all
    }
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

/// What is published: the numbers below `count` and then the end, or some of these.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// With its ids, or plain.
    pub sender: Option<ProgramId>,
    pub count: u64,
    /// Messages a second.
    pub rate: u64,
}

impl Source {
    /// All but the end. Answers with when it was done.
    pub fn publish(self, broker: BrokerUrl, out: &Output) -> JoinHandle<Instant> {
        tokio::spawn(publish(broker, self, 0..self.count, Some(out.count.clone())))
    }

    /// The program that is handed this ends.
    pub async fn publish_end(self, broker: BrokerUrl) {
        self.publish_some(broker, self.count..self.count + 1).await;
    }

    pub async fn publish_some(self, broker: BrokerUrl, numbers: Range<u64>) {
        publish(broker, self, numbers, None).await;
    }
}

async fn publish(
    broker: BrokerUrl,
    source: Source,
    numbers: Range<u64>,
    mut out: Option<watch::Receiver<u64>>,
) -> Instant {
    let Source { sender, count, rate } = source;
    let (link, _events) = wayfare_link::connect(LinkOptions::new(broker, "source")).expect("sound options");
    let begun = Instant::now();
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
        if number % BURST == 0 {
            // The pace of the stream, which nothing waits for.
            sleep_until(begun + Duration::from_micros(1_000_000 * (number - first) / rate)).await;
            if let Some(out) = &mut out {
                let is_near = |came: &u64| number.saturating_sub(*came) <= AHEAD_MAX;
                // Whoever counts is gone only when the test is.
                let _ = within("what is published to come out", out.wait_for(is_near)).await;
            }
        }
    }
    within("all to be published", link.flushed()).await.expect("open");
    let done = Instant::now();
    link.close().await;
    done
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

/// The relay's standard output.
pub fn printed(count: u64) -> String {
    let end = expected(count).pop().expect("the end");
    let sum = end.rsplit(' ').next().expect("a sum");
    format!("from in to out\n{count} messages, sum {sum}\n")
}

pub fn must_be_exact<'a>(all: impl ExactSizeIterator<Item = &'a str>, count: u64) {
    let (found, expected) = (all.len(), expected(count));
    for (at, (found, wanted)) in all.zip(&expected).enumerate() {
        assert_eq!(found, wanted, "message {at}");
    }
    assert_eq!(found, expected.len());
}

/// As a receiver has it that drops repeats by their ids. Answers with those that are left.
pub fn must_be_exact_but_for_repeats(all: &[Heard], count: u64) -> Vec<&Heard> {
    let mut first: BTreeMap<u64, &str> = BTreeMap::new();
    let mut told = Vec::new();
    for heard in all {
        let number = heard
            .stamp
            .as_ref()
            .expect("programs' messages have an id")
            .number;
        let known = first.entry(number).or_insert_with(|| {
            told.push(heard);
            &heard.text
        });
        assert_eq!(*known, heard.text, "a repeat says what the first said");
    }
    must_be_exact(told.iter().map(|heard| heard.text.as_str()), count);
    told
}
