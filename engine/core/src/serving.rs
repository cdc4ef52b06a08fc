//! Snapshots that are served to clients: once captured, their blobs can be fetched for a while.

use std::collections::BTreeMap;

use wayfare_protocol::ids::{Blob, ClientId, Digest, OperationId, PeerName};

use super::timing::{SERVING_US, SERVINGS_MAX};
use super::transfer::Sender;
use super::types::{Effect, Now};

/// All of them, by the operations that asked for them.
#[derive(Debug, Default)]
pub(super) struct Servings {
    each: BTreeMap<OperationId, Serving>,
}

#[derive(Debug)]
struct Serving {
    client: ClientId,
    blobs: Vec<Blob>,
    sender: Sender,
    until: Now,
}

impl Servings {
    /// Serves `blobs` from now on. Where there are too many, the one that ends first makes room.
    pub(super) fn open(&mut self, operation: OperationId, client: ClientId, blobs: Vec<Blob>, now: Now) {
        let serving = Serving {
            client,
            blobs,
            sender: Sender::new(now),
            until: now.plus(SERVING_US),
        };
        if self.each.len() >= SERVINGS_MAX
            && let Some(oldest) = self.each.iter().min_by_key(|(_, s)| s.until).map(|(id, _)| *id)
        {
            self.each.remove(&oldest);
        }
        self.each.insert(operation, serving);
    }

    /// Sends what a client lacks; `None` if nothing is served under this operation.
    pub(super) fn wanted(
        &mut self,
        operation: OperationId,
        from: &PeerName,
        missing: &[Digest],
        now: Now,
    ) -> Option<Vec<Effect>> {
        let serving = self.each.get_mut(&operation)?;
        if serving.client != *from {
            return Some(Vec::new());
        }
        serving.until = now.plus(SERVING_US);
        for blob in &serving.blobs {
            if missing.contains(&blob.digest) {
                serving.sender.add(*blob);
            }
        }
        Some(serving.pump(operation))
    }

    pub(super) fn acknowledged(
        &mut self,
        operation: OperationId,
        from: &PeerName,
        (digest, received): (Digest, u64),
        now: Now,
    ) -> Vec<Effect> {
        let Some(serving) = self.each.get_mut(&operation) else {
            return Vec::new();
        };
        let blob = serving.blobs.iter().find(|b| b.digest == digest).copied();
        if serving.client == *from
            && let Some(blob) = blob
            && serving.sender.acknowledge(blob, received, now)
        {
            serving.until = now.plus(SERVING_US);
            return serving.pump(operation);
        }
        Vec::new()
    }

    /// Ends one whose client has all of it. True if it is theirs.
    pub(super) fn cancelled(&mut self, operation: OperationId, from: &PeerName) -> bool {
        let theirs = self.each.get(&operation).is_some_and(|s| s.client == *from);
        if theirs {
            self.each.remove(&operation);
        }
        theirs
    }

    /// Ends those that nobody asked about for long. True if there were any.
    pub(super) fn expire(&mut self, now: Now) -> bool {
        let before = self.each.len();
        self.each.retain(|_, serving| serving.until > now);
        self.each.len() != before
    }

    /// Sends again what was not acknowledged.
    pub(super) fn resend(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (operation, serving) in &mut self.each {
            serving.sender.tick(now);
            effects.extend(serving.pump(*operation));
        }
        effects
    }

    pub(super) fn blobs(&self) -> impl Iterator<Item = Blob> + '_ {
        self.each
            .values()
            .flat_map(|serving| serving.blobs.iter().copied())
    }

    pub(super) fn next_wakeup(&self) -> Option<Now> {
        let wakeup = |s: &Serving| s.sender.next_wakeup().map_or(s.until, |at| at.min(s.until));
        self.each.values().map(wakeup).min()
    }
}

impl Serving {
    fn pump(&mut self, operation: OperationId) -> Vec<Effect> {
        let segments = self.sender.pump().into_iter();
        segments
            .map(|segment| Effect::SendChunk {
                to: self.client.clone(),
                operation,
                blob: segment.blob,
                offset: segment.offset,
                bytes: segment.bytes,
            })
            .collect()
    }
}
