//! A snapshot for a client: once captured, its blobs can be fetched for a while.

use wayfare_protocol::error::Failure;
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::{Blob, ClientId, Digest, OperationId, PeerName, ProgramId};
use wayfare_protocol::peer::PeerMessage;

use super::Core;
use super::timing::{SERVING_US, SERVINGS_MAX};
use super::transfer::Sender;
use super::types::{Effect, Now};

#[derive(Debug)]
pub(super) struct Serving {
    client: ClientId,
    blobs: Vec<Blob>,
    sender: Sender,
    until: Now,
}

impl Serving {
    pub(super) fn blobs(&self) -> &[Blob] {
        &self.blobs
    }

    pub(super) fn next_wakeup(&self) -> Now {
        self.sender
            .next_wakeup()
            .map_or(self.until, |at| at.min(self.until))
    }
}

impl Core {
    pub(super) fn snapshot_made(&mut self, operation: OperationId, program: ProgramId, snapshot: Blob) {
        let (Some(here), Some(open)) = (self.programs.get(&program), self.journal.open.get(&operation))
        else {
            return;
        };
        let outcome = Outcome::Captured {
            program,
            generation: here.generation,
            spec: here.spec.clone(),
            snapshot,
        };
        let serving = Serving {
            client: open.command.client.clone(),
            blobs: here.spec.blobs().chain([snapshot]).collect(),
            sender: Sender::new(self.now),
            until: self.now.plus(SERVING_US),
        };
        if self.servings.len() >= SERVINGS_MAX
            && let Some(oldest) = self
                .servings
                .iter()
                .min_by_key(|(_, s)| s.until)
                .map(|(id, _)| *id)
        {
            self.servings.remove(&oldest);
        }
        self.servings.insert(operation, serving);
        self.release_program(operation, program);
        self.finish(operation, Ok(outcome));
    }

    /// `Want` from a client. True if the operation is a snapshot's.
    pub(super) fn serving_wanted(
        &mut self,
        operation: OperationId,
        from: &PeerName,
        missing: &[Digest],
    ) -> bool {
        let Some(serving) = self.servings.get_mut(&operation) else {
            return self.refuse_late_download(operation, from);
        };
        if serving.client == *from {
            serving.until = self.now.plus(SERVING_US);
            for blob in &serving.blobs {
                if missing.contains(&blob.digest) {
                    serving.sender.add(*blob);
                }
            }
            self.pump_serving(operation);
        }
        true
    }

    /// Tells a client that waits for blobs which are not kept any more.
    fn refuse_late_download(&mut self, operation: OperationId, from: &PeerName) -> bool {
        let known = self
            .journal
            .finished_command(operation)
            .is_some_and(|command| command.client == *from && command.action.verb() == "snapshot");
        if known {
            let failure = Failure::Snapshot {
                reason: "it is not kept any more: make another".into(),
            };
            self.say(from, operation, PeerMessage::Refused { failure });
        }
        known
    }

    pub(super) fn serving_acknowledged(
        &mut self,
        operation: OperationId,
        from: &PeerName,
        (digest, received): (Digest, u64),
    ) {
        let now = self.now;
        let Some(serving) = self.servings.get_mut(&operation) else {
            return;
        };
        let blob = serving.blobs.iter().find(|b| b.digest == digest).copied();
        if serving.client == *from
            && let Some(blob) = blob
            && serving.sender.acknowledge(blob, received, now)
        {
            serving.until = now.plus(SERVING_US);
            self.pump_serving(operation);
        }
    }

    pub(super) fn serving_cancelled(&mut self, operation: OperationId, from: &PeerName) -> bool {
        let theirs = self
            .servings
            .get(&operation)
            .is_some_and(|serving| serving.client == *from);
        if theirs {
            self.servings.remove(&operation);
            self.blobs.stale = true;
        }
        theirs
    }

    fn pump_serving(&mut self, operation: OperationId) {
        let Some(serving) = self.servings.get_mut(&operation) else {
            return;
        };
        for segment in serving.sender.pump() {
            self.effects.push(Effect::SendChunk {
                to: serving.client.clone(),
                operation,
                blob: segment.blob,
                offset: segment.offset,
                bytes: segment.bytes,
            });
        }
    }

    pub(super) fn servings_due(&mut self) {
        let now = self.now;
        let before = self.servings.len();
        self.servings.retain(|_, serving| serving.until > now);
        self.blobs.stale |= self.servings.len() != before;
        let ids: Vec<OperationId> = self.servings.keys().copied().collect();
        for id in ids {
            if let Some(serving) = self.servings.get_mut(&id) {
                serving.sender.tick(now);
            }
            self.pump_serving(id);
        }
    }
}
