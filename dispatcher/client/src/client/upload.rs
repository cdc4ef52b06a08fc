//! Bytes that applications need, from here to the acting dispatcher: it says what it lacks, and pulls that.
//!
//! ```text
//!  here                            acting dispatcher
//!    | take (all of them) --------> |   answers with those that it lacks
//!    | <--------------------- pull  |   the first of them
//!    | chunk ... -----------------> |
//!    | <---------------------- ack  |   it is kept, or cannot be: ask again
//!    | take (all of them) --------> |   ... until it lacks none, or says why it cannot have them
//! ```
//! So one request for each blob is checked and signed, however large it is. After silence it is asked again:
//! whoever acts may have changed.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Blob, Digest, OperationId};
use wayfare_protocol::peer::{Envelope, PeerMessage};
use wayfare_protocol::pull::{PULL_SILENCE_MS, Pull};

use super::Client;
use crate::app::ask::{Ask, PUT_BYTES_MAX};
use crate::error::AskError;

/// Who pulls asks again earlier than this.
const SILENCE: Duration = Duration::from_millis(2 * PULL_SILENCE_MS);

/// One upload: what is sent under its id.
struct Upload<'a> {
    transfer: OperationId,
    blobs: &'a BTreeMap<Digest, Vec<u8>>,
    peers: mpsc::Receiver<(Envelope, Bytes)>,
}

impl Client {
    /// Sends the acting dispatcher what it lacks of these; `sent` hears how many bytes of how many are there.
    /// `limit`: for each answer, and for as long as nothing is sent.
    pub async fn upload(
        &self,
        blobs: &BTreeMap<Digest, Vec<u8>>,
        limit: Duration,
        mut sent: impl FnMut(u64, u64),
    ) -> Result<(), AskError> {
        let all = blobs.iter().map(|(digest, bytes)| Blob {
            digest: *digest,
            bytes: bytes.len() as u64,
        });
        let mut upload = Upload {
            transfer: OperationId::random(),
            blobs,
            peers: self.peers().await.map_err(|_| AskError::Closed)?,
        };
        let take = Ask::Take {
            transfer: upload.transfer,
            from: self.inner.client.clone(),
            blobs: all.clone().collect(),
        };
        let mut lacking: Vec<Blob> = match self.ask_apps(&take, limit).await {
            // A dispatcher of an earlier release.
            Err(AskError::Failed(Failure::BadRequest { .. })) => {
                return self.put_all(all.collect(), blobs, limit, sent).await;
            }
            lacking => lacking?,
        };
        let total = bytes_of(&lacking);
        let mut progress = Instant::now();
        let mut furthest = 0;
        while !lacking.is_empty() {
            let there = total.saturating_sub(bytes_of(&lacking));
            let before = furthest;
            let placed = |place| {
                furthest = furthest.max(there + place);
                sent(furthest, total);
            };
            upload.give(self, &lacking, placed).await?;
            let still: Vec<Blob> = self.ask_apps(&take, limit).await?;
            if furthest > before || still.len() < lacking.len() {
                progress = Instant::now();
            } else if progress.elapsed() >= limit {
                let waited_ms = u64::try_from(progress.elapsed().as_millis()).unwrap_or(u64::MAX);
                return Err(AskError::NoDispatcher { waited_ms });
            }
            lacking = still;
        }
        if total > 0 {
            sent(total, total);
        }
        Ok(())
    }

    /// The way of dispatchers of the last release: parts of blobs, each a request.
    async fn put_all(
        &self,
        all: Vec<Blob>,
        blobs: &BTreeMap<Digest, Vec<u8>>,
        limit: Duration,
        mut sent: impl FnMut(u64, u64),
    ) -> Result<(), AskError> {
        let lacking: Vec<Blob> = self.ask_apps(&Ask::Lacks { blobs: all }, limit).await?;
        let total = bytes_of(&lacking);
        let mut done = 0;
        for blob in lacking {
            let Some(bytes) = blobs.get(&blob.digest) else {
                continue;
            };
            let mut offset = 0;
            loop {
                let part = &bytes[offset..bytes.len().min(offset + PUT_BYTES_MAX)];
                let hex = part.iter().map(|byte| format!("{byte:02x}")).collect();
                let put = Ask::Put {
                    blob,
                    offset: offset as u64,
                    hex,
                };
                let there: u64 = self.ask_apps(&put, limit).await?;
                offset = usize::try_from(there).unwrap_or(bytes.len()).min(bytes.len());
                sent(done + offset as u64, total);
                if offset == bytes.len() {
                    break;
                }
            }
            done += blob.bytes;
        }
        Ok(())
    }
}

impl Upload<'_> {
    /// Sends what is pulled of `lacking`, until it is time to ask again. `placed` hears how far in its blob
    /// whoever pulls is.
    async fn give(
        &mut self,
        client: &Client,
        lacking: &[Blob],
        mut placed: impl FnMut(u64),
    ) -> Result<(), AskError> {
        loop {
            let Ok(message) = timeout(SILENCE, self.peers.recv()).await else {
                return Ok(());
            };
            let (envelope, _) = message.ok_or(AskError::Closed)?;
            if envelope.operation != self.transfer {
                continue;
            }
            match envelope.message {
                PeerMessage::Pull { blob, offset, chunks } if lacking.contains(&blob) => {
                    let bytes = &self.blobs[&blob.digest];
                    placed(offset.min(blob.bytes));
                    for (offset, length) in (Pull { offset, chunks }).chunks_of(blob) {
                        let message = PeerMessage::Chunk { blob, offset };
                        let chunk = &bytes[offset as usize..][..length];
                        client.say(&envelope.from, self.transfer, message, chunk);
                    }
                }
                PeerMessage::Ack { .. } => return Ok(()),
                _ => {}
            }
        }
    }
}

fn bytes_of(blobs: &[Blob]) -> u64 {
    blobs.iter().map(|blob| blob.bytes).sum()
}
