//! Snapshots as they are in memory, for a short while: what was just captured is what the next capture is
//! relative to, and what just arrived is what a program is about to start from. Decoding again would cost as
//! much as the rest of a move.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wayfare_protocol::ids::Digest;
use wayfare_protocol::snapshot::{PAGE_BYTES, Snapshot};

const IDLE: Duration = Duration::from_secs(30);
/// All together; the longest unused go first.
const BYTES_MAX: usize = 128 << 20;

#[derive(Default)]
pub(crate) struct Snapshots {
    by_digest: BTreeMap<Digest, (Arc<Snapshot>, Instant)>,
}

impl Snapshots {
    pub(crate) fn keep(&mut self, digest: Digest, snapshot: Arc<Snapshot>) {
        self.by_digest.insert(digest, (snapshot, Instant::now()));
        while self
            .by_digest
            .values()
            .map(|(snapshot, _)| bytes(snapshot))
            .sum::<usize>()
            > BYTES_MAX
        {
            let oldest = self.by_digest.iter().min_by_key(|(_, (_, used))| *used);
            let Some(oldest) = oldest.map(|(digest, _)| *digest) else {
                return;
            };
            self.by_digest.remove(&oldest);
        }
    }

    pub(crate) fn get(&mut self, digest: Digest) -> Option<Arc<Snapshot>> {
        let (snapshot, used) = self.by_digest.get_mut(&digest)?;
        *used = Instant::now();
        Some(Arc::clone(snapshot))
    }

    pub(crate) fn take(&mut self, digest: Digest) -> Option<Arc<Snapshot>> {
        self.by_digest.remove(&digest).map(|(snapshot, _)| snapshot)
    }

    pub(crate) fn sweep(&mut self, now: Instant) {
        self.by_digest
            .retain(|_, (_, used)| now.saturating_duration_since(*used) < IDLE);
    }
}

fn bytes(snapshot: &Snapshot) -> usize {
    let pages: usize = snapshot.memories.iter().map(|memory| memory.pages.len()).sum();
    pages * PAGE_BYTES + snapshot.frames.len()
}
