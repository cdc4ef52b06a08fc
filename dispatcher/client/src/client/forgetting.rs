//! Forgetting what is gone for good: programs that no engine has, and engines.
//!
//! What is forgotten is what the broker retains of it. An engine that comes back after all publishes it again, so nothing that lives is lost.

use std::collections::BTreeSet;

use tokio::sync::{mpsc, oneshot};
use wayfare_link::{LinkError, Message, Qos};
use wayfare_protocol::address::Address;
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::{EngineId, OperationId, ProgramId};
use wayfare_protocol::topics::Topic;

use super::Client;
use crate::error::CommandError;
use crate::fleet::ProgramView;
use crate::operation::Operation;
use crate::task::{ToTask, WATCHER_QUEUE_MAX};

impl Client {
    /// Clears what is retained of a program that no engine has.
    pub(super) async fn forget(&self, view: &ProgramView) -> Result<Operation, CommandError> {
        let program = view.status.program;
        self.clear_program(program).await?;
        let engine = view.status.engine.clone();
        Ok(Operation::settled(
            OperationId::random(),
            engine,
            Outcome::Killed { program },
        ))
    }

    /// Programs of which nothing is known but that they were on an engine.
    pub async fn programs_left_on(&self, engine: &EngineId) -> Result<Vec<ProgramView>, CommandError> {
        let mut programs = self.programs().await?;
        programs.retain(|view| view.status.engine == *engine);
        Ok(programs)
    }

    /// Clears what is retained of an engine that is not there, and of `programs` that were on it.
    pub async fn clear_engine(
        &self,
        engine: &EngineId,
        programs: &[ProgramView],
    ) -> Result<(), CommandError> {
        for view in programs {
            self.clear_program(view.status.program).await?;
        }
        self.clear(&Topic::EngineStatus(engine.clone())).await
    }

    /// Its status last: while that stands, this can be done again.
    async fn clear_program(&self, program: ProgramId) -> Result<(), CommandError> {
        for address in self.addresses_of(program).await? {
            self.clear(&Topic::Address(address, program)).await?;
        }
        self.clear(&Topic::ProgramStatus(program)).await
    }

    /// Under which addresses the program is announced.
    async fn addresses_of(&self, program: ProgramId) -> Result<BTreeSet<Address>, CommandError> {
        let (sender, mut announced) = mpsc::channel(WATCHER_QUEUE_MAX);
        let (registered, is_registered) = oneshot::channel();
        self.tell(ToTask::WatchAnnounced { sender, registered }).await?;
        is_registered.await.map_err(|_| CommandError::Closed)?;
        let filter = self.inner.topics.all_addresses_of(program);
        match self.inner.link.subscribe(&filter, Qos::AtLeastOnce).await {
            Ok(()) => {}
            // A broker's rules of an earlier release: then no program can have been announced either.
            Err(LinkError::SubscriptionRefused(_)) => return Ok(BTreeSet::new()),
            Err(_) => return Err(CommandError::Closed),
        }
        self.read_all().await.map_err(|_| CommandError::Closed)?;
        // Closed, it has ended as well.
        let _ = self.inner.link.unsubscribe(filter).await;
        let mut addresses = BTreeSet::new();
        while let Ok((address, of)) = announced.try_recv() {
            if of == program {
                addresses.insert(address);
            }
        }
        Ok(addresses)
    }

    async fn clear(&self, topic: &Topic) -> Result<(), CommandError> {
        let message = Message::new(self.inner.topics.topic(topic), Vec::new()).retained();
        let cleared = self.inner.link.publish_acknowledged(message).await;
        cleared.map_err(|_| CommandError::Closed)
    }
}
