//! Transitions as tables: what comes in, and the words for what goes out.

mod bench;
mod bounds;
mod commands;
mod devices;
mod lives;
mod moves;
mod restarts;
