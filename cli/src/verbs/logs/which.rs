//! Which programs are meant, of those that run and of those of which only lines are left.

use std::time::Duration;

use tokio::time::timeout;
use wayfare_client::app::ask::AppStatus;
use wayfare_client::stored_logs::{LinesWanted, StoredEnd, StoredProgram};
use wayfare_client::{ANSWER_TIMEOUT, AskError, Client, CommandError, LookupError, ProgramView};
use wayfare_protocol::ids::ProgramId;

use super::GONE;
use super::printing::badly;
use crate::fail::{Fail, Result};
use crate::output::Output;

/// Between two looks at whether an application is still wanted.
const WANTED_PERIOD: Duration = Duration::from_secs(5);

/// A program whose lines are to be shown.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) program: ProgramId,
    /// As people are told of it.
    pub(super) label: String,
    name: String,
    /// Of an application: `climate/avg/0`.
    pub(super) instance: Option<String>,
    /// Its engine can be asked.
    pub(super) is_there: bool,
    /// The dispatcher keeps lines of it.
    pub(super) is_stored: bool,
    end: StoredEnd,
}

impl Source {
    /// How it ended, unless well or not at all.
    pub(super) fn how_it_ended(&self) -> Option<String> {
        match &self.end {
            StoredEnd::None => None,
            StoredEnd::Ended { state } => badly(state),
            StoredEnd::Gone => Some(GONE.to_owned()),
        }
    }
}

/// The fleet, and the acting dispatcher's store if there is one.
#[derive(Debug, Clone)]
pub(super) struct Store {
    fleet: Client,
    has_store: bool,
    pub(super) output: Output,
}

impl Store {
    pub(super) async fn of(fleet: &Client, output: Output) -> Result<Self> {
        let mut store = Self {
            fleet: fleet.clone(),
            has_store: fleet.somebody_acts().await?,
            output,
        };
        // One of an earlier release keeps no logs.
        let probe = LinesWanted::of(ProgramId::random());
        store.has_store = store.has_store && store.fleet.stored_lines(&probe, ANSWER_TIMEOUT).await.is_ok();
        Ok(store)
    }

    pub(super) fn fleet(&self) -> &Client {
        &self.fleet
    }

    /// The programs that `wanted` names: a program, an application, a component or an instance. `previous`:
    /// those before them.
    pub(super) async fn find(&self, wanted: &str, previous: bool) -> Result<Vec<Source>> {
        let found = self.find_current(wanted).await?;
        self.or_before(found, previous).await
    }

    /// The same of an application, whatever else has its name.
    pub(super) async fn find_app(&self, application: &str, previous: bool) -> Result<Vec<Source>> {
        let found = self.instances(application).await?;
        if found.is_empty() {
            let message = format!("no application '{application}' with instances");
            return Err(Fail::new("no-application", message).hint("`wayfare app ls` lists them"));
        }
        self.or_before(found, previous).await
    }

    async fn or_before(&self, found: Vec<Source>, previous: bool) -> Result<Vec<Source>> {
        if !previous {
            return Ok(found);
        }
        let mut earlier = Vec::new();
        for source in found {
            let mut stored = self.stored(&source.name).await?;
            stored.retain(|stored| stored.name == source.name && stored.program != source.program);
            let Some(latest) = stored.into_iter().max_by_key(|stored| stored.first_ms) else {
                let message = format!(
                    "of '{}' no program before {} is kept",
                    source.label,
                    source.program.short()
                );
                return Err(Fail::new("no-program", message));
            };
            let views = self.fleet.programs().await?;
            earlier.push(self.source(latest.program, views.iter(), Some(latest), source.instance));
        }
        Ok(earlier)
    }

    async fn find_current(&self, wanted: &str) -> Result<Vec<Source>> {
        // What has been published a moment ago is waited for.
        let missing = match self.fleet.program(wanted).await {
            Ok(view) if is_exact(&view, wanted) => return Ok(vec![self.running(&view).await?]),
            Ok(view) => Ok(view),
            Err(CommandError::Lookup(error)) => Err(error),
            Err(error) => return Err(error.into()),
        };
        let instances = self.instances(wanted).await?;
        if !instances.is_empty() {
            return Ok(instances);
        }
        let stored = self.stored(wanted).await?;
        let exact: Vec<&StoredProgram> = stored
            .iter()
            .filter(|stored| stored.name == wanted || stored.program.to_string().starts_with(wanted))
            .collect();
        if let Some(latest) = exact.into_iter().max_by_key(|stored| stored.last_ms) {
            return Ok(vec![self.source(
                latest.program,
                [].iter(),
                Some(latest.clone()),
                None,
            )]);
        }
        match (missing, stored.as_slice()) {
            (Ok(view), _) => Ok(vec![self.running(&view).await?]),
            (Err(LookupError::NoProgram { .. }), [one]) => {
                Ok(vec![self.source(one.program, [].iter(), Some(one.clone()), None)])
            }
            (Err(error), _) => Err(CommandError::from(error).into()),
        }
    }

    async fn running(&self, view: &ProgramView) -> Result<Source> {
        let id = view.status.program.to_string();
        let stored = self.stored(&id).await?.pop();
        Ok(self.source(view.status.program, std::iter::once(view), stored, None))
    }

    /// Of an application, a component or an instance.
    async fn instances(&self, wanted: &str) -> Result<Vec<Source>> {
        let mut parts = wanted.split('/');
        let application = parts.next().unwrap_or_default();
        let mut sources = Vec::new();
        let Some(status) = self.application(application).await? else {
            return Ok(sources);
        };
        let views = self.fleet.programs().await?;
        let is_wanted = |instance: &str| instance == wanted || instance.starts_with(&format!("{wanted}/"));
        for instance in status.instances {
            if !is_wanted(&instance.instance) {
                continue;
            }
            let name = program_name(&instance.instance);
            let stored = self.stored(&name).await?;
            let mut stored: Vec<_> = stored.into_iter().filter(|stored| stored.name == name).collect();
            stored.sort_by_key(|stored| stored.last_ms);
            let latest = stored.last().map(|stored| stored.program);
            let Some(program) = instance.program.or(latest) else {
                continue;
            };
            let stored = stored.into_iter().find(|stored| stored.program == program);
            sources.push(self.source(program, views.iter(), stored, Some(instance.instance)));
        }
        Ok(sources)
    }

    async fn application(&self, name: &str) -> Result<Option<AppStatus>> {
        if !self.has_store || name.is_empty() {
            return Ok(None);
        }
        match self.fleet.app_status(Some(name), ANSWER_TIMEOUT).await {
            Ok(mut statuses) => Ok(statuses.pop()),
            Err(AskError::Failed(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn source<'a>(
        &self,
        program: ProgramId,
        views: impl Iterator<Item = &'a ProgramView>,
        stored: Option<StoredProgram>,
        instance: Option<String>,
    ) -> Source {
        let view = { views }.find(|view| view.status.program == program);
        let name = match (view, &stored) {
            (Some(view), _) => view.status.name.clone(),
            (None, Some(stored)) => stored.name.clone(),
            (None, None) => instance.as_deref().map(program_name).unwrap_or_default(),
        };
        let end = match (view.map(|view| &view.status.state), &stored) {
            (Some(state), _) if state.is_ended() => StoredEnd::Ended { state: state.clone() },
            (Some(_), _) => StoredEnd::None,
            (None, Some(stored)) => stored.end.clone(),
            (None, None) => StoredEnd::None,
        };
        Source {
            program,
            label: match (&instance, name.is_empty()) {
                (Some(instance), _) => instance.clone(),
                (None, true) => program.short(),
                (None, false) => name.clone(),
            },
            name,
            instance,
            is_there: view.is_some(),
            is_stored: stored.is_some(),
            end,
        }
    }

    async fn stored(&self, wanted: &str) -> Result<Vec<StoredProgram>> {
        match self.has_store {
            true => Ok(self.fleet.stored_programs(wanted, ANSWER_TIMEOUT).await?),
            false => Ok(Vec::new()),
        }
    }

    /// Waits for the program that takes an instance's place; `None` once the instance is not wanted any more.
    pub(super) async fn successor(&self, source: &Source) -> Result<Option<Source>> {
        let instance = source.instance.clone().unwrap_or_default();
        let mut seen = 0;
        loop {
            let changed = timeout(WANTED_PERIOD, self.fleet.changed(&mut seen)).await;
            if let Ok(changed) = changed {
                changed?;
            }
            let views = self.fleet.programs().await?;
            let is_successor = |view: &&ProgramView| {
                let status = &view.status;
                status.name == source.name && status.program != source.program && !status.state.is_ended()
            };
            if let Some(view) = views.iter().find(is_successor) {
                return Ok(Some(self.source(
                    view.status.program,
                    views.iter(),
                    None,
                    Some(instance),
                )));
            }
            // It may begin anew under its own id.
            let again =
                |view: &&ProgramView| view.status.program == source.program && !view.status.state.is_ended();
            if views.iter().any(|view| again(&view)) {
                return Ok(Some(source.clone()));
            }
            let application = instance.split('/').next().unwrap_or_default();
            let wanted = self.application(application).await?;
            if !wanted.is_some_and(|status| status.instances.iter().any(|one| one.instance == instance)) {
                return Ok(None);
            }
        }
    }
}

/// What the instance `climate/avg/0` is called as a program.
pub(super) fn program_name(instance: &str) -> String {
    instance.replace('/', "-")
}

fn is_exact(view: &ProgramView, wanted: &str) -> bool {
    view.status.name == wanted || view.status.program.to_string().starts_with(wanted)
}
