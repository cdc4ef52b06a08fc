//! Holding an application: it is there for as long as somebody does.

use std::time::Duration;

use super::Client;
use crate::app::AppSpec;
use crate::app::ask::{Ask, Holding, Lasts, LetGo};
use crate::error::AskError;

impl Client {
    /// Holds an application, which is begun where it is absent. What it is made of is
    /// [uploaded](Client::upload) before. A lease is [renewed](Client::renew) within [`Holding::lease_ms`].
    pub async fn acquire(
        &self,
        spec: &AppSpec,
        holder: &str,
        lasts: Lasts,
        limit: Duration,
    ) -> Result<Holding, AskError> {
        let ask = Ask::Acquire {
            spec: spec.clone(),
            holder: holder.to_owned(),
            lasts,
        };
        self.ask_apps(&ask, limit).await
    }

    /// Holds it by its lease for longer. Refused as [`AskError::is_not_held`] where the lease was over, or
    /// the application was removed.
    pub async fn renew(&self, application: &str, holder: &str, limit: Duration) -> Result<Holding, AskError> {
        let ask = Ask::Renew {
            application: application.to_owned(),
            holder: holder.to_owned(),
        };
        self.ask_apps(&ask, limit).await
    }

    /// Holds it no more: the last one ends what was begun so.
    pub async fn let_go(&self, application: &str, holder: &str, limit: Duration) -> Result<LetGo, AskError> {
        let ask = Ask::LetGo {
            application: application.to_owned(),
            holder: holder.to_owned(),
        };
        self.ask_apps(&ask, limit).await
    }
}
