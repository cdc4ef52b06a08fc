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

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use wayfare_protocol::error::Failure;

use super::backend::Tier;
use super::compiled::Compiled;
use super::control::Control;
use super::runtime::{Loaded, Runtime};

/// What succeeds a module's code, and who is to know.
#[derive(Default)]
pub(super) struct Succession {
    state: Mutex<State>,
    /// Held by who makes the successor, so that it is made once.
    making: Mutex<()>,
}

#[derive(Default)]
struct State {
    better: Option<Arc<Loaded>>,
    running: Vec<Weak<Control>>,
}

impl Succession {
    pub(super) fn better(&self) -> Option<Arc<Loaded>> {
        self.state().better.clone()
    }

    fn join(&self, program: &Arc<Control>) {
        let mut state = self.state();
        match &state.better {
            Some(better) => program.improve(better.clone()),
            None => {
                state.running.retain(|other| other.strong_count() > 0);
                state.running.push(Arc::downgrade(program));
            }
        }
    }

    fn succeed(&self, better: Arc<Loaded>) {
        let mut state = self.state();
        for program in state.running.drain(..).filter_map(|program| program.upgrade()) {
            program.improve(better.clone());
        }
        state.better = Some(better);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Loaded {
    /// A program begins on this code, and changes over to what succeeds it.
    pub(super) fn join(&self, program: &Arc<Control>) {
        if self.tier == Tier::Baseline {
            self.succession.join(program);
        }
    }
}

impl Runtime {
    /// Compiles what succeeds code of the baseline tier, unless that is done, and has its programs change
    /// over. `keep` gets what to keep for [`Runtime::revive`] and [`Runtime::revive_resuming`].
    pub fn optimise(
        &self,
        baseline: &Loaded,
        wasm: &[u8],
        mut keep: impl FnMut(Compiled),
    ) -> Result<(), Failure> {
        let succession = &baseline.succession;
        let _making = succession.making.lock().unwrap_or_else(PoisonError::into_inner);
        if baseline.better().is_some() {
            return Ok(());
        }
        let (better, compiled) = self.compile(baseline.digest(), wasm)?;
        keep(compiled);
        if let Some(compiled) = self.compile_resuming(&better, wasm)? {
            keep(compiled);
        }
        succession.succeed(better);
        self.optimisations.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// How often this runtime has made a successor of baseline code.
    pub fn optimisations(&self) -> u64 {
        self.optimisations.load(Ordering::Relaxed)
    }
}
