//! What the engine says on the wire. Nothing here waits: a message goes into the link's outbox or is dropped
//! with a warning, and whoever needs it asks again.

use bytes::Bytes;
use serde::Serialize;
use wayfare_link::{Link, LinkError, Message};
use wayfare_protocol::address::{Address, Announcement};
use wayfare_protocol::code::SecretKey;
use wayfare_protocol::dispatcher::{ACTING_NAME, Answer, Answered, Asker, Request};
use wayfare_protocol::event::{Event, EventBody, only_reads};
use wayfare_protocol::ids::{Blob, Challenge, ClientId, EngineId, OperationId, PeerName, ProgramId, Term};
use wayfare_protocol::peer::{Envelope, PeerMessage};
use wayfare_protocol::reply::Barrier;
use wayfare_protocol::status::{EngineStatus, ProgramStatus};
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::trust::place::Place;
use wayfare_protocol::trust::signed::{self, Answers};
use wayfare_protocol::trust::warrant::Warrant;
use wayfare_protocol::wire;

use super::store::Blobs;

pub(crate) struct Outbound {
    pub(crate) link: Link,
    pub(crate) topics: Topics,
    pub(crate) engine: EngineId,
    pub(crate) is_connected: bool,
    /// What requests to the dispatcher are signed with, where it wants that.
    pub(crate) key: Option<SecretKey>,
    /// Programs' statuses are signed, too: somebody in this fleet looks at signatures.
    pub(crate) signs_statuses: bool,
}

impl Outbound {
    /// To the client that asked, and to whoever listens to this engine's events, unless nothing has happened:
    /// an engine is asked whether it is there every few seconds, for as long as it lives.
    pub(crate) fn reply(&self, client: ClientId, event: &Event) {
        let payload = Bytes::from(wire::encode(event));
        let listeners = (!only_reads(&event.verb)).then(|| Topic::EngineEvent(self.engine.clone()));
        for topic in std::iter::once(Topic::Reply(client)).chain(listeners) {
            let message = Message::new(self.topics.topic(&topic), payload.clone());
            // Another will follow, and the final event says it all.
            let passing = matches!(event.body, EventBody::Progress { .. });
            self.publish(if passing { message.at_most_once() } else { message });
        }
    }

    pub(crate) fn peer(&self, to: PeerName, operation: OperationId, message: PeerMessage, chunk: &[u8]) {
        self.to_peer(to, operation, message, |envelope| envelope.encode(chunk));
    }

    /// A piece of a blob, as it is in the store.
    pub(crate) fn chunk(
        &self,
        to: PeerName,
        operation: OperationId,
        (blob, offset, bytes): (Blob, u64, u64),
        blobs: &mut Blobs,
    ) {
        match blobs.read_at(blob.digest, offset, bytes) {
            Ok(chunk) => self.peer(to, operation, PeerMessage::Chunk { blob, offset }, &chunk),
            // The receiver hears nothing and gives up in its time.
            Err(error) => tracing::error!(blob = blob.digest.short(), offset, %error, "cannot read a blob"),
        }
    }

    /// Offers a program, with the order to do so as it was signed.
    pub(crate) fn offer(
        &self,
        to: PeerName,
        operation: OperationId,
        message: PeerMessage,
        (order, warrant): (&str, Option<&Warrant>),
    ) {
        self.to_peer(to, operation, message, |envelope| {
            envelope.encode_with_order(order, warrant)
        });
    }

    /// Not while disconnected: the core repeats what is not answered, and the outbox would fill with repeats.
    fn to_peer(
        &self,
        to: PeerName,
        operation: OperationId,
        message: PeerMessage,
        encode: impl FnOnce(&Envelope) -> Vec<u8>,
    ) {
        if !self.is_connected {
            return;
        }
        let envelope = Envelope {
            operation,
            from: self.engine.clone(),
            message,
        };
        let topic = self.topics.topic(&Topic::Peer(operation, to));
        // They have answers and repeats of their own; the broker's would double their messages. All the same
        // way, because order holds within a quality of service only: a chunk that overtakes its `Prepare` is
        // of a blob nobody knows, and a second is lost until it comes again.
        self.publish(Message::new(topic, encode(&envelope)).at_most_once());
    }

    /// To a service of the acting dispatcher, signed for its challenge if it has told one. Not while
    /// disconnected, as above.
    pub(crate) fn request(&self, service: &str, request: &Request, challenge: Option<Challenge>) {
        let Ok(service) = service.parse::<PeerName>() else {
            return;
        };
        if self.is_connected {
            let topic = self.topics.topic(&Topic::DispatcherRequest(service));
            let payload = wire::encode(request);
            let payload = match (&self.key, challenge, ACTING_NAME.parse::<PeerName>()) {
                (Some(key), Some(challenge), Ok(acting)) => {
                    signed::sign(key, &topic, &payload, &Answers::from([(acting, challenge)]))
                }
                _ => payload,
            };
            self.publish(Message::new(topic, payload).at_most_once());
        }
    }

    pub(crate) fn answer(&self, asker: &Asker, term: Term, answer: Answered) {
        let answer = Answer {
            request: asker.request,
            term,
            answer,
        };
        let topic = self.topics.topic(&Topic::Reply(asker.client.clone()));
        self.publish(Message::new(topic, answer.encode(asker.reads)));
    }

    pub(crate) fn engine_status(&self, status: &EngineStatus) {
        self.status(&Topic::EngineStatus(self.engine.clone()), wire::encode(status));
    }

    /// With the proof that somebody has ordered it to be here, where there is one. Answers with what was
    /// published; `None`: the outbox has no room for it.
    pub(crate) fn program_status(&self, status: &ProgramStatus, place: Option<&Place>) -> Option<Bytes> {
        let topic = Topic::ProgramStatus(status.program);
        let mut payload = wire::encode(status);
        if let Some(place) = place {
            payload = place.show_in(&payload);
        }
        if let Some(key) = self.key.as_ref().filter(|_| self.signs_statuses) {
            payload = signed::sign(key, &self.topics.topic(&topic), &payload, &Answers::new());
        }
        let payload = Bytes::from(payload);
        self.status(&topic, payload.clone()).then_some(payload)
    }

    /// An empty retained message takes the retained one away.
    pub(crate) fn clear_program(&self, program: ProgramId) {
        self.status(&Topic::ProgramStatus(program), Bytes::new());
    }

    /// That a program can be called at an address. Whether that is in the outbox.
    pub(crate) fn announce(&self, address: &Address, announcement: &Announcement) -> bool {
        let topic = Topic::Address(address.clone(), announcement.program);
        self.status(&topic, wire::encode(announcement))
    }

    /// That it cannot be any more.
    pub(crate) fn withdraw(&self, address: &Address, program: ProgramId) {
        self.status(&Topic::Address(address.clone(), program), Vec::new());
    }

    /// The same of a program that has ended. What is withdrawn from an engine's address may have moved, which
    /// this rules out.
    pub(crate) fn withdraw_ended(&self, address: &Address, announcement: &Announcement) {
        // One that somebody has announced as gone is not announced so again: what is published here comes
        // back.
        if address.is_of_engine() && !announcement.gone {
            let announcement = Announcement {
                gone: true,
                ..announcement.clone()
            };
            self.announce(address, &announcement);
        }
        self.withdraw(address, announcement.program);
    }

    /// To ourselves: what the broker retains of what was subscribed before comes before it is back. Whether
    /// it was sent.
    pub(crate) fn barrier(&self, number: u64) -> bool {
        let topic = self.topics.topic(&Topic::Reply(self.engine.clone()));
        let barrier = wire::encode(&Barrier { barrier: number });
        let sent = self.link.try_publish(Message::new(topic, barrier).fleeting());
        if let Err(error) = &sent {
            tracing::warn!(%error, "cannot ask what is retained");
        }
        sent.is_ok()
    }

    /// Retained. Whether it is in the outbox: those of some thousands of programs fill it, and what has no
    /// room is to be said again.
    fn status(&self, topic: &Topic, payload: impl Into<Bytes>) -> bool {
        let topic = self.topics.topic(topic);
        // On the next connection everything is said again, as it is then.
        let message = Message::new(topic.clone(), payload.into()).retained().fleeting();
        let published = self.link.try_publish(message);
        if let Err(error) = &published {
            tracing::debug!(topic, %error, "not published yet");
        }
        published.is_ok()
    }

    fn publish(&self, message: Message) {
        let topic = message.topic.clone();
        match self.link.try_publish(message) {
            Ok(()) => {}
            Err(LinkError::OutboxFull) => tracing::warn!(topic, "the outbox is full: message dropped"),
            Err(error) => tracing::warn!(topic, %error, "message dropped"),
        }
    }
}

/// As JSON with room for its own quotes and commas, `value` takes so many bytes.
pub(crate) fn json_bytes<T: Serialize>(value: &T) -> usize {
    wire::to_json(value).len() + 1
}
