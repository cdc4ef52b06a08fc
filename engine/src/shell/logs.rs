//! Programs' lines on their way to the broker, and to who asks for them.
//!
//! One batch of a program is on its way at a time: lines arrive in order, what is printed meanwhile gathers
//! into the next batch, and a program that prints faster than the broker takes is held up by its own log.

use std::time::Instant;

use tokio::task::JoinSet;
use wayfare_link::{Link, Message};
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::{Generation, ProgramId};
use wayfare_protocol::limits::PAYLOAD_BYTES_MAX;
use wayfare_protocol::log::{Follower, LogBatch, LogLine};
use wayfare_protocol::topics::Topic;
use wayfare_protocol::wire;

use super::outbound::{Outbound, json_bytes};
use super::programs::Programs;
use super::store::{Tail, Tails};

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

/// Where lines come from and go to.
pub(super) struct Ends<'a> {
    pub(super) programs: &'a mut Programs,
    /// Of programs that have ended.
    pub(super) tails: &'a Tails,
    pub(super) out: &'a Outbound,
    /// Until the fence is passed a program here may be a copy that has been replaced: nothing it prints is
    /// published.
    pub(super) is_fence_passed: bool,
}

#[derive(Default)]
pub(super) struct Logs {
    publishing: JoinSet<Published>,
    /// The next lease of a follower is over.
    followers_due: Option<Instant>,
}

impl Logs {
    /// Waits until a batch has reached the broker, or never will; at once `None` where none is on its way.
    pub(super) async fn next(&mut self) -> Option<Published> {
        match self.publishing.join_next().await? {
            Ok(published) => Some(published),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    pub(super) fn are_published(&self) -> bool {
        self.publishing.is_empty()
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.followers_due
    }

    /// Publishes what the program has printed, if none of it is on its way. An ended one that has nothing
    /// more to say, to nobody, is forgotten.
    pub(super) fn publish(&mut self, program: ProgramId, incarnation: u64, ends: &mut Ends<'_>) {
        let Some(hosted) = ends.programs.get_mut(program, incarnation) else {
            return;
        };
        if hosted.log.is_publishing || !ends.is_fence_passed {
            return;
        }
        let lines = hosted
            .process()
            .map_or_else(Vec::new, |process| process.take_lines(LINES_JSON_BYTES_MAX));
        if !lines.is_empty() {
            hosted.log.is_publishing = true;
            self.publish_batch((program, incarnation), hosted.generation, lines, ends.out);
        } else if hosted.log.has_ended && hosted.followers.is_empty() {
            ends.tails.keep(program, &hosted.tail());
            ends.programs.forget(program, incarnation);
        }
    }

    fn publish_batch(
        &mut self,
        (program, incarnation): (ProgramId, u64),
        generation: Generation,
        lines: Vec<LogLine>,
        out: &Outbound,
    ) {
        let below = lines.last().map_or(0, |line| line.line + 1);
        let batch = LogBatch {
            program,
            generation,
            engine: out.engine.clone(),
            lines,
        };
        let message = Message::new(
            out.topics.topic(&Topic::ProgramLog(program)),
            wire::encode(&batch),
        )
        .fleeting();
        let link = out.link.clone();
        self.publishing.spawn(async move {
            Published {
                program,
                incarnation,
                below,
                arrived: publish(&link, message).await,
            }
        });
    }

    /// What [`Logs::next`] has said: the next batch can go.
    pub(super) fn published(&mut self, published: &Published, ends: &mut Ends<'_>) {
        let Published {
            program,
            incarnation,
            below,
            arrived,
        } = *published;
        if incarnation == 0 {
            return self.tail_published(program, below, arrived, ends);
        }
        let Some(hosted) = ends.programs.get_mut(program, incarnation) else {
            return;
        };
        hosted.log.is_publishing = false;
        if arrived {
            hosted.log.acknowledged_below = below;
        }
        if let Some(process) = hosted.process() {
            match arrived {
                true => process.acknowledge_log(below),
                false => process.rewind_log(),
            }
        }
        self.publish(program, incarnation, ends);
    }

    /// What was held back until the fence was passed; and lines of programs that have ended, which an earlier
    /// process of this engine could not bring to the broker.
    pub(super) fn publish_held(&mut self, known: impl IntoIterator<Item = ProgramId>, ends: &mut Ends<'_>) {
        for (program, incarnation) in ends.programs.incarnations() {
            self.publish(program, incarnation, ends);
        }
        for program in known {
            if let Some(tail) = ends.tails.read(program) {
                self.publish_tail(program, tail, ends.out);
            }
        }
    }

    fn publish_tail(&mut self, program: ProgramId, tail: Tail, out: &Outbound) {
        let mut lines = tail.lines;
        lines.retain(|line| line.line >= tail.acknowledged_below);
        let lines = fitting(lines, LINES_JSON_BYTES_MAX);
        if !lines.is_empty() {
            self.publish_batch((program, 0), tail.generation, lines, out);
        }
    }

    fn tail_published(&mut self, program: ProgramId, below: u64, arrived: bool, ends: &Ends<'_>) {
        if let Some(mut tail) = ends.tails.read(program).filter(|_| arrived) {
            tail.acknowledged_below = below;
            ends.tails.keep(program, &tail);
            self.publish_tail(program, tail, ends.out);
        }
    }

    /// A follower has said how far it is, or that it is one.
    pub(super) fn hear_follower(&mut self, program: ProgramId, follower: &Follower, ends: &mut Ends<'_>) {
        let now = Instant::now();
        let Some(hosted) = ends.programs.current_mut(program) else {
            return;
        };
        hosted.followers.hear(follower, now);
        hosted.hold();
        let (is_left, incarnation) = (hosted.followers.is_empty(), hosted.incarnation);
        self.expire_followers(now, ends);
        if is_left {
            self.publish(program, incarnation, ends);
        }
    }

    /// Ended programs that nobody reads any more are forgotten.
    pub(super) fn expire_followers(&mut self, now: Instant, ends: &mut Ends<'_>) {
        let (next, left) = ends.programs.expire_followers(now);
        self.followers_due = next;
        for (program, incarnation) in left {
            self.publish(program, incarnation, ends);
        }
    }

    /// The lines from this one on, for one who asks, and maybe follows.
    pub(super) fn since(
        &mut self,
        program: ProgramId,
        (since, follower): (u64, Option<Follower>),
        ends: &mut Ends<'_>,
    ) -> Outcome {
        if let Some(follower) = follower.as_ref().filter(|follower| follower.lease_ms > 0) {
            self.hear_follower(program, follower, ends);
        }
        let running = ends.programs.current(program).and_then(|hosted| hosted.process());
        let (lines, next) = match running {
            Some(process) => process.log_tail(since),
            None => match ends.tails.read(program) {
                Some(mut tail) => {
                    tail.lines.retain(|line| line.line >= since);
                    (tail.lines, tail.next)
                }
                None => (Vec::new(), since),
            },
        };
        Outcome::Logs {
            lines: fitting(lines, LINES_JSON_BYTES_MAX),
            next,
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
