//! Recognises numbered messages that came before: for each sender windows of numbers, as IPsec has one
//! against replays (RFC 4303, section 3.4.3). A sender has several, because its numbers need not be near each
//! other: it publishes to others as well, begins another life, or somebody else forges a number of its.
//!
//! ```text
//!   start             low                       top
//!     |   all seen     |  one bit for each number |        what is not in a window opens another
//! ```
//! Always: a number is new at most once, as long as its window is remembered; a number that is in no window
//! is new. A window moves up only as far as what came explains: by about as much as the numbers in it are
//! apart. So a number far ahead, whoever sent it, takes nothing from what comes after it.

use std::collections::BTreeMap;

use wayfare_protocol::ids::ProgramId;

use crate::message::Reader;

/// Windows of all senders. Of more, the one that was not used for longest is forgotten.
pub(super) const WINDOWS_MAX: usize = 1024;
/// Windows of one sender.
const SENDER_WINDOWS_MAX: usize = 64;
const WORDS: usize = 16;
/// Numbers that a window has a bit for.
pub(super) const WINDOW: u64 = WORDS as u64 * 64;
/// So many of them are above the last that came.
const AHEAD: u64 = WINDOW / 2;
/// A window moves by at most so many times the mean distance of the numbers that came.
const DISTANCES: u64 = 2;
/// In a snapshot, a window's length is below the order in which the windows were used.
const LENGTH_BITS: u32 = 52;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Seen {
    senders: BTreeMap<ProgramId, Vec<Window>>,
    /// Counts what was asked, for finding the window that was not used for longest.
    uses: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Window {
    start: u64,
    top: u64,
    /// One bit for each of the last numbers up to `top`, by its remainder.
    bits: [u64; WORDS],
    used: u64,
}

impl Seen {
    /// Whether this is the first time; it is not from now on.
    pub(super) fn is_new(&mut self, sender: ProgramId, number: u64) -> bool {
        self.uses += 1;
        let used = self.uses;
        let mut windows = self
            .senders
            .get_mut(&sender)
            .into_iter()
            .flatten()
            .filter(|window| window.covers(number))
            .peekable();
        if windows.peek().is_none() {
            self.open(sender, number);
            return true;
        }
        let mut is_new = true;
        for window in windows {
            window.used = used;
            is_new &= window.mark(number);
        }
        is_new
    }

    /// Whether it came, as far as that is remembered.
    pub(super) fn has_seen(&self, sender: ProgramId, number: u64) -> bool {
        let mut windows = self.senders.get(&sender).into_iter().flatten();
        windows.any(|window| window.covers(number) && (number < window.low() || window.is_set(number)))
    }

    fn open(&mut self, sender: ProgramId, number: u64) {
        let own = self.senders.get(&sender).map_or(0, Vec::len);
        if own >= SENDER_WINDOWS_MAX {
            self.forget_one_of(sender);
        } else if self.len() >= WINDOWS_MAX {
            let oldest = self.windows().min_by_key(|(_, window)| window.used);
            if let Some(oldest) = oldest.map(|(sender, _)| sender) {
                self.forget_one_of(oldest);
            }
        }
        let window = Window::around(number, self.uses);
        self.senders.entry(sender).or_default().push(window);
    }

    /// Forgets the window of a sender that was not used for longest.
    fn forget_one_of(&mut self, sender: ProgramId) {
        let Some(windows) = self.senders.get_mut(&sender) else {
            return;
        };
        let oldest = windows.iter().enumerate().min_by_key(|(_, window)| window.used);
        if let Some((at, _)) = oldest {
            windows.swap_remove(at);
        }
        if windows.is_empty() {
            self.senders.remove(&sender);
        }
    }

    fn windows(&self) -> impl Iterator<Item = (ProgramId, &Window)> {
        let all = self.senders.iter();
        all.flat_map(|(sender, windows)| windows.iter().map(|window| (*sender, window)))
    }

    fn len(&self) -> usize {
        self.senders.values().map(Vec::len).sum()
    }

    /// A sender's window that was used last comes last: readers that know one window for each sender keep
    /// that one.
    pub(super) fn save(&self, out: &mut Vec<u8>) {
        let mut windows: Vec<_> = self.windows().collect();
        windows.sort_by_key(|(_, window)| window.used);
        out.extend((windows.len() as u32).to_le_bytes());
        for (order, (sender, window)) in (1..).zip(windows) {
            out.extend(sender.to_bytes());
            let length = (window.top - window.start).min((1 << LENGTH_BITS) - 1);
            let used = order << LENGTH_BITS | length;
            for number in [window.top, used].iter().chain(&window.bits) {
                out.extend(number.to_le_bytes());
            }
        }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let mut windows = Vec::new();
        let count = from.u32().map(|count| count as usize)?;
        (count <= WINDOWS_MAX).then_some(())?;
        for _ in 0..count {
            let sender = ProgramId::from_bytes(from.array()?);
            let (top, used) = (from.u64()?, from.u64()?);
            let mut bits = [0; WORDS];
            for word in &mut bits {
                *word = from.u64()?;
            }
            windows.push((sender, top, used, bits));
        }
        // Written when there was one window for each sender, which began with its life.
        let is_old = windows.iter().all(|(_, _, used, _)| used >> LENGTH_BITS == 0);
        windows.sort_by_key(|(_, _, used, _)| *used);
        let mut seen = Self::default();
        for (sender, top, used, bits) in windows {
            seen.uses += 1;
            let length = used & ((1 << LENGTH_BITS) - 1);
            let start = match is_old {
                true => top >> 32 << 32,
                false => top.saturating_sub(length),
            };
            let used = seen.uses;
            let window = Window {
                start,
                top,
                bits,
                used,
            };
            seen.senders.entry(sender).or_default().push(window);
        }
        Some(seen)
    }
}

impl Window {
    fn around(number: u64, used: u64) -> Self {
        let mut window = Self {
            start: number.saturating_sub(WINDOW - 1 - AHEAD),
            top: number.saturating_add(AHEAD),
            bits: [0; WORDS],
            used,
        };
        window.set(number);
        window
    }

    fn covers(&self, number: u64) -> bool {
        self.start <= number && number <= self.top
    }

    /// The lowest number that there is a bit for.
    fn low(&self) -> u64 {
        self.top.saturating_sub(WINDOW - 1)
    }

    /// A number that it covers; true if it was not seen.
    fn mark(&mut self, number: u64) -> bool {
        if number < self.low() || self.is_set(number) {
            return false;
        }
        self.set(number);
        self.move_up(number);
        true
    }

    fn move_up(&mut self, number: u64) {
        let wanted = number.saturating_add(AHEAD).saturating_sub(self.top);
        let count = self
            .bits
            .iter()
            .map(|word| u64::from(word.count_ones()))
            .sum::<u64>();
        let length = number.saturating_sub(self.lowest_set()) + 1;
        let step = wanted.min(DISTANCES * length / count.max(1));
        for above in 1..=step {
            self.clear(self.top + above);
        }
        self.top += step;
    }

    fn lowest_set(&self) -> u64 {
        let (low, top) = (self.low(), self.top);
        let lowest = (low / 64..=top / 64).find_map(|word| {
            let mut bits = self.bits[place(word * 64)];
            if word == low / 64 {
                bits &= u64::MAX << (low % 64);
            }
            if word == top / 64 {
                bits &= u64::MAX >> (63 - top % 64);
            }
            (bits != 0).then(|| word * 64 + u64::from(bits.trailing_zeros()))
        });
        lowest.unwrap_or(top)
    }

    fn set(&mut self, number: u64) {
        self.bits[place(number)] |= 1 << (number % 64);
    }

    fn clear(&mut self, number: u64) {
        self.bits[place(number)] &= !(1 << (number % 64));
    }

    fn is_set(&self, number: u64) -> bool {
        self.bits[place(number)] & 1 << (number % 64) != 0
    }
}

fn place(number: u64) -> usize {
    (number / 64 % WORDS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::someone;

    #[test]
    fn numbers_are_new_once_whatever_their_order() {
        let (mut seen, sender) = (Seen::default(), someone());
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
            assert_eq!(seen.has_seen(sender, number), !expected, "{number}");
            assert_eq!(seen.is_new(sender, number), expected, "{number}");
        }
        assert!(seen.is_new(someone(), 5), "another sender's");
    }

    #[test]
    fn what_a_sender_that_was_set_back_publishes_again_is_recognised_however_far_back() {
        for distance in [1, 2, 3, 100, 400] {
            let (mut seen, sender) = (Seen::default(), someone());
            let numbers: Vec<u64> = (0..20_000).map(|count| 1000 + count * distance).collect();
            for number in &numbers {
                assert!(seen.is_new(sender, *number), "{number}, {distance} apart");
            }
            for number in &numbers {
                assert!(!seen.is_new(sender, *number), "{number} again, {distance} apart");
            }
            assert!(seen.is_new(sender, 1000 + 20_000 * distance));
        }
    }

    #[test]
    fn numbers_that_nothing_explains_take_nothing_from_those_that_follow() {
        let (mut seen, sender) = (Seen::default(), someone());
        let mut drawn = 7_u64;
        let mut draw = |below: u64| {
            drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (drawn >> 20) % below
        };
        for number in 0..10_000 {
            assert!(seen.is_new(sender, number), "{number}");
            // Forged: huge, near, again and again, in any order; but none that the sender will have used
            // soon.
            let forged = match draw(4) {
                0 => u64::MAX - draw(3),
                1 => 1 << (25 + draw(30)),
                2 => 20_000_000 + draw(1 << 40),
                _ => 1_000_000 + number * 600,
            };
            seen.is_new(sender, forged);
            assert!(!seen.is_new(sender, number), "{number} again");
            assert!(!seen.is_new(sender, number / 2), "{number} / 2 again");
            assert!(seen.senders[&sender].len() <= SENDER_WINDOWS_MAX);
        }
    }

    #[test]
    fn a_step_is_explained_by_the_numbers_before_it() {
        let (mut seen, sender) = (Seen::default(), someone());
        (0..5000).for_each(|number| assert!(seen.is_new(sender, number)));
        // Each as far ahead as the window reaches.
        for _ in 0..50 {
            let top = seen.senders[&sender][0].top;
            seen.is_new(sender, top);
        }
        let lost = (5000..7000)
            .filter(|number| !seen.is_new(sender, *number))
            .count();
        assert!(lost <= 50, "{lost}: no more than were forged");
    }

    #[test]
    fn the_window_that_was_not_used_for_longest_is_forgotten_first() {
        let mut seen = Seen::default();
        let senders: Vec<ProgramId> = (0..=WINDOWS_MAX).map(|_| someone()).collect();
        for sender in &senders[..WINDOWS_MAX] {
            assert!(seen.is_new(*sender, 1));
        }
        assert!(!seen.is_new(senders[0], 1));
        assert!(seen.is_new(senders[WINDOWS_MAX], 1));
        assert!(!seen.is_new(senders[0], 1), "it spoke lately");
        assert!(seen.is_new(senders[1], 1), "forgotten");
        assert_eq!(seen.len(), WINDOWS_MAX);
        for far in 0..1000 {
            seen.is_new(senders[0], far << 20);
            assert!(seen.senders[&senders[0]].len() <= SENDER_WINDOWS_MAX && seen.len() <= WINDOWS_MAX);
        }
        assert!(
            !seen.is_new(senders[WINDOWS_MAX], 1),
            "a sender takes little of the others'"
        );
    }

    #[test]
    fn windows_survive_and_those_of_earlier_releases_are_read() {
        let (mut seen, sender, other) = (Seen::default(), someone(), someone());
        for number in (0..3000).chain(1 << 40..(1 << 40) + 10) {
            seen.is_new(sender, number);
        }
        seen.is_new(other, 7);
        let mut saved = Vec::new();
        seen.save(&mut saved);
        let mut from = Reader(&saved);
        let mut again = Seen::read(&mut from).unwrap();
        assert!(from.0.is_empty());
        for (sender, number, expected) in [
            (sender, 5, false),
            (sender, 2999, false),
            (sender, 3000, true),
            (sender, 1 << 40, false),
            (sender, (1 << 40) + 10, true),
            (sender, 1 << 30, true),
            (other, 7, false),
            (other, 8, true),
        ] {
            assert_eq!(again.is_new(sender, number), expected, "{number}");
        }
        // One window for a sender: its highest number, how much was asked before, and the bits.
        let mut old = 1u32.to_le_bytes().to_vec();
        old.extend(sender.to_bytes());
        for number in [3000, 17].into_iter().chain([u64::MAX; WORDS]) {
            old.extend(u64::to_le_bytes(number));
        }
        let mut again = Seen::read(&mut Reader(&old)).unwrap();
        for (number, expected) in [(5, false), (3000, false), (3001, true), (1 << 40, true)] {
            assert_eq!(again.is_new(sender, number), expected, "{number}");
        }
    }
}
