//! When to connect again: a pure core, with time and randomness passed in.
//!
//! Two counters, because two things go wrong. A broker that cannot be reached is tried again within seconds.
//! A broker that accepts us and then closes a sound connection has probably given our session to somebody
//! else: coming back at once would start a takeover war, in which each side throws the other out, so those
//! waits grow to a minute and shrink only after a long stable time.

use std::time::{Duration, Instant};

use crate::limits::{LASTED_AFTER, RECONNECT_WAIT_MAX, RECONNECT_WAIT_MIN, STABLE_AFTER, TAKEOVER_WAIT_MAX};

#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    closings: u32,
    connected_at: Option<Instant>,
}

impl Backoff {
    pub(crate) fn connected(&mut self, now: Instant) {
        self.connected_at = Some(now);
    }

    /// The attempt failed, or the network did: how long to wait. A broker that refuses connections was
    /// stopped, which explains an earlier closing.
    pub(crate) fn failed(&mut self, now: Instant, random: u64) -> Duration {
        match self.connected_at.take() {
            None => self.closings = 0,
            Some(since) if now.saturating_duration_since(since) >= LASTED_AFTER => self.failures = 0,
            Some(_) => {}
        }
        self.failures = self.failures.saturating_add(1);
        wait(self.failures, RECONNECT_WAIT_MAX, random)
    }

    /// This side closed a sound connection in order to make another: how long to wait.
    pub(crate) fn renewed(&mut self, random: u64) -> Duration {
        self.connected_at = None;
        wait(1, RECONNECT_WAIT_MAX, random)
    }

    /// The broker closed a sound connection: how long to wait.
    pub(crate) fn closed(&mut self, now: Instant, random: u64) -> Duration {
        self.failures = 0;
        let stable = self
            .connected_at
            .take()
            .is_some_and(|since| now.saturating_duration_since(since) >= STABLE_AFTER);
        self.closings = if stable {
            1
        } else {
            self.closings.saturating_add(1)
        };
        wait(self.closings, TAKEOVER_WAIT_MAX, random)
    }
}

/// From half of the doubled wait to all of it.
fn wait(count: u32, longest: Duration, random: u64) -> Duration {
    let doublings = count.saturating_sub(1).min(20);
    let whole = RECONNECT_WAIT_MIN.saturating_mul(1 << doublings).min(longest);
    let half = whole / 2;
    let half_micros = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).max(1);
    half + Duration::from_micros(random % half_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATEST: u64 = u64::MAX;

    #[test]
    fn failures_wait_longer_up_to_a_limit_and_a_connection_that_lasts_wipes_them_out() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        let waits: Vec<_> = (0..12).map(|_| backoff.failed(now, 0)).collect();
        assert_eq!(waits[0], RECONNECT_WAIT_MIN / 2);
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]), "{waits:?}");
        assert_eq!(waits[11], RECONNECT_WAIT_MAX / 2);
        backoff.connected(now);
        assert_eq!(backoff.failed(now + LASTED_AFTER, 0), RECONNECT_WAIT_MIN / 2);
    }

    #[test]
    fn connections_that_end_as_soon_as_they_are_made_are_made_ever_more_slowly() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        let mut last = Duration::ZERO;
        for _ in 0..12 {
            backoff.connected(now);
            last = backoff.failed(now, 0);
        }
        assert_eq!(last, RECONNECT_WAIT_MAX / 2);
    }

    #[test]
    fn jitter_stays_between_half_and_all() {
        for random in [0, 1, 12_345, LATEST] {
            let wait = Backoff::default().failed(Instant::now(), random);
            assert!(
                wait >= RECONNECT_WAIT_MIN / 2 && wait <= RECONNECT_WAIT_MIN,
                "{wait:?}"
            );
        }
    }

    #[test]
    fn takeover_war_dies_down() {
        let mut backoff = Backoff::default();
        let mut now = Instant::now();
        let mut last = Duration::ZERO;
        for _ in 0..12 {
            backoff.connected(now);
            now += last; // the other side stays away as long as we did
            last = backoff.closed(now, 0);
        }
        assert_eq!(last, TAKEOVER_WAIT_MAX / 2);
    }

    #[test]
    fn long_stability_and_a_stopped_broker_wipe_closings_out() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        for _ in 0..8 {
            backoff.connected(now);
            backoff.closed(now, 0);
        }
        backoff.connected(now);
        assert_eq!(backoff.closed(now + STABLE_AFTER, 0), RECONNECT_WAIT_MIN / 2);
        for _ in 0..8 {
            backoff.connected(now);
            backoff.closed(now, 0);
        }
        backoff.failed(now, 0);
        backoff.connected(now);
        assert_eq!(backoff.closed(now, 0), RECONNECT_WAIT_MIN / 2);
    }
}
