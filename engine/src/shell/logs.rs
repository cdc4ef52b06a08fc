//! Programs' lines on their way to the broker, and what programs' threads say otherwise.
//!
//! One batch of a program is on its way at a time: lines arrive in order, what is printed meanwhile gathers
//! into the next batch, and a program that prints faster than the broker takes is held up by its own log.

use std::time::Instant;

use wayfare_core::types::Input;
use wayfare_link::{Link, Message};
use wayfare_protocol::event::{EventBody, Outcome};
use wayfare_protocol::ids::{ClientId, Generation, OperationId, ProgramId};
use wayfare_protocol::limits::PAYLOAD_BYTES_MAX;
use wayfare_protocol::log::{Follower, LogBatch, LogLine};
use wayfare_protocol::topics::Topic;
use wayfare_protocol::wire;

use super::agent::Agent;
use super::outbound::json_bytes;
use super::programs::Said;
use super::spans;
use super::store::Tail;
use super::work::{self, Done};
use wayfare_runtime::ProcessEvent;

/// Room in a message for what surrounds the lines.
const ENVELOPE_BYTES_MAX: usize = 2048;
const LINES_JSON_BYTES_MAX: usize = PAYLOAD_BYTES_MAX - ENVELOPE_BYTES_MAX;

/// A batch has reached the broker, or never will.
pub(super) struct Published {
    program: ProgramId,
    /// 0: the program had ended before this engine's start.
    incarnation: u64,
    below: u64,
    arrived: bool,
}

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
                self.finish_session(program);
                self.publish_lines(program, incarnation);
            }
        }
    }

    fn publish_lines(&mut self, program: ProgramId, incarnation: u64) {
        let Some(hosted) = self.programs.get_mut(program, incarnation) else {
            return;
        };
        // Until the fence is passed it may be a copy that has been replaced.
        if hosted.log.is_publishing || !self.fence.is_passed() {
            return;
        }
        let lines = hosted
            .process()
            .map_or_else(Vec::new, |process| process.take_lines(LINES_JSON_BYTES_MAX));
        if !lines.is_empty() {
            hosted.log.is_publishing = true;
            let generation = hosted.generation;
            self.publish_batch(program, incarnation, generation, lines);
        } else if hosted.log.has_ended && hosted.followers.is_empty() {
            self.store.tails.keep(program, &hosted.tail());
            self.programs.forget(program, incarnation);
        }
    }

    fn publish_batch(
        &mut self,
        program: ProgramId,
        incarnation: u64,
        generation: Generation,
        lines: Vec<LogLine>,
    ) {
        let below = lines.last().map_or(0, |line| line.line + 1);
        let batch = LogBatch {
            program,
            generation,
            engine: self.out.engine.clone(),
            lines,
        };
        let message = Message::new(
            self.out.topics.topic(&Topic::ProgramLog(program)),
            wire::encode(&batch),
        )
        .fleeting();
        let link = self.out.link.clone();
        self.publishing.spawn(async move {
            Published {
                program,
                incarnation,
                below,
                arrived: publish(&link, message).await,
            }
        });
    }

    pub(super) fn lines_published(&mut self, published: Published) {
        let Published {
            program,
            incarnation,
            below,
            arrived,
        } = published;
        if incarnation == 0 {
            self.tail_published(program, below, arrived);
            return;
        }
        let Some(hosted) = self.programs.get_mut(program, incarnation) else {
            return;
        };
        hosted.log.is_publishing = false;
        if !arrived && let Some(process) = hosted.process() {
            process.rewind_log();
        }
        if arrived {
            hosted.log.acknowledged_below = below;
            if let Some(process) = hosted.process() {
                process.acknowledge_log(below);
            }
        }
        self.publish_lines(program, incarnation);
    }

    /// What was held back until the fence was passed.
    pub(super) fn publish_held_lines(&mut self) {
        for (program, incarnation) in self.programs.incarnations() {
            self.publish_lines(program, incarnation);
        }
    }

    /// Lines of ended programs that an earlier start could not bring to the broker.
    pub(super) fn publish_tails(&mut self) {
        for status in self.core.statuses() {
            if let Some(tail) = self.store.tails.read(status.program) {
                self.publish_tail(status.program, tail);
            }
        }
    }

    fn publish_tail(&mut self, program: ProgramId, tail: Tail) {
        let mut lines = tail.lines;
        lines.retain(|line| line.line >= tail.acknowledged_below);
        let lines = fitting(lines, LINES_JSON_BYTES_MAX);
        if !lines.is_empty() {
            self.publish_batch(program, 0, tail.generation, lines);
        }
    }

    fn tail_published(&mut self, program: ProgramId, below: u64, arrived: bool) {
        if let Some(mut tail) = self.store.tails.read(program).filter(|_| arrived) {
            tail.acknowledged_below = below;
            self.store.tails.keep(program, &tail);
            self.publish_tail(program, tail);
        }
    }

    /// A follower has said how far it is, or that it is one.
    pub(super) fn hear_follower(&mut self, program: ProgramId, follower: &Follower) {
        let now = Instant::now();
        let Some(hosted) = self.programs.current_mut(program) else {
            return;
        };
        hosted.followers.hear(follower, now);
        hosted.hold();
        let (is_left, incarnation) = (hosted.followers.is_empty(), hosted.incarnation);
        self.followers_due(now);
        if is_left {
            self.publish_lines(program, incarnation);
        }
    }

    /// Ended programs that nobody reads any more are forgotten.
    pub(super) fn followers_due(&mut self, now: Instant) {
        let (next, left) = self.programs.expire_followers(now);
        self.times.followers = next;
        for (program, incarnation) in left {
            self.publish_lines(program, incarnation);
        }
    }

    pub(super) fn reply_logs(
        &mut self,
        client: ClientId,
        operation: OperationId,
        program: ProgramId,
        (since, follower): (u64, Option<Follower>),
    ) {
        if let Some(follower) = follower.filter(|follower| follower.lease_ms > 0) {
            self.hear_follower(program, &follower);
        }
        let running = self.programs.current(program).and_then(|hosted| hosted.process());
        let (lines, next) = match running {
            Some(process) => process.log_tail(since),
            None => match self.store.tails.read(program) {
                Some(mut tail) => {
                    tail.lines.retain(|line| line.line >= since);
                    (tail.lines, tail.next)
                }
                None => (Vec::new(), since),
            },
        };
        let outcome = Outcome::Logs {
            lines: fitting(lines, LINES_JSON_BYTES_MAX),
            next,
        };
        let event = self.event(operation, Some(program), "logs", EventBody::Done { outcome });
        self.out.reply(client, &event);
        // It wanted these lines as well.
        if let Some(follower) = follower.filter(|follower| follower.lease_ms == 0) {
            self.hear_follower(program, &follower);
        }
    }
}

async fn publish(link: &Link, message: Message) -> bool {
    let topic = message.topic.clone();
    match link.publish_acknowledged(message).await {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(topic, %error, "log lines were not published");
            false
        }
    }
}

/// The first lines, as many as a message holds.
fn fitting(mut lines: Vec<LogLine>, bytes_max: usize) -> Vec<LogLine> {
    let mut bytes = 2;
    let count = lines
        .iter()
        .take_while(|line| {
            bytes += json_bytes(*line);
            bytes <= bytes_max
        })
        .count();
    lines.truncate(count);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use wayfare_protocol::log::{LogText, Stream};

    #[test]
    fn lines_are_cut_to_what_a_message_holds() {
        let lines: Vec<LogLine> = (0..1000)
            .map(|line| LogLine {
                line,
                stream: Stream::Stdout,
                text: LogText::from_bytes(vec![if line % 2 == 0 { b'x' } else { 0xff }; line as usize]),
                open: false,
                at_ms: 0,
            })
            .collect();
        let fit = fitting(lines.clone(), 10_000);
        assert!(wire::to_json(&fit).len() <= 10_000);
        assert!(wire::to_json(&lines[..=fit.len()].to_vec()).len() > 10_000);
    }
}
