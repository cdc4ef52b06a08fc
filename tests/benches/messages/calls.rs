//! Calls, one after the other, each answered before the next is made: a program that calls another on its own
//! engine, and on another one, beside a bare MQTT 5 request (a topic for the response, and correlation data)
//! and NATS' request and reply.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PublishProperties};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::{Instant, timeout};
use wayfare_client::{Client, ClientOptions, CommandOptions, Follow, LogItem, Order, Run};
use wayfare_protocol::event::Outcome;
use wayfare_protocol::grants::Grants;
use wayfare_protocol::ids::ProgramId;

use crate::PATIENCE;
use crate::common::{Broker, all_online, engine};

/// In microseconds.
struct Took {
    median: u128,
    most: u128,
    mean: u128,
}

impl Took {
    fn of(mut all: Vec<u128>) -> Self {
        all.sort_unstable();
        let part = |hundredths: usize| all[(all.len() - 1) * hundredths / 100];
        Self {
            median: part(50),
            most: part(99),
            mean: all.iter().sum::<u128>() / all.len() as u128,
        }
    }

    fn print(&self, way: &str) {
        println!(
            "| {way} | {} us | {} us | {} us |",
            self.median, self.most, self.mean
        );
    }
}

pub(crate) async fn print(calls: u64) -> Result<()> {
    println!();
    println!("{calls} calls, one after the other:");
    println!();
    println!("| calls | p50 | p99 | mean |");
    println!("| --- | --: | --: | --: |");
    for kind in ["mosquitto", "embedded"] {
        let broker = Broker::start(kind).await?;
        let name = broker.name();
        for (engines, way) in [
            (["one", "one"], "programs on one engine"),
            (["one", "two"], "programs on two engines"),
        ] {
            let took = programs(&broker, engines, calls).await.context(way)?;
            took.print(&format!("{way}, {name}"));
        }
        let took = bare(&broker, calls).await.context("a bare request")?;
        took.print(&format!("a bare MQTT 5 request, {name}"));
    }
    match nats(calls).await.context("NATS")? {
        Some(took) => took.print("NATS, request and reply"),
        None => println!("(nats-server is not installed: Debian's package of that name has it)"),
    }
    Ok(())
}

async fn programs(broker: &Broker, on: [&str; 2], calls: u64) -> Result<Took> {
    let folder = tempfile::tempdir()?;
    let mut engines = Vec::new();
    for (at, id) in on.iter().enumerate() {
        if !on[..at].contains(id) {
            engines.push(engine(id, broker, folder.path())?);
        }
    }
    let client = Client::connect(ClientOptions::new(broker.url())).await?;
    all_online(&client, engines.len()).await?;
    let provider = begun(&client, on[0], &["serve", "calc"]).await?;
    said(&client, provider).await?;
    let caller = begun(&client, on[1], &["time", "service/calc", &calls.to_string()]).await?;
    let text = said(&client, caller).await?;
    let numbers: Vec<u128> = text.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let command = CommandOptions::default();
    client
        .apply(Order::kill(&provider.to_string()), &command)
        .await?
        .wait()
        .await?;
    client.close().await;
    match numbers.as_slice() {
        &[median, most, mean] => Ok(Took { median, most, mean }),
        _ => bail!("the caller printed '{text}'"),
    }
}

async fn begun(client: &Client, on: &str, args: &[&str]) -> Result<ProgramId> {
    let sample = wayfare_samples::find_talker("calc").context("a sample")?;
    let run = Run {
        name: args[0].into(),
        module: sample.wasm.to_vec(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        on: Some(on.into()),
        grants: Grants {
            call: vec!["service/+".into()],
            serve: vec!["calc".into()],
            ..Grants::default()
        },
        ..Run::default()
    };
    match client
        .apply(Order::run(run), &CommandOptions::default())
        .await?
        .wait()
        .await?
        .outcome
    {
        Outcome::Running { program, .. } => Ok(program),
        other => bail!("did not run: {other:?}"),
    }
}

/// The first line that it prints.
async fn said(client: &Client, program: ProgramId) -> Result<String> {
    let mut logs = client.logs(program, 0, Follow::UntilEnded).await?;
    match timeout(PATIENCE, logs.next()).await?.context("it ended")?? {
        LogItem::Line(line) => Ok(String::from_utf8_lossy(line.text.as_bytes()).trim().to_owned()),
        other => bail!("{other:?}"),
    }
}

fn connected(broker: &Broker, id: &str) -> (AsyncClient, EventLoop) {
    let address = broker.address();
    let mut options = MqttOptions::new(id, address.ip().to_string(), address.port());
    let mut network = options.network_options();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    AsyncClient::new(options, 100)
}

/// Until the broker has granted it.
async fn subscribed(client: &AsyncClient, events: &mut EventLoop, topic: &str) -> Result<()> {
    client.subscribe(topic, QoS::AtLeastOnce).await?;
    while !matches!(events.poll().await?, Event::Incoming(Packet::SubAck(_))) {}
    Ok(())
}

async fn bare(broker: &Broker, calls: u64) -> Result<Took> {
    let (provider, mut asked) = connected(broker, "provider");
    subscribed(&provider, &mut asked, "bare/requests").await?;
    let answering = tokio::spawn(async move {
        while let Ok(event) = asked.poll().await {
            let Event::Incoming(Packet::Publish(request)) = event else {
                continue;
            };
            let Some(properties) = request.properties else {
                continue;
            };
            let Some(to) = properties.response_topic else {
                continue;
            };
            let correlated = PublishProperties {
                correlation_data: properties.correlation_data,
                ..PublishProperties::default()
            };
            let answer =
                provider.publish_with_properties(to, QoS::AtLeastOnce, false, request.payload, correlated);
            if answer.await.is_err() {
                break;
            }
        }
    });
    let (caller, mut answered) = connected(broker, "caller");
    subscribed(&caller, &mut answered, "bare/responses").await?;
    let mut took = Vec::new();
    for number in 0..=calls {
        let data = number.to_string();
        let properties = PublishProperties {
            response_topic: Some("bare/responses".into()),
            correlation_data: Some(data.clone().into()),
            ..PublishProperties::default()
        };
        let begun = Instant::now();
        caller
            .publish_with_properties("bare/requests", QoS::AtLeastOnce, false, data.clone(), properties)
            .await?;
        let answer = async {
            loop {
                if let Event::Incoming(Packet::Publish(answer)) = answered.poll().await? {
                    return anyhow::Ok(answer);
                }
            }
        };
        let answer = timeout(PATIENCE, answer).await??;
        anyhow::ensure!(answer.payload == data.as_bytes());
        if number > 0 {
            took.push(begun.elapsed().as_micros());
        }
    }
    answering.abort();
    Ok(Took::of(took))
}

/// As its protocol has it: <https://docs.nats.io/reference/reference-protocols/nats-protocol>.
struct Nats {
    reader: BufReader<TcpStream>,
}

impl Nats {
    /// Subscribed to a subject.
    async fn connect(address: SocketAddr, subject: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let reader = BufReader::new(stream);
        let mut nats = Self { reader };
        nats.write(&format!(
            "CONNECT {{\"verbose\":false}}\r\nSUB {subject} 1\r\nPING\r\n"
        ))
        .await?;
        while nats.line().await? != "PONG" {}
        Ok(nats)
    }

    async fn write(&mut self, text: &str) -> Result<()> {
        Ok(self.reader.get_mut().write_all(text.as_bytes()).await?)
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.reader.read_line(&mut line)).await??;
        anyhow::ensure!(read > 0, "nats-server hung up");
        Ok(line.trim_end().to_owned())
    }

    /// Where an answer goes, if anywhere, and the payload of the next message.
    async fn next(&mut self) -> Result<(Option<String>, String)> {
        loop {
            let line = self.line().await?;
            let words: Vec<&str> = line.split(' ').collect();
            let (to, bytes) = match words.as_slice() {
                ["MSG", _, _, bytes] => (None, bytes),
                ["MSG", _, _, to, bytes] => (Some((*to).to_owned()), bytes),
                ["PING"] => {
                    self.write("PONG\r\n").await?;
                    continue;
                }
                _ => continue,
            };
            let mut payload = vec![0; bytes.parse::<usize>()? + 2];
            self.reader.read_exact(&mut payload).await?;
            payload.truncate(payload.len() - 2);
            return Ok((to, String::from_utf8(payload)?));
        }
    }
}

/// It ends with this.
struct NatsServer {
    _process: Child,
    /// What it logs later goes there: a server that could not write would die of it.
    _log: Lines<BufReader<ChildStderr>>,
    address: SocketAddr,
}

impl NatsServer {
    /// On a port that it chooses. It logs which, and then that it is ready.
    async fn start(program: &str) -> Result<Self> {
        let mut process = Command::new(program)
            .args(["-a", "127.0.0.1", "-p", "-1"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let log = process.stderr.take().context("it was asked for")?;
        let mut log = BufReader::new(log).lines();
        let mut address = None;
        let ready = async {
            while let Some(line) = log.next_line().await? {
                if let Some((_, listens)) = line.split_once("Listening for client connections on ") {
                    address = Some(listens.trim().parse()?);
                } else if line.ends_with("Server is ready") {
                    return anyhow::Ok(());
                }
            }
            bail!("{program} ended")
        };
        timeout(PATIENCE, ready).await??;
        Ok(Self {
            _process: process,
            _log: log,
            address: address.context("it is ready and has not logged where")?,
        })
    }
}

async fn nats(calls: u64) -> Result<Option<Took>> {
    let server = [
        "/usr/sbin/nats-server",
        "/usr/bin/nats-server",
        "/usr/local/bin/nats-server",
    ];
    let Some(server) = server.into_iter().find(|path| Path::new(path).exists()) else {
        return Ok(None);
    };
    let server = NatsServer::start(server).await?;
    let mut provider = Nats::connect(server.address, "requests").await?;
    let answering = tokio::spawn(async move {
        while let Ok((Some(to), payload)) = provider.next().await {
            let answer = format!("PUB {to} {}\r\n{payload}\r\n", payload.len());
            if provider.write(&answer).await.is_err() {
                break;
            }
        }
    });
    let mut caller = Nats::connect(server.address, "responses").await?;
    let mut took = Vec::new();
    for number in 0..=calls {
        let payload = number.to_string();
        let begun = Instant::now();
        let request = format!("PUB requests responses {}\r\n{payload}\r\n", payload.len());
        caller.write(&request).await?;
        let (_, answer) = caller.next().await?;
        anyhow::ensure!(answer == payload);
        if number > 0 {
            took.push(begun.elapsed().as_micros());
        }
    }
    answering.abort();
    Ok(Some(Took::of(took)))
}
