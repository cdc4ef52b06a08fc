//! Support for Wayfare's end-to-end tests: a fleet of engines, each a process of its own, on a real broker,
//! and witnesses that do not take anybody's word.
//!
//! ```text
//!   Fleet: broker, engines (processes that can be killed), dispatcher, spy
//!     run(Job) -> Watched: the program's whole standard output, as a follower of its log collects it
//!     settled(program): exactly one live copy, by all engines' reports and by the threads of their processes
//!   Spy: hears every message; triggers faults, and knows afterwards whether a rule was ever broken
//! ```
//! What always holds: nothing waits for time to pass, every wait has a limit, and a test that fails shows
//! what the engines said on their standard errors.
//!
//! Reading order: [`fleet`], [`job`], [`watched`], [`spy`], [`stream`], then [`broker`], [`cable`],
//! [`process`], [`dispatcher`], [`compiled`], [`registry`], [`small_disk`], [`fakes`] and
//! [`linearizable`].
#![forbid(unsafe_code)]

pub mod broker;
pub mod cable;
pub mod compiled;
pub mod dispatcher;
pub mod fakes;
pub mod fleet;
pub mod job;
pub mod linearizable;
pub mod process;
pub mod registry;
pub mod small_disk;
pub mod spy;
pub mod stream;
pub mod watched;

use std::future::Future;
use std::time::Duration;

/// No wait is longer. Far above what anything takes, for machines that do much else.
pub const WAIT_MAX: Duration = Duration::from_secs(90);

/// The result of `future`, or a failed test that says what did not happen.
///
/// # Panics
/// When `future` is not ready within [`WAIT_MAX`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(WAIT_MAX, future).await {
        Ok(result) => result,
        Err(_) => panic!("waited {} s in vain for this: {what}", WAIT_MAX.as_secs()),
    }
}
