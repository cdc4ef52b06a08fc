//! Placement as pure functions: fleet and applications in, plan out.
//!
//! Nothing in here knows time, I/O or the dispatcher; equal inputs give equal plans, whatever their order.
//!
//! Reading order: [`fleet`] and [`application`] are what goes in, [`mod@plan`] and [`lack`] what comes out,
//! [`policy`] how engines are ranked. [`state`] does the work: it numbers everything, [`state::State::plan`]
//! goes round until there is nothing left to do, and its parts are one file each: what is pending, misplaced,
//! or worth a move for balance.
#![forbid(unsafe_code)]

pub mod application;
pub mod constraint;
pub mod fleet;
pub mod lack;
pub mod plan;
pub mod policy;
pub mod state;

mod classes;
mod index;
mod relations;

use application::Applications;
use fleet::Fleet;
use plan::{Options, Plan};
use state::State;

/// What is to be done so that all applications run as asked for, as far as that can be.
///
/// A plan carried out and planned again is empty. Whoever plans again and again after small changes keeps a
/// [`State`].
pub fn plan(fleet: &Fleet, applications: &Applications, options: Options) -> Plan {
    State::new(fleet, applications, options).plan()
}
