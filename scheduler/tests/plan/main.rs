//! What always holds of plans, over fleets and applications of all kinds.
//!
//! The cases look random and are the same in each run.

mod cases;
mod properties;
mod tables;
mod world;
