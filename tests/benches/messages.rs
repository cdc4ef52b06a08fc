//! What a program adds to messages that pass through it, beside a bare rumqttc client that passes them on in
//! its place: `cargo bench -p wayfare-tests --bench messages`.
//!
//! The program is the sample `relay`; both subscribe and publish at least once. Printed, never asserted, on
//! Mosquitto (if it is installed) and on the embedded broker:
//! * *messages a second*: as many as are published at once, from the first published to the last received;
//! * *latency*: from publishing to receiving what was passed on, of a stream of few messages.
//!
//! * calls of one program by another, beside other ways to ask and be answered (`messages/calls.rs`).
//!
//! Options behind `--`: `--count N` (20000) messages at once, `--seconds N` (5) of the stream, at `--rate N`
//! (200) a second, `--calls N` (1000).

#[path = "messages/calls.rs"]
mod calls;
mod common;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use common::{Broker, all_online, engine, machine};
use rumqttc::{AsyncClient, MqttOptions, Packet, QoS};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use wayfare_client::{Client, ClientOptions, CommandOptions, Order, Run};
use wayfare_link::{BrokerUrl, Event, Link, LinkOptions, Message, Qos};
use wayfare_protocol::event::Outcome;
use wayfare_protocol::grants::Grants;
use wayfare_protocol::stamp::Stamp;

const PATIENCE: Duration = Duration::from_secs(120);

struct Options {
    count: u64,
    seconds: u64,
    rate: u64,
    calls: u64,
}

impl Options {
    fn parse(args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            count: 20_000,
            seconds: 5,
            rate: 200,
            calls: 1_000,
        };
        let mut args = args.filter(|arg| arg != "--bench");
        while let Some(arg) = args.next() {
            let value = args.next().with_context(|| format!("{arg} needs a number"))?;
            let value = value.parse().with_context(|| format!("{arg} needs a number"))?;
            match arg.as_str() {
                "--count" => options.count = value,
                "--seconds" => options.seconds = value,
                "--rate" => options.rate = value,
                "--calls" => options.calls = value,
                _ => bail!("unknown option {arg}"),
            }
        }
        Ok(options)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    anyhow::ensure!(options.calls > 0, "--calls needs a number above 0");
    println!(
        "{} messages at once; {} s of {} a second; {}",
        options.count,
        options.seconds,
        options.rate,
        machine()
    );
    println!();
    println!("| broker | passed on by | messages a second | latency p50 | p99 |");
    println!("| --- | --- | --: | --: | --: |");
    for kind in ["mosquitto", "embedded"] {
        let broker = Broker::start(kind).await?;
        let bare = bare(&broker, &options).await.context("the bare client")?;
        bare.print(&broker, "a bare rumqttc client");
        let program = program(&broker, &options).await.context("the program")?;
        program.print(&broker, "the program `relay`");
    }
    calls::print(options.calls).await
}

struct Figures {
    per_second: f64,
    latencies: Vec<Duration>,
}

impl Figures {
    fn print(mut self, broker: &Broker, way: &str) {
        self.latencies.sort();
        let quantile =
            |part: usize| self.latencies[(self.latencies.len() - 1) * part / 100].as_secs_f64() * 1e3;
        println!(
            "| {} | {way} | {:.0} | {:.2} ms | {:.2} ms |",
            broker.name(),
            self.per_second,
            quantile(50),
            quantile(99)
        );
    }
}

/// Passes on from `in` to `out` what comes, with nothing between.
async fn bare(broker: &Broker, options: &Options) -> Result<Figures> {
    let address = broker.address();
    let mut settings = MqttOptions::new("bare", address.ip().to_string(), address.port());
    settings.set_inflight(100);
    let (client, mut events) = AsyncClient::new(settings, 1_000);
    let mut network = events.network_options();
    network.set_tcp_nodelay(true);
    events.set_network_options(network);
    client.subscribe("in", QoS::AtLeastOnce).await?;
    let (ready, subscribed) = tokio::sync::oneshot::channel();
    // Publishing in the task that polls would block it once the channel is full.
    let (pass_on, mut passed_on) = mpsc::unbounded_channel();
    let publisher = tokio::spawn(async move {
        while let Some(payload) = passed_on.recv().await {
            if client
                .publish("out", QoS::AtLeastOnce, false, payload)
                .await
                .is_err()
            {
                break;
            }
        }
    });
    let poller = tokio::spawn(async move {
        let mut ready = Some(ready);
        while let Ok(event) = events.poll().await {
            match event {
                rumqttc::Event::Incoming(Packet::SubAck(_)) => {
                    let _ = ready.take().map(|ready| ready.send(()));
                }
                rumqttc::Event::Incoming(Packet::Publish(message)) => {
                    let _ = pass_on.send(message.payload.to_vec());
                }
                _ => {}
            }
        }
    });
    timeout(PATIENCE, subscribed).await??;
    let figures = measure(broker.url(), options).await;
    poller.abort();
    publisher.abort();
    figures
}

async fn program(broker: &Broker, options: &Options) -> Result<Figures> {
    let folder = tempfile::tempdir()?;
    let _engine = engine("bench", broker, folder.path())?;
    let client = Client::connect(ClientOptions::new(broker.url())).await?;
    all_online(&client, 1).await?;
    let sample = wayfare_samples::find_talker("relay").context("a sample")?;
    let run = Run {
        name: "relay".into(),
        module: sample.wasm.to_vec(),
        args: vec!["in".into(), "out".into()],
        on: Some("bench".into()),
        grants: Grants {
            publish: vec!["out".into()],
            subscribe: vec!["in".into()],
            ..Grants::default()
        },
        ..Run::default()
    };
    let command = CommandOptions::default();
    let Outcome::Running { program, .. } = client
        .apply(Order::run(run), &command)
        .await?
        .wait()
        .await?
        .outcome
    else {
        bail!("did not run");
    };
    let mut logs = client
        .logs(program, 0, wayfare_client::Follow::UntilEnded)
        .await?;
    // It says so once it is subscribed.
    timeout(PATIENCE, logs.next()).await?.context("it ended")??;
    let figures = measure(broker.url(), options).await;
    client
        .apply(Order::kill(&program.to_string()), &command)
        .await?
        .wait()
        .await?;
    client.close().await;
    figures
}

/// Sends numbers to `in`, and takes what comes of them from `out`.
async fn measure(broker: BrokerUrl, options: &Options) -> Result<Figures> {
    let mut link_options = LinkOptions::new(broker, "probe");
    link_options.subscriptions = vec![("out".into(), Qos::AtLeastOnce)];
    let (link, mut events) = wayfare_link::connect(link_options)?;
    let (came, mut coming) = mpsc::unbounded_channel();
    let answers = link.clone();
    let receiver = tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let Event::Received(message) = event {
                let at = Instant::now();
                answers.acknowledge(message.token);
                let (_, payload) = Stamp::take_off(&message.payload);
                let text = String::from_utf8_lossy(payload).into_owned();
                let number = text
                    .split(' ')
                    .next()
                    .and_then(|number| number.parse::<u64>().ok());
                if came.send((number, at)).is_err() {
                    break;
                }
            }
        }
    });
    // One ahead, so that everything is connected and warm.
    send(&link, u64::MAX).await?;
    next(&mut coming).await?;

    let streamed = options.rate * options.seconds;
    let begin = Instant::now();
    let mut latencies = Vec::new();
    let due = |number: u64| begin + Duration::from_micros(1_000_000 * number / options.rate);
    for number in 0..streamed {
        sleep_until(due(number)).await;
        let sent = Instant::now();
        send(&link, number).await?;
        let (came, at) = next(&mut coming).await?;
        anyhow::ensure!(came == Some(number), "{came:?} came after {number} was sent");
        latencies.push(at - sent);
    }

    let begin = Instant::now();
    let publisher = link.clone();
    let count = options.count;
    let publishing = tokio::spawn(async move {
        for number in 0..count {
            send(&publisher, number).await?;
        }
        anyhow::Ok(())
    });
    let mut last = begin;
    for _ in 0..count {
        last = next(&mut coming).await?.1;
    }
    publishing.await??;
    link.close().await;
    receiver.abort();
    Ok(Figures {
        per_second: count as f64 / (last - begin).as_secs_f64(),
        latencies,
    })
}

async fn send(link: &Link, number: u64) -> Result<()> {
    link.publish(Message::new("in", number.to_string())).await?;
    Ok(())
}

async fn next(
    coming: &mut mpsc::UnboundedReceiver<(Option<u64>, Instant)>,
) -> Result<(Option<u64>, Instant)> {
    let next = timeout(PATIENCE, coming.recv()).await?;
    next.context("the probe's session ended")
}
