//! A disk: how full it is, and what was lost with it.

use std::collections::BTreeSet;

use wayfare_protocol::ids::{BootId, OperationId};

use crate::random::Random;

#[derive(Default)]
pub(crate) struct Disk {
    pub(super) full_until: u64,
    /// Per mille of writes that fail meanwhile: records have room of their own, and blobs mostly have none.
    pub(super) records_fail: u64,
    pub(super) blobs_fail: u64,
    /// The engine's processes that have used it.
    pub(crate) boots: BTreeSet<BootId>,
    /// How often it was lost.
    pub(crate) wipes: u64,
    /// Operations that were on it when it was lost.
    pub(crate) forgotten: BTreeSet<OperationId>,
}

impl Disk {
    pub(crate) fn is_full(&self, now: u64) -> bool {
        now < self.full_until
    }

    pub(crate) fn refuses_record(&self, now: u64, random: &mut Random) -> bool {
        self.is_full(now) && random.per_mille(self.records_fail)
    }

    pub(crate) fn refuses_blob(&self, now: u64, random: &mut Random) -> bool {
        self.is_full(now) && random.per_mille(self.blobs_fail)
    }

    /// Whether what failed to be stored is there all the same.
    pub(crate) fn is_torn(&self, random: &mut Random) -> bool {
        random.per_mille(200)
    }

    pub(crate) fn has_room_again(&mut self) {
        self.full_until = 0;
    }
}
