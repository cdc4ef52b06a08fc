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
//! A module `service/<name>` with one `async fn run(context: Context, inbox: Inbox)` and a line in [`SERVICES`]. It owns its
//! state, gets its requests from the inbox, talks to engines through `context.dispatcher`, keeps files below
//! `context.data`, and returns when the inbox ends. Requests may come again after a takeover: what they do must bear
//! being done twice.

mod lease;
mod requests;

mod about;
mod acting;
mod standby;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use thiserror::Error;
use wayfare_link::BrokerUrl;
use wayfare_protocol::dispatcher::Term;
use wayfare_protocol::ids::PeerName;
use wayfare_protocol::topics::Topics;

use crate::dispatcher::Dispatcher;
use crate::error::ConnectError;

pub use requests::{Asked, Inbox};

/// Every service of the acting dispatcher.
const SERVICES: &[Service] = &[Service {
    name: "about",
    run: |context, inbox| about::run(context, inbox).boxed(),
}];

/// One service: its name in requests' topics, and its task.
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) run: fn(Context, Inbox) -> BoxFuture<'static, ()>,
}

/// What a service has to work with, for one term.
#[derive(Debug, Clone)]
pub struct Context {
    pub dispatcher: Dispatcher,
    pub term: Term,
    /// The service's own folder. Of several dispatchers with one folder, an earlier term's may still write to it when it
    /// has been succeeded: files that change carry the term in their names.
    pub data: PathBuf,
    pub options: Arc<ServiceOptions>,
}

/// How long an acting dispatcher may be silent.
pub const LEASE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub struct ServiceOptions {
    pub broker: BrokerUrl,
    pub topics: Topics,
    /// Unique among the dispatchers, clients and engines of the fleet.
    pub name: PeerName,
    /// Folder for what must survive; made if it is not there.
    pub data: PathBuf,
    pub lease: Duration,
}

impl ServiceOptions {
    pub fn new(broker: BrokerUrl, name: PeerName, data: impl Into<PathBuf>) -> Self {
        Self {
            broker,
            topics: Topics::default(),
            name,
            data: data.into(),
            lease: LEASE,
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
    loop {
        let seen = tokio::select! {
            seen = standby::until_free(&options) => seen,
            () = &mut shutdown => return Ok(()),
        };
        match acting::act(&options, seen, shutdown.as_mut()).await {
            acting::Ended::Told => return Ok(()),
            acting::Ended::Lost { why } => {
                tracing::info!(dispatcher = %options.name, why, "stands by");
            }
        }
    }
}
