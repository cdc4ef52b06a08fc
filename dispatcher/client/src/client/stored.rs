//! Asking the acting dispatcher for lines that it keeps.

use std::time::Duration;

use serde::de::DeserializeOwned;
use wayfare_protocol::command::Action;
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::{EngineId, ProgramId};
use wayfare_protocol::log::LogLine;

use super::Client;
use crate::error::{AskError, CommandError};
use crate::order::{self, CommandOptions};
use crate::stored_logs::{LinesPage, LinesWanted, LogAsk, ProgramsPage, SERVICE, StoredProgram};

/// Programs that are listed at most: who wants others says more of the name.
const PROGRAMS_MAX: usize = 10_000;

impl Client {
    /// Programs of which lines are kept, whose name or id begins like this.
    pub async fn stored_programs(
        &self,
        wanted: &str,
        limit: Duration,
    ) -> Result<Vec<StoredProgram>, AskError> {
        let mut found: Vec<StoredProgram> = Vec::new();
        loop {
            let ask = LogAsk::Programs {
                wanted: wanted.to_owned(),
                after: found.last().map(|last| last.program),
            };
            let page: ProgramsPage = self.ask_logs(&ask, limit).await?;
            let is_last = !page.more || page.programs.is_empty();
            found.extend(page.programs);
            if is_last || found.len() >= PROGRAMS_MAX {
                return Ok(found);
            }
        }
    }

    /// Some lines of a program that are kept.
    pub async fn stored_lines(&self, wanted: &LinesWanted, limit: Duration) -> Result<LinesPage, AskError> {
        self.ask_logs(&LogAsk::Lines(wanted.clone()), limit).await
    }

    /// What a program's engine has of its lines from this number on, and the number of the next.
    pub async fn log_tail(
        &self,
        program: ProgramId,
        since: u64,
        limit: Duration,
    ) -> Result<(EngineId, Vec<LogLine>, u64), CommandError> {
        let options = CommandOptions {
            time_limit: limit,
            ..CommandOptions::default()
        };
        let view = self.program(&program.to_string()).await?;
        let view = self.reachable(view, &options).await?;
        let action = Action::Logs {
            on: order::target(&view),
            since,
            follower: None,
        };
        let finished = self.command(&view, action, &options).await?.wait().await?;
        match finished.outcome {
            Outcome::Logs { lines, next } => Ok((finished.engine, lines, next)),
            outcome => Err(CommandError::Unexpected {
                engine: finished.engine,
                verb: "logs",
                answer: format!("{outcome:?}"),
            }),
        }
    }

    async fn ask_logs<T: DeserializeOwned>(&self, ask: &LogAsk, limit: Duration) -> Result<T, AskError> {
        self.ask_as(SERVICE, ask, limit).await
    }
}
