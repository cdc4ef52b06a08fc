//! What came in and is not acknowledged (`wayfare_mail::Intake`), with the journal and its syncs.

use std::io;
use std::time::Instant;

use tokio::task::JoinHandle;
use wayfare_link::{AcknowledgeToken, Incoming, Oversized};
use wayfare_mail::{Intake as Core, ReceivedMessage};

use crate::shell::store::InboxJournal;
use wayfare_runtime::Mailbox;

/// A journal that is larger takes no more until a snapshot was stored.
const JOURNAL_BYTES_MAX: u64 = 16 << 20;

pub(super) struct Intake {
    core: Core<Incoming, AcknowledgeToken>,
    syncing: Option<JoinHandle<io::Result<()>>>,
    /// To be written, or written and not known to be synced.
    writing: Vec<ReceivedMessage>,
}

impl Intake {
    /// Goes on with what an earlier connection's had left.
    pub(super) fn new(unstored: Vec<ReceivedMessage>) -> Self {
        Self {
            core: Core::with_unstored(unstored, Instant::now()),
            syncing: None,
            writing: Vec::new(),
        }
    }

    /// What was taken and is not known to be in the journal. Some of it may be there: it is read once all the
    /// same.
    pub(super) fn take_unstored(&mut self) -> Vec<ReceivedMessage> {
        let mut unstored = std::mem::take(&mut self.writing);
        unstored.extend(self.core.take_unstored());
        unstored
    }

    pub(super) fn received(&mut self, mailbox: &Mailbox, message: Incoming) {
        let accepted = mailbox.accept(&message.topic, &message.payload, message.retain);
        let (token, qos) = (message.token, message.qos);
        self.core
            .received(message, (token, qos), accepted, Instant::now());
    }

    /// A message that the link did not hand over is acknowledged in its turn.
    pub(super) fn oversized(&mut self, message: Oversized) {
        self.core.dropped(message.token, Instant::now());
    }

    /// False while the inbox is full, or there is no room in the journal.
    pub(super) fn takes_more(&mut self, mailbox: &Mailbox, journal: &InboxJournal) -> bool {
        if let Some(message) = self.core.take_held() {
            self.received(mailbox, message);
        }
        self.core.takes_more() && journal.bytes() < JOURNAL_BYTES_MAX
    }

    /// The same of one more, when the journal's size is known to do.
    pub(super) fn takes_another(&self) -> bool {
        self.core.takes_more()
    }

    pub(super) fn reconnected(&mut self) {
        self.core.reconnected();
    }

    /// Writes what came, if it is time or `at_once`, and begins to sync it.
    pub(super) fn begin_sync(&mut self, journal: &mut InboxJournal, at_once: bool) -> io::Result<()> {
        let Some(fresh) = self.core.begin_sync(Instant::now(), at_once) else {
            return Ok(());
        };
        self.writing = fresh;
        let file = journal.append(&self.writing)?;
        self.syncing = Some(tokio::task::spawn_blocking(move || match file {
            Some(file) => file.sync_data(),
            None => Ok(()),
        }));
        Ok(())
    }

    /// What may be acknowledged now: nothing where it was only time to begin a sync.
    pub(super) async fn stored(&mut self) -> io::Result<Vec<AcknowledgeToken>> {
        match (&mut self.syncing, self.core.due()) {
            (Some(syncing), _) => {
                let result = syncing.await;
                self.syncing = None;
                result.map_err(io::Error::other)??;
                self.writing.clear();
                Ok(self.core.synced())
            }
            (None, Some(due)) => {
                tokio::time::sleep_until(due.into()).await;
                Ok(Vec::new())
            }
            (None, None) => std::future::pending().await,
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.core.is_settled()
    }
}
