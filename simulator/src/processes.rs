//! What a shell does in its own time: it starts programs, captures them, and answers later.

pub(crate) mod job;
pub(crate) mod state;

use wayfare_core::types::{CaptureId, Input, Purpose, RecordKey, Saved, Standing};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Blob, Generation, ProgramId};
use wayfare_protocol::status::ProgramState;

use crate::packet::Content;
use crate::shell::state::counter;
use crate::time::MS;
use crate::world::World;

use job::Job;
use state::Process;

impl World {
    pub(super) fn end_program(&mut self, index: usize) {
        let running: Vec<ProgramId> = self.engines[index].running().map(|(id, _)| id).collect();
        if running.is_empty() {
            return;
        }
        let program = *self.random.pick(&running);
        self.forget_process(index, program);
        // Until that is stored, a crash brings it back.
        let stored = self.engines[index].stored_counter(program, &self.library);
        self.oracle.lost(program, stored);
        let state = ProgramState::Exited { code: 0 };
        self.feed(index, Input::Ended { program, state });
    }

    pub(super) fn chance_failure(&mut self, what: &str) -> Result<(), Failure> {
        let share = self.faults.work_fails;
        if self.random.per_mille(share) {
            let reason = format!("chance had it: {what}");
            return Err(Failure::Internal { reason });
        }
        Ok(())
    }

    /// Whether the blobs are here and belong together.
    pub(super) fn joins(&mut self, index: usize, saved: Saved) -> Result<(), Failure> {
        for blob in [Some(saved.snapshot), saved.base].into_iter().flatten() {
            self.must_hold(index, blob, "join");
        }
        match self.library.get(&saved.snapshot.digest) {
            Some(Content::Snapshot { base: None, .. }) => Ok(()),
            Some(Content::Snapshot { base, .. }) if *base == saved.base.map(|b| b.digest) => Ok(()),
            _ => {
                let reason = "does not join".to_owned();
                self.oracle.violation(reason.clone());
                Err(Failure::Snapshot { reason })
            }
        }
    }

    pub(super) fn start_process(
        &mut self,
        index: usize,
        program: ProgramId,
        (generation, begun): (Generation, Generation),
        saved: Option<Saved>,
        frozen: bool,
    ) {
        if let Some(saved) = saved {
            let _ = self.joins(index, saved);
        }
        // What has a record is started again after a restart: that does not fail here.
        let again = self.engines[index]
            .records
            .contains_key(&RecordKey::Program(program));
        let result = if again {
            Ok(())
        } else {
            self.chance_failure("starting")
        };
        let counter = saved.map_or(0, |saved| counter(&self.library, saved));
        let saved_talk = saved.map(|saved| match self.library.get(&saved.snapshot.digest) {
            Some(Content::Snapshot { talk, .. }) => *talk,
            Some(Content::Plain) | None => None,
        });
        let talk = self.talk_of(index, program, (generation, begun), saved_talk);
        let engine = &mut self.engines[index];
        engine.processes_made += 1;
        let instance = engine.processes_made;
        let Some(up) = &mut engine.up else {
            return;
        };
        let process = Process {
            instance,
            counter,
            runs: false,
            talk,
        };
        if up.processes.insert(program, process).is_some() {
            self.oracle
                .violation(format!("e{index} starts {program:?} twice"));
        }
        let job = Job::Started {
            program,
            instance,
            runs: !frozen,
            result,
        };
        self.job_in(20 * MS, index, job);
        if !frozen {
            self.open_session(index, program, None);
        }
    }

    pub(super) fn forget_process(&mut self, index: usize, program: ProgramId) {
        let up = self.engines[index].up.as_mut();
        let process = up.and_then(|up| up.processes.remove(&program));
        if let Some(talk) = process.and_then(|process| process.talk) {
            self.leave_session(&talk);
            self.forget_unstored(program, talk);
        }
    }

    pub(super) fn process(&mut self, index: usize, program: ProgramId) -> Option<&mut Process> {
        self.engines[index].up.as_mut()?.processes.get_mut(&program)
    }

    /// In place, of a program that stands still.
    pub(super) fn begin_life(&mut self, index: usize, program: ProgramId, begun: Generation) {
        if let Some(talk) = self.talk(index, program) {
            talk.mail.begin_life(begun);
        }
    }

    pub(super) fn let_run(&mut self, index: usize, program: ProgramId) {
        let Some(process) = self.process(index, program) else {
            return;
        };
        if !process.runs {
            process.runs = true;
            let counter = process.counter;
            // It does something at once, before anything else can happen.
            process.counter += 1;
            self.oracle.runs_from(program, counter);
            self.check_single();
            if self.acting.is_some() {
                self.check_generations();
            }
        }
    }

    pub(super) fn job(&mut self, index: usize, boot: u64, job: Job) {
        if self.engines[index].up.as_ref().is_none_or(|up| up.boot != boot) {
            return;
        }
        match job {
            Job::Say(input) => self.feed(index, input),
            Job::Connect => self.pass_fence(index),
            Job::SessionTurn { program } => self.turn(index, program),
            Job::Subscribed { program } => self.subscribed(index, program),
            Job::WhoseSession { program, wire } => self.session_is_ours(index, program, wire),
            Job::Synced {
                program,
                instance,
                opened,
            } => self.synced(index, program, instance, opened),
            Job::BlobChecked { blob, intact } => self.blob_checked(index, blob, intact),
            Job::Started {
                program,
                instance,
                runs,
                result,
            } => self.started(index, program, instance, (runs, result)),
            Job::Copy {
                program,
                instance,
                capture,
                purpose,
                then,
            } => self.copy(index, program, instance, (capture, purpose, then)),
            Job::Encoded {
                program,
                instance,
                capture,
                durable,
                content,
            } => self.encoded(index, (program, instance, capture), durable, content),
        }
    }

    fn blob_checked(&mut self, index: usize, blob: Blob, intact: bool) {
        let now = self.now;
        if intact && self.engines[index].disk.refuses_blob(now, &mut self.random) {
            let failure = self.disk_is_full(index);
            return self.feed(index, Input::BlobFailed { blob, failure });
        }
        if intact {
            self.engines[index].blobs.insert(blob.digest, true);
        }
        self.feed(index, Input::BlobComplete { blob, intact });
    }

    fn started(
        &mut self,
        index: usize,
        program: ProgramId,
        instance: u64,
        (runs, result): (bool, Result<(), Failure>),
    ) {
        let here = self.process(index, program);
        if here.is_none_or(|process| process.instance != instance) {
            return;
        }
        if result.is_err() {
            self.forget_process(index, program);
        } else if runs {
            self.let_run(index, program);
        }
        self.feed(index, Input::Started { program, result });
    }

    fn copy(
        &mut self,
        index: usize,
        program: ProgramId,
        instance: u64,
        (capture, purpose, then): (CaptureId, Purpose, Standing),
    ) {
        // Sometimes the shell has lost the base and makes a whole snapshot.
        let base = purpose
            .base()
            .map(|base| base.digest)
            .filter(|_| !self.random.per_mille(100));
        let Some(process) = self.process(index, program).filter(|p| p.instance == instance) else {
            return;
        };
        process.runs &= then == Standing::Running;
        let counter = process.counter;
        let talk = self.save_talk(index, program);
        let content = Content::Snapshot { counter, base, talk };
        let job = Job::Encoded {
            program,
            instance,
            capture,
            durable: purpose.is_durable(),
            content,
        };
        self.job_in(20 * MS, index, job);
    }

    fn encoded(
        &mut self,
        index: usize,
        (program, instance, capture): (ProgramId, u64, CaptureId),
        durable: bool,
        content: Content,
    ) {
        if self
            .process(index, program)
            .is_none_or(|p| p.instance != instance)
        {
            return;
        }
        let is_kept = self.chance_failure("capturing").and_then(|()| match durable {
            true => self.write_snapshot(index),
            false => Ok(()),
        });
        let result = is_kept.map(|()| self.new_blob(content));
        if let Ok(blob) = &result {
            self.engines[index].blobs.insert(blob.digest, durable);
        }
        let input = Input::Captured {
            program,
            capture,
            result,
        };
        self.feed(index, input);
    }
}
