//! What this engine decided, as a target, about operations of others: decided once, stored before it is said, and
//! said again to whoever asks again.

use std::collections::BTreeMap;

use wayfare_protocol::ids::{OperationId, PeerName};
use wayfare_protocol::peer::PeerMessage;

use super::Core;
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
}

impl Core {
    /// Says the verdict if there is one.
    pub(super) fn say_verdict(&mut self, operation: OperationId, to: &PeerName) -> bool {
        let Some(record) = self.verdicts.given.get(&operation) else {
            return false;
        };
        let message = message(&record.verdict);
        self.say(to, operation, message);
        true
    }

    /// Decides, and says so.
    pub(super) fn give_verdict(&mut self, operation: OperationId, to: &PeerName, verdict: Verdict) {
        let message = message(&verdict);
        self.record_verdict(operation, verdict);
        self.say(to, operation, message);
    }

    pub(super) fn record_verdict(&mut self, operation: OperationId, verdict: Verdict) {
        let sequence = self.verdicts.next_sequence;
        self.verdicts.next_sequence += 1;
        let record = ArrivalRecord {
            operation,
            sequence,
            verdict,
        };
        self.effects.push(Effect::Store(Record::Arrival(record.clone())));
        self.verdicts.keep(record);
        self.forget_oldest_verdict();
    }

    /// A verdict about a program that is here is never forgotten: its source may still ask.
    fn forget_oldest_verdict(&mut self) {
        if self.verdicts.given.len() <= VERDICTS_MAX + self.programs.len() {
            return;
        }
        let oldest = self
            .verdicts
            .by_age
            .iter()
            .find(|(_, id)| !self.programs.values().any(|p| p.arrived == **id))
            .map(|(age, id)| (*age, *id));
        if let Some((age, operation)) = oldest {
            self.verdicts.by_age.remove(&age);
            self.verdicts.given.remove(&operation);
            self.effects.push(Effect::Erase(RecordKey::Arrival(operation)));
        }
    }
}

fn message(verdict: &Verdict) -> PeerMessage {
    match verdict {
        Verdict::Adopted { generation } => PeerMessage::Adopted {
            generation: *generation,
        },
        Verdict::Refused { failure } => PeerMessage::Refused {
            failure: failure.clone(),
        },
    }
}
