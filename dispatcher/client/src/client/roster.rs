//! The fleet's roster, read and published.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use wayfare_link::{LinkError, Message, Qos};
use wayfare_protocol::code::{PublicKey, SecretKey};
use wayfare_protocol::ids::{Challenge, EngineId, ProgramId};
use wayfare_protocol::status::ProgramStatus;
use wayfare_protocol::topics::Topic;
use wayfare_protocol::trust::roster::{Roster, RosterError};

use super::Client;
use crate::error::CommandError;
use crate::fleet::Vouched;
use crate::task::{News, ToTask};

/// Cards that a watcher may be behind: all that are retained come at once.
const CARDS_MAX: usize = 16_384;

/// Tells what is retained as the roster, whenever that changes. Nobody has verified it.
#[derive(Debug)]
pub struct RosterWatch {
    news: watch::Receiver<News>,
    last: Option<Vec<u8>>,
}

impl RosterWatch {
    /// Returns once there is another than the last, at once the first time. Safe to give up. `None` if the
    /// client is closed.
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
    /// Subscribes to the roster; returns once what is retained of it has been heard. `None` if closed, or not
    /// permitted.
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

    /// The cards of engines as they are retained, and what becomes of them: empty ones are taken away. Nobody
    /// has verified them. Returns once what is retained is there to be read. `None` if closed, or not
    /// permitted.
    pub async fn watch_cards(&self) -> Option<mpsc::Receiver<(EngineId, Vec<u8>)>> {
        let (sender, cards) = mpsc::channel(CARDS_MAX);
        self.tell(ToTask::WatchCards(sender)).await.ok()?;
        let filter = self.inner.topics.all_cards();
        self.inner.link.subscribe(filter, Qos::AtLeastOnce).await.ok()?;
        self.read_all().await.ok()?;
        Some(cards)
    }

    /// Retains the card of an engine, as it was signed, or takes it away; returns once the broker has taken
    /// it.
    pub async fn publish_card(&self, engine: &EngineId, card: Vec<u8>) -> Result<(), CommandError> {
        let topic = self.inner.topics.topic(&Topic::Card(engine.clone()));
        let published = self
            .inner
            .link
            .publish_acknowledged(Message::new(topic, card).retained())
            .await;
        published.map_err(|_| CommandError::Closed)
    }

    /// From now on what members of the roster vouch for counts, whatever anybody says: see
    /// [`Fleet::believe`].
    ///
    /// [`Fleet::believe`]: crate::fleet::Fleet::believe
    pub async fn believe(&self, vouched: Option<Arc<Vouched>>) {
        // A client that is closed believes nothing.
        let _ = self.tell(ToTask::Believe(vouched)).await;
    }

    /// What is retained of a program, with the proof that it was ordered to be where it is.
    pub async fn own_status(&self, program: ProgramId) -> Option<ProgramStatus> {
        let (answer, answered) = oneshot::channel();
        self.tell(ToTask::StatusOf { program, answer }).await.ok()?;
        answered.await.ok()?
    }

    pub(super) async fn challenge(&self, engine: &EngineId) -> Option<Challenge> {
        let (answer, answered) = oneshot::channel();
        let engine = engine.clone();
        self.tell(ToTask::Challenge { engine, answer }).await.ok()?;
        answered.await.ok()?
    }
}
