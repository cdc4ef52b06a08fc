//! The embedded broker, for one machine: laptop, demo and tests. The only module that names its library.
//!
//! What always holds: nothing is stored outside the folder that was named, or at all where none was; the
//! broker is ready for connections when `start` returns; and it is gone when `shutdown` returns.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mqtt5::MqttError;
use mqtt5::broker::auth::{AuthProvider, AuthResult};
use mqtt5::broker::config::StorageBackend;
use mqtt5::broker::{BrokerConfig, BrokerShutdownHandle, MqttBroker, StorageConfig};
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::protocol::v5::reason_codes::ReasonCode;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::warn;

/// Well over what a link sends, and what other tools on the same machine may want to.
const PACKET_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What waits for a client that is away or behind; the oldest messages are dropped beyond either.
const QUEUED_MESSAGES_MAX: usize = 200_000;
const QUEUED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Messages in a live client's channel. A full one makes every publisher to that client wait for up to two
/// seconds; see `BrokerOptions`.
const CLIENT_CHANNEL_MESSAGES: usize = 10_000;

/// Messages sent to a client and not yet acknowledged.
const OUTBOUND_IN_FLIGHT_MAX: u16 = 64;

const START_TIMEOUT: Duration = Duration::from_secs(10);
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the broker listens and what it keeps.
#[derive(Debug, Clone)]
pub struct BrokerOptions {
    /// Port 0 takes a free one: see [`EmbeddedBroker::local_addr`].
    pub bind: SocketAddr,
    /// The folder in which sessions, their queues and retained messages survive a restart (written up to a
    /// second behind). None: memory only.
    pub storage: Option<PathBuf>,
}

impl BrokerOptions {
    /// On a free loopback port, in memory.
    pub fn loopback() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            storage: None,
        }
    }
}

/// What everybody has to connect with.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerLogin {
    pub user: String,
    pub password: String,
}

impl std::fmt::Debug for BrokerLogin {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "BrokerLogin({})", self.user)
    }
}

/// A broker inside this process. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct EmbeddedBroker {
    local_addr: SocketAddr,
    shutdown: ShutdownHandle,
    task: JoinHandle<Result<(), String>>,
}

/// Why the broker did not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error("the broker cannot listen on {bind}: {reason}")]
    Start { bind: SocketAddr, reason: String },
    #[error("the broker failed: {0}")]
    Failed(String),
    #[error("the broker did not stop within {} seconds", SHUTDOWN_TIMEOUT.as_secs())]
    StillRunning,
}

/// Lets those in who have the login, and lets them do what they like.
struct Doorkeeper(BrokerLogin);

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl AuthProvider for Doorkeeper {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        _address: SocketAddr,
    ) -> Answer<'a, Result<AuthResult, MqttError>> {
        let Self(login) = self;
        let password = connect.password.as_deref().unwrap_or_default();
        let is_known = connect.username.as_deref() == Some(login.user.as_str())
            && is_same(password, login.password.as_bytes());
        Box::pin(std::future::ready(Ok(match is_known {
            true => AuthResult::success_with_user(login.user.clone()),
            false => AuthResult::fail(ReasonCode::BadUsernameOrPassword),
        })))
    }

    fn authorize_publish<'a>(
        &'a self,
        _client: &str,
        _user: Option<&'a str>,
        _topic: &'a str,
    ) -> Answer<'a, bool> {
        Box::pin(std::future::ready(true))
    }

    fn authorize_subscribe<'a>(
        &'a self,
        _client: &str,
        _user: Option<&'a str>,
        _filter: &'a str,
    ) -> Answer<'a, bool> {
        Box::pin(std::future::ready(true))
    }
}

/// Takes as long for a password that is nearly right as for any other.
fn is_same(given: &[u8], known: &[u8]) -> bool {
    let differences = given.iter().zip(known).fold(0, |all, (a, b)| all | (a ^ b));
    given.len() == known.len() && differences == 0
}

struct ShutdownHandle(BrokerShutdownHandle);

impl std::fmt::Debug for ShutdownHandle {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("ShutdownHandle")
    }
}

impl EmbeddedBroker {
    /// The same as [`EmbeddedBroker::start_with`] for everybody who reaches the address, so that anything but
    /// a loopback address is warned of.
    pub async fn start(options: BrokerOptions) -> Result<Self, BrokerError> {
        Self::start_with(options, None).await
    }

    /// Starts a broker on the current tokio runtime; it accepts connections when this returns: those with the
    /// login, if there is one.
    pub async fn start_with(options: BrokerOptions, login: Option<BrokerLogin>) -> Result<Self, BrokerError> {
        let bind = options.bind;
        if !bind.ip().is_loopback() && login.is_none() {
            warn!(%bind, "the embedded broker listens beyond this machine, and lets anybody in without a password");
        }
        let failed = |reason: String| BrokerError::Start { bind, reason };
        // An address that cannot be had is what goes wrong most often, and the broker says that in five
        // lines.
        drop(TcpListener::bind(bind).map_err(|error| failed(error.to_string()))?);
        let mut broker = MqttBroker::with_config(config(options))
            .await
            .map_err(|error| failed(error.to_string()))?;
        if let Some(login) = login {
            broker = broker.with_auth_provider(Arc::new(Doorkeeper(login)));
        }
        let local_addr = broker
            .local_addr()
            .ok_or_else(|| failed("it has no listener".to_owned()))?;
        let shutdown = ShutdownHandle(broker.shutdown_handle());
        let mut ready = broker.ready_receiver();
        let task = tokio::spawn(async move { broker.run().await.map_err(|error| error.to_string()) });
        let mut started = Self {
            local_addr,
            shutdown,
            task,
        };
        match timeout(START_TIMEOUT, ready.wait_for(|ready| *ready)).await {
            Ok(Ok(_)) => Ok(started),
            Ok(Err(_)) => Err(failed(match (&mut started.task).await {
                Ok(Err(reason)) => reason,
                Ok(Ok(())) => "it stopped at once".to_owned(),
                Err(panic) => panic.to_string(),
            })),
            Err(_) => Err(failed(format!(
                "not ready within {} seconds",
                START_TIMEOUT.as_secs()
            ))),
        }
    }

    /// Where it listens, with the port that was taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Closes every connection, stores what is to be stored, and ends.
    pub async fn shutdown(mut self) -> Result<(), BrokerError> {
        self.shutdown.0.shutdown();
        match timeout(SHUTDOWN_TIMEOUT, &mut self.task).await {
            Ok(Ok(result)) => result.map_err(BrokerError::Failed),
            Ok(Err(panic)) => Err(BrokerError::Failed(panic.to_string())),
            Err(_) => {
                self.task.abort();
                Err(BrokerError::StillRunning)
            }
        }
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        self.shutdown.0.shutdown();
    }
}

fn config(options: BrokerOptions) -> BrokerConfig {
    let storage = match options.storage {
        // Kept sessions need the storage even in memory, so persistence stays on.
        None => StorageConfig::new()
            .with_backend(StorageBackend::Memory)
            .with_base_dir(PathBuf::new()),
        Some(folder) => StorageConfig::new()
            .with_backend(StorageBackend::File)
            .with_base_dir(folder),
    }
    .with_max_queued_messages_per_client(QUEUED_MESSAGES_MAX)
    .with_max_queued_bytes_per_client(QUEUED_BYTES_MAX);
    BrokerConfig::new()
        .with_bind_address(options.bind)
        .with_max_packet_size(PACKET_BYTES_MAX)
        .with_client_channel_capacity(CLIENT_CHANNEL_MESSAGES)
        .with_max_outbound_inflight(OUTBOUND_IN_FLIGHT_MAX)
        .with_sys_topics_enabled(false)
        .with_storage(storage)
}
