//! Numbers: an engine's, from itself, and the fleet's, from the acting dispatcher.

use std::time::Duration;

use tokio::time::Instant;
use wayfare_protocol::choice::{Loads, LoadsAnswer, LoadsAsk};
use wayfare_protocol::ids::{EngineId, ProgramId};
use wayfare_protocol::numbers::{EngineNumbers, NumbersAsk, PROGRAMS_PER_ANSWER, SERVICE};

use super::Client;
use crate::error::{AskError, CommandError};
use crate::numbers::{EnginesPage, FleetNumbers, FleetNumbersAsk, Point, ProgramsPage};

/// Answers that one engine's programs may take: far above what an engine can have.
const ANSWERS_MAX: usize = 64;

impl Client {
    /// What an engine measures now, with its programs. Its first answer may take so long, and all of them
    /// twice that: programs that it has not told of by then are left out, the first of them in `next`.
    pub async fn engine_numbers(
        &self,
        engine: &EngineId,
        limit: Duration,
    ) -> Result<EngineNumbers, AskError> {
        let deadline = Instant::now() + 2 * limit;
        let ask = |from| NumbersAsk::Numbers { from };
        let mut all = self.numbers_of(engine, &ask(None), limit).await?;
        all.programs.truncate(PROGRAMS_PER_ANSWER);
        for _ in 1..ANSWERS_MAX {
            let rest = deadline.saturating_duration_since(Instant::now());
            let Some(next) = all.next.filter(|_| !rest.is_zero()) else {
                break;
            };
            let Ok(mut more) = self.numbers_of(engine, &ask(Some(next)), rest).await else {
                break;
            };
            more.programs.truncate(PROGRAMS_PER_ANSWER);
            all.programs.append(&mut more.programs);
            all.next = more.next;
        }
        Ok(all)
    }

    /// What an engine measures of its machine now, and nothing of its programs.
    pub async fn machine_numbers(
        &self,
        engine: &EngineId,
        limit: Duration,
    ) -> Result<EngineNumbers, AskError> {
        let mut numbers = self
            .numbers_of(engine, &NumbersAsk::Numbers { from: None }, limit)
            .await?;
        numbers.programs.clear();
        Ok(numbers)
    }

    /// An engine's clock, in milliseconds since 1970, when it answered.
    pub async fn clock_of(&self, engine: &EngineId, limit: Duration) -> Result<u64, AskError> {
        // From the last of all programs on, which no engine has: the answer is small.
        let from = Some(ProgramId::from_bytes([u8::MAX; 16]));
        let numbers = self
            .numbers_of(engine, &NumbersAsk::Numbers { from }, limit)
            .await?;
        Ok(numbers.clock_ms)
    }

    /// What everything in the fleet uses; `None`: nobody acts, or one of an earlier release that does not
    /// measure.
    pub async fn numbers(&self) -> Result<Option<FleetNumbers>, CommandError> {
        let mut all = FleetNumbers::default();
        let mut from = None;
        loop {
            let ask = FleetNumbersAsk::Engines { from };
            let Some(page) = self.known_to::<EnginesPage>(SERVICE, ask).await? else {
                return Ok(None);
            };
            let engines = page.engines.into_iter();
            all.engines
                .extend(engines.map(|load| (load.engine.clone(), load)));
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        let mut from = None;
        loop {
            let ask = FleetNumbersAsk::Programs { from };
            let Some(page) = self.known_to::<ProgramsPage>(SERVICE, ask).await? else {
                return Ok(Some(all));
            };
            let programs = page.programs.into_iter();
            all.programs
                .extend(programs.map(|load| (load.numbers.program, load)));
            from = page.next;
            if from.is_none() {
                return Ok(Some(all));
            }
        }
    }

    /// Which of these engines are so, and how busy they are.
    pub async fn loads(&self, ask: &LoadsAsk, limit: Duration) -> Result<Loads, AskError> {
        let answer: LoadsAnswer = self.ask_as(SERVICE, ask, limit).await?;
        Ok(answer.into())
    }

    /// What an engine used in the last hour, as far as somebody watched.
    pub async fn engine_history(&self, engine: &EngineId) -> Result<Vec<Point>, CommandError> {
        let engine = engine.clone();
        let points = self
            .known_to(SERVICE, FleetNumbersAsk::EngineHistory { engine })
            .await?;
        Ok(points.unwrap_or_default())
    }

    /// The same of a program.
    pub async fn program_history(&self, program: ProgramId) -> Result<Vec<Point>, CommandError> {
        let points = self
            .known_to(SERVICE, FleetNumbersAsk::ProgramHistory { program })
            .await?;
        Ok(points.unwrap_or_default())
    }
}
