//! Alarms: what is wrong and stays so until something is done.

use serde::{Deserialize, Serialize};

/// One that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmRecord {
    /// `engine-unreachable`, `clock-skew`, `store-failing`, `disk-full`, `broker-lost` or `no-standby`;
    /// releases that follow may have more.
    pub kind: String,
    /// An engine; what cannot be stored; `broker`; or `dispatchers`.
    pub subject: String,
    /// In milliseconds since 1970 by the dispatcher's clock.
    pub since_ms: u64,
    pub text: String,
}

impl AlarmRecord {
    /// Names it among those that stand.
    pub fn id(&self) -> (String, String) {
        (self.kind.clone(), self.subject.clone())
    }
}

/// As many alarms as a message holds, by kind and subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmsPage {
    pub alarms: Vec<AlarmRecord>,
    /// There are more, after the last of these.
    pub more: bool,
}
