//! What people ask of the service.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use wayfare_fleet::app::AppSpec;
use wayfare_fleet::app::ask::{Ask, Mark, PlanAnswer, VersionStatus, WouldAnswer};
use wayfare_protocol::error::Failure;
use wayfare_scheduler::plan::{Action, Options};

use super::obstacles;
use super::pages::lines;
use super::state::{App, RollOut, Standing, Version};
use super::{Core, Effect, Input, Now, words};

/// Versions of one application that are kept; the oldest go first.
const VERSIONS_MAX: usize = 50;
const APPS_MAX: usize = 1_000;

impl Core {
    pub(super) fn asked(&mut self, ask: Ask) -> Result<Value, Failure> {
        if ask.is_change() && ask != Ask::Release {
            self.check_not_held()?;
        }
        match ask {
            Ask::Hold { for_ms, reason } => self.begin_hold(for_ms, reason),
            Ask::Release => self.release(),
            Ask::Plan { spec } => self.ask_plan(spec).map(value),
            Ask::Apply { spec, expects } | Ask::ApplyWhole { spec, expects } => self.ask_apply(spec, expects),
            Ask::Acquire { spec, holder, lasts } => self.acquire(spec, holder, lasts),
            Ask::Renew { application, holder } => self.renew(&application, holder),
            Ask::LetGo { application, holder } => self.let_go(&application, &holder),
            Ask::Status { application } => self.ask_status(application.as_deref()).map(value),
            Ask::StatusPage { application, from } => {
                self.status_page(application.as_deref(), from.as_ref()).map(value)
            }
            Ask::History { application } => self.ask_history(&application).map(value),
            Ask::HistoryPage { application, from } => self.history_page(&application, from).map(value),
            Ask::Revert { application, version } => self.ask_revert(&application, version),
            Ask::Pause { application } => self.set_standing(&application, Standing::Paused),
            Ask::Resume { application } => self.set_standing(&application, Standing::Running),
            Ask::Remove { application } => self.set_standing(&application, Standing::Removing),
            Ask::Scale {
                application,
                component,
                count,
            } => self.scale(&application, &component, count),
            Ask::Restart {
                application,
                component,
            } => self.restart(&application, component.as_deref()),
            Ask::Promote { application } => self.promote(&application),
            Ask::Halt { application } => self.halt(&application),
            Ask::Fail { application } => self.fail(&application),
            Ask::Cordon { engine } => self.set_mark(&engine, Some(Mark::Cordoned)),
            Ask::Drain { engine } => self.set_mark(&engine, Some(Mark::Draining)),
            Ask::Uncordon { engine } => self.set_mark(&engine, None),
            Ask::Left { engine } => Ok(self.left(&engine)),
            Ask::Forget { engine } => self.forget_engine(&engine),
            Ask::Programs { from } => Ok(value(self.programs_page(from))),
            Ask::Marks { from } => Ok(value(self.marks_page(from.as_ref()))),
            Ask::Take { .. }
            | Ask::Lacks { .. }
            | Ask::Put { .. }
            | Ask::Alarms { .. }
            | Ask::StandsBy { .. }
            | Ask::Events { .. }
            | Ask::DryRun { .. } => Err(bad("this is not the core's to answer".to_owned())),
        }
    }

    /// What an answer to that would be, and what would be decided at once. Nothing comes of it.
    pub fn would(&self, ask: Ask, by: Option<String>, now: Now) -> Result<serde_json::Value, Failure> {
        let mut core = self.clone();
        // What is due anyway does not follow from it.
        core.handle(Input::Tick, now);
        let (answer, effects) = core.ask(ask, by, now);
        let told = effects.into_iter().filter_map(|effect| match effect {
            Effect::Tell(decision) => Some(decision.text),
            _ => None,
        });
        let would = WouldAnswer {
            answer: answer?,
            would: lines(told.collect()),
        };
        Ok(serde_json::to_value(would).expect("plain data serialises"))
    }

    fn ask_plan(&self, mut spec: AppSpec) -> Result<PlanAnswer, Failure> {
        spec.check()?;
        self.keep_restarts(&mut spec);
        let app = self.state.apps.get(&spec.name);
        let changes = words::changes(app.and_then(App::spec), &spec);
        let applications = self.applications(Some(&spec));
        let plan = wayfare_scheduler::plan(&self.fleet(), &applications, Options::new(self.options.policy));
        let mut unplaced = obstacles::lines(&plan);
        let actions = plan.actions.iter().filter(|action| {
            let of = &action.instance().of;
            let component = spec.components.get(&of.component);
            let begins_later = component.is_some_and(|component| component.schedule.is_some());
            of.application == spec.name && !(begins_later && matches!(action, Action::Run { .. }))
        });
        Ok(PlanAnswer {
            serial: app.map_or(0, |app| app.serial),
            changes: lines(changes),
            actions: lines(actions.map(words::action).collect()),
            unplaced: lines(unplaced.remove(&spec.name).unwrap_or_default()),
            warnings: lines(self.empty_stages(&spec)),
            application: spec.name,
        })
    }

    fn ask_apply(&mut self, spec: AppSpec, expects: Option<u64>) -> Result<Value, Failure> {
        let name = spec.name.clone();
        let answer = self.apply(spec, expects)?;
        let app = self.state.apps.get_mut(&name);
        if app.is_some_and(App::is_peoples) {
            self.store_app(&name);
        }
        Ok(answer)
    }

    pub(super) fn apply(&mut self, mut spec: AppSpec, expects: Option<u64>) -> Result<Value, Failure> {
        spec.check()?;
        self.keep_restarts(&mut spec);
        let name = spec.name.clone();
        let known = self.state.apps.get(&name);
        let serial = known.map_or(0, |app| app.serial);
        if let Some(expects) = expects.filter(|expects| *expects != serial) {
            return Err(bad(format!(
                "application '{name}' has changed since it was planned (it is at serial {serial}, the plan was made at \
                 {expects}): plan again"
            )));
        }
        match known.map(|app| app.standing) {
            Some(Standing::Removing) => {
                return Err(bad(format!(
                    "application '{name}' is being removed: wait until it is gone"
                )));
            }
            None if self.state.apps.len() >= APPS_MAX => {
                return Err(bad(format!("there are {APPS_MAX} applications already")));
            }
            _ => {}
        }
        Ok(self.change_to(spec))
    }

    /// Makes this the current version, unless it is that already.
    pub(super) fn change_to(&mut self, spec: AppSpec) -> Value {
        let name = spec.name.clone();
        let known = self.state.apps.get(&name);
        if known.and_then(App::spec) == Some(&spec) {
            let version = known.map_or(0, |app| app.current);
            return json!({ "application": name, "version": version, "changed": false });
        }
        let changes = lines(words::changes(known.and_then(App::spec), &spec));
        let note = if known.is_none() {
            "new".to_owned()
        } else {
            changes.join("; ")
        };
        // What somebody has halted stands still until somebody promotes it, whatever is asked for meanwhile.
        let is_halted = self.roll_out_of(&name).is_some_and(|roll_out| roll_out.is_halted);
        let halted = is_halted.then(|| RollOut {
            is_halted,
            ..RollOut::default()
        });
        let version = self.add_version(&name, spec, note, halted);
        self.tell_app(
            "applied",
            &name,
            format!("version {version} of {name}: {}", changes.join("; ")),
        );
        json!({ "application": name, "version": version, "changed": true, "changes": changes })
    }

    /// The new version is wanted from now on; the one before is what to go back to.
    fn add_version(&mut self, name: &str, spec: AppSpec, note: String, roll_out: Option<RollOut>) -> u64 {
        let at_ms = self.now.wall_ms;
        let app = self.state.apps.entry(name.to_owned()).or_insert(App {
            versions: Vec::new(),
            current: 0,
            serial: 0,
            standing: Standing::Running,
            fallback: None,
            holders: BTreeMap::new(),
            ends_with_holders: false,
            roll_out: None,
        });
        let number = app.versions.last().map_or(1, |version| version.number + 1);
        let before = app.current;
        // While one is being rolled out, what is known to be good is what was there before it.
        app.fallback = app.fallback.or((before > 0).then_some(before));
        app.current = number;
        app.roll_out = roll_out;
        app.serial += 1;
        app.versions.push(Version {
            number,
            at_ms,
            note,
            by: self.asker.clone(),
            spec,
        });
        if app.versions.len() > VERSIONS_MAX {
            let kept = [Some(number), app.fallback];
            if let Some(oldest) = app
                .versions
                .iter()
                .position(|version| !kept.contains(&Some(version.number)))
            {
                app.versions.remove(oldest);
            }
        }
        self.progress_ms.insert(name.to_owned(), self.now.ms);
        self.try_all_anew(name);
        self.store_app(name);
        number
    }

    fn ask_revert(&mut self, name: &str, version: Option<u64>) -> Result<Value, Failure> {
        let app = self.app(name)?;
        if app.standing == Standing::Removing {
            return Err(bad(format!("application '{name}' is being removed")));
        }
        let earlier = || {
            app.versions
                .iter()
                .map(|v| v.number)
                .filter(|number| *number < app.current)
                .max()
        };
        let to = version
            .or_else(earlier)
            .ok_or_else(|| bad(format!("application '{name}' has no earlier version")))?;
        let Some(found) = app.version(to) else {
            let kept: Vec<String> = app
                .versions
                .iter()
                .map(|version| version.number.to_string())
                .collect();
            return Err(bad(format!(
                "application '{name}' has no version {to}; there are: {}",
                kept.join(", ")
            )));
        };
        if to == app.current {
            return Ok(json!({ "application": name, "version": to, "changed": false }));
        }
        let spec = found.spec.clone();
        let roll_out = RollOut::at_once(spec.staging.stages.len());
        let number = self.add_version(name, spec, format!("version {to} again"), Some(roll_out));
        self.tell_app(
            "reverted",
            name,
            format!("version {number} of {name} is version {to} again"),
        );
        Ok(json!({ "application": name, "version": number, "of": to, "changed": true }))
    }

    pub(super) fn set_standing(&mut self, name: &str, standing: Standing) -> Result<Value, Failure> {
        let app = self.app(name)?;
        let changed = app.standing != standing;
        if changed && app.standing == Standing::Removing {
            return Err(bad(format!("application '{name}' is being removed")));
        }
        if changed && let Some(app) = self.state.apps.get_mut(name) {
            app.standing = standing;
            app.serial += 1;
            // What stands still is not watched.
            if let Some(roll_out) = &mut app.roll_out {
                roll_out.well_since_ms = None;
            }
            self.store_app(name);
            let (kind, word) = match standing {
                Standing::Running => ("resumed", "is to run on"),
                Standing::Paused => ("paused", "is to pause"),
                Standing::Removing => ("removing", "is to be removed"),
            };
            self.progress_ms.insert(name.to_owned(), self.now.ms);
            self.tell_app(kind, name, format!("application {name} {word}"));
        }
        Ok(json!({ "application": name, "changed": changed }))
    }

    pub(super) fn ask_history(&self, name: &str) -> Result<Vec<VersionStatus>, Failure> {
        let app = self.app(name)?;
        let version = |version: &Version| VersionStatus {
            version: version.number,
            at_ms: version.at_ms,
            note: wayfare_protocol::reason::cut(version.note.clone()),
            by: version.by.clone(),
            current: version.number == app.current,
            modules: version
                .spec
                .components
                .iter()
                .map(|(name, component)| (name.clone(), component.module.digest))
                .collect(),
        };
        Ok(app.versions.iter().map(version).collect())
    }

    pub(super) fn app(&self, name: &str) -> Result<&App, Failure> {
        self.state.apps.get(name).ok_or_else(|| {
            let there: Vec<&str> = self.state.apps.keys().map(String::as_str).collect();
            let there = if there.is_empty() {
                "there are none: `wayfare app apply` makes one".to_owned()
            } else {
                format!("there are: {}", wayfare_protocol::reason::cut(there.join(", ")))
            };
            bad(format!("no application '{name}'; {there}"))
        })
    }
}

fn value<T: Serialize>(value: T) -> Value {
    serde_json::to_value(value).expect("plain data serialises")
}

pub(super) fn bad(reason: String) -> Failure {
    Failure::BadRequest { reason }
}
