//! A snapshot for a client: what it asks for, and what it is told.

use wayfare_protocol::error::Failure;
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::{Blob, Digest, OperationId, PeerName, ProgramId};
use wayfare_protocol::peer::PeerMessage;

use super::Core;

impl Core {
    pub(super) fn snapshot_made(&mut self, operation: OperationId, program: ProgramId, snapshot: Blob) {
        let (Some(here), Some(command)) = (self.programs.get(&program), self.journal.command(operation))
        else {
            return;
        };
        let outcome = Outcome::Captured {
            program,
            generation: here.generation,
            spec: here.spec.clone(),
            snapshot,
        };
        let client = command.client.clone();
        let blobs = here.spec.blobs().chain([snapshot]).collect();
        self.servings.open(operation, client, blobs, self.now);
        self.release_program(operation, program);
        self.finish(operation, Ok(outcome));
    }

    /// `Want` from a client. True if the operation is a snapshot's.
    pub(super) fn download_wanted(
        &mut self,
        operation: OperationId,
        from: &PeerName,
        missing: &[Digest],
    ) -> bool {
        match self.servings.wanted(operation, from, missing, self.now) {
            Some(effects) => {
                self.effects.extend(effects);
                true
            }
            None => self.refuse_late_download(operation, from),
        }
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

    pub(super) fn download_cancelled(&mut self, operation: OperationId, from: &PeerName) -> bool {
        let theirs = self.servings.cancelled(operation, from);
        self.blobs.stale |= theirs;
        theirs
    }

    pub(super) fn downloads_due(&mut self) {
        self.blobs.stale |= self.servings.expire(self.now);
        self.effects.extend(self.servings.resend(self.now));
    }
}
