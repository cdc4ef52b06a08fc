//! Which engines are to get nothing new, what is wrong, and since when programs are there. The acting
//! dispatcher knows it, engines do not: a client that sends a program to an engine asks it first. Where
//! nobody acts, or one of an earlier release does, nothing is known.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wayfare_protocol::dispatcher::LeaseState;
use wayfare_protocol::ids::{EngineId, ProgramId};

use super::{ANSWER_TIMEOUT, Client};
use crate::app::alarms::{AlarmRecord, AlarmsPage};
use crate::app::ask::{Ask, Mark, MarksPage, SERVICE};
use crate::app::hold::HoldRecord;
use crate::app::programs::{ProgramAbout, ProgramsPage};
use crate::error::{AskError, CommandError};
use crate::fleet::EngineView;
use crate::order::{CommandOptions, Marked};

impl Client {
    /// Engines that are cordoned or being emptied.
    pub async fn marks(&self) -> Result<BTreeMap<EngineId, Mark>, CommandError> {
        let (mut marks, mut from) = (BTreeMap::new(), None);
        while let Some(page) = self.known::<MarksPage>(Ask::Marks { from }).await? {
            marks.extend(page.marks);
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        Ok(marks)
    }

    /// The hold that stands on the fleet, as far as the acting dispatcher knows.
    pub async fn hold(&self) -> Result<Option<HoldRecord>, CommandError> {
        let page = self.known::<MarksPage>(Ask::Marks { from: None }).await?;
        Ok(page.and_then(|page| page.hold))
    }

    /// Fails if the fleet is held: for what changes something that no engine is commanded to.
    pub async fn refuse_if_held(&self) -> Result<(), CommandError> {
        self.check_not_held("change").await
    }

    /// Fails if the fleet is held, for whatever does not only look. What a dispatcher decides it knows
    /// itself.
    pub(super) async fn check_not_held(&self, verb: &str) -> Result<(), CommandError> {
        if self.term.is_some() || verb == "snapshot" {
            return Ok(());
        }
        match self.hold().await? {
            Some(hold) => Err(CommandError::Held {
                hold: hold.to_string(),
            }),
            None => Ok(()),
        }
    }

    /// What is wrong and stays so, as far as the acting dispatcher sees it.
    pub async fn alarms(&self) -> Result<Vec<AlarmRecord>, CommandError> {
        let (mut alarms, mut after) = (Vec::new(), None);
        while let Some(page) = self.known::<AlarmsPage>(Ask::Alarms { after }).await? {
            alarms.extend(page.alarms);
            after = alarms.last().map(AlarmRecord::id).filter(|_| page.more);
            if after.is_none() {
                break;
            }
        }
        Ok(alarms)
    }

    /// What the acting dispatcher knows of programs; of each that it has seen. `None`: nobody acts who knows.
    pub async fn programs_about(&self) -> Result<Option<BTreeMap<ProgramId, ProgramAbout>>, CommandError> {
        let (mut programs, mut from) = (BTreeMap::new(), None);
        loop {
            let Some(page) = self.known::<ProgramsPage>(Ask::Programs { from }).await? else {
                return Ok((!programs.is_empty()).then_some(programs));
            };
            programs.extend(page.programs);
            from = page.next;
            if from.is_none() {
                return Ok(Some(programs));
            }
        }
    }

    /// What the acting dispatcher answers; `None`: nobody acts, or one of an earlier release that does not
    /// know.
    async fn known<T: DeserializeOwned>(&self, ask: Ask) -> Result<Option<T>, CommandError> {
        self.known_to(SERVICE, ask).await
    }

    /// The same of any of its services.
    pub(super) async fn known_to<T: DeserializeOwned>(
        &self,
        service: &str,
        ask: impl Serialize,
    ) -> Result<Option<T>, CommandError> {
        if !self.somebody_acts().await? {
            return Ok(None);
        }
        match self.ask_as(service, ask, ANSWER_TIMEOUT).await {
            Ok(answer) => Ok(Some(answer)),
            Err(AskError::Closed) => Err(CommandError::Closed),
            Err(error) => {
                tracing::debug!(%error, service, "this is not known");
                Ok(None)
            }
        }
    }

    /// Fails if an engine that was named may not be given something new.
    pub(super) async fn check_open(
        &self,
        mut view: EngineView,
        options: &CommandOptions,
    ) -> Result<EngineView, CommandError> {
        if options.marked == Marked::Take {
            return Ok(view);
        }
        view.mark = self.marks().await?.remove(&view.engine);
        let why = match view.mark {
            Some(Mark::Cordoned) => "is cordoned: it gets nothing new until `wayfare engine uncordon`",
            Some(Mark::Draining) => "is being emptied: it gets nothing new until `wayfare engine uncordon`",
            None if view.is_open() => return Ok(view),
            None => "is about to stop",
        };
        let engine = view.engine;
        Err(CommandError::EngineClosed { engine, why })
    }

    /// Whether a dispatcher acts, as far as the broker says.
    pub async fn somebody_acts(&self) -> Result<bool, CommandError> {
        let mut leases = self.watch_lease().await.ok_or(CommandError::Closed)?;
        Ok(leases
            .latest()
            .is_some_and(|lease| lease.state == LeaseState::Held))
    }
}

pub(super) fn mark_all(engines: &mut [EngineView], marks: &BTreeMap<EngineId, Mark>) {
    for view in engines {
        view.mark = marks.get(&view.engine).copied();
    }
}
