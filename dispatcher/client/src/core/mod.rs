//! What a client decides: operations in flight, their repetition, their transfers and their ends.
//!
//! ```text
//!   Queued: waits for another operation of ours on the same program, where that was asked
//!     |
//!     v      Accepted            Captured (snapshot only)
//!   Sent ----------------> Accepted ----------------> Fetching --> settled
//!     | repeated every 2 s    | repeated every 10 s       | Want repeated after silence
//!     |                       |
//!     +-------- UnknownProgram, StaleGeneration, Busy ---> Rechecking --> Sent once more, under a new id
//!               this client's view was old, or another operation is to be waited for
//! ```
//! Pure: time and ids are passed in, and what is to be done comes out as [`Effect`]s in order. An operation
//! is settled exactly once: by its final answer, or when its time is up. Nothing is published while
//! disconnected; on connecting everything in flight is said again, and so is what an engine has in flight
//! that comes back, which is harmless by design.

mod operation;
mod printed;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wayfare_protocol::code::PublicKey;
use wayfare_protocol::command::{Action, GivenCommand};
use wayfare_protocol::dispatcher::{Answer, Lease, Request as Asked};
use wayfare_protocol::event::{Event, EventBody, Outcome, Phase};
use wayfare_protocol::ids::{BootId, ClientId, Digest, EngineId, OperationId, PeerName, ProgramId, Term};
use wayfare_protocol::log::LogBatch;
use wayfare_protocol::peer::Envelope;
use wayfare_protocol::reply::{Barrier, Reply};
use wayfare_protocol::status::{EngineStatus, ProgramStatus};
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::trust::signed::Signature;
use wayfare_protocol::wire;

use crate::app::ask::Decision;
use crate::error::CommandError;
use crate::fleet::{EngineView, Fleet, Heard, Vouched};
use crate::order::Busy;
use crate::transfer::Content;
use operation::InFlight;
use printed::Printed;
pub(crate) use printed::Readers;
use report::ReportInFlight;

/// A command is repeated this often until the engine says that it has it.
pub(crate) const REPEAT_MS: u64 = 2_000;
/// And this often until its end: an answer can be lost while this client is not connected.
pub(crate) const REPEAT_ACCEPTED_MS: u64 = 10_000;
/// An engine measures its time limit from acceptance, and its answer has a way to go.
pub(crate) const GRACE_MS: u64 = 2_000;
/// How long news may take before what is not known is taken not to exist.
pub(crate) const SETTLE_MS: u64 = 300;

/// How long to leave a busy program alone before asking again.
pub(crate) const BUSY_RETRY_MS: u64 = 500;

/// Names a waiter, through all repetitions of its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket(pub u64);

/// One command to one engine.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub engine: EngineId,
    pub action: Action,
    /// What the engine may ask for.
    pub blobs: BTreeMap<Digest, Content>,
    pub time_limit_ms: u64,
    pub busy: Busy,
    /// Of what a snapshot names, these need not be fetched.
    pub known: BTreeSet<Digest>,
    /// Of the acting dispatcher, if that asks.
    pub term: Option<Term>,
    /// The engine's process that this was decided for; `None`: the one that is there when it is sent.
    pub boot: Option<BootId>,
    /// Who gives it, for those who listen,
    pub by: Option<String>,
    /// and what it is a part of.
    pub batch: Option<OperationId>,
}

#[derive(Debug)]
pub(crate) enum Input {
    Start {
        ticket: Ticket,
        operation: OperationId,
        request: Box<Request>,
    },
    /// These engines report, or with none named all.
    Report {
        ticket: Ticket,
        operation: OperationId,
        engines: BTreeSet<EngineId>,
        time_limit_ms: u64,
    },
    /// Asks these engines to report, or with none named all; nobody waits for the answers, which are seen in
    /// the view.
    Ask {
        operation: OperationId,
        engines: Vec<EngineId>,
    },
    Message {
        topic: Topic,
        payload: Vec<u8>,
    },
    Connected,
    Disconnected,
    Tick,
}

#[derive(Debug)]
pub(crate) enum Effect {
    Publish {
        topic: Topic,
        payload: Vec<u8>,
    },
    Progress {
        ticket: Ticket,
        progress: Progress,
    },
    Settle {
        ticket: Ticket,
        result: Result<Finished, CommandError>,
    },
    SettleReport {
        ticket: Ticket,
        report: Report,
    },
    FleetChanged,
    Log {
        batch: LogBatch,
        readers: Readers,
    },
    /// To an engine, from whomever: for those who listen.
    Command {
        engine: EngineId,
        command: Box<GivenCommand>,
    },
    Event(Event),
    /// A message of ours to ourselves came back: all that was retained before it has been delivered.
    Barrier(u64),
    /// Of a transfer that is none of ours: for whoever does such.
    Peer {
        envelope: Box<Envelope>,
        bytes: Vec<u8>,
    },
    /// For a service of the acting dispatcher.
    Asked {
        service: PeerName,
        request: Asked,
        /// As it came: what is signed.
        payload: Vec<u8>,
    },
    /// From the acting dispatcher.
    Answered(Answer),
    /// What the acting dispatcher says that it decided.
    Decided(Decision),
    /// Who acts as the dispatcher now.
    Lease(Option<Lease>),
    /// The roster that is retained, by whomever.
    Roster(Vec<u8>),
    /// The card of an engine that is retained, by whomever; nothing: it was taken away.
    Card {
        engine: EngineId,
        payload: Vec<u8>,
    },
}

impl Effect {
    fn log((batch, readers): (LogBatch, Readers)) -> Self {
        Self::Log { batch, readers }
    }
}

/// How far an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    pub accepted: bool,
    /// The engine has everything that it needs from us: we may go away.
    pub delivered: bool,
    pub phase: Option<Phase>,
    pub done_bytes: u64,
    pub total_bytes: u64,
}

/// An operation's good end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    pub engine: EngineId,
    pub outcome: Outcome,
    /// What was fetched, for a snapshot.
    pub blobs: BTreeMap<Digest, Vec<u8>>,
}

/// The answers to a status poll.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Report {
    /// Milliseconds from the question to each engine's answer.
    pub answered: BTreeMap<EngineId, u64>,
    /// Engines whose status says that they are there, but that did not answer in time.
    pub silent: Vec<EngineId>,
}

impl Report {
    /// Marks the engines that were silent.
    pub fn mark(&self, engines: &mut [EngineView]) {
        for view in engines {
            // Who has spoken since was only late.
            if self.silent.contains(&view.engine) && view.heard != Heard::Live {
                view.set_silent();
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Core {
    client: ClientId,
    fleet: Fleet,
    connected: bool,
    operations: BTreeMap<OperationId, InFlight>,
    reports: BTreeMap<OperationId, ReportInFlight>,
    printed: Printed,
    /// Looks who has signed programs' statuses, as they are published on these topics.
    looks_at_signatures: Option<Topics>,
}

impl Core {
    pub(crate) fn new(client: ClientId) -> Self {
        Self {
            client,
            fleet: Fleet::default(),
            connected: false,
            operations: BTreeMap::new(),
            reports: BTreeMap::new(),
            printed: Printed::default(),
            looks_at_signatures: None,
        }
    }

    pub(crate) fn look_at_signatures(&mut self, topics: Topics) {
        self.looks_at_signatures = Some(topics);
    }

    /// Whose key has signed the status of a program, if anybody asks.
    fn signer(&self, program: ProgramId, payload: &[u8]) -> Option<PublicKey> {
        let topics = self.looks_at_signatures.as_ref()?;
        let signature = Signature::of(payload)?;
        let topic = topics.topic(&Topic::ProgramStatus(program));
        signature.is_good(&topic).then_some(signature.key)
    }

    pub(crate) fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// See [`Fleet::believe`].
    pub(crate) fn believe(&mut self, vouched: Option<Arc<Vouched>>) {
        self.fleet.believe(vouched);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.operations.is_empty() && self.reports.is_empty()
    }

    /// `fresh` gives ids for operations that must be sent anew.
    pub(crate) fn handle(
        &mut self,
        input: Input,
        now_ms: u64,
        fresh: &mut dyn FnMut() -> OperationId,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Start {
                ticket,
                operation,
                request,
            } => {
                let boot = self.fleet.present_boot(&request.engine);
                let mut in_flight = InFlight::new(ticket, *request, now_ms).for_process(boot);
                if in_flight.is_too_large(operation, &self.client, &mut effects) {
                    return effects;
                }
                if in_flight
                    .waits_for()
                    .is_some_and(|program| self.is_taken(program))
                {
                    in_flight = in_flight.queued();
                } else if self.connected {
                    effects.push(in_flight.send(operation, &self.client, now_ms));
                }
                self.operations.insert(operation, in_flight);
            }
            Input::Report {
                ticket,
                operation,
                engines,
                time_limit_ms,
            } => {
                let report = ReportInFlight::new(ticket, engines, time_limit_ms, now_ms);
                if self.connected {
                    effects.push(report.send(operation, &self.client));
                }
                self.reports.insert(operation, report);
                self.settle_reports(now_ms, &mut effects);
            }
            Input::Ask { operation, engines } => {
                effects.push(report::ask(operation, &self.client, engines));
            }
            Input::Connected => {
                self.connected = true;
                self.fleet.begin_round();
                for (operation, in_flight) in &mut self.operations {
                    effects.extend(in_flight.say_again(*operation, &self.client, now_ms));
                }
                for (operation, report) in &self.reports {
                    effects.push(report.send(*operation, &self.client));
                }
            }
            Input::Disconnected => self.connected = false,
            Input::Message { topic, payload } => self.message(topic, &payload, now_ms, &mut effects),
            Input::Tick => self.tick(now_ms, fresh, &mut effects),
        }
        effects
    }

    fn message(&mut self, topic: Topic, payload: &[u8], now_ms: u64, effects: &mut Vec<Effect>) {
        let result = match topic {
            Topic::EngineStatus(engine) if payload.is_empty() => Ok(self.fleet.engine_cleared(&engine)),
            Topic::EngineStatus(engine) => wire::decode(payload).map(|status: EngineStatus| {
                let was = (self.fleet.present_boot(&engine), self.fleet.challenge(&engine));
                // Nobody speaks about another engine than the topic's.
                let changed = status.engine == engine && self.fleet.engine_status(status, now_ms);
                let is = self.fleet.present_boot(&engine);
                // What was signed for another challenge was not taken.
                if is.is_some() && (is, self.fleet.challenge(&engine)) != was {
                    self.ask_again(&engine, now_ms, effects);
                }
                // What is retained proves nothing, but what comes after all that is was published now.
                let is_live = changed && is.is_some() && self.fleet.is_round_complete();
                if is_live {
                    self.engine_spoke(&engine, now_ms, effects);
                }
                changed
            }),
            Topic::ProgramStatus(program) if payload.is_empty() => Ok(self.fleet.program_cleared(program)),
            Topic::ProgramStatus(program) => wire::decode(payload).map(|status: ProgramStatus| {
                let signed_by = self.signer(program, payload);
                status.program == program && self.fleet.signed_status(status, signed_by)
            }),
            Topic::ProgramLog(program) => wire::decode(payload).map(|batch: LogBatch| {
                if batch.program == program {
                    let passed = self.printed.judge(batch, &self.fleet);
                    effects.extend(passed.map(Effect::log));
                }
                false
            }),
            Topic::EngineEvent(_) => wire::decode(payload).map(|event| {
                effects.push(Effect::Event(event));
                false
            }),
            Topic::Reply(_) => Reply::decode(payload).map(|reply| {
                match reply {
                    Reply::Barrier(Barrier { barrier }) => {
                        effects.push(Effect::Barrier(barrier));
                        let was_news = self.fleet.complete_round();
                        self.settle_reports(now_ms, effects);
                        return was_news;
                    }
                    Reply::Answer(answer) => effects.push(Effect::Answered(answer)),
                    Reply::Event(event) => self.answer(*event, now_ms, effects),
                    Reply::Unknown => tracing::debug!("dropped a reply of a later release"),
                }
                false
            }),
            Topic::DispatcherRequest(service) => wire::decode(payload).map(|request| {
                let payload = payload.to_vec();
                effects.push(Effect::Asked {
                    service,
                    request,
                    payload,
                });
                false
            }),
            Topic::DispatcherLease if payload.is_empty() => {
                effects.push(Effect::Lease(None));
                Ok(false)
            }
            Topic::DispatcherLease => wire::decode(payload).map(|lease| {
                effects.push(Effect::Lease(Some(lease)));
                false
            }),
            Topic::Peer(operation, _) => Envelope::decode(payload).map(|(envelope, bytes)| {
                if envelope.operation == operation {
                    self.peer(envelope, bytes, now_ms, effects);
                }
                false
            }),
            Topic::DispatcherEvent => wire::decode(payload).map(|decision| {
                effects.push(Effect::Decided(decision));
                false
            }),
            Topic::EngineCommand(engine) => wire::decode(payload).map(|command| {
                effects.push(Effect::Command {
                    engine,
                    command: Box::new(command),
                });
                false
            }),
            Topic::Roster => {
                effects.push(Effect::Roster(payload.to_vec()));
                Ok(false)
            }
            Topic::Card(engine) => {
                let payload = payload.to_vec();
                effects.push(Effect::Card { engine, payload });
                Ok(false)
            }
            Topic::EngineDevice(_)
            | Topic::ProgramReply(_)
            | Topic::ProgramInbox(_)
            | Topic::Address(..)
            | Topic::Report => Ok(false),
        };
        match result {
            Ok(true) => effects.push(Effect::FleetChanged),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "dropped a message that cannot be read"),
        }
        if effects
            .iter()
            .any(|effect| matches!(effect, Effect::FleetChanged))
        {
            let passed = self.printed.look_again(&self.fleet);
            effects.extend(passed.into_iter().map(Effect::log));
        }
    }

    /// An engine is back: what it answered as it went may never have reached us.
    fn ask_again(&mut self, engine: &EngineId, now_ms: u64, effects: &mut Vec<Effect>) {
        if !self.connected {
            return;
        }
        for (operation, in_flight) in &mut self.operations {
            if in_flight.engine() == engine {
                effects.extend(in_flight.say_again(*operation, &self.client, now_ms));
            }
        }
    }

    fn answer(&mut self, event: Event, now_ms: u64, effects: &mut Vec<Effect>) {
        self.fleet.engine_answered(&event.engine);
        if self.reports.contains_key(&event.operation) {
            if event.body.is_final() {
                self.engine_spoke(&event.engine, now_ms, effects);
            }
            return;
        }
        let operation = event.operation;
        let Some(in_flight) = self.operations.get_mut(&operation) else {
            return;
        };
        // An engine that was asked before the operation was sent elsewhere has nothing more to say.
        if in_flight.engine() != &event.engine {
            return;
        }
        if let EventBody::Done {
            outcome:
                Outcome::Moved {
                    program,
                    generation,
                    target,
                    ..
                },
        } = &event.body
            && self.fleet.program_moved(*program, *generation, target)
        {
            effects.push(Effect::FleetChanged);
        }
        if in_flight
            .event(event, operation, &self.client, now_ms, effects)
            .is_settled()
        {
            self.operations.remove(&operation);
        }
    }

    /// An engine has shown that it is there: that answers every poll.
    fn engine_spoke(&mut self, engine: &EngineId, now_ms: u64, effects: &mut Vec<Effect>) {
        for report in self.reports.values_mut() {
            report.heard(engine, now_ms);
        }
        if self.fleet.engine_spoke(engine, now_ms) {
            effects.push(Effect::FleetChanged);
        }
        self.settle_reports(now_ms, effects);
    }

    fn peer(&mut self, envelope: Envelope, bytes: &[u8], now_ms: u64, effects: &mut Vec<Effect>) {
        let Some(in_flight) = self.operations.get_mut(&envelope.operation) else {
            return effects.push(Effect::Peer {
                envelope: Box::new(envelope),
                bytes: bytes.to_vec(),
            });
        };
        if in_flight.engine() == &envelope.from
            && in_flight
                .peer(&envelope, bytes, &self.client, now_ms, effects)
                .is_settled()
        {
            self.operations.remove(&envelope.operation);
        }
    }

    fn tick(&mut self, now_ms: u64, fresh: &mut dyn FnMut() -> OperationId, effects: &mut Vec<Effect>) {
        let mut again = Vec::new();
        let (client, fleet, connected) = (&self.client, &self.fleet, self.connected);
        self.operations.retain(|operation, in_flight| {
            if in_flight.time_is_up(*operation, now_ms, effects).is_settled() {
                return false;
            }
            match in_flight.rechecked(|program| fleet.program(program), now_ms, effects) {
                operation::Recheck::No => {}
                operation::Recheck::Settled => return false,
                operation::Recheck::Again(request) => {
                    again.push((fresh(), request));
                    return false;
                }
            }
            if connected {
                in_flight.tick(*operation, client, now_ms, effects);
            }
            true
        });
        for (operation, in_flight) in again {
            let boot = self.fleet.present_boot(in_flight.engine());
            let mut in_flight = in_flight.for_process(boot);
            if self.connected {
                effects.push(in_flight.send(operation, &self.client, now_ms));
            }
            self.operations.insert(operation, in_flight);
        }
        if self.connected {
            self.send_queued(now_ms, effects);
        }
        self.settle_reports(now_ms, effects);
    }

    /// Whether an operation of ours on that program is under way.
    fn is_taken(&self, program: ProgramId) -> bool {
        let mut others = self.operations.values().filter(|other| !other.is_queued());
        others.any(|other| other.program() == Some(program))
    }

    /// Those whose turn has come: for each program that is free, the one asked for first.
    fn send_queued(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let queued = self
            .operations
            .iter()
            .filter(|(_, in_flight)| in_flight.is_queued());
        let mut queued: Vec<_> = queued.map(|(id, in_flight)| (in_flight.ticket(), *id)).collect();
        queued.sort();
        for (_, operation) in queued {
            let program = self.operations[&operation].program();
            if program.is_some_and(|program| self.is_taken(program)) {
                continue;
            }
            if let Some(in_flight) = self.operations.get_mut(&operation) {
                effects.push(in_flight.send(operation, &self.client, now_ms));
            }
        }
    }

    fn settle_reports(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let fleet = &self.fleet;
        let is_known = self.connected && fleet.is_round_complete();
        self.reports.retain(|_, report| {
            if !report.is_complete(fleet, is_known, now_ms) {
                return true;
            }
            effects.push(Effect::SettleReport {
                ticket: report.ticket(),
                report: report.result(fleet),
            });
            false
        });
    }
}

/// The program that an action is on, unless it makes one.
fn existing_program(action: &Action) -> Option<ProgramId> {
    (!matches!(action, Action::Run { .. })).then(|| action.program())
}

#[cfg(test)]
mod tests;
