//! Applications and their instances as people are shown them.

use wayfare_fleet::app::ComponentSpec;
use wayfare_fleet::app::ask::{AppStatus, InstanceStatus};
use wayfare_protocol::error::Failure;
use wayfare_scheduler::application::{ComponentId, InstanceId};

use super::Core;
use super::pages::lines;
use super::schedules::rests;
use super::state::{App, Doing, Instance, Standing};
use super::watched::Health;

impl Core {
    pub(super) fn ask_status(&self, application: Option<&str>) -> Result<Vec<AppStatus>, Failure> {
        let whole = |(name, app): (&String, &App)| AppStatus {
            instances: self
                .instances_of(name, app)
                .iter()
                .map(|id| self.instance_status(id))
                .collect(),
            ..self.app_header(name, app)
        };
        Ok(self.wanted_apps(application)?.map(whole).collect())
    }

    /// One application, or all.
    pub(super) fn wanted_apps<'a>(
        &'a self,
        application: Option<&'a str>,
    ) -> Result<impl Iterator<Item = (&'a String, &'a App)>, Failure> {
        if let Some(name) = application {
            self.app(name)?;
        }
        let apps = self.state.apps.iter();
        Ok(apps.filter(move |(name, _)| application.is_none_or(|wanted| wanted == *name)))
    }

    /// Its status without its instances.
    pub(super) fn app_header(&self, name: &str, app: &App) -> AppStatus {
        let state = match (app.standing, app.fallback) {
            (Standing::Removing, _) => "removing",
            (Standing::Paused, _) => "paused",
            (Standing::Running, Some(_)) => "updating",
            (Standing::Running, None) => "running",
        };
        let mut unplaced = self.obstacles.lines_of(name).to_vec();
        unplaced.extend(app.spec().into_iter().flat_map(|spec| self.kept(name, spec)));
        AppStatus {
            application: name.to_owned(),
            version: app.current,
            serial: app.serial,
            state: state.to_owned(),
            roll_out: self.roll_out_words(app),
            instances: Vec::new(),
            unplaced: lines(unplaced),
            holders: self.holders_of(name),
        }
    }

    /// Those that are there and those that are wanted, in order.
    pub(super) fn instances_of(&self, name: &str, app: &App) -> Vec<InstanceId> {
        let mut ids: Vec<InstanceId> = self
            .state
            .instances
            .keys()
            .filter(|id| id.of.application == name)
            .cloned()
            .collect();
        if let (Some(spec), true) = (app.spec(), app.standing != Standing::Removing) {
            for (component, wanted) in &spec.components {
                let of = ComponentId::new(name, component);
                ids.extend(self.instances_wanted(&of, wanted));
            }
        }
        ids.sort();
        ids.dedup();
        ids
    }

    pub(super) fn instance_status(&self, id: &InstanceId) -> InstanceStatus {
        let instance = self.state.instances.get(id).cloned().unwrap_or_default();
        let component = self.state.wanted(id);
        let is_scheduled = component.is_some_and(|component| rests(component, &instance));
        let next_ms = component
            .filter(|_| is_scheduled)
            .and_then(|component| component.schedule.as_ref()?.times().ok()?.after(self.now.wall_ms));
        let state = match is_scheduled {
            true => "scheduled".to_owned(),
            false => self.instance_word(id, &instance),
        };
        let wanted = component.map(ComponentSpec::revision);
        let placed = instance.placed;
        let status = placed.as_ref().and_then(|placed| self.status(placed.program));
        let checkpoint = placed.as_ref().and_then(|placed| placed.checkpoint);
        InstanceStatus {
            instance: id.to_string(),
            state,
            program: placed.as_ref().map(|placed| placed.program),
            engine: placed.as_ref().and_then(|placed| placed.seat.clone()),
            generation: placed.as_ref().map(|placed| placed.generation.0),
            // It will be, when its time comes.
            current: is_scheduled || placed.as_ref().map(|placed| placed.revision) == wanted,
            healthy: is_scheduled || self.passing.get(id).is_some_and(|passing| passing.is_healthy),
            away: self.is_away(id),
            health: status.and_then(|status| status.health),
            hold: status.and_then(|status| status.hold.clone()),
            next_ms,
            checkpoint_at_ms: checkpoint.map(|point| point.at_ms),
            checkpoint_bytes: checkpoint.map(|point| point.snapshot.bytes),
        }
    }

    fn instance_word(&self, id: &InstanceId, instance: &Instance) -> String {
        let now_ms = self.now.ms;
        if let Some(pending) = &instance.pending {
            return match &pending.doing {
                Doing::Move { target, .. } => format!("moving to {target}"),
                other => other.word().to_owned(),
            };
        }
        let wait_ms = self
            .passing
            .get(id)
            .map_or(0, |passing| passing.not_before_ms.saturating_sub(now_ms));
        match &instance.placed {
            Some(placed) if placed.complete => "complete".to_owned(),
            Some(placed) => match (self.status(placed.program), &placed.seat) {
                (Some(status), Some(_)) => status.state.word().to_owned(),
                (None, Some(seat)) if self.can_be_asked(seat) => "unknown".to_owned(),
                (None, Some(seat)) if self.health(seat) != Health::Lost => "engine silent".to_owned(),
                (None, Some(_)) => "engine lost".to_owned(),
                (_, None) if wait_ms > 0 => format!("waiting {wait_ms} ms"),
                (_, None) => "unplaced".to_owned(),
            },
            None if wait_ms > 0 => format!("waiting {wait_ms} ms"),
            None => "unplaced".to_owned(),
        }
    }
}
