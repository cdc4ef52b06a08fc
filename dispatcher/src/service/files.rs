//! The fleet's files, which programs see as `/fleet`.
//!
//! ```text
//!  requests, as many as wait --> core (decides) --> blocks --> log (durable together) --> answers
//!                                  tree <-- entries --'
//! ```
//! What always holds: a change is durable before it is answered, and is made once for each number of a program's requests, as far back as
//! [`requests::RECORDS_MAX`] numbers. All changes have one order, that of the log, so that appending and renaming cannot come between each
//! other. No more of a file is in memory than the requests at hand read and write.

mod blocks;
mod core;
mod log;
mod removed;
mod requests;
mod store;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use tokio::time::Instant;
use wayfare_protocol::error::Failure;
use wayfare_protocol::files::{FileAnswer, FileAsk, FileRequest};
use wayfare_protocol::values::Value;

use self::blocks::{Block, BlockId, Content, Piece, assemble};
use self::core::{Decision, decide};
use self::log::{Log, LogError};
use self::store::Store;
use self::tree::{Change, Tree};
use super::requests::Asked;
use super::{Context, Inbox};

/// Requests that are made durable together.
const BATCH_MAX: usize = 64;
/// Blocks read at the same time.
const READING_MAX: usize = 16;
/// A store that could not be reached is tried again after this.
const RETRY: Duration = Duration::from_secs(1);
/// Whoever asks waits for so long for a store that cannot be reached, and is told then.
const PATIENCE: Duration = Duration::from_secs(10);
/// A batch that could not be stored is tried again so often, with the store opened anew.
const TRIES_MAX: usize = 3;

pub(super) async fn run(context: Context, mut inbox: Inbox) {
    let location = match &context.options.files {
        Some(location) => location.clone(),
        None => context.data.to_string_lossy().into_owned(),
    };
    let Some(mut files) = open(&location, &mut inbox).await else {
        return;
    };
    while let Some(first) = inbox.recv().await {
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX
            && let Ok(asked) = inbox.try_recv()
        {
            batch.push(asked);
        }
        let requests: Vec<_> = batch.iter().map(Asked::read::<FileRequest>).collect();
        let mut tries = 1;
        let answers = loop {
            match files.serve(&requests, now_ms()).await {
                Ok(answers) => break answers,
                // Somebody else acts, or thinks so: standing by is the way out.
                Err(LogError::Succeeded) => {
                    return tracing::warn!("another dispatcher has the fleet's files now");
                }
                Err(error) => {
                    tracing::error!(%error, tries, "the fleet's files cannot be stored");
                    // What came of it is only known when the store is read again.
                    match open(&location, &mut inbox).await {
                        Some(opened) => files = opened,
                        None => return,
                    }
                    if tries == TRIES_MAX {
                        let failed = |_: &_| Err(failure(&error.to_string()));
                        break requests.iter().map(failed).collect();
                    }
                    tries += 1;
                }
            }
        };
        for (asked, answer) in batch.into_iter().zip(answers) {
            asked.answer(answer.map(|answer| serde_json::to_value(answer).expect("plain data serialises")));
        }
        files.tidy().await;
    }
}

/// Until it can be; whoever asks meanwhile is told after a while. `None`: the inbox has ended.
async fn open(location: &str, inbox: &mut Inbox) -> Option<Files> {
    let begun = Instant::now();
    loop {
        let reason = match Files::open(location).await {
            Ok(files) => return Some(files),
            Err(error) => error.to_string(),
        };
        tracing::error!(location, reason, "the fleet's files cannot be reached");
        tokio::time::sleep(RETRY).await;
        while begun.elapsed() >= PATIENCE {
            match inbox.try_recv() {
                Ok(asked) => asked.answer(Err(failure(&reason))),
                Err(tokio::sync::mpsc::error::TryRecvError::Empty) => break,
                Err(tokio::sync::mpsc::error::TryRecvError::Disconnected) => return None,
            }
        }
    }
}

fn failure(reason: &str) -> Failure {
    Failure::Internal {
        reason: format!("the dispatcher cannot reach the fleet's files: {reason}"),
    }
}

struct Files {
    log: Log,
    tree: Tree,
    /// Blocks that can be deleted: what is durable does not refer to them.
    unused: Vec<BlockId>,
}

/// What will be answered.
enum Answering {
    Ready(Result<FileAnswer, Failure>),
    Read(Vec<Piece>),
}

impl Files {
    async fn open(location: &str) -> Result<Self, LogError> {
        Self::open_store(Store::open(location)?).await
    }

    async fn open_store(store: Store) -> Result<Self, LogError> {
        let mut random = [0; 8];
        // A number that somebody has had would let blocks be overwritten.
        getrandom::fill(&mut random).map_err(|error| LogError::Malformed {
            what: "the system's randomness".into(),
            reason: error.to_string(),
        })?;
        let (log, tree) = Log::open(store, u64::from_le_bytes(random)).await?;
        Ok(Self {
            log,
            tree,
            unused: Vec::new(),
        })
    }

    /// The answers, in order; what they tell of is durable. After an error nobody knows, and this is not to be used any more.
    async fn serve(
        &mut self,
        requests: &[Result<FileRequest, Failure>],
        now_ms: u64,
    ) -> Result<Vec<Result<FileAnswer, Failure>>, LogError> {
        let (mut answering, mut entries) = (Vec::new(), Vec::new());
        let mut fresh: BTreeMap<BlockId, Bytes> = BTreeMap::new();
        let mut unused = Vec::new();
        for request in requests {
            let request = match request {
                Ok(request) => request,
                Err(failure) => {
                    answering.push(Answering::Ready(Err(failure.clone())));
                    continue;
                }
            };
            answering.push(match decide(&self.tree, request, now_ms) {
                Decision::Answer(answer) => Answering::Ready(Ok(answer)),
                Decision::Read(pieces) => Answering::Read(pieces),
                Decision::Change(mut changes, pieces) => {
                    if let Some(Change::Splice { blocks, .. }) =
                        changes.last_mut().map(|last| &mut last.change)
                    {
                        *blocks = self.make_blocks(pieces, request, &mut fresh).await?;
                    }
                    let mut answer = FileAnswer::Done;
                    for entry in changes {
                        let applied = self.tree.apply(&entry)?;
                        unused.extend(applied.unused);
                        entries.push(entry);
                        answer = applied.answer;
                    }
                    Answering::Ready(Ok(answer))
                }
            });
        }
        let reading = answering
            .into_iter()
            .map(|answering| self.finish(answering, &fresh));
        let answers: Vec<_> = stream::iter(reading).buffered(READING_MAX).collect().await;
        if !entries.is_empty() {
            // What was replaced within the batch is not put at all.
            let put: Vec<_> = fresh
                .into_iter()
                .filter(|(id, _)| self.tree.refers_to(*id))
                .map(|(id, content)| (id, content.to_vec()))
                .collect();
            self.log.put_blocks(&put).await?;
            self.log.commit(entries).await?;
        }
        self.unused.extend(unused);
        Ok(answers)
    }

    /// What follows from answers, and nobody waits for.
    async fn tidy(&mut self) {
        let unused = std::mem::take(&mut self.unused);
        self.log.delete_blocks(unused).await;
        self.log.make_checkpoint(&self.tree).await;
    }

    async fn make_blocks(
        &mut self,
        pieces: Vec<Piece>,
        request: &FileRequest,
        fresh: &mut BTreeMap<BlockId, Bytes>,
    ) -> Result<Vec<Block>, LogError> {
        let mut contents = Vec::new();
        for piece in pieces {
            contents.push(match (piece, &request.what) {
                (Piece::Written, FileAsk::Write { data, .. }) => Content::Stored(data.as_bytes().to_vec()),
                (Piece::Written, _) => continue,
                (Piece::Zeros(count), _) => Content::Zeros(count),
                (Piece::Part { id, from, bytes }, _) => {
                    let part = self.part(id, (from, bytes), fresh).await?;
                    Content::Stored(part.to_vec())
                }
            });
        }
        let blocks = assemble(contents).into_iter().map(|content| match content {
            Content::Zeros(bytes) => Block { id: None, bytes },
            Content::Stored(content) => {
                let (id, bytes) = (self.log.name_block(), content.len() as u64);
                fresh.insert(id, content.into());
                Block { id: Some(id), bytes }
            }
        });
        Ok(blocks.collect())
    }

    async fn finish(
        &self,
        answering: Answering,
        fresh: &BTreeMap<BlockId, Bytes>,
    ) -> Result<FileAnswer, Failure> {
        let pieces = match answering {
            Answering::Ready(answer) => return answer,
            Answering::Read(pieces) => pieces,
        };
        let mut data = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Written => {}
                // No more than was asked for, which is bounded.
                Piece::Zeros(count) => data.resize(data.len() + count as usize, 0),
                Piece::Part { id, from, bytes } => {
                    let part = self.part(id, (from, bytes), fresh).await;
                    data.extend(part.map_err(|error| failure(&error.to_string()))?);
                }
            }
        }
        let data = Value::new(data).ok_or_else(|| failure("more was read than was asked for"))?;
        Ok(FileAnswer::Data { data })
    }

    async fn part(
        &self,
        id: BlockId,
        (from, bytes): (u64, u64),
        fresh: &BTreeMap<BlockId, Bytes>,
    ) -> Result<Bytes, LogError> {
        let content = match fresh.get(&id) {
            Some(content) => content.clone(),
            None => self.log.block(id).await?,
        };
        // Blocks are short.
        let (from, upto) = (from as usize, (from + bytes) as usize);
        match upto <= content.len() {
            true => Ok(content.slice(from..upto)),
            false => Err(LogError::Malformed {
                what: "a block of a file".into(),
                reason: "it is too short".into(),
            }),
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
