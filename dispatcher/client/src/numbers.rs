//! What the dispatcher's service for numbers is asked: how much processors, memory, disks and messages
//! engines and programs use.
//!
//! The service measures only while somebody asks: a watcher asks again and again, and with its last question
//! everything rests. What was measured is kept for an hour, coarsely, in memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wayfare_protocol::choice::Only;
use wayfare_protocol::ids::{EngineId, ProgramId};
use wayfare_protocol::numbers::{MachineNumbers, ProgramNumbers};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum FleetNumbersAsk {
    /// Answered with an [`EnginesPage`]. The first page measures, unless that was done in the last second;
    /// later ones give what is there.
    Engines {
        #[serde(default)]
        from: Option<EngineId>,
    },
    /// Answered with a [`ProgramsPage`]; as above.
    Programs {
        #[serde(default)]
        from: Option<ProgramId>,
    },
    /// Answered with [`Point`]s, the oldest first.
    EngineHistory {
        engine: EngineId,
    },
    ProgramHistory {
        program: ProgramId,
    },
    /// As [`LoadsAsk`](wayfare_protocol::choice::LoadsAsk), of which this is the service's half.
    Loads {
        engines: Vec<EngineId>,
        #[serde(default)]
        only: Vec<Only>,
        #[serde(default)]
        measured: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EnginesPage {
    pub engines: Vec<EngineLoad>,
    #[serde(default)]
    pub next: Option<EngineId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProgramsPage {
    pub programs: Vec<ProgramLoad>,
    #[serde(default)]
    pub next: Option<ProgramId>,
}

/// One engine. Rates are since it was measured before, or since its start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineLoad {
    pub engine: EngineId,
    /// How long ago this was measured.
    pub measured_ago_ms: u64,
    /// Thousandths of one processor that the engine's process uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millicores: Option<u64>,
    /// How far the engine's clock is ahead of the dispatcher's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead_ms: Option<i64>,
    #[serde(flatten)]
    pub numbers: MachineNumbers,
}

/// One program. Rates are since it was measured before, or since it came to its engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramLoad {
    pub engine: EngineId,
    pub measured_ago_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millicores: Option<u64>,
    #[serde(default)]
    pub received_per_minute: u64,
    #[serde(default)]
    pub sent_per_minute: u64,
    #[serde(flatten)]
    pub numbers: ProgramNumbers,
}

/// What was used at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// By the dispatcher's clock, in milliseconds since 1970.
    pub at_ms: u64,
    #[serde(default)]
    pub cpu_millicores: Option<u64>,
    pub memory_bytes: u64,
}

/// All that is measured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FleetNumbers {
    pub engines: BTreeMap<EngineId, EngineLoad>,
    pub programs: BTreeMap<ProgramId, ProgramLoad>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use wayfare_protocol::choice::LoadsAsk;

    #[test]
    fn what_engines_ask_for_their_programs_is_read_by_the_service() {
        let engines = vec!["a".parse::<EngineId>().unwrap()];
        let only = vec![Only::Host("h".into())];
        for (ask, expected) in [
            (
                LoadsAsk::Loads {
                    engines: engines.clone(),
                    only: only.clone(),
                    measured: true,
                },
                FleetNumbersAsk::Loads {
                    engines: engines.clone(),
                    only,
                    measured: true,
                },
            ),
            (
                LoadsAsk::Loads {
                    engines: engines.clone(),
                    only: Vec::new(),
                    measured: false,
                },
                FleetNumbersAsk::Loads {
                    engines,
                    only: Vec::new(),
                    measured: false,
                },
            ),
        ] {
            let json = serde_json::to_value(ask).unwrap();
            assert_eq!(serde_json::from_value::<FleetNumbersAsk>(json).unwrap(), expected);
        }
    }
}
