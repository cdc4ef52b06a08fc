//! Challenges: what keeps orders and requests from counting that were signed long ago.
//!
//! Whoever takes them has one of these: an engine for its orders, the acting dispatcher for its requests.
//! What always holds: a message counts only under the present challenge or the one before it, both while they
//! are young enough by their owner's own clock.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::ids::{Challenge, OperationId};
use crate::limits::{CHALLENGE_MS, ORDERS_PER_CHALLENGE};

const LIFE: Duration = Duration::from_millis(CHALLENGE_MS);

/// The present challenge, and the one before, both while they are young enough.
#[derive(Debug)]
pub struct Challenges {
    pub current: Challenge,
    drawn: Instant,
    orders: BTreeSet<OperationId>,
    previous: Option<Previous>,
}

/// The challenge before.
#[derive(Debug)]
struct Previous {
    challenge: Challenge,
    drawn: Instant,
}

impl Challenges {
    pub fn new(now: Instant) -> Self {
        Self {
            current: Challenge::random(),
            drawn: now,
            orders: BTreeSet::new(),
            previous: None,
        }
    }

    fn is_old(drawn: Instant, now: Instant) -> bool {
        now.duration_since(drawn) >= LIFE
    }

    /// Draws another if the present one has served its time; `true`: it did.
    pub fn renew(&mut self, now: Instant) -> bool {
        if self.orders.len() < ORDERS_PER_CHALLENGE && !Self::is_old(self.drawn, now) {
            return false;
        }
        let next = Self::new(now);
        let last = std::mem::replace(self, next);
        self.previous = Some(Previous {
            challenge: last.current,
            drawn: last.drawn,
        });
        true
    }

    /// An order counts that answers the present one.
    pub fn count(&mut self, order: OperationId) {
        self.orders.insert(order);
    }

    /// Whether an order that answers `challenge` was signed lately: under the present one, or under the last
    /// one, which it may have crossed.
    pub fn is_fresh(&self, challenge: Challenge, now: Instant) -> bool {
        (challenge == self.current && !Self::is_old(self.drawn, now)) || self.is_previous(challenge, now)
    }

    /// The same for an order that another engine found to be fresh, and that was on its way since.
    pub fn knows(&self, challenge: Challenge, now: Instant) -> bool {
        let is_current = challenge == self.current && now.duration_since(self.drawn) < 2 * LIFE;
        is_current || self.is_previous(challenge, now)
    }

    fn is_previous(&self, challenge: Challenge, now: Instant) -> bool {
        self.previous.as_ref().is_some_and(|previous| {
            previous.challenge == challenge && now.duration_since(previous.drawn) < 2 * LIFE
        })
    }
}
