//! Rounds of faults in fleets with a dispatcher, with hours in between in which nothing happens: what was
//! once right must stay so, whatever piles up, and whatever was never cleared.
//!
//! A world has one round, but in long worlds. Time that nobody uses costs nothing: dispatchers are as slow
//! there as they may be.

use crate::acting::QUIET_TICK;
use crate::time::SECOND;
use crate::world::World;

const HOUR: u64 = 3600 * SECOND;
/// Of a long world.
const ROUNDS: u64 = 4;
/// Without faults, between two rounds.
const QUIET: u64 = 72 * HOUR;
/// Between two checkpoints: every few seconds, or a few times within a quiet time.
const CHECKPOINT_MS: u64 = 10_000;
const CHECKPOINT_MS_LONG: u64 = 6 * 3_600_000;
/// Between two that engines make by themselves. In days of quiet hardly anything else happens.
const ENGINES_CHECKPOINT: u64 = 5 * SECOND;
const ENGINES_CHECKPOINT_LONG: u64 = 60 * SECOND;

impl World {
    fn is_long(&self) -> bool {
        self.seed.is_multiple_of(4)
    }

    pub(super) fn checkpoint_ms(&self) -> u64 {
        match self.is_long() {
            true => CHECKPOINT_MS_LONG,
            false => CHECKPOINT_MS,
        }
    }

    pub(super) fn engines_checkpoint(&self) -> u64 {
        match self.acting.is_some() && self.is_long() {
            true => ENGINES_CHECKPOINT_LONG,
            false => ENGINES_CHECKPOINT,
        }
    }

    /// Unkind and kind parts in turn; at the end of each kind one everything must have come right.
    pub(super) fn run_dispatched(&mut self) -> Result<(), String> {
        let faults = self.faults;
        let rounds = if self.is_long() { ROUNDS } else { 1 };
        for round in 0..rounds {
            if round > 0 {
                self.is_quiet = true;
                let quiet = QUIET / 2 + self.random.below(QUIET);
                self.run_until(self.now + quiet)?;
                self.check_wanted()?;
                self.is_quiet = false;
                self.run_until(self.now + QUIET_TICK)?;
                (self.base, self.faults) = (self.now, faults);
                self.plan();
            }
            self.run_until(self.base + Self::FAULTS_UNTIL)?;
            self.faults_stop();
            self.people_are_content();
            self.run_until(self.base + Self::FAULTS_UNTIL + Self::CALM)?;
            self.check_wanted()?;
            let seed = self.seed;
            self.check_talks()
                .map_err(|wrong| format!("seed {seed}: {wrong}"))?;
        }
        Ok(())
    }

    /// How much time of a fleet has gone by, in seconds.
    pub(super) fn seconds(&self) -> u64 {
        self.now / SECOND
    }
}
