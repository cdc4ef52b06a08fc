//! Which operations are asked for.

use serde_json::json;
use wayfare_client::app::ask::is_by;
use wayfare_client::operations::{OperationRecord, OperationState, OperationsPage, OperationsWanted};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{EngineId, OperationId};
use wayfare_protocol::limits::{NAME_BYTES_MAX, PAGE_BYTES_MAX};
use wayfare_protocol::reason::shortened;

use super::Operations;
use super::making::new;

impl Operations {
    /// The one whose id begins like this.
    pub(in crate::operations) fn find(&self, wanted: &str) -> Result<&OperationRecord, Failure> {
        let wanted = wanted.to_ascii_lowercase();
        let all = self.all.values().map(|kept| &kept.record);
        let mut found = all.filter(|record| record.operation.to_string().starts_with(&wanted));
        let refused = |reason: String| Err(Failure::BadRequest { reason });
        match (found.next(), found.next()) {
            (Some(record), None) => Ok(record),
            (Some(_), Some(_)) => refused(format!(
                "several operations begin with '{}': give more of the id",
                shortened(wanted, NAME_BYTES_MAX)
            )),
            (None, _) => refused(format!(
                "no operation '{}': `wayfare ops` lists those that are kept",
                shortened(wanted, NAME_BYTES_MAX)
            )),
        }
    }

    /// The same; what has parts and no record of its own is made of its parts.
    pub(in crate::operations) fn shown(&self, wanted: &str) -> Result<OperationRecord, Failure> {
        let found = self.find(wanted).cloned();
        match found {
            Err(failure) => self.batch(wanted).ok_or(failure),
            found => found,
        }
    }

    /// Ended when all of its parts are, as far as they have been given; failed if one has.
    fn batch(&self, wanted: &str) -> Option<OperationRecord> {
        let begins = |batch: &OperationId| batch.to_string().starts_with(&wanted.to_ascii_lowercase());
        let all = || self.all.values().map(|kept| &kept.record);
        let batch = all().filter_map(|record| record.batch).find(begins)?;
        let parts: Vec<&OperationRecord> = all().filter(|record| record.batch == Some(batch)).collect();
        let count = |state: OperationState| parts.iter().filter(|part| part.state == state).count();
        let open = count(OperationState::Waiting) + count(OperationState::Running);
        let (done, failed) = (
            count(OperationState::Done),
            parts.len() - open - count(OperationState::Done),
        );
        let state = match (open, failed) {
            (1.., _) => OperationState::Running,
            (0, 0) => OperationState::Done,
            (0, _) => OperationState::Failed,
        };
        let last_ms = parts.iter().filter_map(|part| part.ended_ms).max();
        let first = parts.iter().min_by_key(|part| part.place())?;
        Some(OperationRecord {
            operation: batch,
            verb: "batch".into(),
            by: first.by.clone(),
            state,
            reason: (failed > 0).then(|| format!("{failed} of {} operations failed", parts.len())),
            result: Some(json!({ "operations": parts.len(), "done": done, "failed": failed, "open": open })),
            ended_ms: last_ms.filter(|_| open == 0),
            ..new(batch, "batch", 0, first.begun_ms).record
        })
    }

    pub(in crate::operations) fn page(&self, wanted: &OperationsWanted) -> OperationsPage {
        let most = wanted.limit.map_or(usize::MAX, |limit| limit as usize);
        let before = wanted.after.map(|place| (place.begun_ms, place.operation));
        let places = self.by_age.iter().rev();
        let places = places.filter(|place| before.is_none_or(|before| **place < before));
        let places = places.take_while(|(begun_ms, _)| *begun_ms >= wanted.since_ms.unwrap_or(0));
        let records = places.filter_map(|(_, operation)| self.get(*operation));
        let (mut operations, mut room) = (Vec::new(), PAGE_BYTES_MAX);
        for record in records.filter(|record| is_wanted(record, wanted)) {
            let bytes = serde_json::to_string(record).map_or(0, |json| json.len());
            let left = room.checked_sub(bytes).filter(|_| operations.len() < most);
            let Some(left) = left else {
                return OperationsPage {
                    operations,
                    more: true,
                };
            };
            room = left;
            operations.push(record.clone());
        }
        OperationsPage {
            operations,
            more: false,
        }
    }
}

fn is_wanted(record: &OperationRecord, wanted: &OperationsWanted) -> bool {
    let engines = [&record.engine, &record.target].into_iter().flatten();
    let mut engines = engines.map(EngineId::as_str);
    let is_of = |program: &String| {
        let ids = [record.program, record.copy].into_iter().flatten();
        record.name.as_ref() == Some(program)
            || ids.map(|id| id.to_string()).any(|id| id.starts_with(program))
    };
    wanted.state.is_none_or(|state| record.state == state)
        && wanted
            .engine
            .as_ref()
            .is_none_or(|wanted| engines.any(|engine| engine == wanted))
        && wanted.program.as_ref().is_none_or(is_of)
        && wanted.batch.as_ref().is_none_or(|wanted| {
            let batch = record.batch.map(|batch| batch.to_string());
            batch.is_some_and(|batch| batch.starts_with(&wanted.to_ascii_lowercase()))
        })
        && wanted
            .by
            .as_ref()
            .is_none_or(|by| is_by(record.by.as_deref(), by))
}
