//! The engine's own LED: blinks while programs run, and is dark otherwise.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::port::{Output, Port};
use crate::{Device, Devices};

/// On for so long, then off for so long.
const BLINK: Duration = Duration::from_millis(500);
const STACK_BYTES: usize = 128 << 10;

/// The thread ends when this is dropped.
pub struct StatusLed {
    said: Option<bool>,
    runs: Sender<bool>,
}

impl StatusLed {
    /// `None` where none is configured, or it is not there.
    pub fn start(devices: &Arc<Devices>) -> Option<Self> {
        let alias = devices.status_led.clone()?;
        devices.by_alias.get(&alias)?;
        let (runs, changes) = channel();
        let devices = devices.clone();
        let thread = std::thread::Builder::new()
            .name("status-led".into())
            .stack_size(STACK_BYTES);
        let started = thread.spawn(move || {
            if let Some(Device {
                port: Port::Output(output),
                ..
            }) = devices.by_alias.get(&alias)
            {
                blink(output.as_ref(), &changes);
            }
        });
        match started {
            Ok(_) => Some(Self { said: None, runs }),
            Err(error) => {
                tracing::warn!(%error, "no thread for the status LED");
                None
            }
        }
    }

    pub fn show(&mut self, programs_run: bool) {
        if self.said.replace(programs_run) != Some(programs_run) {
            // A thread that has ended has said why.
            let _ = self.runs.send(programs_run);
        }
    }
}

fn blink(output: &dyn Output, changes: &Receiver<bool>) {
    let (mut runs, mut is_lit) = (false, false);
    loop {
        let change = match runs {
            true => changes.recv_timeout(BLINK),
            false => changes.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match change {
            Ok(change) => (runs, is_lit) = (change, change),
            Err(RecvTimeoutError::Timeout) => is_lit = !is_lit,
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if let Err(error) = output.drive(is_lit) {
            return tracing::warn!(%error, "the status LED does not work");
        }
    }
    // The engine ends: nobody can be told any more.
    let _ = output.release();
}
