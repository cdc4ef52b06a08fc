//! What programs' threads say, and what their sessions do.

use std::time::Instant;

use wayfare_core::types::Input;
use wayfare_protocol::event::EventBody;
use wayfare_protocol::ids::{ClientId, OperationId, ProgramId};
use wayfare_protocol::log::Follower;
use wayfare_runtime::{ProcessEvent, ServiceRequest};

use super::Agent;
use crate::shell::logs::{Ends, Logs};
use crate::shell::programs::Said;
use crate::shell::session::SessionEnd;
use crate::shell::sessions::SessionNews;
use crate::shell::spans;
use crate::shell::work::{self, Done};

/// A checkpoint is made early when a program was sent this much since the last one.
const JOURNAL_BYTES_LARGE: u64 = 4 << 20;

impl Agent {
    pub(super) fn program_said(&mut self, said: Said) {
        let Said {
            program,
            incarnation,
            event,
        } = said;
        let Some(hosted) = self.programs.get_mut(program, incarnation) else {
            return;
        };
        match event {
            ProcessEvent::Started(result) => {
                if let Err(failure) = &result {
                    tracing::warn!(%program, %failure, "could not start a program");
                    self.programs.forget(program, incarnation);
                }
                self.inputs.push_back(Input::Started { program, result });
                let changes = self.programs.memory_changes();
                for (program, bytes) in changes {
                    self.inputs.push_back(Input::MemoryBytes { program, bytes });
                }
            }
            ProcessEvent::Captured { tag, snapshot, .. } => {
                let Some((capturing, loaded)) = hosted.captured(tag).zip(hosted.loaded().cloned()) else {
                    return;
                };
                let base = capturing
                    .purpose
                    .base()
                    .map(|base| (base.digest, self.snapshot_source(base.digest)));
                let workshop = self.workshop.clone();
                let _entered = spans::of_capture(capturing.purpose).entered();
                work::start(
                    &mut self.work,
                    move || workshop.encode(*snapshot, &loaded, base, capturing.purpose),
                    move |result| Done::Encoded {
                        program,
                        incarnation,
                        capture: capturing.capture,
                        result,
                    },
                );
            }
            ProcessEvent::Serves => self.announce(program),
            ProcessEvent::Claims => {
                if let Some(process) = hosted.process() {
                    let claims = process.take_claims();
                    self.inputs.push_back(Input::Claimed { program, claims });
                }
            }
            ProcessEvent::Asks(asked) => self.carry(program, incarnation, asked),
            // Nobody asks for that alone.
            ProcessEvent::Frozen => {}
            ProcessEvent::Changed => hosted.change_over(),
            ProcessEvent::LinesReady => self.publish_lines(program, incarnation),
            ProcessEvent::Ended(state) => {
                hosted.log.has_ended = true;
                self.store.tails.keep(program, &hosted.tail());
                self.inputs.push_back(Input::Ended { program, state });
                self.sessions.finish(program, hosted);
                self.publish_lines(program, incarnation);
            }
        }
    }

    pub(super) fn lines(&mut self) -> (&mut Logs, Ends<'_>) {
        let ends = Ends {
            programs: &mut self.programs,
            tails: &self.store.tails,
            out: &self.out,
            is_fence_passed: self.fence.is_passed(),
        };
        (&mut self.logs, ends)
    }

    fn publish_lines(&mut self, program: ProgramId, incarnation: u64) {
        let (logs, mut ends) = self.lines();
        logs.publish(program, incarnation, &mut ends);
    }

    pub(super) fn reply_logs(
        &mut self,
        client: ClientId,
        operation: OperationId,
        program: ProgramId,
        (since, follower): (u64, Option<Follower>),
    ) {
        let (logs, mut ends) = self.lines();
        let leaves = follower.filter(|follower| follower.lease_ms == 0);
        let outcome = logs.since(program, (since, follower), &mut ends);
        let event = self.event(operation, Some(program), "logs", EventBody::Done { outcome });
        self.out.reply(client, &event);
        // It wanted these lines as well.
        if let Some(follower) = leaves {
            let (logs, mut ends) = self.lines();
            logs.hear_follower(program, &follower, &mut ends);
        }
    }

    fn carry(&mut self, program: ProgramId, incarnation: u64, asked: ServiceRequest) {
        self.service_requests.carry(program, incarnation, asked);
        self.service_requests_due(Instant::now());
    }

    pub(super) fn service_requests_due(&mut self, now: Instant) {
        let is_heard = self.is_heard();
        self.service_requests
            .due(now, &self.programs, is_heard, &self.out);
    }

    pub(super) fn session_news(&mut self, news: SessionNews) {
        match news {
            SessionNews::Connected(answer) => self.fence.session_connected(answer, &self.out),
            SessionNews::Closed(program, incarnation, capturing) => {
                if self.programs.get(program, incarnation).is_some() {
                    self.capture_now(program, capturing);
                }
            }
            SessionNews::Ended(SessionEnd {
                program,
                is_wiped,
                has_ended,
            }) => {
                if has_ended && self.sessions.note_ended(program) {
                    self.open_session(program);
                }
                // It may live again meanwhile: restored under the id that it had.
                if !self.programs.has_ended(program) {
                    return;
                }
                if has_ended {
                    self.withdraw(program);
                }
                if is_wiped {
                    self.store.inboxes.remove(program);
                }
            }
        }
    }

    pub(super) fn open_session(&mut self, program: ProgramId) {
        if let Some(hosted) = self.programs.current(program) {
            self.sessions.open(program, hosted);
        }
    }

    pub(super) fn want_checkpoints(&mut self) {
        for program in self.programs.with_large_journals(JOURNAL_BYTES_LARGE) {
            self.inputs.push_back(Input::CheckpointWanted { program });
        }
    }
}
