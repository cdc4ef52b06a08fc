//! What the dispatcher's service for operations is asked: every order to an engine, from whomever, and what
//! became of it.
//!
//! ```text
//!             its client waits for the engine      an engine has it
//!   (told) --------- waiting -----------------------> running -----> done, failed
//!                       |                                                ^
//!                       '--> cancelled, failed      (an answer) ---------'
//!                            (superseded, expired)
//! ```
//! The service listens to commands and to engines' events, which say what is; clients tell it only of orders
//! that are not given yet.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wayfare_protocol::event::Phase;
use wayfare_protocol::ids::{Digest, EngineId, OperationId, ProgramId};

/// The service's name.
pub const SERVICE: &str = "operations";
/// [`OperationRecord::error`] of an order that was withdrawn because a later one supersedes it.
pub const SUPERSEDED: &str = "superseded";
/// [`OperationRecord::error`] of an order that was not given before it expired.
pub const EXPIRED: &str = "expired";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum OperationAsk {
    /// Answered with an [`OperationsPage`].
    List(OperationsWanted),
    /// By its id, or a unique beginning of that; answered with an [`OperationRecord`].
    Show { operation: String },
    /// The same, answered when it has ended.
    Wait { operation: String },
    /// An order that is about to be given, or begins to wait. Answered with [`Queued`]: at once, or if it
    /// supersedes others, when these have been withdrawn. Releases before this do not know it.
    Queue(WaitingOrder),
    /// An order that is not given yet, because its engine is offline. Answered with [`Withdrawn`] if it is to
    /// be given up, and otherwise not before it has ended.
    Waiting(WaitingOrder),
    /// It was never given, and will not be. Answered with nothing.
    NotGiven {
        operation: OperationId,
        reason: String,
        /// As [`OperationAsk::Cancel`] asked for.
        #[serde(default)]
        is_cancelled: bool,
        /// Kind of the failure, for programs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// Has an order withdrawn that is not given yet; answered with an [`OperationRecord`] when that is done.
    Cancel {
        operation: String,
        #[serde(default)]
        by: Option<String>,
    },
}

/// Which operations. What is not said is not asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OperationsWanted {
    #[serde(default)]
    pub state: Option<OperationState>,
    /// Of an engine that was commanded, or is the target.
    #[serde(default)]
    pub engine: Option<String>,
    /// Name of a program, or the beginning of an id.
    #[serde(default)]
    pub program: Option<String>,
    /// Who gave it: `user@host`, or `user`.
    #[serde(default)]
    pub by: Option<String>,
    /// Parts of this one: its id, or the beginning of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// Begun at this time or later, in milliseconds since 1970 by the dispatcher's clock.
    #[serde(default)]
    pub since_ms: Option<u64>,
    /// The last of the page before.
    #[serde(default)]
    pub after: Option<Place>,
    #[serde(default)]
    pub limit: Option<u32>,
}

/// Where an operation stands in the list, which begins with the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    pub begun_ms: u64,
    pub operation: OperationId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingOrder {
    pub operation: OperationId,
    pub verb: String,
    /// As it was typed.
    pub program: Option<String>,
    pub engine: Option<String>,
    pub by: Option<String>,
    /// For how long its client waits.
    pub time_limit_ms: u64,
    /// What it has to do with others that wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queueing: Option<Queueing>,
    /// Equal for orders that ask for the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same: Option<Digest>,
    /// Its client tells of it at least so often. `None`: once, as clients of releases before do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
}

/// What an order has to do with others that wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queueing {
    pub policy: QueuePolicy,
    /// Of the orders that are meant. `None`: for [`QueuePolicy::Coalesce`] those that ask for the same, for
    /// [`QueuePolicy::Supersede`] those of the same verb about the same program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueuePolicy {
    /// It is not given where another waits already: what becomes of that one is its answer too.
    Coalesce,
    /// Those that wait are withdrawn before it is given.
    Supersede,
}

/// What has become of an order's queueing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Queued {
    /// It joins this one, and is not to be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joins: Option<Box<OperationRecord>>,
    /// A later one supersedes it already: it is not to be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead: Option<OperationId>,
    /// Orders that it supersedes, which are withdrawn;
    #[serde(default)]
    pub superseded: u32,
    /// and those whose clients did not answer: they are withdrawn when these are heard of again.
    #[serde(default)]
    pub unanswered: u32,
}

/// Somebody wants an order withdrawn that is not given yet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Withdrawn {
    pub is_withdrawn: bool,
    #[serde(default)]
    pub by: Option<String>,
    /// A later order, which supersedes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead: Option<OperationId>,
}

/// As many operations as a message holds, the latest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationsPage {
    pub operations: Vec<OperationRecord>,
    /// There are more, after the last of these.
    pub more: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationState {
    /// Its engine has not said yet that it has it.
    Waiting,
    Running,
    Done,
    Failed,
    /// Withdrawn before it was given.
    Cancelled,
}

impl OperationState {
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationRecord {
    pub operation: OperationId,
    pub verb: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<ProgramId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which was commanded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineId>,
    /// Where a program is moved or copied to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<EngineId>,
    /// The copy that is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<ProgramId>,
    /// `user@host` as its client says, which nothing proves; `dispatcher` for what that decided. `None`: its
    /// client does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What it is a part of. There is no record of that: it follows from its parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<OperationId>,
    pub state: OperationState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub done_bytes: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub total_bytes: u64,
    /// What its engine answered, without what is long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Kind of a failure, for programs,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// and why it failed or was cancelled, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// No answer was heard: the end is seen by the program's status.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_inferred: bool,
    /// In milliseconds since 1970 by the dispatcher's clock, as all times here.
    pub begun_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
}

impl OperationRecord {
    /// Its state in a word, as people and `--json` have it: an order that was withdrawn for a later one is
    /// superseded, one that was not given in time has expired. Releases before this see the state alone.
    pub fn word(&self) -> &'static str {
        match (self.state, self.error.as_deref()) {
            (OperationState::Cancelled, Some(SUPERSEDED)) => SUPERSEDED,
            (OperationState::Failed, Some(EXPIRED)) if self.engine_answered_nothing() => EXPIRED,
            (state, _) => state.word(),
        }
    }

    /// A program can fail with any word; an order that was never given has no program.
    fn engine_answered_nothing(&self) -> bool {
        self.program.is_none()
    }

    pub fn place(&self) -> Place {
        Place {
            begun_ms: self.begun_ms,
            operation: self.operation,
        }
    }
}

fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}
