//! What this engine published last as the status of each program. Each comes back to it; whoever finds
//! something else in its place, or nothing, publishes its own again: anybody who may say where programs are
//! can say so of a program that is here.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use wayfare_core::types::Input;
use wayfare_protocol::ids::{Digest, ProgramId};
use wayfare_protocol::status::ProgramStatus;

use super::agent::Agent;

#[derive(Debug, Default)]
pub(super) struct PublishedStatuses(BTreeMap<ProgramId, Digest>);

impl PublishedStatuses {
    fn is_last(&self, program: ProgramId, payload: &Bytes) -> bool {
        self.0.get(&program) == Some(&Digest::of(payload))
    }

    /// Forgets all others.
    pub(super) fn keep_only(&mut self, programs: &BTreeSet<ProgramId>) {
        self.0.retain(|program, _| programs.contains(program));
    }
}

impl Agent {
    pub(super) fn publish_status(&mut self, status: &ProgramStatus) {
        let place = self.trust.places.of(status.program, status.generation);
        let payload = self.out.program_status(status, place);
        self.statuses.0.insert(status.program, Digest::of(&payload));
    }

    /// Something came on the topic of a program's status, and is no other engine's claim that is believed.
    pub(super) fn status_heard(&mut self, program: ProgramId, payload: &Bytes) {
        // Before, all of them are about to be published.
        if self.fence.is_passed() {
            let stands = self.statuses.is_last(program, payload);
            self.feed(Input::StatusHeard { program, stands });
        }
    }
}
