//! A client of the broker that hears everything: what faults are triggered by, and what is looked at
//! afterwards.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use wayfare_link::{BrokerUrl, Event as LinkEvent, Link, LinkOptions, Message, Qos};
use wayfare_protocol::command::{Action, Command, Target};
use wayfare_protocol::dispatcher::Lease;
use wayfare_protocol::event::{Event, EventBody, Outcome};
use wayfare_protocol::ids::{ClientId, EngineId, Generation, OperationId, PeerName, ProgramId};
use wayfare_protocol::log::{LogBatch, LogLine, Stream};
use wayfare_protocol::peer::{Envelope, PeerMessage};
use wayfare_protocol::status::{EngineState, EngineStatus, ProgramState, ProgramStatus};
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::wire;

use crate::within;

/// One message, read.
#[derive(Debug, Clone)]
pub enum Heard {
    Command {
        command: Command,
    },
    Reply {
        client: ClientId,
        event: Event,
    },
    Peer {
        to: PeerName,
        envelope: Envelope,
    },
    Engine(EngineStatus),
    Program(ProgramStatus),
    Log(LogBatch),
    Lease(Lease),
    /// The spy was not connected for a while before this.
    Connected,
}

/// All messages in order, and when each came.
#[derive(Debug, Default)]
struct History {
    heard: Vec<Heard>,
    at: Vec<Duration>,
}

#[derive(Debug)]
pub struct Spy {
    link: Link,
    topics: Topics,
    heard: watch::Receiver<History>,
    task: JoinHandle<()>,
}

impl Spy {
    pub(crate) async fn start(broker: BrokerUrl) -> Self {
        let topics = Topics::default();
        let mut options = LinkOptions::new(broker, format!("spy-{}", OperationId::random().short()));
        options.subscriptions = vec![(format!("{topics}/v1/#"), Qos::AtLeastOnce)];
        let (link, mut events) = wayfare_link::connect(options).expect("the spy's options are sound");
        let (sender, heard) = watch::channel(History::default());
        let (reader, begun) = (topics.clone(), Instant::now());
        let task = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let heard = match event {
                    LinkEvent::Received(incoming) => read(&reader, &incoming.topic, &incoming.payload),
                    LinkEvent::Connected { .. } => Some(Heard::Connected),
                    LinkEvent::Disconnected { .. } | LinkEvent::Oversized(_) => None,
                };
                if let Some(heard) = heard {
                    sender.send_modify(|all| {
                        all.heard.push(heard);
                        all.at.push(begun.elapsed());
                    });
                }
            }
        });
        Self {
            link,
            topics,
            heard,
            task,
        }
    }

    /// How much has been heard; to wait only for what comes later.
    pub fn mark(&self) -> usize {
        self.heard.borrow().heard.len()
    }

    /// Waits for the first message from `mark` on that `pick` wants.
    pub async fn hears<T>(&self, what: &str, mark: usize, pick: impl Fn(&Heard) -> Option<T>) -> T {
        let mut heard = self.heard.clone();
        let found = async {
            heard
                .wait_for(|all| all.heard.iter().skip(mark).any(|one| pick(one).is_some()))
                .await
        };
        let all = within(&format!("a message: {what}"), found).await;
        let all = all.expect("the spy listens");
        all.heard.iter().skip(mark).find_map(pick).expect("just found")
    }

    /// Waits until all that was heard is as `is_so` wants it.
    pub async fn sees(&self, what: &str, mut is_so: impl FnMut(&[Heard]) -> bool) {
        let mut heard = self.heard.clone();
        let found = async { heard.wait_for(|all| is_so(&all.heard)).await.map(drop) };
        within(what, found).await.expect("the spy listens");
    }

    pub fn with<T>(&self, look: impl FnOnce(&[Heard]) -> T) -> T {
        look(&self.heard.borrow().heard)
    }

    /// Sends a command as anybody could, byte for byte; the answers are for the spy.
    pub async fn send(&self, engine: &str, command: &Command) {
        let topic = self.topics.topic(&Topic::EngineCommand(name(engine)));
        self.publish(topic, wire::encode(command)).await;
    }

    pub async fn publish(&self, topic: String, payload: Vec<u8>) {
        let sent = self.link.publish_acknowledged(Message::new(topic, payload));
        within("the broker to take a message", sent)
            .await
            .expect("the spy is connected");
    }

    /// Waits for the final answer to an operation, the `nth` from 0.
    pub async fn answer(&self, operation: OperationId, nth: usize) -> Event {
        let is_answer = |heard: &&Heard| matches!(heard, Heard::Reply { event, .. } if event.operation == operation && event.body.is_final());
        let what = format!("final answer {nth} to operation {}", operation.short());
        self.sees(&what, |all| all.iter().filter(is_answer).count() > nth)
            .await;
        let answers = self.with(|all| all.iter().filter(is_answer).nth(nth).cloned());
        match answers {
            Some(Heard::Reply { event, .. }) => event,
            other => panic!("not an answer: {other:?}"),
        }
    }

    /// All that a program has printed to standard output, from its first line to the last that its engine
    /// knows.
    pub async fn stdout(&self, program: ProgramId, engine: &str) -> Vec<u8> {
        let command = Command {
            operation: OperationId::random(),
            client: name("spy"),
            time_limit_ms: 5_000,
            term: None,
            boot: None,
            action: Action::Logs {
                on: Target {
                    program,
                    generation: None,
                },
                since: u64::MAX,
                follower: None,
            },
        };
        self.send(engine, &command).await;
        let next = match self.answer(command.operation, 0).await.body {
            EventBody::Done {
                outcome: Outcome::Logs { next, .. },
            } => next,
            other => panic!("logs were answered with {other:?}"),
        };
        let what = format!("all {next} lines of program {}", program.short());
        self.sees(&what, |all| lines(all, program).len() as u64 == next)
            .await;
        self.with(|all| {
            let mut stdout = Vec::new();
            let lines = lines(all, program);
            let lines = lines.values().filter(|line| line.stream == Stream::Stdout);
            lines.for_each(|line| line.write_to(&mut stdout));
            stdout
        })
    }

    /// Engines that say they have a live copy of the program, and in which state, by the last word of each.
    pub fn owners(all: &[Heard], program: ProgramId) -> Vec<(EngineId, ProgramState)> {
        let mut last: BTreeMap<&EngineId, &EngineStatus> = BTreeMap::new();
        for heard in all {
            if let Heard::Engine(status) = heard {
                last.insert(&status.engine, status);
            }
        }
        last.into_values()
            .filter(|status| status.state == EngineState::Online)
            .flat_map(|status| &status.programs)
            .filter(|status| status.program == program && !status.state.is_ended())
            .map(|status| (status.engine.clone(), status.state.clone()))
            .collect()
    }

    /// What must hold over all that was ever said:
    /// each generation of a program has one owner, and each of its lines one text.
    pub fn check_history(&self) {
        let mut owners: BTreeMap<(ProgramId, Generation), EngineId> = BTreeMap::new();
        let mut lines = BTreeMap::new();
        let mut own = |program: ProgramId, generation: Generation, engine: &EngineId| {
            let owner = owners
                .entry((program, generation))
                .or_insert_with(|| engine.clone());
            assert_eq!(
                owner, engine,
                "{program:?} generation {generation} has two owners"
            );
        };
        for heard in self.heard.borrow().heard.iter() {
            match heard {
                Heard::Engine(status) => {
                    for program in &status.programs {
                        own(program.program, program.generation, &program.engine);
                    }
                }
                Heard::Program(status) => own(status.program, status.generation, &status.engine),
                Heard::Log(batch) => {
                    own(batch.program, batch.generation, &batch.engine);
                    for line in &batch.lines {
                        let said = (line.stream, line.text.clone(), line.open);
                        let first = lines
                            .entry((batch.program, line.line))
                            .or_insert_with(|| said.clone());
                        if line.stream == Stream::Stdout {
                            assert_eq!(*first, said, "line {} has two texts", line.line);
                        }
                    }
                }
                Heard::Command { .. }
                | Heard::Reply { .. }
                | Heard::Peer { .. }
                | Heard::Lease(_)
                | Heard::Connected => {}
            }
        }
    }

    /// The last messages, for people who look into a failure.
    pub(crate) fn tail(&self, count: usize) -> String {
        let all = self.heard.borrow();
        let skipped = all.heard.len().saturating_sub(count);
        let lines = all.at.iter().zip(&all.heard).skip(skipped);
        let lines = lines.map(|(at, heard)| format!("{:8.3} {}", at.as_secs_f64(), brief(heard)));
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Spy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lines(all: &[Heard], program: ProgramId) -> BTreeMap<u64, &LogLine> {
    let batches = all.iter().filter_map(|heard| match heard {
        Heard::Log(batch) if batch.program == program => Some(&batch.lines),
        _ => None,
    });
    batches.flatten().map(|line| (line.line, line)).collect()
}

pub fn name(name: &str) -> PeerName {
    name.parse().expect("tests use sound names")
}

fn read(topics: &Topics, topic: &str, payload: &[u8]) -> Option<Heard> {
    Some(match topics.parse(topic)? {
        Topic::EngineCommand(_) => Heard::Command {
            command: wire::decode(payload).ok()?,
        },
        Topic::Reply(client) => Heard::Reply {
            client,
            event: wire::decode(payload).ok()?,
        },
        Topic::Peer(_, to) => Heard::Peer {
            to,
            envelope: Envelope::decode(payload).ok()?.0,
        },
        Topic::EngineStatus(_) => Heard::Engine(wire::decode(payload).ok()?),
        Topic::ProgramStatus(_) => Heard::Program(wire::decode(payload).ok()?),
        Topic::ProgramLog(_) => Heard::Log(wire::decode(payload).ok()?),
        // Replies say the same.
        Topic::EngineEvent(_) | Topic::Report => return None,
        Topic::DispatcherLease => Heard::Lease(wire::decode(payload).ok()?),
        // For those who are asked, and for people.
        Topic::EngineDevice(_)
        | Topic::DispatcherRequest(_)
        | Topic::DispatcherEvent
        | Topic::Roster
        | Topic::Card(_) => return None,
        // Between programs.
        Topic::ProgramReply(_) | Topic::ProgramInbox(_) | Topic::Address(..) => return None,
    })
}

fn brief(heard: &Heard) -> String {
    match heard {
        Heard::Command { command } => format!(
            "command {} {} {:?}",
            command.operation.short(),
            command.action.verb(),
            command.action.program()
        ),
        Heard::Reply { client, event } => format!(
            "{} -> {client}: {} {:?}",
            event.engine,
            event.operation.short(),
            event.body
        ),
        Heard::Peer { to, envelope } => {
            let message = match &envelope.message {
                PeerMessage::Prepare {
                    generation, blobs, ..
                } => format!("Prepare {generation} {blobs:?}"),
                other => format!("{other:?}"),
            };
            format!(
                "{} -> {to}: {} {message}",
                envelope.from,
                envelope.operation.short()
            )
        }
        Heard::Engine(status) => {
            let program = |p: &ProgramStatus| format!("{:?} g{} {}", p.program, p.generation, p.state.word());
            let programs: Vec<String> = status.programs.iter().map(program).collect();
            format!("status of {}: {:?} {programs:?}", status.engine, status.state)
        }
        Heard::Program(status) => format!(
            "program {:?} g{} on {}: {:?}",
            status.program, status.generation, status.engine, status.state
        ),
        Heard::Log(batch) => {
            let number = |line: Option<&LogLine>| line.map(|line| line.line);
            format!(
                "log of {:?} g{} from {}: {:?}..={:?}",
                batch.program,
                batch.generation,
                batch.engine,
                number(batch.lines.first()),
                number(batch.lines.last())
            )
        }
        Heard::Lease(lease) => format!("{} {:?} term {}", lease.dispatcher, lease.state, lease.term),
        Heard::Connected => "the spy is connected".into(),
    }
}
