//! Captures that the core asked for.
//!
//! ```text
//!             its resuming code is here                     its session is closed
//!  (asked) ------------------------------------> (stopped) <---------------------- if it will stand still
//!     |                                              ^
//!     `--> delayed, while the program runs ----------'
//!                    |      compiled
//!                    `--> answered with the failure; the program runs on
//! ```
//! What always holds: a program that may have to go on here is not stopped before what it needs for that is
//! here. Only when the engine ends nothing is waited for: the next start goes on from what is stored. Where
//! that code cannot be made, every capture is refused, also then: nothing is stored that no start could go on
//! from.

use wayfare_core::types::{CaptureId, Input, Standing};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Blob, ProgramId};

use super::Agent;
use crate::shell::programs::Capturing;
use crate::shell::work::Done;
use wayfare_runtime::MAY_COME_APART;

impl Agent {
    pub(super) fn capture(&mut self, program: ProgramId, capturing: Capturing) {
        if let Some(failure) = self
            .programs
            .current(program)
            .and_then(|hosted| hosted.never_resumes())
        {
            return self.captured(program, capturing.capture, Err(failure));
        }
        if !self.is_stopping
            && let Some(incarnation) = self.programs.delay(program, capturing)
        {
            let capture = capturing.capture;
            self.inputs.push_back(Input::CaptureCompiles { program, capture });
            return self.await_resuming(program, incarnation);
        }
        self.stop_for(program, capturing);
    }

    /// If a capture of the program is delayed: until it can go on afterwards.
    pub(super) fn await_resuming(&mut self, program: ProgramId, incarnation: u64) {
        let hosted = self.programs.get(program, incarnation);
        let delayed = hosted.and_then(|hosted| hosted.delayed_for());
        let Some(loaded) = delayed.filter(|_| MAY_COME_APART) else {
            return;
        };
        let source = self.store.blobs.source(loaded.digest());
        let made = self.workshop.modules.hurry(&loaded, source);
        self.work.spawn(async move {
            let result = made.await;
            Done::CanResume {
                program,
                incarnation,
                result,
            }
        });
    }

    pub(super) fn can_resume(&mut self, program: ProgramId, incarnation: u64, result: Result<(), Failure>) {
        let Some(hosted) = self.programs.get_mut(program, incarnation) else {
            return;
        };
        // That of the same module which was loaded another time has come.
        if result.is_ok() && hosted.delayed_for().is_some_and(|loaded| !loaded.can_resume()) {
            return self.await_resuming(program, incarnation);
        }
        let Some(capturing) = hosted.delayed.take() else {
            return;
        };
        match result {
            Ok(()) => self.stop_for(program, capturing),
            Err(failure) => self.captured(program, capturing.capture, Err(failure)),
        }
    }

    /// The engine ends.
    pub(super) fn stop_for_delayed_captures(&mut self) {
        self.workshop.modules.close();
        for (program, capturing) in self.programs.take_delayed() {
            let then = Standing::Paused;
            self.capture(program, Capturing { then, ..capturing });
        }
    }

    /// A program that will stand still is captured when its session is closed: then nothing is on its way.
    fn stop_for(&mut self, program: ProgramId, capturing: Capturing) {
        match capturing.then {
            Standing::Running => self.capture_now(program, capturing),
            Standing::Paused => {
                let hosted = self.programs.current(program);
                if !self.sessions.close(program, hosted, capturing) {
                    self.capture_now(program, capturing);
                }
            }
        }
    }

    pub(super) fn capture_now(&mut self, program: ProgramId, capturing: Capturing) {
        if !self.programs.capture(program, capturing) {
            let reason = "it is not here to be captured".to_owned();
            self.captured(program, capturing.capture, Err(Failure::Internal { reason }));
        }
    }

    pub(super) fn captured(&mut self, program: ProgramId, capture: CaptureId, result: Result<Blob, Failure>) {
        self.inputs.push_back(Input::Captured {
            program,
            capture,
            result,
        });
    }
}
