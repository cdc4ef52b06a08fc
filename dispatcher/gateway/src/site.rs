//! What all requests share: the fleet's client, what is known of the fleet, who may ask, and how many
//! requests of each kind may be under way. It knows none of the handlers, which all take it.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit, watch};
use wayfare_client::Client;
use wayfare_client::calls::SharedCaller;
use wayfare_client::problem::Problem;
use wayfare_protocol::ids::PeerName;

use crate::access::Access;
use crate::answers::overloaded;
use crate::hub::Hub;
use crate::readings::Readings;
use crate::sources::Sources;

/// Modules and snapshots that are in memory at the same time.
const UPLOADS_MAX: usize = 4;
/// Requests that are answered at the same time.
const REQUESTS_MAX: usize = 512;
/// Pages and programs that watch.
const WATCHERS_MAX: usize = 512;
/// Pages and programs that listen to messages, each with a session of its own at the broker.
const LISTENERS_MAX: usize = 32;
/// Calls of programs that are under way, each with a session of its own.
const CALLS_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct Site {
    client: Client,
    hub: Hub,
    /// As which files are written.
    name: PeerName,
    by: String,
    access: Access,
    sources: Option<Arc<dyn Sources>>,
    uploads: Semaphore,
    requests: Semaphore,
    watchers: Arc<Semaphore>,
    listeners: Arc<Semaphore>,
    calls: Semaphore,
    callers: SharedCaller,
    readings: Readings,
    ended: watch::Receiver<bool>,
}

impl Site {
    /// `ended` says when the gateway ends.
    pub(crate) fn new(
        client: Client,
        hub: Hub,
        by: String,
        access: Access,
        sources: Option<Arc<dyn Sources>>,
        ended: watch::Receiver<bool>,
    ) -> Self {
        Self {
            callers: SharedCaller::new(client.clone()),
            client,
            hub,
            name: "gateway".parse().expect("letters make a name"),
            by,
            access,
            sources,
            uploads: Semaphore::new(UPLOADS_MAX),
            requests: Semaphore::new(REQUESTS_MAX),
            watchers: Arc::new(Semaphore::new(WATCHERS_MAX)),
            listeners: Arc::new(Semaphore::new(LISTENERS_MAX)),
            calls: Semaphore::new(CALLS_MAX),
            readings: Readings::default(),
            ended,
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    pub(crate) fn name(&self) -> &PeerName {
        &self.name
    }

    pub(crate) fn by(&self) -> &str {
        &self.by
    }

    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    /// What runs source text, if anything does.
    pub(crate) fn sources(&self) -> Option<&dyn Sources> {
        self.sources.as_deref()
    }

    pub(crate) fn ended(&self) -> watch::Receiver<bool> {
        self.ended.clone()
    }

    pub(crate) fn watchers(&self) -> &Arc<Semaphore> {
        &self.watchers
    }

    pub(crate) fn listeners(&self) -> &Arc<Semaphore> {
        &self.listeners
    }

    pub(crate) fn calls(&self) -> &Semaphore {
        &self.calls
    }

    /// For programs that answer HTTP.
    pub(crate) fn callers(&self) -> &SharedCaller {
        &self.callers
    }

    pub(crate) fn readings(&self) -> &Readings {
        &self.readings
    }

    /// Room for one more request.
    pub(crate) fn room_for_request(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.requests
            .try_acquire()
            .map_err(|_| overloaded(format!("{REQUESTS_MAX} requests are being answered")))
    }

    /// Room for one more large body.
    pub(crate) fn room_for_upload(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.uploads
            .try_acquire()
            .map_err(|_| overloaded(format!("{UPLOADS_MAX} uploads are under way")))
    }
}
