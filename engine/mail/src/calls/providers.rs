//! Who can be called, as far as it was announced, and what becomes of open calls when that changes.
//!
//! ```text
//!             announced                       gone: it has ended, or its engine is lost
//!   unknown ------------> there --------------------------------------------------------> gone
//!      ^                   |  ^------------------------ announced again -------------------|
//!      '---- withdrawn ----'
//! ```
//! A provider that is gone is sent no calls, and those that it has not answered have failed. It is sent
//! messages, which are kept for it.

use wayfare_protocol::address::{Address, Announcement};
use wayfare_protocol::ids::{EngineId, Generation, ProgramId};
use wayfare_protocol::wire;

use super::Calls;
use super::open::{Delivery, Open, State, What};
use crate::message::ReceivedMessage;

/// Providers of one address that are known; of more, those with the highest ids are left out.
pub(super) const PROVIDERS_MAX: usize = 256;

/// What was announced of a provider, where that is known: snapshots of earlier releases do not have it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Known {
    pub(super) generation: Option<Generation>,
    /// `None` with a generation: it is gone.
    pub(super) engine: Option<EngineId>,
}

/// What is announced of a program at an address.
enum Announced {
    There(Known),
    /// As this generation.
    Gone(Generation),
    /// It cannot be called there any more.
    Withdrawn,
}

impl Known {
    fn gone(generation: Generation) -> Self {
        Self {
            generation: Some(generation),
            engine: None,
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.generation.is_some() && self.engine.is_none()
    }

    /// Whether this is there, and no later owner of the program than `generation`.
    fn ends_with(&self, generation: Generation) -> bool {
        !self.is_gone() && self.generation.is_none_or(|known| known <= generation)
    }
}

impl Announced {
    fn of(program: ProgramId, message: &ReceivedMessage) -> Self {
        if message.payload.is_empty() {
            return Self::Withdrawn;
        }
        let read = wire::decode::<Announcement>(&message.payload).ok();
        match read.filter(|one| one.program == program) {
            Some(one) if one.gone => Self::Gone(one.generation),
            Some(one) => Self::There(Known {
                generation: Some(one.generation),
                engine: Some(one.engine),
            }),
            // What cannot be read was announced by a later release: it can be called.
            None => Self::There(Known::default()),
        }
    }
}

impl Calls {
    /// The provider that a call with this number goes to.
    pub(super) fn chosen(&self, address: &Address, number: u64) -> Option<ProgramId> {
        let there = || {
            let all = self.providers.get(address).into_iter().flatten();
            all.filter(|(_, known)| !known.is_gone())
        };
        let count = u64::try_from(there().count()).ok()?;
        let at = usize::try_from(number.checked_rem(count)?).ok()?;
        there().nth(at).map(|(program, _)| *program)
    }

    /// The receiver of a message with this number: one that is gone has it when it is back.
    pub(super) fn chosen_receiver(&self, address: &Address, number: u64) -> Option<ProgramId> {
        let known = || self.providers.get(address)?.keys().next().copied();
        self.chosen(address, number).or_else(known)
    }

    /// Nobody is known at an address that is watched: who is there may be announced behind other messages.
    pub(crate) fn is_looking(&self) -> bool {
        let mut watched = self.providers.iter();
        watched.any(|(address, known)| known.values().all(Known::is_gone) || self.is_incomplete(address))
    }

    /// Everybody at the address is to be known, and is not yet.
    pub(super) fn is_incomplete(&self, address: &Address) -> bool {
        (address.is_set() || self.chosen_at.contains(address)) && !self.complete.contains(address)
    }

    /// A connection has begun. What is announced of a set may have changed unheard; other addresses are as
    /// they were, up to what comes.
    pub(super) fn begin_connection(&mut self) {
        self.complete.retain(|address| !address.is_set());
    }

    pub(super) fn changes(&self, address: &Address, program: ProgramId, message: &ReceivedMessage) -> bool {
        let Some(providers) = self.providers.get(address) else {
            return false;
        };
        match (Announced::of(program, message), providers.get(&program)) {
            (Announced::Withdrawn, before) => before.is_some(),
            (Announced::Gone(generation), Some(before)) => before.ends_with(generation),
            // On a session that the broker has lost it was another.
            (Announced::There(_) | Announced::Gone(_), None) => providers.len() < PROVIDERS_MAX,
            (Announced::There(now), Some(before)) => now != *before,
        }
    }

    /// Takes in what `changes`.
    pub(super) fn announced(&mut self, address: &Address, program: ProgramId, message: &ReceivedMessage) {
        let Some(providers) = self.providers.get_mut(address) else {
            return;
        };
        let open = self.open.values_mut();
        let open = open.filter(|one| *one.called() == *address && one.waits_for(program));
        match Announced::of(program, message) {
            Announced::There(now) => {
                let before = providers.insert(program, now.clone());
                // Another owner may go on from before what the last one received.
                if before.is_none_or(|before| before.generation != now.generation) {
                    open.for_each(|one| one.in_doubt = true);
                }
            }
            Announced::Gone(generation) => {
                providers.insert(program, Known::gone(generation));
                let calls = open.filter(|one| matches!(one.what, What::Call { .. }));
                calls.for_each(|one| one.end(program, State::Withdrawn, Delivery::Waiting));
            }
            Announced::Withdrawn => {
                providers.remove(&program);
                // A program that leaves an engine goes on elsewhere with what it has, as far as can be told
                // from that.
                let goes_on = |one: &Open| address.is_of_engine() && one.until_ns < u64::MAX;
                open.for_each(|one| match goes_on(one) {
                    true => one.in_doubt = true,
                    false => one.end(program, State::Withdrawn, Delivery::Ended),
                });
                self.cannot_be_picked(address, program);
            }
        }
    }

    pub(crate) fn keep_addresses(&mut self, may_send: impl Fn(&Address) -> bool) {
        self.providers.retain(|address, _| may_send(address));
        self.last.retain(|address, _| may_send(address));
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.providers.keys()
    }
}
