//! A call that is begun and not sent: the service that picks its provider is waited for.

use std::collections::BTreeSet;
use std::sync::Arc;

use wayfare_protocol::address::Address;
use wayfare_protocol::choice;
use wayfare_protocol::ids::ProgramId;

use crate::message::{Reader, bounded, count, put};
use crate::seen::WINDOW;

/// Of so many numbers below the newest that came, a receiver remembers each: half of a window, of which the
/// other half is above. Half of that is left for what the broker reorders.
pub(super) const PICKED_WITHIN: u64 = WINDOW / 4;

/// A call that is sent when its provider was picked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picking {
    /// The service that picks, which is waited for.
    pub(super) service: Address,
    /// Who may be picked, without those that were withdrawn since.
    pub(super) candidates: BTreeSet<ProgramId>,
    /// The call as it is sent.
    pub(super) payload: Arc<[u8]>,
    pub(super) is_idempotent: bool,
}

impl Picking {
    /// `is_shared`: its payload is that of one that was saved before.
    pub(super) fn save(&self, out: &mut Vec<u8>, is_shared: bool) {
        put(out, self.service.as_str().as_bytes());
        count(out, self.candidates.len());
        for program in &self.candidates {
            out.extend(program.to_bytes());
        }
        out.push(u8::from(self.is_idempotent));
        put(out, if is_shared { &[] } else { &self.payload });
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            service: from.text()?.parse().ok()?,
            candidates: (0..bounded(from, choice::ENGINES_MAX)?)
                .map(|_| from.array().map(ProgramId::from_bytes))
                .collect::<Option<_>>()?,
            is_idempotent: from.u8()? != 0,
            payload: from
                .bytes()
                .filter(|bytes| bytes.len() <= wayfare_protocol::limits::PAYLOAD_BYTES_MAX)?
                .into(),
        })
    }
}
