//! What the dispatcher's service for applications is asked, and what it says by itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wayfare_protocol::ids::{Blob, Digest, EngineId, ProgramId, Term};
use wayfare_protocol::wire::Message;
use wayfare_scheduler::application::InstanceId;

use super::AppSpec;

/// The service's name.
pub const SERVICE: &str = "apps";
/// Bytes of a blob in one request: as hexadecimal digits they are twice as many.
pub const PUT_BYTES_MAX: usize = 48 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Ask {
    /// Which of these the dispatcher lacks.
    Lacks {
        blobs: Vec<Blob>,
    },
    /// A part of a blob, in hexadecimal; answered with the number of bytes that are there now.
    Put {
        blob: Blob,
        offset: u64,
        hex: String,
    },
    /// What applying it would change.
    Plan {
        spec: AppSpec,
    },
    Apply {
        spec: AppSpec,
        /// The serial of the plan that people have looked at.
        expects: Option<u64>,
    },
    /// Of one application, or of all, in one answer: refused where that is too long for a message.
    Status {
        application: Option<String>,
    },
    /// The same in parts: answered with a [`StatusPage`].
    StatusPage {
        application: Option<String>,
        /// Where the page begins; `None`: at the beginning.
        from: Option<InstanceId>,
    },
    /// In one answer, as [`Ask::Status`].
    History {
        application: String,
    },
    /// The same in parts: answered with a [`HistoryPage`].
    HistoryPage {
        application: String,
        /// The version that the page begins with; 0: the oldest.
        from: u64,
    },
    /// Back to a version; `None`: to the one before.
    Revert {
        application: String,
        version: Option<u64>,
    },
    Pause {
        application: String,
    },
    Resume {
        application: String,
    },
    Remove {
        application: String,
    },
    Cordon {
        engine: EngineId,
    },
    Drain {
        engine: EngineId,
    },
    Uncordon {
        engine: EngineId,
    },
    /// What is left on an engine that is to be emptied.
    Left {
        engine: EngineId,
    },
    /// Engines that get nothing new, or are being emptied: answered with a [`MarksPage`].
    Marks {
        /// Where the page begins; `None`: at the beginning.
        from: Option<EngineId>,
    },
    /// What was decided since then, by the dispatcher's clock, and after this number.
    Events {
        since_ms: u64,
        after: Option<(Term, u64)>,
    },
}

impl Ask {
    /// Whether it changes what is wanted.
    pub fn is_change(&self) -> bool {
        match self {
            Self::Lacks { .. }
            | Self::Plan { .. }
            | Self::Status { .. }
            | Self::StatusPage { .. }
            | Self::History { .. }
            | Self::HistoryPage { .. }
            | Self::Left { .. }
            | Self::Marks { .. }
            | Self::Events { .. } => false,
            Self::Put { .. }
            | Self::Apply { .. }
            | Self::Revert { .. }
            | Self::Pause { .. }
            | Self::Resume { .. }
            | Self::Remove { .. }
            | Self::Cordon { .. }
            | Self::Drain { .. }
            | Self::Uncordon { .. } => true,
        }
    }
}

/// What people have said about an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// It gets nothing new.
    Cordoned,
    /// It gets nothing new, and what it has goes elsewhere.
    Draining,
}

/// As many marks as a message holds, in the order of the engines' names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarksPage {
    pub marks: BTreeMap<EngineId, Mark>,
    /// Where the next page begins; `None`: this is the last.
    pub next: Option<EngineId>,
}

/// One thing that the dispatcher decided or noticed, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Milliseconds since 1970 by the dispatcher's clock.
    pub at_ms: u64,
    pub term: Term,
    /// Counts within the term.
    pub sequence: u64,
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<ProgramId>,
    pub text: String,
}

impl Message for Decision {
    const TYPE: &'static str = "decision";
}

/// The answer to [`Ask::Plan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanAnswer {
    pub application: String,
    /// Of the application as it is: give it to [`Ask::Apply`], so that nobody's change is overrun.
    pub serial: u64,
    /// What differs, a line each.
    pub changes: Vec<String>,
    /// What would be done at once, a line each.
    pub actions: Vec<String>,
    /// What could not run, and why.
    pub unplaced: Vec<String>,
}

/// The answer to [`Ask::Status`]: one for each application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppStatus {
    pub application: String,
    pub version: u64,
    pub serial: u64,
    /// `running`, `paused`, `updating` or `removing`.
    pub state: String,
    pub instances: Vec<InstanceStatus>,
    pub unplaced: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStatus {
    pub instance: String,
    pub state: String,
    pub program: Option<ProgramId>,
    pub engine: Option<EngineId>,
    pub generation: Option<u64>,
    /// Whether it is made as the current version says.
    pub current: bool,
    pub healthy: bool,
    /// When its state was last copied to the dispatcher.
    pub checkpoint_at_ms: Option<u64>,
}

/// As much of a status as a message holds. An application whose instances are cut is in the next page again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusPage {
    pub applications: Vec<AppStatus>,
    /// Where the next page begins; `None`: this is the last.
    pub next: Option<InstanceId>,
}

/// As many versions as a message holds, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryPage {
    pub versions: Vec<VersionStatus>,
    /// The version that the next page begins with; `None`: this is the last.
    pub next: Option<u64>,
}

/// One version, as [`Ask::History`] lists them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionStatus {
    pub version: u64,
    pub at_ms: u64,
    pub note: String,
    pub current: bool,
    pub modules: Vec<(String, Digest)>,
}
