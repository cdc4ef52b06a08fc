//! The fleet's files in a store of objects: their contents in blocks, and the order of all changes in
//! batches.
//!
//! ```text
//!  blocks/<opening>-<number>      contents; put before the batch that first refers to them
//!  log/<number>                   a batch of entries: see [`BatchLog`]
//!  checkpoints/<number>           the whole tree after that batch
//! ```
//! Blocks have names that are never used again, so nothing that a predecessor still deletes or puts can touch
//! what is referred to.

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::blocks::BlockId;
use super::entry::Entry;
use super::tree::{Misfit, Tree};
pub(super) use crate::durable::LogError;
use crate::durable::{BatchLog, Kind, Objects, PARALLEL, Replayed, delete_all, parse, put_again};

#[derive(Debug)]
pub(super) struct Log {
    batches: BatchLog,
    opening: u64,
    next_block: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    opening: u64,
    entries: Vec<Entry>,
}

impl Batch {
    fn json(opening: u64, entries: Vec<Entry>) -> Vec<u8> {
        serde_json::to_vec(&Self { opening, entries }).expect("plain data serialises")
    }
}

impl From<Misfit> for LogError {
    fn from(misfit: Misfit) -> Self {
        Self::Malformed {
            what: "the log of files".into(),
            reason: misfit.to_string(),
        }
    }
}

impl Replayed for Tree {
    fn restore(checkpoint: &[u8]) -> Result<Self, LogError> {
        let tree: Self = parse("a checkpoint of files", checkpoint)?;
        Ok(tree.restored()?)
    }

    fn apply(&mut self, batch: &[u8]) -> Result<(), LogError> {
        let batch: Batch = parse("a batch of the log of files", batch)?;
        for entry in &batch.entries {
            self.apply_entry(entry)?;
        }
        Ok(())
    }

    fn checkpoint(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data serialises")
    }
}

impl Log {
    /// The tree as it is after the last batch, and whether nobody else can put one any more; where not, the
    /// store can only be read. `opening` has never been anybody's.
    pub(super) async fn open(
        store: Objects,
        opening: u64,
    ) -> Result<(Self, Tree, Result<(), LogError>), LogError> {
        let (batches, tree, claimed) = BatchLog::open(store, &Batch::json(opening, Vec::new())).await?;
        let log = Self {
            batches,
            opening,
            next_block: 0,
        };
        let claimed = match claimed {
            Ok(()) => log.sweep(&tree).await,
            refused => refused,
        };
        Ok((log, tree, claimed))
    }

    /// Makes the store ours, if nobody has put anything since it was read.
    pub(super) async fn claim(&mut self, tree: &Tree) -> Result<(), LogError> {
        self.batches.claim(&Batch::json(self.opening, Vec::new())).await?;
        self.sweep(tree).await
    }

    pub(super) fn name_block(&mut self) -> BlockId {
        self.next_block += 1;
        BlockId(self.opening, self.next_block)
    }

    pub(super) async fn put_blocks<'a>(&'a self, blocks: &'a [(BlockId, Vec<u8>)]) -> Result<(), LogError> {
        let store = &self.batches.store;
        let put = |(id, content): &'a (BlockId, Vec<u8>)| {
            async move { put_again(store, Kind::Block, &block_name(*id), content).await }.boxed()
        };
        let puts: Vec<BoxFuture<'a, _>> = blocks.iter().map(put).collect();
        stream::iter(puts)
            .buffer_unordered(PARALLEL)
            .try_collect::<()>()
            .await?;
        Ok(())
    }

    pub(super) async fn block(&self, id: BlockId) -> Result<bytes::Bytes, LogError> {
        Ok(self.batches.store.get(Kind::Block, &block_name(id)).await?)
    }

    /// Nobody refers to them any more. What is not deleted now is when the store is opened next.
    pub(super) async fn delete_blocks(&self, blocks: Vec<BlockId>) {
        let names = blocks.into_iter().map(block_name).collect();
        delete_all(&self.batches.store, Kind::Block, names).await;
    }

    pub(super) async fn commit(&mut self, entries: Vec<Entry>) -> Result<(), LogError> {
        self.batches.commit(&Batch::json(self.opening, entries)).await
    }

    /// Makes a checkpoint if one is due. A failure leaves the log longer, and nothing else.
    pub(super) async fn make_checkpoint(&mut self, tree: &Tree) {
        self.batches.make_checkpoint(tree).await;
    }

    /// Deletes blocks of earlier openings that nothing refers to: of changes that were not finished.
    async fn sweep(&self, tree: &Tree) -> Result<(), LogError> {
        let names = self.batches.store.list(Kind::Block).await?;
        let unused = names.into_iter().filter(|name| {
            let id = parse_block(name);
            id.is_some_and(|id| id.0 != self.opening && !tree.refers_to(id))
        });
        delete_all(&self.batches.store, Kind::Block, unused.collect()).await;
        Ok(())
    }
}

fn block_name(id: BlockId) -> String {
    format!("{:016x}-{:016x}", id.0, id.1)
}

fn parse_block(name: &str) -> Option<BlockId> {
    let (opening, number) = name.split_once('-')?;
    let parse = |text| u64::from_str_radix(text, 16).ok();
    Some(BlockId(parse(opening)?, parse(number)?))
}
