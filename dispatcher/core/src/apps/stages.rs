//! Roll-outs in stages: which instances are replaced now, when the next stage begins, and what people say to
//! it.
//!
//! ```text
//!  stage 0 --all of it is well--> watched for its time --> stage 1 --> ... --> all other engines --> the version is rolled out
//!     |                                |  promote: at once
//!     '--one fails, or fail------------'--> the version before          halt: nothing is replaced until promote
//! ```
//! Always: how far a roll-out is stands in its application's record, so that whoever acts goes on there. What
//! ends meanwhile on an engine that is not reached, or while nothing is replaced, is started as what it was.

use serde_json::{Value, json};
use wayfare_fleet::app::staging::{Stage, Staging};
use wayfare_fleet::app::{AppSpec, ComponentSpec};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::EngineId;
use wayfare_scheduler::application::InstanceId;

use super::Core;
use super::asked::bad;
use super::state::{App, Instance, RollOut};

impl Core {
    /// How far an application's roll-out is; `None`: none is under way. Going back is not done in stages.
    pub(super) fn roll_out_of(&self, name: &str) -> Option<RollOut> {
        let app = self.state.apps.get(name)?;
        app.fallback.map(|_| app.roll_out.unwrap_or_default())
    }

    /// Whether instances on engines that are reached are replaced now. Going back waits for no window.
    pub(super) fn replaces_now(&self, name: &str, staging: &Staging) -> bool {
        let app = self.state.apps.get(name);
        let roll_out = app.and_then(|app| app.roll_out).unwrap_or_default();
        !roll_out.is_halted && (roll_out.is_at_once || staging.opens_at(self.now.wall_ms).is_none())
    }

    /// Whether the stage that is under way, or one before it, has this engine.
    pub(super) fn has_reached(&self, name: &str, staging: &Staging, engine: &EngineId) -> bool {
        let roll_out = self.roll_out_of(name);
        roll_out.is_none_or(|roll_out| {
            staging.stages.is_empty() || staging.has_reached(roll_out.stage as usize, &self.engine(engine))
        })
    }

    /// It has ended, or is on its way, where the stage has not come: it is no part of the roll-out yet.
    pub(super) fn is_still_to_come(&self, id: &InstanceId) -> bool {
        let name = &id.of.application;
        let instance = self.state.instances.get(id);
        let app = self.state.apps.get(name);
        let (Some(instance), Some(spec)) = (instance, app.and_then(App::spec)) else {
            return false;
        };
        let was = instance.last_revision();
        let is_old = was.is_some() && was != self.state.wanted(id).map(ComponentSpec::revision);
        let pending = instance.pending.as_ref();
        let engine = pending.map(|pending| pending.doing.engine());
        let engine = engine.or(instance.seat());
        // What this stage has ended is to be started where it was.
        let is_reached = instance.stays.is_some()
            || engine.is_some_and(|engine| self.has_reached(name, &spec.staging, engine));
        is_old && !is_reached && !spec.staging.stages.is_empty()
    }

    /// What an instance is made of if it is started on this engine, where that is still what it was before:
    /// the roll-out under way has not come to that engine, or replaces nothing now.
    pub(super) fn is_made_of(
        &self,
        id: &InstanceId,
        instance: &Instance,
        engine: &EngineId,
    ) -> Option<ComponentSpec> {
        let name = &id.of.application;
        let wanted = self.state.wanted(id)?;
        let before = self.state.before(id)?;
        let was = instance.last_revision()?;
        let is_new = was == wanted.revision() || before.schedule.is_some() != wanted.schedule.is_some();
        let staging = &self.state.apps.get(name)?.spec()?.staging;
        let is_reached = self.replaces_now(name, staging) && self.has_reached(name, staging, engine);
        (!is_new && !is_reached).then(|| before.clone())
    }

    /// All that has been reached is well, or not any more; `None`: it was, and whoever acts since then does
    /// not know yet. Answers whether that was the last stage.
    pub(super) fn judge_stage(&mut self, name: &str, staging: &Staging, is_well: Option<bool>) -> bool {
        let wall_ms = self.now.wall_ms;
        let Some(app) = self.state.apps.get_mut(name) else {
            return false;
        };
        let before = app.roll_out.unwrap_or_default();
        let Some(stage) = staging.stages.get(before.stage as usize) else {
            return true;
        };
        let mut after = before;
        // Whoever acted before may have had a clock that was ahead.
        let since_ms = before.well_since_ms.map(|since_ms| since_ms.min(wall_ms));
        after.well_since_ms = match is_well {
            Some(true) => since_ms.or(Some(wall_ms)),
            Some(false) => None,
            None => before.well_since_ms,
        };
        let watched_ms = after
            .well_since_ms
            .filter(|_| is_well.is_some())
            .map(|since_ms| wall_ms.saturating_sub(since_ms));
        let is_over = watched_ms
            .zip(stage.wait_ms)
            .is_some_and(|(watched_ms, wait_ms)| watched_ms >= wait_ms);
        if is_over && !before.is_halted {
            after = before.next();
        }
        let is_next = after.stage != before.stage;
        if after != before {
            app.roll_out = Some(after);
            self.store_app(name);
            self.tell_stage(name, staging, before, after);
        }
        if is_next {
            self.try_all_anew(name);
        }
        false
    }

    fn tell_stage(&mut self, name: &str, staging: &Staging, before: RollOut, after: RollOut) {
        let of = staging.stages.len() + 1;
        let current = self.state.apps.get(name).map_or(0, |app| app.current);
        let text = match (after.stage != before.stage, after.well_since_ms) {
            (true, _) => format!("stage {} of {of} begins", after.stage + 1),
            (false, Some(_)) => format!("stage {} of {of} is well", after.stage + 1),
            (false, None) => return,
        };
        self.tell_app("stage", name, format!("version {current} of {name}: {text}"));
    }

    /// Goes on at once with the next stage, or with what was halted.
    pub(super) fn promote(&mut self, name: &str) -> Result<Value, Failure> {
        let app = self.rolling_out(name)?;
        let before = app.roll_out.unwrap_or_default();
        let after = match before.is_halted {
            true => RollOut {
                is_halted: false,
                ..before
            },
            false => before.next(),
        };
        let stages = app.spec().map_or(0, |spec| spec.staging.stages.len());
        if after.stage as usize > stages {
            return Err(bad(format!(
                "the last stage of the roll-out of '{name}' has begun already"
            )));
        }
        let word = match before.is_halted {
            true => "goes on",
            false => "goes on with the next stage",
        };
        self.set_roll_out(name, after, &format!("the roll-out of {name} {word}"));
        Ok(json!({ "application": name, "changed": true }))
    }

    /// Replaces nothing more for now.
    pub(super) fn halt(&mut self, name: &str) -> Result<Value, Failure> {
        let before = self.rolling_out(name)?.roll_out.unwrap_or_default();
        let after = RollOut {
            is_halted: true,
            ..before
        };
        if after != before {
            self.set_roll_out(name, after, &format!("the roll-out of {name} is halted"));
        }
        Ok(json!({ "application": name, "changed": after != before }))
    }

    /// It has failed, says somebody.
    pub(super) fn fail(&mut self, name: &str) -> Result<Value, Failure> {
        let fallback = self.rolling_out(name)?.fallback;
        if let Some(fallback) = fallback {
            let by = self.asker.clone().unwrap_or_else(|| "somebody".into());
            self.roll_back(name, fallback, &format!("{by} has said so"));
        }
        Ok(json!({ "application": name, "changed": true }))
    }

    fn rolling_out(&self, name: &str) -> Result<&App, Failure> {
        let app = self.app(name)?;
        match app.fallback {
            Some(_) => Ok(app),
            None => Err(bad(format!("no roll-out of '{name}' is under way"))),
        }
    }

    fn set_roll_out(&mut self, name: &str, roll_out: RollOut, text: &str) {
        if let Some(app) = self.state.apps.get_mut(name) {
            app.roll_out = Some(roll_out);
        }
        // What failed as it was before is tried as what it is to be.
        self.try_all_anew(name);
        // What was not replaced meanwhile was not slow.
        self.progress_ms.insert(name.to_owned(), self.now.ms);
        self.store_app(name);
        self.tell_app("stage", name, text.to_owned());
    }

    /// Stages that no engine belongs to: nothing is replaced in these, so nothing is tried.
    pub(super) fn empty_stages(&self, spec: &AppSpec) -> Vec<String> {
        let stages = spec.staging.stages.iter().enumerate();
        let empty = stages.filter(|(_, stage)| {
            let mut engines = self.engines.keys().map(|id| self.engine(id));
            !engines.any(|engine| stage.includes(&engine))
        });
        let line = |(number, stage): (usize, &Stage)| {
            let labels: Vec<String> = stage.labels.iter().map(ToString::to_string).collect();
            format!(
                "stage {} tries nothing: no engine is labelled {}",
                number + 1,
                labels.join(", ")
            )
        };
        empty.map(line).collect()
    }

    /// How far a roll-out is, and what it waits for, as people read it.
    pub(super) fn roll_out_words(&self, app: &App) -> Option<String> {
        app.fallback?;
        let staging = &app.spec()?.staging;
        let roll_out = app.roll_out.unwrap_or_default();
        let mut words = Vec::new();
        if !staging.stages.is_empty() {
            words.push(format!(
                "stage {} of {}",
                roll_out.stage + 1,
                staging.stages.len() + 1
            ));
        }
        if roll_out.is_halted {
            words.push("halted".to_owned());
        }
        let stage = staging.stages.get(roll_out.stage as usize);
        if let (Some(since_ms), Some(stage)) = (roll_out.well_since_ms, stage) {
            words.push(match stage.wait_ms {
                None => "well, waits to be promoted".to_owned(),
                Some(wait_ms) => {
                    let left_ms = since_ms.saturating_add(wait_ms).saturating_sub(self.now.wall_ms);
                    format!("well, the next stage begins in {} s", left_ms.div_ceil(1_000))
                }
            });
        }
        let opens_ms = staging.opens_at(self.now.wall_ms);
        if let Some(opens_ms) = opens_ms.filter(|_| !roll_out.is_at_once) {
            let left_ms = opens_ms.saturating_sub(self.now.wall_ms);
            words.push(format!("its window opens in {} min", left_ms.div_ceil(60_000)));
        }
        (!words.is_empty()).then(|| words.join(", "))
    }
}

impl RollOut {
    fn next(self) -> Self {
        Self {
            stage: self.stage + 1,
            well_since_ms: None,
            ..self
        }
    }

    /// Of a version that goes back: to all engines, whatever the time.
    pub fn at_once(stages: usize) -> Self {
        Self {
            stage: u32::try_from(stages).unwrap_or(u32::MAX),
            is_at_once: true,
            ..Self::default()
        }
    }
}
