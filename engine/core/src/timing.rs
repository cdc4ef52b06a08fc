//! Every wait and bound of the core that concerns this engine alone, units last; and the clockwork that
//! repeats a message on silence.

use super::types::Now;

/// A message that was not answered is repeated after this long, then after twice as long, and so on.
pub(super) const RESEND_FIRST_US: u64 = 1_000_000;
pub(super) const RESEND_MAX_US: u64 = 5_000_000;
/// An offer unanswered for this long is said to be in doubt.
pub(super) const IN_DOUBT_AFTER_US: u64 = 3_000_000;
/// An arrival whose source is silent for this long is forgotten. Asked later, the target refuses.
pub(super) const ARRIVAL_SILENCE_US: u64 = 60_000_000;
/// Blobs of a snapshot are served for this long after the client last asked for something.
pub(super) const SERVING_US: u64 = 120_000_000;
/// How long a spawn whose outcome is unknown asks the target to decide.
pub(super) const SETTLING_US: u64 = 60_000_000;
/// Statuses that differ only in memory in use are published no more often than this.
pub(super) const MEMORY_STATUS_US: u64 = 5_000_000;
/// A program's status is published again so long after another has taken its place at the broker: well before
/// the acting dispatcher takes the program for gone, and seldom enough that whoever goes on doing that does
/// not have the engine do nothing else.
pub(super) const OVERWRITTEN_STATUS_US: u64 = 300_000;
/// Progress of one operation is told no more often than this.
pub(super) const PROGRESS_US: u64 = 500_000;

/// Answers kept for repeated commands; the oldest go first.
pub(super) const FINISHED_OPERATIONS_MAX: usize = 1000;
pub(super) const OPEN_OPERATIONS_MAX: usize = 256;
/// Verdicts kept besides those on programs that are here; the oldest go first.
pub(super) const VERDICTS_MAX: usize = 1000;
/// Ended programs that are still shown.
pub(super) const ENDED_PROGRAMS_MAX: usize = 100;
/// Programs on their way here at the same time.
pub(super) const ARRIVALS_MAX: usize = 16;
/// Snapshots offered for download at the same time.
pub(super) const SERVINGS_MAX: usize = 16;
/// Modules kept after their last program left, since programs tend to come back.
pub(super) const MODULES_KEPT_MAX: usize = 8;

impl Now {
    pub(super) fn plus(self, us: u64) -> Self {
        Self(self.0.saturating_add(us))
    }

    pub(super) fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// When to say something again: each repeat waits twice as long as the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Repeat {
    next: Now,
    wait_us: u64,
}

impl Repeat {
    pub(super) fn new(now: Now) -> Self {
        Self {
            next: now.plus(RESEND_FIRST_US),
            wait_us: RESEND_FIRST_US,
        }
    }

    /// Whether it is time; if so, the next time is further away.
    pub(super) fn is_due(&mut self, now: Now) -> bool {
        let due = now >= self.next;
        if due {
            self.wait_us = (self.wait_us * 2).min(RESEND_MAX_US);
            self.next = now.plus(self.wait_us);
        }
        due
    }

    pub(super) fn next(&self) -> Now {
        self.next
    }
}
