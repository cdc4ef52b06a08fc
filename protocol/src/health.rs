//! What a program says of itself to its engine: that it is ready, that it is well for a while, that it must
//! not be stopped now.
//!
//! The engine keeps the times, so that a program says it as often as it likes and only what changes is
//! published.

use serde::{Deserialize, Serialize};

/// The shortest and the longest time for which a program is well without another word.
pub const HEALTHY_MS_MIN: u64 = 1_000;
pub const HEALTHY_MS_MAX: u64 = 24 * 3600 * 1000;
/// The longest that a program holds up what is to stop it, however often it asks for that.
pub const HOLD_MS_MAX: u64 = 5 * 60 * 1000;
pub const HOLD_REASON_BYTES_MAX: usize = 200;

/// How a program is, as it has said itself. One that has said nothing has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    Ready,
    /// It was to say that it is well, and has not in time.
    Unhealthy,
}

impl Health {
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What a program has said since it was last asked: the last word of each kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claims {
    pub health: Option<HealthClaim>,
    pub hold: Option<HoldClaim>,
}

/// It is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HealthClaim {
    /// For how long it is well without another word; `None`: for as long as its description says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldClaim {
    /// It is not to be moved or replaced now.
    Hold {
        reason: String,
        at_most_ms: u64,
    },
    Release,
}

impl HoldClaim {
    /// Bounded, whatever the program says.
    pub fn hold(reason: &str, at_most_ms: u64) -> Self {
        let reason: String = reason.trim().chars().take(HOLD_REASON_BYTES_MAX / 4).collect();
        Self::Hold {
            reason,
            at_most_ms: at_most_ms.min(HOLD_MS_MAX),
        }
    }
}
