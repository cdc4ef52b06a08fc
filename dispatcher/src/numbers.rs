//! Measures the fleet while somebody asks, and keeps what was measured: finely for an hour, and hour by hour
//! for 30 days.
//!
//! ```text
//!  first page asked for --> older than a second? --> every engine asked, once --> answers --> pages
//!  --measure-every -----------------------------------^
//!  lists ----> all engines, or those of a part's rows --> the same, and what is there of whatever is listed
//!  callers that choose --> those of their engines that were not measured in the last second --> answers
//! ```
//! Always: engines are asked only because somebody asked here, or as often as the dispatcher was told to; so
//! an engine that nobody watches publishes nothing. One that did not answer holds nobody up: it is left out
//! for a while. Nothing is decided by what is measured.

mod choosing;
mod coarse;
mod core;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use wayfare_client::Client;
use wayfare_client::documents::now_ms;
use wayfare_client::error::AskError;
use wayfare_client::numbers::{FleetNumbersAsk, Point};
use wayfare_protocol::choice::{ENGINES_MAX, Only};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::EngineId;
use wayfare_protocol::numbers::EngineNumbers;

use self::choosing::{Abouts, Found, Wanted, find_out};
use self::coarse::{Coarse, Subject};
use self::core::{Measured, Numbers};
use crate::context::Context;
use crate::durable::RecordLog;
use crate::questions::MeasuredAsk;
use crate::requests::{Asked, INBOX_MAX, Inbox};

/// What was measured so lately is good enough.
const FRESH: Duration = Duration::from_secs(1);
/// How long an engine may take to begin: whoever looks waits for it.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(900);
/// One that has not answered is not asked again for so long.
const LEFT_OUT: Duration = Duration::from_secs(10);
/// What was measured is stored no more often than this.
const SAVE_PERIOD: Duration = Duration::from_secs(600);
/// Engines that are asked at a time.
const ASKED_MAX: usize = 64;
/// Without a period there is a tick that does nothing.
const NO_PERIOD: Duration = Duration::from_secs(3600);

/// What came of asking engines.
type Round = Vec<(EngineId, Option<Measured>)>;

pub(crate) async fn run(context: Context, mut inbox: Inbox) {
    let mut lists = context.measured.receiver().await;
    let (place, term) = (context.place.clone(), context.term);
    let opened = tokio::task::spawn_blocking(move || RecordLog::open(&place, term)).await;
    let log = match opened {
        Ok(Ok(log)) => Some(log),
        Ok(Err(error)) => {
            tracing::warn!(%error, "what is measured is not kept, and the days before are not shown");
            None
        }
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    let records = log.iter().flat_map(|log| log.records());
    let period = context.options.measure_every;
    let mut ticks = interval(period.unwrap_or(NO_PERIOD));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut service = Service {
        client: context.client,
        numbers: Numbers::default(),
        coarse: Coarse::read(records),
        log,
        saved_at: Instant::now(),
        measured_at: None,
        measuring: JoinSet::new(),
        left_out: BTreeMap::new(),
        waiters: Vec::new(),
        lists: Vec::new(),
        listing: JoinSet::new(),
        abouts: None,
        choosing: JoinSet::new(),
        choosers: Vec::new(),
    };
    loop {
        tokio::select! {
            asked = inbox.recv() => match asked {
                Some(asked) => service.asked(asked),
                // A successor goes on from it.
                None => return service.save(),
            },
            // Those who list are there as long as this is.
            Some(ask) = lists.recv() => service.asked_to_list(ask),
            Some(listed) = service.listing.join_next(), if !service.listing.is_empty() => match listed {
                Ok((round, done)) => {
                    service.take_in(round);
                    // Whoever asked may have given up.
                    let _ = done.send(());
                }
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            Some(round) = service.measuring.join_next(), if !service.measuring.is_empty() => match round {
                Ok(round) => service.measured(round),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            Some(found) = service.choosing.join_next(), if !service.choosing.is_empty() => match found {
                Ok(found) => service.found(found),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            _ = ticks.tick(), if period.is_some() => service.measure(),
        }
    }
}

struct Service {
    client: Client,
    numbers: Numbers,
    coarse: Coarse,
    /// `None`: it could not be opened, and measuring goes on without.
    log: Option<RecordLog>,
    saved_at: Instant,
    measured_at: Option<Instant>,
    /// One round at a time.
    measuring: JoinSet<Round>,
    /// Engines that did not answer, until then.
    left_out: BTreeMap<EngineId, Instant>,
    /// Who asked for what is being measured.
    waiters: Vec<(FleetNumbersAsk, Asked)>,
    /// The same for lists,
    lists: Vec<oneshot::Sender<()>>,
    /// and what they have measured of some engines, as many at a time as there are lists.
    listing: JoinSet<(Round, oneshot::Sender<()>)>,
    /// What engines are, as it was a moment ago.
    abouts: Option<(Instant, Arc<Abouts>)>,
    /// For those who choose among engines: one round at a time.
    choosing: JoinSet<Found>,
    /// Those who wait for the next one.
    choosers: Vec<Wanted>,
}

impl Service {
    fn asked(&mut self, asked: Asked) {
        let ask = match asked.read::<FleetNumbersAsk>() {
            Ok(ask) => ask,
            Err(failure) => return asked.answer(Err(failure)),
        };
        if let FleetNumbersAsk::Loads {
            engines,
            only,
            measured,
        } = ask
        {
            return self.choose(engines, only, measured, asked);
        }
        let is_first = matches!(
            ask,
            FleetNumbersAsk::Engines { from: None } | FleetNumbersAsk::Programs { from: None }
        );
        let is_fresh = self.measured_at.is_some_and(|at| at.elapsed() < FRESH);
        if !is_first || is_fresh {
            return self.answer(&ask, asked);
        }
        if self.waiters.len() >= INBOX_MAX {
            return asked.answer(Err(too_many()));
        }
        self.waiters.push((ask, asked));
        self.measure();
    }

    fn asked_to_list(&mut self, ask: MeasuredAsk) {
        match ask {
            MeasuredAsk::Measure { engines: None, done } => {
                if self.measured_at.is_some_and(|at| at.elapsed() < FRESH) {
                    let _ = done.send(());
                    return;
                }
                self.lists.push(done);
                self.measure();
            }
            MeasuredAsk::Measure {
                engines: Some(engines),
                done,
            } => {
                let stale = self.stale(engines.iter());
                let client = self.client.clone();
                self.listing
                    .spawn(async move { (round(&client, stale).await, done) });
            }
            MeasuredAsk::Programs { programs, answer } => {
                let now_ms = now_ms();
                let load = |program| Some((program, self.numbers.program(program, now_ms)?));
                let _ = answer.send(programs.into_iter().filter_map(load).collect());
            }
            MeasuredAsk::Engines { engines, answer } => {
                let now_ms = now_ms();
                let load = |engine: EngineId| {
                    let load = self.numbers.engine(&engine, now_ms)?;
                    Some((engine, load))
                };
                let _ = answer.send(engines.into_iter().filter_map(load).collect());
            }
        }
    }

    /// Those of these engines that were not measured in the last second, and not left out.
    fn stale<'a>(&mut self, engines: impl Iterator<Item = &'a EngineId>) -> BTreeSet<EngineId> {
        let (now, now_ms) = (Instant::now(), now_ms());
        self.left_out.retain(|_, until| *until > now);
        let is_stale = |engine: &&EngineId| {
            !self.left_out.contains_key(*engine) && !self.numbers.is_fresh(engine, now_ms, FRESH)
        };
        engines.filter(is_stale).cloned().collect()
    }

    fn choose(&mut self, engines: Vec<EngineId>, only: Vec<Only>, measured: bool, asked: Asked) {
        if engines.len() > ENGINES_MAX || only.len() > ENGINES_MAX {
            let reason = format!("more than {ENGINES_MAX} engines, or conditions, are asked about at once");
            return asked.answer(Err(Failure::BadRequest { reason }));
        }
        if self.choosers.len() >= INBOX_MAX {
            return asked.answer(Err(too_many()));
        }
        self.choosers.push(Wanted {
            engines,
            only,
            measured,
            asked,
        });
        self.find_out();
    }

    /// For all who wait for it.
    fn find_out(&mut self) {
        if !self.choosing.is_empty() || self.choosers.is_empty() {
            return;
        }
        let all = std::mem::take(&mut self.choosers);
        let stale = self.stale(all.iter().flat_map(|wanted| &wanted.engines));
        let fresh = self.abouts.as_ref().filter(|(at, _)| at.elapsed() < FRESH);
        let abouts = fresh.map(|(_, abouts)| abouts.clone());
        self.choosing
            .spawn(find_out(self.client.clone(), all, abouts, stale));
    }

    fn found(&mut self, mut found: Found) {
        let is_new = self
            .abouts
            .as_ref()
            .is_none_or(|(_, known)| !Arc::ptr_eq(known, &found.abouts));
        if is_new {
            self.abouts = Some((Instant::now(), found.abouts.clone()));
        }
        self.take_in(std::mem::take(&mut found.round));
        found.answer(&self.numbers, &self.left_out, now_ms());
        self.find_out();
    }

    fn measure(&mut self) {
        if !self.measuring.is_empty() {
            return;
        }
        let now = Instant::now();
        self.left_out.retain(|_, until| *until > now);
        let (client, left_out) = (self.client.clone(), self.left_out.clone());
        self.measuring.spawn(async move {
            // A client that is closed has none.
            let engines = client.engines().await.unwrap_or_default().into_iter();
            let asked = engines.filter(|view| view.online && !left_out.contains_key(&view.engine));
            round(&client, asked.map(|view| view.engine)).await
        });
    }

    fn take_in(&mut self, round: Round) {
        let now = Instant::now();
        // First, so that no rate is over more than what is kept.
        self.numbers.forget(now_ms());
        for (engine, measured) in round {
            match measured {
                Some(measured) => {
                    self.left_out.remove(&engine);
                    for (subject, point) in self.numbers.take_in(measured) {
                        self.coarse.add(&subject, &point);
                    }
                }
                None => drop(self.left_out.insert(engine, now + LEFT_OUT)),
            }
        }
    }

    fn measured(&mut self, round: Round) {
        self.take_in(round);
        self.measured_at = Some(Instant::now());
        if self.saved_at.elapsed() >= SAVE_PERIOD {
            self.save();
        }
        for (ask, asked) in std::mem::take(&mut self.waiters) {
            self.answer(&ask, asked);
        }
        for done in std::mem::take(&mut self.lists) {
            let _ = done.send(());
        }
    }

    /// What cannot be stored is tried again, and is shown meanwhile: nothing depends on it.
    fn save(&mut self) {
        self.saved_at = Instant::now();
        let changed = self.coarse.take_changed(now_ms());
        let Some(log) = &mut self.log else { return };
        for (key, json) in changed {
            log.put(&key, json);
        }
        if let Err(error) = log.commit() {
            tracing::warn!(%error, "what was measured is not kept");
            self.coarse.not_stored();
        }
    }

    /// Hour by hour, and finely as far as that goes back.
    fn history(&self, subject: &Subject, fine: Vec<Point>) -> Vec<Point> {
        let until_ms = fine.first().map_or_else(now_ms, |first| first.at_ms);
        let mut all = self.coarse.history(subject, until_ms);
        all.extend(fine);
        all
    }

    fn answer(&self, ask: &FleetNumbersAsk, asked: Asked) {
        let now_ms = now_ms();
        let answer = match ask {
            FleetNumbersAsk::Engines { from } => {
                serde_json::to_value(self.numbers.engines_page(from.as_ref(), now_ms))
            }
            FleetNumbersAsk::Programs { from } => {
                serde_json::to_value(self.numbers.programs_page(*from, now_ms))
            }
            FleetNumbersAsk::EngineHistory { engine } => {
                let fine = self.numbers.engine_history(engine);
                serde_json::to_value(self.history(&Subject::Engine(engine.clone()), fine))
            }
            FleetNumbersAsk::ProgramHistory { program } => {
                let fine = self.numbers.program_history(*program);
                serde_json::to_value(self.history(&Subject::Program(*program), fine))
            }
            // Answered when that is found out.
            FleetNumbersAsk::Loads { .. } => return,
        };
        asked.answer(Ok(answer.expect("plain data serialises")));
    }
}

fn too_many() -> Failure {
    let reason = format!("{INBOX_MAX} requests wait for numbers already");
    Failure::Internal { reason }
}

/// Asks engines, some at a time.
async fn round(client: &Client, engines: impl IntoIterator<Item = EngineId>) -> Round {
    stream::iter(engines)
        .map(|engine| {
            let client = client.clone();
            async move { (engine.clone(), ask(&client, &engine).await) }
        })
        .buffer_unordered(ASKED_MAX)
        .collect()
        .await
}

/// `None` if it does not answer, or is of a release that does not measure.
async fn ask(client: &Client, engine: &EngineId) -> Option<Measured> {
    measured(engine, client.engine_numbers(engine, ANSWER_TIMEOUT)).await
}

async fn measured(
    engine: &EngineId,
    numbers: impl Future<Output = Result<EngineNumbers, AskError>>,
) -> Option<Measured> {
    let asked_ms = now_ms();
    match numbers.await {
        Ok(numbers) if numbers.engine == *engine => Some(Measured {
            numbers,
            asked_ms,
            answered_ms: now_ms(),
        }),
        Ok(_) => None,
        Err(error) => {
            tracing::debug!(%engine, %error, "not measured");
            None
        }
    }
}
