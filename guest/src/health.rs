//! What a program says of itself: that it is ready, that it is well, that it must not be stopped now. The engine
//! shows it to people, and the fleet acts on it where an application's manifest has `health`.
//!
//! ```no_run
//! use std::time::Duration;
//! use wayfare_guest::health;
//!
//! # fn main() -> Result<(), wayfare_guest::Error> {
//! health::ready()?;
//! loop {
//!     health::healthy(Duration::from_secs(30))?;
//!     let hold = health::hold("writing the firmware", Duration::from_secs(60))?;
//!     // ... what nobody else can go on with ...
//!     drop(hold);
//! }
//! # }
//! ```

use std::time::Duration;

use crate::action::Action;
use crate::{Result, milliseconds};

/// Says that the program is ready for work. A roll-out waits for it where the manifest has `health`.
///
/// # Errors
/// [`Error::Malformed`](crate::Error::Malformed) on engines of earlier releases.
pub fn ready() -> Result<()> {
    Action::new("ready").perform(&[]).map(drop)
}

/// Says that the program is ready, and well for so long, one second at least. If it does not say so again in that
/// time, and runs, it is unhealthy: an application's instance is then started anew.
///
/// # Errors
/// Those of [`ready`].
pub fn healthy(for_time: Duration) -> Result<()> {
    let for_ms = milliseconds(for_time).unsigned_abs();
    let action = Action::new("healthy").number("for_ms", for_ms);
    action.perform(&[]).map(drop)
}

/// While one is there, the program is not to be moved or replaced. A program has one hold: with the first that is
/// dropped it is over.
#[derive(Debug)]
#[must_use = "the program may be stopped again when this is dropped"]
pub struct Hold(());

/// Asks not to be stopped for a while: a move waits, and so do updates and drains, at most for this time and never
/// for more than five minutes, however often this is asked for. It counts a moment after it has returned, and is no
/// protection from a crash, a person's `kill` or a loss of power.
///
/// # Errors
/// Those of [`ready`].
pub fn hold(reason: &str, at_most: Duration) -> Result<Hold> {
    let at_most_ms = milliseconds(at_most).unsigned_abs();
    let action = Action::new("hold").text("reason", reason);
    action.number("at_most_ms", at_most_ms).perform(&[])?;
    Ok(Hold(()))
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Its time is over some time in any case.
        let _ = Action::new("release").perform(&[]);
    }
}
