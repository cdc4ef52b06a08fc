//! Choosing an engine for a program that may run anywhere: one that answers. A retained status may be of an
//! engine that lost power together with the broker, and says that it is online for ever. So what is only
//! retained is asked for, all at once; the best engine is taken as soon as it has answered, and those that
//! stay silent are passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use wayfare_protocol::command::ProgramSpec;
use wayfare_protocol::ids::EngineId;

use super::Client;
use super::marks::mark_all;
use crate::app::ask::Mark;
use crate::error::CommandError;
use crate::fleet::{EngineView, Heard};
use crate::order::{self, CommandOptions, Offline};

/// How long an engine may take to say that it is there, before another is taken.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// Silent engines that an error names.
const SILENT_SHOWN_MAX: usize = 5;

impl Client {
    /// The engine for a program that may run anywhere. While engines are silent that could take it, and
    /// nobody else can, they are asked again until the time limit.
    pub(super) async fn choose(
        &self,
        spec: &ProgramSpec,
        options: &CommandOptions,
    ) -> Result<EngineView, CommandError> {
        let deadline = Instant::now() + options.time_limit;
        let mut silent = BTreeSet::new();
        let marks = self.marks().await?;
        loop {
            let mut seen = self.inner.news.borrow().fleet_version;
            let mut fleet = self.fleet().await?;
            mark_all(&mut fleet.engines, &marks);
            let mut there = fleet.clone();
            there
                .engines
                .retain(|view| view.heard == Heard::Live || !silent.contains(&view.engine));
            match order::choose(&there, spec) {
                Ok(chosen) if chosen.heard == Heard::Live => return Ok(chosen),
                Err(error) if order::choose(&fleet, spec).is_err() => {
                    if options.offline == Offline::Fail {
                        return Err(error);
                    }
                    match timeout_at(deadline, self.changed(&mut seen)).await {
                        Ok(changed) => changed?,
                        Err(_) => return Err(error),
                    }
                }
                Err(error) if Instant::now() >= deadline => return Err(blame(error, &silent)),
                Ok(_) | Err(_) => silent = self.ask_until_chosen(spec, &silent, &marks).await?,
            }
        }
    }

    /// Asks all engines; returns as soon as the best of them has answered, or with those that have not.
    async fn ask_until_chosen(
        &self,
        spec: &ProgramSpec,
        silent: &BTreeSet<EngineId>,
        marks: &BTreeMap<EngineId, Mark>,
    ) -> Result<BTreeSet<EngineId>, CommandError> {
        let mut poll = std::pin::pin!(self.request_status_reports(ANSWER_TIMEOUT));
        loop {
            let mut seen = self.inner.news.borrow().fleet_version;
            let mut fleet = self.fleet().await?;
            mark_all(&mut fleet.engines, marks);
            let best = order::choose(&fleet, spec);
            if best.is_ok_and(|best| best.heard == Heard::Live) {
                return Ok(silent.clone());
            }
            tokio::select! {
                report = &mut poll => return Ok(report?.silent.into_iter().collect()),
                changed = self.changed(&mut seen) => changed?,
            }
        }
    }
}

fn blame(error: CommandError, silent: &BTreeSet<EngineId>) -> CommandError {
    match error {
        CommandError::NoPlace { name, reason } if !silent.is_empty() => {
            let shown: Vec<&str> = silent
                .iter()
                .take(SILENT_SHOWN_MAX)
                .map(|engine| engine.as_str())
                .collect();
            let more = silent.len().saturating_sub(SILENT_SHOWN_MAX);
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            let list = shown.join(", ");
            let reason = format!("{reason}; silent, though their last status says online: {list}{more}");
            CommandError::NoPlace { name, reason }
        }
        error => error,
    }
}
