//! What the service decides: a pure core. What happened comes in as [`Input`], what is to be done comes out
//! as [`Effect`]s in order, of which [`Effect::Store`]s are durable before what follows them. Time and the
//! seed of ids are the shell's.
//!
//! ```text
//!   nothing --start--> pending start --done--> placed on E --engine lost, or gone--> nowhere --start, one
//!                          |                     |  ^                                thousand generations higher-->
//!                          `--failed: back-off   |  `--moved, paused, resumed
//!                                                `--ended, outdated or unwanted--> pending kill --> nothing, or forgotten
//! ```
//! What always holds: an instance has one program at a time and one command under way; whatever might still
//! live somewhere is started again only under the same program id and a higher generation, so that it is
//! fenced off; a new program id is taken only when the old program was killed or had ended.
//!
//! Reading order: [`state`], `watched`, `observe`, `loss`, `schedules`, `everywhere`, `health`, `stand`,
//! `rollout`, `stages`, `planning`, `pressure`, `settle`, `upkeep`, `strays`, `orphans`, `leaving`, `whose`,
//! `ages`, `asked`, `variants`, `shown`, `engines`, `hold`, `holders`, `ids`, `words`.

pub mod state;

mod ages;
mod asked;
mod engines;
mod everywhere;
mod health;
mod hold;
mod holders;
mod ids;
mod leases;
mod leaving;
mod loss;
mod observe;
mod obstacles;
mod orphans;
mod pages;
mod planning;
mod pressure;
mod rollout;
mod schedules;
mod settle;
mod shown;
mod stages;
mod stand;
mod strays;
mod tombstones;
mod upkeep;
mod variants;
mod watched;
mod whose;
mod words;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use wayfare_fleet::app::ask::{Ask, Decision, Mark};
use wayfare_fleet::fleet::{FleetChanges, ProgramView};
use wayfare_fleet::placing::Marks;
use wayfare_protocol::code::PublicKey;
use wayfare_protocol::command::{Action, Target};
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::{BootId, Digest, EngineId, OperationId, ProgramId, Term};
use wayfare_scheduler::application::InstanceId;
use wayfare_scheduler::policy::Policy;

use crate::compiler::CompilerAbout;
pub use ages::SeenProgram;
pub use ids::Ids;
use leases::Leases;
use obstacles::Obstacles;
use state::{Doing, Instance, Pending, Placed, State};
use tombstones::Tombstones;
pub use watched::LossOptions;
use watched::Watched;
use whose::InstancesByProgram;

/// How long one command may take: a module may have to be sent and compiled.
pub const COMMAND_MS_MAX: u64 = 120_000;
/// A command that could not be carried out is not tried again before this.
const RETRY_MS: u64 = 5_000;
/// A program that its engine does not list is gone when it is still so after this.
const MISSING_MS: u64 = 2_000;
/// Without a change, everything is planned again this often.
const PLAN_MS: u64 = 10_000;
/// Moves at the same time.
const MOVES_MAX: usize = 8;

#[derive(Debug, Clone)]
pub struct CoreOptions {
    pub term: Term,
    pub policy: Policy,
    pub loss: LossOptions,
    /// How much of an engine programs may take before it sheds some.
    pub marks: Marks,
    /// What it compiles for engines that do not; `None`: nothing.
    pub serves: Option<Serves>,
}

/// Code that the acting dispatcher makes for engines without a compiler.
#[derive(Debug, Clone)]
pub struct Serves {
    pub compilers: Vec<CompilerAbout>,
    /// What it is signed with.
    pub keys: Vec<PublicKey>,
}

/// Time as the core is told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Never goes back.
    pub ms: u64,
    /// Since 1970, for people.
    pub wall_ms: u64,
}

#[derive(Debug)]
pub enum Input {
    /// What is known of the fleet now, as far as it differs from what was observed before.
    Observed(FleetChanges),
    /// Everything that the broker had for us at that time, by the core's clock, has been read: what an engine
    /// had answered by then has been observed.
    Read {
        sent_ms: u64,
    },
    /// A command is over. The bytes of a captured snapshot are stored.
    Settled {
        operation: OperationId,
        result: Result<Outcome, Trouble>,
    },
    Tick,
}

/// How a command went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The engine said so: it has not been done.
    Failed(Failure),
    /// Nobody knows whether it was done.
    Unknown(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A record of the journal; `None` erases it.
    Store {
        key: String,
        json: Option<String>,
    },
    Begin {
        operation: OperationId,
        engine: EngineId,
        action: Box<Action>,
        /// The engine's process that was known when this was decided.
        boot: Option<BootId>,
    },
    Tell(Box<Decision>),
    /// Asks these engines to answer, or with none named all of them.
    Ask {
        engines: Vec<EngineId>,
    },
    /// Tells an engine that asked to be emptied how many instances are still to go.
    Left {
        engine: EngineId,
        request: OperationId,
        left: usize,
    },
    /// Nobody answers for these programs any more, as far as is known: their engine is lost, and nothing
    /// starts them elsewhere.
    Lost {
        engine: EngineId,
        programs: Vec<ProgramId>,
    },
    /// A retained status, above every generation, in the place of a program that is no more; or no such
    /// status any more.
    Tombstone {
        program: ProgramId,
        stands: bool,
    },
}

/// What need not survive a restart.
#[derive(Debug, Clone, Default)]
struct Passing {
    /// It has run since then.
    started_ms: Option<u64>,
    /// Ends and failures in a row.
    failures: u32,
    not_before_ms: u64,
    missing_since_ms: Option<u64>,
    checkpoint_at_ms: Option<u64>,
    checkpointing: bool,
    is_healthy: bool,
    /// It was told that it is not well, and that nothing is done about it.
    is_unwell: bool,
    /// It was begun, or is as one that failed, since this core acts: what came before it is not known of it.
    is_begun: bool,
    /// Which program asks since when not to be stopped, while it is to be.
    held_since: Option<(ProgramId, u64)>,
    kept: Option<Kept>,
}

/// Why an instance runs on as another revision than the wanted one, and how long that is taken to be so.
#[derive(Debug, Clone)]
struct Kept {
    until_ms: u64,
    why: String,
}

impl Passing {
    /// Something about it has changed: failures so far count no more.
    fn try_anew(&mut self) {
        (self.failures, self.not_before_ms, self.kept) = (0, 0, None);
    }
}

#[derive(Debug, Clone)]
pub struct Core {
    options: CoreOptions,
    state: State,
    began_ms: u64,
    /// Everything that was there for us then has been read.
    read_ms: u64,
    /// When to ask all engines again.
    poll_at_ms: u64,
    /// Until then no engine is given up for its silence: too many are silent.
    silence_until_ms: u64,
    engines: BTreeMap<EngineId, Watched>,
    programs: BTreeMap<ProgramId, ProgramView>,
    whose: InstancesByProgram,
    seen: ages::SeenPrograms,
    /// The fleet has been looked at.
    has_observed: bool,
    passing: BTreeMap<InstanceId, Passing>,
    /// Commands under way: instances' own are in their records as well.
    in_flight: BTreeMap<OperationId, Subject>,
    /// When each application last came nearer to its current version.
    progress_ms: BTreeMap<String, u64>,
    leases: Leases,
    /// Since when an engine with an orphan is back, or when to try again to end it.
    back_ms: BTreeMap<(ProgramId, EngineId), u64>,
    tombstones: Tombstones,
    /// When to plan again: at once after a change.
    plan_at_ms: u64,
    /// By the wall clock, when the next instance is due.
    due_at_ms: u64,
    /// Of the last plan.
    obstacles: Obstacles,
    effects: Vec<Effect>,
    /// Who asks, while that is answered.
    asker: Option<String>,
    ids: Ids,
    now: Now,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    Instance(InstanceId),
    Checkpoint(InstanceId, ProgramId),
    /// A program that belongs to no application, moved off a draining engine.
    Stray(ProgramId),
    /// A program that was given up on an engine which is back.
    Orphan(ProgramId),
}

impl Core {
    /// Goes on from what was remembered: commands that were not answered are given again.
    pub fn new(options: CoreOptions, state: State, ids: Ids, now: Now) -> (Self, Vec<Effect>) {
        let mut core = Self {
            options,
            whose: InstancesByProgram::of(&state.instances),
            state,
            began_ms: now.ms,
            read_ms: 0,
            poll_at_ms: 0,
            silence_until_ms: 0,
            engines: BTreeMap::new(),
            programs: BTreeMap::new(),
            seen: ages::SeenPrograms::default(),
            has_observed: false,
            passing: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            progress_ms: BTreeMap::new(),
            leases: Leases::default(),
            back_ms: BTreeMap::new(),
            tombstones: Tombstones::default(),
            plan_at_ms: 0,
            due_at_ms: 0,
            obstacles: Obstacles::default(),
            effects: Vec::new(),
            asker: None,
            ids,
            now,
        };
        let ids: Vec<InstanceId> = core.state.instances.keys().cloned().collect();
        for id in ids {
            core.give(&id);
        }
        let effects = std::mem::take(&mut core.effects);
        (core, effects)
    }

    pub fn handle(&mut self, input: Input, now: Now) -> Vec<Effect> {
        self.handle_all([input], now)
    }

    /// Takes in all of these, and decides once.
    pub fn handle_all(&mut self, inputs: impl IntoIterator<Item = Input>, now: Now) -> Vec<Effect> {
        self.now = now;
        for input in inputs {
            match input {
                Input::Observed(changes) => self.observed(changes),
                Input::Read { sent_ms } => self.has_read(sent_ms),
                Input::Settled { operation, result } => self.settled(operation, result),
                Input::Tick => {}
            }
        }
        self.reconcile();
        std::mem::take(&mut self.effects)
    }

    /// Answers at once; what follows from it comes out as effects, which are carried out before the answer is
    /// given. What is told of the change itself is told of who asked for it.
    pub fn ask(
        &mut self,
        ask: Ask,
        by: Option<String>,
        now: Now,
    ) -> (Result<serde_json::Value, Failure>, Vec<Effect>) {
        self.now = now;
        let is_change = ask.is_change();
        self.asker = by;
        let answer = self.asked(ask);
        self.asker = None;
        // Who only looks changes nothing.
        if is_change {
            self.plan_at_ms = 0;
            self.reconcile();
        }
        (answer, std::mem::take(&mut self.effects))
    }

    /// What people have said about engines.
    pub fn marks(&self) -> &BTreeMap<EngineId, Mark> {
        &self.state.marks
    }

    pub fn blobs_in_use(&self) -> BTreeSet<Digest> {
        self.state.blobs().collect()
    }

    fn reconcile(&mut self) {
        self.end_hold();
        self.judge_engines();
        if self.hold().is_some() {
            return self.checkpoint();
        }
        self.end_leases();
        self.look_at_instances();
        self.settle_homes();
        self.begin_due();
        self.roll_out();
        self.place();
        self.pause_and_resume();
        self.checkpoint();
        self.end_orphans();
        self.end_tombstones();
        self.set_tombstones_again();
        self.see_off();
    }

    /// Puts an instance's record into the journal.
    fn store(&mut self, id: &InstanceId) {
        self.whose.changed(id, &self.state.instances);
        let json = self.state.instances.get(id).map(to_json);
        self.effects.push(Effect::Store {
            key: format!("instance:{id}"),
            json,
        });
    }

    fn store_app(&mut self, name: &str) {
        let json = self.state.apps.get(name).map(to_json);
        self.effects.push(Effect::Store {
            key: format!("app:{name}"),
            json,
        });
    }

    /// In one record with what was decided of it before: nobody is to find the half of it.
    fn store_app_at_once(&mut self, name: &str) {
        self.store_app(name);
        let Some(Effect::Store { key, json }) = self.effects.pop() else {
            return;
        };
        let is_it = |effect: &&mut Effect| matches!(effect, Effect::Store { key: of, .. } if *of == key);
        match self.effects.iter_mut().rev().find(is_it) {
            Some(Effect::Store { json: before, .. }) => *before = json,
            _ => self.effects.push(Effect::Store { key, json }),
        }
    }

    /// Decides on a command for an instance: remembered first, then given.
    fn begin(&mut self, id: &InstanceId, doing: Doing) {
        let operation = self.ids.operation();
        let boot = self.boot(doing.engine());
        let instance = self.state.instances.entry(id.clone()).or_default();
        instance.pending = Some(Pending {
            operation,
            doing,
            boot,
        });
        self.store(id);
        self.give(id);
    }

    /// Gives the command that an instance's record names, for the first time or again.
    fn give(&mut self, id: &InstanceId) {
        let Some(Instance {
            placed: Some(placed),
            pending:
                Some(Pending {
                    operation,
                    doing,
                    boot,
                }),
            ..
        }) = self.state.instances.get(id)
        else {
            return;
        };
        let on = Target {
            program: placed.program,
            generation: None,
        };
        let action = match doing {
            Doing::Start { spec, snapshot, .. } => Action::Run {
                program: placed.program,
                spec: spec.as_ref().clone(),
                snapshot: *snapshot,
                generation: Some(placed.generation),
                follower: None,
            },
            Doing::Move { target, .. } => Action::Move {
                on,
                target: target.clone(),
            },
            Doing::Kill { .. } => Action::Kill { on },
            Doing::Pause { .. } => Action::Pause { on },
            Doing::Resume { force, .. } => Action::Resume { on, force: *force },
        };
        self.in_flight.insert(*operation, Subject::Instance(id.clone()));
        self.effects.push(Effect::Begin {
            operation: *operation,
            engine: doing.engine().clone(),
            action: Box::new(action),
            boot: *boot,
        });
    }

    /// Gives a command that is not remembered, and so is given only once.
    fn give_once(&mut self, subject: Subject, engine: EngineId, action: Action) {
        let operation = self.ids.operation();
        self.in_flight.insert(operation, subject);
        self.effects.push(Effect::Begin {
            operation,
            boot: self.boot(&engine),
            engine,
            action: Box::new(action),
        });
    }

    /// The process of the engine that was heard of last.
    fn boot(&self, engine: &EngineId) -> Option<BootId> {
        self.engines.get(engine)?.view.as_ref()?.boot
    }

    fn passing(&mut self, id: &InstanceId) -> &mut Passing {
        self.passing.entry(id.clone()).or_default()
    }

    fn placed_mut(&mut self, id: &InstanceId) -> Option<&mut Placed> {
        self.state.instances.get_mut(id)?.placed.as_mut()
    }

    /// Says what was decided or noticed, about an instance.
    fn tell(&mut self, kind: &str, id: &InstanceId, engine: Option<&EngineId>, text: String) {
        let placed = self
            .state
            .instances
            .get(id)
            .and_then(|instance| instance.placed.as_ref());
        let program = placed.map(|placed| placed.program);
        let decision = Decision {
            application: Some(id.of.application.clone()),
            instance: Some(id.to_string()),
            engine: engine.cloned(),
            program,
            ..self.decision(kind, text)
        };
        self.effects.push(Effect::Tell(Box::new(decision)));
    }

    fn tell_app(&mut self, kind: &str, application: &str, text: String) {
        let decision = Decision {
            application: Some(application.to_owned()),
            ..self.decision(kind, text)
        };
        self.effects.push(Effect::Tell(Box::new(decision)));
    }

    fn tell_engine(&mut self, kind: &str, engine: &EngineId, text: String) {
        let decision = Decision {
            engine: Some(engine.clone()),
            ..self.decision(kind, text)
        };
        self.effects.push(Effect::Tell(Box::new(decision)));
    }

    fn decision(&self, kind: &str, text: String) -> Decision {
        let text = match &self.asker {
            Some(by) => format!("{by}: {text}"),
            None => text,
        };
        Decision {
            at_ms: self.now.wall_ms,
            term: self.options.term,
            sequence: 0,
            kind: kind.to_owned(),
            by: self.asker.clone(),
            text: wayfare_protocol::reason::cut(text),
            ..Decision::default()
        }
    }
}

fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data serialises")
}
