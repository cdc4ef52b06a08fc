//! Which operations are asked for.

use wayfare_client::app::ask::is_by;
use wayfare_client::operations::{OperationRecord, OperationsPage, OperationsWanted};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::EngineId;
use wayfare_protocol::limits::NAME_BYTES_MAX;
use wayfare_protocol::reason::shortened;

use super::Operations;
use crate::requests::PAGE_BYTES_MAX;

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
        && wanted
            .by
            .as_ref()
            .is_none_or(|by| is_by(record.by.as_deref(), by))
}
