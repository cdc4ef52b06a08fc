//! An order that was not answered yet.

use wayfare_protocol::command::Command;
use wayfare_protocol::ids::EngineId;

pub(crate) struct Order {
    pub(super) engine: EngineId,
    pub(super) command: Command,
    pub(super) until: u64,
}

impl Order {
    /// As it is sent.
    pub(crate) fn to_send(&self) -> (EngineId, Command) {
        (self.engine.clone(), self.command.clone())
    }
}
