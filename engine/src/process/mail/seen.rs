//! Which numbered messages came before: for each sender a window of the last numbers, as IPsec's against replays
//! (RFC 4303, section 3.4.3).
//!
//! Always: a number is new at most once; of a sender that is forgotten, because too many others came since, everything is
//! new again; a number below the window counts as seen.

use std::collections::BTreeMap;

use wayfare_protocol::ids::ProgramId;

pub(super) const SENDERS_MAX: usize = 1024;
const WORDS: usize = 16;
/// How far behind the highest number one may come and still be new.
pub(super) const WINDOW: u64 = WORDS as u64 * 64;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Seen {
    senders: BTreeMap<ProgramId, Window>,
    /// Counts what was asked, for finding the sender that was silent for longest.
    uses: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) highest: u64,
    /// One bit for each number of the window, by its remainder.
    pub(super) bits: [u64; WORDS],
    pub(super) used: u64,
}

impl Seen {
    /// Whether this is the first time; it is not from now on.
    pub(super) fn is_new(&mut self, sender: ProgramId, number: u64) -> bool {
        self.uses += 1;
        let used = self.uses;
        if !self.senders.contains_key(&sender) && self.senders.len() >= SENDERS_MAX {
            let oldest = self.senders.iter().min_by_key(|(_, window)| window.used);
            if let Some(oldest) = oldest.map(|(sender, _)| *sender) {
                self.senders.remove(&oldest);
            }
        }
        let Some(window) = self.senders.get_mut(&sender) else {
            let mut window = Window {
                highest: number,
                bits: [0; WORDS],
                used,
            };
            window.mark(number);
            self.senders.insert(sender, window);
            return true;
        };
        window.used = used;
        window.is_new(number)
    }

    pub(super) fn senders(&self) -> impl ExactSizeIterator<Item = (&ProgramId, &Window)> {
        self.senders.iter()
    }

    pub(super) fn restore(senders: BTreeMap<ProgramId, Window>) -> Self {
        let uses = senders.values().map(|window| window.used).max().unwrap_or(0);
        Self { senders, uses }
    }
}

impl Window {
    fn is_new(&mut self, number: u64) -> bool {
        if number > self.highest {
            let skipped = (number - self.highest).min(WINDOW);
            for ahead in 1..=skipped {
                self.clear(number - skipped + ahead);
            }
            self.highest = number;
        } else if self.highest - number >= WINDOW || self.is_marked(number) {
            return false;
        }
        self.mark(number);
        true
    }

    fn mark(&mut self, number: u64) {
        self.bits[word(number)] |= 1 << (number % 64);
    }

    fn clear(&mut self, number: u64) {
        self.bits[word(number)] &= !(1 << (number % 64));
    }

    fn is_marked(&self, number: u64) -> bool {
        self.bits[word(number)] & 1 << (number % 64) != 0
    }
}

pub(super) const WINDOW_WORDS: usize = WORDS;

fn word(number: u64) -> usize {
    (number / 64 % WORDS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_new_once_whatever_their_order() {
        let (mut seen, sender) = (Seen::default(), ProgramId::random());
        for (number, expected) in [
            (5, true),
            (5, false),
            (7, true),
            (6, true),
            (6, false),
            (4, true),
            (7 + WINDOW, true),
            (7, false),
            (8, true),
            (8, false),
            (6 + WINDOW, true),
            (u64::MAX, true),
            (u64::MAX, false),
            (u64::MAX - 1, true),
            (8, false),
        ] {
            assert_eq!(seen.is_new(sender, number), expected, "{number}");
        }
        assert!(seen.is_new(ProgramId::random(), 5), "another sender's");
    }

    #[test]
    fn the_sender_that_was_silent_for_longest_is_forgotten_first() {
        let mut seen = Seen::default();
        let senders: Vec<ProgramId> = (0..=SENDERS_MAX).map(|_| ProgramId::random()).collect();
        for sender in &senders[..SENDERS_MAX] {
            assert!(seen.is_new(*sender, 1));
        }
        assert!(!seen.is_new(senders[0], 1));
        assert!(seen.is_new(senders[SENDERS_MAX], 1));
        assert!(!seen.is_new(senders[0], 1), "it spoke lately");
        assert!(seen.is_new(senders[1], 1), "forgotten");
        assert_eq!(seen.senders().len(), SENDERS_MAX);
    }
}
