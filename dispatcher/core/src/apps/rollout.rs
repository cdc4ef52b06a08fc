//! From one version to the next, a few instances at a time, and back where the next one does not become healthy.
//!
//! A roll-out is judged by what it has started: instances that the version before had not, or not so made. One that fits
//! nowhere, or that cannot be reached, was not started; it is waited for by nobody. And no instance is ended for one that
//! would fit nowhere: it runs on as it is until there is a place.

use std::collections::BTreeSet;

use wayfare_fleet::app::{AppSpec, ComponentSpec};
use wayfare_protocol::ids::{Digest, EngineId};
use wayfare_scheduler::application::{ComponentId, InstanceId};
use wayfare_scheduler::fleet::Fleet;
use wayfare_scheduler::plan::{Obstacle, Options, Plan};

use super::state::{Doing, Standing};
use super::{Core, Kept};

/// An instance that runs on because its successor would fit nowhere is looked at again after this.
const KEPT_MS: u64 = 2_000;
/// So many are tried one by one where not all fit at once.
const TRIED_MAX: usize = 8;

/// How one instance stands to what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stand {
    /// Of the wanted revision, and healthy or complete.
    Settled,
    /// Begun, and on its way there.
    Begun,
    /// Of another revision, on this engine.
    Outdated(EngineId),
    /// Of another revision, on an engine that cannot be asked now.
    OutOfReach,
    /// It runs nowhere, because it fits nowhere.
    Unplaced,
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
        for (component, wanted) in &spec.components {
            self.replace_some(&ComponentId::new(name, component), wanted);
        }
        self.judge_roll_out(name, &spec);
    }

    fn judge_roll_out(&mut self, name: &str, spec: &AppSpec) {
        let Some(app) = self.state.apps.get(name) else {
            return;
        };
        let Some(fallback) = app.fallback else { return };
        let current = app.current;
        let (mut are_settled, mut is_under_way, mut unplaced) = (true, false, 0);
        for (component, wanted) in &spec.components {
            for (id, stand) in self.stands(&ComponentId::new(name, component), wanted) {
                unplaced += usize::from(stand == Stand::Unplaced);
                if self.is_rolled_out(&id) {
                    are_settled &= matches!(stand, Stand::Settled | Stand::Unplaced);
                    is_under_way |= stand == Stand::Begun;
                }
            }
        }
        if are_settled {
            if let Some(app) = self.state.apps.get_mut(name) {
                app.fallback = None;
            }
            self.store_app(name);
            let (kind, but) = match unplaced {
                0 => ("rolled-out", String::new()),
                1 => ("updated", ", but for 1 instance that fits nowhere".to_owned()),
                more => ("updated", format!(", but for {more} instances that fit nowhere")),
            };
            let text = format!("version {current} of {name} runs and is healthy{but}");
            return self.tell_app(kind, name, text);
        }
        let now_ms = self.now.ms;
        if !is_under_way {
            // What was not started cannot fail.
            self.progress_ms.insert(name.to_owned(), now_ms);
            return;
        }
        let within_ms = spec.components.values().map(|c| c.update.within_ms).max();
        let within_ms = within_ms.unwrap_or(0);
        let since_ms = *self.progress_ms.entry(name.to_owned()).or_insert(now_ms);
        if now_ms.saturating_sub(since_ms) >= within_ms {
            let why = format!("nothing more became healthy within {within_ms} ms");
            self.roll_back(name, fallback, &why);
        }
    }

    /// Begins to replace as many outdated instances as the update policy allows.
    fn replace_some(&mut self, of: &ComponentId, wanted: &ComponentSpec) {
        let stands = self.stands(of, wanted);
        let begun = stands.iter().filter(|(_, stand)| *stand == Stand::Begun).count();
        let room = (wanted.update.at_a_time as usize).saturating_sub(begun);
        let mut outdated = Vec::new();
        for (id, stand) in stands {
            match stand {
                Stand::Outdated(engine) => outdated.push((id, engine)),
                Stand::Settled | Stand::Begun | Stand::OutOfReach | Stand::Unplaced => {
                    if let Some(passing) = self.passing.get_mut(&id) {
                        passing.kept = None;
                    }
                }
            }
        }
        let now_ms = self.now.ms;
        outdated.retain(|(id, _)| {
            let kept = self.passing.get(id).and_then(|passing| passing.kept.as_ref());
            kept.is_none_or(|kept| kept.until_ms <= now_ms)
        });
        outdated.truncate(room);
        if outdated.is_empty() {
            return;
        }
        let ids: BTreeSet<InstanceId> = outdated.iter().map(|(id, _)| id.clone()).collect();
        let fitting = self.that_can_be_replaced(&ids);
        for (id, engine) in outdated.into_iter().filter(|(id, _)| fitting.contains(id)) {
            self.passing(&id).kept = None;
            self.tell(
                "update",
                &id,
                Some(&engine),
                format!("{id} is replaced on {engine}: it is to be another revision"),
            );
            self.begin(&id, Doing::Kill { engine });
        }
    }

    /// Those whose end leaves no more instances without a place than there are; the others are kept for a while.
    fn that_can_be_replaced(&mut self, ids: &BTreeSet<InstanceId>) -> BTreeSet<InstanceId> {
        let applications = self.all_applications();
        let options = Options::new(self.options.policy);
        let plan = |fleet: &Fleet| wayfare_scheduler::plan(fleet, &applications, options);
        let without = |fleet: &Fleet, ids: &BTreeSet<InstanceId>| {
            let mut fleet = fleet.clone();
            fleet.running.retain(|running| !ids.contains(&running.instance));
            fleet
        };
        let mut fleet = self.fleet();
        let before = homeless(&plan(&fleet)).len();
        if homeless(&plan(&without(&fleet, ids))).len() <= before {
            return ids.clone();
        }
        let (mut fitting, mut kept) = (BTreeSet::new(), Vec::new());
        for id in ids.iter().take(TRIED_MAX) {
            let fewer = without(&fleet, &BTreeSet::from([id.clone()]));
            let after = plan(&fewer);
            if homeless(&after).len() <= before {
                fleet = fewer;
                fitting.insert(id.clone());
                continue;
            }
            let why = after
                .unplaced
                .iter()
                .find(|one| one.component == id.of && matches!(one.why, Obstacle::NoneFits(_)));
            let why = why.map_or_else(
                || "another would lose its place".to_owned(),
                |one| one.why.to_string(),
            );
            kept.push((id.clone(), why));
        }
        for (id, why) in kept {
            let until_ms = self.now.ms.saturating_add(KEPT_MS);
            let text = format!("{id} runs on as it is: what is to replace it has no place: {why}");
            let kept = Kept { until_ms, why };
            if self.passing(&id).kept.replace(kept).is_none() {
                self.tell("unplaced", &id, None, text);
            }
        }
        fitting
    }

    /// For each component of the application with instances that are kept, a line that says so.
    pub(super) fn kept(&self, name: &str, spec: &AppSpec) -> Vec<String> {
        let line = |component: &String, wanted: &ComponentSpec| {
            let of = ComponentId::new(name, component);
            let ids = instances(&of, wanted.count);
            let mut whys = ids.filter_map(|id| Some(&self.passing.get(&id)?.kept.as_ref()?.why));
            let why = whys.next()?;
            let count = 1 + whys.count();
            Some(format!("{of}, {count} to be replaced: {why}"))
        };
        let components = spec.components.iter();
        components
            .filter_map(|(component, wanted)| line(component, wanted))
            .collect()
    }

    fn stands(&self, of: &ComponentId, wanted: &ComponentSpec) -> Vec<(InstanceId, Stand)> {
        let revision = wanted.revision();
        let stand = |id: InstanceId| {
            let stand = self.stand(&id, revision);
            (id, stand)
        };
        instances(of, wanted.count).map(stand).collect()
    }

    fn stand(&self, id: &InstanceId, revision: Digest) -> Stand {
        // It ends by itself, and is made as is wanted then when its time comes: nobody waits for that.
        if self
            .state
            .wanted(id)
            .is_some_and(|wanted| wanted.schedule.is_some())
        {
            return Stand::Settled;
        }
        let instance = self.state.instances.get(id);
        let is_pending = instance.is_some_and(|instance| instance.pending.is_some());
        if self.homeless.contains(id) && !is_pending {
            return Stand::Unplaced;
        }
        let placed = instance.and_then(|instance| instance.placed.as_ref());
        let Some(placed) = placed.filter(|_| !is_pending) else {
            return Stand::Begun;
        };
        let is_healthy = placed.complete || self.passing.get(id).is_some_and(|passing| passing.is_healthy);
        match &placed.seat {
            Some(seat) if placed.revision != revision && self.can_be_asked(seat) => {
                Stand::Outdated(seat.clone())
            }
            Some(_) if placed.revision != revision => Stand::OutOfReach,
            Some(_) if is_healthy => Stand::Settled,
            _ => Stand::Begun,
        }
    }

    /// Whether an instance is something that the version before had not, or not so made.
    fn is_rolled_out(&self, id: &InstanceId) -> bool {
        let app = self.state.apps.get(&id.of.application);
        let before = app.and_then(|app| app.version(app.fallback?));
        let before = before.and_then(|version| version.spec.components.get(&id.of.component));
        let wanted = self.state.wanted(id);
        before.is_none_or(|before| {
            id.ordinal >= before.count || Some(before.revision()) != wanted.map(ComponentSpec::revision)
        })
    }

    /// Goes back because of one instance, if that is something that is being rolled out.
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
        // One of the old revision that ends meanwhile is no fault of the new one.
        let is_new = placed.map(|placed| placed.revision) == wanted && self.is_rolled_out(id);
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
                passing.try_anew();
            }
        }
        let text = format!("version {failed} of {name} is rolled back to {fallback}: {why}");
        self.tell_app("rolled-back", name, text);
    }
}

/// Instances that run nowhere because none of the engines fits.
pub(super) fn homeless(plan: &Plan) -> BTreeSet<InstanceId> {
    let none_fits = plan
        .unplaced
        .iter()
        .filter(|one| matches!(one.why, Obstacle::NoneFits(_)));
    let each = none_fits.flat_map(|one| {
        one.ordinals.iter().map(|ordinal| InstanceId {
            of: one.component.clone(),
            ordinal: *ordinal,
        })
    });
    each.collect()
}

fn instances(of: &ComponentId, count: u32) -> impl Iterator<Item = InstanceId> + '_ {
    (0..count).map(|ordinal| InstanceId {
        of: of.clone(),
        ordinal,
    })
}
