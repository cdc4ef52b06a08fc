//! Why a command failed, as it crosses the wire. People read its text, programs match on its kind.
//!
//! A kind of a later release is no reason to lose the answer that it comes in: it is kept as
//! [`Failure::Unknown`].

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use thiserror::Error;

use crate::device::{Alias, DeviceKind};
use crate::ids::{ACTING_NAME, Digest, EngineId, Generation, OperationId, ProgramId, Term};
use crate::limits::NAME_BYTES_MAX;
use crate::reason;

#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(tag = "error", rename_all = "kebab-case", remote = "Self")]
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
    /// What was commanded before the engine lost its data folder may have been done there, and cannot be
    /// known.
    #[error("engine {engine} has lost its data since this was ordered: nobody knows whether it was done")]
    Forgotten { engine: EngineId },
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
    /// Nobody whom the fleet's roster permits it has signed it.
    #[error("{} does not take it: {reason}", who(engine))]
    NotPermitted {
        /// Or the acting dispatcher, by its name.
        engine: EngineId,
        #[serde(serialize_with = "crate::reason::serialize")]
        reason: String,
    },
    #[error("internal error: {reason}")]
    Internal {
        #[serde(serialize_with = "crate::reason::serialize")]
        reason: String,
    },
    /// Of a kind that this release does not know, in its own words as far as it has any.
    #[error("{reason} ({error})")]
    #[serde(skip)]
    Unknown { error: String, reason: String },
}

impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unknown { error, reason } => {
                serde_json::json!({ "error": error, "reason": reason }).serialize(serializer)
            }
            known => Self::serialize(known, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Failure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let Value::String(error) = &value["error"] else {
            return Err(D::Error::custom("a failure without its kind"));
        };
        if let Ok(known) = Self::deserialize(&value) {
            return Ok(known);
        }
        let reason = match &value["reason"] {
            Value::String(reason) => reason.clone(),
            _ => value.to_string(),
        };
        Ok(Self::Unknown {
            error: error.chars().take(NAME_BYTES_MAX).collect(),
            reason: reason::cut(reason),
        })
    }
}

/// Who refuses, in a sentence.
fn who(refuses: &EngineId) -> String {
    match refuses.as_str() {
        ACTING_NAME => "the dispatcher".into(),
        engine => format!("engine {engine}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_a_later_release_is_read_by_its_name_and_reason() {
        for (json, expected) in [
            (
                r#"{"error":"over-quota","reason":"ann has 3 of 3 programs","quota":3}"#,
                "ann has 3 of 3 programs (over-quota)",
            ),
            (
                r#"{"error":"over-quota","quota":3}"#,
                r#"{"error":"over-quota","quota":3} (over-quota)"#,
            ),
            // A kind that is known, with what it had not got then.
            (r#"{"error":"bad-request","reason":"no","hint":1}"#, "no"),
            (
                r#"{"error":"refused","engine":"a","failure":{"error":"new","reason":"so"}}"#,
                "refused by a: so (new)",
            ),
        ] {
            let failure: Failure = serde_json::from_str(json).unwrap();
            assert_eq!(failure.to_string(), expected);
            let again = serde_json::to_string(&failure).unwrap();
            assert_eq!(
                serde_json::from_str::<Failure>(&again).unwrap(),
                failure,
                "{again}"
            );
        }
        let long = format!(
            r#"{{"error":"{}","a":"{}"}}"#,
            "e".repeat(999),
            "x".repeat(99_999)
        );
        let failure: Failure = serde_json::from_str(&long).unwrap();
        assert!(serde_json::to_string(&failure).unwrap().len() < 2 * crate::limits::REASON_BYTES_MAX);
        for bad in ["{}", "1", r#"{"error":1}"#] {
            assert!(serde_json::from_str::<Failure>(bad).is_err(), "{bad}");
        }
    }
}
