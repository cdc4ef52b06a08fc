//! What the devices of an engine give. However many look, an engine is asked one question at a time, and no
//! more often than they can change on a page.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use wayfare_client::problem::{NO_ANSWER, Problem};
use wayfare_client::{Client, EngineView};
use wayfare_protocol::device::{Alias, DeviceAsk, Setting};
use wayfare_protocol::ids::EngineId;

/// What was read is as good as new for so long.
const FRESH: Duration = Duration::from_millis(500);
/// Engines of which something is remembered.
const ENGINES_MAX: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Readings {
    of: Mutex<BTreeMap<EngineId, Arc<OfEngine>>>,
}

/// Who has the lock asks; the others wait for what it hears.
type OfEngine = tokio::sync::Mutex<Option<(Instant, Value)>>;

impl Readings {
    fn of(&self, engine: &EngineId) -> Arc<OfEngine> {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if of.len() >= ENGINES_MAX && !of.contains_key(engine) {
            // Those that somebody is asking about stay.
            of.retain(|_, known| Arc::strong_count(known) > 1);
        }
        of.entry(engine.clone()).or_default().clone()
    }

    /// What each device gives, or why that is not known.
    pub(crate) async fn all(
        &self,
        client: &Client,
        view: &EngineView,
        limit: Duration,
    ) -> Result<Value, Problem> {
        let of = self.of(&view.engine);
        let mut known = of.lock().await;
        if let Some((at, readings)) = known.as_ref()
            && at.elapsed() < FRESH
        {
            return Ok(readings.clone());
        }
        let devices = view.about.iter().flat_map(|about| &about.devices);
        let mut readings = Vec::new();
        for (alias, about) in devices {
            let mut reading = json!({ "device": alias, "kind": about.kind, "backend": about.backend });
            let ask = DeviceAsk::Get { alias: alias.clone() };
            match client
                .device(&view.engine, &ask, limit)
                .await
                .map_err(Problem::from)
            {
                Ok(found) => reading["reading"] = json!(found),
                // It answers nothing about the others, either.
                Err(problem) if problem.kind() == NO_ANSWER => return Err(problem),
                Err(problem) => reading["problem"] = problem.document().into(),
            }
            readings.push(reading);
        }
        let readings = Value::from(readings);
        *known = Some((Instant::now(), readings.clone()));
        Ok(readings)
    }

    pub(crate) async fn get(
        &self,
        client: &Client,
        engine: &EngineId,
        alias: Alias,
        limit: Duration,
    ) -> Result<Value, Problem> {
        let of = self.of(engine);
        let _turn = of.lock().await;
        Ok(json!(
            client.device(engine, &DeviceAsk::Get { alias }, limit).await?
        ))
    }

    pub(crate) async fn set(
        &self,
        client: &Client,
        engine: &EngineId,
        (alias, setting): (Alias, Setting),
        limit: Duration,
    ) -> Result<Value, Problem> {
        let of = self.of(engine);
        let mut known = of.lock().await;
        *known = None;
        Ok(json!(
            client
                .device(engine, &DeviceAsk::Set { alias, setting }, limit)
                .await?
        ))
    }
}
