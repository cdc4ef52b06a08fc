//! What is known of every operation, from what is heard of it. Pure: times are passed in, and so is what is
//! seen of programs.
//!
//! ```text
//!  told by its client:  waiting ------------------------------------> cancelled, failed     once that is withdrawn or given up (`queueing`)
//!                          | command
//!  heard:               waiting ---accepted, progress---> running ---> done, failed         by the engine's answer,
//!                          '---------- answer -----------------------------^  ^             in whatever order it comes
//!  seen, when its time is up and no answer was heard ------------------------'
//! ```
//! What always holds: an operation ends once. Only the engine's own answer stands above an end that was only
//! seen, because that is what is so; a second answer, and all else that comes after an end, changes nothing.
//! No operation stays without an end: when its time is up it is seen by its program's status what became of
//! it.

mod listing;
mod making;
mod queueing;
mod recalling;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wayfare_client::operations::{OperationRecord, OperationState};
use wayfare_protocol::command::{Action, GivenCommand};
use wayfare_protocol::event::{Event, EventBody, only_reads};
use wayfare_protocol::ids::{EngineId, OperationId};
use wayfare_protocol::limits::{GIVEN_BY_BYTES_MAX, NAME_BYTES_MAX, TIME_LIMIT_MS};
use wayfare_protocol::reason::shortened;

use self::making::{due, error_kind, is_upkeep, new, result};
pub(super) use self::queueing::{Admission, TooLate};
use self::queueing::{QueuePlace, is_withdrawable};
pub(super) use self::recalling::Recall;
use super::words::DISPATCHER;
use crate::options::OperationLimits;

/// After its time an answer has a way to go, and an engine that was restarted gives its answers again.
const ANSWER_GRACE_MS: u64 = 15_000;
/// A move that is in doubt is looked at again after this.
const IN_DOUBT_MS: u64 = 60_000;
/// Of a reason, so that the list stays small.
const REASON_BYTES_MAX: usize = 512;

/// One operation, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) record: OperationRecord,
    /// By then it has an answer, or will be looked for.
    due_ms: u64,
    /// Its command was heard, or something of its engine: it cannot be withdrawn.
    is_given: bool,
    /// Its command was not heard: an engine remembered it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_recalled: bool,
    /// While it waits: what it has to do with others that do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<Box<QueuePlace>>,
}

#[derive(Debug, Default)]
pub(super) struct Operations {
    all: BTreeMap<OperationId, Kept>,
    by_age: BTreeSet<(u64, OperationId)>,
    /// Those that have no end yet,
    open: BTreeSet<OperationId>,
    /// and those that have changed since [`Operations::take_changed`].
    changed: BTreeSet<OperationId>,
    /// Those that have ended since [`Operations::take_ended`].
    ended: Vec<OperationRecord>,
    /// None was ever forgotten: what is not here was not heard of.
    is_whole: bool,
}

/// Stands among the records of operations while none was ever forgotten.
pub(super) const WHOLE: &str = "whole";

/// How an operation ended, and why.
pub(super) type End = (OperationState, String);

impl Operations {
    /// Goes on from what was kept; where that is nothing, none was ever forgotten.
    pub(super) fn read<'a>(records: impl Iterator<Item = (&'a String, &'a String)>) -> Self {
        let mut records = records.peekable();
        let mut operations = Self {
            is_whole: records.peek().is_none(),
            ..Self::default()
        };
        for (key, json) in records {
            if key == WHOLE {
                operations.is_whole = true;
                continue;
            }
            match serde_json::from_str::<Kept>(json) {
                Ok(kept) if *key == kept.record.operation.to_string() => operations.insert(kept),
                Ok(_) => tracing::warn!(key, "skipped an operation under another's key"),
                Err(error) => tracing::warn!(key, %error, "skipped an operation that cannot be read"),
            }
        }
        operations.changed.clear();
        operations
    }

    fn insert(&mut self, kept: Kept) {
        let record = &kept.record;
        let operation = record.operation;
        self.by_age.insert((record.begun_ms, operation));
        if !record.state.is_final() {
            self.open.insert(operation);
        }
        self.changed.insert(operation);
        self.all.insert(operation, kept);
    }

    pub(super) fn get(&self, operation: OperationId) -> Option<&OperationRecord> {
        self.all.get(&operation).map(|kept| &kept.record)
    }

    /// A command to an engine; `name` is its program's.
    pub(super) fn commanded(
        &mut self,
        engine: &EngineId,
        given: &GivenCommand,
        name: Option<String>,
        now_ms: u64,
    ) {
        let command = &given.command;
        if is_upkeep(given) {
            return;
        }
        let due_ms = due(command.time_limit_ms, now_ms);
        let new = || new(command.operation, command.action.verb(), due_ms, now_ms);
        let mut kept = self.all.get(&command.operation).cloned().unwrap_or_else(new);
        let is_recalled = std::mem::take(&mut kept.is_recalled);
        if kept.is_given && !is_recalled && kept.record.by.is_some() && kept.record.program.is_some() {
            // A repeat.
            return;
        }
        let record = &mut kept.record;
        kept.is_given = true;
        if !record.state.is_final() {
            kept.due_ms = due_ms;
        }
        record.program = Some(command.action.program());
        record.engine = Some(engine.clone());
        let by = || given.by.clone().map(|by| shortened(by, GIVEN_BY_BYTES_MAX));
        record.by = match command.term {
            Some(_) => Some(DISPATCHER.to_owned()),
            None => by().or_else(|| Some(format!("client {}", command.client))),
        };
        record.batch = given.batch;
        match &command.action {
            Action::Run { spec, .. } => record.name = Some(spec.name.clone()),
            Action::Spawn { target, copy, .. } => {
                (record.target, record.copy) = (Some(target.clone()), Some(*copy));
            }
            Action::Move { target, .. } => record.target = Some(target.clone()),
            _ => {}
        }
        record.name = name
            .or_else(|| record.name.take())
            .map(|name| shortened(name, NAME_BYTES_MAX));
        self.insert(kept);
    }

    /// An engine says how far an operation is, or what became of it.
    pub(super) fn reported(&mut self, event: &Event, name: Option<String>, now_ms: u64) {
        let known = self.all.get(&event.operation);
        // Nobody's order: it reads, or is one of many checkpoints.
        if known.is_none() && (only_reads(&event.verb) || event.verb == "snapshot") {
            return;
        }
        let mut kept = known.cloned().unwrap_or_else(|| {
            let due_ms = due(TIME_LIMIT_MS, now_ms);
            new(event.operation, &event.verb, due_ms, now_ms)
        });
        // Another engine may have been asked before.
        let is_of_another = kept
            .record
            .engine
            .as_ref()
            .is_some_and(|engine| *engine != event.engine);
        let is_answered = kept.record.state.is_final() && !kept.record.is_inferred;
        if is_of_another || is_answered {
            return;
        }
        let before = kept.clone();
        kept.is_given = true;
        let record = &mut kept.record;
        record.engine = Some(event.engine.clone());
        record.program = record.program.or(event.program);
        record.name = record
            .name
            .take()
            .or(name)
            .map(|name| shortened(name, NAME_BYTES_MAX));
        match &event.body {
            EventBody::Accepted | EventBody::Progress { .. } if record.state.is_final() => return,
            EventBody::Accepted => record.state = OperationState::Running,
            EventBody::Progress {
                phase,
                done_bytes,
                total_bytes,
            } => {
                record.state = OperationState::Running;
                let is_new_phase = record.phase != Some(*phase);
                record.phase = Some(*phase);
                (record.done_bytes, record.total_bytes) = (*done_bytes, *total_bytes);
                if !is_new_phase && before.record.state == OperationState::Running {
                    // How many bytes there are by now is not worth a write.
                    self.all.insert(event.operation, kept);
                    return;
                }
            }
            EventBody::Done { outcome } => {
                record.result = result(outcome);
                self.end(kept, OperationState::Done, None, now_ms);
                return;
            }
            EventBody::Failed { failure } => {
                record.error = error_kind(failure);
                let reason = Some(failure.to_string());
                self.end(kept, OperationState::Failed, reason, now_ms);
                return;
            }
        }
        if kept != before || !self.all.contains_key(&event.operation) {
            self.insert(kept);
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether some have no end yet.
    pub(super) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Whether some have had their time.
    pub(super) fn has_due(&self, now_ms: u64) -> bool {
        let mut open = self.open.iter().filter_map(|operation| self.all.get(operation));
        open.any(|kept| kept.due_ms <= now_ms)
    }

    /// Ends what has had its time by what is seen.
    pub(super) fn look(&mut self, became_of: impl Fn(&OperationRecord) -> Option<End>, now_ms: u64) {
        let open = self.open.iter().filter_map(|operation| self.all.get(operation));
        let due: Vec<Kept> = open.filter(|kept| kept.due_ms <= now_ms).cloned().collect();
        for mut kept in due {
            if is_withdrawable(&kept) {
                self.end_of_gone(kept, now_ms);
                continue;
            }
            match became_of(&kept.record) {
                None => {
                    kept.due_ms = now_ms.saturating_add(IN_DOUBT_MS);
                    self.all.insert(kept.record.operation, kept);
                }
                Some((state, reason)) => {
                    kept.record.is_inferred = true;
                    let reason = format!("no answer of its engine was heard: {reason}");
                    self.end(kept, state, Some(reason), now_ms);
                }
            }
        }
    }

    fn end(&mut self, mut kept: Kept, state: OperationState, reason: Option<String>, now_ms: u64) {
        kept.place = None;
        let record = &mut kept.record;
        if record.ended_ms.is_some() {
            record.is_inferred = false;
        }
        record.state = state;
        record.reason = reason.map(|reason| shortened(reason, REASON_BYTES_MAX));
        (record.phase, record.done_bytes, record.total_bytes) = (None, 0, 0);
        record.ended_ms = Some(now_ms.max(record.begun_ms));
        self.ended.push(record.clone());
        self.open.remove(&record.operation);
        self.insert(kept);
    }

    /// Forgets what is too old, and the oldest of what is too many; those that go on last.
    pub(super) fn forget(&mut self, limits: OperationLimits, now_ms: u64) {
        let oldest_ms = now_ms.saturating_sub(limits.age_ms);
        let is_old = |place: &&(u64, OperationId)| place.0 < oldest_ms;
        let (closed, open): (Vec<_>, Vec<_>) = self
            .by_age
            .iter()
            .partition(|place| !self.open.contains(&place.1));
        let old = closed.iter().take_while(|place| is_old(place)).count();
        let many = self.all.len().saturating_sub(limits.operations_max);
        let gone: Vec<(u64, OperationId)> = match closed.get(..old.max(many)) {
            Some(gone) => gone.to_vec(),
            None => closed.into_iter().chain(open).take(many).collect(),
        };
        self.is_whole &= gone.is_empty();
        for place in gone {
            self.by_age.remove(&place);
            self.open.remove(&place.1);
            self.all.remove(&place.1);
            self.changed.insert(place.1);
        }
    }

    /// The same, where there are too many by now.
    pub(super) fn forget_many(&mut self, limits: OperationLimits, now_ms: u64) {
        // Not for each one more.
        if self.all.len() > limits.operations_max + limits.operations_max / 16 {
            self.forget(limits, now_ms);
        }
    }

    /// Operations that have changed, as they are to be kept; `None`: not any more.
    pub(super) fn take_changed(&mut self) -> Vec<(OperationId, Option<String>)> {
        let json = |kept: &Kept| serde_json::to_string(kept).expect("plain data serialises");
        std::mem::take(&mut self.changed)
            .into_iter()
            .map(|operation| (operation, self.all.get(&operation).map(json)))
            .collect()
    }

    /// Those could not be kept yet.
    pub(super) fn put_back(&mut self, changed: impl Iterator<Item = OperationId>) {
        self.changed.extend(changed);
    }

    pub(super) fn is_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    pub(super) fn take_ended(&mut self) -> Vec<OperationRecord> {
        std::mem::take(&mut self.ended)
    }
}

#[cfg(test)]
mod tests;
