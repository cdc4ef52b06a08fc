//! The fleet's files, which programs see as `/fleet`.
//!
//! ```text
//!  requests, as many as wait --> core (decides) --> blocks --> log (durable together) --> answers
//!                                  tree <-- entries --'
//! ```
//! What always holds: a change is durable before it is answered, and is made once for each number of a
//! program's requests, as far back as [`requests::RECORDS_MAX`] numbers. All changes have one order, that of
//! the log, so that appending and renaming cannot come between each other. No more of a file is in memory
//! than the requests at hand read and write.

mod access;
mod blocks;
mod core;
mod entry;
mod log;
mod removed;
mod requests;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use wayfare_client::documents::now_ms;
use wayfare_protocol::error::Failure;
use wayfare_protocol::files::{FileAnswer, FileAsk, FileRequest};
use wayfare_protocol::values::Value;

use self::access::{FilesAccess, RETRY, Succeeded};
use self::blocks::{Block, BlockId, Content, Piece, assemble};
use self::core::{Decision, decide};
use self::entry::Change;
use self::log::{Log, LogError};
use self::tree::Tree;
use crate::context::Context;
use crate::durable::{Objects, opening};
use crate::requests::Asked;
use crate::requests::Inbox;

/// Requests that are made durable together.
const BATCH_MAX: usize = 64;
/// Blocks read at the same time.
const READING_MAX: usize = 16;

pub(super) async fn run(context: Context, mut inbox: Inbox) {
    let (location, place) = (context.options.files.clone(), context.place);
    let open = move || match &location {
        Some(location) => Objects::open(location),
        None => place.objects(),
    };
    let mut files = FilesAccess::open(open, RETRY).await;
    while let Some(first) = inbox.recv().await {
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX
            && let Ok(asked) = inbox.try_recv()
        {
            batch.push(asked);
        }
        let requests: Vec<_> = batch.iter().map(Asked::read::<FileRequest>).collect();
        let answers = match files.serve(&requests).await {
            Ok(answers) => answers,
            // Somebody else acts, or thinks so: standing by is the way out.
            Err(Succeeded) => return tracing::warn!("another dispatcher has the fleet's files now"),
        };
        for (asked, answer) in batch.into_iter().zip(answers) {
            asked.answer(answer.map(|answer| serde_json::to_value(answer).expect("plain data serialises")));
        }
        files.tidy().await;
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
    /// And why nothing can be put into the store, where that is so.
    async fn open(store: Objects) -> Result<(Self, Result<(), LogError>), LogError> {
        let (log, tree, claimed) = Log::open(store, opening()?).await?;
        let files = Self {
            log,
            tree,
            unused: Vec::new(),
        };
        Ok((files, claimed))
    }

    /// The answers, in order; what they tell of is durable. After an error nobody knows, and this is not to
    /// be used any more.
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
                        let applied = self.tree.apply_entry(&entry)?;
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

    /// Answers what needs no change, and refuses the rest.
    async fn answer(
        &self,
        requests: &[Result<FileRequest, Failure>],
        error: &LogError,
    ) -> Vec<Result<FileAnswer, Failure>> {
        let answering = requests.iter().map(|request| {
            let decision = request
                .as_ref()
                .map(|request| decide(&self.tree, request, now_ms()));
            match decision {
                Err(failure) => Answering::Ready(Err(failure.clone())),
                Ok(Decision::Answer(answer)) => Answering::Ready(Ok(answer)),
                Ok(Decision::Read(pieces)) => Answering::Read(pieces),
                Ok(Decision::Change(..)) => Answering::Ready(Err(Failure::Internal {
                    reason: format!("the dispatcher cannot store the change: {error}"),
                })),
            }
        });
        let fresh = BTreeMap::new();
        let answering: Vec<_> = answering
            .map(|answering| self.finish(answering, &fresh))
            .collect();
        stream::iter(answering).buffered(READING_MAX).collect().await
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
