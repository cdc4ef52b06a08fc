//! From one version to the next, a few instances at a time, and back where the next one does not become
//! healthy.
//!
//! A roll-out is judged by what it has started: instances that the version before had not, or not so made.
//! One that fits nowhere, or that cannot be reached, was not started; it is waited for by nobody. And no
//! instance is ended for one that would fit nowhere: it runs on as it is until there is a place.

use std::collections::BTreeSet;

use wayfare_fleet::app::staging::Staging;
use wayfare_fleet::app::{AppSpec, ComponentSpec};
use wayfare_scheduler::application::{ComponentId, InstanceId};
use wayfare_scheduler::fleet::Fleet;
use wayfare_scheduler::plan::Options;

use super::obstacles::{homeless, runs_nowhere};
use super::stand::{LeftOut, Stand};
use super::state::{Doing, RollOut, Standing};
use super::{Core, Kept};

/// An instance that runs on because its successor would fit nowhere is looked at again after this.
const KEPT_MS: u64 = 2_000;
/// So many are tried one by one where not all fit at once.
const TRIED_MAX: usize = 8;

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
            self.replace_some(&ComponentId::new(name, component), wanted, &spec.staging);
        }
        self.judge_roll_out(name, &spec);
    }

    fn judge_roll_out(&mut self, name: &str, spec: &AppSpec) {
        let Some(app) = self.state.apps.get(name) else {
            return;
        };
        let Some(fallback) = app.fallback else { return };
        let current = app.current;
        // By its stage alone: what is only not replaced now is still to come.
        let is_later = |core: &Self, stand: &Stand| match stand {
            Stand::Outdated(engine) | Stand::OutOfReach(engine) => {
                !core.has_reached(name, &spec.staging, engine)
            }
            Stand::AsBefore => true,
            _ => false,
        };
        let (mut is_any, mut is_all, mut are_well, mut is_under_way) = (false, true, Some(true), false);
        let mut left_out = LeftOut::default();
        for (component, wanted) in &spec.components {
            for (id, stand) in self.stands(&ComponentId::new(name, component), wanted) {
                left_out.count(&stand);
                if self.is_rolled_out(&id) {
                    is_any |= self.state.before(&id).is_some();
                    let is_settled = stand.is_settled();
                    is_all &= is_settled;
                    are_well = match stand {
                        _ if is_settled || is_later(self, &stand) => are_well,
                        Stand::Unjudged => are_well.filter(|are_well| !are_well),
                        _ => Some(false),
                    };
                    is_under_way |= stand.is_under_way();
                }
            }
        }
        // A version that replaces nothing has no stages.
        let is_last = !is_any || self.judge_stage(name, &spec.staging, are_well);
        if is_all && is_last {
            if let Some(app) = self.state.apps.get_mut(name) {
                (app.fallback, app.roll_out) = (None, None);
            }
            self.store_app(name);
            let kind = match left_out.unplaced {
                0 => "rolled-out",
                _ => "updated",
            };
            let but = left_out.words();
            let text = format!("version {current} of {name} runs and is healthy{but}");
            return self.tell_app(kind, name, text);
        }
        let now_ms = self.now.ms;
        if !is_under_way {
            // What was not started cannot fail.
            self.progress_ms.insert(name.to_owned(), now_ms);
            return;
        }
        // One that may take so long to be ready is not slow before.
        let within_ms = spec.components.values().map(|wanted| {
            let ready_ms = wanted.health.map_or(0, |health| health.within_ms);
            wanted.update.within_ms.max(ready_ms)
        });
        let within_ms = within_ms.max().unwrap_or(0);
        let since_ms = *self.progress_ms.entry(name.to_owned()).or_insert(now_ms);
        if now_ms.saturating_sub(since_ms) >= within_ms {
            let why = format!("nothing more became healthy within {within_ms} ms");
            self.roll_back(name, fallback, &why);
        }
    }

    /// Begins to replace as many outdated instances as the update policy allows.
    fn replace_some(&mut self, of: &ComponentId, wanted: &ComponentSpec, staging: &Staging) {
        let name = &of.application;
        let stands = self.stands(of, wanted);
        let begun = stands.iter().filter(|(_, stand)| stand.is_under_way()).count();
        // It takes a while to say: once for all, and only where there is something to replace.
        let is_any = stands
            .iter()
            .any(|(_, stand)| matches!(stand, Stand::Outdated(_)));
        let is_time = is_any && self.replaces_now(name, staging);
        let room = (wanted.update.at_a_time as usize).saturating_sub(begun);
        let mut outdated = Vec::new();
        for (id, stand) in stands {
            match stand {
                Stand::Outdated(engine) => {
                    if is_time && self.has_reached(name, staging, &engine) {
                        outdated.push((id, engine));
                    }
                }
                _ => {
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
        // Only those whose turn it is are asked: their time to hold runs from then on.
        outdated.truncate(room);
        outdated.retain(|(id, _)| !self.keeps_for_itself(id));
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
            if !staging.stages.is_empty()
                && let Some(instance) = self.state.instances.get_mut(&id)
            {
                instance.stays = Some(engine.clone());
            }
            self.begin(&id, Doing::Kill { engine });
        }
    }

    /// It asks not to be stopped now.
    fn keeps_for_itself(&mut self, id: &InstanceId) -> bool {
        let Some(reason) = self.holds(id) else {
            return false;
        };
        let why = format!("it asks not to be stopped now: {reason}");
        let until_ms = self.now.ms.saturating_add(KEPT_MS);
        let text = format!("{id} runs on as it is for a while: {why}");
        let kept = Kept { until_ms, why };
        if self.passing(id).kept.replace(kept).is_none() {
            self.tell("held", id, None, text);
        }
        true
    }

    /// Those whose end leaves no more instances without a place than there are; the others are kept for a
    /// while.
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
                .find(|one| one.component == id.of && runs_nowhere(&one.why));
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
            let ids = self.instances_wanted(&of, wanted);
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

    /// Whether an instance is something that the version before had not, or not so made.
    fn is_rolled_out(&self, id: &InstanceId) -> bool {
        let wanted = self.state.wanted(id).map(ComponentSpec::revision);
        let before = self.state.before(id);
        before.is_none_or(|before| Some(before.revision()) != wanted)
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

    /// Failures of an application's instances so far count no more: they are to be something else.
    pub(super) fn try_all_anew(&mut self, name: &str) {
        self.plan_at_ms = 0;
        for (id, passing) in &mut self.passing {
            if id.of.application == name {
                passing.try_anew();
            }
        }
    }

    pub(super) fn roll_back(&mut self, name: &str, fallback: u64, why: &str) {
        let Some(app) = self.state.apps.get_mut(name) else {
            return;
        };
        let failed = app.current;
        if let Some(version) = app.versions.iter_mut().find(|version| version.number == failed) {
            version.note = format!("rolled back: {why}");
        }
        app.current = fallback;
        let stages = app.spec().map_or(0, |spec| spec.staging.stages.len());
        (app.fallback, app.roll_out) = (None, Some(RollOut::at_once(stages)));
        app.serial += 1;
        self.progress_ms.remove(name);
        self.store_app(name);
        self.try_all_anew(name);
        let text = format!("version {failed} of {name} is rolled back to {fallback}: {why}");
        self.tell_app("rolled-back", name, text);
    }
}
