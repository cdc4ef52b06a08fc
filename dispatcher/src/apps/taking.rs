//! Blobs that are pulled from who applies an application, each in a task of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use wayfare_client::Client;
use wayfare_protocol::command::check_bytes;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Blob, OperationId, PeerName};
use wayfare_protocol::limits::MODULE_BYTES_MAX;
use wayfare_protocol::peer::{Envelope, PeerMessage};
use wayfare_protocol::pull::{PULL_SILENCE_MS, Pull, Pulled, Puller};

use super::{Done, Service};
use crate::durable::cannot_store;

/// Blobs that are pulled at the same time, and failures that nobody has asked for yet. Who comes when there
/// are as many asks again.
const TAKING_MAX: usize = 8;
/// Who sends nothing for this long is not there any more.
const GIVEN_UP: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(PULL_SILENCE_MS / 2);

/// What is on its way, by transfers.
#[derive(Debug, Default)]
pub(super) struct Takings {
    under_way: BTreeSet<OperationId>,
    /// Why a blob was not taken, until that is asked for.
    failed: BTreeMap<OperationId, Failure>,
}

/// A blob that came, or did not.
pub(super) struct Came {
    transfer: OperationId,
    from: PeerName,
    blob: Blob,
    bytes: Result<Vec<u8>, Failure>,
}

impl Service {
    /// Pulls the first blob that is lacking, unless that is under way; answers with all that are.
    pub(super) fn take(
        &mut self,
        transfer: OperationId,
        from: PeerName,
        blobs: Vec<Blob>,
    ) -> Result<Vec<Blob>, Failure> {
        if let Some(failing) = &self.failing {
            return Err(cannot_store(&failing.error));
        }
        for blob in &blobs {
            check_bytes("blob", blob.bytes, MODULE_BYTES_MAX)?;
        }
        if let Some(failure) = self.takings.failed.remove(&transfer) {
            return Err(failure);
        }
        let lacking = self.blobs.lacking(blobs);
        let under_way = &mut self.takings.under_way;
        if let Some(blob) = lacking.first().copied()
            && under_way.len() < TAKING_MAX
            && under_way.insert(transfer)
        {
            let client = self.context.client.clone();
            self.work.spawn(async move {
                let bytes = pull(&client, transfer, &from, blob).await;
                Done::Came(Came {
                    transfer,
                    from,
                    blob,
                    bytes,
                })
            });
        }
        Ok(lacking)
    }

    pub(super) fn came(&mut self, came: Came) {
        let Came {
            transfer,
            from,
            blob,
            bytes,
        } = came;
        self.takings.under_way.remove(&transfer);
        let kept = bytes.and_then(|bytes| {
            let kept = self.blobs.keep(blob.digest, &bytes);
            kept.map_err(|error| cannot_store(&error))
        });
        let received = match kept {
            Ok(()) => blob.bytes,
            Err(failure) => {
                let failed = &mut self.takings.failed;
                if failed.len() >= TAKING_MAX {
                    failed.pop_first();
                }
                failed.insert(transfer, failure);
                0
            }
        };
        self.blobs.spare(blob.digest);
        let digest = blob.digest;
        let ack = PeerMessage::Ack { digest, received };
        self.context.client.say(&from, transfer, ack, &[]);
    }
}

async fn pull(
    client: &Client,
    transfer: OperationId,
    from: &PeerName,
    blob: Blob,
) -> Result<Vec<u8>, Failure> {
    let gone = || Failure::Internal {
        reason: format!("blob {} does not come", blob.digest.short()),
    };
    let mut peers = client.peers().await.map_err(|_| gone())?;
    let say = |pull: Pull| {
        let Pull { offset, chunks } = pull;
        client.say(from, transfer, PeerMessage::Pull { blob, offset, chunks }, &[]);
    };
    let begun = Instant::now();
    let now_ms = || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (mut puller, first) = Puller::new(blob, now_ms());
    say(first);
    let mut heard = begun;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = peers.recv() => {
                let (envelope, bytes) = message.ok_or_else(gone)?;
                let Envelope { operation, from: sender, message: PeerMessage::Chunk { blob: of, offset } } = envelope else {
                    continue;
                };
                if operation != transfer || sender != *from || of != blob {
                    continue;
                }
                heard = Instant::now();
                match puller.chunk(offset, &bytes, now_ms()) {
                    Pulled::Next(next) => next.into_iter().for_each(say),
                    Pulled::Whole(bytes) => return Ok(bytes),
                    Pulled::Damaged => {
                        return Err(Failure::Damaged {
                            what: format!("blob {}", blob.digest.short()),
                            reason: "it does not match its digest".into(),
                        });
                    }
                }
            }
            _ = ticks.tick() => {
                if heard.elapsed() >= GIVEN_UP {
                    return Err(gone());
                }
                puller.tick(now_ms()).into_iter().for_each(say);
            }
        }
    }
}
