//! Operations of the whole fleet, which the acting dispatcher keeps; and orders of ours that wait for their engines, of which it is told.

use std::pin::pin;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::timeout;
use wayfare_link::Message;
use wayfare_protocol::dispatcher::{Reads, Request};
use wayfare_protocol::ids::OperationId;
use wayfare_protocol::topics::Topic;
use wayfare_protocol::wire;

use super::Client;
use crate::core::SETTLE_MS;
use crate::error::{AskError, CommandError};
use crate::operation::Operation;
use crate::operations::{
    OperationAsk, OperationRecord, OperationsPage, OperationsWanted, SERVICE, WaitingOrder, Withdrawn,
};
use crate::order::{CommandOptions, Offline};

/// Operations that are listed at most, where nothing else is said.
const OPERATIONS_MAX: usize = 100_000;
/// An order that waits is told of when it has waited for so long.
const TOLD_AFTER: Duration = Duration::from_millis(2 * SETTLE_MS);

impl Client {
    /// Operations, the latest first; `wanted.after` is seen to.
    pub async fn operations(
        &self,
        wanted: &OperationsWanted,
        limit: Duration,
    ) -> Result<Vec<OperationRecord>, AskError> {
        let most = wanted.limit.map_or(OPERATIONS_MAX, |limit| limit as usize);
        let mut found: Vec<OperationRecord> = Vec::new();
        loop {
            let left = u32::try_from(most.saturating_sub(found.len())).unwrap_or(u32::MAX);
            let page: OperationsPage = self
                .ask_operations(
                    &OperationAsk::List(OperationsWanted {
                        after: found.last().map(OperationRecord::place),
                        limit: Some(left),
                        ..wanted.clone()
                    }),
                    limit,
                )
                .await?;
            let is_last = !page.more || page.operations.is_empty();
            found.extend(page.operations);
            if is_last || found.len() >= most {
                return Ok(found);
            }
        }
    }

    pub async fn ask_operations<T: DeserializeOwned>(
        &self,
        ask: &OperationAsk,
        limit: Duration,
    ) -> Result<T, AskError> {
        self.ask_as(SERVICE, ask, limit).await
    }

    /// Gives an order. Of one that waits for its engine the acting dispatcher is told, and may have it withdrawn.
    pub(super) async fn given(
        &self,
        verb: &str,
        program: Option<&str>,
        engine: Option<&str>,
        options: &CommandOptions,
        give: impl Future<Output = Result<Operation, CommandError>>,
    ) -> Result<Operation, CommandError> {
        let (Offline::Wait, Some(operation)) = (options.offline, options.operation) else {
            return give.await;
        };
        let mut give = pin!(give);
        if let Ok(given) = timeout(TOLD_AFTER, &mut give).await {
            return given;
        }
        let waiting = OperationAsk::Waiting(WaitingOrder {
            operation,
            verb: verb.to_owned(),
            program: program.map(str::to_owned),
            engine: engine.map(str::to_owned),
            by: self.inner.by.clone(),
            time_limit_ms: options.time_limit_ms(),
        });
        // Whether there is a dispatcher that knows of operations changes nothing for the order.
        let told = self.ask_operations::<Withdrawn>(&waiting, options.time_limit);
        tokio::select! {
            biased;
            given = &mut give => {
                if let Err(error) = &given {
                    self.was_not_given(operation, error.to_string(), false).await;
                }
                given
            }
            Ok(Withdrawn { is_withdrawn: true, by }) = told => {
                let error = CommandError::Cancelled { by };
                self.was_not_given(operation, error.to_string(), true).await;
                Err(error)
            }
        }
    }

    /// Says so without waiting for an answer.
    async fn was_not_given(&self, operation: OperationId, reason: String, is_cancelled: bool) {
        let body = OperationAsk::NotGiven {
            operation,
            reason,
            is_cancelled,
        };
        let request = Request {
            request: OperationId::random(),
            client: self.inner.client.clone(),
            body: serde_json::to_value(body).expect("plain data serialises"),
            reads: Reads::TAGGED,
            by: self.inner.by.clone(),
        };
        let Ok(service) = SERVICE.parse() else { return };
        let topic = self.inner.topics.topic(&Topic::DispatcherRequest(service));
        // Lost, it is seen to have ended when its time is up.
        let _ = self
            .inner
            .link
            .publish(Message::new(topic, wire::encode(&request)))
            .await;
    }
}
