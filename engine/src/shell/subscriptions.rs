//! What the engine subscribes to besides its own topics, for as long as it concerns it: the statuses of the
//! programs that are here, where another engine that claims one of them is heard, its own status, and what is
//! announced of programs.

use std::collections::BTreeSet;

use tokio::task::JoinSet;
use wayfare_link::{Link, LinkError, Qos};
use wayfare_protocol::ids::{EngineId, ProgramId};
use wayfare_protocol::topics::{Topic, Topics};

pub(crate) struct Subscriptions {
    link: Link,
    topics: Topics,
    engine: EngineId,
    /// Subscriptions that are begun or ended, and are not acknowledged.
    under_way: JoinSet<()>,
    /// Programs whose status topic is subscribed.
    watched: BTreeSet<ProgramId>,
    was_ready: bool,
}

impl Subscriptions {
    pub(crate) fn new(link: Link, topics: Topics, engine: EngineId) -> Self {
        Self {
            link,
            topics,
            engine,
            under_way: JoinSet::new(),
            watched: BTreeSet::new(),
            was_ready: false,
        }
    }

    /// Waits until another change is acknowledged; at once `None` where none is under way.
    pub(crate) async fn next(&mut self) -> Option<()> {
        self.under_way.join_next().await.map(|_| ())
    }

    /// Whether none is under way.
    pub(crate) fn are_settled(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Says once that the engine is ready, as soon as its own topics are subscribed: the broker takes things
    /// in order, so what was published after the subscriptions is acknowledged after them.
    pub(crate) fn say_ready(&mut self) {
        if std::mem::replace(&mut self.was_ready, true) {
            return;
        }
        let (link, engine) = (self.link.clone(), self.engine.clone());
        self.under_way.spawn(async move {
            if link.flushed().await.is_ok() {
                tracing::info!("engine {engine} ready");
            }
        });
    }

    /// Subscribes to our own status, until the fence is passed: it says whether another process has been here
    /// under our id. Where the broker does not let us read it, two with one id are only seen by their taking
    /// the session from each other.
    pub(crate) fn look_at_ourselves(&mut self) {
        self.begin(self.own_status(), |topic, error| {
            tracing::debug!(topic, %error, "cannot see whether another engine has this id");
        });
    }

    pub(crate) fn look_away(&mut self) {
        self.end(self.own_status());
    }

    fn own_status(&self) -> String {
        self.topics.topic(&Topic::EngineStatus(self.engine.clone()))
    }

    /// Hears of other engines that claim the program.
    pub(crate) fn watch(&mut self, program: ProgramId) {
        if self.watched.insert(program) {
            self.begin(self.status_of(program), |topic, error| {
                tracing::warn!(topic, %error, "cannot watch a program's status");
            });
        }
    }

    /// Watches none but these any more.
    pub(crate) fn watch_only(&mut self, programs: &BTreeSet<ProgramId>) {
        let gone: Vec<ProgramId> = self.watched.difference(programs).copied().collect();
        for program in gone {
            self.watched.remove(&program);
            self.end(self.status_of(program));
        }
    }

    fn status_of(&self, program: ProgramId) -> String {
        self.topics.topic(&Topic::ProgramStatus(program))
    }

    /// Hears what is announced of the program.
    pub(crate) fn listen_for(&mut self, program: ProgramId) {
        self.begin(self.topics.all_addresses_of(program), |filter, error| {
            tracing::debug!(filter, %error, "cannot see whether an ended program is announced");
        });
    }

    pub(crate) fn listen_no_more_for(&mut self, program: ProgramId) {
        self.end(self.topics.all_addresses_of(program));
    }

    fn begin(&mut self, filter: String, failed: fn(&str, &LinkError)) {
        let link = self.link.clone();
        self.under_way.spawn(async move {
            if let Err(error) = link.subscribe(&filter, Qos::AtLeastOnce).await {
                failed(&filter, &error);
            }
        });
    }

    fn end(&mut self, filter: String) {
        let link = self.link.clone();
        self.under_way.spawn(async move {
            // Closed, or not granted any more: nothing is received either way.
            let _ = link.unsubscribe(&filter).await;
        });
    }
}
