//! How a new version of an application comes to the fleet: first to engines with certain labels, stage after
//! stage, and only at certain times.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use wayfare_scheduler::constraint::LabelRule;
use wayfare_scheduler::fleet::Engine;

use super::schedule::{Missed, Schedule};

pub const STAGES_MAX: usize = 16;
/// The longest that a stage is watched, or a window is open.
pub const STAGE_MS_MAX: u64 = 31 * 24 * 3600 * 1000;
/// A shorter one could pass between two looks.
pub const WINDOW_MS_MIN: u64 = 60_000;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Staging {
    /// In order; after the last of them come all other engines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<Stage>,
    /// When instances are replaced; `None`: at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Instances on engines that meet all of these are replaced in this stage.
    pub labels: BTreeSet<LabelRule>,
    /// How long all is to be well before the next; `None`: until somebody promotes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// When it opens, as cron has it.
    pub opens: String,
    /// As IANA names it.
    pub zone: String,
    pub for_ms: u64,
}

impl Staging {
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty() && self.window.is_none()
    }

    pub fn check(&self) -> Result<(), String> {
        if self.stages.len() > STAGES_MAX {
            return Err(format!(
                "update.stages has {} stages, the limit is {STAGES_MAX}",
                self.stages.len()
            ));
        }
        if self.stages.iter().any(|stage| stage.labels.is_empty()) {
            return Err(
                "a stage of update.stages has no labels: all other engines come after the last stage anyway"
                    .into(),
            );
        }
        let mut waits = self.stages.iter().filter_map(|stage| stage.wait_ms);
        if waits.any(|ms| !(1..=STAGE_MS_MAX).contains(&ms)) {
            return Err("a stage of update.stages waits for 1 ms to 31 days".into());
        }
        let mut windows = self.window.iter().map(|window| window.for_ms);
        if windows.any(|ms| !(WINDOW_MS_MIN..=STAGE_MS_MAX).contains(&ms)) {
            return Err("update.window is open for 1 min to 31 days".into());
        }
        match &self.window {
            Some(window) => window
                .schedule()
                .times()
                .map(drop)
                .map_err(|why| format!("update.window: {why}")),
            None => Ok(()),
        }
    }

    /// Whether an engine belongs to one of the first stages, or to the rest where that is begun.
    pub fn has_reached(&self, stage: usize, engine: &Engine) -> bool {
        let mut begun = self.stages.iter().take(stage + 1);
        stage >= self.stages.len() || begun.any(|stage| stage.includes(engine))
    }

    /// When the window opens next; `None`: it is open.
    pub fn opens_at(&self, now_ms: u64) -> Option<u64> {
        let window = self.window.as_ref()?;
        // It was checked when it came.
        let times = window.schedule().times().ok()?;
        let is_open = times
            .after(now_ms.saturating_sub(window.for_ms))
            .is_some_and(|opened| opened <= now_ms);
        match is_open {
            true => None,
            false => Some(times.after(now_ms).unwrap_or(u64::MAX)),
        }
    }
}

impl Stage {
    /// Whether an engine belongs to it.
    pub fn includes(&self, engine: &Engine) -> bool {
        self.labels.iter().all(|rule| rule.holds(engine))
    }
}

impl Window {
    fn schedule(&self) -> Schedule {
        Schedule {
            schedule: self.opens.clone(),
            zone: self.zone.clone(),
            missed: Missed::Skip,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn a_window_is_open_for_its_time_and_says_when_it_opens_next() {
        let staging = Staging {
            stages: Vec::new(),
            window: Some(Window {
                opens: "0 2 * * *".into(),
                zone: "UTC".into(),
                for_ms: 3 * HOUR,
            }),
        };
        staging.check().unwrap();
        for (hours, opens) in [(0, Some(2)), (2, None), (4, None), (5, Some(26)), (23, Some(26))] {
            // A moment behind the hour.
            let opens: Option<u64> = opens.map(|hours: u64| hours * HOUR);
            assert_eq!(staging.opens_at(hours * HOUR + 1), opens, "{hours}");
        }
        assert_eq!(Staging::default().opens_at(7), None);
    }

    #[test]
    fn what_is_no_staging_is_refused_with_what_is_wrong() {
        let stage = |wait_ms| Stage {
            labels: BTreeSet::new(),
            wait_ms,
        };
        let none = Staging {
            stages: vec![stage(None)],
            window: None,
        };
        assert!(none.check().unwrap_err().contains("has no labels"));
        let many = Staging {
            stages: vec![stage(None); STAGES_MAX + 1],
            window: None,
        };
        assert!(many.check().unwrap_err().contains("17 stages"));
        let window = Window {
            opens: "61 * * * *".into(),
            zone: "UTC".into(),
            for_ms: HOUR,
        };
        let bad = Staging {
            stages: Vec::new(),
            window: Some(window),
        };
        assert!(bad.check().unwrap_err().contains("is not a valid minute"));
    }
}
