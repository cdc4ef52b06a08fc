//! What comes over the link: connections, messages, and what follows from them. A message is looked at by the
//! border, which knows what it may be, then by whoever knows whether its sender may say so, and only then by
//! the core.

use std::time::Instant;

use bytes::Bytes;
use wayfare_core::Core;
use wayfare_core::types::{Disk, Effect, Input};
use wayfare_link::{Event, Incoming};
use wayfare_protocol::command::Action;
use wayfare_protocol::dispatcher::Answered;
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::EventBody;
use wayfare_protocol::ids::{ClientId, EngineId, Generation, OperationId, ProgramId};
use wayfare_protocol::peer::{Envelope, PeerMessage};
use wayfare_protocol::status::{EngineStatus, TOMBSTONE};
use wayfare_protocol::topics::Topic;
use wayfare_protocol::trust::place::Holding;

use super::{Agent, DISCONNECTED_GRACE, Step};
use crate::shell::claim::Finding;
use crate::shell::fence::Back;
use crate::shell::inbound::Arrived;
use crate::shell::machine;
use crate::shell::spans;
use crate::shell::trust::Judgement;

impl Agent {
    pub(super) fn link_event(&mut self, event: Event) {
        match event {
            Event::Connected { connection, .. } => {
                tracing::debug!(connection, "connected to the broker");
                self.out.is_connected = true;
                self.claim.connected(connection);
                self.no_broker_said = false;
                self.subscriptions.say_ready();
                self.fence.begin();
                self.subscriptions.look_at_ourselves();
                self.fence.ask(&self.subscriptions, &self.out);
            }
            Event::Disconnected {
                reason,
                closed_by_broker,
            } => {
                if closed_by_broker {
                    let engine = &self.out.engine;
                    tracing::warn!(
                        reason,
                        "the broker closed the connection: it stopped, or another process has the id {engine} too"
                    );
                } else if self.out.is_connected {
                    tracing::warn!(reason, "lost the broker; programs run on");
                } else if std::mem::replace(&mut self.no_broker_said, true) {
                    tracing::debug!(reason, "no broker yet");
                } else {
                    tracing::warn!(
                        reason,
                        "no broker yet: programs run without, and it is tried again and again"
                    );
                }
                self.lose_fence();
                if std::mem::take(&mut self.out.is_connected) {
                    self.times.give_up_logs = Some(Instant::now() + DISCONNECTED_GRACE);
                }
            }
            Event::Received(message) => self.received(message),
            // None of ours is that large; the link has warned of it.
            Event::Oversized(_) => {}
        }
    }

    fn received(&mut self, message: Incoming) {
        let arrived = self
            .border
            .admit(&message.topic, &message.payload, message.retain);
        if self.is_stopping && !self.is_of_hand_over(&arrived) {
            // Not acknowledged: whoever needs an answer asks the next start.
            return;
        }
        let Some(arrived) = self.permitted(arrived, &message.payload) else {
            return self.steps.push_back(Step::Acknowledge(message.token));
        };
        if let (false, Some(Topic::ProgramStatus(program))) = (
            matches!(arrived, Arrived::Claim { .. }),
            self.out.topics.parse(&message.topic),
        ) {
            self.status_heard(program, &message.payload);
        }
        match arrived {
            Arrived::Command(command) => {
                self.leaving.asked_by(&command.client);
                match self.core.may_take(&command, self.disk()) {
                    Ok(()) => {
                        // Whether another engine has a newer life of it is known before this one begins.
                        if let Action::Run { program, .. } = &command.action {
                            self.subscriptions.watch(*program);
                        }
                        self.feed(Input::Command(command));
                    }
                    Err(failure) => {
                        self.refuse(command.operation, command.client, command.action.verb(), failure);
                    }
                }
            }
            Arrived::Peer(input, bytes) => self.peer_message(input, &bytes),
            Arrived::Other(input) => {
                if let Input::Report { client, .. } = &input {
                    self.leaving.asked_by(client);
                }
                self.feed(input);
            }
            Arrived::Claim {
                program,
                generation,
                by,
            } => self.claimed((program, generation), &by, &message.payload),
            Arrived::Announced(address, announcement) => {
                let has_ended = self.programs.has_ended(announcement.program);
                self.announced.seen(&address, &announcement, has_ended, &self.out);
            }
            Arrived::Device(request) => self.asked(request),
            Arrived::Malformed {
                operation,
                client,
                failure,
            } => {
                if let Some(unwritten) = self.nonsense.due(Instant::now()) {
                    tracing::warn!(%operation, %client, %failure, unwritten, "refused a malformed command");
                }
                self.refuse(operation, client, "unknown", failure);
            }
            Arrived::Dropped { why } => {
                if let Some(unwritten) = self.nonsense.due(Instant::now()) {
                    tracing::warn!(topic = message.topic, why, unwritten, "dropped a message");
                }
            }
            Arrived::Echo => {}
            Arrived::OwnStatus(status) => self.own_status(&status, message.retain),
            Arrived::Barrier(number) => self.fence_answered(number),
            Arrived::Answer(answer) if self.leaving.answered(&answer) => {}
            Arrived::Answer(answer) => {
                self.service_requests.answered(answer, &self.programs);
                self.service_requests_due(Instant::now());
            }
            Arrived::Roster => self.trust.roster_seen(&message.payload, Instant::now()),
        }
        self.steps.push_back(Step::Acknowledge(message.token));
    }

    /// Whether it is about a program that has been on its way elsewhere since before the engine began to end.
    fn is_of_hand_over(&self, arrived: &Arrived) -> bool {
        match arrived {
            Arrived::Peer(Input::Peer(envelope), _) => {
                self.leaving.is_over() && self.core.departs(envelope.operation)
            }
            _ => false,
        }
    }

    fn disk(&self) -> Disk {
        match (self.is_stalled, self.store.has_room()) {
            (true, _) => Disk::Stalled,
            (false, true) => Disk::HasRoom,
            (false, false) => Disk::Full,
        }
    }

    fn refuse(&self, operation: OperationId, client: ClientId, verb: &str, failure: Failure) {
        let event = self.event(operation, None, verb, EventBody::Failed { failure });
        self.out.reply(client, &event);
    }

    /// What arrived, if it may be acted on. Otherwise its sender has an answer, or signs it again when it has
    /// seen the present challenge.
    fn permitted(&mut self, arrived: Arrived, payload: &Bytes) -> Option<Arrived> {
        let now = Instant::now();
        let is_permitted = match &arrived {
            Arrived::Command(command) => match self.trust.judge(payload, command, now) {
                Judgement::Taken => true,
                Judgement::Stale => false,
                Judgement::Refused(failure) => {
                    let (operation, client) = (command.operation, command.client.clone());
                    self.refuse(operation, client, command.action.verb(), failure);
                    false
                }
            },
            Arrived::Device(request) => match self.trust.judge_device(payload, now) {
                Judgement::Taken => true,
                Judgement::Stale => false,
                Judgement::Refused(failure) => {
                    self.answer(&request.clone().take_apart().0, Answered::Failed(failure));
                    false
                }
            },
            Arrived::Peer(Input::Peer(envelope), _) if is_new_offer(&self.core, envelope) => {
                let order = Envelope::order_of(payload);
                let shown = (order.as_deref(), Envelope::warrant_of(payload));
                let judged = self.trust.judge_offer(envelope, shown, now);
                let refused = judged.err();
                if let Some(failure) = refused.clone() {
                    let message = PeerMessage::Refused { failure };
                    self.out
                        .peer(envelope.from.clone(), envelope.operation, message, &[]);
                }
                refused.is_none()
            }
            Arrived::Other(Input::Report { .. }) => {
                self.trust.asked(now);
                true
            }
            _ => true,
        };
        if self.trust.take_to_show() {
            self.feed(Input::StatusChanged);
        }
        is_permitted.then_some(arrived)
    }

    fn peer_message(&mut self, input: Input, bytes: &Bytes) {
        let (fetches, mut means) = self.fetches();
        if let Some(outcomes) = fetches.message(&input, bytes, &mut means) {
            return self.fetched(outcomes);
        }
        match input {
            // The sender repeats it.
            _ if self.is_stalled => {}
            Input::Chunk { .. } => self.feed_chunk(input, bytes),
            _ => self.feed(input),
        }
    }

    fn feed_chunk(&mut self, input: Input, bytes: &Bytes) {
        let _entered = spans::of_input(&input).entered();
        tracing::trace!(?input, "input");
        let effects = self.core.handle(input, self.now());
        self.steps.extend(effects.into_iter().map(|effect| match effect {
            Effect::KeepChunk { blob, offset } => Step::Keep {
                blob,
                offset,
                chunk: bytes.clone(),
            },
            effect => Step::Effect(effect),
        }));
    }

    pub(super) fn lose_fence(&mut self) {
        self.fence.lose();
        self.sessions.set_heard(false);
    }

    fn fence_answered(&mut self, number: u64) {
        match self.fence.answered(number) {
            Back::Old => return,
            Back::Passes => self.fence_passed(),
            Back::ForSessions => {}
        }
        self.steps.push_back(Step::SessionsHeard(number));
    }

    fn fence_passed(&mut self) {
        self.subscriptions.look_away();
        self.times.give_up_logs = None;
        self.programs.set_connected(true);
        self.announced.begin_connection();
        self.feed(Input::Connected);
        // Behind what the core has decided by now: what was not ours any more is gone then.
        self.steps.push_back(Step::SpeakAgain);
    }

    /// Another engine says that it has a program which is here, or was.
    fn claimed(&mut self, (program, generation): (ProgramId, Generation), by: &EngineId, status: &Bytes) {
        let was_here = self.core.runs(program);
        let here = self.programs.current(program).map(|hosted| hosted.generation);
        let holding = Holding {
            program,
            generation,
            engine: by.clone(),
        };
        // One that is no newer than ours ends nothing.
        if here == Some(generation)
            || (here.is_none_or(|here| here < generation) && !self.trust.believes(&holding, status))
        {
            return self.status_heard(program, status);
        }
        self.feed(Input::Fenced { program, generation });
        if was_here && !self.core.runs(program) {
            let generation = generation.0;
            tracing::warn!(
                %program,
                generation,
                "ended a program here: engine {by} says that it has a newer copy of it"
            );
            // Otherwise the engine that has it announces the same.
            if generation == TOMBSTONE.0
                && let Some(here) = here
            {
                self.withdraw_ended(program, here);
            }
        }
    }

    /// Something came on the topic of a program's status, and is no other engine's claim that is believed.
    fn status_heard(&mut self, program: ProgramId, payload: &Bytes) {
        // Before, all of them are about to be published.
        if self.fence.is_passed() {
            let stands = self.statuses.stands(program, payload);
            self.feed(Input::StatusHeard { program, stands });
        }
    }

    /// Another process may have our id.
    fn own_status(&mut self, status: &EngineStatus, is_retained: bool) {
        let engine = &self.out.engine;
        match self.claim.found(status, is_retained) {
            Finding::Nothing => {}
            Finding::Yielded(rival) => tracing::warn!(
                "{rival}, has the same id {engine} and holds still: give one of the two another with --id, and a data folder of \
                 its own"
            ),
            Finding::Taken(rival) => {
                tracing::error!(
                    "{rival}, has the same id {engine} and is the newer one: this one holds still and runs nothing. Give one of \
                     the two another id with --id, and a data folder of its own"
                );
                let yields = EngineStatus {
                    rival: Some(rival.clone()),
                    ..machine::offline(engine.clone(), self.boot, self.about.clone())
                };
                self.out.engine_status(&yields);
                self.taken = Some(rival);
            }
        }
    }
}

/// Whether it offers a program that nothing is known of here; what has begun, or was decided, goes on.
fn is_new_offer(core: &Core, envelope: &Envelope) -> bool {
    matches!(envelope.message, PeerMessage::Prepare { .. }) && !core.knows_arrival(envelope.operation)
}
