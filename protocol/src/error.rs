//! Why a command failed, as it crosses the wire. People read its text, programs match on its kind.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::device::{Alias, DeviceKind};
use crate::dispatcher::Term;
use crate::ids::{Digest, EngineId, Generation, OperationId, ProgramId};

#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(tag = "error", rename_all = "kebab-case")]
pub enum Failure {
    #[error("{reason}")]
    BadRequest {
        #[serde(serialize_with = "crate::reason::serialize")]
        reason: String,
    },
    #[error("{what} has {bytes} bytes, the limit is {bytes_max}")]
    TooLarge {
        #[serde(serialize_with = "crate::reason::serialize")]
        what: String,
        bytes: u64,
        bytes_max: u64,
    },
    /// The module is not WebAssembly, damaged, or uses what cannot be captured or offered.
    #[error("module {} cannot run: {reason}", module.short())]
    Module {
        module: Digest,
        #[serde(serialize_with = "crate::reason::serialize")]
        reason: String,
    },
    /// An engine without a compiler could not get the module's code, or refused it.
    #[error("engine {engine} has no code for module {}: {reason}", module.short())]
    NoCode {
        engine: EngineId,
        module: Digest,
        #[serde(serialize_with = "crate::reason::serialize")]
        reason: String,
    },
    #[error("engine {engine} has no program {}", program.short())]
    UnknownProgram { engine: EngineId, program: ProgramId },
    #[error("program {} is at generation {actual}, not {expected}", program.short())]
    StaleGeneration {
        program: ProgramId,
        expected: Generation,
        actual: Generation,
    },
    #[error("program {} is {state}: cannot {verb}", program.short())]
    WrongState {
        program: ProgramId,
        #[serde(serialize_with = "crate::reason::serialize")]
        state: String,
        #[serde(serialize_with = "crate::reason::serialize")]
        verb: String,
    },
    #[error("program {} is busy with operation {}", program.short(), operation.short())]
    Busy {
        program: ProgramId,
        operation: OperationId,
    },
    #[error("program {} is here already", program.short())]
    AlreadyHere { program: ProgramId },
    #[error("engine {engine} has no room: {reason}")]
    NoRoom {
        engine: EngineId,
        #[serde(serialize_with = "crate::reason::serialize")]
        reason: String,
    },
    #[error("engine {engine} has no device '{alias}'")]
    NoDevice { engine: EngineId, alias: Alias },
    /// It uses the alias where it is as a device of another kind.
    #[error("device '{alias}' of engine {engine} is of kind {actual}, not {expected}")]
    WrongDevice {
        engine: EngineId,
        alias: Alias,
        actual: DeviceKind,
        expected: DeviceKind,
    },
    /// One program at a time can have it.
    #[error("device '{alias}' of engine {engine} belongs to program {}", program.short())]
    DeviceTaken {
        engine: EngineId,
        alias: Alias,
        program: ProgramId,
    },
    #[error("no answer from {peer} within {waited_ms} ms")]
    Silent {
        #[serde(serialize_with = "crate::reason::serialize")]
        peer: String,
        waited_ms: u64,
    },
    #[error("{what} arrived damaged: {reason}")]
    Damaged {
        #[serde(serialize_with = "crate::reason::serialize")]
        what: String,
        #[serde(serialize_with = "crate::reason::serialize")]
        reason: String,
    },
    #[error("snapshot refused: {reason}")]
    Snapshot {
        #[serde(serialize_with = "crate::reason::serialize")]
        reason: String,
    },
    #[error("cancelled")]
    Cancelled,
    #[error("interrupted: engine {engine} restarted")]
    Interrupted { engine: EngineId },
    #[error("engine {engine} could not store it: {reason}")]
    Storage {
        engine: EngineId,
        #[serde(serialize_with = "crate::reason::serialize")]
        reason: String,
    },
    #[error("program {} ended meanwhile: {state}", program.short())]
    Ended {
        program: ProgramId,
        #[serde(serialize_with = "crate::reason::serialize")]
        state: String,
    },
    #[error("refused by {engine}: {failure}")]
    Refused { engine: EngineId, failure: Box<Failure> },
    #[error("the dispatcher has no service '{service}'")]
    UnknownService {
        #[serde(serialize_with = "crate::reason::serialize")]
        service: String,
    },
    /// Said by an engine to a dispatcher that has been succeeded.
    #[error("engine {engine} obeys the dispatcher of term {actual}, not of term {term}")]
    StaleTerm {
        engine: EngineId,
        term: Term,
        actual: Term,
    },
    #[error("internal error: {reason}")]
    Internal {
        #[serde(serialize_with = "crate::reason::serialize")]
        reason: String,
    },
}
