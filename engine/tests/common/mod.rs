//! Real engines in processes of their own, a real broker, and a client that speaks the raw protocol.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses its part"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;
use wayfare_link::mosquitto::{MosquittoOptions, MosquittoProcess};
use wayfare_link::{
    BrokerOptions, EmbeddedBroker, Event as LinkEvent, Link, LinkEvents, LinkOptions, Message, Qos,
};
use wayfare_protocol::command::{Action, Command as EngineCommand, ProgramSpec, Target};
use wayfare_protocol::event::{Event, EventBody, Outcome};
use wayfare_protocol::ids::{Blob, ClientId, Digest, EngineId, OperationId, ProgramId};
use wayfare_protocol::limits::CHUNK_BYTES;
use wayfare_protocol::log::{LogBatch, LogLine};
use wayfare_protocol::peer::{Envelope, PeerMessage};
use wayfare_protocol::status::{EngineState, EngineStatus, ProgramState, ProgramStatus};
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::wire;

const PATIENCE: Duration = Duration::from_secs(20);
/// A command without an answer is sent again, as real clients do.
const REPEAT: Duration = Duration::from_secs(1);

pub enum Broker {
    Mosquitto(Box<MosquittoProcess>),
    Embedded(EmbeddedBroker),
}

impl Broker {
    pub async fn start() -> Self {
        match MosquittoProcess::start(MosquittoOptions::default()).unwrap() {
            Some(mosquitto) => Self::Mosquitto(Box::new(mosquitto)),
            None => Self::Embedded(EmbeddedBroker::start(BrokerOptions::loopback()).await.unwrap()),
        }
    }

    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Mosquitto(mosquitto) => mosquitto.local_addr(),
            Self::Embedded(embedded) => embedded.local_addr(),
        }
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.address()).await
    }

    pub fn engine(&self, id: &str) -> Engine {
        self.engine_with(id, &[])
    }

    pub fn engine_with(&self, id: &str, arguments: &[&str]) -> Engine {
        Engine::start(id, self.address(), arguments)
    }
}

/// `wayfare-engine`, killed when dropped.
pub struct Engine {
    pub id: EngineId,
    folder: tempfile::TempDir,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Engine {
    pub fn start(id: &str, broker: SocketAddr, arguments: &[&str]) -> Self {
        let mut all = vec!["--broker".into(), format!("mqtt://{broker}")];
        all.extend(arguments.iter().map(ToString::to_string));
        let mut engine = Self {
            id: id.parse().unwrap(),
            folder: tempfile::tempdir().unwrap(),
            arguments: all,
            child: None,
        };
        engine.restart();
        engine
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wayfare-engine"));
        command
            .args([
                "--id",
                self.id.as_str(),
                "--log-level",
                "wayfare_engine=trace,debug",
            ])
            .args(&self.arguments)
            .arg("--data")
            .arg(self.data())
            .stdin(Stdio::null());
        command
    }

    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.log_path())
            .unwrap();
        self.child = Some(self.command().stderr(log).spawn().unwrap());
    }

    /// SIGKILL, as a crash.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM; returns the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        let killed = Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
        child.wait().unwrap().code()
    }

    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of engine {}\n{}", self.id, self.log());
        }
    }
}

/// Answers engines that want blobs, and remembers all that is said.
pub struct Client {
    pub name: ClientId,
    topics: Topics,
    link: Link,
    events: LinkEvents,
    blobs: BTreeMap<Digest, Vec<u8>>,
    pub said: Vec<Event>,
    pub engines: BTreeMap<EngineId, EngineStatus>,
    pub programs: BTreeMap<ProgramId, ProgramStatus>,
    pub lines: BTreeMap<ProgramId, BTreeMap<u64, LogLine>>,
    /// Blobs that an engine sends us.
    pub received: BTreeMap<Digest, Vec<u8>>,
}

impl Client {
    pub async fn connect(broker: SocketAddr) -> Self {
        let name: ClientId = format!("client-{}", OperationId::random().short())
            .parse()
            .unwrap();
        let topics = Topics::default();
        let filters = [
            topics.topic(&Topic::Reply(name.clone())),
            topics.peer_filter(&name),
            topics.all_engine_statuses(),
            topics.all_program_statuses(),
            topics.all_program_logs(),
        ];
        let (link, events) = wayfare_link::connect(LinkOptions {
            subscriptions: filters
                .into_iter()
                .map(|filter| (filter, Qos::AtLeastOnce))
                .collect(),
            ..LinkOptions::new(broker.into(), name.as_str())
        })
        .unwrap();
        let mut client = Self {
            name,
            topics,
            link,
            events,
            blobs: BTreeMap::new(),
            said: Vec::new(),
            engines: BTreeMap::new(),
            programs: BTreeMap::new(),
            lines: BTreeMap::new(),
            received: BTreeMap::new(),
        };
        loop {
            if let LinkEvent::Connected { .. } = client.events.next().await.unwrap() {
                return client;
            }
        }
    }

    pub async fn publish(&self, topic: &Topic, payload: Vec<u8>) {
        let message = Message::new(self.topics.topic(topic), payload);
        self.link.publish(message).await.unwrap();
    }

    /// As statuses are published: whoever subscribes later gets it too.
    pub async fn publish_retained(&self, topic: &Topic, payload: Vec<u8>) {
        let message = Message::new(self.topics.topic(topic), payload).retained();
        self.link.publish(message).await.unwrap();
    }

    pub fn add_blob(&mut self, bytes: &[u8]) -> Blob {
        let blob = Blob::of(bytes);
        self.blobs.insert(blob.digest, bytes.to_vec());
        blob
    }

    pub fn spec(&mut self, wasm: &[u8], args: &[&str]) -> ProgramSpec {
        ProgramSpec {
            name: "program".into(),
            module: self.add_blob(wasm),
            args: args.iter().map(ToString::to_string).collect(),
            env: BTreeMap::new(),
            stdin: None,
            memory_bytes_max: None,
            grants: Default::default(),
            ports: Default::default(),
            health_every_ms: None,
        }
    }

    pub fn command_for(&self, action: Action) -> EngineCommand {
        EngineCommand {
            operation: OperationId::random(),
            client: self.name.clone(),
            time_limit_ms: 10_000,
            term: None,
            boot: None,
            action,
        }
    }

    pub async fn send(&self, engine: &EngineId, command: &EngineCommand) {
        self.publish(&Topic::EngineCommand(engine.clone()), wire::encode(command))
            .await;
    }

    /// Sends a command until it is answered for good.
    pub async fn ask(&mut self, engine: &Engine, action: Action) -> EventBody {
        let command = self.command_for(action);
        self.ask_with(engine, &command).await
    }

    pub async fn ask_with(&mut self, engine: &Engine, command: &EngineCommand) -> EventBody {
        let operation = command.operation;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            self.send(&engine.id, command).await;
            let answer = |client: &Self| client.answer(operation).cloned();
            if let Some(answer) = self.wait_for(REPEAT, answer).await {
                return answer;
            }
        }
        panic!("no answer to {:?}; said so far: {:#?}", command.action, self.said);
    }

    pub fn answer(&self, operation: OperationId) -> Option<&EventBody> {
        let mut said = self.said.iter().filter(|event| event.operation == operation);
        said.find(|event| event.body.is_final()).map(|event| &event.body)
    }

    pub async fn done(&mut self, engine: &Engine, action: Action) -> Outcome {
        match self.ask(engine, action).await {
            EventBody::Done { outcome } => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// Has the engine make all of the module's code, so that what stops a program waits for no compiler: it
    /// may end meanwhile.
    pub async fn loads(&mut self, engine: &Engine, wasm: &[u8], endless: &[&str]) {
        let program = self.run(engine, wasm, endless).await;
        self.done(engine, Action::Pause { on: on(program) }).await;
        self.done(engine, Action::Kill { on: on(program) }).await;
    }

    pub async fn run(&mut self, engine: &Engine, wasm: &[u8], args: &[&str]) -> ProgramId {
        let spec = self.spec(wasm, args);
        self.run_spec(engine, spec).await
    }

    pub async fn run_spec(&mut self, engine: &Engine, spec: ProgramSpec) -> ProgramId {
        let program = ProgramId::random();
        let action = Action::Run {
            program,
            spec,
            snapshot: None,
            generation: None,
            follower: None,
        };
        match self.done(engine, action).await {
            Outcome::Running { program: running, .. } => assert_eq!(running, program),
            other => panic!("{other:?}"),
        }
        program
    }

    /// Whatever `found` finds, within `time`.
    pub async fn wait_for<T>(&mut self, time: Duration, found: impl Fn(&Self) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + time;
        loop {
            if let Some(found) = found(self) {
                return Some(found);
            }
            match tokio::time::timeout_at(deadline, self.events.next()).await {
                Ok(Some(LinkEvent::Received(message))) => {
                    self.take(&message.topic, &message.payload).await;
                }
                Ok(Some(_)) => {}
                Ok(None) => panic!("the link is closed"),
                Err(_) => return None,
            }
        }
    }

    /// Waits until `holds`.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let found = self
            .wait_for(PATIENCE, |client| holds(client).then_some(()))
            .await;
        assert!(
            found.is_some(),
            "never: {what}\nsaid: {:#?}\nprograms: {:#?}",
            self.said,
            self.programs
        );
    }

    pub async fn until_online(&mut self, engine: &Engine) {
        let id = engine.id.clone();
        self.until("online", |client| {
            client.engine_state(&id) == Some(EngineState::Online)
        })
        .await;
    }

    pub fn engine_state(&self, engine: &EngineId) -> Option<EngineState> {
        self.engines.get(engine).map(|status| status.state)
    }

    pub fn state(&self, program: ProgramId) -> Option<&ProgramState> {
        self.programs.get(&program).map(|status| &status.state)
    }

    pub async fn until_ended(&mut self, program: ProgramId) -> ProgramState {
        self.until("ended", |client| {
            client.state(program).is_some_and(ProgramState::is_ended)
        })
        .await;
        self.state(program).unwrap().clone()
    }

    /// Waits for all the lines that an ended program printed.
    pub async fn until_published(&mut self, program: ProgramId, engine: &Engine) {
        let logs = Action::Logs {
            on: on(program),
            since: u64::MAX,
            follower: None,
        };
        let Outcome::Logs { next, .. } = self.done(engine, logs).await else {
            panic!("no logs");
        };
        // A copy's lines begin where it was copied.
        let published = |client: &Self| Some(client.lines.get(&program)?.last_key_value()?.0 + 1);
        self.until("published", |client| published(client).unwrap_or(0) >= next)
            .await;
    }

    /// The lines that the engine has, which must be those that were published.
    pub async fn fetch_lines(&mut self, engine: &Engine, program: ProgramId) {
        let logs = Action::Logs {
            on: on(program),
            since: 0,
            follower: None,
        };
        let Outcome::Logs { lines, .. } = self.done(engine, logs).await else {
            panic!("no logs");
        };
        self.take_lines(program, lines);
    }

    fn take_lines(&mut self, program: ProgramId, lines: Vec<LogLine>) {
        let known = self.lines.entry(program).or_default();
        for line in lines {
            let text = line.text.clone();
            let earlier = known.insert(line.line, line);
            assert!(
                earlier.is_none_or(|earlier| earlier.text == text),
                "a line changed"
            );
        }
    }

    /// What a program printed, if no line is missing.
    pub fn output(&self, program: ProgramId) -> String {
        let lines = self.lines.get(&program).cloned().unwrap_or_default();
        let mut out = Vec::new();
        for (expected, (number, line)) in lines.iter().enumerate() {
            assert_eq!(*number, expected as u64, "a line is missing");
            line.write_to(&mut out);
        }
        String::from_utf8(out).unwrap()
    }

    pub fn line_count(&self, program: ProgramId) -> usize {
        self.lines.get(&program).map_or(0, BTreeMap::len)
    }

    async fn take(&mut self, topic: &str, payload: &[u8]) {
        match self.topics.parse(topic) {
            Some(Topic::Reply(_)) => self.said.push(wire::decode(payload).unwrap()),
            Some(Topic::EngineStatus(engine)) => {
                self.engines.insert(engine, wire::decode(payload).unwrap());
            }
            Some(Topic::ProgramStatus(program)) if payload.is_empty() => {
                self.programs.remove(&program);
            }
            Some(Topic::ProgramStatus(program)) => {
                self.programs.insert(program, wire::decode(payload).unwrap());
            }
            Some(Topic::ProgramLog(program)) => {
                let batch: LogBatch = wire::decode(payload).unwrap();
                self.take_lines(program, batch.lines);
            }
            Some(Topic::Peer(operation, _)) => self.peer(operation, payload).await,
            other => panic!("{other:?}"),
        }
    }

    async fn peer(&mut self, operation: OperationId, payload: &[u8]) {
        let (envelope, bytes) = Envelope::decode(payload).unwrap();
        let reply = |message| Envelope {
            operation,
            from: self.name.clone(),
            message,
        };
        let to = Topic::Peer(operation, envelope.from);
        match envelope.message {
            PeerMessage::Want { missing } => {
                for digest in missing {
                    let content = self.blobs[&digest].clone();
                    let blob = Blob::of(&content);
                    for (index, chunk) in content.chunks(CHUNK_BYTES).enumerate() {
                        let offset = (index * CHUNK_BYTES) as u64;
                        let chunk = reply(PeerMessage::Chunk { blob, offset }).encode(chunk);
                        self.publish(&to, chunk).await;
                    }
                }
            }
            PeerMessage::Chunk { blob, offset } => {
                let content = self.received.entry(blob.digest).or_default();
                if content.len() as u64 == offset {
                    content.extend_from_slice(bytes);
                }
                let received = content.len() as u64;
                let ack = PeerMessage::Ack {
                    digest: blob.digest,
                    received,
                };
                let ack = Envelope {
                    operation,
                    from: self.name.clone(),
                    message: ack,
                };
                self.publish(&to, ack.encode(&[])).await;
            }
            PeerMessage::Ack { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

pub fn on(program: ProgramId) -> Target {
    Target {
        program,
        generation: None,
    }
}

pub fn sample(name: &str) -> &'static wayfare_samples::Sample {
    wayfare_samples::ALL
        .iter()
        .find(|sample| sample.name == name)
        .unwrap()
}

pub fn only_file_in(folder: &Path) -> PathBuf {
    let mut files = std::fs::read_dir(folder).unwrap();
    let file = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none());
    file
}
