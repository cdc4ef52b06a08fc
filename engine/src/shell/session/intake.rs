//! What came in and is not acknowledged (`wayfare_mail::Intake`), with the journal and its syncs.

use std::io;
use std::time::Instant;

use tokio::task::JoinHandle;
use wayfare_link::{AcknowledgeToken, Incoming, Oversized};
use wayfare_mail::{Intake as Core, ReceivedMessage};

use crate::shell::store::InboxJournal;
use wayfare_runtime::Mailbox;

pub(super) struct Intake {
    core: Core<Incoming, AcknowledgeToken>,
    syncing: Option<JoinHandle<io::Result<()>>>,
    /// To be written, or written, since the last sync began.
    written: Vec<ReceivedMessage>,
    /// The same of before that, and not known to be synced.
    writing: Vec<ReceivedMessage>,
    /// All messages below this were taken when what neighbours gave was last looked at.
    below: u64,
    /// The same when the sync that is under way began.
    syncing_below: u64,
    /// A neighbour waits for the next sync.
    is_awaited: bool,
}

/// What follows from a sync.
#[derive(Default)]
pub(super) struct Stored {
    /// To be acknowledged.
    pub(super) tokens: Vec<AcknowledgeToken>,
    /// All messages below this are synced; `None`: nothing was, it was only time to begin.
    pub(super) below: Option<u64>,
}

impl Intake {
    /// Goes on with what an earlier connection's had left.
    pub(super) fn new(unstored: Vec<ReceivedMessage>) -> Self {
        Self {
            core: Core::with_unstored(unstored, Instant::now()),
            syncing: None,
            written: Vec::new(),
            writing: Vec::new(),
            below: 0,
            syncing_below: 0,
            is_awaited: false,
        }
    }

    /// What was taken and is not known to be in the journal. Some of it may be there: it is read once all the same.
    pub(super) fn take_unstored(&mut self, mailbox: &Mailbox) -> Vec<ReceivedMessage> {
        self.look(mailbox);
        let mut unstored = std::mem::take(&mut self.writing);
        unstored.append(&mut self.written);
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

    /// False while the inbox is full.
    pub(super) fn takes_more(&mut self, mailbox: &Mailbox) -> bool {
        if let Some(message) = self.core.take_held() {
            self.received(mailbox, message);
        }
        self.core.takes_more()
    }

    /// The same of one more.
    pub(super) fn takes_another(&self) -> bool {
        self.core.takes_more()
    }

    pub(super) fn reconnected(&mut self) {
        self.core.reconnected();
    }

    /// At what neighbours gave, and everything that was taken before it.
    fn look(&mut self, mailbox: &Mailbox) {
        let (given, below, is_awaited) =
            mailbox.with(|mail| (mail.take_unwritten(), mail.arrived(), mail.take_sync_awaited()));
        self.core.given(given, Instant::now());
        self.below = below;
        self.is_awaited |= is_awaited;
    }

    /// Writes what neighbours gave, and what came if it is time or `at_once`, and begins to sync it then.
    pub(super) fn begin_sync(
        &mut self,
        mailbox: &Mailbox,
        journal: &mut InboxJournal,
        at_once: bool,
    ) -> io::Result<()> {
        self.look(mailbox);
        if let Some(given) = self.core.to_write() {
            self.write(journal, given)?;
        }
        let Some(fresh) = self.core.begin_sync(Instant::now(), at_once || self.is_awaited) else {
            return Ok(());
        };
        self.write(journal, fresh)?;
        self.writing = std::mem::take(&mut self.written);
        (self.is_awaited, self.syncing_below) = (false, self.below);
        let files = journal.begin_sync()?;
        self.syncing = Some(tokio::task::spawn_blocking(move || {
            files.iter().try_for_each(std::fs::File::sync_data)
        }));
        Ok(())
    }

    fn write(&mut self, journal: &mut InboxJournal, fresh: Vec<ReceivedMessage>) -> io::Result<()> {
        let from = self.written.len();
        self.written.extend(fresh);
        journal.append(&self.written[from..])
    }

    /// What follows from a sync that is done, or from its being time to begin one.
    pub(super) async fn stored(&mut self) -> io::Result<Stored> {
        match (&mut self.syncing, self.core.due()) {
            (Some(syncing), _) => {
                let result = syncing.await;
                self.syncing = None;
                result.map_err(io::Error::other)??;
                self.writing.clear();
                Ok(Stored {
                    tokens: self.core.synced(),
                    below: Some(self.syncing_below),
                })
            }
            (None, Some(due)) => {
                tokio::time::sleep_until(due.into()).await;
                Ok(Stored::default())
            }
            (None, None) => std::future::pending().await,
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.core.is_settled()
    }
}
