//! The order of all changes in a store of objects: one object for each batch of changes, numbered without a
//! gap.
//!
//! ```text
//!  log/<number>                   a batch; put only if there is none of that number
//!  checkpoints/<number>           the whole state after that batch; then older batches and checkpoints are deleted
//! ```
//! Always: of all that write to one store at most one can put a batch of a number, and only after it has seen
//! all batches before. Whoever opens the store begins with an empty batch of its own: so whoever had it open
//! before can put nothing any more, and finds that out when it tries. A batch is all there or not at all, and
//! what it changes is answered only when it is there.

use std::collections::BTreeSet;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use thiserror::Error;
use wayfare_protocol::ids::Digest;

use super::objects::{Kind, Objects, StoreError};

/// A checkpoint is made after so many batches.
const BATCHES_PER_CHECKPOINT: u64 = 256;
/// Objects put or deleted at the same time.
pub(crate) const PARALLEL: usize = 16;
/// Another may open the store, or make a checkpoint, while it is being opened.
const OPENINGS_MAX: usize = 10;
const DIGITS: usize = 20;

#[derive(Debug, Error)]
pub(crate) enum LogError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{what}: {reason}")]
    Malformed { what: String, reason: String },
    #[error("batch {number} of the log is missing")]
    Gap { number: u64 },
    #[error("another dispatcher has opened the store since")]
    Succeeded,
    #[error("others open the store all the time: does every fleet have a store of its own?")]
    Crowded,
}

/// What the batches are about: changed by them alone, in their order.
pub(crate) trait Replayed: Default {
    fn restore(checkpoint: &[u8]) -> Result<Self, LogError>;
    fn apply(&mut self, batch: &[u8]) -> Result<(), LogError>;
    fn checkpoint(&self) -> Vec<u8>;
}

#[derive(Debug)]
pub(crate) struct BatchLog {
    pub(crate) store: Objects,
    /// Of the next batch.
    next: u64,
    checkpoint: u64,
    /// Batches whose commit failed: one of them may be there under the next number.
    failed: BTreeSet<Digest>,
}

/// A number that nobody has had, for whoever opens a store.
pub(crate) fn opening() -> Result<u64, LogError> {
    let mut random = [0; 8];
    // A number that somebody has had would let objects be taken for one's own.
    getrandom::fill(&mut random).map_err(|error| LogError::Malformed {
        what: "the system's randomness".into(),
        reason: error.to_string(),
    })?;
    Ok(u64::from_le_bytes(random))
}

impl BatchLog {
    /// The state as it is after the last batch, and whether nobody else can put one any more; where not, the
    /// store can only be read. `first` is an empty batch that is nobody else's.
    pub(crate) async fn open<T: Replayed>(
        store: Objects,
        first: &[u8],
    ) -> Result<(Self, T, Result<(), LogError>), LogError> {
        for _ in 0..OPENINGS_MAX {
            let (mut log, state) = Self::read(store.clone()).await?;
            match log.claim(first).await {
                Err(LogError::Succeeded) => {}
                // Nobody's changes are safe there: nobody is to rely on what it holds.
                Err(error @ LogError::Store(StoreError::Unconditional { .. })) => return Err(error),
                claimed => return Ok((log, state, claimed)),
            }
        }
        Err(LogError::Crowded)
    }

    /// The state as it is after the last batch, whose-ever that is: nothing can be put before
    /// [`BatchLog::claim`].
    async fn read<T: Replayed>(store: Objects) -> Result<(Self, T), LogError> {
        let mut replayed = replay(&store).await;
        for _ in 1..OPENINGS_MAX {
            match replayed {
                // Deleted after it was listed, because of a later checkpoint.
                Err(LogError::Gap { .. } | LogError::Store(StoreError::Absent { .. })) => {
                    replayed = replay(&store).await;
                }
                _ => break,
            }
        }
        // A gap that stays is one.
        let (state, checkpoint, next) = replayed?;
        let log = Self {
            store,
            next,
            checkpoint,
            failed: BTreeSet::new(),
        };
        Ok((log, state))
    }

    /// Makes the store ours, if nobody has put anything since it was read: whoever had it before can put
    /// nothing any more.
    pub(crate) async fn claim(&mut self, first: &[u8]) -> Result<(), LogError> {
        self.store.check_conditions().await?;
        self.commit(first).await
    }

    /// After an error nobody knows whether the batch is there. The next one that is committed comes behind
    /// it, or takes its place for good.
    pub(crate) async fn commit(&mut self, batch: &[u8]) -> Result<(), LogError> {
        loop {
            let name = number_name(self.next);
            match put_again(&self.store, Kind::Log, &name, batch).await {
                Ok(()) => break,
                Err(StoreError::Taken { .. }) => {
                    let there = self.store.get(Kind::Log, &name).await?;
                    if !self.failed.remove(&Digest::of(&there)) {
                        return Err(LogError::Succeeded);
                    }
                    self.next += 1;
                }
                Err(error) => {
                    self.failed.insert(Digest::of(batch));
                    return Err(error.into());
                }
            }
        }
        self.next += 1;
        self.failed.clear();
        Ok(())
    }

    /// Whether the next commit should be followed by a checkpoint.
    pub(super) fn is_checkpoint_due(&self) -> bool {
        self.next - self.checkpoint >= BATCHES_PER_CHECKPOINT
    }

    /// Makes a checkpoint if one is due. A failure leaves the log longer, and nothing else.
    pub(crate) async fn make_checkpoint(&mut self, state: &impl Replayed) {
        let last = self.next - 1;
        if last - self.checkpoint < BATCHES_PER_CHECKPOINT {
            return;
        }
        let content = state.checkpoint();
        if let Err(error) = put_again(&self.store, Kind::Checkpoint, &number_name(last), &content).await {
            tracing::warn!(%error, "no checkpoint: the log grows");
            return;
        }
        self.checkpoint = last;
        for (kind, end) in [(Kind::Log, last + 1), (Kind::Checkpoint, last)] {
            let end = number_name(end);
            match self.store.list(kind).await {
                Ok(names) => {
                    let old = names.into_iter().filter(|name| *name < end).collect();
                    delete_all(&self.store, kind, old).await;
                }
                Err(error) => tracing::warn!(%error, "what a checkpoint makes needless stays"),
            }
        }
    }
}

/// Puts something that an earlier try may have put, whose answer was lost.
pub(crate) async fn put_again(
    store: &Objects,
    kind: Kind,
    name: &str,
    content: &[u8],
) -> Result<(), StoreError> {
    match store.put(kind, name, content).await {
        Err(StoreError::Taken { path }) => match store.get(kind, name).await {
            Ok(there) if there == content => Ok(()),
            _ => Err(StoreError::Taken { path }),
        },
        done => done,
    }
}

/// What cannot be deleted stays, with a warning.
pub(crate) async fn delete_all(store: &Objects, kind: Kind, names: Vec<String>) {
    let deletions = names.into_iter().map(|name| {
        let store = store.clone();
        async move { store.delete(kind, &name).await }.boxed()
    });
    let deletions: Vec<BoxFuture<'static, _>> = deletions.collect();
    let mut done = stream::iter(deletions).buffer_unordered(PARALLEL);
    while let Some(deleted) = done.next().await {
        if let Err(error) = deleted {
            tracing::warn!(%error, "something needless stays in the store");
        }
    }
}

/// The state after all batches; the number of its checkpoint, and of the next batch.
async fn replay<T: Replayed>(store: &Objects) -> Result<(T, u64, u64), LogError> {
    let (mut state, checkpoint): (T, u64) = newest_checkpoint(store).await?;
    let mut next = checkpoint + 1;
    let names = store.list(Kind::Log).await?;
    let numbers: Vec<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
    let last = numbers.last().copied();
    for number in numbers.into_iter().filter(|number| *number > checkpoint) {
        if number != next {
            return Err(LogError::Gap { number: next });
        }
        let batch = match store.get(Kind::Log, &number_name(number)).await {
            // Torn when the power failed, before anything in it was answered.
            Err(StoreError::Damaged { path }) if Some(number) == last => {
                tracing::warn!(path, "the last change was not finished");
                store.delete(Kind::Log, &number_name(number)).await?;
                break;
            }
            found => found?,
        };
        state.apply(&batch)?;
        next += 1;
    }
    Ok((state, checkpoint, next))
}

/// The newest that is whole: batches before it are deleted only when it is.
async fn newest_checkpoint<T: Replayed>(store: &Objects) -> Result<(T, u64), LogError> {
    let mut damaged = None;
    for name in store.list(Kind::Checkpoint).await?.into_iter().rev() {
        let Ok(number) = name.parse() else { continue };
        match store.get(Kind::Checkpoint, &name).await {
            Ok(content) => return Ok((T::restore(&content)?, number)),
            Err(error @ StoreError::Damaged { .. }) => damaged = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    match damaged {
        // Torn, then the log begins with the first batch.
        Some(error) if store.get(Kind::Log, &number_name(1)).await.is_err() => Err(error.into()),
        _ => Ok((T::default(), 0)),
    }
}

pub(crate) fn parse<T: serde::de::DeserializeOwned>(what: &str, json: &[u8]) -> Result<T, LogError> {
    serde_json::from_slice(json).map_err(|error| LogError::Malformed {
        what: what.to_owned(),
        reason: error.to_string(),
    })
}

fn number_name(number: u64) -> String {
    format!("{number:0DIGITS$}")
}
