//! What of the fleet is wrong for long enough to be an alarm, and right for long enough to be none any more.
//!
//! ```text
//!   seen --> not settled --- the same for its time ---> it stands, or it does not
//!                 ^                                              |
//!                 '---------- seen otherwise, for a moment ------'  what was settled counts meanwhile
//! ```
//! **Invariant:** what comes and goes is told once: nothing is settled before it was seen the same way,
//! without a break, for a named time. Until something is settled nothing is said, so that whoever acts next
//! leaves standing what its predecessor has raised.

pub mod broker;
pub mod clocks;
pub mod standbys;

/// Whether something is so, once it has been so for long enough.
#[derive(Debug, Clone)]
pub struct Steady {
    raise_after_ms: u64,
    clear_after_ms: u64,
    settled: Option<bool>,
    /// What was seen last, and since when without a break.
    seen: Option<(bool, u64)>,
}

impl Steady {
    /// It is wrong when it was so for the one time, and right again after the other.
    pub fn new(raise_after_ms: u64, clear_after_ms: u64) -> Self {
        Self {
            raise_after_ms,
            clear_after_ms,
            settled: None,
            seen: None,
        }
    }

    /// Takes in what is seen now; `None`: it is neither, which breaks either. Answers with what is settled.
    pub fn see(&mut self, is_wrong: Option<bool>, now_ms: u64) -> Option<bool> {
        self.seen = is_wrong.map(|is_wrong| match self.seen {
            Some((before, since_ms)) if before == is_wrong => (before, since_ms),
            _ => (is_wrong, now_ms),
        });
        if let Some((is_wrong, since_ms)) = self.seen {
            let after_ms = match is_wrong {
                true => self.raise_after_ms,
                false => self.clear_after_ms,
            };
            if now_ms.saturating_sub(since_ms) >= after_ms {
                self.settled = Some(is_wrong);
            }
        }
        self.settled
    }

    /// What was seen last is what is settled.
    pub fn is_settled(&self) -> bool {
        self.seen
            .is_some_and(|(is_wrong, _)| self.settled == Some(is_wrong))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_and_goes_is_settled_once() {
        let mut steady = Steady::new(60, 30);
        // At, what is seen, what is settled then.
        for (now_ms, seen, settled) in [
            (0, Some(true), None),
            (59, Some(true), None),
            (60, Some(true), Some(true)),
            // Right for moments only.
            (70, Some(false), Some(true)),
            (99, Some(false), Some(true)),
            (100, Some(true), Some(true)),
            (110, Some(false), Some(true)),
            // Neither, which begins the time anew.
            (130, None, Some(true)),
            (140, Some(false), Some(true)),
            (169, Some(false), Some(true)),
            (170, Some(false), Some(false)),
            // Wrong for moments only.
            (200, Some(true), Some(false)),
            (259, Some(true), Some(false)),
            (260, Some(false), Some(false)),
            (310, Some(true), Some(false)),
            (370, Some(true), Some(true)),
        ] {
            assert_eq!(steady.see(seen, now_ms), settled, "at {now_ms}");
        }
    }
}
