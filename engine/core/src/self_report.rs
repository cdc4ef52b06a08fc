//! What a program says of itself: that it is well, and for how long, and that it is not to be stopped now.

use wayfare_protocol::health::{Claims, HEALTHY_MS_MAX, HEALTHY_MS_MIN, HOLD_MS_MAX, Health, HoldClaim};

use super::types::Now;

/// A program is said to be held until it has not been for so long, and what it asks for before then counts
/// with what it had.
const HOLD_GAP_US: u64 = 1_000_000;

/// What a program that is here has said.
#[derive(Debug, Clone, Default)]
pub(super) struct SelfReport {
    pub(super) health: Option<Health>,
    /// For how long it is well without another word.
    lease_us: Option<u64>,
    /// While it runs.
    until: Option<Now>,
    hold: Option<Holding>,
}

#[derive(Debug, Clone)]
struct Holding {
    reason: String,
    since: Now,
    /// When it is over, or was.
    until: Now,
}

impl SelfReport {
    /// Why it is not to be stopped, as its status shows it.
    pub(super) fn hold(&self) -> Option<&str> {
        self.hold.as_ref().map(|hold| hold.reason.as_str())
    }

    pub(super) fn is_held(&self, now: Now) -> bool {
        self.hold.as_ref().is_some_and(|hold| now < hold.until)
    }

    pub(super) fn claimed(&mut self, claims: Claims, every_ms: Option<u64>, now: Now) {
        if let Some(claim) = claims.health {
            let lease_ms = match (claim.for_ms, every_ms) {
                (Some(for_ms), Some(every_ms)) => Some(for_ms.min(every_ms)),
                (Some(ms), None) | (None, Some(ms)) => Some(ms),
                (None, None) => None,
            };
            self.health = Some(Health::Ready);
            self.lease_us = lease_ms.map(|ms| ms.clamp(HEALTHY_MS_MIN, HEALTHY_MS_MAX) * 1000);
            self.until = self.lease_us.map(|us| now.plus(us));
        }
        match claims.hold {
            None => {}
            Some(HoldClaim::Hold { reason, at_most_ms }) => self.hold_on(reason, at_most_ms, now),
            Some(HoldClaim::Release) => {
                if let Some(hold) = &mut self.hold {
                    hold.until = hold.until.min(now);
                }
            }
        }
    }

    fn hold_on(&mut self, reason: String, at_most_ms: u64, now: Now) {
        let hold = self.hold.get_or_insert(Holding {
            reason,
            since: now,
            until: now,
        });
        let last = hold.since.plus(HOLD_MS_MAX * 1000);
        // One that is over and would be too long does not begin again before it is forgotten.
        hold.until = now.plus(at_most_ms * 1000).min(last).max(hold.until.min(now));
    }

    /// What has come of time; `runs`: it does not stand still.
    pub(super) fn pass(&mut self, runs: bool, now: Now) {
        match self.until {
            _ if !runs => self.until = None,
            None if self.health == Some(Health::Ready) => self.until = self.lease_us.map(|us| now.plus(us)),
            Some(until) if until <= now => (self.health, self.until) = (Some(Health::Unhealthy), None),
            _ => {}
        }
        self.hold.take_if(|hold| hold.until.plus(HOLD_GAP_US) <= now);
    }

    pub(super) fn next_wakeup(&self, now: Now) -> Option<Now> {
        let hold = self.hold.as_ref().map(|hold| match now < hold.until {
            true => hold.until,
            false => hold.until.plus(HOLD_GAP_US),
        });
        self.until.into_iter().chain(hold).min()
    }
}
