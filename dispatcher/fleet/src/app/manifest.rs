//! `app.toml`: an application as people write it.
//!
//! ```toml
//! name = "shop"
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
//!
//! [component.report]
//! module = "report.wasm"
//! cron = { schedule = "30 3 * * 1-5", zone = "Europe/Berlin", missed = "once" }   # it begins then, and ends by itself
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
use wayfare_scheduler::application::{ComponentId, Mobility};
use wayfare_scheduler::constraint::{Apart, Constraints, Domain, LabelRule, LabelTest, Requirements, Spread};

use super::schedule::{Missed, Schedule};
use super::{AppSpec, ComponentSpec, RestartPolicy, RestartWhen, UpdatePolicy};
use crate::module::check_wasm;

const BACKOFF_MS: u64 = 1_000;
const BACKOFF_MS_MAX: u64 = 300_000;
const HEALTHY_AFTER_MS: u64 = 5_000;
const HEALTHY_WITHIN_MS: u64 = 120_000;

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
    component: BTreeMap<String, Part>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Part {
    module: String,
    #[serde(default = "one")]
    count: u32,
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
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Cron {
    schedule: String,
    /// UTC unless it says otherwise.
    zone: Option<String>,
    #[serde(default)]
    missed: Missed,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Restart {
    when: Option<RestartWhen>,
    backoff: Option<String>,
    backoff_max: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Update {
    at_a_time: Option<u32>,
    healthy_after: Option<String>,
    within: Option<String>,
}

/// A topic, and what is on it, as manifests declare it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
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

fn one() -> u32 {
    1
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
    let spec = AppSpec {
        name: manifest.name,
        components,
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
        count: 1,
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
            count: self.count,
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
            mobility: if self.pinned {
                Mobility::Pinned
            } else {
                Mobility::Free
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

/// `component`, or `component by host`; one of another application is `application/component`.
fn apart(application: &str, rule: &str) -> Apart {
    let (of, by) = rule.split_once(" by ").unwrap_or((rule, "engine"));
    let (application, component) = of.trim().split_once('/').unwrap_or((application, of.trim()));
    Apart {
        from: ComponentId::new(application, component),
        by: domain(by),
    }
}

/// `engine`, `host`, or a label.
fn domain(text: &str) -> Domain {
    match text.trim() {
        "engine" => Domain::Engine,
        "host" => Domain::Host,
        label => Domain::Label(label.strip_prefix("label ").unwrap_or(label).trim().to_owned()),
    }
}

/// `key=value`, `key!=value`, `key in (a, b)`, or `key`: it has the label.
fn label_rule(text: &str) -> Result<LabelRule, String> {
    let part = |text: &str| text.trim().to_owned();
    let (key, test) = if let Some((key, value)) = text.split_once("!=") {
        (part(key), LabelTest::Differs(part(value)))
    } else if let Some((key, values)) = text.split_once(" in ") {
        let values = values.trim().strip_prefix('(').and_then(|v| v.strip_suffix(')'));
        let values = values.ok_or_else(|| format!("label rule '{text}': 'key in (a, b)' is expected"))?;
        (part(key), LabelTest::In(values.split(',').map(part).collect()))
    } else if let Some((key, value)) = text.split_once('=') {
        (part(key), LabelTest::Equals(part(value)))
    } else {
        (part(text), LabelTest::Exists)
    };
    if key.is_empty() {
        return Err(format!("label rule '{text}' names no label"));
    }
    Ok(LabelRule { key, test })
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim()))
}

fn duration_ms(text: &str) -> Result<u64, String> {
    let ms = split_unit(text).and_then(|(number, unit)| match unit {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    });
    ms.filter(|ms| (1..=86_400_000).contains(ms))
        .ok_or_else(|| format!("'{text}': a time from 1ms to 24h is expected, such as 500ms, 30s or 5m"))
}

fn size(text: &str) -> Result<u64, String> {
    let bytes = split_unit(text).and_then(|(number, unit)| {
        let shift = match unit.to_ascii_uppercase().as_str() {
            "" | "B" => 0,
            "K" | "KIB" => 10,
            "M" | "MIB" => 20,
            "G" | "GIB" => 30,
            _ => return None,
        };
        number.checked_mul(1 << shift)
    });
    bytes
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| format!("'{text}': a size is expected, such as 65536, 512K, 16M or 1G"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str) -> Result<Resolved, ManifestError> {
        let make = |path: &str| match path {
            "m.wasm" => Ok(b"\0asm\x01\0\0\0".to_vec().into()),
            "m.py" => Ok(Made {
                args: vec!["/program/m.py".into()],
                env: BTreeMap::from([("A".into(), "1".into()), ("B".into(), "1".into())]),
                memory_bytes: Some(64 << 20),
                folders: BTreeMap::from([(FolderName::Program, b"packed".to_vec())]),
                ports: Ports {
                    outputs: vec![Port {
                        topic: "of/source".into(),
                        media_type: None,
                    }],
                    ..Ports::default()
                },
                ..b"\0asm\x01\0\0\0".to_vec().into()
            }),
            other => Err(format!("{other}: no such file")),
        };
        resolve(text, make, |path| Err(format!("{path}: no such file")))
    }

    #[test]
    fn a_manifest_says_it_all() {
        let text = r#"
            name = "shop"
            [component.web]
            module = "m.wasm"
            count = 3
            memory = "16M"
            grants = { pub = ["shop/orders"], sub = ["shop/#"], devices = ["till"] }
            labels = ["zone=a", "kind in (x, y)", "battery!=low", "camera"]
            apart-from = ["db", "other/db by host"]
            spread = "label zone"
            checkpoint = "10s"
            restart = { when = "on-failure", backoff = "250ms" }
            update = { at-a-time = 2, within = "1m" }
            [component.db]
            module = "m.wasm"
            pinned = true
            [component.report.cron]
            schedule = "30 3 * * 1-5"
            zone = "Europe/Berlin"
            missed = "once"
            [component.report]
            module = "m.wasm"
        "#;
        let Resolved { spec, blobs } = resolved(text).unwrap();
        assert_eq!(blobs.len(), 1);
        let web = &spec.components["web"];
        assert_eq!(
            (web.count, web.memory_bytes, web.checkpoint_ms),
            (3, Some(16 << 20), Some(10_000))
        );
        assert_eq!(
            (web.restart.when, web.restart.backoff_ms),
            (RestartWhen::OnFailure, 250)
        );
        assert!(web.grants.may_publish("shop/orders") && web.grants.may_subscribe("shop/+"));
        assert!(web.constraints.requirements.devices.contains("till"));
        assert!(spec.components["db"].grants.is_empty());
        assert_eq!((web.update.at_a_time, web.update.within_ms), (2, 60_000));
        let report = &spec.components["report"];
        let schedule = report.schedule.as_ref().unwrap();
        assert_eq!(
            schedule.to_string(),
            "'30 3 * * 1-5' in Europe/Berlin, missed ones once"
        );
        assert_eq!(
            (report.restart.when, &web.schedule),
            (RestartWhen::OnSchedule, &None)
        );
        let rules: Vec<String> = web
            .constraints
            .requirements
            .labels
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(rules, ["battery!=low", "camera", "kind in (x, y)", "zone=a"]);
        let apart: Vec<String> = web
            .constraints
            .apart_from
            .iter()
            .map(|a| format!("{} {}", a.from, a.by))
            .collect();
        assert_eq!(apart, ["other/db host", "shop/db engine"]);
        assert_eq!(spec.components["db"].mobility, Mobility::Pinned);
        assert_eq!(
            web.revision(),
            ComponentSpec {
                count: 9,
                ..web.clone()
            }
            .revision()
        );
        assert_ne!(
            web.revision(),
            ComponentSpec {
                args: vec!["x".into()],
                ..web.clone()
            }
            .revision()
        );
    }

    #[test]
    fn a_program_in_a_language_has_what_the_language_says_and_the_manifest_wins() {
        let text = "
            name = 'a'
            [component.x]
            module = 'm.py'
            args = ['-v']
            env = { B = '2' }
            grants = { sub = ['a/#'] }
            input = [{ topic = 'a/b', media_type = 'text/plain' }]
            [component.y]
            module = 'm.py'
            memory = '8M'
        ";
        assert_eq!(modules(text).unwrap(), BTreeSet::from(["m.py".to_owned()]));
        let Resolved { spec, blobs } = resolved(text).unwrap();
        assert_eq!(blobs.len(), 2, "one interpreter and one source");
        let (x, y) = (&spec.components["x"], &spec.components["y"]);
        assert_eq!(x.args, ["/program/m.py", "-v"]);
        assert_eq!((x.env["A"].as_str(), x.env["B"].as_str()), ("1", "2"));
        assert_eq!((x.memory_bytes, y.memory_bytes), (Some(64 << 20), Some(8 << 20)));
        assert_eq!(x.grants.folders[&FolderName::Program], Blob::of(b"packed"));
        assert_eq!(x.blobs().count(), 2);
        assert_ne!(x.revision(), y.revision());
        assert_eq!(x.ports.inputs[0].to_string(), "a/b (text/plain)");
        assert_eq!(x.program("x".into()).ports.inputs.len(), 1);
        assert_eq!(y.ports.outputs[0].topic, "of/source");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, says) in [
            ("", "missing field `name`"),
            ("name = 'a'\n[component]", "0 components"),
            (
                "name = 'a/b'\n[component.x]\nmodule = 'm.wasm'",
                "cannot name an application",
            ),
            (
                "name = 'a'\n[component.x]\nmodule = 'n.wasm'",
                "component 'x': n.wasm: no such file",
            ),
            (
                "name = 'a'\n[component.x]\nmodule = 'm.wasm'\nmemory = '1T'",
                "component 'x': '1T'",
            ),
            (
                "name = 'a'\n[component.x]\nmodule = 'm.wasm'\ncuont = 1",
                "unknown field `cuont`",
            ),
            (
                "name = 'a'\n[component.x]\nmodule = 'm.wasm'\noutput = [{ topic = 'a', media_type = 'a/b' }]",
                "add it to grants.pub",
            ),
            (
                "name = 'a'\n[component.x]\nmodule = 'm.wasm'\ncount = 100000",
                "100000 instances",
            ),
            (
                "name = 'a'\n[component.x]\nmodule = 'm.wasm'\ncron = { schedule = '61 * * * *' }",
                "component 'x': cron: '61' is not a valid minute: 0 to 59",
            ),
            (
                "name = 'a'\n[component.x]\nmodule = 'm.wasm'\ncron = { schedule = '* * * * *', zone = 'Mars' }",
                "component 'x': cron: 'Mars' is not a time zone",
            ),
            (
                "name = 'a'\n[component.x]\nmodule = 'm.wasm'\nrestart = { when = 'never' }\ncron = { schedule = '* * * * *' }",
                "leave out one of them",
            ),
            (
                "name = 'a'\n[component.x]\nmodule = 'm.wasm'\nrestart = { when = 'on-schedule' }",
                "there is no schedule",
            ),
            (
                "name = 'a'\n[component.x]\nmodule = 'm.wasm'\nlabels = ['=x']",
                "names no label",
            ),
        ] {
            let error = resolved(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
