//! What the broker has for the dispatcher, as words and as what it retains.

use std::collections::BTreeMap;

use wayfare_protocol::event::Event;
use wayfare_protocol::ids::{EngineId, ProgramId};
use wayfare_protocol::status::{EngineStatus, ProgramStatus};

/// What the broker has for the dispatcher.
#[derive(Debug, Clone)]
pub(crate) enum Word {
    Engine(EngineStatus),
    Program(ProgramStatus),
    Cleared(ProgramId),
    Answer(Event),
    /// Everything retained has come.
    AllRetained,
    /// Its own message to itself, sent at that time of its clock.
    Back(u64),
}

/// What the broker retains, and how far the dispatcher is behind with it.
#[derive(Default, Clone)]
pub(crate) struct Retained {
    pub(crate) engines: BTreeMap<EngineId, EngineStatus>,
    pub(crate) programs: BTreeMap<ProgramId, ProgramStatus>,
    /// When the last message that was sent to the dispatcher reaches it.
    pub(crate) last_at: u64,
}
