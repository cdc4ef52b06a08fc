//! What a program has begun and not seen the end of: calls, and messages whose delivery it waits for.
//!
//! ```text
//!            answered | the provider is withdrawn | it does not know the call | cancelled, superseded
//!   waiting ---------------------------------------------------------------------------------------> ended --> handed over
//!                                 the deadline, by the program's clock
//! ```
//! Always: an end does not change any more, and stays until it is handed over. What joins another call has a
//! number of its own, and is sent as the other one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use wayfare_protocol::address::Address;
use wayfare_protocol::call::{FailureKind, Outcome};
use wayfare_protocol::ids::ProgramId;

use super::picking::{PICKED_WITHIN, Picking};
use crate::message::ReceivedMessage;

/// Progress of one call that was not handed over; of more, the newest is kept.
pub(super) const PROGRESS_MAX: usize = 64;
/// Bytes of it; the newest is kept whatever it has.
const PROGRESS_BYTES_MAX: usize = 64 << 10;
/// How much of a message's receivers a failure lists.
const LISTED_MAX: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Open {
    pub(super) address: Address,
    pub(super) what: What,
    /// The number that it has on the wire: that of the call that it joined, or its own.
    pub(super) sent_as: u64,
    /// By the program's clock.
    pub(super) until_ns: u64,
    pub(super) keys: Keys,
    pub(super) wants_progress: bool,
    pub(super) progress: VecDeque<Vec<u8>>,
    /// As it was sent, if it may be sent again. What has joined it has the same.
    pub(super) again: Option<Arc<[u8]>>,
    /// Whoever has it may have forgotten it: it is to be asked.
    pub(super) in_doubt: bool,
    /// The program has cancelled it, whether it had an end or not.
    pub(super) is_cancelled: bool,
    /// Its end is the answer to this call of somebody else's, which was handed on.
    pub(super) relay: Option<Relay>,
    /// It is not sent yet: the service that picks its provider is waited for.
    pub(super) picking: Option<Picking>,
    /// When it was begun, by the wall clock; 0: not known. In no snapshot.
    pub(super) since_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Call { provider: ProgramId, state: State },
    Message { copies: BTreeMap<ProgramId, Delivery> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Waiting,
    Answered(ReceivedMessage),
    /// The provider cannot be called any more.
    Withdrawn,
    /// The provider was set back to before it received the call.
    Forgotten,
    Cancelled,
    /// Cancelled by a later call of the same key.
    Superseded,
    /// The service that was to pick a provider has named none.
    Unpicked,
    /// It has named one when so much was sent since that the call would be taken for a repeat there.
    PickedLate,
}

/// What became of one receiver's copy of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    Waiting = 0,
    Delivered = 1,
    Expired = 2,
    Ended = 3,
    Forgotten = 4,
}

/// What a call has in common with other calls of the program's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Keys {
    pub(super) function: String,
    pub(super) coalesce: Option<String>,
    pub(super) supersede: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relay {
    /// The number that is kept for the answer.
    pub(super) number: u64,
    pub(super) answers: u64,
    pub(super) reply_to: String,
}

impl Delivery {
    pub(super) fn of_byte(byte: u8) -> Option<Self> {
        let all = [
            Self::Waiting,
            Self::Delivered,
            Self::Expired,
            Self::Ended,
            Self::Forgotten,
        ];
        all.into_iter().find(|one| *one as u8 == byte)
    }

    fn failure(self) -> Option<(FailureKind, &'static str)> {
        match self {
            Self::Delivered => None,
            Self::Waiting => Some((FailureKind::Expired, "has not taken it in time")),
            Self::Expired => Some((FailureKind::Expired, "was reached too late")),
            Self::Ended => Some((FailureKind::Ended, "has ended")),
            Self::Forgotten => Some((FailureKind::Unavailable, "was set back to before it came")),
        }
    }
}

impl Open {
    pub(super) fn call(address: Address, provider: ProgramId, sent_as: u64, until_ns: u64) -> Self {
        let state = State::Waiting;
        let what = What::Call { provider, state };
        Self::new(address, what, sent_as, until_ns)
    }

    pub(super) fn message(
        address: Address,
        to: impl IntoIterator<Item = ProgramId>,
        sent_as: u64,
        until_ns: u64,
    ) -> Self {
        let copies = to.into_iter().map(|program| (program, Delivery::Waiting));
        let copies = copies.collect();
        Self::new(address, What::Message { copies }, sent_as, until_ns)
    }

    fn new(address: Address, what: What, sent_as: u64, until_ns: u64) -> Self {
        Self {
            address,
            what,
            sent_as,
            until_ns,
            keys: Keys::default(),
            wants_progress: false,
            progress: VecDeque::new(),
            again: None,
            in_doubt: false,
            is_cancelled: false,
            relay: None,
            picking: None,
            since_ms: 0,
        }
    }

    /// Whose word is waited for: the address, or the service that picks one there.
    pub(super) fn called(&self) -> &Address {
        self.picking
            .as_ref()
            .map_or(&self.address, |picking| &picking.service)
    }

    /// Nothing is there that a snapshot of earlier releases has no room for.
    pub(super) fn is_plain(&self, number: u64) -> bool {
        let is_old = |state: &State| matches!(state, State::Waiting | State::Answered(_) | State::Withdrawn);
        matches!(&self.what, What::Call { state, .. } if is_old(state))
            && self.sent_as == number
            && self.progress.is_empty()
            && self.keys.coalesce.is_none()
            && self.keys.supersede.is_none()
            && !self.wants_progress
            && self.again.is_none()
            && !self.in_doubt
            && !self.is_cancelled
            && self.relay.is_none()
            && self.picking.is_none()
    }

    pub(super) fn outcome(&self, now_ns: u64) -> Option<Outcome> {
        match &self.what {
            What::Call { provider, state } => self.call_outcome(*provider, state, now_ns),
            What::Message { copies } => self.message_outcome(copies, now_ns),
        }
    }

    fn call_outcome(&self, provider: ProgramId, state: &State, now_ns: u64) -> Option<Outcome> {
        let (kind, how) = match state {
            State::Answered(message) => return Some(Outcome::decode(&message.payload)),
            State::Waiting if self.until_ns > now_ns => return None,
            State::Waiting => (FailureKind::DeadlineExceeded, "has not answered in time"),
            State::Withdrawn => (FailureKind::Unavailable, "is gone"),
            State::Forgotten => (
                FailureKind::Unavailable,
                "was set back to before the call came, which it may have done or not",
            ),
            State::Cancelled => (FailureKind::Cancelled, "may have done it or not"),
            State::Superseded => (
                FailureKind::Cancelled,
                "may have done it or not: a later call took its place",
            ),
            State::Unpicked => {
                let why = format!("program {provider} picks none that can be called there");
                return Some(Outcome::Failed(FailureKind::NotFound, why));
            }
            State::PickedLate => {
                let why = format!(
                    "the call was not made: program {provider} has picked who is called after {PICKED_WITHIN} more \
                     messages and calls of the caller; make it again"
                );
                return Some(Outcome::Failed(FailureKind::Unavailable, why));
            }
        };
        Some(Outcome::Failed(
            kind,
            format!("its provider, program {provider}, {how}"),
        ))
    }

    fn message_outcome(&self, copies: &BTreeMap<ProgramId, Delivery>, now_ns: u64) -> Option<Outcome> {
        if self.until_ns > now_ns && copies.values().any(|one| *one == Delivery::Waiting) {
            return None;
        }
        let failed: Vec<_> = copies
            .iter()
            .filter_map(|(program, one)| Some((program, one.failure()?)))
            .collect();
        let Some((_, (kind, _))) = failed.first() else {
            return Some(Outcome::Done(
                format!("{{\"delivered\":{}}}", copies.len()).into_bytes(),
            ));
        };
        let listed = failed.iter().take(LISTED_MAX);
        let mut text: Vec<String> = listed
            .map(|(program, (_, how))| format!("program {program} {how}"))
            .collect();
        if failed.len() > LISTED_MAX {
            text.push(format!("{} more", failed.len() - LISTED_MAX));
        }
        let (failed, all) = (failed.len(), copies.len());
        let text = format!("{failed} of {all} not delivered: {}", text.join(", "));
        Some(Outcome::Failed(*kind, text))
    }

    /// The result of a call that was answered with one.
    pub(super) fn answer(&self) -> Option<Vec<u8>> {
        match &self.what {
            What::Call {
                state: State::Answered(message),
                ..
            } => match Outcome::decode(&message.payload) {
                Outcome::Done(result) => Some(result),
                Outcome::Failed(..) => None,
            },
            _ => None,
        }
    }

    /// What a call waits for, and whose word that is if it is another's now. One that was cancelled stays so.
    pub(super) fn set_call(&mut self, now: State, by: Option<ProgramId>) {
        if let What::Call { provider, state } = &mut self.what
            && !self.is_cancelled
        {
            *provider = by.unwrap_or(*provider);
            *state = now;
        }
    }

    /// A call that has no end but may get one.
    pub(super) fn is_waiting(&self) -> bool {
        match &self.what {
            What::Call { state, .. } => *state == State::Waiting,
            What::Message { copies } => copies.values().any(|one| *one == Delivery::Waiting),
        }
    }

    pub(super) fn receivers(&self) -> Vec<ProgramId> {
        match &self.what {
            What::Call { provider, .. } => vec![*provider],
            What::Message { copies } => copies.keys().copied().collect(),
        }
    }

    /// Whether this program's word is waited for.
    pub(super) fn waits_for(&self, program: ProgramId) -> bool {
        match &self.what {
            What::Call { provider, state } => *provider == program && *state == State::Waiting,
            What::Message { copies } => copies.get(&program) == Some(&Delivery::Waiting),
        }
    }

    /// It ends so, if this program's word is waited for.
    pub(super) fn end(&mut self, program: ProgramId, as_call: State, as_message: Delivery) {
        match &mut self.what {
            What::Call { provider, state } if *provider == program && *state == State::Waiting => {
                *state = as_call
            }
            What::Message { copies } => {
                if let Some(one @ Delivery::Waiting) = copies.get_mut(&program) {
                    *one = as_message;
                }
            }
            What::Call { .. } => {}
        }
    }

    /// The program does not wait for it any longer.
    pub(super) fn cancel(&mut self, how: State) {
        self.is_cancelled = true;
        if let What::Call {
            state: state @ State::Waiting,
            ..
        } = &mut self.what
        {
            *state = how;
        }
    }

    pub(super) fn put_progress(&mut self, payload: &[u8]) {
        self.progress.push_back(payload.to_vec());
        let mut bytes: usize = self.progress.iter().map(Vec::len).sum();
        while self.progress.len() > PROGRESS_MAX || self.progress.len() > 1 && bytes > PROGRESS_BYTES_MAX {
            bytes -= self.progress.pop_front().map_or(0, |oldest| oldest.len());
        }
    }
}
