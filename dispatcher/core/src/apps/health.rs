//! Whether instances that run are well: by what they say themselves, where their component asks for that, and
//! otherwise by how long they have run. And whether they may be stopped now.

use wayfare_fleet::app::{ComponentSpec, HealthPolicy, RestartWhen};
use wayfare_protocol::health::{HOLD_MS_MAX, Health};
use wayfare_protocol::ids::EngineId;
use wayfare_protocol::status::{ProgramState, ProgramStatus};
use wayfare_scheduler::application::InstanceId;

use super::Core;
use super::state::Doing;

impl Core {
    /// It is alive.
    pub(super) fn runs(&mut self, id: &InstanceId, status: &ProgramStatus) {
        let now_ms = self.now.ms;
        let healthy_after_ms = self.state.wanted(id).map_or(0, |c| c.update.healthy_after_ms);
        let is_heard = self.is_heard(id, &status.engine);
        let policy = self.policy(id).filter(|_| is_heard || status.health.is_some());
        let is_still = status.state != ProgramState::Running;
        let passing = self.passing(id);
        let started_ms = *passing.started_ms.get_or_insert(now_ms);
        let ran_ms = now_ms.saturating_sub(started_ms);
        let Some(policy) = policy else {
            if ran_ms >= healthy_after_ms {
                self.is_well_now(id);
            }
            return;
        };
        match status.health {
            Some(Health::Ready) => self.is_well_now(id),
            // What stands still says nothing, and has its whole time when it runs on.
            _ if is_still => passing.started_ms = passing.started_ms.filter(|_| passing.is_healthy),
            Some(Health::Unhealthy) => self.is_unwell(id, status, "has not said in time that it is well"),
            None if ran_ms >= policy.within_ms => {
                let why = format!("has not said within {} ms that it is ready", policy.within_ms);
                self.is_unwell(id, status, &why);
            }
            None => {}
        }
    }

    /// What is asked of it, as it was made.
    fn policy(&self, id: &InstanceId) -> Option<HealthPolicy> {
        let placed = self.state.instances.get(id)?.placed.as_ref()?;
        let is_it = |made: &&ComponentSpec| made.revision() == placed.revision;
        let made = self.state.wanted(id).filter(is_it);
        made.or_else(|| self.state.before(id).filter(is_it))?.health
    }

    /// Whether it would have been heard if it had said something. One that has been on an engine that hears
    /// nothing has perhaps said long ago that it is ready.
    fn is_heard(&mut self, id: &InstanceId, engine: &EngineId) -> bool {
        let hears = self.hears(engine);
        let Some(placed) = self.placed_mut(id) else {
            return false;
        };
        let was_heard = placed.is_heard;
        placed.is_heard &= hears;
        if was_heard && !hears {
            self.store(id);
        }
        was_heard && hears
    }

    /// Whether an engine tells what programs say of themselves.
    pub(super) fn hears(&self, engine: &EngineId) -> bool {
        let view = self.engines.get(engine).and_then(|watched| watched.view.as_ref());
        let about = view.and_then(|view| view.about.as_ref());
        about.is_some_and(|about| about.tells_health)
    }

    fn is_well_now(&mut self, id: &InstanceId) {
        let now_ms = self.now.ms;
        let passing = self.passing(id);
        passing.is_unwell = false;
        if !std::mem::replace(&mut passing.is_healthy, true) {
            passing.failures = 0;
            self.progress_ms.insert(id.of.application.clone(), now_ms);
        }
    }

    /// It runs, and is as one that has failed.
    fn is_unwell(&mut self, id: &InstanceId, status: &ProgramStatus, why: &str) {
        let engine = status.engine.clone();
        let text = format!("{id} {why} on {engine}");
        let restart = self.state.wanted(id).map(|component| component.restart);
        let was_told = std::mem::replace(&mut self.passing(id).is_unwell, true);
        (self.passing(id).is_healthy, self.passing(id).is_begun) = (false, true);
        if self.roll_back_for(id, &text) {
            self.tell("unhealthy", id, Some(&engine), text);
            return self.begin(id, Doing::Kill { engine });
        }
        let restart = restart.filter(|restart| match restart.when {
            RestartWhen::Always | RestartWhen::OnFailure => true,
            RestartWhen::Never | RestartWhen::OnSchedule => false,
        });
        let Some(restart) = restart else {
            if !was_told {
                self.tell("unhealthy", id, Some(&engine), text);
            }
            return;
        };
        let wait_ms = self.back_off(id, restart.backoff_ms, restart.backoff_ms_max);
        let text = format!("{text}: it is started anew in {wait_ms} ms");
        self.tell("unhealthy", id, Some(&engine), text);
        self.begin(id, Doing::Kill { engine });
    }

    /// Why it is not to be stopped now, where it says so: no longer than that counts.
    pub(super) fn holds(&mut self, id: &InstanceId) -> Option<String> {
        let placed = self.state.instances.get(id)?.placed.as_ref()?;
        let program = placed.program;
        let reason = self.status(program).and_then(|status| status.hold.clone());
        let now_ms = self.now.ms;
        let passing = self.passing(id);
        let Some(reason) = reason else {
            passing.held_since = None;
            return None;
        };
        // What its predecessor had of that time is not its own.
        let since = passing.held_since.filter(|(held, _)| *held == program);
        let (_, since_ms) = *passing.held_since.insert(since.unwrap_or((program, now_ms)));
        (now_ms.saturating_sub(since_ms) < HOLD_MS_MAX).then_some(reason)
    }
}
