//! `wayfare ops`: every order in the fleet, and what became of it.

use serde_json::json;
use wayfare_client::documents::operation as document;
use wayfare_client::operations::{OperationAsk, OperationRecord, OperationState, OperationsWanted};
use wayfare_client::{AskError, Client};
use wayfare_protocol::error::Failure;

use crate::args::ops::{OpsArgs, OpsIdArgs, OpsListArgs, OpsVerb, ShownState};
use crate::context::{who, with_services};
use crate::fail::{Fail, Result};
use crate::interrupt::or_interrupted;
use crate::output::{Output, Text, micros, moment};
use crate::query::Query;
use wayfare_client::rows::OPERATION_FIELDS;

/// Operations that are listed, unless more are asked for.
const LISTED_MAX: u32 = 100;

pub(crate) async fn run(args: OpsArgs, output: Output) -> Result {
    match args.verb {
        None => list(args.list, output).await,
        Some(OpsVerb::Show(args)) => {
            let show = |operation| OperationAsk::Show { operation };
            one(args, output, show).await.map(drop)
        }
        Some(OpsVerb::Wait(args)) => {
            let wait = |operation| OperationAsk::Wait { operation };
            let operation = args.operation.clone();
            let record = or_interrupted(one(args, output, wait), || {
                Fail::interrupted(format!("operation {operation} goes on")).hint(format!(
                    "`wayfare ops cancel {operation}` withdraws it, if no engine was told to begin"
                ))
            })
            .await?;
            match record.state {
                OperationState::Done => Ok(()),
                _ => Err(Fail::new(record.word(), format!("it has {}", ended(&record)))),
            }
        }
        Some(OpsVerb::Cancel(args)) => {
            let by = Some(who());
            let cancel = |operation| OperationAsk::Cancel { operation, by };
            one(args, output, cancel).await.map(drop)
        }
    }
}

async fn list(mut args: OpsListArgs, output: Output) -> Result {
    let limit = *args.query.limit.get_or_insert(LISTED_MAX);
    let query = Query::new(&args.query, &OPERATION_FIELDS)?;
    let narrower = args.state.and_then(ShownState::narrower);
    let wanted = OperationsWanted {
        state: args.state.map(Into::into),
        engine: args.engine,
        program: args.program,
        by: args.by,
        batch: args.batch,
        since_ms: args.since,
        after: None,
        // What is chosen here is chosen from all.
        limit: (!query.chooses() && narrower.is_none()).then_some(limit),
    };
    with_services(&args.ask.fleet, async |fleet| {
        let found = fleet
            .operations(&wanted, args.ask.timeout)
            .await
            .map_err(failed)?;
        let is_meant = |record: &OperationRecord| narrower.is_none_or(|word| record.word() == word);
        let found = query.of(found.into_iter().filter(is_meant).collect());
        query.print(&found, output, |one| one.operation.to_string(), document, table)
    })
    .await
}

async fn one(
    args: OpsIdArgs,
    output: Output,
    ask: impl FnOnce(String) -> OperationAsk,
) -> Result<OperationRecord> {
    with_services(&args.ask.fleet, async |fleet: &Client| {
        let ask = ask(args.operation);
        let asked = fleet.ask_operations(&ask, args.ask.timeout);
        let record: OperationRecord = asked.await.map_err(failed)?;
        output.print(&document(&record), |_| page(&record))?;
        Ok(record)
    })
    .await
}

/// A dispatcher of an earlier release keeps none.
fn failed(error: AskError) -> Fail {
    match error {
        AskError::Failed(Failure::UnknownService { .. }) => Fail::new(
            "no-operations",
            "the acting dispatcher is of an earlier release, which keeps no operations",
        )
        .hint("install this release where the dispatcher runs, and restart it"),
        error => error.into(),
    }
}

fn table(records: &[OperationRecord]) -> Text {
    if records.is_empty() {
        return "no such operations".into();
    }
    let row = |record: &OperationRecord| {
        vec![
            record.operation.short(),
            record.word().to_owned(),
            what(record),
            took(record),
            record.by.clone().unwrap_or_else(|| "-".into()),
            moment(record.begun_ms),
        ]
    };
    // Why it failed is longer than any column.
    let head = ["OPERATION", "STATE", "WHAT", "TOOK", "BY", "BEGUN"];
    Text::table(&head, records.iter().map(row)).below(records.iter().map(|record| record.reason.clone()))
}

/// `move p a -> b`.
fn what(record: &OperationRecord) -> String {
    let program = record.program.map(|program| program.short());
    let name = record.name.clone().or(program).unwrap_or_else(|| "?".into());
    let engine = record.engine.as_ref().map(ToString::to_string);
    let places = [engine, record.target.as_ref().map(ToString::to_string)];
    let places: Vec<String> = places.into_iter().flatten().collect();
    format!("{} {name} {}", record.verb, places.join(" -> "))
        .trim_end()
        .to_owned()
}

fn took(record: &OperationRecord) -> String {
    record.ended_ms.map_or_else(
        || "-".into(),
        |ended_ms| micros(ended_ms.saturating_sub(record.begun_ms).saturating_mul(1_000)),
    )
}

fn state(record: &OperationRecord) -> String {
    match &record.reason {
        // The word is where such a reason begins.
        Some(reason) if reason.starts_with(record.word()) => reason.clone(),
        Some(reason) => format!("{}: {reason}", record.word()),
        None => record.word().to_owned(),
    }
}

fn ended(record: &OperationRecord) -> String {
    match record.state {
        OperationState::Cancelled => format!("been {}", state(record)),
        _ => state(record),
    }
}

fn page(record: &OperationRecord) -> Text {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let mut lines = vec![
        ("operation", record.operation.to_string()),
        ("what", what(record)),
        (
            "program",
            or_dash(record.program.map(|program| program.to_string())),
        ),
        ("by", or_dash(record.by.clone())),
        ("batch", or_dash(record.batch.map(|batch| batch.to_string()))),
        ("state", state(record)),
        ("begun", moment(record.begun_ms)),
    ];
    if let Some(phase) = record.phase {
        let phase = json!(phase);
        let phase = phase.as_str().unwrap_or_default();
        let progress = format!("{phase}, {} of {} bytes", record.done_bytes, record.total_bytes);
        lines.push(("phase", progress));
    }
    if let Some(copy) = record.copy {
        lines.push(("copy", copy.to_string()));
    }
    if let Some(ended_ms) = record.ended_ms {
        lines.push(("ended", format!("{}, after {}", moment(ended_ms), took(record))));
    }
    if let Some(result) = &record.result {
        lines.push(("result", result.to_string()));
    }
    Text::page(&lines)
}

#[cfg(test)]
mod tests {
    use wayfare_protocol::ids::{OperationId, ProgramId};

    use super::*;

    fn record() -> OperationRecord {
        OperationRecord {
            operation: OperationId::from_bytes([0x3f; 16]),
            verb: "move".into(),
            program: Some(ProgramId::from_bytes([1; 16])),
            name: Some("p".into()),
            engine: Some("a".parse().unwrap()),
            target: Some("b".parse().unwrap()),
            copy: None,
            by: Some("ann@desk".into()),
            batch: None,
            state: OperationState::Failed,
            phase: None,
            done_bytes: 0,
            total_bytes: 0,
            result: None,
            error: Some("no-room".into()),
            reason: Some("engine b has no room".into()),
            is_inferred: false,
            begun_ms: 1_795_547_101_250,
            ended_ms: Some(1_795_547_101_350),
        }
    }

    #[test]
    fn an_operation_is_one_row_with_who_what_and_why() {
        assert_eq!(what(&record()), "move p a -> b");
        assert_eq!(took(&record()), "100.0 ms");
        assert_eq!(state(&record()), "failed: engine b has no room");
        let nameless = OperationRecord {
            name: None,
            target: None,
            ended_ms: None,
            ..record()
        };
        assert_eq!(what(&nameless), "move 01010101 a");
        assert_eq!(took(&nameless), "-");
        let document = document(&record());
        let begun = document["begun"].as_str().unwrap_or_default();
        assert!(begun.starts_with("2026-11-24T") && begun.len() > 20, "{begun}");
        assert_eq!(document["state"], "failed");
    }
}
