//! Whole fleets of cores in one thread, under lost, late, doubled and reordered messages, damaged chunks,
//! crashes between any two effects, restarts and partitions; then a time without faults, at whose end every
//! program is in its place exactly once and every command is answered.
//!
//! In every eighth world the programs talk, each through a session at a modelled broker: at the end each was
//! handed everything that was published for it, once and in order, and what it published was received once.
//! In half of these worlds without a dispatcher programs are begun anew under their ids, from the beginning
//! or from old snapshots: nothing that a life publishes is taken for another's.
//!
//! In some worlds disks are full for a while, so that writes fail in the middle of anything; in some an
//! engine comes back with an empty disk (`disks` says what is promised then, and what not). In some the
//! broker restarts, with or without what it knew (`restarts`). In some a stranger offers programs that it
//! does not have.
//!
//! In other runs the acting dispatcher is in the fleet (`acting`), with the decisions and the view of the
//! fleet that the service has: it keeps an application running while engines are lost and come back, people
//! update it and empty engines (`wanted`), dispatchers are killed and succeed one another while they live,
//! their store fails or is lost (`takeovers`), and last wills and other processes say of engines what is not
//! so (`presence`). Some of these fleets run for days, with hours in which nothing happens (`rounds`).
//!
//! A run is a function of its seed. To see one:
//! `SEED=123 cargo test -p wayfare-simulator one_seed -- --nocapture`.
//! For a long hunt: `SEEDS=100000 cargo test -p wayfare-simulator --release fleets`; one that goes on where
//! another ended begins with the seed that `FROM` names.
//! With a dispatcher: the same with `one_dispatched_seed`, and `dispatched`, for which `HOURS=1000000` is
//! another measure.
#![forbid(unsafe_code)]

mod acting;
mod broker;
mod client;
mod disks;
mod happening;
mod heard;
mod network;
mod oracle;
mod orders;
mod packet;
mod presence;
mod processes;
mod random;
mod restarts;
mod rounds;
mod sessions;
mod shell;
mod steps;
mod stored;
mod strangers;
mod takeovers;
mod talking;
#[cfg(test)]
mod tests;
mod time;
mod wanted;
mod world;

use std::collections::BTreeMap;

use world::World;

/// What came of a run.
#[derive(Debug)]
pub struct Run {
    /// Which rule was broken, with the seed.
    pub result: Result<(), String>,
    /// How often what happened.
    pub outcomes: BTreeMap<String, u64>,
    /// For how long the fleet ran, by its own time.
    pub seconds: u64,
}

/// Runs the fleet of `seed` from its beginning to its end.
pub fn run(seed: u64) -> Run {
    World::new(seed, (false, false)).into_run()
}

/// Runs the fleet of `seed`, and prints what happens to standard error.
pub fn show(seed: u64) -> Result<(), String> {
    World::new(seed, (false, true)).run()
}

/// Runs the fleet of `seed` with a dispatcher that acts in it.
pub fn run_with_dispatcher(seed: u64) -> Run {
    World::new(seed, (true, false)).into_run()
}

impl World {
    fn into_run(mut self) -> Run {
        Run {
            result: self.run(),
            seconds: self.seconds(),
            outcomes: self.oracle.outcomes,
        }
    }
}

/// The same, printing what happens to standard error.
pub fn show_with_dispatcher(seed: u64) -> Result<(), String> {
    World::new(seed, (true, true)).run()
}
