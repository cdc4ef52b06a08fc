//! What goes with an operation in chunks: the bytes that an engine may lack, and those that are fetched from
//! it.

use std::collections::BTreeMap;
use std::sync::Arc;

use wayfare_protocol::ids::{Blob, Digest};
use wayfare_protocol::push::{DAMAGED_MAX, Receiver, Segment, Sender, Taken};

/// Without a new acknowledgement for this long, the sender goes back to the last one; who fetches asks again.
pub(crate) const SILENCE_MS: u64 = 2_000;

/// A blob with its bytes: shared, because a run holds it until the engine has it.
pub type Content = Arc<Vec<u8>>;

/// Blobs on their way to an engine.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    /// What was wanted at any time.
    wanted: BTreeMap<Digest, Blob>,
    sender: Sender,
    heard_ms: u64,
}

impl Uploads {
    /// The engine lacks `blob`: one that is on its way goes on, one that it had begins anew.
    pub(crate) fn add(&mut self, blob: Blob, now_ms: u64) {
        if self.sender.is_idle() {
            self.heard_ms = now_ms;
        }
        self.wanted.insert(blob.digest, blob);
        self.sender.add(blob);
    }

    /// True if it is news.
    pub(crate) fn acknowledge(&mut self, digest: Digest, received: u64, now_ms: u64) -> bool {
        let blob = self.wanted.get(&digest).copied();
        let news = blob.is_some_and(|blob| self.sender.acknowledge(blob, received));
        if news {
            self.heard_ms = now_ms;
        }
        news
    }

    /// What may be sent now, and again after silence.
    pub(crate) fn segments(&mut self, now_ms: u64) -> Vec<Segment> {
        if now_ms.saturating_sub(self.heard_ms) >= SILENCE_MS {
            self.heard_ms = now_ms;
            self.sender.go_back();
        }
        self.sender.pump()
    }

    /// Nothing was wanted.
    pub(crate) fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// All that was wanted is there.
    pub(crate) fn is_done(&self) -> bool {
        self.sender.is_idle()
    }

    /// Bytes that are there, and of all that was wanted.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let there = self
            .wanted
            .values()
            .map(|blob| self.sender.acknowledged_bytes(*blob));
        (there.sum(), self.wanted.values().map(|blob| blob.bytes).sum())
    }
}

/// Blobs on their way here, with what has come of them.
#[derive(Debug)]
pub(crate) struct Downloads {
    each: BTreeMap<Digest, Download>,
    receiver: Receiver,
}

#[derive(Debug)]
struct Download {
    blob: Blob,
    bytes: Vec<u8>,
    is_whole: bool,
}

/// What came of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// Say so: everything before this has arrived.
    Acknowledge(u64),
    /// It makes no sense.
    Nothing,
    /// The digest did not match too many times.
    GiveUp,
}

impl Downloads {
    pub(crate) fn new(blobs: impl IntoIterator<Item = Blob>) -> Self {
        let download = |blob: Blob| Download {
            blob,
            // Grows with what arrives, not with what was announced.
            bytes: Vec::new(),
            is_whole: blob == Blob::of(&[]),
        };
        Self {
            each: blobs
                .into_iter()
                .map(|blob| (blob.digest, download(blob)))
                .collect(),
            receiver: Receiver::default(),
        }
    }

    /// Takes the chunk if it is the next one; a repeat or one after a gap is only answered.
    pub(crate) fn chunk(&mut self, blob: Blob, offset: u64, bytes: &[u8]) -> Received {
        let Some(download) = self
            .each
            .get_mut(&blob.digest)
            .filter(|download| download.blob == blob)
        else {
            return Received::Nothing;
        };
        if download.is_whole {
            return Received::Acknowledge(blob.bytes);
        }
        match self.receiver.take(blob, offset, bytes.len() as u64) {
            Taken::Ignore => Received::Nothing,
            Taken::NotNext { received } => Received::Acknowledge(received),
            Taken::Keep { received, is_last } => {
                download.bytes.extend_from_slice(bytes);
                if !is_last {
                    return Received::Acknowledge(received);
                }
                if Digest::of(&download.bytes) == blob.digest {
                    self.receiver.complete(blob);
                    download.is_whole = true;
                    return Received::Acknowledge(received);
                }
                download.bytes.clear();
                match self.receiver.damaged(blob) {
                    times if times < DAMAGED_MAX => Received::Acknowledge(0),
                    _ => Received::GiveUp,
                }
            }
        }
    }

    /// What has not come whole.
    pub(crate) fn missing(&self) -> Vec<Digest> {
        let missing = self.each.iter().filter(|(_, download)| !download.is_whole);
        missing.map(|(digest, _)| *digest).collect()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.each.values().all(|download| download.is_whole)
    }

    /// Bytes that have come, and of all.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let come = self.each.values().map(|download| download.bytes.len() as u64);
        (
            come.sum(),
            self.each.values().map(|download| download.blob.bytes).sum(),
        )
    }

    pub(crate) fn into_blobs(self) -> BTreeMap<Digest, Vec<u8>> {
        let each = self.each.into_iter();
        each.map(|(digest, download)| (digest, download.bytes)).collect()
    }
}

#[cfg(test)]
mod tests {
    use wayfare_protocol::limits::CHUNK_BYTES;

    use super::*;

    const CHUNK: u64 = CHUNK_BYTES as u64;

    fn content(bytes: usize) -> (Blob, Vec<u8>) {
        let bytes: Vec<u8> = (0..bytes).map(|i| (i * 31 % 251) as u8).collect();
        (Blob::of(&bytes), bytes)
    }

    /// Carries chunks and acknowledgements, losing some of them by `seed`.
    fn carry(bytes: usize, seed: u64, loss_percent: u64) {
        let (blob, bytes) = content(bytes);
        let (mut uploads, mut downloads) = (Uploads::default(), Downloads::new([blob]));
        uploads.add(blob, 0);
        let mut random = seed;
        let mut is_lost = || {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (random >> 33) % 100 < loss_percent
        };
        for round in 0..10_000 {
            for segment in uploads.segments(round * SILENCE_MS) {
                if is_lost() {
                    continue;
                }
                let part = &bytes[segment.offset as usize..(segment.offset + segment.bytes) as usize];
                let Received::Acknowledge(upto) = downloads.chunk(blob, segment.offset, part) else {
                    panic!("gave up")
                };
                if !is_lost() {
                    uploads.acknowledge(blob.digest, upto, round * SILENCE_MS);
                }
            }
            if uploads.is_done() {
                assert!(downloads.is_done());
                assert_eq!(uploads.bytes(), downloads.bytes());
                assert_eq!(downloads.into_blobs()[&blob.digest], bytes);
                return;
            }
        }
        panic!("never done: seed {seed}, {uploads:?}");
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
    fn what_was_not_wanted_is_not_acknowledged() {
        let (blob, _) = content(10);
        let mut uploads = Uploads::default();
        assert!(!uploads.acknowledge(blob.digest, 10, 0));
        uploads.add(blob, 0);
        assert!(!uploads.acknowledge(blob.digest, 11, 0), "past its end");
        assert!(!uploads.is_done());
    }

    #[test]
    fn what_is_wanted_after_a_while_has_its_whole_silence() {
        let (blob, _) = content(3 * CHUNK_BYTES);
        let mut uploads = Uploads::default();
        uploads.add(blob, 60_000);
        assert_eq!(uploads.segments(60_000).len(), 3);
        assert!(uploads.segments(60_000 + SILENCE_MS - 1).is_empty());
        assert_eq!(uploads.segments(60_000 + SILENCE_MS).len(), 3);
    }

    #[test]
    fn damage_begins_anew_and_is_given_up_in_the_end() {
        let (blob, bytes) = content(10);
        let mut downloads = Downloads::new([blob]);
        for _ in 1..DAMAGED_MAX {
            assert_eq!(downloads.chunk(blob, 0, &[0; 10]), Received::Acknowledge(0));
        }
        assert_eq!(downloads.chunk(blob, 0, &bytes), Received::Acknowledge(10));
        assert!(downloads.is_done() && downloads.missing().is_empty());
        let mut downloads = Downloads::new([blob]);
        for _ in 1..DAMAGED_MAX {
            downloads.chunk(blob, 0, &[0; 10]);
        }
        assert_eq!(downloads.chunk(blob, 0, &[0; 10]), Received::GiveUp);
    }

    #[test]
    fn repeats_and_gaps_are_only_answered() {
        let (blob, bytes) = content(3 * CHUNK_BYTES);
        let mut downloads = Downloads::new([blob]);
        let at = |n: usize| &bytes[n * CHUNK_BYTES..(n + 1) * CHUNK_BYTES];
        let mut take = |offset, n| downloads.chunk(blob, offset, at(n));
        assert_eq!(take(CHUNK, 1), Received::Acknowledge(0));
        assert_eq!(take(0, 0), Received::Acknowledge(CHUNK));
        assert_eq!(take(0, 0), Received::Acknowledge(CHUNK));
        assert_eq!(take(CHUNK, 1), Received::Acknowledge(2 * CHUNK));
        assert_eq!(take(2 * CHUNK, 2), Received::Acknowledge(3 * CHUNK));
        assert_eq!(
            take(0, 0),
            Received::Acknowledge(3 * CHUNK),
            "its acknowledgement was lost"
        );
    }
}
