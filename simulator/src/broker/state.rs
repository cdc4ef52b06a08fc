//! What the broker keeps for sessions, the connections to it, and what is sent on them.

use std::collections::{BTreeMap, VecDeque};

use wayfare_mail::{Mail, Outgoing};
use wayfare_protocol::ids::ProgramId;

use crate::random::Random;
use crate::stored::state::mail;

pub(crate) struct Broker {
    pub(crate) random: Random,
    pub(crate) kept: BTreeMap<ProgramId, Kept>,
    /// All there ever were, by number.
    pub(super) wires: Vec<Wire>,
}

/// What the broker keeps for a program, and what the world around has of it.
pub(crate) struct Kept {
    pub(super) is_subscribed: bool,
    pub(super) waiting: VecDeque<u64>,
    pub(super) unacknowledged: VecDeque<u64>,
    pub(super) wire: Option<usize>,
    /// Inputs are numbered; so many were published.
    pub(crate) published: u64,
    /// What the program published, by its number: which input it was about.
    pub(crate) heard: BTreeMap<u64, u64>,
    /// Another program's, which is subscribed to that.
    pub(super) sink: Mail,
}

pub(super) struct Wire {
    pub(super) program: ProgramId,
    pub(super) engine: usize,
    pub(super) boot: u64,
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
    Connected,
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
            published: 0,
            heard: BTreeMap::new(),
            sink: mail(ProgramId::from_bytes([8; 16]), "elsewhere"),
        }
    }

    /// What it published is still known: it may be begun anew.
    pub(crate) fn forget_session(&mut self) {
        self.is_subscribed = false;
        self.wire = None;
        self.waiting.clear();
        self.unacknowledged.clear();
    }

    /// Whoever connects next is sent again what was not acknowledged.
    pub(super) fn give_back(&mut self) {
        self.wire = None;
        while let Some(number) = self.unacknowledged.pop_back() {
            self.waiting.push_front(number);
        }
    }
}
