//! What the broker keeps for sessions, the connections to it, and what is sent on them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wayfare_mail::{Mail, Outgoing};
use wayfare_protocol::ids::{Generation, ProgramId};

use crate::random::Random;
use crate::restarts::state::SavedByBroker;
use crate::stored::state::mail;

pub(crate) struct Broker {
    pub(crate) random: Random,
    pub(crate) kept: BTreeMap<ProgramId, Kept>,
    /// All there ever were, by number.
    pub(crate) wires: Vec<Wire>,
    /// It is not there before then.
    pub(crate) down_until: u64,
    /// What it has on its disk.
    pub(crate) saved: SavedByBroker,
    /// It has forgotten what it retained: two lives of a program may run until one hears of the other.
    pub(crate) has_forgotten: bool,
}

/// What the broker keeps for a program, and what the world around has of it.
pub(crate) struct Kept {
    pub(crate) is_subscribed: bool,
    pub(crate) waiting: VecDeque<u64>,
    pub(crate) unacknowledged: VecDeque<u64>,
    pub(super) wire: Option<usize>,
    /// Inputs that went with the broker's memory, or with a session that was ended.
    pub(crate) lost: BTreeSet<u64>,
    /// The broker has restarted without what it had of the session, or with an older state: what it sends
    /// again may be in another order.
    pub(crate) is_set_back: bool,
    /// Inputs that the program was handed, and that were in no synced journal when it was cut short.
    pub(crate) unstored: BTreeSet<u64>,
    /// The highest generation that has acknowledged anything.
    pub(crate) newest: Generation,
    /// Inputs are numbered; so many were published.
    pub(crate) published: u64,
    /// What the program published, by its number: which input it was about.
    pub(crate) heard: BTreeMap<u64, u64>,
    /// Another program's, which is subscribed to that.
    pub(super) sink: Mail,
}

pub(crate) struct Wire {
    pub(super) program: ProgramId,
    pub(super) engine: usize,
    pub(super) boot: u64,
    /// Of the copy that has it.
    pub(super) generation: Generation,
    pub(super) is_up: bool,
    /// When the last word arrives, there and back.
    pub(super) last_said: u64,
    pub(super) last_told: u64,
}

/// To the broker.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    Connect,
    Subscribe,
    Acknowledge(u64),
    Publish(Outgoing),
    Disconnect,
}

/// To the session.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    /// Whether the broker knew the session.
    Connected {
        is_known: bool,
    },
    Granted,
    Input(u64),
    Published(u64),
    Closed,
}

impl Broker {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(!seed),
            kept: BTreeMap::new(),
            wires: Vec::new(),
            down_until: 0,
            saved: SavedByBroker::default(),
            has_forgotten: false,
        }
    }
}

impl Kept {
    pub(super) fn new() -> Self {
        Self {
            is_subscribed: false,
            waiting: VecDeque::new(),
            unacknowledged: VecDeque::new(),
            wire: None,
            lost: BTreeSet::new(),
            unstored: BTreeSet::new(),
            is_set_back: false,
            newest: Generation(0),
            published: 0,
            heard: BTreeMap::new(),
            sink: mail(ProgramId::from_bytes([8; 16]), "elsewhere"),
        }
    }

    /// Nobody has this input in its place any more, though a program has published what it was about: its
    /// engine lost it before the journal was synced, 100 ms at most, and the broker, which was to send it
    /// again next, has lost it as well, or what it knew of the order.
    pub(super) fn is_nowhere(&self, input: u64) -> bool {
        self.unstored.contains(&input) && (self.is_set_back || self.lost.contains(&input))
    }

    /// What it published is still known: it may be begun anew.
    pub(crate) fn forget_session(&mut self) {
        self.is_subscribed = false;
        self.wire = None;
        self.lost.extend(self.waiting.drain(..));
        self.lost.extend(self.unacknowledged.drain(..));
    }

    /// Inputs that were not acknowledged.
    pub(crate) fn queued(&self) -> impl Iterator<Item = u64> + '_ {
        self.unacknowledged.iter().chain(&self.waiting).copied()
    }

    /// Whoever connects next is sent again what was not acknowledged.
    pub(crate) fn give_back(&mut self) {
        self.wire = None;
        while let Some(number) = self.unacknowledged.pop_back() {
            self.waiting.push_front(number);
        }
    }
}
