//! What this engine published last as the status of each program. Each comes back to it; whoever finds
//! something else in its place, or nothing, publishes its own again: anybody who may say where programs are
//! can say so of a program that is here.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use wayfare_protocol::ids::{Digest, ProgramId};
use wayfare_protocol::status::ProgramStatus;
use wayfare_protocol::trust::place::Place;

use super::outbound::Outbound;

#[derive(Debug, Default)]
pub(super) struct PublishedStatuses(BTreeMap<ProgramId, Digest>);

impl PublishedStatuses {
    pub(super) fn publish(&mut self, status: &ProgramStatus, place: Option<&Place>, out: &Outbound) {
        let payload = out.program_status(status, place);
        self.0.insert(status.program, Digest::of(&payload));
    }

    /// Whether this is what was published last.
    pub(super) fn stands(&self, program: ProgramId, payload: &Bytes) -> bool {
        self.0.get(&program) == Some(&Digest::of(payload))
    }

    /// Forgets all others.
    pub(super) fn keep_only(&mut self, programs: &BTreeSet<ProgramId>) {
        self.0.retain(|program, _| programs.contains(program));
    }
}
