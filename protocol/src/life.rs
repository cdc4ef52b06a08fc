//! Lives of a program: what keeps the numbers of one life apart from those of every other life under the same
//! id.
//!
//! Everything that a program numbers (messages that it publishes, changes that it asks of services, lines
//! that it prints) is compared by number somewhere. A program that begins anew without its state, or goes on
//! from a snapshot whose further numbers another branch of it has used, would use these again, and what it
//! does would be taken for repeats. So a life begins its numbers in a range of its own:
//!
//! ```text
//!   generation 1            0, 1, 2, ...
//!   generation 1001         1000 << 32, (1000 << 32) + 1, ...       where a life began as generation 1001
//! ```
//! The generation is higher than all before whenever a life begins, so every life has other numbers, and
//! later ones have higher ones. Whoever compares numbers and knows nothing of lives is right, too. A program
//! that goes on with a life, moved or set back by a crash where its journal is, goes on with its numbers.
//!
//! The first number of a life can be told from the generation that it began as alone. So nothing has to be
//! drawn or kept for it.

use crate::ids::Generation;

const COUNT_BITS: u32 = 32;
/// Log lines from before a life, which it keeps for readers, have the numbers just below its first one.
const HISTORY_MAX: u64 = 1 << 16;

/// The first number of a life that began as this generation.
pub fn first_number(begun: Generation) -> u64 {
    let life = begun.0.saturating_sub(1).min(u64::from(u32::MAX));
    life << COUNT_BITS
}

/// The first number of the life that a message or change of this number belongs to.
pub fn first_number_of(number: u64) -> u64 {
    number >> COUNT_BITS << COUNT_BITS
}

/// The generation that the life of this first number began as.
pub fn generation_of(first_number: u64) -> Generation {
    Generation((first_number >> COUNT_BITS) + 1)
}

/// The first number of the life that a log line of this number belongs to. The lines that a life has from
/// before it count as its own.
pub fn first_number_of_line(line: u64) -> u64 {
    first_number_of(line.saturating_add(HISTORY_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_have_numbers_of_their_own_and_later_ones_higher_ones() {
        let firsts = [0, 1, 2, 1001, 1_800_000_000, u64::MAX].map(|begun| first_number(Generation(begun)));
        assert_eq!(firsts[..3], [0, 0, 1 << 32]);
        assert!(firsts[1..].is_sorted_by(|one, other| one < other), "{firsts:?}");
        for begun in [1, 2, 1001, 1_800_000_000] {
            assert_eq!(generation_of(first_number(Generation(begun))), Generation(begun));
        }
        for first in firsts {
            for count in [0, 1, 1_000_000_000] {
                assert_eq!(first_number_of(first + count), first);
                assert_eq!(first_number_of_line(first + count), first);
            }
            let before = first.saturating_sub(5000);
            assert_eq!(first_number_of_line(before), first, "what it has from before");
        }
    }
}
