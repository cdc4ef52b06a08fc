//! The fleet's dispatcher as a long-running service: `wayfare dispatcher`. It is built on the handle of
//! `wayfare-client`.
//!
//! ```text
//!                 nobody acts, or its lease has run out
//!   standing by ----------------------------------------> acting (term + 1)
//!        ^                                                    |   requests --> services, one task each
//!        +---- its session at the broker has ended -----------+
//! ```
//! Any number of these processes may run on one topic root; one acts, the others stand by. Whoever acts does
//! all its talking through one session whose name is the same for all of them, and a broker gives a session
//! to one connection at a time: to the last that asks. So a predecessor that was only held up, or cut off,
//! cannot be heard any more from the moment that its successor can be. `lease` decides when to try; it may be
//! wrong without harm.
//!
//! # Adding a service
//! A module with one `async fn run(context: Context, inbox: Inbox)` and a line in `SERVICES` of `services`.
//! It owns its state, gets its requests from the inbox, talks to engines through `context.client`, keeps what
//! must survive in `context.place` (see `durable`), and returns when the inbox ends. Requests may come again
//! after a takeover: what they do must bear being done twice.
#![forbid(unsafe_code)]

pub mod options;
pub mod service;

mod acting;
mod admission;
mod lease;
mod permits;
mod requests;
mod standby;

mod context;
mod opening;
mod questions;
mod services;

mod about;
mod apps;
mod clock;
pub mod compilers;
mod files;
mod lists;
mod logs;
mod numbers;
mod operations;
mod registry;
mod values;

mod durable;
#[cfg(test)]
mod fixtures;
