//! The handle of one operation: its id, its progress, and its end.

use std::collections::BTreeMap;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use wayfare_protocol::bundle::{self, BundleHeader};
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::{EngineId, OperationId};

use crate::client::Client;
use crate::core::{Finished, Progress};
use crate::error::CommandError;

/// The span in which whatever is done for an operation is logged: engines name it and its field the same, so
/// that one id finds all of it everywhere.
pub fn span(operation: OperationId) -> tracing::Span {
    tracing::info_span!("operation", %operation)
}

/// A command on its way. Dropping it does not take the command back.
#[derive(Debug)]
pub struct Operation {
    id: OperationId,
    engine: Option<EngineId>,
    progress: watch::Receiver<Progress>,
    end: End,
    note: QueueNote,
}

/// What an order had to do with others that waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueNote {
    /// It is another client's, which waited already.
    pub is_joined: bool,
    /// Orders that were withdrawn for it,
    pub superseded: u32,
    /// and those whose clients did not answer: they are withdrawn when these are heard of again.
    pub unanswered: u32,
}

#[derive(Debug)]
enum End {
    Waiting(oneshot::Receiver<Result<Finished, CommandError>>),
    /// Another client's order, whose end is asked for until then.
    Joined {
        client: Client,
        until: Instant,
    },
    Settled(Box<Result<Finished, CommandError>>),
}

impl Operation {
    pub(crate) fn new(
        id: OperationId,
        engine: EngineId,
        progress: watch::Receiver<Progress>,
        end: oneshot::Receiver<Result<Finished, CommandError>>,
    ) -> Self {
        span(id).in_scope(|| tracing::debug!(%engine, "given"));
        Self {
            id,
            engine: Some(engine),
            progress,
            end: End::Waiting(end),
            note: QueueNote::default(),
        }
    }

    /// Another client's, whose end the dispatcher is asked for; nobody needs to wait for it.
    pub(crate) fn joined(id: OperationId, engine: Option<EngineId>, client: Client, until: Instant) -> Self {
        let progress = Progress {
            delivered: true,
            ..Progress::default()
        };
        Self {
            id,
            engine,
            progress: watch::channel(progress).1,
            end: End::Joined { client, until },
            note: QueueNote {
                is_joined: true,
                ..QueueNote::default()
            },
        }
    }

    pub(crate) fn noting(self, note: QueueNote) -> Self {
        Self { note, ..self }
    }

    /// One that needed no engine.
    pub(crate) fn settled(id: OperationId, engine: EngineId, outcome: Outcome) -> Self {
        let blobs = BTreeMap::new();
        let finished = Finished {
            engine: engine.clone(),
            outcome,
            blobs,
        };
        Self {
            id,
            engine: Some(engine),
            progress: watch::channel(Progress::default()).1,
            end: End::Settled(Box::new(Ok(finished))),
            note: QueueNote::default(),
        }
    }

    pub fn id(&self) -> OperationId {
        self.id
    }

    /// The engine that it was addressed to first. `None`: it is another client's, which waits for it.
    pub fn engine(&self) -> Option<&EngineId> {
        self.engine.as_ref()
    }

    pub fn queue_note(&self) -> QueueNote {
        self.note
    }

    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Waits for news: the progress, or `None` once it has settled. Safe to give up and call again.
    pub async fn progressed(&mut self) -> Option<Progress> {
        let settled = match &mut self.end {
            End::Waiting(end) => tokio::select! {
                result = end => result.unwrap_or(Err(CommandError::Closed)),
                Ok(()) = self.progress.changed() => return Some(*self.progress.borrow_and_update()),
            },
            End::Joined { client, until } => client.joined_end(self.id, *until).await,
            End::Settled(_) => return None,
        };
        self.end = End::Settled(Box::new(settled));
        None
    }

    /// Waits until the engine has accepted the command and has all that it needs from this client: from then
    /// on nobody needs to wait for it.
    pub async fn delivered(&mut self) -> Result<(), CommandError> {
        while !self.progress().delivered {
            if self.progressed().await.is_none() {
                break;
            }
        }
        match &self.end {
            End::Settled(result) => result.as_ref().as_ref().map(|_| ()).map_err(Clone::clone),
            End::Waiting(_) | End::Joined { .. } => Ok(()),
        }
    }

    pub async fn wait(mut self) -> Result<Finished, CommandError> {
        while self.progressed().await.is_some() {}
        match self.end {
            End::Settled(result) => *result,
            End::Waiting(_) | End::Joined { .. } => unreachable!("it has settled"),
        }
    }
}

impl Finished {
    /// A snapshot operation's result as the bytes of a snapshot file.
    pub fn into_bundle(self) -> Result<Vec<u8>, CommandError> {
        let Outcome::Captured {
            program,
            generation,
            spec,
            snapshot,
        } = self.outcome
        else {
            let answer = format!("{:?}", self.outcome);
            return Err(CommandError::Unexpected {
                engine: self.engine,
                verb: "snapshot",
                answer,
            });
        };
        let header = BundleHeader {
            program,
            generation,
            spec,
            snapshot,
        };
        Ok(bundle::encode(&header, |digest| {
            self.blobs.get(&digest).map_or(&[], Vec::as_slice)
        }))
    }
}
