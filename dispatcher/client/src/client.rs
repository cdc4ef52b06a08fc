//! The handle: connecting, looking, and what is needed for both. Commanding is in `commands`, choosing an
//! engine in `choosing`, asking the acting dispatcher in `asking`.

mod asking;
mod choosing;
mod commands;
mod forgetting;
mod holding;
mod listing;
mod marks;
mod messages;
mod numbers;
mod operations;
mod queueing;
mod roster;
mod stored;
mod streams;
mod upload;
pub(crate) mod would;

pub use self::asking::LeaseWatch;
pub use self::choosing::ANSWER_TIMEOUT;
pub use self::messages::{Messages, MessagesError, Published, Retain};
pub use self::roster::RosterWatch;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use wayfare_link::{BrokerUrl, Link, LinkOptions, Message, OnTakeover, Qos};
use wayfare_protocol::code::SecretKey;
use wayfare_protocol::dispatcher::{ACTING_NAME, Lease};
use wayfare_protocol::ids::{Challenge, ClientId, EngineId, OperationId, ProgramId, Term};
use wayfare_protocol::limits::GIVEN_BY_BYTES_MAX;
use wayfare_protocol::reason::shortened;
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::wire;

use crate::core::{Report, SETTLE_MS};
use crate::error::{CommandError, ConnectError};
use crate::fleet::{EngineView, FleetChanges, ProgramView};
use crate::lookup::{self, LookupError};
use crate::order::{CommandOptions, Offline};
use crate::task::{News, QUEUE_MAX, Task, ToTask};
use crate::view::FleetView;

/// Failed attempts to reach the broker before [`Client::connect`] says that there is none.
const ATTEMPTS_MAX: u32 = 3;
/// All that the broker retains about the fleet is there within this: a hundred thousand statuses take a tenth
/// of it on a busy machine.
const STATUSES_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the task may take to end once it was told to.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);
/// The broker says so when an acting dispatcher has been silent for one and a half of these.
const ACTING_KEEP_ALIVE: Duration = Duration::from_secs(4);

#[derive(Debug, Clone)]
pub struct ClientOptions {
    pub broker: BrokerUrl,
    pub topics: Topics,
    /// Unique among clients and engines of the fleet.
    pub client: ClientId,
    /// How long the broker may be silent before everything is there that it retains about the fleet.
    pub connect_timeout: Duration,
    pub session: Session,
    /// Who gives the commands, such as `ann@desk`: shown with what became of them.
    pub by: Option<String>,
    /// The operation that all of its commands are a part of.
    pub batch: Option<OperationId>,
    /// Signs what is ordered, for engines that look at signatures.
    pub key: Option<Arc<SecretKey>>,
    /// Looks who has signed programs' statuses, so that [`Client::believe`] has something to go by.
    pub looks_at_signatures: bool,
}

/// Which session at the broker a client has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Session {
    /// One of its own, made again whenever its connection breaks.
    Own,
    /// The same for who asks nothing but services of the acting dispatcher: it reads no statuses, of which a
    /// fleet may have thousands, and knows neither engines nor programs.
    Services,
    /// The one of whoever acts as the fleet's dispatcher. A broker gives it to the last that connects, and to
    /// nobody else; it ends with its connection, with these as the last words.
    Acting(Lease),
}

impl ClientOptions {
    /// The default root, a client name of its own, five seconds.
    pub fn new(broker: BrokerUrl) -> Self {
        let name = format!("client-{}", OperationId::random().short());
        Self {
            broker,
            topics: Topics::default(),
            client: name.parse().expect("letters, digits and a hyphen make a name"),
            connect_timeout: Duration::from_secs(5),
            session: Session::Own,
            by: None,
            batch: None,
            key: None,
            looks_at_signatures: false,
        }
    }

    /// Those of the acting dispatcher of this fleet.
    pub fn acting(broker: BrokerUrl, topics: Topics, last_words: Lease) -> Self {
        Self {
            topics,
            client: ACTING_NAME.parse().expect("letters make a name"),
            session: Session::Acting(last_words),
            ..Self::new(broker)
        }
    }

    fn link(&self) -> LinkOptions {
        let Self {
            broker,
            topics,
            client,
            session,
            ..
        } = self;
        let mut link = LinkOptions::new(broker.clone(), client.to_string());
        link.subscriptions = vec![
            (topics.topic(&Topic::Reply(client.clone())), Qos::AtLeastOnce),
            (topics.peer_filter(client), Qos::AtLeastOnce),
        ];
        if *session != Session::Services {
            for statuses in [topics.all_engine_statuses(), topics.all_program_statuses()] {
                link.subscriptions.push((statuses, Qos::AtLeastOnce));
            }
        }
        if let Session::Acting(lease) = session {
            let lease_topic = topics.topic(&Topic::DispatcherLease);
            // Fleets that share a broker have an acting dispatcher each.
            link.client_id = broker.client_id(&acting_session(topics));
            link.will = Some(Message::new(lease_topic.clone(), wire::encode(lease)).retained());
            link.on_takeover = OnTakeover::StopOnLoss;
            link.keep_alive = ACTING_KEEP_ALIVE;
            link.subscriptions.push((lease_topic, Qos::AtLeastOnce));
            link.subscriptions
                .push((topics.all_dispatcher_requests(), Qos::AtLeastOnce));
        }
        link
    }
}

/// The name of the session that the acting dispatcher of this fleet has, and had as its client id in earlier
/// releases.
pub fn acting_session(topics: &Topics) -> String {
    format!("{}-{ACTING_NAME}", topics.to_string().replace('/', "-"))
}

/// Commands a fleet; cheap to clone. End it with [`Client::close`], or what was said last may be lost.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
    /// Of the acting dispatcher.
    term: Option<Term>,
}

#[derive(Debug)]
struct Inner {
    queue: mpsc::Sender<ToTask>,
    link: Link,
    broker: BrokerUrl,
    /// Its broker and topic root.
    fleet: String,
    topics: Topics,
    client: ClientId,
    by: Option<String>,
    batch: Option<OperationId>,
    key: Option<Arc<SecretKey>>,
    /// The acting dispatcher's, as it has said last: it begins unknown.
    challenge: Mutex<Option<Challenge>>,
    news: watch::Receiver<News>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Client {
    /// Returns once the broker has delivered what it retains about the fleet, as far as the session reads it.
    pub async fn connect(options: ClientOptions) -> Result<Self, ConnectError> {
        let link_options = options.link();
        let ClientOptions {
            broker,
            topics,
            client,
            connect_timeout,
            session: _,
            by,
            batch,
            key,
            looks_at_signatures,
        } = options;
        let by = by.map(|by| shortened(by, GIVEN_BY_BYTES_MAX));
        let (link, link_events) =
            wayfare_link::connect(link_options).map_err(|reason| ConnectError::Link {
                broker: broker.clone(),
                reason,
            })?;
        let (queue, queue_end) = mpsc::channel(QUEUE_MAX);
        let (news_sender, news) = watch::channel(News::default());
        let fleet = format!("{broker}/{topics}");
        let names = (topics.clone(), client.clone());
        let task = Task::new(link.clone(), names, key.clone(), looks_at_signatures, news_sender);
        let task = Mutex::new(Some(tokio::spawn(task.run(link_events, queue_end))));
        let client = Self {
            inner: Arc::new(Inner {
                queue,
                link,
                broker: broker.clone(),
                fleet,
                topics,
                client,
                by,
                batch,
                key,
                challenge: Mutex::default(),
                news,
                task,
            }),
            term: None,
        };
        if let Err(error) = client.wait_for_broker(broker, connect_timeout).await {
            client.close().await;
            return Err(error);
        }
        Ok(client)
    }

    /// The name under which it is answered.
    pub fn id(&self) -> &ClientId {
        &self.inner.client
    }

    pub(crate) fn broker(&self) -> &BrokerUrl {
        &self.inner.broker
    }

    pub(crate) fn topics(&self) -> &Topics {
        &self.inner.topics
    }

    /// The fleet's broker and topic root, which tell it from others.
    pub fn fleet_name(&self) -> &str {
        &self.inner.fleet
    }

    /// The same, giving commands as the acting dispatcher of this term.
    pub fn in_term(self, term: Term) -> Self {
        Self {
            term: Some(term),
            ..self
        }
    }

    async fn wait_for_broker(&self, broker: BrokerUrl, limit: Duration) -> Result<(), ConnectError> {
        let mut news = self.inner.news.clone();
        let begun = Instant::now();
        let last_moment = begun + STATUSES_TIMEOUT.max(limit);
        let is_settled = |news: &News| news.barrier > 0 || news.attempts_failed >= ATTEMPTS_MAX;
        // Statuses come in front of the answer, and there may be many.
        let settled = loop {
            let version = news.borrow().fleet_version;
            let until = last_moment.min(Instant::now() + limit);
            let settled = timeout_at(until, news.wait_for(is_settled)).await;
            let settled = settled.map(|result| result.map(|news| news.clone()));
            let is_over = Instant::now() >= last_moment || news.borrow().fleet_version == version;
            if settled.is_ok() || is_over {
                break settled;
            }
        };
        let last = self.inner.news.borrow().last_failure.clone();
        match settled {
            Ok(Ok(news)) if news.barrier > 0 => Ok(()),
            Err(_) if last.is_none() && news.borrow().fleet_version > 0 => Err(ConnectError::Cut {
                broker,
                waited_ms: limit.as_millis() as u64,
            }),
            Err(_) if last.is_none() => Err(ConnectError::NoEcho {
                broker,
                waited_ms: begun.elapsed().as_millis() as u64,
            }),
            _ => Err(ConnectError::NoBroker { broker, reason: last }),
        }
    }

    /// Sends what is still to be sent, within a limit, and ends the task. Operations in flight go on where
    /// they are.
    pub async fn close(&self) {
        // A full queue or an ended task: it ends all the same, or has.
        let _ = self.inner.queue.send(ToTask::Close).await;
        if let Some(mut task) = self.inner.task.lock().await.take()
            && timeout(CLOSE_TIMEOUT, &mut task).await.is_err()
        {
            task.abort();
        }
    }

    pub async fn engines(&self) -> Result<Vec<EngineView>, CommandError> {
        let (answer, engines) = oneshot::channel();
        self.tell(ToTask::Engines(answer)).await?;
        engines.await.map_err(|_| CommandError::Closed)
    }

    /// In the order of their ids.
    pub async fn programs(&self) -> Result<Arc<[ProgramView]>, CommandError> {
        Ok(self.fleet().await?.programs)
    }

    /// The engine that `wanted` names: by name or unique prefix.
    pub async fn engine(&self, wanted: &str) -> Result<EngineView, CommandError> {
        self.find(|fleet| lookup::engine(&fleet.engines, wanted).cloned())
            .await
    }

    /// The engine of this very name: for what cannot be taken back.
    pub async fn whole_engine(&self, wanted: &str) -> Result<EngineView, CommandError> {
        self.find(|fleet| lookup::whole_engine(&fleet.engines, wanted).cloned())
            .await
    }

    /// The program that `wanted` names: by id, name, or unique prefix of either.
    pub async fn program(&self, wanted: &str) -> Result<ProgramView, CommandError> {
        // A whole id needs no search.
        let id = wanted.parse::<ProgramId>().ok();
        if let Some(id) = id.filter(|id| id.to_string() == wanted)
            && let Some(view) = self.fleet_of(id).await?.programs.first()
        {
            return Ok(view.clone());
        }
        self.find(|fleet| lookup::program(&fleet.programs, wanted).cloned())
            .await
    }

    /// Waits until the fleet view changes; safe to give up. `seen` is updated: begin with 0.
    pub async fn changed(&self, seen: &mut u64) -> Result<(), CommandError> {
        let mut news = self.inner.news.clone();
        let changed = news.wait_for(|news| news.fleet_version != *seen).await;
        *seen = changed.map_err(|_| CommandError::Closed)?.fleet_version;
        Ok(())
    }

    /// The status poll: every engine reports, at once; waits until all that are there have, or for the limit.
    pub async fn request_status_reports(&self, limit: Duration) -> Result<Report, CommandError> {
        self.request_reports_of(BTreeSet::new(), limit).await
    }

    /// The same of these engines alone, or of all where none is named.
    pub async fn request_reports_of(
        &self,
        engines: BTreeSet<EngineId>,
        limit: Duration,
    ) -> Result<Report, CommandError> {
        let (answer, report) = oneshot::channel();
        let time_limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.tell(ToTask::Report {
            engines,
            time_limit_ms,
            answer,
        })
        .await?;
        report.await.map_err(|_| CommandError::Closed)
    }

    /// All engines, each asked whether it is there: one that has not answered within `limit` is silent,
    /// whatever its retained status says.
    pub async fn engines_asked(&self, limit: Duration) -> Result<Vec<EngineView>, CommandError> {
        let mut engines = self.engines().await?;
        if engines.iter().any(|view| view.online) {
            let report = self.request_status_reports(limit).await?;
            engines = self.engines_marked().await?;
            report.mark(&mut engines);
        }
        Ok(engines)
    }

    /// All engines, and which of them are to get nothing new.
    pub async fn engines_marked(&self) -> Result<Vec<EngineView>, CommandError> {
        let marks = self.marks().await?;
        let mut engines = self.engines().await?;
        marks::mark_all(&mut engines, &marks);
        Ok(engines)
    }

    pub async fn fleet(&self) -> Result<FleetView, CommandError> {
        let (answer, fleet) = oneshot::channel();
        self.tell(ToTask::Fleet(answer)).await?;
        fleet.await.map_err(|_| CommandError::Closed)
    }

    /// A program, if it is known, and its engine.
    pub(crate) async fn fleet_of(&self, program: ProgramId) -> Result<FleetView, CommandError> {
        let (answer, fleet) = oneshot::channel();
        self.tell(ToTask::FleetOf { program, answer }).await?;
        fleet.await.map_err(|_| CommandError::Closed)
    }

    /// What has changed since the look whose answer had this revision; everything since 0. What time alone
    /// changes is no change: for how long an engine has been offline, and whether it has spoken a moment ago.
    pub async fn fleet_changes(&self, since: u64) -> Result<FleetChanges, CommandError> {
        let (answer, changes) = oneshot::channel();
        self.tell(ToTask::FleetChanges { since, answer }).await?;
        changes.await.map_err(|_| CommandError::Closed)
    }

    /// Looks until `find` finds, at one program or at all, as long as `options` allow it to wait for engines.
    async fn wait_until<T>(
        &self,
        program: Option<ProgramId>,
        find: impl Fn(&FleetView) -> Result<T, CommandError>,
        options: &CommandOptions,
    ) -> Result<T, CommandError> {
        let limit = match options.offline {
            Offline::Fail => Duration::from_millis(SETTLE_MS),
            Offline::Wait => options.waits(),
        };
        let again = |error: &CommandError| is_absence(error) && worth_waiting(error, options.offline);
        match self.look(program, &find, again, limit).await {
            // A last will is no proof: it is asked.
            Err(CommandError::EngineOffline { engine, .. }) if !self.has_stopped(&engine).await? => {
                self.ask_reports(vec![engine]);
                self.look(program, &find, is_absence, ANSWER_TIMEOUT).await
            }
            result => result,
        }
    }

    /// Whether an engine has said itself that it stops.
    async fn has_stopped(&self, engine: &EngineId) -> Result<bool, CommandError> {
        let engines = self.engines().await?;
        let view = engines.iter().find(|view| view.engine == *engine);
        Ok(view.is_some_and(|view| view.stopped))
    }

    async fn find<T>(&self, find: impl Fn(&FleetView) -> Result<T, LookupError>) -> Result<T, CommandError> {
        let find = |fleet: &FleetView| find(fleet).map_err(CommandError::from);
        self.look(None, find, is_absence, Duration::from_millis(SETTLE_MS))
            .await
    }

    /// Looks again after each change of the view while `again` allows it, for no longer than `limit`.
    async fn look<T>(
        &self,
        program: Option<ProgramId>,
        find: impl Fn(&FleetView) -> Result<T, CommandError>,
        again: impl Fn(&CommandError) -> bool,
        limit: Duration,
    ) -> Result<T, CommandError> {
        let deadline = Instant::now() + limit;
        loop {
            let mut seen = self.inner.news.borrow().fleet_version;
            let fleet = match program {
                Some(program) => self.fleet_of(program).await?,
                None => self.fleet().await?,
            };
            match find(&fleet) {
                Err(error) if again(&error) => match timeout_at(deadline, self.changed(&mut seen)).await {
                    Ok(changed) => changed?,
                    Err(_) => return Err(error),
                },
                result => return result,
            }
        }
    }

    async fn subscribe(&self, filter: String) -> Result<(), CommandError> {
        self.inner
            .link
            .subscribe(filter, Qos::AtLeastOnce)
            .await
            .map_err(|error| {
                tracing::warn!(%error, "cannot subscribe");
                CommandError::Closed
            })
    }

    async fn tell(&self, message: ToTask) -> Result<(), CommandError> {
        self.inner
            .queue
            .send(message)
            .await
            .map_err(|_| CommandError::Closed)
    }
}

/// Something that may still turn up.
pub(super) fn is_absence(error: &CommandError) -> bool {
    match error {
        CommandError::Lookup(error) => error.is_missing(),
        CommandError::EngineOffline { .. } | CommandError::NoPlace { .. } => true,
        _ => false,
    }
}

/// An engine that is known to be offline fails at once, unless it is to be waited for.
fn worth_waiting(error: &CommandError, offline: Offline) -> bool {
    offline == Offline::Wait || matches!(error, CommandError::Lookup(_))
}
