//! New ids, from a seed: what the core decides follows from what it is told.

use wayfare_protocol::ids::{OperationId, ProgramId};

/// Draws ids that nobody else draws, as long as nobody else has the seed.
#[derive(Debug, Clone)]
pub struct Ids {
    seed: [u8; 32],
    drawn: u64,
}

impl Ids {
    /// `seed` is random, and another one for each core.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, drawn: 0 }
    }

    pub(super) fn operation(&mut self) -> OperationId {
        OperationId::from_random(self.draw())
    }

    pub(super) fn program(&mut self) -> ProgramId {
        ProgramId::from_random(self.draw())
    }

    fn draw(&mut self) -> [u8; 16] {
        self.drawn += 1;
        let mut bytes = [0; 16];
        let mut drawn = blake3::Hasher::new_keyed(&self.seed);
        drawn.update(&self.drawn.to_le_bytes());
        drawn.finalize_xof().fill(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_follow_from_the_seed_and_are_never_drawn_twice() {
        let draw = |seed| {
            let mut ids = Ids::new([seed; 32]);
            let drawn = (0..1000).map(|_| ids.operation());
            drawn.collect::<Vec<_>>()
        };
        let (one, other) = (draw(1), draw(2));
        assert_eq!(one, draw(1));
        let all: BTreeSet<_> = one.iter().chain(&other).collect();
        assert_eq!(all.len(), 2000);
    }
}
