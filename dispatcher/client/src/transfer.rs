//! Handing blobs over in numbered chunks: the sending half (client to engine in a run or restore) and the
//! receiving half (engine to client in a snapshot), as pure state machines.
//!
//! Few chunks are outstanding, acknowledgements are cumulative, and after silence everything from the last
//! acknowledged byte is sent again (go-back-N). A digest ends each blob: only bytes that match it count as
//! arrived. Time is passed in.

use std::sync::Arc;

use wayfare_protocol::ids::{Blob, Digest};
use wayfare_protocol::limits::{CHUNK_BYTES, CHUNKS_OUTSTANDING_MAX};

/// Without a new acknowledgement for this long, the sender goes back to the last one.
pub(crate) const SILENCE_MS: u64 = 2_000;
/// Times that a blob may fail its digest before the transfer is given up.
pub(crate) const DAMAGED_TIMES_MAX: u32 = 3;

/// A blob with its bytes: shared, because a run holds it until the engine has it.
pub type Content = Arc<Vec<u8>>;

/// One chunk to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub blob: Blob,
    pub offset: u64,
    pub bytes: u64,
}

/// The sending half for one blob.
#[derive(Debug)]
pub(crate) struct Sender {
    blob: Blob,
    /// Bytes before this are with the receiver, as far as it has said.
    acknowledged: u64,
    /// The next byte to send.
    next: u64,
    /// The receiver's last word, which may be lower after it restarted.
    last_word: u64,
    heard_ms: u64,
    begun: bool,
    done: bool,
}

impl Sender {
    pub(crate) fn new(blob: Blob, now_ms: u64) -> Self {
        Self {
            blob,
            acknowledged: 0,
            next: 0,
            last_word: 0,
            heard_ms: now_ms,
            begun: false,
            done: false,
        }
    }

    pub(crate) fn digest(&self) -> Digest {
        self.blob.digest
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// What may be sent now.
    pub(crate) fn pieces(&mut self) -> Vec<Piece> {
        let window_end = self.acknowledged + CHUNKS_OUTSTANDING_MAX * CHUNK_BYTES as u64;
        let mut pieces = Vec::new();
        // An empty blob is one empty chunk, or its receiver would never hear of it.
        while !self.done && (self.next < self.blob.bytes.min(window_end) || !self.begun) {
            let bytes = (self.blob.bytes - self.next).min(CHUNK_BYTES as u64);
            pieces.push(Piece {
                blob: self.blob,
                offset: self.next,
                bytes,
            });
            self.next += bytes;
            self.begun = true;
        }
        pieces
    }

    /// The receiver has everything before `received`.
    pub(crate) fn acknowledge(&mut self, received: u64, now_ms: u64) {
        if received > self.blob.bytes {
            return;
        }
        if received > self.acknowledged || (received == self.blob.bytes && self.begun) {
            self.acknowledged = received;
            self.next = self.next.max(received);
            self.heard_ms = now_ms;
            self.done = received == self.blob.bytes;
        }
        self.last_word = received;
    }

    /// After silence, goes back to the receiver's last word.
    pub(crate) fn tick(&mut self, now_ms: u64) {
        if !self.done && self.begun && now_ms.saturating_sub(self.heard_ms) >= SILENCE_MS {
            self.acknowledged = self.last_word;
            self.next = self.last_word;
            self.begun = false;
            self.heard_ms = now_ms;
        }
    }
}

/// The receiving half for one blob.
#[derive(Debug)]
pub(crate) struct Receiver {
    blob: Blob,
    bytes: Vec<u8>,
    damaged: u32,
    done: bool,
}

/// What came of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// Say so: everything before this has arrived.
    Acknowledge(u64),
    /// The digest did not match too many times.
    GiveUp,
}

impl Receiver {
    pub(crate) fn new(blob: Blob) -> Self {
        // Grows with what arrives, not with what was announced.
        Self {
            blob,
            bytes: Vec::new(),
            damaged: 0,
            done: blob.bytes == 0 && blob.digest == Digest::of(&[]),
        }
    }

    pub(crate) fn blob(&self) -> Blob {
        self.blob
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    pub(crate) fn received(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Takes the chunk if it is the next one; a repeat or one after a gap is only answered.
    pub(crate) fn chunk(&mut self, offset: u64, bytes: &[u8]) -> Received {
        let fits = offset + bytes.len() as u64 <= self.blob.bytes;
        if self.done || offset != self.received() || !fits {
            return Received::Acknowledge(self.received());
        }
        self.bytes.extend_from_slice(bytes);
        if self.received() == self.blob.bytes {
            if Digest::of(&self.bytes) == self.blob.digest {
                self.done = true;
            } else {
                self.bytes.clear();
                self.damaged += 1;
                if self.damaged >= DAMAGED_TIMES_MAX {
                    return Received::GiveUp;
                }
            }
        }
        Received::Acknowledge(self.received())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: u64 = CHUNK_BYTES as u64;

    fn content(bytes: usize) -> (Blob, Vec<u8>) {
        let bytes: Vec<u8> = (0..bytes).map(|i| (i * 31 % 251) as u8).collect();
        (Blob::of(&bytes), bytes)
    }

    fn slice(bytes: &[u8], piece: Piece) -> &[u8] {
        &bytes[piece.offset as usize..(piece.offset + piece.bytes) as usize]
    }

    /// Carries chunks and acknowledgements, losing some of them by `seed`.
    fn carry(bytes: usize, seed: u64, loss_percent: u64) {
        let (blob, bytes) = content(bytes);
        let (mut sender, mut receiver) = (Sender::new(blob, 0), Receiver::new(blob));
        let mut random = seed;
        let mut is_lost = || {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (random >> 33) % 100 < loss_percent
        };
        for round in 0..10_000 {
            for piece in sender.pieces() {
                if is_lost() {
                    continue;
                }
                let Received::Acknowledge(upto) = receiver.chunk(piece.offset, slice(&bytes, piece)) else {
                    panic!("gave up")
                };
                if !is_lost() {
                    sender.acknowledge(upto, round * SILENCE_MS);
                }
            }
            if sender.is_done() {
                assert_eq!(receiver.into_bytes(), bytes);
                return;
            }
            sender.tick((round + 1) * SILENCE_MS);
        }
        panic!("never done: seed {seed}, {sender:?}");
    }

    #[test]
    fn blobs_arrive_whole_through_loss() {
        for bytes in [
            0,
            1,
            CHUNK_BYTES - 1,
            CHUNK_BYTES,
            CHUNK_BYTES + 1,
            40 * CHUNK_BYTES + 5,
        ] {
            for (seed, loss_percent) in [(0, 0), (1, 10), (2, 30), (3, 60)] {
                carry(bytes, seed, loss_percent);
            }
        }
    }

    #[test]
    fn few_chunks_are_outstanding() {
        let (blob, _) = content(100 * CHUNK_BYTES);
        let mut sender = Sender::new(blob, 0);
        assert_eq!(sender.pieces().len() as u64, CHUNKS_OUTSTANDING_MAX);
        assert!(sender.pieces().is_empty());
        sender.acknowledge(3 * CHUNK, 1);
        let offsets: Vec<_> = sender.pieces().iter().map(|p| p.offset / CHUNK).collect();
        assert_eq!(offsets, [16, 17, 18]);
    }

    #[test]
    fn a_receiver_that_restarted_gets_everything_from_its_last_word() {
        let (blob, _) = content(20 * CHUNK_BYTES);
        let mut sender = Sender::new(blob, 0);
        sender.pieces();
        sender.acknowledge(10 * CHUNK, 1);
        sender.pieces();
        // It lost what it had: says so, and the sender believes it once it is silent.
        sender.acknowledge(0, 2);
        assert!(sender.pieces().is_empty());
        sender.tick(1 + SILENCE_MS);
        assert_eq!(sender.pieces().first().map(|p| p.offset), Some(0));
    }

    #[test]
    fn acknowledgements_past_the_end_are_ignored() {
        let (blob, _) = content(10);
        let mut sender = Sender::new(blob, 0);
        sender.acknowledge(11, 0);
        assert!(!sender.is_done());
    }

    #[test]
    fn damage_begins_anew_and_is_given_up_in_the_end() {
        let (blob, bytes) = content(10);
        let mut receiver = Receiver::new(blob);
        for _ in 1..DAMAGED_TIMES_MAX {
            assert_eq!(receiver.chunk(0, &[0; 10]), Received::Acknowledge(0));
        }
        assert_eq!(receiver.chunk(0, &bytes), Received::Acknowledge(10));
        assert!(receiver.is_done());
        let mut receiver = Receiver::new(blob);
        for _ in 1..DAMAGED_TIMES_MAX {
            receiver.chunk(0, &[0; 10]);
        }
        assert_eq!(receiver.chunk(0, &[0; 10]), Received::GiveUp);
    }

    #[test]
    fn repeats_and_gaps_are_only_answered() {
        let (blob, bytes) = content(3 * CHUNK_BYTES);
        let mut receiver = Receiver::new(blob);
        let at = |n: usize| &bytes[n * CHUNK_BYTES..(n + 1) * CHUNK_BYTES];
        assert_eq!(receiver.chunk(CHUNK, at(1)), Received::Acknowledge(0));
        assert_eq!(receiver.chunk(0, at(0)), Received::Acknowledge(CHUNK));
        assert_eq!(receiver.chunk(0, at(0)), Received::Acknowledge(CHUNK));
        assert_eq!(receiver.chunk(CHUNK, at(1)), Received::Acknowledge(2 * CHUNK));
    }
}
