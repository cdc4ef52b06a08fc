//! What the mail itself sends, in order, until the broker has it.

use std::collections::VecDeque;
use std::sync::Arc;
use wayfare_protocol::qos::Qos;

use crate::message::Outgoing;

/// Numbers from this one on are a notice's, in the order of the queue. A life begins its numbers there only
/// from the year 2105 on, by the clock of whoever restores a program; half of all numbers would be too many:
/// those begin in 2038.
const NOTICE: u64 = 0xff << 56;
/// Of more, what is answered to others is left out.
const NOTICES_MAX: usize = 4096;
/// Bytes of what waits to be sent; the last may go over.
pub(super) const BYTES_MAX: usize = 4 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Notices {
    queue: VecDeque<Entry>,
    bytes: usize,
    next: u64,
    /// Below: handed to the session that is open now.
    submitted: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    order: u64,
    /// The program's number of what this is a copy of: it goes out behind all that has a lower one.
    pub(super) copy_of: Option<u64>,
    pub(super) topic: String,
    pub(super) payload: Arc<[u8]>,
}

impl Notices {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn entries(&self) -> &VecDeque<Entry> {
        &self.queue
    }

    pub(super) fn push(&mut self, copy_of: Option<u64>, topic: String, payload: Arc<[u8]>) {
        self.bytes += payload.len();
        self.queue.push_back(Entry {
            order: self.next,
            copy_of,
            topic,
            payload,
        });
        self.next += 1;
    }

    /// Unless it waits to be sent already.
    pub(super) fn push_once(&mut self, topic: String, payload: Arc<[u8]>) {
        let is_it = |one: &Entry| one.topic == topic && one.payload == payload;
        if !self.queue.iter().any(is_it) {
            self.push(None, topic, payload);
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.has_room_for(1)
    }

    /// The bytes of the last may go over.
    pub(super) fn has_room_for(&self, count: usize) -> bool {
        self.queue.len() + count <= NOTICES_MAX && self.bytes < BYTES_MAX
    }

    pub(super) fn begin_session(&mut self) {
        self.submitted = self.queue.front().map_or(self.next, |first| first.order);
    }

    /// The next to send ahead of the program's message of this number.
    pub(super) fn next_before(&mut self, number: u64) -> Option<Outgoing> {
        let at = self.queue.partition_point(|one| one.order < self.submitted);
        let entry = self.queue.get(at)?;
        if entry.copy_of.is_some_and(|copy_of| copy_of > number) {
            return None;
        }
        self.submitted = entry.order + 1;
        Some(Outgoing {
            number: NOTICE + entry.order,
            topic: entry.topic.clone(),
            payload: entry.payload.to_vec(),
            qos: Qos::AtLeastOnce,
            retain: false,
        })
    }

    /// Whether the number is a notice's, which is with the broker then.
    pub(super) fn sent(&mut self, number: u64) -> bool {
        let Some(order) = number.checked_sub(NOTICE) else {
            return false;
        };
        while let Some(first) = self.queue.front()
            && first.order <= order
        {
            self.bytes -= first.payload.len();
            self.queue.pop_front();
        }
        true
    }

    /// Whether the number is a notice's, which is to be sent again then.
    pub(super) fn send_again(&mut self, number: u64) -> bool {
        let order = number.checked_sub(NOTICE);
        self.submitted = self.submitted.min(order.unwrap_or(u64::MAX));
        order.is_some()
    }

    /// Copies of messages below this number are with the broker.
    pub(super) fn first_copy(&self) -> u64 {
        let copies = self.queue.iter().filter_map(|one| one.copy_of);
        copies.min().unwrap_or(u64::MAX)
    }
}
