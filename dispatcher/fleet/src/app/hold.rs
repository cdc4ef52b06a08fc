//! Holds: nothing is decided and no order taken until somebody releases the fleet, or the time is up.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The hold on a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRecord {
    /// Who asked for it, as that said itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// In milliseconds since 1970 by the dispatcher's clock.
    pub since_ms: u64,
    /// When it is over by itself; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// How long that still is, for those whose clocks differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_ms: Option<u64>,
}

impl fmt::Display for HoldRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the fleet is held by {}",
            self.by.as_deref().unwrap_or("somebody")
        )?;
        match self.left_ms {
            Some(left_ms) => write!(f, " for another {} s", left_ms.div_ceil(1_000))?,
            None => f.write_str(" until it is released")?,
        }
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}
