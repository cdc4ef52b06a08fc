//! Records of operations, of what is heard: bounded, and without what is long.

use serde_json::Value;
use wayfare_client::operations::{OperationRecord, OperationState};
use wayfare_protocol::command::{Action, GivenCommand};
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::{Outcome, only_reads};
use wayfare_protocol::ids::OperationId;
use wayfare_protocol::limits::{NAME_BYTES_MAX, TIME_LIMIT_MS_MAX};
use wayfare_protocol::reason::shortened;

use super::{ANSWER_GRACE_MS, Kept};

pub(super) fn new(operation: OperationId, verb: &str, due_ms: u64, now_ms: u64) -> Kept {
    let record = OperationRecord {
        operation,
        verb: shortened(verb.to_owned(), NAME_BYTES_MAX),
        program: None,
        name: None,
        engine: None,
        target: None,
        copy: None,
        by: None,
        batch: None,
        state: OperationState::Waiting,
        phase: None,
        done_bytes: 0,
        total_bytes: 0,
        result: None,
        error: None,
        reason: None,
        is_inferred: false,
        begun_ms: now_ms,
        ended_ms: None,
    };
    Kept {
        record,
        due_ms,
        is_given: false,
        is_recalled: false,
        place: None,
    }
}

pub(super) fn due(time_limit_ms: u64, now_ms: u64) -> u64 {
    let limit_ms = time_limit_ms.min(TIME_LIMIT_MS_MAX);
    now_ms.saturating_add(limit_ms).saturating_add(ANSWER_GRACE_MS)
}

/// What changes nothing, or is done for applications all the time.
pub(super) fn is_upkeep(given: &GivenCommand) -> bool {
    let Action::Snapshot { .. } = given.command.action else {
        return only_reads(given.command.action.verb());
    };
    given.command.term.is_some()
}

/// What is short of an answer.
pub(super) fn result(outcome: &Outcome) -> Option<Value> {
    match outcome {
        Outcome::Captured { snapshot, .. } => Some(serde_json::json!({
            "result": "captured", "snapshot": snapshot,
        })),
        Outcome::Logs { .. } | Outcome::Reported => None,
        outcome => serde_json::to_value(outcome).ok(),
    }
}

pub(super) fn error_kind(failure: &Failure) -> Option<String> {
    let value = serde_json::to_value(failure).ok()?;
    let kind = value.get("error")?.as_str()?;
    Some(shortened(kind.to_owned(), NAME_BYTES_MAX))
}
