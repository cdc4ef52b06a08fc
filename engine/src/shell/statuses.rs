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
    /// Whether there was room for it in the outbox, which that of some thousands of programs fill.
    pub(super) fn publish(&mut self, status: &ProgramStatus, place: Option<&Place>, out: &Outbound) -> bool {
        let published = out.program_status(status, place);
        let digest = published.as_ref().map(|payload| Digest::of(payload));
        match digest {
            Some(digest) => self.0.insert(status.program, digest),
            None => self.0.remove(&status.program),
        };
        digest.is_some()
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

#[cfg(test)]
mod tests {
    use wayfare_link::LinkOptions;
    use wayfare_protocol::topics::Topics;

    use super::*;

    /// To a broker that is not there: nothing leaves the outbox.
    fn outbound() -> Outbound {
        let options = LinkOptions::new("mqtt://127.0.0.1:1".parse().unwrap(), "a");
        Outbound {
            link: wayfare_link::connect(options).unwrap().0,
            topics: Topics::default(),
            engine: "a".parse().unwrap(),
            is_connected: true,
            key: None,
            signs_statuses: false,
        }
    }

    #[tokio::test]
    async fn what_the_outbox_has_no_room_for_does_not_stand() {
        let (mut statuses, out) = (PublishedStatuses::default(), outbound());
        let status = |number: u16| {
            let mut id = [0; 16];
            id[..2].copy_from_slice(&number.to_be_bytes());
            ProgramStatus::tombstone(ProgramId::from_random(id), out.engine.clone())
        };
        let taken = (0..u16::MAX).take_while(|number| statuses.publish(&status(*number), None, &out));
        let taken = u16::try_from(taken.count()).unwrap();
        assert!(taken > 1_000, "{taken}");
        let stands = |statuses: &PublishedStatuses, number| statuses.0.contains_key(&status(number).program);
        assert!(stands(&statuses, taken - 1) && !stands(&statuses, taken));
    }
}
