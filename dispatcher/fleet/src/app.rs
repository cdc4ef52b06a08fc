//! Applications: what people say should run. [`manifest`] is how they write it, [`AppSpec`] what the
//! dispatcher keeps, [`ask`] what its service for applications is asked.

pub mod alarms;
pub mod ask;
pub mod hold;
pub mod manifest;
pub mod programs;
pub mod schedule;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wayfare_protocol::command::ProgramSpec;
use wayfare_protocol::error::Failure;
use wayfare_protocol::grants::Grants;
use wayfare_protocol::ids::{Blob, Digest, is_name};
use wayfare_protocol::ports::Ports;
use wayfare_scheduler::application::{Component, Mobility, Resources};
use wayfare_scheduler::constraint::Constraints;

use self::schedule::Schedule;

/// Bytes of an application's or component's name: with an ordinal they make a program's.
pub const APP_NAME_BYTES_MAX: usize = 24;
pub const COMPONENTS_MAX: usize = 64;
pub const INSTANCES_MAX: u32 = 10_000;

/// One version of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppSpec {
    pub name: String,
    pub components: BTreeMap<String, ComponentSpec>,
}

/// `count` programs of one module.
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
    /// After none: its [`ComponentSpec::schedule`] begins it. A dispatcher that knows of no schedules refuses this, as it should.
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
        // Without ports it is what it was before there were any: nothing is replaced because of them.
        let bytes = match self.ports.is_empty() {
            true => serde_json::to_vec(&making),
            false => serde_json::to_vec(&(&making, &self.ports)),
        };
        Digest::of(&bytes.expect("plain data serialises"))
    }

    fn check_schedule(&self) -> Result<(), String> {
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
            health_every_ms: None,
        }
    }
}

impl AppSpec {
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
            ] {
                if ms == 0 {
                    return Err(bad(format!("component '{name}': {what} must not be 0")));
                }
            }
            component
                .check_schedule()
                .map_err(|reason| bad(format!("component '{name}': {reason}")))?;
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
