//! What the core has decided is done here: stored, commanded, told.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::JoinError;
use tracing::Instrument;
use wayfare_client::app::ask::Decision;
use wayfare_client::error::CommandError;
use wayfare_client::fleet::EngineView;
use wayfare_client::operation::span;
use wayfare_client::{Content, Finished};
use wayfare_protocol::command::Action;
use wayfare_protocol::dispatcher::{Answer, Answered};
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::{BootId, Digest, EngineId, OperationId};

use super::alarms::AlarmKind;
use super::{COMMAND_TIME_LIMIT, Done, Reading, SETTLED_MAX, SNAPSHOT_TIME_LIMIT, Service, now};
use crate::context::Note;
use crate::durable::FileError;
use wayfare_dispatcher_core::apps::{Effect, Input, Trouble};

impl Service {
    /// Everything that is to be stored is durable before anything is done, or nothing is done.
    pub(super) fn carry_out(&mut self, effects: Vec<Effect>) -> Result<(), FileError> {
        for effect in &effects {
            match effect {
                Effect::Store { key, json } => self.log.put(key, json.clone()),
                // Whoever forgets that there was one must not leave it behind.
                Effect::Tombstone {
                    program,
                    stands: false,
                } => self.context.client.set_tombstone(*program, false),
                _ => {}
            }
        }
        self.log.commit()?;
        for effect in effects {
            match effect {
                Effect::Store { .. } | Effect::Tombstone { stands: false, .. } => {}
                Effect::Begin {
                    operation,
                    engine,
                    action,
                    boot,
                } => self.begin(operation, (engine, boot), *action),
                Effect::Tombstone {
                    program,
                    stands: true,
                } => {
                    self.context.client.set_tombstone(program, true);
                    let client = self.context.client.clone();
                    self.announce(async move { client.withdraw(program).await });
                }
                Effect::Lost { engine, programs } => {
                    let client = self.context.client.clone();
                    self.announce(async move {
                        for program in programs {
                            client.announce_lost(program, &engine).await?;
                        }
                        Ok(())
                    });
                }
                Effect::Left {
                    engine,
                    request,
                    left,
                } => {
                    let answer = Answer {
                        request,
                        term: self.context.term,
                        answer: Answered::Done(serde_json::json!({ "left": left })),
                    };
                    self.context.client.try_answer(engine, &answer);
                }
                Effect::Ask { engines } => {
                    self.context.client.ask_reports(engines);
                    self.read();
                }
                Effect::Tell(decision) => self.tell(*decision),
            }
        }
        // Before anybody is answered.
        self.timeline.flush();
        Ok(())
    }

    /// What cannot be announced costs callers their deadlines: the engine of a program sees to it when it is
    /// back.
    fn announce(&mut self, announcing: impl Future<Output = Result<(), CommandError>> + Send + 'static) {
        self.work.spawn(async move {
            if let Err(error) = announcing.await {
                tracing::warn!(%error, "callers of programs that are gone wait for their deadlines");
            }
            Done::Announced
        });
    }

    /// Keeps an event, and tells whoever listens.
    pub(super) fn tell(&mut self, mut decision: Decision) {
        if let Err(error) = self.timeline.add(&mut decision) {
            tracing::warn!(%error, "an event is not kept");
        }
        tracing::info!(kind = decision.kind, "{}", decision.text);
        self.context.client.say_decision(&decision);
    }

    /// Another service has something to tell.
    pub(super) fn noted(&mut self, note: Note) {
        match note {
            Note::Event(event) => self.tell_now(*event),
            Note::Stored { what, result } => self.stored(what, &result),
        }
    }

    /// With the time of now.
    fn tell_now(&mut self, event: Decision) {
        self.tell(Decision {
            at_ms: now(self.begun).wall_ms,
            term: self.context.term,
            ..event
        });
    }

    /// Something can be stored, or cannot: an alarm stands while it cannot.
    pub(super) fn stored(&mut self, what: &str, result: &Result<(), FileError>) {
        let now_ms = now(self.begun).wall_ms;
        let raised = match result {
            Ok(()) => None,
            Err(error) => Some((AlarmKind::of(error), format!("{what} cannot be stored: {error}"))),
        };
        for kind in [AlarmKind::StoreFailing, AlarmKind::DiskFull] {
            let event = match &raised {
                Some((raised, text)) if *raised == kind => self.alarms.raise(kind, what, text, now_ms),
                _ => self
                    .alarms
                    .clear(kind, what, &format!("{what} can be stored again")),
            };
            self.tell_alarm(event);
        }
    }

    /// Tells of engines that the fleet has not had before.
    pub(super) fn see_who_joined(&mut self, engines: &[EngineView]) {
        for event in self.known.seen(engines) {
            self.tell_now(event);
        }
        if let Err(error) = self.known.save() {
            tracing::warn!(%error, "which engines there are is not kept yet");
        }
    }

    /// It has joined when it is there again.
    pub(super) fn forget_engine(&mut self, engine: &EngineId) {
        self.known.forget(engine);
        if let Err(error) = self.known.save() {
            tracing::warn!(%error, "that an engine is forgotten is not kept yet");
        }
    }

    pub(super) fn tell_alarm(&mut self, event: Option<Decision>) {
        let Some(event) = event else { return };
        self.tell_now(event);
        if let Err(error) = self.alarms.save() {
            tracing::warn!(%error, "an alarm is not kept yet");
        }
    }

    fn begin(&mut self, operation: OperationId, (engine, boot): (EngineId, Option<BootId>), action: Action) {
        if !self.under_way.insert(operation) {
            // Its answer is still waited for.
            return;
        }
        let (blobs, known, limit) = match &action {
            Action::Run { spec, snapshot, .. } => {
                let wanted = spec.blobs().chain(*snapshot);
                let found = wanted.filter_map(|blob| Some((blob.digest, self.blobs.read(blob.digest)?)));
                (found.collect(), BTreeSet::new(), COMMAND_TIME_LIMIT)
            }
            // What its program is made of is here, or it would not run.
            Action::Snapshot { .. } => (BTreeMap::new(), self.core.blobs_in_use(), SNAPSHOT_TIME_LIMIT),
            _ => (BTreeMap::new(), BTreeSet::new(), COMMAND_TIME_LIMIT),
        };
        let blobs: BTreeMap<Digest, Content> = blobs;
        let client = self.context.client.clone();
        let carry_out = async move {
            tracing::debug!(%engine, verb = action.verb(), "ordered");
            let order = client
                .order(operation, (engine, boot), action, blobs, known, limit)
                .await;
            let result = match order {
                Ok(order) => order.wait().await,
                Err(error) => Err(error),
            };
            Done::Settled { operation, result }
        };
        self.work.spawn(carry_out.instrument(span(operation)));
    }

    /// Takes in what is over, and whatever else is over by now.
    pub(super) async fn all_done(&mut self, first: Result<Done, JoinError>) {
        let (mut next, mut settled, mut read) = (Some(first), Vec::new(), None);
        while let Some(done) = next {
            match done {
                Ok(Done::Announced) => {}
                Ok(Done::Came(came)) => self.came(came),
                Ok(Done::Clock { engine, reading }) => self.clock_read(&engine, reading),
                Ok(Done::Read(sent_ms)) => read = Some(sent_ms),
                Ok(Done::Settled { operation, result }) => settled.extend(self.settled(operation, result)),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => {}
            }
            let has_room = settled.len() < SETTLED_MAX;
            next = has_room.then(|| self.work.try_join_next()).flatten();
        }
        if !settled.is_empty() {
            self.feed_all(settled);
        }
        if let Some(sent_ms) = read {
            self.has_read(sent_ms).await;
        }
    }

    async fn has_read(&mut self, sent_ms: Option<u64>) {
        if std::mem::replace(&mut self.reading, Reading::Idle) == Reading::AndAgain {
            self.read();
        }
        let Some(sent_ms) = sent_ms.filter(|_| self.failing.is_none()) else {
            return;
        };
        // What was read is in the view by now, and must be seen before anything is made of what is not.
        self.observe().await;
        if self.failing.is_none() {
            self.feed(Input::Read { sent_ms });
        }
    }

    /// What the core is to be told of the end of a command.
    fn settled(&mut self, operation: OperationId, result: Result<Finished, CommandError>) -> Option<Input> {
        self.under_way.remove(&operation);
        let result = match result {
            Ok(finished) => match self.keep_snapshot(&finished) {
                Ok(()) => Ok(finished.outcome),
                Err(error) => Err(Trouble::Unknown(format!("its snapshot cannot be kept: {error}"))),
            },
            Err(CommandError::Failed { failure, .. } | CommandError::Refused(failure)) => {
                // It was not done, and is told again in the term that follows.
                if let Failure::StaleTerm { actual, .. } = failure
                    && self.context.has_heard_of(actual)
                {
                    return None;
                }
                Err(Trouble::Failed(failure))
            }
            Err(other) => Err(Trouble::Unknown(other.to_string())),
        };
        span(operation).in_scope(|| tracing::debug!(is_done = result.is_ok(), "answered"));
        Some(Input::Settled { operation, result })
    }

    fn keep_snapshot(&mut self, finished: &Finished) -> Result<(), FileError> {
        if let Outcome::Captured { snapshot, .. } = &finished.outcome
            && let Some(bytes) = finished.blobs.get(&snapshot.digest)
        {
            self.blobs.keep(snapshot.digest, bytes)?;
        }
        Ok(())
    }
}
