//! What is observed: the engines, what each can hold and has, and which instances run where.
//!
//! All of it is the caller's knowledge at one moment. An instance with an operation in flight is given where
//! that operation will leave it, and what it still holds elsewhere as that engine's [`Engine::other`].

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wayfare_protocol::ids::{EngineId, Generation, ProgramId};

use crate::application::{InstanceId, Resources};

/// The engines by name, and what runs on them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fleet {
    pub engines: BTreeMap<EngineId, Engine>,
    /// In any order. One on an engine that is not in `engines` counts as lost.
    pub running: Vec<Running>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    /// The machine that it runs on; engines of one host fail together.
    pub host: String,
    pub presence: Presence,
    pub capacity: Capacity,
    /// What is taken by programs that are not the scheduler's.
    pub other: Usage,
    pub code: Code,
    pub labels: BTreeMap<String, String>,
    /// Aliases of what is attached: `led`, `camera`.
    pub devices: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    #[default]
    Open,
    /// Keeps what it has and takes nothing new.
    Cordoned,
    /// Is to be emptied.
    Draining,
    /// Not heard of any more: what ran there is to be restarted elsewhere.
    Lost,
}

/// Where an engine gets code for modules that it has not run yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// It compiles them.
    Own,
    /// The dispatcher compiles them for it.
    Served,
    /// Nowhere.
    None(NoCode),
}

/// Why an engine without a compiler gets no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoCode {
    /// Nobody compiles for others.
    NotServed,
    /// It trusts none of the keys that the dispatcher signs with.
    NotTrusted,
    /// None of the dispatcher's compilers makes it for its version of wasmtime and its processor.
    NotMade,
}

/// What an engine can hold; `None` is unbounded, as far as anybody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Capacity {
    /// For all programs together.
    pub memory_bytes: Option<u64>,
    /// The most that one program may have.
    pub program_memory_bytes_max: Option<u64>,
    /// Thousandths of one processor: four processors are 4000.
    pub processor_millicores: Option<u64>,
    pub programs_max: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    pub programs: u32,
    pub resources: Resources,
}

/// One instance where it was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub instance: InstanceId,
    pub engine: EngineId,
    pub program: ProgramId,
    /// Of two programs for one instance the one with the highest generation is kept.
    pub generation: Generation,
    /// Linear memory as of the last report, 0 while unknown. Where it exceeds what the component asks for, it
    /// counts.
    pub memory_bytes: u64,
}
