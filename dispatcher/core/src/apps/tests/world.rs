//! A fleet that does what the core says: engines with programs, which can be cut off, killed and healed; and
//! a broker, which tells of that in its own time, and whose messages the dispatcher may be behind with.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wayfare_fleet::app::ask::{AppStatus, Ask};
use wayfare_fleet::app::{AppSpec, ComponentSpec, RestartPolicy, RestartWhen, UpdatePolicy};
use wayfare_fleet::fleet::{EngineView, FleetChanges, Presence, ProgramView};
use wayfare_fleet::placing::Marks;
use wayfare_protocol::code::{CodeTarget, PublicKey, SecretKey};
use wayfare_protocol::command::Action;
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::{MoveReport, Outcome};
use wayfare_protocol::health::Health;
use wayfare_protocol::ids::{Blob, BootId, EngineId, Generation, OperationId, ProgramId, Term};
use wayfare_protocol::labels::Labels;
use wayfare_protocol::status::{EngineAbout, MachineLoad, ProgramState, ProgramStatus};
use wayfare_scheduler::application::Mobility;
use wayfare_scheduler::constraint::Constraints;
use wayfare_scheduler::policy::Policy;

use super::super::state::State;
use super::super::{Core, CoreOptions, Effect, Ids, Input, LossOptions, Now, SeenProgram, Serves, Trouble};
use crate::compiler::CompilerAbout;

#[derive(Debug, Clone)]
pub(super) struct Copy {
    pub(super) generation: Generation,
    pub(super) state: ProgramState,
    pub(super) from_snapshot: bool,
    pub(super) module: Blob,
    pub(super) health: Option<Health>,
    pub(super) hold: Option<String>,
}

impl Copy {
    /// One that was begun there, and has said nothing of itself.
    pub(super) fn running(generation: Generation, module: Blob) -> Self {
        Self {
            generation,
            state: ProgramState::Running,
            from_snapshot: false,
            module,
            health: None,
            hold: None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Host {
    /// Whether the broker reaches it; it runs on without. A change is told by a will, or by the engine.
    pub(super) online: bool,
    pub(super) answers: bool,
    /// As the broker last told.
    was_online: bool,
    pub(super) is_leaving: bool,
    /// It is of an earlier release.
    pub(super) tells_nothing_of_health: bool,
    /// As the dispatcher has read.
    shown: Shown,
    pub(super) load: Option<MachineLoad>,
    pub(super) labels: Labels,
    /// One that compiles has none.
    pub(super) trusts: Option<Vec<PublicKey>>,
    /// The dispatcher compiles for two versions, of which the first is everybody's who says nothing.
    pub(super) wasmtime: Option<&'static str>,
    /// That it runs on, if it does not have one of its own.
    pub(super) machine: Option<&'static str>,
    pub(super) programs: BTreeMap<ProgramId, Copy>,
    /// Its process, as its status says.
    pub(super) boot: Option<BootId>,
}

/// What an engine's status looks like to the dispatcher.
#[derive(Debug, Clone, Copy, Default)]
struct Shown {
    online: bool,
    stopped: bool,
    leaving: Option<OperationId>,
    heard: u64,
}

/// What the broker has for the dispatcher.
#[derive(Debug, Clone)]
enum Delivery {
    Status(EngineId, Said),
    /// The dispatcher's message to itself, sent at that time.
    Back(u64),
}

/// Who speaks in an engine's status, and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Online,
    /// It is there, and asks to be emptied.
    Leaving(OperationId),
    Will,
    Goodbye,
}

/// Whether an engine that was cut off hears what it was asked meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hears {
    Late,
    Never,
}

pub(super) struct World {
    pub(super) core: Core,
    /// How many processes have acted before.
    successions: u64,
    pub(super) hosts: BTreeMap<EngineId, Host>,
    pub(super) records: BTreeMap<String, String>,
    pub(super) told: Vec<(String, String)>,
    pub(super) begun: Vec<(OperationId, EngineId, Action)>,
    /// Which processes the commands were decided for, as often as they were given.
    pub(super) meant: Vec<(OperationId, Option<BootId>)>,
    /// Commands wait for [`World::carry_out`].
    queue: Vec<(OperationId, EngineId, Action)>,
    /// Commands that their engine has not heard, and that are still being repeated.
    unheard: Vec<(EngineId, Action)>,
    /// Modules whose programs trap as soon as they run.
    pub(super) traps: BTreeSet<Blob>,
    pub(super) tombstones: BTreeSet<ProgramId>,
    /// Of engines where something ended that had replaced something.
    pub(super) left_tombstones: BTreeMap<ProgramId, Generation>,
    pub(super) lost: Vec<(EngineId, Vec<ProgramId>)>,
    pub(super) now_ms: u64,
    wire: VecDeque<Delivery>,
    /// Whether the dispatcher reads what is there for it.
    pub(super) reads: bool,
    /// What engines that leave were told is left.
    pub(super) left: Vec<(OperationId, usize)>,
}

/// Those of the process that acts after so many others.
fn ids(successions: u64) -> Ids {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&successions.to_le_bytes());
    Ids::new(seed)
}

/// One of the fleet's keys, by number.
pub(super) fn key(number: u8) -> PublicKey {
    SecretKey::from_random([number; 32]).public()
}

/// Of a dispatcher, for a version of wasmtime.
fn compiler(wasmtime: &str) -> CompilerAbout {
    CompilerAbout {
        format: 1,
        compiler: "c".into(),
        wasmtime: wasmtime.into(),
        abi: "2".into(),
        architectures: ["x86_64".to_owned()].into(),
    }
}

pub(super) fn options() -> CoreOptions {
    CoreOptions {
        term: Term(1),
        policy: Policy::Spread,
        loss: LossOptions {
            poll_ms: 5_000,
            late_ms: 10_000,
            lost_ms: 30_000,
            grace_ms: 1_000,
            reconnect_ms: 7_000,
        },
        marks: Marks::default(),
        serves: Some(Serves {
            compilers: ["1", "2"].map(compiler).into(),
            keys: vec![key(1)],
        }),
    }
}

pub(super) fn component(count: u32, module: &str) -> ComponentSpec {
    ComponentSpec {
        count,
        module: Blob::of(module.as_bytes()),
        args: Vec::new(),
        env: BTreeMap::new(),
        stdin: None,
        memory_bytes: None,
        grants: Default::default(),
        ports: Default::default(),
        processor_millicores: 0,
        mobility: Mobility::Free,
        constraints: Constraints::default(),
        checkpoint_ms: None,
        restart: RestartPolicy {
            when: RestartWhen::Always,
            backoff_ms: 1_000,
            backoff_ms_max: 60_000,
        },
        update: UpdatePolicy {
            at_a_time: 1,
            healthy_after_ms: 3_000,
            within_ms: 60_000,
        },
        schedule: None,
        health: None,
        restarts: 0,
    }
}

pub(super) fn app(components: &[(&str, ComponentSpec)]) -> AppSpec {
    AppSpec {
        name: "shop".into(),
        components: components
            .iter()
            .map(|(name, component)| ((*name).to_owned(), component.clone()))
            .collect(),
        staging: Default::default(),
    }
}

impl World {
    pub(super) fn new(engines: &[&str]) -> Self {
        let now = Now { ms: 0, wall_ms: 0 };
        let mut world = Self {
            core: Core::new(options(), State::default(), ids(0), now).0,
            successions: 0,
            hosts: BTreeMap::new(),
            records: BTreeMap::new(),
            told: Vec::new(),
            begun: Vec::new(),
            meant: Vec::new(),
            queue: Vec::new(),
            unheard: Vec::new(),
            traps: BTreeSet::new(),
            tombstones: BTreeSet::new(),
            left_tombstones: BTreeMap::new(),
            lost: Vec::new(),
            now_ms: 0,
            wire: VecDeque::new(),
            reads: true,
            left: Vec::new(),
        };
        for engine in engines {
            let host = Host {
                online: true,
                answers: true,
                was_online: true,
                shown: Shown {
                    online: true,
                    stopped: false,
                    leaving: None,
                    heard: 1,
                },
                ..Host::default()
            };
            world.hosts.insert(engine.parse().unwrap(), host);
        }
        world.look();
        world
    }

    /// Another process acts from now on, with what is on the disk. What its predecessor had begun may still
    /// happen.
    pub(super) fn succeed(&mut self) {
        self.succeed_with(BTreeMap::new());
    }

    /// Which goes on from what was kept of programs.
    pub(super) fn succeed_with(&mut self, kept: BTreeMap<ProgramId, SeenProgram>) {
        let state = State::read(&self.records);
        self.successions += 1;
        let (core, effects) = Core::new(options(), state, ids(self.successions), self.now());
        self.core = core;
        self.core.recall_programs(kept);
        // What is retained is what was published last.
        self.tell_changes();
        for delivery in std::mem::take(&mut self.wire) {
            self.deliver(delivery);
        }
        for host in self.hosts.values_mut() {
            host.shown.heard = u64::from(host.shown.online);
        }
        self.take(effects);
        self.look();
    }

    /// What there is to keep of programs.
    pub(super) fn seen_programs(&mut self) -> BTreeMap<ProgramId, SeenProgram> {
        let changed = self.core.take_seen_programs().into_iter();
        changed
            .filter_map(|(program, seen)| Some((program, seen?)))
            .collect()
    }

    pub(super) fn core(&self) -> &Core {
        &self.core
    }

    pub(super) fn ask(&mut self, ask: Ask) -> Result<serde_json::Value, Failure> {
        let (answer, effects) = self.core.ask(ask, Some("ann@desk".into()), self.now());
        self.take(effects);
        answer
    }

    pub(super) fn apply(&mut self, spec: AppSpec) {
        self.ask(Ask::Apply { spec, expects: None }).unwrap();
    }

    pub(super) fn status(&mut self) -> AppStatus {
        let answer = self.ask(Ask::Status { application: None }).unwrap();
        serde_json::from_value::<Vec<AppStatus>>(answer)
            .unwrap()
            .remove(0)
    }

    pub(super) fn host(&mut self, engine: &str) -> &mut Host {
        self.hosts.get_mut(&engine.parse().unwrap()).unwrap()
    }

    /// Time goes by in steps of half a second; everything that was begun is done.
    pub(super) fn pass(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(500) {
            self.now_ms += 500;
            self.carry_out();
            self.fence();
            self.feed(Input::Tick);
            if self.core.awaits_reading() {
                self.wire.push_back(Delivery::Back(self.now_ms));
            }
            self.look();
            // What was asked just now is answered at once.
            if !self.wire.is_empty() {
                self.look();
            }
        }
    }

    /// The broker publishes something in an engine's name.
    pub(super) fn say(&mut self, engine: &str, said: Said) {
        self.host(engine).is_leaving = matches!(said, Said::Leaving(_));
        let engine = engine.parse().unwrap();
        self.wire.push_back(Delivery::Status(engine, said));
    }

    /// The engine stops in good order, and its programs with it.
    pub(super) fn stop(&mut self, engine: &str) {
        self.say(engine, Said::Goodbye);
        let host = self.host(engine);
        (host.online, host.was_online) = (false, false);
    }

    fn tell_changes(&mut self) {
        for (engine, host) in &mut self.hosts {
            if std::mem::replace(&mut host.was_online, host.online) != host.online {
                let said = if host.online { Said::Online } else { Said::Will };
                self.wire.push_back(Delivery::Status(engine.clone(), said));
            }
        }
    }

    fn deliver(&mut self, delivery: Delivery) -> Option<u64> {
        let (engine, said) = match delivery {
            Delivery::Back(sent_ms) => return Some(sent_ms),
            Delivery::Status(engine, said) => (engine, said),
        };
        if let Some(host) = self.hosts.get_mut(&engine) {
            let is_its_own = matches!(said, Said::Online | Said::Leaving(_));
            host.shown = Shown {
                online: is_its_own,
                leaving: match said {
                    Said::Leaving(request) => Some(request),
                    // An answer says it again.
                    Said::Online if host.is_leaving => host.shown.leaving,
                    Said::Online | Said::Will | Said::Goodbye => None,
                },
                stopped: said == Said::Goodbye || (said == Said::Will && host.shown.stopped),
                heard: host.shown.heard + u64::from(is_its_own),
            };
        }
        None
    }

    pub(super) fn now(&self) -> Now {
        Now {
            ms: self.now_ms,
            wall_ms: self.now_ms,
        }
    }

    pub(super) fn feed(&mut self, input: Input) {
        let effects = self.core.handle(input, self.now());
        self.core.check_whose();
        self.take(effects);
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Store {
                    key,
                    json: Some(json),
                } => drop(self.records.insert(key, json)),
                Effect::Store { key, json: None } => drop(self.records.remove(&key)),
                Effect::Tombstone {
                    program,
                    stands: true,
                } => {
                    self.tombstones.insert(program);
                    self.left_tombstones.remove(&program);
                }
                Effect::Tombstone { program, .. } => {
                    self.tombstones.remove(&program);
                    self.left_tombstones.remove(&program);
                }
                Effect::Left { request, left, .. } => self.left.push((request, left)),
                Effect::Lost { engine, programs } => self.lost.push((engine, programs)),
                Effect::Ask { engines } => {
                    let asked = |engine: &EngineId| engines.is_empty() || engines.contains(engine);
                    let answering = self.hosts.iter().filter(|(_, host)| host.online && host.answers);
                    for (engine, _) in answering.filter(|(engine, _)| asked(engine)) {
                        let answer = Delivery::Status(engine.clone(), Said::Online);
                        self.wire.push_back(answer);
                    }
                    self.wire.push_back(Delivery::Back(self.now_ms));
                }
                Effect::Tell(decision) => self.told.push((decision.kind, decision.text)),
                Effect::Begin {
                    operation,
                    engine,
                    action,
                    boot,
                } => {
                    self.meant.push((operation, boot));
                    self.begun
                        .push((operation, engine.clone(), action.as_ref().clone()));
                    self.queue.push((operation, engine, *action));
                }
            }
        }
    }

    /// What engines that are there were told.
    pub(super) fn carry_out(&mut self) {
        for (operation, engine, action) in std::mem::take(&mut self.queue) {
            let is_there = self.hosts.get(&engine).is_some_and(|host| host.online);
            let result = if is_there {
                self.act(&engine, action).map_err(Trouble::Failed)
            } else {
                self.unheard.push((engine, action));
                Err(Trouble::Unknown("no answer".into()))
            };
            self.feed(Input::Settled { operation, result });
        }
    }

    /// The engine is back. What it was asked meanwhile it may still hear, late.
    pub(super) fn heal(&mut self, engine: &str, hears: Hears) {
        let host = self.host(engine);
        (host.online, host.answers) = (true, true);
        let (its, others) = std::mem::take(&mut self.unheard)
            .into_iter()
            .partition(|(asked, _)| asked.as_str() == engine);
        self.unheard = others;
        let its: Vec<(EngineId, Action)> = its;
        for (engine, action) in its.into_iter().filter(|_| hears == Hears::Late) {
            // Nobody waits for the answer any more.
            drop(self.act(&engine, action));
        }
    }

    fn act(&mut self, engine: &EngineId, action: Action) -> Result<Outcome, Failure> {
        let program = action.program();
        let unknown = || Failure::UnknownProgram {
            engine: engine.clone(),
            program,
        };
        let here = self.hosts[engine].programs.get(&program).cloned();
        let host = self.hosts.get_mut(engine).unwrap();
        match action {
            Action::Run {
                spec,
                snapshot,
                generation,
                ..
            } => {
                let generation = generation.unwrap_or(Generation::FIRST);
                // Given again, it is answered again.
                if let Some(here) = here.filter(|here| here.generation == generation) {
                    return Ok(Outcome::Running {
                        program,
                        generation: here.generation,
                    });
                }
                if is_alive(host.programs.get(&program)) {
                    return Err(Failure::AlreadyHere { program });
                }
                let state = if self.traps.contains(&spec.module) {
                    ProgramState::Failed {
                        reason: "trapped".into(),
                    }
                } else {
                    ProgramState::Running
                };
                let copy = Copy {
                    generation,
                    state,
                    from_snapshot: snapshot.is_some(),
                    module: spec.module,
                    health: None,
                    hold: None,
                };
                host.programs.insert(program, copy);
                Ok(Outcome::Running { program, generation })
            }
            Action::Move { target, .. } => {
                let mut copy = here.ok_or_else(unknown)?;
                let Some(there) = self.hosts.get_mut(&target).filter(|host| host.online) else {
                    return Err(Failure::Cancelled);
                };
                if is_alive(there.programs.get(&program)) {
                    return Err(Failure::AlreadyHere { program });
                }
                copy.generation = copy.generation.next();
                // It says again how it is once it has come to run there.
                copy.health = None;
                let generation = copy.generation;
                there.programs.insert(program, copy);
                self.hosts.get_mut(engine).unwrap().programs.remove(&program);
                Ok(Outcome::Moved {
                    program,
                    generation,
                    target,
                    report: MoveReport::default(),
                })
            }
            Action::Kill { .. } => {
                let ended = host.programs.remove(&program).ok_or_else(unknown)?;
                // What is retained is what was published last.
                self.tombstones.remove(&program);
                self.left_tombstones.remove(&program);
                if ended.generation.has_replaced() {
                    self.left_tombstones.insert(program, ended.generation);
                }
                Ok(Outcome::Killed { program })
            }
            Action::Pause { .. } => {
                host.programs.get_mut(&program).ok_or_else(unknown)?.state = ProgramState::Paused;
                Ok(Outcome::Paused { program })
            }
            Action::Resume { .. } => {
                host.programs.get_mut(&program).ok_or_else(unknown)?.state = ProgramState::Running;
                Ok(Outcome::Resumed { program })
            }
            Action::Snapshot { .. } => {
                let copy = here.ok_or_else(unknown)?;
                Ok(Outcome::Captured {
                    program,
                    generation: copy.generation,
                    spec: component(1, "any").program("p".into()),
                    snapshot: Blob::of(program.to_string().as_bytes()),
                })
            }
            Action::Spawn { .. } | Action::Logs { .. } => unreachable!("the service has no use for it"),
        }
    }

    /// Engines that hear of each other end what has a higher generation elsewhere.
    fn fence(&mut self) {
        let mut highest = BTreeMap::<ProgramId, Generation>::new();
        for host in self.hosts.values().filter(|host| host.online) {
            for (program, copy) in &host.programs {
                let known = highest.entry(*program).or_insert(copy.generation);
                *known = (*known).max(copy.generation);
            }
        }
        let (tombstones, left) = (&self.tombstones, &self.left_tombstones);
        for host in self.hosts.values_mut().filter(|host| host.online) {
            host.programs.retain(|program, copy| {
                let is_left = left.get(program).is_some_and(|left| copy.generation < *left);
                copy.generation == highest[program] && !tombstones.contains(program) && !is_left
            });
        }
    }

    /// The dispatcher reads what is there, and looks.
    pub(super) fn look(&mut self) {
        self.tell_changes();
        if !self.reads {
            return;
        }
        let mut read = Vec::new();
        for delivery in std::mem::take(&mut self.wire) {
            read.extend(self.deliver(delivery));
        }
        self.observe();
        for sent_ms in read {
            self.feed(Input::Read { sent_ms });
        }
    }

    fn observe(&mut self) {
        let about = |engine: &EngineId, host: &Host| EngineAbout {
            version: "1".into(),
            platform: "x86_64-linux".into(),
            code: CodeTarget {
                architecture: "x86_64".into(),
                wasmtime: host.wasmtime.unwrap_or("1").into(),
                abi: "2".into(),
            },
            compiles: host.trusts.is_none(),
            tells_health: !host.tells_nothing_of_health,
            signs_statuses: false,
            processors: 4,
            memory_bytes: 1 << 30,
            programs_max: 16,
            program_memory_bytes_max: 64 << 20,
            host: host.machine.map_or_else(|| engine.to_string(), str::to_owned),
            labels: host.labels.clone(),
            trusts: host.trusts.clone().into_iter().flatten().collect(),
            devices: BTreeMap::new(),
        };
        let view = |(engine, host): (&EngineId, &Host)| EngineView {
            engine: engine.clone(),
            online: host.shown.online,
            heard: wayfare_fleet::fleet::Heard::Live,
            rival: None,
            identity: None,
            boot: host.boot,
            stopped: host.shown.stopped,
            mark: None,
            leaving: host.shown.leaving,
            messages: host.shown.heard,
            offline_for_ms: None,
            about: Some(about(engine, host)),
            load: host.load,
            programs: host.programs.len() as u32,
        };
        let engines = self.hosts.iter().map(view).collect();
        let mut programs = BTreeMap::<ProgramId, ProgramView>::new();
        for (engine, host) in &self.hosts {
            for (program, copy) in &host.programs {
                let view = ProgramView {
                    status: ProgramStatus {
                        program: *program,
                        name: "p".into(),
                        engine: engine.clone(),
                        boot: BootId::from_random([1; 16]),
                        generation: copy.generation,
                        sequence: 1,
                        state: copy.state.clone(),
                        module: copy.module.digest,
                        memory_bytes: 1 << 20,
                        ports: Default::default(),
                        place: None,
                        health: copy.health,
                        hold: copy.hold.clone(),
                    },
                    presence: if host.shown.online {
                        Presence::Known
                    } else {
                        Presence::EngineOffline
                    },
                };
                match programs.get(program) {
                    Some(known) if known.status.generation >= copy.generation => {}
                    _ => drop(programs.insert(*program, view)),
                }
            }
        }
        let is_left = |program: &ProgramId, generation: Generation| {
            let left = self.left_tombstones.get(program);
            left.is_some_and(|left| generation <= *left)
        };
        programs.retain(|program, view| !is_left(program, view.status.generation));
        let tombstones = self.left_tombstones.keys();
        let tombstones = tombstones.filter(|program| !programs.contains_key(*program));
        let tombstones: Vec<ProgramId> = tombstones.copied().collect();
        let standing = self.tombstones.iter().chain(&tombstones).copied().collect();
        let programs = programs.into_values().collect();
        self.feed(Input::Observed(FleetChanges {
            is_whole: true,
            engines,
            programs,
            tombstones,
            standing,
            ..FleetChanges::default()
        }));
    }

    /// Live copies on engines that are there.
    pub(super) fn alive(&self) -> Vec<(EngineId, ProgramId, Copy)> {
        let mut alive = Vec::new();
        for (engine, host) in self.hosts.iter().filter(|(_, host)| host.online) {
            for (program, copy) in &host.programs {
                if !copy.state.is_ended() {
                    alive.push((engine.clone(), *program, copy.clone()));
                }
            }
        }
        alive
    }

    pub(super) fn on(&self, engine: &str) -> usize {
        self.alive()
            .iter()
            .filter(|(on, ..)| on.as_str() == engine)
            .count()
    }

    pub(super) fn was_told(&self, kind: &str) -> usize {
        self.told.iter().filter(|(told, _)| told == kind).count()
    }
}

fn is_alive(copy: Option<&Copy>) -> bool {
    copy.is_some_and(|copy| !copy.state.is_ended())
}
