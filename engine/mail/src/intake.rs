//! What came in and is not acknowledged: offered to the program's inbox, written to the journal, synced in
//! batches. Decides when each is due; the session (`shell::session`) does it.
//!
//! ```text
//!   received --> fresh, in the inbox --begin_sync--> being synced --synced--> may be acknowledged
//!       \--> held, while the inbox is full; offered again
//! ```
//! Always: what may be acknowledged was dropped as a repeat, or is in the journal, synced; and that in the
//! order of receipt.
//!
//! A sync costs a card some 12 KiB of writing, whatever it makes durable. So what comes is gathered for a
//! short while, unless as much has come as the smallest windows of brokers hold: then the broker waits for
//! our acknowledgements.

use std::time::{Duration, Instant};
use wayfare_protocol::qos::Qos;

use crate::{Accepted, ReceivedMessage};

/// Messages that make a batch at once.
const BATCH_MESSAGES: usize = 16;
/// What is fewer waits this long for more.
const GATHER: Duration = Duration::from_millis(100);
/// Messages that may wait for their journal.
const WAITING_MAX: usize = 1024;

/// Of messages `M` that are acknowledged by a `T`.
#[derive(Debug)]
pub struct Intake<M, T> {
    /// In the inbox, and not in the journal.
    fresh: Vec<ReceivedMessage>,
    /// Of those and of what was dropped, in the order of receipt.
    tokens: Vec<T>,
    since: Option<Instant>,
    /// To be acknowledged when the sync is done that is under way.
    syncing: Option<Vec<T>>,
    /// It did not fit into the inbox.
    held: Option<M>,
}

impl<M, T> Default for Intake<M, T> {
    fn default() -> Self {
        Self {
            fresh: Vec::new(),
            tokens: Vec::new(),
            since: None,
            syncing: None,
            held: None,
        }
    }
}

impl<M, T> Intake<M, T> {
    /// A message was offered to the inbox, and this became of it.
    pub fn received(&mut self, message: M, (token, qos): (T, Qos), accepted: Accepted, now: Instant) {
        match accepted {
            Accepted::Full if qos == Qos::AtMostOnce => {}
            Accepted::Full => {
                self.held = Some(message);
                return;
            }
            Accepted::Dropped => {}
            Accepted::Taken(message) => self.fresh.push(message),
        }
        self.dropped(token, now);
    }

    /// A message that is not for the inbox is acknowledged after those that came before it.
    pub fn dropped(&mut self, token: T, now: Instant) {
        self.tokens.push(token);
        self.since.get_or_insert(now);
    }

    /// What a connection goes on with: the messages that an earlier one took and did not bring to the
    /// journal. They are in the inbox, so what the broker sends of them again is dropped and acknowledged;
    /// and a journal with a gap is read up to there.
    pub fn with_unstored(messages: Vec<ReceivedMessage>, now: Instant) -> Self {
        Self {
            since: (!messages.is_empty()).then_some(now),
            fresh: messages,
            ..Self::default()
        }
    }

    /// What was taken and not asked to be written, when the connection ends.
    pub fn take_unstored(&mut self) -> Vec<ReceivedMessage> {
        std::mem::take(&mut self.fresh)
    }

    /// What is to be offered again, before anything else is.
    pub fn take_held(&mut self) -> Option<M> {
        self.held.take()
    }

    /// False while the inbox is full, or much waits for the journal.
    pub fn takes_more(&self) -> bool {
        self.held.is_none() && self.tokens.len() < WAITING_MAX
    }

    /// What the broker sends again on the new connection includes what is held.
    pub fn reconnected(&mut self) {
        self.held = None;
    }

    /// What to write to the journal and to sync, if it is time or `at_once`; [`Intake::synced`] is told when
    /// that is done.
    pub fn begin_sync(&mut self, now: Instant, at_once: bool) -> Option<Vec<ReceivedMessage>> {
        let is_due =
            at_once || self.tokens.len() >= BATCH_MESSAGES || self.due().is_some_and(|due| due <= now);
        let is_empty = self.tokens.is_empty() && self.fresh.is_empty();
        if self.syncing.is_some() || is_empty || !is_due {
            return None;
        }
        self.since = None;
        self.syncing = Some(std::mem::take(&mut self.tokens));
        Some(std::mem::take(&mut self.fresh))
    }

    /// When to begin a sync for want of more.
    pub fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + GATHER)
    }

    /// The sync is done: these may be acknowledged.
    pub fn synced(&mut self) -> Vec<T> {
        self.syncing.take().unwrap_or_default()
    }

    /// Everything that was taken may be acknowledged.
    pub fn is_settled(&self) -> bool {
        self.syncing.is_none() && self.tokens.is_empty() && self.fresh.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn moment() -> Instant {
        Instant::now()
    }

    fn message(number: u64) -> ReceivedMessage {
        ReceivedMessage {
            number,
            topic: "a".into(),
            payload: Vec::new(),
            retained: false,
            stamp: None,
        }
    }

    fn taken(intake: &mut Intake<u64, u64>, number: u64, now: Instant) {
        let accepted = Accepted::Taken(message(number));
        intake.received(number, (number, Qos::AtLeastOnce), accepted, now);
    }

    #[test]
    fn a_few_wait_for_others_and_a_batch_does_not() {
        let (mut intake, begin) = (Intake::default(), moment());
        taken(&mut intake, 0, begin);
        assert_eq!(intake.begin_sync(begin, false), None);
        assert_eq!(intake.due(), Some(begin + GATHER));
        assert_eq!(intake.begin_sync(begin + GATHER, false), Some(vec![message(0)]));
        assert_eq!(intake.due(), None);
        for number in 1..=BATCH_MESSAGES as u64 {
            taken(&mut intake, number, begin);
        }
        assert_eq!(intake.begin_sync(begin, true), None, "one at a time");
        assert_eq!(intake.synced(), [0]);
        assert!(!intake.is_settled());
        assert_eq!(
            intake.begin_sync(begin, false).map(|all| all.len()),
            Some(BATCH_MESSAGES)
        );
        assert_eq!(intake.synced().len(), BATCH_MESSAGES);
        assert!(intake.is_settled());
        assert_eq!(intake.begin_sync(begin, true), None);
    }

    #[test]
    fn what_an_earlier_connection_did_not_store_comes_first() {
        let (mut intake, now) = (Intake::<u64, u64>::default(), moment());
        taken(&mut intake, 0, now);
        taken(&mut intake, 1, now);
        let mut intake = Intake::with_unstored(intake.take_unstored(), now);
        assert!(!intake.is_settled());
        // The broker sends it again.
        intake.received(0, (10, Qos::AtLeastOnce), Accepted::Dropped, now);
        taken(&mut intake, 2, now);
        let all = vec![message(0), message(1), message(2)];
        assert_eq!(intake.begin_sync(now + GATHER, false), Some(all));
        assert_eq!(intake.synced(), [10, 2]);
        assert!(intake.is_settled());
        let mut intake = Intake::<u64, u64>::with_unstored(vec![message(3)], now);
        assert_eq!(
            intake.begin_sync(now, true),
            Some(vec![message(3)]),
            "nothing else came"
        );
    }

    #[test]
    fn repeats_are_acknowledged_in_the_order_of_receipt() {
        let (mut intake, now) = (Intake::default(), moment());
        taken(&mut intake, 0, now);
        intake.received(1, (1, Qos::AtLeastOnce), Accepted::Dropped, now);
        taken(&mut intake, 2, now);
        assert_eq!(intake.begin_sync(now, true), Some(vec![message(0), message(2)]));
        assert_eq!(intake.synced(), [0, 1, 2]);
    }

    #[test]
    fn what_does_not_fit_is_held_and_what_the_broker_does_not_send_again_is_dropped() {
        let (mut intake, now) = (Intake::default(), moment());
        intake.received(0, (0, Qos::AtMostOnce), Accepted::Full, now);
        assert!(intake.takes_more());
        intake.received(1, (1, Qos::AtLeastOnce), Accepted::Full, now);
        assert!(!intake.takes_more());
        assert_eq!(
            intake.begin_sync(now, true),
            Some(vec![]),
            "the first is done with"
        );
        assert_eq!(intake.take_held(), Some(1));
        intake.received(1, (1, Qos::AtLeastOnce), Accepted::Full, now);
        intake.reconnected();
        assert_eq!(intake.take_held(), None, "the broker sends it again");
    }
}
