//! What programs have asked of each other, and been asked.

use std::collections::{BTreeMap, VecDeque};

use wayfare_mail::Outgoing;
use wayfare_protocol::ids::ProgramId;

/// A part of a program's own state: it is in snapshots.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chat {
    /// The partner was called about all inputs below this.
    pub(super) asked_below: u64,
    /// Calls that have no answer: by number, and which input each is about.
    pub(super) open: BTreeMap<u64, u64>,
    /// Calls that were taken and are to be answered: by whom, which, and what it is about.
    pub(super) owed: VecDeque<(String, u64, u64)>,
    /// Which input the first and the next call of each caller are about.
    pub(super) next_of: BTreeMap<ProgramId, (u64, u64)>,
}

/// What is on its way, in the order in which it was sent.
#[derive(Debug, Clone)]
pub(crate) enum Flight {
    Broker {
        outgoing: Outgoing,
        is_acknowledged: bool,
    },
    /// In a neighbour's inbox: on which of its connections, and what it has to sync.
    Given {
        outgoing: Outgoing,
        to: ProgramId,
        below: u64,
        session: OpenSession,
    },
}

/// One connection of a session of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenSession {
    pub(crate) instance: u64,
    pub(crate) opened: u64,
}

impl Flight {
    pub(crate) fn outgoing(&self) -> &Outgoing {
        match self {
            Self::Broker { outgoing, .. } | Self::Given { outgoing, .. } => outgoing,
        }
    }
}
