//! The target's half of a move or spawn, and a run or restore, whose other side is a client.
//!
//! ```text
//!  Gathering ---all blobs here, module loaded, goal known---> Verifying ---> Starting ---> adopted
//!   (Want, Ack)            (a run knows its goal at once,     (snapshot     (held at
//!                           a move by its Commit)              is good)      its site)
//! ```
//! From each state a refusal leads out, by a failure here or a Cancel from there; it is stored before it is
//! said. Adoption is the storing of the program's record: only then is the program let go. What is asked
//! about an operation that is not known here is refused for good, so that no late message can bring a second
//! copy.

mod admission;
mod devices;
mod gathering;

use std::collections::BTreeMap;

use wayfare_protocol::command::{Action, ProgramSpec, check_bytes};
use wayfare_protocol::device::{Alias, DeviceKind};
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::{Blob, Generation, OperationId, PeerName, ProgramId};
use wayfare_protocol::limits::{BLOBS_PER_OPERATION_MAX, SNAPSHOT_BYTES_MAX};
use wayfare_protocol::peer::PeerMessage;

use super::Core;
use super::programs::{Life, Program};
use super::self_report::SelfReport;
use super::timing::{ARRIVAL_SILENCE_US, Repeat};
use super::types::{Effect, Now, Saved, Standing, Verdict};

#[derive(Debug)]
pub(super) struct Arrival {
    origin: Origin,
    pub(super) program: ProgramId,
    generation: Generation,
    /// See [`super::types::ProgramRecord::begun`].
    begun: Generation,
    spec: ProgramSpec,
    /// As its source says.
    memory_bytes: u64,
    standing: Standing,
    /// What was said to be needed; only these are taken.
    blobs: Vec<Blob>,
    module: Module,
    stage: Stage,
    /// When the other side last said anything.
    heard: Now,
    repeat: Repeat,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Engine(PeerName),
    Client(PeerName),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Module {
    Lacking,
    Loading,
    Loaded,
}

#[derive(Debug)]
enum Stage {
    Gathering { goal: Option<Goal> },
    Verifying { saved: Saved },
    Starting { saved: Option<Saved> },
}

/// What the program is to be started from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    Beginning,
    From(Saved),
}

/// A `Prepare`, in one piece.
pub(super) struct Offer {
    pub(super) program: ProgramId,
    pub(super) generation: Generation,
    pub(super) spec: ProgramSpec,
    pub(super) memory_bytes: u64,
    pub(super) paused: bool,
    pub(super) devices: BTreeMap<Alias, DeviceKind>,
    pub(super) blobs: Vec<Blob>,
}

impl Arrival {
    fn new(origin: Origin, offer: &Offer, goal: Option<Goal>, now: Now) -> Self {
        let mut arrival = Self {
            origin,
            program: offer.program,
            generation: offer.generation,
            begun: Generation(0),
            spec: offer.spec.clone(),
            memory_bytes: offer.memory_bytes,
            standing: if offer.paused {
                Standing::Paused
            } else {
                Standing::Running
            },
            blobs: Vec::new(),
            module: Module::Lacking,
            stage: Stage::Gathering { goal },
            heard: now,
            repeat: Repeat::new(now),
        };
        arrival.expect(offer.spec.blobs());
        arrival.expect(offer.blobs.iter().copied());
        arrival
    }

    pub(super) fn blobs(&self) -> &[Blob] {
        &self.blobs
    }

    fn peer(&self) -> &PeerName {
        match &self.origin {
            Origin::Engine(peer) | Origin::Client(peer) => peer,
        }
    }

    /// Its module is being compiled, or read.
    pub(super) fn is_loading(&self) -> bool {
        self.module == Module::Loading
    }

    fn is_gathering(&self) -> bool {
        matches!(self.stage, Stage::Gathering { .. })
    }

    /// Whether a newer operation of `source` may take its place: it is theirs, and nothing has been
    /// committed.
    fn is_replaceable_by(&self, source: &PeerName) -> bool {
        matches!(&self.origin, Origin::Engine(peer) if peer == source)
            && matches!(self.stage, Stage::Gathering { goal: None })
    }

    /// Adds to what is taken. When too many have been named, those go that a source named first: it has begun
    /// anew since.
    fn expect(&mut self, blobs: impl IntoIterator<Item = Blob>) {
        let fixed = self.spec.blobs().count();
        for blob in blobs {
            if !self.blobs.contains(&blob) {
                self.blobs.push(blob);
                if self.blobs.len() > BLOBS_PER_OPERATION_MAX {
                    self.blobs.remove(fixed);
                }
            }
        }
    }

    pub(super) fn next_wakeup(&self) -> Option<Now> {
        match (&self.stage, &self.origin) {
            (Stage::Gathering { .. }, Origin::Engine(_)) => {
                Some(self.repeat.next().min(self.heard.plus(ARRIVAL_SILENCE_US)))
            }
            (Stage::Gathering { .. }, Origin::Client(_)) => Some(self.repeat.next()),
            (Stage::Verifying { .. } | Stage::Starting { .. }, _) => None,
        }
    }
}

impl Core {
    pub(super) fn begin_run(
        &mut self,
        operation: OperationId,
        (program, at_least): (ProgramId, Option<Generation>),
        spec: ProgramSpec,
        snapshot: Option<Blob>,
    ) {
        let Some(command) = self.journal.command(operation) else {
            return;
        };
        let client = command.client.clone();
        // The acting dispatcher lets a program go on elsewhere from its last checkpoint. What it does again
        // there counts once, if it is the same: not where it was sent something since, which is lost with the
        // engine that had it. Whoever else gives a snapshot may give an old one, of a program that has gone
        // on since.
        let goes_on = snapshot.is_some() && command.term.is_some() && !spec.grants.may_receive();
        let goal = snapshot.map_or(Goal::Beginning, |snapshot| {
            Goal::From(Saved { snapshot, base: None })
        });
        let offer = Offer {
            program,
            // One that ended here under this id is the older one.
            generation: self
                .programs
                .get(&program)
                .map_or(Generation::FIRST, |ended| ended.generation.next())
                .max(at_least.unwrap_or(Generation::FIRST)),
            spec,
            memory_bytes: 0,
            paused: false,
            devices: BTreeMap::new(),
            blobs: snapshot.into_iter().collect(),
        };
        let mut arrival = Arrival::new(Origin::Client(client), &offer, Some(goal), self.now);
        if !goes_on {
            arrival.begun = arrival.generation;
        }
        self.arrivals.insert(operation, arrival);
        self.answer_arrival(operation);
        self.advance_arrival(operation);
    }

    /// Refuses whatever cannot go on without the blob.
    pub(super) fn blob_failed(&mut self, blob: Blob, failure: &Failure) {
        if !self.blobs.receiver.knows(blob) {
            return;
        }
        self.blobs.receiver.complete(blob);
        let arrivals = self.arrivals.iter();
        let waiting: Vec<OperationId> = arrivals
            .filter(|(_, a)| a.blobs.contains(&blob))
            .map(|(id, _)| *id)
            .collect();
        for operation in waiting {
            self.refuse_arrival(operation, failure.clone());
        }
    }

    /// Held at its site: it runs only once its record is stored.
    fn start_arrival(&mut self, operation: OperationId, saved: Option<Saved>) {
        let follower = match self.journal.command(operation).map(|command| &command.action) {
            Some(Action::Run { follower, .. }) => follower.clone(),
            _ => None,
        };
        if let Some(arrival) = self.arrivals.get_mut(&operation) {
            arrival.stage = Stage::Starting { saved };
            self.effects.push(Effect::Start {
                program: arrival.program,
                spec: arrival.spec.clone(),
                generation: arrival.generation,
                begun: arrival.begun,
                saved,
                frozen: true,
                is_known: false,
                follower,
            });
        }
    }

    /// The arrival that waits for `program` to be started.
    pub(super) fn arrival_starting(&self, program: ProgramId) -> Option<OperationId> {
        self.arrivals
            .iter()
            .find(|(_, a)| a.program == program && matches!(a.stage, Stage::Starting { .. }))
            .map(|(id, _)| *id)
    }

    pub(super) fn arrival_started(&mut self, operation: OperationId, result: Result<(), Failure>) {
        match result {
            Ok(()) => self.adopt(operation),
            Err(failure) => self.refuse_arrival(operation, failure),
        }
    }

    fn adopt(&mut self, operation: OperationId) {
        let Some(arrival) = self.arrivals.remove(&operation) else {
            return;
        };
        let Stage::Starting { saved } = arrival.stage else {
            return;
        };
        let (program, generation) = (arrival.program, arrival.generation);
        let here = Program {
            spec: arrival.spec,
            generation,
            begun: arrival.begun,
            saved,
            arrived: operation,
            life: match arrival.standing {
                Standing::Running => Life::Running,
                Standing::Paused => Life::Paused,
            },
            busy: None,
            capture: None,
            waiting: None,
            memory_bytes: 0,
            checkpoint_at: None,
            stands_for_good: false,
            report: SelfReport::default(),
        };
        self.programs.insert(program, here);
        self.blobs.stale = true;
        self.store(program);
        if arrival.standing == Standing::Running {
            self.unfreeze(program);
        }
        self.plan_checkpoint(program);
        // First: whoever hears that it came finds it here, however slow this engine is.
        self.publish_changes();
        match arrival.origin {
            Origin::Engine(source) => {
                let verdict = Verdict::Adopted { generation };
                self.say(&source, operation, PeerMessage::Adopted { generation });
                self.record_verdict(operation, verdict);
            }
            Origin::Client(_) => self.finish(operation, Ok(Outcome::Running { program, generation })),
        }
    }

    /// Ends an arrival for good.
    pub(super) fn refuse_arrival(&mut self, operation: OperationId, failure: Failure) {
        match self.abandon_arrival(operation) {
            Some(Origin::Engine(source)) => {
                self.give_verdict(operation, &source, Verdict::Refused { failure });
            }
            Some(Origin::Client(_)) => self.finish(operation, Err(failure)),
            None => {}
        }
    }

    /// Ends an arrival without a word.
    pub(super) fn abandon_arrival(&mut self, operation: OperationId) -> Option<Origin> {
        let arrival = self.arrivals.remove(&operation)?;
        if matches!(arrival.stage, Stage::Starting { .. }) {
            let program = arrival.program;
            self.effects.push(Effect::Discard { program });
        }
        self.blobs.remember_module(arrival.spec.module.digest);
        self.blobs.stale = true;
        Some(arrival.origin)
    }

    /// The run or restore that is bringing `program` here.
    pub(super) fn run_under_way(&self, program: ProgramId) -> Option<OperationId> {
        self.arrivals
            .iter()
            .find(|(_, a)| a.program == program && matches!(a.origin, Origin::Client(_)))
            .map(|(id, _)| *id)
    }

    /// The time of a run is up. True if `operation` is one.
    pub(super) fn run_late(&mut self, operation: OperationId, waited_ms: u64) -> bool {
        let Some(arrival) = self.arrivals.get(&operation) else {
            return false;
        };
        let lacks = arrival.blobs.iter().any(|blob| !self.blobs.has(*blob));
        let peer = if lacks {
            arrival.peer().to_string()
        } else {
            format!("program {}", arrival.program.short())
        };
        self.refuse_arrival(operation, Failure::Silent { peer, waited_ms });
        true
    }

    pub(super) fn arrivals_due(&mut self) {
        let now = self.now;
        let ids: Vec<OperationId> = self.arrivals.keys().copied().collect();
        for id in ids {
            let Some(arrival) = self.arrivals.get_mut(&id).filter(|a| a.is_gathering()) else {
                continue;
            };
            let silent = now.since(arrival.heard) >= ARRIVAL_SILENCE_US;
            if silent && matches!(arrival.origin, Origin::Engine(_)) {
                self.abandon_arrival(id);
                continue;
            }
            let lacks = arrival.blobs.iter().any(|blob| !self.blobs.has(*blob));
            let is_loading = arrival.is_loading() && matches!(arrival.origin, Origin::Client(_));
            if arrival.repeat.is_due(now) {
                if lacks {
                    self.answer_arrival(id);
                } else if is_loading {
                    self.compiles(id);
                }
            }
        }
    }
}

fn check_blobs(blobs: &[Blob]) -> Result<(), Failure> {
    check_bytes(
        "list of blobs",
        blobs.len() as u64,
        BLOBS_PER_OPERATION_MAX as u64,
    )?;
    blobs
        .iter()
        .try_for_each(|blob| check_bytes("snapshot", blob.bytes, SNAPSHOT_BYTES_MAX))
}
