//! Applications: what people say should run. [`manifest`] is how they write it, [`AppSpec`] what the
//! dispatcher keeps, [`ask`] what its service for applications is asked.

pub mod alarms;
pub mod ask;
pub mod hold;
pub mod manifest;
pub mod programs;
pub mod schedule;
pub mod staging;
mod wording;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wayfare_protocol::command::ProgramSpec;
use wayfare_protocol::error::Failure;
use wayfare_protocol::grants::Grants;
use wayfare_protocol::health::{HEALTHY_MS_MAX, HEALTHY_MS_MIN};
use wayfare_protocol::ids::{Blob, Digest, is_name};
use wayfare_protocol::ports::Ports;
use wayfare_scheduler::application::{Component, Mobility, Resources};
use wayfare_scheduler::constraint::Constraints;

use self::schedule::Schedule;
use self::staging::Staging;

/// Bytes of an application's or component's name: with an ordinal they make a program's.
pub const APP_NAME_BYTES_MAX: usize = 24;
pub const COMPONENTS_MAX: usize = 64;
pub const INSTANCES_MAX: u32 = 10_000;

/// One version of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppSpec {
    pub name: String,
    pub components: BTreeMap<String, ComponentSpec>,
    /// How a new version comes to the fleet.
    #[serde(default, skip_serializing_if = "Staging::is_empty")]
    pub staging: Staging,
}

/// `count` programs of one module, or one on every engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentSpec {
    pub count: u32,
    pub module: Blob,
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub stdin: Option<Blob>,
    pub memory_bytes: Option<u64>,
    /// What its programs may publish and subscribe to.
    #[serde(default)]
    pub grants: Grants,
    /// What its programs declare of their messages.
    #[serde(default, skip_serializing_if = "Ports::is_empty")]
    pub ports: Ports,
    pub processor_millicores: u64,
    pub mobility: Mobility,
    pub constraints: Constraints,
    /// How often its state is copied to the dispatcher; `None`: it stays on its engine.
    pub checkpoint_ms: Option<u64>,
    pub restart: RestartPolicy,
    pub update: UpdatePolicy,
    /// When its instances are begun that end by themselves; `None`: they run all the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// What its instances are to say of themselves; `None`: one that runs is healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthPolicy>,
    /// How often somebody has had its instances begin anew. No manifest says it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: u32,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// What instances are to say of themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthPolicy {
    /// One is to say that it is ready in so long.
    pub within_ms: u64,
    /// And then at least this often that it is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPolicy {
    pub when: RestartWhen,
    /// The first wait; each further one is twice as long.
    pub backoff_ms: u64,
    pub backoff_ms_max: u64,
}

/// After which ends an instance is started anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartWhen {
    #[default]
    Always,
    /// Trapped, could not be started, or exited with another code than 0.
    OnFailure,
    Never,
    /// After none: its [`ComponentSpec::schedule`] begins it. A dispatcher that knows of no schedules refuses
    /// this, as it should.
    OnSchedule,
}

/// How instances are replaced when their module, arguments or other making changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdatePolicy {
    /// Instances that are replaced or not yet healthy at the same time.
    pub at_a_time: u32,
    /// An instance that has run for so long is healthy.
    pub healthy_after_ms: u64,
    /// Without another healthy instance for so long, the version before comes back.
    pub within_ms: u64,
}

impl ComponentSpec {
    /// What an instance is made of: instances of another revision are replaced.
    pub fn revision(&self) -> Digest {
        let making = (
            &self.module,
            &self.args,
            &self.env,
            &self.stdin,
            self.memory_bytes,
            &self.grants,
        );
        // Without what came later it is what it was before: nothing is replaced because of that.
        // What an instance is to say of itself is asked of those only that were begun so.
        let later = (self.health, self.restarts);
        let bytes = match (self.ports.is_empty(), later) {
            (true, (None, 0)) => serde_json::to_vec(&making),
            (false, (None, 0)) => serde_json::to_vec(&(&making, &self.ports)),
            _ => serde_json::to_vec(&(&making, &self.ports, later)),
        };
        Digest::of(&bytes.expect("plain data serialises"))
    }

    fn check_schedule(&self) -> Result<(), String> {
        if self.schedule.is_some() && self.health.is_some() {
            return Err(
                "it has health and cron: what is begun at times is healthy when it ends well".to_owned(),
            );
        }
        match (&self.schedule, self.restart.when) {
            (None, RestartWhen::OnSchedule) => {
                Err("restart.when is 'on-schedule', and there is no schedule: write one as 'cron'".to_owned())
            }
            (None, _) => Ok(()),
            (Some(schedule), RestartWhen::OnSchedule) => schedule
                .times()
                .map(drop)
                .map_err(|reason| format!("cron: {reason}")),
            (Some(_), _) => Err("'cron' begins it: restart.when says otherwise".to_owned()),
        }
    }

    pub fn blobs(&self) -> impl Iterator<Item = Blob> + '_ {
        let folders = self.grants.folders.values().copied();
        std::iter::once(self.module).chain(self.stdin).chain(folders)
    }

    fn health_every_ms(&self) -> Option<u64> {
        self.health.and_then(|health| health.every_ms)
    }

    /// Whether it has one instance on each engine that meets its requirements, rather than `count` of them.
    pub fn is_everywhere(&self) -> bool {
        self.mobility == Mobility::EveryEngine
    }

    fn check_everywhere(&self) -> Result<(), String> {
        let constraints = &self.constraints;
        let contradicts = [
            ("a count", self.count != 0),
            ("max-per-engine", constraints.per_engine_max.is_some()),
            ("spread", constraints.spread.is_some()),
            ("cron", self.schedule.is_some()),
        ];
        match contradicts.into_iter().find(|(_, is_there)| *is_there) {
            Some((what, _)) if self.is_everywhere() => Err(format!(
                "it runs on every engine, and has {what} as well: leave out one of them"
            )),
            _ => Ok(()),
        }
    }

    /// As the scheduler knows it; of one that runs on every engine without its homes, which follow from the
    /// fleet.
    pub fn component(&self) -> Component {
        Component {
            count: self.count,
            demand: Resources {
                memory_bytes: self.memory_bytes.unwrap_or(0),
                processor_millicores: self.processor_millicores,
            },
            mobility: self.mobility,
            constraints: self.constraints.clone(),
            homes: BTreeMap::new(),
        }
    }

    pub fn program(&self, name: String) -> ProgramSpec {
        ProgramSpec {
            name,
            module: self.module,
            args: self.args.clone(),
            env: self.env.clone(),
            stdin: self.stdin,
            memory_bytes_max: self.memory_bytes,
            grants: Box::new(self.grants.clone()),
            ports: Box::new(self.ports.clone()),
            health_every_ms: self.health_every_ms(),
        }
    }
}

impl AppSpec {
    /// Whether releases that know neither stages, windows nor health read all of it.
    pub fn is_read_by_all(&self) -> bool {
        self.staging.is_empty()
            && self
                .components
                .values()
                .all(|component| component.health.is_none())
    }

    /// Checks what came from outside against the limits.
    pub fn check(&self) -> Result<(), Failure> {
        check_name("application", &self.name)?;
        if self.components.is_empty() || self.components.len() > COMPONENTS_MAX {
            return Err(bad(format!(
                "application '{}' has {} components: 1 to {COMPONENTS_MAX} are expected",
                self.name,
                self.components.len()
            )));
        }
        self.staging.check().map_err(bad)?;
        let instances = self.components.values().map(|c| u64::from(c.count)).sum::<u64>();
        if instances > u64::from(INSTANCES_MAX) {
            return Err(bad(format!(
                "application '{}' has {instances} instances, the limit is {INSTANCES_MAX}",
                self.name
            )));
        }
        for (name, component) in &self.components {
            check_name("component", name)?;
            component.program(self.instance_name(name, 0)).check()?;
            for (what, ms) in [
                ("update.healthy-after", component.update.healthy_after_ms),
                ("update.within", component.update.within_ms),
                ("restart.backoff", component.restart.backoff_ms),
                ("checkpoint", component.checkpoint_ms.unwrap_or(1)),
                (
                    "health.within",
                    component.health.map_or(1, |health| health.within_ms),
                ),
            ] {
                if ms == 0 {
                    return Err(bad(format!("component '{name}': {what} must not be 0")));
                }
            }
            component
                .check_schedule()
                .and_then(|()| component.check_everywhere())
                .map_err(|reason| bad(format!("component '{name}': {reason}")))?;
            let every_ms = component.health_every_ms();
            if every_ms.is_some_and(|ms| !(HEALTHY_MS_MIN..=HEALTHY_MS_MAX).contains(&ms)) {
                return Err(bad(format!("component '{name}': health.every is 1s to 24h")));
            }
            if component.update.at_a_time == 0 {
                return Err(bad(format!("component '{name}': update.at-a-time must not be 0")));
            }
        }
        Ok(())
    }

    /// The name of an instance's program.
    pub fn instance_name(&self, component: &str, ordinal: u32) -> String {
        format!("{}-{component}-{ordinal}", self.name)
    }
}

fn check_name(what: &str, name: &str) -> Result<(), Failure> {
    if is_name(name) && name.len() <= APP_NAME_BYTES_MAX {
        return Ok(());
    }
    Err(bad(format!(
        "'{}' cannot name an {what}: 1 to {APP_NAME_BYTES_MAX} of a-z A-Z 0-9 . _ -, beginning with a letter or digit",
        name.chars().take(80).collect::<String>()
    )))
}

fn bad(reason: String) -> Failure {
    Failure::BadRequest { reason }
}
