//! What callers that choose a provider ask: which of these engines are so, and how busy they are.
//!
//! ```text
//!   asked --> wait while a round is under way --> one round for all who wait --> answers
//! ```
//! Always: only engines that are named are measured, and not more than once a second, however many ask; of an
//! engine only its machine is asked about, and none of its programs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, stream};
use tokio::time::Instant;
use wayfare_client::Client;
use wayfare_protocol::choice::{EngineAndLoad, Load, LoadsAnswer, Only};
use wayfare_protocol::ids::EngineId;
use wayfare_protocol::labels::Labels;

use super::core::{Measured, Numbers};
use super::{ANSWER_TIMEOUT, ASKED_MAX, measured};
use crate::requests::Asked;

/// What of the fleet's engines that are online a choice is made by.
pub(super) type Abouts = BTreeMap<EngineId, About>;

#[derive(Debug, Clone)]
pub(super) struct About {
    host: String,
    labels: Labels,
    processors: u32,
}

pub(super) struct Wanted {
    pub(super) engines: Vec<EngineId>,
    pub(super) only: Vec<Only>,
    /// How busy they are is wanted.
    pub(super) measured: bool,
    pub(super) asked: Asked,
}

impl Wanted {
    /// Those of its engines that are so, with their processors.
    fn fitting(&self, abouts: &Abouts) -> Vec<(EngineId, u32)> {
        let fits = |engine: &EngineId| {
            let about = abouts.get(engine)?;
            let admits = |only: &Only| only.admits(&about.host, &about.labels);
            self.only
                .iter()
                .all(admits)
                .then(|| (engine.clone(), about.processors))
        };
        self.engines.iter().filter_map(fits).collect()
    }
}

/// What was found out for those who asked.
pub(super) struct Found {
    answers: Vec<(Asked, Vec<(EngineId, u32)>)>,
    pub(super) abouts: Arc<Abouts>,
    pub(super) round: Vec<(EngineId, Option<Measured>)>,
}

/// `abouts`: those of a moment ago, if they were read then; `stale`: engines that were not measured lately.
pub(super) async fn find_out(
    client: Client,
    all: Vec<Wanted>,
    abouts: Option<Arc<Abouts>>,
    stale: BTreeSet<EngineId>,
) -> Found {
    let abouts = match abouts {
        Some(abouts) => abouts,
        None => Arc::new(read(&client).await),
    };
    let mut to_measure = BTreeSet::new();
    let mut answers = Vec::new();
    for wanted in all {
        let fitting = wanted.fitting(&abouts);
        if wanted.measured {
            let engines = fitting.iter().map(|(engine, _)| engine);
            to_measure.extend(engines.filter(|engine| stale.contains(engine)).cloned());
        }
        answers.push((wanted.asked, fitting));
    }
    let round = stream::iter(to_measure)
        .map(|engine| {
            let client = client.clone();
            async move { (engine.clone(), ask(&client, &engine).await) }
        })
        .buffer_unordered(ASKED_MAX)
        .collect()
        .await;
    Found {
        answers,
        abouts,
        round,
    }
}

async fn ask(client: &Client, engine: &EngineId) -> Option<Measured> {
    measured(engine, client.machine_numbers(engine, ANSWER_TIMEOUT)).await
}

async fn read(client: &Client) -> Abouts {
    // A client that is closed has none.
    let engines = client.engines().await.unwrap_or_default().into_iter();
    let online = engines.filter(|view| view.online);
    let of = |about: wayfare_protocol::status::EngineAbout| About {
        host: about.host,
        labels: about.labels,
        processors: about.processors,
    };
    online
        .filter_map(|view| Some((view.engine, of(view.about?))))
        .collect()
}

impl Found {
    pub(super) fn answer(self, numbers: &Numbers, silent: &BTreeMap<EngineId, Instant>, now_ms: u64) {
        for (asked, fitting) in self.answers {
            let engines = loads(fitting, numbers, silent, now_ms);
            let answer = serde_json::to_value(LoadsAnswer { engines });
            asked.answer(Ok(answer.expect("plain data serialises")));
        }
    }
}

/// What was measured of an engine that does not answer is how it was before it had so much to do: it is there
/// without.
fn loads(
    fitting: Vec<(EngineId, u32)>,
    numbers: &Numbers,
    silent: &BTreeMap<EngineId, Instant>,
    now_ms: u64,
) -> Vec<EngineAndLoad> {
    let fitting = fitting.into_iter();
    fitting
        .map(|(engine, processors)| {
            let is_silent = silent.contains_key(&engine);
            let machine = numbers.machine(&engine, now_ms).filter(|_| !is_silent);
            let load = Load {
                processors: Some(processors),
                cpu_millicores: machine.and_then(|machine| machine.machine_load_millicores),
                free_memory_bytes: machine.and_then(|machine| machine.machine_memory_available_bytes),
                temperature_millidegrees: machine.and_then(|machine| machine.temperature_millidegrees),
            };
            EngineAndLoad { engine, load }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use wayfare_protocol::ids::BootId;
    use wayfare_protocol::numbers::{EngineNumbers, MachineNumbers};

    use super::*;

    #[test]
    fn an_engine_that_does_not_answer_is_not_as_it_was_when_it_did() {
        let mut numbers = Numbers::default();
        let engines: Vec<EngineId> = ["a", "b"].map(|engine| engine.parse().unwrap()).into();
        for engine in &engines {
            numbers.take_in(Measured {
                numbers: EngineNumbers {
                    engine: engine.clone(),
                    boot: BootId::from_random([1; 16]),
                    clock_ms: 1_000,
                    machine: MachineNumbers {
                        machine_load_millicores: Some(0),
                        ..MachineNumbers::default()
                    },
                    programs: Vec::new(),
                    next: None,
                },
                asked_ms: 1_000,
                answered_ms: 1_000,
            });
        }
        let fitting: Vec<(EngineId, u32)> = engines.iter().map(|engine| (engine.clone(), 4)).collect();
        let silent = BTreeMap::from([(engines[0].clone(), Instant::now())]);
        let loads = loads(fitting, &numbers, &silent, 2_000);
        let found: Vec<_> = loads
            .iter()
            .map(|one| (one.load.cpu_millicores, one.load.processors))
            .collect();
        assert_eq!(found, [(None, Some(4)), (Some(0), Some(4))]);
    }
}
