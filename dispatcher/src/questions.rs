//! What the service for lists asks the others, which know what is listed, within this process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, oneshot};
use wayfare_client::ProgramView;
use wayfare_client::app::ask::Mark;
use wayfare_client::app::programs::ProgramAbout;
use wayfare_client::numbers::{EngineLoad, ProgramLoad};
use wayfare_protocol::ids::{EngineId, ProgramId};

/// Questions that wait; who has one more waits himself.
const QUESTIONS_MAX: usize = 64;

/// What the service for applications is asked of what it knows.
#[derive(Debug)]
pub(crate) enum KnownAsk {
    /// Programs with what is known of them, and how many others had ended long ago.
    Programs {
        look: KnownPrograms,
        answer: oneshot::Sender<(Vec<(ProgramView, ProgramAbout)>, usize)>,
    },
    /// Engines that get nothing new.
    Marks {
        answer: oneshot::Sender<BTreeMap<EngineId, Mark>>,
    },
}

/// Which programs, in the order of their ids.
#[derive(Debug)]
pub(crate) struct KnownPrograms {
    pub(crate) after: Option<ProgramId>,
    pub(crate) count: usize,
    /// Only those that had not ended long ago by then.
    pub(crate) recent_at_ms: Option<u64>,
    /// What has changed in the fleet by now is to be seen first, and those that are left out are counted.
    pub(crate) is_first: bool,
}

/// What the service for numbers is asked.
#[derive(Debug)]
pub(crate) enum MeasuredAsk {
    /// Measures these engines, or all, as far as that was not done in the last second; answered when it is
    /// done.
    Measure {
        engines: Option<BTreeSet<EngineId>>,
        done: oneshot::Sender<()>,
    },
    /// What is there of these.
    Programs {
        programs: Vec<ProgramId>,
        answer: oneshot::Sender<BTreeMap<ProgramId, ProgramLoad>>,
    },
    Engines {
        engines: Vec<EngineId>,
        answer: oneshot::Sender<BTreeMap<EngineId, EngineLoad>>,
    },
}

/// Questions of services to one of them, within this process.
#[derive(Debug)]
pub(crate) struct Questions<T> {
    sender: mpsc::Sender<T>,
    receiver: Arc<Mutex<mpsc::Receiver<T>>>,
}

impl<T> Clone for Questions<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            receiver: Arc::clone(&self.receiver),
        }
    }
}

impl<T> Questions<T> {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(QUESTIONS_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        Self { sender, receiver }
    }

    /// Asks, and waits for the answer; `None`: the service that is asked has ended, or drops the question.
    pub(crate) async fn ask<A>(&self, question: impl FnOnce(oneshot::Sender<A>) -> T) -> Option<A> {
        let (answer, answered) = oneshot::channel();
        self.sender.send(question(answer)).await.ok()?;
        answered.await.ok()
    }

    /// For the one that answers them.
    pub(crate) async fn receiver(&self) -> OwnedMutexGuard<mpsc::Receiver<T>> {
        Arc::clone(&self.receiver).lock_owned().await
    }
}
