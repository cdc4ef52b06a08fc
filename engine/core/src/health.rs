//! What programs say of their health, and what follows when they do not.
//!
//! ```text
//!  nothing said --ready, healthy--> ready --its time is over, and it runs--> unhealthy
//!                                     ^------------------healthy-----------------'
//!  held --released, or its time is over--> not held: the last capture of a move that waited is made
//! ```
//! What always holds: a program that stands still is not judged, and has its whole time again when it runs
//! on. A status is published for a change and not for each word. A hold delays the last capture of a move,
//! and nothing else; however often a program asks for it, it delays one for no longer than [`HOLD_MS_MAX`].

use wayfare_protocol::error::Failure;
use wayfare_protocol::health::Claims;
use wayfare_protocol::ids::{OperationId, ProgramId};

use super::Core;
use super::programs::{Life, Program};
use super::types::{Now, Purpose};

impl Core {
    pub(super) fn claimed(&mut self, program: ProgramId, claims: Claims) {
        let now = self.now;
        if let Some(here) = self.programs.get_mut(&program) {
            let every_ms = here.spec.health_every_ms;
            here.report.claimed(claims, every_ms, now);
        }
    }

    /// What an operation fails with that has waited for its whole time for a program to let go of its hold.
    pub(super) fn held_up(&self, program: ProgramId, operation: OperationId) -> Option<Failure> {
        let here = self.programs.get(&program)?;
        let waits = here.waiting.and_then(Purpose::operation) == Some(operation);
        let reason = here.report.hold()?;
        (waits && here.report.is_held(self.now)).then(|| Failure::WrongState {
            program,
            state: format!("not to be stopped now, as it says itself ('{reason}')"),
            verb: "move it until it lets go".into(),
        })
    }

    pub(super) fn reports_due(&mut self) {
        let now = self.now;
        let mut free = Vec::new();
        for (id, here) in &mut self.programs {
            here.report.pass(here.life == Life::Running, now);
            if here.waiting.is_some() && here.capture.is_none() && !here.report.is_held(now) {
                free.push(*id);
            }
        }
        for program in free {
            self.capture_waiting(program);
        }
    }

    pub(super) fn next_report(&self) -> Option<Now> {
        let reports = self.programs.values().map(|here: &Program| &here.report);
        reports.filter_map(|report| report.next_wakeup(self.now)).min()
    }
}
