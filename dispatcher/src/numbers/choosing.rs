//! What callers that choose a provider ask: which of these engines are so, and how busy they are.
//!
//! Always: only engines that are named are measured, and not more than once a second, however many ask.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, stream};
use tokio::time::Instant;
use wayfare_client::Client;
use wayfare_protocol::choice::{EngineAndLoad, Load, LoadsAnswer, Only};
use wayfare_protocol::ids::EngineId;
use wayfare_protocol::labels::Labels;

use super::core::{Measured, Numbers};
use super::{ASKED_MAX, ask};
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
    /// Those of the engines that have to be measured for it.
    pub(super) stale: BTreeSet<EngineId>,
}

/// What was found out for who asked.
pub(super) struct Found {
    asked: Asked,
    fitting: Vec<(EngineId, u32)>,
    pub(super) abouts: Arc<Abouts>,
    pub(super) round: Vec<(EngineId, Option<Measured>)>,
}

/// `abouts`: those of a moment ago, if they were read then.
pub(super) async fn find_out(
    client: Client,
    wanted: Wanted,
    abouts: Option<Arc<Abouts>>,
    asked: Asked,
) -> Found {
    let abouts = match abouts {
        Some(abouts) => abouts,
        None => Arc::new(read(&client).await),
    };
    let fits = |engine: &EngineId| {
        let about = abouts.get(engine)?;
        let admits = |only: &Only| only.admits(&about.host, &about.labels);
        wanted
            .only
            .iter()
            .all(admits)
            .then(|| (engine.clone(), about.processors))
    };
    let fitting: Vec<(EngineId, u32)> = wanted.engines.iter().filter_map(fits).collect();
    let measured = fitting.iter().filter(|(engine, _)| wanted.stale.contains(engine));
    let round = stream::iter(measured.map(|(engine, _)| engine.clone()).collect::<Vec<_>>())
        .map(|engine| {
            let client = client.clone();
            async move { (engine.clone(), ask(&client, &engine).await) }
        })
        .buffer_unordered(ASKED_MAX)
        .collect()
        .await;
    Found {
        asked,
        fitting,
        abouts,
        round,
    }
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
        let answer = LoadsAnswer {
            engines: loads(self.fitting, numbers, silent, now_ms),
        };
        let answer = serde_json::to_value(answer).expect("plain data serialises");
        self.asked.answer(Ok(answer));
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
