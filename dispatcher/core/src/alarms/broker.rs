//! Whether the broker was lost for long enough to be an alarm.
//!
//! While it is, nothing can be told through it: the alarm is raised by whoever acts next, about the time
//! before, and stands until that one has acted for [`HELD_LEASES`]. So a broker that is lost again and again
//! is one alarm.

use crate::apps::Now;

/// For so many times the lease somebody has acted, without losing the broker, before the alarm is cleared.
pub const HELD_LEASES: u32 = 6;

/// Whoever is to act after an outage does so within so many times the lease: one, after which a lease from
/// before is over, and some pauses.
const ACTS_LEASES: u64 = 3;

/// A time without the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// Since 1970, by the dispatcher's clock.
    pub since_ms: u64,
    /// By a clock that is never set.
    pub lasted_ms: u64,
}

/// What one process sees of the broker, whether it acts or stands by.
#[derive(Debug, Clone)]
pub struct BrokerWatch {
    lease_ms: u64,
    /// What was never had cannot be lost.
    was_reached: bool,
    unreached_since: Option<Now>,
    /// With the time when it ended.
    outage: Option<(Outage, u64)>,
}

impl BrokerWatch {
    /// What is shorter than the lease is none to tell of.
    pub fn new(lease_ms: u64) -> Self {
        Self {
            lease_ms,
            was_reached: false,
            unreached_since: None,
            outage: None,
        }
    }

    /// A connection has ended, or could not be made.
    pub fn unreached(&mut self, now: Now) {
        if self.was_reached {
            self.unreached_since.get_or_insert(now);
        }
    }

    pub fn reached(&mut self, now: Now) {
        self.was_reached = true;
        let Some(since) = self.unreached_since.take() else {
            return;
        };
        let lasted_ms = now.ms.saturating_sub(since.ms);
        if lasted_ms >= self.lease_ms {
            let outage = Outage {
                since_ms: since.wall_ms,
                lasted_ms,
            };
            self.outage = Some((outage, now.ms));
        }
    }

    /// The outage before this, once: for whoever acts now. Of one that is over for longer, whoever acted then
    /// has told.
    pub fn take(&mut self, now: Now) -> Option<Outage> {
        let (outage, until_ms) = self.outage.take()?;
        let over_ms = now.ms.saturating_sub(until_ms);
        (over_ms <= self.lease_ms.saturating_mul(ACTS_LEASES)).then_some(outage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now {
            ms,
            wall_ms: 1_000_000 + ms,
        }
    }

    #[test]
    fn an_outage_is_from_the_first_failure_to_the_first_connection() {
        let mut watch = BrokerWatch::new(10_000);
        watch.reached(at(0));
        assert_eq!(watch.take(at(0)), None);
        watch.unreached(at(5_000));
        watch.unreached(at(9_000));
        assert_eq!(watch.take(at(9_000)), None, "it is not over");
        watch.reached(at(15_000));
        let outage = Outage {
            since_ms: 1_005_000,
            lasted_ms: 10_000,
        };
        assert_eq!(watch.take(at(15_000)), Some(outage));
        assert_eq!(watch.take(at(15_000)), None, "it is told once");
    }

    #[test]
    fn a_moment_without_the_broker_is_no_outage_and_hides_none() {
        let mut watch = BrokerWatch::new(10_000);
        watch.reached(at(0));
        watch.unreached(at(0));
        watch.reached(at(20_000));
        // As when another took the session over.
        watch.unreached(at(21_000));
        watch.reached(at(21_500));
        assert_eq!(
            watch.take(at(22_000)).map(|outage| outage.lasted_ms),
            Some(20_000)
        );
        watch.unreached(at(30_000));
        watch.reached(at(39_999));
        assert_eq!(watch.take(at(40_000)), None);
    }

    #[test]
    fn what_was_never_there_is_not_lost() {
        let mut watch = BrokerWatch::new(10_000);
        watch.unreached(at(0));
        watch.reached(at(90_000));
        assert_eq!(watch.take(at(90_000)), None);
    }

    #[test]
    fn an_outage_after_which_another_acted_is_that_ones_to_tell() {
        for (acts_ms, told) in [(50_000, true), (50_001, false)] {
            let mut watch = BrokerWatch::new(10_000);
            watch.reached(at(0));
            watch.unreached(at(5_000));
            watch.reached(at(20_000));
            assert_eq!(watch.take(at(acts_ms)).is_some(), told, "{acts_ms}");
            assert_eq!(watch.take(at(20_000)), None);
        }
    }

    #[test]
    fn a_clock_that_is_set_during_an_outage_makes_it_no_longer_and_no_shorter() {
        let mut watch = BrokerWatch::new(10_000);
        watch.reached(at(0));
        let clocks = |ms, wall_ms| Now { ms, wall_ms };
        watch.unreached(clocks(0, 9_000_000));
        watch.reached(clocks(12_000, 5));
        let outage = watch.take(clocks(12_000, 5));
        assert_eq!(outage.map(|outage| outage.lasted_ms), Some(12_000));
    }
}
