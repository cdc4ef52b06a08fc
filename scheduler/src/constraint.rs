//! What a component asks of the engine that it runs on, beside room.
//!
//! [`Requirements`] depend on the engine alone, and are judged once for all components that share them.
//! The rest depends on what else runs where.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::application::ComponentId;
use crate::fleet::{Code, Engine};
use crate::lack::Lack;
use wayfare_protocol::ids::EngineId;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Constraints {
    #[serde(flatten)]
    pub requirements: Requirements,
    /// At most so many instances of the component on one engine.
    pub per_engine_max: Option<u32>,
    /// Components that it shares no engine or host with. It goes both ways, whichever of the two says it.
    pub apart_from: BTreeSet<Apart>,
    pub spread: Option<Spread>,
}

/// What the engine itself must be or have. Empty sets ask for nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Requirements {
    /// One of these engines.
    pub engines: BTreeSet<EngineId>,
    /// On one of these hosts.
    pub hosts: BTreeSet<String>,
    /// All of these.
    pub labels: BTreeSet<LabelRule>,
    /// All of these device aliases.
    pub devices: BTreeSet<String>,
    /// Only engines that have or get code for any module.
    pub code: bool,
}

/// A rule about one of an engine's labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LabelRule {
    pub key: String,
    pub test: LabelTest,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelTest {
    Equals(String),
    /// Also true of engines without the label.
    Differs(String),
    In(BTreeSet<String>),
    Exists,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Apart {
    pub from: ComponentId,
    /// How far apart: `Engine`, `Host` or the value of a label. Engines without that label are apart from
    /// all.
    pub by: Domain,
}

/// Even numbers over the values of a domain that the component may use: after each placement, no value has
/// more than `skew_max` instances above the one with the fewest. It decides where something new goes; what
/// runs stays.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Spread {
    pub by: Domain,
    /// At least 1; 0 counts as 1.
    pub skew_max: u32,
}

/// What divides the fleet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Domain {
    Engine,
    Host,
    /// The value of this label; engines without it belong nowhere.
    Label(String),
}

impl Requirements {
    /// The first thing that the engine lacks, in the order of the fields.
    pub fn check(&self, id: &EngineId, engine: &Engine) -> Result<(), Lack> {
        if !self.engines.is_empty() && !self.engines.contains(id) {
            return Err(Lack::EngineName);
        }
        if !self.hosts.is_empty() && !self.hosts.contains(&engine.host) {
            return Err(Lack::HostName);
        }
        if let Some(rule) = self.labels.iter().find(|rule| !rule.holds(engine)) {
            return Err(Lack::Label { rule: rule.clone() });
        }
        if let Some(device) = self.devices.difference(&engine.devices).next() {
            let device = device.clone();
            return Err(Lack::Device { device });
        }
        if let (true, Code::None(why)) = (self.code, engine.code) {
            return Err(Lack::Code { why });
        }
        Ok(())
    }
}

impl LabelRule {
    pub fn holds(&self, engine: &Engine) -> bool {
        let value = engine.labels.get(&self.key);
        match &self.test {
            LabelTest::Equals(wanted) => value == Some(wanted),
            LabelTest::Differs(unwanted) => value != Some(unwanted),
            LabelTest::In(wanted) => value.is_some_and(|value| wanted.contains(value)),
            LabelTest::Exists => value.is_some(),
        }
    }
}

impl fmt::Display for LabelRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.test {
            LabelTest::Equals(value) => write!(f, "{key}={value}"),
            LabelTest::Differs(value) => write!(f, "{key}!={value}"),
            LabelTest::In(values) => {
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                write!(f, "{key} in ({})", values.join(", "))
            }
            LabelTest::Exists => write!(f, "{key}"),
        }
    }
}

impl Domain {
    /// The engine's value in this domain.
    pub(crate) fn value<'a>(&self, id: &'a EngineId, engine: &'a Engine) -> Option<&'a str> {
        match self {
            Self::Engine => Some(id.as_str()),
            Self::Host => Some(&engine.host),
            Self::Label(key) => engine.labels.get(key).map(String::as_str),
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine => f.write_str("engine"),
            Self::Host => f.write_str("host"),
            Self::Label(key) => write!(f, "label '{key}'"),
        }
    }
}
