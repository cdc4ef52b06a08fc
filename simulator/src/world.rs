//! The world around the cores: time, what happens when, and crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use wayfare_core::types::{Effect, Record};
use wayfare_protocol::ids::{Blob, Digest, EngineId, Generation, ProgramId};
use wayfare_protocol::limits::CHUNK_BYTES;
use wayfare_protocol::peer::PeerMessage;

use crate::acting::state::Acting;
use crate::broker::state::Broker;
use crate::client::state::Client;
use crate::happening::{Faults, Happening};
use crate::oracle::state::Oracle;
use crate::packet::{Content, Packet};
use crate::random::Random;
use crate::shell::state::Engine;
use crate::stored::state::SavedTalk;
use crate::time::{MS, SECOND};
use crate::wanted::state::Wanted;

pub(super) struct World {
    pub(super) seed: u64,
    pub(super) now: u64,
    /// When the faults that are planned began.
    pub(super) base: u64,
    /// Nothing happens for hours.
    pub(super) is_quiet: bool,
    pub(super) random: Random,
    pub(super) faults: Faults,
    pub(super) engines: Vec<Engine>,
    pub(super) client: Client,
    pub(super) oracle: Oracle,
    pub(super) library: BTreeMap<Digest, Content>,
    /// Retained statuses.
    pub(super) retained: BTreeMap<ProgramId, (EngineId, Generation)>,
    /// Engines that nobody reaches, until when.
    pub(super) parted: BTreeMap<usize, u64>,
    queue: BTreeMap<(u64, u64), Happening>,
    happenings: u64,
    pub(super) checkpoints: bool,
    /// Programs in doubt are taken back by force: rules about them are looser then.
    pub(super) by_force: bool,
    /// Programs are begun anew under their ids.
    pub(super) begins_anew: bool,
    pub(super) trace: bool,
    /// When the world began, by a clock of the sessions' kind.
    pub(super) begun: Instant,
    /// Its programs have sessions.
    pub(super) talks: bool,
    pub(super) broker: Broker,
    pub(super) saved_talks: Vec<SavedTalk>,
    /// Who acts, in worlds with a dispatcher.
    pub(super) acting: Option<Acting>,
}

impl World {
    #[expect(
        clippy::disallowed_methods,
        reason = "only a time to count from: what happens does not depend on it"
    )]
    pub(super) fn new(seed: u64, (is_dispatched, trace): (bool, bool)) -> Self {
        let mut random = Random::new(seed);
        let engines = 2 + random.below(3) as usize;
        // Some worlds are kind in some respect: other orders of events get more room there.
        let mut share = |most: u64| {
            if random.per_mille(300) {
                0
            } else {
                random.below(most)
            }
        };
        let faults = Faults {
            lost: share(200),
            doubled: share(200),
            very_late: share(100),
            damaged: share(100),
            crash_per_effect: share(20),
            crash_at_verdicts: share(200),
            work_fails: share(60),
        };
        let checkpoints = random.per_mille(200);
        let by_force = random.per_mille(200) && !is_dispatched;
        let mut world = Self {
            seed,
            now: 0,
            base: 0,
            is_quiet: false,
            random,
            faults,
            engines: (0..engines).map(Engine::new).collect(),
            client: Client::new(),
            oracle: Oracle::default(),
            library: BTreeMap::new(),
            retained: BTreeMap::new(),
            parted: BTreeMap::new(),
            queue: BTreeMap::new(),
            happenings: 0,
            checkpoints,
            by_force,
            begins_anew: seed % 16 == 11 && !is_dispatched,
            trace,
            begun: Instant::now(),
            talks: seed % 8 == 3,
            broker: Broker::new(seed),
            saved_talks: Vec::new(),
            acting: is_dispatched.then(|| Acting::new(Wanted::default())),
        };
        world.plan();
        world
    }

    /// What will happen apart from what the engines do.
    pub(super) fn plan(&mut self) {
        for engine in 0..self.engines.len() {
            self.boot(engine);
        }
        let base = self.base;
        if self.acting.is_some() {
            self.plan_wanted();
        } else {
            for _ in 0..10 + self.random.below(30) {
                let at = self.random.below(60 * SECOND);
                self.at(at, Happening::ClientActs);
            }
        }
        for _ in 0..self.random.below(5) {
            let engine = self.random.below(self.engines.len() as u64) as usize;
            let at = base + self.random.below(60 * SECOND);
            self.at(at, Happening::Crash { engine });
        }
        for _ in 0..self.random.below(4) {
            let engine = self.random.below(self.engines.len() as u64) as usize;
            let at = base + self.random.below(60 * SECOND);
            let until = at + self.random.below(20 * SECOND);
            self.at(at, Happening::Part { engine, until });
        }
        if self.random.per_mille(300) {
            let engine = self.random.below(self.engines.len() as u64) as usize;
            let at = base + self.random.below(60 * SECOND);
            self.at(at, Happening::ProgramEnds { engine });
        }
        self.plan_disks();
        if self.acting.is_none() {
            self.plan_strangers();
        } else {
            self.plan_presence();
            self.plan_takeovers();
        }
        self.plan_restarts();
    }

    /// Runs through the unkind part, then a kind one in which everything must come right.
    pub(super) fn run(&mut self) -> Result<(), String> {
        if self.acting.is_some() {
            return self.run_dispatched();
        }
        self.run_until(Self::FAULTS_UNTIL)?;
        self.faults_stop();
        self.run_until(300 * SECOND)?;
        for (to, command) in self.client.sent.clone() {
            self.send(to, Packet::Command(command));
        }
        self.run_until(450 * SECOND)?;
        self.check_talks()
            .map_err(|wrong| format!("seed {}: {wrong}", self.seed))?;
        self.check_end()
    }

    pub(super) fn faults_stop(&mut self) {
        self.note(|| "faults stop".into());
        self.faults = Faults::default();
        self.parted.clear();
        self.broker.down_until = 0;
        for engine in 0..self.engines.len() {
            self.engines[engine].disk.has_room_again();
            self.boot(engine);
            self.connect(engine);
        }
    }

    pub(super) fn run_until(&mut self, end: u64) -> Result<(), String> {
        while let Some(((at, _), _)) = self.queue.first_key_value() {
            if *at > end {
                break;
            }
            let ((at, _), happening) = self.queue.pop_first().expect("it was just seen");
            self.now = self.now.max(at);
            self.happen(happening);
            self.follow();
            if let Some(violation) = self.oracle.violations.first() {
                return Err(format!("seed {} at {} ms: {violation}", self.seed, self.now / MS));
            }
        }
        self.now = end;
        Ok(())
    }

    pub(super) fn at(&mut self, at: u64, happening: Happening) {
        self.happenings += 1;
        self.queue.insert((at.max(self.now), self.happenings), happening);
    }

    pub(super) fn after(&mut self, most_us: u64, happening: Happening) {
        let at = self.now + self.random.below(most_us.max(1));
        self.at(at, happening);
    }

    /// At least so late, and twice as late at most.
    pub(super) fn after_at_least(&mut self, us: u64, happening: Happening) {
        let at = self.now + us + self.random.below(us.max(1));
        self.at(at, happening);
    }

    pub(super) fn note(&self, text: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>9.3} ms  {}", self.now as f64 / MS as f64, text());
        }
    }

    fn happen(&mut self, happening: Happening) {
        for engine in &mut self.engines {
            engine.compute();
        }
        match happening {
            Happening::Deliver { to, packet, wipes } => self.deliver(to, packet, wipes),
            Happening::Job { engine, boot, job } => self.job(engine, boot, job),
            Happening::Wake { engine, boot } => self.wake(engine, boot),
            Happening::ClientActs => self.client_acts(),
            Happening::Crash { engine } => self.crash(engine),
            Happening::Restart { engine } => self.boot(engine),
            Happening::StrangerSpeaks => self.stranger_speaks(),
            Happening::DiskFills { engine } => self.disk_fills(engine),
            Happening::DiskLost { engine } => self.lose_disk(engine),
            Happening::StoreAgain { engine, boot } => self.store_again(engine, boot),
            Happening::Part { engine, until } => self.part(engine, until),
            Happening::ProgramEnds { engine } => self.end_program(engine),
            Happening::Said { wire, said } => self.said(wire, said),
            Happening::Told { wire, told } => self.told(wire, told),
            Happening::SourcePublishes { program } => self.source_publishes(program),
            Happening::DispatcherStarts => self.dispatcher_starts(),
            Happening::DispatcherDies => self.dispatcher_dies(),
            Happening::Dispatcher { process, acts } => self.dispatcher_acts(process, acts),
            Happening::AnotherActs => self.another_acts(),
            Happening::FormerDecides => self.former_decides(),
            Happening::StoreFills => self.store_fills(),
            Happening::StoreLost => self.store_lost(),
            Happening::StoreTried { process } => self.store_tried(process),
            Happening::BrokerSaves => self.broker_saves(),
            Happening::BrokerRestarts { memory } => self.broker_restarts(memory),
            Happening::Reconnects { engine } => self.reconnects(engine),
            Happening::RivalConnects { engine, times } => self.rival_connects(engine, times),
            Happening::Will { engine, boot } => self.will(engine, boot),
            Happening::LateWill { engine } => self.late_will(engine),
            Happening::PeopleAsk { first } => self.people_ask(first),
            Happening::SomeTrap => self.some_trap(),
        }
        if self.talks {
            self.programs_talk();
        }
    }

    /// Engines say nothing on a new connection before they have heard what is retained of their programs.
    pub(super) fn is_fenced(&self) -> bool {
        self.talks || self.acting.is_some()
    }

    pub(super) fn crash(&mut self, engine: usize) {
        if self.engines[engine].up.is_none() {
            return;
        }
        self.note(|| format!("e{engine} crashes"));
        self.connection_ends(engine, u64::MAX);
        for (program, process) in self.engines[engine].crash(&mut self.broker.random) {
            if let Some(talk) = process.talk {
                self.forget_unstored(program, talk);
            }
            let stored = self.engines[engine].stored_counter(program, &self.library);
            self.oracle.lost(program, stored);
        }
        let most = if self.random.per_mille(500) {
            100 * MS
        } else {
            20 * SECOND
        };
        self.after(most, Happening::Restart { engine });
    }

    /// A crash between two effects, likelier where what is durable and what is known part ways.
    pub(super) fn crashes_before(&mut self, engine: usize, effect: &Effect) -> bool {
        let share = match effect {
            Effect::Store(Record::Program(_) | Record::Arrival(_))
            | Effect::Erase(_)
            | Effect::Unfreeze { .. }
            | Effect::Discard { .. } => self.faults.crash_at_verdicts,
            Effect::Peer {
                message:
                    PeerMessage::Commit { .. }
                    | PeerMessage::Adopted { .. }
                    | PeerMessage::Refused { .. }
                    | PeerMessage::Cancel,
                ..
            } => self.faults.crash_at_verdicts,
            _ => self.faults.crash_per_effect,
        };
        let now = self.random.per_mille(share);
        if now {
            self.crash(engine);
        }
        now
    }

    /// A new blob of some length: often a few chunks, sometimes none, sometimes more than a window.
    pub(super) fn new_blob(&mut self, content: Content) -> Blob {
        let chunk = CHUNK_BYTES as u64;
        let bytes = match self.random.below(10) {
            0 => 0,
            1 => chunk,
            2 => 20 * chunk + 7,
            _ => 1 + self.random.below(3 * chunk),
        };
        let digest = Digest::of(&self.random.bytes());
        self.library.insert(digest, content);
        Blob { digest, bytes }
    }

    /// Where programs stand in memory, running or not.
    pub(super) fn engines_with(&self, program: ProgramId) -> BTreeSet<usize> {
        (0..self.engines.len())
            .filter(|index| self.engines[*index].has_process(program))
            .collect()
    }
}
