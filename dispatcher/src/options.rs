//! How a dispatcher is set up.

use std::path::PathBuf;
use std::time::Duration;

use wayfare_fleet::placing::MARK_PERCENT;
use wayfare_link::{BrokerUrl, RECONNECT_WAIT_MAX};
use wayfare_protocol::code::PublicKey;
use wayfare_protocol::ids::PeerName;
use wayfare_protocol::topics::Topics;
use wayfare_scheduler::policy::Policy;

use crate::compilers::Compilers;

/// How long an acting dispatcher may be silent.
pub const LEASE: Duration = Duration::from_secs(10);
pub const POLL: Duration = Duration::from_secs(5);
/// How long an engine has to answer when its connection has ended.
pub const GRACE: Duration = Duration::from_secs(1);
/// An engine that has lost the broker is back within this, once there is one: its longest wait, and the time
/// to connect. Where the cause may be the broker or the network, no engine is given up sooner.
pub const RECONNECT: Duration = RECONNECT_WAIT_MAX.saturating_add(Duration::from_secs(2));
pub const LATE_AFTER: Duration = Duration::from_secs(12);
pub const LOST_AFTER: Duration = Duration::from_secs(30);

/// How much of what programs print is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// Bytes on disk, of all programs together;
    pub bytes_max: u64,
    /// of one program;
    pub program_bytes_max: u64,
    /// and for how long.
    pub age_ms: u64,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            bytes_max: 64 << 20,
            program_bytes_max: 16 << 20,
            age_ms: 7 * 86_400_000,
        }
    }
}

/// How many operations are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperationLimits {
    pub operations_max: usize,
    /// For how long.
    pub age_ms: u64,
}

impl Default for OperationLimits {
    fn default() -> Self {
        Self {
            operations_max: 10_000,
            age_ms: 30 * 86_400_000,
        }
    }
}

#[derive(Debug, Clone)]
pub struct ServiceOptions {
    pub broker: BrokerUrl,
    pub topics: Topics,
    /// Unique among the dispatchers, clients and engines of the fleet.
    pub name: PeerName,
    /// The fleet's root key: what changes something has to be signed as its roster says. `None`: no signature
    /// is looked at.
    pub trust_root: Option<PublicKey>,
    /// Folder for what must survive; made if it is not there.
    pub data: PathBuf,
    pub lease: Duration,
    /// How many others are to stand by: fewer are an alarm.
    pub standbys: usize,
    /// Where programs of applications go.
    pub policy: Policy,
    /// How often engines are asked whether they are there.
    pub poll: Duration,
    /// An engine that has not answered for so long gets nothing new,
    pub late_after: Duration,
    /// and what it had is started elsewhere after this,
    pub lost_after: Duration,
    /// or after this if its connection has ended too, and at once if it says itself that it stops. Where the
    /// broker or the network may be the cause, it is at least [`RECONNECT`].
    pub grace: Duration,
    /// Share of an engine's memory, in percent, that programs may take before it sheds some.
    pub memory_mark_percent: u64,
    /// The same of its processors.
    pub processor_mark_percent: u64,
    /// Where all that must survive is kept, if not in `data`: `s3://bucket/prefix`, or a folder. Those that
    /// stand in for each other share it.
    pub store: Option<String>,
    /// Where the fleet's files are kept, if not with everything else: `s3://bucket/prefix`, or a folder.
    pub files: Option<String>,
    pub logs: LogLimits,
    pub operations: OperationLimits,
    /// How often engines and programs are measured while nobody watches; `None`: never.
    pub measure_every: Option<Duration>,
    /// For engines that do not compile; without any they get no code from here.
    pub compilers: Compilers,
}

impl ServiceOptions {
    pub fn new(broker: BrokerUrl, name: PeerName, data: impl Into<PathBuf>) -> Self {
        Self {
            broker,
            topics: Topics::default(),
            name,
            trust_root: None,
            data: data.into(),
            lease: LEASE,
            standbys: 0,
            policy: Policy::default(),
            poll: POLL,
            late_after: LATE_AFTER,
            lost_after: LOST_AFTER,
            grace: GRACE,
            memory_mark_percent: MARK_PERCENT,
            processor_mark_percent: MARK_PERCENT,
            store: None,
            files: None,
            logs: LogLimits::default(),
            operations: OperationLimits::default(),
            measure_every: None,
            compilers: Compilers::default(),
        }
    }
}
