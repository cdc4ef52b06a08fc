//! What is wanted: applications of components, each with a number of instances that are to run.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use wayfare_protocol::ids::EngineId;

use crate::constraint::Constraints;

/// Applications by name.
pub type Applications = BTreeMap<String, Application>;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Application {
    /// By name.
    pub components: BTreeMap<String, Component>,
}

/// One part of an application: `count` programs of one module, or one for each of its `homes`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Component {
    pub count: u32,
    /// What each instance is given.
    pub demand: Resources,
    pub mobility: Mobility,
    pub constraints: Constraints,
    /// Of a component that runs on [`Mobility::EveryEngine`]: the engine of each of its instances, by
    /// ordinal. `count` says nothing then.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub homes: BTreeMap<u32, EngineId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Resources {
    pub memory_bytes: u64,
    /// Thousandths of one processor.
    pub processor_millicores: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mobility {
    #[default]
    Free,
    /// Never moved while it runs, not even off a draining engine. It is restarted elsewhere if its engine is
    /// lost; what must not even then names its engine in
    /// [`Requirements::engines`](crate::constraint::Requirements::engines).
    Pinned,
    /// One instance on each engine that meets the requirements, and nowhere else: not moved off a draining
    /// engine, and not restarted elsewhere if its engine is lost.
    EveryEngine,
}

/// A component, by the names that people give.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ComponentId {
    pub application: String,
    pub component: String,
}

/// One instance of a component. Ordinals survive moves and restarts; they go from 0 to below the count, or
/// are those of [`Component::homes`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId {
    #[serde(flatten)]
    pub of: ComponentId,
    pub ordinal: u32,
}

impl ComponentId {
    pub fn new(application: &str, component: &str) -> Self {
        Self {
            application: application.to_owned(),
            component: component.to_owned(),
        }
    }
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.application, self.component)
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.of, self.ordinal)
    }
}
