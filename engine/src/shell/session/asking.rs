//! When a request that nobody has replied to is sent again: whom it is for may not have been subscribed when
//! it was sent, or the broker may have forgotten what it had for that one. Whoever has received it takes this
//! for a repeat.

use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_secs(1);
/// The wait doubles up to this.
const LONGEST: Duration = Duration::from_secs(16);

#[derive(Debug, Default)]
pub(super) struct Asking {
    waits: Option<Waits>,
}

#[derive(Debug, Clone, Copy)]
struct Waits {
    request: u64,
    at: Instant,
    pause: Duration,
}

impl Asking {
    /// When the request of this number is to be sent again.
    pub(super) fn due(&mut self, unanswered: Option<u64>, now: Instant) -> Option<Instant> {
        let known = self.waits.filter(|waits| Some(waits.request) == unanswered);
        self.waits = match (unanswered, known) {
            (None, _) => None,
            (Some(request), None) => Some(Waits {
                request,
                at: now + FIRST,
                pause: FIRST,
            }),
            (Some(_), Some(waits)) => Some(waits),
        };
        self.waits.map(|waits| waits.at)
    }

    /// It is sent again now.
    pub(super) fn asked(&mut self, now: Instant) {
        if let Some(waits) = &mut self.waits {
            waits.pause = (waits.pause * 2).min(LONGEST);
            waits.at = now + waits.pause;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_sent_again_in_growing_pauses_and_each_begins_anew() {
        let begun = Instant::now();
        let seconds = |at: Option<Instant>| at.map(|at| (at - begun).as_secs());
        let mut asking = Asking::default();
        assert_eq!(asking.due(None, begun), None);
        let mut times = Vec::new();
        let mut now = begun;
        for _ in 0..7 {
            let at = asking.due(Some(5), now).unwrap();
            assert_eq!(
                asking.due(Some(5), now),
                Some(at),
                "whatever else happens meanwhile"
            );
            times.push((at - begun).as_secs());
            now = at;
            assert_eq!(asking.due(Some(5), now), Some(at), "until it was sent");
            asking.asked(now);
        }
        assert_eq!(times, [1, 3, 7, 15, 31, 47, 63]);
        let next = begun + Duration::from_secs(100);
        assert_eq!(seconds(asking.due(Some(6), next)), Some(101));
        assert_eq!(asking.due(None, next), None);
        assert_eq!(seconds(asking.due(Some(6), next)), Some(101));
    }
}
