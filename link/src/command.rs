//! What a link's handles ask of its session's task, and the room in the outbox that goes with it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::error::LinkError;
use crate::message::{AcknowledgeToken, Message};
use crate::subscriptions::Change;

/// What the handles ask for.
#[derive(Debug)]
pub(crate) enum Command {
    Publish {
        message: Message,
        receipt: Receipt,
    },
    Acknowledge(AcknowledgeToken),
    Change {
        filter: String,
        change: Change,
        waiter: oneshot::Sender<Result<(), LinkError>>,
    },
    Flush(oneshot::Sender<()>),
    Close {
        drain: Duration,
        waiter: oneshot::Sender<Vec<Message>>,
    },
}

/// Travels with a message through the outbox; dropping it gives the room back.
#[derive(Debug)]
pub(crate) struct Receipt {
    pub(crate) room: OwnedSemaphorePermit,
    pub(crate) waiter: Option<oneshot::Sender<()>>,
}

/// Wakes those who wait for room when the session ends, however it ends.
#[derive(Debug)]
pub(crate) struct CloseOnDrop(Arc<Semaphore>);

impl CloseOnDrop {
    pub(crate) fn new(room: Arc<Semaphore>) -> Self {
        Self(room)
    }

    pub(crate) fn close(&self) {
        self.0.close();
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.close();
    }
}
