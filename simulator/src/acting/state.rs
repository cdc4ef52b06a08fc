//! The dispatcher that acts, as long as it lives, and what its successors find.

use std::collections::{BTreeMap, BTreeSet};

use wayfare_dispatcher_core::apps::{Core, Input, Now};
use wayfare_fleet::fleet::Fleet;
use wayfare_protocol::command::Command;
use wayfare_protocol::ids::{EngineId, OperationId, ProgramId};

use crate::heard::state::{Retained, Word};
use crate::orders::state::Order;
use crate::takeovers::state::Terms;
use crate::time::MS;
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
    /// Which of all that there were.
    pub(crate) number: u64,
    pub(crate) term: u64,
    pub(crate) core: Core,
    pub(super) fleet: Fleet,
    /// The revision of the fleet that it has looked at.
    pub(crate) looked: u64,
    pub(super) began: u64,
    pub(crate) orders: BTreeMap<OperationId, Order>,
    pub(super) will_look: bool,
    pub(super) is_reading: bool,
    /// Something could not be stored: nothing is decided.
    pub(crate) is_failing: bool,
    /// Answers that came meanwhile.
    pub(crate) waiting: Vec<Input>,
}

pub(crate) struct Acting {
    /// How many processes have acted.
    pub(crate) processes: u64,
    pub(crate) up: Option<Process>,
    /// One that was succeeded and has not noticed,
    pub(crate) former: Option<Process>,
    /// which it will by then.
    pub(crate) former_until: u64,
    pub(crate) terms: Terms,
    /// The term of the lease that the broker retains.
    pub(crate) lease: Option<u64>,
    pub(crate) records: BTreeMap<String, String>,
    /// The disk with the records has no room until then.
    pub(crate) store_full_until: u64,
    /// Programs of a store that was lost: nobody ends them.
    pub(crate) nobodys: BTreeSet<ProgramId>,
    pub(crate) retained: Retained,
    pub(crate) wanted: Wanted,
}

impl Process {
    /// Time as its core is told it.
    pub(crate) fn now(&self, now: u64) -> Now {
        Now {
            ms: (now - self.began) / MS,
            wall_ms: now / MS,
        }
    }
}

impl Acting {
    pub(crate) fn new(wanted: Wanted) -> Self {
        Self {
            processes: 0,
            up: None,
            former: None,
            former_until: 0,
            terms: Terms::default(),
            lease: None,
            records: BTreeMap::new(),
            store_full_until: 0,
            nobodys: BTreeSet::new(),
            retained: Retained::default(),
            wanted,
        }
    }

    /// Somebody acts, and can decide.
    pub(crate) fn is_up(&self) -> bool {
        self.up.as_ref().is_some_and(|up| !up.is_failing)
    }
}
