//! Forgetting what is gone for good, programs that no engine has, and engines; and announcing that programs
//! are lost with their engine.
//!
//! What is forgotten is what the broker retains of it. An engine that comes back after all publishes it
//! again, so nothing that lives is lost.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use wayfare_link::{LinkError, Message, Qos};
use wayfare_protocol::address::{Address, Announcement};
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::{EngineId, OperationId, ProgramId};
use wayfare_protocol::topics::Topic;
use wayfare_protocol::wire;

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
        let programs = self.programs().await?;
        let left = programs.iter().filter(|view| view.status.engine == *engine);
        Ok(left.cloned().collect())
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
        self.withdraw(program).await?;
        self.clear(&Topic::ProgramStatus(program)).await
    }

    /// Withdraws a program that is no more from all its addresses: its callers do not wait for it any longer.
    pub async fn withdraw(&self, program: ProgramId) -> Result<(), CommandError> {
        for (address, payload) in self.announced(program).await? {
            // A program leaves an engine's address by moving too.
            if address.is_of_engine()
                && let Ok(announcement) = wire::decode::<Announcement>(&payload)
            {
                self.announce_gone(address.clone(), announcement).await?;
            }
            self.clear(&Topic::Address(address, program)).await?;
        }
        Ok(())
    }

    /// Announces that nobody answers for a program, whose engine is lost, until that announces it again.
    pub async fn announce_lost(&self, program: ProgramId, engine: &EngineId) -> Result<(), CommandError> {
        for (address, payload) in self.announced(program).await? {
            if let Ok(announcement) = wire::decode::<Announcement>(&payload)
                && announcement.engine == *engine
            {
                self.announce_gone(address, announcement).await?;
            }
        }
        Ok(())
    }

    async fn announce_gone(&self, address: Address, announced: Announcement) -> Result<(), CommandError> {
        if announced.gone {
            return Ok(());
        }
        let topic = Topic::Address(address, announced.program);
        let gone = Announcement {
            gone: true,
            ..announced
        };
        self.retain(&topic, wire::encode(&gone)).await
    }

    /// What is announced of the program, by address.
    async fn announced(&self, program: ProgramId) -> Result<BTreeMap<Address, Bytes>, CommandError> {
        let (sender, mut announced) = mpsc::channel(WATCHER_QUEUE_MAX);
        let (registered, is_registered) = oneshot::channel();
        self.tell(ToTask::WatchAnnounced {
            program,
            sender,
            registered,
        })
        .await?;
        is_registered.await.map_err(|_| CommandError::Closed)?;
        let filter = self.inner.topics.all_addresses_of(program);
        match self.inner.link.subscribe(&filter, Qos::AtLeastOnce).await {
            Ok(()) => {}
            // A broker's rules of an earlier release: then no program can have been announced either.
            Err(LinkError::SubscriptionRefused(_)) => return Ok(BTreeMap::new()),
            Err(_) => return Err(CommandError::Closed),
        }
        self.read_all().await.map_err(|_| CommandError::Closed)?;
        // Closed, it has ended as well.
        let _ = self.inner.link.unsubscribe(filter).await;
        let mut found = BTreeMap::new();
        while let Ok((address, payload)) = announced.try_recv() {
            found.insert(address, payload);
        }
        Ok(found)
    }

    async fn clear(&self, topic: &Topic) -> Result<(), CommandError> {
        self.retain(topic, Vec::new()).await
    }

    async fn retain(&self, topic: &Topic, payload: Vec<u8>) -> Result<(), CommandError> {
        let message = Message::new(self.inner.topics.topic(topic), payload).retained();
        let retained = self.inner.link.publish_acknowledged(message).await;
        retained.map_err(|_| CommandError::Closed)
    }
}
