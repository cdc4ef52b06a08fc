//! The programs of this engine as the shell sees them: their processes, what was asked of them, their logs.
//!
//! ```text
//!  Start --> Gathering --module, snapshot and input are here--> Live --Ended, log published--> gone
//! ```
//! Each start is an *incarnation* with a number of its own: what an earlier one still says is dropped.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use wayfare_core::types::{CaptureId, Purpose, Standing};
use wayfare_mail::{Home, ReceivedMessage};
use wayfare_protocol::command::ProgramSpec;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Digest, Generation, ProgramId};

use super::followers::Followers;
use super::modules::Modules;
use super::session::Session;
use super::store::Tail;
use super::work::Gathered;
use wayfare_runtime::{Launch, Loaded, Process, ProcessEvent};

/// Captures of a program whose messages are remembered until one of them is stored.
const MAIL_POINTS_MAX: usize = 8;

/// What a program's thread said.
pub(crate) struct Said {
    pub(crate) program: ProgramId,
    pub(crate) incarnation: u64,
    pub(crate) event: ProcessEvent,
}

pub(crate) struct Programs {
    hosted: BTreeMap<ProgramId, Hosted>,
    incarnations: u64,
    /// Unbounded, because its senders must not wait and need no bound: a program's thread says one thing for
    /// each that it was asked, and `LinesReady` once until the lines were taken.
    events: mpsc::UnboundedSender<Said>,
}

pub(crate) struct Hosted {
    pub(crate) incarnation: u64,
    pub(crate) name: String,
    pub(crate) generation: Generation,
    /// As which generation its life began, if here.
    begun: Generation,
    stage: Stage,
    capturing: Option<Capturing>,
    /// A capture that waits until the program is launched, and can go on after it.
    pub(crate) delayed: Option<Capturing>,
    pub(crate) log: Log,
    pub(crate) followers: Followers,
    memory_bytes: u64,
    /// When it was launched, or begun to be,
    pub(crate) begun_at: Instant,
    /// and when a snapshot of it was stored last.
    pub(crate) stored_at: Option<Instant>,
    /// It was held where it is when it was launched.
    pub(crate) is_frozen: bool,
    /// Of the live program's messages.
    pub(crate) session: Option<Session>,
    /// How far the snapshots that were made last have the program's messages.
    mail_points: VecDeque<(Digest, u64)>,
}

enum Stage {
    Gathering {
        spec: ProgramSpec,
        frozen: bool,
        is_known: bool,
    },
    Live {
        process: Process,
        loaded: Arc<Loaded>,
    },
}

/// A capture that was asked for and has not been answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capturing {
    pub(crate) capture: CaptureId,
    pub(crate) purpose: Purpose,
    pub(crate) then: Standing,
}

impl Capturing {
    fn begin(self, process: &Process) {
        process.capture(self.then == Standing::Running, self.capture.0);
    }
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    /// One batch at a time, so that they arrive in order; what is printed meanwhile becomes the next.
    pub(crate) is_publishing: bool,
    pub(crate) acknowledged_below: u64,
    pub(crate) has_ended: bool,
}

impl Programs {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Said>) {
        let (events, said) = mpsc::unbounded_channel();
        let programs = Self {
            hosted: BTreeMap::new(),
            incarnations: 0,
            events,
        };
        (programs, said)
    }

    /// A new incarnation, to be launched when what it needs is here.
    pub(crate) fn begin(
        &mut self,
        program: ProgramId,
        spec: ProgramSpec,
        (generation, begun): (Generation, Generation),
        (frozen, is_known): (bool, bool),
    ) -> u64 {
        self.discard(program);
        self.incarnations += 1;
        let hosted = Hosted {
            incarnation: self.incarnations,
            name: spec.name.clone(),
            generation,
            begun,
            stage: Stage::Gathering {
                spec,
                frozen,
                is_known,
            },
            capturing: None,
            delayed: None,
            log: Log::default(),
            followers: Followers::default(),
            memory_bytes: 0,
            begun_at: Instant::now(),
            stored_at: None,
            is_frozen: frozen,
            session: None,
            mail_points: VecDeque::new(),
        };
        self.hosted.insert(program, hosted);
        self.incarnations
    }

    /// Starts the thread of a program that was begun. Nothing if it has been discarded meanwhile.
    pub(crate) fn launch(
        &mut self,
        program: ProgramId,
        incarnation: u64,
        gathered: Gathered,
        (home, journaled): (Home, Vec<ReceivedMessage>),
        modules: &Modules,
    ) -> Result<(), Failure> {
        let Some(hosted) = self.get(program, incarnation) else {
            return Ok(());
        };
        let Stage::Gathering {
            spec,
            frozen,
            is_known,
        } = &hosted.stage
        else {
            return Ok(());
        };
        let launch = Launch {
            begun: hosted.begun,
            generation: hosted.generation,
            home,
            journaled,
            spec: spec.clone(),
            stdin: gathered.stdin,
            folders: gathered.folders,
            snapshot: gathered.snapshot.map(Arc::unwrap_or_clone),
            frozen: *frozen,
            is_known: *is_known,
        };
        let events = self.events.clone();
        let sink = move |event| {
            // The loop is gone only when the engine ends.
            let _ = events.send(Said {
                program,
                incarnation,
                event,
            });
        };
        let process = wayfare_runtime::launch(modules.runtime(), &gathered.loaded, launch, sink)?;
        let loaded = gathered.loaded;
        if let Some(hosted) = self.get_mut(program, incarnation) {
            if let Some(capturing) = hosted.delayed.take_if(|_| loaded.can_resume()) {
                hosted.capturing = Some(capturing);
                capturing.begin(&process);
            }
            hosted.followers.begin(Instant::now());
            process.hold_log(hosted.followers.held_from());
            hosted.begun_at = Instant::now();
            hosted.stage = Stage::Live { process, loaded };
        }
        Ok(())
    }

    /// Forgets followers whose lease is over; says when the next one will be, and which ended programs wait
    /// for nobody from now on.
    pub(crate) fn expire_followers(&mut self, now: Instant) -> (Option<Instant>, Vec<(ProgramId, u64)>) {
        let (mut next, mut left): (Option<Instant>, _) = (None, Vec::new());
        for (program, hosted) in &mut self.hosted {
            // Their time begins with the program's.
            if hosted.followers.is_empty() || hosted.process().is_none() {
                continue;
            }
            hosted.followers.expire(now);
            hosted.hold();
            match hosted.followers.next_expiry() {
                Some(at) => next = Some(next.map_or(at, |next| next.min(at))),
                None if hosted.log.has_ended => left.push((*program, hosted.incarnation)),
                None => {}
            }
        }
        (next, left)
    }

    pub(crate) fn capture(&mut self, program: ProgramId, capturing: Capturing) -> bool {
        let Some(hosted) = self.hosted.get_mut(&program) else {
            return false;
        };
        match &hosted.stage {
            Stage::Live { process, .. } => {
                hosted.capturing = Some(capturing);
                capturing.begin(process);
            }
            Stage::Gathering { .. } => hosted.delayed = Some(capturing),
        }
        true
    }

    /// Keeps a capture for later if the program could not go on after it; says of which start that is.
    pub(crate) fn delay(&mut self, program: ProgramId, capturing: Capturing) -> Option<u64> {
        let hosted = self.hosted.get_mut(&program)?;
        if hosted.loaded()?.can_resume() {
            return None;
        }
        hosted.delayed = Some(capturing);
        Some(hosted.incarnation)
    }

    pub(crate) fn take_delayed(&mut self) -> Vec<(ProgramId, Capturing)> {
        let each = self.hosted.iter_mut();
        let delayed = each.filter_map(|(program, hosted)| Some((*program, hosted.delayed.take()?)));
        delayed.collect()
    }

    pub(crate) fn unfreeze(&mut self, program: ProgramId, generation: Generation, begun: Generation) {
        let Some(hosted) = self.hosted.get_mut(&program) else {
            return;
        };
        (hosted.generation, hosted.begun) = (generation, begun);
        match &mut hosted.stage {
            Stage::Live { process, .. } => {
                process.begin_life(begun);
                process.unfreeze();
            }
            Stage::Gathering { frozen, .. } => {
                *frozen = false;
                hosted.is_frozen = false;
            }
        }
    }

    pub(crate) fn discard(&mut self, program: ProgramId) {
        if let Some(Hosted {
            stage: Stage::Live { process, .. },
            ..
        }) = self.hosted.remove(&program)
        {
            process.discard();
        }
    }

    pub(crate) fn get(&self, program: ProgramId, incarnation: u64) -> Option<&Hosted> {
        self.hosted
            .get(&program)
            .filter(|hosted| hosted.incarnation == incarnation)
    }

    pub(crate) fn get_mut(&mut self, program: ProgramId, incarnation: u64) -> Option<&mut Hosted> {
        self.hosted
            .get_mut(&program)
            .filter(|hosted| hosted.incarnation == incarnation)
    }

    pub(crate) fn current(&self, program: ProgramId) -> Option<&Hosted> {
        self.hosted.get(&program)
    }

    /// Whether no life of it runs here.
    pub(crate) fn has_ended(&self, program: ProgramId) -> bool {
        self.current(program).is_none_or(|hosted| hosted.log.has_ended)
    }

    /// All from this one on that have been launched, in the order of their ids.
    pub(crate) fn live_from(
        &self,
        from: Option<ProgramId>,
    ) -> impl Iterator<Item = (ProgramId, &Hosted, &Process)> {
        let all = self
            .hosted
            .range(from.unwrap_or(ProgramId::from_bytes([0; 16]))..);
        all.filter_map(|(program, hosted)| Some((*program, hosted, hosted.process()?)))
    }

    /// All that are here, and which start of each it is.
    pub(crate) fn incarnations(&self) -> Vec<(ProgramId, u64)> {
        let each = self.hosted.iter();
        each.map(|(program, hosted)| (*program, hosted.incarnation))
            .collect()
    }

    pub(crate) fn is_capturing(&self) -> bool {
        let mut all = self.hosted.values();
        all.any(|hosted| hosted.capturing.is_some() || hosted.delayed.is_some())
    }

    pub(crate) fn set_connected(&self, connected: bool) {
        for hosted in self.hosted.values() {
            if let Some(process) = hosted.process() {
                process.set_connected(connected);
            }
        }
    }

    /// Programs that were sent more than this since a snapshot of theirs was stored.
    pub(crate) fn with_large_journals(&self, bytes: u64) -> Vec<ProgramId> {
        let large = |hosted: &Hosted| hosted.session.as_ref().is_some_and(|s| s.journal_bytes() > bytes);
        let programs = self.hosted.iter().filter(|(_, hosted)| large(hosted));
        programs.map(|(program, _)| *program).collect()
    }

    pub(crate) fn current_mut(&mut self, program: ProgramId) -> Option<&mut Hosted> {
        self.hosted.get_mut(&program)
    }

    /// Programs whose memory has grown since this was last asked.
    pub(crate) fn memory_changes(&mut self) -> Vec<(ProgramId, u64)> {
        let mut changes = Vec::new();
        for (program, hosted) in &mut self.hosted {
            let bytes = hosted.process().map_or(0, Process::memory_bytes);
            if bytes != hosted.memory_bytes {
                hosted.memory_bytes = bytes;
                changes.push((*program, bytes));
            }
        }
        changes
    }

    /// Programs that have ended and whose whole log is with the broker are gone.
    pub(crate) fn forget(&mut self, program: ProgramId, incarnation: u64) {
        if self.get(program, incarnation).is_some() {
            self.hosted.remove(&program);
        }
    }
}

impl Hosted {
    /// It was captured, with all messages below a number.
    pub(crate) fn note_captured(&mut self, snapshot: Digest, mail_arrived: u64) {
        self.mail_points.push_back((snapshot, mail_arrived));
        while self.mail_points.len() > MAIL_POINTS_MAX {
            self.mail_points.pop_front();
        }
    }

    /// Below which number it has all messages in this snapshot, where that is known.
    pub(crate) fn mail_arrived_in(&self, snapshot: Digest) -> Option<u64> {
        let mut points = self.mail_points.iter();
        points.find_map(|(digest, next)| (*digest == snapshot).then_some(*next))
    }

    pub(crate) fn process(&self) -> Option<&Process> {
        match &self.stage {
            Stage::Live { process, .. } => Some(process),
            Stage::Gathering { .. } => None,
        }
    }

    /// The capture that `tag` answers, which is answered with that.
    pub(crate) fn captured(&mut self, tag: u64) -> Option<Capturing> {
        self.capturing.take_if(|capturing| capturing.capture.0 == tag)
    }

    /// What a delayed capture waits for more of.
    pub(crate) fn delayed_for(&self) -> Option<Arc<Loaded>> {
        self.delayed.as_ref().and(self.loaded().cloned())
    }

    /// Why it could not go on after a capture, whoever made it.
    pub(crate) fn never_resumes(&self) -> Option<Failure> {
        self.loaded()?.never_resumes()
    }

    pub(crate) fn loaded(&self) -> Option<&Arc<Loaded>> {
        match &self.stage {
            Stage::Live { loaded, .. } => Some(loaded),
            Stage::Gathering { .. } => None,
        }
    }

    /// Its process runs on what succeeds the code that it began on.
    pub(crate) fn change_over(&mut self) {
        if let Stage::Live { loaded, .. } = &mut self.stage
            && let Some(better) = loaded.better()
        {
            *loaded = better;
        }
    }

    /// The process keeps what its followers have not received.
    pub(crate) fn hold(&self) {
        if let Some(process) = self.process() {
            process.hold_log(self.followers.held_from());
        }
    }

    /// What is kept of the log on disk.
    pub(crate) fn tail(&self) -> Tail {
        let (lines, next) = self
            .process()
            .map_or_else(Default::default, Process::log_for_disk);
        Tail {
            lines,
            next,
            generation: self.generation,
            acknowledged_below: self.log.acknowledged_below,
        }
    }
}
