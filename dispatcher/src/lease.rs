//! When a dispatcher that stands by tries to act: a pure core.
//!
//! It only saves trouble. Trying too early takes the session from somebody who acts, who then stands by; it
//! never makes two that act.

use wayfare_protocol::dispatcher::{Lease, LeaseState};
use wayfare_protocol::ids::Term;

/// What is known of who acts, by our own clock.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    heard: Option<(Lease, u64)>,
    /// Since when nothing says that somebody acts.
    free_since_ms: Option<u64>,
}

impl Watch {
    /// The lease as it is retained, or has just been said.
    pub(crate) fn heard(&mut self, lease: Option<Lease>, now_ms: u64) {
        self.free_since_ms = match &lease {
            Some(lease) if lease.state == LeaseState::Held => None,
            _ => self.free_since_ms.or(Some(now_ms)),
        };
        self.heard = lease.map(|lease| (lease, now_ms));
    }

    /// The highest term that anybody has had.
    pub(crate) fn term(&self) -> Term {
        self.heard.as_ref().map_or(Term(0), |(lease, _)| lease.term)
    }

    /// When to try, if nothing is heard until then: those who stand by wait differently long, by `jitter_ms`.
    pub(crate) fn try_at_ms(&self, jitter_ms: u64) -> Option<u64> {
        let free = self.free_since_ms.or_else(|| {
            let (lease, at_ms) = self.heard.as_ref()?;
            Some(at_ms.saturating_add(lease.lease_ms))
        });
        Some(free?.saturating_add(jitter_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(term: u64, state: LeaseState) -> Option<Lease> {
        Some(Lease {
            term: Term(term),
            dispatcher: "a".parse().unwrap(),
            state,
            lease_ms: 1_000,
        })
    }

    #[test]
    fn a_lease_is_tried_for_when_it_is_free_or_was_not_renewed() {
        let mut watch = Watch::default();
        assert_eq!(watch.try_at_ms(5), None, "nothing is known yet");
        watch.heard(None, 100);
        assert_eq!((watch.term(), watch.try_at_ms(5)), (Term(0), Some(105)));
        watch.heard(lease(7, LeaseState::Held), 200);
        assert_eq!((watch.term(), watch.try_at_ms(5)), (Term(7), Some(1_205)));
        watch.heard(lease(7, LeaseState::Held), 1_100);
        assert_eq!(watch.try_at_ms(0), Some(2_100), "renewed");
        watch.heard(lease(7, LeaseState::Free), 1_200);
        assert_eq!(watch.try_at_ms(3), Some(1_203));
        watch.heard(lease(7, LeaseState::Free), 1_300);
        assert_eq!(watch.try_at_ms(3), Some(1_203), "said again");
        watch.heard(lease(8, LeaseState::Held), 1_400);
        assert_eq!((watch.term(), watch.try_at_ms(0)), (Term(8), Some(2_400)));
    }
}
