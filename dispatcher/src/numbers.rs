//! Measures the fleet while somebody asks, and keeps what was measured for an hour.
//!
//! ```text
//!  first page asked for --> older than a second? --> every engine asked, once --> answers --> pages
//!  --measure-every -----------------------------------^
//! ```
//! Always: engines are asked only because somebody asked here, or as often as the dispatcher was told to; so an engine that nobody watches
//! publishes nothing. One that did not answer holds nobody up: it is left out for a while. Nothing is decided by what is measured.

mod core;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use wayfare_client::Client;
use wayfare_client::documents::now_ms;
use wayfare_client::numbers::FleetNumbersAsk;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::EngineId;

use self::core::{Measured, Numbers};
use crate::context::Context;
use crate::requests::{Asked, INBOX_MAX, Inbox};

/// What was measured so lately is good enough.
const FRESH: Duration = Duration::from_secs(1);
/// How long an engine may take to begin: whoever looks waits for it.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(900);
/// One that has not answered is not asked again for so long.
const LEFT_OUT: Duration = Duration::from_secs(10);
/// Engines that are asked at a time.
const ASKED_MAX: usize = 64;
/// Without a period there is a tick that does nothing.
const NO_PERIOD: Duration = Duration::from_secs(3600);

pub(crate) async fn run(context: Context, mut inbox: Inbox) {
    let period = context.options.measure_every;
    let mut ticks = interval(period.unwrap_or(NO_PERIOD));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut service = Service {
        client: context.client,
        numbers: Numbers::default(),
        measured_at: None,
        measuring: JoinSet::new(),
        left_out: BTreeMap::new(),
        waiters: Vec::new(),
    };
    loop {
        tokio::select! {
            asked = inbox.recv() => match asked {
                Some(asked) => service.asked(asked),
                None => return,
            },
            Some(round) = service.measuring.join_next(), if !service.measuring.is_empty() => match round {
                Ok(round) => service.measured(round),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            _ = ticks.tick(), if period.is_some() => service.measure(),
        }
    }
}

struct Service {
    client: Client,
    numbers: Numbers,
    measured_at: Option<Instant>,
    /// One round at a time.
    measuring: JoinSet<Vec<(EngineId, Option<Measured>)>>,
    /// Engines that did not answer, until then.
    left_out: BTreeMap<EngineId, Instant>,
    /// Who asked for what is being measured.
    waiters: Vec<(FleetNumbersAsk, Asked)>,
}

impl Service {
    fn asked(&mut self, asked: Asked) {
        let ask = match asked.read::<FleetNumbersAsk>() {
            Ok(ask) => ask,
            Err(failure) => return asked.answer(Err(failure)),
        };
        let is_first = matches!(
            ask,
            FleetNumbersAsk::Engines { from: None } | FleetNumbersAsk::Programs { from: None }
        );
        let is_fresh = self.measured_at.is_some_and(|at| at.elapsed() < FRESH);
        if !is_first || is_fresh {
            return self.answer(&ask, asked);
        }
        if self.waiters.len() >= INBOX_MAX {
            let reason = format!("{INBOX_MAX} requests wait for numbers already");
            return asked.answer(Err(Failure::Internal { reason }));
        }
        self.waiters.push((ask, asked));
        self.measure();
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
            stream::iter(asked)
                .map(|view| {
                    let client = client.clone();
                    async move { (view.engine.clone(), ask(&client, &view.engine).await) }
                })
                .buffer_unordered(ASKED_MAX)
                .collect()
                .await
        });
    }

    fn measured(&mut self, round: Vec<(EngineId, Option<Measured>)>) {
        let now = Instant::now();
        // First, so that no rate is over more than what is kept.
        self.numbers.forget(now_ms());
        for (engine, measured) in round {
            match measured {
                Some(measured) => self.numbers.take_in(measured),
                None => drop(self.left_out.insert(engine, now + LEFT_OUT)),
            }
        }
        self.measured_at = Some(now);
        for (ask, asked) in std::mem::take(&mut self.waiters) {
            self.answer(&ask, asked);
        }
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
                serde_json::to_value(self.numbers.engine_history(engine))
            }
            FleetNumbersAsk::ProgramHistory { program } => {
                serde_json::to_value(self.numbers.program_history(*program))
            }
        };
        asked.answer(Ok(answer.expect("plain data serialises")));
    }
}

/// `None` if it does not answer, or is of a release that does not measure.
async fn ask(client: &Client, engine: &EngineId) -> Option<Measured> {
    let asked_ms = now_ms();
    match client.engine_numbers(engine, ANSWER_TIMEOUT).await {
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
