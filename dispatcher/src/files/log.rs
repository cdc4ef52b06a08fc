//! The order of all changes, in the store: one object for each batch of entries, numbered without a gap.
//!
//! ```text
//!  blocks/<opening>-<number>      contents; put before the batch that first refers to them
//!  log/<number>                   a batch; put only if there is none of that number
//!  checkpoints/<number>           the whole tree after that batch; then older batches and checkpoints are deleted
//! ```
//! Always: of all that write to one store at most one can put a batch of a number, and only after it has seen all batches before. Whoever
//! opens the store begins with an empty batch of its own: so whoever had it open before can put nothing any more, and finds that out
//! when it tries. A batch is all there or not at all, and what it changes is answered only when it is there.
//!
//! Blocks have names that are never used again, so nothing that a predecessor still deletes or puts can touch what is referred to.

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::blocks::BlockId;
use super::store::{Kind, Store, StoreError};
use super::tree::{Entry, Misfit, Tree};

/// A checkpoint is made after so many batches.
const BATCHES_PER_CHECKPOINT: u64 = 256;
/// Objects put or deleted at the same time.
const PARALLEL: usize = 16;
/// Another may open the store, or make a checkpoint, while it is being opened.
const OPENINGS_MAX: usize = 10;
const DIGITS: usize = 20;

#[derive(Debug)]
pub(super) struct Log {
    store: Store,
    opening: u64,
    /// Of the next batch.
    next: u64,
    checkpoint: u64,
    next_block: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    opening: u64,
    entries: Vec<Entry>,
}

#[derive(Debug, Error)]
pub(super) enum LogError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{what}: {reason}")]
    Malformed { what: String, reason: String },
    #[error("batch {number} of the log is missing")]
    Gap { number: u64 },
    #[error(transparent)]
    Misfit(#[from] Misfit),
    #[error("another dispatcher has opened the files since")]
    Succeeded,
    #[error("others open the files all the time: does every fleet have a store of its own?")]
    Crowded,
}

impl Log {
    /// The tree as it is after the last batch, and whether nobody else can put one any more; where not, the store can only be read.
    /// `opening` has never been anybody's.
    pub(super) async fn open(
        store: Store,
        opening: u64,
    ) -> Result<(Self, Tree, Result<(), LogError>), LogError> {
        for _ in 0..OPENINGS_MAX {
            let (mut log, tree) = Self::read(store.clone(), opening).await?;
            match log.claim(&tree).await {
                Err(LogError::Succeeded) => {}
                // Nobody's changes are safe there: nobody is to rely on what it holds.
                Err(error @ LogError::Store(StoreError::Unconditional { .. })) => return Err(error),
                claimed => return Ok((log, tree, claimed)),
            }
        }
        Err(LogError::Crowded)
    }

    /// The tree as it is after the last batch, whose-ever that is: nothing can be put before [`Log::claim`].
    async fn read(store: Store, opening: u64) -> Result<(Self, Tree), LogError> {
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
        let (tree, checkpoint, next) = replayed?;
        let log = Self {
            store,
            opening,
            next,
            checkpoint,
            next_block: 0,
        };
        Ok((log, tree))
    }

    /// Makes the store ours, if nobody has put anything since it was read: whoever had it before can put nothing any more.
    pub(super) async fn claim(&mut self, tree: &Tree) -> Result<(), LogError> {
        self.store.check_conditions().await?;
        self.commit(Vec::new()).await?;
        self.sweep(tree).await
    }

    pub(super) fn name_block(&mut self) -> BlockId {
        self.next_block += 1;
        BlockId(self.opening, self.next_block)
    }

    pub(super) async fn put_blocks<'a>(&'a self, blocks: &'a [(BlockId, Vec<u8>)]) -> Result<(), LogError> {
        let put =
            |(id, content): &'a (BlockId, Vec<u8>)| self.put(Kind::Block, block_name(*id), content).boxed();
        let puts: Vec<BoxFuture<'a, _>> = blocks.iter().map(put).collect();
        stream::iter(puts).buffer_unordered(PARALLEL).try_collect().await
    }

    pub(super) async fn block(&self, id: BlockId) -> Result<bytes::Bytes, LogError> {
        Ok(self.store.get(Kind::Block, &block_name(id)).await?)
    }

    /// Nobody refers to them any more. What is not deleted now is when the store is opened next.
    pub(super) async fn delete_blocks(&self, blocks: Vec<BlockId>) {
        let names = blocks.into_iter().map(block_name).collect();
        self.delete(Kind::Block, names).await;
    }

    pub(super) async fn commit(&mut self, entries: Vec<Entry>) -> Result<(), LogError> {
        let batch = Batch {
            opening: self.opening,
            entries,
        };
        let json = serde_json::to_vec(&batch).expect("plain data serialises");
        match self.put(Kind::Log, number_name(self.next), &json).await {
            Err(LogError::Store(StoreError::Taken { .. })) => return Err(LogError::Succeeded),
            done => done?,
        }
        self.next += 1;
        Ok(())
    }

    /// Something that an earlier try may have put, whose answer was lost.
    async fn put(&self, kind: Kind, name: String, content: &[u8]) -> Result<(), LogError> {
        match self.store.put(kind, &name, content).await {
            Err(StoreError::Taken { path }) => match self.store.get(kind, &name).await {
                Ok(there) if there == content => Ok(()),
                _ => Err(StoreError::Taken { path }.into()),
            },
            done => Ok(done?),
        }
    }

    /// Makes a checkpoint if one is due. A failure leaves the log longer, and nothing else.
    pub(super) async fn make_checkpoint(&mut self, tree: &Tree) {
        let last = self.next - 1;
        if last - self.checkpoint < BATCHES_PER_CHECKPOINT {
            return;
        }
        let json = serde_json::to_vec(tree).expect("plain data serialises");
        if let Err(error) = self.put(Kind::Checkpoint, number_name(last), &json).await {
            tracing::warn!(%error, "no checkpoint of the fleet's files: the log grows");
            return;
        }
        self.checkpoint = last;
        for (kind, end) in [(Kind::Log, last + 1), (Kind::Checkpoint, last)] {
            let end = number_name(end);
            match self.store.list(kind).await {
                Ok(names) => {
                    let old = names.into_iter().filter(|name| *name < end).collect();
                    self.delete(kind, old).await;
                }
                Err(error) => tracing::warn!(%error, "what a checkpoint makes needless stays"),
            }
        }
    }

    /// Deletes blocks of earlier openings that nothing refers to: of changes that were not finished.
    async fn sweep(&self, tree: &Tree) -> Result<(), LogError> {
        let names = self.store.list(Kind::Block).await?;
        let unused = names.into_iter().filter(|name| {
            let id = parse_block(name);
            id.is_some_and(|id| id.0 != self.opening && !tree.refers_to(id))
        });
        self.delete(Kind::Block, unused.collect()).await;
        Ok(())
    }

    async fn delete(&self, kind: Kind, names: Vec<String>) {
        let deletions = names.into_iter().map(|name| {
            let store = self.store.clone();
            async move { store.delete(kind, &name).await }.boxed()
        });
        let deletions: Vec<BoxFuture<'static, _>> = deletions.collect();
        let mut done = stream::iter(deletions).buffer_unordered(PARALLEL);
        while let Some(deleted) = done.next().await {
            if let Err(error) = deleted {
                tracing::warn!(%error, "something needless stays in the store of files");
            }
        }
    }
}

/// The tree after all batches; the number of its checkpoint, and of the next batch.
async fn replay(store: &Store) -> Result<(Tree, u64, u64), LogError> {
    let (mut tree, checkpoint) = newest_checkpoint(store).await?;
    let mut next = checkpoint + 1;
    let names = store.list(Kind::Log).await?;
    let numbers: Vec<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
    let last = numbers.last().copied();
    for number in numbers.into_iter().filter(|number| *number > checkpoint) {
        if number != next {
            return Err(LogError::Gap { number: next });
        }
        let json = match store.get(Kind::Log, &number_name(number)).await {
            // Torn when the power failed, before anything in it was answered.
            Err(StoreError::Damaged { path }) if Some(number) == last => {
                tracing::warn!(path, "the last change of files was not finished");
                store.delete(Kind::Log, &number_name(number)).await?;
                break;
            }
            found => found?,
        };
        let batch: Batch = parse("a batch of the log of files", &json)?;
        for entry in &batch.entries {
            tree.apply(entry)?;
        }
        next += 1;
    }
    Ok((tree, checkpoint, next))
}

/// The newest that is whole: batches before it are deleted only when it is.
async fn newest_checkpoint(store: &Store) -> Result<(Tree, u64), LogError> {
    let mut damaged = None;
    for name in store.list(Kind::Checkpoint).await?.into_iter().rev() {
        let Ok(number) = name.parse() else { continue };
        match store.get(Kind::Checkpoint, &name).await {
            Ok(json) => {
                let tree: Tree = parse("a checkpoint of files", &json)?;
                return Ok((tree.restore()?, number));
            }
            Err(error @ StoreError::Damaged { .. }) => damaged = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    match damaged {
        // Torn, then the log begins with the first batch.
        Some(error) if store.get(Kind::Log, &number_name(1)).await.is_err() => Err(error.into()),
        _ => Ok((Tree::default(), 0)),
    }
}

fn parse<T: serde::de::DeserializeOwned>(what: &str, json: &[u8]) -> Result<T, LogError> {
    serde_json::from_slice(json).map_err(|error| LogError::Malformed {
        what: what.to_owned(),
        reason: error.to_string(),
    })
}

fn number_name(number: u64) -> String {
    format!("{number:0DIGITS$}")
}

fn block_name(id: BlockId) -> String {
    format!("{:016x}-{:016x}", id.0, id.1)
}

fn parse_block(name: &str) -> Option<BlockId> {
    let (opening, number) = name.split_once('-')?;
    let parse = |text| u64::from_str_radix(text, 16).ok();
    Some(BlockId(parse(opening)?, parse(number)?))
}
