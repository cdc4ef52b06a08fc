//! Who follows a program's log, and what each has not received. Pure: time is passed in.
//!
//! Always: a follower counts for no longer than its lease after it was heard, so one that has died or stands
//! still can make a program wait for no longer than that.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use wayfare_protocol::ids::OperationId;
use wayfare_protocol::limits::FOLLOW_LEASE_MS;
use wayfare_protocol::log::Follower;

/// Followers of one program that it waits for. More can read, and see what they missed.
const FOLLOWERS_MAX: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct Followers(BTreeMap<OperationId, Lease>);

#[derive(Debug)]
struct Lease {
    received_below: u64,
    until: Instant,
}

impl Followers {
    /// Takes in what a follower says. What it has received does not become less by a message that was
    /// overtaken.
    pub(crate) fn hear(&mut self, follower: &Follower, now: Instant) {
        if follower.lease_ms == 0 {
            self.0.remove(&follower.id);
            return;
        }
        if self.0.len() >= FOLLOWERS_MAX && !self.0.contains_key(&follower.id) {
            return;
        }
        let until = now + Duration::from_millis(follower.lease_ms.min(FOLLOW_LEASE_MS));
        let lease = self.0.entry(follower.id).or_insert(Lease {
            received_below: 0,
            until,
        });
        lease.until = until;
        lease.received_below = lease.received_below.max(follower.received_below);
    }

    /// Every lease as if it began now: until the program runs nobody can have received anything.
    pub(crate) fn begin(&mut self, now: Instant) {
        for lease in self.0.values_mut() {
            lease.until = now + Duration::from_millis(FOLLOW_LEASE_MS);
        }
    }

    /// Forgets whose lease is over.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.0.retain(|_, lease| lease.until > now);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first line that one of them has not received.
    pub(crate) fn held_from(&self) -> Option<u64> {
        self.0.values().map(|lease| lease.received_below).min()
    }

    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.0.values().map(|lease| lease.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follower(number: u8, received_below: u64, lease_ms: u64) -> Follower {
        Follower {
            id: OperationId::from_random([number; 16]),
            received_below,
            lease_ms,
        }
    }

    #[test]
    fn the_slowest_follower_counts_and_one_that_says_nothing_does_not() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut followers = Followers::default();
        assert_eq!((followers.held_from(), followers.next_expiry()), (None, None));
        followers.hear(&follower(1, 10, 1_000), start);
        followers.hear(&follower(2, 5, 2_000), start);
        assert_eq!(followers.held_from(), Some(5));
        followers.hear(&follower(2, 20, 2_000), start);
        followers.hear(&follower(2, 15, 2_000), start);
        assert_eq!(followers.held_from(), Some(10), "what it received stays received");
        followers.expire(after(1_000));
        assert_eq!(followers.held_from(), Some(20));
        followers.hear(&follower(2, 25, 0), after(1_500));
        assert!(followers.is_empty());
        // However long a lease it asks for.
        followers.hear(&follower(3, 0, u64::MAX), start);
        assert_eq!(followers.next_expiry(), Some(after(FOLLOW_LEASE_MS)));
        followers.begin(after(500));
        assert_eq!(followers.next_expiry(), Some(after(FOLLOW_LEASE_MS + 500)));
    }

    #[test]
    fn followers_are_bounded() {
        let mut followers = Followers::default();
        for number in 0..100 {
            followers.hear(&follower(number, u64::from(number), 1_000), Instant::now());
        }
        assert_eq!(followers.0.len(), FOLLOWERS_MAX);
        followers.hear(&follower(0, 50, 1_000), Instant::now());
        assert_eq!(followers.held_from(), Some(1), "those that are there go on");
    }
}
