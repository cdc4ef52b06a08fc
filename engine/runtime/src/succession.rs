//! Better code for programs that began on the baseline tier.
//!
//! ```text
//!  baseline, compiled ──> programs run ──> its resuming code ──> optimised program ──> optimised resuming code ──> succeeded
//!        (one pass)                          (one pass)               `optimise`, behind running programs            │
//!                                                                                                                    │ each program at its
//!                                                                      programs run on, on the optimised tier <──────┘ next poll, in place
//! ```
//! A program changes over as it is captured and restored, in the same thread, with the same host's side
//! (`instance::change`). Neither its generation nor its messages, files or snapshots know of it.
//!
//! What always holds: no program stands still for what is not compiled yet; what was asked of a program goes
//! before its change; and one whose change fails goes on where it was, and tries again when it next stands
//! still.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::control::Control;

/// What succeeds a module's code, and who is to know.
pub(super) struct Succession<Code> {
    state: Mutex<State<Code>>,
    /// Held by who makes the successor, so that it is made once.
    making: Mutex<()>,
}

struct State<Code> {
    better: Option<Arc<Code>>,
    running: Vec<Weak<Control>>,
}

impl<Code> Default for Succession<Code> {
    fn default() -> Self {
        let state = State {
            better: None,
            running: Vec::new(),
        };
        Self {
            state: Mutex::new(state),
            making: Mutex::default(),
        }
    }
}

impl<Code> Succession<Code> {
    pub(super) fn better(&self) -> Option<Arc<Code>> {
        self.state().better.clone()
    }

    pub(super) fn join(&self, program: &Arc<Control>) {
        let mut state = self.state();
        match state.better {
            Some(_) => program.improve(),
            None => {
                state.running.retain(|other| other.strong_count() > 0);
                state.running.push(Arc::downgrade(program));
            }
        }
    }

    pub(super) fn succeed(&self, better: Arc<Code>) {
        let mut state = self.state();
        state.better = Some(better);
        for program in state.running.drain(..).filter_map(|program| program.upgrade()) {
            program.improve();
        }
    }

    /// Whoever has it is the one that makes the successor.
    pub(super) fn making(&self) -> MutexGuard<'_, ()> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State<Code>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
