//! Ctrl-C while a verb waits for something that goes on without it: the verb ends, and says what goes on and
//! how to end that.
//!
//! ```text
//!   waiting --Ctrl-C--> the verb ends with what it has to say; the connection is closed
//!   nothing waits --Ctrl-C--> the process ends at once, as it does where nobody ever waited
//! ```
//! What always holds: a second Ctrl-C ends the process. A process that has caught the signal once cannot
//! leave it to the system again, so that a task sees to the time when nothing waits.

use std::future::Future;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::fail::{Exit, Fail, Result};

/// Those that catch the signal now.
static WAITING: AtomicUsize = AtomicUsize::new(0);
static SEES_TO_THE_REST: Once = Once::new();

/// Somebody catches the signal, for as long as this is there.
pub(crate) struct Caught(Signal);

impl Caught {
    /// From inside of the runtime. What comes from now on is caught.
    pub(crate) fn begin() -> Result<Self> {
        let caught = signal(SignalKind::interrupt())?;
        let rest = signal(SignalKind::interrupt())?;
        WAITING.fetch_add(1, Ordering::SeqCst);
        SEES_TO_THE_REST.call_once(|| drop(tokio::spawn(end_where_nothing_waits(rest))));
        Ok(Self(caught))
    }

    /// Returns at the next Ctrl-C.
    pub(crate) async fn interrupted(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

impl Drop for Caught {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn end_where_nothing_waits(mut signals: Signal) {
    while signals.recv().await.is_some() {
        if WAITING.load(Ordering::SeqCst) == 0 {
            std::process::exit(Exit::Interrupted as i32);
        }
    }
}

/// Waits for `work`; at Ctrl-C it is given up, and the answer is what `goes_on` says.
pub(crate) async fn or_interrupted<T>(
    work: impl Future<Output = Result<T>>,
    goes_on: impl FnOnce() -> Fail,
) -> Result<T> {
    let mut caught = Caught::begin()?;
    tokio::select! {
        biased;
        done = work => done,
        () = caught.interrupted() => Err(goes_on()),
    }
}
