//! A program's session, and how far it has come.

use std::collections::VecDeque;

use wayfare_mail::{Intake, Mail, Outgoing, ReceivedMessage};
use wayfare_protocol::ids::Generation;
use wayfare_protocol::stamp::Stamp;

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
    pub(super) in_flight: VecDeque<Outgoing>,
    pub(super) has_asked: bool,
    /// To be captured when the session is closed, or then at the latest.
    pub(super) closing: Option<(Job, u64)>,
    /// Written to the journal, and not known to be synced.
    pub(super) writing: Vec<ReceivedMessage>,
    /// Its journal could not be written: no session before then.
    pub(super) rests_until: u64,
    /// The connection that no later life had had when the engine asked: what comes on it is this copy's.
    pub(super) owned: Option<usize>,
}

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
            has_asked: false,
            closing: None,
            writing: Vec::new(),
            rests_until: 0,
            owned: None,
        }
    }

    /// Inputs that it took and that are not in the synced journal.
    pub(crate) fn not_in_journal(mut self) -> impl Iterator<Item = u64> {
        let all = self.writing.into_iter().chain(self.intake.take_unstored());
        all.map(|message| number_in(&message.payload))
    }

    pub(super) fn wire(&self) -> Option<usize> {
        match self.line {
            Line::Shut | Line::Lost => None,
            Line::Dialled(wire) | Line::Up(wire) | Line::HangingUp(wire) => Some(wire),
        }
    }
}
