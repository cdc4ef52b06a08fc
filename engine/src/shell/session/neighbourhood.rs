//! The programs of this engine whose sessions are open: what one sends another need not go through the broker (`wayfare_mail`'s
//! `neighbours`, which decides).
//!
//! Always: whoever is found here is its program's live copy, as far as its session knows, and tells by `synced` how much of what it was
//! given is in its journal. When its session ends, that ends too, and what was not synced goes through the broker.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use wayfare_mail::{Mail, Neighbours};
use wayfare_protocol::ids::ProgramId;
use wayfare_runtime::Mailbox;

/// Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Neighbourhood(Arc<Mutex<BTreeMap<ProgramId, Neighbour>>>);

struct Neighbour {
    mailbox: Mailbox,
    synced: Synced,
}

/// The number below which all messages of a program are synced. Closed when its session is.
pub(super) type Synced = watch::Receiver<u64>;

/// A program's place there, for one connection of its session.
pub(super) struct Place {
    neighbourhood: Neighbourhood,
    program: ProgramId,
    mailbox: Mailbox,
    synced: watch::Sender<u64>,
    is_open: bool,
}

impl Neighbourhood {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ProgramId, Neighbour>> {
        // Nothing is left half done where a panic could come from.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a program that has synced all messages below `synced`. Nobody is given anything before it is opened.
    pub(super) fn enter(&self, program: ProgramId, mailbox: &Mailbox, synced: u64) -> Place {
        let sender = watch::Sender::new(synced);
        let neighbour = Neighbour {
            mailbox: mailbox.clone(),
            synced: sender.subscribe(),
        };
        self.lock().insert(program, neighbour);
        Place {
            neighbourhood: self.clone(),
            program,
            mailbox: mailbox.clone(),
            synced: sender,
            is_open: false,
        }
    }
}

impl Neighbours for Neighbourhood {
    type Receipt = Synced;
    fn with<T>(
        &mut self,
        program: ProgramId,
        look: impl FnOnce(&mut Mail) -> Option<T>,
    ) -> Option<(T, Synced)> {
        let here = self.lock();
        let neighbour = here.get(&program)?;
        let seen = neighbour.mailbox.visited(look)?;
        Some((seen, neighbour.synced.clone()))
    }
}

impl Place {
    /// Whether the program takes what neighbours give, from now on.
    pub(super) fn set_open(&mut self, is_open: bool) {
        if std::mem::replace(&mut self.is_open, is_open) != is_open {
            self.mailbox.with(|mail| mail.set_takes_directly(is_open));
        }
    }

    pub(super) fn synced(&self, below: u64) {
        self.synced.send_replace(below);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.set_open(false);
        let mut here = self.neighbourhood.lock();
        let is_this = |neighbour: &Neighbour| neighbour.synced.same_channel(&self.synced.subscribe());
        if here.get(&self.program).is_some_and(is_this) {
            here.remove(&self.program);
        }
    }
}
