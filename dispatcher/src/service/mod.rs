//! The fleet's dispatcher as a long-running service: `wayfare dispatcher`.
//!
//! ```text
//!                 nobody acts, or its lease has run out
//!   standing by ----------------------------------------> acting (term + 1)
//!        ^                                                    |   requests --> services, one task each
//!        +---- its session at the broker has ended -----------+
//! ```
//! Any number of these processes may run on one topic root; one acts, the others stand by. Whoever acts does all its talking
//! through one session whose name is the same for all of them, and a broker gives a session to one connection at a
//! time: to the last that asks. So a predecessor that was only held up, or cut off, cannot be heard any more from the
//! moment that its successor can be. `lease` decides when to try; it may be wrong without harm.
//!
//! # Adding a service
//! A module `service/<name>` with one `async fn run(context: Context, inbox: Inbox)` and a line in `SERVICES`. It owns its
//! state, gets its requests from the inbox, talks to engines through `context.client`, keeps files below
//! `context.data`, and returns when the inbox ends. Requests may come again after a takeover: what they do must bear
//! being done twice.

mod lease;
mod requests;

mod about;
mod acting;
mod apps;
mod compilers;
mod durable;
mod files;
#[cfg(test)]
mod fixtures;
mod registry;
mod standby;
mod values;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use thiserror::Error;
use tokio::sync::watch;
use wayfare_link::{BrokerUrl, RECONNECT_WAIT_MAX};
use wayfare_protocol::dispatcher::Term;
use wayfare_protocol::ids::PeerName;
use wayfare_protocol::topics::Topics;
use wayfare_scheduler::policy::Policy;

use wayfare_client::Client;
use wayfare_client::error::ConnectError;

pub use compilers::{
    Compile, Compiler, CompilerAbout, Compilers, FORMAT as COMPILER_FORMAT, OutsideCompiler, OutsideError,
    OutsideLimits, OwnCompiler,
};
pub use requests::{Asked, Inbox};

/// Every service of the acting dispatcher.
const SERVICES: &[Service] = &[
    Service {
        name: "about",
        run: |context, inbox| about::run(context, inbox).boxed(),
    },
    Service {
        name: wayfare_client::app::ask::SERVICE,
        run: |context, inbox| apps::run(context, inbox).boxed(),
    },
    Service {
        name: "registry",
        run: |context, inbox| registry::run(context, inbox).boxed(),
    },
    Service {
        name: wayfare_protocol::files::SERVICE,
        run: |context, inbox| files::run(context, inbox).boxed(),
    },
    Service {
        name: wayfare_protocol::values::SERVICE,
        run: |context, inbox| values::run(context, inbox).boxed(),
    },
];

/// One service: its name in requests' topics, and its task.
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) run: fn(Context, Inbox) -> BoxFuture<'static, ()>,
}

/// What a service has to work with, for one term.
#[derive(Debug, Clone)]
pub struct Context {
    pub client: Client,
    pub term: Term,
    /// The service's own folder. Of several dispatchers with one folder, an earlier term's may still write to it when it
    /// has been succeeded: files that change carry the term in their names.
    pub data: PathBuf,
    pub options: Arc<ServiceOptions>,
    /// Where a service says that it has heard of a later term.
    later: Arc<watch::Sender<Term>>,
}

impl Context {
    /// An engine knows a later term: acting begins anew, above it. `false`: that term cannot be.
    pub(crate) fn has_heard_of(&self, term: Term) -> bool {
        if term > TERM_MAX {
            tracing::error!(%term, "an engine obeys a term that nobody can have had: it is not followed");
            return false;
        }
        self.later.send_if_modified(|highest| {
            let is_news = term > *highest;
            *highest = term.max(*highest);
            is_news
        });
        true
    }
}

/// How long an acting dispatcher may be silent.
pub const LEASE: Duration = Duration::from_secs(10);
/// After it acted, or could not, before it looks again whether it may;
const STAND_BY_PAUSE: Duration = Duration::from_millis(500);
/// and at most so long, where engines know later terms again and again.
const STAND_BY_PAUSE_MAX: Duration = Duration::from_secs(30);
/// Terms above this are nobody's: what says so is broken, and following it would leave no terms to count.
const TERM_MAX: Term = Term(u64::MAX / 2);
pub const POLL: Duration = Duration::from_secs(5);
/// How long an engine has to answer when its connection has ended.
pub const GRACE: Duration = Duration::from_secs(1);
/// An engine that has lost the broker is back within this, once there is one: its longest wait, and the time to connect. Where the
/// cause may be the broker or the network, no engine is given up sooner.
pub const RECONNECT: Duration = RECONNECT_WAIT_MAX.saturating_add(Duration::from_secs(2));
pub const LATE_AFTER: Duration = Duration::from_secs(12);
pub const LOST_AFTER: Duration = Duration::from_secs(30);
pub const MARK_PERCENT: u64 = 90;

#[derive(Debug, Clone)]
pub struct ServiceOptions {
    pub broker: BrokerUrl,
    pub topics: Topics,
    /// Unique among the dispatchers, clients and engines of the fleet.
    pub name: PeerName,
    /// Folder for what must survive; made if it is not there.
    pub data: PathBuf,
    pub lease: Duration,
    /// Where programs of applications go.
    pub policy: Policy,
    /// How often engines are asked whether they are there.
    pub poll: Duration,
    /// An engine that has not answered for so long gets nothing new,
    pub late_after: Duration,
    /// and what it had is started elsewhere after this,
    pub lost_after: Duration,
    /// or after this if its connection has ended too, and at once if it says itself that it stops. Where the broker or the network
    /// may be the cause, it is at least [`RECONNECT`].
    pub grace: Duration,
    /// Share of an engine's memory, in percent, that programs may take before it sheds some.
    pub memory_mark_percent: u64,
    /// The same of its processors.
    pub processor_mark_percent: u64,
    /// Where the fleet's files are kept, if not with everything else: `s3://bucket/prefix`, or a folder.
    pub files: Option<String>,
    /// For engines that do not compile; without any they get no code from here.
    pub compilers: Compilers,
}

impl ServiceOptions {
    pub fn new(broker: BrokerUrl, name: PeerName, data: impl Into<PathBuf>) -> Self {
        Self {
            broker,
            topics: Topics::default(),
            name,
            data: data.into(),
            lease: LEASE,
            policy: Policy::default(),
            poll: POLL,
            late_after: LATE_AFTER,
            lost_after: LOST_AFTER,
            grace: GRACE,
            memory_mark_percent: MARK_PERCENT,
            processor_mark_percent: MARK_PERCENT,
            files: None,
            compilers: Compilers::default(),
        }
    }
}

#[derive(Debug, Error)]
pub enum ServiceError {
    #[error("{}: {error}", path.display())]
    Folder { path: PathBuf, error: std::io::Error },
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// Stands by and acts in turn until `shutdown` is ready; a broker that is not there is waited for.
pub async fn run(options: ServiceOptions, shutdown: impl Future<Output = ()>) -> Result<(), ServiceError> {
    std::fs::create_dir_all(&options.data).map_err(|error| ServiceError::Folder {
        path: options.data.clone(),
        error,
    })?;
    let options = Arc::new(options);
    let mut shutdown = std::pin::pin!(shutdown);
    let mut heard_of = Term::default();
    let mut pause = STAND_BY_PAUSE;
    loop {
        let lease = tokio::select! {
            seen = standby::until_free(&options) => seen,
            () = &mut shutdown => return Ok(()),
        };
        let above = highest_term(&options).max(heard_of);
        match acting::act(&options, acting::Seen { lease, above }, shutdown.as_mut()).await {
            acting::Ended::Told => return Ok(()),
            acting::Ended::Lost { why } => {
                tracing::info!(dispatcher = %options.name, why, "stands by");
                pause = STAND_BY_PAUSE;
            }
            acting::Ended::Behind { term } => {
                tracing::warn!(%term, "engines know a later term: begins a higher one");
                heard_of = heard_of.max(term);
                // Engines that always know a later one are broken.
                pause = (pause * 2).min(STAND_BY_PAUSE_MAX);
            }
        }
        // Where a broker will not let it act at all, it need not ask all the time.
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = &mut shutdown => return Ok(()),
        }
    }
}

/// The highest term that has been begun in our folder. Brokers forget the lease, and disks with it do not.
fn highest_term(options: &ServiceOptions) -> Term {
    let folders = SERVICES.iter().map(|service| options.data.join(service.name));
    let folders: Vec<PathBuf> = folders.collect();
    durable::highest_term(folders.iter().map(PathBuf::as_path)).min(TERM_MAX)
}
