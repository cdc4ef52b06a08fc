//! What the acting dispatcher knows of programs beside what they say themselves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wayfare_protocol::ids::ProgramId;

/// Of one program. Times are in milliseconds since 1970 by the dispatcher's clock.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProgramAbout {
    /// As `application/component/number`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// When it was started last; `None`: before the dispatcher acted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// When it ended, if the dispatcher saw it end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// How often it was started again as it is; of instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u32>,
    /// How often it came to another engine, as far as the dispatcher has seen; a start elsewhere is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moves: Option<u32>,
    /// How many hold its application; `None`: nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holders: Option<u32>,
}

/// As many programs as a message holds, in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProgramsPage {
    pub programs: BTreeMap<ProgramId, ProgramAbout>,
    /// Where the next page begins; `None`: this is the last.
    pub next: Option<ProgramId>,
}
