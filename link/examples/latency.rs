//! How long a message takes between two links, through the embedded broker and through Mosquitto.
//!
//! `cargo run -p wayfare-link --release --example latency`
//!
//! "one way" is from `publish` at one link to the event at the other; "round trip" is there and back, as a
//! command and its answer go; "acknowledged" is until the broker has acknowledged. One message at a time, at
//! least once.

use std::time::{Duration, Instant};

use wayfare_link::mosquitto::{MosquittoOptions, MosquittoProcess};
use wayfare_link::{
    BrokerOptions, BrokerUrl, EmbeddedBroker, Event, Incoming, Link, LinkEvents, LinkOptions, Message, Qos,
    connect,
};

const WARM_UP: usize = 200;
const ROUNDS: usize = 2000;
const STREAM: usize = 2000;

#[tokio::main]
async fn main() {
    let broker = EmbeddedBroker::start(BrokerOptions::loopback())
        .await
        .expect("the broker starts");
    measure("embedded", broker.local_addr().into()).await;
    broker.shutdown().await.expect("the broker stops");
    if let Some(broker) = MosquittoProcess::start(MosquittoOptions::default()).expect("mosquitto starts") {
        measure("mosquitto", broker.local_addr().into()).await;
    }
}

async fn measure(name: &str, url: BrokerUrl) {
    let (here, mut here_events) = subscribed(&url, "here").await;
    let (there, mut there_events) = subscribed(&url, "there").await;
    for bytes in [100, 16 * 1024, 64 * 1024] {
        let payload = vec![7_u8; bytes];
        let (mut one_way, mut round_trip, mut acknowledged) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..WARM_UP + ROUNDS {
            let begin = Instant::now();
            here.publish(Message::new("there", payload.clone()))
                .await
                .expect("the link is open");
            let incoming = next_message(&mut there_events).await;
            let arrived = begin.elapsed();
            there
                .publish(Message::new("here", incoming.payload))
                .await
                .expect("the link is open");
            next_message(&mut here_events).await;
            let returned = begin.elapsed();
            here.flushed().await.expect("the link is open");
            let begin = Instant::now();
            here.publish_acknowledged(Message::new("nobody", payload.clone()))
                .await
                .expect("the link is open");
            let answered = begin.elapsed();
            if round >= WARM_UP {
                one_way.push(arrived);
                round_trip.push(returned);
                acknowledged.push(answered);
            }
        }
        print(name, bytes, "one way", one_way);
        print(name, bytes, "round trip", round_trip);
        print(name, bytes, "acknowledged", acknowledged);
        let rate = stream(&here, &mut there_events, &payload).await;
        println!(
            "{name:10} {bytes:6} bytes  stream        {:8.0} messages a second",
            rate
        );
    }
    here.close().await;
    there.close().await;
}

async fn subscribed(url: &BrokerUrl, name: &str) -> (Link, LinkEvents) {
    let (link, events) = connect(LinkOptions::new(url.clone(), name)).expect("the options are good");
    link.subscribe(name, Qos::AtLeastOnce)
        .await
        .expect("the broker is there");
    (link, events)
}

/// Messages a second, as fast as they go.
async fn stream(here: &Link, there_events: &mut LinkEvents, payload: &[u8]) -> f64 {
    let begin = Instant::now();
    let (link, payload) = (here.clone(), payload.to_vec());
    let publishing = tokio::spawn(async move {
        for _ in 0..STREAM {
            link.publish(Message::new("there", payload.clone()))
                .await
                .expect("the link is open");
        }
    });
    for _ in 0..STREAM {
        next_message(there_events).await;
    }
    publishing.await.expect("it does not panic");
    STREAM as f64 / begin.elapsed().as_secs_f64()
}

async fn next_message(events: &mut LinkEvents) -> Incoming {
    loop {
        match events.next().await.expect("the link is open") {
            Event::Received(incoming) => return incoming,
            Event::Connected { .. } => {}
            Event::Disconnected { reason, .. } => panic!("{reason}"),
            Event::Oversized(message) => panic!("oversized: {} bytes", message.bytes),
        }
    }
}

fn print(name: &str, bytes: usize, what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let micros = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e6;
    println!(
        "{name:10} {bytes:6} bytes  {what:12}  p50 {:6.0} us  p99 {:6.0} us",
        micros(50),
        micros(99)
    );
}
