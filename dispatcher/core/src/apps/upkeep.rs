//! What instances need beside a place: standing still with their application, and copies of their state.

use wayfare_protocol::command::{Action, Target};
use wayfare_protocol::status::ProgramState;
use wayfare_scheduler::application::InstanceId;

use super::state::{Doing, Instance, Standing};
use super::{Core, Subject};

impl Core {
    pub(super) fn pause_and_resume(&mut self) {
        let instances = self.state.instances.iter();
        // A paused instance of a running application, and the other way round.
        let is_other_way = |(id, instance): &(&InstanceId, &Instance)| {
            let standing = self.state.apps.get(&id.of.application).map(|app| app.standing);
            let is_paused = instance.placed.as_ref().is_some_and(|placed| placed.paused);
            is_paused != (standing == Some(Standing::Paused))
        };
        let ids: Vec<InstanceId> = instances.filter(is_other_way).map(|(id, _)| id.clone()).collect();
        let now_ms = self.now.ms;
        for id in ids {
            let standing = self.state.apps.get(&id.of.application).map(|app| app.standing);
            let Some(Instance {
                placed: Some(placed),
                pending: None,
                ..
            }) = self.state.instances.get(&id)
            else {
                continue;
            };
            let is_waiting = self
                .passing
                .get(&id)
                .is_some_and(|passing| passing.not_before_ms > now_ms);
            let Some(status) = self.status(placed.program).filter(|_| !is_waiting) else {
                continue;
            };
            let engine = status.engine.clone();
            match (standing, placed.paused, &status.state) {
                (Some(Standing::Paused), false, ProgramState::Running) => {
                    self.begin(&id, Doing::Pause { engine })
                }
                (Some(Standing::Running), true, _) => self.begin(&id, Doing::Resume { engine, force: false }),
                _ => {}
            }
        }
    }

    /// Copies of the state of instances whose component asks for it.
    pub(super) fn checkpoint(&mut self) {
        let now_ms = self.now.ms;
        let asks_for_it = |id: &&InstanceId| {
            let wanted = self.state.wanted(id);
            wanted.is_some_and(|component| component.checkpoint_ms.is_some())
        };
        let ids: Vec<InstanceId> = self.state.instances.keys().filter(asks_for_it).cloned().collect();
        for id in ids {
            let Some(interval_ms) = self
                .state
                .wanted(&id)
                .and_then(|component| component.checkpoint_ms)
            else {
                continue;
            };
            let Some(Instance {
                placed: Some(placed),
                pending: None,
                ..
            }) = self.state.instances.get(&id)
            else {
                continue;
            };
            let program = placed.program;
            let Some(engine) = self
                .status(program)
                .filter(|status| status.state == ProgramState::Running)
                .map(|status| status.engine.clone())
            else {
                continue;
            };
            let passing = self.passing(&id);
            let at_ms = *passing
                .checkpoint_at_ms
                .get_or_insert(now_ms.saturating_add(interval_ms));
            if passing.checkpointing || at_ms > now_ms {
                continue;
            }
            passing.checkpointing = true;
            passing.checkpoint_at_ms = Some(now_ms.saturating_add(interval_ms));
            let on = Target {
                program,
                generation: None,
            };
            self.give_once(Subject::Checkpoint(id, program), engine, Action::Snapshot { on });
        }
    }
}
