//! The acting dispatcher in a fleet: its decisions are the real ones ([`wayfare_dispatcher_core::apps`]), and
//! so is its view of the fleet; around them are what it has stored, and a broker that keeps statuses,
//! publishes wills late and hands messages on in order.
//!
//! ```text
//!   engines --statuses, answers--> broker --in order, late--> view --Observed--> core --Store--> records (kept when it is killed)
//!      ^                                                                          |
//!      '------------------- orders, said again until they are answered -----------'
//! ```
//! It is killed between any two effects, and a successor goes on from the records, under the next term.
//! Engines that crash or are cut off are given up on by its own rules. Meanwhile people change what is
//! wanted. At the end what is wanted runs, each instance once.

pub(crate) mod state;

use std::collections::BTreeMap;

use wayfare_dispatcher_core::apps::state::State;
use wayfare_dispatcher_core::apps::{Core, CoreOptions, Effect, Ids, Input, LossOptions, Now};
use wayfare_fleet::fleet::Fleet;
use wayfare_fleet::placing::Marks;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::Term;
use wayfare_protocol::status::{EngineState, ProgramStatus};
use wayfare_scheduler::policy::Policy;

use crate::happening::Happening;
use crate::heard::state::Word;
use crate::takeovers::is_stored;
use crate::time::{MS, SECOND};
use crate::world::World;

use state::{Acts, Process};

/// Half as often as the service does.
pub(super) const TICK: u64 = 500 * MS;
/// Where nothing happens for hours: a dispatcher may be as slow as this.
pub(super) const QUIET_TICK: u64 = 600 * SECOND;
const OBSERVE_PAUSE: u64 = 50 * MS;

pub(super) fn options(term: u64) -> CoreOptions {
    CoreOptions {
        term: Term(term),
        policy: Policy::Spread,
        loss: LossOptions {
            poll_ms: 5_000,
            late_ms: 12_000,
            lost_ms: 30_000,
            grace_ms: 1_000,
            reconnect_ms: 7_000,
        },
        marks: Marks::default(),
        serves: None,
    }
}

impl World {
    /// A process begins to act, from what is stored.
    pub(super) fn dispatcher_starts(&mut self) {
        let now = self.now;
        if self.is_broker_down() {
            let later = self.broker.down_until - now + SECOND;
            return self.after_at_least(later, Happening::DispatcherStarts);
        }
        let Some(acting) = self.acting.as_mut().filter(|acting| acting.up.is_none()) else {
            return;
        };
        acting.processes += 1;
        let (number, term) = (acting.processes, acting.terms.next(acting.lease));
        (acting.lease, acting.terms.stored) = (Some(term), term);
        let seed = [self.random.bytes(), self.random.bytes()].concat();
        let ids = Ids::new(seed.try_into().expect("twice sixteen bytes"));
        let state = State::read(&acting.records);
        let (core, effects) = Core::new(
            options(term),
            state,
            ids,
            Now {
                ms: 0,
                wall_ms: now / MS,
            },
        );
        let mut fleet = Fleet::default();
        fleet.begin_round();
        acting.up = Some(Process {
            number,
            term,
            core,
            fleet,
            looked: 0,
            began: now,
            orders: BTreeMap::new(),
            will_look: false,
            is_reading: false,
            is_failing: false,
            waiting: Vec::new(),
        });
        let programs: Vec<_> = acting.retained.programs.values().cloned().collect();
        let engines: Vec<_> = acting.retained.engines.values().cloned().collect();
        acting.retained.last_at = now;
        self.note(|| format!("dispatcher {term} begins to act"));
        self.dispatcher_does(effects);
        for program in programs {
            self.send_word(Word::Program(program));
        }
        for engine in engines {
            self.send_word(Word::Engine(engine));
        }
        self.send_word(Word::AllRetained);
        self.act_in(TICK, Acts::Ticks);
    }

    pub(super) fn dispatcher_dies(&mut self) {
        let Some(acting) = &mut self.acting else { return };
        if acting.up.take().is_none() {
            return;
        }
        self.count("dispatchers killed");
        self.note(|| "the dispatcher is killed".into());
        let most = [100 * MS, 15 * SECOND][usize::from(self.random.per_mille(500))];
        self.after(most, Happening::DispatcherStarts);
    }

    pub(super) fn act_in(&mut self, us: u64, acts: Acts) {
        let Some(acting) = &self.acting else { return };
        let process = acting.processes;
        self.at(self.now + us, Happening::Dispatcher { process, acts });
    }

    pub(super) fn dispatcher_acts(&mut self, process: u64, acts: Acts) {
        if let Acts::Reaches(engine, command) = acts {
            return self.order_reaches(&engine, *command);
        }
        let up = self.process_of_dispatcher();
        if up.is_none_or(|up| up.number != process) {
            return;
        }
        match acts {
            Acts::Hears(word) => self.dispatcher_hears(*word),
            Acts::Looks => self.dispatcher_looks(),
            Acts::Ticks => {
                self.feed_dispatcher(Input::Tick);
                self.act_in([TICK, QUIET_TICK][usize::from(self.is_quiet)], Acts::Ticks);
                let process = self.process_of_dispatcher();
                if process.is_some_and(|process| process.core.awaits_reading() && !process.is_reading) {
                    self.read_all();
                }
            }
            Acts::SaysAgain(operation) => self.say_again(operation),
            Acts::Asks(engine) => self.engine_is_asked(engine),
            Acts::Reaches(..) => {}
        }
    }

    pub(super) fn process_of_dispatcher(&mut self) -> Option<&mut Process> {
        self.acting.as_mut()?.up.as_mut()
    }

    pub(super) fn dispatcher_now(&self) -> Now {
        let up = self.acting.as_ref().and_then(|acting| acting.up.as_ref());
        let nobody = Now {
            ms: 0,
            wall_ms: self.now / MS,
        };
        up.map_or(nobody, |up| up.now(self.now))
    }

    fn dispatcher_hears(&mut self, word: Word) {
        let now = self.dispatcher_now();
        self.note(|| format!("dispatcher <- {word:?}"));
        let Some(process) = self.process_of_dispatcher() else {
            return;
        };
        let fleet = &mut process.fleet;
        match word {
            Word::Engine(status) => {
                let speaks = (status.state == EngineState::Online && fleet.is_round_complete())
                    .then(|| status.engine.clone());
                fleet.engine_status(status, now.ms);
                if let Some(engine) = speaks {
                    fleet.engine_spoke(&engine, now.ms);
                }
            }
            Word::Program(status) => {
                fleet.program_status(status);
            }
            Word::Cleared(program) => {
                fleet.program_cleared(program);
            }
            Word::AllRetained => {
                fleet.complete_round();
            }
            Word::Answer(event) => {
                fleet.engine_answered(&event.engine);
                fleet.engine_spoke(&event.engine, now.ms);
                self.answered(event);
            }
            Word::Back(sent_ms) => {
                process.is_reading = false;
                self.dispatcher_looks();
                return self.feed_dispatcher(Input::Read { sent_ms });
            }
        }
        if let Some(process) = self.process_of_dispatcher()
            && !std::mem::replace(&mut process.will_look, true)
        {
            self.act_in(OBSERVE_PAUSE, Acts::Looks);
        }
    }

    pub(super) fn dispatcher_looks(&mut self) {
        let now = self.dispatcher_now();
        let Some(process) = self.process_of_dispatcher() else {
            return;
        };
        process.will_look = false;
        if process.is_failing {
            return;
        }
        let changes = process.fleet.changes_since(process.looked, now.ms);
        process.looked = changes.revision;
        self.feed_dispatcher(Input::Observed(changes));
    }

    pub(super) fn feed_dispatcher(&mut self, input: Input) {
        let now = self.dispatcher_now();
        let Some(process) = self.process_of_dispatcher() else {
            return;
        };
        if process.is_failing {
            if let Input::Settled { .. } = input {
                process.waiting.push(input);
            }
            return;
        }
        let effects = process.core.handle(input, now);
        self.dispatcher_does(effects);
    }

    /// Somebody asks for something, if anybody acts.
    pub(super) fn ask_dispatcher(
        &mut self,
        ask: wayfare_fleet::app::ask::Ask,
    ) -> Option<Result<serde_json::Value, Failure>> {
        let now = self.dispatcher_now();
        let process = self
            .process_of_dispatcher()
            .filter(|process| !process.is_failing)?;
        let (answer, effects) = process.core.ask(ask, None, now);
        self.dispatcher_does(effects);
        Some(answer)
    }

    /// What is to be stored is stored together, before anything else.
    pub(super) fn dispatcher_does(&mut self, effects: Vec<Effect>) {
        let is_killed = |world: &mut Self| {
            let share = world.faults.crash_per_effect / 4;
            let now = !effects_are_only_words(&effects) && world.random.per_mille(share);
            if now {
                world.dispatcher_dies();
            }
            now
        };
        if is_killed(self) {
            return;
        }
        if self.is_store_full()
            && effects
                .iter()
                .any(|effect| matches!(effect, Effect::Store { .. }))
        {
            return self.store_fails();
        }
        let (stored, rest): (Vec<_>, Vec<_>) = effects.iter().cloned().partition(is_stored);
        for effect in stored.into_iter().chain(rest) {
            if !is_stored(&effect) && is_killed(self) {
                return;
            }
            self.dispatcher_does_one(effect);
        }
    }

    fn dispatcher_does_one(&mut self, effect: Effect) {
        match effect {
            Effect::Store { key, json } => {
                let Some(acting) = &mut self.acting else { return };
                match json {
                    Some(json) => drop(acting.records.insert(key, json)),
                    None => drop(acting.records.remove(&key)),
                }
            }
            Effect::Begin {
                operation,
                engine,
                action,
                boot,
            } => self.begin_order(operation, (engine, boot), *action),
            Effect::Ask { engines } => {
                for index in 0..self.engines.len() {
                    if engines.is_empty() || engines.contains(&self.engines[index].name) {
                        let late = self.random.below(30 * MS);
                        self.act_in(late, Acts::Asks(index));
                    }
                }
                self.read_all();
            }
            Effect::Tombstone { program, stands } => {
                if stands {
                    let name = "dispatcher".parse().expect("a good name");
                    self.publish_program(&ProgramStatus::tombstone(program, name));
                } else {
                    self.clear_program(program);
                }
            }
            Effect::Tell(decision) => {
                self.note(|| format!("dispatcher: {}", decision.text));
                self.count(&format!("dispatcher: {}", decision.kind));
            }
            // Programs of its own hear of callers only in the worlds of sessions.
            Effect::Left { .. } | Effect::Lost { .. } => {}
        }
    }

    fn read_all(&mut self) {
        let sent_ms = self.dispatcher_now().ms;
        if let Some(process) = self.process_of_dispatcher() {
            process.is_reading = true;
        }
        self.send_word(Word::Back(sent_ms));
    }
}

/// Nothing would be different without them.
fn effects_are_only_words(effects: &[Effect]) -> bool {
    effects
        .iter()
        .all(|effect| matches!(effect, Effect::Ask { .. } | Effect::Tell(_) | Effect::Lost { .. }))
}
