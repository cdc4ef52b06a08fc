//! What always holds of plans, over fleets and applications of all kinds; and how far from the best possible
//! they are.
//!
//! The cases look random and are the same in each run.

mod cases;
mod exact;
mod properties;
mod tables;
mod world;
