//! The end of an operation, as people read it among the events.

use wayfare_client::app::ask::Decision;
use wayfare_client::operations::{OperationRecord, OperationState};
use wayfare_protocol::ids::EngineId;

/// Who gives the commands of a term.
pub(super) const DISPATCHER: &str = "dispatcher";

/// Whether the dispatcher decided on it itself.
pub(super) fn is_decided(record: &OperationRecord) -> bool {
    record.by.as_deref() == Some(DISPATCHER)
}

/// The span that all others of the operation are below, of the dispatcher, the engines and whoever exports
/// them: see the crate `traces`.
pub(super) fn trace(record: &OperationRecord) {
    let engine = record.engine.as_ref().map(tracing::field::display);
    let target = record.target.as_ref().map(tracing::field::display);
    let name = record.name.as_deref().unwrap_or_default();
    let failure =
        (record.state != OperationState::Done).then(|| record.reason.as_deref().unwrap_or(record.word()));
    tracing::info_span!(
        "order",
        operation = %record.operation,
        what = record.verb,
        program = name,
        by = record.by,
        engine,
        target,
        failure,
        begun_ms = record.begun_ms,
        ended_ms = record.ended_ms,
    )
    .in_scope(|| tracing::trace!("has ended"));
}

/// Its kind is the verb; what became of it stands in the text.
pub(super) fn event(record: &OperationRecord) -> Decision {
    let by = record.by.as_deref().unwrap_or("somebody");
    let id = || record.program.map(|program| program.short());
    let program = record
        .name
        .clone()
        .or_else(id)
        .unwrap_or_else(|| "a program".into());
    let place = |engine: &Option<EngineId>| engine.as_ref().map_or_else(|| "?".into(), EngineId::to_string);
    let what = match (&record.target, record.verb.as_str()) {
        (Some(_), verb) => format!(
            "{verb} {program} from {} to {}",
            place(&record.engine),
            place(&record.target)
        ),
        (None, verb) => format!("{verb} {program} on {}", place(&record.engine)),
    };
    let ending = match (record.word(), &record.reason) {
        (_, None) if record.state == OperationState::Done => String::new(),
        (word, None) => format!(": {word}"),
        // The word is where such a reason begins.
        (word, Some(reason)) if reason.starts_with(word) => format!(": {reason}"),
        (word, Some(reason)) => format!(": {word}, {reason}"),
    };
    Decision {
        kind: record.verb.clone(),
        engine: record.engine.clone(),
        target: record.target.clone(),
        program: record.program,
        name: record.name.clone(),
        by: record.by.clone(),
        operation: Some(record.operation),
        text: wayfare_protocol::reason::cut(format!("{by}: {what}{ending}")),
        ..Decision::default()
    }
}
