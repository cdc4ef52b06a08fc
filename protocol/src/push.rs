//! Handing blobs over in chunks, where the sender sets the pace: its window, and the receiver's place in each
//! blob. Who sends what to whom and why, who keeps the bytes, and when silence has lasted too long are the
//! caller's; [`pull`](crate::pull) is the way for a giver that is to remember nothing.
//!
//! Acknowledgements are cumulative. A receiver takes chunks in order only and answers every other one with
//! its place; a sender that makes no progress for a while goes back to the last place it heard of.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{Blob, Digest};
use crate::limits::{CHUNK_BYTES, CHUNKS_OUTSTANDING_MAX};

/// How often a blob may come damaged before its receiver gives it up.
pub const DAMAGED_MAX: u8 = 3;

const CHUNK: u64 = CHUNK_BYTES as u64;

/// Part of a blob that is to be sent now, at most a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    pub blob: Blob,
    pub offset: u64,
    pub bytes: u64,
}

/// Sends blobs to one peer, one after the other.
#[derive(Debug, Default)]
pub struct Sender {
    queue: Vec<Sending>,
    /// What the peer said that it has whole, whether or not it came from here.
    there: BTreeSet<Digest>,
}

#[derive(Debug)]
struct Sending {
    blob: Blob,
    acknowledged: u64,
    sent: u64,
    /// The place the receiver named last: lower than `acknowledged` if it had to begin again.
    heard: u64,
    /// The first chunk was sent: tells an empty blob that was sent from one that was not.
    begun: bool,
}

impl Sending {
    fn new(blob: Blob) -> Self {
        Self {
            blob,
            acknowledged: 0,
            sent: 0,
            heard: 0,
            begun: false,
        }
    }

    fn next_segment(&mut self) -> Option<Segment> {
        if self.begun && self.sent == self.blob.bytes {
            return None;
        }
        let segment = Segment {
            blob: self.blob,
            offset: self.sent,
            bytes: CHUNK.min(self.blob.bytes - self.sent),
        };
        self.begun = true;
        self.sent += segment.bytes;
        Some(segment)
    }
}

impl Sender {
    /// The peer lacks `blob`. One that is on its way already stays so; one that the peer had whole has been
    /// lost and begins anew. Callers bound how many different ones there are.
    pub fn add(&mut self, blob: Blob) {
        if self.there.remove(&blob.digest) || !self.queue.iter().any(|s| s.blob == blob) {
            self.queue.retain(|s| s.blob != blob);
            self.queue.push(Sending::new(blob));
        }
    }

    /// The peer has all of `blob` before `received`. True if that was news.
    pub fn acknowledge(&mut self, blob: Blob, received: u64) -> bool {
        if received > blob.bytes {
            return false;
        }
        if received == blob.bytes {
            self.queue.retain(|s| s.blob != blob);
            self.there.insert(blob.digest)
        } else if let Some(sending) = self.queue.iter_mut().find(|s| s.blob == blob) {
            sending.heard = received;
            let news = received > sending.acknowledged;
            sending.acknowledged = sending.acknowledged.max(received);
            sending.sent = sending.sent.max(received);
            news
        } else {
            false
        }
    }

    pub fn is_there(&self, digest: Digest) -> bool {
        self.there.contains(&digest)
    }

    /// What may be sent now.
    pub fn pump(&mut self) -> Vec<Segment> {
        let mut room = CHUNKS_OUTSTANDING_MAX.saturating_sub(self.outstanding_chunks());
        let mut segments = Vec::new();
        for sending in &mut self.queue {
            while room > 0
                && let Some(segment) = sending.next_segment()
            {
                segments.push(segment);
                room -= 1;
            }
        }
        segments
    }

    fn outstanding_chunks(&self) -> u64 {
        self.queue
            .iter()
            .filter(|s| s.begun)
            .map(|s| (s.sent - s.acknowledged).div_ceil(CHUNK).max(1))
            .sum()
    }

    /// Nothing new was heard for too long: goes back to where the peer said it is.
    pub fn go_back(&mut self) {
        for sending in &mut self.queue {
            sending.acknowledged = sending.acknowledged.min(sending.heard);
            sending.sent = sending.acknowledged;
            sending.begun = false;
        }
    }

    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes acknowledged of what is under way, for progress.
    pub fn acknowledged_bytes(&self, blob: Blob) -> u64 {
        if self.is_there(blob.digest) {
            return blob.bytes;
        }
        self.queue
            .iter()
            .find(|s| s.blob == blob)
            .map_or(0, |s| s.acknowledged)
    }
}

/// What arrives, whichever operations it is for: two programs of one module may come at the same time.
#[derive(Debug, Default)]
pub struct Receiver {
    incoming: BTreeMap<Blob, Incoming>,
}

#[derive(Debug, Default)]
struct Incoming {
    received: u64,
    /// The last byte was kept and is being checked.
    checking: bool,
    damaged: u8,
}

/// What to do with a chunk.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// Keep it; the place is then this. Nothing is said about the last chunk until the blob is checked.
    Keep { received: u64, is_last: bool },
    /// It is not the next one; this is the place.
    NotNext { received: u64 },
    /// It makes no sense, or everything has come and is being checked.
    Ignore,
}

impl Receiver {
    /// `blob` is one that an operation lacks; the caller has checked that.
    pub fn take(&mut self, blob: Blob, offset: u64, bytes: u64) -> Taken {
        let Some(end) = offset.checked_add(bytes).filter(|end| *end <= blob.bytes) else {
            return Taken::Ignore;
        };
        let incoming = self.incoming.entry(blob).or_default();
        if incoming.checking || (bytes == 0 && blob.bytes > 0) {
            return Taken::Ignore;
        }
        if offset != incoming.received {
            return Taken::NotNext {
                received: incoming.received,
            };
        }
        incoming.received = end;
        incoming.checking = end == blob.bytes;
        Taken::Keep {
            received: end,
            is_last: incoming.checking,
        }
    }

    /// The blob is here.
    pub fn complete(&mut self, blob: Blob) {
        self.incoming.remove(&blob);
    }

    /// The blob was damaged and begins anew. Answers how often that has happened.
    pub fn damaged(&mut self, blob: Blob) -> u8 {
        let incoming = self.incoming.entry(blob).or_default();
        *incoming = Incoming {
            damaged: incoming.damaged.saturating_add(1),
            ..Incoming::default()
        };
        incoming.damaged
    }

    /// The place in a blob of which something has come.
    pub fn place(&self, blob: Blob) -> Option<u64> {
        self.incoming
            .get(&blob)
            .filter(|i| i.received > 0 && !i.checking)
            .map(|i| i.received)
    }

    /// Forgets what nobody waits for.
    pub fn retain(&mut self, wanted: impl Fn(&Blob) -> bool) {
        self.incoming.retain(|blob, _| wanted(blob));
    }

    pub fn knows(&self, blob: Blob) -> bool {
        self.incoming.contains_key(&blob)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(bytes: u64) -> Blob {
        Blob {
            digest: Digest::of(&bytes.to_le_bytes()),
            bytes,
        }
    }

    fn offsets(segments: &[Segment]) -> Vec<u64> {
        segments.iter().map(|s| s.offset / CHUNK).collect()
    }

    #[test]
    fn no_more_chunks_are_outstanding_than_allowed() {
        let big = blob(100 * CHUNK + 1);
        let mut sender = Sender::default();
        sender.add(big);
        assert_eq!(offsets(&sender.pump()), (0..16).collect::<Vec<_>>());
        assert!(sender.pump().is_empty());
        assert!(sender.acknowledge(big, 2 * CHUNK));
        assert_eq!(offsets(&sender.pump()), [16, 17]);
        assert!(!sender.acknowledge(big, CHUNK), "an old one is no news");
        assert!(sender.pump().is_empty());
        assert!(!sender.acknowledge(big, u64::MAX));
        assert!(sender.acknowledge(big, big.bytes));
        assert!(sender.is_there(big.digest) && sender.pump().is_empty());
    }

    #[test]
    fn silence_goes_back_to_the_place_last_heard_of() {
        let big = blob(4 * CHUNK);
        let mut sender = Sender::default();
        sender.add(big);
        assert_eq!(offsets(&sender.pump()), [0, 1, 2, 3]);
        sender.acknowledge(big, 3 * CHUNK);
        sender.go_back();
        assert_eq!(offsets(&sender.pump()), [3]);
        // The receiver found it damaged and begins again.
        sender.acknowledge(big, 0);
        assert!(sender.pump().is_empty());
        sender.go_back();
        assert_eq!(offsets(&sender.pump()), [0, 1, 2, 3]);
    }

    #[test]
    fn an_empty_blob_is_one_empty_chunk() {
        let empty = blob(0);
        let mut sender = Sender::default();
        sender.add(empty);
        let segment = Segment {
            blob: empty,
            offset: 0,
            bytes: 0,
        };
        assert_eq!(sender.pump(), [segment]);
        assert!(sender.pump().is_empty());
        let mut receiver = Receiver::default();
        assert_eq!(
            receiver.take(empty, 0, 0),
            Taken::Keep {
                received: 0,
                is_last: true
            }
        );
        assert!(sender.acknowledge(empty, 0));
        assert!(sender.is_idle());
    }

    #[test]
    fn chunks_are_taken_in_order_only() {
        let two = blob(CHUNK + 5);
        let mut receiver = Receiver::default();
        let keep = |received, is_last| Taken::Keep { received, is_last };
        assert_eq!(receiver.take(two, CHUNK, 5), Taken::NotNext { received: 0 });
        assert_eq!(receiver.take(two, 0, CHUNK), keep(CHUNK, false));
        assert_eq!(receiver.take(two, 0, CHUNK), Taken::NotNext { received: CHUNK });
        assert_eq!(receiver.take(two, CHUNK, 6), Taken::Ignore);
        assert_eq!(receiver.take(two, u64::MAX, 6), Taken::Ignore);
        assert_eq!(receiver.take(two, CHUNK, 0), Taken::Ignore);
        assert_eq!(receiver.take(two, CHUNK, 5), keep(CHUNK + 5, true));
        assert_eq!(receiver.take(two, 0, CHUNK), Taken::Ignore);
        assert_eq!(receiver.damaged(two), 1);
        assert_eq!(receiver.take(two, 0, CHUNK), keep(CHUNK, false));
    }
}
