//! Forgetting what is gone for good: programs that no engine has, and engines.
//!
//! What is forgotten is what the broker retains of it. An engine that comes back after all publishes it again, so nothing that lives is lost.

use wayfare_link::Message;
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::{EngineId, OperationId};
use wayfare_protocol::topics::Topic;

use super::Client;
use crate::error::CommandError;
use crate::fleet::ProgramView;
use crate::operation::Operation;

impl Client {
    /// Clears the retained status of a program that no engine has.
    pub(super) async fn forget(&self, view: &ProgramView) -> Result<Operation, CommandError> {
        let program = view.status.program;
        self.clear(&Topic::ProgramStatus(program)).await?;
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
            self.clear(&Topic::ProgramStatus(view.status.program)).await?;
        }
        self.clear(&Topic::EngineStatus(engine.clone())).await
    }

    async fn clear(&self, topic: &Topic) -> Result<(), CommandError> {
        let message = Message::new(self.inner.topics.topic(topic), Vec::new()).retained();
        let cleared = self.inner.link.publish_acknowledged(message).await;
        cleared.map_err(|_| CommandError::Closed)
    }
}
