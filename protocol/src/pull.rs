//! Fetching a blob in chunks, where the receiver sets the pace: it asks for a few chunks at a time, and asks
//! again for what does not come. The other side answers each
//! [`PeerMessage::Pull`](crate::peer::PeerMessage::Pull) from the bytes and remembers nothing. A pure state
//! machine; time is passed in.

use crate::ids::{Blob, Digest};
use crate::limits::{CHUNK_BYTES, CHUNKS_OUTSTANDING_MAX};
use crate::push::DAMAGED_MAX;

const CHUNK: u64 = CHUNK_BYTES as u64;
/// What was asked for and does not come for this long is asked for again.
pub const PULL_SILENCE_MS: u64 = 1_000;

/// A request for chunks, from `offset` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pull {
    pub offset: u64,
    pub chunks: u8,
}

/// One blob on its way here.
#[derive(Debug)]
pub struct Puller {
    blob: Blob,
    bytes: Vec<u8>,
    /// What was asked for ends here.
    asked: u64,
    heard_ms: u64,
    damaged: u8,
}

/// What came of a chunk.
#[derive(Debug, PartialEq, Eq)]
pub enum Pulled {
    /// Ask for these, if any.
    Next(Option<Pull>),
    /// All of it, and as its digest says.
    Whole(Vec<u8>),
    /// It came damaged too often.
    Damaged,
}

impl Puller {
    /// For a blob whose length the caller has checked; the first request is due at once.
    pub fn new(blob: Blob, now_ms: u64) -> (Self, Pull) {
        let mut puller = Self {
            blob,
            // Grows with what arrives, not with what was announced.
            bytes: Vec::new(),
            asked: 0,
            heard_ms: now_ms,
            damaged: 0,
        };
        let first = puller.ask();
        (puller, first)
    }

    pub fn blob(&self) -> Blob {
        self.blob
    }

    pub fn received(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Takes a chunk if it is the next one.
    pub fn chunk(&mut self, offset: u64, bytes: &[u8], now_ms: u64) -> Pulled {
        let end = offset.saturating_add(bytes.len() as u64);
        let is_progress = !bytes.is_empty() || self.blob.bytes == 0;
        if offset != self.received() || end > self.blob.bytes || !is_progress {
            return Pulled::Next(None);
        }
        self.heard_ms = now_ms;
        self.bytes.extend_from_slice(bytes);
        if end == self.blob.bytes {
            return self.end();
        }
        // Half of what was asked for is still on its way.
        let is_low = end + CHUNK * (CHUNKS_OUTSTANDING_MAX / 2) >= self.asked && self.asked < self.blob.bytes;
        Pulled::Next(is_low.then(|| self.ask()))
    }

    fn end(&mut self) -> Pulled {
        let bytes = std::mem::take(&mut self.bytes);
        if Digest::of(&bytes) == self.blob.digest {
            return Pulled::Whole(bytes);
        }
        self.damaged += 1;
        if self.damaged >= DAMAGED_MAX {
            return Pulled::Damaged;
        }
        self.asked = 0;
        Pulled::Next(Some(self.ask()))
    }

    /// What to ask for again, if it is time.
    pub fn tick(&mut self, now_ms: u64) -> Option<Pull> {
        if now_ms.saturating_sub(self.heard_ms) < PULL_SILENCE_MS {
            return None;
        }
        self.heard_ms = now_ms;
        self.asked = self.received();
        Some(self.ask())
    }

    /// The next chunks that may be outstanding.
    fn ask(&mut self) -> Pull {
        let offset = self.asked;
        let room = self.received() + CHUNK * CHUNKS_OUTSTANDING_MAX - offset;
        let wanted = room.min(self.blob.bytes - offset).div_ceil(CHUNK).max(1);
        self.asked = (offset + wanted * CHUNK).min(self.blob.bytes);
        Pull {
            offset,
            chunks: u8::try_from(wanted).expect("few may be outstanding"),
        }
    }
}

impl Pull {
    /// Where the chunks begin that are wanted, and how long each is: never more than may be outstanding, nor
    /// past the end.
    pub fn chunks_of(self, blob: Blob) -> impl Iterator<Item = (u64, usize)> {
        let count = u64::from(self.chunks).min(CHUNKS_OUTSTANDING_MAX);
        (0..count).filter_map(move |number| {
            let offset = self.offset.checked_add(number * CHUNK)?;
            let bytes = blob.bytes.checked_sub(offset)?.min(CHUNK);
            (bytes > 0 || (blob.bytes == 0 && number == 0)).then_some((offset, bytes as usize))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Carries a blob, losing some messages by `seed`; answers how many chunks were sent.
    fn carry(length: usize, seed: u64, loss_percent: u64) -> usize {
        let content: Vec<u8> = (0..length).map(|at| (at * 31 % 251) as u8).collect();
        let blob = Blob::of(&content);
        let mut random = seed;
        let mut is_lost = || {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (random >> 33) % 100 < loss_percent
        };
        let (mut puller, first) = Puller::new(blob, 0);
        let mut requests = VecDeque::from([first]);
        let (mut now_ms, mut sent) = (0, 0);
        for _ in 0..10_000 {
            // Time passes when nothing is on its way.
            while let Some(pull) = requests.pop_front() {
                for (offset, bytes) in pull.chunks_of(blob) {
                    sent += 1;
                    if is_lost() {
                        continue;
                    }
                    let chunk = &content[offset as usize..][..bytes];
                    match puller.chunk(offset, chunk, now_ms) {
                        Pulled::Next(next) => requests.extend(next),
                        Pulled::Whole(bytes) => {
                            assert_eq!(bytes, content);
                            return sent;
                        }
                        Pulled::Damaged => panic!("damaged"),
                    }
                    assert!(puller.asked <= puller.received() + CHUNK * CHUNKS_OUTSTANDING_MAX);
                }
            }
            now_ms += PULL_SILENCE_MS;
            requests.extend(puller.tick(now_ms));
        }
        panic!("never done: seed {seed}, {puller:?}");
    }

    #[test]
    fn blobs_come_whole_through_loss() {
        let chunk = CHUNK_BYTES;
        for length in [0, 1, chunk - 1, chunk, chunk + 1, 40 * chunk + 5] {
            for (seed, loss_percent) in [(1, 10), (2, 30), (3, 60)] {
                carry(length, seed, loss_percent);
            }
            assert_eq!(
                carry(length, 0, 0),
                length.div_ceil(chunk).max(1),
                "nothing twice"
            );
        }
    }

    #[test]
    fn damage_begins_anew_and_is_given_up_in_the_end() {
        let blob = Blob::of(b"hello");
        let (mut puller, _) = Puller::new(blob, 0);
        for _ in 1..DAMAGED_MAX {
            let again = puller.chunk(0, b"jello", 0);
            assert_eq!(again, Pulled::Next(Some(Pull { offset: 0, chunks: 1 })));
        }
        assert_eq!(puller.chunk(0, b"jello", 0), Pulled::Damaged);
        let (mut puller, _) = Puller::new(blob, 0);
        puller.chunk(0, b"jello", 0);
        assert_eq!(puller.chunk(0, b"hello", 0), Pulled::Whole(b"hello".to_vec()));
    }

    #[test]
    fn chunks_that_make_no_sense_are_passed_over() {
        let (mut puller, _) = Puller::new(Blob::of(b"hello"), 0);
        for (offset, bytes) in [(1, &b"ello"[..]), (0, b"hello!"), (u64::MAX, b"h"), (0, b"")] {
            assert_eq!(puller.chunk(offset, bytes, 0), Pulled::Next(None), "{offset}");
        }
        let hostile = Pull {
            offset: u64::MAX,
            chunks: 255,
        };
        assert_eq!(hostile.chunks_of(Blob::of(b"hello")).count(), 0);
    }
}
