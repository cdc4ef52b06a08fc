//! From a module, and maybe a snapshot, to a program that runs; and what came of all work that takes long.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use wayfare_core::types::{Input, Saved};
use wayfare_mail::{Home, ReceivedMessage};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Blob, Digest, OperationId, ProgramId};
use wayfare_protocol::snapshot::Snapshot;
use wayfare_runtime::MAY_COME_APART;

use super::Agent;
use crate::shell::code_workshop::read;
use crate::shell::fetches::{Fetches, Means, Outcome, Waiting};
use crate::shell::work::{self, Data, Done, Gathered, SavedSource, SnapshotSource, Written};

impl Agent {
    pub(super) fn fetches(&mut self) -> (&mut Fetches, Means<'_>) {
        let now_ms = self.now().0 / 1000;
        let means = Means {
            modules: &self.workshop.modules,
            blobs: &mut self.store.blobs,
            out: &self.out,
            now_ms,
        };
        (&mut self.fetches, means)
    }

    fn fetch(&mut self, module: Blob, waiting: Waiting) {
        let (fetches, mut means) = self.fetches();
        let outcomes = fetches.fetch(module, waiting, &mut means);
        self.fetched(outcomes);
    }

    /// What follows for those who waited.
    pub(super) fn fetched(&mut self, outcomes: Vec<Outcome>) {
        for outcome in outcomes {
            match outcome {
                // What is fetched is all of a module.
                Outcome::GoOn(module, Waiting::Arrival { operation, resumes }) => {
                    self.load_module_here(operation, module, resumes);
                }
                Outcome::GoOn(
                    module,
                    Waiting::Program {
                        program,
                        incarnation,
                        data,
                        saved,
                    },
                ) => self.gather(program, incarnation, module, (data, saved), None),
                Outcome::NoCode(operation, failure) => {
                    let result = Err(failure);
                    self.inputs.push_back(Input::ModuleLoaded { operation, result });
                }
                Outcome::Take {
                    operation,
                    module,
                    code,
                } => {
                    let modules = self.workshop.modules.clone();
                    work::start(
                        &mut self.work,
                        move || modules.take_code(module, code),
                        move |result| Done::CodeTaken { operation, result },
                    );
                }
            }
        }
    }

    /// What a program about to be launched needs for its messages: where it is, and what it was sent since
    /// its snapshot.
    fn mail_of(&self, program: ProgramId, snapshot: Option<&Snapshot>) -> (Home, Vec<ReceivedMessage>) {
        let next = snapshot.map_or(0, |snapshot| snapshot.host.mail_arrived);
        let generation = self.programs.current(program).map(|hosted| hosted.generation);
        let journaled = generation.map_or_else(Vec::new, |generation| {
            self.store.inboxes.read(program, generation, next)
        });
        let home = Home {
            program,
            engine: self.out.engine.to_string(),
            topics: self.out.topics.clone(),
        };
        (home, journaled)
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

    pub(super) fn verify(&mut self, operation: OperationId, saved: Saved, module: Digest) {
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

    pub(super) fn start(
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
            if let Some(hosted) = self.programs.get_mut(program, incarnation) {
                self.sessions.begin(program, hosted, &self.store.inboxes);
            }
            let (logs, mut ends) = self.lines();
            logs.expire_followers(Instant::now(), &mut ends);
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
                let result = result.map_err(|failure| failure.to_string());
                let (fetches, means) = self.fetches();
                let outcomes = fetches.taken(operation, result, &means);
                self.fetched(outcomes);
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
                    if let Some(hosted) = self.programs.current_mut(program) {
                        hosted.note_captured(blob.digest, encoded.mail_arrived);
                    }
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
            Done::DeviceAnswered { asker, result } => {
                let answer = self.device_questions.end(result);
                self.answer(&asker, answer);
            }
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
