//! Carrying out what the core decided.

use wayfare_core::types::{Effect, Input};
use wayfare_protocol::code::SecretKey;
use wayfare_protocol::event::{Event, EventBody};
use wayfare_protocol::ids::{OperationId, ProgramId};
use wayfare_protocol::status::{EngineState, EngineStatus, ProgramStatus};

use super::{Agent, Step};
use crate::shell::machine;
use crate::shell::programs::Capturing;
use crate::shell::spans;
use crate::shell::work::Data;

impl Agent {
    /// In order; stops at the first that needs the store while that cannot store.
    pub(super) fn carry_out(&mut self) {
        if self.times.retry.is_none() {
            self.carry_out_what_can_be();
        }
        self.end_without_the_store();
    }

    /// What is to be discarded ends at once, though it stays on the disk until that takes records again:
    /// another life of it may run elsewhere. Discarded again in its turn, it is not here any more.
    fn end_without_the_store(&mut self) {
        for step in &self.steps {
            if let Step::Effect(Effect::Discard { program }) = step {
                self.programs.discard(*program);
            }
        }
    }

    fn carry_out_what_can_be(&mut self) {
        while let Some(step) = self.steps.pop_front() {
            let is_record = matches!(step, Step::Effect(Effect::Store(_) | Effect::Erase(_)));
            if !is_record && !self.commit() {
                self.steps.push_front(step);
                return;
            }
            match step {
                Step::Effect(effect) => self.effect(effect),
                Step::Keep { blob, offset, chunk } => self.keep_chunk(blob, offset, &chunk),
                Step::Acknowledge(token) => self.out.link.acknowledge(token),
                Step::SpeakAgain => {
                    // First: an ended program is gone with its session when its last lines are published.
                    self.sessions.set_heard(self.fence.is_passed());
                    let known: Vec<_> = self.core.statuses().iter().map(|status| status.program).collect();
                    let (logs, mut ends) = self.lines();
                    logs.publish_held(known, &mut ends);
                }
                Step::SessionsHeard(number) => self.fence.sessions_heard(number, &self.out),
            }
        }
        self.commit();
    }

    /// Records that follow each other are made durable together.
    fn commit(&mut self) -> bool {
        if self.uncommitted {
            match self.store.commit() {
                Ok(()) => {
                    self.uncommitted = false;
                    self.sessions.forget_stored(&mut self.programs);
                    self.stored();
                }
                Err(error) => self.stall(&error),
            }
        }
        !self.uncommitted
    }

    fn effect(&mut self, effect: Effect) {
        let _entered = spans::of_effect(&effect).entered();
        tracing::trace!(?effect, "effect");
        match effect {
            Effect::Store(record) => {
                self.store.put(&record);
                self.sessions.note_put(&record, &self.programs);
                self.uncommitted = true;
            }
            Effect::Erase(key) => {
                self.store.erase(key);
                self.uncommitted = true;
            }
            Effect::Reply { client, event } => {
                tracing::debug!(?event, "reply");
                self.out.reply(client, &event);
            }
            Effect::Peer {
                to,
                operation,
                message,
            } => match self.trust.passage_of(operation, &message) {
                Some(order) => self.out.offer(to, operation, message, order),
                None => self.out.peer(to, operation, message, &[]),
            },
            Effect::SendChunk {
                to,
                operation,
                blob,
                offset,
                bytes,
            } => self
                .out
                .chunk(to, operation, (blob, offset, bytes), &mut self.store.blobs),
            Effect::PublishEngine {
                sequence,
                statuses_after,
                live,
                running,
                listed,
            } => {
                if let Some(led) = &mut self.status_led {
                    led.show(running > 0);
                }
                self.publish_engine((sequence, statuses_after), live, listed);
            }
            Effect::PublishProgram(status) => {
                self.subscriptions.watch(status.program);
                if self.fence.is_passed() {
                    let place = self.trust.places.of(status.program, status.generation);
                    if !self.statuses.publish(&status, place, &self.out) {
                        // Said again in a moment, as one that somebody has overwritten.
                        let (program, stands) = (status.program, false);
                        self.inputs.push_back(Input::StatusHeard { program, stands });
                    }
                }
                match status.state.is_ended() {
                    true => self.look_for_stale(&status),
                    false => self.announce(status.program),
                }
            }
            Effect::ClearProgram { program, tombstone } => {
                match tombstone {
                    Some(tombstone) => {
                        let place = self.trust.places.of(program, tombstone.generation);
                        self.out.program_status(&tombstone, place);
                    }
                    None => self.out.clear_program(program),
                }
                self.trust.places.forget(program);
                self.withdraw(program);
                self.sessions.wipe(program, &self.store.inboxes);
            }
            Effect::KeepChunk { blob, .. } => {
                let blob = blob.digest.short();
                tracing::error!(blob, "the core wants to keep a chunk that is not in hand");
            }
            Effect::LoadModule {
                operation,
                module,
                resumes,
            } => self.load_module(operation, module, resumes),
            Effect::VerifySnapshot {
                operation,
                saved,
                module,
            } => self.verify(operation, saved, module),
            Effect::Start {
                program,
                spec,
                generation,
                begun,
                saved,
                frozen,
                is_known,
                follower,
            } => {
                let (module, data) = (spec.module, Data::of(&spec));
                let incarnation = self
                    .programs
                    .begin(program, spec, (generation, begun), (frozen, is_known));
                if let Some(follower) = follower {
                    let (logs, mut ends) = self.lines();
                    logs.hear_follower(program, &follower, &mut ends);
                }
                self.start(program, incarnation, (module, data), saved);
            }
            Effect::Capture {
                program,
                capture,
                purpose,
                then,
            } => self.capture(
                program,
                Capturing {
                    capture,
                    purpose,
                    then,
                },
            ),
            Effect::Unfreeze {
                program,
                generation,
                begun,
            } => {
                self.programs.unfreeze(program, generation, begun);
                self.open_session(program);
            }
            Effect::Discard { program } => {
                self.programs.discard(program);
                // It has moved, or was succeeded; one that is on its way back has been ordered already.
                if !self.core.concerned().contains(&program) {
                    self.trust.places.forget(program);
                }
            }
            Effect::ReplyLogs {
                client,
                operation,
                program,
                since,
                follower,
            } => self.reply_logs(client, operation, program, (since, follower)),
        }
    }

    /// Not before the fence is passed: then the statuses of all programs are published first.
    fn publish_engine(&self, (sequence, statuses_after): (u64, u64), live: u32, listed: Vec<ProgramStatus>) {
        if !self.fence.is_passed() {
            return;
        }
        let (engine, boot) = (self.out.engine.clone(), self.boot);
        self.out.engine_status(&EngineStatus {
            sequence,
            leaving: self.leaving.request(),
            about: Some(self.about.clone()),
            load: machine::load(self.times.begun),
            live_programs: Some(live),
            statuses_after: Some(statuses_after),
            rival: self.claim.rival().cloned(),
            challenge: self.trust.challenge(),
            identity: self.out.key.as_ref().map(SecretKey::public),
            programs: listed,
            ..EngineStatus::new(engine, boot, EngineState::Online)
        });
    }

    pub(super) fn event(
        &self,
        operation: OperationId,
        program: Option<ProgramId>,
        verb: &str,
        body: EventBody,
    ) -> Event {
        Event {
            operation,
            engine: self.out.engine.clone(),
            boot: self.boot,
            verb: verb.to_owned(),
            program,
            body,
        }
    }
}
