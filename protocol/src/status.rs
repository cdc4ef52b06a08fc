//! What engines retain on the broker about themselves and their programs.
//!
//! An engine's status, its *presence*, is one small message whose size does not depend on what the engine has. Each program has
//! a status of its own, which outlives the engine's. What always holds: on every connection an engine publishes the statuses of
//! all its programs before its presence. So of an engine that is there, whatever has a status of another boot is lost, and
//! nobody needs a list to know that.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::code::{CodeTarget, PublicKey};
use crate::device::{Alias, DeviceAbout};
use crate::ids::{BootId, Digest, EngineId, Generation, ProgramId};
use crate::labels::Labels;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineStatus {
    pub engine: EngineId,
    pub boot: BootId,
    /// Grows with each status of one boot: the newest wins whatever order they arrive in.
    pub sequence: u64,
    pub state: EngineState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<EngineAbout>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<MachineLoad>,
    /// Programs that have not ended. Engines of earlier releases do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_programs: Option<u32>,
    /// All of the engine's programs, for clients of earlier releases, which know of no other source; empty where that
    /// would take more than [`LISTED_BYTES_MAX`](crate::limits::LISTED_BYTES_MAX).
    #[serde(default)]
    pub programs: Vec<ProgramStatus>,
}

impl EngineStatus {
    /// A status that says nothing but this.
    pub fn new(engine: EngineId, boot: BootId, state: EngineState) -> Self {
        Self {
            engine,
            boot,
            sequence: 0,
            state,
            about: None,
            load: None,
            live_programs: None,
            programs: Vec::new(),
        }
    }
}

/// How busy the engine's machine is, with everything that runs on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineLoad {
    pub memory_available_bytes: u64,
    /// Thousandths of a processor that were asked for, over the last minute; may be above what there is.
    pub processor_millicores: u64,
    /// `None` where the system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskWear>,
}

/// What the engine itself has written to its disk: cards bear only so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskWear {
    /// Since the engine's start, in whole pages, as the system counts them.
    pub written_bytes: u64,
    /// Since the engine's start.
    pub seconds: u64,
}

impl DiskWear {
    /// Bytes a day at the pace since the start.
    pub fn written_bytes_per_day(&self) -> u64 {
        let day = u128::from(self.written_bytes) * 86_400 / u128::from(self.seconds.max(1));
        u64::try_from(day).unwrap_or(u64::MAX)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineState {
    Online,
    /// Said by the engine when it stops in good order, or by its last will.
    Offline,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineAbout {
    pub version: String,
    /// Like `x86_64-linux`.
    pub platform: String,
    /// Which compiled code it runs.
    pub code: CodeTarget,
    /// Takes WebAssembly as it is; without, it needs code compiled elsewhere.
    pub compiles: bool,
    pub processors: u32,
    pub memory_bytes: u64,
    pub programs_max: u32,
    pub program_memory_bytes_max: u64,
    /// The machine that it runs on: engines of one host fail together.
    pub host: String,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Of one that does not compile: the keys whose signed code it loads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusts: Vec<PublicKey>,
    /// What programs that are granted an alias can use here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub devices: BTreeMap<Alias, DeviceAbout>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramStatus {
    pub program: ProgramId,
    pub name: String,
    pub engine: EngineId,
    pub boot: BootId,
    pub generation: Generation,
    /// Grows with each status of one generation on one boot.
    pub sequence: u64,
    #[serde(flatten)]
    pub state: ProgramState,
    pub module: Digest,
    /// Linear memory as of the last report; 0 while unknown.
    pub memory_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum ProgramState {
    /// Being compiled or restored.
    Starting,
    Running,
    Paused,
    /// On its way to another engine; runs here until frozen for the handover.
    Moving {
        target: EngineId,
    },
    /// Frozen: handed over to `target`, which has not said yet whether it took it.
    InDoubt {
        target: EngineId,
    },
    Exited {
        code: i32,
    },
    /// Trapped, or could not be started.
    Failed {
        #[serde(serialize_with = "crate::reason::serialize")]
        reason: String,
    },
}

impl ProgramState {
    pub fn is_ended(&self) -> bool {
        matches!(self, Self::Exited { .. } | Self::Failed { .. })
    }

    /// It is neither about to be somewhere else nor to be something else.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    pub fn word(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Moving { .. } => "moving",
            Self::InDoubt { .. } => "in doubt",
            Self::Exited { .. } => "exited",
            Self::Failed { .. } => "failed",
        }
    }
}
