//! The ends of commands.

use wayfare_protocol::error::Failure;
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::{EngineId, OperationId, ProgramId};
use wayfare_scheduler::application::InstanceId;

use super::state::{Checkpoint, Doing};
use super::{Core, RETRY_MS, Subject, Trouble};

impl Core {
    pub(super) fn settled(&mut self, operation: OperationId, result: Result<Outcome, Trouble>) {
        let subject = self.in_flight.remove(&operation);
        // What was planned with already, or changes no plan.
        let is_as_planned = matches!(
            (&subject, &result),
            (Some(Subject::Instance(_)), Ok(Outcome::Running { .. })) | (Some(Subject::Checkpoint(..)), _)
        );
        if !is_as_planned {
            self.plan_at_ms = 0;
        }
        match subject {
            Some(Subject::Instance(id)) => self.instance_settled(&id, operation, result),
            Some(Subject::Checkpoint(id, program)) => self.checkpoint_settled(&id, program, result),
            Some(Subject::Stray(program)) => {
                if let Err(trouble) = result {
                    tracing::warn!(%program, trouble = trouble.text(), "could not move a program off its engine");
                }
            }
            Some(Subject::Orphan(program)) if result.is_ok() => self.orphan_settled(program),
            Some(Subject::Orphan(_)) => {}
            // Given up meanwhile: what came of it is seen by its status, or fenced off.
            None => {}
        }
    }

    fn instance_settled(
        &mut self,
        id: &InstanceId,
        operation: OperationId,
        result: Result<Outcome, Trouble>,
    ) {
        let Some(instance) = self.state.instances.get_mut(id) else {
            return;
        };
        let Some(pending) = instance.pending.take_if(|pending| pending.operation == operation) else {
            return;
        };
        match pending.doing {
            Doing::Start { engine, .. } => self.start_settled(id, &engine, result),
            Doing::Move { source, target } => self.move_settled(id, (&source, &target), result),
            Doing::Kill { engine } => self.kill_settled(id, &engine, result),
            Doing::Pause { engine } => self.pause_settled(id, &engine, result, true),
            Doing::Resume { engine, .. } => self.pause_settled(id, &engine, result, false),
        }
        self.store(id);
    }

    fn start_settled(&mut self, id: &InstanceId, engine: &EngineId, result: Result<Outcome, Trouble>) {
        let now_ms = self.now.ms;
        match result {
            Ok(Outcome::Running { generation, .. }) => {
                if let Some(placed) = self.placed_mut(id) {
                    placed.sits(engine.clone(), generation);
                }
                self.passing(id).started_ms = Some(now_ms);
                self.tell(
                    "runs",
                    id,
                    Some(engine),
                    format!("{id} runs on {engine}, generation {generation}"),
                );
            }
            Ok(other) => self.failed(id, engine, &format!("start was answered with {other:?}")),
            Err(Trouble::Failed(failure)) => {
                if let Some(placed) = self.placed_mut(id) {
                    placed.seat = None;
                }
                let is_module = matches!(failure, Failure::Module { .. } | Failure::Ended { .. });
                // It may be here already, or on its way by an order of before.
                if let Some(program) = self
                    .placed_mut(id)
                    .map(|placed| placed.program)
                    .filter(|_| !is_module)
                {
                    self.may_be_left_on(program, engine);
                }
                let why = format!("{id} could not be started on {engine}: {failure}");
                if !(is_module && self.roll_back_for(id, &why)) {
                    self.failed(id, engine, &why);
                }
            }
            // It may run there: it is looked for, and fenced off if it is started elsewhere.
            Err(Trouble::Unknown(why)) => {
                if let Some(program) = self.placed_mut(id).map(|placed| placed.program) {
                    self.may_be_left_on(program, engine);
                }
                self.failed(id, engine, &why);
            }
        }
    }

    /// Says so, and leaves it alone for a while.
    fn failed(&mut self, id: &InstanceId, engine: &EngineId, why: &str) {
        let (first_ms, max_ms) = self.state.wanted(id).map_or((RETRY_MS, RETRY_MS), |c| {
            (c.restart.backoff_ms, c.restart.backoff_ms_max)
        });
        let wait_ms = self.back_off(id, first_ms, max_ms);
        self.tell(
            "failed",
            id,
            Some(engine),
            format!("{why}; tried again in {wait_ms} ms"),
        );
    }

    fn move_settled(
        &mut self,
        id: &InstanceId,
        (source, target): (&EngineId, &EngineId),
        result: Result<Outcome, Trouble>,
    ) {
        match result {
            Ok(Outcome::Moved {
                generation,
                target,
                report,
                ..
            }) => {
                if let Some(placed) = self.placed_mut(id)
                    && placed.generation <= generation
                {
                    placed.sits(target.clone(), generation);
                }
                self.passing(id).started_ms = None;
                let text = format!(
                    "{id} runs on {target}, generation {generation}; it stood still for {} us",
                    report.downtime_us
                );
                self.tell("moved", id, Some(&target), text);
            }
            Ok(other) => tracing::warn!(?other, "a move was answered with something else"),
            Err(trouble) => {
                let now_ms = self.now.ms;
                self.passing(id).not_before_ms = now_ms.saturating_add(RETRY_MS);
                let text = format!("{id} did not move from {source} to {target}: {}", trouble.text());
                self.tell("failed", id, Some(source), text);
            }
        }
    }

    fn kill_settled(&mut self, id: &InstanceId, engine: &EngineId, result: Result<Outcome, Trouble>) {
        match result {
            Ok(_) | Err(Trouble::Failed(Failure::UnknownProgram { .. })) => {
                // What comes next is another program.
                let placed = self.state.instances.get_mut(id).and_then(|i| i.placed.take());
                if let Some(placed) = placed {
                    // The order to start it may still be on its way there.
                    if result.is_err() {
                        self.may_be_left_on(placed.program, engine);
                    }
                    self.ended_for_good(&placed);
                }
                let passing = self.passing(id);
                (passing.started_ms, passing.is_healthy) = (None, false);
            }
            Err(trouble) => {
                let now_ms = self.now.ms;
                self.passing(id).not_before_ms = now_ms.saturating_add(RETRY_MS);
                let text = format!("{id} could not be ended on {engine}: {}", trouble.text());
                self.tell("failed", id, Some(engine), text);
            }
        }
    }

    fn pause_settled(
        &mut self,
        id: &InstanceId,
        engine: &EngineId,
        result: Result<Outcome, Trouble>,
        paused: bool,
    ) {
        match result {
            // One that stands as it should already is no trouble.
            Ok(_) | Err(Trouble::Failed(Failure::WrongState { .. })) => {
                if let Some(placed) = self.placed_mut(id) {
                    placed.paused = paused;
                }
                let (kind, what) = if paused {
                    ("paused", "is paused")
                } else {
                    ("resumed", "runs on")
                };
                self.tell(kind, id, Some(engine), format!("{id} {what} on {engine}"));
            }
            Err(trouble) => {
                let now_ms = self.now.ms;
                self.passing(id).not_before_ms = now_ms.saturating_add(RETRY_MS);
                self.tell(
                    "failed",
                    id,
                    Some(engine),
                    format!("{id} on {engine}: {}", trouble.text()),
                );
            }
        }
    }

    fn checkpoint_settled(&mut self, id: &InstanceId, program: ProgramId, result: Result<Outcome, Trouble>) {
        self.passing(id).checkpointing = false;
        let at_ms = self.now.wall_ms;
        match result {
            Ok(Outcome::Captured {
                generation, snapshot, ..
            }) => {
                // One of an earlier generation is of a copy that has been given up meanwhile.
                if let Some(placed) = self.placed_mut(id)
                    && placed.program == program
                    && placed.generation <= generation
                {
                    placed.checkpoint = Some(Checkpoint { snapshot, at_ms });
                    self.store(id);
                }
            }
            Ok(other) => tracing::warn!(?other, "a snapshot was answered with something else"),
            // Tried again at the next interval: it may have been busy, or moving.
            Err(trouble) => tracing::debug!(%id, trouble = trouble.text(), "no checkpoint"),
        }
    }
}

impl Trouble {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Failed(failure) => failure.to_string(),
            Self::Unknown(why) => why.clone(),
        }
    }
}
