//! How engines are ranked. A policy is one function in one file: an engine's load in, a number out, and the
//! engine with the lowest number that fits is taken, the first by name among equals.
//!
//! To add one: write the function, name it in [`Policy`], and say here how it is searched and whether it
//! rebalances.

mod best_fit;
mod first_fit;
mod least_cpu;
mod least_moves;
mod most_free_memory;
mod spread;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The first by name.
    FirstFit,
    /// The one with the least free memory that is still enough.
    BestFit,
    /// The one with the fewest programs.
    #[default]
    Spread,
    /// The one with the smallest share of its processors taken.
    LeastCpu,
    /// The one with the most free memory, in bytes.
    MostFreeMemory,
    /// The one with the smallest share taken of whatever it is shortest of, so that there is rarely cause to
    /// move; nothing is moved for balance.
    LeastMoves,
}

/// What a policy sees of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) programs: Share,
    pub(crate) memory_bytes: Share,
    pub(crate) processor_millicores: Share,
}

/// How much is taken of how much; more may be taken than there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) taken: i64,
    /// [`UNBOUNDED`] where nobody knows.
    pub(crate) of: i64,
}

/// More than anything has. Sums of a million such still fit.
pub(crate) const UNBOUNDED: i64 = 1 << 42;

/// How the engine with the lowest rank is found among those that fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Search {
    /// The lowest rank there is.
    Lowest,
    /// The rank is free memory: the lowest that is enough.
    Enough,
}

impl Policy {
    pub const ALL: [Self; 6] = [
        Self::FirstFit,
        Self::BestFit,
        Self::Spread,
        Self::LeastCpu,
        Self::MostFreeMemory,
        Self::LeastMoves,
    ];

    /// Whether running instances are moved for balance. Where packing is what counts, they are not: a gap
    /// closed somewhere is not worth a program standing still.
    pub fn rebalances(self) -> bool {
        match self {
            Self::FirstFit | Self::BestFit | Self::LeastMoves => false,
            Self::Spread | Self::LeastCpu | Self::MostFreeMemory => true,
        }
    }

    /// What ranks, gains and the cost of a move are counted in.
    pub fn unit(self) -> &'static str {
        match self {
            Self::FirstFit => "nothing",
            Self::BestFit | Self::MostFreeMemory => "bytes of memory",
            Self::Spread => "programs",
            Self::LeastCpu | Self::LeastMoves => "thousandths of an engine",
        }
    }

    /// What a move costs unless somebody says otherwise, in [`Policy::unit`].
    pub fn move_cost(self) -> u64 {
        match self {
            Self::FirstFit | Self::BestFit | Self::LeastMoves => u64::MAX,
            Self::Spread => 2,
            Self::LeastCpu => 200,
            Self::MostFreeMemory => 256 << 20,
        }
    }

    pub(crate) fn search(self) -> Search {
        match self {
            Self::BestFit => Search::Enough,
            _ => Search::Lowest,
        }
    }

    /// The engine's rank: the lower, the better.
    pub(crate) fn rank(self, load: &Load) -> i64 {
        match self {
            Self::FirstFit => first_fit::first_fit(load),
            Self::BestFit => best_fit::best_fit(load),
            Self::Spread => spread::spread(load),
            Self::LeastCpu => least_cpu::least_cpu(load),
            Self::MostFreeMemory => most_free_memory::most_free_memory(load),
            Self::LeastMoves => least_moves::least_moves(load),
        }
    }
}

impl Share {
    pub(crate) fn free(&self) -> i64 {
        self.of - self.taken
    }

    /// Thousandths taken, rounded down; 0 of an unbounded whole.
    pub(crate) fn per_mille(&self) -> i64 {
        if self.of == UNBOUNDED {
            return 0;
        }
        self.taken.saturating_mul(1000) / self.of.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_prefers_what_it_is_named_for() {
        let share = |taken, of| Share { taken, of };
        let load = |programs, mebibytes: i64, millicores, of| Load {
            programs: share(programs, 64),
            memory_bytes: share(mebibytes << 20, 512 << 20),
            processor_millicores: share(millicores, of),
        };
        let few = load(1, 400, 3000, 4000);
        let full = load(9, 450, 3900, 4000);
        let roomy = load(5, 100, 3500, 4000);
        let idle = load(6, 300, 1500, 8000);
        for (policy, best) in [
            (Policy::FirstFit, few),
            (Policy::BestFit, full),
            (Policy::Spread, few),
            (Policy::LeastCpu, idle),
            (Policy::MostFreeMemory, roomy),
            (Policy::LeastMoves, idle),
        ] {
            let loads = [few, full, roomy, idle];
            let chosen = loads.iter().min_by_key(|load| policy.rank(load));
            assert_eq!(chosen, Some(&best), "{policy:?}");
        }
    }
}
