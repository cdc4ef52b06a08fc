//! The rows of the lists that every front end shows: programs with what the dispatcher knows of them, engines
//! and their devices, modules and snapshots. With their fields, by which they are filtered and sorted in the
//! one read language ([`query`](crate::query)).

mod fields;

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join;
use serde::{Deserialize, Serialize};
use wayfare_protocol::device::{Alias, Backend, DeviceKind};
use wayfare_protocol::ids::{Digest, EngineId, ProgramId};
use wayfare_protocol::status::EngineAbout;

pub use self::fields::{
    DEVICE_FIELDS, ENGINE_FIELDS, EVENT_FIELDS, FILE_FIELDS, LINE_FIELDS, MODULE_FIELDS, OPERATION_FIELDS,
    PROGRAM_FIELDS, SNAPSHOT_FIELDS, VALUE_FIELDS,
};
use crate::app::alarms::AlarmRecord;
use crate::app::ask::AppStatus;
use crate::app::hold::HoldRecord;
use crate::app::programs::{ProgramAbout, is_shown};
use crate::client::Client;
use crate::core::Report;
use crate::documents::now_ms;
use crate::error::CommandError;
use crate::fleet::{EngineView, ProgramView};
use crate::numbers::{EngineLoad, ProgramLoad};

/// A program, and what the dispatcher knows of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    #[serde(flatten)]
    pub view: ProgramView,
    #[serde(flatten)]
    pub about: Option<ProgramAbout>,
    /// What it uses, if that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numbers: Option<ProgramLoad>,
}

/// An engine, and what it uses, if that was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListedEngine {
    #[serde(flatten)]
    pub view: EngineView,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numbers: Option<EngineLoad>,
}

/// A device that an engine offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedDevice {
    pub engine: EngineId,
    pub device: Alias,
    pub kind: DeviceKind,
    pub backend: Backend,
    /// Its engine is.
    pub online: bool,
}

/// The devices of these engines, by engine and alias.
pub fn devices(engines: &[EngineView]) -> Vec<ListedDevice> {
    let of = |view: &EngineView| -> Vec<ListedDevice> {
        let devices = view.about.iter().flat_map(|about| &about.devices);
        devices
            .map(|(alias, about)| ListedDevice {
                engine: view.engine.clone(),
                device: alias.clone(),
                kind: about.kind,
                backend: about.backend,
                online: view.online,
            })
            .collect()
    };
    engines.iter().flat_map(of).collect()
}

/// A module that programs are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedModule {
    pub module: Digest,
    /// Of the first of its programs, by name.
    pub name: String,
    /// Those that have not ended,
    pub programs: u64,
    /// and those that have.
    pub ended: u64,
    pub engines: BTreeSet<EngineId>,
    pub applications: BTreeSet<String>,
}

/// The modules of these programs, by digest.
pub fn modules(programs: &[Listed]) -> Vec<ListedModule> {
    let mut modules = BTreeMap::<Digest, ListedModule>::new();
    for one in programs {
        let status = &one.view.status;
        let listed = modules.entry(status.module).or_insert_with(|| ListedModule {
            module: status.module,
            name: status.name.clone(),
            programs: 0,
            ended: 0,
            engines: BTreeSet::new(),
            applications: BTreeSet::new(),
        });
        match status.state.is_ended() {
            true => listed.ended += 1,
            false => listed.programs += 1,
        }
        if status.name < listed.name {
            listed.name.clone_from(&status.name);
        }
        listed.engines.insert(status.engine.clone());
        let application = one.instance().and_then(|instance| instance.split('/').next());
        listed.applications.extend(application.map(str::to_owned));
    }
    modules.into_values().collect()
}

/// The state of an instance, which the dispatcher keeps to go on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedSnapshot {
    pub instance: String,
    pub program: ProgramId,
    pub engine: Option<EngineId>,
    /// By the dispatcher's clock, in milliseconds since 1970.
    pub at_ms: u64,
    /// `None`: the dispatcher is of a release that does not say.
    pub bytes: Option<u64>,
}

/// What is kept of these applications, as they list their instances.
pub fn snapshots(applications: &[AppStatus]) -> Vec<ListedSnapshot> {
    let instances = applications.iter().flat_map(|status| &status.instances);
    let kept = instances.filter_map(|one| {
        Some(ListedSnapshot {
            instance: one.instance.clone(),
            program: one.program?,
            engine: one.engine.clone(),
            at_ms: one.checkpoint_at_ms?,
            bytes: one.checkpoint_bytes,
        })
    });
    kept.collect()
}

impl Listed {
    /// Whether it runs, or ended a moment ago as far as is known.
    pub fn is_recent(&self, now_ms: u64) -> bool {
        match &self.about {
            _ if !self.view.status.state.is_ended() => true,
            // Nobody knows.
            None => true,
            // It had ended when the dispatcher began to act.
            Some(about) => is_shown(about.ended_ms, now_ms),
        }
    }

    /// The instance of an application that it is.
    pub fn instance(&self) -> Option<&str> {
        self.about.as_ref()?.instance.as_deref()
    }

    /// Its memory as measured, or else as its status says.
    pub fn memory_bytes(&self) -> u64 {
        let measured = self.numbers.as_ref().map(|load| load.numbers.memory_bytes);
        measured.unwrap_or(self.view.status.memory_bytes)
    }
}

/// The whole fleet at a moment, and what is wrong with it.
#[derive(Debug, Clone, Serialize)]
pub struct FleetStatus {
    pub engines: Vec<ListedEngine>,
    /// Those that run, and those that ended a moment ago.
    pub programs: Vec<Listed>,
    /// How many more have ended.
    #[serde(skip)]
    pub hidden: usize,
    /// After how many milliseconds each engine reported that did.
    pub answered_ms: BTreeMap<EngineId, u64>,
    pub silent: Vec<EngineId>,
    pub alarms: Vec<AlarmRecord>,
    pub hold: Option<HoldRecord>,
}

impl Client {
    /// The fleet after a report.
    pub async fn fleet_status(&self, report: &Report) -> Result<FleetStatus, CommandError> {
        let mut engines = self.engines_marked().await?;
        report.mark(&mut engines);
        let (mut programs, numbers) = self.measured().await?;
        let (count, now_ms) = (programs.len(), now_ms());
        programs.retain(|one| one.is_recent(now_ms));
        Ok(FleetStatus {
            engines: with_numbers(engines, numbers),
            hidden: count - programs.len(),
            programs,
            answered_ms: report.answered.clone(),
            silent: report.silent.clone(),
            alarms: self.alarms().await?,
            hold: self.hold().await?,
        })
    }

    /// All programs, and what the dispatcher knows of them, without numbers.
    pub async fn listed(&self) -> Result<Vec<Listed>, CommandError> {
        let about = self.programs_about().await?.unwrap_or_default();
        let programs = self.programs().await?;
        let listed = programs.iter().map(|view| Listed {
            about: about.get(&view.status.program).cloned(),
            view: view.clone(),
            numbers: None,
        });
        Ok(listed.collect())
    }

    /// The same with their numbers, and the numbers of engines.
    pub async fn measured(&self) -> Result<(Vec<Listed>, BTreeMap<EngineId, EngineLoad>), CommandError> {
        let numbers = async { Ok(self.numbers().await?.unwrap_or_default()) };
        let (mut listed, mut numbers) = try_join(self.listed(), numbers).await?;
        for one in &mut listed {
            one.numbers = numbers.programs.remove(&one.view.status.program);
        }
        Ok((listed, numbers.engines))
    }
}

/// Engines beside their numbers.
pub fn with_numbers(
    engines: Vec<EngineView>,
    mut numbers: BTreeMap<EngineId, EngineLoad>,
) -> Vec<ListedEngine> {
    let listed = engines.into_iter().map(|view| ListedEngine {
        numbers: numbers.remove(&view.engine),
        view,
    });
    listed.collect()
}

/// An engine's labels as they are given; `None` if there are none.
pub fn labels(about: &EngineAbout) -> Option<String> {
    let label = |(key, value): (&String, &String)| format!("{key}={value}");
    let labels: Vec<String> = about.labels.iter().map(label).collect();
    (!labels.is_empty()).then(|| labels.join(" "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wayfare_protocol::ids::{BootId, Digest, ProgramId};

    use super::*;
    use crate::app::programs::ENDED_SHOWN_MS;
    use crate::fleet::Presence;

    fn program(state: &str, about: Option<ProgramAbout>) -> Listed {
        let status = json!({
            "program": ProgramId::from_random([1; 16]), "name": "shop-web-0", "engine": "a", "code": 0,
            "boot": BootId::from_random([2; 16]), "generation": 1, "sequence": 1, "memory_bytes": 0,
            "state": state, "module": Digest::of(b"m"),
        });
        let view = ProgramView {
            status: serde_json::from_value(status).unwrap(),
            presence: Presence::Known,
        };
        Listed {
            view,
            about,
            numbers: None,
        }
    }

    #[test]
    fn modules_are_listed_once_with_all_that_is_made_of_them() {
        let of = |module: &[u8], name: &str, engine: &str, state: &str, instance: Option<&str>| {
            let about = instance.map(|instance| ProgramAbout {
                instance: Some(instance.to_owned()),
                ..ProgramAbout::default()
            });
            let mut one = program(state, about);
            one.view.status.module = Digest::of(module);
            one.view.status.name = name.to_owned();
            one.view.status.engine = engine.parse().unwrap();
            one
        };
        let listed = modules(&[
            of(b"m", "web-1", "b", "running", Some("shop/web/1")),
            of(b"m", "web-0", "a", "running", Some("shop/web/0")),
            of(b"m", "web-2", "a", "exited", None),
            of(b"n", "alone", "a", "paused", None),
        ]);
        let found: BTreeMap<Digest, ListedModule> = listed.into_iter().map(|one| (one.module, one)).collect();
        assert_eq!(found.len(), 2);
        let web = &found[&Digest::of(b"m")];
        assert_eq!((web.name.as_str(), web.programs, web.ended), ("web-0", 2, 1));
        assert_eq!((web.engines.len(), web.applications.len()), (2, 1));
        let alone = &found[&Digest::of(b"n")];
        assert_eq!((alone.programs, alone.applications.len()), (1, 0));
    }

    #[test]
    fn snapshots_are_of_instances_that_have_one() {
        let instance = |number: u8, at_ms: Option<u64>, bytes: Option<u64>| {
            json!({
                "instance": format!("shop/web/{number}"), "state": "running", "current": true, "healthy": true,
                "program": ProgramId::from_random([number; 16]), "engine": "a", "generation": 1,
                "checkpoint_at_ms": at_ms, "checkpoint_bytes": bytes,
            })
        };
        let status = serde_json::from_value(json!({
            "application": "shop", "version": 1, "serial": 1, "state": "running", "unplaced": [],
            "instances": [instance(0, Some(5), Some(9)), instance(1, None, None), instance(2, Some(7), None)],
        }));
        let kept = snapshots(&[status.unwrap()]);
        let kept: Vec<_> = kept
            .iter()
            .map(|one| (one.instance.as_str(), one.at_ms, one.bytes))
            .collect();
        assert_eq!(kept, [("shop/web/0", 5, Some(9)), ("shop/web/2", 7, None)]);
    }

    #[test]
    fn what_ended_long_ago_is_not_recent() {
        let ended = |ended_ms| {
            Some(ProgramAbout {
                ended_ms,
                ..ProgramAbout::default()
            })
        };
        for (state, about, is_recent) in [
            ("running", None, true),
            ("running", ended(None), true),
            ("exited", None, true),
            ("exited", ended(None), false),
            ("exited", ended(Some(1_000)), false),
            ("exited", ended(Some(1_001)), true),
            ("exited", ended(Some(u64::MAX)), true),
        ] {
            let now_ms = 1_000 + ENDED_SHOWN_MS;
            assert_eq!(
                program(state, about.clone()).is_recent(now_ms),
                is_recent,
                "{state} {about:?}"
            );
        }
    }
}
