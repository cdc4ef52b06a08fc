//! What can go wrong, each with what to do about it where there is something to do.

use std::time::Duration;

use serde::Serialize;
use thiserror::Error;
use wayfare_fleet::module::ModuleError;
use wayfare_link::{BrokerUrl, LinkError};
use wayfare_protocol::bundle::BundleError;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{EngineId, OperationId};
use wayfare_protocol::limits::PAYLOAD_BYTES_MAX;

use crate::lookup::LookupError;
use crate::operations::{EXPIRED, SUPERSEDED};

/// Why there is no [`crate::Client`].
#[derive(Debug, Error)]
pub enum ConnectError {
    #[error("no broker at {broker}{}", .reason.as_ref().map(|r| format!(" ({r})")).unwrap_or_default())]
    NoBroker {
        broker: BrokerUrl,
        reason: Option<String>,
    },
    #[error("broker {broker} took the connection but did not deliver a message within {waited_ms} ms")]
    NoEcho { broker: BrokerUrl, waited_ms: u64 },
    #[error(
        "broker {broker} delivered statuses of the fleet, and then nothing for {waited_ms} ms: it drops what is over its limit for one client (Mosquitto: max_queued_messages and max_queued_bytes), or is too busy"
    )]
    Cut { broker: BrokerUrl, waited_ms: u64 },
    #[error("broker {broker}: {reason}")]
    Link { broker: BrokerUrl, reason: LinkError },
}

/// Why a command did not succeed.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum CommandError {
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("engine '{engine}' is offline{}", ago(*offline_for_ms))]
    EngineOffline {
        engine: EngineId,
        offline_for_ms: Option<u64>,
    },
    #[error("engine '{engine}' {why}")]
    EngineClosed { engine: EngineId, why: &'static str },
    #[error("engine '{engine}' has restarted and does not have program {program} any more")]
    ProgramLost { engine: EngineId, program: String },
    #[error("no engine has room for '{name}': {reason}")]
    NoPlace { name: String, reason: String },
    #[error("not a WebAssembly module: it begins with {found}, not with \\0asm")]
    NotWasm { found: String },
    /// Found wanting before anything was sent.
    #[error("{0}")]
    Refused(Failure),
    #[error("{failure}")]
    Failed { engine: EngineId, failure: Failure },
    #[error("no answer from engine '{engine}' to {verb} within {waited_ms} ms{}", stage.hint())]
    NoAnswer {
        engine: EngineId,
        verb: &'static str,
        operation: OperationId,
        waited_ms: u64,
        stage: Stage,
    },
    #[error("{0}")]
    Bundle(#[from] BundleError),
    #[error("engine '{engine}' sent {what} that does not match its digest")]
    Damaged { engine: EngineId, what: String },
    #[error("engine '{engine}' answered {verb} with something else: {answer}")]
    Unexpected {
        engine: EngineId,
        verb: &'static str,
        answer: String,
    },
    /// Before it was given.
    #[error("withdrawn before its engine was there, by {}", by.as_deref().unwrap_or("somebody"))]
    Cancelled { by: Option<String> },
    /// Before it was given.
    #[error("superseded by operation {}{}, before its engine was there", instead.short(), of(by.as_ref()))]
    Superseded {
        instead: OperationId,
        by: Option<String>,
    },
    #[error("not given within {}: {reason}", words(*after))]
    Expired { after: Duration, reason: String },
    /// The order that it had joined had no good end.
    #[error("operation {}, which it has joined, is {state}{}", operation.short(), because(reason.as_ref()))]
    Joined {
        operation: OperationId,
        state: &'static str,
        reason: Option<String>,
    },
    /// The acting dispatcher sees to that.
    #[error("orders that wait cannot be seen to: {reason}")]
    NotQueued { reason: String },
    /// Until somebody releases it.
    #[error("{hold}")]
    Held { hold: String },
    #[error("the client is closed")]
    Closed,
}

/// Why the acting dispatcher gave no good answer.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum AskError {
    #[error("no dispatcher answered within {waited_ms} ms")]
    NoDispatcher { waited_ms: u64 },
    #[error("engine {engine} did not answer within {waited_ms} ms")]
    NoEngine { engine: EngineId, waited_ms: u64 },
    #[error("{0}")]
    Failed(Failure),
    #[error("the dispatcher answered with something else: {reason}")]
    Unexpected { reason: String },
    #[error("the request has {bytes} bytes, the limit of a message is {PAYLOAD_BYTES_MAX}")]
    TooLarge { bytes: usize },
    #[error("the client is closed")]
    Closed,
}

impl AskError {
    /// Whoever asked does not hold the application.
    pub fn is_not_held(&self) -> bool {
        self.is_kind("not-held")
    }

    /// The application is being removed, and can be applied again once it is gone.
    pub fn is_being_removed(&self) -> bool {
        self.is_kind("being-removed")
    }

    fn is_kind(&self, kind: &str) -> bool {
        matches!(self, Self::Failed(Failure::Unknown { error, .. }) if error == kind)
    }

    pub(crate) fn from_link(error: LinkError) -> Self {
        match error {
            LinkError::PayloadTooLarge { bytes, .. } => Self::TooLarge { bytes },
            _ => Self::Closed,
        }
    }
}

/// How far a command had come when its time was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    Sent,
    Accepted,
    /// Handed over to another engine, which has not said whether it took it.
    InDoubt,
    /// The result is there, its bytes are not.
    Fetching,
}

impl Stage {
    fn hint(self) -> &'static str {
        match self {
            Self::Sent => " (should the command still reach it, it may carry it out)",
            Self::Accepted => " (it has accepted the command and may still carry it out)",
            Self::InDoubt => {
                ": the program stands still until its target answers; if the target is gone for good, \
                 take the program back with `wayfare resume --force`"
            }
            Self::Fetching => " (the snapshot was made, but its bytes stopped coming)",
        }
    }
}

impl CommandError {
    /// For programs: what an exit code or a JSON document says.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Lookup(LookupError::NoEngine { .. }) => "no-engine",
            Self::Lookup(LookupError::AmbiguousEngine { .. }) => "ambiguous-engine",
            Self::Lookup(LookupError::NoProgram { .. }) => "no-program",
            Self::Lookup(LookupError::AmbiguousProgram { .. }) => "ambiguous-program",
            Self::Lookup(LookupError::OnlyBeginning { .. }) => "only-beginning",
            Self::EngineOffline { .. } => "engine-offline",
            Self::EngineClosed { .. } => "engine-closed",
            Self::ProgramLost { .. } => "program-lost",
            Self::NoPlace { .. } => "no-place",
            Self::NotWasm { .. } => "not-wasm",
            Self::Refused(_) => "refused",
            Self::Failed { .. } => "failed",
            Self::NoAnswer { .. } => "no-answer",
            Self::Bundle(_) => "bad-snapshot-file",
            Self::Damaged { .. } => "damaged",
            Self::Unexpected { .. } => "unexpected-answer",
            Self::Cancelled { .. } => "cancelled",
            Self::Superseded { .. } => SUPERSEDED,
            Self::Expired { .. } => EXPIRED,
            Self::Joined { .. } => "joined",
            Self::NotQueued { .. } => "not-queued",
            Self::Held { .. } => "held",
            Self::Closed => "closed",
        }
    }
}

fn of(by: Option<&String>) -> String {
    by.map_or_else(String::new, |by| format!(" of {by}"))
}

fn because(reason: Option<&String>) -> String {
    reason.map_or_else(String::new, |reason| format!(": {reason}"))
}

fn words(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        seconds if seconds % 60 != 0 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}

fn ago(offline_for_ms: Option<u64>) -> String {
    offline_for_ms.map_or_else(String::new, |ms| format!(" (since {} s ago)", ms / 1000))
}

impl From<ModuleError> for CommandError {
    fn from(error: ModuleError) -> Self {
        match error {
            ModuleError::NotWasm { found } => Self::NotWasm { found },
            ModuleError::Refused(failure) => Self::Refused(failure),
        }
    }
}
