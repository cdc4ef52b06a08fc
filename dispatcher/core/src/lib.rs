//! What the acting dispatcher decides, which does nothing itself: time, ids and what is stored are the
//! service's.
//!
//! [`apps`] keeps applications running; [`values`] answers programs that keep something under a key;
//! [`compiler`] is what a compiler for others says of itself, by which both decide who can be given what;
//! [`alarms`] says what is wrong for long enough to be told. The crate `wayfare-simulator` runs [`apps`] with
//! whole fleets.
#![forbid(unsafe_code)]

pub mod alarms;
pub mod apps;
pub mod compiler;
pub mod values;
