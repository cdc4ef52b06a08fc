//! The messages that are published and not yet acknowledged: a pure core.
//!
//! ```text
//! push -> Waiting -- next --> Submitted -- written --> InFlight(id) -- acknowledged --> Done
//!            ^                    |                        |
//!            +---- connection_lost (at least once) --------+        at most once: written -> Done, lost -> Done
//! ```
//! What always holds: messages go out in the order of `push`, again from the oldest unacknowledged one after
//! a lost connection; at most [`IN_FLIGHT_MAX`] sequence numbers lie between the oldest unacknowledged
//! message and the newest one sent. Each message carries a receipt, which is given back exactly once, when it
//! is done.

use std::collections::{BTreeMap, VecDeque};

use wayfare_protocol::qos::Qos;

use crate::limits::IN_FLIGHT_MAX;
use crate::message::Message;

#[derive(Debug)]
pub(crate) struct Outbox<R> {
    entries: VecDeque<Entry<R>>,
    /// The sequence number of the first entry.
    first: u64,
    /// The sequence number of the next entry to send; all before it are sent or done.
    next: u64,
    /// Handed to the client library, in that order, and not yet written.
    submitted: VecDeque<u64>,
    /// Written under a packet id, and not yet acknowledged.
    in_flight: BTreeMap<u16, u64>,
}

#[derive(Debug)]
enum Entry<R> {
    Unfinished { message: Message, receipt: R },
    Done,
}

impl<R> Default for Outbox<R> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            first: 0,
            next: 0,
            submitted: VecDeque::new(),
            in_flight: BTreeMap::new(),
        }
    }
}

impl<R> Outbox<R> {
    pub(crate) fn push(&mut self, message: Message, receipt: R) {
        self.entries.push_back(Entry::Unfinished { message, receipt });
    }

    /// The message to send now, if the window allows one. It counts as submitted.
    pub(crate) fn next(&mut self) -> Option<&Message> {
        while self.next < self.end() && self.next - self.first < IN_FLIGHT_MAX as u64 {
            let sequence = self.next;
            self.next += 1;
            let at = self.index(sequence)?;
            if matches!(self.entries[at], Entry::Unfinished { .. }) {
                self.submitted.push_back(sequence);
                return match &self.entries[at] {
                    Entry::Unfinished { message, .. } => Some(message),
                    Entry::Done => None,
                };
            }
        }
        None
    }

    /// The oldest submitted message was written under this id (0: at most once, and so it is done).
    pub(crate) fn written(&mut self, packet_id: u16) -> Option<R> {
        let sequence = self.submitted.pop_front()?;
        if packet_id == 0 {
            return self.finish(sequence);
        }
        self.in_flight.insert(packet_id, sequence);
        None
    }

    pub(crate) fn acknowledged(&mut self, packet_id: u16) -> Option<R> {
        let sequence = self.in_flight.remove(&packet_id)?;
        self.finish(sequence)
    }

    /// Sends everything unacknowledged again, on the next connection. Messages that end with theirs are done
    /// with: their receipts are returned, and whether they were at most once.
    pub(crate) fn connection_lost(&mut self) -> Vec<(R, Qos)> {
        self.submitted.clear();
        self.in_flight.clear();
        let mut dropped = Vec::new();
        for sequence in self.first..self.end() {
            let ends = self.index(sequence).and_then(|at| match &self.entries[at] {
                Entry::Unfinished { message, .. } if message.ends_with_its_connection() => Some(message.qos),
                Entry::Unfinished { .. } | Entry::Done => None,
            });
            if let Some(qos) = ends {
                dropped.extend(self.finish(sequence).map(|receipt| (receipt, qos)));
            }
        }
        self.next = self.first;
        dropped
    }

    /// The number that the next pushed message gets.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// All messages with lower numbers are done.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Nothing that was sent waits for its answer.
    pub(crate) fn is_answered(&self) -> bool {
        self.next == self.first
    }

    /// Takes everything that is not done, oldest first.
    pub(crate) fn drain(&mut self) -> Vec<(Message, R)> {
        self.submitted.clear();
        self.in_flight.clear();
        self.first = self.end();
        self.next = self.first;
        std::mem::take(&mut self.entries)
            .into_iter()
            .filter_map(|entry| match entry {
                Entry::Unfinished { message, receipt } => Some((message, receipt)),
                Entry::Done => None,
            })
            .collect()
    }

    fn index(&self, sequence: u64) -> Option<usize> {
        let at = usize::try_from(sequence.checked_sub(self.first)?).ok()?;
        (at < self.entries.len()).then_some(at)
    }

    fn finish(&mut self, sequence: u64) -> Option<R> {
        let at = self.index(sequence)?;
        let entry = std::mem::replace(&mut self.entries[at], Entry::Done);
        while matches!(self.entries.front(), Some(Entry::Done)) {
            self.entries.pop_front();
            self.first += 1;
        }
        self.next = self.next.max(self.first);
        match entry {
            Entry::Unfinished { receipt, .. } => Some(receipt),
            Entry::Done => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(count: usize) -> Outbox<usize> {
        let mut outbox = Outbox::default();
        for at in 0..count {
            outbox.push(Message::new(format!("t/{at}"), vec![]), at);
        }
        outbox
    }

    fn sent(outbox: &mut Outbox<usize>) -> Vec<String> {
        std::iter::from_fn(|| outbox.next().map(|message| message.topic.clone())).collect()
    }

    #[test]
    fn window_limits_what_is_sent_and_opens_in_order() {
        let mut outbox = filled(IN_FLIGHT_MAX + 5);
        assert_eq!(sent(&mut outbox).len(), IN_FLIGHT_MAX);
        for id in 1..=IN_FLIGHT_MAX as u16 {
            assert_eq!(outbox.written(id), None);
        }
        // The second acknowledged before the first: the window stays where the oldest is.
        assert_eq!(outbox.acknowledged(2), Some(1));
        assert_eq!(sent(&mut outbox).len(), 0);
        assert_eq!(outbox.acknowledged(1), Some(0));
        assert_eq!(
            sent(&mut outbox),
            [format!("t/{IN_FLIGHT_MAX}"), format!("t/{}", IN_FLIGHT_MAX + 1)]
        );
    }

    #[test]
    fn lost_connection_sends_again_in_order_what_was_not_acknowledged() {
        let mut outbox = filled(4);
        sent(&mut outbox);
        for id in 11..=13 {
            outbox.written(id);
        }
        assert_eq!(outbox.acknowledged(12), Some(1));
        assert!(outbox.connection_lost().is_empty());
        assert_eq!(sent(&mut outbox), ["t/0", "t/2", "t/3"]);
        // Ids of the lost connection mean nothing on the new one until they are given again.
        assert_eq!(outbox.acknowledged(11), None);
        for id in 1..=3 {
            outbox.written(id);
        }
        assert_eq!(
            [1, 2, 3].map(|id| outbox.acknowledged(id)),
            [Some(0), Some(2), Some(3)]
        );
        assert!(outbox.is_empty());
    }

    #[test]
    fn messages_at_most_once_are_done_when_written_or_lost() {
        let mut outbox = Outbox::default();
        for at in 0..3 {
            outbox.push(Message::new("t", vec![]).at_most_once(), at);
        }
        outbox.push(Message::new("t", vec![]), 3);
        outbox.next();
        assert_eq!(outbox.written(0), Some(0));
        outbox.next();
        let both = [(1, Qos::AtMostOnce), (2, Qos::AtMostOnce)];
        assert_eq!(outbox.connection_lost(), both);
        assert_eq!(sent(&mut outbox).len(), 1);
        assert_eq!(
            outbox
                .drain()
                .into_iter()
                .map(|(_, receipt)| receipt)
                .collect::<Vec<_>>(),
            [3]
        );
        assert!(outbox.is_empty());
    }

    #[test]
    fn fleeting_messages_are_acknowledged_or_given_up_with_their_connection() {
        let mut outbox = Outbox::default();
        for at in 0..3 {
            outbox.push(Message::new(format!("t/{at}"), vec![]).fleeting(), at);
        }
        outbox.push(Message::new("t/3", vec![]), 3);
        sent(&mut outbox);
        outbox.written(1);
        assert_eq!(outbox.acknowledged(1), Some(0));
        let given_up = [(1, Qos::AtLeastOnce), (2, Qos::AtLeastOnce)];
        assert_eq!(outbox.connection_lost(), given_up);
        assert_eq!(sent(&mut outbox), ["t/3"]);
    }

    #[test]
    fn first_tells_how_far_everything_is_done() {
        let mut outbox = filled(3);
        assert_eq!((outbox.first(), outbox.end()), (0, 3));
        sent(&mut outbox);
        for id in 1..=3 {
            outbox.written(id);
        }
        outbox.acknowledged(2);
        assert_eq!(outbox.first(), 0);
        outbox.acknowledged(1);
        assert_eq!(outbox.first(), 2);
        assert_eq!(outbox.drain().len(), 1);
        assert_eq!((outbox.first(), outbox.end()), (3, 3));
    }

    #[test]
    fn unknown_acknowledgements_change_nothing() {
        let mut outbox = filled(1);
        assert_eq!(outbox.written(5), None);
        assert_eq!(outbox.acknowledged(5), None);
        assert_eq!(sent(&mut outbox), ["t/0"]);
    }
}
