//! From one version to the next, a few instances at a time, and back where the next one does not become healthy.

use wayfare_protocol::ids::{Digest, EngineId};
use wayfare_scheduler::application::{ComponentId, InstanceId};

use super::Core;
use super::state::{Doing, Standing};
use crate::app::ComponentSpec;

/// How one instance stands to what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stand {
    /// Of the wanted revision, and healthy or complete.
    Settled,
    /// On its way there.
    Settling,
    /// Of another revision, on this engine.
    Outdated(EngineId),
}

impl Core {
    pub(super) fn roll_out(&mut self) {
        let names: Vec<String> = self.state.apps.keys().cloned().collect();
        for name in names {
            self.roll_out_one(&name);
        }
    }

    fn roll_out_one(&mut self, name: &str) {
        let Some(app) = self.state.apps.get(name) else {
            return;
        };
        let (Some(spec), Standing::Running) = (app.spec().cloned(), app.standing) else {
            return;
        };
        let mut all_settled = true;
        for (component, wanted) in &spec.components {
            let of = ComponentId::new(name, component);
            all_settled &= self.replace_some(&of, wanted);
        }
        let Some(app) = self.state.apps.get(name) else {
            return;
        };
        let Some(fallback) = app.fallback else { return };
        let current = app.current;
        if all_settled {
            if let Some(app) = self.state.apps.get_mut(name) {
                app.fallback = None;
            }
            self.store_app(name);
            self.tell_app(
                "rolled-out",
                name,
                format!("version {current} of {name} runs and is healthy"),
            );
            return;
        }
        let within_ms = spec
            .components
            .values()
            .map(|c| c.update.within_ms)
            .max()
            .unwrap_or(0);
        let now_ms = self.now.ms;
        let since_ms = *self.progress_ms.entry(name.to_owned()).or_insert(now_ms);
        if now_ms.saturating_sub(since_ms) >= within_ms {
            self.roll_back(
                name,
                fallback,
                &format!("nothing more became healthy within {within_ms} ms"),
            );
        }
    }

    /// Begins to replace as many outdated instances as the update policy allows; tells whether nothing is left to do.
    fn replace_some(&mut self, of: &ComponentId, wanted: &ComponentSpec) -> bool {
        let revision = wanted.revision();
        let stands: Vec<(InstanceId, Stand)> = (0..wanted.count)
            .map(|ordinal| InstanceId {
                of: of.clone(),
                ordinal,
            })
            .map(|id| {
                let stand = self.stand(&id, revision);
                (id, stand)
            })
            .collect();
        let settling = stands
            .iter()
            .filter(|(_, stand)| *stand == Stand::Settling)
            .count();
        let room = (wanted.update.at_a_time as usize).saturating_sub(settling);
        let outdated = stands.iter().filter_map(|(id, stand)| match stand {
            Stand::Outdated(engine) => Some((id.clone(), engine.clone())),
            Stand::Settled | Stand::Settling => None,
        });
        for (id, engine) in outdated.take(room) {
            self.tell(
                "update",
                &id,
                Some(&engine),
                format!("{id} is replaced on {engine}: it is to be another revision"),
            );
            self.begin(&id, Doing::Kill { engine });
        }
        stands.iter().all(|(_, stand)| *stand == Stand::Settled)
    }

    fn stand(&self, id: &InstanceId, revision: Digest) -> Stand {
        let Some(instance) = self.state.instances.get(id) else {
            return Stand::Settling;
        };
        let (Some(placed), None) = (&instance.placed, &instance.pending) else {
            return Stand::Settling;
        };
        let is_healthy = placed.complete || self.passing.get(id).is_some_and(|passing| passing.is_healthy);
        match &placed.seat {
            Some(seat) if placed.revision != revision && self.can_be_asked(seat) => {
                Stand::Outdated(seat.clone())
            }
            Some(_) if placed.revision == revision && is_healthy => Stand::Settled,
            _ => Stand::Settling,
        }
    }

    /// Goes back because of one instance, if its application is being rolled out.
    pub(super) fn roll_back_for(&mut self, id: &InstanceId, why: &str) -> bool {
        let name = &id.of.application;
        let Some(fallback) = self.state.apps.get(name).and_then(|app| app.fallback) else {
            return false;
        };
        let placed = self
            .state
            .instances
            .get(id)
            .and_then(|instance| instance.placed.as_ref());
        let wanted = self.state.wanted(id).map(ComponentSpec::revision);
        let is_new = placed.map(|placed| placed.revision) == wanted;
        // One of the old revision that ends meanwhile is no fault of the new one.
        if is_new {
            self.roll_back(&name.clone(), fallback, why);
        }
        is_new
    }

    fn roll_back(&mut self, name: &str, fallback: u64, why: &str) {
        let Some(app) = self.state.apps.get_mut(name) else {
            return;
        };
        let failed = app.current;
        if let Some(version) = app.versions.iter_mut().find(|version| version.number == failed) {
            version.note = format!("rolled back: {why}");
        }
        app.current = fallback;
        app.fallback = None;
        app.serial += 1;
        self.progress_ms.remove(name);
        self.store_app(name);
        for (id, passing) in &mut self.passing {
            if id.of.application == name {
                (passing.failures, passing.not_before_ms) = (0, 0);
            }
        }
        let text = format!("version {failed} of {name} is rolled back to {fallback}: {why}");
        self.tell_app("rolled-back", name, text);
    }
}
