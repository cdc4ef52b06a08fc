//! Fleets of engines that only pretend: each has a session at the broker, statuses and a last will, and
//! answers what it is asked; its programs are statuses and nothing else. A thousand of them are one process,
//! `wayfare-test-fakes`, so that what a fleet costs its dispatcher can be measured on one machine.
//!
//! What they say is made by the types of the protocol, in an engine's order: statuses of programs first, then
//! the presence. They carry out `run`, `kill` and `logs`, and refuse everything else; of numbers they have
//! none but the time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use wayfare_link::{BrokerUrl, Event, Incoming, Link, LinkOptions, Message, Qos};
use wayfare_protocol::code::CodeTarget;
use wayfare_protocol::command::{Action, Command, ReportRequest};
use wayfare_protocol::dispatcher::{Answer, Answered, Request};
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::{self, EventBody, Outcome};
use wayfare_protocol::ids::{BootId, ClientId, Digest, EngineId, Generation, OperationId, ProgramId, Term};
use wayfare_protocol::numbers::{EngineNumbers, MachineNumbers};
use wayfare_protocol::status::{EngineAbout, EngineState, EngineStatus, ProgramState, ProgramStatus};
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::wire;

/// What a fake engine says it could have.
const PROGRAMS_MAX: u32 = 1000;
const MEMORY_BYTES: u64 = 1 << 30;
/// Its programs have one of so many names, `idle-0` and on, and one of so many sizes.
const NAMES: usize = 10;
const MEBIBYTES: u64 = 7;

/// How many there are, and what each has from the start.
#[derive(Debug, Clone, clap::Args)]
pub struct FakeFleet {
    /// Engines, called `fake-0`, `fake-1`, ...
    #[arg(long, default_value_t = 1000)]
    pub engines: usize,
    /// Programs that run on each from the start.
    #[arg(long, default_value_t = 10)]
    pub programs: usize,
    /// By how much their clocks are ahead.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub clock_ahead_ms: i64,
}

/// All of them, each a task.
pub struct Fakes {
    engines: JoinSet<Result<()>>,
    /// In the order of their numbers.
    handles: VecDeque<AbortHandle>,
    /// Programs that were started by an order and run.
    ordered: Arc<watch::Sender<usize>>,
}

impl Fakes {
    pub fn start(fleet: &FakeFleet, broker: &BrokerUrl) -> Result<Self> {
        let (mut engines, mut handles) = (JoinSet::new(), VecDeque::new());
        let ordered = Arc::new(watch::Sender::new(0));
        for number in 0..fleet.engines {
            let fake = Fake::new(number, fleet, Arc::clone(&ordered))?;
            handles.push_back(engines.spawn(fake.serve(broker.clone())));
        }
        Ok(Self {
            engines,
            handles,
            ordered,
        })
    }

    /// How many programs run that were started by an order, whenever that changes.
    pub fn ordered(&self) -> watch::Receiver<usize> {
        self.ordered.subscribe()
    }

    /// Ends the first `count` that are left as a power cut would: the broker publishes their wills. What they
    /// had runs no more when this returns.
    pub async fn drop_first(&mut self, count: usize) -> Result<()> {
        let count = count.min(self.handles.len());
        self.handles.drain(..count).for_each(|engine| engine.abort());
        for _ in 0..count {
            if let Some(Ok(ended)) = self.engines.join_next().await {
                return ended;
            }
        }
        Ok(())
    }

    /// Returns when one has ended that was not dropped.
    pub async fn next_end(&mut self) -> Result<()> {
        loop {
            match self.engines.join_next().await {
                Some(Err(error)) if error.is_cancelled() => {}
                Some(ended) => return ended.context("a fake engine panicked")?,
                None => std::future::pending().await,
            }
        }
    }
}

struct Fake {
    topics: Topics,
    engine: EngineId,
    boot: BootId,
    sequence: u64,
    programs: BTreeMap<ProgramId, ProgramStatus>,
    /// Of commands that may be repeated.
    answers: BTreeMap<OperationId, EventBody>,
    /// Those of its programs that were started by an order,
    ordered: BTreeSet<ProgramId>,
    /// and those of all engines.
    all_ordered: Arc<watch::Sender<usize>>,
    clock_ahead_ms: i64,
}

/// Its programs are gone with it.
impl Drop for Fake {
    fn drop(&mut self) {
        self.all_ordered.send_modify(|count| *count -= self.ordered.len());
    }
}

impl Fake {
    fn new(number: usize, fleet: &FakeFleet, all_ordered: Arc<watch::Sender<usize>>) -> Result<Self> {
        let mut fake = Self {
            topics: Topics::default(),
            engine: format!("fake-{number}").parse()?,
            boot: BootId::random(),
            sequence: 0,
            programs: BTreeMap::new(),
            answers: BTreeMap::new(),
            ordered: BTreeSet::new(),
            all_ordered,
            clock_ahead_ms: fleet.clock_ahead_ms,
        };
        for number in 0..fleet.programs {
            let program = ProgramId::random();
            fake.begin(program, format!("idle-{}", number % NAMES), Generation(1));
            // Lists are filtered and sorted by it.
            if let Some(status) = fake.programs.get_mut(&program) {
                status.memory_bytes = (number as u64 % MEBIBYTES + 1) << 20;
            }
        }
        Ok(fake)
    }

    fn begin(&mut self, program: ProgramId, name: String, generation: Generation) {
        self.sequence += 1;
        let status = ProgramStatus {
            program,
            name,
            engine: self.engine.clone(),
            boot: self.boot,
            generation,
            sequence: self.sequence,
            state: ProgramState::Running,
            module: Digest([0; 32]),
            memory_bytes: 1 << 20,
            ports: Box::default(),
            place: None,
            health: None,
            hold: None,
        };
        self.programs.insert(program, status);
    }

    async fn serve(mut self, broker: BrokerUrl) -> Result<()> {
        let will = EngineStatus::new(self.engine.clone(), self.boot, EngineState::Offline);
        let will = Message::new(self.status_topic(), wire::encode(&will)).retained();
        let subscriptions = [
            Topic::EngineCommand(self.engine.clone()),
            Topic::EngineDevice(self.engine.clone()),
            Topic::Report,
        ];
        let options = LinkOptions {
            will: Some(will),
            subscriptions: subscriptions
                .iter()
                .map(|topic| (self.topics.topic(topic), Qos::AtLeastOnce))
                .collect(),
            ..LinkOptions::new(broker, self.engine.to_string())
        };
        let (link, mut events) = wayfare_link::connect(options)?;
        while let Some(event) = events.next().await {
            match event {
                Event::Connected { .. } => self.publish_all(&link).await?,
                Event::Received(message) => self.received(&link, &message).await?,
                Event::Disconnected { .. } | Event::Oversized(_) => {}
            }
        }
        Ok(())
    }

    fn status_topic(&self) -> String {
        self.topics.topic(&Topic::EngineStatus(self.engine.clone()))
    }

    async fn publish_all(&mut self, link: &Link) -> Result<()> {
        for program in self.programs.values() {
            self.publish_program(link, program).await?;
        }
        self.publish_presence(link).await
    }

    async fn publish_program(&self, link: &Link, status: &ProgramStatus) -> Result<()> {
        let topic = self.topics.topic(&Topic::ProgramStatus(status.program));
        link.publish(Message::new(topic, wire::encode(status)).retained())
            .await
            .context("a program's status")
    }

    async fn publish_presence(&mut self, link: &Link) -> Result<()> {
        self.sequence += 1;
        let status = EngineStatus {
            sequence: self.sequence,
            about: Some(about()),
            live_programs: u32::try_from(self.programs.len()).ok(),
            ..EngineStatus::new(self.engine.clone(), self.boot, EngineState::Online)
        };
        link.publish(Message::new(self.status_topic(), wire::encode(&status)).retained())
            .await
            .context("a presence")
    }

    async fn received(&mut self, link: &Link, message: &Incoming) -> Result<()> {
        match self.topics.parse(&message.topic) {
            Some(Topic::Report) => {
                let request: ReportRequest = wire::decode(&message.payload).context("a poll")?;
                if request.is_for(&self.engine) {
                    self.publish_presence(link).await?;
                    let body = EventBody::Done {
                        outcome: Outcome::Reported,
                    };
                    self.reply(link, request.client, request.operation, ("report", None), body)
                        .await?;
                }
            }
            Some(Topic::EngineDevice(_)) => {
                let request: Request = wire::decode(&message.payload).context("a question")?;
                self.answer(link, request).await?;
            }
            Some(Topic::EngineCommand(_)) => {
                let command: Command = wire::decode(&message.payload).context("a command")?;
                self.obey(link, command).await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Whatever it is asked, it measures nothing but the time.
    async fn answer(&self, link: &Link, request: Request) -> Result<()> {
        let wall_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let numbers = EngineNumbers {
            engine: self.engine.clone(),
            boot: self.boot,
            clock_ms: u64::try_from(wall_ms)?.saturating_add_signed(self.clock_ahead_ms),
            machine: MachineNumbers::default(),
            programs: Vec::new(),
            next: None,
        };
        let (asker, _) = request.take_apart();
        let answer = Answer {
            request: asker.request,
            term: Term::default(),
            answer: Answered::Done(serde_json::to_value(numbers)?),
        };
        let topic = self.topics.topic(&Topic::Reply(asker.client));
        link.publish(Message::new(topic, answer.encode(asker.reads)))
            .await
            .context("an answer")
    }

    async fn obey(&mut self, link: &Link, command: Command) -> Result<()> {
        let (verb, program) = (command.action.verb(), command.action.program());
        let body = match self.answers.get(&command.operation) {
            Some(body) => body.clone(),
            None => {
                let body = self.carry_out(link, &command.action).await?;
                self.answers.insert(command.operation, body.clone());
                body
            }
        };
        self.reply(
            link,
            command.client,
            command.operation,
            (verb, Some(program)),
            body,
        )
        .await
    }

    async fn carry_out(&mut self, link: &Link, action: &Action) -> Result<EventBody> {
        let outcome = match action {
            Action::Run {
                program,
                spec,
                generation,
                ..
            } => {
                let (program, generation) = (*program, generation.unwrap_or(Generation(1)));
                self.begin(program, spec.name.clone(), generation);
                if self.ordered.insert(program) {
                    self.all_ordered.send_modify(|count| *count += 1);
                }
                if let Some(status) = self.programs.get(&program) {
                    self.publish_program(link, status).await?;
                }
                Outcome::Running { program, generation }
            }
            Action::Kill { on } if self.programs.remove(&on.program).is_some() => {
                if self.ordered.remove(&on.program) {
                    self.all_ordered.send_modify(|count| *count -= 1);
                }
                let topic = self.topics.topic(&Topic::ProgramStatus(on.program));
                link.publish(Message::new(topic, Vec::new()).retained()).await?;
                Outcome::Killed { program: on.program }
            }
            Action::Kill { on } => {
                let failure = Failure::UnknownProgram {
                    engine: self.engine.clone(),
                    program: on.program,
                };
                return Ok(EventBody::Failed { failure });
            }
            // They print nothing.
            Action::Logs { .. } => Outcome::Logs {
                lines: Vec::new(),
                next: 0,
            },
            other => {
                let reason = format!("a fake engine does not {}", other.verb());
                return Ok(EventBody::Failed {
                    failure: Failure::Internal { reason },
                });
            }
        };
        Ok(EventBody::Done { outcome })
    }

    async fn reply(
        &self,
        link: &Link,
        client: ClientId,
        operation: OperationId,
        (verb, program): (&str, Option<ProgramId>),
        body: EventBody,
    ) -> Result<()> {
        let event = event::Event {
            operation,
            engine: self.engine.clone(),
            boot: self.boot,
            verb: verb.to_owned(),
            program,
            body,
        };
        let payload = wire::encode(&event);
        for topic in [Topic::Reply(client), Topic::EngineEvent(self.engine.clone())] {
            let topic = self.topics.topic(&topic);
            link.publish(Message::new(topic, payload.clone()))
                .await
                .context("a reply")?;
        }
        Ok(())
    }
}

fn about() -> EngineAbout {
    EngineAbout {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        platform: "x86_64-linux".to_owned(),
        code: CodeTarget {
            architecture: "x86_64".to_owned(),
            wasmtime: "0".to_owned(),
            abi: "0".to_owned(),
        },
        compiles: true,
        tells_health: true,
        signs_statuses: false,
        processors: 1,
        memory_bytes: MEMORY_BYTES,
        programs_max: PROGRAMS_MAX,
        program_memory_bytes_max: MEMORY_BYTES,
        host: "fake".to_owned(),
        labels: Default::default(),
        trusts: Vec::new(),
        devices: BTreeMap::new(),
    }
}
