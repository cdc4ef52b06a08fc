//! Operations of the whole fleet, which the acting dispatcher keeps.

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::Client;
use crate::error::AskError;
use crate::operations::{OperationAsk, OperationRecord, OperationsPage, OperationsWanted, SERVICE};

/// Operations that are listed at most, where nothing else is said.
const OPERATIONS_MAX: usize = 100_000;

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
}
