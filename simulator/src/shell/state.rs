//! An engine: what is on its disk, and what is in memory while it is up.

use std::collections::{BTreeMap, VecDeque};

use wayfare_core::Core;
use wayfare_core::types::{Input, Record, RecordKey, Saved};
use wayfare_protocol::ids::{Blob, BootId, Digest, EngineId, Generation, ProgramId};

use crate::disks::state::Disk;
use crate::packet::Content;
use crate::processes::state::Process;
use crate::random::Random;
use crate::steps::state::Step;
use crate::stored::state::Inbox;

pub(crate) struct Engine {
    pub(crate) name: EngineId,
    pub(crate) records: BTreeMap<RecordKey, Record>,
    /// Whole blobs, and whether they survive a crash.
    pub(crate) blobs: BTreeMap<Digest, bool>,
    /// What its programs were sent.
    pub(crate) inboxes: BTreeMap<(ProgramId, Generation), Inbox>,
    pub(super) boots: u64,
    pub(super) boot_id: Option<BootId>,
    pub(crate) processes_made: u64,
    pub(crate) disk: Disk,
    pub(crate) up: Option<Up>,
}

pub(crate) struct Up {
    pub(crate) core: Core,
    pub(crate) processes: BTreeMap<ProgramId, Process>,
    pub(super) partial: BTreeMap<Blob, (u64, bool)>,
    /// The chunk of the input in hand, and whether it was damaged on its way.
    pub(super) chunk: Option<(Blob, u64, u64, bool)>,
    pub(crate) boot: u64,
    /// The fence on its connection is passed: its programs may have sessions.
    pub(crate) is_heard: bool,
    /// Which of its connections this is.
    pub(crate) connection: u64,
    pub(crate) wake_at: Option<u64>,
    /// To be done in order, behind what cannot be stored.
    pub(crate) steps: VecDeque<Step>,
    /// Inputs that steps have brought about.
    pub(crate) inputs: VecDeque<Input>,
    /// The last try to store a record failed.
    pub(crate) is_stalled: bool,
    /// Some of the steps have waited.
    pub(crate) is_late: bool,
}

impl Engine {
    pub(crate) fn new(index: usize) -> Self {
        Self {
            name: format!("e{index}").parse().expect("a good name"),
            records: BTreeMap::new(),
            blobs: BTreeMap::new(),
            inboxes: BTreeMap::new(),
            boots: 0,
            boot_id: None,
            processes_made: 0,
            disk: Disk::default(),
            up: None,
        }
    }

    pub(crate) fn compute(&mut self) {
        if let Some(up) = &mut self.up {
            for process in up.processes.values_mut().filter(|p| p.runs) {
                process.counter += 1;
            }
        }
    }

    /// The programs that were in memory.
    pub(crate) fn crash(&mut self, random: &mut Random) -> BTreeMap<ProgramId, Process> {
        self.blobs.retain(|_, durable| *durable);
        self.inboxes.values_mut().for_each(|inbox| inbox.crash(random));
        let up = self.up.take();
        up.map(|up| up.processes).unwrap_or_default()
    }

    pub(crate) fn has_process(&self, program: ProgramId) -> bool {
        self.up
            .as_ref()
            .is_some_and(|up| up.processes.contains_key(&program))
    }

    /// The counters of programs that run here.
    pub(crate) fn running(&self) -> impl Iterator<Item = (ProgramId, u64)> + '_ {
        let processes = self.up.iter().flat_map(|up| up.processes.iter());
        processes.filter(|(_, p)| p.runs).map(|(id, p)| (*id, p.counter))
    }

    /// What a restart would go back to, if there is a record.
    pub(crate) fn stored_counter(
        &self,
        program: ProgramId,
        library: &BTreeMap<Digest, Content>,
    ) -> Option<u64> {
        match self.records.get(&RecordKey::Program(program)) {
            Some(Record::Program(record)) => Some(record.saved.map_or(0, |s| counter(library, s))),
            _ => None,
        }
    }
}

pub(crate) fn counter(library: &BTreeMap<Digest, Content>, saved: Saved) -> u64 {
    match library.get(&saved.snapshot.digest) {
        Some(Content::Snapshot { counter, .. }) => *counter,
        other => panic!("{other:?} is no snapshot"),
    }
}
