//! The dispatcher that acts, as long as it lives, and what its successors find.

use std::collections::BTreeMap;

use wayfare_dispatcher_core::apps::Core;
use wayfare_fleet::fleet::Fleet;
use wayfare_protocol::command::Command;
use wayfare_protocol::ids::{EngineId, OperationId};

use crate::heard::state::{Retained, Word};
use crate::orders::state::Order;
use crate::wanted::state::Wanted;

#[derive(Debug, Clone)]
pub(crate) enum Acts {
    Hears(Box<Word>),
    Looks,
    Ticks,
    SaysAgain(OperationId),
    /// An order reaches its engine, whoever acts by then.
    Reaches(EngineId, Box<Command>),
    /// The question whether it is there reaches an engine.
    Asks(usize),
}

pub(crate) struct Process {
    pub(super) core: Core,
    pub(super) fleet: Fleet,
    /// The revision of the fleet that it has looked at.
    pub(super) looked: u64,
    pub(super) began: u64,
    pub(crate) orders: BTreeMap<OperationId, Order>,
    pub(super) will_look: bool,
    pub(super) is_reading: bool,
}

pub(crate) struct Acting {
    /// How many processes have acted.
    pub(crate) term: u64,
    pub(crate) up: Option<Process>,
    pub(super) records: BTreeMap<String, String>,
    pub(crate) retained: Retained,
    pub(crate) wanted: Wanted,
}

impl Acting {
    pub(crate) fn new(wanted: Wanted) -> Self {
        Self {
            term: 0,
            up: None,
            records: BTreeMap::new(),
            retained: Retained::default(),
            wanted,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up.is_some()
    }
}
