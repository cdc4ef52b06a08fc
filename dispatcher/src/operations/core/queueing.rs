//! Orders that are not given yet: their clients wait with them, and tell of them.
//!
//! ```text
//!  queue ---joins one that waits-----> (no operation of its own: that one's end is its answer)
//!    |
//!    '--admitted--> waiting ---renewed by its client---> given
//!                      |  '--superseded by a later one--> cancelled
//!                      '--withdrawn, given up, its client gone--> cancelled, failed
//! ```
//! What always holds: only its client withdraws an order, because nobody else knows whether it has been
//! given. One that is superseded stays waiting until its client says so, or is gone.

use serde::{Deserialize, Serialize};
use wayfare_client::operations::{
    OperationRecord, OperationState, QueuePolicy, Queueing, SUPERSEDED, WaitingOrder,
};
use wayfare_protocol::ids::{Digest, EngineId, OperationId};
use wayfare_protocol::limits::{GIVEN_BY_BYTES_MAX, NAME_BYTES_MAX};
use wayfare_protocol::reason::shortened;

use super::making::{due, new};
use super::{ANSWER_GRACE_MS, Kept, Operations};

/// Why an operation cannot be withdrawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::operations) struct TooLate(pub(in crate::operations) String);

/// What an order that waits has to do with others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct QueuePlace {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    same: Option<Digest>,
    /// As it was typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    engine: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    superseded: Option<Superseded>,
}

/// The later order, and who gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Superseded {
    instead: OperationId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
}

/// What is to become of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::operations) enum Admission {
    /// It may be given when these have been withdrawn.
    Admitted { supersedes: Vec<OperationId> },
    /// This one will be given for both.
    Joins(Box<OperationRecord>),
}

impl Operations {
    /// An order is about to be given, or begins to wait. The same again is the same.
    pub(in crate::operations) fn queue(&mut self, order: &WaitingOrder, now_ms: u64) -> Admission {
        let queueing = order.queueing.as_ref();
        let others: Vec<&Kept> = match queueing {
            Some(queueing) => self.alike(order, queueing).collect(),
            None => Vec::new(),
        };
        let is_known = self.all.contains_key(&order.operation);
        if queueing.is_some_and(|queueing| queueing.policy == QueuePolicy::Coalesce) {
            // The one that has waited for longest will be given first.
            let waiting = others.into_iter().filter(|kept| kept.superseded().is_none());
            let first = waiting.min_by_key(|kept| kept.record.place());
            if let Some(first) = first.filter(|_| !is_known) {
                return Admission::Joins(Box::new(first.record.clone()));
            }
            self.waits(order, now_ms);
            let supersedes = Vec::new();
            return Admission::Admitted { supersedes };
        }
        let supersedes: Vec<OperationId> = others.iter().map(|kept| kept.record.operation).collect();
        self.waits(order, now_ms);
        for other in &supersedes {
            self.supersede(*other, order);
        }
        Admission::Admitted { supersedes }
    }

    /// Those that can be withdrawn and are meant by an order's queueing, without itself and those that
    /// supersede it.
    fn alike<'a>(&'a self, order: &WaitingOrder, queueing: &Queueing) -> impl Iterator<Item = &'a Kept> {
        let key = queueing.key.clone().map(|key| shortened(key, NAME_BYTES_MAX));
        let (policy, order) = (queueing.policy, order.clone());
        let own = self.all.get(&order.operation).and_then(Kept::superseded);
        let instead = own.map(|superseded| superseded.instead);
        let open = self.open.iter().filter_map(|operation| self.all.get(operation));
        open.filter(move |kept| {
            let operation = kept.record.operation;
            let is_other = operation != order.operation && Some(operation) != instead;
            is_other
                && is_withdrawable(kept)
                && match (&key, policy) {
                    (Some(key), _) => kept.key() == Some(key),
                    (None, QueuePolicy::Coalesce) => order.same.is_some() && kept.same() == order.same,
                    (None, QueuePolicy::Supersede) => kept.is_about_the_same(&order),
                }
        })
    }

    fn supersede(&mut self, operation: OperationId, order: &WaitingOrder) {
        let Some(kept) = self.all.get_mut(&operation) else {
            return;
        };
        let by = order.by.clone().map(|by| shortened(by, GIVEN_BY_BYTES_MAX));
        let place = kept.place.get_or_insert_default();
        if place.superseded.is_none() {
            place.superseded = Some(Superseded {
                instead: order.operation,
                by,
            });
            self.changed.insert(operation);
        }
    }

    /// The order that supersedes one that waits, and who gives it.
    pub(in crate::operations) fn superseded_by(
        &self,
        operation: OperationId,
    ) -> Option<(OperationId, Option<String>)> {
        let kept = self.all.get(&operation).filter(|kept| is_withdrawable(kept))?;
        let superseded = kept.superseded()?;
        Some((superseded.instead, superseded.by.clone()))
    }

    /// A client waits with an order until its engine is there, and still does.
    pub(in crate::operations) fn waits(&mut self, order: &WaitingOrder, now_ms: u64) {
        let waits_ms = order.lease_ms.unwrap_or(u64::MAX).min(order.time_limit_ms);
        let due_ms = due(waits_ms, now_ms);
        if let Some(kept) = self.all.get_mut(&order.operation) {
            // Not worth a write: a successor gives it time to be told again.
            if is_withdrawable(kept) && order.lease_ms.is_some() {
                kept.due_ms = kept.due_ms.max(due_ms);
            }
            return;
        }
        let mut kept = new(order.operation, &order.verb, due_ms, now_ms);
        let record = &mut kept.record;
        record.name = order.program.clone().map(|name| shortened(name, NAME_BYTES_MAX));
        record.by = order.by.clone().map(|by| shortened(by, GIVEN_BY_BYTES_MAX));
        let engine = order.engine.as_ref().and_then(|engine| engine.parse().ok());
        match order.verb.as_str() {
            "move" | "spawn" => record.target = engine,
            _ => record.engine = engine,
        }
        let key = order.queueing.as_ref().and_then(|queueing| queueing.key.clone());
        kept.place = Some(Box::new(QueuePlace {
            key: key.map(|key| shortened(key, NAME_BYTES_MAX)),
            same: order.same,
            engine: order.engine.clone().map(|name| shortened(name, NAME_BYTES_MAX)),
            superseded: None,
        }));
        self.insert(kept);
    }

    /// Gives the clients of orders that wait time to tell of them again: nobody listened for a while.
    pub(in crate::operations) fn grant_time(&mut self, now_ms: u64) {
        for operation in &self.open {
            if let Some(kept) = self.all.get_mut(operation).filter(|kept| is_withdrawable(kept)) {
                kept.due_ms = kept.due_ms.max(now_ms.saturating_add(ANSWER_GRACE_MS));
            }
        }
    }

    /// Its client has given up, or withdrawn it. `error` is the kind of a failure, for programs.
    pub(in crate::operations) fn not_given(
        &mut self,
        operation: OperationId,
        state: OperationState,
        error: Option<String>,
        reason: String,
        now_ms: u64,
    ) {
        let Some(kept) = self.all.get(&operation).filter(|kept| is_withdrawable(kept)) else {
            return;
        };
        let mut kept = kept.clone();
        // Its client may know nothing of superseding, or have given up at that very moment.
        if let Some(reason) = kept.superseded().map(Superseded::reason) {
            kept.record.error = Some(SUPERSEDED.to_owned());
            return self.end(kept, OperationState::Cancelled, Some(reason), now_ms);
        }
        kept.record.error = error.map(|error| shortened(error, NAME_BYTES_MAX));
        self.end(kept, state, Some(reason), now_ms);
    }

    /// Its client has not been heard of when it should have been.
    pub(super) fn end_of_gone(&mut self, mut kept: Kept, now_ms: u64) {
        kept.record.is_inferred = true;
        let gone = "its client waited for the engine, and is gone";
        match kept.superseded().map(Superseded::reason) {
            Some(reason) => {
                kept.record.error = Some(SUPERSEDED.to_owned());
                let reason = format!("{reason}; {gone}");
                self.end(kept, OperationState::Cancelled, Some(reason), now_ms);
            }
            None => self.end(kept, OperationState::Failed, Some(gone.to_owned()), now_ms),
        }
    }

    /// Whether an order can still be withdrawn.
    pub(in crate::operations) fn withdrawable(&self, operation: OperationId) -> Result<(), TooLate> {
        let Some(kept) = self.all.get(&operation) else {
            return Err(TooLate(format!("operation {} is not known", operation.short())));
        };
        if is_withdrawable(kept) {
            return Ok(());
        }
        let OperationRecord {
            verb, engine, state, ..
        } = &kept.record;
        let engine = engine
            .as_ref()
            .map_or_else(|| "its engine".to_owned(), EngineId::to_string);
        Err(TooLate(match state {
            state if state.is_final() => {
                format!(
                    "operation {} is {} already",
                    operation.short(),
                    kept.record.word()
                )
            }
            _ => format!(
                "operation {}: {engine} has the command to {verb}, and engines cannot take one back",
                operation.short()
            ),
        }))
    }
}

impl Superseded {
    fn reason(&self) -> String {
        let by = self
            .by
            .as_deref()
            .map_or_else(String::new, |by| format!(" of {by}"));
        format!("superseded by operation {}{by}", self.instead.short())
    }
}

impl Kept {
    fn superseded(&self) -> Option<&Superseded> {
        self.place.as_ref()?.superseded.as_ref()
    }

    fn key(&self) -> Option<&String> {
        self.place.as_ref()?.key.as_ref()
    }

    fn same(&self) -> Option<Digest> {
        self.place.as_ref()?.same
    }

    /// The same verb about the same program, as typed. What starts something there is another order on
    /// another engine; a program that is to be moved goes to one.
    fn is_about_the_same(&self, order: &WaitingOrder) -> bool {
        let engine = self.place.as_ref().and_then(|place| place.engine.as_ref());
        let starts = matches!(order.verb.as_str(), "run" | "restore" | "spawn");
        order.program.is_some()
            && self.record.verb == order.verb
            && self.record.name == order.program.clone().map(|name| shortened(name, NAME_BYTES_MAX))
            && (!starts || engine == order.engine.as_ref())
    }
}

/// Its client waits, and nobody has seen that it was given.
pub(super) fn is_withdrawable(kept: &Kept) -> bool {
    kept.record.state == OperationState::Waiting && !kept.is_given
}

#[cfg(test)]
mod tests;
