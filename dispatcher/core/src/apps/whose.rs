//! Which instance a program is, found without a look at all instances: these know their programs.
//!
//! What always holds: what stands here of the past counts no more, because the instance itself is asked
//! whether it still has that program.

use std::collections::BTreeMap;

use wayfare_protocol::ids::ProgramId;
use wayfare_scheduler::application::InstanceId;

use super::state::Instance;

/// Entries of the past that are kept beside as many as there are instances.
const PAST_MAX: usize = 1_024;

#[cfg(test)]
impl super::Core {
    /// Every program is found as a look at all instances finds it.
    pub(super) fn check_whose(&self) {
        let InstancesByProgram(expected) = InstancesByProgram::of(&self.state.instances);
        for program in self.whose.0.keys().chain(expected.keys()) {
            let found = self.whose.get(*program, &self.state.instances).map(|(id, _)| id);
            assert_eq!(found, expected.get(program), "{program}");
        }
    }
}

type Instances = BTreeMap<InstanceId, Instance>;

#[derive(Debug, Clone, Default)]
pub(super) struct InstancesByProgram(BTreeMap<ProgramId, InstanceId>);

impl InstancesByProgram {
    pub(super) fn of(instances: &Instances) -> Self {
        let placed = instances
            .iter()
            .filter_map(|(id, instance)| Some((instance.placed.as_ref()?.program, id.clone())));
        Self(placed.collect())
    }

    /// Takes in that an instance has changed.
    pub(super) fn changed(&mut self, id: &InstanceId, instances: &Instances) {
        let placed = instances.get(id).and_then(|instance| instance.placed.as_ref());
        if let Some(placed) = placed {
            self.0.insert(placed.program, id.clone());
        }
        if self.0.len() > 2 * instances.len() + PAST_MAX {
            *self = Self::of(instances);
        }
    }

    pub(super) fn get<'a>(
        &self,
        program: ProgramId,
        instances: &'a Instances,
    ) -> Option<(&'a InstanceId, &'a Instance)> {
        let found = instances.get_key_value(self.0.get(&program)?)?;
        let placed = found.1.placed.as_ref()?;
        (placed.program == program).then_some(found)
    }
}
