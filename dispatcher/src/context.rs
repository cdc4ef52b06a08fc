//! What a service has to work with.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, watch};
use wayfare_client::Client;
use wayfare_client::app::ask::Decision;
use wayfare_dispatcher_core::alarms::broker::Outage;
use wayfare_protocol::ids::Term;

use crate::durable::{FileError, Place};
use crate::options::ServiceOptions;
use crate::questions::{KnownAsk, MeasuredAsk, Questions};

/// Terms above this are nobody's: what says so is broken, and following it would leave no terms to count.
pub(crate) const TERM_MAX: Term = Term(u64::MAX / 2);

/// Events that are still to be kept: what is more is lost.
const NOTES_MAX: usize = 1_024;

/// What a service has to work with, for one term.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) term: Term,
    /// Where the service keeps what its successors need, on whatever host: see [`crate::durable`].
    pub(crate) place: Place,
    /// The service's own folder, on this host. Of several dispatchers with one folder, an earlier term's may
    /// still write to it when it has been succeeded: files that change carry the term in their names.
    pub(crate) data: PathBuf,
    pub(crate) options: Arc<ServiceOptions>,
    /// Where a service says that it has heard of a later term.
    pub(crate) later: Arc<watch::Sender<Term>>,
    pub(crate) notes: Notes,
    /// What the service for lists asks the others, which know what is listed.
    pub(crate) known: Questions<KnownAsk>,
    pub(crate) measured: Questions<MeasuredAsk>,
    /// How long the broker was lost before this term, as far as this process has seen.
    pub(crate) outage: Option<Outage>,
}

/// What services want told among the events, which one of them keeps.
#[derive(Debug, Clone)]
pub(crate) struct Notes {
    sender: mpsc::Sender<Note>,
    receiver: Arc<Mutex<mpsc::Receiver<Note>>>,
}

#[derive(Debug)]
pub(crate) enum Note {
    /// To be told, with the time and number of then.
    Event(Box<Decision>),
    /// Whether something can be stored.
    Stored {
        what: &'static str,
        result: Result<(), FileError>,
    },
}

impl Notes {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(NOTES_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        Self { sender, receiver }
    }

    /// Nothing depends on a note, so nobody waits for it.
    pub(crate) fn tell(&self, note: Note) {
        if let Err(error) = self.sender.try_send(note) {
            tracing::warn!(%error, "an event is not kept");
        }
    }

    /// For the one that keeps them.
    pub(crate) async fn receiver(&self) -> OwnedMutexGuard<mpsc::Receiver<Note>> {
        Arc::clone(&self.receiver).lock_owned().await
    }
}

impl Context {
    /// An engine knows a later term: acting begins anew, above it. `false`: that term cannot be.
    pub(crate) fn has_heard_of(&self, term: Term) -> bool {
        if term > TERM_MAX {
            tracing::error!(%term, "an engine obeys a term that nobody can have had: it is not followed");
            return false;
        }
        self.later.send_if_modified(|highest| {
            let is_news = term > *highest;
            *highest = term.max(*highest);
            is_news
        });
        true
    }
}
