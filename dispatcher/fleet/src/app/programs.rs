//! What the acting dispatcher knows of programs beside what they say themselves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wayfare_protocol::ids::ProgramId;

/// A list shows programs that ended no longer ago than this.
pub const ENDED_SHOWN_MS: u64 = 10 * 60 * 1_000;

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

/// Whether a program that has ended is shown where not all are: it ended a moment ago, and the dispatcher saw
/// it end.
pub fn is_shown(ended_ms: Option<u64>, now_ms: u64) -> bool {
    ended_ms.is_some_and(|ended_ms| now_ms.saturating_sub(ended_ms) < ENDED_SHOWN_MS)
}

/// As many programs as a message holds, in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProgramsPage {
    pub programs: BTreeMap<ProgramId, ProgramAbout>,
    /// Where the next page begins; `None`: this is the last.
    pub next: Option<ProgramId>,
}
