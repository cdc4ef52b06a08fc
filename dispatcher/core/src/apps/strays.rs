//! Programs that belong to no application: they are left alone, but for being moved off an engine that is to
//! be emptied.

use std::collections::BTreeSet;

use wayfare_fleet::app::ask::Mark;
use wayfare_protocol::command::{Action, Target};
use wayfare_protocol::ids::{EngineId, ProgramId};
use wayfare_scheduler::application::{Application, Component, ComponentId, InstanceId, Resources};

use super::{Core, RETRY_MS, Subject};

/// The application of programs that belong to none: no name that people can give.
pub(super) const STRAYS: &str = "~";

impl Core {
    /// Programs that belong to no application, on engines that are to be emptied.
    pub(super) fn draining_strays(&self) -> BTreeSet<ProgramId> {
        let placed = self
            .state
            .instances
            .values()
            .filter_map(|instance| instance.placed.as_ref());
        let own: BTreeSet<ProgramId> = placed.map(|placed| placed.program).collect();
        self.programs
            .values()
            .map(|view| &view.status)
            .filter(|status| self.mark(&status.engine) == Some(Mark::Draining))
            .filter(|status| !status.state.is_ended() && !own.contains(&status.program))
            .map(|status| status.program)
            .collect()
    }

    pub(super) fn strays(&self) -> Application {
        let component = |program: ProgramId| {
            let memory_bytes = self.status(program).map_or(0, |status| status.memory_bytes);
            let component = Component {
                count: 1,
                demand: Resources {
                    memory_bytes,
                    processor_millicores: 0,
                },
                ..Component::default()
            };
            (program.to_string(), component)
        };
        let components = self.draining_strays().into_iter().map(component).collect();
        Application { components }
    }

    pub(super) fn move_stray(
        &mut self,
        id: &InstanceId,
        source: &EngineId,
        target: EngineId,
        why: &str,
    ) -> bool {
        let Ok(program) = id.of.component.parse::<ProgramId>() else {
            return false;
        };
        let subject = Subject::Stray(program);
        let now_ms = self.now.ms;
        let is_waiting = self
            .passing
            .get(id)
            .is_some_and(|passing| passing.not_before_ms > now_ms);
        let is_settled = self
            .status(program)
            .is_some_and(|status| status.state.is_settled());
        if self.in_flight.values().any(|known| *known == subject) || !is_settled || is_waiting {
            return false;
        }
        self.passing(id).not_before_ms = now_ms.saturating_add(RETRY_MS);
        let text = format!(
            "program {} moves from {source} to {target}: {why}",
            program.short()
        );
        self.tell_engine("move", source, text);
        let on = Target {
            program,
            generation: None,
        };
        self.give_once(subject, source.clone(), Action::Move { on, target });
        true
    }
}

/// The one instance of such a program.
pub(super) fn stray(program: ProgramId) -> InstanceId {
    InstanceId {
        of: ComponentId::new(STRAYS, &program.to_string()),
        ordinal: 0,
    }
}
