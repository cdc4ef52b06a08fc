//! Warnings that others bring about with what they send: one in six seconds, and the count of those that were
//! not written. So nobody fills a card by sending nonsense.

use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(6);

#[derive(Debug, Default)]
pub(crate) struct Occasional {
    next: Option<Instant>,
    unwritten: u64,
}

impl Occasional {
    /// Whether one may be written now; then how many were not since the last one.
    pub(crate) fn due(&mut self, now: Instant) -> Option<u64> {
        if self.next.is_some_and(|next| now < next) {
            self.unwritten += 1;
            return None;
        }
        self.next = Some(now + INTERVAL);
        Some(std::mem::take(&mut self.unwritten))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_nonsense_is_a_line_in_six_seconds_with_a_count() {
        let (mut warnings, begin) = (Occasional::default(), Instant::now());
        let lines: Vec<Option<u64>> = (0..76_750u64)
            .map(|number| warnings.due(begin + Duration::from_micros(number * 100)))
            .collect();
        let written: Vec<u64> = lines.iter().flatten().copied().collect();
        assert_eq!(written, [0, 59_999], "of 7.7 seconds");
        assert_eq!(warnings.due(begin + Duration::from_secs(12)), Some(16_749));
        assert_eq!(warnings.due(begin + Duration::from_secs(60)), Some(0));
    }
}
