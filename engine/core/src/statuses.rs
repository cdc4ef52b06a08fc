//! What was published about the programs here: every change of state or generation at once, memory in use now
//! and then. What always holds: the statuses of all programs are published before the first status of the
//! engine on a connection; and where another has taken a status's place at the broker, or taken it away, it
//! is published again.

use std::collections::{BTreeMap, BTreeSet};

use wayfare_protocol::health::Health;
use wayfare_protocol::ids::{Generation, ProgramId};
use wayfare_protocol::status::ProgramState;

use super::timing::{MEMORY_STATUS_US, OVERWRITTEN_STATUS_US};
use super::types::Now;

/// What a program's status is published anew for: the last are its health, and why it is held.
pub(super) type Current = BTreeMap<ProgramId, (Generation, ProgramState, (Option<Health>, Option<String>))>;

#[derive(Debug, Default)]
pub(super) struct Statuses {
    sequence: u64,
    /// The highest number of before the connection.
    before: u64,
    published: Current,
    engine_due: bool,
    /// When memory in use is worth a status.
    memory_due: Option<Now>,
    /// Programs whose memory in use has changed since.
    memory_changed: BTreeSet<ProgramId>,
    /// Programs whose statuses are not what stands at the broker,
    overwritten: BTreeSet<ProgramId>,
    /// and when they are published again.
    overwritten_due: Option<Now>,
}

impl Statuses {
    /// The number of the status that was published last.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The numbers of what was published on this connection are higher.
    pub(super) fn before(&self) -> u64 {
        self.before
    }

    /// Numbers the engine's status, which is published now.
    pub(super) fn engine(&mut self) -> u64 {
        self.engine_due = false;
        self.next_sequence()
    }

    /// Which programs' statuses are published now, with their numbers; the engine's comes behind them.
    /// `None`: nothing has changed.
    pub(super) fn changes(&mut self, current: Current, now: Now) -> Option<Vec<(ProgramId, u64)>> {
        if self.memory_due.is_some_and(|due| due <= now) {
            self.republish_memory();
        }
        if current == self.published && !self.engine_due {
            return None;
        }
        let published = std::mem::replace(&mut self.published, current);
        let changed = self.published.iter();
        let changed: Vec<ProgramId> = changed
            .filter(|(id, state)| published.get(id) != Some(state))
            .map(|(id, _)| *id)
            .collect();
        Some(changed.into_iter().map(|id| (id, self.next_sequence())).collect())
    }

    /// A program's memory in use is not what was published.
    pub(super) fn memory_changed(&mut self, program: ProgramId, now: Now) {
        self.memory_changed.insert(program);
        self.memory_due.get_or_insert(now.plus(MEMORY_STATUS_US));
    }

    pub(super) fn republish(&mut self, program: ProgramId) {
        self.published.remove(&program);
    }

    /// Something else stands at the broker in the place of the program's status. What was published before is
    /// still on its way back for a moment.
    pub(super) fn overwritten(&mut self, program: ProgramId, now: Now) {
        self.overwritten.insert(program);
        self.overwritten_due
            .get_or_insert(now.plus(OVERWRITTEN_STATUS_US));
    }

    /// What was published last of the program stands at the broker.
    pub(super) fn stands(&mut self, program: ProgramId) {
        self.overwritten.remove(&program);
        if self.overwritten.is_empty() {
            self.overwritten_due = None;
        }
    }

    /// Programs whose statuses are to be published again now, because others have overwritten them.
    pub(super) fn take_overwritten(&mut self, now: Now) -> BTreeSet<ProgramId> {
        match self.overwritten_due.take_if(|due| *due <= now) {
            Some(_) => std::mem::take(&mut self.overwritten),
            None => BTreeSet::new(),
        }
    }

    /// On a new connection: nobody knows what was published before.
    pub(super) fn republish_all(&mut self) {
        // Of its own, so that who hears of a program otherwise has a number for that.
        self.before = self.next_sequence();
        self.published.clear();
        self.engine_due = true;
        self.memory_due = None;
        self.memory_changed.clear();
        self.overwritten_due = None;
        self.overwritten.clear();
    }

    pub(super) fn next_wakeup(&self) -> Option<Now> {
        self.memory_due.into_iter().chain(self.overwritten_due).min()
    }

    fn republish_memory(&mut self) {
        for program in std::mem::take(&mut self.memory_changed) {
            self.republish(program);
        }
        self.engine_due = true;
        self.memory_due = None;
    }

    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }
}
