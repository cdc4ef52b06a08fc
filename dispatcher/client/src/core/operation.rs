//! One operation in flight: the states of the diagram in [`super`], one function per transition.

mod transfers;

use std::collections::BTreeMap;

use wayfare_protocol::command::{Action, Command, GivenCommand, check_bytes};
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::{Event, EventBody, Outcome, Phase};
use wayfare_protocol::ids::{BootId, ClientId, Digest, EngineId, OperationId, ProgramId};
use wayfare_protocol::limits::{PAYLOAD_BYTES_MAX, SIGNATURE_BYTES_MAX};
use wayfare_protocol::topics::Topic;
use wayfare_protocol::wire;

use super::{
    BUSY_RETRY_MS, Effect, Finished, GRACE_MS, Progress, REPEAT_ACCEPTED_MS, REPEAT_MS, Request, SETTLE_MS,
    Ticket, existing_program,
};
use crate::error::{CommandError, Stage};
use crate::fleet::{Presence, ProgramView};
use crate::order::Busy;
use crate::transfer::{Downloads, SILENCE_MS, Uploads};

#[derive(Debug)]
pub(super) struct InFlight {
    ticket: Ticket,
    request: Request,
    since_ms: u64,
    deadline_ms: u64,
    said_ms: u64,
    state: State,
    progress: Progress,
    uploads: Uploads,
    /// A view that was old is looked at again once, not for ever.
    rechecks_left: u32,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "few operations are under way at a time")]
enum State {
    /// Another operation on the same program goes first.
    Queued,
    Sent,
    Accepted,
    Fetching(Fetch),
    Rechecking {
        until_ms: u64,
        failure: Failure,
    },
}

#[derive(Debug)]
struct Fetch {
    outcome: Outcome,
    downloads: Downloads,
    heard_ms: u64,
}

/// Whether the operation is over and must be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    GoesOn,
    Settled,
}

impl Step {
    pub(super) fn is_settled(self) -> bool {
        self == Self::Settled
    }
}

/// What a second look at the fleet says.
#[derive(Debug)]
pub(super) enum Recheck {
    No,
    Settled,
    /// To be sent under a new id.
    Again(Box<InFlight>),
}

impl InFlight {
    pub(super) fn new(ticket: Ticket, request: Request, now_ms: u64) -> Self {
        Self {
            ticket,
            since_ms: now_ms,
            deadline_ms: now_ms.saturating_add(request.time_limit_ms),
            said_ms: now_ms,
            state: State::Sent,
            progress: Progress::default(),
            uploads: Uploads::default(),
            rechecks_left: 1,
            request,
        }
    }

    /// For this process of its engine, unless it was decided for an earlier one.
    pub(super) fn for_process(mut self, boot: Option<BootId>) -> Self {
        self.request.boot = self.request.boot.or(boot);
        self
    }

    /// Not to be sent before [`InFlight::send`].
    pub(super) fn queued(self) -> Self {
        Self {
            state: State::Queued,
            ..self
        }
    }

    pub(super) fn is_queued(&self) -> bool {
        matches!(self.state, State::Queued)
    }

    pub(super) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// The program whose other operations it waits for, if it waits.
    pub(super) fn waits_for(&self) -> Option<ProgramId> {
        (self.request.busy == Busy::Wait)
            .then(|| self.program())
            .flatten()
    }

    pub(super) fn program(&self) -> Option<ProgramId> {
        existing_program(&self.request.action)
    }

    pub(super) fn engine(&self) -> &EngineId {
        &self.request.engine
    }

    /// The command, first said or said again.
    pub(super) fn send(&mut self, operation: OperationId, client: &ClientId, now_ms: u64) -> Effect {
        self.said_ms = now_ms;
        if matches!(self.state, State::Queued) {
            self.state = State::Sent;
        }
        Effect::Publish {
            topic: Topic::EngineCommand(self.request.engine.clone()),
            payload: self.command(operation, client),
        }
    }

    fn command(&self, operation: OperationId, client: &ClientId) -> Vec<u8> {
        wire::encode(&GivenCommand {
            command: Command {
                operation,
                client: client.clone(),
                time_limit_ms: self.request.time_limit_ms,
                action: self.request.action.clone(),
                term: self.request.term,
                boot: self.request.boot,
            },
            by: self.request.by.clone(),
            batch: self.request.batch,
        })
    }

    /// Refuses a command that no message holds, before anybody waits for an answer to it.
    pub(super) fn is_too_large(
        &mut self,
        operation: OperationId,
        client: &ClientId,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let bytes = (self.command(operation, client).len() + SIGNATURE_BYTES_MAX) as u64;
        let checked = check_bytes("the command", bytes, PAYLOAD_BYTES_MAX as u64);
        checked
            .map_err(|failure| self.settle(Err(CommandError::Refused(failure)), effects))
            .is_err()
    }

    /// After a new connection: the engine's last words may have been lost.
    pub(super) fn say_again(
        &mut self,
        operation: OperationId,
        client: &ClientId,
        now_ms: u64,
    ) -> Option<Effect> {
        match &self.state {
            State::Sent | State::Accepted => Some(self.send(operation, client, now_ms)),
            State::Fetching(fetch) => Some(self.want(fetch, operation, client)),
            State::Queued | State::Rechecking { .. } => None,
        }
    }

    pub(super) fn event(
        &mut self,
        event: Event,
        operation: OperationId,
        client: &ClientId,
        now_ms: u64,
        effects: &mut Vec<Effect>,
    ) -> Step {
        // About a copy that a predecessor gave in its own term, and that comes late: this one is still to be
        // answered.
        if let EventBody::Failed {
            failure: Failure::StaleTerm { term, .. },
        } = &event.body
            && self.request.term != Some(*term)
        {
            return Step::GoesOn;
        }
        match (&self.state, event.body) {
            // The answer is here already; what comes now are repeats.
            (State::Queued | State::Fetching(_) | State::Rechecking { .. }, _) => Step::GoesOn,
            (State::Sent | State::Accepted, EventBody::Accepted) => {
                self.accepted(now_ms, effects);
                Step::GoesOn
            }
            (
                State::Sent | State::Accepted,
                EventBody::Progress {
                    phase,
                    done_bytes,
                    total_bytes,
                },
            ) => {
                self.accepted(now_ms, effects);
                if phase == Phase::Compile {
                    // An engine does not count that either.
                    self.deadline_ms = self
                        .deadline_ms
                        .max(now_ms + self.request.time_limit_ms + GRACE_MS);
                }
                self.progress.phase = Some(phase);
                self.progress.delivered |= phase != Phase::Transfer;
                // Our own count of what we send is the finer one.
                if phase != Phase::Transfer || self.uploads.is_empty() {
                    (self.progress.done_bytes, self.progress.total_bytes) = (done_bytes, total_bytes);
                }
                effects.push(self.progress());
                Step::GoesOn
            }
            (State::Sent | State::Accepted, EventBody::Failed { failure }) => {
                self.failed(failure, now_ms, effects)
            }
            (State::Sent | State::Accepted, EventBody::Done { outcome }) => {
                self.done(outcome, operation, client, now_ms, effects)
            }
        }
    }

    fn accepted(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        if matches!(self.state, State::Sent) {
            self.state = State::Accepted;
            self.deadline_ms = now_ms.saturating_add(self.request.time_limit_ms + GRACE_MS);
            self.progress.accepted = true;
            self.progress.delivered |= self.request.blobs.is_empty();
            effects.push(self.progress());
        }
    }

    fn done(
        &mut self,
        outcome: Outcome,
        operation: OperationId,
        client: &ClientId,
        now_ms: u64,
        effects: &mut Vec<Effect>,
    ) -> Step {
        let Outcome::Captured { spec, snapshot, .. } = &outcome else {
            return self.settle(Ok((outcome, BTreeMap::new())), effects);
        };
        let checked = spec.check().and_then(|()| {
            let bytes_max = wayfare_protocol::limits::SNAPSHOT_BYTES_MAX;
            wayfare_protocol::command::check_bytes("snapshot", snapshot.bytes, bytes_max)
        });
        if let Err(failure) = checked {
            return self.settle(Err(CommandError::Refused(failure)), effects);
        }
        let blobs = spec.blobs().chain([*snapshot]);
        let blobs = blobs.filter(|blob| !self.request.known.contains(&blob.digest));
        let fetch = Fetch {
            downloads: Downloads::new(blobs),
            outcome,
            heard_ms: now_ms,
        };
        self.progress.phase = Some(Phase::Transfer);
        (self.progress.done_bytes, self.progress.total_bytes) = fetch.downloads.bytes();
        self.deadline_ms = now_ms.saturating_add(self.request.time_limit_ms);
        effects.push(self.want(&fetch, operation, client));
        self.state = State::Fetching(fetch);
        effects.push(self.progress());
        Step::GoesOn
    }

    fn failed(&mut self, failure: Failure, now_ms: u64, effects: &mut Vec<Effect>) -> Step {
        let is_on_existing = existing_program(&self.request.action).is_some();
        let wait_ms = match failure {
            // This client's view may be old: news has a moment to arrive.
            Failure::UnknownProgram { .. } | Failure::StaleGeneration { .. }
                if is_on_existing && self.rechecks_left > 0 =>
            {
                Some(SETTLE_MS)
            }
            Failure::Busy { .. } if self.request.busy == Busy::Wait => Some(BUSY_RETRY_MS),
            _ => None,
        };
        if let Some(wait_ms) = wait_ms {
            let until_ms = now_ms + wait_ms;
            self.state = State::Rechecking { until_ms, failure };
            return Step::GoesOn;
        }
        let engine = self.request.engine.clone();
        self.settle(Err(CommandError::Failed { engine, failure }), effects)
    }

    /// Looks again where the program is, once the news had time to arrive.
    pub(super) fn rechecked(
        &mut self,
        find: impl FnOnce(ProgramId) -> Option<ProgramView>,
        now_ms: u64,
        effects: &mut Vec<Effect>,
    ) -> Recheck {
        let State::Rechecking { until_ms, failure } = &self.state else {
            return Recheck::No;
        };
        if matches!(failure, Failure::Busy { .. }) {
            return if now_ms < *until_ms {
                Recheck::No
            } else {
                Recheck::Again(Box::new(self.anew()))
            };
        }
        let found = existing_program(&self.request.action).and_then(find);
        let now_at = found
            .filter(|view| view.presence == Presence::Known)
            .map(|view| view.status);
        match now_at {
            Some(status)
                if self.request.engine != status.engine || expects_other(&self.request.action, &status) =>
            {
                let mut anew = self.anew();
                anew.request.engine = status.engine;
                if let Some(target) = target_mut(&mut anew.request.action) {
                    target.generation = Some(status.generation);
                }
                anew.rechecks_left = self.rechecks_left - 1;
                Recheck::Again(Box::new(anew))
            }
            _ if now_ms < *until_ms => Recheck::No,
            _ => {
                let failure = failure.clone();
                let engine = self.request.engine.clone();
                self.settle(Err(CommandError::Failed { engine, failure }), effects);
                Recheck::Settled
            }
        }
    }

    /// The same for another try, with what is left of its time: a command of its own.
    fn anew(&self) -> Self {
        let request = Request {
            boot: None,
            ..self.request.clone()
        };
        Self {
            deadline_ms: self.since_ms.saturating_add(self.request.time_limit_ms),
            rechecks_left: self.rechecks_left,
            ..Self::new(self.ticket, request, self.since_ms)
        }
    }

    /// What is due by the clock: repetitions.
    pub(super) fn tick(
        &mut self,
        operation: OperationId,
        client: &ClientId,
        now_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        let silent_ms = now_ms.saturating_sub(self.said_ms);
        match &mut self.state {
            State::Sent if silent_ms >= REPEAT_MS => effects.push(self.send(operation, client, now_ms)),
            State::Accepted if silent_ms >= REPEAT_ACCEPTED_MS => {
                effects.push(self.send(operation, client, now_ms));
            }
            State::Fetching(fetch) if now_ms.saturating_sub(fetch.heard_ms) >= SILENCE_MS => {
                fetch.heard_ms = now_ms;
                let again = self.say_again(operation, client, now_ms);
                effects.extend(again);
            }
            State::Queued | State::Sent | State::Accepted | State::Fetching(_) | State::Rechecking { .. } => {
            }
        }
        self.pump(operation, client, now_ms, effects);
    }

    pub(super) fn time_is_up(
        &mut self,
        operation: OperationId,
        now_ms: u64,
        effects: &mut Vec<Effect>,
    ) -> Step {
        if now_ms < self.deadline_ms {
            return Step::GoesOn;
        }
        if let State::Rechecking { failure, .. } = &self.state {
            let (engine, failure) = (self.request.engine.clone(), failure.clone());
            return self.settle(Err(CommandError::Failed { engine, failure }), effects);
        }
        let stage = match &self.state {
            State::Queued | State::Sent | State::Rechecking { .. } => Stage::Sent,
            State::Accepted if self.progress.phase == Some(Phase::InDoubt) => Stage::InDoubt,
            State::Accepted => Stage::Accepted,
            State::Fetching(_) => Stage::Fetching,
        };
        let error = CommandError::NoAnswer {
            engine: self.request.engine.clone(),
            verb: self.request.action.verb(),
            operation,
            waited_ms: now_ms.saturating_sub(self.since_ms),
            stage,
        };
        self.settle(Err(error), effects)
    }

    fn settle(
        &mut self,
        result: Result<(Outcome, BTreeMap<Digest, Vec<u8>>), CommandError>,
        effects: &mut Vec<Effect>,
    ) -> Step {
        let engine = self.request.engine.clone();
        effects.push(Effect::Settle {
            ticket: self.ticket,
            result: result.map(|(outcome, blobs)| Finished {
                engine,
                outcome,
                blobs,
            }),
        });
        Step::Settled
    }

    fn progress(&self) -> Effect {
        Effect::Progress {
            ticket: self.ticket,
            progress: self.progress,
        }
    }
}

fn expects_other(action: &Action, status: &wayfare_protocol::status::ProgramStatus) -> bool {
    let mut action = action.clone();
    target_mut(&mut action).is_some_and(|target| {
        target
            .generation
            .is_some_and(|generation| generation != status.generation)
    })
}

fn target_mut(action: &mut Action) -> Option<&mut wayfare_protocol::command::Target> {
    match action {
        Action::Run { .. } => None,
        Action::Move { on, .. }
        | Action::Spawn { on, .. }
        | Action::Pause { on }
        | Action::Resume { on, .. }
        | Action::Kill { on }
        | Action::Snapshot { on }
        | Action::Logs { on, .. } => Some(on),
    }
}
