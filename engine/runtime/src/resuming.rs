//! Resuming code: what rebuilds a program's calls from its frames. Four fifths of all code, and needed only
//! where a program goes on from a capture.
//!
//! ```text
//!              begin              settle
//!   [absent] ---------> [making] --------> [here]
//!      ^                   |
//!      `--- another try ---+---> [failed], for good if the module is why
//! ```
//! Code that was compiled here has it in a module of its own, so that a program starts without it, and
//! somebody makes it then (`shell::modules`). Code that others made has it in the program's module, and it is
//! always here.
//!
//! What always holds: it is made by one at a time; and no program is made to stand still for longer than a
//! capture takes unless it is here, but for one whose engine ends: see `shell::captures`.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use wasmtime::{Module, ModuleExport};
use wayfare_abi::rewritten as abi;
use wayfare_protocol::error::Failure;

/// Whether a module's resuming code is here.
pub(super) struct Resuming {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Absent,
    Making,
    Here,
    /// It cannot be made of this module.
    Failed(Failure),
}

/// Who holds this makes it. Dropped without a word, another may try.
pub(crate) struct Making<'a>(&'a Resuming);

/// What somebody who waited has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Waited {
    /// Nothing: it is here.
    Here,
    /// Nobody makes it.
    Absent,
}

impl Resuming {
    pub(super) fn new(is_here: bool) -> Self {
        let state = if is_here { State::Here } else { State::Absent };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    pub(super) fn is_here(&self) -> bool {
        *self.lock() == State::Here
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        match &*self.lock() {
            State::Failed(failure) => Some(failure.clone()),
            State::Absent | State::Making | State::Here => None,
        }
    }

    /// `None`: it is here, is being made, or cannot be.
    pub(super) fn begin(&self) -> Option<Making<'_>> {
        let mut state = self.lock();
        if *state != State::Absent {
            return None;
        }
        *state = State::Making;
        Some(Making(self))
    }

    /// Waits as long as somebody is making it.
    pub(super) fn wait(&self) -> Result<Waited, Failure> {
        let mut state = self.lock();
        loop {
            match &*state {
                State::Here => return Ok(Waited::Here),
                State::Absent => return Ok(Waited::Absent),
                State::Failed(failure) => return Err(failure.clone()),
                State::Making => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn set(&self, state: State) {
        *self.lock() = state;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Making<'_> {
    /// Only what is wrong with the module itself would go wrong again.
    pub(crate) fn settle(self, result: &Result<(), Failure>) {
        match result {
            Ok(()) => self.0.set(State::Here),
            Err(failure @ Failure::Module { .. }) => self.0.set(State::Failed(failure.clone())),
            Err(_) => {}
        }
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if *state == State::Making {
            *state = State::Absent;
        }
        drop(state);
        self.0.changed.notify_all();
    }
}

/// The resume module in one of [`super::rooms`].
#[derive(Clone)]
pub(super) struct ResumeModule {
    module: Module,
    /// Exports of the program's module, in the order in which this one imports them.
    parts: Vec<ModuleExport>,
}

impl ResumeModule {
    /// For a program's module of the same room; says what does not fit.
    pub(super) fn new(module: Module, program: &Module) -> Result<Self, String> {
        match module.get_export(abi::RESUME) {
            Some(wasmtime::ExternType::Func(ty)) if ty.params().len() + ty.results().len() == 0 => {}
            _ => return Err(format!("its resuming code lacks the function '{}'", abi::RESUME)),
        }
        let part = |import: wasmtime::ImportType| {
            let found = (import.module() == abi::PROGRAM).then(|| program.get_export_index(import.name()));
            let lacks = || {
                format!(
                    "its resuming code needs '{}', which its program lacks",
                    import.name()
                )
            };
            found.flatten().ok_or_else(lacks)
        };
        let parts = module.imports().map(part).collect::<Result<_, _>>()?;
        Ok(Self { module, parts })
    }

    pub(super) fn module(&self) -> &Module {
        &self.module
    }

    /// An instance that resumes `program`.
    pub(super) fn instantiate<T: 'static>(
        &self,
        program: &wasmtime::Instance,
        store: &mut wasmtime::Store<T>,
    ) -> wasmtime::Result<wasmtime::Instance> {
        let parts = self.parts.iter().map(|part| {
            let found = program.get_module_export(&mut *store, part);
            found.ok_or_else(|| wasmtime::Error::msg("the program is of another module"))
        });
        let parts = parts.collect::<wasmtime::Result<Vec<_>>>()?;
        wasmtime::Instance::new(store, &self.module, &parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wayfare_protocol::ids::Digest;

    #[test]
    fn one_makes_it_and_the_others_wait_for_that() {
        let resuming = Resuming::new(false);
        assert_eq!(resuming.wait(), Ok(Waited::Absent));
        let making = resuming.begin().unwrap();
        assert!(resuming.begin().is_none(), "it is being made");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| resuming.wait());
            making.settle(&Ok(()));
            assert_eq!(waiting.join().unwrap(), Ok(Waited::Here));
        });
        assert!(resuming.is_here() && resuming.begin().is_none());
    }

    #[test]
    fn what_failed_is_tried_again_unless_the_module_is_to_blame() {
        let resuming = Resuming::new(false);
        let internal = Failure::Internal {
            reason: "no memory".into(),
        };
        resuming.begin().unwrap().settle(&Err(internal));
        drop(resuming.begin().unwrap());
        assert_eq!(resuming.wait(), Ok(Waited::Absent));
        assert_eq!(resuming.failure(), None, "another try may do");
        let module = Failure::Module {
            module: Digest([1; 32]),
            reason: "too large".into(),
        };
        resuming.begin().unwrap().settle(&Err(module.clone()));
        assert!(resuming.begin().is_none());
        assert_eq!(resuming.failure(), Some(module.clone()));
        assert_eq!(resuming.wait(), Err(module));
    }
}
