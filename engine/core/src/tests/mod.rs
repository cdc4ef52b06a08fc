//! Transitions as tables: what comes in, and the words for what goes out.

mod bench;
mod bounds;
mod commands;
mod devices;
mod health;
mod lives;
mod moves;
/// The simulator's chance: the same file, since a core knows no simulator.
#[path = "../../../../simulator/src/random.rs"]
mod random;
mod restarts;
