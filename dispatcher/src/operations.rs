//! Keeps every order to an engine, from whomever, and what became of it: operations.
//!
//! ```text
//!  commands, engines' events --overheard--> core --changed, once a second--> records --> answers
//!  orders that wait ------------told------>  ^
//!  engines' journals ------------asked------>  ^  of what nobody heard
//!  programs' statuses --------- looked at ---'  of what has had its time
//! ```
//! Engines and their clients do nothing for it: both topics are there anyway, and are listened to through a
//! connection of its own. What always holds: the list follows from what engines say, and nothing follows from
//! the list. While it cannot be stored it is kept in memory. A second of it may be lost with the machine;
//! what was given or answered in it, or while nobody acted, the engines' journals tell whoever acts next.

mod core;
mod recalls;
mod seen;
mod words;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use wayfare_client::documents::now_ms;
use wayfare_client::operations::{OperationAsk, OperationState, Queued, SUPERSEDED, WaitingOrder, Withdrawn};
use wayfare_client::{Client, ClientOptions, Overheard};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::OperationId;
use wayfare_protocol::limits::GIVEN_BY_BYTES_MAX;
use wayfare_protocol::reason::shortened;

use self::core::{Admission, Operations, TooLate, WHOLE};
use self::recalls::{Recalled, Recalls};
use self::seen::SeenPrograms;
use crate::context::{Context, Note, Notes};
use crate::durable::{FileError, RecordLog};
use crate::opening::retried;
use crate::options::{OperationLimits, ServiceOptions};
use crate::requests::{Asked, Inbox};

/// What has changed is written together: at most so often.
const SAVE_PERIOD: Duration = Duration::from_secs(1);
/// Messages that are taken in together.
const BATCH_MAX: usize = 64;
/// While operations are under way it is seen whether one has had its time.
const LOOK_PERIOD: Duration = Duration::from_secs(5);
/// Between two looks for engines that remember what was not heard.
const RECALL_PERIOD: Duration = Duration::from_secs(2);
/// Between two times that what is too old is forgotten.
const FORGET_PERIOD: Duration = Duration::from_secs(3600);
/// Requests that wait for an operation's end.
const WAITERS_MAX: usize = 1024;
/// The clients of superseded orders may take so long to withdraw them; who does not is not there.
const SUPERSEDE_WAIT: Duration = Duration::from_secs(5);

pub(crate) async fn run(context: Context, mut inbox: Inbox) {
    let connect = || connect(Arc::clone(&context.options));
    let Some((client, overheard)) = retried(&mut inbox, "operations", connect).await else {
        return;
    };
    let open = async || RecordLog::open(&context.place, context.term).map_err(|error| error.to_string());
    let Some(log) = retried(&mut inbox, "operations", open).await else {
        return;
    };
    let mut operations = Operations::read(log.records().iter());
    operations.grant_time(now_ms());
    let mut service = Service {
        operations,
        log,
        limits: context.options.operations,
        client: client.clone(),
        recalls: Recalls::new(context.client.clone()),
        notes: context.notes.clone(),
        waiters: Vec::new(),
        is_failing: false,
        has_saved: false,
    };
    service.serve(inbox, overheard).await;
    // A successor goes on from it.
    if let Err(error) = service.save() {
        tracing::warn!(%error, "the last operations are not kept");
    }
    client.close().await;
}

async fn connect(service: Arc<ServiceOptions>) -> Result<(Client, mpsc::Receiver<Overheard>), String> {
    let mut options = ClientOptions::new(service.broker.clone());
    options.topics = service.topics.clone();
    let client = Client::connect(options)
        .await
        .map_err(|error| error.to_string())?;
    let overheard = client.orders().await.map_err(|error| error.to_string())?;
    Ok((client, overheard))
}

struct Service {
    operations: Operations,
    log: RecordLog,
    limits: OperationLimits,
    client: Client,
    recalls: Recalls,
    notes: Notes,
    waiters: Vec<Waiter>,
    /// The last could not be stored.
    is_failing: bool,
    /// Something was stored, or could not be.
    has_saved: bool,
}

/// A request that is answered when something has become of an operation.
struct Waiter {
    operation: OperationId,
    what: WaitsFor,
    asked: Asked,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum WaitsFor {
    End,
    /// The client of an order that supersedes these: for their being withdrawn, or this time.
    Turn {
        supersedes: Vec<OperationId>,
        until: Instant,
    },
    /// The client of an order: for its being withdrawn.
    Withdrawal,
    /// That it is withdrawn, or cannot be any more.
    Cancelled,
}

impl Service {
    async fn serve(&mut self, mut inbox: Inbox, mut overheard: mpsc::Receiver<Overheard>) {
        let mut save_at = Instant::now();
        let mut looks = interval(LOOK_PERIOD);
        let mut forgets = interval(FORGET_PERIOD);
        let mut recalls = interval(RECALL_PERIOD);
        for timer in [&mut looks, &mut forgets, &mut recalls] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            let is_changed = self.operations.is_changed();
            tokio::select! {
                asked = inbox.recv() => match asked {
                    Some(asked) => self.answer(asked),
                    None => return,
                },
                first = overheard.recv() => match first {
                    Some(first) => self.take_in(first, &mut overheard),
                    None => return,
                },
                () = sleep_until(save_at), if is_changed => {
                    save_at = Instant::now() + SAVE_PERIOD;
                    if self.save().is_err_and(|error| error.is_succeeded()) {
                        return tracing::warn!("another dispatcher has the operations now");
                    }
                }
                _ = recalls.tick() => self.recalls.look().await,
                recalled = self.recalls.next() => self.recalled(recalled).await,
                _ = looks.tick(), if self.operations.has_open() => self.look().await,
                _ = forgets.tick() => self.operations.forget(self.limits, now_ms()),
            }
            self.tell_ends();
        }
    }

    fn take_in(&mut self, first: Overheard, overheard: &mut mpsc::Receiver<Overheard>) {
        let (mut next, now_ms) = (Some(first), now_ms());
        for _ in 0..BATCH_MAX {
            match next {
                None => break,
                Some(Overheard::Command {
                    engine,
                    command,
                    name,
                }) => self.operations.commanded(&engine, &command, name, now_ms),
                Some(Overheard::Event { event, name }) => self.operations.reported(&event, name, now_ms),
            }
            next = overheard.try_recv().ok();
        }
        self.operations.forget_many(self.limits, now_ms);
    }

    /// What an engine remembers, or that it did not answer.
    async fn recalled(&mut self, mut recalled: Recalled) {
        let page = match &mut recalled.result {
            Ok(page) => page,
            Err(error) => return self.recalls.failed(recalled.engine, error),
        };
        let mut entries = std::mem::take(&mut page.entries);
        for entry in entries.iter_mut().filter(|entry| entry.name.is_none()) {
            if let Some(program) = entry.event.program {
                let status = self.client.own_status(program).await;
                entry.name = status.map(|status| status.name);
            }
        }
        let (engine, recall) = (&recalled.engine, &mut recalled.recall);
        if self
            .operations
            .recalled(engine, recall, entries, self.limits, now_ms())
        {
            self.recalls.go_on(recalled);
        }
    }

    /// What has had its time.
    async fn look(&mut self) {
        let now_ms = now_ms();
        if !self.operations.has_due(now_ms) {
            return;
        }
        // What is known of programs must be whole. Where the client is closed, there is nothing to be seen.
        if self.client.read_all().await.is_err() {
            return;
        }
        let Ok(programs) = self.client.programs().await else {
            return;
        };
        let seen = SeenPrograms::new(programs);
        self.operations.look(|record| seen.became_of(record), now_ms);
    }

    fn save(&mut self) -> Result<(), FileError> {
        let was_whole = self.log.records().contains_key(WHOLE);
        if self.operations.is_whole() != was_whole {
            let whole = self.operations.is_whole().then(|| "true".to_owned());
            self.log.put(WHOLE, whole);
        }
        let changed = self.operations.take_changed();
        for (operation, json) in &changed {
            self.log.put(&operation.to_string(), json.clone());
        }
        let saved = self.log.commit();
        if let Err(error) = &saved {
            self.operations
                .put_back(changed.iter().map(|(operation, _)| *operation));
            if !self.is_failing {
                tracing::error!(%error, "operations cannot be stored: they are kept in memory");
            }
        } else if self.is_failing {
            tracing::info!("operations can be stored again");
        }
        if self.is_failing != saved.is_err() || !std::mem::replace(&mut self.has_saved, true) {
            self.notes.tell(Note::Stored {
                what: "operations",
                result: saved.clone(),
            });
        }
        self.is_failing = saved.is_err();
        saved
    }

    fn answer(&mut self, asked: Asked) {
        let ask = match asked.read::<OperationAsk>() {
            Ok(ask) => ask,
            Err(failure) => return asked.answer(Err(failure)),
        };
        match ask {
            OperationAsk::List(wanted) => asked.answer(Ok(value(self.operations.page(&wanted)))),
            OperationAsk::Show { operation } => {
                asked.answer(self.operations.shown(&operation).map(value));
            }
            OperationAsk::Wait { operation } => match self.operations.find(&operation) {
                Ok(record) if record.state.is_final() => asked.answer(Ok(value(record))),
                Ok(record) => self.wait(record.operation, WaitsFor::End, asked),
                Err(failure) => asked.answer(Err(failure)),
            },
            OperationAsk::Queue(order) => self.queue(&order, asked),
            OperationAsk::Waiting(order) => {
                self.operations.waits(&order, now_ms());
                // The same order told of anew: who asked before does not listen any more.
                self.waiters.retain(|waiter| {
                    waiter.operation != order.operation || waiter.what != WaitsFor::Withdrawal
                });
                self.wait(order.operation, WaitsFor::Withdrawal, asked);
            }
            OperationAsk::NotGiven {
                operation,
                reason,
                is_cancelled,
                error,
            } => {
                let state = match is_cancelled {
                    true => OperationState::Cancelled,
                    false => OperationState::Failed,
                };
                self.operations
                    .not_given(operation, state, error, reason, now_ms());
                asked.answer(Ok(serde_json::Value::Null));
            }
            OperationAsk::Cancel { operation, by } => self.cancel(&operation, by, asked),
        }
    }

    fn wait(&mut self, operation: OperationId, what: WaitsFor, asked: Asked) {
        if self.waiters.len() >= WAITERS_MAX {
            let reason = format!("{WAITERS_MAX} requests wait for operations already");
            return asked.answer(Err(Failure::Internal { reason }));
        }
        self.waiters.push(Waiter {
            operation,
            what,
            asked,
        });
    }

    fn queue(&mut self, order: &WaitingOrder, asked: Asked) {
        match self.operations.queue(order, now_ms()) {
            Admission::Joins(record) => asked.answer(Ok(value(Queued {
                joins: Some(record),
                ..Queued::default()
            }))),
            Admission::Admitted { supersedes } => {
                let until = Instant::now() + SUPERSEDE_WAIT;
                self.wait(order.operation, WaitsFor::Turn { supersedes, until }, asked);
            }
        }
    }

    /// Only its client knows whether it has given the order: it is asked, by an answer to what it told.
    fn cancel(&mut self, operation: &str, by: Option<String>, asked: Asked) {
        let operation = match self.operations.find(operation) {
            Ok(record) => record.operation,
            Err(failure) => return asked.answer(Err(failure)),
        };
        if let Err(late) = self.operations.withdrawable(operation) {
            return asked.answer(Err(too_late(late)));
        }
        let withdrawn = Withdrawn {
            is_withdrawn: true,
            by: by.map(|by| shortened(by, GIVEN_BY_BYTES_MAX)),
            instead: None,
        };
        let is_its_client =
            |waiter: &mut Waiter| waiter.operation == operation && waiter.what == WaitsFor::Withdrawal;
        for waiter in self.waiters.extract_if(.., is_its_client) {
            waiter.asked.answer(Ok(value(&withdrawn)));
        }
        self.wait(operation, WaitsFor::Cancelled, asked);
    }

    /// Answers those whose operation has ended, or is under way and cannot be withdrawn any more.
    fn tell_ends(&mut self) {
        for record in self.operations.take_ended() {
            words::trace(&record);
            // What the dispatcher ordered is told of where it was decided.
            if !words::is_decided(&record) {
                self.notes.tell(Note::Event(Box::new(words::event(&record))));
            }
        }
        let operations = &self.operations;
        let is_due = |waiter: &mut Waiter| match &waiter.what {
            WaitsFor::End => operations
                .get(waiter.operation)
                .is_none_or(|record| record.state.is_final()),
            WaitsFor::Turn { supersedes, until } => {
                operations.superseded_by(waiter.operation).is_some()
                    || *until <= Instant::now()
                    || still_waiting(operations, supersedes) == 0
            }
            WaitsFor::Withdrawal => {
                operations.superseded_by(waiter.operation).is_some()
                    || operations.withdrawable(waiter.operation).is_err()
            }
            WaitsFor::Cancelled => operations.withdrawable(waiter.operation).is_err(),
        };
        for waiter in self.waiters.extract_if(.., is_due) {
            waiter
                .asked
                .answer(became(operations, waiter.operation, &waiter.what));
        }
    }
}

/// How many of these can still be withdrawn.
fn still_waiting(operations: &Operations, orders: &[OperationId]) -> usize {
    let waiting = orders
        .iter()
        .filter(|order| operations.withdrawable(**order).is_ok());
    waiting.count()
}

/// The answer to who waited for it.
fn became(
    operations: &Operations,
    operation: OperationId,
    what: &WaitsFor,
) -> Result<serde_json::Value, Failure> {
    let superseded = operations.superseded_by(operation);
    let record = operations.get(operation);
    match what {
        WaitsFor::Turn { supersedes, .. } => {
            let unanswered = still_waiting(operations, supersedes);
            let count = |orders: usize| u32::try_from(orders).unwrap_or(u32::MAX);
            let is_superseded = |order: &&OperationId| {
                let record = operations.get(**order);
                record.is_some_and(|record| record.word() == SUPERSEDED)
            };
            Ok(value(Queued {
                joins: None,
                instead: superseded.map(|(instead, _)| instead),
                superseded: count(supersedes.iter().filter(is_superseded).count()),
                unanswered: count(unanswered),
            }))
        }
        WaitsFor::Withdrawal => Ok(value(match superseded {
            Some((instead, by)) => Withdrawn {
                is_withdrawn: true,
                by,
                instead: Some(instead),
            },
            None => Withdrawn::default(),
        })),
        WaitsFor::Cancelled => match (record, operations.withdrawable(operation)) {
            (Some(record), _) if record.state == OperationState::Cancelled => Ok(value(record)),
            (_, Err(late)) => Err(too_late(late)),
            (_, Ok(())) => unreachable!("it is answered when it cannot be withdrawn any more"),
        },
        WaitsFor::End => record.map(value).ok_or_else(|| Failure::BadRequest {
            reason: format!("operation {} is not kept any more", operation.short()),
        }),
    }
}

/// A kind of its own, which releases before read by its name and reason.
fn too_late(TooLate(reason): TooLate) -> Failure {
    Failure::Unknown {
        error: "too-late".to_owned(),
        reason,
    }
}

fn value<T: Serialize>(value: T) -> serde_json::Value {
    serde_json::to_value(value).expect("plain data serialises")
}
