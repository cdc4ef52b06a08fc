//! Engines that are about to stop: they are emptied as if drained, for as long as they wait, and told how
//! much is left.

use wayfare_protocol::ids::{EngineId, OperationId};

use super::{Core, Effect};

impl Core {
    /// Under which id an engine asks to be emptied, if it does.
    pub(super) fn leaving(&self, engine: &EngineId) -> Option<OperationId> {
        self.engines.get(engine)?.leaving()
    }

    /// Tells engines that are about to stop how much is still to go, whenever that has changed.
    pub(super) fn see_off(&mut self) {
        let leaving = self.engines.iter();
        let leaving: Vec<_> = leaving
            .filter_map(|(engine, watched)| Some((engine.clone(), watched.leaving()?)))
            .collect();
        for (engine, request) in leaving {
            let left = self.still_to_go(&engine);
            let Some(watched) = self.engines.get_mut(&engine) else {
                continue;
            };
            if watched.seen_off.replace((request, left)) == Some((request, left)) {
                continue;
            }
            self.effects.push(Effect::Left {
                engine,
                request,
                left,
            });
        }
    }

    /// Instances that can leave an engine, and have not left it yet.
    fn still_to_go(&self, engine: &EngineId) -> usize {
        let instances = self.state.instances.iter().filter(|(id, instance)| {
            instance.is_alive_on(engine)
                && !self.obstacles.is_rooted(id)
                && instance.home.as_ref() != Some(engine)
        });
        instances.count()
    }
}
