//! The one task that owns the link's events, the core and the watchers. It never waits for anybody: what
//! does not fit into the outbox is dropped, and repeated by the core's own rules; a watcher that is too slow
//! misses messages and notices by their numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};
use wayfare_link::{Event as LinkEvent, Link, LinkError, LinkEvents, Message};
use wayfare_protocol::address::Address;
use wayfare_protocol::code::SecretKey;
use wayfare_protocol::command::GivenCommand;
use wayfare_protocol::dispatcher::{Answered, Lease, Request as Asked};
use wayfare_protocol::event::Event;
use wayfare_protocol::ids::{Challenge, ClientId, EngineId, OperationId, PeerName, ProgramId};
use wayfare_protocol::log::LogBatch;
use wayfare_protocol::peer::Envelope;
use wayfare_protocol::reply::Barrier;
use wayfare_protocol::status::ProgramStatus;
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::wire;

use crate::app::ask::Decision;
use crate::core::{Core, Effect, Finished, Input, Progress, Readers, Report, Request, Ticket};
use crate::error::CommandError;
use crate::fleet::{EngineView, FleetChanges, ProgramView, Vouched};
use crate::signing;
use crate::view::FleetView;

const TICK: Duration = Duration::from_millis(50);
/// Messages from handles that wait.
pub(crate) const QUEUE_MAX: usize = 256;
/// Batches and events that a watcher may be behind.
pub(crate) const WATCHER_QUEUE_MAX: usize = 1_024;

/// A request to a service of the acting dispatcher.
#[derive(Debug)]
pub struct IncomingRequest {
    pub service: PeerName,
    pub request: Asked,
    /// The message that it came as, which may be signed.
    pub payload: Vec<u8>,
}

#[derive(Debug)]
pub(crate) enum ToTask {
    Start {
        operation: OperationId,
        request: Box<Request>,
        progress: watch::Sender<Progress>,
        end: oneshot::Sender<Result<Finished, CommandError>>,
    },
    Report {
        /// None named: all.
        engines: BTreeSet<EngineId>,
        time_limit_ms: u64,
        answer: oneshot::Sender<Report>,
    },
    Engines(oneshot::Sender<Vec<EngineView>>),
    Fleet(oneshot::Sender<FleetView>),
    /// What orders to an engine have to answer.
    Challenge {
        engine: EngineId,
        answer: oneshot::Sender<Option<Challenge>>,
    },
    /// A program and its engine alone.
    StatusOf {
        program: ProgramId,
        answer: oneshot::Sender<Option<ProgramStatus>>,
    },
    FleetOf {
        program: ProgramId,
        answer: oneshot::Sender<FleetView>,
    },
    /// What has changed since the look whose answer had this revision.
    FleetChanges {
        since: u64,
        answer: oneshot::Sender<FleetChanges>,
    },
    WatchLog {
        program: ProgramId,
        sender: mpsc::Sender<LogBatch>,
        registered: oneshot::Sender<()>,
    },
    /// Lines of all programs.
    WatchAllLogs(mpsc::Sender<LogBatch>),
    /// Commands to all engines, and their events.
    WatchOrders(mpsc::Sender<Overheard>),
    WatchEvents {
        sender: mpsc::Sender<Event>,
        registered: oneshot::Sender<()>,
    },
    /// Who waits for the acting dispatcher's answer.
    Ask {
        request: OperationId,
        answer: oneshot::Sender<Answered>,
    },
    /// Where requests to the acting dispatcher go, if we are it.
    WatchRequests(mpsc::Sender<IncomingRequest>),
    WatchCards(mpsc::Sender<(EngineId, Vec<u8>)>),
    /// What members of the roster vouch for, whatever anybody says; `None`: nobody asks.
    Believe(Option<Arc<Vouched>>),
    WatchDecisions(mpsc::Sender<Decision>),
    /// Where messages of transfers go that are none of this task's.
    WatchPeers(mpsc::Sender<(Envelope, Bytes)>),
    /// What is announced of a program, as far as that is subscribed.
    WatchAnnounced {
        program: ProgramId,
        sender: mpsc::Sender<(Address, Bytes)>,
        registered: oneshot::Sender<()>,
    },
    /// Sends ourselves a message, and answers with its number: [`News::barrier`] tells when it is back.
    Barrier(oneshot::Sender<u64>),
    /// Asks these engines to report, or all; their answers are seen in the fleet view.
    AskReports(Vec<EngineId>),
    Close,
}

/// A command to an engine or an event of one, with the name of the program, as far as that is known when it
/// comes.
#[derive(Debug, Clone)]
pub enum Overheard {
    Command {
        engine: EngineId,
        command: Box<GivenCommand>,
        name: Option<String>,
    },
    Event {
        event: Box<Event>,
        name: Option<String>,
    },
}

/// What the task tells everybody without being asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct News {
    /// Grows with every change of the fleet view.
    pub(crate) fleet_version: u64,
    /// The last barrier that came back.
    pub(crate) barrier: u64,
    pub(crate) attempts_failed: u32,
    pub(crate) last_failure: Option<String>,
    /// Who acts as the dispatcher, as last heard.
    pub(crate) lease: Option<Lease>,
    /// The roster as it is retained, where somebody has subscribed to it; nobody has verified it.
    pub(crate) roster: Option<Vec<u8>>,
}

#[derive(Debug)]
pub(crate) struct Task {
    link: Link,
    topics: Topics,
    client: ClientId,
    key: Option<Arc<SecretKey>>,
    core: Core,
    /// The programs that the last look has shown, and of which revision.
    seen: Option<(u64, Arc<[ProgramView]>)>,
    news: watch::Sender<News>,
    began: Instant,
    tickets: u64,
    barriers: u64,
    waiters: BTreeMap<Ticket, Waiter>,
    logs: BTreeMap<ProgramId, Vec<mpsc::Sender<LogBatch>>>,
    all_logs: Vec<mpsc::Sender<LogBatch>>,
    orders: Vec<mpsc::Sender<Overheard>>,
    events: Vec<mpsc::Sender<Event>>,
    asked: BTreeMap<OperationId, oneshot::Sender<Answered>>,
    requests: Option<mpsc::Sender<IncomingRequest>>,
    cards: Vec<mpsc::Sender<(EngineId, Vec<u8>)>>,
    decisions: Vec<mpsc::Sender<Decision>>,
    peers: Vec<mpsc::Sender<(Envelope, Bytes)>>,
    announced: Vec<(ProgramId, mpsc::Sender<(Address, Bytes)>)>,
}

#[derive(Debug)]
enum Waiter {
    Operation {
        progress: watch::Sender<Progress>,
        end: oneshot::Sender<Result<Finished, CommandError>>,
    },
    Report(oneshot::Sender<Report>),
}

impl Task {
    pub(crate) fn new(
        link: Link,
        (topics, client): (Topics, ClientId),
        key: Option<Arc<SecretKey>>,
        looks_at_signatures: bool,
        news: watch::Sender<News>,
    ) -> Self {
        let mut core = Core::new(client.clone());
        if looks_at_signatures {
            core.look_at_signatures(topics.clone());
        }
        Self {
            link,
            topics,
            core,
            seen: None,
            client,
            key,
            news,
            began: Instant::now(),
            tickets: 0,
            barriers: 0,
            waiters: BTreeMap::new(),
            logs: BTreeMap::new(),
            all_logs: Vec::new(),
            orders: Vec::new(),
            events: Vec::new(),
            asked: BTreeMap::new(),
            requests: None,
            cards: Vec::new(),
            decisions: Vec::new(),
            peers: Vec::new(),
            announced: Vec::new(),
        }
    }

    /// Until closed, or until nobody holds a handle any more.
    pub(crate) async fn run(mut self, mut link_events: LinkEvents, mut queue: mpsc::Receiver<ToTask>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_busy = !self.core.is_idle() || !self.logs.is_empty() || !self.events.is_empty();
            tokio::select! {
                event = link_events.next() => match event {
                    Some(event) => self.link_event(event),
                    None => break,
                },
                message = queue.recv() => match message {
                    None | Some(ToTask::Close) => break,
                    Some(message) => self.message(message),
                },
                _ = ticks.tick(), if is_busy => {
                    self.feed(Input::Tick);
                    self.forget_watchers();
                }
            }
        }
        // Waiters hear of it by their channels being dropped.
        let unsent = self.link.clone().close().await;
        if !unsent.is_empty() {
            tracing::warn!(
                messages = unsent.len(),
                "closed before the broker took everything"
            );
        }
    }

    fn link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Connected { .. } => {
                self.feed(Input::Connected);
                self.barrier();
            }
            LinkEvent::Disconnected { reason, .. } => {
                self.feed(Input::Disconnected);
                self.news.send_modify(|news| {
                    news.attempts_failed += 1;
                    news.last_failure = Some(reason);
                });
            }
            // None of ours is that large; the link has warned of it.
            LinkEvent::Oversized(_) => {}
            LinkEvent::Received(incoming) => match self.topics.parse(&incoming.topic) {
                Some(Topic::Address(address, program)) if !incoming.payload.is_empty() => {
                    self.announced(&address, program, &incoming.payload);
                }
                Some(topic) => self.feed(Input::Message {
                    topic,
                    payload: incoming.payload.to_vec(),
                }),
                None => {}
            },
        }
    }

    fn message(&mut self, message: ToTask) {
        match message {
            ToTask::Start {
                operation,
                request,
                progress,
                end,
            } => {
                let ticket = self.ticket(Waiter::Operation { progress, end });
                self.feed(Input::Start {
                    ticket,
                    operation,
                    request,
                });
            }
            ToTask::Report {
                engines,
                time_limit_ms,
                answer,
            } => {
                let ticket = self.ticket(Waiter::Report(answer));
                self.feed(Input::Report {
                    ticket,
                    operation: OperationId::random(),
                    engines,
                    time_limit_ms,
                });
            }
            ToTask::Fleet(answer) => {
                let programs = self.programs();
                let engines = self.core.fleet().engines(self.now_ms());
                let view = FleetView { engines, programs };
                // Whoever asked may have gone away.
                let _ = answer.send(view);
            }
            ToTask::Engines(answer) => {
                let _ = answer.send(self.core.fleet().engines(self.now_ms()));
            }
            ToTask::Challenge { engine, answer } => {
                let _ = answer.send(self.core.fleet().challenge(&engine));
            }
            ToTask::StatusOf { program, answer } => {
                let _ = answer.send(self.core.fleet().own_status(program).cloned());
            }
            ToTask::FleetOf { program, answer } => {
                let (fleet, now_ms) = (self.core.fleet(), self.now_ms());
                let programs: Arc<[_]> = fleet.program(program).into_iter().collect();
                let engines = programs.iter().map(|view| &view.status.engine);
                let engines = engines
                    .filter_map(|engine| fleet.engine(engine, now_ms))
                    .collect();
                let _ = answer.send(FleetView { engines, programs });
            }
            ToTask::FleetChanges { since, answer } => {
                let _ = answer.send(self.core.fleet().changes_since(since, self.now_ms()));
            }
            ToTask::WatchLog {
                program,
                sender,
                registered,
            } => {
                self.logs.entry(program).or_default().push(sender);
                let _ = registered.send(());
            }
            ToTask::WatchAllLogs(sender) => self.all_logs.push(sender),
            ToTask::WatchOrders(sender) => self.orders.push(sender),
            ToTask::WatchEvents { sender, registered } => {
                self.events.push(sender);
                let _ = registered.send(());
            }
            ToTask::Ask { request, answer } => {
                // Who gave up waiting does not say so.
                self.asked.retain(|_, waiter| !waiter.is_closed());
                self.asked.insert(request, answer);
            }
            ToTask::WatchDecisions(sender) => {
                self.decisions.retain(|watcher| !watcher.is_closed());
                self.decisions.push(sender);
            }
            ToTask::Barrier(number) => {
                self.barrier();
                let _ = number.send(self.barriers);
            }
            ToTask::AskReports(engines) => self.feed(Input::Ask {
                operation: OperationId::random(),
                engines,
            }),
            ToTask::WatchRequests(sender) => self.requests = Some(sender),
            ToTask::WatchCards(sender) => self.cards.push(sender),
            ToTask::Believe(vouched) => {
                self.core.believe(vouched);
                self.news.send_modify(|news| news.fleet_version += 1);
            }
            ToTask::WatchPeers(sender) => {
                self.peers.retain(|watcher| !watcher.is_closed());
                self.peers.push(sender);
            }
            ToTask::WatchAnnounced {
                program,
                sender,
                registered,
            } => {
                self.announced.retain(|(_, watcher)| !watcher.is_closed());
                self.announced.push((program, sender));
                let _ = registered.send(());
            }
            ToTask::Close => unreachable!("ends the loop"),
        }
    }

    /// Time alone changes nothing of programs, so that one look serves until something has changed.
    fn programs(&mut self) -> Arc<[ProgramView]> {
        let revision = self.core.fleet().revision();
        match &self.seen {
            Some((of, programs)) if *of == revision => Arc::clone(programs),
            _ => {
                let programs: Arc<[_]> = self.core.fleet().programs().into();
                self.seen = Some((revision, Arc::clone(&programs)));
                programs
            }
        }
    }

    fn announced(&self, address: &Address, program: ProgramId, payload: &Bytes) {
        for (_, watcher) in self.announced.iter().filter(|(of, _)| *of == program) {
            // A full queue: no program has as many addresses.
            let _ = watcher.try_send((address.clone(), payload.clone()));
        }
    }

    fn barrier(&mut self) {
        self.barriers += 1;
        let payload = wire::encode(&Barrier {
            barrier: self.barriers,
        });
        self.publish(&Topic::Reply(self.client.clone()), payload);
    }

    fn ticket(&mut self, waiter: Waiter) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiters.insert(ticket, waiter);
        ticket
    }

    fn feed(&mut self, input: Input) {
        let now_ms = self.now_ms();
        for effect in self.core.handle(input, now_ms, &mut OperationId::random) {
            self.act(effect);
        }
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Publish { topic, payload } => self.publish(&topic, payload),
            Effect::Progress { ticket, progress } => {
                if let Some(Waiter::Operation { progress: sender, .. }) = self.waiters.get(&ticket) {
                    sender.send_replace(progress);
                }
            }
            Effect::Settle { ticket, result } => {
                if let Some(Waiter::Operation { end, .. }) = self.waiters.remove(&ticket) {
                    let _ = end.send(result);
                }
            }
            Effect::SettleReport { ticket, report } => {
                if let Some(Waiter::Report(answer)) = self.waiters.remove(&ticket) {
                    let _ = answer.send(report);
                }
            }
            Effect::FleetChanged => {
                self.seen = None;
                self.news.send_modify(|news| news.fleet_version += 1);
            }
            Effect::Barrier(number) => self.news.send_modify(|news| news.barrier = number),
            Effect::Asked {
                service,
                request,
                payload,
            } => {
                if let Some(requests) = &self.requests {
                    // A full queue: it is asked again.
                    let _ = requests.try_send(IncomingRequest {
                        service,
                        request,
                        payload,
                    });
                }
            }
            Effect::Peer { envelope, bytes } => {
                let bytes = Bytes::from(bytes);
                for watcher in &self.peers {
                    // A full queue: whoever lacks something asks again.
                    let _ = watcher.try_send((envelope.as_ref().clone(), bytes.clone()));
                }
            }
            Effect::Answered(answer) => {
                if let Some(waiter) = self.asked.remove(&answer.request) {
                    let _ = waiter.send(answer.answer);
                }
            }
            Effect::Decided(decision) => {
                for watcher in &self.decisions {
                    // A full queue: the watcher sees it by the numbers.
                    let _ = watcher.try_send(decision.clone());
                }
            }
            Effect::Roster(payload) => self.news.send_modify(|news| news.roster = Some(payload)),
            Effect::Card { engine, payload } => {
                self.cards.retain(|watcher| !watcher.is_closed());
                for watcher in &self.cards {
                    if watcher.try_send((engine.clone(), payload.clone())).is_err() {
                        tracing::warn!(%engine, "the card of an engine was not looked at: there are too many at once");
                    }
                }
            }
            Effect::Lease(lease) => self.news.send_modify(|news| news.lease = lease),
            Effect::Log { batch, readers } => {
                let watchers = self.logs.get(&batch.program).into_iter().flatten();
                let all: &[_] = match readers {
                    Readers::All => &self.all_logs,
                    Readers::Followers => &[],
                };
                for watcher in watchers.chain(all) {
                    // A full queue: the watcher will see a gap and ask for it.
                    let _ = watcher.try_send(batch.clone());
                }
            }
            Effect::Command { engine, command } => {
                let name = self.program_name(Some(command.command.action.program()));
                self.overheard(Overheard::Command {
                    engine,
                    command,
                    name,
                });
            }
            Effect::Event(event) => {
                if !self.orders.is_empty() {
                    let name = self.program_name(event.program);
                    let event = Box::new(event.clone());
                    self.overheard(Overheard::Event { event, name });
                }
                for watcher in &self.events {
                    let _ = watcher.try_send(event.clone());
                }
            }
        }
    }

    fn program_name(&self, program: Option<ProgramId>) -> Option<String> {
        let view = self.core.fleet().program(program?)?;
        Some(view.status.name)
    }

    fn overheard(&self, overheard: Overheard) {
        for watcher in &self.orders {
            // A full queue: what becomes of it is seen in the programs' statuses.
            let _ = watcher.try_send(overheard.clone());
        }
    }

    fn publish(&self, topic: &Topic, payload: Vec<u8>) {
        let name = self.topics.topic(topic);
        let payload = match (&self.key, topic) {
            (Some(key), Topic::EngineCommand(engine)) => {
                signing::sign_command(key, &self.topics, engine, payload, |engine| {
                    self.core.fleet().challenge(engine)
                })
            }
            _ => payload,
        };
        match self.link.try_publish(Message::new(name, payload)) {
            Ok(()) => {}
            Err(LinkError::OutboxFull) => tracing::debug!("outbox full: repeated later"),
            Err(error) => tracing::warn!(%error, "cannot publish"),
        }
    }

    /// Unsubscribes from what nobody watches any more. The request is made by the first poll; its answer
    /// interests nobody.
    fn forget_watchers(&mut self) {
        let (link, topics) = (&self.link, &self.topics);
        self.logs.retain(|program, watchers| {
            watchers.retain(|watcher| !watcher.is_closed());
            if watchers.is_empty() {
                let _ = link
                    .unsubscribe(topics.topic(&Topic::ProgramLog(*program)))
                    .now_or_never();
            }
            !watchers.is_empty()
        });
        if !self.events.is_empty() {
            self.events.retain(|watcher| !watcher.is_closed());
            if self.events.is_empty() {
                let _ = self
                    .link
                    .unsubscribe(self.topics.all_engine_events())
                    .now_or_never();
            }
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
