//! Asking the acting dispatcher of the fleet, and answering as it.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use wayfare_link::{Message, Qos};
use wayfare_protocol::device::{DeviceAsk, Reading};
use wayfare_protocol::dispatcher::{ACTING_NAME, Answer, Answered, Asker, Lease, Reads, Request};
use wayfare_protocol::error::Failure;
use wayfare_protocol::files::{self, FileAnswer, FileRequest};
use wayfare_protocol::ids::{EngineId, Generation, OperationId, PeerName, ProgramId};
use wayfare_protocol::journal::{JournalAsk, JournalPage};
use wayfare_protocol::numbers::{EngineNumbers, NumbersAsk};
use wayfare_protocol::open_calls::{OpenCalls, OpenCallsAsk};
use wayfare_protocol::peer::{Envelope, PeerMessage};
use wayfare_protocol::status::ProgramStatus;
use wayfare_protocol::topics::Topic;
use wayfare_protocol::trust::place::{Holding, Place};
use wayfare_protocol::values::{self, ValueAnswer, ValueAsk, ValueRequest};
use wayfare_protocol::wire;

use super::Client;
use crate::app::ask::{AppStatus, Ask, Decision, HistoryPage, SERVICE, StatusPage, VersionStatus};
use crate::error::AskError;
use crate::signing;
use crate::task::{IncomingRequest, News, QUEUE_MAX, ToTask, WATCHER_QUEUE_MAX};

/// A request is repeated this often until it is answered: whoever acts may have changed meanwhile.
const REPEAT: Duration = Duration::from_secs(1);

/// Tells who acts, whenever that changes.
#[derive(Debug)]
pub struct LeaseWatch(watch::Receiver<News>);

impl LeaseWatch {
    /// Who acts, as last heard; `None` if nobody has said so.
    pub fn latest(&mut self) -> Option<Lease> {
        self.0.borrow_and_update().lease.clone()
    }

    /// Returns once there is news. `None` if the client is closed.
    pub async fn changed(&mut self) -> Option<()> {
        self.0.changed().await.ok()
    }
}

impl Client {
    /// Asks a service of the acting dispatcher, and waits for its answer.
    pub async fn ask(&self, service: &str, body: Value, limit: Duration) -> Result<Value, AskError> {
        let service: PeerName = service.parse().map_err(|_| AskError::Closed)?;
        self.ask_at(&Topic::DispatcherRequest(service), body, limit).await
    }

    /// Asks an engine about one of its devices.
    pub async fn device(
        &self,
        engine: &EngineId,
        ask: &DeviceAsk,
        limit: Duration,
    ) -> Result<Reading, AskError> {
        let body = serde_json::to_value(ask).expect("plain data serialises");
        self.ask_engine(engine, body, limit).await
    }

    /// Asks an engine what it has measured, for as many of its programs as a message holds.
    pub(super) async fn numbers_of(
        &self,
        engine: &EngineId,
        ask: &NumbersAsk,
        limit: Duration,
    ) -> Result<EngineNumbers, AskError> {
        let body = serde_json::to_value(ask).expect("plain data serialises");
        self.ask_engine(engine, body, limit).await
    }

    /// Asks an engine what it remembers of the orders that it was given, as far as one answer has room.
    pub async fn journal_of(
        &self,
        engine: &EngineId,
        before: Option<u64>,
        limit: Duration,
    ) -> Result<JournalPage, AskError> {
        let body = serde_json::to_value(JournalAsk::Journal { before }).expect("plain data serialises");
        self.ask_engine(engine, body, limit).await
    }

    /// Asks an engine what calls a program has open there.
    pub async fn open_calls(
        &self,
        engine: &EngineId,
        program: ProgramId,
        limit: Duration,
    ) -> Result<OpenCalls, AskError> {
        let body = serde_json::to_value(OpenCallsAsk::OpenCalls { program });
        self.ask_engine(engine, body.expect("plain data serialises"), limit)
            .await
    }

    async fn ask_engine<T: DeserializeOwned>(
        &self,
        engine: &EngineId,
        body: Value,
        limit: Duration,
    ) -> Result<T, AskError> {
        let topic = Topic::EngineDevice(engine.clone());
        let answer = self
            .ask_at(&topic, body, limit)
            .await
            .map_err(|error| match error {
                AskError::NoDispatcher { waited_ms } => AskError::NoEngine {
                    engine: engine.clone(),
                    waited_ms,
                },
                error => error,
            })?;
        read(answer)
    }

    /// The same with what is asked, and answered, as the service's own types.
    pub(super) async fn ask_as<T: DeserializeOwned>(
        &self,
        service: &str,
        asked: impl Serialize,
        limit: Duration,
    ) -> Result<T, AskError> {
        let body = serde_json::to_value(asked).expect("plain data serialises");
        read(self.ask(service, body, limit).await?)
    }

    async fn ask_at(&self, topic: &Topic, body: Value, limit: Duration) -> Result<Value, AskError> {
        let request = Request {
            request: OperationId::random(),
            client: self.inner.client.clone(),
            body,
            reads: match self.inner.key {
                Some(_) => Reads::SIGN_AGAIN,
                None => Reads::TAGGED,
            },
            by: self.inner.by.clone(),
        };
        let mut answered = self.awaits(request.request).await?;
        let name = self.inner.topics.topic(topic);
        let payload = wire::encode(&request);
        let deadline = Instant::now() + limit;
        loop {
            let message = Message::new(name.clone(), self.signed_request(topic, &name, &payload).await);
            self.inner
                .link
                .publish(message)
                .await
                .map_err(AskError::from_link)?;
            let wait = REPEAT.min(deadline.saturating_duration_since(Instant::now()));
            match timeout(wait, &mut answered).await {
                Ok(Ok(Answered::Done(value))) => return Ok(value),
                Ok(Ok(Answered::Failed(failure))) => return Err(AskError::Failed(failure)),
                Ok(Ok(Answered::SignAgain { challenge })) => {
                    answered = self.awaits(request.request).await?;
                    *self.inner.challenge.lock().await = Some(challenge);
                }
                Ok(Err(_)) => return Err(AskError::Closed),
                Err(_) => {}
            }
            if Instant::now() >= deadline {
                let waited_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
                return Err(AskError::NoDispatcher { waited_ms });
            }
        }
    }

    async fn awaits(&self, request: OperationId) -> Result<oneshot::Receiver<Answered>, AskError> {
        let (answer, answered) = oneshot::channel();
        let ask = ToTask::Ask { request, answer };
        self.tell(ask).await.map_err(|_| AskError::Closed)?;
        Ok(answered)
    }

    /// What is asked, signed where that is wanted: engines show a challenge, and the acting dispatcher
    /// answers with one.
    async fn signed_request(&self, topic: &Topic, name: &str, payload: &[u8]) -> Vec<u8> {
        let Some(key) = &self.inner.key else {
            return payload.to_vec();
        };
        if let Topic::EngineDevice(engine) = topic {
            let challenge = self.challenge(engine).await;
            return signing::sign_for(key, name, engine, payload, challenge);
        }
        match *self.inner.challenge.lock().await {
            Some(challenge) => signing::sign_for(key, name, &acting(), payload, Some(challenge)),
            None => payload.to_vec(),
        }
    }

    /// Asks the service for applications.
    pub async fn ask_apps<T: DeserializeOwned>(&self, ask: &Ask, limit: Duration) -> Result<T, AskError> {
        self.ask_as(SERVICE, ask, limit).await
    }

    /// The status of one application, or of all, however many instances there are.
    pub async fn app_status(
        &self,
        application: Option<&str>,
        limit: Duration,
    ) -> Result<Vec<AppStatus>, AskError> {
        let (mut all, mut from) = (Vec::<AppStatus>::new(), None);
        let application = application.map(str::to_owned);
        loop {
            let ask = Ask::StatusPage {
                application: application.clone(),
                from,
            };
            let page: StatusPage = match self.ask_apps(&ask, limit).await {
                // A dispatcher of an earlier release.
                Err(AskError::Failed(Failure::BadRequest { .. })) if all.is_empty() => {
                    return self.ask_apps(&Ask::Status { application }, limit).await;
                }
                page => page?,
            };
            for part in page.applications {
                match all.last_mut() {
                    Some(begun) if begun.application == part.application => {
                        begun.instances.extend(part.instances);
                    }
                    _ => all.push(part),
                }
            }
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// All versions of an application that are kept, the oldest first.
    pub async fn app_history(
        &self,
        application: &str,
        limit: Duration,
    ) -> Result<Vec<VersionStatus>, AskError> {
        let (mut all, mut from) = (Vec::new(), 0);
        let application = application.to_owned();
        loop {
            let ask = Ask::HistoryPage {
                application: application.clone(),
                from,
            };
            let page: HistoryPage = match self.ask_apps(&ask, limit).await {
                Err(AskError::Failed(Failure::BadRequest { .. })) if all.is_empty() => {
                    return self.ask_apps(&Ask::History { application }, limit).await;
                }
                page => page?,
            };
            all.extend(page.versions);
            match page.next {
                Some(next) => from = next,
                None => return Ok(all),
            }
        }
    }

    /// Asks for values, as nobody's program.
    pub async fn ask_values(&self, what: ValueAsk, limit: Duration) -> Result<ValueAnswer, AskError> {
        let request = ValueRequest {
            program: ProgramId::random(),
            generation: Generation(0),
            number: 0,
            what,
        };
        self.ask_as(values::SERVICE, request, limit).await
    }

    /// Tells those who watch it that a value has changed. As the acting dispatcher, once that is durable.
    pub async fn publish_value(&self, changed: &values::Changed) {
        let topic = self.inner.topics.value(&changed.key);
        let message = Message::new(topic, wire::encode(changed));
        // Whoever watches reads again where a connection is lost.
        let _ = self.inner.link.publish(message).await;
    }

    /// Asks for the fleet's files.
    pub async fn ask_files(&self, request: &FileRequest, limit: Duration) -> Result<FileAnswer, AskError> {
        self.ask_as(files::SERVICE, request, limit).await
    }

    /// What the acting dispatcher decides from now on. The stream ends when this client is closed.
    pub async fn decisions(&self) -> Result<mpsc::Receiver<Decision>, AskError> {
        let (sender, decisions) = mpsc::channel(WATCHER_QUEUE_MAX);
        let watch = ToTask::WatchDecisions(sender);
        self.tell(watch).await.map_err(|_| AskError::Closed)?;
        let topic = self.inner.topics.topic(&Topic::DispatcherEvent);
        let subscribed = self.inner.link.subscribe(topic, Qos::AtLeastOnce).await;
        subscribed.map_err(AskError::from_link)?;
        Ok(decisions)
    }

    /// Requests to the services of the acting dispatcher, which this client must be.
    pub async fn requests(&self) -> Result<mpsc::Receiver<IncomingRequest>, AskError> {
        let (sender, requests) = mpsc::channel(QUEUE_MAX);
        let watch = ToTask::WatchRequests(sender);
        self.tell(watch).await.map_err(|_| AskError::Closed)?;
        Ok(requests)
    }

    /// Messages of transfers that are no command's: of code, say.
    pub async fn peers(&self) -> Result<mpsc::Receiver<(Envelope, Bytes)>, AskError> {
        let (sender, peers) = mpsc::channel(QUEUE_MAX);
        let watch = ToTask::WatchPeers(sender);
        self.tell(watch).await.map_err(|_| AskError::Closed)?;
        Ok(peers)
    }

    /// Says something in a transfer, without waiting. What is lost is asked for again by whoever lacks it.
    pub fn say(&self, to: &PeerName, operation: OperationId, message: PeerMessage, bytes: &[u8]) {
        let envelope = Envelope {
            operation,
            from: self.inner.client.clone(),
            message,
        };
        let topic = self.inner.topics.topic(&Topic::Peer(operation, to.clone()));
        let message = Message::new(topic, envelope.encode(bytes)).at_most_once();
        if let Err(error) = self.inner.link.try_publish(message) {
            tracing::debug!(%error, "not said: it will be asked for again");
        }
    }

    /// The answer to a request. Returns whether the link took it; a lost one is asked for again.
    pub async fn answer(&self, asker: &Asker, answer: &Answer) -> bool {
        let topic = self.inner.topics.topic(&Topic::Reply(asker.client.clone()));
        self.inner
            .link
            .publish(Message::new(topic, answer.encode(asker.reads)))
            .await
            .is_ok()
    }

    /// An answer to a status that asked, without waiting: there is a time limit at the other end, and it does
    /// not say what it reads.
    pub fn try_answer(&self, client: PeerName, answer: &Answer) {
        let topic = self.inner.topics.topic(&Topic::Reply(client));
        let message = Message::new(topic, answer.encode(Reads::FIRST));
        if let Err(error) = self.inner.link.try_publish(message) {
            tracing::debug!(%error, "not answered");
        }
    }

    /// Says who acts, and returns once the broker has taken it.
    pub async fn say_lease(&self, lease: &Lease) -> bool {
        let topic = self.inner.topics.topic(&Topic::DispatcherLease);
        let message = Message::new(topic, wire::encode(lease)).retained();
        self.inner.link.publish_acknowledged(message).await.is_ok()
    }

    /// Tells whoever listens; what nobody has heard can be asked for.
    pub fn say_decision(&self, decision: &Decision) {
        let topic = self.inner.topics.topic(&Topic::DispatcherEvent);
        if let Err(error) = self
            .inner
            .link
            .try_publish(Message::new(topic, wire::encode(decision)))
        {
            tracing::debug!(%error, "an event was not published");
        }
    }

    /// Sets a tombstone for a program that is no more, or takes it away: whoever still has a copy ends it,
    /// and says nothing.
    pub fn set_tombstone(&self, program: ProgramId, stands: bool) {
        let tombstone = ProgramStatus::tombstone(program, self.inner.client.clone());
        let payload = if stands {
            let message = wire::encode(&tombstone);
            let holding = Holding {
                program,
                generation: tombstone.generation,
                engine: tombstone.engine,
            };
            match &self.inner.key {
                Some(key) => Place::sign(key, &self.inner.topics, &holding).show_in(&message),
                None => message,
            }
        } else {
            Vec::new()
        };
        let topic = self.inner.topics.topic(&Topic::ProgramStatus(program));
        if let Err(error) = self
            .inner
            .link
            .try_publish(Message::new(topic, payload).retained())
        {
            tracing::warn!(%error, %program, "a tombstone was not published");
        }
    }

    /// Who acts, as last heard; `None` if nobody has said so.
    pub fn lease(&self) -> Option<Lease> {
        self.inner.news.borrow().lease.clone()
    }

    /// Subscribes to the lease; returns once what is retained of it has been heard. `None` if closed.
    pub async fn watch_lease(&self) -> Option<LeaseWatch> {
        let topic = self.inner.topics.topic(&Topic::DispatcherLease);
        self.inner.link.subscribe(topic, Qos::AtLeastOnce).await.ok()?;
        let mut news = self.inner.news.clone();
        self.read_all().await.ok()?;
        // What has been heard meanwhile is no change any more.
        news.borrow_and_update();
        Some(LeaseWatch(news))
    }

    /// Returns once everything has been read that the broker had for us when this was called.
    pub async fn read_all(&self) -> Result<(), AskError> {
        let (number, sent) = oneshot::channel();
        let closed = |_| AskError::Closed;
        self.tell(ToTask::Barrier(number))
            .await
            .map_err(|_| AskError::Closed)?;
        let number = sent.await.map_err(closed)?;
        let mut news = self.inner.news.clone();
        let back = news.wait_for(|news| news.barrier >= number).await;
        back.map(drop).map_err(|_| AskError::Closed)
    }

    /// Asks these engines to report, or with none named all of them, without waiting: answers are seen in the
    /// fleet view.
    pub fn ask_reports(&self, engines: Vec<EngineId>) {
        if self.inner.queue.try_send(ToTask::AskReports(engines)).is_err() {
            tracing::debug!("engines were not asked: they are asked again");
        }
    }

    /// Returns when the client is closed, or its session has ended.
    pub async fn closed(&self) {
        let mut news = self.inner.news.clone();
        // Never so: it ends when whoever tells the news does.
        let _ = news.wait_for(|_| false).await;
    }
}

/// Whose challenges requests answer.
fn acting() -> PeerName {
    ACTING_NAME.parse().expect("letters make a name")
}

fn read<T: DeserializeOwned>(answer: Value) -> Result<T, AskError> {
    serde_json::from_value(answer).map_err(|error| AskError::Unexpected {
        reason: error.to_string(),
    })
}
