//! The events that the receiver has not taken yet: a pure core.
//!
//! Brokers send at most a small window (16 to 100) of messages at least once before they are acknowledged, so
//! this stays short by itself, as a rule: Mosquitto 2.0.11 sends all that it has queued at once to whoever
//! resumes a session. It is bounded all the same, for that, for floods at most once and brokers without a
//! window: at the limit a message at most once is dropped, while one at least once is left to the broker, and
//! so is every one after it, so that the order holds. The broker sends them again on the next connection,
//! which is made when the receiver has acknowledged those before; ending the connection at once would have
//! what was taken sent again.
//!
//! A clean session gets all that is retained once more on another connection, which may be more than the
//! limit each time. So from half of the limit on the connection is read only as fast as the receiver takes
//! messages (`is_paced`), and TCP holds the broker up. A receiver that takes nothing for a while may be
//! waiting for the broker's answer to a publish, which comes behind the flood on the same connection: the
//! session then reads on, up to the limit.

use std::collections::VecDeque;

use wayfare_protocol::qos::Qos;

use crate::event::Event;
use crate::limits::{BACKLOG_BYTES_MAX, BACKLOG_MESSAGES_MAX, BACKLOG_PACED_PART};
use crate::message::{Incoming, Oversized};

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    events: VecDeque<Event>,
    /// Counted apart, so that a flood at most once never ends the connection.
    at_most_once: Held,
    at_least_once: Held,
    dropped: u64,
    /// Messages were left to the broker on this connection.
    has_left: bool,
}

#[derive(Debug, Default)]
struct Held {
    messages: usize,
    bytes: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    Taken,
    /// The message at most once is lost: the how-manieth since the receiver last caught up.
    Dropped(u64),
    /// The broker has it still, with all that comes on this connection after it.
    Left,
}

impl Inbox {
    pub(crate) fn message(&mut self, incoming: Incoming) -> Offer {
        self.offer(incoming.qos, Event::Received(incoming))
    }

    /// A message of which only this is left.
    pub(crate) fn oversized(&mut self, oversized: Oversized) -> Offer {
        self.offer(oversized.qos, Event::Oversized(oversized))
    }

    fn offer(&mut self, qos: Qos, event: Event) -> Offer {
        if qos == Qos::AtLeastOnce && self.has_left {
            return Offer::Left;
        }
        let held = self.held(qos);
        if held.messages >= BACKLOG_MESSAGES_MAX || held.bytes >= BACKLOG_BYTES_MAX {
            if qos == Qos::AtLeastOnce {
                self.has_left = true;
                return Offer::Left;
            }
            self.dropped += 1;
            return Offer::Dropped(self.dropped);
        }
        held.messages += 1;
        held.bytes += size(&event);
        self.events.push_back(event);
        Offer::Taken
    }

    /// Connections that came and went unseen, with no message in between, are told as one. What was not taken
    /// of a session that the broker has kept comes again on this connection: kept here as well, it would soon
    /// leave no room for that.
    pub(crate) fn connected(&mut self, session_present: bool, connection: u64) {
        self.has_left = false;
        if session_present {
            let comes_again =
                |event: &Event| event.delivery().is_some_and(|(qos, _)| qos == Qos::AtLeastOnce);
            self.events.retain(|event| !comes_again(event));
            self.at_least_once = Held::default();
        }
        self.events.push_back(Event::Connected {
            session_present,
            connection,
        });
    }

    pub(crate) fn disconnected(&mut self, reason: String, closed_by_broker: bool) {
        if matches!(self.events.back(), Some(Event::Connected { .. })) && self.events.len() > 1 {
            self.events.pop_back();
        }
        if matches!(self.events.back(), Some(Event::Disconnected { .. })) {
            self.events.pop_back();
        }
        self.events.push_back(Event::Disconnected {
            reason,
            closed_by_broker,
        });
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        if let Some((qos, _)) = event.delivery() {
            let held = self.held(qos);
            held.messages -= 1;
            held.bytes -= size(&event);
        }
        if self.events.is_empty() {
            self.dropped = 0;
        }
        Some(event)
    }

    /// Messages were left to the broker on this connection.
    pub(crate) fn has_left(&self) -> bool {
        self.has_left
    }

    /// So much waits at least once that the connection is to be read only as fast as the receiver takes it.
    pub(crate) fn is_paced(&self) -> bool {
        let Held { messages, bytes } = self.at_least_once;
        let is_much = messages >= BACKLOG_MESSAGES_MAX / BACKLOG_PACED_PART
            || bytes >= BACKLOG_BYTES_MAX / BACKLOG_PACED_PART;
        // What is left to the broker takes no room.
        is_much && !self.has_left
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    fn held(&mut self, qos: Qos) -> &mut Held {
        match qos {
            Qos::AtMostOnce => &mut self.at_most_once,
            Qos::AtLeastOnce => &mut self.at_least_once,
        }
    }
}

fn size(event: &Event) -> usize {
    match event {
        Event::Received(incoming) => incoming.payload.len() + incoming.topic.len(),
        Event::Oversized(oversized) => oversized.topic.len(),
        Event::Connected { .. } | Event::Disconnected { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::AcknowledgeToken;

    fn incoming(qos: Qos, bytes: usize) -> Incoming {
        let token = AcknowledgeToken {
            connection: 1,
            packet_id: None,
        };
        Incoming {
            topic: "t".into(),
            payload: vec![0; bytes].into(),
            qos,
            retain: false,
            token,
        }
    }

    #[test]
    fn flood_is_dropped_at_most_once_and_left_to_the_broker_at_least_once() {
        let mut inbox = Inbox::default();
        for _ in 0..BACKLOG_MESSAGES_MAX {
            assert_eq!(inbox.message(incoming(Qos::AtMostOnce, 1)), Offer::Taken);
        }
        assert_eq!(inbox.message(incoming(Qos::AtMostOnce, 1)), Offer::Dropped(1));
        assert_eq!(inbox.message(incoming(Qos::AtMostOnce, 1)), Offer::Dropped(2));
        for _ in 0..BACKLOG_MESSAGES_MAX {
            assert_eq!(
                inbox.message(incoming(Qos::AtLeastOnce, 1)),
                Offer::Taken,
                "whatever the flood"
            );
        }
        assert_eq!(inbox.message(incoming(Qos::AtLeastOnce, 1)), Offer::Left);
        while inbox.pop().is_some() {}
        assert_eq!(inbox.message(incoming(Qos::AtMostOnce, 1)), Offer::Taken);
        assert_eq!(
            inbox.message(incoming(Qos::AtLeastOnce, 1)),
            Offer::Left,
            "one before it was"
        );
        assert!(inbox.has_left());
        inbox.connected(true, 2);
        assert!(!inbox.has_left());
        assert_eq!(inbox.message(incoming(Qos::AtLeastOnce, 1)), Offer::Taken);
    }

    /// Connects again after more came than there is room for, and answers with whether there is room then,
    /// and what is left to be taken.
    fn full_and_connected_again(session_present: bool) -> (bool, usize) {
        let mut inbox = Inbox::default();
        inbox.connected(false, 1);
        for _ in 0..BACKLOG_MESSAGES_MAX {
            inbox.message(incoming(Qos::AtLeastOnce, 1));
        }
        assert_eq!(inbox.message(incoming(Qos::AtLeastOnce, 1)), Offer::Left);
        inbox.message(incoming(Qos::AtMostOnce, 1));
        inbox.disconnected("full".into(), false);
        inbox.connected(session_present, 2);
        let has_room = inbox.message(incoming(Qos::AtLeastOnce, 1)) == Offer::Taken;
        let left = std::iter::from_fn(|| inbox.pop()).filter(|event| matches!(event, Event::Received(_)));
        (has_room, left.count())
    }

    #[test]
    fn what_was_not_taken_is_forgotten_where_it_comes_again() {
        assert_eq!(full_and_connected_again(true), (true, 2));
        assert_eq!(full_and_connected_again(false), (false, BACKLOG_MESSAGES_MAX + 1));
    }

    #[test]
    fn bytes_are_bounded_as_well_as_messages() {
        let mut inbox = Inbox::default();
        let mut taken = 0;
        while inbox.message(incoming(Qos::AtMostOnce, 1024 * 1024)) == Offer::Taken {
            taken += 1;
        }
        assert_eq!(taken, BACKLOG_BYTES_MAX / (1024 * 1024));
    }

    #[test]
    fn reading_is_paced_by_what_waits_at_least_once_and_by_nothing_else() {
        let mut inbox = Inbox::default();
        for _ in 0..BACKLOG_MESSAGES_MAX {
            inbox.message(incoming(Qos::AtMostOnce, 1));
        }
        assert!(!inbox.is_paced(), "a flood at most once holds nothing up");
        let mut inbox = Inbox::default();
        for _ in 0..BACKLOG_MESSAGES_MAX / 2 {
            assert!(!inbox.is_paced());
            inbox.message(incoming(Qos::AtLeastOnce, 1));
        }
        assert!(inbox.is_paced());
        inbox.pop();
        assert!(!inbox.is_paced(), "as soon as the receiver has taken one");
        while inbox.message(incoming(Qos::AtLeastOnce, 1)) == Offer::Taken {}
        assert!(!inbox.is_paced(), "what the broker sends again takes no room");
        let mut inbox = Inbox::default();
        inbox.message(incoming(Qos::AtLeastOnce, BACKLOG_BYTES_MAX / 2));
        assert!(inbox.is_paced(), "bytes count as well as messages");
    }

    #[test]
    fn unseen_reconnections_do_not_pile_up() {
        let mut inbox = Inbox::default();
        inbox.connected(true, 1);
        for connection in 2..100 {
            inbox.disconnected("gone".into(), false);
            inbox.disconnected("still gone".into(), false);
            inbox.connected(true, connection);
        }
        let told: Vec<_> = std::iter::from_fn(|| inbox.pop()).collect();
        assert_eq!(
            told,
            [
                Event::Connected {
                    session_present: true,
                    connection: 1
                },
                Event::Disconnected {
                    reason: "still gone".into(),
                    closed_by_broker: false
                },
                Event::Connected {
                    session_present: true,
                    connection: 99
                },
            ]
        );
    }
}
