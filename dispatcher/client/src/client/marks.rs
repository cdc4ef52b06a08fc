//! Which engines are to get nothing new, and what is wrong. The acting dispatcher knows it, engines do not: a client that sends a program to an engine
//! asks it first. Where nobody acts, or one of an earlier release does, nothing is known.

use std::collections::BTreeMap;

use wayfare_protocol::dispatcher::LeaseState;
use wayfare_protocol::ids::EngineId;

use super::{ANSWER_TIMEOUT, Client};
use crate::app::alarms::{AlarmRecord, AlarmsPage};
use crate::app::ask::{Ask, Mark, MarksPage};
use crate::error::{AskError, CommandError};
use crate::fleet::EngineView;
use crate::order::{CommandOptions, Marked};

impl Client {
    /// Engines that are cordoned or being emptied.
    pub async fn marks(&self) -> Result<BTreeMap<EngineId, Mark>, CommandError> {
        let (mut marks, mut from) = (BTreeMap::new(), None);
        if !self.somebody_acts().await? {
            return Ok(marks);
        }
        loop {
            let page: MarksPage = match self.ask_apps(&Ask::Marks { from }, ANSWER_TIMEOUT).await {
                Ok(page) => page,
                Err(AskError::Closed) => return Err(CommandError::Closed),
                Err(error) => {
                    tracing::debug!(%error, "which engines are cordoned is not known");
                    return Ok(marks);
                }
            };
            marks.extend(page.marks);
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(marks),
            }
        }
    }

    /// What is wrong and stays so, as far as the acting dispatcher sees it.
    pub async fn alarms(&self) -> Result<Vec<AlarmRecord>, CommandError> {
        let mut alarms: Vec<AlarmRecord> = Vec::new();
        if !self.somebody_acts().await? {
            return Ok(alarms);
        }
        loop {
            let after = alarms.last().map(AlarmRecord::id);
            let page: AlarmsPage = match self.ask_apps(&Ask::Alarms { after }, ANSWER_TIMEOUT).await {
                Ok(page) => page,
                Err(AskError::Closed) => return Err(CommandError::Closed),
                Err(error) => {
                    tracing::debug!(%error, "which alarms stand is not known");
                    return Ok(alarms);
                }
            };
            let is_last = !page.more || page.alarms.is_empty();
            alarms.extend(page.alarms);
            if is_last {
                return Ok(alarms);
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
