//! The fleet's roster, read and published.

use tokio::sync::oneshot;
use wayfare_link::{LinkError, Message, Qos};
use wayfare_protocol::code::{PublicKey, SecretKey};
use wayfare_protocol::ids::{Challenge, EngineId};
use wayfare_protocol::topics::Topic;
use wayfare_protocol::trust::roster::{Roster, RosterError};

use super::Client;
use crate::error::CommandError;
use crate::task::ToTask;

impl Client {
    /// The roster that is retained, if `root` has signed it; `None`: there is none.
    pub async fn roster(
        &self,
        root: &PublicKey,
    ) -> Result<Option<Result<Roster, RosterError>>, CommandError> {
        let topic = self.inner.topics.topic(&Topic::Roster);
        match self.inner.link.subscribe(&topic, Qos::AtLeastOnce).await {
            Ok(()) => {}
            // A broker's rules of an earlier release.
            Err(LinkError::SubscriptionRefused(_)) => return Ok(None),
            Err(_) => return Err(CommandError::Closed),
        }
        self.read_all().await.map_err(|_| CommandError::Closed)?;
        // Closed, it has ended as well.
        let _ = self.inner.link.unsubscribe(&topic).await;
        let payload = self.inner.news.borrow().roster.clone();
        let payload = payload.filter(|payload| !payload.is_empty());
        Ok(payload.map(|payload| Roster::verify(root, &topic, &payload)))
    }

    /// Retains a roster; returns once the broker has taken it. Engines take it over if it is of a higher
    /// version than theirs.
    pub async fn publish_roster(&self, root: &SecretKey, roster: &Roster) -> Result<(), CommandError> {
        let topic = self.inner.topics.topic(&Topic::Roster);
        let message = Message::new(topic.clone(), roster.encode(root, &topic)).retained();
        let published = self.inner.link.publish_acknowledged(message).await;
        published.map_err(|_| CommandError::Closed)
    }

    pub(super) async fn challenge(&self, engine: &EngineId) -> Option<Challenge> {
        let (answer, answered) = oneshot::channel();
        let engine = engine.clone();
        self.tell(ToTask::Challenge { engine, answer }).await.ok()?;
        answered.await.ok()?
    }
}
