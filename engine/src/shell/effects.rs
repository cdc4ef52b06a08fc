//! Carrying out what the core decided.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use wayfare_core::types::{Effect, Input, Saved};
use wayfare_protocol::code::SecretKey;
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::{Event, EventBody};
use wayfare_protocol::ids::{Blob, Digest, OperationId, ProgramId};
use wayfare_protocol::snapshot::Snapshot;
use wayfare_protocol::status::{EngineState, EngineStatus, ProgramStatus};

use super::agent::{Agent, Step};
use super::code_workshop::read;
use super::fetches::Waiting;
use super::machine;
use super::programs::Capturing;
use super::spans;
use super::work::{self, Data, Done, Gathered, SavedSource, SnapshotSource, Written};
use wayfare_runtime::MAY_COME_APART;

impl Agent {
    /// In order; stops at the first that needs the store while that cannot store.
    pub(super) fn carry_out(&mut self) {
        if self.times.retry.is_none() {
            self.carry_out_what_can_be();
        }
        self.end_without_the_store();
    }

    /// What is to be discarded ends at once, though it stays on the disk until that takes records again: another life of it may
    /// run elsewhere. Discarded again in its turn, it is not here any more.
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
                    self.publish_held_lines();
                    self.publish_tails();
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
                    self.forget_stored_mail();
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
                self.note_stored(&record);
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
            } => self.send_chunk(to, operation, blob, offset, bytes),
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
                    self.statuses.publish(&status, place, &self.out);
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
                self.wipe_session(program);
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
                    self.hear_follower(program, &follower);
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

    /// With `resumes`, also what only programs need that go on from a snapshot.
    pub(super) fn load_module(&mut self, operation: OperationId, module: Digest, resumes: bool) {
        let ready = self.workshop.modules.ready(module);
        if ready.is_some_and(|loaded| loaded.can_resume() || !resumes) {
            let result = Ok(());
            self.inputs.push_back(Input::ModuleLoaded { operation, result });
            return;
        }
        if let Some(bytes) = self.store.blobs.bytes_of(module) {
            let blob = Blob {
                digest: module,
                bytes,
            };
            if self.workshop.modules.lacks_code(blob) {
                return self.fetch(blob, Waiting::Arrival { operation, resumes });
            }
        }
        self.load_module_here(operation, module, resumes);
    }

    /// The same, where nobody is asked for its code.
    pub(super) fn load_module_here(&mut self, operation: OperationId, module: Digest, resumes: bool) {
        let source = self.store.blobs.source(module);
        let modules = self.workshop.modules.clone();
        if resumes && MAY_COME_APART {
            self.work.spawn(async move {
                let result = modules.load_whole_later(module, source).await;
                Done::ModuleLoaded { operation, result }
            });
            return;
        }
        work::start(
            &mut self.work,
            move || modules.load(module, source).map(drop),
            move |result| Done::ModuleLoaded { operation, result },
        );
    }

    pub(super) fn snapshot_source(&mut self, digest: Digest) -> SnapshotSource {
        match self.snapshots.get(digest) {
            Some(snapshot) => SnapshotSource::Decoded(snapshot),
            None => SnapshotSource::Blob(digest, self.store.blobs.source(digest)),
        }
    }

    /// Takes what is decoded: joined with its base it is another, and nobody will ask for the parts again.
    fn saved_source(&mut self, saved: Saved) -> SavedSource {
        let mut take = |digest| match self.snapshots.take(digest) {
            Some(snapshot) => SnapshotSource::Decoded(snapshot),
            None => SnapshotSource::Blob(digest, self.store.blobs.source(digest)),
        };
        SavedSource {
            snapshot: take(saved.snapshot.digest),
            base: saved.base.map(|base| take(base.digest)),
        }
    }

    fn verify(&mut self, operation: OperationId, saved: Saved, module: Digest) {
        let source = self.saved_source(saved);
        let workshop = self.workshop.clone();
        work::start(
            &mut self.work,
            move || workshop.decode(source, module),
            move |result| Done::Verified {
                operation,
                saved,
                result,
            },
        );
    }

    fn start(
        &mut self,
        program: ProgramId,
        incarnation: u64,
        (spec_module, data): (Blob, Data),
        saved: Option<Saved>,
    ) {
        let module = spec_module.digest;
        let verified = saved.and_then(|saved| self.verified.take_if(|(known, _)| *known == saved));
        let snapshot = verified.map(|(_, snapshot)| snapshot);
        if let Some(loaded) = self.workshop.modules.ready(module)
            && data.is_empty()
            && snapshot.is_some() == saved.is_some()
            && (saved.is_none() || loaded.can_resume())
        {
            let gathered = Gathered {
                loaded,
                stdin: None,
                folders: BTreeMap::new(),
                snapshot,
            };
            self.launch(program, incarnation, Ok(gathered));
            return;
        }
        if self.workshop.modules.lacks_code(spec_module) {
            let waiting = Waiting::Program {
                program,
                incarnation,
                data,
                saved,
            };
            return self.fetch(spec_module, waiting);
        }
        self.gather(program, incarnation, module, (data, saved), snapshot);
    }

    /// Reads on another thread what a program is launched from.
    pub(super) fn gather(
        &mut self,
        program: ProgramId,
        incarnation: u64,
        module: Digest,
        (data, saved): (Data, Option<Saved>),
        snapshot: Option<Arc<Snapshot>>,
    ) {
        let module_source = self.store.blobs.source(module);
        let mut source = |blob: Blob| (blob.digest, self.store.blobs.source(blob.digest));
        let stdin = data.stdin.map(&mut source);
        let folders: Vec<_> = data
            .folders
            .iter()
            .map(|(name, blob)| (*name, source(*blob)))
            .collect();
        let saved = saved.map(|saved| self.saved_source(saved));
        let workshop = self.workshop.clone();
        let gather = move || {
            let loaded = match snapshot.is_some() || saved.is_some() {
                true => workshop.modules.load_whole(module, module_source)?,
                false => workshop.modules.load(module, module_source)?,
            };
            let stdin = stdin
                .map(|(digest, source)| read(&workshop.engine, "standard input", digest, source))
                .transpose()?;
            let folders = folders.into_iter().map(|(name, (digest, source))| {
                let bytes = read(&workshop.engine, name.mount(), digest, source)?;
                Ok((name, bytes.as_ref().into()))
            });
            let folders = folders.collect::<Result<_, Failure>>()?;
            let snapshot = match (snapshot, saved) {
                (None, Some(saved)) => Some(workshop.decode(saved, module)?),
                (snapshot, _) => snapshot,
            };
            Ok(Gathered {
                loaded,
                stdin: stdin.map(|bytes| bytes.as_ref().into()),
                folders,
                snapshot,
            })
        };
        work::start(&mut self.work, gather, move |result| Done::Gathered {
            program,
            incarnation,
            result,
        });
    }

    fn launch(&mut self, program: ProgramId, incarnation: u64, gathered: Result<Gathered, Failure>) {
        let launched = gathered.and_then(|gathered| {
            let mail = self.mail_of(program, gathered.snapshot.as_deref());
            self.programs
                .launch(program, incarnation, gathered, mail, &self.workshop.modules)
        });
        if launched.is_ok() {
            self.begin_session(program, incarnation);
            self.followers_due(Instant::now());
            self.await_resuming(program, incarnation);
        }
        if let Err(failure) = launched
            && self.programs.get(program, incarnation).is_some()
        {
            self.programs.forget(program, incarnation);
            self.inputs.push_back(Input::Started {
                program,
                result: Err(failure),
            });
        }
    }

    pub(super) fn work_done(&mut self, done: Done) {
        match done {
            Done::ModuleLoaded { operation, result } => {
                self.inputs.push_back(Input::ModuleLoaded { operation, result });
            }
            Done::CodeTaken { operation, result } => {
                self.code_taken(operation, result.map_err(|failure| failure.to_string()));
            }
            Done::Verified {
                operation,
                saved,
                result,
            } => {
                let result = result.map(|snapshot| self.verified = Some((saved, snapshot)));
                self.inputs
                    .push_back(Input::SnapshotVerified { operation, result });
            }
            Done::Gathered {
                program,
                incarnation,
                result,
            } => self.launch(program, incarnation, result),
            Done::Encoded {
                program,
                incarnation,
                capture,
                result,
            } => {
                let result = result.map(|encoded| {
                    let blob = encoded.blob;
                    self.note_captured(program, blob, encoded.mail_arrived);
                    match encoded.written {
                        Written::InMemory => self.store.blobs.hold(blob, encoded.bytes),
                        Written::Durable => self.store.blobs.take_durable(blob, encoded.bytes),
                        Written::Unsynced(file) => {
                            let early = file.to_sync_early();
                            self.store.blobs.take_written(blob, encoded.bytes, file);
                            if let Ok(file) = early {
                                self.sync(blob, file, false);
                            }
                        }
                    }
                    if let Some(whole) = encoded.whole {
                        self.snapshots.keep(blob.digest, whole);
                    }
                    blob
                });
                if self.programs.get(program, incarnation).is_some() {
                    self.captured(program, capture, result);
                }
            }
            Done::CanResume {
                program,
                incarnation,
                result,
            } => self.can_resume(program, incarnation, result),
            Done::Decoded { digest, snapshot } => {
                if let Some(snapshot) = snapshot {
                    self.snapshots.keep(digest, snapshot);
                }
            }
            Done::DeviceAnswered { asker, result } => self.device_answered(&asker, result),
            Done::Synced {
                blob,
                result,
                is_awaited,
            } => {
                // Otherwise the commit of a record that names it syncs again, and hears of an error.
                if is_awaited {
                    let result = result.and_then(|()| self.store.blobs.make_durable(blob.digest));
                    self.blob_kept(blob, result);
                }
            }
        }
    }
}
