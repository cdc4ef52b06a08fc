//! The fleet's roster, read and published.

use tokio::sync::{oneshot, watch};
use wayfare_link::{LinkError, Message, Qos};
use wayfare_protocol::code::{PublicKey, SecretKey};
use wayfare_protocol::ids::{Challenge, EngineId};
use wayfare_protocol::topics::Topic;
use wayfare_protocol::trust::roster::{Roster, RosterError};

use super::Client;
use crate::error::CommandError;
use crate::task::{News, ToTask};

/// Tells what is retained as the roster, whenever that changes. Nobody has verified it.
#[derive(Debug)]
pub struct RosterWatch {
    news: watch::Receiver<News>,
    last: Option<Vec<u8>>,
}

impl RosterWatch {
    /// Returns once there is another than the last, at once the first time. Safe to give up. `None` if the client is closed.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(found) = self.other() {
                self.last = Some(found.clone());
                return Some(found);
            }
            self.news.changed().await.ok()?;
        }
    }

    fn other(&mut self) -> Option<Vec<u8>> {
        let news = self.news.borrow_and_update();
        let is_other = news.roster.is_some() && news.roster != self.last;
        is_other.then(|| news.roster.clone()).flatten()
    }
}

impl Client {
    /// Subscribes to the roster; returns once what is retained of it has been heard. `None` if closed, or not permitted.
    pub async fn watch_roster(&self) -> Option<RosterWatch> {
        let topic = self.inner.topics.topic(&Topic::Roster);
        self.inner.link.subscribe(topic, Qos::AtLeastOnce).await.ok()?;
        let news = self.inner.news.clone();
        self.read_all().await.ok()?;
        Some(RosterWatch { news, last: None })
    }

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
