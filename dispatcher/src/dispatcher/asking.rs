//! Asking the acting dispatcher of the fleet, and answering as it.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use wayfare_link::{Message, Qos};
use wayfare_protocol::dispatcher::{Answer, Answered, Lease, Request};
use wayfare_protocol::ids::{OperationId, PeerName};
use wayfare_protocol::topics::Topic;
use wayfare_protocol::wire;

use super::Dispatcher;
use crate::error::AskError;
use crate::task::{News, QUEUE_MAX, ToTask};

/// A request is repeated this often until it is answered: whoever acts may have changed meanwhile.
const REPEAT: Duration = Duration::from_secs(1);

impl Dispatcher {
    /// Asks a service of the acting dispatcher, and waits for its answer.
    pub async fn ask(&self, service: &str, body: Value, limit: Duration) -> Result<Value, AskError> {
        let service: PeerName = service.parse().map_err(|_| AskError::Closed)?;
        let request = Request {
            request: OperationId::random(),
            client: self.inner.client.clone(),
            body,
        };
        let (answer, mut answered) = oneshot::channel();
        let ask = ToTask::Ask {
            request: request.request,
            answer,
        };
        self.tell(ask).await.map_err(|_| AskError::Closed)?;
        let topic = self.inner.topics.topic(&Topic::DispatcherRequest(service));
        let payload = wire::encode(&request);
        let deadline = Instant::now() + limit;
        loop {
            let message = Message::new(topic.clone(), payload.clone());
            self.inner
                .link
                .publish(message)
                .await
                .map_err(AskError::from_link)?;
            let wait = REPEAT.min(deadline.saturating_duration_since(Instant::now()));
            match timeout(wait, &mut answered).await {
                Ok(Ok(Answered::Done(value))) => return Ok(value),
                Ok(Ok(Answered::Failed(failure))) => return Err(AskError::Failed(failure)),
                Ok(Err(_)) => return Err(AskError::Closed),
                Err(_) if Instant::now() >= deadline => {
                    let waited_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
                    return Err(AskError::NoDispatcher { waited_ms });
                }
                Err(_) => {}
            }
        }
    }

    /// Requests to the services of the acting dispatcher, which this must be.
    pub(crate) async fn requests(&self) -> Result<mpsc::Receiver<(PeerName, Request)>, AskError> {
        let (sender, requests) = mpsc::channel(QUEUE_MAX);
        let watch = ToTask::WatchRequests(sender);
        self.tell(watch).await.map_err(|_| AskError::Closed)?;
        Ok(requests)
    }

    /// The answer to a request. Returns whether the link took it; a lost one is asked for again.
    pub(crate) async fn answer(&self, client: PeerName, answer: &Answer) -> bool {
        let topic = self.inner.topics.topic(&Topic::Reply(client));
        self.inner
            .link
            .publish(Message::new(topic, wire::encode(answer)))
            .await
            .is_ok()
    }

    /// Says who acts, and returns once the broker has taken it.
    pub(crate) async fn say_lease(&self, lease: &Lease) -> bool {
        let topic = self.inner.topics.topic(&Topic::DispatcherLease);
        let message = Message::new(topic, wire::encode(lease)).retained();
        self.inner.link.publish_acknowledged(message).await.is_ok()
    }

    /// Who acts, as last heard; `None` if nobody has said so.
    pub(crate) fn lease(&self) -> Option<Lease> {
        self.inner.news.borrow().lease.clone()
    }

    /// Subscribes to the lease; returns once what is retained of it has been heard. `None` if closed.
    pub(crate) async fn watch_lease(&self) -> Option<watch::Receiver<News>> {
        let topic = self.inner.topics.topic(&Topic::DispatcherLease);
        self.inner.link.subscribe(topic, Qos::AtLeastOnce).await.ok()?;
        let mut news = self.inner.news.clone();
        let before = news.borrow().barrier;
        self.tell(ToTask::Barrier).await.ok()?;
        news.wait_for(|news| news.barrier > before).await.ok()?;
        Some(news)
    }

    /// Returns when the dispatcher is closed, or its session has ended.
    pub(crate) async fn closed(&self) {
        let mut news = self.inner.news.clone();
        // Never so: it ends when whoever tells the news does.
        let _ = news.wait_for(|_| false).await;
    }
}
