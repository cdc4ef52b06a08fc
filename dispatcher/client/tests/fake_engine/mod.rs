//! An engine played by hand over a real broker: it answers what the test says, and nothing by itself.

use std::time::Duration;

use wayfare_client::{Client, ClientOptions};
use wayfare_link::{BrokerOptions, BrokerUrl, EmbeddedBroker};
use wayfare_link::{Event as LinkEvent, Link, LinkEvents, LinkOptions, Message, Qos};
use wayfare_protocol::command::{Command, ReportRequest};
use wayfare_protocol::event::{Event, EventBody};
use wayfare_protocol::ids::{BootId, Digest, EngineId, Generation, OperationId, ProgramId};
use wayfare_protocol::log::{LogBatch, LogLine, LogText, Stream};
use wayfare_protocol::peer::{Envelope, PeerMessage};
use wayfare_protocol::status::{EngineAbout, EngineState, EngineStatus, ProgramState, ProgramStatus};
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::wire;

/// Longest that a test waits for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) async fn broker() -> (EmbeddedBroker, BrokerUrl) {
    let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await.unwrap();
    let url = broker.local_addr().into();
    (broker, url)
}

pub(crate) async fn connect(url: &BrokerUrl) -> Client {
    Client::connect(ClientOptions::new(url.clone())).await.unwrap()
}

/// What reached the engine.
#[derive(Debug)]
pub(crate) enum Heard {
    Command(Command),
    Peer(PeerMessage, Vec<u8>),
    Report(ReportRequest),
}

pub(crate) struct FakeEngine {
    pub(crate) id: EngineId,
    boot: BootId,
    sequence: u64,
    link: Link,
    events: LinkEvents,
    topics: Topics,
}

impl FakeEngine {
    /// Connected, subscribed and online, with nothing on it.
    pub(crate) async fn start(id: &str, url: &BrokerUrl) -> Self {
        let (id, topics): (EngineId, Topics) = (id.parse().unwrap(), Topics::default());
        let mut options = LinkOptions::new(url.clone(), id.to_string());
        options.subscriptions = vec![
            (topics.topic(&Topic::EngineCommand(id.clone())), Qos::AtLeastOnce),
            (topics.topic(&Topic::Report), Qos::AtLeastOnce),
            (topics.peer_filter(&id), Qos::AtLeastOnce),
        ];
        let (link, events) = wayfare_link::connect(options).unwrap();
        let mut engine = Self {
            id,
            boot: BootId::random(),
            sequence: 0,
            link,
            events,
            topics,
        };
        while !matches!(engine.next_event().await, LinkEvent::Connected { .. }) {}
        engine.says(EngineState::Online, vec![]).await;
        engine
    }

    /// As after a power cut: what is retained stays.
    pub(crate) async fn goes_without_a_word(self) {
        self.link.close().await;
    }

    /// Publishes its status and waits until the broker has it.
    pub(crate) async fn says(&mut self, state: EngineState, programs: Vec<ProgramStatus>) {
        self.sequence += 1;
        let about = EngineAbout {
            version: "0".into(),
            platform: "fake".into(),
            code: wayfare_protocol::code::CodeTarget {
                architecture: "x86_64".into(),
                wasmtime: "0".into(),
                abi: "2".into(),
            },
            compiles: true,
            tells_health: true,
            signs_statuses: false,
            processors: 1,
            memory_bytes: 1 << 30,
            programs_max: 16,
            program_memory_bytes_max: 1 << 26,
            host: "here".into(),
            labels: Default::default(),
            trusts: Vec::new(),
            devices: Default::default(),
        };
        let status = EngineStatus {
            sequence: self.sequence,
            about: Some(about),
            programs,
            ..EngineStatus::new(self.id.clone(), self.boot, state)
        };
        let topic = self.topics.topic(&Topic::EngineStatus(self.id.clone()));
        self.link
            .publish_acknowledged(Message::new(topic, wire::encode(&status)).retained())
            .await
            .unwrap();
    }

    pub(crate) fn program(&self, program: ProgramId, generation: u64, state: ProgramState) -> ProgramStatus {
        ProgramStatus {
            program,
            name: "p".into(),
            engine: self.id.clone(),
            boot: self.boot,
            generation: Generation(generation),
            sequence: self.sequence,
            state,
            module: Digest([0; 32]),
            memory_bytes: 0,
            ports: Default::default(),
            place: None,
            health: None,
            hold: None,
        }
    }

    /// The next message to this engine.
    pub(crate) async fn hears(&mut self) -> Heard {
        loop {
            let LinkEvent::Received(incoming) = self.next_event().await else {
                continue;
            };
            match self.topics.parse(&incoming.topic).unwrap() {
                Topic::EngineCommand(_) => return Heard::Command(wire::decode(&incoming.payload).unwrap()),
                Topic::Report => return Heard::Report(wire::decode(&incoming.payload).unwrap()),
                Topic::Peer(..) => {
                    let (envelope, bytes) = Envelope::decode(&incoming.payload).unwrap();
                    return Heard::Peer(envelope.message, bytes.to_vec());
                }
                other => panic!("not for an engine: {other:?}"),
            }
        }
    }

    pub(crate) async fn hears_command(&mut self) -> Command {
        loop {
            if let Heard::Command(command) = self.hears().await {
                return command;
            }
        }
    }

    pub(crate) async fn answers(&self, command: &Command, body: EventBody) {
        let event = Event {
            operation: command.operation,
            engine: self.id.clone(),
            boot: self.boot,
            verb: command.action.verb().into(),
            program: Some(command.action.program()),
            body,
        };
        for topic in [
            Topic::Reply(command.client.clone()),
            Topic::EngineEvent(self.id.clone()),
        ] {
            self.publish(&topic, wire::encode(&event)).await;
        }
    }

    /// Answers the next poll, whatever comes before it.
    pub(crate) async fn answers_poll(&mut self) {
        loop {
            if let Heard::Report(request) = self.hears().await {
                let outcome = wayfare_protocol::event::Outcome::Reported;
                return self.reports(&request, EventBody::Done { outcome }).await;
            }
        }
    }

    pub(crate) async fn reports(&self, request: &ReportRequest, body: EventBody) {
        let event = Event {
            operation: request.operation,
            engine: self.id.clone(),
            boot: self.boot,
            verb: "report".into(),
            program: None,
            body,
        };
        self.publish(&Topic::Reply(request.client.clone()), wire::encode(&event))
            .await;
    }

    pub(crate) async fn tells(&self, command: &Command, message: PeerMessage, bytes: &[u8]) {
        let envelope = Envelope {
            operation: command.operation,
            from: self.id.clone(),
            message,
        };
        self.publish(
            &Topic::Peer(command.operation, command.client.clone()),
            envelope.encode(bytes),
        )
        .await;
    }

    pub(crate) async fn logs(&self, program: ProgramId, generation: u64, lines: std::ops::Range<u64>) {
        let lines = log_lines(lines);
        let batch = LogBatch {
            program,
            generation: Generation(generation),
            engine: self.id.clone(),
            lines,
        };
        self.publish(&Topic::ProgramLog(program), wire::encode(&batch))
            .await;
    }

    async fn publish(&self, topic: &Topic, payload: Vec<u8>) {
        self.link
            .publish(Message::new(self.topics.topic(topic), payload))
            .await
            .unwrap();
    }

    async fn next_event(&mut self) -> LinkEvent {
        tokio::time::timeout(LIMIT, self.events.next())
            .await
            .expect("in time")
            .expect("open")
    }
}

pub(crate) fn log_lines(numbers: std::ops::Range<u64>) -> Vec<LogLine> {
    let line = |line| LogLine {
        line,
        stream: Stream::Stdout,
        text: LogText::Text(line.to_string()),
        open: false,
        at_ms: 0,
    };
    numbers.map(line).collect()
}

pub(crate) fn operation_of(heard: &Heard) -> Option<OperationId> {
    match heard {
        Heard::Command(command) => Some(command.operation),
        Heard::Peer(..) | Heard::Report(_) => None,
    }
}
