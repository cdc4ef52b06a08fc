//! What front ends show of records as JSON: the record, with its times also in RFC 3339. One schema for
//! `--json` and the gateway.

use serde::Serialize;
use serde_json::{Map, Value, json};
use wayfare_protocol::ids::OperationId;

use crate::app::ask::Decision;
use crate::core::Finished;
use crate::operation::QueueNote;
use crate::operations::OperationRecord;

/// A moment in milliseconds since 1970, in this machine's time with its offset.
pub fn moment(at_ms: u64) -> String {
    use chrono::{DateTime, Local, SecondsFormat};
    let at = i64::try_from(at_ms)
        .ok()
        .and_then(DateTime::from_timestamp_millis);
    at.map_or_else(
        || "-".to_owned(),
        |at| {
            at.with_timezone(&Local)
                .to_rfc3339_opts(SecondsFormat::Millis, true)
        },
    )
}

/// This machine's clock, in milliseconds since 1970.
pub fn now_ms() -> u64 {
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    wall.map_or(0, |wall| u64::try_from(wall.as_millis()).unwrap_or(u64::MAX))
}

/// What has become of an operation.
pub fn finished(operation: OperationId, finished: &Finished) -> Value {
    let mut document = Map::new();
    document.insert("operation".into(), json!(operation));
    document.insert("engine".into(), json!(finished.engine));
    if let Value::Object(outcome) = json!(finished.outcome) {
        document.extend(outcome);
    }
    document.into()
}

/// With what an order had to do with others that waited, if it had.
pub fn noted(mut document: Value, note: QueueNote) -> Value {
    if note.is_joined {
        document["joined"] = true.into();
    }
    if note.superseded > 0 {
        document["superseded"] = note.superseded.into();
    }
    if note.unanswered > 0 {
        document["unanswered"] = note.unanswered.into();
    }
    document
}

/// An operation.
pub fn operation(record: &OperationRecord) -> Value {
    let ended = record.ended_ms.map(moment);
    let mut document = with_moments(
        record,
        [("begun", Some(moment(record.begun_ms))), ("ended", ended)],
    );
    document["state"] = record.word().into();
    document
}

/// An event.
pub fn decision(decision: &Decision) -> Value {
    with_moments(decision, [("at", Some(moment(decision.at_ms)))])
}

fn with_moments<const N: usize>(record: &impl Serialize, moments: [(&str, Option<String>); N]) -> Value {
    let mut document = json!(record);
    if let Value::Object(object) = &mut document {
        for (name, moment) in moments {
            if let Some(moment) = moment {
                object.insert(name.into(), moment.into());
            }
        }
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_times_with_their_offset() {
        let text = moment(1_795_547_101_250);
        let parsed = chrono::DateTime::parse_from_rfc3339(&text).unwrap();
        assert_eq!(parsed.timestamp_millis(), 1_795_547_101_250, "{text}");
        assert_eq!(moment(u64::MAX), "-");
    }
}
