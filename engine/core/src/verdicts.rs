//! What this engine decided, as a target, about operations of others: decided once, stored before it is said,
//! and said again to whoever asks again.

use std::collections::BTreeMap;

use wayfare_protocol::ids::OperationId;
use wayfare_protocol::peer::PeerMessage;

use super::timing::VERDICTS_MAX;
use super::types::{ArrivalRecord, Effect, Record, RecordKey, Verdict};

#[derive(Debug, Default)]
pub(super) struct Verdicts {
    given: BTreeMap<OperationId, ArrivalRecord>,
    by_age: BTreeMap<u64, OperationId>,
    next_sequence: u64,
}

impl Verdicts {
    pub(super) fn restored(records: Vec<ArrivalRecord>) -> Self {
        let mut verdicts = Self::default();
        for record in records {
            verdicts.next_sequence = verdicts.next_sequence.max(record.sequence + 1);
            verdicts.keep(record);
        }
        verdicts
    }

    fn keep(&mut self, record: ArrivalRecord) {
        self.by_age.insert(record.sequence, record.operation);
        self.given.insert(record.operation, record);
    }

    pub(super) fn knows(&self, operation: OperationId) -> bool {
        self.given.contains_key(&operation)
    }

    /// The verdict about an operation, as it is said.
    pub(super) fn message(&self, operation: OperationId) -> Option<PeerMessage> {
        Some(message(&self.given.get(&operation)?.verdict))
    }

    /// Keeps a verdict, durably. Where there are too many, the oldest is forgotten, but never one about a
    /// program that is here, since its source may still ask: `arrived` are the operations that brought these.
    pub(super) fn give(
        &mut self,
        operation: OperationId,
        verdict: Verdict,
        arrived: &[OperationId],
    ) -> Vec<Effect> {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let record = ArrivalRecord {
            operation,
            sequence,
            verdict,
        };
        let mut effects = vec![Effect::Store(Record::Arrival(record.clone()))];
        self.keep(record);
        effects.extend(self.forget_oldest(arrived));
        effects
    }

    fn forget_oldest(&mut self, arrived: &[OperationId]) -> Option<Effect> {
        if self.given.len() <= VERDICTS_MAX + arrived.len() {
            return None;
        }
        let oldest = self.by_age.iter().find(|(_, id)| !arrived.contains(id));
        let (age, operation) = oldest.map(|(age, id)| (*age, *id))?;
        self.by_age.remove(&age);
        self.given.remove(&operation);
        Some(Effect::Erase(RecordKey::Arrival(operation)))
    }
}

pub(super) fn message(verdict: &Verdict) -> PeerMessage {
    match verdict {
        Verdict::Adopted { generation } => PeerMessage::Adopted {
            generation: *generation,
        },
        Verdict::Refused { failure } => PeerMessage::Refused {
            failure: failure.clone(),
        },
    }
}
