//! What came in and is not acknowledged: offered to the program's inbox, written to the journal, synced in batches.
//!
//! A sync costs a card some 12 KiB of writing, whatever it makes durable. So what comes is gathered for a short while, unless as
//! much has come as the smallest windows of brokers hold: then the broker waits for our acknowledgements.

use std::io;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use wayfare_link::{AcknowledgeToken, Incoming, Qos};

use crate::process::Post;
use crate::process::mail::{Accepted, Letter};
use crate::shell::store::InboxJournal;

/// Messages that make a batch at once.
const BATCH_LETTERS: usize = 16;
/// What is fewer waits this long for more.
const GATHER: Duration = Duration::from_millis(100);
/// Messages that may wait for their journal.
const WAITING_MAX: usize = 1024;
/// A journal that is larger takes no more until a snapshot was stored.
pub(super) const JOURNAL_BYTES_MAX: u64 = 16 << 20;

#[derive(Default)]
pub(super) struct Intake {
    /// In the inbox, and not in the journal.
    fresh: Vec<Letter>,
    /// Of those and of what was dropped, in the order of receipt.
    tokens: Vec<AcknowledgeToken>,
    since: Option<Instant>,
    syncing: Option<JoinHandle<io::Result<()>>>,
    /// To be acknowledged when the sync is done.
    synced: Vec<AcknowledgeToken>,
    /// It did not fit into the inbox.
    held: Option<Incoming>,
}

impl Intake {
    pub(super) fn received(&mut self, post: &Post, message: Incoming) {
        let Incoming {
            topic,
            payload,
            qos,
            retain,
            token,
        } = &message;
        match post.accept(topic, payload, *retain) {
            Accepted::Full if *qos == Qos::AtMostOnce => {}
            Accepted::Full => {
                self.held = Some(message);
                return;
            }
            Accepted::Dropped => {}
            Accepted::Taken(letter) => self.fresh.push(letter),
        }
        self.tokens.push(*token);
        self.since.get_or_insert_with(Instant::now);
    }

    /// False while the inbox is full.
    pub(super) fn offer_again(&mut self, post: &Post) -> bool {
        if let Some(message) = self.held.take() {
            self.received(post, message);
        }
        self.held.is_none()
    }

    pub(super) fn takes_more(&self) -> bool {
        self.held.is_none() && self.tokens.len() < WAITING_MAX
    }

    pub(super) fn has_room(&self, journal: &InboxJournal) -> bool {
        self.takes_more() && journal.bytes() < JOURNAL_BYTES_MAX
    }

    /// What the broker sends again on the new connection includes what is held.
    pub(super) fn reconnected(&mut self) {
        self.held = None;
    }

    /// Writes what came, if it is time or `now`, and begins to sync it.
    pub(super) fn begin_sync(&mut self, journal: &mut InboxJournal, now: bool) -> io::Result<()> {
        let is_due = now || self.tokens.len() >= BATCH_LETTERS || self.is_late();
        if self.syncing.is_some() || self.tokens.is_empty() || !is_due {
            return Ok(());
        }
        let file = journal.append(&self.fresh)?;
        self.fresh.clear();
        self.since = None;
        self.synced.append(&mut self.tokens);
        self.syncing = Some(tokio::task::spawn_blocking(move || match file {
            Some(file) => file.sync_data(),
            None => Ok(()),
        }));
        Ok(())
    }

    fn is_late(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= GATHER)
    }

    /// What may be acknowledged now: nothing where it was only time to begin a sync.
    pub(super) async fn stored(&mut self) -> io::Result<Vec<AcknowledgeToken>> {
        match (&mut self.syncing, self.since) {
            (Some(syncing), _) => {
                let result = syncing.await;
                self.syncing = None;
                result.map_err(io::Error::other)??;
                Ok(std::mem::take(&mut self.synced))
            }
            (None, Some(since)) => {
                tokio::time::sleep_until((since + GATHER).into()).await;
                Ok(Vec::new())
            }
            (None, None) => std::future::pending().await,
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.syncing.is_none() && self.tokens.is_empty()
    }
}
