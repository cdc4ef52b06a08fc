//! The handle of one operation: its id, its progress, and its end.

use std::collections::BTreeMap;

use tokio::sync::{oneshot, watch};
use wayfare_protocol::bundle::{self, BundleHeader};
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::{EngineId, OperationId};

use crate::core::{Finished, Progress};
use crate::error::CommandError;

/// A command on its way. Dropping it does not take the command back.
#[derive(Debug)]
pub struct Operation {
    id: OperationId,
    engine: EngineId,
    progress: watch::Receiver<Progress>,
    end: End,
}

#[derive(Debug)]
enum End {
    Waiting(oneshot::Receiver<Result<Finished, CommandError>>),
    Settled(Box<Result<Finished, CommandError>>),
}

impl Operation {
    pub(crate) fn new(
        id: OperationId,
        engine: EngineId,
        progress: watch::Receiver<Progress>,
        end: oneshot::Receiver<Result<Finished, CommandError>>,
    ) -> Self {
        Self {
            id,
            engine,
            progress,
            end: End::Waiting(end),
        }
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
            engine,
            progress: watch::channel(Progress::default()).1,
            end: End::Settled(Box::new(Ok(finished))),
        }
    }

    pub fn id(&self) -> OperationId {
        self.id
    }

    /// The engine that it was addressed to first.
    pub fn engine(&self) -> &EngineId {
        &self.engine
    }

    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Waits for news: the progress, or `None` once it has settled. Safe to give up and call again.
    pub async fn progressed(&mut self) -> Option<Progress> {
        let End::Waiting(end) = &mut self.end else {
            return None;
        };
        let settled = tokio::select! {
            result = end => result,
            Ok(()) = self.progress.changed() => return Some(*self.progress.borrow_and_update()),
        };
        self.end = End::Settled(Box::new(settled.unwrap_or(Err(CommandError::Closed))));
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
            End::Waiting(_) => Ok(()),
        }
    }

    pub async fn wait(mut self) -> Result<Finished, CommandError> {
        while self.progressed().await.is_some() {}
        match self.end {
            End::Settled(result) => *result,
            End::Waiting(end) => end.await.unwrap_or(Err(CommandError::Closed)),
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
