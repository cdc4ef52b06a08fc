//! A shell made of chance: it carries effects out, one after the other, with a crash possible before each. A
//! program is a counter that grows while the program runs.

pub(crate) mod state;

use std::collections::{BTreeMap, VecDeque};

use wayfare_core::Core;
use wayfare_core::types::{
    CaptureId, Disposition, Effect, Identity, Input, Now, Purpose, Record, RecordKey, Saved, Standing,
};
use wayfare_protocol::command::Action;
use wayfare_protocol::ids::{Blob, BootId, Digest, OperationId, PeerName, ProgramId};
use wayfare_protocol::peer::{Envelope, PeerMessage};
use wayfare_protocol::status::ProgramStatus;

use crate::happening::Happening;
use crate::packet::{Content, Packet};
use crate::processes::job::Job;
use crate::steps::state::Step;
use crate::time::MS;
use crate::world::World;

use state::Up;

/// A subscription is granted, and what is retained there has come, within this.
const SUBSCRIBED_US: u64 = 20 * MS;

impl World {
    pub(super) fn boot(&mut self, index: usize) {
        let bytes = self.random.bytes();
        let checkpoint_interval_us = self.checkpoints.then_some(self.engines_checkpoint());
        let programs_max = self.programs_max();
        let engine = &mut self.engines[index];
        if engine.up.is_some() {
            return;
        }
        engine.boots += 1;
        let boot = BootId::from_random(bytes);
        engine.boot_id = Some(boot);
        let identity = Identity {
            engine: engine.name.clone(),
            boot,
            earlier_boots: engine.disk.boots.clone(),
            programs_max: programs_max as usize,
            program_memory_bytes_max: 1 << 30,
            programs_memory_bytes_max: 1 << 40,
            devices: BTreeMap::new(),
            checkpoint_interval_us,
        };
        engine.disk.boots.insert(boot);
        let records = engine.records.values().cloned().collect();
        let (core, effects) = Core::new(identity, records, Now(self.now));
        engine.up = Some(Up {
            core,
            processes: BTreeMap::new(),
            partial: BTreeMap::new(),
            chunk: None,
            boot: engine.boots,
            is_heard: false,
            connection: 0,
            wake_at: None,
            steps: VecDeque::new(),
            inputs: VecDeque::new(),
            is_stalled: false,
            is_late: false,
        });
        self.note(|| format!("e{index} starts"));
        self.carry_out(index, effects);
        self.connect(index);
    }

    /// In worlds with sessions, once it is not cut off.
    pub(super) fn connect(&mut self, index: usize) {
        if self.is_fenced() {
            let at = self.reached_again(index) + self.broker.random.below(50 * MS);
            return self.job_at(at, index, Job::Connect);
        }
        self.feed(index, Input::Connected);
        let name = self.engines[index].name.clone();
        for (program, (from, generation)) in self.retained.clone() {
            let packet = Packet::Status {
                from,
                program,
                generation,
            };
            self.send(name.clone(), packet);
        }
    }

    /// As the shell's fence has it: what is retained of its programs comes before anything is said, and
    /// before their sessions.
    pub(super) fn pass_fence(&mut self, index: usize) {
        if self.is_cut_off(index) {
            return self.connect(index);
        }
        let retained: Vec<ProgramId> = self.retained.keys().copied().collect();
        for program in retained {
            self.hear_retained(index, program);
        }
        let Some(up) = &mut self.engines[index].up else {
            return;
        };
        let connection = up.connection;
        up.steps.push_back(Step::Heard { connection });
        self.feed(index, Input::Connected);
        if let Some(up) = &mut self.engines[index].up {
            up.steps.push_back(Step::OpenSessions { connection });
            self.take_steps(index);
        }
    }

    /// What the broker has of the program from another engine.
    pub(super) fn hear_retained(&mut self, index: usize, program: ProgramId) {
        let retained = self.retained.get(&program).cloned();
        if let Some((from, generation)) = retained
            && from != self.engines[index].name
            && self.names(index, program)
        {
            self.feed(index, Input::Fenced { program, generation });
        }
    }

    /// Which process it is, or was.
    pub(super) fn boot_id(&self, index: usize) -> Option<BootId> {
        self.engines[index].boot_id
    }

    pub(super) fn is_heard(&self, index: usize) -> bool {
        self.engines[index].up.as_ref().is_some_and(|up| up.is_heard)
    }

    fn names(&self, index: usize, program: ProgramId) -> bool {
        let up = self.engines[index].up.as_ref();
        up.is_some_and(|up| up.core.concerned().contains(&program))
    }

    pub(super) fn feed(&mut self, index: usize, input: Input) {
        let now = Now(self.now);
        let Some(up) = &mut self.engines[index].up else {
            return;
        };
        if self.trace {
            eprintln!("{:>9.3} ms  e{index} <- {input:?}", self.now as f64 / MS as f64);
        }
        let effects = up.core.handle(input, now);
        self.carry_out(index, effects);
        if self.random.per_mille(20) {
            self.collect_garbage(index);
        }
    }

    pub(super) fn wake(&mut self, index: usize, boot: u64) {
        let now = self.now;
        let Some(up) = self.engines[index].up.as_mut().filter(|up| up.boot == boot) else {
            return;
        };
        if up.wake_at.is_some_and(|at| at <= now) {
            up.wake_at = None;
            // What the core does in its time would only wait behind what cannot be stored.
            if !up.is_stalled {
                self.feed(index, Input::Tick);
            }
        }
    }

    fn collect_garbage(&mut self, index: usize) {
        let engine = &mut self.engines[index];
        if let Some(up) = engine.up.as_ref().filter(|up| up.steps.is_empty()) {
            let needed = up.core.blobs_in_use();
            engine.blobs.retain(|digest, _| needed.contains(digest));
        }
    }

    pub(super) fn engine_hears(&mut self, index: usize, packet: Packet) {
        if self.is_refused_for_disk(index, &packet) {
            return;
        }
        let input = match packet {
            Packet::Command(command) => {
                self.subscribe_for(index, &command.action);
                Input::Command(command)
            }
            Packet::Message(envelope) => Input::Peer(envelope),
            Packet::Chunk {
                operation,
                from,
                blob,
                offset,
                bytes,
                damaged,
            } => {
                if let Some(up) = &mut self.engines[index].up {
                    up.chunk = Some((blob, offset, bytes, damaged));
                }
                Input::Chunk {
                    operation,
                    from,
                    blob,
                    offset,
                    bytes,
                }
            }
            Packet::Status {
                from,
                program,
                generation,
            } => {
                if from == self.engines[index].name || !self.names(index, program) {
                    return;
                }
                Input::Fenced { program, generation }
            }
        };
        self.feed(index, input);
    }

    /// As the shell has it: with an order to begin a program comes a subscription of its status, and with
    /// that what is retained of it. Where no id is used twice nobody retains anything newer of it.
    fn subscribe_for(&mut self, index: usize, action: &Action) {
        if let Action::Run { program, .. } = *action
            && (self.acting.is_some() || self.begins_anew)
        {
            let at = self.now + self.broker.random.below(SUBSCRIBED_US);
            self.job_at(at, index, Job::Subscribed { program });
        }
    }

    pub(super) fn subscribed(&mut self, index: usize, program: ProgramId) {
        if !self.is_cut_off(index) {
            self.hear_retained(index, program);
        }
    }

    pub(super) fn job_in(&mut self, most_us: u64, index: usize, job: Job) {
        if self.engines[index].up.is_some() {
            let at = self.now + self.random.below(most_us.max(1));
            self.job_at(at, index, job);
        }
    }

    pub(super) fn job_at(&mut self, at: u64, engine: usize, job: Job) {
        if let Some(up) = &self.engines[engine].up {
            let boot = up.boot;
            self.at(at, Happening::Job { engine, boot, job });
        }
    }

    pub(super) fn act(&mut self, index: usize, effect: Effect) {
        match effect {
            Effect::Store(record) => self.write(index, record),
            Effect::Erase(key) => {
                self.engines[index].records.remove(&key);
            }
            Effect::Reply { client, event } => self.hear_event(&client, event),
            Effect::Peer {
                to,
                operation,
                message,
            } => self.send_to_peer(index, to, operation, message),
            Effect::SendChunk {
                to,
                operation,
                blob,
                offset,
                bytes,
            } => self.send_chunk(index, to, operation, (blob, offset, bytes)),
            Effect::PublishEngine {
                sequence,
                statuses_after,
                live,
                ..
            } => self.publish_engine(index, (sequence, statuses_after), live),
            // As the shell has it: nothing is said before the fence, and then everything.
            Effect::PublishProgram(_) if self.is_fenced() && !self.is_heard(index) => {}
            Effect::PublishProgram(_) if self.acting.is_some() && self.is_cut_off(index) => {}
            Effect::PublishProgram(_) if self.is_broker_down() => {}
            Effect::PublishProgram(status) => self.publish_program(&status),
            Effect::ClearProgram { program, tombstone } => {
                self.end_at_broker(index, program, tombstone.as_deref());
            }
            Effect::KeepChunk { blob, offset } => self.keep_chunk(index, blob, offset),
            Effect::LoadModule {
                operation, module, ..
            } => self.load_module(index, operation, module),
            Effect::VerifySnapshot { operation, saved, .. } => self.verify(index, operation, saved),
            Effect::Start {
                program,
                spec,
                saved,
                frozen,
                generation,
                is_known: _,
                follower: _,
                begun,
            } => {
                for blob in spec.blobs() {
                    self.must_hold(index, blob, "start");
                }
                self.start_process(index, program, (generation, begun), saved, frozen);
            }
            Effect::Capture {
                program,
                capture,
                purpose,
                then,
            } => self.begin_capture(index, program, (capture, purpose), then),
            Effect::Unfreeze {
                program,
                generation,
                begun,
            } => {
                self.begin_life(index, program, begun);
                self.let_run(index, program);
                self.open_session(index, program, Some(generation));
            }
            Effect::Discard { program } => self.forget_process(index, program),
            Effect::ReplyLogs { .. } => {}
        }
    }

    fn send_to_peer(&mut self, index: usize, to: PeerName, operation: OperationId, message: PeerMessage) {
        if let PeerMessage::Commit { .. } = message {
            self.check_commit(index, operation);
        }
        let from = self.engines[index].name.clone();
        let envelope = Envelope {
            operation,
            from,
            message,
        };
        self.send(to, Packet::Message(envelope));
    }

    fn send_chunk(
        &mut self,
        index: usize,
        to: PeerName,
        operation: OperationId,
        (blob, offset, bytes): (Blob, u64, u64),
    ) {
        self.must_hold(index, blob, "send");
        let from = self.engines[index].name.clone();
        let packet = Packet::Chunk {
            operation,
            from,
            blob,
            offset,
            bytes,
            damaged: false,
        };
        self.send(to, packet);
    }

    fn load_module(&mut self, index: usize, operation: OperationId, module: Digest) {
        if !self.engines[index].blobs.contains_key(&module) {
            self.oracle.violation(format!("e{index} loads a module it lacks"));
        }
        let result = self.chance_failure("compiling");
        let input = Input::ModuleLoaded { operation, result };
        self.job_in(300 * MS, index, Job::Say(input));
    }

    fn end_at_broker(&mut self, index: usize, program: ProgramId, tombstone: Option<&ProgramStatus>) {
        match tombstone {
            Some(tombstone) => self.publish_program(tombstone),
            None => self.clear_program(program),
        }
        self.wipe_session(index, program);
    }

    fn verify(&mut self, index: usize, operation: OperationId, saved: Saved) {
        let result = self.chance_failure("verifying").and(self.joins(index, saved));
        let input = Input::SnapshotVerified { operation, result };
        self.job_in(10 * MS, index, Job::Say(input));
    }

    fn begin_capture(
        &mut self,
        index: usize,
        program: ProgramId,
        (capture, purpose): (CaptureId, Purpose),
        then: Standing,
    ) {
        let instance = self.process(index, program).map(|process| process.instance);
        let Some(instance) = instance else {
            if self.is_late(index) {
                return self.capture_too_late(index, program, capture);
            }
            return self
                .oracle
                .violation(format!("e{index} captures what is not there"));
        };
        let job = Job::Copy {
            program,
            instance,
            capture,
            purpose,
            then,
        };
        let job = match then {
            Standing::Running => Some(job),
            Standing::Paused => self.close_session(index, program, job),
        };
        if let Some(job) = job {
            self.job_in(20 * MS, index, job);
        }
    }

    fn write(&mut self, index: usize, record: Record) {
        self.make_durable(index, &record);
        if let Record::Operation(record) = &record {
            self.check_failed_move(index, record);
        }
        if let Record::Program(record) = &record
            && let Some(saved) = record.saved
            && let Some(Content::Snapshot { talk: Some(talk), .. }) = self.library.get(&saved.snapshot.digest)
        {
            self.forget_stored_mail(index, record.program, record.generation, *talk);
        }
        if let Record::Program(record) = &record {
            self.may_have_no_newer(index, record);
        }
        self.engines[index].records.insert(record.key(), record);
    }

    pub(super) fn publish(&mut self, status: &ProgramStatus) {
        let retained = (status.engine.clone(), status.generation);
        self.retained.insert(status.program, retained);
        for other in 0..self.engines.len() {
            let to = self.engines[other].name.clone();
            let packet = Packet::Status {
                from: status.engine.clone(),
                program: status.program,
                generation: status.generation,
            };
            // Whoever is connected gets what is retained as long as the connection lasts, and at the next
            // one.
            match self.is_fenced() {
                true => self.send_by_broker(to, packet),
                false => self.send(to, packet),
            }
        }
    }

    /// A record's blobs are durable before it is.
    pub(super) fn make_durable(&mut self, index: usize, record: &Record) {
        let Record::Program(record) = record else {
            return;
        };
        if matches!(record.disposition, Disposition::Ended { .. }) {
            return;
        }
        let saved = record
            .saved
            .iter()
            .flat_map(|s| [Some(s.snapshot), s.base])
            .flatten();
        for blob in record.spec.blobs().chain(saved) {
            self.must_hold(index, blob, "record");
            self.engines[index].blobs.insert(blob.digest, true);
        }
    }

    pub(super) fn must_hold(&mut self, index: usize, blob: Blob, verb: &str) {
        if !self.engines[index].blobs.contains_key(&blob.digest) {
            self.oracle.violation(format!(
                "e{index} is to {verb} a blob it lacks: {:?}",
                blob.digest
            ));
        }
    }

    fn keep_chunk(&mut self, index: usize, blob: Blob, offset: u64) {
        let now = self.now;
        let Some(up) = &mut self.engines[index].up else {
            return;
        };
        let Some((in_hand, at, bytes, damaged)) = up.chunk.take() else {
            return self
                .oracle
                .violation("a chunk is kept that is not in hand".into());
        };
        if self.engines[index].disk.refuses_blob(now, &mut self.random) {
            let failure = self.disk_is_full(index);
            if let Some(up) = &mut self.engines[index].up {
                up.partial.remove(&blob);
                up.inputs.push_back(Input::BlobFailed { blob, failure });
            }
            return;
        }
        let Some(up) = &mut self.engines[index].up else {
            return;
        };
        let partial = up.partial.entry(blob).or_insert((0, false));
        if offset == 0 {
            *partial = (0, false);
        }
        if in_hand != blob || at != offset || partial.0 != offset {
            return self
                .oracle
                .violation(format!("a chunk is kept at {offset}, out of order"));
        }
        partial.0 += bytes;
        partial.1 |= damaged;
        let (received, damaged) = *partial;
        if received == blob.bytes {
            up.partial.remove(&blob);
            let intact = !damaged;
            self.job_in(5 * MS, index, Job::BlobChecked { blob, intact });
        }
    }

    /// Nothing may be committed that is not stored as offered, or that leaves no original behind.
    fn check_commit(&mut self, index: usize, operation: OperationId) {
        let engine = &self.engines[index];
        let offered = engine.records.values().any(|record| {
            matches!(record, Record::Program(p)
                if matches!(p.disposition, Disposition::Offered { operation: by, .. } if by == operation))
        });
        let spawn = matches!(engine.records.get(&RecordKey::Operation(operation)),
            Some(Record::Operation(o)) if o.command.action.verb() == "spawn");
        if !offered && !spawn {
            self.oracle
                .violation(format!("e{index} commits {operation:?} without a stored offer"));
        }
    }
}
