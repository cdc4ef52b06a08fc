//! What a broker has after a restart, and what it had written to its disk.

use std::collections::{BTreeMap, BTreeSet};

use wayfare_protocol::ids::{EngineId, Generation, ProgramId};

use crate::heard::state::Retained;

/// What a broker has after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Everything: it was stopped in good order, and publishes everybody's last will.
    Whole,
    /// What it had last written to its disk: it was killed.
    Older,
    /// Nothing: it has no disk.
    Nothing,
}

/// What a broker last wrote to its disk; nothing before it has written anything.
#[derive(Default)]
pub(crate) struct SavedByBroker {
    /// As engines hear it of their programs.
    pub(super) claims: BTreeMap<ProgramId, (EngineId, Generation)>,
    /// As the dispatcher does.
    pub(super) retained: Retained,
    pub(super) lease: Option<u64>,
    pub(super) sessions: BTreeMap<ProgramId, SavedSession>,
}

/// A program's session.
pub(crate) struct SavedSession {
    /// Inputs that were not acknowledged.
    pub(super) queued: BTreeSet<u64>,
    /// Inputs that were published by then.
    pub(super) published: u64,
}
