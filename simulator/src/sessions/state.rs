//! A program's session, and how far it has come.

use std::collections::VecDeque;

use wayfare_mail::{Intake, Mail, Outgoing, ReceivedMessage, Ways};
use wayfare_protocol::ids::Generation;
use wayfare_protocol::stamp::Stamp;

use crate::neighbours::state::{Chat, Flight};
use crate::processes::job::Job;

/// A program that talks.
pub(crate) struct Talk {
    pub(crate) mail: Mail,
    /// The number of the input that it waits for: all of its own state.
    pub(crate) expects: u64,
    pub(super) generation: Generation,
    pub(super) intake: Intake<u64, Token>,
    pub(crate) line: Line,
    /// How often.
    pub(super) opened: u64,
    pub(super) may_open: bool,
    /// Came on this connection and not looked at.
    pub(super) unread: VecDeque<u64>,
    pub(crate) in_flight: VecDeque<Flight>,
    /// Which way what it sends takes.
    pub(crate) ways: Ways,
    /// Something is sent when neighbours have synced what they were given.
    pub(crate) waits_for_neighbours: bool,
    /// What programs ask of each other: of its own state, too.
    pub(crate) chat: Chat,
    pub(super) has_asked: bool,
    /// To be captured when the session is closed, or then at the latest.
    pub(crate) closing: Option<(Job, u64)>,
    /// Written to the journal, and not known to be synced.
    pub(super) writing: Vec<ReceivedMessage>,
    /// A neighbour waits for the next sync.
    pub(super) is_awaited: bool,
    /// The sync that is under way has all messages below this.
    pub(super) syncing_below: u64,
    /// The journal, synced, or the snapshot that it goes on from has them.
    pub(crate) synced_below: u64,
    /// Its journal could not be written: no session before then.
    pub(super) rests_until: u64,
    /// The connection that no later life had had when the engine asked: what comes on it is this copy's.
    pub(crate) owned: Option<usize>,
}

/// Sent through the broker and not acknowledged.
const IN_FLIGHT_MAX: usize = 8;

/// Which connection an input came on.
pub(super) type Token = (usize, u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// No session.
    Shut,
    /// To be connected again.
    Lost,
    Dialled(usize),
    Up(usize),
    HangingUp(usize),
}

pub(crate) fn number_in(payload: &[u8]) -> u64 {
    let (_, payload) = Stamp::take_off(payload);
    let text = std::str::from_utf8(payload).expect("a number");
    text.parse().expect("a number")
}

impl Talk {
    pub(crate) fn new(mail: Mail, expects: u64, generation: Generation) -> Self {
        Self {
            mail,
            expects,
            generation,
            intake: Intake::default(),
            line: Line::Shut,
            opened: 0,
            may_open: false,
            unread: VecDeque::new(),
            in_flight: VecDeque::new(),
            ways: Ways::default(),
            waits_for_neighbours: false,
            chat: Chat::default(),
            has_asked: false,
            closing: None,
            writing: Vec::new(),
            is_awaited: false,
            syncing_below: 0,
            synced_below: 0,
            rests_until: 0,
            owned: None,
        }
    }

    /// Inputs that it took and that are not in the synced journal.
    pub(crate) fn not_in_journal(mut self) -> impl Iterator<Item = u64> {
        let all = self.writing.into_iter().chain(self.intake.take_unstored());
        // What programs ask of each other is no input.
        all.filter(|message| message.topic == "in")
            .map(|message| number_in(&message.payload))
    }

    pub(super) fn next_to_send(&mut self) -> Option<Outgoing> {
        let by_broker = self
            .in_flight
            .iter()
            .filter(|one| matches!(one, Flight::Broker { .. }));
        if by_broker.count() >= IN_FLIGHT_MAX || self.waits_for_neighbours {
            return None;
        }
        self.mail.next_to_send()
    }

    /// How often its session was opened.
    pub(crate) fn opened(&self) -> u64 {
        self.opened
    }

    pub(crate) fn wire(&self) -> Option<usize> {
        match self.line {
            Line::Shut | Line::Lost => None,
            Line::Dialled(wire) | Line::Up(wire) | Line::HangingUp(wire) => Some(wire),
        }
    }
}
