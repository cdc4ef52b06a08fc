//! What the front end knows of its commands and of programs.

use std::collections::BTreeMap;

use wayfare_protocol::command::Command;
use wayfare_protocol::ids::{Blob, ClientId, EngineId, OperationId, ProgramId};

pub(crate) struct Client {
    pub(crate) name: ClientId,
    pub(crate) sent: Vec<(EngineId, Command)>,
    /// Where each program was last heard of.
    pub(super) known: BTreeMap<ProgramId, EngineId>,
    pub(super) downloads: BTreeMap<OperationId, BTreeMap<Blob, u64>>,
    /// Snapshots of programs that it could restore.
    pub(super) captured: Vec<(ProgramId, Blob)>,
    /// Begun anew.
    pub(super) lives: u64,
}

impl Client {
    pub(crate) fn new() -> Self {
        Self {
            name: "client".parse().expect("a good name"),
            sent: Vec::new(),
            known: BTreeMap::new(),
            downloads: BTreeMap::new(),
            captured: Vec::new(),
            lives: 0,
        }
    }

    pub(crate) fn programs(&self) -> Vec<ProgramId> {
        self.known.keys().copied().collect()
    }
}
