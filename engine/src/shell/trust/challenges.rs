//! Challenges: what keeps orders from counting that were signed long ago.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use wayfare_protocol::ids::{Challenge, OperationId};
use wayfare_protocol::limits::{CHALLENGE_MS, ORDERS_PER_CHALLENGE};

/// The present challenge, and the one before, both while they are young enough.
pub(super) struct Challenges {
    pub(super) current: Challenge,
    drawn: Instant,
    pub(super) orders: BTreeSet<OperationId>,
    previous: Option<(Challenge, Instant)>,
}

impl Challenges {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            current: Challenge::random(),
            drawn: now,
            orders: BTreeSet::new(),
            previous: None,
        }
    }

    fn is_old(drawn: Instant, now: Instant) -> bool {
        now.duration_since(drawn) >= Duration::from_millis(CHALLENGE_MS)
    }

    /// Draws another if the present one has served its time; `true`: it did.
    pub(super) fn renew(&mut self, now: Instant) -> bool {
        if self.orders.len() < ORDERS_PER_CHALLENGE && !Self::is_old(self.drawn, now) {
            return false;
        }
        let next = Self::new(now);
        let last = std::mem::replace(self, next);
        self.previous = Some((last.current, last.drawn));
        true
    }

    /// Whether an order that answers `challenge` was signed lately: under the present one, or under the last
    /// one, which it may have crossed.
    pub(super) fn is_fresh(&self, challenge: Challenge, now: Instant) -> bool {
        let previous = self
            .previous
            .filter(|(_, drawn)| now.duration_since(*drawn) < 2 * Duration::from_millis(CHALLENGE_MS));
        (challenge == self.current && !Self::is_old(self.drawn, now))
            || previous.is_some_and(|(previous, _)| previous == challenge)
    }

    /// Whether it is one of the two, whatever their age: for an order that another engine found to be fresh.
    pub(super) fn knows(&self, challenge: Challenge) -> bool {
        challenge == self.current || self.previous.is_some_and(|(previous, _)| previous == challenge)
    }
}
