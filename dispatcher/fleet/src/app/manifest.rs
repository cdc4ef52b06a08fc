//! `app.toml`: an application as people write it.
//!
//! ```toml
//! name = "shop"
//!
//! [update]                      # left out: all at once, at any time
//! stages = [{ labels = "stage=canary", wait = "10m" }]
//! window = { opens = "0 2 * * *", zone = "Europe/Berlin", for = "3h" }
//!
//! [component.web]
//! module = "web.wasm"          # beside the manifest, or the name of a sample
//! count = 3
//! memory = "16M"
//! grants = { pub = ["shop/orders"], sub = ["shop/#"] }
//! output = [{ topic = "shop/orders", media_type = "application/json" }]   # shown, as 'input' is
//! labels = ["zone=a", "kind in (x, y)", "battery!=low", "camera"]
//! checkpoint = "10s"           # copied to the dispatcher, so that it goes on elsewhere if its engine is lost
//! restart = { when = "on-failure", backoff = "1s" }
//! update = { at-a-time = 1, healthy-after = "5s", within = "60s" }
//! health = { within = "30s", every = "10s" }    # it says that it is ready, and then that it is well
//!
//! [component.report]
//! module = "report.wasm"
//! cron = { schedule = "30 3 * * 1-5", zone = "Europe/Berlin", missed = "once" }   # it begins then, and ends by itself
//!
//! [component.collect]
//! module = "collect.wasm"
//! on = "every-engine"          # one on each with these labels, also on those that come later
//! labels = ["sensor"]
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use thiserror::Error;
use wayfare_protocol::command::check_bytes;
use wayfare_protocol::error::Failure;
use wayfare_protocol::folder::{FOLDER_BYTES_MAX, FolderName};
use wayfare_protocol::grants::Grants;
use wayfare_protocol::ids::{Blob, EngineId};
use wayfare_protocol::limits::{MODULE_BYTES_MAX, STDIN_BYTES_MAX};
use wayfare_protocol::ports::{Port, Ports};
use wayfare_scheduler::application::Mobility;
use wayfare_scheduler::constraint::{Constraints, Requirements, Spread};

use super::schedule::{Missed, Schedule};
use super::staging::{Stage, Staging, Window};
use super::wording::{apart, domain, duration_ms, label_rule, long_ms, size};
use super::{AppSpec, ComponentSpec, HealthPolicy, RestartPolicy, RestartWhen, UpdatePolicy};
use crate::module::check_wasm;

const BACKOFF_MS: u64 = 1_000;
const BACKOFF_MS_MAX: u64 = 300_000;
const HEALTHY_AFTER_MS: u64 = 5_000;
const HEALTHY_WITHIN_MS: u64 = 120_000;
const READY_WITHIN_MS: u64 = 60_000;

#[derive(Debug, Error)]
pub enum ManifestError {
    #[error("{0}")]
    Toml(String),
    #[error("component '{component}': {reason}")]
    Component { component: String, reason: String },
    #[error("{0}")]
    Refused(Failure),
}

/// The manifest, and the bytes of everything that it names.
#[derive(Debug)]
pub struct Resolved {
    pub spec: AppSpec,
    pub blobs: BTreeMap<wayfare_protocol::ids::Digest, Vec<u8>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    name: String,
    #[serde(default)]
    update: AppUpdate,
    component: BTreeMap<String, Part>,
}

/// How a new version comes to the fleet, whatever its components are.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a table such as [update]")]
struct AppUpdate {
    #[serde(default)]
    stages: Vec<ManifestStage>,
    window: Option<ManifestWindow>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a table such as { labels = \"stage=canary\", wait = \"10m\" }")]
struct ManifestStage {
    labels: OneOrMore,
    /// Until somebody promotes it, where it is left out.
    wait: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[serde(
    expecting = "a table such as { opens = \"0 2 * * mon-fri\", zone = \"Europe/Berlin\", for = \"3h\" }"
)]
struct ManifestWindow {
    opens: String,
    /// UTC unless it says otherwise.
    zone: Option<String>,
    #[serde(rename = "for")]
    lasts: String,
}

impl AppUpdate {
    fn staging(&self) -> Result<Staging, String> {
        let stage = |stage: &ManifestStage| {
            let labels = match &stage.labels {
                OneOrMore::One(rule) => std::slice::from_ref(rule),
                OneOrMore::More(rules) => rules,
            };
            Ok(Stage {
                labels: labels
                    .iter()
                    .map(|rule| label_rule(rule))
                    .collect::<Result<_, String>>()?,
                wait_ms: stage.wait.as_deref().map(long_ms).transpose()?,
            })
        };
        let window = |window: &ManifestWindow| {
            Ok::<_, String>(Window {
                opens: window.opens.clone(),
                zone: window.zone.clone().unwrap_or_else(|| "UTC".into()),
                for_ms: long_ms(&window.lasts)?,
            })
        };
        Ok(Staging {
            stages: self.stages.iter().map(stage).collect::<Result<_, String>>()?,
            window: self.window.as_ref().map(window).transpose()?,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a table such as [component.NAME]")]
struct Part {
    module: String,
    on: Option<On>,
    /// 1 where it is left out.
    count: Option<u32>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    stdin: Option<String>,
    memory: Option<String>,
    #[serde(default)]
    grants: Grants,
    #[serde(default)]
    input: Vec<DeclaredPort>,
    #[serde(default)]
    output: Vec<DeclaredPort>,
    /// Thousandths of a processor.
    #[serde(default)]
    processor: u64,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    devices: BTreeSet<String>,
    #[serde(default)]
    engines: BTreeSet<EngineId>,
    #[serde(default)]
    hosts: BTreeSet<String>,
    max_per_engine: Option<u32>,
    #[serde(default)]
    apart_from: Vec<String>,
    spread: Option<String>,
    #[serde(default)]
    pinned: bool,
    checkpoint: Option<String>,
    #[serde(default)]
    restart: Restart,
    #[serde(default)]
    update: Update,
    cron: Option<Cron>,
    health: Option<Health>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a table such as { within = \"30s\", every = \"5s\" }")]
struct Health {
    within: Option<String>,
    every: Option<String>,
}

/// Where a component runs that has no count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum On {
    EveryEngine,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[serde(
    expecting = "a table such as { schedule = \"30 3 * * mon-fri\", zone = \"Europe/Berlin\", missed = \"once\" }"
)]
struct Cron {
    schedule: String,
    /// UTC unless it says otherwise.
    zone: Option<String>,
    #[serde(default)]
    missed: Missed,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a table such as { when = \"on-failure\", backoff = \"1s\" }")]
struct Restart {
    when: Option<RestartWhen>,
    backoff: Option<String>,
    backoff_max: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a table such as { at-a-time = 1, within = \"1m\" }")]
struct Update {
    at_a_time: Option<u32>,
    healthy_after: Option<String>,
    within: Option<String>,
}

/// A topic, and what is on it, as manifests declare it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(expecting = "a table such as { topic = \"climate/mean\", media_type = \"application/senml+json\" }")]
pub struct DeclaredPort {
    topic: String,
    /// As in RFC 6838, such as `application/senml+json`.
    media_type: String,
}

/// What a manifest declares, which has to be granted there as well.
pub fn ports(input: Vec<DeclaredPort>, output: Vec<DeclaredPort>, grants: &Grants) -> Result<Ports, String> {
    let not_granted = |port: &DeclaredPort, list: &str| {
        let topic = &port.topic;
        format!("'{topic}' is declared and not granted: add it to grants.{list}")
    };
    if let Some(port) = input.iter().find(|port| !grants.may_subscribe(&port.topic)) {
        return Err(not_granted(port, "sub"));
    }
    if let Some(port) = output.iter().find(|port| !grants.may_publish(&port.topic)) {
        return Err(not_granted(port, "pub"));
    }
    let kept = |port: DeclaredPort| Port {
        topic: port.topic,
        media_type: Some(port.media_type),
    };
    let ports = Ports {
        inputs: input.into_iter().map(kept).collect(),
        outputs: output.into_iter().map(kept).collect(),
    };
    ports.check().map_err(|failure| failure.to_string())?;
    Ok(ports)
}

/// A component's module, and what its programs have besides what the manifest says.
#[derive(Debug, Clone, Default)]
pub struct Made {
    pub module: Vec<u8>,
    /// Before those of the manifest.
    pub args: Vec<String>,
    /// Where the manifest says nothing else.
    pub env: BTreeMap<String, String>,
    pub memory_bytes: Option<u64>,
    /// Packed.
    pub folders: BTreeMap<FolderName, Vec<u8>>,
    /// What its source declares, where the manifest declares nothing.
    pub ports: Ports,
}

impl From<Vec<u8>> for Made {
    fn from(module: Vec<u8>) -> Self {
        Self {
            module,
            ..Self::default()
        }
    }
}

/// What a manifest's components name as their modules.
pub fn modules(text: &str) -> Result<BTreeSet<String>, ManifestError> {
    let manifest = parse(text)?;
    Ok(manifest.component.into_values().map(|part| part.module).collect())
}

fn parse(text: &str) -> Result<Manifest, ManifestError> {
    toml::from_str(text).map_err(|error| ManifestError::Toml(error.to_string()))
}

/// Reads a manifest; `make` gives what it names as a module, `file` the bytes of other files.
pub fn resolve(
    text: &str,
    mut make: impl FnMut(&str) -> Result<Made, String>,
    mut file: impl FnMut(&str) -> Result<Vec<u8>, String>,
) -> Result<Resolved, ManifestError> {
    let manifest = parse(text)?;
    let mut blobs = BTreeMap::new();
    let mut components = BTreeMap::new();
    for (name, part) in manifest.component {
        let component = part
            .resolve(&manifest.name, &mut blobs, (&mut make, &mut file))
            .map_err(|reason| ManifestError::Component {
                component: name.clone(),
                reason,
            })?;
        components.insert(name, component);
    }
    let staging = manifest.update.staging();
    let spec = AppSpec {
        name: manifest.name,
        components,
        staging: staging.map_err(|reason| ManifestError::Toml(format!("update: {reason}")))?,
    };
    spec.check().map_err(ManifestError::Refused)?;
    Ok(Resolved { spec, blobs })
}

/// One program, as who holds it wants it to be.
#[derive(Debug, Default)]
pub struct OneProgram {
    pub made: Made,
    pub stdin: Option<Vec<u8>>,
    pub grants: Grants,
    /// Empty: any.
    pub engines: BTreeSet<EngineId>,
}

/// The component of an application that [`of_one`] makes.
pub const ONE: &str = "main";

/// An application of this one program, which is started again where it fails.
pub fn of_one(name: &str, program: OneProgram) -> Result<Resolved, ManifestError> {
    let OneProgram {
        made,
        stdin,
        grants,
        engines,
    } = program;
    let part = Part {
        module: name.to_owned(),
        on: None,
        count: None,
        args: Vec::new(),
        env: BTreeMap::new(),
        stdin: stdin.is_some().then(String::new),
        memory: None,
        grants,
        input: Vec::new(),
        output: Vec::new(),
        processor: 0,
        labels: Vec::new(),
        devices: BTreeSet::new(),
        engines,
        hosts: BTreeSet::new(),
        max_per_engine: None,
        apart_from: Vec::new(),
        spread: None,
        pinned: false,
        checkpoint: None,
        restart: Restart {
            when: Some(RestartWhen::OnFailure),
            ..Restart::default()
        },
        update: Update::default(),
        cron: None,
        health: None,
    };
    let mut blobs = BTreeMap::new();
    let (mut made, mut stdin) = (Some(made), stdin);
    let component = part
        .resolve(
            name,
            &mut blobs,
            (
                &mut |_| made.take().ok_or_else(|| "one module is there".to_owned()),
                &mut |_| stdin.take().ok_or_else(|| "one file is there".to_owned()),
            ),
        )
        .map_err(|reason| ManifestError::Component {
            component: ONE.to_owned(),
            reason,
        })?;
    let spec = AppSpec {
        name: name.to_owned(),
        components: BTreeMap::from([(ONE.to_owned(), component)]),
        staging: Staging::default(),
    };
    spec.check().map_err(ManifestError::Refused)?;
    Ok(Resolved { spec, blobs })
}

impl Part {
    fn resolve(
        self,
        application: &str,
        blobs: &mut BTreeMap<wayfare_protocol::ids::Digest, Vec<u8>>,
        (make, file): (
            &mut impl FnMut(&str) -> Result<Made, String>,
            &mut impl FnMut(&str) -> Result<Vec<u8>, String>,
        ),
    ) -> Result<ComponentSpec, String> {
        let mut keep = |bytes: Vec<u8>| {
            let blob = Blob::of(&bytes);
            blobs.insert(blob.digest, bytes);
            blob
        };
        let made = make(&self.module)?;
        let within = |what: &str, bytes: usize, max| {
            check_bytes(what, bytes as u64, max).map_err(|error| error.to_string())
        };
        within("module", made.module.len(), MODULE_BYTES_MAX)?;
        check_wasm(&made.module).map_err(|error| format!("{}: {error}", self.module))?;
        let module = keep(made.module);
        let declared = ports(self.input, self.output, &self.grants)?;
        let mut grants = self.grants;
        for (name, packed) in made.folders {
            within(name.mount(), packed.len(), FOLDER_BYTES_MAX)?;
            grants.folders.insert(name, keep(packed));
        }
        let stdin = self.stdin.as_deref().map(file).transpose()?;
        within(
            "standard input",
            stdin.as_ref().map_or(0, Vec::len),
            STDIN_BYTES_MAX,
        )?;
        let ms = |text: &Option<String>, default: u64| text.as_deref().map_or(Ok(default), duration_ms);
        let labels = self.labels.iter().map(|rule| label_rule(rule));
        // An engine that lacks a device which is granted would refuse it.
        let granted = grants.devices.iter().map(ToString::to_string);
        let devices = self.devices.into_iter().chain(granted).collect();
        Ok(ComponentSpec {
            count: self.count.unwrap_or(u32::from(self.on.is_none())),
            module,
            args: made.args.into_iter().chain(self.args).collect(),
            env: made.env.into_iter().chain(self.env).collect(),
            stdin: stdin.map(keep),
            memory_bytes: self
                .memory
                .as_deref()
                .map(size)
                .transpose()?
                .or(made.memory_bytes),
            grants,
            ports: match declared.is_empty() {
                true => made.ports,
                false => declared,
            },
            processor_millicores: self.processor,
            mobility: match (self.on, self.pinned) {
                (Some(On::EveryEngine), true) => {
                    return Err(
                        "'on' says that each instance stays on its engine, and 'pinned' too: leave out one of them"
                            .into(),
                    );
                }
                (Some(On::EveryEngine), false) => Mobility::EveryEngine,
                (None, true) => Mobility::Pinned,
                (None, false) => Mobility::Free,
            },
            constraints: Constraints {
                requirements: Requirements {
                    engines: self.engines,
                    hosts: self.hosts,
                    labels: labels.collect::<Result<_, _>>()?,
                    devices,
                    code: true,
                },
                per_engine_max: self.max_per_engine,
                apart_from: self
                    .apart_from
                    .iter()
                    .map(|rule| apart(application, rule))
                    .collect(),
                spread: self.spread.as_deref().map(|by| Spread {
                    by: domain(by),
                    skew_max: 1,
                }),
            },
            checkpoint_ms: self.checkpoint.as_deref().map(duration_ms).transpose()?,
            restart: RestartPolicy {
                when: when(self.restart.when, self.cron.is_some())?,
                backoff_ms: ms(&self.restart.backoff, BACKOFF_MS)?,
                backoff_ms_max: ms(&self.restart.backoff_max, BACKOFF_MS_MAX)?,
            },
            update: UpdatePolicy {
                at_a_time: self.update.at_a_time.unwrap_or(1),
                healthy_after_ms: ms(&self.update.healthy_after, HEALTHY_AFTER_MS)?,
                within_ms: ms(&self.update.within, HEALTHY_WITHIN_MS)?,
            },
            restarts: 0,
            health: match self.health {
                None => None,
                Some(health) => Some(HealthPolicy {
                    within_ms: ms(&health.within, READY_WITHIN_MS)?,
                    every_ms: health.every.as_deref().map(duration_ms).transpose()?,
                }),
            },
            schedule: self.cron.map(|cron| Schedule {
                schedule: cron.schedule,
                zone: cron.zone.unwrap_or_else(|| "UTC".into()),
                missed: cron.missed,
            }),
        })
    }
}

fn when(said: Option<RestartWhen>, has_schedule: bool) -> Result<RestartWhen, String> {
    match (said, has_schedule) {
        (None, true) => Ok(RestartWhen::OnSchedule),
        (Some(_), true) => {
            Err("'cron' says when it is begun, and 'restart.when' too: leave out one of them".into())
        }
        (said, false) => Ok(said.unwrap_or_default()),
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
