//! What a session does with each thing that happens to it: owns all of its state, and waits for nothing.
//!
//! Its task (`task`) waits, and calls this with whatever came first.

mod task;

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{debug, warn};

use wayfare_protocol::qos::Qos;

use crate::attempt::Attempt;
use crate::backoff::Backoff;
use crate::command::{CloseOnDrop, Command, Receipt};
use crate::error::LinkError;
use crate::event::Event;
use crate::inbox::{Inbox, Offer};
use crate::limits::{INCOMING_PACKET_BYTES_MAX, INCOMING_PAYLOAD_BYTES_MAX, RECEIVER_STALLED_AFTER};
use crate::message::{AcknowledgeToken, Incoming, Message, Oversized};
use crate::options::{Acknowledge, LinkOptions, OnTakeover};
use crate::outbox::Outbox;
use crate::subscriptions::Subscriptions;
use crate::wire::{Cause, Delivery, End, Wire, WireEvent};

pub(crate) struct Session {
    options: LinkOptions,
    commands: mpsc::UnboundedReceiver<Command>,
    /// None once the link has stopped: the receiver then sees the end.
    events: Option<mpsc::Sender<Event>>,
    room: CloseOnDrop,
    outbox: Outbox<Receipt>,
    flushes: VecDeque<(u64, oneshot::Sender<()>)>,
    subscriptions: Subscriptions<oneshot::Sender<Result<(), LinkError>>>,
    acknowledgements: VecDeque<u16>,
    /// Handed to the receiver on this connection and not acknowledged.
    unacknowledged: usize,
    inbox: Inbox,
    /// When the receiver last took something, or there was nothing for it to take.
    taken: Instant,
    backoff: Backoff,
    /// How the next connection is made, or the present one was.
    attempt: Attempt,
    /// What this connection was to skip has come.
    has_skipped: bool,
    connection: u64,
    state: State,
    closing: Option<Closing>,
    /// Every handle is gone.
    abandoned: bool,
    /// What was unacknowledged when the link stopped.
    left: Vec<Message>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The first connection: what is published at most once waits for it.
    Connecting,
    Connected,
    /// What is published at most once is dropped.
    Lost,
    /// Taken over, and not to connect again: serves only `close`.
    Stopped,
}

#[derive(Debug)]
struct Closing {
    deadline: Instant,
    /// None where every handle was dropped: the outbox is drained all the same, but no goodbye is said.
    waiter: Option<oneshot::Sender<Vec<Message>>>,
}

/// How the connection ended.
enum Ended {
    /// Connect again after this time.
    Again(Duration),
    /// Do not connect again: the session has stopped.
    Stopped,
}

impl Session {
    pub(crate) fn new(
        options: LinkOptions,
        commands: mpsc::UnboundedReceiver<Command>,
        events: mpsc::Sender<Event>,
        room: CloseOnDrop,
    ) -> Self {
        let subscriptions = Subscriptions::new(options.subscriptions.iter().cloned());
        Self {
            options,
            commands,
            events: Some(events),
            room,
            outbox: Outbox::default(),
            flushes: VecDeque::new(),
            subscriptions,
            acknowledgements: VecDeque::new(),
            unacknowledged: 0,
            inbox: Inbox::default(),
            taken: Instant::now(),
            backoff: Backoff::default(),
            attempt: Attempt::Normal,
            has_skipped: false,
            connection: 0,
            state: State::Connecting,
            closing: None,
            abandoned: false,
            left: Vec::new(),
        }
    }

    /// Nothing is sent any more: whoever waits for an answer hears that the link is closed.
    fn stop(&mut self) {
        self.state = State::Stopped;
        self.room.close();
        self.left
            .extend(self.outbox.drain().into_iter().map(|(message, _)| message));
        self.subscriptions = Subscriptions::new([]);
        self.flushes.clear();
    }

    /// Hands requests to the connection while it has room: what is received is acknowledged before anything
    /// else, and subscriptions stand before the publishes whose answers they are for.
    fn pump(&mut self, wire: &mut Wire) {
        while wire.has_room() {
            if let Some(packet_id) = self.acknowledgements.pop_front() {
                wire.acknowledge(packet_id);
            } else if let Some((filter, change)) = self.subscriptions.next() {
                wire.change(filter, change);
            } else if let Some(message) = self.may_publish().then(|| self.outbox.next()).flatten() {
                wire.publish(message);
            } else {
                break;
            }
        }
    }

    /// Messages were left to the broker, or the one came that this connection was to skip; and all that came
    /// is acknowledged.
    fn has_taken_all(&self) -> bool {
        let is_done = self.inbox.has_left() || self.has_skipped;
        is_done && self.inbox.is_empty() && self.unacknowledged == 0
    }

    /// Not when the connection is about to be made anew: what had no answer then would be sent twice.
    fn may_publish(&self) -> bool {
        !self.has_taken_all() || self.closing.is_some()
    }

    /// On another connection the broker sends the rest.
    fn is_due_again(&self) -> bool {
        self.has_taken_all() && self.acknowledgements.is_empty() && self.outbox.is_answered()
    }

    fn on_command(&mut self, command: Option<Command>) {
        let Some(command) = command else {
            self.abandoned = true;
            if self.closing.is_none() {
                self.closing = Some(Closing {
                    deadline: Instant::now() + self.options.drain_timeout,
                    waiter: None,
                });
            }
            return;
        };
        match command {
            Command::Publish { message, .. } if self.state == State::Stopped => self.left.push(message),
            Command::Change { .. } | Command::Flush(_) if self.state == State::Stopped => {}
            Command::Publish { message, receipt } => {
                if message.ends_with_its_connection() && self.state == State::Lost {
                    given_up((receipt, message.qos));
                } else {
                    self.outbox.push(message, receipt);
                }
            }
            Command::Acknowledge(token) => self.acknowledge(token),
            Command::Change {
                filter,
                change,
                waiter,
            } => self.subscriptions.request(filter, change, waiter),
            Command::Flush(waiter) => {
                self.flushes.push_back((self.outbox.end(), waiter));
                self.answer_flushes();
            }
            Command::Close { drain, waiter } => {
                // Asked twice, the last one gets the answer.
                self.closing = Some(Closing {
                    deadline: Instant::now() + drain,
                    waiter: Some(waiter),
                });
                self.room.close();
            }
        }
    }

    fn accepted(&mut self, session_present: bool) {
        self.connection += 1;
        self.state = State::Connected;
        self.backoff.connected(Instant::now().into_std());
        let again = self.subscriptions.connected(session_present);
        debug!(
            client_id = self.options.client_id,
            connection = self.connection,
            session_present,
            again,
            "connected"
        );
        self.unacknowledged = 0;
        self.has_skipped = false;
        self.inbox.connected(session_present, self.connection);
    }

    /// The broker has forgotten the session, and what it had queued for it.
    fn forgotten(&mut self) -> Ended {
        warn!(
            client_id = self.options.client_id,
            "the session was given up: it held a message that is too large for this machine's memory"
        );
        let now = Instant::now().into_std();
        self.attempt = Attempt::Normal;
        self.backoff.connected(now);
        Ended::Again(self.backoff.failed(now, random()))
    }

    /// Returns how it ended, if the connection did.
    fn on_wire(&mut self, event: WireEvent) -> Option<Ended> {
        match event {
            WireEvent::PublishWritten { packet_id } => {
                let receipt = self.outbox.written(packet_id);
                self.publish_done(receipt);
            }
            WireEvent::PublishAcknowledged { packet_id } => {
                let receipt = self.outbox.acknowledged(packet_id);
                self.publish_done(receipt);
            }
            WireEvent::RequestWritten { packet_id } => self.subscriptions.written(packet_id),
            WireEvent::RequestAnswered { packet_id, granted } => self.request_answered(packet_id, granted),
            WireEvent::Received(delivery) => self.received(delivery),
            WireEvent::Ended(end) => return Some(self.ended(end)),
            WireEvent::Accepted { .. } | WireEvent::DisconnectWritten | WireEvent::Uninteresting => {}
        }
        None
    }

    fn received(&mut self, delivery: Delivery) {
        let Delivery {
            topic,
            payload,
            qos,
            retain,
            packet_id,
        } = delivery;
        let token = AcknowledgeToken {
            connection: self.connection,
            packet_id,
        };
        let bytes = payload.len();
        let offer = if bytes > INCOMING_PAYLOAD_BYTES_MAX {
            warn!(
                topic,
                bytes, "dropped a message over the limit of {INCOMING_PAYLOAD_BYTES_MAX} bytes"
            );
            self.has_skipped |= bytes + topic.len() > INCOMING_PACKET_BYTES_MAX;
            self.inbox.oversized(Oversized {
                topic,
                bytes,
                qos,
                token,
            })
        } else {
            self.inbox.message(Incoming {
                topic,
                payload,
                qos,
                retain,
                token,
            })
        };
        match offer {
            Offer::Taken => {}
            Offer::Dropped(count) if count.is_power_of_two() => {
                warn!(count, "dropped messages at most once: the receiver is behind");
            }
            Offer::Dropped(_) | Offer::Left => {}
        }
    }

    fn ended(&mut self, end: End) -> Ended {
        let End {
            reason,
            cause,
            oversized_bytes,
        } = end;
        let was_connected = self.state == State::Connected;
        let closed_by_broker = cause == Cause::Broker && was_connected;
        if let Some(bytes) = oversized_bytes {
            self.attempt = Attempt::after_oversized(bytes, self.options.skipped_packet_bytes_max);
            warn!(client_id = self.options.client_id, bytes, next = ?self.attempt, "a packet is too large");
        } else if self.has_skipped {
            self.attempt = Attempt::Normal;
        }
        debug!(
            client_id = self.options.client_id,
            reason, closed_by_broker, "disconnected"
        );
        self.acknowledgements.clear();
        self.subscriptions.connection_lost();
        if was_connected {
            self.state = State::Lost;
            self.outbox.connection_lost().into_iter().for_each(given_up);
            self.answer_flushes();
        }
        self.inbox.disconnected(reason, closed_by_broker);
        let stops = match self.options.on_takeover {
            OnTakeover::BackOff => false,
            OnTakeover::Stop => closed_by_broker,
            OnTakeover::StopOnLoss => true,
        };
        if stops {
            self.stop();
            return Ended::Stopped;
        }
        let now = Instant::now().into_std();
        let wait = match cause {
            Cause::Broker if was_connected => self.backoff.closed(now, random()),
            Cause::Broker | Cause::Failure => self.backoff.failed(now, random()),
            Cause::Ourselves => self.backoff.renewed(random()),
        };
        Ended::Again(wait)
    }

    fn request_answered(&mut self, packet_id: u16, granted: bool) {
        let Some(request) = self.subscriptions.answered(packet_id) else {
            return;
        };
        let answer = if granted {
            Ok(())
        } else {
            self.subscriptions.refused(&request.filter);
            warn!(filter = request.filter, "the broker refused a subscription");
            Err(LinkError::SubscriptionRefused(request.filter))
        };
        if let Some(waiter) = request.waiter {
            // Whoever asked may have given up waiting.
            let _ = waiter.send(answer);
        }
    }

    fn acknowledge(&mut self, token: AcknowledgeToken) {
        if token.connection == self.connection && self.state == State::Connected && token.packet_id.is_some()
        {
            self.acknowledgements.extend(token.packet_id);
            self.unacknowledged = self.unacknowledged.saturating_sub(1);
        }
    }

    fn publish_done(&mut self, receipt: Option<Receipt>) {
        if let Some(receipt) = receipt {
            finished(receipt);
            self.answer_flushes();
        }
    }

    fn answer_flushes(&mut self) {
        while self
            .flushes
            .front()
            .is_some_and(|(end, _)| *end <= self.outbox.first())
        {
            if let Some((_, waiter)) = self.flushes.pop_front() {
                // Whoever asked may have given up waiting.
                let _ = waiter.send(());
            }
        }
    }

    /// The receiver's channel, where events are waiting for room in it.
    fn waiting_receiver(&self) -> Option<mpsc::Sender<Event>> {
        if self.inbox.is_empty() {
            None
        } else {
            self.events.clone()
        }
    }

    /// Until when nothing is read unless the receiver takes something: it is behind, and has taken something
    /// just now. A link that is being closed reads on, because the answers to what it has published come
    /// behind what is unread.
    fn reads_again(&self) -> Option<Instant> {
        let is_paced = self.inbox.is_paced() && self.closing.is_none();
        let until = is_paced.then(|| self.taken + RECEIVER_STALLED_AFTER)?;
        (until > Instant::now()).then_some(until)
    }

    /// Moves events to the receiver's channel as far as it has room. Automatic acknowledgements are made
    /// here.
    fn deliver(&mut self) {
        while !self.inbox.is_empty() {
            let receiver = self.events.as_ref().filter(|events| !events.is_closed());
            // Only this task sends, so room that is there now stays.
            if receiver.is_some_and(|events| events.capacity() == 0) {
                return;
            }
            let Some(mut event) = self.inbox.pop() else { return };
            self.taken = Instant::now();
            let delivered = event.delivery().map(|(_, token)| token);
            if delivered.is_some_and(|token| token.connection == self.connection && token.packet_id.is_some())
            {
                self.unacknowledged += 1;
            }
            let done = delivered.filter(|_| self.options.acknowledge == Acknowledge::Automatic);
            if done.is_some() {
                event = event.without_acknowledgement();
            }
            if let Some(receiver) = receiver {
                // It may be dropped just now, as good as before.
                let _ = receiver.try_send(event);
            }
            if let Some(token) = done {
                self.acknowledge(token);
            }
        }
    }
}

/// The connection was lost before the broker had it. At most once, that is as good an end as any.
fn given_up((receipt, qos): (Receipt, Qos)) {
    if qos == Qos::AtMostOnce {
        finished(receipt);
    }
    // Whoever waits hears of it by the receipt being dropped.
}

/// Gives the room back and tells whoever waits.
fn finished(receipt: Receipt) {
    drop(receipt.room);
    if let Some(waiter) = receipt.waiter {
        // Whoever asked may have given up waiting.
        let _ = waiter.send(());
    }
}

/// Jitter needs no more than a number that differs between processes and calls.
fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
