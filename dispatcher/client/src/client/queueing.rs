//! Orders of ours before they are given: the acting dispatcher is told of those that wait for their engines,
//! may have them withdrawn, and sees to what they have to do with each other.

use std::pin::pin;
use std::time::Duration;

use futures::future::pending;
use serde_json::json;
use tokio::time::{Instant, timeout};
use wayfare_link::Message;
use wayfare_protocol::dispatcher::{Reads, Request};
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::{Digest, OperationId};
use wayfare_protocol::topics::Topic;
use wayfare_protocol::wire;

use super::commands::Checked;
use super::{Client, is_absence};
use crate::core::{Finished, SETTLE_MS};
use crate::error::{AskError, CommandError};
use crate::operation::{Operation, QueueNote};
use crate::operations::{
    EXPIRED, OperationAsk, OperationRecord, OperationState, QueuePolicy, Queued, SERVICE, WaitingOrder,
    Withdrawn,
};
use crate::order::{CommandOptions, Offline, Order, ResumeMode};

/// An order that waits is told of when it has waited for so long.
const TOLD_AFTER: Duration = Duration::from_millis(2 * SETTLE_MS);
/// An order that waits is told of anew so often,
const RENEWED_AFTER: Duration = Duration::from_secs(10);
/// and taken to have been given up when it was not for so long.
const LEASE_MS: u64 = 30_000;

/// An order as the dispatcher is told of it.
pub(super) struct OrderWords {
    verb: &'static str,
    /// As they were typed.
    program: Option<String>,
    engine: Option<String>,
    /// Equal for orders that ask for the same.
    same: Digest,
}

impl Checked {
    pub(super) fn words(&self) -> OrderWords {
        let verb = self.verb();
        let (program, engine, asked) = match self {
            Self::Start(_, prepared) => {
                let (name, on) = (prepared.spec.name.clone(), prepared.on.clone());
                (Some(name), on, json!([prepared.spec, prepared.snapshot]))
            }
            Self::OnProgram(order) => {
                let (program, engine) = order.names();
                let asked = match order {
                    Order::Spawn { name, .. } => json!(name),
                    Order::Resume { mode, .. } => json!(*mode == ResumeMode::Force),
                    _ => json!(null),
                };
                (program.map(str::to_owned), engine.map(str::to_owned), asked)
            }
        };
        let all = json!([verb, program, engine, asked]);
        OrderWords {
            verb,
            program,
            engine,
            same: Digest::of(all.to_string().as_bytes()),
        }
    }
}

impl Client {
    /// Gives an order. Of one that waits for its engine the acting dispatcher is told, and may have it
    /// withdrawn; one that has to do with others is queued there before.
    pub(super) async fn given(
        &self,
        words: OrderWords,
        options: &CommandOptions,
        give: impl Future<Output = Result<Operation, CommandError>>,
    ) -> Result<Operation, CommandError> {
        let Some(operation) = options.operation else {
            return give.await;
        };
        let order = self.waiting_order(words, operation, options);
        let mut give = pin!(give);
        let mut note = QueueNote::default();
        if options.queueing.is_some() {
            let queued = self.take_place(&order, options).await?;
            note.superseded = queued.superseded;
            note.unanswered = queued.unanswered;
            if let Some(record) = queued.joins {
                return Ok(self.joined(*record, options));
            }
        } else if options.offline == Offline::Fail {
            return give.await;
        } else if let Ok(given) = timeout(TOLD_AFTER, &mut give).await {
            return given.map_err(|error| expired(error, options));
        }
        tokio::select! {
            biased;
            given = &mut give => {
                let given = given.map_err(|error| expired(error, options));
                if let Err(error) = &given {
                    self.was_not_given(operation, error, false).await;
                }
                given.map(|operation| operation.noting(note))
            }
            Withdrawn { by, instead, .. } = self.withdrawal(&order, options) => {
                let error = match instead {
                    Some(instead) => CommandError::Superseded { instead, by },
                    None => CommandError::Cancelled { by },
                };
                self.was_not_given(operation, &error, true).await;
                Err(error)
            }
        }
    }

    fn waiting_order(
        &self,
        words: OrderWords,
        operation: OperationId,
        options: &CommandOptions,
    ) -> WaitingOrder {
        WaitingOrder {
            operation,
            verb: words.verb.to_owned(),
            program: words.program,
            engine: words.engine,
            by: self.inner.by.clone(),
            time_limit_ms: u64::try_from(options.waits().as_millis()).unwrap_or(u64::MAX),
            queueing: options.queueing.clone(),
            same: Some(words.same),
            lease_ms: Some(LEASE_MS),
        }
    }

    /// Before it is given: joins another, or has others withdrawn.
    async fn take_place(
        &self,
        order: &WaitingOrder,
        options: &CommandOptions,
    ) -> Result<Queued, CommandError> {
        let is_joining = |policy| policy == QueuePolicy::Coalesce;
        if order.verb == "snapshot" && order.queueing.as_ref().is_some_and(|of| is_joining(of.policy)) {
            let reason = "a snapshot goes to whoever asked for it: it cannot join another".to_owned();
            return Err(CommandError::Refused(Failure::BadRequest { reason }));
        }
        let asked = OperationAsk::Queue(order.clone());
        let queued = self.ask_operations::<Queued>(&asked, options.time_limit).await;
        let queued = queued.map_err(|error| CommandError::NotQueued {
            reason: match error {
                AskError::Failed(Failure::BadRequest { .. } | Failure::UnknownService { .. }) => {
                    "the acting dispatcher is of an earlier release".to_owned()
                }
                error => error.to_string(),
            },
        })?;
        match queued.instead {
            Some(instead) => {
                let error = CommandError::Superseded { instead, by: None };
                self.was_not_given(order.operation, &error, true).await;
                Err(error)
            }
            None => Ok(queued),
        }
    }

    /// Tells the acting dispatcher of an order for as long as it waits. Returns if it is to be withdrawn, and
    /// never otherwise: whether there is a dispatcher that knows of operations changes nothing for the order.
    async fn withdrawal(&self, order: &WaitingOrder, options: &CommandOptions) -> Withdrawn {
        let is_queued = async {
            let asked = OperationAsk::Queue(order.clone());
            let queued = self.ask_operations::<Queued>(&asked, options.waits()).await;
            queued.is_ok()
        };
        // One of an earlier release is told once.
        let limit = match order.queueing.is_some() || is_queued.await {
            true => RENEWED_AFTER,
            false => options.waits(),
        };
        loop {
            let asked = OperationAsk::Waiting(order.clone());
            match self.ask_operations::<Withdrawn>(&asked, limit).await {
                Ok(withdrawn) if withdrawn.is_withdrawn => return withdrawn,
                Err(AskError::NoDispatcher { .. }) if limit == RENEWED_AFTER => {}
                _ => return pending().await,
            }
        }
    }

    /// The handle of another client's order.
    fn joined(&self, record: OperationRecord, options: &CommandOptions) -> Operation {
        // It waits, and then takes its time.
        let limit = options.waits().max(options.time_limit) + options.time_limit;
        let engine = record.engine.or(record.target);
        Operation::joined(record.operation, engine, self.clone(), Instant::now() + limit)
    }

    /// What became of another client's order, as if it were one's own.
    pub(crate) async fn joined_end(
        &self,
        operation: OperationId,
        until: Instant,
    ) -> Result<Finished, CommandError> {
        let wait = OperationAsk::Wait {
            operation: operation.to_string(),
        };
        let limit = until.saturating_duration_since(Instant::now());
        let ended = self.ask_operations::<OperationRecord>(&wait, limit).await;
        finished(ended.map_err(|error| CommandError::Joined {
            operation,
            state: "not heard of",
            reason: Some(error.to_string()),
        })?)
    }

    /// Says so without waiting for an answer.
    async fn was_not_given(&self, operation: OperationId, error: &CommandError, is_cancelled: bool) {
        let body = OperationAsk::NotGiven {
            operation,
            reason: error.to_string(),
            is_cancelled,
            error: matches!(error, CommandError::Expired { .. }).then(|| EXPIRED.to_owned()),
        };
        let request = Request {
            request: OperationId::random(),
            client: self.inner.client.clone(),
            body: serde_json::to_value(body).expect("plain data serialises"),
            reads: Reads::TAGGED,
            by: self.inner.by.clone(),
        };
        let Ok(service) = SERVICE.parse() else { return };
        let topic = self.inner.topics.topic(&Topic::DispatcherRequest(service));
        // Lost, it is seen to have ended when its time is up.
        let _ = self
            .inner
            .link
            .publish(Message::new(topic, wire::encode(&request)))
            .await;
    }
}

/// The answer that its own client had, as far as it is kept.
fn finished(record: OperationRecord) -> Result<Finished, CommandError> {
    let outcome = record
        .result
        .as_ref()
        .and_then(|result| serde_json::from_value::<Outcome>(result.clone()).ok());
    match (record.state, outcome, &record.engine) {
        (OperationState::Done, Some(outcome), Some(engine)) => Ok(Finished {
            engine: engine.clone(),
            outcome,
            blobs: [].into(),
        }),
        _ => Err(CommandError::Joined {
            operation: record.operation,
            state: record.word(),
            reason: record.reason,
        }),
    }
}

/// What an order that has an expiry was not given for.
fn expired(error: CommandError, options: &CommandOptions) -> CommandError {
    match options.expires {
        Some(expiry) if is_absence(&error) && options.waits().is_zero() => CommandError::Expired {
            after: expiry.after,
            reason: error.to_string(),
        },
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(order: Order) -> Digest {
        Checked::OnProgram(order).words().same
    }

    #[test]
    fn orders_are_the_same_that_ask_for_the_same_of_the_same() {
        let moving = |program: &str, to: &str| {
            let (program, to) = (program.into(), to.into());
            same(Order::Move { program, to })
        };
        let spawn = |name: Option<&str>| {
            same(Order::Spawn {
                program: "p".into(),
                to: "b".into(),
                name: name.map(str::to_owned),
            })
        };
        let resume = |mode| {
            same(Order::Resume {
                program: "p".into(),
                mode,
            })
        };
        let of = |make: fn(String) -> Order| same(make("p".into()));
        let all = [
            moving("p", "b"),
            moving("p", "c"),
            moving("q", "b"),
            spawn(None),
            spawn(Some("x")),
            resume(ResumeMode::Normal),
            resume(ResumeMode::Force),
            of(|program| Order::Pause { program }),
            of(|program| Order::Kill { program }),
        ];
        assert_eq!(moving("p", "b"), all[0]);
        let distinct: std::collections::BTreeSet<Digest> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn starts_are_the_same_where_all_of_them_is() {
        let start = |args: &[&str]| {
            let run = crate::order::Run {
                name: "p".into(),
                module: b"\0asm\x01\0\0\0".to_vec(),
                args: args.iter().map(ToString::to_string).collect(),
                ..crate::order::Run::default()
            };
            Checked::Start("run", Box::new(run.prepare().unwrap()))
                .words()
                .same
        };
        assert_eq!(start(&["1"]), start(&["1"]), "under whatever ids");
        assert_ne!(start(&["1"]), start(&["2"]));
    }
}
