//! What an engine says about an operation: `Accepted`, any number of `Progress`, then exactly one of `Done`
//! and `Failed`. Goes to the client that asked, and to whoever listens on the engine's event topic.

use serde::{Deserialize, Serialize};

use crate::command::ProgramSpec;
use crate::error::Failure;
use crate::ids::{Blob, BootId, EngineId, Generation, OperationId, ProgramId};
use crate::log::LogLine;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub operation: OperationId,
    pub engine: EngineId,
    pub boot: BootId,
    pub verb: String,
    pub program: Option<ProgramId>,
    #[serde(flatten)]
    pub body: EventBody,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventBody {
    Accepted,
    Progress {
        phase: Phase,
        done_bytes: u64,
        total_bytes: u64,
    },
    Done {
        outcome: Outcome,
    },
    Failed {
        failure: Failure,
    },
}

impl EventBody {
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Failed { .. })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Blobs are on their way to the engine that needs them.
    Transfer,
    /// The module is being rewritten and compiled.
    Compile,
    /// Memory is being copied while the program runs.
    Precopy,
    /// The program is frozen and what changed is being sent.
    Handover,
    /// The offer went out and the target has not answered: the program stays frozen here.
    InDoubt,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Outcome {
    Running {
        program: ProgramId,
        generation: Generation,
    },
    Moved {
        program: ProgramId,
        generation: Generation,
        target: EngineId,
        report: MoveReport,
    },
    Spawned {
        copy: ProgramId,
        target: EngineId,
    },
    Paused {
        program: ProgramId,
    },
    Resumed {
        program: ProgramId,
    },
    Killed {
        program: ProgramId,
    },
    /// Fetch these from the engine with [`crate::peer::PeerMessage::Want`] under the same operation.
    Captured {
        program: ProgramId,
        generation: Generation,
        spec: ProgramSpec,
        snapshot: Blob,
    },
    /// `next` is the number of the first line not yet written; `lines` may be cut to fit a message,
    /// in which case asking again from the last one's number gives the rest.
    Logs {
        lines: Vec<LogLine>,
        next: u64,
    },
    /// The answer to a report request: the status has been published.
    Reported,
}

/// Whether orders of this verb only read: nobody but who asked wants their answers.
pub fn only_reads(verb: &str) -> bool {
    matches!(verb, "logs" | "report")
}

/// What a move cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MoveReport {
    /// From the command's acceptance to the target's word that it runs, by the source's clock.
    pub total_us: u64,
    /// From the moment that the program stood still to the target's word that it runs, by the
    /// source's clock: no less than the gap the world could notice.
    pub downtime_us: u64,
    /// Sent while the program ran on, and while it stood still.
    pub precopied_bytes: u64,
    pub final_bytes: u64,
}
