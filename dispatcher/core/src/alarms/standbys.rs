//! Whether as many dispatchers stand by as are wanted, by what they say of themselves.
//!
//! One that stands by says so within its period. Who has been silent for three of these is not there any
//! more.

use std::collections::BTreeMap;

use wayfare_protocol::ids::PeerName;

use super::Steady;

/// Of one that says itself how often it says so.
const SILENT_PERIODS: u64 = 3;
/// No period is taken to be longer.
const PERIOD_MS_MAX: u64 = 600_000;
/// Names that are kept: nobody has more dispatchers.
const NAMES_MAX: usize = 64;

/// What is to become of the alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StandbyNews {
    /// In words.
    TooFew(String),
    Enough,
}

#[derive(Debug, Clone)]
pub struct Standbys {
    wanted: usize,
    /// Until when each is taken to be there.
    there: BTreeMap<PeerName, u64>,
    steady: Steady,
}

impl Standbys {
    /// `patience_ms`: how long there may be too few, and for how long there have to be enough.
    pub fn new(wanted: usize, patience_ms: u64) -> Self {
        Self {
            wanted,
            there: BTreeMap::new(),
            steady: Steady::new(patience_ms, patience_ms),
        }
    }

    /// This one stands by, and says so again within `every_ms`.
    pub fn heard(&mut self, name: PeerName, every_ms: u64, now_ms: u64) {
        if !self.there.contains_key(&name) && self.there.len() >= NAMES_MAX {
            return;
        }
        let silent_ms = every_ms.min(PERIOD_MS_MAX).saturating_mul(SILENT_PERIODS);
        self.there.insert(name, now_ms.saturating_add(silent_ms));
    }

    /// Those that are there.
    pub fn names(&self) -> impl Iterator<Item = &PeerName> {
        self.there.keys()
    }

    /// `None` where nothing is settled. Says the same again and again while it is so.
    pub fn judge(&mut self, now_ms: u64) -> Option<StandbyNews> {
        self.there.retain(|_, until_ms| *until_ms > now_ms);
        let (there, wanted) = (self.there.len(), self.wanted);
        let is_short = self.steady.see(Some(there < wanted), now_ms)?;
        if !is_short {
            return Some(StandbyNews::Enough);
        }
        let stands = match there {
            0 => "no other dispatcher stands by".to_owned(),
            _ => format!("only {there} other dispatchers stand by"),
        };
        let text = format!(
            "{stands}, where --standbys wants {wanted}: nobody, or too few, would go on if this host is lost"
        );
        Some(StandbyNews::TooFew(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> PeerName {
        name.parse().unwrap()
    }

    fn is_short(news: Option<StandbyNews>) -> Option<bool> {
        news.map(|news| news != StandbyNews::Enough)
    }

    #[test]
    fn too_few_for_a_time_is_an_alarm_and_enough_for_a_time_ends_it() {
        let mut standbys = Standbys::new(1, 30_000);
        // At, who says so then, what is settled.
        let script: &[(u64, Option<&str>, Option<bool>)] = &[
            (0, None, None),
            (10_000, Some("b"), None),
            (39_999, None, None),
            // Silent for three periods, by which it is not there; and then for as long again.
            (40_000, None, None),
            (69_999, None, None),
            (70_000, None, Some(true)),
            // It is there for moments only, as one that is restarted again and again.
            (80_000, Some("b"), Some(true)),
            (109_999, None, Some(true)),
            (110_000, None, Some(true)),
            (120_000, Some("b"), Some(true)),
            (140_000, Some("b"), Some(true)),
            (150_000, Some("b"), Some(false)),
        ];
        for (now_ms, who, settled) in script {
            if let Some(who) = who {
                standbys.heard(name(who), 10_000, *now_ms);
            }
            assert_eq!(is_short(standbys.judge(*now_ms)), *settled, "at {now_ms}");
        }
    }

    #[test]
    fn where_none_are_wanted_none_are_missed() {
        let mut standbys = Standbys::new(0, 30_000);
        standbys.judge(0);
        assert_eq!(standbys.judge(90_000), Some(StandbyNews::Enough));
    }

    #[test]
    fn what_is_wanted_and_there_is_said() {
        let mut standbys = Standbys::new(2, 0);
        standbys.heard(name("b"), 10_000, 0);
        let Some(StandbyNews::TooFew(text)) = standbys.judge(5) else {
            panic!("one is too few")
        };
        assert!(
            text.contains("only 1 other") && text.contains("--standbys wants 2"),
            "{text}"
        );
        standbys.heard(name("c"), 10_000, 6);
        assert_eq!(standbys.judge(7), Some(StandbyNews::Enough));
    }

    #[test]
    fn whoever_says_much_is_kept_within_bounds() {
        let mut standbys = Standbys::new(1, 0);
        for number in 0..1_000 {
            standbys.heard(name(&format!("s-{number}")), u64::MAX, 0);
        }
        assert_eq!(standbys.names().count(), NAMES_MAX);
        // No silence is unnoticed for longer than this.
        assert_eq!(
            is_short(standbys.judge(PERIOD_MS_MAX * SILENT_PERIODS)),
            Some(true)
        );
    }
}
