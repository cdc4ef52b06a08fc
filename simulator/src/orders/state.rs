//! An order that was not answered yet.

use wayfare_protocol::command::Command;
use wayfare_protocol::ids::EngineId;

pub(crate) struct Order {
    pub(super) engine: EngineId,
    pub(super) command: Command,
    pub(super) until: u64,
}
