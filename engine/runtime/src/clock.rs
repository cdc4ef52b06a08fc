//! A program's monotonic clock. It runs while the program runs and stands still while the program is frozen
//! or travels: of a sleep of ten seconds that is moved after four, six are left, however long the move took.
//! So it never goes back, and never jumps.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the clock of a new program stands: not at zero, because programs subtract from it.
const BEGINNING_NS: u64 = 3600 * 1_000_000_000;

#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// What it showed when it last stood still.
    stood_at_ns: u64,
    running_since: Option<Instant>,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self::at(BEGINNING_NS)
    }

    /// Stopped, showing `ns`.
    pub(super) fn at(ns: u64) -> Self {
        Self {
            stood_at_ns: ns,
            running_since: None,
        }
    }

    pub(super) fn go(&mut self) {
        self.running_since.get_or_insert_with(Instant::now);
    }

    pub(super) fn stop(&mut self) {
        self.stood_at_ns = self.now_ns();
        self.running_since = None;
    }

    pub(super) fn now_ns(&self) -> u64 {
        let ran = self.running_since.map_or(Duration::ZERO, |since| since.elapsed());
        self.stood_at_ns
            .saturating_add(u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// What the machine's clock shows, which may be wrong and jump: for people.
pub(super) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_still_while_stopped() {
        let mut clock = Clock::at(7);
        assert_eq!(clock.now_ns(), 7);
        clock.go();
        while clock.now_ns() < 100_000 {}
        clock.stop();
        let stood_at = clock.now_ns();
        std::thread::yield_now();
        assert_eq!(clock.now_ns(), stood_at);
        clock.go();
        assert!(clock.now_ns() >= stood_at);
    }

    #[test]
    fn it_cannot_overflow() {
        let mut clock = Clock::at(u64::MAX - 1);
        clock.go();
        std::thread::yield_now();
        assert!(clock.now_ns() >= u64::MAX - 1);
    }
}
